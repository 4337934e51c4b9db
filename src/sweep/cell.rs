//! Harvests and cells that a plan stands for, each with all that decides its result, and the hash of that as its name.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::plan::{OptionValues, SweepPlan, TextPlan, canonical};
use super::plan_sources::PlanSources;
use crate::base::files::hex;
use crate::common::*;
use crate::sae::fit::{AXES_OF_KINDS, TargetName};

/// The program and its version: another version may fit otherwise.
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
    pub options: OptionValues,
    /// The hash of its files, or what identifies a text that is generated.
    pub contents: String,
}

/// The reading of activations: cells with the same one share a harvest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HarvestSource {
    pub by: String,
    pub threads: usize,
    pub device: String,
    pub model: ModelSource,
    pub text: TextSource,
    pub store: OptionValues,
}

/// A store of the activations that cells are fitted to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Harvest {
    pub reading: HarvestSource,
    pub sites: Vec<String>,
}

/// One dictionary, and how it is judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SweepCell {
    pub reading: HarvestSource,
    pub site: String,
    pub fit: OptionValues,
    pub judge: Option<TextSource>,
    pub effect_rows: usize,
    /// Target of the fit, where that is not a dictionary of the site. Cells of dictionaries keep their names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<CellTarget>,
}

/// Target of a fit that takes several sites.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CellTarget {
    pub of: TargetName,
    pub sites: Vec<String>,
    pub skip: bool,
}

/// All harvests and cells of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sweep {
    pub harvests: Vec<Harvest>,
    pub cells: Vec<SweepCell>,
}

impl Harvest {
    /// Returns the name of the harvest's folder.
    pub fn id(&self) -> String {
        format!("stores/{}", hash(self))
    }

    /// Describes the harvest in words.
    pub fn label(&self) -> String {
        let TextSource { source, .. } = &self.reading.text;
        format!("harvest of {} on {source}", self.reading.model.source)
    }
}

impl SweepCell {
    /// Returns the name of the cell's folder.
    pub fn id(&self) -> String {
        format!("cells/{}", hash(self))
    }

    /// Describes the cell in words.
    pub fn label(&self) -> String {
        let seed = self.fit.get("seed").map(|seed| format!(" seed {}", bare(seed))).unwrap_or_default();
        format!("{} {} {}{seed}", self.reading.model.source, self.site, self.settings())
    }

    /// Describes the settings of the cell's fit, but for the seed.
    pub fn settings(&self) -> String {
        format!("{}{}", self.kind(), self.words(&["d_sae", "ratio"]))
    }

    /// Describes the cell's kind, and how sparse it is to be.
    pub fn kind(&self) -> String {
        let kind = self.fit.get("kind").map(bare).unwrap_or_default();
        format!("{kind}{}", self.words(&AXES_OF_KINDS))
    }

    /// Lists the cell's values of these options, where it has them: ` k 8`.
    fn words(&self, names: &[&str]) -> String {
        let word = |name: &&str| self.fit.get(*name).map(|value| format!(" {name} {}", bare(value)));
        names.iter().filter_map(word).collect()
    }
}

impl Sweep {
    /// Expands every combination of models, sites and fits once, whatever the order in which the plan names them.
    pub fn expand(plan: &SweepPlan, known: &PlanSources, device: &str) -> Self {
        let mut sweep = Self { harvests: Vec::new(), cells: Vec::new() };
        let mut seen = BTreeSet::new();
        for model in &known.models {
            let text = |words: &TextPlan, contents: &str| TextSource {
                source: words.source.clone(),
                options: words.options.clone(),
                contents: contents.into(),
            };
            let reading = HarvestSource {
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
            let of = plan.options.of;
            let skip = plan.options.skip;
            for sites in &model.sites {
                for fit in &plan.fits {
                    let target = (of != TargetName::Dictionary).then(|| CellTarget { of, sites: sites.clone(), skip });
                    let cell = SweepCell {
                        reading: reading.clone(),
                        site: sites.join(if of == TargetName::Transcoder { " to " } else { ", " }),
                        fit: fit.clone(),
                        judge: judge.clone(),
                        effect_rows: plan.options.effect_rows,
                        target,
                    };
                    if seen.insert(cell.id()) {
                        sweep.cells.push(cell);
                    }
                }
            }
            let mut sites = model.sites.concat();
            sites.extend((of == TargetName::CrossLayer).then(|| "mlp_out.*".to_string()));
            let mut once = BTreeSet::new();
            sites.retain(|site| once.insert(site.clone()));
            sweep.harvests.push(Harvest { reading, sites });
        }
        sweep
    }

    /// Returns the harvest of a cell.
    pub fn harvest(&self, cell: &SweepCell) -> Result<&Harvest> {
        let found = self.harvests.iter().find(|harvest| harvest.reading == cell.reading);
        found.ok_or_else(|| err!(Format, "expected a harvest for the cell {}, found none", cell.label()))
    }

    /// Returns the cells of each harvest, by its folder.
    pub fn by_harvest(&self) -> Vec<(&Harvest, Vec<&SweepCell>)> {
        let of = |harvest: &Harvest| self.cells.iter().filter(|cell| cell.reading == harvest.reading).collect();
        self.harvests.iter().map(|harvest| (harvest, of(harvest))).collect()
    }
}

/// Writes a value without quotation marks.
fn bare(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), String::from)
}

fn hash(value: &impl Serialize) -> String {
    // What is made of texts, numbers and maps with names always becomes JSON.
    let text = canonical(&serde_json::to_value(value).unwrap_or_default());
    hex(&Sha256::digest(text)).chars().take(DIGITS).collect()
}
