//! Gemma 3, its text part (Kamath et al. 2025): norms of queries and keys, and another rotation in layers with a window.

use super::common::{Common, windows};
use super::gemma2::{later, with_norms_and_caps};
use super::keys::Keys;
use super::rope::{Outer, Rope, WHOLE_HEAD};
use super::{Family, llama_names};
use crate::base::Result;
use crate::model::config::{Config, Positions, QkNorm, Rotary};
use crate::{bail, err};

pub(super) const FAMILY: Family = Family {
    name: "gemma3_text",
    read,
    names: &[llama_names::MLP_NORM_OF_FOUR, llama_names::NAMES],
    ignored: llama_names::IGNORED,
};

const COMMON: Common = Common { vocab: 262_208, context: ("max_position_embeddings", 131_072), ..later("gemma3_text") };

/// Default interval of layers with global attention.
const PATTERN: usize = 6;

fn read(keys: &mut Keys) -> Result<Config> {
    let config = COMMON.read(keys)?;
    let config = with_norms_and_caps(keys, config, None, None)?;
    let pattern = pattern(keys)?;
    let window = Some(keys.size("sliding_window", 4096)?);
    let windows = windows(keys, config.layers, window, |layer| (layer + 1) % pattern != 0)?;
    let (whole, local) = rotations(keys, &config)?;
    Ok(Config {
        qk_norm: QkNorm::Head,
        positions: Positions::Rotary,
        rotary: Some(whole),
        rotary_local: Some(local),
        windows,
        ..config
    })
}

fn pattern(keys: &mut Keys) -> Result<usize> {
    let old = keys.maybe_size("sliding_window_pattern", None)?;
    let new = keys.maybe_size("_sliding_window_pattern", None)?;
    match old.or(new).unwrap_or(PATTERN) {
        0 => Err(err!(Format, "expected `sliding_window_pattern` of at least 1, found 0")),
        pattern => Ok(pattern),
    }
}

/// Reads the rotation of layers with global attention, and that of layers with a window. Only the first is ever scaled.
fn rotations(keys: &mut Keys, config: &Config) -> Result<(Rotary, Rotary)> {
    let whole = Rope { default_theta: 1e6, ..WHOLE_HEAD };
    let outer = |theta| Outer { theta, ..Outer::default() };
    let whole_theta = keys.maybe_number("rope_theta", None)?;
    let local_theta = keys.maybe_number("rope_local_base_freq", None)?;
    if let Some(mut both) = keys.nested("rope_parameters")? {
        if keys.nested("rope_scaling")?.is_some() {
            bail!(Format, "expected `rope_parameters` or `rope_scaling`, found both");
        }
        let full = whole.rotary(both.nested("full_attention")?, &outer(whole_theta), config)?;
        let local = WHOLE_HEAD.rotary(both.nested("sliding_attention")?, &outer(local_theta), config)?;
        both.finish(&[])?;
        return Ok((full, local));
    }
    let full = whole.rotary(keys.nested("rope_scaling")?, &outer(whole_theta), config)?;
    Ok((full, WHOLE_HEAD.rotary(None, &outer(local_theta), config)?))
}
