//! Rotary positions as configs state them: old keys at the top, new ones in `rope_parameters`.

use super::keys::{Keys, same};
use crate::common::*;
use crate::model::config::{Config, Positions, Rotary, Scaling};

/// The way in which a family states its rotation.
pub struct Rope {
    /// Older names of `rope_theta` and `partial_rotary_factor`.
    pub theta: &'static [&'static str],
    pub partial: &'static [&'static str],
    /// The rotated fraction of a head by default; None for families that rotate all of it.
    pub default_partial: Option<f64>,
    pub default_theta: f64,
    /// Whether neighbouring coordinates are rotated together, and not those of the two halves of a head.
    pub neighbours: bool,
    /// Whether the bounds of YaRN are rounded, whatever is stated.
    pub rounded: bool,
    /// Keys of `rope_parameters` that say nothing about texts.
    pub beside: &'static [&'static str],
}

/// Rotation of whole heads, as llama has it.
pub const WHOLE_HEAD: Rope = Rope {
    theta: &["rope_theta"],
    partial: &["partial_rotary_factor"],
    default_partial: None,
    default_theta: 1e4,
    neighbours: false,
    rounded: false,
    beside: &[],
};

/// Returns the rotation of a family that rotates a part of each head.
pub const fn part_of_head(default: f64) -> Rope {
    Rope { default_partial: Some(default), ..WHOLE_HEAD }
}

impl Rope {
    /// Adds the rotation to a config.
    pub fn read(&self, keys: &mut Keys, config: Config) -> Result<Config> {
        let outer = Outer {
            theta: agreed(keys, self.theta)?,
            partial: agreed(keys, self.partial)?,
            original: keys.maybe_size("original_max_position_embeddings", None)?,
        };
        let inner = one_of_both(keys)?;
        let rotary = self.rotary(inner, &outer, &config)?;
        Ok(Config { positions: Positions::Rotary, rotary: Some(rotary), ..config })
    }

    /// Reads the rotation from the fields of `rope_parameters`, if there are any, and from the keys outside of them.
    pub fn rotary(&self, inner: Option<Keys>, outer: &Outer, config: &Config) -> Result<Rotary> {
        let mut theta = None;
        let mut partial = None;
        let mut scaling = Scaling::None;
        if let Some(mut inner) = inner {
            if self.rounded {
                inner.only("truncate", true)?;
            }
            theta = inner.maybe_number("rope_theta", None)?;
            partial = inner.maybe_number("partial_rotary_factor", None)?;
            scaling = read_scaling(&mut inner, outer, config)?;
            inner.ignore(self.beside);
            inner.finish(&[])?;
        }
        let theta = theta.or(outer.theta).unwrap_or(self.default_theta);
        let partial = partial.or(outer.partial).or(self.default_partial).unwrap_or(1.0);
        if !(0.0..=1.0).contains(&partial) {
            bail!(Format, "expected a `partial_rotary_factor` between 0 and 1, found {partial}");
        }
        if self.default_partial.is_none() && partial != 1.0 {
            bail!(Format, "a `partial_rotary_factor` of {partial} is not implemented for {}", config.family);
        }
        let dims = (config.d_head as f64 * partial) as usize;
        Ok(Rotary { dims, theta, neighbours: self.neighbours, scaling })
    }
}

/// Rotations of layers that see the whole text and of those with a window, each with the older name of its base.
pub struct TwoRotations {
    pub whole: (Rope, &'static str),
    pub local: (Rope, &'static str),
    /// Whether older configs scale the first, by `rope_scaling`.
    pub scaled: bool,
}

impl TwoRotations {
    /// Adds both rotations to a config.
    pub fn read(&self, keys: &mut Keys, config: Config) -> Result<Config> {
        let older = if self.scaled { keys.nested("rope_scaling")? } else { None };
        let (whole, local) = match keys.nested("rope_parameters")? {
            None => (older, None),
            Some(_) if older.is_some() => {
                bail!(Format, "expected `rope_parameters` or `rope_scaling`, found both");
            }
            Some(mut both) => {
                let parts = (both.nested("full_attention")?, both.nested("sliding_attention")?);
                both.finish(&[])?;
                parts
            }
        };
        let mut rotary = |(rope, base): &(Rope, &'static str), inner: Option<Keys>| -> Result<Rotary> {
            let outer = Outer { theta: keys.maybe_number(base, None)?, ..Outer::default() };
            rope.rotary(inner, &outer, &config)
        };
        let whole = rotary(&self.whole, whole)?;
        let local = rotary(&self.local, local)?;
        Ok(Config { positions: Positions::Rotary, rotary: Some(whole), rotary_local: Some(local), ..config })
    }
}

/// The keys outside of `rope_parameters`.
#[derive(Default)]
pub struct Outer {
    pub theta: Option<f64>,
    pub partial: Option<f64>,
    pub original: Option<usize>,
}

/// Reads the number under one of several keys; different numbers are refused.
fn agreed(keys: &mut Keys, names: &[&'static str]) -> Result<Option<f64>> {
    let mut found: Option<(&str, f64)> = None;
    for name in names {
        match (found, keys.maybe_number(name, None)?) {
            (Some((first, a)), Some(b)) if a != b => {
                bail!(Format, "the config keys `{first}` and `{name}` contradict each other: {a} and {b}")
            }
            (None, Some(x)) => found = Some((name, x)),
            _ => {}
        }
    }
    Ok(found.map(|(_, x)| x))
}

/// Returns the fields of `rope_parameters`, or of `rope_scaling` as it was called before.
pub fn one_of_both<'a>(keys: &mut Keys<'a>) -> Result<Option<Keys<'a>>> {
    let both = [keys.value("rope_scaling"), keys.value("rope_parameters")];
    if let [Some(old @ Value::Object(_)), Some(new @ Value::Object(_))] = both
        && old != new
    {
        bail!(Format, "the config keys `rope_scaling` and `rope_parameters` contradict each other: {old} and {new}");
    }
    Ok(match keys.nested("rope_parameters")? {
        Some(new) => Some(new),
        None => keys.nested("rope_scaling")?,
    })
}

fn read_scaling(inner: &mut Keys, outer: &Outer, config: &Config) -> Result<Scaling> {
    let new = inner.value("rope_type");
    let old = inner.value("type");
    if let (Some(new), Some(old)) = (new, old)
        && !same(new, old)
    {
        bail!(Format, "`rope_type` and `type` of the rotary positions contradict each other: {new} and {old}");
    }
    let name = match (inner.word("rope_type")?, inner.word("type")?) {
        (Some(name), _) | (None, Some(name)) => name,
        (None, None) => "default",
    };
    let needed = |key: &str, value: Option<f64>| {
        value.ok_or_else(|| err!(Format, "expected the key `{key}` beside rope_type {name}, found none"))
    };
    match name {
        "default" => Ok(Scaling::None),
        "linear" => Ok(Scaling::Linear { factor: needed("factor", inner.maybe_number("factor", None)?)? }),
        "llama3" => Ok(Scaling::Llama3 {
            factor: needed("factor", inner.maybe_number("factor", None)?)?,
            low: needed("low_freq_factor", inner.maybe_number("low_freq_factor", None)?)?,
            high: needed("high_freq_factor", inner.maybe_number("high_freq_factor", None)?)?,
            original: original(inner, outer, config)?,
        }),
        "yarn" => yarn(inner, outer, config),
        other => Err(err!(Format, "rotary positions of `rope_type` {other} are not implemented")
            .hint("expected default, linear, llama3 or yarn; the model would compute something else")),
    }
}

/// Reads the context before it was extended.
fn original(inner: &mut Keys, outer: &Outer, config: &Config) -> Result<usize> {
    let stated = inner.maybe_size("original_max_position_embeddings", None)?;
    Ok(stated.or(outer.original).unwrap_or(config.context))
}

/// Computes the factor of queries and keys whose context is extended by another one (Peng et al. 2023, equation 22).
pub fn grown(factor: f64, slope: f64) -> f64 {
    if factor <= 1.0 { 1.0 } else { 0.1 * slope * factor.ln() + 1.0 }
}

/// Reads the scaling of YaRN. Parameters that are left out follow from the others, as transformers has it.
fn yarn(inner: &mut Keys, outer: &Outer, config: &Config) -> Result<Scaling> {
    let original = original(inner, outer, config)?;
    let factor = inner.maybe_number("factor", None)?.unwrap_or(config.context as f64 / original.max(1) as f64);
    // With a slope for either side where there are two.
    let grown = |slope: f64| grown(factor, slope);
    let slopes = (inner.maybe_number("mscale", None)?, inner.maybe_number("mscale_all_dim", None)?);
    let amplitude = match (inner.maybe_number("attention_factor", None)?, slopes) {
        (Some(stated), _) => stated,
        (None, (Some(own), Some(all))) if own != 0.0 && all != 0.0 => grown(own) / grown(all),
        _ => grown(1.0),
    };
    // 0 counts as left out.
    let turns = |stated: Option<f64>, default: f64| stated.filter(|turns| *turns != 0.0).unwrap_or(default);
    Ok(Scaling::Yarn {
        factor,
        slow: turns(inner.maybe_number("beta_slow", None)?, 1.0),
        fast: turns(inner.maybe_number("beta_fast", None)?, 32.0),
        original,
        rounded: inner.flag("truncate", true)?,
        amplitude,
    })
}
