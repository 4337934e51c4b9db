//! Patching: what a metric of pairs becomes where a part of the activations is replaced by that of the pair's other
//! prompt, for every part of a grid (Vig et al. 2020; Meng et al. 2022; Wang et al. 2022).
//!
//! `exact` runs the model behind each change, `gradient` estimates all changes from derivatives.

mod exact;
mod gradient;
mod parts;
mod replace;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::base::counts::count;
use crate::base::{Grid, Result, Task};
use crate::data::pairs::tokens::{Prompt, TokenPair};
use crate::err;
use crate::intervene::metric::{Measure, Normaliser, pairs_at_once};
use crate::model::Model;
use crate::model::config::Config;
use crate::model::site::{Place, SiteKind, places};
use parts::{Part, PatchPart, parts_of};

crate::choices! {
    /// What is patched at once, the columns of a grid.
    pub enum GridBy {
        /// All positions of a site; a column for each layer.
        Layer = "layer",
        /// One position of a site.
        Position = "position",
        /// One head of a site at all positions.
        Head = "head",
        /// One coordinate of a site at all positions.
        Neuron = "neuron",
    }
}

crate::choices! {
    /// How the effect of a patch is found.
    pub enum GridMethod {
        /// By running the model behind every patch.
        Exact = "exact",
        /// (patch - activation) . gradient: its first order (Nanda 2023).
        Attribution = "attribution",
        /// The same with the gradient averaged along the straight way to the patch (Sundararajan et al. 2017).
        Integrated = "integrated",
    }
}

crate::choices! {
    /// Which prompt is run, and which one is patched in.
    pub enum PatchDirection {
        /// Clean activations into the corrupt run.
        Denoise = "denoise",
        /// Corrupt activations into the clean run.
        Noise = "noise",
    }
}

impl PatchDirection {
    /// The prompt that is run, and the one that is patched in.
    fn prompts(self) -> (Prompt, Prompt) {
        match self {
            PatchDirection::Denoise => (Prompt::Corrupt, Prompt::Clean),
            PatchDirection::Noise => (Prompt::Clean, Prompt::Corrupt),
        }
    }
}

crate::options! {
    /// What is patched, and how.
    #[derive(Debug, Clone)]
    pub struct GridOptions {
        /// The sites that are patched, of all layers where a name has none.
        sites: Option<Vec<String>> = None => usually("\"resid_pre\"; by head \"z\", by neuron \"mlp_hidden\"");
        /// What is patched at once: one position, one head or one neuron of a site, or all of a layer's.
        by: GridBy = GridBy::Position;
        /// How the effect is found: by running the model behind each patch; or all at once by \"attribution\" or
        /// \"integrated\" gradients, which are estimates.
        method: GridMethod = GridMethod::Exact;
        /// Whether clean activations are patched into the corrupt run, or corrupt ones into the clean run.
        direction: PatchDirection = PatchDirection::Denoise;
        /// For \"integrated\": the number of points on the way.
        steps: usize = 10 => at_least(1.0);
    }
}

impl GridOptions {
    /// The places that are patched, in the order of the computation.
    fn places(&self, config: &Config) -> Result<Vec<Place>> {
        let usual = match self.by {
            GridBy::Layer | GridBy::Position => "resid_pre",
            GridBy::Head => "z",
            GridBy::Neuron => "mlp_hidden",
        };
        let names = self.sites.clone().unwrap_or_else(|| vec![usual.into()]);
        let in_all_layers = |name: String| {
            let is_bare = SiteKind::all().any(|kind| kind.in_blocks() && kind.name() == name);
            if is_bare { [&name, ".*"].concat() } else { name }
        };
        let mut found = places(config, &names.into_iter().map(in_all_layers).collect::<Vec<_>>())?;
        found.sort();
        found.dedup();
        match found.iter().find(|place| !place.site.kind.in_blocks()) {
            None if found.is_empty() => Err(err!(Argument, "expected at least one site, found none").about("sites")),
            None => Ok(found),
            Some(place) => Err(err!(Argument, "expected sites within the model's blocks, found `{place}`")
                .hint("`resid_pre.0` is what the embeddings are, and the last `resid_post` is what is read out")
                .about("sites")),
        }
    }
}

/// The sum over pairs of the effect of each part, and how many pairs have it.
type Effects = BTreeMap<PatchPart, (f64, usize)>;

/// Pairs whose prompts all have the same length, with their numbers among all pairs.
struct SameLength {
    pairs: Vec<TokenPair>,
    numbers: Vec<usize>,
}

impl SameLength {
    /// The pairs in groups that go into one pass each.
    fn of(model: &Model, pairs: &[TokenPair], measure: Measure) -> Result<Vec<Self>> {
        let mut by_length: BTreeMap<usize, Self> = BTreeMap::new();
        for (number, pair) in pairs.iter().enumerate() {
            let (clean, corrupt) = (pair.clean.len(), pair.corrupt.len());
            if corrupt == 0 {
                return Err(err!(Argument, "expected a corrupt prompt in pair {number}, found none").about("pairs"));
            }
            if clean != corrupt {
                return Err(err!(
                    Argument,
                    "expected prompts of the same length, found {clean} and {corrupt} tokens in pair {number}"
                )
                .hint("data::pairs(task, #{ for: m, same_length: true }) makes such pairs; of your own, keep those that fit")
                .about("pairs"));
            }
            let group = by_length.entry(clean).or_insert_with(|| Self { pairs: Vec::new(), numbers: Vec::new() });
            group.pairs.push(pair.clone());
            group.numbers.push(number);
        }
        let at_once = (pairs_at_once(&model.decoder, pairs, measure) / 4).max(1);
        let cut = |group: Self| {
            let parts = group.pairs.chunks(at_once).zip(group.numbers.chunks(at_once));
            parts.map(|(pairs, numbers)| Self { pairs: pairs.to_vec(), numbers: numbers.to_vec() }).collect::<Vec<_>>()
        };
        Ok(by_length.into_values().flat_map(cut).collect())
    }

    /// The number of tokens of each prompt.
    fn length(&self) -> usize {
        self.pairs.first().map_or(0, |pair| pair.clean.len())
    }

    /// The first position at which the prompts of a pair differ; before it, so do no activations of a causal model.
    fn first_change(&self) -> usize {
        let first = |pair: &TokenPair| pair.clean.iter().zip(&pair.corrupt).position(|(a, b)| a != b);
        self.pairs.iter().filter_map(first).min().unwrap_or_else(|| self.length())
    }
}

/// The metric of each pair in the run that is patched, and in the one that is patched in.
#[derive(Debug, Clone, Default)]
struct BothRuns {
    run: Vec<f64>,
    from: Vec<f64>,
}

/// The mean over pairs of what a patch changes in the metric, for every part of the grid.
pub fn grid(
    model: &Model,
    pairs: &[TokenPair],
    (measure, normalised): (Measure, bool),
    options: &GridOptions,
    task: &Task,
) -> Result<Grid> {
    if pairs.is_empty() {
        return Err(err!(Argument, "expected at least one pair, found none").about("pairs"));
    }
    if options.method != GridMethod::Exact && !measure.has_gradient() {
        return Err(err!(Argument, "`{}` has no gradient, which `{}` needs", measure.name(), options.method.word())
            .hint("method: \"exact\" needs none")
            .about("method"));
    }
    let config = model.decoder.config();
    let places = options.places(config)?;
    let groups = SameLength::of(model, pairs, measure)?;
    let mut effects = Effects::new();
    let (mut run, mut from) = (vec![f64::NAN; pairs.len()], vec![f64::NAN; pairs.len()]);
    let bar = task.begin("patching", Some(pairs.len() as u64));
    for group in &groups {
        let parts = parts_of(config, &places, options.by, group.length())?;
        let both = match options.method {
            GridMethod::Exact => exact::effects(model, group, measure, options.direction, &parts, &mut effects, task)?,
            _ => gradient::effects(model, group, measure, options, &parts, &mut effects, task)?,
        };
        for (at, number) in group.numbers.iter().enumerate() {
            (run[*number], from[*number]) = (both.run[at], both.from[at]);
        }
        bar.advance(group.pairs.len() as u64);
    }
    if let Some(pair) = run.iter().zip(&from).position(|(run, from)| run.is_nan() || from.is_nan()) {
        return Err(err!(Numeric, "the metric of pair {pair} is NaN").about("pairs"));
    }
    let (clean, corrupt) = match options.direction {
        PatchDirection::Denoise => (&from, &run),
        PatchDirection::Noise => (&run, &from),
    };
    let scale = if normalised { Normaliser::new(clean, corrupt)?.distance() } else { 1.0 };
    let means = effects.into_iter().map(|(part, (sum, count))| (part, sum / count.max(1) as f64 / scale)).collect();
    let quantity = match normalised {
        true => format!("change of {}, share of clean - corrupt", measure.quantity()),
        false => format!("change of {}", measure.quantity()),
    };
    Ok(Labels { model, pairs, options }.grid(&means, quantity))
}

/// The labels of a grid.
struct Labels<'a> {
    model: &'a Model,
    pairs: &'a [TokenPair],
    options: &'a GridOptions,
}

impl Labels<'_> {
    fn grid(&self, means: &BTreeMap<PatchPart, f64>, quantity: String) -> Grid {
        let mut rows: Vec<String> = Vec::new();
        let mut columns = 0;
        let mut cells = Vec::new();
        for (part, mean) in means {
            let (row, column) = self.cell(part);
            let at = rows.iter().position(|known| *known == row).unwrap_or_else(|| {
                rows.push(row);
                rows.len() - 1
            });
            columns = columns.max(column + 1);
            cells.push((at, column, *mean));
        }
        let mut values = vec![f64::NAN; rows.len() * columns];
        for (row, column, mean) in cells {
            values[row * columns + column] = mean;
        }
        Grid {
            title: self.title(),
            row_axis: "site".into(),
            column_axis: self.options.by.word().into(),
            columns: (0..columns).map(|column| self.column(column)).collect(),
            rows,
            quantity,
            values,
        }
    }

    fn title(&self) -> String {
        let (run, from) = self.options.direction.prompts();
        let pairs = count(self.pairs.len(), "pair");
        let method = match self.options.method {
            GridMethod::Exact => "",
            GridMethod::Attribution => ", estimated by attribution",
            GridMethod::Integrated => ", estimated by integrated gradients",
        };
        format!("{} into {} prompts{method}, {pairs}", from.word(), run.word())
    }

    /// The label of the row, and the column, of a part.
    fn cell(&self, part: &PatchPart) -> (String, usize) {
        match part.part {
            Part::All if self.options.by == GridBy::Layer => {
                let kind = part.place.site.kind.name();
                let row = part.place.head.map_or_else(|| kind.to_string(), |head| format!("{kind}, head {head}"));
                (row, part.place.site.layer)
            }
            Part::All => (part.place.to_string(), 0),
            Part::Position(at) | Part::Head(at) | Part::Neuron(at) => (part.place.to_string(), at),
        }
    }

    /// A position is called by its token where all pairs have the same one there, and else by its span.
    fn column(&self, column: usize) -> String {
        if self.options.by != GridBy::Position {
            return column.to_string();
        }
        let mut tokens = self.pairs.iter().map(|pair| pair.clean.get(column));
        let first = tokens.next().flatten();
        let is_same = first.is_some() && tokens.all(|token| token == first);
        let text = || self.model.tokenizer.as_ref()?.text_of(*first?).ok();
        let span = || {
            let mut all = self.pairs.iter().map(|pair| pair.spans.iter().find(|(_, span)| span.contains(&column)));
            let name = all.next()??.0;
            all.all(|other| other.is_some_and(|(other, _)| other == name)).then(|| name.clone())
        };
        let called = if is_same { text() } else { span() };
        called.map_or_else(|| column.to_string(), |called| format!("{column} {}", called.trim()))
    }
}
