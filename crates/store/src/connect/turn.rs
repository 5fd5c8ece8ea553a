//! One question at a time: who comes while another asks shares the answer, if it was asked late enough.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

/// Runs of one question, numbered from 1.
#[derive(Default)]
pub(crate) struct Turns {
    begun: AtomicU64,
    last: Mutex<Option<Done>>,
}

#[derive(Clone, Copy)]
struct Done {
    number: u64,
    at: Instant,
    answer: bool,
}

impl Turns {
    /// The answer to a question that was asked after this call began: `ask`'s own, or one that somebody else asked since.
    pub(crate) async fn anew(&self, ask: impl Future<Output = bool>) -> bool {
        let seen = self.begun.load(Ordering::Acquire);
        self.run(ask, |done| done.number > seen).await
    }

    /// An answer that is no older than `age`.
    pub(crate) async fn within(&self, age: Duration, ask: impl Future<Output = bool>) -> bool {
        self.run(ask, |done| done.at.elapsed() < age).await
    }

    async fn run(&self, ask: impl Future<Output = bool>, is_enough: impl Fn(&Done) -> bool) -> bool {
        let mut last = self.last.lock().await;
        if let Some(done) = last.filter(is_enough) {
            return done.answer;
        }
        let number = self.begun.fetch_add(1, Ordering::AcqRel) + 1;
        let answer = ask.await;
        *last = Some(Done { number, at: Instant::now(), answer });
        answer
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn many_callers_ask_twice_at_most() {
        let turns = Arc::new(Turns::default());
        let asked = Arc::new(AtomicU64::new(0));
        let mut callers = tokio::task::JoinSet::new();
        for _ in 0..50 {
            let (turns, asked) = (Arc::clone(&turns), Arc::clone(&asked));
            callers.spawn(async move {
                turns
                    .anew(async {
                        asked.fetch_add(1, Ordering::Relaxed);
                        tokio::time::sleep(Duration::from_millis(20)).await;
                        true
                    })
                    .await
            });
        }
        assert!(callers.join_all().await.into_iter().all(|answer| answer));
        assert!((1..=2).contains(&asked.load(Ordering::Relaxed)));
    }

    #[tokio::test]
    async fn an_answer_from_before_the_call_is_not_enough() {
        let turns = Turns::default();
        assert!(turns.anew(async { true }).await);
        assert!(!turns.anew(async { false }).await);
        assert!(!turns.within(Duration::from_mins(1), async { true }).await);
    }
}
