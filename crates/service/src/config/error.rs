//! What can be wrong with a configuration, said so that the operator can put it right at once.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::key::Key;

/// Where a setting was set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the file, at a line and column (from 1).
    File {
        /// The file, as it was named.
        path: PathBuf,
        /// The line.
        line: usize,
        /// The column, in characters.
        column: usize,
    },
    /// By a variable or flag of this name.
    Override(String),
    /// Nowhere: it is a default.
    Default,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line, column } => write!(f, "{}:{line}:{column}", path.display()),
            Self::Override(name) => f.write_str(name),
            Self::Default => f.write_str("built-in defaults"),
        }
    }
}

/// Why a configuration is refused. The message says where, what and what is allowed; it shows no secret.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("{}: can't be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The current folder, which relative paths start from, is not known.
    #[error("the current folder can't be read: {0}")]
    NoFolder(#[source] io::Error),
    /// The file is not TOML.
    #[error("{at}: not TOML: {message}")]
    Syntax {
        /// Where.
        at: Place,
        /// What the parser says.
        message: String,
    },
    /// A key that there isn't.
    #[error("{at}: unknown key `{key}`; allowed here: {}", allowed.join(", "))]
    UnknownKey {
        /// Where it was set.
        at: Place,
        /// The key.
        key: Key,
        /// The keys that there are beside it.
        allowed: Vec<String>,
    },
    /// A value that its key can't have.
    #[error("{at}: `{key}`{message}")]
    BadValue {
        /// Where it was set.
        at: Place,
        /// The key.
        key: Key,
        /// What is wrong with it, and what is allowed; goes on right behind the key.
        message: String,
    },
    /// Two values that can't stand together; the message names both keys.
    #[error("{at}: {message}")]
    Clash {
        /// Where the one to blame was set.
        at: Place,
        /// The two keys, their values, and what is allowed.
        message: String,
    },
    /// A task, set from outside the file. Variables have no case and no dots, which the names of tasks have.
    #[error("{name}: tasks can't be set by a variable or flag; write a table [tasks.<name>] in the file")]
    TaskOutsideFile {
        /// The variable or flag.
        name: String,
    },
}
