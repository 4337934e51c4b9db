//! Effects of features of an earlier dictionary on a feature of a later one: its fall when they are ablated (Cunningham
//! et al. 2023, section 5 and its notebook dictionaries_across_layers).

use super::options::{TreeIntervention, TreeOptions};
use super::read::CodeReader;
use super::stage::Stage;
use crate::common::*;
use crate::model::decoder::Variants;

/// Maximum number of elements of variants computed at a time.
const AT_ONCE: usize = 1 << 24;

/// Number of tokens in a batch of the model up to the site where features are ablated.
const TOKENS: usize = 1 << 13;

/// The number that is added to numerator and denominator of a relative effect, so that one with the denominator 0 is a
/// number; as in the authors' notebook.
const SMALL: f64 = 1e-10;

/// The effects of the features of an earlier dictionary on a target, on average over texts.
#[derive(Debug, Clone, PartialEq)]
pub struct Effects {
    /// The mean over texts of (orig - ablated) / orig, for each feature.
    pub mean: Vec<f64>,
    /// The number of texts in which each feature is active.
    pub active: Vec<u32>,
    /// The number of variants computed.
    pub variants: usize,
}

/// A target of a search: a feature of the later dictionary, and the texts at whose last token it is read.
#[derive(Debug, Clone)]
pub struct EffectTarget {
    pub feature: usize,
    pub texts: Vec<Vec<u32>>,
}

/// Computes how much some features of `to` at the last token of each of their texts depend on each feature of `from`. The
/// texts of all of them are searched side by side.
///
/// The option `way` says how a feature is changed, and `read` how the target is read. A feature that is not active in a
/// text has exactly no effect there, and is not computed. A text in which the target is not active counts as one without
/// effects.
pub fn effects(
    model: &Model,
    from: &Stage,
    to: &Stage,
    targets: &[EffectTarget],
    options: &TreeOptions,
    task: &Task,
) -> Result<Vec<Effects>> {
    let TreeOptions { way, without_first, .. } = *options;
    let mut searches = Vec::with_capacity(targets.len());
    for target in targets {
        let reader = CodeReader::new(&to.sae, target.feature, options.read)?;
        let search = EffectSearch { model, from, to, reader, way, without_first, task };
        searches.push((search, streams(model, from, &target.texts, task)?));
    }
    let texts = targets.iter().zip(&searches).flat_map(|(target, (search, streams))| {
        target.texts.iter().zip(streams).map(move |(tokens, stream)| (search, tokens, stream))
    });
    let of_texts = parallel::of_each(texts, &|(search, tokens, stream)| {
        Task::in_place(|| ActiveText::of(search, tokens, stream)?.read())
    });
    let mut of_texts = of_texts.into_iter();
    let mean =
        |target: &EffectTarget| mean_effects([from, to], target, way, of_texts.by_ref().take(target.texts.len()));
    targets.iter().map(mean).collect()
}

/// Returns the means over the texts of a target.
fn mean_effects(
    [from, to]: [&Stage; 2],
    EffectTarget { feature: target, texts }: &EffectTarget,
    way: TreeIntervention,
    of_texts: impl Iterator<Item = Result<OfText>>,
) -> Result<Effects> {
    let mut found = Effects { mean: vec![0.0; from.sae.d_sae()], active: vec![0; from.sae.d_sae()], variants: 0 };
    for (number, of_text) in of_texts.enumerate() {
        let OfText { original, changed } = of_text?;
        found.variants += changed.len();
        // An inactive target has nothing to lose.
        if original == 0.0 {
            continue;
        }
        for (feature, changed) in changed {
            let effect = match way {
                TreeIntervention::Ablate => (original - changed + SMALL) / (original + SMALL),
                TreeIntervention::Restore => (changed + SMALL) / (original + SMALL),
            };
            if !effect.is_finite() {
                let site = to.place;
                return Err(err!(
                    Numeric,
                    "expected finite codes of feature {target} of {site}, found {original}, and {changed} without \
                     feature {feature} of {}, at the last token of context {number}",
                    from.place
                ));
            }
            found.mean[feature as usize] += effect / texts.len() as f64;
            found.active[feature as usize] += 1;
        }
    }
    Ok(found)
}

/// The settings for every text.
struct EffectSearch<'a> {
    model: &'a Model,
    from: &'a Stage,
    to: &'a Stage,
    reader: CodeReader,
    way: TreeIntervention,
    without_first: usize,
    task: &'a Task,
}

/// The results of one text: the target's activation, clean and with each active feature changed.
struct OfText {
    original: f64,
    changed: Vec<(u32, f64)>,
}

/// Returns the residual stream at the site of a dictionary in each text: `[pos, d_model]`.
fn streams(model: &Model, stage: &Stage, texts: &[Vec<u32>], task: &Task) -> Result<Vec<Tensor>> {
    let width = texts.iter().map(Vec::len).max().unwrap_or(1);
    let mut streams = Vec::with_capacity(texts.len());
    for texts in texts.chunks((TOKENS / width.max(1)).max(1)) {
        let batch = Batch::new(texts.to_vec())?;
        let ask = Ask { places: vec![stage.place], ..Ask::default() };
        let found = model.decoder.cache(&batch, ask, task)?.at(stage.place)?;
        for (row, tokens) in texts.iter().enumerate() {
            let stream = found.get(row)?.narrow(0, 0, tokens.len())?.contiguous()?;
            finite(stage, tokens, &stream)?;
            streams.push(stream);
        }
    }
    Ok(streams)
}

/// Refuses NaN and infinity, which would be hidden by the selection of features.
fn finite(stage: &Stage, tokens: &[u32], stream: &Tensor) -> Result<()> {
    let rows = dtype::convert(stream, crate::tensor::DType::F32)?.to_vec2::<f32>()?;
    for ((position, row), token) in rows.iter().enumerate().zip(tokens) {
        if let Some(column) = row.iter().position(|x| !x.is_finite()) {
            let site = stage.place;
            let found = row[column];
            return Err(err!(
                Numeric,
                "expected finite activations at `{site}`, found {found} in column {column} at position {position} of a \
                 context (token {token})"
            )
            .hint("the model overflows there; load it in f32"));
        }
    }
    Ok(())
}

/// A text, and the features of the earlier dictionary that are active in it.
struct ActiveText<'a> {
    search: &'a EffectSearch<'a>,
    tokens: &'a [u32],
    /// The residual stream `[pos, d_model]`, in the dtype of the dictionary.
    stream: &'a Tensor,
    input: Tensor,
    /// The nonzero activations: the feature, the column and the value of each, feature by feature.
    codes: Vec<(u32, usize, f32)>,
}

impl<'a> ActiveText<'a> {
    fn of(search: &'a EffectSearch<'a>, tokens: &'a [u32], stream: &'a Tensor) -> Result<Self> {
        search.task.check()?;
        let sae = &search.from.sae;
        let input = dtype::convert(stream, sae.parts().encoder.dtype())?;
        let found = sae.encode_sparse(&input, search.task)?;
        let mut codes = Vec::with_capacity(found.count());
        for column in search.without_first..found.rows() {
            let (features, values) = found.row(column);
            codes.extend(features.iter().zip(values).map(|(feature, code)| (*feature, column, *code)));
        }
        codes.sort_unstable_by_key(|(feature, column, _)| (*feature, *column));
        Ok(Self { search, tokens, stream, input, codes })
    }

    fn read(&self) -> Result<OfText> {
        let nothing = self.stream.narrow(0, 0, 0)?;
        let clean = self.target(self.stream, &nothing, &[], 1)?;
        let original = clean.first().copied().ok_or_else(|| err!(Bug, "a text without its target"))?;
        let mut changed = Vec::new();
        for part in self.parts() {
            changed.extend(self.without(part)?);
        }
        Ok(OfText { original, changed })
    }

    /// Splits the activations into parts that are computed together; those of a feature are in one part.
    fn parts(&self) -> Vec<&[(u32, usize, f32)]> {
        let columns = self.tokens.len();
        let d = self.input.elem_count() / self.tokens.len().max(1);
        // Behind one block nothing but the scores is as wide as all columns of a variant.
        let blocks = self.search.to.block - self.search.from.block;
        let of_column = if blocks == 1 { self.search.model.decoder.config().heads } else { 4 * d };
        let mut parts = Vec::new();
        let mut start = 0;
        let mut numbers = 0;
        let mut end = 0;
        for feature in self.codes.chunk_by(|a, b| a.0 == b.0) {
            // Stream, keys and values of each change; and the MLP's hidden layer at the last column.
            let more = 3 * feature.len() * d + columns * of_column + 8 * d;
            if numbers > 0 && numbers + more > AT_ONCE {
                parts.extend(self.codes.get(start..end));
                (start, numbers) = (end, 0);
            }
            numbers += more;
            end += feature.len();
        }
        parts.extend(self.codes.get(start..end).filter(|part| !part.is_empty()));
        parts
    }

    /// Returns the target's activation when each of these features is changed.
    fn without(&self, codes: &[(u32, usize, f32)]) -> Result<Vec<(u32, f64)>> {
        let mut features: Vec<u32> = Vec::new();
        let mut places = Vec::with_capacity(codes.len());
        for (feature, column, _) in codes {
            if features.last() != Some(feature) {
                features.push(*feature);
            }
            places.push((features.len() - 1, *column));
        }
        let written = self.written(codes)?;
        let (stream, changed) = match self.search.way {
            TreeIntervention::Ablate => {
                let columns: Vec<u32> = codes.iter().map(|(_, column, _)| *column as u32).collect();
                let columns = Tensor::new(columns, self.stream.device())?;
                (self.stream.clone(), (self.stream.index_select(&columns, 0)? - written)?)
            }
            TreeIntervention::Restore => {
                let first = self.search.without_first.min(self.tokens.len());
                let rest = self.stream.narrow(0, first, self.tokens.len() - first)?.zeros_like()?;
                (Tensor::cat(&[self.stream.narrow(0, 0, first)?, rest], 0)?, written)
            }
        };
        let found = self.target(&stream, &changed, &places, features.len())?;
        Ok(features.into_iter().zip(found).collect())
    }

    /// Returns what each activation writes: `[codes, d_model]`.
    fn written(&self, codes: &[(u32, usize, f32)]) -> Result<Tensor> {
        let columns: Vec<u32> = codes.iter().map(|(_, column, _)| *column as u32).collect();
        let features: Vec<u32> = codes.iter().map(|(feature, ..)| *feature).collect();
        let values: Vec<f32> = codes.iter().map(|(.., code)| *code).collect();
        let x = self.input.index_select(&Tensor::new(columns, self.input.device())?, 0)?;
        let values = dtype::convert(&Tensor::new(values, self.input.device())?, x.dtype())?;
        dtype::convert(&self.search.from.sae.written_by(&x, &features, &values)?, self.stream.dtype())
    }

    /// Returns the target's activation at the last token of each variant.
    fn target(&self, stream: &Tensor, changed: &Tensor, places: &[(usize, usize)], count: usize) -> Result<Vec<f64>> {
        let EffectSearch { model, from, to, reader, task, .. } = self.search;
        let variants = Variants { tokens: self.tokens, stream, changed, places, count };
        reader.of(&model.decoder.last_of_variants(&variants, from.block..to.block, task)?, task)
    }
}
