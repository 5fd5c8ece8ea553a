//! The machine's clocks, finer than `model::Clock`: events are stamped by the one of the publisher and taken by that of the
//! holder, so on several machines both must agree.

use rustix::time::{ClockId, Timespec, clock_gettime};

/// Microseconds since the Unix epoch.
pub(crate) fn now_us() -> u64 {
    micros(clock_gettime(ClockId::Realtime))
}

/// The processor time that this thread has used, in microseconds.
pub(crate) fn thread_cpu_us() -> u64 {
    micros(clock_gettime(ClockId::ThreadCPUTime))
}

fn micros(time: Timespec) -> u64 {
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0) / 1000
}
