//! Floor 10: the language. Bindings of the floors below, one file each of the same name; values, options and errors;
//! the reference; libraries; sessions.
//!
//! # How a binding is written
//!
//! A file holds one plugin module per way of being found: `functions` (called through the module, `tensor::zeros(..)`),
//! and `methods` (registered for everybody, `t.sum(0)`; first parameter `&mut T`, marked `#[rhai_fn(global, pure)]`
//! unless it changes the value). Both stand in one line each in `engine.rs`.
//!
//! - A binding converts its arguments with [`value::given`] and [`options::options`], makes one call into the core, and
//!   lets `?` convert the error. It returns [`value::Fallible`].
//! - Whatever may be `1` or `1.0` has the type [`value::Num`] or [`value::Int`] (both are `Dynamic`; the name is what
//!   signatures show). Options are the last parameter, [`value::Options`], in an overload of the same name.
//! - The doc comment is the documentation: summary, body, `# Options`, `# Example` with `//=> value`; the first overload
//!   carries it. Tests run every example, with `1` as `1.0` too, and call with unknown options.
//! - A type that scripts hold implements [`handle::Handle`] and stands in `HANDLES` of its folder.
//! - What a binding needs beside its arguments is in [`env::Env`]: `env(&ctx)?`.

mod binding;
mod caught;
mod check;
pub mod circuit;
pub mod console;
pub mod data;
pub mod docs;
pub mod docs_text;
pub mod drawing;
pub mod engine;
pub mod env;
pub mod failure;
pub mod features;
mod foreign;
pub mod handle;
pub mod hooks;
pub mod inspect;
pub mod language;
mod loaded;
mod marks;
pub mod model;
pub mod numbers;
pub mod options;
mod panics;
mod paper;
pub mod plot;
mod ranges;
pub mod record;
pub mod reference;
pub mod report;
pub mod resolver;
mod room;
pub mod run;
pub mod sae;
mod session;
pub mod show;
pub mod sources;
mod standins;
pub mod stdlib;
pub mod tensor;
pub mod thread;
pub mod tokens;
mod unfinished;
mod unknown;
pub mod value;

pub use session::Session;
