//! Some of a roster's members: who shared, who survived.

use serde::{Deserialize, Serialize};

use super::roster::MAX_MEMBERS;

/// A set of members of one roster, by index; a bitmap on the wire, so that equal sets are equal bytes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "Bitmap", into = "Bitmap")]
pub struct Subset {
    members: u32,
    bits: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
struct Bitmap {
    members: u32,
    #[serde(with = "serde_bytes")]
    bits: Vec<u8>,
}

impl Subset {
    /// Nobody of `members`.
    pub fn none(members: u32) -> Self {
        Self { members, bits: vec![0; members.div_ceil(8) as usize] }
    }

    /// Everybody of `members`.
    pub fn all(members: u32) -> Self {
        Self::of(members, 0..members)
    }

    /// These of `members`.
    ///
    /// # Panics
    /// If an index is not below `members`.
    pub fn of(members: u32, indices: impl IntoIterator<Item = u32>) -> Self {
        let mut subset = Self::none(members);
        for index in indices {
            subset.insert(index);
        }
        subset
    }

    /// Adds a member; false if it was there.
    ///
    /// # Panics
    /// If `index` is not below [`Subset::members`].
    pub fn insert(&mut self, index: u32) -> bool {
        assert!(index < self.members, "member {index} of {}", self.members);
        let fresh = !self.contains(index);
        self.bits[index as usize / 8] |= 1 << (index % 8);
        fresh
    }

    /// Whether `index` is in the set.
    pub fn contains(&self, index: u32) -> bool {
        self.bits.get(index as usize / 8).is_some_and(|byte| byte >> (index % 8) & 1 == 1)
    }

    /// The size of the roster that this is a part of.
    pub fn members(&self) -> u32 {
        self.members
    }

    /// How many are in the set.
    pub fn len(&self) -> u32 {
        self.bits.iter().map(|byte| byte.count_ones()).sum()
    }

    /// Whether nobody is in the set.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The indices, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.members).filter(|&index| self.contains(index))
    }

    /// The bitmap: member `i` is bit `i % 8` of byte `i / 8`.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bits
    }
}

impl From<Subset> for Bitmap {
    fn from(subset: Subset) -> Self {
        Self { members: subset.members, bits: subset.bits }
    }
}

impl TryFrom<Bitmap> for Subset {
    type Error = &'static str;

    fn try_from(Bitmap { members, bits }: Bitmap) -> Result<Self, Self::Error> {
        if members > MAX_MEMBERS {
            return Err("a set over more members than any roster has");
        }
        let fits = bits.len() == members.div_ceil(8) as usize;
        let spare = bits.last().is_some_and(|last| members % 8 != 0 && last >> (members % 8) != 0);
        if fits && !spare { Ok(Self { members, bits }) } else { Err("a bitmap that is not of its members") }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire;

    proptest! {
        #[test]
        fn a_subset_is_a_set(members in 1u32..300, picks in prop::collection::vec(any::<u32>(), 0..40)) {
            let picks: Vec<u32> = picks.iter().map(|pick| pick % members).collect();
            let subset = Subset::of(members, picks.iter().copied());
            let model: std::collections::BTreeSet<u32> = picks.into_iter().collect();
            prop_assert_eq!(subset.iter().collect::<Vec<_>>(), model.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(subset.len() as usize, model.len());
            prop_assert_eq!(wire::from_disk::<Subset>(&wire::to_disk(&subset)).unwrap(), subset);
        }
    }

    #[test]
    fn bits_beyond_the_roster_are_refused() {
        let good = Subset::all(9);
        let mut bytes = wire::to_disk(&good);
        *bytes.last_mut().unwrap() = 0b11;
        assert!(wire::from_disk::<Subset>(&bytes).is_err());
        let long = Bitmap { members: 9, bits: vec![0; 3] };
        assert!(wire::from_disk::<Subset>(&wire::to_disk(&long)).is_err());
        let huge = Bitmap { members: MAX_MEMBERS + 1, bits: vec![0; 513] };
        assert!(wire::from_disk::<Subset>(&wire::to_disk(&huge)).is_err());
    }
}
