//! Effect on a model of a dictionary that is spliced in at one of its sites.

use std::ops::Range;

use super::predictions::{Cost, Effect, Losses, Predictions, judged};
use crate::bail;
use crate::common::*;
use crate::model::hooks::{At, BoundHook, Edit};
use crate::model::site::{Heads, one_site};
use crate::sae::splice::{ErrorTreatment, Splice, masked};
use crate::sae::{Sae, SitePair, rows};
use crate::tensor::dtype;

/// A text for the evaluation.
#[derive(Debug, Clone, Default)]
pub struct EvaluationText {
    pub ids: Vec<u32>,
    /// Tokens that are skipped, such as BOS: their activations stay as they are, and no prediction at them or of them
    /// counts. Empty where none is.
    pub left_out: Vec<bool>,
    /// The class of each token, for losses by class. Empty without.
    pub classes: Vec<u32>,
}

crate::choices! {
    /// The positions that a KL is a mean over.
    pub enum KlPositions {
        /// Positions count where another token of the row comes next, as for the cross-entropy.
        Predicted = "predicted",
        /// The last of each row, too.
        All = "all",
    }
}

/// Tokens computed at a time, in each run of the model.
const TOKENS: usize = 1 << 12;

/// The passes that do not depend on a dictionary: unchanged, with zeros, and with the mean.
const CONSTANT: usize = 3;

/// Runs the unchanged model, and with the reconstruction, zeros, and the mean over the same texts at the site; compares
/// the predictions, in nats.
///
/// CE recovered = (CE zero - CE spliced) / (CE zero - CE clean), as in Bricken et al. 2023, and likewise for KL(clean
/// || changed); relative to mean ablation it is given as well.
pub fn effect(
    model: &Decoder,
    sites: SitePair,
    sae: &Sae,
    texts: &[EvaluationText],
    kl: KlPositions,
    task: &Task,
) -> Result<Effect> {
    effect_of(model, sites, Splice::new(sae.clone(), ErrorTreatment::Dropped), texts, kl, task)
}

/// Measures the effect of whatever is spliced in, as [`effect`] does for a dictionary.
pub fn effect_of(
    model: &Decoder,
    sites: SitePair,
    splice: Splice,
    texts: &[EvaluationText],
    kl: KlPositions,
    task: &Task,
) -> Result<Effect> {
    let found = effects_over(model, sites, vec![splice], texts, kl, task)?;
    found.into_iter().next().ok_or_else(|| err!(Bug, "a splice without an effect"))
}

/// Measures the effects of several dictionaries in turn; what does not depend on them is run once.
pub fn effects(
    model: &Decoder,
    sites: SitePair,
    saes: &[&Sae],
    texts: &[EvaluationText],
    task: &Task,
) -> Result<Vec<Effect>> {
    let splices = saes.iter().map(|sae| Splice::new((*sae).clone(), ErrorTreatment::Dropped)).collect();
    effects_over(model, sites, splices, texts, KlPositions::Predicted, task)
}

fn effects_over(
    model: &Decoder,
    sites: SitePair,
    splices: Vec<Splice>,
    texts: &[EvaluationText],
    kl: KlPositions,
    task: &Task,
) -> Result<Vec<Effect>> {
    model.config().expect_next_token("the loss with a dictionary in place of its site")?;
    texts.iter().enumerate().try_for_each(|(index, text)| text.check(index))?;
    one_place(model, sites.reads)?;
    let place = one_place(model, sites.writes)?;
    let sums = splices.into_iter().map(|splice| (splice, Predictions::default())).collect();
    let mut judge = SpliceJudge { model, sites, place, mean: None, kl, sums };
    let long: usize = texts.iter().map(|text| text.ids.len()).max().unwrap_or(1);
    let parts: Vec<&[EvaluationText]> = texts.chunks((TOKENS / long.max(1)).max(1)).collect();
    judge.mean = Some(judge.mean_of(&parts, task)?);
    let bar = task.begin("splicing", Some(texts.len() as u64));
    for part in parts {
        judge.add(part, task)?;
        bar.advance(part.len() as u64);
    }
    judge.sums.into_iter().map(|(_, sums)| sums.finish()).collect()
}

fn one_place(model: &Decoder, site: &str) -> Result<Place> {
    let place = one_site(model.config(), site, "ask for each by itself, such as `resid_post.0`")?;
    if place.site.kind.heads() == Heads::Square {
        return Err(err!(Argument, "`{place}` has no activation per position: its axes are queries and keys"));
    }
    Ok(place)
}

impl EvaluationText {
    fn check(&self, index: usize) -> Result<()> {
        for (what, found) in [("marks of what is left out", self.left_out.len()), ("classes", self.classes.len())] {
            if found != 0 && found != self.ids.len() {
                let count = self.ids.len();
                bail!(Shape, "expected {what} for each of the {count} tokens of text {index}, found {found}");
            }
        }
        Ok(())
    }

    /// Returns whether a position counts: one of the text, and not skipped.
    pub fn counts(&self, position: usize) -> bool {
        position < self.ids.len() && !self.left_out.get(position).copied().unwrap_or(false)
    }

    /// Lists the positions where the runs are compared.
    fn targets(&self, kl: KlPositions) -> impl Iterator<Item = ComparedPosition> {
        let counted = (0..self.ids.len()).filter(|position| self.counts(*position));
        counted.filter_map(move |position| {
            let next = self.ids.get(position + 1).copied().filter(|_| self.counts(position + 1));
            let class = self.classes.get(position + 1).copied();
            (next.is_some() || kl == KlPositions::All).then_some(ComparedPosition { position, next, class })
        })
    }
}

/// A position where the runs are compared, with the token that comes next, if it counts, and its class.
struct ComparedPosition {
    position: usize,
    next: Option<u32>,
    class: Option<u32>,
}

struct SpliceJudge<'a> {
    model: &'a Decoder,
    sites: SitePair<'a>,
    place: Place,
    /// Mean of the site that is written.
    mean: Option<Tensor>,
    kl: KlPositions,
    /// The losses of each splice so far.
    sums: Vec<(Splice, Predictions)>,
}

impl SpliceJudge<'_> {
    /// Computes the mean of the site over all tokens that count.
    fn mean_of(&self, parts: &[&[EvaluationText]], task: &Task) -> Result<Tensor> {
        let mut mean = Mean::default();
        for part in parts {
            let ask = Ask { places: vec![self.place], ..Ask::default() };
            let found = self.model.cache(&batch(part)?, ask, task)?.at(self.place)?;
            for (row, text) in part.iter().enumerate() {
                mean.add(&found.get(row)?, text).map_err(|error| error.within(format!("at `{}`", self.place)))?;
            }
        }
        mean.finish()
    }

    fn add(&mut self, texts: &[EvaluationText], task: &Task) -> Result<()> {
        let batch = batch(texts)?;
        let mask = mask(texts)?;
        let mut passes = vec![Vec::new(), self.constant(&mask, None)?, self.constant(&mask, self.mean.clone())?];
        for (splice, _) in &self.sums {
            passes.push(self.spliced(splice, &mask)?);
        }
        let kl = self.kl;
        let each = texts.iter().enumerate();
        let targets: Vec<(usize, ComparedPosition)> =
            each.flat_map(|(row, text)| text.targets(kl).map(move |target| (row, target))).collect();
        let points: Vec<(usize, usize)> = targets.iter().map(|(row, target)| (*row, target.position)).collect();
        let mut costs = vec![Vec::with_capacity(points.len()); passes.len()];
        let take = &mut |range: Range<usize>, logits: &[Tensor]| -> Result<()> {
            // Where no token comes next, the loss of any other is left out below.
            let next = targets[range].iter().map(|(_, target)| target.next.unwrap_or_default());
            let next: Vec<(usize, u32)> = next.enumerate().collect();
            for (costs, changed) in costs.iter_mut().zip(logits) {
                costs.extend(judged(&logits[0], changed, &next, task)?);
            }
            Ok(())
        };
        let ends = self.model.ends(&batch, passes, &points, task)?;
        let next: Vec<u32> = targets.iter().map(|(_, target)| target.next.unwrap_or_default()).collect();
        match self.model.compared_by_words(&ends, &next, task)? {
            Some(found) => costs = found.into_iter().map(|rows| rows.into_iter().map(Cost::from).collect()).collect(),
            None => self.model.logits_of_ends(&ends, take, task)?,
        }
        let (constants, all) = costs.split_at(CONSTANT);
        let [unchanged, zero, mean] = constants else {
            return Err(err!(Bug, "{} of {CONSTANT} passes", constants.len()));
        };
        for ((_, sums), spliced) in self.sums.iter_mut().zip(all) {
            let runs = unchanged.iter().zip(spliced).zip(zero.iter().zip(mean));
            for (((clean, spliced), (zero, mean)), (_, target)) in runs.zip(&targets) {
                let of = |part: fn(&Cost) -> f64| Losses {
                    clean: part(clean),
                    spliced: part(spliced),
                    zero: part(zero),
                    mean: part(mean),
                };
                let ce = target.next.map(|_| of(|cost| cost.ce));
                sums.add(ce.as_ref(), &of(|cost| cost.kl), target.class);
            }
        }
        Ok(())
    }

    fn spliced<'b>(&self, splice: &Splice, mask: &Tensor) -> Result<Vec<BoundHook<'b>>> {
        let splice = splice.clone().only(mask.clone());
        splice.between(self.model.config(), self.sites.reads, self.sites.writes, None)
    }

    /// Returns the hook that sets the site to one value everywhere: zeros by default.
    fn constant<'b>(&self, mask: &Tensor, value: Option<Tensor>) -> Result<Vec<BoundHook<'b>>> {
        let edit = Constant { value, mask: mask.clone() };
        Ok(vec![BoundHook::new(self.model.config(), self.sites.writes, None, None, Box::new(edit))?])
    }
}

/// Sums in f64, in the order of the tokens.
#[derive(Default)]
struct Mean {
    sum: Vec<f64>,
    count: u64,
    shape: Vec<usize>,
}

impl Mean {
    /// Adds the activations of a text.
    fn add(&mut self, x: &Tensor, text: &EvaluationText) -> Result<()> {
        let x = x.narrow(0, 0, text.ids.len())?;
        self.shape = x.dims().get(1..).unwrap_or_default().to_vec();
        let width: usize = self.shape.iter().product();
        self.sum.resize(width, 0.0);
        let numbers = rows::finite(&x.reshape(((), width))?, "activations", 0)?;
        let tokens = numbers.chunks_exact(width).enumerate();
        for (_, x) in tokens.filter(|(position, _)| text.counts(*position)) {
            self.count += 1;
            self.sum.iter_mut().zip(x).for_each(|(sum, x)| *sum += f64::from(*x));
        }
        Ok(())
    }

    fn finish(self) -> Result<Tensor> {
        // Without a token that counts there are no predictions, which is reported there.
        let count = self.count.max(1) as f64;
        let mean: Vec<f64> = self.sum.into_iter().map(|sum| sum / count).collect();
        Ok(Tensor::from_vec(mean, self.shape, &Device::Cpu)?)
    }
}

fn batch(texts: &[EvaluationText]) -> Result<Batch> {
    Batch::new(texts.iter().map(|text| text.ids.clone()).collect())
}

/// Marks the tokens that count: `[batch, pos]` in u8; padding does not.
fn mask(texts: &[EvaluationText]) -> Result<Tensor> {
    let width = texts.iter().map(|text| text.ids.len()).max().unwrap_or(0);
    let marks = texts.iter().flat_map(|text| (0..width).map(|position| u8::from(text.counts(position))));
    Ok(Tensor::from_vec(marks.collect::<Vec<u8>>(), (texts.len(), width), &Device::Cpu)?)
}

/// Puts one value at every position that counts.
struct Constant {
    value: Option<Tensor>,
    mask: Tensor,
}

impl Edit for Constant {
    fn edit(&mut self, _at: &At, _place: Place, _positions: Option<&[i64]>, x: &Tensor) -> Result<Option<Tensor>> {
        let new = match &self.value {
            None => x.zeros_like()?,
            Some(value) => {
                let value = dtype::convert(&value.to_device(x.device())?, x.dtype())?;
                value.broadcast_as(x.shape())?.contiguous()?
            }
        };
        masked(&self.mask, &new, x).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;
    use crate::sae::{Parts, baselines};
    use crate::tensor::DType;

    const SITE: SitePair<'static> = SitePair { reads: "resid_post.0", writes: "resid_post.0" };

    fn texts() -> Vec<EvaluationText> {
        let text = |ids: &[u32]| EvaluationText {
            ids: ids.to_vec(),
            left_out: (0..ids.len()).map(|position| position == 0).collect(),
            classes: ids.iter().map(|id| id % 2).collect(),
        };
        vec![text(&[0, 3, 1, 4, 1, 5]), text(&[0, 9, 2, 6]), text(&[0, 5, 3])]
    }

    fn judged_on(texts: &[EvaluationText], sae: &Sae, sites: SitePair) -> Result<Effect> {
        let model = fixtures::decoder(fixtures::config(), DType::F32);
        effect(&model, sites, sae, texts, KlPositions::Predicted, &Task::default())
    }

    fn scaled(factor: f64) -> Sae {
        let eye = baselines::identity(16).unwrap().parts().clone();
        Sae::new(Parts { decoder: eye.decoder.affine(factor, 0.0).unwrap(), ..eye }).unwrap()
    }

    #[test]
    fn the_identity_recovers_everything_and_zeros_nothing() {
        let whole = judged_on(&texts(), &scaled(1.0), SITE).unwrap();
        // 4 + 2 + 1: neither at the first token nor of it.
        assert_eq!(whole.predictions, 7);
        assert_eq!((whole.ce.recovered(), whole.kl.recovered()), (Some(1.0), Some(1.0)));
        assert_eq!((whole.ce.recovered_of_mean(), whole.kl.recovered_of_mean()), (Some(1.0), Some(1.0)));
        assert!(whole.kl.zero > 1e-3 && whole.kl.mean > 1e-3 && whole.kl.clean == 0.0, "{whole:?}");
        let nothing = judged_on(&texts(), &scaled(0.0), SITE).unwrap();
        assert_eq!((nothing.ce.recovered(), nothing.kl.recovered()), (Some(0.0), Some(0.0)));
        assert_eq!(
            (nothing.ce.clean, nothing.ce.zero, nothing.ce.mean),
            (whole.ce.clean, whole.ce.zero, whole.ce.mean)
        );
    }

    #[test]
    fn the_last_position_of_each_row_has_a_divergence_too() {
        let model = fixtures::decoder(fixtures::config(), DType::F32);
        let over = |kl| effect(&model, SITE, &scaled(0.5), &texts(), kl, &Task::default()).unwrap();
        let predicted = over(KlPositions::Predicted);
        let all = over(KlPositions::All);
        assert_eq!((predicted.positions, all.positions, all.predictions), (7, 10, 7));
        assert!((all.ce.spliced - predicted.ce.spliced).abs() < 1e-6 && all.classes.len() == predicted.classes.len());
        // By hand, of the rows' last positions.
        let batch = batch(&texts()).unwrap();
        let splice = Splice::new(scaled(0.5), ErrorTreatment::Dropped).only(mask(&texts()).unwrap());
        let hooks = splice.between(model.config(), SITE.reads, SITE.writes, None).unwrap();
        let run = |hooks| model.logits_at(&batch, &[-1], hooks, &Task::default()).unwrap().squeeze(1).unwrap();
        let targets: Vec<(usize, u32)> = (0..3).map(|row| (row, 0)).collect();
        let last = judged(&run(Vec::new()), &run(hooks), &targets, &Task::default()).unwrap();
        let sum: f64 = last.iter().map(|cost| cost.kl).sum();
        assert!((all.kl.spliced * 10.0 - predicted.kl.spliced * 7.0 - sum).abs() < 1e-5, "{sum}");
        assert!(all.table().title.contains("7 predictions, KL over 10 positions"));
    }

    #[test]
    fn several_dictionaries_are_judged_as_each_by_itself() {
        let model = fixtures::decoder(fixtures::config(), DType::F32);
        let half = scaled(0.5);
        let none = scaled(0.0);
        let both = effects(&model, SITE, &[&half, &none], &texts(), &Task::default()).unwrap();
        assert_eq!(both, [judged_on(&texts(), &half, SITE).unwrap(), judged_on(&texts(), &none, SITE).unwrap()]);
    }

    #[test]
    fn the_clean_loss_is_that_of_the_model_and_classes_make_it_up() {
        let found = judged_on(&texts(), &scaled(0.5), SITE).unwrap();
        let model = fixtures::decoder(fixtures::config(), DType::F32);
        let losses = model.losses(&batch(&texts()).unwrap(), Vec::new(), &Task::default()).unwrap();
        let counted: Vec<f32> = losses.iter().flat_map(|row| row.to_vec1::<f32>().unwrap()[1..].to_vec()).collect();
        let mean = counted.iter().map(|loss| f64::from(*loss)).sum::<f64>() / counted.len() as f64;
        assert!((found.ce.clean - mean).abs() < 1e-5, "{} is not {mean}", found.ce.clean);
        assert_eq!(
            found.classes.iter().map(|class| (class.class, class.predictions)).collect::<Vec<_>>(),
            [(0, 3), (1, 4)]
        );
        let together: f64 = found.classes.iter().map(|class| class.ce.spliced * class.predictions as f64).sum();
        assert!((together / 7.0 - found.ce.spliced).abs() < 1e-9);
    }

    #[test]
    fn what_is_left_out_changes_nothing() {
        // The same texts one by one are the same texts.
        let whole = judged_on(&texts(), &scaled(0.5), SITE).unwrap();
        let each = texts().into_iter().map(|text| judged_on(&[text], &scaled(0.5), SITE).unwrap());
        let spliced: f64 = each.map(|effect| effect.ce.spliced * effect.predictions as f64).sum();
        assert!((spliced / 7.0 - whole.ce.spliced).abs() < 1e-5);
        // Skipped tokens stay unchanged: a dictionary of zeros costs nothing there.
        let mut last = texts();
        last.iter_mut().for_each(|text| {
            let count = text.ids.len();
            text.left_out = (0..count).map(|position| position + 2 < count).collect();
        });
        let found = judged_on(&last, &scaled(1.0), SITE).unwrap();
        assert_eq!((found.predictions, found.ce.recovered()), (3, Some(1.0)));
    }

    #[test]
    fn what_cannot_be_judged_is_refused_in_words() {
        let short = EvaluationText { ids: vec![1], ..EvaluationText::default() };
        assert!(judged_on(&[short], &scaled(1.0), SITE).unwrap_err().message.contains("expected predictions"));
        let odd = EvaluationText { ids: vec![1, 2], left_out: vec![true], ..EvaluationText::default() };
        let error = judged_on(&[odd], &scaled(1.0), SITE).unwrap_err();
        assert_eq!(error.message, "expected marks of what is left out for each of the 2 tokens of text 0, found 1");
        let many = SitePair { reads: "resid_post.*", writes: "resid_post.*" };
        assert!(judged_on(&texts(), &scaled(1.0), many).unwrap_err().message.contains("names 2"));
        let square = SitePair { reads: "pattern.0", writes: "pattern.0" };
        assert!(judged_on(&texts(), &scaled(1.0), square).unwrap_err().message.contains("queries and keys"));
        let narrow = baselines::identity(8).unwrap();
        let error = judged_on(&texts(), &narrow, SITE).unwrap_err();
        assert_eq!(error.message, "at `resid_post.0`: expected activations of width 8, found the shape [3, 6, 16]");
        assert!(judged_on(&[], &scaled(1.0), SITE).is_err());
    }
}
