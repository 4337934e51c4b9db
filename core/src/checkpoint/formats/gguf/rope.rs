//! The scaling of rotary positions in a GGUF file: by metadata, or by a tensor of factors (Llama 3).

use super::keys::GgufKeys;
use crate::checkpoint::family::grown;
use crate::common::*;
use crate::model::config::{Rotary, Scaling};
use crate::tensor::{DType, Tensor};

/// The turns within the original context between which YaRN interpolates, where the file states none.
const YARN_TURNS: [f64; 2] = [1.0, 32.0];

/// Reads the scaling that the metadata state. `rounded`: whether YaRN's bounds are rounded to whole pairs, which the file does
/// not state.
pub(super) fn scaling(keys: &GgufKeys, rounded: bool) -> Result<Scaling> {
    let legacy = keys.maybe_float("rope.scale_linear")?;
    let factor = keys.maybe_float("rope.scaling.factor")?.or(legacy);
    let kind = keys.maybe_text("rope.scaling.type")?;
    // Facts about training; neither is used without scaling or with linear scaling.
    let original = keys.maybe_size("rope.scaling.original_context_length")?;
    keys.flag("rope.scaling.finetuned", false)?;
    match (kind, factor) {
        (Some("yarn"), Some(factor)) if factor > 0.0 => {
            let turns = |key: &str, usual: f64| -> Result<f64> { Ok(keys.maybe_float(key)?.unwrap_or(usual)) };
            Ok(Scaling::Yarn {
                factor,
                slow: turns("rope.scaling.yarn_beta_slow", YARN_TURNS[0])?,
                fast: turns("rope.scaling.yarn_beta_fast", YARN_TURNS[1])?,
                original: original.map_or_else(|| keys.size("context_length"), Ok)?,
                rounded,
                amplitude: turns("rope.scaling.yarn_attn_factor", grown(factor, 1.0))?,
            })
        }
        (None | Some("none"), None | Some(1.0)) | (Some("linear"), Some(1.0)) => Ok(Scaling::None),
        // Without a type, llama.cpp assumes linear scaling.
        (None | Some("linear"), Some(factor)) if factor > 0.0 => Ok(Scaling::Linear { factor }),
        (kind, factor) => Err(err!(
            Format,
            "expected no rotary scaling, a linear one or YaRN's, found `{}` by {}",
            kind.unwrap_or("none"),
            factor.map_or("nothing".into(), |factor| factor.to_string())
        )),
    }
}

/// Reads the scaling of Gemma 4, whose converter writes divisors: 1 for pairs that are rotated, and for the others one that is so
/// large that nothing is left of their rotation.
pub(super) fn proportional(divisors: &Tensor, d_head: usize) -> Result<Scaling> {
    const NONE: f32 = 1e30;
    let divisors: Vec<f32> = divisors.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
    let pairs = divisors.iter().take_while(|divisor| **divisor == 1.0).count();
    if divisors.len() != d_head / 2 || divisors[pairs..].iter().any(|divisor| *divisor < NONE) {
        bail!(Format, "expected {} divisors, of which the first are 1 and the others 1e30, found others", d_head / 2);
    }
    Ok(Scaling::Proportional { factor: 1.0, pairs })
}

/// Finds the scaling of Llama 3 whose divisors of the frequencies are these factors. Its converter writes the divisors
/// and not the four numbers that they come from; two of those are the same in all published models, and the others are
/// found by search: the result reproduces the divisors of the file, or there is an error.
pub(super) fn recognised(factors: &Tensor, rotary: &Rotary) -> Result<Scaling> {
    const LOW: f64 = 1.0;
    const HIGH: f64 = 4.0;
    let pairs = rotary.dims / 2;
    if factors.dims() != [pairs] {
        bail!(
            Format,
            "expected {pairs} factors, one for each pair of turning dimensions, found shape {:?}",
            factors.dims()
        );
    }
    let factors: Vec<f32> = factors.to_dtype(DType::F32)?.to_vec1()?;
    if factors.iter().all(|factor| *factor == 1.0) {
        return Ok(Scaling::None);
    }
    let factor = f64::from(factors.iter().copied().fold(1.0, f32::max));
    for original in (5..=24).map(|power| 1_usize << power) {
        let divisor = |pair: usize| {
            let frequency = rotary.theta.powf(-2.0 * pair as f64 / rotary.dims as f64);
            let turns = original as f64 * frequency / std::f64::consts::TAU;
            let kept = ((turns - LOW) / (HIGH - LOW)).clamp(0.0, 1.0);
            ((1.0 - kept) / factor + kept).recip()
        };
        let close = |(pair, found): (usize, &f32)| (divisor(pair) / f64::from(*found) - 1.0).abs() < 1e-5;
        if factors.iter().enumerate().all(close) {
            return Ok(Scaling::Llama3 { factor, low: LOW, high: HIGH, original });
        }
    }
    Err(err!(Format, "expected the factors of Llama 3's rotary scaling, found others")
        .hint("load the model as it was published, in safetensors"))
}
