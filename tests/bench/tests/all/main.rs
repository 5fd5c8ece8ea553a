//! Very many jobs, and the benchmark itself: a file for each.
//!
//! One program, since each for itself would take longer to build than to run.

mod deadlines;
mod shed;
mod short;
