//! What work will take of memory, known before it begins.
//!
//! An estimate keeps a hub from work that cannot fit, and says so; it stops nobody who is wrong. The hard bound is the
//! operating system's (`MemoryMax=` of the systemd unit), which ends a program instead of telling it no.

use super::MIB;
use super::reason::Reason;

/// What the program takes by itself, in bytes: connected, with the nights of one person loaded, 13 MiB are resident on x86-64, and the
/// allocator keeps some.
pub const PROGRAM: u64 = 20 * MIB;

/// A model file is in memory as it was fetched, as its tensors, as the network's copy of these, and once more while the next one
/// takes its place.
const COPIES: u64 = 4;

/// Bytes of the process with model files of so many bytes loaded, and nothing computed.
pub fn of_files(bytes: u64) -> u64 {
    PROGRAM.saturating_add(bytes.saturating_mul(COPIES))
}

/// Whether work that takes `need` bytes of the process fits.
///
/// # Errors
/// [`Reason::Memory`].
pub fn check(most: Option<u64>, need: u64, what: &'static str) -> Result<(), Reason> {
    match most {
        Some(most) if need > most => Err(Reason::Memory { what, need, most }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_and_nothing_overflows() {
        let need = of_files(10 * MIB);
        assert_eq!(need, 60 * MIB);
        assert!(check(Some(need), need, "it").is_ok() && check(None, u64::MAX, "it").is_ok());
        let most = need - 1;
        assert_eq!(check(Some(most), need, "it"), Err(Reason::Memory { what: "it", need, most }));
        // A length comes from another machine.
        assert!(check(Some(1 << 40), of_files(u64::MAX), "it").is_err());
    }
}
