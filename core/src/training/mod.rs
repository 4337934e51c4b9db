//! Floor 5: the parts of every training, of a model or of a dictionary: the learning rate schedule, Adam with gradient
//! clipping, the loop with progress, interruption and checkpoints, the history of steps, and trackers, which write it
//! for programs that draw curves; and gradient descent on any parameters.
//!
//! ```rust,no_run
//! use microtome_core::base::{Error, Task};
//! use microtome_core::tensor::{Device, Tensor};
//! use microtome_core::training::descent::{Descent, DescentOptions, DescentRule};
//!
//! // The minimum of (x - 3)^2.
//! let task = Task::default();
//! let start = Tensor::new(0f32, &Device::Cpu)?;
//! let rule = DescentRule::Sgd { momentum: 0.0, weight_decay: 0.0 };
//! let options = DescentOptions { lr: 0.25, ..Default::default() };
//! let mut descent = Descent::new(rule, vec![("x".into(), start)], options)?;
//! for _ in 0..20 {
//!     descent.step(&mut |x| Ok((&x[0] - 3.0)?.sqr()?), &task)?;
//! }
//! assert!((descent.parameters()[0].to_scalar::<f32>()? - 3.0).abs() < 1e-3);
//! # Ok::<(), Error>(())
//! ```

mod adam;
mod checkpoint;
pub mod descent;
mod fit_checkpoints;
mod history;
mod losses;
mod parameter_fit;
mod recording;
mod run;
mod schedule;
pub mod trackers;
mod trainer;

pub use adam::{Optimizer, Parameter};
pub use checkpoint::{
    CheckpointFolder, CheckpointFormat, CheckpointOptions, CheckpointReader, Checkpoints, with_way_out,
};
pub use fit_checkpoints::FitCheckpoints;
pub use history::{History, INTERVALS, StepNumbers, mean, means, of_step};
pub use losses::{LossRecord, losses_in_tensor, losses_of_step, losses_of_tensor, losses_table};
pub use parameter_fit::{ParameterFit, ParameterTraining};
pub use run::{TrainingEnd, run};
pub use schedule::{Schedule, ScheduleShape};
pub use trainer::Trainer;
