//! The subcommands.
mod dev;
