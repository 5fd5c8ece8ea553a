//! The real program: a file for each of what it does and says.
//!
//! One program, since each for itself would take longer to build than to run.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

mod dev;
mod warnings;
