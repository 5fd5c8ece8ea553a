//! `/proc`.

use std::fs;

/// The processor time of all threads of `pid` since its start, in seconds.
pub(crate) fn cpu(pid: u32) -> Option<f64> {
    ticks(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The proportional set size of `pid`, in bytes: its own memory, and its share of what it shares. Not cheap.
pub(crate) fn proportional(pid: u32) -> Option<u64> {
    kilobytes(&fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?, "Pss:")
}

/// The resident set of `pid`, in bytes.
pub(crate) fn resident(pid: u32) -> Option<u64> {
    kilobytes(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?, "VmRSS:")
}

/// The memory that the kernel holds for TCP on this machine, in bytes.
pub(crate) fn kernel() -> Option<u64> {
    let pages = tcp_pages(&fs::read_to_string("/proc/net/sockstat").ok()?)?;
    Some(pages * rustix::param::page_size() as u64)
}

#[expect(clippy::cast_precision_loss, reason = "a process' ticks are far from 2^52")]
fn ticks(stat: &str) -> Option<f64> {
    // The name, in parentheses, may hold anything.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(11);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some((user + system) as f64 / rustix::param::clock_ticks_per_second() as f64)
}

fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix(" kB")?.trim().parse().ok().map(|kilobytes: u64| kilobytes * 1024)
}

fn tcp_pages(sockstat: &str) -> Option<u64> {
    let line = sockstat.lines().find_map(|line| line.strip_prefix("TCP: "))?;
    line.rsplit_once("mem ")?.1.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_writes_is_read() {
        let stat = "4242 (a) b (c) S 1 1 1 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 8 0 1 2 3";
        let seconds = ticks(stat).unwrap();
        assert!((0.01..=20.0).contains(&seconds), "200 ticks, 100 a second usually: {seconds}");
        assert_eq!(kilobytes("Rss:  10 kB\nPss:        7 kB\nPss_Dirty: 1 kB\n", "Pss:"), Some(7168));
        assert_eq!(
            tcp_pages("sockets: used 9\nTCP: inuse 5 orphan 0 tw 0 alloc 8 mem 23\nUDP: mem 1\n"),
            Some(23)
        );
    }

    #[test]
    fn this_process_is_there() {
        let pid = std::process::id();
        assert!(
            cpu(pid).is_some() && resident(pid).unwrap() > 100_000 && proportional(pid).unwrap() > 10_000
        );
        assert!(cpu(u32::MAX).is_none() && resident(u32::MAX).is_none() && proportional(u32::MAX).is_none());
    }
}
