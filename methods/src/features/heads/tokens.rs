//! Heads and tokens: which tokens a head raises when it attends to the embedding of a token alone, and what vectors that
//! heads write do to logits.
//!
//! The model itself computes it: every layer reads the embedding in place of the residual stream, in texts of one token,
//! where a head can attend to nothing else. So whatever a family has between the stream and values is in it.

use crate::common::*;
use crate::features::logits::promoted_along;
use crate::model::config::NormKind;
use crate::model::hooks::{Action, At, BoundHook, Edit};

/// Approximate number of bytes that a batch records.
const AT_ONCE: usize = 1 << 26;

/// Approximate number of logits that are held at once.
const LOGITS: usize = 1 << 22;

/// The rank within which a token is copied.
pub const COPIED: usize = 5;

/// Number of raised tokens that are kept of each that is read.
const RAISED: usize = 3;

/// A token that a head reads, and what it raises most then.
#[derive(Debug, Clone, PartialEq)]
pub struct RaisedTokens {
    pub token: u32,
    /// The raised tokens, the most raised first.
    pub raised: Vec<u32>,
    /// The rise of the first one's logit above that of the mean logit, before the division by the last norm.
    pub by: f64,
}

/// The findings about one head and tokens.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TokenReading {
    /// The share of tokens that are among the [`COPIED`] most raised when they are read.
    pub copying: f64,
    /// The tokens that were read with what they raise, the largest rises first.
    pub raised: Vec<RaisedTokens>,
}

/// Reads the embeddings of tokens by all heads of some layers: layer by layer.
pub fn read(model: &Model, layers: &[usize], tokens: &[u32], top: usize, task: &Task) -> Result<Vec<TokenReading>> {
    let config = model.decoder.config();
    let heads = config.heads;
    let mut found = vec![TokenReading::default(); layers.len() * heads];
    let bytes = 4 * layers.len() * heads * config.d_model;
    let at_once = (AT_ONCE / bytes.max(1)).clamp(1, 256);
    let bar = task.begin("giving heads tokens", Some((tokens.len() * layers.len()) as u64));
    for tokens in tokens.chunks(at_once) {
        let written = written(&model.decoder, layers, tokens, task)?;
        for (at, (layer, written)) in layers.iter().zip(written).enumerate() {
            let vectors = entering(&model.decoder, *layer, &written.reshape((tokens.len() * heads, config.d_model))?)?;
            let mut take = |place: usize, logits: &[f64]| {
                let reading = &mut found[at * heads + place % heads];
                let token = tokens[place / heads];
                reading.copying += f64::from(u8::from(is_copied(logits, token)));
                reading.raised.push(raised(logits, token));
            };
            logits_of(model, &vectors, &mut take, task)?;
            bar.advance(tokens.len() as u64);
        }
        for reading in &mut found {
            reading.raised.sort_by(|a, b| b.by.total_cmp(&a.by).then(a.token.cmp(&b.token)));
            reading.raised.truncate(top);
        }
    }
    found.iter_mut().for_each(|reading| reading.copying /= tokens.len().max(1) as f64);
    Ok(found)
}

/// Returns the tokens that each of some vectors of a layer's heads, `[vectors, d_model]`, raises most.
pub fn raised_by(model: &Model, layer: usize, vectors: &Tensor, task: &Task) -> Result<Vec<Vec<u32>>> {
    let mut found = Vec::new();
    let vectors = entering(&model.decoder, layer, vectors)?;
    logits_of(model, &vectors, &mut |_, logits| found.push(largest(logits, RAISED)), task)?;
    Ok(found)
}

/// Returns what heads of a layer write, `[vectors, d_model]`, as the residual stream receives it: behind the weights of the
/// norm of the layer's output, where there is one. Its division by the size of the whole output is left out.
pub fn entering(decoder: &Decoder, layer: usize, vectors: &Tensor) -> Result<Tensor> {
    let vectors = vectors.to_dtype(DType::F32)?;
    let config = decoder.config();
    let block = decoder.weights().blocks.get(layer).ok_or_else(|| err!(Bug, "no layer {layer}"))?;
    let Some(norm) = &block.attn_post_norm else { return Ok(vectors) };
    let centred = match config.norm {
        Some(NormKind::Layer) => vectors.broadcast_sub(&vectors.mean_keepdim(1)?)?,
        _ => vectors,
    };
    let Some(weight) = &norm.weight else { return Ok(centred) };
    let weight = weight.to_dtype(DType::F32)?;
    let weight = if config.norm_plus_one { (weight + 1.0)? } else { weight };
    Ok(centred.broadcast_mul(&weight)?)
}

/// Gives the change of logits by each of some vectors to `take`, a few at a time.
fn logits_of(model: &Model, vectors: &Tensor, take: &mut dyn FnMut(usize, &[f64]), task: &Task) -> Result<()> {
    let count = vectors.dim(0)?;
    let at_once = (LOGITS / model.decoder.config().outputs().max(1)).clamp(1, 1024);
    for start in (0..count).step_by(at_once) {
        task.check()?;
        let part = vectors.narrow(0, start, at_once.min(count - start))?;
        for (place, logits) in promoted_along(model, &part)?.iter().enumerate() {
            take(start + place, logits);
        }
    }
    Ok(())
}

/// Returns what every head of some layers writes when it attends to the embedding of a token alone: `[tokens, heads, d_model]`
/// for each layer.
pub fn written(decoder: &Decoder, layers: &[usize], tokens: &[u32], task: &Task) -> Result<Vec<Tensor>> {
    let config = decoder.config();
    let batch = Batch::new(tokens.iter().map(|token| vec![*token]).collect())?;
    let mut hooks = Vec::new();
    if SiteKind::PosEmbed.exists(config) {
        hooks.push(BoundHook::new(config, "pos_embed", None, None, Box::new(Action::Zero.begin()))?);
    }
    hooks.push(BoundHook::new(config, "resid_pre.*", None, None, Box::new(FirstStream::default()))?);
    let place = |layer: usize| Place { site: Site::new(SiteKind::HeadOut, layer), head: None };
    let places = layers.iter().map(|layer| place(*layer)).collect();
    let cache = decoder.cache(&batch, Ask { hooks, places, ..Ask::default() }, task)?;
    layers.iter().map(|layer| Ok(cache.at(place(*layer))?.detach().squeeze(1)?.contiguous()?)).collect()
}

/// A hook that gives every layer the stream that the first one reads.
#[derive(Default)]
struct FirstStream(Option<Tensor>);

impl Edit for FirstStream {
    fn edit(&mut self, _: &At, _: Place, _: Option<&[i64]>, x: &Tensor) -> Result<Option<Tensor>> {
        if let Some(first) = &self.0 {
            return Ok(Some(first.clone()));
        }
        self.0 = Some(x.clone());
        Ok(None)
    }
}

/// Returns whether a token is among those with the largest logits.
fn is_copied(logits: &[f64], token: u32) -> bool {
    let own = logits.get(token as usize).copied().unwrap_or(f64::NEG_INFINITY);
    own > 0.0 && logits.iter().filter(|logit| **logit > own).count() < COPIED
}

fn raised(logits: &[f64], token: u32) -> RaisedTokens {
    let raised = largest(logits, RAISED);
    let by = raised.first().and_then(|first| logits.get(*first as usize)).copied().unwrap_or_default();
    RaisedTokens { token, raised, by }
}

/// Returns the tokens with the largest logits, the largest first; the lower id of equal ones.
fn largest(logits: &[f64], count: usize) -> Vec<u32> {
    let mut found: Vec<u32> = Vec::new();
    for token in 0..logits.len() as u32 {
        let logit = logits[token as usize];
        let place = found.iter().position(|other| logit > logits[*other as usize]).unwrap_or(found.len());
        if place < count {
            found.insert(place, token);
            found.truncate(count);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_logits_come_first() {
        assert_eq!(largest(&[0.5, -1.0, 2.0, 2.0, 1.0], 3), [2, 3, 4]);
        assert_eq!(largest(&[0.5], 3), [0]);
    }

    #[test]
    fn a_token_is_copied_where_few_are_raised_more() {
        let logits = [5.0, 4.0, 3.0, 2.0, 1.0, 0.5, -9.0];
        assert!((0..5).all(|token| is_copied(&logits, token)));
        assert!(!is_copied(&logits, 5));
        // One that no token is raised above is not copied where it is lowered, too.
        assert!(!is_copied(&[0.0, 0.0], 1));
    }
}
