//! How a run goes, on the terminal: a line that changes. In a pipe nothing.

use std::fmt::Write as _;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use load::hold::Counts;
use load::{Phase, Progress};

const BAR: &str = "{prefix:11.bold} {bar:24.green/dim} {wide_msg}";
/// A whole bar in steps.
const WHOLE: u32 = 1000;

/// The line, which goes when this is dropped.
pub(super) struct Shown {
    bar: ProgressBar,
    phase: Option<Phase>,
    /// The counts of the last look, and when it was.
    last: Option<(Instant, Counts)>,
    rate: f64,
}

impl Shown {
    pub(super) fn new() -> Self {
        let style = ProgressStyle::with_template(BAR).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::with_draw_target(Some(WHOLE.into()), ProgressDrawTarget::stderr());
        Self { bar: bar.with_style(style.progress_chars("━╸─")), phase: None, last: None, rate: 0.0 }
    }

    /// Shows how far the run is.
    pub(super) fn progress(&mut self, progress: &Progress) {
        if self.phase != Some(progress.phase) {
            self.phase = Some(progress.phase);
            self.bar.set_prefix(name(progress.phase));
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a bar")]
        self.bar.set_position((f64::from(WHOLE) * progress.done / progress.of.max(1.0)) as u64);
        let done = match progress.phase {
            Phase::Running => format!("{:.0} of {:.0} s", progress.done, progress.of),
            _ => format!("{} of {}", progress.done, progress.of),
        };
        let behind = progress.due - progress.acknowledged;
        let behind = if behind > 0 { format!(", {behind} events not yet published") } else { String::new() };
        let counts = self.counts(progress.counts);
        self.bar.set_message(format!("{done}: {counts}{behind}"));
    }

    /// Shows how the share of a run goes that is led by another process.
    pub(super) fn joined(&mut self, counts: Counts) {
        self.bar.set_prefix("joined");
        let text = self.counts(counts);
        self.bar.set_message(text);
    }

    fn counts(&mut self, counts: Counts) -> String {
        let now = Instant::now();
        match self.last {
            Some((then, before)) if now.duration_since(then).as_secs_f64() >= 1.0 => {
                #[expect(clippy::cast_precision_loss, reason = "shown to people")]
                let events = counts.events.saturating_sub(before.events) as f64;
                self.rate = events / now.duration_since(then).as_secs_f64();
                self.last = Some((now, counts));
            }
            Some(_) => {}
            None => self.last = Some((now, counts)),
        }
        let Counts { open, lost, repeated, reordered, rewritten, .. } = counts;
        let mut text = format!("{open} streams open, {:.0} events/s", self.rate);
        for (count, what) in [
            (lost, "missing"),
            (repeated, "repeated"),
            (reordered, "out of order"),
            (rewritten, "with another mark"),
        ] {
            if count > 0 {
                let _ = write!(text, ", {count} {what}");
            }
        }
        text
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn name(phase: Phase) -> &'static str {
    match phase {
        Phase::Mustering => "joining",
        Phase::Submitting => "submitting",
        Phase::Opening => "opening",
        Phase::Running => "running",
        Phase::Storming => "storm",
        Phase::Ending => "ending",
    }
}
