//! One head of the model, and how its queries and keys are made.

use super::head::{ScoredHead, key_of_largest};
use super::rows::Rows;
use crate::common::*;
use crate::model::config::{NormKind, QkNorm};
use crate::model::weights::{Attention, Linear, Norm};
use kernels::Reach;

pub struct ModelHead<'a> {
    pub decoder: &'a Decoder,
    pub layer: usize,
    pub head: usize,
}

impl ScoredHead for ModelHead<'_> {
    fn name(&self) -> String {
        self.scores().to_string()
    }

    fn layer(&self) -> usize {
        self.layer
    }

    fn keys_from(&self) -> usize {
        self.decoder.config().keys_from(self.layer).unwrap_or(self.layer)
    }

    fn reach(&self) -> Reach<'static> {
        let config = self.decoder.config();
        Reach { causal: config.causal, window: config.window(self.layer), ..Reach::default() }
    }

    fn scale(&self) -> f64 {
        self.decoder.config().score_scale_of(self.layer)
    }

    fn cap(&self) -> Option<f64> {
        self.decoder.config().score_cap
    }

    fn position_bias(&self, to: usize) -> Option<f64> {
        let alibi = self.decoder.config().alibi_of(self.layer, Some(&[self.head]));
        alibi.map(|alibi| f64::from(alibi.bias(0, to)))
    }

    fn place(&self) -> Option<Place> {
        Some(self.scores())
    }

    fn largest(&self, batch: &Batch, from: usize, task: &Task) -> Result<usize> {
        let places = vec![Place { head: None, ..self.scores() }];
        let ask = Ask { places, positions: Some(vec![from as i64]), ..Ask::default() };
        let scores = self.decoder.cache(batch, ask, task)?.at(self.scores())?.get(0)?;
        let scores = floats(&scores.flatten_all()?)?;
        let reach = self.reach();
        key_of_largest(scores.into_iter().enumerate().filter(|(key, _)| reach.sees(0, from, *key)))
    }

    fn score(&self, cache: &Cache, to: usize) -> Result<f64> {
        let scores = cache.at(Place { head: None, ..self.scores() })?.get(0)?.get(self.head)?.get(0)?;
        Ok(floats(&scores.get(to)?.unsqueeze(0)?)?[0])
    }

    fn query(&self, position: usize, input: &Rows) -> Result<Rows> {
        let attn = self.attention(self.layer)?;
        let read = match attn.latent.as_ref().and_then(|maps| maps.q.as_ref()) {
            Some(map) => self.latent(&input.mapped(&map.map)?, &map.norm)?,
            None => input.clone(),
        };
        let q = self.of_head(&read, &attn.q, attn.q_norm.as_ref(), self.head, self.decoder.config().heads)?;
        q.changed(|rows| self.decoder.rotated_at(self.layer, position, rows))
    }

    fn key(&self, position: usize, input: &Rows) -> Result<Rows> {
        let config = self.decoder.config();
        let layer = self.keys_from();
        let attn = self.attention(layer)?;
        let heads = config.kv_heads_of(layer);
        let head = config.kv_head(layer, self.head);
        let k = match &attn.latent {
            Some(maps) => {
                let read = self.latent(&input.mapped(&maps.kv.map)?, &maps.kv.norm)?;
                let keys = attn.k.as_ref().ok_or_else(|| err!(Bug, "latent attention without keys"))?;
                let own = self.of_head(&read, keys, None, head, heads)?;
                own.beside(&input.mapped(&maps.k_shared)?)?
            }
            None => self.of_head(input, attn.keys()?, attn.k_norm.as_ref(), head, heads)?,
        };
        k.changed(|rows| self.decoder.rotated_at(layer, position, rows))
    }
}

impl ModelHead<'_> {
    /// Returns the place of the head's scores.
    fn scores(&self) -> Place {
        Place { site: Site::new(SiteKind::Scores, self.layer), head: Some(self.head) }
    }

    fn attention(&self, layer: usize) -> Result<&Attention> {
        let block = self.decoder.weights().blocks.get(layer);
        block.ok_or_else(|| err!(Bug, "no layer {layer}"))?.attention()
    }

    /// Applies the norm of a latent.
    fn latent(&self, narrow: &Rows, weight: &Tensor) -> Result<Rows> {
        let config = self.decoder.config();
        let Some((latent, kind)) = config.latent.as_ref().zip(config.norm) else {
            return Err(err!(Bug, "a latent without its config"));
        };
        narrow.divided(kind, latent.norm_eps)?.weighted(Some(weight), config.norm_plus_one)
    }

    /// Applies the map of one head of several, and the norm behind it.
    fn of_head(&self, input: &Rows, map: &Linear, norm: Option<&Norm>, head: usize, heads: usize) -> Result<Rows> {
        let config = self.decoder.config();
        let size = map.weight.dims()[0] / heads;
        let kind = config.norm.unwrap_or(NormKind::Rms);
        let normed = |rows: Rows, norm: &Norm| {
            rows.divided(kind, config.norm_eps)?
                .weighted(norm.weight.as_ref(), config.norm_plus_one)?
                .shifted(norm.bias.as_ref())
        };
        // A norm of all heads together needs all of them.
        if let (QkNorm::Whole, Some(norm)) = (config.qk_norm, norm) {
            return normed(input.mapped(map)?, norm)?.narrowed(head * size, size);
        }
        let part = |all: &Tensor| all.narrow(0, head * size, size);
        let weight = part(&map.weight.floats()?)?.contiguous()?;
        let rows = input.changed(|rows| Ok(kernels::linear(rows, &weight, None)?))?;
        let rows = rows.shifted(map.bias.as_ref().map(part).transpose()?.as_ref())?;
        match norm {
            Some(norm) => normed(rows, norm),
            None => Ok(rows),
        }
    }
}
