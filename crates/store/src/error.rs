//! What can go wrong with Redis.

/// Why a call to Redis had no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// Redis could not be reached, or didn't answer, within the patience. The call may or may not have happened; a repeat of
    /// the same step is safe.
    #[error("Redis is unavailable: {0}")]
    Unavailable(String),
    /// Redis is at its memory limit and refuses to grow. Nothing was written.
    #[error("Redis is full: raise maxmemory, or wait for jobs to expire")]
    Full,
    /// The primary has made the change, but too few replicas have it: a failover may lose it. A repeat of the same step, or of
    /// the submission with its Idempotency-Key, finds it, and is answered once enough of them have it.
    #[error("only {have} of {want} replicas have it")]
    NotReplicated {
        /// How many replicas have it.
        have: u64,
        /// How many are to have it.
        want: u64,
    },
    /// Redis answered with an error that waiting doesn't mend, such as missing rights. The sentence is for the operator.
    #[error("Redis refused: {0}")]
    Refused(String),
    /// Redis holds something that this version can't read. The sentence is for the operator.
    #[error("Redis holds something unreadable: {0}")]
    Unreadable(String),
}

/// Why a call of an attempt was refused.
#[derive(Clone, Debug, thiserror::Error)]
pub enum WorkError {
    /// The token is not the job's lease (any more): another attempt or the sweep replaced it, or the attempt has ended.
    #[error("the lease is lost")]
    LeaseLost,
    /// The batch number is higher than the one after the last: a write before it is missing.
    #[error("the batch number skips one")]
    BatchGap,
    /// The job is external: there is no queue that it could be given back to.
    #[error("an external job can't be given back")]
    External,
    /// The job is external, and its attempt has yet to start. Calls of the store start it by themselves.
    #[error("the attempt has not started")]
    NotStarted,
    /// Redis had no answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}
