//! On which cores things run: what is measured has one for itself, and everybody else the other.

use std::ffi::OsString;

/// The core of the server that is measured, and that of everybody else.
const CORES: [&str; 2] = ["0", "1"];

/// How `program` is started where the server that is measured runs, which is its own core if it is pinned.
pub(crate) fn as_server(program: impl Into<OsString>, pin: bool) -> (OsString, Vec<OsString>) {
    if pin {
        ("taskset".into(), vec!["-c".into(), CORES[0].into(), program.into()])
    } else {
        (program.into(), Vec::new())
    }
}

/// As long as it lives this process, and what it starts, leaves the server's core alone.
pub(crate) struct OffTheServersCore(String);

impl OffTheServersCore {
    pub(crate) fn begin() -> anyhow::Result<Self> {
        let this = std::process::id().to_string();
        let now = std::process::Command::new("taskset").args(["-p", "-c", &this]).output()?;
        let before = String::from_utf8(now.stdout)?.rsplit(' ').next().unwrap_or_default().trim().to_owned();
        confine(CORES[1])?;
        Ok(Self(before))
    }
}

impl Drop for OffTheServersCore {
    fn drop(&mut self) {
        // What follows only runs slower where it fails.
        let _ = confine(&self.0);
    }
}

/// This process runs on these cores alone.
fn confine(cores: &str) -> anyhow::Result<()> {
    let this = std::process::id().to_string();
    let done = std::process::Command::new("taskset").args(["-a", "-p", "-c", cores, &this]).output()?;
    anyhow::ensure!(done.status.success(), "taskset: {}", String::from_utf8_lossy(&done.stderr));
    Ok(())
}
