//! Fitting cross-layer transcoders, and measuring transcoders of all layers.

use super::fit_calls::FitCall;
use super::rows::keeping;
use super::transcoders::Transcoders;
use crate::data::harvest::TextReading;
use crate::sae::fit::{CrossLayerOptions, FitResult, Source, Target, TargetName};
use crate::sae::metrics::{self, MeasureOptions};
use crate::script::data::Store;
use crate::script::model::Model;
use crate::script::prelude::*;

/// Returns the only cross-layer transcoder.
fn one(found: Vec<FitResult>) -> Result<Transcoders> {
    let found = found.into_iter().next().ok_or_else(|| err!(Bug, "a fit without a transcoder"))?;
    Ok(Transcoders::fitted(found.made.cross_layer()?, found.history))
}

#[export_module(manifest)]
pub mod functions {
    /// Fits a cross-layer transcoder for all MLPs of a model: features of each layer read there, and write to the MLP
    /// outputs of their own and all later layers, which are reconstructed together (Ameisen et al. 2025). It stands in for
    /// the MLPs in attribution graphs, where a feature that many layers repeat is one node.
    ///
    /// The loss is the sum over layers of the error of what is written there, relative to its variance, with the sparsity
    /// of the kind: "batch_topk", "topk", "relu" or "jumprelu". Its options, `d_sae` and `ratio` are of each layer.
    /// Activations are read, and what is fitted is cached, as in `sae::fit`; a store that has both sites of all layers is
    /// given instead of the model, and needs no text. `save` writes it as circuit-tracer loads it.
    ///
    /// # Options
    /// - [cross_layer]
    /// - [fit]
    /// - [kinds]
    /// - [keep]
    /// - [positions]
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to be or not to be", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["to be or not to be", "or not to be"]);
    /// let c = sae::cross_layer_transcoder(m, text, #{ k: 2, ratio: 2, steps: 5, seed: 1 });
    /// c.measure_on(m, text).columns  //=> ["layer", "fve", "l0", "dead"]
    /// ```
    #[rhai_fn(return_raw)]
    pub fn cross_layer_transcoder(
        ctx: NativeCallContext,
        m: Model,
        text: Text,
        options: Options,
    ) -> Fallible<Transcoders> {
        let mut call = FitCall::once(&ctx, "sae::cross_layer_transcoder", TargetName::CrossLayer, options)?;
        let CrossLayerOptions { reads, .. } = call.read.declared()?;
        let reading = keeping(&mut call.read)?;
        let readings = [TextReading::new(m.core(), &text, &reading)];
        Ok(super::one(call.run(Source::Text(&readings), Target::CrossLayer(reads))?)?)
    }

    #[rhai_fn(name = "cross_layer_transcoder", return_raw)]
    pub fn cross_layer_transcoder_of_store(
        ctx: NativeCallContext,
        store: Store,
        options: Options,
    ) -> Fallible<Transcoders> {
        let mut call = FitCall::once(&ctx, "sae::cross_layer_transcoder", TargetName::CrossLayer, options)?;
        let CrossLayerOptions { reads, .. } = call.read.declared()?;
        Ok(super::one(call.run(Source::Store(&store.core), Target::CrossLayer(reads))?)?)
    }
}

#[export_module(manifest)]
pub mod methods {
    /// Measures how well transcoders stand in for the MLPs of a model on a text, in a row for each layer: the fraction
    /// of variance explained of what is written there, by features of this and earlier layers; the mean number of its
    /// own features that are active at a position, and how many of them are active at none.
    ///
    /// # Options
    /// - [measure]
    /// - [positions]
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to be or not to be", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["to be or not to be", "or not to be"]);
    /// let c = sae::cross_layer_transcoder(m, text, #{ kind: "topk", k: 2, ratio: 2, steps: 5, seed: 1 });
    /// c.measure_on(m, text).to_map().rows.map(|row| row[2])  //=> [2.0, 2.0]
    /// ```
    #[rhai_fn(global, name = "measure_on", pure, return_raw)]
    pub fn measure_layers_on(
        ctx: NativeCallContext,
        t: &mut Transcoders,
        m: Model,
        text: Text,
        options: Options,
    ) -> Fallible<Table> {
        let env = env(&ctx)?;
        let mut read = super::options(options);
        let measure: MeasureOptions = read.declared()?;
        let reading = keeping(&mut read)?;
        read.finish()?;
        let reading = TextReading::new(m.core(), &text, &reading);
        let found = metrics::measured_by_layer(&t.core, reading, measure, &env.task)?;
        Ok(metrics::layer_table(&found))
    }

    /// Returns the history of the fit of a cross-layer transcoder, in at most a hundred rows, as that of a dictionary:
    /// FVE is the mean over layers, L0 and dead features are of all layers together; () if it was not fitted here.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to be or not to be", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
    /// let c = sae::cross_layer_transcoder(m, data::texts(["to be or not"]), #{ k: 2, ratio: 2, steps: 3, seed: 1 });
    /// c.history.len  //=> 3
    /// ```
    #[rhai_fn(global, get = "history", pure)]
    pub fn history_of_transcoders(t: &mut Transcoders) -> Dynamic {
        t.history.as_ref().map_or(Dynamic::UNIT, |history| Dynamic::from(history.table(100)))
    }
}
