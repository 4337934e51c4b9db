//! `features::save_batches` and `features::load_batch`: the batch files of SAEDashboard and Neuronpedia.

use super::feature_selection::FeatureSelection;
use crate::data::{harvest, pack};
use crate::features::batch::{self, BatchOptions};
use crate::features::feature::tokenizer;
use crate::features::text_codes::{FeatureTextOptions, TextLimits};
use crate::script::engine::options::options as reader;
use crate::script::model::Model;
use crate::script::prelude::*;
use crate::script::sae::Sae;

crate::options! {
    /// Options of writing batch files: their folder, and the features that are written.
    #[derive(Debug, Clone)]
    pub struct SaveBatchOptions {
        /// Folder of the files.
        dir: String = "batches".into();
        /// The features: an array of them or of indices, or a range.
        features: Option<FeatureSelection> = None => usually("all");
        with text: FeatureTextOptions;
    }
}

#[export_module(manifest)]
pub mod functions {
    /// Writes features of a dictionary as batch files, `batch-0.json` and so on, as SAEDashboard writes them and
    /// Neuronpedia takes them: 128 features in each. Returns the paths of the files.
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
        let mut read = reader(options);
        let options: BatchOptions = read.declared()?;
        let asked: SaveBatchOptions = read.declared()?;
        read.finish()?;
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
        let mut written = Array::new();
        let mut take = |batch: batch::Batch| {
            let json = serde_json::to_string(&batch).map_err(|e| err!(Bug, "a batch as JSON: {e}"))?;
            let path = Path::new(&asked.dir).join(format!("batch-{}.json", written.len()));
            let path = env.files.save_whole(&path, json).map_err(|e| e.about("dir"))?;
            written.push(path.display().to_string().into());
            Ok(())
        };
        env.drawing(&ctx, "features::save_batches", options.seed, |seed| {
            let options = BatchOptions { seed, ..options };
            batch::batches(m.core(), &s.core, &features, &rows, &options, &mut take, &env.task)
        })?;
        Ok(written)
    }

    /// Reads the features of a batch file of SAEDashboard or Neuronpedia, as cards.
    ///
    /// # Example
    /// ```
    /// let cards = features::load_batch("tests/fixtures/dashboard/batch-0.json");
    /// cards.map(|card| card.feature)  //=> [0, 5, 9]
    /// cards[1].contexts[0].texts.len()  //=> 6
    /// ```
    #[rhai_fn(return_raw)]
    pub fn load_batch(ctx: NativeCallContext, path: &str) -> Fallible<Array> {
        let bytes = env(&ctx)?.files.bytes(Path::new(path)).map_err(|e| e.about("path"))?;
        let batch = batch::parse(&bytes).map_err(|e| e.within(path.to_string()).about("path"))?;
        Ok(batch::cards(&batch).into_iter().map(Dynamic::from).collect())
    }
}
