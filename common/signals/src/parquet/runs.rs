//! Small numbers, bit-packed or as runs: how Parquet writes levels, and places in a dictionary.

use super::thrift::{byte, varint};

/// `count` numbers of `width` bits each, up to 32.
pub(super) fn read(mut bytes: &[u8], width: u8, count: usize) -> Option<Vec<u32>> {
    if width > 32 {
        return None;
    }
    let mut values = Vec::new();
    while values.len() < count {
        let missing = count - values.len();
        let head = varint(&mut bytes)?;
        let length = usize::try_from(head >> 1).ok()?;
        if head & 1 == 0 {
            let mut value = 0;
            for i in 0..width.div_ceil(8) {
                value |= u32::from(byte(&mut bytes)?) << (8 * i);
            }
            values.resize(values.len() + length.min(missing), value);
            if length == 0 {
                return None;
            }
        } else {
            let packed = length.checked_mul(width.into())?;
            // The last group may be cut where its numbers end.
            let held = bytes.split_off(..packed.min(bytes.len()))?;
            let numbers = length.checked_mul(8)?.min(missing);
            if numbers == 0 || numbers.checked_mul(width.into())? > held.len() * 8 {
                return None;
            }
            values.extend((0..numbers).map(|i| bits(held, i * usize::from(width), width)));
        }
    }
    Some(values)
}

/// `width` bits from bit `from` on, the lowest first.
fn bits(bytes: &[u8], from: usize, width: u8) -> u32 {
    let mut window = [0; 8];
    let first = from / 8;
    let end = bytes.len().min(first + 8);
    window[..end - first].copy_from_slice(&bytes[first..end]);
    let shifted = u64::from_le_bytes(window) >> (from % 8);
    (shifted & ((1 << width) - 1)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_standard_and_runs_are_read() {
        // 0 to 7 in three bits each.
        assert_eq!(
            read(&[3, 0b1000_1000, 0b1100_0110, 0b1111_1010], 3, 8).unwrap(),
            [0, 1, 2, 3, 4, 5, 6, 7]
        );
        assert_eq!(read(&[10, 1, 3, 0b101], 1, 8).unwrap(), [1, 1, 1, 1, 1, 1, 0, 1]);
        assert_eq!(read(&[4, 0x34, 0x12], 12, 2).unwrap(), [0x1234, 0x1234]);
        assert_eq!(read(&[4], 0, 2).unwrap(), [0, 0]);
    }

    #[test]
    fn what_ends_too_early_or_never_is_none() {
        assert_eq!(read(&[3, 0b1000_1000], 3, 8), None);
        assert_eq!(read(&[4], 1, 2), None);
        assert_eq!(read(&[], 1, 1), None);
        assert_eq!(read(&[0, 1, 0, 1], 1, 1), None);
        assert_eq!(read(&[3], 33, 1), None);
        assert_eq!(read(&[255, 255, 255, 255, 255, 255, 255, 255, 255, 1], 32, 1), None);
    }
}
