//! The names that most files of bindings use: the engine's own, the arguments and options of a call, plain results and
//! how they are shown, texts and tensors. It names no room of the language, since the lowest of them read it, too.
//!
//! A file's own definition, or an import by its name, takes precedence over a name from here.

pub use std::collections::{BTreeMap, BTreeSet};
pub use std::ops::Range;
pub use std::path::{Path, PathBuf};
pub use std::rc::Rc;
pub use std::sync::Arc;

pub use rhai::plugin::*;
pub use rhai::{Array, FnPtr, Map, exported_manifest};
pub use serde_json::{Value, json};

// Results without a model, and their errors.
pub use crate::base::files::Files;
pub use crate::base::random::Seed;
pub use crate::base::{Card, Cell, Error, Grid, HeatText, Kind, Result, Table, Task, memory, names};
pub use crate::options::{Plain, Setting};
pub use crate::{bail, err};

// How they are drawn.
pub use crate::report::chart::Chart;
pub use crate::report::json::number;
pub use crate::report::visible_text::{count, visible};
pub use crate::report::{Item, Screen};
pub use crate::script::engine::notes::{noted, paragraphs, with_fields};

// A call: its arguments, its options, and what it needs beside these.
pub use crate::script::engine::callbacks::Callbacks;
pub use crate::script::engine::env::{Env, env};
pub use crate::script::engine::options::{options, taken, taken_both, taken_three};
pub(in crate::script) use crate::script::engine::value::handle_setting;
pub use crate::script::engine::value::{
    Any, Fallible, GivenValue, Int, Num, Options, described, from_json, given, plain,
};

// A result that scripts hold, and the lists in which a room declares its types and its groups of options.
pub use crate::script::docs::option_groups::{NamedOptions, fields};
pub(in crate::script) use crate::script::engine::handle::handle;
pub use crate::script::engine::handle::{Handle, HandleType, handle_type, large};
pub use crate::script::engine::show::{mapped, saved};

// What most calls are about.
pub use crate::data::Text;
pub use crate::tensor::{Device, Tensor};
