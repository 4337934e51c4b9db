//! The names that most families use: their description, the keys of a config, its sizes, and the names in their files.

pub(super) use super::Family;
pub use super::common::{Common, Sizes, same_window, switched_window, windows, with_alibi};
pub use super::keys::Keys;
pub use super::names::{GATE_UP, NameLine, QKV, Theirs::*};
pub use super::rope::{Rope, TwoRotations, WHOLE_HEAD, part_of_head};
pub(super) use super::{llama_names, rope};
pub use crate::common::*;
pub use crate::model::config::{Config, Experts, NormKind, Order, Positions, QkNorm};
