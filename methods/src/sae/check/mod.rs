//! Whether a dictionary fits a model: measured at its site on a short text; and if it does not, what is wrong, found by
//! trying other sites, inputs times a constant, top-k in place of the activation function, and rows without the first
//! token.
//!
//! Users of other libraries cannot tell a wrong site from a bad dictionary (SAELens #410, #445), nor a TopK dictionary that was
//! read as ReLU (#553): all that they see is a large error.

mod attempts;
mod rows;
mod sample;

#[cfg(test)]
mod tests;

use std::fmt;

use super::compatibility::check_is_for;
use super::metrics::measured_rows;
use super::{Activation, Sae, SiteOptions, one_place, writes_of};
use crate::common::*;
use crate::data::Text;
use crate::data::harvest::width;
use crate::data::sample::TextSamplingOptions;
use crate::data::text::TextOptions;
use crate::model::site::{NAME_ONE, one_site};
use rows::{DictionarySpot, PlaceRows, SpotRows};

crate::options! {
    /// Options of the check of a dictionary.
    pub struct CheckOptions {
        /// Site that a transcoder writes.
        writes: Option<String> = None => usually("the dictionary's");
        with reads: SiteOptions;
    }
}

/// Tokens of the text that are read.
const TOKENS: usize = 640;

/// Explained variance from which on nothing but the neighbours of its site is tried.
const GOOD: f64 = 0.8;
/// Explained variance below which a dictionary does not fit whatever is tried.
const BAD: f64 = 0.1;
/// Factor by which the L0 of a dictionary may differ from the stated one before everything is tried, and before the
/// dictionary does not fit: on a short text of another kind it varies.
const L0_NEAR: f64 = 2.0;
const L0_FAR: f64 = 3.0;

/// The share of variance that a dictionary explains, and the number of features it takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ExplainedVariance {
    /// The fraction of variance explained; NaN where there is no variance.
    pub fve: f64,
    pub l0: f64,
}

/// The mistake about a dictionary at its site, and what the dictionary explains when that is put right.
#[derive(Debug, Clone, PartialEq)]
pub enum Wrong {
    /// Another site, which the dictionary is of.
    Site { place: String, with: ExplainedVariance },
    /// Inputs times a constant, which the dictionary is of.
    Scale { factor: f64, convention: Option<&'static str>, with: ExplainedVariance },
    /// Codes of which the dictionary keeps the k largest of each row.
    TopK { k: usize, with: ExplainedVariance },
    /// First tokens of texts, which the dictionary is not of.
    First { is_bos: bool, fve: f64 },
    /// Another mistake.
    Unknown,
}

/// The result of the check of a dictionary in a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Checked {
    /// Site that was measured: `resid_post.12`, or `mlp_in.3 to mlp_out.3`.
    pub place: String,
    /// Whether the dictionary, or who asked, said so.
    pub is_stated: bool,
    /// Variance explained and L0 without the first token of each text, whose activations are hundreds of times as large in
    /// many models.
    pub explained: ExplainedVariance,
    /// The L0 that it was published with, if it says so.
    pub l0: Option<f64>,
    pub wrong: Option<Wrong>,
}

impl Checked {
    /// Returns whether the dictionary fits; one that was not fitted on first tokens does.
    pub fn fits(&self) -> bool {
        matches!(self.wrong, None | Some(Wrong::First { .. }))
    }

    /// Names the mistake in a word.
    pub fn word(&self) -> Option<&'static str> {
        self.wrong.as_ref().map(|wrong| match wrong {
            Wrong::Site { .. } => "site",
            Wrong::Scale { .. } => "scale",
            Wrong::TopK { .. } => "topk",
            Wrong::First { .. } => "first",
            Wrong::Unknown => "unknown",
        })
    }
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, explained, .. } = self;
        let stated = self.l0.map(|l0| format!(" of {}", features(l0))).unwrap_or_default();
        let l0 = format!("L0 {}{stated}", features(explained.l0));
        let fve = share(explained.fve);
        let unstated = if self.is_stated { "" } else { "says no site; " };
        let said = |with: &ExplainedVariance| format!("FVE {}, L0 {}", share(with.fve), features(with.l0));
        match &self.wrong {
            None if self.is_stated => write!(f, "fits {place}: FVE {fve}, {l0}"),
            None => write!(f, "{unstated}fits {place} best: FVE {fve}, {l0}"),
            Some(Wrong::First { is_bos, fve: with }) => {
                let first = if *is_bos { "the BOS token" } else { "the first token" };
                let with = share(*with);
                write!(f, "{unstated}fits {place} but for {first}: FVE {fve} without it, {with} with it, {l0}")
            }
            Some(wrong) => {
                write!(f, "{unstated}does not fit {place}: FVE {fve}, {l0}; ")?;
                match wrong {
                    Wrong::Site { place, with } => write!(f, "it fits {place}: {}", said(with)),
                    Wrong::Scale { factor, convention, with } => {
                        let convention = convention.map(|said| format!(" ({said})")).unwrap_or_default();
                        write!(f, "it fits inputs times {}{convention}: {}", factor_text(*factor), said(with))
                    }
                    Wrong::TopK { k, with } => write!(f, "it fits as TopK with k {k}: {}", said(with)),
                    _ => write!(f, "no other site, scale or top-k explains more"),
                }
            }
        }
    }
}

/// Writes a share without its leading 0: `.91`.
fn share(x: f64) -> String {
    if x.is_nan() {
        return "none".into();
    }
    let text = format!("{x:.2}");
    match (text.strip_prefix("0."), text.strip_prefix("-0.")) {
        (Some(rest), _) => format!(".{rest}"),
        (_, Some(rest)) => format!("-.{rest}"),
        _ => text,
    }
}

/// Writes a number of features: whole where it is large.
fn features(l0: f64) -> String {
    if l0 >= 9.5 || l0.fract() == 0.0 { format!("{l0:.0}") } else { format!("{l0:.1}") }
}

/// Writes a factor in three digits.
fn factor_text(factor: f64) -> String {
    let decimals = (2 - factor.abs().log10().floor() as i32).max(0) as usize;
    format!("{factor:.decimals$}")
}

/// Checks a dictionary in a model, on a text or else on one of our own.
pub fn check_on(sae: &Sae, model: &Model, text: Option<&Text>, options: &CheckOptions, task: &Task) -> Result<Checked> {
    let about = &sae.parts().about;
    let is_stated = options.reads.site.is_some() || !about.sites.is_empty();
    if options.reads.site.is_none() {
        check_is_for(model, about, sae.d_in(), sae.d_out())?;
    }
    let writes = writes_of(sae, options.writes.as_deref())?;
    let stated = if is_stated || writes.is_some() {
        Some(stated_spot(sae, model, &options.reads.of(sae)?, writes)?)
    } else {
        None
    };
    let own;
    let text = match text {
        Some(text) => text,
        None => {
            own = own_text(sae, model)?;
            &own
        }
    };
    let trial = attempts::CheckSubject { sae, model, text, l0: stated_l0(sae), task };
    let spot = match stated {
        Some(spot) => spot,
        None => trial.best_spot()?,
    };
    let rows = PlaceRows::read(model, &[spot], text, TOKENS, task)?;
    let explained = measured(sae, &rows.rest(&spot, TOKENS)?, task)?;
    let mut checked = Checked { place: spot.to_string(), is_stated, explained, l0: trial.l0, wrong: None };
    let is_good = explained.fve >= GOOD && trial.is_sparse(explained.l0, L0_NEAR);
    checked.wrong = trial.wrong(stated, spot, &rows, explained, is_good)?;
    if checked.wrong.is_none() {
        let all = measured(sae, &rows.all(&spot)?, task)?;
        let is_worse = all.fve < explained.fve - 0.1 && 1.0 - all.fve > 2.0 * (1.0 - explained.fve);
        let explains = explained.fve >= BAD && trial.is_sparse(explained.l0, L0_FAR);
        checked.wrong = if !explains {
            Some(Wrong::Unknown)
        } else if is_worse {
            Some(Wrong::First { is_bos: rows.begins_with_bos, fve: all.fve })
        } else {
            None
        };
    }
    Ok(checked)
}

/// Returns the place that a dictionary reads, and the place that it writes.
fn stated_spot(sae: &Sae, model: &Model, reads: &str, writes: Option<String>) -> Result<DictionarySpot> {
    let config = model.decoder.config();
    let reads = one_site(config, reads, NAME_ONE)?;
    sae.check_width(width(config, reads)?, &model.name(), &reads.to_string())?;
    Ok(match writes {
        Some(writes) => DictionarySpot { reads, writes: one_place(config, &writes)? },
        None => DictionarySpot::of(reads),
    })
}

/// Returns the text that comes with the program, with BOS tokens where the dictionary was fitted with them. The model
/// inside the binary reads what it writes, on which its dictionaries are fitted.
fn own_text(sae: &Sae, model: &Model) -> Result<Text> {
    let stated = sae.parts().about.more.get("prepend_bos").and_then(|value| value.as_bool());
    let has_bos = model.tokenizer.as_ref().is_some_and(|tokenizer| tokenizer.bos().is_some());
    let options = TextOptions { bos: stated.filter(|_| has_bos), ..TextOptions::default() };
    if model.is_inside() {
        return Text::generated(model, &TextSamplingOptions::default(), options);
    }
    Text::given(sample::DOCUMENTS.map(String::from).to_vec(), options)
}

/// Returns the L0 that a dictionary says it has: its own k, or a key of its config.
fn stated_l0(sae: &Sae) -> Option<f64> {
    let parts = sae.parts();
    let stated = || ["l0", "k", "target_l0"].into_iter().find_map(|key| parts.about.more.get(key)?.as_f64());
    match &parts.activation {
        // A limit is not what rows have on average.
        Activation::Other(other) if other.function.estimate.is_some() => stated(),
        activation => activation.most().map(|k| k as f64).or_else(stated),
    }
}

/// Measures how much a dictionary explains of rows that should be written, given those that are read.
fn measured(sae: &Sae, rows: &SpotRows, task: &Task) -> Result<ExplainedVariance> {
    let found = measured_rows(sae, &rows.reads, &rows.writes, task)?;
    Ok(ExplainedVariance { fve: found.fve.unwrap_or(f64::NAN), l0: found.l0 })
}
