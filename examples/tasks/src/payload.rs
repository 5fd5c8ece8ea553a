//! Reading a payload, and saying what is wrong with it.

use model::Json;
use serde::de::DeserializeOwned;
use worker::Failure;

/// The payload as a `T`, a struct with named fields. `example` is shown where the payload is no object at all.
pub(crate) fn read<T: DeserializeOwned>(payload: &Json, example: &str) -> Result<T, Failure> {
    // A struct could also be read from an array, field after field: nobody means that.
    if !payload.as_str().starts_with('{') {
        return Err(Failure::fatal(format!("The payload must be an object such as {example}.")));
    }
    let mut reader = serde_json::Deserializer::from_str(payload.as_str());
    serde_path_to_error::deserialize(&mut reader).map_err(|error| Failure::fatal(sentence(&error)))
}

fn sentence(error: &serde_path_to_error::Error<serde_json::Error>) -> String {
    let field = error.path().to_string();
    let what = error.inner().to_string();
    // The payload has one line, compacted by us: where in it the error is helps nobody.
    let what = what.rsplit_once(" at line ").map_or(what.as_str(), |(what, _)| what);
    if field == "." || what.contains(&format!("`{field}`")) {
        format!("The payload can't be used: {what}.")
    } else {
        format!("The payload can't be used: `{field}`: {what}.")
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize, Debug)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        count: Option<u8>,
    }

    #[track_caller]
    fn check(payload: &str, says: &str) {
        let read = read::<Sample>(&Json::parse(payload).unwrap(), "{\"count\": 3}");
        assert_eq!(read.unwrap_err(), Failure::fatal(says));
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!(read::<Sample>(&Json::parse("{\"count\": 3}").unwrap(), "").unwrap().count, Some(3));
        for no_object in ["null", "[3]", "3", "\"count\""] {
            check(no_object, "The payload must be an object such as {\"count\": 3}.");
        }
        check("{\"size\":1}", "The payload can't be used: unknown field `size`, expected `count`.");
        check("{\"count\":1,\"count\":1}", "The payload can't be used: duplicate field `count`.");
        check(
            "{\"count\":\"x\"}",
            "The payload can't be used: `count`: invalid type: string \"x\", expected u8.",
        );
        check(
            "{\"count\":-1}",
            "The payload can't be used: `count`: invalid value: integer `-1`, expected u8.",
        );
        check(
            "{\"count\":300}",
            "The payload can't be used: `count`: invalid value: integer `300`, expected u8.",
        );
    }
}
