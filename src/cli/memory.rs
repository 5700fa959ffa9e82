//! How much memory this process has held, where Linux tells.

use std::fs;

/// The most bytes of memory held at a time since the process began, or since
/// [`restart_peak`].
pub fn peak() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// Sets the peak back to what is held now; whether that worked.
pub fn restart_peak() -> bool {
    fs::write("/proc/self/clear_refs", "5").is_ok()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_more_than_a_mebibyte() {
        assert!(peak().is_some_and(|bytes| bytes > 1 << 20));
    }
}
