//! Predictions of a model with single features ablated: only what comes after the change is computed.

use super::text_codes::finite;
use crate::common::*;
use crate::intervene::OnFeatures;
use crate::intervene::features::FeatureChoice;
use crate::model::config::Order;
use crate::model::decoder::{BegunTexts, Past};
use crate::model::hooks::{Action, Chain};
use crate::model::site::select;
use crate::sae::splice::ErrorTreatment;
use crate::sae::{Sae, SparseCodes};

/// The number of tokens in a batch of the model, about.
const AT_ONCE: usize = 1 << 12;

/// A feature that is zero-ablated at all positions of a row of tokens, the reconstruction error kept, and the columns
/// of the row whose next token is predicted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ablation {
    pub row: usize,
    pub feature: usize,
    pub columns: Vec<usize>,
}

impl Ablation {
    /// Returns the end of the part of the row that matters: in a causal model, up to the last column.
    fn end(&self, config: &Config, row: &[u32]) -> Result<usize> {
        let last = self.columns.iter().max().filter(|column| **column < row.len());
        let last = last.ok_or_else(|| err!(Bug, "columns {:?} of a row of {} tokens", self.columns, row.len()))?;
        Ok(if config.causal { last + 1 } else { row.len() })
    }
}

/// Passes to `found` the index of each request and the logits after its columns, `[columns, vocab]`: see [`ends`].
pub fn logits(
    model: &Model,
    sae: &Sae,
    place: Place,
    rows: &[Vec<u32>],
    ablations: &[Ablation],
    found: &mut dyn FnMut(usize, &Tensor) -> Result<()>,
    task: &Task,
) -> Result<()> {
    let mut take = |requests: &[RequestEnd], end: &PassEnd| {
        let logits = model.decoder.logits_of(end, 0..end.points()?, task)?;
        requests.iter().try_for_each(|RequestEnd { number, points }| {
            found(*number, &logits.narrow(0, points.start, points.len())?)
        })
    };
    ends(model, sae, place, rows, ablations, &mut take, task)
}

/// The index of a request, and the points of a pass that are behind its columns.
pub struct RequestEnd {
    pub number: usize,
    pub points: Range<usize>,
}

/// Passes to `found` some requests, with the end of a pass behind their columns.
///
/// Where the change is one of the residual stream, everything before it is computed once for all features of a row,
/// then only the blocks after it, from the first changed column on; after the last block only the logits of the
/// columns.
pub fn ends(
    model: &Model,
    sae: &Sae,
    place: Place,
    rows: &[Vec<u32>],
    ablations: &[Ablation],
    found: &mut dyn FnMut(&[RequestEnd], &PassEnd) -> Result<()>,
    task: &Task,
) -> Result<()> {
    let config = model.decoder.config();
    let bar = task.begin("running without features", Some(ablations.len() as u64));
    let Some((stream, block)) = in_stream(config, place)? else {
        for (number, ablation) in ablations.iter().enumerate() {
            let end = whole(model, sae, place, rows, ablation, task)?;
            found(&[RequestEnd { number, points: 0..ablation.columns.len() }], &end)?;
            bar.advance(1);
        }
        return Ok(());
    };
    let behind = LaterBlocks { model, sae, places: [place, stream], blocks: block..config.layers, task };
    let mut by_row: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    ablations.iter().enumerate().for_each(|(number, ablation)| by_row.entry(ablation.row).or_default().push(number));
    let by_row: Vec<(usize, Vec<usize>)> = by_row.into_iter().collect();
    let longest = rows.iter().map(Vec::len).max().unwrap_or(1);
    for part in by_row.chunks((AT_ONCE / longest.max(1)).max(1)) {
        for (text, (_, numbers)) in behind.clean_rows(part, rows, ablations)?.iter().zip(part) {
            let mut variants: Vec<Variant> =
                numbers.iter().map(|number| text.variant(*number, &ablations[*number])).collect();
            // Those that begin at about the same column go together.
            variants.sort_by_key(|variant| (variant.start, variant.number));
            for variants in variants.chunks((AT_ONCE / text.batch.width()).max(1)) {
                let mut first = 0;
                let request = |variant: &Variant| {
                    first += variant.columns.len();
                    RequestEnd { number: variant.number, points: first - variant.columns.len()..first }
                };
                let requests: Vec<RequestEnd> = variants.iter().map(request).collect();
                found(&requests, &behind.end(text, variants)?)?;
                bar.advance(variants.len() as u64);
            }
        }
    }
    Ok(())
}

/// Returns the site of the residual stream where a change of a site is the same change, and the first block that reads
/// it there.
fn in_stream(config: &Config, place: Place) -> Result<Option<(Place, usize)>> {
    let Site { kind, layer } = place.site;
    let (name, block) = match kind {
        // The inputs of layers are made of embeddings, too.
        SiteKind::Embed if config.layer_inputs.is_some() => return Ok(None),
        // The stream is the norm of the sum with it.
        SiteKind::Embed | SiteKind::MlpOut | SiteKind::AttnOut if config.stream_norm => return Ok(None),
        SiteKind::Embed | SiteKind::ResidPre => (format!("resid_pre.{layer}"), layer),
        SiteKind::ResidPost => (format!("resid_post.{layer}"), layer + 1),
        // Unless something after them in the block reads what they have written, or scales it.
        _ if config.layer_inputs.is_some() || config.layer_scale => return Ok(None),
        SiteKind::MlpOut => (format!("resid_post.{layer}"), layer + 1),
        SiteKind::AttnOut if config.order != Order::Serial => (format!("resid_post.{layer}"), layer + 1),
        _ => return Ok(None),
    };
    match select(config, &name)?[..] {
        [stream] => Ok(Some((stream, block))),
        ref places => Err(err!(Bug, "{} places of the name {name}", places.len())),
    }
}

/// The computation after a site, the same for all rows.
struct LaterBlocks<'a> {
    model: &'a Model,
    sae: &'a Sae,
    /// The site that the dictionary reads, and the site of the residual stream that changes as it does.
    places: [Place; 2],
    blocks: Range<usize>,
    task: &'a Task,
}

/// A row of tokens up to its last column, and its clean residual stream.
struct CleanRow {
    batch: Batch,
    /// The input of the dictionary, `[pos, d_in]`.
    input: Tensor,
    codes: SparseCodes,
    /// The residual stream `[pos, d_model]`.
    stream: Tensor,
}

/// A row with one feature ablated.
struct Variant<'a> {
    number: usize,
    feature: usize,
    columns: &'a [usize],
    /// The columns where the feature is active, with its activations.
    changes: Vec<(usize, f32)>,
    /// The first column that is changed or predicted from.
    start: usize,
}

impl CleanRow {
    fn variant<'a>(&self, number: usize, ablation: &'a Ablation) -> Variant<'a> {
        let codes = (0..self.codes.rows()).map(|column| (column, self.codes.code(column, ablation.feature)));
        let changes: Vec<(usize, f32)> = codes.filter(|(_, code)| *code != 0.0).collect();
        let first = changes.first().map(|(column, _)| *column);
        let start = ablation.columns.iter().copied().chain(first).min().unwrap_or_default();
        Variant { number, feature: ablation.feature, columns: &ablation.columns, changes, start }
    }
}

impl LaterBlocks<'_> {
    /// Runs clean rows, each up to its last column.
    fn clean_rows(
        &self,
        part: &[(usize, Vec<usize>)],
        rows: &[Vec<u32>],
        ablations: &[Ablation],
    ) -> Result<Vec<CleanRow>> {
        let config = self.model.decoder.config();
        let cut = |(row, numbers): &(usize, Vec<usize>)| -> Result<Vec<u32>> {
            let row = rows.get(*row).ok_or_else(|| err!(Bug, "row {row} of {}", rows.len()))?;
            let ends = numbers.iter().map(|number| ablations[*number].end(config, row)).collect::<Result<Vec<_>>>()?;
            Ok(row.iter().take(ends.into_iter().max().unwrap_or_default()).copied().collect())
        };
        let batch = Batch::new(part.iter().map(cut).collect::<Result<_>>()?)?;
        let cache =
            self.model.decoder.cache(&batch, Ask { places: self.places.to_vec(), ..Ask::default() }, self.task)?;
        let [input, stream] = [cache.at(self.places[0])?, cache.at(self.places[1])?];
        let of_row = |(number, tokens): (usize, &Vec<u32>)| -> Result<CleanRow> {
            let own = |x: &Tensor| -> Result<Tensor> { Ok(x.get(number)?.narrow(0, 0, tokens.len())?.contiguous()?) };
            let input = dtype::convert(&own(&input)?, self.sae.parts().encoder.dtype())?.to_device(&Device::Cpu)?;
            finite(&input, self.places[0])?;
            let codes = self.sae.encode_sparse(&input, self.task)?;
            Ok(CleanRow { batch: Batch::new(vec![tokens.clone()])?, input, codes, stream: own(&stream)? })
        };
        batch.rows().iter().enumerate().map(of_row).collect()
    }

    /// Returns the end of a pass behind the columns of some variants, one variant after the other.
    fn end(&self, text: &CleanRow, variants: &[Variant]) -> Result<PassEnd> {
        let (all, firsts) = self.streams(text, variants)?;
        let width = text.batch.width();
        let source = |number: usize, column: usize| -> u32 {
            let place = variants[number].changes.binary_search_by_key(&column, |(column, _)| *column);
            place.map_or(column, |place| width + firsts[number] + place) as u32
        };
        let columns =
            || variants.iter().enumerate().flat_map(|(number, v)| v.columns.iter().map(move |c| (number, *c)));
        let chosen =
            |x: &Tensor, rows: Vec<u32>| -> Result<Tensor> { Ok(x.index_select(&Tensor::new(rows, x.device())?, 0)?) };
        if self.blocks.is_empty() {
            let x = chosen(&all, columns().map(|(number, column)| source(number, column)).collect())?;
            return self.model.decoder.end_behind(&x, self.task);
        }
        // In a bidirectional model nothing stays unchanged, and no state of a recurrent layer but the last is kept.
        let start = if self.model.decoder.config().continues_anywhere() {
            variants.iter().map(|variant| variant.start).min().unwrap_or_default()
        } else {
            0
        };
        let each = (0..variants.len()).flat_map(|number| (start..width).map(move |column| (number, column)));
        let x = chosen(&all, each.map(|(number, column)| source(number, column)).collect())?;
        let x = x.reshape((variants.len(), width - start, ()))?;
        let x = self.behind(text, start, x)?.flatten(0, 1)?;
        let at = columns().map(|(number, column)| (number * (width - start) + column - start) as u32);
        self.model.decoder.end_behind(&chosen(&x, at.collect())?, self.task)
    }

    /// Returns the residual stream after the last block in variants of a text, from a column on.
    fn behind(&self, text: &CleanRow, start: usize, x: Tensor) -> Result<Tensor> {
        let decoder = &self.model.decoder;
        let blocks = self.blocks.clone();
        let past = match start {
            0 => Past::new(),
            _ => decoder.remembered(&text.batch, text.stream.unsqueeze(0)?, blocks.clone(), self.task)?,
        };
        let which = vec![0; x.dim(0)?];
        let begun = BegunTexts { batch: &text.batch, past: &past, which: &which, start };
        decoder.behind_from(&begun, x, blocks, self.task)
    }

    /// Returns the residual stream of a text with what takes its place below it, variant by variant; and where that of
    /// each begins.
    fn streams(&self, text: &CleanRow, variants: &[Variant]) -> Result<(Tensor, Vec<usize>)> {
        let mut columns = Vec::new();
        let mut features = Vec::new();
        let mut codes = Vec::new();
        let mut firsts = Vec::new();
        for variant in variants {
            firsts.push(columns.len());
            for (column, code) in &variant.changes {
                columns.push(*column as u32);
                features.push(variant.feature as u32);
                codes.push(*code);
            }
        }
        if columns.is_empty() {
            return Ok((text.stream.clone(), firsts));
        }
        let columns = Tensor::new(columns, &Device::Cpu)?;
        let codes = dtype::convert(&Tensor::new(codes, &Device::Cpu)?, text.input.dtype())?;
        let written = self.sae.written_by(&text.input.index_select(&columns, 0)?, &features, &codes)?;
        let written = dtype::convert(&written, text.stream.dtype())?.to_device(text.stream.device())?;
        let clean = text.stream.index_select(&columns.to_device(text.stream.device())?, 0)?;
        Ok((Tensor::cat(&[&text.stream, &(clean - written)?], 0)?, firsts))
    }
}

/// Returns the end of a pass of the whole model with a hook, for any site.
fn whole(
    model: &Model,
    sae: &Sae,
    place: Place,
    rows: &[Vec<u32>],
    ablation: &Ablation,
    task: &Task,
) -> Result<PassEnd> {
    let config = model.decoder.config();
    let row = rows.get(ablation.row).ok_or_else(|| err!(Bug, "row {} of {}", ablation.row, rows.len()))?;
    let batch = Batch::new(vec![row.iter().take(ablation.end(config, row)?).copied().collect()])?;
    let which = FeatureChoice::Only(vec![ablation.feature]);
    let hook = OnFeatures::new(sae.clone(), &which, ErrorTreatment::Kept, Box::new(Action::Zero.begin()))?;
    let hook = hook.at(config, &place.to_string(), None)?;
    let points: Vec<(usize, usize)> = ablation.columns.iter().map(|column| (0, *column)).collect();
    let mut chain = Chain { hooks: vec![hook], ..Chain::default() };
    model.decoder.end_at(&batch, &points, &mut chain, None, task)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::samples::plain;
    use crate::fixtures::{configs, decoder};
    use crate::sae::{About, Activation, Parts, Scaling};

    /// Builds a dictionary whose features are active at some positions and inactive at others.
    fn dictionary(d: usize, scaling: Scaling) -> Sae {
        let draw = |rows: usize, seed: f32| {
            let numbers = (0..rows * d).map(|i| ((i as f32 + seed) * 0.7).sin()).collect::<Vec<_>>();
            Tensor::from_vec(numbers, (rows, d), &Device::Cpu).unwrap()
        };
        let parts = Parts {
            activation: Activation::TopK(3),
            decoder_bias: Some(draw(1, 3.0).squeeze(0).unwrap()),
            centred: true,
            scaling,
            about: About { kind: "topk".into(), ..About::default() },
            ..plain(draw(12, 1.0), draw(12, 2.0))
        };
        Sae::new(parts).unwrap()
    }

    #[test]
    fn it_is_what_a_hook_and_a_whole_pass_find_in_every_shape_of_model_and_at_every_place() {
        let task = Task::default();
        let rows = vec![vec![1, 4, 2, 0, 3, 5], vec![5, 1], vec![2, 2, 7, 1]];
        let columns: [(usize, &[usize]); 4] = [(0, &[4, 2]), (1, &[1]), (0, &[3]), (2, &[0, 3])];
        let mut in_stream = 0;
        let mut changed = 0;
        for config in configs() {
            let decoder = decoder(config, DType::F32);
            let config = decoder.config().clone();
            let model = Model::new(decoder, None, "");
            let sites = [
                "embed",
                "resid_pre.*",
                "attn_out.*",
                "resid_mid.*",
                "mlp_in.*",
                "mlp_out.*",
                "resid_post.*",
                "final_norm",
            ];
            let places = sites.iter().filter_map(|site| select(&config, site).ok()).flatten();
            for (number, place) in places.enumerate() {
                let scaling = if number % 2 == 0 { Scaling::None } else { Scaling::LayerNorm };
                let sae = dictionary(config.d_model, scaling);
                let each = (0..12).flat_map(|feature| columns.iter().map(move |(row, of)| (feature, *row, *of)));
                let ablations: Vec<Ablation> =
                    each.map(|(feature, row, of)| Ablation { row, feature, columns: of.to_vec() }).collect();
                let mut seen = vec![0; ablations.len()];
                let mut compare = |number: usize, logits: &Tensor| {
                    seen[number] += 1;
                    let end = whole(&model, &sae, place, &rows, &ablations[number], &task)?;
                    let expected = model.decoder.logits_of(&end, 0..end.points()?, &task)?;
                    let gap: f32 = (logits - &expected)?.abs()?.max_all()?.to_scalar()?;
                    let most: f32 = expected.abs()?.max_all()?.to_scalar()?;
                    assert!(
                        gap < 1e-4 * (1.0 + most),
                        "{gap} of {most} at {place}, {:?}: {config:?}",
                        ablations[number]
                    );
                    let batch = Batch::new(vec![rows[ablations[number].row].clone()])?;
                    let clean =
                        model.decoder.logits(&batch, Vec::new(), &task)?.get(0)?.get(ablations[number].columns[0])?;
                    changed += usize::from((clean - expected.get(0)?)?.abs()?.max_all()?.to_scalar::<f32>()? > 1e-3);
                    Ok(())
                };
                logits(&model, &sae, place, &rows, &ablations, &mut compare, &task).unwrap();
                assert!(seen.iter().all(|times| *times == 1), "{seen:?}");
                in_stream += usize::from(super::in_stream(&config, place).unwrap().is_some());
            }
        }
        // Both ways are taken, and features do something.
        assert!(in_stream > 40 && changed > 1000, "{in_stream} {changed}");
    }
}
