//! A stream on a hyper body.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Bytes;
use http_body::{Body as HttpBody, Frame};
use pin_project_lite::pin_project;
use tokio::sync::futures::OwnedNotified;
use tokio::time::Instant;

use crate::App;
use crate::hub::{Follow, Next, Several};

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
    /// The body of an event stream: first `retry:`, then frames as they come, and a comment at every beat.
    pub(crate) struct EventBody {
        app: App,
        slot: usize,
        closes_at: Instant,
        ready: VecDeque<Bytes>,
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

impl EventBody {
    /// A body that writes `lead` as it is, then what `source` gives, in `words`.
    pub(crate) fn new(app: App, lead: Option<Bytes>, source: Source, words: Words) -> Self {
        let config = &app.config().stream;
        // Each stream its own, so that those that were cut off together don't come back together.
        let mut ready = VecDeque::from([retry(jittered(config.retry, 0.5, 1.5))]);
        ready.extend(lead);
        let slot = app.pulse().slot();
        app.metrics().open_streams.inc();
        Self {
            slot,
            closes_at: Instant::now() + jittered(config.max_age, 0.8, 1.0),
            ready,
            source,
            words,
            beat: app.pulse().beat(slot),
            woken: None,
            open: OpenStream(app.clone()),
            app,
        }
    }
}

impl HttpBody for EventBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let mut this = self.project();
        loop {
            if let Some(bytes) = this.ready.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            if let Source::Over = this.source {
                return Poll::Ready(None);
            }
            let pulse = this.app.pulse();
            let beaten = this.beat.as_mut().poll(cx).is_ready();
            if beaten {
                this.beat.set(pulse.beat(*this.slot));
                this.ready.push_back(HEARTBEAT);
            }
            if pulse.over() || (beaten && (pulse.draining() || Instant::now() >= *this.closes_at)) {
                // A planned close: the client comes back soon, to this node or another.
                this.ready.push_back(retry(jittered(this.app.config().stream.retry, 0.05, 0.5)));
                *this.source = Source::Over;
                continue;
            }
            if beaten {
                continue;
            }
            match this.source {
                Source::Over => {}
                Source::Opening(opening) => {
                    let Opened { lead, source } = ready!(opening.as_mut().poll(cx));
                    this.ready.extend(lead.and_then(*this.words));
                    *this.source = source;
                }
                Source::Several(several) => match ready!(several.poll_next(cx)) {
                    Some(pieces) => {
                        // A frame is two pieces: what all streams share, and the stream's own id.
                        this.app.metrics().events_sent.inc_by(pieces.len() as u64 / 2);
                        this.ready.extend(pieces);
                    }
                    None => *this.source = Source::Over,
                },
                Source::Log(follow) => {
                    if let Some(woken) = this.woken.as_mut().as_pin_mut() {
                        ready!(woken.poll(cx));
                        this.woken.set(None);
                    }
                    match follow.next() {
                        Next::Frames(frames) => {
                            this.app.metrics().events_sent.inc_by(frames.len() as u64);
                            this.ready.extend(frames.into_iter().filter_map(|told| (this.words)(told.bytes)));
                        }
                        Next::Wait(woken) => this.woken.set(Some(woken)),
                        Next::End => *this.source = Source::Over,
                        Next::Gone => {
                            this.ready.push_back(Bytes::from_static(b": the job is gone\n"));
                            *this.source = Source::Over;
                        }
                    }
                }
            }
        }
    }
}
