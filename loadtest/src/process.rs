//! CPU time, memory, sleeps and open files of a process, from /proc.

use std::fs;

use anyhow::Context as _;

/// Ticks per second in /proc/PID/stat: USER_HZ, 100 on every Linux of today.
const TICKS: f64 = 100.0;

/// User and system CPU seconds of all threads of a process, those that ended included.
pub(crate) fn cpu_seconds(pid: u32) -> anyhow::Result<f64> {
    let path = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&path).with_context(|| path.clone())?;
    parse_cpu(&stat).with_context(|| format!("{path} is not as expected"))
}

/// User and system CPU seconds of the calling thread.
pub(crate) fn own_thread_cpu_seconds() -> anyhow::Result<f64> {
    let path = "/proc/thread-self/stat";
    let stat = fs::read_to_string(path).context(path)?;
    parse_cpu(&stat).with_context(|| format!("{path} is not as expected"))
}

/// Resident memory of a process in bytes.
pub(crate) fn resident_bytes(pid: u32) -> anyhow::Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).with_context(|| path.clone())?;
    parse_kibibytes(&status, "VmRSS:").with_context(|| format!("{path} has no VmRSS"))
}

/// The most resident memory that a process ever had, in bytes.
pub(crate) fn peak_resident_bytes(pid: u32) -> anyhow::Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).with_context(|| path.clone())?;
    parse_kibibytes(&status, "VmHWM:").with_context(|| format!("{path} has no VmHWM"))
}

/// How often the threads of a process went to sleep, those that ended not included.
pub(crate) fn sleeps(pid: u32) -> anyhow::Result<u64> {
    let folder = format!("/proc/{pid}/task");
    let mut sum = 0;
    for task in fs::read_dir(&folder).with_context(|| folder.clone())? {
        // A thread may end between the listing and this.
        let Ok(status) = fs::read_to_string(task?.path().join("status")) else { continue };
        sum += parse_sleeps(&status).with_context(|| format!("{folder} is not as expected"))?;
    }
    Ok(sum)
}

/// How many files a process has open.
pub(crate) fn open_files(pid: u32) -> anyhow::Result<u64> {
    let folder = format!("/proc/{pid}/fd");
    Ok(fs::read_dir(&folder).with_context(|| folder.clone())?.count() as u64)
}

/// How many files this process may have open.
pub(crate) fn open_file_limit() -> anyhow::Result<usize> {
    let limits = fs::read_to_string("/proc/self/limits").context("/proc/self/limits")?;
    parse_file_limit(&limits).context("/proc/self/limits has no \"Max open files\"")
}

/// This process's id.
pub(crate) fn own_id() -> u32 {
    std::process::id()
}

/// The command's name, in parentheses, may hold anything; the fields after it are numbers.
fn parse_cpu(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut times = fields.split(' ').skip(11).map(|field| field.parse::<u64>().ok());
    let ticks = times.next()?? + times.next()??;
    Some(ticks as f64 / TICKS)
}

fn parse_sleeps(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
    line.trim().parse().ok()
}

fn parse_kibibytes(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

fn parse_file_limit(limits: &str) -> Option<usize> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(usize::MAX),
        soft => soft.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_kernel_writes() {
        let stat = "12 (a) b) S 1 12 12 0 -1 4194560 1 2 3 4 150 50 7 8 20 0 3 0 99";
        assert_eq!(parse_cpu(stat), Some(2.0));
        assert_eq!(parse_kibibytes("VmHWM:\t 9 kB\nVmRSS:\t    12 kB\n", "VmRSS:"), Some(12 * 1024));
        assert_eq!(parse_sleeps("voluntary_ctxt_switches:\t7\nnonvoluntary_ctxt_switches:\t9\n"), Some(7));
        let limits = "Limit Soft Hard Units\nMax open files            20000  20001  files\n";
        assert_eq!(parse_file_limit(limits), Some(20_000));
    }

    #[test]
    fn reads_its_own() {
        assert!(cpu_seconds(own_id()).unwrap() >= own_thread_cpu_seconds().unwrap() - 0.02);
        assert!(resident_bytes(own_id()).unwrap() > 100_000);
        assert!(peak_resident_bytes(own_id()).unwrap() > 100_000);
        assert!(open_file_limit().unwrap() > 0);
        assert!(open_files(own_id()).unwrap() > 2);
        assert!(sleeps(own_id()).is_ok());
        assert!(cpu_seconds(u32::MAX).is_err());
    }
}
