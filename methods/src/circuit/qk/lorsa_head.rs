//! One head of a layer's Lorsa, whose queries and keys are those of its group.

use super::head::{ScoredHead, key_of_largest};
use super::lorsas::ReadingLorsa;
use super::rows::Rows;
use crate::common::*;
use crate::model::config::NormKind;
use crate::sae::lorsa::{GroupMap, Lorsa};
use kernels::Reach;

pub struct LorsaHead {
    layer: usize,
    head: usize,
    group: usize,
    lorsa: Lorsa,
    /// The scores of the query for the keys up to it, once it has read the text.
    scores: Vec<f64>,
}

impl LorsaHead {
    /// Finds a head that is named as a node of a graph is, without the position, such as `attn_in.3/17`; none where a site is
    /// named.
    pub fn named(name: &str, lorsas: &BTreeMap<usize, &Lorsa>) -> Result<Option<Self>> {
        let Some((layer, head)) = name.strip_prefix("attn_in.").and_then(|rest| rest.split_once('/')) else {
            return Ok(None);
        };
        let (Ok(layer), Ok(head)) = (layer.parse::<usize>(), head.parse::<usize>()) else {
            return Err(
                err!(Argument, "expected a head of a Lorsa, such as `attn_in.1/17`, found `{name}`").about("site")
            );
        };
        let Some(lorsa) = lorsas.get(&layer) else {
            return Err(err!(Argument, "expected a head of a Lorsa that is given, found `{name}`")
                .hint("Lorsas are an option: #{ lorsas: [l] }")
                .about("site"));
        };
        let lorsa = Lorsa::clone(lorsa);
        let heads = lorsa.heads();
        if head >= heads {
            return Err(err!(Argument, "expected a head of the Lorsa of layer {layer} below {heads}, found {head}")
                .about("site"));
        }
        Ok(Some(Self { layer, head, group: head / lorsa.group_size(), lorsa, scores: Vec::new() }))
    }

    fn mapped(&self, map: &GroupMap, position: usize, input: &Rows) -> Result<Rows> {
        let size = self.lorsa.d_qk();
        let device = input.tensor().device();
        let of_group = |all: &Tensor| -> Result<Tensor> {
            Ok(all.narrow(0, self.group * size, size)?.contiguous()?.to_device(device)?)
        };
        let weight = of_group(&map.weight)?;
        let rows = input.changed(|rows| Ok(kernels::linear(rows, &weight, None)?))?;
        let rows = rows.shifted(Some(&of_group(&map.bias)?))?;
        let rows = match &map.norm {
            Some(norm) => {
                let norm = norm.get(self.group)?.to_device(device)?;
                rows.divided(NormKind::Rms, self.lorsa.norm_eps)?.weighted(Some(&norm), false)?
            }
            None => rows,
        };
        rows.changed(|rows| self.lorsa.rotated_at(position, rows))
    }
}

impl ScoredHead for LorsaHead {
    fn name(&self) -> String {
        format!("{}/{}", Site::new(SiteKind::AttnIn, self.layer), self.head)
    }

    fn layer(&self) -> usize {
        self.layer
    }

    fn reach(&self) -> Reach<'static> {
        Reach { causal: true, ..Reach::default() }
    }

    fn scale(&self) -> f64 {
        self.lorsa.score_scale
    }

    fn read(&mut self, lorsas: &BTreeMap<usize, ReadingLorsa>, from: usize) -> Result<()> {
        let own = lorsas.get(&self.layer).ok_or_else(|| err!(Bug, "a Lorsa that has read no text"))?;
        self.scores = own.scores(self.group, from)?;
        Ok(())
    }

    fn largest(&self, _batch: &Batch, _from: usize, _task: &Task) -> Result<usize> {
        key_of_largest(self.scores.iter().copied().enumerate())
    }

    fn score(&self, _cache: &Cache, to: usize) -> Result<f64> {
        self.scores.get(to).copied().ok_or_else(|| err!(Bug, "a score of position {to}, which was not computed"))
    }

    fn query(&self, position: usize, input: &Rows) -> Result<Rows> {
        self.mapped(&self.lorsa.queries, position, input)
    }

    fn key(&self, position: usize, input: &Rows) -> Result<Rows> {
        self.mapped(&self.lorsa.keys, position, input)
    }
}
