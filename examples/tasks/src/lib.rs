//! The tasks that come with Jobcast, for trying it out and as patterns for handlers of one's own.
//!
//! - [`Wordcount`] reads a text of any size from a file or from the payload: progress by bytes, one result at the end.
//! - [`Narrate`] speaks token by token, as a language model would: a stream of text.
//!
//! **Invariant:** nothing outside of the given directory is ever read, and nothing is written.

mod confine;
mod narrate;
mod pace;
mod payload;
mod speech;
mod tally;
mod wordcount;

use std::path::Path;
use std::sync::Arc;

use worker::AnyHandler;

pub use narrate::Narrate;
pub use speech::token;
pub use wordcount::Wordcount;

/// The names that [`builtin`] knows.
pub const NAMES: &[&str] = &["wordcount", "narrate"];

/// The handler called `name`, which reads files from `input_dir` alone; `None` where [`NAMES`] doesn't have it.
pub fn builtin(name: &str, input_dir: &Path) -> Option<Arc<dyn AnyHandler>> {
    match name {
        "wordcount" => Some(Arc::new(Wordcount { dir: input_dir.to_owned() })),
        "narrate" => Some(Arc::new(Narrate)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_its_handler() {
        for name in NAMES {
            assert!(builtin(name, Path::new(".")).is_some(), "{name}");
        }
        assert!(builtin("Wordcount", Path::new(".")).is_none());
    }
}
