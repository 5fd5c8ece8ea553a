//! The name of a setting.

use std::fmt;

/// A setting by its path: `stream.heartbeat`, `tasks."a.b".timeout`, `auth.keys[0].owner`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    Name(String),
    Index(usize),
}

impl Key {
    /// The key of a dotted text, as variables and flags have it. Parts are not quoted there.
    pub(super) fn dotted(text: &str) -> Self {
        Self(text.split('.').map(|name| Part::Name(name.to_owned())).collect())
    }

    pub(super) fn of(path: &serde_path_to_error::Path) -> Self {
        use serde_path_to_error::Segment;
        let part = |segment: &Segment| match segment {
            Segment::Seq { index } => Some(Part::Index(*index)),
            Segment::Map { key } => Some(Part::Name(key.clone())),
            Segment::Enum { .. } | Segment::Unknown => None,
        };
        Self(path.iter().filter_map(part).collect())
    }

    pub(super) fn child(&self, name: &str) -> Self {
        let mut parts = self.0.clone();
        parts.push(Part::Name(name.to_owned()));
        Self(parts)
    }

    pub(super) fn element(&self, name: &str, index: usize) -> Self {
        let mut element = self.child(name);
        element.0.push(Part::Index(index));
        element
    }

    pub(super) fn last_name(&self) -> Option<&str> {
        match self.0.last() {
            Some(Part::Name(name)) => Some(name),
            _ => None,
        }
    }

    pub(super) fn parts(&self) -> &[Part] {
        &self.0
    }

    /// May the value be a secret, so that no error shows it?
    pub(super) fn is_secret(&self) -> bool {
        let name = |at: usize| match self.0.get(at) {
            Some(Part::Name(name)) => name.as_str(),
            _ => "",
        };
        // `store`, `auth` and `webhooks` as a whole too: a mistyped override could have put anything there.
        match name(0) {
            "auth" => name(1) != "anonymous" && !matches!(name(3), "owner" | "scopes"),
            "store" => matches!(name(1), "" | "url"),
            "webhooks" => {
                matches!(name(1), "" | "encryption_keys") || name(1) == "owners" && name(3) != "endpoints"
            }
            _ => false,
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, part) in self.0.iter().enumerate() {
            match part {
                Part::Index(index) => write!(f, "[{index}]")?,
                Part::Name(name) => {
                    let dot = if at > 0 { "." } else { "" };
                    let bare = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
                    if !name.is_empty() && name.bytes().all(bare) {
                        write!(f, "{dot}{name}")?;
                    } else {
                        write!(f, "{dot}{name:?}")?;
                    }
                }
            }
        }
        Ok(())
    }
}
