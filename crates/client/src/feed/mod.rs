//! Following an owner's feed.

mod news;
mod state;

use reqwest::{Method, RequestBuilder};
use tokio::time::{Instant, sleep};

pub use self::news::{BadFeedCursor, FeedCursor, FeedEvent, FeedNews};
use self::state::{Next, State, Took};
use crate::client::Client;
use crate::follow::{Connection, Lost, source};
use crate::following::Following;
use crate::sse::Piece;

/// Where the following of a feed begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FeedStart {
    /// With the first event that is kept.
    Beginning,
    /// With what comes. The first news is a [`FeedNews::Snapshot`] whose cursor is where that is.
    Now,
    /// After what was seen.
    After(FeedCursor),
}

/// The news of an owner's feed, as [`Client::follow_feed`] gives them.
pub type FollowFeed = Following<FeedNews>;

impl Client {
    /// Follows the feed of the key's owner: the life-cycle events of all of its jobs, each once; those of one job in order. It
    /// never ends by itself: what breaks is mended by opening the stream again after the last event, and told as
    /// [`FeedNews::Connection`]. It ends with one error, if the gateway refuses, or after
    /// [`give_up_after`](crate::ClientBuilder::give_up_after).
    ///
    /// ```no_run
    /// # use client::{Client, FeedNews, FeedStart};
    /// # use tokio_stream::StreamExt;
    /// # async fn example(client: Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut feed = client.follow_feed(FeedStart::Now);
    /// while let Some(news) = feed.next().await {
    ///     if let FeedNews::Event(event) = news?
    ///         && let Some(status) = event.end()
    ///     {
    ///         println!("{} {}", event.job_id, status.as_str());
    ///         // Kept somewhere, `event.cursor` is where the next run goes on: FeedStart::After(cursor).
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn follow_feed(&self, from: FeedStart) -> FollowFeed {
        follow(self.clone(), from)
    }

    fn open_feed(&self, start: &FeedStart) -> RequestBuilder {
        let request = self.request(Method::GET, "/api/feed");
        match start {
            FeedStart::Beginning => request,
            FeedStart::Now => request.query(&[("from", "now")]),
            FeedStart::After(cursor) => request.header("last-event-id", cursor.as_str()),
        }
    }
}

fn follow(client: Client, start: FeedStart) -> FollowFeed {
    Following::new(async_stream::stream! {
        let begin = Instant::now();
        let mut state = State::new(start, client.settings().give_up_after);
        loop {
            match state.next(begin.elapsed()) {
                Next::Over => return,
                Next::Fail(error) => {
                    yield Err(error);
                    return;
                }
                Next::Sleep(wait) => sleep(wait).await,
                Next::Stream(start) => {
                    let lost = match source::open_request(&client, client.open_feed(&start)).await {
                        Err(lost) => lost,
                        Ok(mut source) => loop {
                            let pieces = match source.more().await {
                                Ok(pieces) => pieces,
                                Err(lost) => break lost,
                            };
                            if state.heard(begin.elapsed()) {
                                yield Ok(FeedNews::Connection(Connection::Streaming));
                            }
                            let mut stumbled = false;
                            for piece in pieces {
                                match piece {
                                    Piece::Retry(retry) => state.retry(retry),
                                    Piece::Frame(frame) => match state.frame(&frame) {
                                        Took::News(news) => yield Ok(*news),
                                        Took::Stumbled => stumbled = true,
                                    },
                                }
                                if stumbled {
                                    break;
                                }
                            }
                            if stumbled {
                                break Lost::Closed;
                            }
                        },
                    };
                    if let Some(why) = state.lost(lost, begin.elapsed(), rand::random()) {
                        yield Ok(FeedNews::Connection(Connection::Waiting { why }));
                    }
                }
            }
        }
    })
}
