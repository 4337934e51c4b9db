//! Metadata that several architectures read in the same way.

use super::keys::GgufKeys;
use super::rope;
use crate::base::Result;
use crate::model::config::{Config, Rotary};

pub(super) fn rotary(keys: &GgufKeys, d_head: usize, neighbours: bool) -> Result<Rotary> {
    let dims = keys.maybe_size("rope.dimension_count")?.unwrap_or(d_head);
    let theta = keys.maybe_float("rope.freq_base")?.unwrap_or(10_000.0);
    Ok(Rotary { dims, theta, neighbours, scaling: rope::scaling(keys)? })
}

pub(super) fn rms(keys: &GgufKeys, config: &mut Config) -> Result<()> {
    config.norm_eps = keys.float("attention.layer_norm_rms_epsilon")?;
    Ok(())
}

/// Reads the size of the windows, if there are any.
pub(super) fn window(keys: &GgufKeys, usual: Option<usize>) -> Result<Option<usize>> {
    Ok(keys.maybe_size("attention.sliding_window")?.or(usual).filter(|window| *window > 0))
}
