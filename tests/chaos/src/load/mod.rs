//! The load: submissions at a steady pace, cancels, and at the end what became of it all.

mod ends;
mod harvest;
mod submit;

pub use harvest::harvest;
pub use submit::{Load, LoadPlan, Submitted};
