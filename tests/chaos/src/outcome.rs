//! What came of a run: the verdict, what the driver itself found amiss, and a line for the table of several runs.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use crate::checker::{Counts, Verdict, check};
use crate::plant::Plant;
use crate::record::{RecordError, Run};
use crate::report::{self, Summary};

/// One run's outcome.
#[derive(Debug)]
pub struct Outcome {
    name: String,
    /// The planted fault, if one was.
    planted: Option<String>,
    verdict: Verdict,
    summary: Summary,
    /// What the driver found amiss.
    wrong: Vec<String>,
}

impl Outcome {
    /// Judges a run, and prints its verdict.
    pub fn of(run: &Run) -> Self {
        let wrong = run.notes.iter().filter(|note| note.starts_with("WRONG:")).cloned().collect();
        let name = format!("{} {}, seed {}", run.topology.name(), run.durability.name(), run.seed);
        let verdict = check(run);
        let summary = Summary::of(run, &verdict);
        let outcome = Self { name, planted: run.planted.clone(), verdict, summary, wrong };
        let mut out = io::stderr().lock();
        let mut say = |line: String| _ = writeln!(out, "{line}");
        for note in &run.notes {
            say(format!("  {note}"));
        }
        for (kind, count) in outcome.verdict.by_kind() {
            say(format!("{count} × {kind}"));
            let of_kind = outcome.verdict.violations.iter().filter(|violation| violation.kind.name() == kind);
            for violation in of_kind.take(SHOWN) {
                let client = violation.client.map(|n| format!("client {n} ")).unwrap_or_default();
                let at = violation.at_ms.map(|ms| format!("at {ms} ms ")).unwrap_or_default();
                let about = violation.about.as_deref().unwrap_or_default();
                say(format!("    {client}{at}{about}: {}", violation.sentence));
            }
        }
        say(line(&outcome));
        if let Some(plant) = outcome.planted.as_deref().and_then(Plant::named) {
            let found = if outcome.is_as_it_should_be() { "found" } else { "NOT FOUND" };
            say(format!("{}, planted, was {found}: it shows as {}", plant.name, plant.signs()));
        }
        outcome
    }

    /// What happened.
    pub fn counts(&self) -> &Counts {
        &self.verdict.counts
    }

    /// Whether no promise was broken; where a fault was planted, whether it was found for what it is.
    pub fn is_as_it_should_be(&self) -> bool {
        match &self.planted {
            Some(name) => Plant::named(name).is_some_and(|plant| plant.is_found(&self.verdict)),
            None => self.verdict.passed() && self.wrong.is_empty(),
        }
    }
}

/// Most violations that are printed of each kind.
const SHOWN: usize = 5;

/// Judges a run, prints its verdict, and leaves the record and its report in `folder`; the parts' logs too, if anything is wrong or
/// they are to be kept.
pub fn judge(run: &Run, folder: &Path, keep: bool) -> Result<Outcome, RecordError> {
    run.write(&folder.join("run.json"))?;
    let outcome = Outcome::of(run);
    report::write(run, &outcome.verdict, folder)?;
    if outcome.is_as_it_should_be() && !keep {
        for file in fs::read_dir(folder)?.flatten() {
            if file.path().extension().is_some_and(|extension| extension == "log") {
                fs::remove_file(file.path())?;
            }
        }
    }
    Ok(outcome)
}

/// All runs as a table in Markdown, and what they come to.
pub fn table(outcomes: &[Outcome]) -> String {
    let summaries: Vec<_> = outcomes.iter().map(|outcome| outcome.summary.clone()).collect();
    let text = report::table(&summaries);
    let good = outcomes.iter().filter(|outcome| outcome.is_as_it_should_be()).count();
    text + &format!("{good} of {} runs as they should be\n", outcomes.len())
}

fn line(outcome: &Outcome) -> String {
    let counts = &outcome.verdict.counts;
    let faults: Vec<_> = counts.faults.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    format!(
        "{:<28} {} violations, {} wrong; {} jobs, {} clients, {} events, {} reconnects, {} rewinds, {} trims, {} ends lost; {}",
        outcome.name,
        outcome.verdict.violations.len(),
        outcome.wrong.len(),
        counts.jobs,
        counts.clients,
        counts.events,
        counts.reconnects,
        counts.rewinds,
        counts.trims,
        counts.ends_lost,
        faults.join(", ")
    )
}
