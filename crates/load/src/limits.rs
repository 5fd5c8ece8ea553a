//! How many streams this process can hold.

use rustix::process::{Resource, getrlimit};

use crate::error::Error;

/// Open files that are none of the streams: connections of the publisher, the runtimes' own, files.
const OTHERS: u64 = 100;

/// How many streams this process can hold; `None` for no limit.
pub(crate) fn possible(connections: usize) -> Option<u64> {
    let limit = getrlimit(Resource::Nofile).current?;
    Some(limit.saturating_sub(OTHERS + connections as u64))
}

/// Refuses more streams than this process can hold.
pub(crate) fn check(streams: usize, connections: usize) -> Result<(), Error> {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    match possible(connections) {
        Some(possible) if streams as u64 > possible => Err(Error::OpenFiles { streams, limit, possible }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_streams_are_refused_with_the_number_that_would_do() {
        let Some(possible) = possible(16) else { return };
        let most = usize::try_from(possible).unwrap();
        assert!(check(most, 16).is_ok());
        let error = check(most + 1, 16).unwrap_err().to_string();
        assert!(error.contains(&format!("that is {possible} streams")), "{error}");
    }
}
