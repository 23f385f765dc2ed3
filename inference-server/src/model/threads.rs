//! The cgroup's CPU quota in; a number of threads out. Reads `/proc` and `/sys`, nothing else.

use std::{fs, path::Path, thread};

/// The threads that this process may keep busy: its cgroup's CPU quota rounded up, else the processors it may run on.
///
/// The cgroup is the one mounted at `/sys/fs/cgroup`, which in a container is the container's own.
pub fn available() -> usize {
    let processors = thread::available_parallelism().map_or(1, |n| n.get());
    quota(Path::new("/sys/fs/cgroup"))
        .map_or(processors, |quota| quota.min(processors))
        .max(1)
}

/// The quota in processors, rounded up (version 2: `cpu.max`; version 1: `cpu/cpu.cfs_quota_us` over its period).
fn quota(cgroup: &Path) -> Option<usize> {
    let number = |path: &str| {
        fs::read_to_string(cgroup.join(path))
            .ok()?
            .trim()
            .parse::<f64>()
            .ok()
    };
    let (quota, period) = match fs::read_to_string(cgroup.join("cpu.max")) {
        Ok(text) => {
            let (quota, period) = text.trim().split_once(' ')?;
            (quota.parse().ok()?, period.parse().ok()?)
        }
        Err(_) => (number("cpu/cpu.cfs_quota_us")?, number("cpu/cpu.cfs_period_us")?),
    };
    (quota > 0.0 && period > 0.0).then(|| (quota / period).ceil() as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cgroup(files: &[(&str, &str)]) -> Option<usize> {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        quota(dir.path())
    }

    #[test]
    fn a_quota_is_rounded_up_in_both_versions() {
        assert_eq!(cgroup(&[("cpu.max", "150000 100000\n")]), Some(2));
        assert_eq!(cgroup(&[("cpu.max", "50000 100000\n")]), Some(1));
        let version_1 = [
            ("cpu/cpu.cfs_quota_us", "400000\n"),
            ("cpu/cpu.cfs_period_us", "100000\n"),
        ];
        assert_eq!(cgroup(&version_1), Some(4));
    }

    #[test]
    fn no_quota_is_no_limit() {
        assert_eq!(cgroup(&[]), None);
        assert_eq!(cgroup(&[("cpu.max", "max 100000\n")]), None);
        let version_1 = [
            ("cpu/cpu.cfs_quota_us", "-1\n"),
            ("cpu/cpu.cfs_period_us", "100000\n"),
        ];
        assert_eq!(cgroup(&version_1), None);
        assert!(available() >= 1);
    }
}
