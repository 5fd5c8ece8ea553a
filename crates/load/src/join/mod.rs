//! Several processes in one run: one leads, others join it and hold their share of the streams.
//!
//! They talk by lines of JSON over TCP, without a password or TLS: the address to lead at belongs in a network of one's own.
//! No API key goes that way; each process has its own.

mod lead;
mod message;
mod work;

pub(crate) use lead::{Member, muster};
pub use work::join;
