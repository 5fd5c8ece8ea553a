//! A stream as bytes: what a client is sent, from `retry:` to the end, whichever carrier takes it there.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Bytes;
use axum::response::Response;
use parking_lot::Mutex;
use pin_project_lite::pin_project;
use tokio::sync::futures::OwnedNotified;
use tokio::time::Instant;

use crate::App;
use crate::hub::{Follow, Next, Several, Turn, WaitFor};

/// A comment, without an empty line after it: some clients would fire an empty event.
const HEARTBEAT: Bytes = Bytes::from_static(b":\n");

/// How a stream's clients are told a frame; `None` if they aren't. Comments pass through it too.
pub(crate) type Words = fn(Bytes) -> Option<Bytes>;

/// The words of the log itself.
pub(crate) fn as_it_is(frame: Bytes) -> Option<Bytes> {
    Some(frame).filter(|frame| !frame.is_empty())
}

/// What is behind a stream.
pub(crate) enum Source {
    /// Redis is away: what the stream is of isn't known yet.
    Opening(Pin<Box<dyn Future<Output = Opened> + Send>>),
    /// A log.
    Log(Follow),
    /// Several logs, in their own words.
    Several(Box<Several>),
    /// Nothing more.
    Over,
}

/// What an opening came to.
pub(crate) struct Opened {
    /// What is written first.
    pub(crate) lead: Option<Bytes>,
    /// What follows.
    pub(crate) source: Source,
}

impl Opened {
    /// `source`, and nothing before it.
    pub(crate) fn at_once(source: Source) -> Self {
        Self { lead: None, source }
    }
}

pin_project! {
    /// An event stream: first `retry:`, then frames as they come, and a comment at every beat. It must be polled by one task
    /// alone, whose waker stays the same: what would only renew a waker isn't asked again.
    pub(crate) struct EventStream {
        slot: usize,
        // The beat that is waited for was made in this turn of the slot.
        turn: Turn,
        // The beat knows whom to wake.
        waits: bool,
        // A beat came while nothing could be written.
        missed: bool,
        closes_at: Instant,
        // Nothing was written yet.
        new: bool,
        // Nothing of the source was written yet.
        untold: bool,
        // What it waits for is a read of its log.
        reads: bool,
        lead: Option<Bytes>,
        source: Source,
        words: Words,
        #[pin]
        beat: OwnedNotified,
        #[pin]
        woken: Option<OwnedNotified>,
        open: OpenStream,
    }
}

/// Counts a stream as open as long as it lives.
struct OpenStream(App);

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.metrics().open_streams.dec();
    }
}

/// `retry:`, without an empty line after it.
fn retry(after: Duration) -> Bytes {
    format!("retry: {}\n", after.as_millis()).into()
}

/// A duration from `low` to `high` times `base`, at random.
fn jittered(base: Duration, low: f64, high: f64) -> Duration {
    base.mul_f64(rand::random_range(low..=high))
}

impl EventStream {
    /// A stream that says `lead` as it is, then what `source` gives, in `words`.
    pub(crate) fn new(app: App, lead: Option<Bytes>, source: Source, words: Words) -> Self {
        let slot = app.pulse().slot();
        let turn = app.pulse().turn(slot);
        app.metrics().open_streams.inc();
        Self {
            slot,
            turn,
            waits: false,
            missed: false,
            closes_at: Instant::now() + jittered(app.config().stream.max_age, 0.8, 1.0),
            new: true,
            untold: true,
            reads: false,
            lead,
            source,
            words,
            beat: app.pulse().beat(slot),
            woken: None,
            open: OpenStream(app),
        }
    }

    /// Adds to `out` what is to be written now, at least one piece; false if nothing will follow.
    pub(crate) fn poll_pieces(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut impl Extend<Bytes>,
    ) -> Poll<bool> {
        let mut any = self.as_mut().begin(out);
        loop {
            if let Source::Over = self.as_mut().project().source {
                return Poll::Ready(any);
            }
            let beaten = self.as_mut().poll_beat(cx) || std::mem::take(self.as_mut().project().missed);
            let this = self.as_mut().project();
            let app = &this.open.0;
            let pulse = app.pulse();
            if beaten {
                out.extend([HEARTBEAT]);
                any = true;
            }
            if pulse.over() || (beaten && (pulse.draining() || Instant::now() >= *this.closes_at)) {
                // A planned close: the client comes back soon, to this node or another.
                out.extend([retry(jittered(app.config().stream.retry, 0.05, 0.5))]);
                *this.source = Source::Over;
                return Poll::Ready(true);
            }
            match self.as_mut().poll_source(cx, out) {
                Poll::Ready(told) => {
                    *self.as_mut().project().untold &= !told;
                    any |= told;
                }
                Poll::Pending if any => return Poll::Ready(true),
                Poll::Pending => return Poll::Pending,
            }
            // What follows is asked for when this is written.
            if any {
                return Poll::Ready(true);
            }
        }
    }

    /// Whether the log is being read for what comes first after the beginning: it will be here in a moment, unless Redis is slow
    /// or away.
    pub(crate) fn begins_soon(&self) -> bool {
        self.untold
            && match &self.source {
                Source::Log(_) => self.reads,
                Source::Several(several) => several.reads(),
                Source::Opening(_) | Source::Over => false,
            }
    }

    /// Completes when no stream has a place here any more, whether or not its client takes what is left.
    pub(crate) fn poll_over(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        while self.as_mut().poll_beat(cx) {
            *self.as_mut().project().missed = true;
        }
        if self.open.0.pulse().over() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Whether the process stops at once.
    pub(crate) fn is_cut(&self) -> bool {
        self.open.0.pulse().is_cut()
    }

    /// Each stream has its own, so that those that were cut off together don't come back together.
    fn begin(self: Pin<&mut Self>, out: &mut impl Extend<Bytes>) -> bool {
        let this = self.project();
        if !std::mem::take(this.new) {
            return false;
        }
        out.extend([retry(jittered(this.open.0.config().stream.retry, 0.5, 1.5))]);
        out.extend(this.lead.take());
        true
    }

    /// Whether the slot has beaten since the last time. Waits for the next one.
    fn poll_beat(self: Pin<&mut Self>, cx: &mut Context<'_>) -> bool {
        let mut this = self.project();
        let pulse = this.open.0.pulse();
        // Most polls are for events: then this is one look at a number that seldom changes, and no lock is taken.
        if *this.waits && pulse.turn(*this.slot).is_still(*this.turn) {
            return false;
        }
        *this.waits = true;
        let beaten = this.beat.as_mut().poll(cx).is_ready();
        if beaten {
            (*this.turn, *this.waits) = (pulse.turn(*this.slot), false);
            this.beat.set(pulse.beat(*this.slot));
        }
        beaten
    }

    /// Adds to `out` what the source has; whether it was anything. Pending if it will have something later.
    fn poll_source(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut impl Extend<Bytes>) -> Poll<bool> {
        let mut this = self.project();
        let sent = &this.open.0.metrics().events_sent;
        match this.source {
            Source::Over => Poll::Ready(false),
            Source::Opening(opening) => {
                let Poll::Ready(Opened { lead, source }) = opening.as_mut().poll(cx) else {
                    return Poll::Pending;
                };
                let lead = lead.and_then(*this.words);
                let any = lead.is_some();
                out.extend(lead);
                *this.source = source;
                Poll::Ready(any)
            }
            Source::Several(several) => match several.poll_next(cx, out) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(Some(frames)) => {
                    sent.inc_by(frames);
                    Poll::Ready(true)
                }
                Poll::Ready(None) => {
                    *this.source = Source::Over;
                    Poll::Ready(false)
                }
            },
            Source::Log(follow) => loop {
                if let Some(woken) = this.woken.as_mut().as_pin_mut() {
                    if woken.poll(cx).is_pending() {
                        return Poll::Pending;
                    }
                    this.woken.set(None);
                }
                match follow.next() {
                    Next::Frames(frames) => {
                        sent.inc_by(frames.len() as u64);
                        let mut any = false;
                        let told = frames.into_iter().filter_map(|told| (this.words)(told.bytes));
                        out.extend(told.inspect(|_| any = true));
                        return Poll::Ready(any);
                    }
                    Next::Wait(woken, wait) => {
                        *this.reads = wait == WaitFor::Read;
                        this.woken.set(Some(woken));
                    }
                    Next::End => {
                        *this.source = Source::Over;
                        return Poll::Ready(false);
                    }
                    Next::Gone => {
                        out.extend([Bytes::from_static(b": the job is gone\n")]);
                        *this.source = Source::Over;
                        return Poll::Ready(true);
                    }
                }
            },
        }
    }
}

/// The stream of a response, for whichever carrier takes it first: the response's body, or the bare socket. Clones are the
/// same.
#[derive(Clone)]
pub(crate) struct Streamed(Arc<Mutex<Option<EventStream>>>);

impl Streamed {
    /// Of that stream.
    pub(crate) fn new(stream: EventStream) -> Self {
        Self(Arc::new(Mutex::new(Some(stream))))
    }

    /// The stream, for the first who asks.
    pub(crate) fn take(&self) -> Option<EventStream> {
        self.0.lock().take()
    }

    /// What `response` carries, if it is a stream.
    pub(crate) fn of(response: &mut Response) -> Option<Self> {
        response.extensions_mut().remove()
    }
}
