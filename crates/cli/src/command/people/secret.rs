//! Secrets of webhooks. None is given on the command line itself, which others on this machine can see.

use std::path::Path;
use std::{env, fs};

use model::webhook::Secret;

use super::Failure;

/// The secret in the variable `name`, which `flag` names.
pub(crate) fn from_variable(flag: &str, name: &str) -> Result<Secret, Failure> {
    let what = format!("{flag} {name}");
    let text = env::var(name).map_err(|_| Failure::Usage(format!("{what}: there is no such variable")))?;
    parse(&what, &text)
}

/// The secret in the file `path`, which `flag` names.
pub(crate) fn from_file(flag: &str, path: &Path) -> Result<Secret, Failure> {
    let what = format!("{flag} {}", path.display());
    let text = fs::read_to_string(path).map_err(|error| Failure::Usage(format!("{what}: {error}")))?;
    // An editor ends a file with a line break.
    parse(&what, text.trim_end_matches(['\n', '\r']))
}

fn parse(what: &str, text: &str) -> Result<Secret, Failure> {
    text.parse().map_err(|error| Failure::Usage(format!("{what}: {error}")))
}
