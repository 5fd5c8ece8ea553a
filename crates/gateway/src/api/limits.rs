//! How many jobs of a task may run at once, as declared.

use service::config::TaskConfig;
use store::RunLimits;

/// The limits of a task.
pub(super) fn run_limits(task: &TaskConfig) -> RunLimits {
    RunLimits { fleet: task.max_running, per_owner: task.max_running_per_owner }
}
