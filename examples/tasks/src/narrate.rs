//! `narrate`: speaks token by token, as a language model would.

use model::Json;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use worker::{Context, Failure, Handler};

use crate::{pace, payload, speech};

const EXAMPLE: &str = r#"{"tokens": 200, "perSecond": 50}"#;

const MAX_TOKENS: u64 = 100_000;
const MIN_PER_SECOND: f64 = 0.1;
const MAX_PER_SECOND: f64 = 1_000.0;

/// Tells a story, a token at a time: `{"tokens": 200, "perSecond": 50}`, or nothing for just these. Up to 100,000 tokens, 0.1 to
/// 1,000 a second, on a schedule that doesn't drift: what was held up is caught up with. The text is [`token`](crate::token)'s,
/// from 0, so the same every time.
///
/// The result is `{tokens, characters}`.
#[derive(Clone, Copy, Debug)]
pub struct Narrate;

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Request {
    tokens: Option<u64>,
    per_second: Option<f64>,
}

#[derive(Serialize)]
struct Told {
    tokens: u64,
    characters: u64,
}

impl Handler for Narrate {
    async fn run(&self, ctx: Context, payload: Json) -> Result<Json, Failure> {
        let Request { tokens, per_second } =
            if payload.is_null() { Request::default() } else { payload::read(&payload, EXAMPLE)? };
        let (tokens, per_second) = limits(tokens.unwrap_or(200), per_second.unwrap_or(50.0))?;
        let (start, mut characters) = (Instant::now(), 0);
        for n in 0..tokens {
            pace::until(start, pace::nth(n, per_second)).await;
            let token = speech::token(n);
            characters += token.chars().count() as u64;
            ctx.text(&token).await?;
            if new_percent(n, tokens) {
                ctx.progress(pace::percent(n + 1, tokens), &format!("{} of {tokens} tokens", n + 1));
            }
        }
        let told = Told { tokens, characters };
        Json::of(&told)
            .map_err(|error| Failure::fatal(format!("The result can't be written as JSON: {error}.")))
    }
}

fn limits(tokens: u64, per_second: f64) -> Result<(u64, f64), Failure> {
    if tokens > MAX_TOKENS {
        return Err(Failure::fatal(format!("`tokens` is 0 to {MAX_TOKENS}, not {tokens}.")));
    }
    if !(MIN_PER_SECOND..=MAX_PER_SECOND).contains(&per_second) {
        return Err(Failure::fatal(format!(
            "`perSecond` is {MIN_PER_SECOND} to {MAX_PER_SECOND}, not {per_second}."
        )));
    }
    Ok((tokens, per_second))
}

/// Whether token `n` of `tokens` completes a whole percent: at most a hundred events, so that the log belongs to the text.
fn new_percent(n: u64, tokens: u64) -> bool {
    (n + 1) * 100 / tokens > n * 100 / tokens
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    async fn told(payload: &str) -> (Result<Json, Failure>, String, Vec<(Option<f64>, Option<String>)>) {
        let (ctx, recording) = Context::recording();
        let end = Narrate.run(ctx, Json::parse(payload).unwrap()).await;
        (end, recording.text(), recording.progress())
    }

    fn text(tokens: u64) -> String {
        (0..tokens).map(speech::token).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn it_keeps_its_time_and_says_what_token_says() {
        for (payload, tokens, ms) in [
            ("null", 200, 3_980),
            ("{}", 200, 3_980),
            (r#"{"tokens":50}"#, 50, 980),
            (r#"{"tokens":3,"perSecond":0.5}"#, 3, 4_000),
            (r#"{"tokens":5000,"perSecond":1000}"#, 5_000, 4_999),
            (r#"{"tokens":1000,"perSecond":999.5}"#, 1_000, 1_000),
            (r#"{"tokens":1}"#, 1, 0),
            (r#"{"tokens":0}"#, 0, 0),
        ] {
            let start = Instant::now();
            let (end, said, progress) = told(payload).await;
            let took = start.elapsed();
            assert_eq!(said, text(tokens), "{payload}");
            let characters = said.chars().count();
            assert_eq!(end.unwrap().as_str(), format!(r#"{{"tokens":{tokens},"characters":{characters}}}"#));
            // A timer may be a millisecond late, but only once.
            assert!((ms..=ms + 2).contains(&took.as_millis()), "{payload}: {took:?} where {ms} ms are due");
            assert!(progress.len() <= 100, "{} events", progress.len());
            assert_eq!(progress.last().and_then(|last| last.0), (tokens > 0).then_some(100.0), "{payload}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_told_is_refused_at_once() {
        let start = Instant::now();
        for (payload, says) in [
            (r#"{"tokens":100001}"#, "`tokens` is 0 to 100000, not 100001."),
            (
                r#"{"tokens":-1}"#,
                "The payload can't be used: `tokens`: invalid value: integer `-1`, expected u64.",
            ),
            (
                r#"{"tokens":1.5}"#,
                "The payload can't be used: `tokens`: invalid type: floating point `1.5`, expected u64.",
            ),
            (r#"{"perSecond":1000.5}"#, "`perSecond` is 0.1 to 1000, not 1000.5."),
            (r#"{"perSecond":0}"#, "`perSecond` is 0.1 to 1000, not 0."),
            (
                r#"{"perSecond":"50"}"#,
                "The payload can't be used: `perSecond`: invalid type: string \"50\", expected f64.",
            ),
            (
                r#"{"speed":5}"#,
                "The payload can't be used: unknown field `speed`, expected `tokens` or `perSecond`.",
            ),
            ("[200,50]", r#"The payload must be an object such as {"tokens": 200, "perSecond": 50}."#),
        ] {
            let (end, said, _) = told(payload).await;
            assert_eq!((end, said), (Err(Failure::fatal(says)), String::new()), "{payload}");
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
    }
}
