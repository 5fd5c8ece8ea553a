//! What overrides the file: environment variables and flags.

use std::ffi::OsString;
use std::fmt;

use super::key::Key;

/// One setting from outside the file.
#[derive(Clone, PartialEq, Eq)]
pub struct Override {
    /// What the operator wrote, for errors: a variable's or a flag's name.
    pub(super) name: String,
    pub(super) key: Key,
    /// A TOML value, or the text of a string.
    pub(super) value: String,
}

impl Override {
    /// A setting by a flag: `flag` as the operator writes it (`--listen`), `key` dotted (`gateway.listen`).
    pub fn flag(flag: impl Into<String>, key: &str, value: impl Into<String>) -> Self {
        Self { name: flag.into(), key: Key::dotted(key), value: value.into() }
    }

    /// A setting by a variable, if its name begins with `JOBCAST__`: `JOBCAST__STREAM__HEARTBEAT` is
    /// `stream.heartbeat`.
    pub fn variable(name: &str, value: impl Into<String>) -> Option<Self> {
        let path = name.strip_prefix("JOBCAST__")?;
        let key = Key::dotted(&path.to_ascii_lowercase().replace("__", "."));
        Some(Self { name: name.to_owned(), key, value: value.into() })
    }
}

// The value may be a password.
impl fmt::Debug for Override {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (`{}`)", self.name, self.key)
    }
}

/// The overrides among environment variables, sorted by name. Pass `std::env::vars_os()` (`vars()` panics at what is
/// not Unicode), and lay flags over the result. What isn't Unicode in a value is replaced, and so most likely refused.
pub fn env_overrides<N, V>(variables: impl IntoIterator<Item = (N, V)>) -> Vec<Override>
where
    N: Into<OsString>,
    V: Into<OsString>,
{
    let mut found: Vec<_> = variables
        .into_iter()
        .filter_map(|(name, value)| {
            Override::variable(&name.into().into_string().ok()?, value.into().to_string_lossy())
        })
        .collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}
