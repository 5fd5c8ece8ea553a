//! The `jobcast` binary.
mod command;
fn main() {}
