//! The bars on the terminal.

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use client::{Connection, Event, FollowError, JobId};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::view::{Change, View};
use crate::command::people::{Failure, plain, width};

/// A whole bar in steps: tenths of a percent, so that it moves smoothly.
const WHOLE: u64 = 1000;
/// How often a bar moves by itself, to show that it lives.
const TICK: Duration = Duration::from_millis(120);

const KNOWN: &str = "{prefix:.bold} {bar:30.green/dim} {percent:>3} % {elapsed:.dim} {wide_msg}";
const UNKNOWN: &str = "{prefix:.bold} {spinner:.green} {elapsed:.dim} {wide_msg}";
const WELL: &str = "{prefix:.bold} {wide_msg:.green}";
const BADLY: &str = "{prefix:.bold} {wide_msg:.red}";
const REST: &str = "{wide_msg}";

/// All jobs that are watched.
pub(super) struct Screen {
    bars: MultiProgress,
    jobs: HashMap<JobId, Shown>,
}

struct Shown {
    view: View,
    bar: ProgressBar,
    /// The text that isn't a whole line yet, above the bar.
    rest: Option<ProgressBar>,
    /// What the job is engaged in, to be shown again when the connection is back.
    message: String,
    /// Several jobs' lines are told apart by their names.
    label: String,
    several: bool,
}

impl Screen {
    /// A bar for each of `ids`.
    pub(super) fn new(ids: &[JobId]) -> Self {
        let bars = MultiProgress::with_draw_target(ProgressDrawTarget::stdout());
        let shown = |&id: &JobId| {
            let view = View::new(id);
            let bar = bars.add(ProgressBar::new(WHOLE).with_style(style(UNKNOWN)));
            let label = view.name(None);
            bar.set_prefix(label.clone());
            bar.set_message("connecting");
            bar.enable_steady_tick(TICK);
            (id, Shown { view, bar, rest: None, message: String::new(), label, several: ids.len() > 1 })
        };
        let jobs = ids.iter().map(shown).collect();
        Self { bars, jobs }
    }

    /// Shows an event.
    pub(super) fn event(&mut self, id: JobId, event: &Event) -> Result<(), Failure> {
        let Some(job) = self.jobs.get_mut(&id) else { return Ok(()) };
        let label = if job.several { job.label.chars().count() + 2 } else { 0 };
        for change in job.view.take(event, width().saturating_sub(label + 1)) {
            job.change(&self.bars, change)?;
        }
        Ok(())
    }

    /// Shows what happened to a job's connection.
    pub(super) fn connection(&mut self, id: JobId, connection: &Connection) {
        let Some(job) = self.jobs.get(&id).filter(|job| !job.bar.is_finished()) else { return };
        job.bar.set_message(match connection {
            Connection::Waiting { why } if !why.is_empty() => plain(why).replace('\n', " "),
            Connection::Polling => format!("{} (the stream can't be had; polling)", job.message),
            _ => job.message.clone(),
        });
    }

    /// Shows that nothing more will be known of a job.
    pub(super) fn lost(&mut self, id: JobId, error: &FollowError) -> Result<(), Failure> {
        let Some(job) = self.jobs.get_mut(&id) else { return Ok(()) };
        job.change(&self.bars, Change::Ended { well: false, says: plain(&error.to_string()) })
    }

    /// Leaves the bars as they stand.
    pub(super) fn leave(&mut self) {
        for job in self.jobs.values() {
            job.rest.iter().chain([&job.bar]).for_each(ProgressBar::abandon);
        }
    }
}

impl Shown {
    fn change(&mut self, bars: &MultiProgress, change: Change) -> Result<(), Failure> {
        match change {
            Change::Name(name) => {
                self.bar.set_prefix(name.clone());
                self.label = name;
            }
            Change::Progress(None) => self.bar.set_style(style(UNKNOWN)),
            Change::Progress(Some(percent)) => {
                self.bar.set_style(style(KNOWN));
                self.bar.set_position(steps(percent));
            }
            Change::Message(message) => {
                self.message = message.replace('\n', " ");
                self.bar.set_message(self.message.clone());
            }
            Change::Begun => self.bar.reset_elapsed(),
            Change::Print(line) => self.print(bars, &line)?,
            Change::Rest(rest) => self.set_rest(bars, rest),
            Change::Ended { well, says } => {
                self.set_rest(bars, String::new());
                self.bar.disable_steady_tick();
                self.bar.set_style(style(if well { WELL } else { BADLY }));
                self.bar.abandon_with_message(format!("{} {}", if well { '✓' } else { '✗' }, says));
            }
        }
        Ok(())
    }

    fn print(&self, bars: &MultiProgress, lines: &str) -> io::Result<()> {
        for line in lines.split('\n') {
            let line = if self.several { format!("{}: {line}", self.label) } else { line.to_owned() };
            bars.println(line)?;
        }
        Ok(())
    }

    fn set_rest(&mut self, bars: &MultiProgress, rest: String) {
        if rest.is_empty() {
            if let Some(bar) = self.rest.take() {
                bar.finish_and_clear();
                bars.remove(&bar);
            }
            return;
        }
        let text = if self.several { format!("{}: {rest}", self.label) } else { rest };
        let bar = self.rest.get_or_insert_with(|| {
            let bar = ProgressBar::new_spinner().with_style(style(REST));
            bars.insert_before(&self.bar, bar)
        });
        bar.set_message(text);
    }
}

/// A percentage in steps of a bar.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a percentage is 0 to 100")]
fn steps(percent: f64) -> u64 {
    (percent * 10.0) as u64
}

fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    style.progress_chars("━╸─").tick_chars("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ ")
}
