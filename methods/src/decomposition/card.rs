//! Cards of the parts of a language model's MLP: where each matters most, and what it reads and writes.

use super::mlp::{MlpInputs, MlpWeights, flat};
use super::result::{Decomposed, Decomposition};
use super::table::uses;
use crate::base::{Card, HeatText};
use crate::features::card::Group;
use crate::features::contexts::{name, quoted};
use crate::features::{FeatureCard, logits};
use crate::sae::prelude::*;
use crate::sae::text_rows::whole_rows;
use crate::training::mean;

/// Rows of text in a batch of the model.
const AT_ONCE: usize = 16;

crate::options! {
    /// The contents of a part's card, and the text that it is made from.
    pub struct PartCardOptions {
        /// Number of the contexts in which the part matters most.
        top: usize = 8;
        /// Number of tokens in a context before the position.
        before: usize = 24;
        /// Number of tokens after the position.
        after: usize = 8;
        /// Number of rows of the tables.
        table_rows: usize = 8;
        /// Importance above which the part counts as active.
        threshold: f64 = 0.1 => at_least(0.0);
        with inputs: MlpInputs;
    }
}

/// The importances of the parts of one matrix on a text.
pub struct PartsOnText {
    rows: Vec<Vec<u32>>,
    /// The importances: `[rows * context, parts]`.
    importance: Tensor,
    matrix: usize,
}

impl Decomposition {
    /// Returns the layer of the MLP that was decomposed, and refuses another target, or a model of other weights.
    pub(super) fn layer(&self, model: &Model) -> Result<(usize, MlpWeights)> {
        let Decomposed::Mlp(mlp) = &self.of else {
            return Err(err!(
                Argument,
                "expected the decomposition of an MLP of a language model, found one of a network"
            )
            .hint("`d.importances(x)` and `d.table(x)` are for networks"));
        };
        let weights = MlpWeights::of(model, mlp.layer)?;
        let same = weights.matrices.len() == self.matrices.len();
        for (found, known) in weights.matrices.iter().zip(&self.matrices) {
            let is_same = same
                && found.weight.dims() == known.weight.dims()
                && floats(&(&found.weight - &known.weight)?.abs()?.max_all()?)?[0] == 0.0;
            if !is_same {
                return Err(err!(Argument, "expected {}, whose MLP was decomposed, found {}", mlp.model, model.name())
                    .hint("`layer`s and weights must be those of the fit")
                    .about("m"));
            }
        }
        Ok((mlp.layer, weights))
    }

    /// Computes the importances of one matrix's parts at every token of a text.
    pub fn on_text(
        &self,
        model: &Model,
        text: &Text,
        name: &str,
        inputs: &MlpInputs,
        task: &Task,
    ) -> Result<PartsOnText> {
        let matrix = self.place(name)?;
        let (layer, weights) = self.layer(model)?;
        let rows = whole_rows(model, text, inputs.rows, inputs.context, task)?;
        let site = Place { site: Site::new(SiteKind::MlpIn, layer), head: None };
        let bar = task.begin("reading importances", Some(rows.len() as u64));
        let mut all = Vec::new();
        for part in rows.chunks(AT_ONCE) {
            let ask = Ask { places: vec![site], ..Ask::default() };
            let cache = model.decoder.cache(&Batch::new(part.to_vec())?, ask, task)?;
            let read = weights.inputs(&flat(&cache.at(site)?)?)?;
            all.push(self.parts[matrix].importance(&read[matrix])?.lower.detach());
            bar.advance(part.len() as u64);
        }
        Ok(PartsOnText { rows, importance: Tensor::cat(&all, 0)?, matrix })
    }

    /// Lists the parts of one matrix by their mean importance on a text.
    pub fn parts_on(&self, on: &PartsOnText, threshold: f64) -> Result<Table> {
        let parts = &self.parts[on.matrix];
        let norms = floats(&parts.norms()?)?;
        let mut used = uses(&on.importance, threshold)?;
        order::sort_descending(&mut used, |part| part.importance);
        let row = |part: &super::table::PartUse| {
            vec![part.part.into(), part.active.into(), part.importance.into(), norms[part.part].into()]
        };
        let columns = ["part", "active", "importance", "norm"];
        Ok(Table::new(format!("parts of {}", parts.name), columns, used.iter().map(row)))
    }

    /// Makes the card of a part, like that of a feature: contexts with its importance at every token, its tokens, and what it
    /// reads and writes.
    pub fn card(&self, model: &Model, on: &PartsOnText, part: usize, options: &PartCardOptions) -> Result<FeatureCard> {
        let parts = &self.parts[on.matrix];
        if part >= parts.count() {
            return Err(err!(Argument, "expected a part below {}, found {part}", parts.count()).about("part"));
        }
        let (layer, _) = self.layer(model)?;
        let values: Vec<f32> = on.importance.narrow(1, part, 1)?.flatten_all()?.to_vec1()?;
        let title = format!("part {part} of {} in the MLP of layer {layer}", parts.name);
        let norm = floats(&parts.norms()?)?[part];
        let active = values.iter().filter(|value| f64::from(**value) > options.threshold).count();
        let share = active as f64 / values.len().max(1) as f64;
        let facts: Vec<(&str, Cell)> = vec![
            ("model", model.name().to_string().into()),
            ("matrix", format!("{} of {} parts", parts.name, parts.count()).into()),
            ("positions read", values.len().into()),
            ("active at", active.into()),
            ("density", share.into()),
            ("mean importance", mean(&values, |value| f64::from(*value)).into()),
            ("norm", norm.into()),
        ];
        let fields = facts.into_iter().map(|(name, value)| (name.to_string(), value)).collect();
        let facts = Card { title: title.clone(), fields, ..Card::default() };
        let site = if parts.name == "down" { format!("mlp_hidden.{layer}") } else { format!("mlp_in.{layer}") };
        let mut card = FeatureCard { feature: part, site, title, facts, ..FeatureCard::default() };
        let texts = on.strongest(model, &values, options);
        if texts.is_empty() {
            card.notes.push("It is not active in this text.".into());
        } else {
            card.contexts.push(Group { name: "strongest".into(), texts });
            card.tables.push(on.tokens(model, &values, options));
        }
        let written = parts.u.narrow(0, part, 1)?.contiguous()?;
        let read = parts.v.narrow(1, part, 1)?.t()?.contiguous()?;
        if parts.name == "down" {
            let name = |token: u32| quoted(model, token);
            let found = logits::promoted_along(model, &written)?.into_iter().next().unwrap_or_default();
            card.tables.push(logits::extremes("Logits along what it writes", &found, &name, options.table_rows));
            card.tables.push(neurons("Neurons that it reads", &read, options.table_rows)?);
        } else {
            card.tables.push(neurons("Neurons that it writes", &written, options.table_rows)?);
        }
        Ok(card)
    }
}

impl PartsOnText {
    fn context(&self) -> usize {
        self.rows.first().map_or(1, Vec::len)
    }

    /// Returns the importances by row and position: `[rows, context, parts]`.
    pub fn by_position(&self) -> Result<Tensor> {
        Ok(self.importance.to_device(&Device::Cpu)?.reshape((self.rows.len(), self.context(), ()))?)
    }

    /// Returns the contexts of the positions where the part matters most, one in a row.
    fn strongest(&self, model: &Model, values: &[f32], options: &PartCardOptions) -> Vec<HeatText> {
        let context = self.context();
        let best = |(row, values): (usize, &[f32])| {
            let (column, value) = values.iter().enumerate().max_by(|(_, a), (_, b)| a.total_cmp(b))?;
            let importance = *value;
            (f64::from(importance) > options.threshold).then_some(StrongPosition { row, column, importance })
        };
        let mut found: Vec<StrongPosition> = values.chunks(context).enumerate().filter_map(best).collect();
        order::sort_descending(&mut found, |position| position.importance);
        let heat = |position: &StrongPosition| {
            let StrongPosition { row, column, .. } = *position;
            let start = column.saturating_sub(options.before);
            let end = (column + options.after + 1).min(context);
            let ids = &self.rows[row][start..end];
            HeatText {
                title: format!("row {row}, token {column}"),
                tokens: ids.iter().map(|id| name(model, *id)).collect(),
                values: values[row * context + start..row * context + end].iter().map(|v| f64::from(*v)).collect(),
                quantity: "importance".into(),
            }
        };
        found.iter().take(options.top).map(heat).collect()
    }

    /// Lists the tokens at which the part matters most often.
    fn tokens(&self, model: &Model, values: &[f32], options: &PartCardOptions) -> Table {
        let mut by_token: BTreeMap<u32, TokenUse> = BTreeMap::new();
        for (id, value) in self.rows.iter().flatten().zip(values) {
            let found = by_token.entry(*id).or_default();
            found.count += 1;
            found.active += usize::from(f64::from(*value) > options.threshold);
            found.sum += f64::from(*value);
        }
        let mut all: Vec<(u32, TokenUse)> = by_token.into_iter().filter(|(_, found)| found.active > 0).collect();
        order::sort_descending(&mut all, |(_, found)| found.sum);
        let row = |(id, found): &(u32, TokenUse)| {
            let mean = found.sum / found.count as f64;
            vec![quoted(model, *id).into(), found.active.into(), found.count.into(), mean.into()]
        };
        let rows = all.iter().take(options.table_rows).map(row);
        Table::new("Tokens where it matters", ["token", "active at", "of", "mean importance"], rows)
    }
}

/// The use of a part at one token of the vocabulary.
#[derive(Debug, Clone, Copy, Default)]
struct TokenUse {
    /// The count of the token, and the count of its places at which the part is active.
    count: usize,
    active: usize,
    /// The sum of the part's importances at it.
    sum: f64,
}

/// A position where a part matters.
#[derive(Debug, Clone, Copy)]
struct StrongPosition {
    row: usize,
    column: usize,
    importance: f32,
}

/// Lists the largest numbers of a direction in the space of neurons.
fn neurons(title: &str, direction: &Tensor, rows: usize) -> Result<Table> {
    let numbers = floats(direction)?;
    let squares: f64 = numbers.iter().map(|x| x * x).sum();
    let mut all: Vec<(usize, f64)> = numbers.into_iter().enumerate().collect();
    order::sort_descending(&mut all, |(_, weight)| weight.abs());
    let row = |(neuron, weight): &(usize, f64)| {
        vec![(*neuron).into(), (*weight).into(), (weight * weight / squares.max(f64::MIN_POSITIVE)).into()]
    };
    Ok(Table::new(title, ["neuron", "weight", "share"], all.iter().take(rows).map(row)))
}
