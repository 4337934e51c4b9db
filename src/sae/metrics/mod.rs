//! How good a dictionary is: reconstruction, sparsity, features that never fire, and what a model loses by it.

mod assignment;
mod dimensions;
mod directions;
mod effect;
mod features;
mod measures;
mod meter;
mod predictions;
mod stored;

pub use directions::{Matches, matches, mmcs};
pub use effect::{Judged, Sites, effect};
pub use features::Features;
pub use measures::{Dimension, Measures, Position};
pub use meter::{Meter, Rules, Seen};
pub use predictions::{ByClass, Effect, Losses};
pub use stored::measured_in;
