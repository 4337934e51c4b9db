//! Reading of exports, ours and those of Neuronpedia.

use std::io::{BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;
use serde::Deserialize;
use serde_json::Map;

use super::{ACTIVATIONS, EXPLANATIONS, FEATURES};
use crate::base::budget::Budget;
use crate::base::json as json_reader;
use crate::common::*;
use crate::features::FeatureCard;
use crate::features::batch::{Batch, BatchActivation, BatchFeature, cards};

/// Maximum length of a line, in bytes. Those of Neuronpedia have some hundred thousand at most.
const LONGEST: u64 = 1 << 24;

/// Bytes of what is kept for a token of a context, beside its letters: a text and a number, in the export and once more
/// in a card.
const OF_TOKEN: usize = 160;

/// Bytes of what is kept for a byte of the line of a feature, most of which is lists of numbers of a few digits.
const OF_BYTE: usize = 8;

/// Bytes of what is kept for a context or an explanation, beside its tokens and letters.
const OF_LINE: usize = 512;

/// Lists of a feature, which are empty where a line has none.
const LISTS: [&str; 18] = [
    "neuron_alignment_indices",
    "neuron_alignment_values",
    "neuron_alignment_l1",
    "correlated_neurons_indices",
    "correlated_neurons_l1",
    "correlated_neurons_pearson",
    "correlated_features_indices",
    "correlated_features_l1",
    "correlated_features_pearson",
    "neg_str",
    "neg_values",
    "pos_str",
    "pos_values",
    "freq_hist_data_bar_values",
    "freq_hist_data_bar_heights",
    "logits_hist_data_bar_heights",
    "logits_hist_data_bar_values",
    "activations",
];

/// The export of a source: features with their contexts, and explanations.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Export {
    pub batch: Batch,
    pub explanations: BTreeMap<usize, Vec<String>>,
}

/// A context in an export.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ActivationLine {
    tokens: Vec<String>,
    values: Vec<f64>,
    max_value_token_index: Option<i64>,
    bin_min: Option<f64>,
    bin_max: Option<f64>,
    bin_contains: Option<f64>,
    qualifying_token_index: Option<i64>,
    dfa_values: Option<Vec<f64>>,
    dfa_max_value: Option<f64>,
    dfa_target_index: Option<i64>,
}

/// An explanation in an export.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ExplanationLine {
    description: String,
    explanation_model_name: Option<String>,
    type_name: Option<String>,
}

/// A line with its feature, its length, and the path and number of it for errors.
struct Line {
    feature: usize,
    fields: Map<String, Value>,
    length: usize,
    place: String,
}

/// The memory for all that is kept of an export, line by line.
struct Kept {
    budget: Budget,
    hint: &'static str,
}

impl Kept {
    /// Counts further bytes, or refuses them.
    fn add(&mut self, bytes: usize) -> Result<()> {
        let taken = self.budget.take(bytes as u128, || "what is kept of this export".into());
        taken.map_err(|e| e.hint(self.hint))
    }
}

impl Export {
    /// Reads the features of a source's folder: those that are named, or all. A feature and its activations need not
    /// stand in files of the same number, as in Neuronpedia's they do not.
    pub fn load(files: &Files, folder: &Path, wanted: Option<&BTreeSet<usize>>, task: &Task) -> Result<Self> {
        Self::load_within(memory::available(), files, folder, wanted, task)
    }

    /// Reads the features of a folder, of which so many bytes may be kept.
    pub(super) fn load_within(
        free: u64,
        files: &Files,
        folder: &Path,
        wanted: Option<&BTreeSet<usize>>,
        task: &Task,
    ) -> Result<Self> {
        let hint = "name the features that are wanted, some at a time, as in #{ features: [12, 40] }";
        let mut kept = Kept { budget: Budget::of_content(free), hint };
        let mut export = Self::default();
        let mut features: BTreeMap<usize, BatchFeature> = BTreeMap::new();
        let is_wanted = |line: &Line| wanted.is_none_or(|wanted| wanted.contains(&line.feature));
        let mut take = |line: Line| {
            if is_wanted(&line) {
                kept.add(OF_BYTE * line.length)?;
                name(&mut export.batch, &line.fields);
                features.insert(line.feature, feature(line)?);
            }
            Ok(())
        };
        let found = each_line(files, folder, FEATURES, &mut take, task)?;
        if found == 0 {
            return Err(err!(Format, "expected files of features in {}, found none", folder.display())
                .hint("the folder of a source has `features/batch-0.jsonl.gz` and so on")
                .about("path"));
        }
        let mut take = |line: Line| {
            if let Some(feature) = features.get_mut(&line.feature) {
                let context = activation(line)?;
                let letters: usize = context.tokens.iter().map(String::len).sum();
                // There may be more of these than tokens.
                let attributions = size_of::<f64>() * context.dfa_values.len();
                kept.add(OF_LINE + OF_TOKEN * context.tokens.len() + 2 * letters + attributions)?;
                feature.activations.push(context);
            }
            Ok(())
        };
        each_line(files, folder, ACTIVATIONS, &mut take, task)?;
        let mut take = |line: Line| {
            if is_wanted(&line) {
                let feature = line.feature;
                let text = line.read::<ExplanationLine>()?.description;
                kept.add(OF_LINE + 2 * text.len())?;
                export.explanations.entry(feature).or_default().push(text);
            }
            Ok(())
        };
        each_line(files, folder, EXPLANATIONS, &mut take, task)?;
        export.batch.features = features.into_values().map(sorted).collect();
        Ok(export)
    }

    /// Makes the cards of the features, with their explanations among the facts.
    pub fn cards(&self) -> Vec<FeatureCard> {
        let mut cards = cards(&self.batch);
        for card in &mut cards {
            let texts = self.explanations.get(&card.feature).into_iter().flatten();
            card.facts.fields.extend(texts.map(|text| ("explanation".to_string(), text.as_str().into())));
            card.notes = vec!["Read from an export of Neuronpedia.".into()];
        }
        cards
    }
}

/// Reads the explanations of a source's folder as a table, whose features are named by a site.
pub fn explanations(files: &Files, folder: &Path, site: &str, task: &Task) -> Result<Table> {
    let hint = "keep the files of fewer features in this folder";
    let mut kept = Kept { budget: Budget::of_content(memory::available()), hint };
    let mut rows: Vec<(usize, Vec<Cell>)> = Vec::new();
    let mut take = |line: Line| {
        let feature = line.feature;
        kept.add(OF_LINE + line.length)?;
        let ExplanationLine { description, explanation_model_name, type_name } = line.read()?;
        let name = format!("{site}/{feature}");
        rows.push((feature, vec![name.into(), description.into(), explanation_model_name.into(), type_name.into()]));
        Ok(())
    };
    if each_line(files, folder, EXPLANATIONS, &mut take, task)? == 0 {
        return Err(err!(Format, "expected files of explanations in {}, found none", folder.display())
            .hint("the folder of a source has `explanations/batch-0.jsonl.gz` and so on")
            .about("path"));
    }
    rows.sort_by_key(|(feature, _)| *feature);
    Ok(Table::new(
        format!("explanations of {}", folder.display()),
        ["feature", "description", "by", "method"],
        rows.into_iter().map(|(_, cells)| cells),
    ))
}

/// Takes over the names of a source from one of its lines.
fn name(batch: &mut Batch, fields: &Map<String, Value>) {
    let text = |key: &str| fields.get(key).and_then(Value::as_str).unwrap_or_default();
    let source = text("layer");
    let (layer, set) = source.split_once('-').unwrap_or((source, ""));
    batch.model_id = text("modelId").into();
    batch.layer = layer.parse().unwrap_or_default();
    batch.sae_set = set.into();
}

fn feature(mut line: Line) -> Result<BatchFeature> {
    line.fields.retain(|_, value| !value.is_null());
    for key in LISTS {
        line.fields.entry(key).or_insert_with(|| json!([]));
    }
    for key in ["frac_nonzero", "n_prompts_total", "n_tokens_in_prompt"] {
        line.fields.entry(key).or_insert_with(|| json!(0));
    }
    line.fields.insert("feature_index".into(), line.feature.into());
    let place = line.place.clone();
    let found: BatchFeature = line.read()?;
    if found.freq_hist_data_bar_values.len() != found.freq_hist_data_bar_heights.len() {
        return Err(err!(Format, "{place}: expected as many heights as values of the histogram"));
    }
    Ok(found)
}

fn activation(line: Line) -> Result<BatchActivation> {
    let place = line.place.clone();
    let line: ActivationLine = line.read()?;
    if line.tokens.len() != line.values.len() {
        return Err(err!(Format, "{place}: expected as many values as tokens"));
    }
    let chosen = line.qualifying_token_index.or(line.max_value_token_index);
    Ok(BatchActivation {
        // Contexts of older exports are of no interval.
        bin_min: line.bin_min.unwrap_or(-1.0),
        bin_max: line.bin_max.unwrap_or_default(),
        bin_contains: line.bin_contains.unwrap_or(-1.0),
        tokens: line.tokens,
        values: line.values,
        qualifying_token_index: chosen.unwrap_or(-1),
        dfa_values: line.dfa_values.unwrap_or_default(),
        dfa_max_value: line.dfa_max_value.unwrap_or_default(),
        dfa_target_index: line.dfa_target_index.unwrap_or(-1),
    })
}

/// Sorts the contexts of a feature: the strongest, then those of each interval from the highest on.
fn sorted(mut feature: BatchFeature) -> BatchFeature {
    let rank = |context: &BatchActivation| if context.bin_min == -1.0 { f64::INFINITY } else { context.bin_min };
    order::sort_descending(&mut feature.activations, rank);
    feature
}

impl Line {
    fn of(mut fields: Map<String, Value>, length: usize, place: String) -> Result<Self> {
        let index = fields.shift_remove("index");
        let number = index.as_ref().and_then(|index| match index {
            Value::String(text) => text.parse().ok(),
            other => other.as_u64(),
        });
        match number.and_then(|number: u64| usize::try_from(number).ok()) {
            Some(feature) => Ok(Self { feature, fields, length, place }),
            None => {
                let found = index.map_or("none".to_string(), |index| index.to_string());
                Err(err!(Format, "{place}: expected the `index` of a feature, found {found}"))
            }
        }
    }

    fn read<T: serde::de::DeserializeOwned>(self) -> Result<T> {
        let place = self.place;
        T::deserialize(Value::Object(self.fields)).map_err(|e| err!(Format, "{place}: expected other fields: {e}"))
    }
}

/// Reads the lines of all files of a part of an export, in the order of their numbers. Returns how many there are.
fn each_line(
    files: &Files,
    folder: &Path,
    part: &str,
    take: &mut dyn FnMut(Line) -> Result<()>,
    task: &Task,
) -> Result<usize> {
    let folder = folder.join(part);
    files.access().to_read(&folder).map_err(|e| e.about("path"))?;
    let number = |name: &String| {
        let middle = name.strip_prefix("batch-")?;
        middle.strip_suffix(".jsonl.gz").or(middle.strip_suffix(".jsonl"))?.parse::<u64>().ok()
    };
    let mut names: Vec<(u64, String)> =
        files.names(&folder).into_iter().filter_map(|name| Some((number(&name)?, name))).collect();
    names.sort();
    let bar = task.begin(&format!("reading {part}"), Some(names.len() as u64));
    for (_, name) in &names {
        let path = folder.join(name);
        let shown = path.display();
        let map = files.map(&path)?;
        let mut text: Box<dyn BufRead + '_> = if name.ends_with(".gz") {
            Box::new(BufReader::new(MultiGzDecoder::new(&map[..])))
        } else {
            Box::new(&map[..])
        };
        let mut line = Vec::new();
        for number in 1_u64.. {
            task.check()?;
            line.clear();
            let read = text.by_ref().take(LONGEST).read_until(b'\n', &mut line);
            read.map_err(|e| err!(File, "{shown} cannot be read to its end: {e}"))?;
            if line.is_empty() {
                break;
            }
            let place = format!("{shown}:{number}");
            if line.len() as u64 == LONGEST && !line.ends_with(b"\n") {
                return Err(err!(Format, "{place}: expected a line of at most {LONGEST} bytes, found a longer one"));
            }
            if line.trim_ascii().is_empty() {
                continue;
            }
            let wrong = |e: serde_json::Error| err!(Format, "{place}: expected a line of an export, found {e}");
            let fields = json_reader::read_content(&line, wrong)?;
            take(Line::of(fields, line.len(), place)?)?;
        }
        bar.advance(1);
    }
    Ok(names.len())
}
