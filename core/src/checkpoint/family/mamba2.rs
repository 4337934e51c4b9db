//! Mamba 2 (Dao and Gu 2024): heads with one rate each, which share what they write and read with in groups.

use super::mamba::{self, StreamDefaults};
use super::prelude::*;
use crate::model::config::StateSpaces;

pub(super) const FAMILY: Family = Family { name: "mamba2", read, names: &[NAMES, mamba::STREAM_NAMES], ignored: &[] };

/// The parts of the map into a state space, in the order in which files have their rows.
pub(super) const PARTS: &[&str] =
    &["blocks.*.ssm.gate", "blocks.*.ssm.x", "blocks.*.ssm.b", "blocks.*.ssm.c", "blocks.*.ssm.dt"];

const NAMES: &[NameLine] = &[
    ("blocks.*.ssm.in", Rows("backbone.layers.*.mixer.in_proj", PARTS)),
    ("blocks.*.ssm.dt_bias", Exact("backbone.layers.*.mixer.dt_bias")),
];

const DEFAULTS: StreamDefaults =
    StreamDefaults { family: "mamba2", vocab: 32_768, d_model: 4096, layers: 64, tied: false, eos: 2 };

fn read(keys: &mut Keys) -> Result<Config> {
    let (config, ssm, expanded) = DEFAULTS.read(keys)?;
    // Tokens that other programs compute together, and the rank of a map that there is not.
    keys.ignore(&["chunk_size", "time_step_rank"]);
    // Published files state either, and in all of them gates come before the norm.
    keys.flag("norm_before_gate", false)?;
    let heads = keys.size("num_heads", 128)?;
    let d_head = keys.size("head_dim", 64)?;
    if heads.saturating_mul(d_head) != expanded {
        return Err(err!(
            Format,
            "expected `num_heads` times `head_dim` to be `expand` times `hidden_size`, {expanded}, found {heads} and {d_head}"
        ));
    }
    let [dt_least, dt_most] = limits(keys)?;
    let ssm = StateSpaces {
        heads,
        d_head,
        groups: keys.size("n_groups", 8)?,
        d_state: keys.size("state_size", 128)?,
        dt_least,
        dt_most,
        ..ssm
    };
    Ok(Config { ssm: Some(ssm), ..config })
}

/// Reads the least and the largest step; none where the limits are 0 and infinity, between which all steps are.
pub(super) fn limits(keys: &mut Keys) -> Result<[Option<f64>; 2]> {
    const KEY: &str = "time_step_limit";
    let Some(found) = keys.value(KEY).filter(|found| !found.is_null()) else { return Ok([None, None]) };
    let wrong = || keys.wrong(KEY, "the least and the largest step", found);
    let Some([least, most]) = found.as_array().map(Vec::as_slice) else { return Err(wrong()) };
    let is_infinite = |x: &Value| x.get("__float__").is_some_and(|word| word == "Infinity");
    let number = |x: &Value| x.as_f64().filter(|x| x.is_finite()).ok_or_else(wrong);
    let least = Some(number(least)?).filter(|least| *least > 0.0);
    let most = if is_infinite(most) { None } else { Some(number(most)?) };
    Ok([least, most])
}
