//! How many of something each may have, and all of them together: counted for as long as the seats live.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Seats, by who takes them.
pub struct Seats<K: Ord + Clone> {
    taken: Arc<Mutex<Counts<K>>>,
    each: u32,
    all: usize,
}

struct Counts<K> {
    by: BTreeMap<K, u32>,
    all: usize,
}

/// One of them, until it is dropped.
pub struct Seat<K: Ord + Clone> {
    taken: Arc<Mutex<Counts<K>>>,
    key: K,
}

/// There is none left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Taken {
    /// For this one.
    Each,
    /// For anybody.
    All,
}

impl<K: Ord + Clone> Seats<K> {
    /// `each` for everyone, `all` together.
    pub fn new(each: u32, all: usize) -> Self {
        Self { taken: Arc::new(Mutex::new(Counts { by: BTreeMap::new(), all: 0 })), each, all }
    }

    /// Takes one.
    ///
    /// # Errors
    /// [`Taken`] if there is none left.
    pub fn take(&self, key: K) -> Result<Seat<K>, Taken> {
        let mut taken = lock(&self.taken);
        if taken.all >= self.all {
            return Err(Taken::All);
        }
        if taken.by.get(&key).is_some_and(|own| *own >= self.each) {
            return Err(Taken::Each);
        }
        taken.all += 1;
        *taken.by.entry(key.clone()).or_default() += 1;
        drop(taken);
        Ok(Seat { taken: Arc::clone(&self.taken), key })
    }

    /// How many are taken.
    pub fn taken(&self) -> usize {
        lock(&self.taken).all
    }

    /// Whether `key` has one.
    pub fn has(&self, key: &K) -> bool {
        lock(&self.taken).by.contains_key(key)
    }
}

impl<K: Ord + Clone> Drop for Seat<K> {
    fn drop(&mut self) {
        let mut taken = lock(&self.taken);
        taken.all -= 1;
        match taken.by.get_mut(&self.key) {
            Some(own) if *own > 1 => *own -= 1,
            _ => drop(taken.by.remove(&self.key)),
        }
    }
}

fn lock<K>(taken: &Mutex<Counts<K>>) -> MutexGuard<'_, Counts<K>> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everyone_has_a_share_and_nobody_is_remembered() {
        let seats = Seats::new(2, 3);
        let (first, _second) = (seats.take("ann").unwrap(), seats.take("ann").unwrap());
        assert_eq!(seats.take("ann").err(), Some(Taken::Each));
        let bob = seats.take("bob").unwrap();
        assert_eq!(seats.take("eve").err(), Some(Taken::All));
        drop(first);
        let _third = seats.take("ann").unwrap();
        drop(bob);
        assert!(seats.has(&"ann") && !seats.has(&"bob"));
        assert_eq!((seats.taken(), lock(&seats.taken).by.len()), (2, 1));
    }
}
