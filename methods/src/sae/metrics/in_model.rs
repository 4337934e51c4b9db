//! A dictionary in its model: measured on a text, spliced in, and compared with others.

use super::effect::{KlPositions, effect, effects};
use super::measured::{measured, measured_between, measured_on};
use super::pareto::{Pareto, Point};
use super::predictions::Effect;
use super::texts::{JudgedRowsOptions, classified_rows, judged_rows};
use super::{MeasureOptions, Measures};
use crate::common::*;
use crate::data::Text;
use crate::data::harvest::TextReading;
use crate::sae::{Sae, SiteOptions, SitePair, site_of, writes_of};

crate::options! {
    /// A dictionary measured on a text.
    pub struct MeasureOnOptions {
        /// Site that a transcoder writes, after the site that it reads.
        writes: Option<String> = None => usually("the dictionary's");
        with reads: SiteOptions;
        with measure: MeasureOptions;
    }

    /// A dictionary spliced into a model.
    pub struct EffectOptions {
        /// Site that a transcoder writes.
        writes: Option<String> = None => usually("the dictionary's");
        /// Tokens in a row of the text; at most the model's context.
        context: Option<usize> = None => usually("the model's, at most 1,024").at_least(2.0);
        /// The positions that the KL is a mean over: those behind which another token of the row stands, or as in SAEBench all,
        /// the last of each row among them.
        kl: KlPositions = KlPositions::Predicted;
        with reads: SiteOptions;
        with rows: JudgedRowsOptions;
    }

    /// A dictionary spliced into a model, with losses by the class of the next token.
    pub struct EffectByClassOptions {
        /// The label of the text whose values are the classes.
        label: Option<String> = None;
        with reads: SiteOptions;
        with rows: JudgedRowsOptions;
    }

    /// Dictionaries compared in a model.
    pub struct ParetoOptions {
        /// Site of a model at which the dictionaries are spliced in.
        site: Option<String> = None => usually("that of the dictionaries");
        with measure: MeasureOptions;
        with rows: JudgedRowsOptions;
    }
}

/// Measures a dictionary on the activations of a model on a text; a transcoder at the site that it writes.
pub fn measured_in_model(sae: &Sae, reading: TextReading, options: &MeasureOnOptions, task: &Task) -> Result<Measures> {
    let reads = options.reads.of(sae)?;
    let writes = writes_of(sae, options.writes.as_deref())?;
    if let Some(writes) = &writes {
        let sites = SitePair { reads: &reads, writes };
        return measured_between(sae, reading, sites, options.measure, task);
    }
    let found = measured_on(&[sae], reading, &reads, options.measure, task)?;
    found.into_iter().next().ok_or_else(|| err!(Bug, "a dictionary without measures"))
}

/// Measures what a model loses when the dictionary is spliced in, on the first rows of a text.
pub fn effect_on_text(sae: &Sae, model: &Model, text: &Text, options: &EffectOptions, task: &Task) -> Result<Effect> {
    let reads = options.reads.of(sae)?;
    let writes = writes_of(sae, options.writes.as_deref())?;
    let rows = judged_rows(model, text, options.context, &options.rows, task)?;
    let sites = SitePair { reads: &reads, writes: writes.as_deref().unwrap_or(&reads) };
    effect(&model.decoder, sites, sae, &rows, options.kl, task)
}

/// Measures what a model loses by the class of the token that comes next, as a table.
pub fn effect_by_class(
    sae: &Sae,
    model: &Model,
    text: &Text,
    options: &EffectByClassOptions,
    task: &Task,
) -> Result<Table> {
    let reads = options.reads.of(sae)?;
    let writes = writes_of(sae, None)?;
    let (rows, names) = classified_rows(model, text, &options.rows, options.label.as_deref(), task)?;
    let sites = SitePair { reads: &reads, writes: writes.as_deref().unwrap_or(&reads) };
    let found = effect(&model.decoder, sites, sae, &rows, KlPositions::Predicted, task)?;
    Ok(found.by_class(&names.iter().map(String::as_str).collect::<Vec<_>>()))
}

/// Compares dictionaries on activations `[.., d]`.
pub fn pareto_on(saes: &[&Sae], x: &Tensor, options: MeasureOptions, task: &Task) -> Result<Pareto> {
    Ok(pareto(saes, &measured(saes, x, options, task)?, &[]))
}

/// Compares dictionaries on the activations of a model on a text, with what it loses when each is spliced in.
pub fn pareto_in_model(saes: &[&Sae], reading: TextReading, options: &ParetoOptions, task: &Task) -> Result<Pareto> {
    let own = || saes.iter().find_map(|sae| site_of(sae).ok());
    let site = options.site.clone().or_else(own).ok_or_else(|| {
        err!(Argument, "none of the dictionaries says which site it reads")
            .hint("name it with the option `site`")
            .about("options")
    })?;
    let measures = measured_on(saes, reading, &site, options.measure, task)?;
    let rows = judged_rows(reading.model, reading.text, None, &options.rows, task)?;
    let effects = effects(&reading.model.decoder, SitePair { reads: &site, writes: &site }, saes, &rows, task)?;
    Ok(pareto(saes, &measures, &effects))
}

fn pareto(saes: &[&Sae], measures: &[Measures], effects: &[Effect]) -> Pareto {
    let pairs = saes.iter().zip(measures).enumerate();
    Pareto { points: pairs.map(|(number, (sae, found))| Point::of(sae, found, effects.get(number))).collect() }
}
