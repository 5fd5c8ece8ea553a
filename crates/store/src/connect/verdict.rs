//! What an error means for the call that met it.

use redis::{ErrorKind, RedisError};

use crate::StoreError;

/// What to do after an error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// The connection is no good any more, and whether the call happened is not known: another connection.
    Lost,
    /// The slot lives at the node that the error names.
    Moved,
    /// The slot is on its way to the node that the error names; this call alone goes there.
    Ask,
    /// The slot is on its way, and holds this call up. Nothing happened.
    TryAgain,
    /// The node is no primary (any more): find out who is.
    Demoted,
    /// Waiting mends it: loading, a Cluster without quorum, somebody's long script.
    Wait,
    /// The script isn't known there.
    NoScript,
    /// No memory left.
    Full,
    /// Waiting doesn't mend it.
    Refused,
}

impl Verdict {
    /// Reads an error of a call or of a connection's making.
    pub(crate) fn of(error: &RedisError) -> Self {
        match error.kind() {
            ErrorKind::Io | ErrorKind::Parse => return Self::Lost,
            ErrorKind::MasterNameNotFoundBySentinel | ErrorKind::ClusterConnectionNotFound => {
                return Self::Wait;
            }
            _ => {}
        }
        match error.code().unwrap_or_default() {
            "MOVED" => Self::Moved,
            "ASK" => Self::Ask,
            "TRYAGAIN" => Self::TryAgain,
            // UNBLOCKED: a waiting call was let go because its node became a replica.
            "READONLY" | "UNBLOCKED" => Self::Demoted,
            // BUSY, UNKILLABLE: somebody's script runs for long. NOREPLICAS, MISCONF: fewer replicas than
            // min-replicas-to-write, or a disk that can't be written; somebody sees to it, hopefully.
            "LOADING" | "CLUSTERDOWN" | "MASTERDOWN" | "BUSY" | "UNKILLABLE" | "NOREPLICAS" | "MISCONF" => {
                Self::Wait
            }
            "NOSCRIPT" => Self::NoScript,
            "OOM" => Self::Full,
            // Said in place of the first reply, before the server closes the connection.
            "ERR" if error.detail().is_some_and(|detail| detail.starts_with("max number of clients")) => {
                Self::Lost
            }
            "ERR"
                if error
                    .detail()
                    .is_some_and(|detail| detail.starts_with("WAIT cannot be used with replica")) =>
            {
                Self::Demoted
            }
            _ => Self::Refused,
        }
    }
}

/// The error of a call that is not tried again.
pub(crate) fn final_error(error: &RedisError) -> StoreError {
    match Verdict::of(error) {
        Verdict::Full => StoreError::Full,
        Verdict::Refused => StoreError::Refused(error.to_string()),
        _ => StoreError::Unavailable(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(line: &str) -> RedisError {
        let value = redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).unwrap();
        value.extract_error().unwrap_err()
    }

    #[test]
    fn every_error_that_redis_says_has_its_verdict() {
        for (line, verdict) in [
            ("MOVED 3999 127.0.0.1:6381", Verdict::Moved),
            ("ASK 3999 127.0.0.1:6381", Verdict::Ask),
            ("TRYAGAIN Multiple keys request during rehashing of slot", Verdict::TryAgain),
            ("CLUSTERDOWN The cluster is down", Verdict::Wait),
            ("READONLY You can't write against a read only replica.", Verdict::Demoted),
            ("UNBLOCKED force unblock from blocking operation", Verdict::Demoted),
            ("ERR WAIT cannot be used with replica instances. Please also note that", Verdict::Demoted),
            ("LOADING Redis is loading the dataset in memory", Verdict::Wait),
            ("MASTERDOWN Link with MASTER is down", Verdict::Wait),
            ("BUSY Redis is busy running a script.", Verdict::Wait),
            ("UNKILLABLE Sorry the script already executed write commands", Verdict::Wait),
            ("NOREPLICAS Not enough good replicas to write.", Verdict::Wait),
            ("MISCONF Redis is configured to save RDB snapshots, but", Verdict::Wait),
            ("ERR max number of clients reached", Verdict::Lost),
            ("NOSCRIPT No matching script.", Verdict::NoScript),
            ("OOM command not allowed when used memory > 'maxmemory'.", Verdict::Full),
            ("ERR unknown command", Verdict::Refused),
            ("NOAUTH Authentication required.", Verdict::Refused),
            ("NOPERM this user has no permissions", Verdict::Refused),
            ("WRONGTYPE Operation against a key", Verdict::Refused),
        ] {
            assert_eq!(Verdict::of(&said(line)), verdict, "{line}");
        }
        let closed = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        assert_eq!(Verdict::of(&closed.into()), Verdict::Lost);
    }
}
