//! How much memory this process has needed.

/// The largest resident size so far in MiB; 0 where the system does not tell.
#[must_use]
pub fn peak_mib() -> f64 {
    status("VmHWM:")
}

fn status(key: &str) -> f64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(key));
    let kib = line.and_then(|rest| rest.trim().strip_suffix("kB")).and_then(|n| n.trim().parse::<f64>().ok());
    kib.map_or(0.0, |kib| kib / 1024.0)
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
