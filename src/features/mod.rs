//! Floor 6: looking at features: where they are active, what they do, and what they stand for.

pub mod seen;

pub use seen::{Moment, Seen, Tally};
