//! What an attempt has reported and not yet written: coalesced, bounded, in batches. Pure: the time is passed in.
//!
//! - Progress: the latest wins, at most one event per interval. It never overtakes what was reported before it.
//! - Outputs: never merged; the first of a burst is due at once, those that follow it closely go together.
//! - Texts: joined into one event while they wait, up to an event's size; due after an interval, or when something follows.
//! - A batch, once taken, stays the same until it is acknowledged, so that its repeat is recognised by its number.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use model::report::{EVENT_OVERHEAD, Percent};
use model::{Json, Report};

use crate::fit::{self, QUOTES, WIDEST, fit};

/// The most bytes of a batch, so that no script holds Redis up for long.
const BATCH_BYTES: usize = 256 * 1024;
/// The most reports of a batch; the same reason.
const BATCH_REPORTS: usize = 256;
/// The shortest time between two writes of outputs, unless a batch is full: Redis spends about as much on a call as on ten
/// more events in it, and outputs may come by the thousand in a second.
const PACE: Duration = Duration::from_millis(5);
/// The most bytes of a progress message as JSON: it is a short sentence for people.
const MAX_MESSAGE: usize = 4096;

/// The limits of one attempt's outbox.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// The most bytes of an event.
    pub(crate) event: usize,
    /// The most bytes of waiting outputs and texts, in flight or not.
    pub(crate) buffer: usize,
    /// The shortest time between two progress events.
    pub(crate) progress_interval: Duration,
    /// How long a text waits for more.
    pub(crate) text_interval: Duration,
}

/// One write: some reports, in order, with the number by which a repeat is recognised.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Batch {
    /// From 1, without holes.
    pub(crate) number: u64,
    /// What is written; not empty.
    pub(crate) reports: Vec<Report>,
    /// How many of them, from the first, may be written already under this number: all, unless others were gathered behind them.
    pub(crate) sent: usize,
    bytes: usize,
}

/// What goes next at the end.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Parting {
    /// This first, as a write of its own.
    First(Arc<Batch>),
    /// This together with the end; `None` if nothing is left.
    Last(Option<Arc<Batch>>),
}

/// What has been reported and not yet written. Times are counted from any one moment.
#[derive(Debug)]
pub(crate) struct Outbox {
    limits: Limits,
    /// Outputs and texts, oldest first.
    pieces: VecDeque<Piece>,
    /// How many pieces were taken before those.
    taken: u64,
    progress: Option<Progress>,
    /// When a progress event was last known to be written.
    progress_written: Option<Duration>,
    /// When outputs or texts were last taken.
    pieces_taken: Option<Duration>,
    in_flight: Option<Arc<Batch>>,
    next_number: u64,
    /// The bytes of pieces that wait or are in flight.
    used: usize,
    closed: bool,
}

#[derive(Debug)]
enum Piece {
    Output { json: Json, size: usize },
    Text { text: String, escaped: usize, since: Duration },
}

impl Piece {
    fn size(&self) -> usize {
        match self {
            Self::Output { size, .. } => *size,
            Self::Text { escaped, .. } => EVENT_OVERHEAD + QUOTES + escaped,
        }
    }

    fn into_report(self) -> Report {
        match self {
            Self::Output { json, .. } => Report::Output(json),
            Self::Text { text, .. } => Report::Text(text),
        }
    }
}

#[derive(Debug)]
struct Progress {
    percent: Option<Percent>,
    message: String,
    /// How many pieces had been reported before it, and go before it.
    after: u64,
}

impl Outbox {
    pub(crate) const fn new(limits: Limits) -> Self {
        Self {
            limits,
            pieces: VecDeque::new(),
            taken: 0,
            progress: None,
            progress_written: None,
            pieces_taken: None,
            in_flight: None,
            next_number: 1,
            used: 0,
            closed: false,
        }
    }

    /// Takes note of the newest progress; what was there and not yet taken is forgotten. An empty message is none.
    pub(crate) fn progress(&mut self, percent: Option<Percent>, message: &str) {
        if self.closed {
            return;
        }
        let after = self.taken + self.pieces.len() as u64;
        // A handler may call this a million times a second: the message's memory is used again.
        let slot = self.progress.get_or_insert_with(|| Progress { percent, message: String::new(), after });
        slot.percent = percent;
        slot.after = after;
        slot.message.clear();
        slot.message.push_str(message);
    }

    /// How many bytes of outputs and texts may still come.
    pub(crate) const fn room(&self) -> usize {
        self.limits.buffer.saturating_sub(self.used)
    }

    /// Whether an event of `size` bytes may come now. An empty outbox takes any.
    const fn takes(&self, size: usize) -> bool {
        self.used == 0 || size <= self.room()
    }

    /// Takes an output, whose event is no larger than an event may be; false if there is no room now.
    pub(crate) fn output(&mut self, json: &Json) -> bool {
        let size = EVENT_OVERHEAD + json.as_str().len();
        if !self.takes(size) {
            return false;
        }
        self.push(Piece::Output { json: json.clone(), size });
        true
    }

    /// Takes as much of `text` as there is room for, and returns its length in bytes.
    pub(crate) fn text(&mut self, now: Duration, text: &str) -> usize {
        let mut from = 0;
        while from < text.len() {
            match self.text_piece(now, &text[from..]) {
                0 => break,
                taken => from += taken,
            }
        }
        from
    }

    /// The same, for one event.
    fn text_piece(&mut self, now: Duration, text: &str) -> usize {
        let most = self.limits.event.saturating_sub(EVENT_OVERHEAD + QUOTES).max(WIDEST);
        let room = self.room();
        if let Some(Piece::Text { text: open, escaped, .. }) = self.pieces.back_mut()
            && *escaped + WIDEST <= most
        {
            let (end, width) = fit(text, (most - *escaped).min(room));
            open.push_str(&text[..end]);
            *escaped += width;
            self.used += width;
            return end;
        }
        let room = if self.used == 0 { most } else { room.saturating_sub(EVENT_OVERHEAD + QUOTES).min(most) };
        let (end, escaped) = fit(text, room);
        if end > 0 {
            self.push(Piece::Text { text: text[..end].to_owned(), escaped, since: now });
        }
        end
    }

    fn push(&mut self, piece: Piece) {
        self.used += piece.size();
        self.pieces.push_back(piece);
    }

    /// Whether nothing may come any more.
    pub(crate) const fn is_closed(&self) -> bool {
        self.closed
    }

    /// Nothing comes any more; all that waits is due.
    pub(crate) const fn close(&mut self) {
        self.closed = true;
    }

    /// When [`Self::take`] will have something; `None` as long as nothing waits, or a batch is in flight.
    pub(crate) fn due(&self) -> Option<Duration> {
        if self.in_flight.is_some() {
            return None;
        }
        let piece = self.pieces.front().map(|piece| self.piece_due(piece));
        let first_in_line = self.progress.as_ref().filter(|progress| progress.after <= self.taken);
        let progress = first_in_line.map(|_| self.progress_due());
        piece.into_iter().chain(progress).min()
    }

    fn piece_due(&self, piece: &Piece) -> Duration {
        match piece {
            Piece::Text { since, .. } if self.pieces.len() == 1 && !self.closed => {
                *since + self.limits.text_interval
            }
            _ if self.closed || self.is_batchful() => Duration::ZERO,
            _ => self.pieces_taken.map_or(Duration::ZERO, |taken| taken + PACE),
        }
    }

    /// Whether there is no more to be won by waiting, or whoever reports might have to wait for room.
    fn is_batchful(&self) -> bool {
        self.pieces.len() >= BATCH_REPORTS || self.used >= BATCH_BYTES.min(self.limits.buffer / 2)
    }

    fn progress_due(&self) -> Duration {
        match self.progress_written {
            Some(written) if !self.closed => written + self.limits.progress_interval,
            _ => Duration::ZERO,
        }
    }

    /// What is to be written at `now`: the batch in flight, or else a new one of what is due.
    pub(crate) fn take(&mut self, now: Duration) -> Option<Arc<Batch>> {
        if let Some(in_flight) = &self.in_flight {
            return Some(Arc::clone(in_flight));
        }
        if self.is_batchful() {
            // However little is left of it when a part was taken.
            self.pieces_taken = None;
        }
        let (mut reports, mut bytes) = (Vec::new(), 0);
        while reports.len() < BATCH_REPORTS {
            if let Some(report) = self.next_progress(now) {
                reports.push(report);
            } else if let Some(piece) = self.next_piece(now, BATCH_BYTES.saturating_sub(bytes), bytes == 0) {
                bytes += piece.size();
                reports.push(piece.into_report());
            } else {
                break;
            }
        }
        if bytes > 0 {
            self.pieces_taken = Some(now);
        }
        let sent = reports.len();
        self.fly(reports, sent, bytes)
    }

    fn next_progress(&mut self, now: Duration) -> Option<Report> {
        let is_due = self.progress_due() <= now;
        let Progress { percent, message, .. } =
            self.progress.take_if(|progress| is_due && progress.after <= self.taken)?;
        // Until the batch is known to be written there is no other one; then this is set anew.
        self.progress_written = Some(now);
        let most = self.limits.event.saturating_sub(EVENT_OVERHEAD + WIDEST * 4).min(MAX_MESSAGE);
        let message = (!message.is_empty()).then(|| fit::cut(&message, most));
        Some(Report::Progress { progress: percent, message })
    }

    fn next_piece(&mut self, now: Duration, room: usize, is_first: bool) -> Option<Piece> {
        let piece = self.pieces.front()?;
        if self.piece_due(piece) > now || !is_first && piece.size() > room {
            return None;
        }
        self.taken += 1;
        self.pieces.pop_front()
    }

    fn fly(&mut self, reports: Vec<Report>, sent: usize, bytes: usize) -> Option<Arc<Batch>> {
        if reports.is_empty() {
            return None;
        }
        let batch = Arc::new(Batch { number: self.next_number, reports, sent, bytes });
        self.in_flight = Some(Arc::clone(&batch));
        Some(batch)
    }

    /// Batch `number` is written.
    pub(crate) fn acknowledge(&mut self, number: u64, now: Duration) {
        let Some(done) = self.in_flight.take_if(|batch| batch.number == number) else { return };
        self.used = self.used.saturating_sub(done.bytes);
        self.next_number = number + 1;
        if done.reports.iter().any(|report| matches!(report, Report::Progress { .. })) {
            self.progress_written = Some(now);
        }
    }

    /// The number of the batch in flight, or else of the next one.
    pub(crate) const fn next_number(&self) -> u64 {
        self.next_number
    }

    /// What goes next, once closed.
    pub(crate) fn part(&mut self, now: Duration) -> Parting {
        match self.take(now) {
            Some(batch) if !self.is_empty() => Parting::First(batch),
            rest => Parting::Last(rest),
        }
    }

    fn is_empty(&self) -> bool {
        self.pieces.is_empty() && self.progress.is_none()
    }

    /// Makes one batch of all that is left, however large, to go with the end where Redis is too full for any other write. The batch
    /// in flight stays its first part, and may be written already.
    pub(crate) fn gather(&mut self, now: Duration) {
        let in_flight = self.in_flight.take().map(Arc::unwrap_or_clone);
        let sent = in_flight.as_ref().map(|batch| batch.sent);
        let (mut reports, mut bytes) =
            in_flight.map(|batch| (batch.reports, batch.bytes)).unwrap_or_default();
        loop {
            if let Some(report) = self.next_progress(now) {
                reports.push(report);
            } else if let Some(piece) = self.next_piece(now, usize::MAX, false) {
                bytes += piece.size();
                reports.push(piece.into_report());
            } else {
                break;
            }
        }
        let sent = sent.unwrap_or(reports.len());
        self.fly(reports, sent, bytes);
    }
}

#[cfg(test)]
mod tests;
