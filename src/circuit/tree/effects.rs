//! How much a feature of one dictionary falls when features of an earlier one are ablated (Cunningham et al. 2023, section 5
//! and its notebook dictionaries_across_layers).

use super::stage::Stage;
use crate::base::{Result, Task};
use crate::err;
use crate::model::Model;
use crate::model::batch::Batch;
use crate::model::decoder::Variants;
use crate::model::run::Ask;
use crate::sae::Sae;
use crate::tensor::{DType, Tensor};

/// At most so many numbers of keys and values are made of variants at a time.
const AT_ONCE: usize = 1 << 25;

/// What is left out of a relative effect whose denominator is 0; the authors' notebook has it.
const SMALL: f64 = 1e-10;

/// What is done to a feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Way {
    /// x - c_f d_f at all positions; the effect is what the target loses, (orig - ablated) / orig.
    #[default]
    Ablate,
    /// 0 + c_f d_f at all positions: what a feature does on its own. The effect is what the target then has, over orig.
    Restore,
}

/// How the target is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Read {
    /// As its dictionary encodes, selection included.
    #[default]
    Code,
    /// Before its activation function.
    Pre,
}

/// What a target loses by the features of an earlier dictionary, on average over texts.
#[derive(Debug, Clone, PartialEq)]
pub struct Effects {
    /// Feature by feature: the mean over texts of (orig - ablated) / orig.
    pub mean: Vec<f64>,
    /// In how many of the texts each feature is active.
    pub active: Vec<u32>,
    /// How many variants were computed.
    pub variants: usize,
}

/// How much feature `target` of `to` at the last token of each text depends on each feature of `from`.
///
/// A feature that is not active in a text has no effect there, exactly, since nothing is taken off; it is not computed.
pub fn effects(
    model: &Model,
    (from, to): (&Stage, &Stage),
    target: usize,
    texts: &[Vec<u32>],
    (way, read): (Way, Read),
    task: &Task,
) -> Result<Effects> {
    let mut found = Effects { mean: vec![0.0; from.sae.d_sae()], active: vec![0; from.sae.d_sae()], variants: 0 };
    for tokens in texts {
        task.check()?;
        let text = Text::of(model, from, tokens, task)?;
        let (features, codes) = text.read(model, to, target, (way, read), task)?;
        found.variants += features.len();
        let Some((original, changed)) = codes.split_last() else { continue };
        for (feature, changed) in features.iter().zip(changed) {
            let effect = match way {
                Way::Ablate => (original - changed + SMALL) / (original + SMALL),
                Way::Restore => (changed + SMALL) / (original + SMALL),
            };
            if !effect.is_finite() {
                return Err(err!(
                    Numeric,
                    "expected finite activations of feature {target}, found {original} and {changed}"
                ));
            }
            found.mean[*feature as usize] += effect / texts.len() as f64;
            found.active[*feature as usize] += 1;
        }
    }
    Ok(found)
}

/// One text and what its features are, at the site of the earlier dictionary.
struct Text<'a> {
    tokens: &'a [u32],
    from: &'a Stage,
    /// `[pos, d_model]`.
    stream: Tensor,
    /// Every code that is not 0: its feature and its column, feature by feature.
    places: Vec<(u32, usize)>,
    /// What each writes: `[codes, d_model]`.
    written: Tensor,
}

impl<'a> Text<'a> {
    fn of(model: &Model, from: &'a Stage, tokens: &'a [u32], task: &Task) -> Result<Self> {
        let batch = Batch::new(vec![tokens.to_vec()])?;
        let ask = Ask { places: vec![from.place], ..Ask::default() };
        let stream = model.decoder.cache(&batch, ask, task)?.at(from.place)?.squeeze(0)?;
        let codes = from.sae.encode(&stream.to_dtype(DType::F32)?)?.t()?.to_vec2::<f32>()?;
        let (mut places, mut values) = (Vec::new(), Vec::new());
        for (feature, codes) in codes.iter().enumerate() {
            for (column, code) in codes.iter().enumerate().filter(|(_, code)| **code != 0.0) {
                places.push((feature as u32, column));
                values.push(*code);
            }
        }
        let written = of_codes(&from.sae, &stream, &places, values)?;
        Ok(Self { tokens, from, stream, places, written })
    }

    /// The features that are active, and the target's codes where each was changed; the last one where none was.
    fn read(
        &self,
        model: &Model,
        to: &Stage,
        target: usize,
        (way, read): (Way, Read),
        task: &Task,
    ) -> Result<(Vec<u32>, Vec<f64>)> {
        let mut features: Vec<u32> = self.places.iter().map(|(feature, _)| *feature).collect();
        features.dedup();
        let each = self.stream.elem_count().max(1);
        let mut codes = Vec::with_capacity(features.len() + 1);
        for part in features.chunks((AT_ONCE / each).max(1)) {
            codes.extend(self.part(model, to, target, (way, read), part, task)?);
        }
        let nothing = self.written.narrow(0, 0, 0)?;
        let clean = self.variants(&self.stream, &nothing, &[], 1);
        codes.extend(self.target(model, to, target, read, &clean, task)?);
        Ok((features, codes))
    }

    fn part(
        &self,
        model: &Model,
        to: &Stage,
        target: usize,
        (way, read): (Way, Read),
        features: &[u32],
        task: &Task,
    ) -> Result<Vec<f64>> {
        let (Some(first), Some(last)) = (features.first(), features.last()) else { return Ok(Vec::new()) };
        let start = self.places.partition_point(|(feature, _)| feature < first);
        let end = self.places.partition_point(|(feature, _)| feature <= last);
        let here = self.places.get(start..end).unwrap_or_default();
        let mut places = Vec::with_capacity(here.len());
        let (mut variant, mut before) = (0, *first);
        for (feature, column) in here {
            variant += usize::from(*feature != before);
            before = *feature;
            places.push((variant, *column));
        }
        let written = self.written.narrow(0, start, end - start)?;
        let (stream, changed) = match way {
            Way::Ablate => {
                let columns: Vec<u32> = here.iter().map(|(_, column)| *column as u32).collect();
                let columns = Tensor::new(columns, self.stream.device())?;
                (self.stream.clone(), (self.stream.index_select(&columns, 0)? - written)?)
            }
            Way::Restore => (self.stream.zeros_like()?, written),
        };
        let variants = self.variants(&stream, &changed, &places, features.len());
        self.target(model, to, target, read, &variants, task)
    }

    fn variants<'b>(
        &'b self,
        stream: &'b Tensor,
        changed: &'b Tensor,
        places: &'b [(usize, usize)],
        count: usize,
    ) -> Variants<'b> {
        Variants { tokens: self.tokens, stream, changed, places, count }
    }

    /// The target's code at the last token of each variant.
    fn target(
        &self,
        model: &Model,
        to: &Stage,
        target: usize,
        read: Read,
        variants: &Variants,
        task: &Task,
    ) -> Result<Vec<f64>> {
        let last = model.decoder.last_of_variants(variants, self.from.block..to.block, task)?;
        let last = last.to_dtype(DType::F32)?;
        let codes = match read {
            Read::Code => to.sae.encode(&last)?,
            Read::Pre => to.sae.pre_activations(&last)?,
        };
        let codes = codes.narrow(1, target, 1)?.squeeze(1)?.to_dtype(DType::F64)?;
        Ok(codes.to_vec1()?)
    }
}

/// What codes at certain columns write.
fn of_codes(sae: &Sae, stream: &Tensor, places: &[(u32, usize)], codes: Vec<f32>) -> Result<Tensor> {
    let columns: Vec<u32> = places.iter().map(|(_, column)| *column as u32).collect();
    let features: Vec<u32> = places.iter().map(|(feature, _)| *feature).collect();
    if codes.is_empty() {
        return Ok(Tensor::zeros((0, sae.d_out()), stream.dtype(), stream.device())?);
    }
    let x = stream.to_dtype(DType::F32)?.index_select(&Tensor::new(columns, stream.device())?, 0)?;
    let codes = Tensor::new(codes, stream.device())?;
    Ok(sae.written_by(&x, &features, &codes)?.to_dtype(stream.dtype())?)
}
