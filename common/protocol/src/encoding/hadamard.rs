//! The fast Walsh-Hadamard transform.

/// Replaces `x` by `H x`, unnormalised: applied twice it multiplies by the length.
///
/// The length must be a power of two.
pub(super) fn transform(x: &mut [f32]) {
    debug_assert!(x.len().is_power_of_two());
    // The first four levels of sixteen numbers stay in registers.
    let (groups, _) = x.as_chunks_mut::<16>();
    if groups.is_empty() {
        return levels(x, 1);
    }
    groups.iter_mut().for_each(sixteen);
    levels(x, 16);
}

fn sixteen(x: &mut [f32; 16]) {
    let (rows, _) = x.as_chunks_mut::<4>();
    rows.iter_mut().for_each(|row| *row = four(*row));
    let [a, b, c, d] = rows else { return };
    for (((a, b), c), d) in a.iter_mut().zip(b).zip(c).zip(d) {
        [*a, *b, *c, *d] = four([*a, *b, *c, *d]);
    }
}

#[inline(always)]
fn four([a, b, c, d]: [f32; 4]) -> [f32; 4] {
    let (ab, cd, a_b, c_d) = (a + b, c + d, a - b, c - d);
    [ab + cd, a_b + c_d, ab - cd, a_b - c_d]
}

/// The levels from distance `half` on; two at a time, which halves the traffic.
fn levels(x: &mut [f32], mut half: usize) {
    while 4 * half <= x.len() {
        for group in x.chunks_exact_mut(4 * half) {
            let (low, high) = group.split_at_mut(2 * half);
            let (a, b) = low.split_at_mut(half);
            let (c, d) = high.split_at_mut(half);
            for (((a, b), c), d) in a.iter_mut().zip(b).zip(c).zip(d) {
                [*a, *b, *c, *d] = four([*a, *b, *c, *d]);
            }
        }
        half *= 4;
    }
    if 2 * half <= x.len() {
        for group in x.chunks_exact_mut(2 * half) {
            let (a, b) = group.split_at_mut(half);
            for (a, b) in a.iter_mut().zip(b) {
                (*a, *b) = (*a + *b, *a - *b);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_matrix_of_parities() {
        for len in [1usize, 2, 4, 8, 16, 32, 64, 128, 256] {
            // Small integers: every sum is exact.
            let x: Vec<f32> = (0..len).map(|i| (i * i % 17) as f32 - 8.0).collect();
            let mut fast = x.clone();
            transform(&mut fast);
            for (row, got) in fast.iter().enumerate() {
                let sign = |i: usize| if (row & i).count_ones().is_multiple_of(2) { 1.0 } else { -1.0 };
                let exact: f32 = x.iter().enumerate().map(|(i, x)| sign(i) * x).sum();
                assert_eq!(*got, exact, "row {row} of {len}");
            }
        }
    }
}
