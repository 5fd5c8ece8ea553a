//! `jobcast dev`: everything in one process, with a private Redis server as a child.

mod child;
mod find;
mod folder;
mod server;
