//! Features of a dictionary that promote tokens: by direction, by ablation, and by correlation.

use super::ablated::{self, Ablation, RequestEnd};
use super::feature::{Feature, place, tokenizer};
use super::logits::direct;
use super::survey::{KeptPositions, Moment, Tally};
use super::text_codes::{FeatureTextOptions, finite};
use super::tokens::{TokenPattern, token_ids};
use crate::data::harvest::context;
use crate::data::pack::gathered;
use crate::intervene::chance::{apart_of, together_of};
use crate::sae::SparseCodes;
use crate::sae::prelude::*;

/// The number of tokens in a batch of the model, about.
const AT_ONCE: usize = 1 << 12;

/// The number of a feature's strongest positions for ablation.
const ABLATED_AT: usize = 16;

crate::options! {
    pub struct PredictingOptions {
        /// Number of features with the largest direct effects, and as many with the largest correlations, that are
        /// ablated.
        candidates: usize = 8;
        /// Number of first positions of each row that are left out, where the codes of a dictionary that was fitted
        /// without them mean nothing.
        without_first: usize = 0;
        with text: FeatureTextOptions;
    }
}

/// A feature, and how much it promotes the tokens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Promoter {
    pub feature: usize,
    /// The number of positions at which the feature was active.
    pub fired: u64,
    /// The mean activation of the feature, where it is active, times how much more its direction raises the tokens'
    /// logits than the mean logit, through the weights of the final norm, whose division is left out.
    pub direct: f64,
    /// The correlation of the activation with the probability of the tokens at the same position, over all positions.
    pub correlation: f64,
    /// The fall of the tokens' probability at the feature's strongest positions when its activation is set to 0.
    pub ablation: f64,
}

/// The features of a dictionary that promote some tokens most.
#[derive(Debug, Clone)]
pub struct Promoters {
    pub sae: Sae,
    /// The ids of the tokens; `names` are their texts, and `sums` the sum of the probabilities of each over all
    /// positions.
    pub tokens: Arc<[u32]>,
    pub names: Vec<String>,
    pub sums: Vec<f64>,
    /// The features that were ablated: by their correlation, those whose ablation does not lower P last.
    pub found: Vec<Promoter>,
    /// The number of active features, from which these were selected.
    pub tried: usize,
    /// The number of positions read.
    pub positions: u64,
}

/// Sums over all positions.
struct PredictionSums {
    positions: f64,
    p: f64,
    p_squared: f64,
    of_tokens: Vec<f64>,
    /// The probability of the tokens at each position, row by row.
    chances: Vec<Vec<f64>>,
    /// The sum of c^2 of each feature; `products` has that of c p, and the tallies that of c.
    squares: Vec<f64>,
    products: Vec<f64>,
    tallies: Vec<Tally>,
}

/// Finds the features that promote the tokens most in a text.
pub fn predicting(
    model: &Model,
    sae: &Sae,
    text: &Text,
    tokens: &[TokenPattern],
    options: &PredictingOptions,
    task: &Task,
) -> Result<Promoters> {
    let most = options.text.tokens;
    let context = context(model.decoder.config(), options.text.context);
    let context = context.map_err(|e| e.about("context"))?;
    let tokens = token_ids(model, tokens)?;
    let rows = Some(most.div_ceil(context).max(1));
    let rows = gathered(text, tokenizer(model)?, context, rows, task, |row| Ok(row.ids))?;
    ranked(model, sae, &rows, &tokens, options, task)
}

/// Finds the features that promote the tokens most in rows of tokens. The model is run without as many candidates as the
/// options say: those with the largest direct effect, and those with the largest correlation.
fn ranked(
    model: &Model,
    sae: &Sae,
    rows: &[Vec<u32>],
    tokens: &[u32],
    options: &PredictingOptions,
    task: &Task,
) -> Result<Promoters> {
    let place = place(model, sae)?;
    // Its output reaches the logits through the residual stream.
    sae.check_fits(model.decoder.config().d_model, &model.name(), &place.to_string())?;
    sae.check_writes_what_it_reads()?;
    let sums = read(model, sae, rows, tokens, options.without_first, task)?;
    let direct = direct(model, sae, tokens)?;
    let mut found: Vec<Promoter> = (0..sae.d_sae())
        .filter(|feature| sums.tallies[*feature].fired > 0)
        .map(|feature| Promoter {
            feature,
            fired: sums.tallies[feature].fired,
            direct: direct[feature] * sums.tallies[feature].mean(),
            correlation: sums.correlation(feature),
            ablation: f64::NAN,
        })
        .collect();
    if found.is_empty() {
        return Err(err!(Argument, "no feature of the dictionary is active in this text").hint("read more text"));
    }
    let tried = found.len();
    keep_candidates(&mut found, options.candidates);
    ablate(model, sae, &mut found, &sums, rows, tokens, task)?;
    // What the ablation of a single feature takes from P depends on what else promotes the tokens there; the
    // correlation with P over the whole text is more reliable.
    let is_needed = |promoter: &Promoter| promoter.ablation > 0.0;
    found.sort_by(|a, b| {
        let needed = is_needed(b).cmp(&is_needed(a));
        needed.then(b.correlation.total_cmp(&a.correlation)).then(a.feature.cmp(&b.feature))
    });
    let tokenizer = tokenizer(model)?;
    let names = tokens.iter().map(|id| tokenizer.text_of(*id)).collect::<Result<Vec<_>>>()?;
    let sae = sae.clone();
    let tokens = tokens.into();
    let positions = sums.positions as u64;
    Ok(Promoters { sae, tokens, names, sums: sums.of_tokens, found, tried, positions })
}

/// Keeps the features that have the largest direct effects or the largest correlations.
fn keep_candidates(found: &mut Vec<Promoter>, candidates: usize) {
    let by: [fn(&Promoter) -> f64; 2] = [|p| p.direct, |p| p.correlation];
    let mut chosen = std::collections::BTreeSet::new();
    for measure in by {
        found.sort_by(|a, b| measure(b).total_cmp(&measure(a)).then(a.feature.cmp(&b.feature)));
        chosen.extend(found.iter().take(candidates.max(1)).map(|promoter| promoter.feature));
    }
    found.retain(|promoter| chosen.contains(&promoter.feature));
}

impl Promoters {
    /// Returns the texts of the tokens with most of the probability, at most `count` of them, and the share that these
    /// have.
    pub fn likeliest(&self, count: usize) -> (Vec<&str>, f64) {
        let mut order = order::descending(&self.sums);
        order.truncate(count);
        let share = order.iter().map(|at| self.sums[*at]).sum::<f64>() / self.sums.iter().sum::<f64>();
        (order.iter().map(|at| self.names[*at].as_str()).collect(), share)
    }

    /// Returns the feature at a place of the ranking, with the tokens that it was selected for.
    pub fn feature(&self, place: usize) -> Result<Feature> {
        let found = self.found.get(place);
        let found = found.ok_or_else(|| err!(Index, "place {place} of a ranking of {}", self.found.len()))?;
        Ok(Feature { sae: self.sae.clone(), index: found.feature, promotes: Some(self.tokens.clone()) })
    }

    /// Returns the ranking as rows of a table.
    pub fn table(&self, title: String) -> Table {
        let columns = ["feature", "active positions", "direct effect", "correlation", "fall of P without it"];
        let row = |p: &Promoter| {
            vec![p.feature.into(), p.fired.into(), p.direct.into(), p.correlation.into(), p.ablation.into()]
        };
        Table::new(title, columns, self.found.iter().map(row))
    }
}

fn read(
    model: &Model,
    sae: &Sae,
    rows: &[Vec<u32>],
    tokens: &[u32],
    without_first: usize,
    task: &Task,
) -> Result<PredictionSums> {
    let place = place(model, sae)?;
    let zeros = vec![0.0; sae.d_sae()];
    let tallies = vec![Tally::default(); sae.d_sae()];
    let chances = Vec::with_capacity(rows.len());
    let mut sums = PredictionSums {
        positions: 0.0,
        p: 0.0,
        p_squared: 0.0,
        of_tokens: vec![0.0; tokens.len()],
        chances,
        squares: zeros.clone(),
        products: zeros,
        tallies,
    };
    let bar = task.begin("reading what is predicted", Some(rows.iter().map(|row| row.len() as u64).sum()));
    let longest = rows.iter().map(Vec::len).max().unwrap_or(1);
    for rows in rows.chunks((AT_ONCE / longest.max(1)).max(1)) {
        task.check()?;
        let batch = Batch::new(rows.to_vec())?;
        let mut chances = vec![Vec::new(); batch.rows().len()];
        let points = batch.points();
        let ask = Ask { places: vec![place], ..Ask::default() };
        let (cache, end) = model.decoder.run_to_end(&batch, ask, &points, task)?;
        for ((row, column), each) in points.iter().zip(apart_of(&model.decoder, &end, tokens, task)?) {
            if *column >= without_first {
                sums.of_tokens.iter_mut().zip(&each).for_each(|(sum, p)| *sum += p);
            }
            chances[*row].push(each.iter().sum());
        }
        let x = cache.at(place)?.to_dtype(DType::F32)?.to_device(&Device::Cpu)?.contiguous()?;
        finite(&x, place)?;
        let codes = sae.encode_sparse(&x, task)?;
        for (row, chances) in chances.into_iter().enumerate() {
            sums.take(chances, &codes, row * batch.width(), without_first);
        }
        bar.advance(batch.lengths().iter().sum::<usize>() as u64);
    }
    Ok(sums)
}

impl PredictionSums {
    /// Takes a row of tokens, whose activations begin at `start`, but for some first ones.
    fn take(&mut self, chances: Vec<f64>, codes: &SparseCodes, start: usize, without_first: usize) {
        const KEPT: KeptPositions = KeptPositions { top: ABLATED_AT, some: 0, seed: 0 };
        let row = self.chances.len() as u32;
        for (column, p) in chances.iter().enumerate().skip(without_first) {
            self.positions += 1.0;
            self.p += p;
            self.p_squared += p * p;
            let (features, codes) = codes.row(start + column);
            for (feature, code) in features.iter().zip(codes) {
                let feature = *feature as usize;
                let c = f64::from(*code);
                self.squares[feature] += c * c;
                self.products[feature] += c * p;
                self.tallies[feature].take(Moment { row, column: column as u32, code: *code }, feature, KEPT);
            }
        }
        self.chances.push(chances);
    }

    /// Computes Pearson's correlation over all positions; 0 where one of the two never changes.
    fn correlation(&self, feature: usize) -> f64 {
        let n = self.positions;
        let c = self.tallies[feature].sum;
        let both = self.products[feature] - c * self.p / n;
        let spreads = (self.squares[feature] - c * c / n) * (self.p_squared - self.p * self.p / n);
        if spreads > 0.0 { both / spreads.sqrt() } else { 0.0 }
    }
}

/// Measures how much the probability of the tokens falls at the strongest positions of each feature when it is ablated.
fn ablate(
    model: &Model,
    sae: &Sae,
    found: &mut [Promoter],
    sums: &PredictionSums,
    rows: &[Vec<u32>],
    tokens: &[u32],
    task: &Task,
) -> Result<()> {
    let top = |promoter: &Promoter| &sums.tallies[promoter.feature].top;
    let ablations: Vec<Ablation> =
        found.iter().flat_map(|promoter| ablations(promoter.feature, top(promoter))).collect();
    let mut without = vec![0.0; ablations.len()];
    let mut take = |requests: &[RequestEnd], end: &PassEnd| {
        let chances = together_of(&model.decoder, end, tokens, task)?;
        for RequestEnd { number, points } in requests {
            without[*number] = chances[points.clone()].iter().sum();
        }
        Ok(())
    };
    ablated::ends(model, sae, place(model, sae)?, rows, &ablations, &mut take, task)?;
    for promoter in found {
        let p = |moment: &Moment| sums.chances.get(moment.row as usize)?.get(moment.column as usize).copied();
        let read = |moment: &Moment| p(moment).ok_or_else(|| err!(Bug, "a position that was not read"));
        let clean: f64 = top(promoter).iter().map(read).sum::<Result<_>>()?;
        let of_feature = ablations.iter().zip(&without).filter(|(ablation, _)| ablation.feature == promoter.feature);
        promoter.ablation = (clean - of_feature.map(|(_, p)| p).sum::<f64>()) / top(promoter).len() as f64;
    }
    Ok(())
}

/// Returns some positions of a feature, row by row.
fn ablations(feature: usize, moments: &[Moment]) -> Vec<Ablation> {
    let mut by_row: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for moment in moments {
        by_row.entry(moment.row as usize).or_default().push(moment.column as usize);
    }
    by_row.into_iter().map(|(row, columns)| Ablation { row, feature, columns }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::text_codes::tests::model;
    use crate::intervene::OnFeatures;
    use crate::intervene::features::FeatureChoice;
    use crate::model::hooks::Action;
    use crate::model::site::select;
    use crate::sae::splice::ErrorTreatment;
    use crate::tensor::normalise;

    fn few() -> PredictingOptions {
        PredictingOptions { candidates: 2, ..PredictingOptions::default() }
    }

    fn rows() -> Vec<Vec<u32>> {
        vec![vec![0, 1, 2, 4, 3, 6, 9, 8], vec![0, 7, 6, 2, 5], vec![10, 3, 9]]
    }

    #[test]
    fn each_figure_is_that_of_its_definition() {
        for without_first in [0, 2] {
            each_is_as_defined(without_first);
        }
    }

    fn each_is_as_defined(without_first: usize) {
        let (model, sae) = model();
        let tokens = [3, 5];
        let found =
            ranked(&model, &sae, &rows(), &tokens, &PredictingOptions { without_first, ..few() }, &Task::default())
                .unwrap();
        assert_eq!(found.positions as usize, 16 - 3 * without_first);
        assert!((2..=4).contains(&found.found.len()) && found.tried <= 16, "{found:?}");
        let order = |promoter: &Promoter| (promoter.ablation > 0.0, promoter.correlation);
        assert!(found.found.is_sorted_by(|a, b| order(a) >= order(b)));
        let place = select(model.decoder.config(), "resid_post.1").unwrap()[0];
        for promoter in &found.found {
            let mut codes = Vec::new();
            let mut chances = Vec::new();
            let mut falls = Vec::new();
            for row in rows() {
                let batch = Batch::new(vec![row]).unwrap();
                let p = |hooks| {
                    let logits = model.decoder.logits(&batch, hooks, &Task::default()).unwrap();
                    let p = normalise::softmax(&logits, -1).unwrap().get(0).unwrap().to_vec2::<f32>().unwrap();
                    p.into_iter().map(|p| f64::from(p[3] + p[5])).collect::<Vec<_>>()
                };
                let ask = Ask { places: vec![place], ..Ask::default() };
                let x = model.decoder.cache(&batch, ask, &Task::default()).unwrap().at(place).unwrap();
                let code = sae.encode(&x).unwrap().narrow(2, promoter.feature, 1).unwrap();
                codes.extend(code.flatten_all().unwrap().to_vec1::<f32>().unwrap().into_iter().skip(without_first));
                let which = FeatureChoice::Only(vec![promoter.feature]);
                let hook =
                    OnFeatures::new(sae.clone(), &which, ErrorTreatment::Kept, Box::new(Action::Zero.begin())).unwrap();
                let without = p(vec![hook.at(model.decoder.config(), "resid_post.1", None).unwrap()]);
                let clean = p(Vec::new());
                falls.extend(clean.iter().zip(without).map(|(clean, without)| clean - without).skip(without_first));
                chances.extend(clean.into_iter().skip(without_first));
            }
            let active = codes.iter().filter(|code| **code != 0.0).count();
            assert_eq!(promoter.fired, active as u64);
            let n = codes.len() as f64;
            let c: Vec<f64> = codes.iter().map(|code| f64::from(*code)).collect();
            let mean = |x: &[f64]| x.iter().sum::<f64>() / n;
            let product =
                |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| (x - mean(a)) * (y - mean(b))).sum::<f64>();
            let correlation = product(&c, &chances) / (product(&c, &c) * product(&chances, &chances)).sqrt();
            assert!((promoter.correlation - correlation).abs() < 1e-4);
            // No feature is active at more positions than are read.
            let fall: f64 = falls.iter().zip(&codes).filter(|(_, code)| **code != 0.0).map(|(fall, _)| fall).sum();
            assert!((promoter.ablation - fall / active as f64).abs() < 1e-4, "{promoter:?} {fall}");
        }
    }

    #[test]
    fn what_cannot_be_ranked_is_refused() {
        let (model, sae) = model();
        let error = ranked(&model, &sae, &rows(), &[20], &few(), &Task::default()).unwrap_err();
        assert!(error.message.starts_with("expected tokens below 20"), "{error:?}");
        assert!(ranked(&model, &sae, &rows(), &[], &few(), &Task::default()).is_err());
        let nowhere = crate::sae::baselines::neurons_relu(16, None).unwrap();
        assert!(ranked(&model, &nowhere, &rows(), &[3], &few(), &Task::default()).is_err());
    }
}
