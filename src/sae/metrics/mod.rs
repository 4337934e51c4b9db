//! Metrics of dictionaries: reconstruction, sparsity, dead features, and what a model loses.

mod again;
mod assignment;
mod classes;
mod dimensions;
mod directions;
mod effect;
mod features;
mod measured;
mod measures;
mod meter;
mod pareto;
mod predictions;
mod stored;

pub use again::{Again, SAME, again};
pub use classes::{CLASSES, classes};
pub use directions::{Matches, matches, mmcs};
pub use effect::{Judged, Sites, effect, effects};
pub use features::Features;
pub use measured::{measured, measured_between, measured_on};
pub use measures::{Dimension, Measures, Position};
pub use meter::{Meter, Rules, Seen};
pub use pareto::{Pareto, Point};
pub use predictions::{ByClass, Effect, Losses};
pub use stored::measured_in;
