//! State of an explorer: a model, its dictionaries and lenses, a text for cards and trees, and what is known of features in words.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::last_read::LastRead;
use super::shared_value::SharedValue;
use crate::base::files::Files;
use crate::base::{Result, Task};
use crate::checkpoint::load::LoadSettings;
use crate::circuit::tree::TreeText;
use crate::data::Text;
use crate::data::text::{SourceOptions, TextOptions};
use crate::err;
use crate::features::dashboard::Said;
use crate::features::feature::{check_feature, placed};
use crate::features::{HeadCards, Overview};
use crate::model::Model;
use crate::model::reading::fitted::FittedLens;
use crate::model::site::Place;
use crate::sae::Sae;
use crate::sae::load::LoadOptions;
use crate::tensor::Device;

/// Model, dictionaries, lenses and text to be explored, by the names on the command line.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ExplorerInputs {
    pub model: String,
    pub dictionaries: Vec<String>,
    /// The files of fitted lenses.
    pub lenses: Vec<String>,
    /// The text that cards and trees are made from, and how much of it.
    pub text: String,
    pub tokens: u64,
    /// The file of a table with explanations of features.
    pub descriptions: Option<String>,
}

/// A dictionary with the source that it is from.
pub struct Dictionary {
    /// The dictionary's site; with its source, where several read one.
    pub name: String,
    pub source: String,
    pub sae: Sae,
    pub place: Place,
    /// Surveys of the text by the dictionary: at all positions, and at all but the first of every row.
    pub(super) overviews: [SharedValue<Overview>; 2],
    /// The text as the dictionaries of its trees read it.
    pub(super) tree: SharedValue<TreeText>,
}

/// Model, dictionaries, lenses and texts that the answers are made from.
pub struct Explorer {
    pub plan: ExplorerInputs,
    pub model: Model,
    pub dictionaries: Vec<Dictionary>,
    /// Fitted lenses, each with the file that it is from.
    pub lenses: Vec<(String, FittedLens)>,
    pub text: Text,
    /// Explanations and labels of features in words.
    pub said: Said,
    pub files: Files,
    /// The folder of parts that were computed when the explorer was exported.
    pub(super) kept_in: Option<PathBuf>,
    pub(super) last_read: Mutex<Option<Arc<LastRead>>>,
    /// The cards of the model's attention heads.
    pub(super) heads: SharedValue<HeadCards>,
}

impl Explorer {
    /// Loads what the plan names. Refuses a dictionary or a lens that does not fit.
    pub fn load(plan: ExplorerInputs, files: &Files, device: &Device, task: &Task) -> Result<Self> {
        let loading = LoadSettings { device: device.clone(), ..LoadSettings::default() };
        let model = Model::load(files, &plan.model, &loading, task).map_err(|e| e.about("model"))?;
        let load = |source: &String| -> Result<(String, Sae)> {
            let sae = Sae::load(files, source, &LoadOptions::default(), task)?.to_device(device)?;
            Ok((source.clone(), sae))
        };
        let saes = plan.dictionaries.iter().map(load).collect::<Result<Vec<_>>>()?;
        let load = |source: &String| -> Result<(String, FittedLens)> {
            Ok((source.clone(), FittedLens::load_any(files, Path::new(source), task)?))
        };
        let lenses = plan.lenses.iter().map(load).collect::<Result<Vec<_>>>()?;
        let limits = TextOptions { tokens: Some(plan.tokens), ..TextOptions::default() };
        let text = Text::open(files, &plan.text, SourceOptions { text: limits, ..SourceOptions::default() }, task)?;
        let said = plan.descriptions.as_ref().map(|path| Said::load(files, Path::new(path), task));
        Self::of(plan, model, saes, lenses, text, said.transpose()?.unwrap_or_default(), files)
    }

    /// Builds an explorer of what is loaded already: each dictionary and each lens with its source. Refuses one that does
    /// not fit.
    pub fn of(
        plan: ExplorerInputs,
        model: Model,
        saes: Vec<(String, Sae)>,
        lenses: Vec<(String, FittedLens)>,
        text: Text,
        said: Said,
        files: &Files,
    ) -> Result<Self> {
        model.decoder.config().expect_next_token("the explorer")?;
        model.text_tokenizer()?;
        said.check(&saes.iter().map(|(_, sae)| sae.clone()).collect::<Vec<_>>())?;
        if saes.is_empty() {
            return Err(err!(Argument, "expected at least one dictionary, found none"));
        }
        let sites: Vec<String> = saes.iter().map(|(_, sae)| sae.parts().about.site()).collect();
        let mut dictionaries = Vec::new();
        for ((source, sae), site) in saes.into_iter().zip(&sites) {
            let place = placed(&model, &sae).map_err(|e| e.within(&source))?;
            let is_alone = sites.iter().filter(|other| *other == site).count() == 1;
            let name = if is_alone { site.clone() } else { format!("{site} of {source}") };
            let (overviews, tree) = Default::default();
            dictionaries.push(Dictionary { name, source, sae, place, overviews, tree });
        }
        for (source, lens) in &lenses {
            lens.places(&model.decoder).map_err(|e| e.within(source))?;
        }
        let files = files.clone();
        let (last_read, heads) = Default::default();
        Ok(Self { plan, model, dictionaries, lenses, text, said, files, kept_in: None, last_read, heads })
    }

    /// Returns one of the dictionaries.
    pub fn dictionary(&self, index: usize) -> Result<&Dictionary> {
        let count = self.dictionaries.len();
        let found = self.dictionaries.get(index);
        found.ok_or_else(|| err!(Argument, "expected a dictionary below {count}, found {index}"))
    }

    /// Returns the dictionary of a feature, if it has that feature.
    pub fn with_feature(&self, dictionary: usize, feature: usize) -> Result<&Dictionary> {
        let found = self.dictionary(dictionary)?;
        check_feature(&found.sae, feature)?;
        Ok(found)
    }

    /// Returns the data that the page begins with.
    pub fn start(&self) -> Value {
        let dictionary = |of: &Dictionary| {
            let kind = &of.sae.parts().about.kind;
            let site = of.sae.parts().about.site();
            let words = self.said.of_site(&site);
            let words: Map<String, Value> = words
                .map(|(feature, said)| (feature.to_string(), json!([said.words.text, said.words.score])))
                .collect();
            json!({ "name": of.name, "features": of.sae.d_sae(), "kind": kind, "words": words })
        };
        json!({
            "model": self.plan.model,
            "context": self.model.decoder.config().context,
            "dictionaries": self.dictionaries.iter().map(dictionary).collect::<Vec<_>>(),
            "lenses": self.lenses.iter().map(|(_, lens)| lens.kind().name()).collect::<Vec<_>>(),
            "examples": EXAMPLES,
            "text": self.plan.text,
            "tokens": self.plan.tokens,
        })
    }
}

/// Texts to begin with.
const EXAMPLES: [&str; 4] = [
    "The dog (a small one) ran home, and she said, \"I've seen it before.\"",
    "let total = sum([1, 2, 3]) * (4 + 5);",
    "Mary gave the book to John, and then he gave it back to her.",
    "1, 2, 3, 4, 5, 6, 7, 8,",
];
