//! What a plan names is looked at once, before it is expanded: the weights and the sites of models, the contents of texts.

use sha2::{Digest, Sha256};

use super::plan::{Plan, TextWords};
use crate::base::files::{Files, hex};
use crate::base::{Result, Task};
use crate::data::Text;
use crate::data::store::ModelMark;
use crate::model::Model;
use crate::model::load::Loading;
use crate::model::site::places;
use crate::tensor::Device;

/// A model of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownModel {
    pub source: String,
    /// The hash of its weights.
    pub weights: String,
    /// The sites that the plan's names stand for, in the order of the computation.
    pub sites: Vec<String>,
}

/// All that a plan names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    pub models: Vec<KnownModel>,
    /// What is in the texts: see [`contents`].
    pub text: String,
    pub judge: Option<String>,
}

/// Looks at the models and texts of a plan. What is not there, or does not go together, is refused here, before
/// anything is started.
pub fn look(plan: &Plan, files: &Files, device: &Device, task: &Task) -> Result<Known> {
    let of_model = |source: &String| -> Result<KnownModel> {
        let model = load(source, files, device, task).map_err(|e| e.about("model"))?;
        model.text_tokenizer()?;
        let mut sites = places(model.decoder.config(), &plan.options.sites)?;
        sites.sort();
        let sites = sites.iter().map(ToString::to_string).collect();
        Ok(KnownModel { source: source.clone(), weights: ModelMark::of(&model, task)?.weights, sites })
    };
    let of_text = |words: &TextWords| contents(&open(words, files, task)?, files, task);
    Ok(Known {
        models: plan.options.model.iter().map(of_model).collect::<Result<_>>()?,
        text: of_text(&plan.text)?,
        judge: plan.judge.as_ref().map(of_text).transpose()?,
    })
}

/// A model by its name in a plan.
pub(super) fn load(source: &str, files: &Files, device: &Device, task: &Task) -> Result<Model> {
    Model::load(files, source, &Loading { device: device.clone(), ..Loading::default() }, task)
}

/// A text by its words in a plan.
pub(super) fn open(words: &TextWords, files: &Files, task: &Task) -> Result<Text> {
    let text = Text::open(files, &words.source, words.options()?, task)?;
    text.expect_end()?;
    Ok(text)
}

/// The hash of the files of a text in their order, or what identifies a text without files.
pub(super) fn contents(text: &Text, files: &Files, task: &Task) -> Result<String> {
    if text.paths().is_empty() {
        return Ok(text.identity().into());
    }
    let mut hash = Sha256::new();
    for path in text.paths() {
        task.check()?;
        hash.update(files.sha256(path)?);
    }
    Ok(hex(&hash.finalize()))
}
