//! What a program says on stdout: bytes in, reports out. Pure.

use model::report::Percent;
use model::{Json, Report};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// Reads a program's stdout. Holds no more than one line, and no more of that than the limit.
#[derive(Debug)]
pub(crate) struct Decoder {
    max_line: usize,
    /// The beginning of a line whose end hasn't come.
    partial: Vec<u8>,
    /// How many lines have ended.
    lines: u64,
    result: Json,
}

/// Why the job fails whatever else the program says.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum Broken {
    #[error(
        "line {line} of the program's stdout is longer than {limit} bytes; store what is so large elsewhere and return a link"
    )]
    LongLine { line: u64, limit: usize },
    #[error("line {line} of the program's stdout is not UTF-8: its byte {at} is wrong")]
    NotUtf8 { line: u64, at: usize },
    #[error("line {line} of the program's stdout: its {key} can't be carried: {cause}")]
    BadValue { line: u64, key: &'static str, cause: String },
}

impl Decoder {
    pub(crate) fn new(max_line: usize) -> Self {
        Self { max_line, partial: Vec::new(), lines: 0, result: Json::null() }
    }

    /// Takes more of stdout; what it says is added to `reports`. Neighbouring texts may be joined.
    pub(crate) fn feed(&mut self, mut bytes: &[u8], reports: &mut Vec<Report>) -> Result<(), Broken> {
        while let Some(end) = bytes.iter().position(|&byte| byte == b'\n') {
            let (line, rest) = bytes.split_at(end + 1);
            bytes = rest;
            if self.partial.len() + end > self.max_line {
                return Err(self.long_line());
            }
            if self.partial.is_empty() {
                self.line(line, reports)?;
            } else {
                let mut whole = std::mem::take(&mut self.partial);
                whole.extend_from_slice(line);
                self.line(&whole, reports)?;
                // Its memory is used again, unless it was an unusually long one.
                if whole.capacity() <= 64 * 1024 {
                    whole.clear();
                    self.partial = whole;
                }
            }
        }
        if self.partial.len() + bytes.len() > self.max_line {
            return Err(self.long_line());
        }
        self.partial.extend_from_slice(bytes);
        Ok(())
    }

    /// Nothing more comes: takes the line that has no newline, if there is one, and gives the result.
    pub(crate) fn finish(mut self, reports: &mut Vec<Report>) -> Result<Json, Broken> {
        let rest = std::mem::take(&mut self.partial);
        if !rest.is_empty() {
            self.line(&rest, reports)?;
        }
        Ok(self.result)
    }

    const fn long_line(&self) -> Broken {
        Broken::LongLine { line: self.lines + 1, limit: self.max_line }
    }

    fn line(&mut self, line: &[u8], reports: &mut Vec<Report>) -> Result<(), Broken> {
        self.lines += 1;
        let text = std::str::from_utf8(line)
            .map_err(|error| Broken::NotUtf8 { line: self.lines, at: error.valid_up_to() + 1 })?;
        match Said::read(text) {
            Said::Progress(progress, message) => reports.push(Report::Progress { progress, message }),
            Said::Output(value) => reports.push(Report::Output(self.value("output", value)?)),
            Said::Result(value) => self.result = self.value("result", value)?,
            Said::Text(text) => add_text(reports, &text),
            Said::Plain => add_text(reports, text),
        }
        Ok(())
    }

    fn value(&self, key: &'static str, value: &RawValue) -> Result<Json, Broken> {
        Json::parse(value.get()).map_err(|error| Broken::BadValue {
            line: self.lines,
            key,
            cause: error.to_string(),
        })
    }
}

fn add_text(reports: &mut Vec<Report>, text: &str) {
    match reports.last_mut() {
        Some(Report::Text(last)) => last.push_str(text),
        _ if text.is_empty() => {}
        _ => reports.push(Report::Text(text.to_owned())),
    }
}

/// What one line says.
enum Said<'a> {
    Progress(Option<Percent>, Option<String>),
    Output(&'a RawValue),
    Result(&'a RawValue),
    Text(String),
    /// It is no line of the protocol.
    Plain,
}

/// A line of the protocol, its values unread. A `null` is a value.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Line<'a> {
    #[serde(borrow, deserialize_with = "present")]
    progress: Option<&'a RawValue>,
    #[serde(borrow, deserialize_with = "present")]
    message: Option<&'a RawValue>,
    #[serde(borrow, deserialize_with = "present")]
    output: Option<&'a RawValue>,
    #[serde(borrow, deserialize_with = "present")]
    text: Option<&'a RawValue>,
    #[serde(borrow, deserialize_with = "present")]
    result: Option<&'a RawValue>,
}

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

impl<'a> Said<'a> {
    fn read(line: &'a str) -> Self {
        // Most lines of most programs are no JSON: they are told by their first character.
        if !line.trim_ascii_start().starts_with('{') {
            return Self::Plain;
        }
        let Ok(line) = serde_json::from_str::<Line<'a>>(line) else { return Self::Plain };
        match line {
            Line { progress: Some(progress), message, output: None, text: None, result: None } => {
                Self::progress(progress, message).unwrap_or(Self::Plain)
            }
            Line { output: Some(value), progress: None, message: None, text: None, result: None } => {
                Self::Output(value)
            }
            Line { result: Some(value), progress: None, message: None, output: None, text: None } => {
                Self::Result(value)
            }
            Line { text: Some(text), progress: None, message: None, output: None, result: None } => {
                serde_json::from_str(text.get()).map_or(Self::Plain, Self::Text)
            }
            _ => Self::Plain,
        }
    }

    /// `None` if the values are of other types. A number out of range is the nearest one in it.
    fn progress(progress: &RawValue, message: Option<&RawValue>) -> Option<Self> {
        let progress: Option<f64> = serde_json::from_str(progress.get()).ok()?;
        let message: Option<String> = match message {
            Some(message) => serde_json::from_str(message.get()).ok()?,
            None => None,
        };
        Some(Self::Progress(progress.map(Percent::clamped), message))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAX: usize = 64;

    fn decode(chunks: &[&[u8]]) -> Result<(Vec<Report>, Json), Broken> {
        let (mut decoder, mut reports) = (Decoder::new(MAX), Vec::new());
        for chunk in chunks {
            decoder.feed(chunk, &mut reports)?;
        }
        let result = decoder.finish(&mut reports)?;
        Ok((reports, result))
    }

    fn progress(value: Option<f64>, message: Option<&str>) -> Report {
        Report::Progress { progress: value.map(Percent::clamped), message: message.map(Into::into) }
    }

    #[test]
    fn each_line_means_what_the_table_says() {
        let text = |text: &str| Report::Text(text.into());
        let output = |json: &str| Report::Output(Json::parse(json).unwrap());
        for (line, report) in [
            ("{\"progress\":42,\"message\":\"half\"}\n", progress(Some(42.0), Some("half"))),
            (" {\"message\":null,\"progress\":42.5}\r\n", progress(Some(42.5), None)),
            ("{\"progress\":null}\n", progress(None, None)),
            ("{\"progress\":-3}\n", progress(Some(0.0), None)),
            ("{\"progress\":1e300}", progress(Some(100.0), None)),
            ("{\"output\": {\"a\": [1, null]}}\n", output("{\"a\":[1,null]}")),
            ("{\"output\":null}\n", output("null")),
            ("{\"text\":\"a\\nb\"}\n", text("a\nb")),
            // Any other line is a text with its newline.
            ("hello\n", text("hello\n")),
            ("no newline", text("no newline")),
            ("\n", text("\n")),
            ("42\n", text("42\n")),
            ("[{\"progress\":42}]\n", text("[{\"progress\":42}]\n")),
            ("{}\n", text("{}\n")),
            ("{\"progress\":\"42\"}\n", text("{\"progress\":\"42\"}\n")),
            ("{\"progress\":1,\"message\":2}\n", text("{\"progress\":1,\"message\":2}\n")),
            ("{\"message\":\"alone\"}\n", text("{\"message\":\"alone\"}\n")),
            ("{\"progress\":1,\"output\":2}\n", text("{\"progress\":1,\"output\":2}\n")),
            ("{\"output\":1,\"level\":\"info\"}\n", text("{\"output\":1,\"level\":\"info\"}\n")),
            ("{\"output\":1,\"output\":2}\n", text("{\"output\":1,\"output\":2}\n")),
            ("{\"result\":1,\"message\":\"x\"}\n", text("{\"result\":1,\"message\":\"x\"}\n")),
            ("{\"text\":1}\n", text("{\"text\":1}\n")),
            ("{\"output\":1} trailing\n", text("{\"output\":1} trailing\n")),
            ("{\"output\":\n", text("{\"output\":\n")),
            ("\u{feff}{\"output\":1}\n", text("\u{feff}{\"output\":1}\n")),
        ] {
            assert_eq!(decode(&[line.as_bytes()]), Ok((vec![report], Json::null())), "{line:?}");
        }
    }

    #[test]
    fn the_last_result_wins_and_none_is_null() {
        let (reports, result) = decode(&[b"{\"result\":1}\n{\"output\":0}\n{\"result\":[2]}"]).unwrap();
        assert_eq!((reports.len(), result.as_str()), (1, "[2]"));
        assert!(decode(&[b"{\"result\":1}\n{\"result\":null}\n"]).unwrap().1.is_null());
        assert_eq!(decode(&[b""]), Ok((vec![], Json::null())));
        assert_eq!(decode(&[b"{\"text\":\"\"}\n"]), Ok((vec![], Json::null())), "an empty text is no event");
    }

    #[test]
    fn what_can_not_be_carried_breaks_the_job() {
        let long = "x".repeat(MAX + 1);
        let deep = format!("{{\"output\":{}", "[".repeat(20));
        for (chunks, broken) in [
            (vec!["ok\n", &long], Broken::LongLine { line: 2, limit: MAX }),
            (vec![&long[..40], &long[40..], "\n"], Broken::LongLine { line: 1, limit: MAX }),
        ] {
            let chunks: Vec<_> = chunks.iter().map(|chunk| chunk.as_bytes()).collect();
            assert_eq!(decode(&chunks), Err(broken));
        }
        assert!(decode(&[&long.as_bytes()[..MAX], b"\n"]).is_ok(), "exactly at the limit");
        assert!(decode(&[deep.as_bytes()]).is_ok(), "broken JSON is a text");
        assert_eq!(decode(&[b"ab\xffc\n"]), Err(Broken::NotUtf8 { line: 1, at: 3 }));
        assert_eq!(decode(&[b"a\nb\xc3"]), Err(Broken::NotUtf8 { line: 2, at: 2 }));
        assert!(decode(&["ä\n".as_bytes().split_at(1).0, b"\xa4\n"]).is_ok(), "cut in a character");
    }

    #[test]
    fn an_output_too_deep_is_told() {
        let line = format!("{{\"output\":{}1{}}}\n", "[".repeat(200), "]".repeat(200));
        let (mut decoder, mut reports) = (Decoder::new(1024), Vec::new());
        let Err(Broken::BadValue { key: "output", cause, .. }) = decoder.feed(line.as_bytes(), &mut reports)
        else {
            panic!("too deep");
        };
        assert!(cause.contains("deeper than 128"), "{cause}");
    }

    #[test]
    fn a_line_without_end_takes_no_memory() {
        let (mut decoder, mut reports) = (Decoder::new(1000), Vec::new());
        for _ in 0..10 {
            _ = decoder.feed(&[b'x'; 400], &mut reports);
        }
        assert!(decoder.partial.capacity() < 4096);
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_pieces_mean_the_same(
            bytes in prop::collection::vec(prop_oneof![
                Just(b"{\"output\":1}\n".to_vec()), Just(b"{\"text\":\"x\"}\n".to_vec()), Just(b"plain\n".to_vec()),
                Just("ä".as_bytes().to_vec()), prop::collection::vec(any::<u8>(), 0..4),
            ], 0..20).prop_map(|parts| parts.concat()),
            size in 1_usize..20,
        ) {
            let whole = decode(&[&bytes]);
            let pieces = decode(&bytes.chunks(size).collect::<Vec<_>>());
            match (whole, pieces) {
                (Ok((a, x)), Ok((b, y))) => prop_assert_eq!((joined(&a), x), (joined(&b), y)),
                // A line both too long and not UTF-8 may be found out either way.
                (a, b) => prop_assert_eq!(a.is_err(), b.is_err()),
            }
        }
    }

    fn joined(reports: &[Report]) -> Vec<Report> {
        let mut all = Vec::new();
        for report in reports {
            match report {
                Report::Text(text) => add_text(&mut all, text),
                other => all.push(other.clone()),
            }
        }
        all
    }
}
