//! `features::save_batches` and `features::load_batch`: the batch files of SAEDashboard, and the exports of
//! Neuronpedia; `features::load_explanations` and `features::save_explanations` are for their explanations alone.

use super::feature_selection::FeatureSelection;
use crate::data::{harvest, pack};
use crate::features::batch::export::{
    self, ACTIVATIONS, CREATOR, EXPLANATIONS, Export, ExportFacts, ExportNames, ExportedExplanation, FEATURES,
    MOST_LINES,
};
use crate::features::batch::{self, BatchForm, BatchOptions};
use crate::features::dashboard::{Said, SaidWords};
use crate::features::feature::{place, tokenizer};
use crate::features::text_codes::{FeatureTextOptions, TextLimits};
use crate::sae::site_layer;
use crate::script::model::prelude::*;
use crate::script::sae::Sae;

crate::options! {
    /// Options of writing batch files: their folder, and the features that are written.
    pub struct SaveBatchOptions {
        /// Folder of the files.
        dir: String = "batches".into();
        /// The features: an array of them or of indices, or a range.
        features: Option<FeatureSelection> = None => usually("all");
        /// Form of the files: batches of SAEDashboard, or an export of Neuronpedia.
        form: BatchForm = BatchForm::Json;
        /// Explanations of features for the export, as a table like that of `features::describe`.
        descriptions: Option<Said> = None => usually("none").only("form", &["jsonl.gz"]);
        /// The user of Neuronpedia whose the export is; by default the one that a new database has.
        creator: String = CREATOR.into() => only("form", &["jsonl.gz"]);
        with text: FeatureTextOptions;
    }

    /// Options of reading batch files and exports.
    pub struct LoadBatchOptions {
        /// Indices of the features of an export that are read.
        features: Option<Vec<usize>> = None => usually("all");
    }

    /// Options of reading the explanations of an export.
    pub struct LoadExplanationsOptions {
        /// Site by which the features are named, as dashboards and the explorer know them.
        site: Option<String> = None => usually("the name of the folder");
    }

    /// Options of writing explanations as a part of an export.
    pub struct SaveExplanationsOptions {
        /// Folder of the exports.
        dir: String = "batches".into();
        /// Name of the set of dictionaries.
        sae_set: String = "microtome".into();
        /// The user of Neuronpedia whose the explanations are; by default the one that a new database has.
        creator: String = CREATOR.into();
    }
}

/// Writes the files of an export below its folder, and notes their paths.
fn save(made: Vec<(PathBuf, Vec<u8>)>, dir: &str, files: &Files, written: &mut Array) -> Result<()> {
    for (name, content) in made {
        let path = files.save_whole(&Path::new(dir).join(name), content).map_err(|e| e.about("dir"))?;
        written.push(path.display().to_string().into());
    }
    Ok(())
}

/// Makes the explanation of a feature from the words of a table.
fn explanation(feature: usize, said: SaidWords) -> ExportedExplanation {
    let SaidWords { words, by, method } = said;
    ExportedExplanation { feature, text: words.text, by, method }
}

/// Writes the explanations of some features of a site.
fn save_explained(
    said: &[ExportedExplanation],
    names: &ExportNames,
    dir: &str,
    files: &Files,
    written: &mut Array,
) -> Result<()> {
    for (number, part) in said.chunks(MOST_LINES).enumerate() {
        save(vec![names.explained(part, number)?], dir, files, written)?;
    }
    names.remove_later(EXPLANATIONS, said.len().div_ceil(MOST_LINES), Path::new(dir), files)
}

#[export_module(manifest)]
pub mod functions {
    /// Writes features of a dictionary as batch files, `batch-0.json` and so on, as SAEDashboard writes them and
    /// Neuronpedia takes them: 128 features in each. Returns the paths of the files.
    ///
    /// With `form: "jsonl.gz"` they are an export of Neuronpedia, in the folder `model_id/LAYER-sae_set`: `features`,
    /// `activations` and, where there are `descriptions`, `explanations`, as lines of JSON in compressed files, and
    /// `model.jsonl`, `sourceset.jsonl` and `source.jsonl`.
    ///
    /// The numbers are SAEDashboard's, rounded as it rounds them: the max-activating examples and some drawn from equal
    /// intervals of codes, each a whole row without its first token; histograms of 50 bins; logits along the direction,
    /// without the final norm; what the codes correlate with, in the features of the same file.
    ///
    /// # Options
    /// - [batches]
    /// - [save_batches]
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to be or not to be", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 8 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["to be or not to be"]);
    /// let s = sae::fit(m, "resid_post.0", text, #{ k: 2, ratio: 2, steps: 5, seed: 1 });
    /// let files = features::save_batches(m, s, text, #{ dir: "doc/batches", features: [0, 3], top: 2, each: 1 });
    /// features::load_batch(files[0]).map(|card| card.feature)  //=> [0, 3]
    /// ```
    #[rhai_fn(return_raw)]
    pub fn save_batches(ctx: NativeCallContext, m: Model, s: Sae, text: Text, options: Options) -> Fallible<Array> {
        let env = env(&ctx)?;
        let (options, asked) = taken_both::<BatchOptions, SaveBatchOptions>(options)?;
        // Before the work, and not after it.
        let first = Path::new(&asked.dir).join("batch-0.json");
        env.files.access().to_write(&first).map_err(|e| e.about("dir"))?;
        let saes = [s.core.clone()];
        let mut features: Vec<usize> = match asked.features {
            Some(wanted) => wanted.places(&saes)?.into_iter().map(|(_, feature)| feature).collect(),
            None => (0..s.core.d_sae()).collect(),
        };
        features.sort_unstable();
        features.dedup();
        let TextLimits { tokens, context } = asked.text.limits();
        let context = harvest::context(m.decoder().config(), context)?;
        let count = tokens.map(|tokens| tokens.div_ceil(context));
        let rows = pack::gathered(&text, tokenizer(m.core())?, context, count, &env.task, |row| Ok(row.ids))?;
        let site = s.core.parts().about.site();
        let names = ExportNames {
            model_id: options.model_id.clone().unwrap_or_else(|| m.core().name().to_string()),
            set: options.sae_set.clone(),
            layer: site_layer(&site).map_or(0, |layer| layer as i64),
            creator: asked.creator.clone(),
        };
        let hook = place(m.core(), &s.core)?.site.lens_name();
        let mut written = Array::new();
        if asked.form == BatchForm::JsonlGz {
            names.check()?;
            let config = m.decoder().config();
            let facts = ExportFacts {
                layers: config.layers,
                neurons_per_layer: config.d_mlp,
                dimension: config.d_model,
                prompts: rows.len(),
                tokens_in_prompt: rows.iter().map(Vec::len).max().unwrap_or_default(),
                text: text.name().to_string(),
            };
            save(names.about(&facts), &asked.dir, &env.files, &mut written)?;
            if let Some(said) = &asked.descriptions {
                let of_these = said.of_site(&site).filter(|(feature, _)| features.binary_search(feature).is_ok());
                let said: Vec<_> = of_these.map(|(feature, said)| explanation(feature, said.clone())).collect();
                save_explained(&said, &names, &asked.dir, &env.files, &mut written)?;
            }
        }
        let mut number = 0;
        let mut take = |batch: batch::Batch| {
            let made = match asked.form {
                BatchForm::Json => {
                    let json = serde_json::to_string(&batch).map_err(|e| err!(Bug, "a batch as JSON: {e}"))?;
                    vec![(format!("batch-{number}.json").into(), json.into_bytes())]
                }
                BatchForm::JsonlGz => names.files(&batch, number, &hook)?,
            };
            number += 1;
            save(made, &asked.dir, &env.files, &mut written)
        };
        env.drawing(&ctx, "features::save_batches", options.seed, |seed| {
            let options = BatchOptions { seed, ..options };
            batch::batches(m.core(), &s.core, &features, &rows, &options, &mut take, &env.task)
        })?;
        if asked.form == BatchForm::JsonlGz {
            for part in [FEATURES, ACTIVATIONS] {
                names.remove_later(part, number, Path::new(&asked.dir), &env.files)?;
            }
        }
        Ok(written)
    }

    /// Reads the features of a batch file of SAEDashboard, or of an export of Neuronpedia, as cards.
    ///
    /// An export is the folder of a source, as `features::save_batches` writes it and Neuronpedia has it in its public
    /// data: `features/batch-0.jsonl.gz` and so on, and beside it `activations` and `explanations`. Explanations are
    /// among the facts of the cards.
    ///
    /// # Options
    /// - [load_batch]
    ///
    /// # Example
    /// ```
    /// let cards = features::load_batch("tests/fixtures/dashboard/batch-0.json");
    /// cards.map(|card| card.feature)  //=> [0, 5, 9]
    /// cards[1].contexts[0].texts.len()  //=> 6
    /// let theirs = features::load_batch("tests/fixtures/neuronpedia/0-set", #{ features: [3] });
    /// theirs.map(|card| card.feature)  //=> [3]
    /// ```
    #[rhai_fn(return_raw)]
    pub fn load_batch(ctx: NativeCallContext, path: &str, options: Options) -> Fallible<Array> {
        let env = env(&ctx)?;
        let LoadBatchOptions { features } = taken(options)?;
        let wanted: Option<BTreeSet<usize>> = features.map(|features| features.into_iter().collect());
        let folder = env.files.access().to_read(Path::new(path)).map_err(|e| e.about("path"))?;
        let mut cards = if folder.is_dir() {
            Export::load(&env.files, &folder, wanted.as_ref(), &env.task)?.cards()
        } else {
            let bytes = env.files.bytes(Path::new(path)).map_err(|e| e.about("path"))?;
            batch::cards(&batch::parse(&bytes).map_err(|e| e.within(path.to_string()).about("path"))?)
        };
        cards.retain(|card| wanted.as_ref().is_none_or(|wanted| wanted.contains(&card.feature)));
        Ok(cards.into_iter().map(Dynamic::from).collect())
    }

    /// Reads the explanations of an export of Neuronpedia, from the folder of a source: a row for each, with the
    /// feature, the `description`, the model that wrote it and its method. Dashboards and the explorer take the table,
    /// if `site` names the features as the dictionary does.
    ///
    /// # Options
    /// - [load_explanations]
    ///
    /// # Example
    /// ```
    /// let words = features::load_explanations("tests/fixtures/neuronpedia/0-set", #{ site: "resid_pre.0" });
    /// [words["feature"][0], words["description"][0]]  //=> ["resid_pre.0/3", "names of animals"]
    /// ```
    #[rhai_fn(return_raw)]
    pub fn load_explanations(ctx: NativeCallContext, path: &str, options: Options) -> Fallible<Table> {
        let env = env(&ctx)?;
        let LoadExplanationsOptions { site } = taken(options)?;
        let folder = Path::new(path);
        let name = || folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        Ok(export::explanations(&env.files, folder, &site.unwrap_or_else(name), &env.task)?)
    }

    /// Writes explanations of features of one site as a part of an export of Neuronpedia: the table has a column
    /// `feature`, such as `resid_post.3/12`, and `description`, `explanation` or `label`; `by` and `method`, where it
    /// has them, are the names of the model that wrote it and of its method, which a database of Neuronpedia takes only
    /// where it knows them. Returns the files' paths.
    ///
    /// # Options
    /// - [save_explanations]
    ///
    /// # Example
    /// ```
    /// let words = features::load_explanations("tests/fixtures/neuronpedia/0-set", #{ site: "resid_pre.0" });
    /// features::save_explanations(words, "resid_pre.0", "gpt2-small", #{ dir: "doc/exports", sae_set: "mine" });
    /// let kept = features::load_explanations("doc/exports/gpt2-small/0-mine");
    /// [kept["feature"][0], kept["by"][0], kept["method"][0]]  //=> ["0-mine/3", "gpt-4o-mini", "oai_token-act-pair"]
    /// ```
    #[rhai_fn(return_raw)]
    pub fn save_explanations(
        ctx: NativeCallContext,
        explanations: Table,
        site: &str,
        model_id: &str,
        options: Options,
    ) -> Fallible<Array> {
        let env = env(&ctx)?;
        let asked: SaveExplanationsOptions = taken(options)?;
        let rows = Said::rows(&explanations)
            .ok_or_else(|| err!(Argument, "expected {}", Said::wanted()).about("explanations"))?;
        let of_site = rows.into_iter().filter(|(of, ..)| of == site);
        let mut said: Vec<_> = of_site.map(|(_, feature, said)| explanation(feature, said)).collect();
        said.sort_by_key(|one| one.feature);
        let names = ExportNames {
            model_id: model_id.into(),
            set: asked.sae_set,
            layer: site_layer(site).map_or(0, |layer| layer as i64),
            creator: asked.creator,
        };
        names.check()?;
        let mut written = Array::new();
        save_explained(&said, &names, &asked.dir, &env.files, &mut written)?;
        if written.is_empty() {
            Err(err!(Argument, "expected explanations of features of {site}, found none").about("explanations"))?;
        }
        Ok(written)
    }
}
