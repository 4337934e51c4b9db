//! Data that lenses are fitted on: the first tokens of prompts, and the layers that are read.

use crate::base::Result;
use crate::err;
use crate::model::config::Config;

/// Returns the layers to read, in order; by default all but the last.
pub fn layers(config: &Config, asked: Option<&[usize]>) -> Result<Vec<usize>> {
    let Some(most) = config.layers.checked_sub(1).filter(|most| *most > 0) else {
        return Err(err!(Argument, "expected a model of at least two layers, found {}", config.layers).about("m"));
    };
    let mut layers = asked.map_or_else(|| (0..most).collect(), <[usize]>::to_vec);
    layers.sort_unstable();
    layers.dedup();
    match layers.iter().find(|layer| **layer >= most) {
        None if layers.is_empty() => Err(err!(Argument, "expected at least one layer, found none").about("layers")),
        None => Ok(layers),
        Some(layer) => Err(err!(Argument, "expected layers below {most}, found {layer}")
            .hint("the last layer is read by the identity")
            .about("layers")),
    }
}

/// Cuts off the first tokens of the first prompts, at most as many as the model reads.
pub fn cut<'a>(prompts: &'a [Vec<u32>], config: &Config, context: usize, count: usize) -> Result<Vec<&'a [u32]>> {
    let most = context.min(config.context);
    let cut: Vec<&[u32]> = prompts.iter().take(count).map(|ids| &ids[..ids.len().min(most)]).collect();
    if cut.is_empty() {
        return Err(err!(Argument, "expected at least one prompt, found none").about("text"));
    }
    if let Some(number) = cut.iter().position(|ids| ids.is_empty()) {
        return Err(err!(Argument, "expected at least one token, found none in prompt {number}").about("text"));
    }
    Ok(cut)
}
