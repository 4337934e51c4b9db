//! Trackers: trainings as the files of TensorBoard, MLflow and Weights & Biases, which open them without another step.
//!
//! A run has its files in one folder, `track`, where each training is a run of these programs. They hold times, so they
//! are no results: no record names them. They grow at their ends while a training runs, and can be watched meanwhile.
//!
//! Formats are written by hand: of the protocol buffers of TensorBoard and W&B a few fields are needed, and the
//! libraries of their makers are for Python.

mod checksum;
mod growing_file;
mod mlflow;
mod place;
mod protobuf;
mod tensorboard;
mod wandb;

use crate::base::tracking::Tracker;
use crate::common::*;
use mlflow::Mlflow;
use place::Place;
use tensorboard::TensorBoard;
use wandb::WeightsAndBiases;

pub use place::{TrackedScript, day, now};

/// The name of the folder of all trackers.
const FOLDER: &str = "track";

/// A program that trainings are tracked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrackerKind {
    TensorBoard,
    Mlflow,
    WeightsAndBiases,
}

/// Makes trackers that write into `track` in a folder, which must be one that may be written.
pub fn trackers(
    kinds: &[TrackerKind],
    access: &Access,
    folder: &Path,
    script: &TrackedScript,
) -> Result<Vec<Arc<dyn Tracker>>> {
    let mut made: Vec<Arc<dyn Tracker>> = Vec::new();
    for (number, kind) in kinds.iter().enumerate() {
        if kinds[..number].contains(kind) {
            continue;
        }
        let place = Place::new(access, &folder.join(FOLDER), script.clone())?;
        made.push(match kind {
            TrackerKind::TensorBoard => Arc::new(TensorBoard::new(place)),
            TrackerKind::Mlflow => Arc::new(Mlflow::new(place)),
            TrackerKind::WeightsAndBiases => Arc::new(WeightsAndBiases::new(place)),
        });
    }
    Ok(made)
}
