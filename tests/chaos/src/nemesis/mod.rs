//! What breaks the world: a schedule made from the seed alone, and the hands that carry it out.

mod deed;
mod hands;
mod lookout;
mod profile;
mod redis;
mod schedule;

pub use deed::{Act, Deed};
pub use hands::{Faults, Nemesis};
pub use lookout::Lookout;
pub use profile::Profile;
pub use schedule::Schedule;
