//! GF(2^16), in which secrets are split: 65,535 points are enough for every roster, 255 would not be.
//!
//! A 32-byte secret is 16 elements side by side. Points are public (they are roster indices), so the loops may depend on
//! them; on secret elements they never branch and never index.

/// x^16 + x^12 + x^3 + x + 1 without its leading term; irreducible.
const REDUCTION: u16 = 0x100b;

/// Elements of a 32-byte secret.
pub(super) const LANES: usize = 16;

/// 16 elements of GF(2^16).
pub(super) type Lanes = [u16; LANES];

fn double(a: u16) -> u16 {
    // All ones if the top bit is set, without a branch.
    let carry = (a >> 15).wrapping_neg();
    (a << 1) ^ (carry & REDUCTION)
}

/// a b.
pub(super) fn mul(a: u16, b: u16) -> u16 {
    let mut product = 0;
    let mut a = a;
    for bit in 0..16 {
        product ^= a & (b >> bit & 1).wrapping_neg();
        a = double(a);
    }
    product
}

/// 1/a, and 0 for 0: a^(2^16 - 2).
pub(super) fn inverse(a: u16) -> u16 {
    let (mut power, mut result) = (a, 1);
    for _ in 1..16 {
        power = mul(power, power);
        result = mul(result, power);
    }
    result
}

/// sum += lanes * point, for a public point.
pub(super) fn mul_add(sum: &mut Lanes, mut lanes: Lanes, mut point: u16) {
    while point != 0 {
        let bit = (point & 1).wrapping_neg();
        for (sum, lane) in sum.iter_mut().zip(&mut lanes) {
            *sum ^= *lane & bit;
            *lane = double(*lane);
        }
        point >>= 1;
    }
}

pub(super) fn lanes(bytes: &[u8; 32]) -> Lanes {
    std::array::from_fn(|i| u16::from_le_bytes([bytes[2 * i], bytes[2 * i + 1]]))
}

pub(super) fn bytes(lanes: &Lanes) -> [u8; 32] {
    std::array::from_fn(|i| lanes[i / 2].to_le_bytes()[i % 2])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn x_generates_every_element_so_the_modulus_is_irreducible() {
        let (mut power, mut order) = (2u16, 1u32);
        while power != 1 {
            power = mul(power, 2);
            order += 1;
        }
        assert_eq!(order, 65_535);
    }

    proptest! {
        #[test]
        fn it_is_a_field(a: u16, b: u16, c: u16) {
            prop_assert_eq!(mul(a, b), mul(b, a));
            prop_assert_eq!(mul(a, mul(b, c)), mul(mul(a, b), c));
            prop_assert_eq!(mul(a, b ^ c), mul(a, b) ^ mul(a, c));
            prop_assert_eq!(mul(a, 1), a);
            prop_assert_eq!(mul(a, inverse(a)), u16::from(a != 0));
        }

        #[test]
        fn lanes_multiply_like_elements(secret: [u8; 32], point: u16) {
            let mut sum = lanes(&[7; 32]);
            mul_add(&mut sum, lanes(&secret), point);
            for (i, lane) in sum.iter().enumerate() {
                prop_assert_eq!(*lane, 0x0707 ^ mul(lanes(&secret)[i], point));
            }
            prop_assert_eq!(bytes(&lanes(&secret)), secret);
        }
    }
}
