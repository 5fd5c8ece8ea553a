//! What overrides the file: environment variables and flags.

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
impl std::fmt::Debug for Override {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (`{}`)", self.name, self.key)
    }
}

/// The overrides among environment variables, by name. Pass `std::env::vars()`, and flags after it.
pub fn env_overrides(variables: impl IntoIterator<Item = (String, String)>) -> Vec<Override> {
    let mut found: Vec<_> =
        variables.into_iter().filter_map(|(name, value)| Override::variable(&name, value)).collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}
