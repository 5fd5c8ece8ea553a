//! The chaos suite: a whole system under load, broken at random, and a checker that believes nothing but what clients saw.
//!
//! Facts flow one way: the driver breaks and watches, and writes a [`record::Run`]; the checker reads that and gives a
//! verdict; the report shows both. The checker shares no code with what it checks.

pub mod checker;
pub mod client;
mod dice;
mod drive;
pub mod load;
pub mod nemesis;
mod opaque;
pub mod outcome;
pub mod plant;
pub mod record;
pub mod report;
pub mod world;

pub use drive::{Orders, drive};
