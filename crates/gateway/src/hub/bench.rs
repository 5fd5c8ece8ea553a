//! What the micro-benchmarks drive of the hub.

pub(crate) use super::core::{Limits, LogCore, Taken};
pub(crate) use super::frame::Frame;
pub(crate) use super::held::Held;
pub(crate) use super::page::ReadPage;
pub(crate) use super::read::ReadOutcome;
pub(crate) use super::seat::Seat;
