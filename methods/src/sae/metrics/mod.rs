//! Metrics of dictionaries: reconstruction, sparsity, dead features, and what a model loses.

mod assignment;
mod by_layer;
mod classes;
mod correlations;
mod dimensions;
mod directions;
mod effect;
mod features;
mod geometry;
mod in_model;
mod measured;
mod measures;
mod meter;
mod pareto;
mod predictions;
mod recovered;
mod recovery;
mod shapes;
mod splitting;
mod stored;
mod suppression;
mod texts;
mod universality;

pub use by_layer::{layer_table, measured_by_layer, measured_by_layer_in};
pub use classes::{CLASSES, classes};
pub(super) use directions::cosines_of;
pub use directions::{DirectionPair, Matches, matches, mmcs};
pub use effect::{EvaluationText, KlPositions, effect, effect_of, effects};
pub use features::Features;
pub use geometry::{Geometry, GeometryOptions, geometry};
pub use in_model::{
    EffectByClassOptions, EffectOptions, MeasureOnOptions, ParetoOptions, effect_by_class, effect_on_text,
    measured_in_model, pareto_in_model, pareto_on,
};
pub use measured::{measured, measured_between, measured_on, measured_rows};
pub use measures::{Dimension, Measures, Position};
pub use meter::{CodedBatch, MeasureOptions, Meter};
pub use pareto::{Pareto, Point};
pub use predictions::{ByClass, Effect, Losses};
pub use recovered::{RecoveredFeatures, SAME, again};
pub use recovery::{Recovery, recovery};
pub use shapes::{Shape, ShapeKind, ShapeOptions, Shapes, shapes};
pub use splitting::{FeatureFamily, Splitting, splitting};
pub use stored::{MeasureStoreOptions, measured_at, measured_in};
pub use suppression::{Suppression, SuppressionOptions, suppression};
pub use texts::{JudgedRowsOptions, judged_rows};
pub use universality::{FeatureMatch, Universality, UniversalityOptions, universality};
