//! `circuit::bridges` and `circuit::bridged`: maps between a dense and a sparse model, and their methods.

use crate::circuit::bridges::{BridgeJudgeOptions, BridgeOptions, Bridges as Core, StepLosses, fit};
use crate::script::model::prelude::*;
use crate::script::sae::Sae;
use crate::training::{CheckpointOptions, LossRecord, losses_table};

/// A dense and a sparse model with the bridges between them.
#[derive(Clone)]
pub struct Bridges(Rc<Core>);

impl From<Core> for Bridges {
    fn from(core: Core) -> Self {
        Self(core.into())
    }
}

impl Bridges {
    /// Returns the widths of the streams of the dense and of the sparse model.
    fn widths(&self) -> [usize; 2] {
        [&self.0.dense, &self.0.sparse].map(|model| model.decoder.config().d_model)
    }
}

impl Handle for Bridges {
    const NAME: &'static str = "Bridges";

    fn short(&self) -> String {
        let [dense, sparse] = self.widths();
        format!("{} between widths of {dense} and {sparse}", count(self.0.bridges.len(), "bridge"))
    }

    fn json(&self) -> Result<Value> {
        let sites: Vec<String> = self.0.sites().iter().map(ToString::to_string).collect();
        let losses = self.0.losses.last().map(|step| {
            let named = StepLosses::NAMES.iter().zip(step.numbers());
            named.map(|(name, loss)| (name.to_string(), number(loss))).collect::<serde_json::Map<String, Value>>()
        });
        Ok(json!({ "sites": sites, "widths": self.widths(), "steps": self.0.losses.len(), "losses": losses }))
    }
}

crate::options! {
    /// A fit of bridges: the sparse model's weights, the losses and the checkpoints.
    pub struct BridgesCall {
        with fit: BridgeOptions;
        with checkpoints: CheckpointOptions;
    }
}

#[export_module(manifest)]
pub mod functions {
    /// Trains a sparse model together with bridges to a dense one (Gao et al. 2025): at each place of the residual stream that
    /// attention or an MLP reads, and behind the last block, a linear map from the dense model's stream to the sparse model's, of
    /// which the largest numbers are kept, and a linear map back.
    ///
    /// `sparse` is where the sparse model's training begins, as `model::init` makes it, and `dense` stays as it is. What is
    /// minimised is the sparse model's loss on the text; the errors of the maps; and KL(dense || mixed) of passes that begin in
    /// one model and end in the other, for each place where they change. Both models have as many layers and read the same
    /// tokens; their widths may differ. Rows that are shorter than `context` are left out. Checkpoints in `dir` let an
    /// interrupted fit go on.
    ///
    /// The result has the trained model as `sparse`, and a dictionary of each place, whose codes are the stream of the sparse
    /// model, as `dictionaries`.
    ///
    /// # Options
    /// - [bridges]
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to be or not to be", #{ kind: "characters", min_frequency: 1 });
    /// let config = #{ layers: 2, d_model: 8, heads: 2, vocab: t.size, context: 16, norm: "rms" };
    /// let dense = model::init(config, #{ tokenizer: t, seed: 1 });
    /// let sparse = model::init(config + #{ d_model: 16 }, #{ tokenizer: t, seed: 2 });
    /// let text = data::texts(["to be or not to be"]);
    /// let b = circuit::bridges(dense, sparse, text, #{ steps: 2, context: 8, batch: 1, seed: 1 });
    /// b  //=> 5 bridges between widths of 8 and 16
    /// b.dictionaries[0]  //=> bridge dictionary of 16 features for resid_pre.0
    /// ```
    #[rhai_fn(return_raw)]
    pub fn bridges(
        ctx: NativeCallContext,
        dense: Model,
        sparse: Model,
        text: Text,
        options: Options,
    ) -> Fallible<Bridges> {
        let env = env(&ctx)?;
        let BridgesCall { fit: options, checkpoints } = taken(options)?;
        let found = env.drawing(&ctx, "circuit::bridges", options.seed, |seed| {
            let options = BridgeOptions { seed, ..options };
            fit(dense.core(), sparse.core(), &text, &options, checkpoints.folder(&env.files), &env.task)
        })?;
        Ok(found.into())
    }

    /// Puts saved bridges between two models again: `bridges` are the dictionaries of all places, in their order.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to be or not to be", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
    /// let b = circuit::bridges(m, m, data::texts(["to be or not to be"]), #{ steps: 1, context: 8, batch: 1, seed: 1 });
    /// circuit::bridged(m, b.sparse, b.dictionaries)  //=> 3 bridges between widths of 8 and 8
    /// ```
    #[rhai_fn(return_raw)]
    pub fn bridged(dense: Model, sparse: Model, bridges: Any) -> Fallible<Bridges> {
        let bridges = given("bridges", &bridges).handles::<Sae>("dictionaries")?;
        let bridges = bridges.into_iter().map(|bridge| bridge.core).collect();
        Ok(Core::new(dense.core(), sparse.core(), bridges)?.into())
    }
}

#[export_module(manifest)]
pub mod methods {
    /// Measures bridges on a text, place by place: the mean squared errors of both maps over the variance of what they
    /// predict; KL(dense || mixed) in nats of passes that begin in the dense model and end in the sparse one (`KL to sparse`)
    /// and of those that begin in the sparse one (`KL to dense`); and the KL of the dense model whose stream is its mean there,
    /// which is what a bridge without any information costs.
    ///
    /// # Options
    /// - [bridges_judge]
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to be or not to be", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["to be or not to be"]);
    /// let b = circuit::bridges(m, m, text, #{ steps: 1, context: 8, batch: 1, seed: 1 });
    /// b.judge(text, #{ context: 8 })["site"]  //=> ["resid_pre.0", "resid_mid.0", "resid_post.0"]
    /// ```
    #[rhai_fn(global, name = "judge", pure, return_raw)]
    pub fn judge_bridges(ctx: NativeCallContext, b: &mut Bridges, text: Text, options: Options) -> Fallible<Table> {
        let options: BridgeJudgeOptions = taken(options)?;
        Ok(b.0.judge(&text, &options, &env(&ctx)?.task)?)
    }

    /// Carries a change of one channel of the sparse model over to the dense one (Gao et al. 2025, appendix A.4): what to add to
    /// what the dense model reads at `site`, [pos, d_model], for the channel that the sparse model reads there to change as from
    /// the `clean` prompt to the `corrupt` one. `hooks::add(site, change, strength)` steers the dense model with it.
    ///
    /// `site` is `attn_in.N` or `mlp_in.N`, and a channel is a coordinate of it, as in the circuits of `circuit::node_pruning`. Both
    /// prompts have as many tokens, and both models read their streams through RMS norms.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to be or not to be", #{ kind: "characters", min_frequency: 1 });
    /// let config = #{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 16, norm: "rms" };
    /// let m = model::init(config, #{ tokenizer: t, seed: 1 });
    /// let b = circuit::bridges(m, m, data::texts(["to be or not to be"]), #{ steps: 1, context: 8, batch: 1, seed: 1 });
    /// let change = b.perturbation("attn_in.0", 3, [1, 2, 3], [1, 4, 3]);
    /// change.shape  //=> [3, 8]
    /// m.logits([1, 2, 3], #{ hooks: hooks::add("attn_in.0", change, 0.5) }).shape == m.logits([1, 2, 3]).shape  //=> true
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn perturbation(
        ctx: NativeCallContext,
        b: &mut Bridges,
        site: &str,
        channel: Int,
        clean: Any,
        corrupt: Any,
    ) -> Fallible<Tensor> {
        let channel = given("channel", &channel).size()?;
        let reader = Model::from(b.0.dense.clone());
        let clean = one_text(&ctx, &reader, "clean", &clean)?;
        let corrupt = one_text(&ctx, &reader, "corrupt", &corrupt)?;
        Ok(b.0.perturbation(site, channel, [&clean, &corrupt], &env(&ctx)?.task)?)
    }

    /// Returns the dense model.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to be or not to be", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
    /// let b = circuit::bridges(m, m, data::texts(["to be or not to be"]), #{ steps: 3, context: 8, batch: 1, seed: 1 });
    /// b.dense.logits([1, 2]).equal(m.logits([1, 2]))  //=> true
    /// ```
    #[rhai_fn(global, get = "dense", pure)]
    pub fn dense(b: &mut Bridges) -> Model {
        b.0.dense.clone().into()
    }

    /// Returns the sparse model, with the weights that the fit gave it.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to be or not to be", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
    /// let options = #{ steps: 1, context: 8, batch: 1, seed: 1, sparse: #{ weights: 0.25, least: 0 } };
    /// let b = circuit::bridges(m, m, data::texts(["to be or not to be"]), options);
    /// (b.sparse.weight("blocks.0.mlp.up.weight") != 0).to("f32").mean()  //=> 0.25
    /// ```
    #[rhai_fn(global, get = "sparse", pure)]
    pub fn sparse(b: &mut Bridges) -> Model {
        b.0.sparse.clone().into()
    }

    /// Returns the dictionaries of all places, in the order of the computation: each reads the stream of the dense model, its
    /// codes are the stream of the sparse model, and it writes the dense model's stream. `save` and `sae::load` keep them.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to be or not to be", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
    /// let b = circuit::bridges(m, m, data::texts(["to be or not to be"]), #{ steps: 3, context: 8, batch: 1, seed: 1 });
    /// let s = b.dictionaries[1];
    /// s  //=> bridge dictionary of 8 features for resid_mid.0
    /// s.encode(m.run([1, 2])["resid_mid.0"]).shape  //=> [1, 2, 8]
    /// ```
    #[rhai_fn(global, get = "dictionaries", pure)]
    pub fn dictionaries(b: &mut Bridges) -> Array {
        b.0.bridges.iter().map(|bridge| Dynamic::from(Sae::from(bridge.clone()))).collect()
    }

    /// Returns the losses of the fit, in at most a hundred rows: steps, and the means since the row before of the losses without
    /// their weights. It is empty where the bridges were not fitted here.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to be or not to be", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
    /// let b = circuit::bridges(m, m, data::texts(["to be or not to be"]), #{ steps: 3, context: 8, batch: 1, seed: 1 });
    /// b.history["step"]  //=> [1, 2, 3]
    /// ```
    #[rhai_fn(global, get = "history", pure)]
    pub fn history(b: &mut Bridges) -> Table {
        let losses: Vec<_> = b.0.losses.iter().map(StepLosses::numbers).collect();
        losses_table(StepLosses::NAMES, &losses)
    }
}
