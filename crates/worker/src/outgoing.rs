//! One attempt's outbox between its handler, which fills it, and the attempt, which empties it.

use std::sync::Arc;
use std::time::Duration;

use model::report::Percent;
use model::{Json, Report};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::Failure;
use crate::coalesce::{Batch, Limits, Outbox, Parting};

/// The outbox and its two bells.
pub(crate) struct Outgoing {
    outbox: Mutex<Outbox>,
    began: Instant,
    /// Something came that may be due earlier than what was there.
    filled: Notify,
    /// There may be room again, or the outbox is closed.
    freed: Notify,
    /// Writers who wait for room stand in line, so that a long text stays in one piece.
    turn: tokio::sync::Mutex<()>,
    over: CancellationToken,
}

impl Outgoing {
    /// An empty one, for an attempt that is over with `over`.
    pub(crate) fn new(limits: Limits, over: CancellationToken) -> Self {
        Self {
            outbox: Mutex::new(Outbox::new(limits)),
            began: Instant::now(),
            filled: Notify::new(),
            freed: Notify::new(),
            turn: tokio::sync::Mutex::new(()),
            over,
        }
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Never waits.
    pub(crate) fn progress(&self, percent: Option<Percent>, message: &str) {
        let mut outbox = self.outbox.lock();
        let was_waiting = outbox.due().is_some();
        outbox.progress(percent, message);
        drop(outbox);
        // Whoever empties the box looks again by itself as long as anything waits in it.
        if !was_waiting {
            self.filled.notify_one();
        }
    }

    /// Waits while there is no room.
    pub(crate) async fn output(&self, json: &Json) -> Result<(), Failure> {
        self.put(|outbox, _| outbox.output(json)).await
    }

    /// Waits while there is no room.
    pub(crate) async fn text(&self, text: &str) -> Result<(), Failure> {
        let mut from = 0;
        self.put(|outbox, now| {
            from += outbox.text(now, &text[from..]);
            from == text.len()
        })
        .await
    }

    /// Puts something in by `put`, again and again until it returns true.
    async fn put(&self, mut put: impl FnMut(&mut Outbox, Duration) -> bool) -> Result<(), Failure> {
        let _turn = self.over.run_until_cancelled(self.turn.lock()).await.ok_or(Failure::Over)?;
        loop {
            let freed = self.freed.notified();
            let is_done = {
                let mut outbox = self.outbox.lock();
                if outbox.is_closed() {
                    return Err(Failure::Over);
                }
                put(&mut outbox, self.now())
            };
            self.filled.notify_one();
            if is_done {
                return Ok(());
            }
            self.over.run_until_cancelled(freed).await.ok_or(Failure::Over)?;
        }
    }

    /// Waits until something is to be written. The same batch again until it is acknowledged.
    pub(crate) async fn next(&self) -> Arc<Batch> {
        loop {
            let due = {
                let mut outbox = self.outbox.lock();
                if let Some(batch) = outbox.take(self.now()) {
                    return batch;
                }
                outbox.due()
            };
            let wait = async {
                match due {
                    Some(due) => tokio::time::sleep_until(self.began + due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = wait => {}
                () = self.filled.notified() => {}
            }
        }
    }

    /// Batch `number` is written.
    pub(crate) fn acknowledge(&self, number: u64) {
        self.outbox.lock().acknowledge(number, self.now());
        self.freed.notify_waiters();
    }

    /// Nothing comes any more: further outputs are refused, further progress is ignored.
    pub(crate) fn close(&self) {
        self.outbox.lock().close();
        self.freed.notify_waiters();
    }

    /// What goes next, once closed.
    pub(crate) fn part(&self) -> Parting {
        self.outbox.lock().part(self.now())
    }

    /// The number of the batch in flight, or else of the next one.
    pub(crate) fn next_number(&self) -> u64 {
        self.outbox.lock().next_number()
    }

    /// All that is left goes with the end.
    pub(crate) fn gather(&self) {
        self.outbox.lock().gather(self.now());
    }
}

/// What an output too large is answered with.
pub(crate) fn too_large(what: &str, size: usize, limit: usize) -> Failure {
    Failure::fatal(format!(
        "the {what} is too large: {size} bytes where an event holds at most {limit}; store it elsewhere and return a link"
    ))
}

/// The event's size of an output.
pub(crate) fn output_size(json: &Json) -> usize {
    Report::Output(json.clone()).event_size()
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;
    use crate::Options;

    fn outgoing(buffer: usize) -> Outgoing {
        let options = Options { buffer, max_event: 1024, ..Options::default() };
        Outgoing::new(options.outbox_limits(), CancellationToken::new())
    }

    /// Takes and acknowledges one batch.
    async fn write(outgoing: &Outgoing) -> Vec<Report> {
        let batch = outgoing.next().await;
        outgoing.acknowledge(batch.number);
        batch.reports.clone()
    }

    #[tokio::test]
    async fn who_reports_more_than_there_is_room_for_waits_and_loses_nothing() {
        let outgoing = outgoing(2048);
        let long: String = ('a'..='z').cycle().take(10_000).collect();
        let mut writer = pin!(async {
            outgoing.text(&long).await.unwrap();
            outgoing.output(&Json::null()).await.unwrap();
            outgoing.close();
        });
        let mut reports = Vec::new();
        loop {
            tokio::select! {
                biased;
                () = &mut writer => break,
                batch = write(&outgoing) => reports.extend(batch),
            }
        }
        while let Parting::First(batch) | Parting::Last(Some(batch)) = outgoing.part() {
            outgoing.acknowledge(batch.number);
            reports.extend(batch.reports.clone());
        }
        assert_eq!(reports.pop(), Some(Report::Output(Json::null())));
        let text: String = reports
            .iter()
            .map(|report| match report {
                Report::Text(text) => text.as_str(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(text, long);
    }

    #[tokio::test]
    async fn who_waits_for_room_hears_that_the_attempt_is_over() {
        let null = Json::null();
        let full = |outgoing: &Outgoing| while outgoing.outbox.lock().output(&null) {};
        let cancelled = outgoing(1024);
        full(&cancelled);
        let (waited, ()) = tokio::join!(cancelled.output(&null), async { cancelled.over.cancel() });
        assert_eq!(waited, Err(Failure::Over));
        let closed = outgoing(1024);
        full(&closed);
        let (waited, ()) = tokio::join!(closed.text("x"), async { closed.close() });
        assert_eq!(waited, Err(Failure::Over));
    }
}
