//! How much memory this process may use, where Linux tells.

use std::fs;
use std::path::{Path, PathBuf};

/// Bytes of memory budget where the system does not say how much memory there is.
const UNKNOWN: u64 = 1 << 30;

/// The memory that a run takes for images and kept features if it is not told otherwise: half of
/// what this process may use, 1 GiB where that is not known.
pub fn default_memory_budget() -> u64 {
    memory_limit().map_or(UNKNOWN, |bytes| bytes / 2)
}

/// Bytes of memory that this process may use: those of the machine, or fewer where a control group
/// or a limit on its address space says so. `None` where the system does not tell.
pub fn memory_limit() -> Option<u64> {
    let read = |path: &Path| fs::read_to_string(path).ok();
    let machine = installed(&read(Path::new("/proc/meminfo"))?)?;
    let groups = read(Path::new("/proc/self/cgroup")).unwrap_or_default();
    let of_groups = group_files(&groups)
        .into_iter()
        .filter_map(|path| read(&path)?.trim().parse().ok());
    let own = read(Path::new("/proc/self/limits")).unwrap_or_default();
    of_groups.chain(address_space(&own)).chain([machine]).min()
}

/// `MemTotal` of `/proc/meminfo`, in bytes.
fn installed(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|l| l.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// The soft limit on the address space in `/proc/self/limits`, if there is one.
fn address_space(limits: &str) -> Option<u64> {
    let line = limits
        .lines()
        .find_map(|l| l.strip_prefix("Max address space"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The files that limit the memory of the control groups in `/proc/self/cgroup`, of both versions:
/// those of the group itself and of all above it.
fn group_files(groups: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else {
            continue;
        };
        let (mount, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            list if list.split(',').any(|c| c == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => continue,
        };
        let inside = Path::new(path.trim_start_matches('/'));
        let above = inside.ancestors().map(|a| Path::new(mount).join(a));
        files.extend(above.map(|folder| folder.join(file)));
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_from_the_systems_files() {
        assert_eq!(
            installed("MemFree: 1 kB\nMemTotal:       16 kB\n"),
            Some(16384)
        );
        assert_eq!(installed("nothing"), None);
        let limits = "Limit   Soft Limit  Hard Limit  Units\n\
                      Max address space         4294967296           unlimited            bytes\n";
        assert_eq!(address_space(limits), Some(4 << 30));
        let unlimited = "Max address space         unlimited            unlimited            bytes";
        assert_eq!(address_space(unlimited), None);
    }

    #[test]
    fn a_group_is_bound_by_those_above_it() {
        let files = |groups: &str| -> Vec<String> {
            group_files(groups)
                .iter()
                .map(|f| f.display().to_string())
                .collect()
        };
        assert_eq!(
            files("0::/a/b\n"),
            [
                "/sys/fs/cgroup/a/b/memory.max",
                "/sys/fs/cgroup/a/memory.max",
                "/sys/fs/cgroup/memory.max"
            ]
        );
        assert_eq!(
            files("5:cpu,memory:/x\n4:cpuset:/y\nbroken"),
            [
                "/sys/fs/cgroup/memory/x/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes"
            ]
        );
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_machine_has_memory() {
        assert!(memory_limit().is_some_and(|bytes| bytes > 1 << 20));
        assert!(default_memory_budget() < memory_limit().unwrap());
    }
}
