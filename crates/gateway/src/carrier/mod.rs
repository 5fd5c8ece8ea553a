//! Carriers: how frames, and answers that must not be lost, reach a socket.

pub(crate) mod bare;
pub(crate) mod body;
pub(crate) mod framing;
pub(crate) mod guarded;
pub(crate) mod head;
pub(crate) mod leftover;
pub(crate) mod lent;
pub(crate) mod one_by_one;
#[cfg(test)]
mod over_tls;
pub(crate) mod socket;
pub(crate) mod stall;
pub(crate) mod stream;
