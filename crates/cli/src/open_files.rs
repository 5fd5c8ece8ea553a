//! How many files, so how many connections, this process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the limit to the most that the system lets this process have, and says what it is then; `None` is no limit.
///
/// The usual limit is 1,024 (in containers too), for programs that can't do with more; each stream takes one. Where raising
/// fails, the limit stays.
pub(crate) fn raise() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return limit.current;
    }
    let most = Rlimit { current: limit.maximum, maximum: limit.maximum };
    match setrlimit(Resource::Nofile, most) {
        Ok(()) => limit.maximum,
        Err(error) => {
            tracing::warn!(%error, limit = limit.current, "the limit of open files can't be raised");
            limit.current
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn to_the_most_there_is() {
        let before = getrlimit(Resource::Nofile);
        let low = Rlimit { current: before.maximum.map_or(Some(4096), |most| Some(most - 1)), ..before };
        setrlimit(Resource::Nofile, low).unwrap();
        assert_eq!(raise(), before.maximum);
        assert_eq!(getrlimit(Resource::Nofile).current, before.maximum);
        assert_eq!(raise(), before.maximum, "once more changes nothing");
    }
}
