//! Names of tasks and owners.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A name that isn't one. The message says what a name may be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a name is 1 to 64 of the characters A-Z a-z 0-9 _ . -")]
pub struct BadName;

fn check(text: &str) -> Result<Arc<str>, BadName> {
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    if (1..=64).contains(&text.len()) && text.bytes().all(legal) { Ok(text.into()) } else { Err(BadName) }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// 1 to 64 of the characters `A-Z a-z 0-9 _ . -`, so that it can stand in a Redis key, a path and a label.
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = BadName;
            fn from_str(text: &str) -> Result<Self, BadName> {
                check(text).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
                text.parse().map_err(de::Error::custom)
            }
        }
    };
}

name! {
    /// The name of a task: the kind of work.
    TaskName
}
name! {
    /// The name of an owner: the tenant that a credential belongs to.
    Owner
}

impl Owner {
    /// The owner of every request without a credential, where configuration allows such requests.
    pub fn anonymous() -> Self {
        Self("anonymous".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_to_their_alphabet() {
        for good in ["a", "transcode", "a.b-c_D9", &"x".repeat(64)] {
            assert_eq!(good.parse::<TaskName>().unwrap().as_str(), good);
        }
        for bad in ["", "a b", "a:b", "a{b}", "ä", "a/b", "a\n", &"x".repeat(65)] {
            assert_eq!(bad.parse::<Owner>(), Err(BadName), "{bad:?}");
        }
    }
}
