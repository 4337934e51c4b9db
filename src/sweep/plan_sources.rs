//! One look at all that a plan names, before it is expanded: the weights and the sites of models, the contents of
//! texts.

use sha2::{Digest, Sha256};

use super::plan::{SweepOptions, SweepPlan, TextPlan};
use crate::base::files::hex;
use crate::checkpoint::load::LoadSettings;
use crate::common::*;
use crate::data::Text;
use crate::data::store::ModelMark;
use crate::model::Model;
use crate::model::config::Config;
use crate::model::site::places;
use crate::sae::fit::TargetName;
use crate::tensor::Device;

/// A model of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanModel {
    pub source: String,
    /// The hash of its weights.
    pub weights: String,
    /// Sites of each cell, in the order of the computation.
    pub sites: Vec<Vec<String>>,
}

/// Models and texts that a plan names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanSources {
    pub models: Vec<PlanModel>,
    /// The contents of the texts: see [`contents`].
    pub text: String,
    pub judge: Option<String>,
}

/// Looks at the models and texts of a plan. Whatever is not there, or does not go together, is refused before anything
/// is started.
pub fn load_plan_sources(plan: &SweepPlan, files: &Files, device: &Device, task: &Task) -> Result<PlanSources> {
    let of_model = |source: &String| -> Result<PlanModel> {
        let model = load(source, files, device, task).map_err(|e| e.about("model"))?;
        model.text_tokenizer()?;
        let sites = sites(model.decoder.config(), &plan.options)?;
        Ok(PlanModel { source: source.clone(), weights: ModelMark::of(&model, task)?.weights, sites })
    };
    let of_text = |words: &TextPlan| contents(&open(words, files, task)?, files, task);
    Ok(PlanSources {
        models: plan.options.model.iter().map(of_model).collect::<Result<_>>()?,
        text: of_text(&plan.text)?,
        judge: plan.judge.as_ref().map(of_text).transpose()?,
    })
}

/// Returns the sites of each cell of a model.
fn sites(config: &Config, options: &SweepOptions) -> Result<Vec<Vec<String>>> {
    let named = |names: &[String]| -> Result<Vec<String>> {
        let mut sites = places(config, names)?;
        sites.sort();
        Ok(sites.iter().map(ToString::to_string).collect())
    };
    match (options.of, options.sites.as_slice()) {
        (TargetName::Dictionary, all) => Ok(named(all)?.into_iter().map(|site| vec![site]).collect()),
        (TargetName::Transcoder, [reads, writes]) => {
            let [reads, writes] = [named(std::slice::from_ref(reads))?, named(std::slice::from_ref(writes))?];
            if reads.len() != writes.len() {
                let found = format!("{} and {}", reads.len(), writes.len());
                return Err(err!(Argument, "expected as many sites to read as to write, found {found}").about("sites"));
            }
            Ok(reads.into_iter().zip(writes).map(|(reads, writes)| vec![reads, writes]).collect())
        }
        (TargetName::Crosscoder, all) => Ok(vec![named(all)?]),
        // One of another number of sites is refused with what it takes.
        (of, all) => {
            of.of_sites(&all.iter().map(String::as_str).collect::<Vec<_>>(), false)?;
            Ok(vec![all.to_vec()])
        }
    }
}

/// Loads a model by its name in a plan.
pub(super) fn load(source: &str, files: &Files, device: &Device, task: &Task) -> Result<Model> {
    Model::load(files, source, &LoadSettings { device: device.clone(), ..LoadSettings::default() }, task)
}

/// Opens a text by its words in a plan.
pub(super) fn open(words: &TextPlan, files: &Files, task: &Task) -> Result<Text> {
    let text = Text::open(files, &words.source, words.options()?, task)?;
    text.expect_end()?;
    Ok(text)
}

/// Returns the hash of the files of a text in their order, or what identifies a text without files.
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
