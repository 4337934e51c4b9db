//! Granite 3 (Granite Team 2024): as llama, with factors of embeddings, scores, writes to the residual stream and
//! logits.

use super::llama;
use super::prelude::*;

pub(super) const FAMILY: Family = Family::like_llama("granite", read);

fn read(keys: &mut Keys) -> Result<Config> {
    let config = llama::read(keys)?;
    scaled(keys, Config { family: FAMILY.name.into(), ..config })
}

/// Adds the factors to a config.
pub(super) fn scaled(keys: &mut Keys, config: Config) -> Result<Config> {
    let divisor = keys.number("logits_scaling", 1.0)?;
    if divisor == 0.0 {
        return Err(err!(Format, "expected `logits_scaling` other than 0, by which logits are divided"));
    }
    let factor = |x: f64| (x != 1.0).then_some(x);
    Ok(Config {
        score_scale: keys.number("attention_multiplier", 1.0)?,
        embed_scale: factor(keys.number("embedding_multiplier", 1.0)?),
        write_scale: factor(keys.number("residual_multiplier", 1.0)?),
        logit_scale: factor(1.0 / divisor),
        ..config
    })
}
