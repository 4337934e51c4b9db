//! Interpretability of language models: texts, dictionaries (sparse autoencoders, transcoders, crosscoders),
//! interventions, features and circuits, without scripts and without pictures.
//!
//! | module | holds |
//! |---|---|
//! | [`checkpoint`] | models from files and into files: families, formats, the hub |
//! | [`model`] | activations by name, hooks, gradients, generation, reading runs, training |
//! | [`tokenizer`] | text to token ids and back; labels of tokens |
//! | [`data`] | texts and their sources, labels, pairs of prompts, activations on texts, in memory and in stores |
//! | [`sae`] | dictionaries: fitting, reading those of other libraries, metrics, splicing into models |
//! | [`intervene`] | activation and path patching, hooks on features, steering, erasure, subspaces, monitors |
//! | [`features`] | max-activating examples, logit effects, cards, dashboards, explanations and their scores |
//! | [`circuit`] | causal trees, edges, feature circuits, attribution graphs, and their evaluation |
//! | [`diff`] | what fine-tuning changed: divergences by token, differences of activations, tokens whose logits rise |
//! | [`base`], [`options`](mod@options), [`net`], [`questions`] | errors, files and access; options; fetching; language models behind an address |
//! | [`tensor`], [`training`], [`probes`] | tensors; training loops; linear probes |
//!
//! The crate `microtome` puts scripts, reports, a prompt and a command line above this one, and computes nothing that this
//! one does not.
//!
//! # A first example
//!
//! A small model is inside the crate. It closes brackets, and hardly does where the attention of its fourth layer is
//! ablated:
//!
//! ```rust,no_run
//! use microtome_methods::model::predict::predicted;
//! use microtome_methods::prelude::*;
//!
//! let task = Task::default();
//! let files = Files::unrecorded("out".as_ref())?;
//! let model = Model::load(&files, "tiny", &LoadSettings::default(), &task)?;
//!
//! let tokens = model.tokenizer()?.encode("The committee (which had met in March", None, &task)?;
//! let batch = Batch::new(vec![tokens.ids])?;
//! let likely = predicted(&model.decoder, &batch, -1, 5, Vec::new(), &task)?;
//! assert_eq!(likely[0].id, model.token(&TokenName::Text(")".into()), &task)?);
//! assert!(likely[0].probability > 0.9);
//!
//! let config = model.decoder.config();
//! let ablated = BoundHook::new(config, "attn_out.3", None, None, Box::new(Action::Zero.begin()))?;
//! let without = predicted(&model.decoder, &batch, -1, 5, vec![ablated], &task)?;
//! assert_ne!(without[0].id, likely[0].id);
//! # Ok::<(), Error>(())
//! ```
//!
//! `examples/embed.rs` of the repository goes on to a circuit with its evaluation.
//!
//! # Calls
//!
//! - Options are structs with defaults: `TreeOptions { children: 5, ..Default::default() }`.
//! - A [`Task`](base::Task) carries progress and interruption: a call that takes one ends soon after its flag is set, and
//!   prints nothing.
//! - A [`Files`](base::files::Files) decides by its [`Access`](base::access::Access) what may be read, written and fetched.
//! - An [`Error`](base::Error) says what was expected and what was found, and has a hint where there is one.
//! - Draws follow from seeds among the options and arguments: the same ones give the same bits on machines of one kind.
//!
//! # Features of the crate
//!
//! `objects`, `parquet` and `arrow` (on by default) read and write stores of activations in buckets, texts and tables in Parquet,
//! and tables in Arrow;
//! `avx512` uses AVX-512 where the CPU has it; `cuda` and `metal` build candle's GPU backends, and need their toolkits.

pub use microtome_core::{bail, choices, err, options, text_or_number};
#[doc(inline)]
pub use microtome_core::{base, checkpoint, model, net, probes, questions, tensor, tokenizer, training};

mod common;
pub mod data;

pub mod sae;

pub mod intervene;

pub mod features;

pub mod circuit;

pub mod diff;

pub mod decomposition;

pub mod prelude;

#[cfg(test)]
#[path = "../../core/src/model/fixtures.rs"]
mod fixtures;
#[cfg(test)]
mod watch;
