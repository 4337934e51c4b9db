//! Floor 20: the language. Bindings of the floors below, one file each of the same name; values, options and errors;
//! the reference; libraries; sessions.
//!
//! # How a binding is written
//!
//! A file holds one plugin module per way of being found: `functions` (called through the module, `tensor::zeros(..)`),
//! and `methods` (registered for everybody, `t.sum(0)`; first parameter `&mut T`, marked `#[rhai_fn(global, pure)]`
//! unless it changes the value). Both stand in one line each in `session/build.rs`.
//!
//! - A file begins with `use crate::script::prelude::*`, and imports by name only what few others need.
//! - A binding converts its arguments with [`engine::value::given`] and [`engine::options::options`], makes one call
//!   into the core, and lets `?` convert the error. It returns [`engine::value::Fallible`].
//! - Whatever may be `1` or `1.0` has the type [`engine::value::Num`] or [`engine::value::Int`] (both are `Dynamic`;
//!   the name is what signatures show). Options are the last parameter, [`engine::value::Options`], in an overload of
//!   the same name.
//! - The doc comment is the documentation: summary, body, `# Options`, `# Example` with `//=> value`; the first overload
//!   carries it. Tests run every example, with `1` as `1.0` too, and call with unknown options.
//! - A type that scripts hold implements [`engine::handle::Handle`] and stands in `HANDLES` of its folder.
//! - What a binding needs beside its arguments is in [`engine::env::Env`]: `env(&ctx)?`.

pub mod circuit;
pub mod data;
pub mod decomposition;
pub mod diff;
pub mod docs;
pub mod engine;
pub mod features;
pub mod hooks;
pub mod intervene;
pub mod language;
pub mod library;
pub mod model;
pub mod optim;
pub mod plot;
mod prelude;
pub mod probes;
pub mod report;
pub mod sae;
pub mod session;
pub mod tensor;

pub use session::Session;
