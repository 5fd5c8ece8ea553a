//! The tries of one call: what comes after one that failed.

use redis::{RedisError, RedisResult};
use tokio::time::{Instant, sleep, timeout_at};

use super::verdict::{Verdict, final_error};
use super::{Address, Backoff, Router};
use crate::StoreError;
use crate::partition::Slot;

/// Where one try goes.
pub(super) enum Route {
    /// To the slot's primary.
    Slot,
    /// To the node that MOVED named, once.
    Node(Address),
    /// To the node that ASK named, once.
    Ahead(Address),
}

/// One call to a slot, from its first try until it is answered or patience is over.
pub(super) struct Tries<'a> {
    router: &'a Router,
    slot: Slot,
    is_moving_enough: bool,
    deadline: Instant,
    backoff: Backoff,
    cause: Option<RedisError>,
    may_have_happened: bool,
}

impl<'a> Tries<'a> {
    /// A call that begins now. `is_moving_enough`: it ends where the slot is moving and it surely didn't happen.
    pub(super) fn new(router: &'a Router, slot: Slot, is_moving_enough: bool) -> Self {
        Self {
            router,
            slot,
            is_moving_enough,
            deadline: Instant::now() + router.shared.patience,
            backoff: Backoff::of_call(),
            cause: None,
            may_have_happened: false,
        }
    }

    /// When patience is over.
    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// From now on a refusal isn't definite any more.
    pub(super) fn happened(&mut self) {
        self.may_have_happened = true;
    }

    /// Does `one` try, or a part of it, while there is patience.
    pub(super) async fn run<T>(
        &mut self,
        one: impl Future<Output = RedisResult<T>>,
    ) -> Result<RedisResult<T>, StoreError> {
        match timeout_at(self.deadline, one).await {
            Ok(tried) => Ok(tried),
            Err(_) => Err(self.router.out_of_patience(self.cause.take())),
        }
    }

    /// Where the next try goes, after one that failed with `error`, and once it is time for it. `None`: the slot is moving,
    /// and that is enough. An error is the call's.
    pub(super) async fn after(&mut self, error: RedisError) -> Result<Option<Route>, StoreError> {
        let verdict = Verdict::of(&error);
        let is_first = self.cause.is_none();
        let mut route = Route::Slot;
        match verdict {
            Verdict::Full | Verdict::Refused => return Err(final_error(&error)),
            Verdict::TryAgain if self.is_moving_enough && !self.may_have_happened => return Ok(None),
            Verdict::Lost => self.may_have_happened = true,
            Verdict::Moved | Verdict::Ask => {
                if let Some(named) = self.router.named_by(self.slot, &error).await {
                    route = if verdict == Verdict::Ask { Route::Ahead(named) } else { Route::Node(named) };
                }
            }
            _ => {}
        }
        self.cause = Some(error);
        // A redirection is followed at once, and so is the first loss of a connection; what comes after waits, also in
        // the middle of redirections that lead nowhere.
        let at_once = matches!(verdict, Verdict::Moved | Verdict::Ask | Verdict::Lost | Verdict::NoScript);
        if !(is_first && at_once) && timeout_at(self.deadline, sleep(self.backoff.next())).await.is_err() {
            return Err(self.router.out_of_patience(self.cause.take()));
        }
        Ok(Some(route))
    }
}
