//! What people read of a run: a line in a table, a picture of what happened when, and the same as JSON for programs.

mod scale;
mod summary;
mod svg;
mod table;
mod timeline;

pub use summary::Summary;
pub use table::table;
pub use timeline::timeline;

use std::fs;
use std::io;
use std::path::Path;

use crate::checker::Verdict;
use crate::record::Run;

/// Writes `verdict.json`, `summary.json`, `table.md` and `timeline.svg` into `folder`, which is there. Returns the summary.
pub fn write(run: &Run, verdict: &Verdict, folder: &Path) -> io::Result<Summary> {
    let summary = Summary::of(run, verdict);
    fs::write(folder.join("verdict.json"), serde_json::to_vec_pretty(verdict)?)?;
    fs::write(folder.join("summary.json"), serde_json::to_vec_pretty(&summary)?)?;
    fs::write(folder.join("table.md"), table(std::slice::from_ref(&summary)))?;
    fs::write(folder.join("timeline.svg"), timeline(run, verdict))?;
    Ok(summary)
}
