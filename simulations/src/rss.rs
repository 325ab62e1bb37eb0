//! How much memory processes need.

/// The largest resident size so far in MiB; 0 where the system does not tell.
#[must_use]
pub fn peak_mib() -> f64 {
    status("self", "VmHWM:").map_or(0.0, |kib| kib as f64 / 1024.0)
}

/// The resident size of another process now, KiB; none where the system does not tell.
#[must_use]
pub fn resident_kib(process: u32) -> Option<u64> {
    status(&process.to_string(), "VmRSS:")
}

fn status(process: &str, key: &str) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn memory_that_was_touched_shows_in_the_peak() {
        if super::peak_mib() == 0.0 {
            println!("SKIPPED memory_that_was_touched_shows_in_the_peak: /proc/self/status is absent");
            return;
        }
        let touched = vec![1u8; 300 << 20];
        assert!(std::hint::black_box(&touched).iter().step_by(4096).all(|b| *b == 1));
        assert!(super::peak_mib() > 290.0);
    }
}
