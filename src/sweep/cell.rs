//! What a plan stands for: harvests and cells, each with all that decides its result, and the hash of that as its name.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::known::Known;
use super::plan::{Plan, TextWords, Words, canonical};
use crate::base::Result;
use crate::base::files::hex;
use crate::err;
use crate::sae::fit::AXES_OF_KINDS;

/// The program: another version may fit otherwise.
const BY: &str = concat!("microtome ", env!("CARGO_PKG_VERSION"));

/// Hexadecimal digits of a name: 64 bits, so that two of a million cells share one once in tens of millions of sweeps.
const DIGITS: usize = 16;

/// A model, by where it is and what it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSource {
    pub source: String,
    /// The hash of its weights.
    pub weights: String,
}

/// A text, by where it is and what is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextSource {
    pub source: String,
    pub options: Words,
    /// The hash of its files, or what identifies a text that is generated.
    pub contents: String,
}

/// What is read, and how: cells with the same one share a harvest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reading {
    pub by: String,
    pub threads: usize,
    pub device: String,
    pub model: ModelSource,
    pub text: TextSource,
    pub store: Words,
}

/// A store of the activations that cells are fitted to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Harvest {
    pub reading: Reading,
    pub sites: Vec<String>,
}

/// One dictionary, and how it is judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cell {
    pub reading: Reading,
    pub site: String,
    pub fit: Words,
    pub judge: Option<TextSource>,
    pub effect_rows: usize,
}

/// All harvests and cells of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sweep {
    pub harvests: Vec<Harvest>,
    pub cells: Vec<Cell>,
}

impl Harvest {
    /// Its folder.
    pub fn id(&self) -> String {
        format!("stores/{}", hash(self))
    }

    /// In words.
    pub fn label(&self) -> String {
        let TextSource { source, .. } = &self.reading.text;
        format!("harvest of {} on {source}", self.reading.model.source)
    }
}

impl Cell {
    /// Its folder.
    pub fn id(&self) -> String {
        format!("cells/{}", hash(self))
    }

    /// In words.
    pub fn label(&self) -> String {
        let seed = self.fit.get("seed").map(|seed| format!(" seed {}", bare(seed))).unwrap_or_default();
        format!("{} {} {}{seed}", self.reading.model.source, self.site, self.settings())
    }

    /// What it is fitted with, but for the seed.
    pub fn settings(&self) -> String {
        format!("{}{}", self.kind(), self.words(&["d_sae", "ratio"]))
    }

    /// Its kind, and how sparse it is to be.
    pub fn kind(&self) -> String {
        let kind = self.fit.get("kind").map(bare).unwrap_or_default();
        format!("{kind}{}", self.words(&AXES_OF_KINDS))
    }

    /// Those of these options that it has: ` k 8`.
    fn words(&self, names: &[&str]) -> String {
        let word = |name: &&str| self.fit.get(*name).map(|value| format!(" {name} {}", bare(value)));
        names.iter().filter_map(word).collect()
    }
}

impl Sweep {
    /// Every combination of models, sites and fits once, whatever the order in which the plan names them.
    pub fn expand(plan: &Plan, known: &Known, device: &str) -> Self {
        let mut sweep = Self { harvests: Vec::new(), cells: Vec::new() };
        let mut seen = BTreeSet::new();
        for model in &known.models {
            let text = |words: &TextWords, contents: &str| TextSource {
                source: words.source.clone(),
                options: words.options.clone(),
                contents: contents.into(),
            };
            let reading = Reading {
                by: BY.into(),
                threads: plan.options.threads,
                device: device.into(),
                model: ModelSource { source: model.source.clone(), weights: model.weights.clone() },
                text: text(&plan.text, &known.text),
                store: plan.store.clone(),
            };
            if sweep.harvests.iter().any(|harvest| harvest.reading == reading) {
                continue;
            }
            let judge = plan.judge.as_ref().zip(known.judge.as_ref()).map(|(words, contents)| text(words, contents));
            for site in &model.sites {
                for fit in &plan.fits {
                    let cell = Cell {
                        reading: reading.clone(),
                        site: site.clone(),
                        fit: fit.clone(),
                        judge: judge.clone(),
                        effect_rows: plan.options.effect_rows,
                    };
                    if seen.insert(cell.id()) {
                        sweep.cells.push(cell);
                    }
                }
            }
            let mut sites = model.sites.clone();
            let mut once = BTreeSet::new();
            sites.retain(|site| once.insert(site.clone()));
            sweep.harvests.push(Harvest { reading, sites });
        }
        sweep
    }

    /// The harvest of a cell.
    pub fn harvest(&self, cell: &Cell) -> Result<&Harvest> {
        let found = self.harvests.iter().find(|harvest| harvest.reading == cell.reading);
        found.ok_or_else(|| err!(Format, "expected a harvest for the cell {}, found none", cell.label()))
    }

    /// The cells of each harvest, by its folder.
    pub fn by_harvest(&self) -> Vec<(&Harvest, Vec<&Cell>)> {
        let of = |harvest: &Harvest| self.cells.iter().filter(|cell| cell.reading == harvest.reading).collect();
        self.harvests.iter().map(|harvest| (harvest, of(harvest))).collect()
    }
}

/// A value without quotation marks.
fn bare(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), String::from)
}

fn hash(value: &impl Serialize) -> String {
    // What is made of texts, numbers and maps with names always becomes JSON.
    let text = canonical(&serde_json::to_value(value).unwrap_or_default());
    hex(&Sha256::digest(text)).chars().take(DIGITS).collect()
}
