//! `wordcount`: counts the lines, words and bytes of a text.

use std::path::PathBuf;
use std::time::Duration;

use model::Json;
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::Instant;
use worker::{Context, Failure, Handler};

use crate::tally::{Counts, Tally};
use crate::{confine, pace, payload};

const EXAMPLE: &str = r#"{"path": "data/book.txt"}"#;

/// The longest list of words that may be asked for.
const MAX_TOP: usize = 1_000;
/// The longest that a count may be drawn out, in seconds.
const MAX_SLOW: f64 = 3_600.0;
/// In how many steps a text is read, unless the pieces would be too small or too large.
const STEPS: u64 = 200;
/// What is counted between two awaits: a millisecond's work at most.
const MAX_PIECE: u64 = 16 * 1024;

/// Counts a text: `{"path": "data/book.txt"}`, a file in `dir`, or `{"text": "…"}`. Optional: `"top": 10`, how many of the most
/// frequent words to name (0 to 1,000), and `"slow": 5`, seconds to draw the work out over (0 to 3,600), so that there is
/// something to watch.
///
/// The result is `{lines, words, bytes, distinct, top: [{word, count}, …]}`: lines, words and bytes as `wc` counts them (but a
/// last line without its line break is a line too); `distinct` and `top` are about words in small letters, without the
/// punctuation around them. `"capped": true` is added where a text has more than 250,000 different words: `distinct` is then
/// at least this many. Text that isn't UTF-8 is refused, saying where. Memory is bounded whatever the size of the file; what is
/// appended to it after the start isn't counted.
#[derive(Clone, Debug)]
pub struct Wordcount {
    /// The one directory that files are read from.
    pub dir: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    path: Option<String>,
    text: Option<String>,
    top: Option<usize>,
    slow: Option<f64>,
}

impl Handler for Wordcount {
    async fn run(&self, ctx: Context, payload: Json) -> Result<Json, Failure> {
        let Request { path, text, top, slow } = payload::read(&payload, EXAMPLE)?;
        let (top, slow) = limits(top.unwrap_or(10), slow.unwrap_or(0.0))?;
        let counts = match (path, text) {
            (Some(path), None) => {
                let input = confine::open(&self.dir, &path).await?;
                count(&ctx, input.file, input.size, slow, top, &path).await?
            }
            (None, Some(text)) => count(&ctx, text.as_bytes(), text.len() as u64, slow, top, "text").await?,
            _ => {
                return Err(Failure::fatal(format!(
                    "The payload needs either `path` or `text`, such as {EXAMPLE}."
                )));
            }
        };
        Json::of(&counts)
            .map_err(|error| Failure::fatal(format!("The counts can't be written as JSON: {error}.")))
    }
}

fn limits(top: usize, slow: f64) -> Result<(usize, Duration), Failure> {
    if top > MAX_TOP {
        return Err(Failure::fatal(format!("`top` is 0 to {MAX_TOP}, not {top}.")));
    }
    if !(0.0..=MAX_SLOW).contains(&slow) {
        return Err(Failure::fatal(format!("`slow` is 0 to {MAX_SLOW} seconds, not {slow}.")));
    }
    Ok((top, Duration::from_secs_f64(slow)))
}

/// Counts the first `size` bytes of `input`, no faster than in `slow`.
async fn count(
    ctx: &Context,
    input: impl AsyncRead + Unpin + Send,
    size: u64,
    slow: Duration,
    top: usize,
    name: &str,
) -> Result<Counts, Failure> {
    let no_text = |error| Failure::fatal(format!("`{name}` is {error}."));
    let start = Instant::now();
    let mut input = input.take(size);
    let mut piece = vec![0; piece_size(size, slow)];
    let (mut tally, mut done) = (Tally::default(), 0);
    loop {
        let read = input
            .read(&mut piece)
            .await
            .map_err(|error| Failure::retry(format!("`{name}` can't be read on: {error}.")))?;
        if read == 0 {
            break;
        }
        tally.feed(piece.get(..read).unwrap_or_default()).map_err(no_text)?;
        done += read as u64;
        pace::until(start, pace::share(slow, done, size)).await;
        ctx.progress(pace::percent(done, size), &progress(done, size));
    }
    tally.finish(top).map_err(no_text)
}

/// How much is read at once: small enough for a bar that moves, large enough to be quick.
fn piece_size(size: u64, slow: Duration) -> usize {
    let least = if slow.is_zero() { 4 * 1024 } else { 1 };
    usize::try_from((size / STEPS).clamp(least, MAX_PIECE)).unwrap_or(4 * 1024)
}

/// `1.2 of 3.4 MB`: for people.
fn progress(done: u64, total: u64) -> String {
    let tenths = |unit: u64| {
        format!(
            "{}.{} of {}.{}",
            done / unit,
            done % unit * 10 / unit,
            total / unit,
            total % unit * 10 / unit
        )
    };
    match total {
        0..1_000 => format!("{done} of {total} bytes"),
        1_000..1_000_000 => format!("{} of {} kB", done / 1_000, total / 1_000),
        1_000_000..1_000_000_000 => format!("{} MB", tenths(1_000_000)),
        _ => format!("{} GB", tenths(1_000_000_000)),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    type Progress = Vec<(Option<f64>, Option<String>)>;

    async fn counted_in(dir: &Path, payload: &str) -> (Result<serde_json::Value, Failure>, Progress) {
        let (ctx, recording) = Context::recording();
        let end = Wordcount { dir: dir.to_owned() }.run(ctx, Json::parse(payload).unwrap()).await;
        (end.map(|json| serde_json::from_str(json.as_str()).unwrap()), recording.progress())
    }

    async fn counted(payload: &str) -> (Result<serde_json::Value, Failure>, Progress) {
        counted_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join(".."), payload).await
    }

    fn bytes(json: &serde_json::Value) -> u64 {
        json["bytes"].as_u64().unwrap()
    }

    #[tokio::test]
    async fn the_book_has_what_wc_says() {
        for path in ["examples/data/book.txt", "data/book.txt"] {
            let (end, progress) = counted(&format!(r#"{{"path":"{path}","top":3}}"#)).await;
            let counts = end.unwrap();
            // The first three are what `wc` says, the others what a few lines of Python say.
            let top: Vec<_> = [("the", 15007), ("and", 6533), ("of", 4398)]
                .map(|(word, count)| serde_json::json!({"word": word, "count": count}))
                .to_vec();
            let expected = serde_json::json!({
                "lines": 14_708, "words": 142_599, "bytes": 806_600, "distinct": 377, "top": top,
            });
            assert_eq!(counts, expected);
            let percents: Vec<f64> = progress.iter().filter_map(|(percent, _)| *percent).collect();
            assert!(percents.len() > 50 && percents.is_sorted(), "{percents:?}");
            assert_eq!(progress.last(), Some(&(Some(100.0), Some("806 of 806 kB".into()))));
        }
    }

    #[tokio::test]
    async fn a_text_may_come_with_the_payload() {
        let (end, progress) = counted(r#"{"text":"So quiet, so\nquiet: “So”.","top":1}"#).await;
        let expected = serde_json::json!({
            "lines": 2, "words": 5, "bytes": 29, "distinct": 2, "top": [{"word": "so", "count": 3}],
        });
        assert_eq!(end.unwrap(), expected);
        assert_eq!(progress, [(Some(100.0), Some("29 of 29 bytes".into()))]);

        let (end, _) = counted(r#"{"text":""}"#).await;
        let nothing = serde_json::json!({"lines": 0, "words": 0, "bytes": 0, "distinct": 0, "top": []});
        assert_eq!(end.unwrap(), nothing);
    }

    #[tokio::test(start_paused = true)]
    async fn work_can_be_drawn_out() {
        let text = "word ".repeat(1_000);
        let start = Instant::now();
        let (end, progress) = counted(&format!(r#"{{"text":"{text}","slow":20}}"#)).await;
        let took = start.elapsed();
        assert_eq!(end.unwrap()["words"], 1_000);
        assert_eq!(progress.len(), 200);
        assert!((Duration::from_secs(20)..Duration::from_millis(20_010)).contains(&took), "{took:?}");
    }

    #[tokio::test]
    async fn what_cannot_be_counted_is_refused() {
        let either = "The payload needs either `path` or `text`";
        for (payload, says) in [
            ("null", r#"The payload must be an object such as {"path": "data/book.txt"}."#),
            ("{}", either),
            (r#"{"path":"data/book.txt","text":"a"}"#, either),
            (r#"{"path":null,"top":3}"#, either),
            (r#"{"path":7}"#, "`path`: invalid type: integer `7`"),
            (r#"{"text":["a"]}"#, "`text`: invalid type: sequence"),
            (
                r#"{"text":"a","words":1}"#,
                "unknown field `words`, expected one of `path`, `text`, `top`, `slow`",
            ),
            (r#"{"text":"a","top":1001}"#, "`top` is 0 to 1000, not 1001."),
            (r#"{"text":"a","slow":-1}"#, "`slow` is 0 to 3600 seconds, not -1."),
            (r#"{"path":"data/none.txt"}"#, "There is no file `data/none.txt` in the input directory."),
            (r#"{"path":"data"}"#, "`data` is a directory, not a file."),
            (r#"{"path":"../Cargo.toml"}"#, "has a `..` in it"),
            (r#"{"path":"/etc/hostname"}"#, "leads out of the input directory"),
        ] {
            let (end, progress) = counted(payload).await;
            let Err(Failure::Fatal(error)) = end else { panic!("{payload}: {end:?}") };
            assert!(error.contains(says), "{payload}: {error}");
            assert!(progress.is_empty());
        }
    }

    #[tokio::test]
    async fn what_is_no_text_says_where() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("latin"), b"caf\xe9 noir").unwrap();
        std::fs::write(dir.path().join("cut"), &"ä".as_bytes()[..1]).unwrap();
        for (path, at) in [("latin", 3), ("cut", 0)] {
            let (end, _) = counted_in(dir.path(), &format!(r#"{{"path":"{path}"}}"#)).await;
            let says = format!("`{path}` is no UTF-8 text: byte {at} and what follows it make no character.");
            assert_eq!(end, Err(Failure::fatal(says)));
        }
    }

    #[tokio::test]
    async fn a_large_file_is_read_piece_by_piece() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("large"), "all work and no play ".repeat(200_000)).unwrap();
        let (end, progress) = counted_in(dir.path(), r#"{"path":"large"}"#).await;
        let counts = end.unwrap();
        assert_eq!((bytes(&counts), counts["words"].as_u64()), (4_200_000, Some(1_000_000)));
        assert!(progress.len() >= 200, "{}", progress.len());
        assert!(
            progress.iter().any(|(_, message)| message.as_deref() == Some("2.1 of 4.2 MB")),
            "{progress:?}"
        );
    }

    #[test]
    fn progress_is_for_people() {
        for (done, total, message) in [
            (0, 0, "0 of 0 bytes"),
            (12, 999, "12 of 999 bytes"),
            (999, 1_000, "0 of 1 kB"),
            (430_500, 806_600, "430 of 806 kB"),
            (1_290_000, 3_400_000, "1.2 of 3.4 MB"),
            (999, 1_500_000_000, "0.0 of 1.5 GB"),
        ] {
            assert_eq!(progress(done, total), message);
        }
    }

    #[test]
    fn pieces_are_neither_crumbs_nor_lumps() {
        for (size, slow, piece) in [
            (0, 0, 4_096),
            (100, 0, 4_096),
            (100, 5, 1),
            (806_600, 0, 4_096),
            (2_000_000, 0, 10_000),
            (1 << 40, 9, 16_384),
        ] {
            assert_eq!(piece_size(size, Duration::from_secs(slow)), piece, "{size} bytes");
        }
    }
}
