//! The tuned model with MLPs of its base, in all layers or in some.

use crate::common::*;
use crate::diff::ModelPair;

const WHAT: &str = "a hybrid of two models";

/// Returns the tuned model with the MLPs of its base. Attention, embeddings and norms are those of the tuned model.
pub fn hybrid(pair: ModelPair) -> Result<Model> {
    check(pair)?;
    let decoder = with_base_mlps(pair, |_| true)?;
    let [base, tuned] = [pair.base, pair.tuned].map(|model| model.name().to_string());
    Ok(Model::new(decoder, pair.tuned.tokenizer.clone(), format!("{tuned} with the MLPs of {base}")))
}

/// Returns the tuned model's decoder with the MLPs of its base in the chosen layers.
pub(super) fn with_base_mlps(pair: ModelPair, is_chosen: impl Fn(usize) -> bool) -> Result<Decoder> {
    let mut weights = pair.tuned.decoder.weights().clone();
    let base = pair.base.decoder.weights();
    for (layer, (block, of_base)) in weights.blocks.iter_mut().zip(&base.blocks).enumerate() {
        if is_chosen(layer) {
            block.mlp = of_base.mlp.clone();
        }
    }
    Ok(pair.tuned.decoder.with_weights(weights))
}

/// Refuses models whose MLPs cannot take each other's place, and models without an MLP in each layer.
fn check(pair: ModelPair) -> Result<()> {
    for (model, name) in [(pair.base, "base"), (pair.tuned, "tuned")] {
        model.decoder.check_keeps_none(WHAT).map_err(|e| e.about(name))?;
        let config = model.decoder.config();
        let blocks = &model.decoder.weights().blocks;
        let without = blocks.iter().position(|block| block.mlp.is_none() || block.mixture.is_some());
        if let Some(layer) = without {
            let found = if config.experts_of(layer).is_some() { "a mixture of experts" } else { "none" };
            return Err(err!(Argument, "expected a model with one MLP in each layer, found {found} in layer {layer}")
                .hint("an adapter stands beside one MLP, and reads what that reads")
                .about(name));
        }
    }
    let [expected, found] = [pair.base, pair.tuned].map(|model| model.decoder.config());
    for (what, expected, found) in [
        ("layers", expected.layers, found.layers),
        ("dimensions of the residual stream", expected.d_model, found.d_model),
        ("neurons in an MLP", expected.d_mlp, found.d_mlp),
    ] {
        if expected != found {
            return Err(err!(Shape, "expected a model with {expected} {what}, as its base has, found {found}")
                .hint("MLPs take each other's place only in models of one architecture")
                .about("tuned"));
        }
    }
    if expected.act != found.act || expected.gated != found.gated {
        return Err(err!(Argument, "expected the MLPs of both models to have the same activation, found others")
            .hint("MLPs take each other's place only in models of one architecture")
            .about("tuned"));
    }
    Ok(())
}
