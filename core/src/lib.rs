//! Tensors and hooked language models, without scripts and without pictures.
//!
//! | module | holds |
//! |---|---|
//! | [`checkpoint`] | models from files and into files: families, formats, the hub |
//! | [`model`] | activations by name, hooks, gradients, generation, reading runs, training |
//! | [`tokenizer`] | text to token ids and back; labels of tokens |
//! | [`probes`] | linear classifiers of rows of numbers |
//! | [`training`] | training loops, schedules, checkpoints, gradient descent on any parameters |
//! | [`tensor`] | checked functions over candle's tensors, linear algebra, files of tensors |
//! | [`questions`], [`net`] | questions to language models behind an address; fetching, and stores of objects |
//! | [`options`](mod@options) | structs of options: their defaults, checks and conversion |
//! | [`base`] | errors, access to files and hosts, tasks, plain results |
//!
//! Dictionaries, interventions and circuits are in `microtome-methods`, which hands this crate on.
//!
//! # A first example
//!
//! Every activation has a name. Here the residual stream after each of the six layers of the model inside the crate:
//!
//! ```rust,no_run
//! use microtome_core::base::files::Files;
//! use microtome_core::base::{Error, Task};
//! use microtome_core::checkpoint::load::LoadSettings;
//! use microtome_core::model::Model;
//! use microtome_core::model::batch::Batch;
//! use microtome_core::model::run::Ask;
//! use microtome_core::model::site::select;
//!
//! let task = Task::default();
//! let files = Files::unrecorded("out".as_ref())?;
//! let model = Model::load(&files, "tiny", &LoadSettings::default(), &task)?;
//!
//! let tokens = model.tokenizer()?.encode("The committee (which had met in March", None, &task)?;
//! let count = tokens.len();
//! let batch = Batch::new(vec![tokens.ids])?;
//! let ask = Ask { places: select(model.decoder.config(), "resid_post.*")?, ..Default::default() };
//! let cache = model.decoder.cache(&batch, ask, &task)?;
//! assert_eq!(cache.len(), 6);
//! assert_eq!(cache.get("resid_post.5")?.dims(), [1, count, 192]);
//! # Ok::<(), Error>(())
//! ```

pub mod base;

mod common;

pub mod options;

#[cfg_attr(not(feature = "net"), path = "no_net.rs")]
pub mod net;

pub mod questions;

pub mod tensor;

pub mod training;

pub mod probes;

pub mod tokenizer;

pub mod model;

pub mod checkpoint;
