//! The programs that workers run for a job.

use std::fs;

use model::JobId;

/// The process ids of the programs that run for the job's `attempt`, whatever worker started them, as the exec protocol's
/// variables tell. A dead one that nobody has reaped has none.
pub fn programs_of(job: JobId, attempt: u32) -> Vec<u32> {
    let wanted = [format!("JOBCAST_JOB_ID={job}"), format!("JOBCAST_ATTEMPT={attempt}")];
    let runs = |pid: &u32| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let variables: Vec<_> = environment.split(|&byte| byte == 0).collect();
        wanted.iter().all(|variable| variables.contains(&variable.as_bytes()))
    };
    let processes =
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    processes.filter(runs).collect()
}
