//! Order statistics of every coordinate, a cache-sized block of coordinates at a time.
//!
//! The rows of a block, one a client, go through a sorting network: each comparator replaces two rows by their minimum
//! and their maximum, coordinate by coordinate. There is no branch in it, so compilers turn it into vector code.

use std::ops::Range;

/// Coordinates of a block: 30 clients take 30 KiB.
const BLOCK: usize = 256;

/// Sorts every coordinate of `rows` over the rows, and shows it block by block: which coordinates, and the sorted rows of
/// these.
///
/// # Panics
/// If the rows differ in length.
pub fn sorted(rows: &[&[f32]], mut show: impl FnMut(Range<usize>, &[&[f32]])) {
    let len = rows.first().map_or(0, |row| row.len());
    assert!(rows.iter().all(|row| row.len() == len), "rows of different lengths");
    let network = comparators(rows.len());
    let mut block = vec![0.0; rows.len() * BLOCK];
    for start in (0..len).step_by(BLOCK) {
        let range = start..len.min(start + BLOCK);
        for (own, row) in block.chunks_exact_mut(BLOCK).zip(rows) {
            own[..range.len()].copy_from_slice(&row[range.clone()]);
        }
        for (low, high) in &network {
            let (head, tail) = block.split_at_mut(high * BLOCK);
            exchange(&mut head[low * BLOCK..][..range.len()], &mut tail[..range.len()]);
        }
        let view: Vec<&[f32]> = block.chunks_exact(BLOCK).map(|row| &row[..range.len()]).collect();
        show(range, &view);
    }
}

/// The smaller numbers to `low`, the larger ones to `high`.
fn exchange(low: &mut [f32], high: &mut [f32]) {
    for (low, high) in low.iter_mut().zip(high) {
        let (a, b) = (*low, *high);
        (*low, *high) = if b < a { (b, a) } else { (a, b) };
    }
}

/// Batcher's merge exchange for any number of rows (Knuth, The Art of Computer Programming 3, algorithm 5.2.2M):
/// about a quarter of `n log2(n)^2` comparators.
fn comparators(rows: usize) -> Vec<(usize, usize)> {
    let mut network = Vec::new();
    let top = rows.next_power_of_two() / 2;
    let mut step = top;
    while step > 0 {
        let (mut width, mut residue, mut distance) = (top, 0, step);
        loop {
            let pairs = (0..rows.saturating_sub(distance)).filter(|row| row & step == residue);
            network.extend(pairs.map(|row| (row, row + distance)));
            if width == step {
                break;
            }
            (distance, residue) = (width - step, step);
            width /= 2;
        }
        step /= 2;
    }
    network
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A network that sorts all zeros and ones sorts everything (Knuth's zero-one principle).
    #[test]
    fn the_network_sorts_every_pattern_of_zeros_and_ones() {
        for rows in 0..=12 {
            let network = comparators(rows);
            for pattern in 0u32..1 << rows {
                let mut bits: Vec<bool> = (0..rows).map(|row| pattern >> row & 1 == 1).collect();
                for (low, high) in &network {
                    if bits[*low] & !bits[*high] {
                        bits.swap(*low, *high);
                    }
                }
                assert!(bits.is_sorted(), "{rows} rows, {pattern:b}");
            }
        }
    }

    #[test]
    fn blocks_cover_every_coordinate_once() {
        for len in [0, 1, BLOCK - 1, BLOCK, 2 * BLOCK + 3] {
            let rows: Vec<Vec<f32>> =
                (0..5).map(|row| (0..len).map(|i| ((i * 7 + row * 13) % 17) as f32).collect()).collect();
            let views: Vec<&[f32]> = rows.iter().map(Vec::as_slice).collect();
            let mut seen = 0;
            sorted(&views, |range, block| {
                assert_eq!(range.start, seen);
                seen = range.end;
                for (at, i) in range.enumerate() {
                    let mut expected: Vec<f32> = rows.iter().map(|row| row[i]).collect();
                    expected.sort_by(f32::total_cmp);
                    assert_eq!(block.iter().map(|row| row[at]).collect::<Vec<_>>(), expected);
                }
            });
            assert_eq!(seen, len);
        }
    }
}
