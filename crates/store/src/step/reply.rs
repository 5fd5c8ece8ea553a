//! Reading the replies of scripts.

use std::time::Duration;

use model::Timestamp;
use redis::Value;

use crate::StoreError;

/// A script's reply: an array, read from front to back.
pub(crate) struct Reply(std::vec::IntoIter<Value>);

impl Reply {
    /// The reply in `value`.
    pub(crate) fn new(value: Value) -> Result<Self, StoreError> {
        match value {
            Value::Array(values) => Ok(Self(values.into_iter())),
            other => Err(unreadable(&other)),
        }
    }

    /// Whether nothing is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.len() == 0
    }

    /// The next value as bytes.
    pub(crate) fn bytes(&mut self) -> Result<Vec<u8>, StoreError> {
        match self.0.next() {
            Some(Value::BulkString(bytes)) => Ok(bytes),
            Some(Value::SimpleString(text)) => Ok(text.into_bytes()),
            Some(Value::Int(number)) => Ok(number.to_string().into_bytes()),
            Some(Value::Double(number)) => Ok(number.to_string().into_bytes()),
            other => Err(unreadable(&other)),
        }
    }

    /// The next value as text.
    pub(crate) fn text(&mut self) -> Result<String, StoreError> {
        String::from_utf8(self.bytes()?).map_err(|error| unreadable(&error))
    }

    /// The next value, parsed.
    pub(crate) fn parse<T: std::str::FromStr>(&mut self) -> Result<T, StoreError> {
        let text = self.text()?;
        text.parse().map_err(|_| unreadable(&text))
    }

    /// The next value as a time in milliseconds.
    pub(crate) fn time(&mut self) -> Result<Timestamp, StoreError> {
        self.parse().map(Timestamp::from_millis)
    }

    /// The next value as a duration in milliseconds; none where there is no value.
    pub(crate) fn millis_if_any(&mut self) -> Result<Option<Duration>, StoreError> {
        if self.skip_nil() { Ok(None) } else { self.parse().map(Duration::from_millis).map(Some) }
    }

    /// The next value as text; none where there is no value.
    pub(crate) fn text_if_any(&mut self) -> Result<Option<String>, StoreError> {
        if self.skip_nil() { Ok(None) } else { self.text().map(Some) }
    }

    fn skip_nil(&mut self) -> bool {
        let is_nil = self.0.as_slice().first() == Some(&Value::Nil);
        if is_nil {
            self.0.next();
        }
        is_nil
    }

    /// The next member of a sorted set and its score, a time in milliseconds; RESP3 has them as a pair.
    pub(crate) fn scored<T: std::str::FromStr>(&mut self) -> Result<(T, Timestamp), StoreError> {
        match self.0.as_slice().first() {
            Some(Value::Array(_)) => self.array()?.scored(),
            _ => Ok((self.parse()?, self.time()?)),
        }
    }

    /// The next value as an array.
    pub(crate) fn array(&mut self) -> Result<Self, StoreError> {
        Self::new(self.0.next().unwrap_or(Value::Nil))
    }
}

/// What Redis holds that can't be read, for the operator.
pub(crate) fn unreadable(what: &impl std::fmt::Debug) -> StoreError {
    StoreError::Unreadable(format!("{what:?}").chars().take(200).collect())
}
