//! Floor 2: the parts of every training, of a model or of a dictionary: the learning rate schedule, Adam with gradient
//! clipping, the loop with progress, interruption and checkpoints, and the history of steps; and gradient descent on
//! any parameters.

mod adam;
mod checkpoint;
pub mod descent;
mod history;
mod run;
mod schedule;

pub use adam::{Optimizer, Parameter};
pub use checkpoint::{
    CheckpointFolder, CheckpointFormat, CheckpointOptions, CheckpointReader, Checkpoints, with_way_out,
};
pub use history::{History, StepNumbers, mean};
pub use run::{Ended, Trainer, run};
pub use schedule::{Schedule, ScheduleShape};
