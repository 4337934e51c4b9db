//! The numbers of batch files, as SAEDashboard computes them: from all activations of some features at once, so that
//! histograms and intervals are exact.

use super::{Batch, BatchActivation, BatchFeature};
use crate::common::*;
use crate::features::contexts;
use crate::features::feature::{check_feature, place, site};
use crate::features::logits::written;
use crate::model::batch::Batch as Rows;
use crate::sae::{Sae, site_layer};

/// The number of features in a file, as many as SAEDashboard computes at a time; correlations are within a file.
pub const IN_FILE: usize = 128;
/// The number of activations that are held at once.
const HELD: usize = 1 << 26;
/// The number of rows in a batch of the model.
const AT_ONCE: usize = 16;
/// The number of bins of a histogram.
const BINS: usize = 50;

crate::options! {
    /// Numbers in batch files, with SAEDashboard's defaults.
    pub struct BatchOptions {
        /// Number of max-activating examples.
        top: usize = 20;
        /// Number of intervals between 0 and the largest activation.
        intervals: usize = 5 => at_most(100.0);
        /// Number of contexts drawn from each interval.
        each: usize = 5;
        /// Number of tokens whose logits are raised and lowered most.
        logits: usize = 10;
        /// Number of entries and features that are correlated most.
        correlated: usize = 3;
        /// Name of the model in the files.
        model_id: Option<String> = None => usually("where it is from");
        /// Name of the set of dictionaries in the files.
        sae_set: String = "microtome".into();
        /// Seed of the draws.
        seed: Seed = Seed::default() => usually(OF_CALL);
    }
}

/// Makes the files of some features of a dictionary, one after the other.
pub fn batches(
    model: &Model,
    sae: &Sae,
    features: &[usize],
    rows: &[Vec<u32>],
    options: &BatchOptions,
    each: &mut dyn FnMut(Batch) -> Result<()>,
    task: &Task,
) -> Result<()> {
    features.iter().try_for_each(|feature| check_feature(sae, *feature))?;
    let positions: usize = rows.iter().map(Vec::len).sum();
    let files = (HELD / positions.max(1) / IN_FILE).max(1);
    let bar = task.begin("computing features", Some(features.len() as u64));
    for group in features.chunks(files * IN_FILE) {
        let read = BlockCodes::of(model, sae, group, rows, task)?;
        for (number, part) in group.chunks(IN_FILE).enumerate() {
            let columns: Vec<usize> = (number * IN_FILE..number * IN_FILE + part.len()).collect();
            let maker = Maker { model, sae, rows, read: &read, columns: &columns, options };
            let made = parallel::try_map(part.len(), &|at| {
                task.check()?;
                maker.feature(part[at], columns[at], part)
            })?;
            each(Batch {
                model_id: options.model_id.clone().unwrap_or_else(|| model.name().to_string()),
                layer: site_layer(site(sae)?).map_or(0, |layer| layer as i64),
                sae_set: options.sae_set.clone(),
                sae_id_suffix: None,
                features: made,
            })?;
            bar.advance(part.len() as u64);
        }
    }
    Ok(())
}

/// The activations of some features at all positions, feature by feature, and sums over positions.
struct BlockCodes {
    codes: Vec<Vec<f32>>,
    /// The sum and the sum of squares of each entry of the dictionary's input.
    entries: Vec<[f64; 2]>,
    /// The sums of each feature's activation times each entry.
    products: Vec<Vec<f64>>,
}

/// The column of a feature among those of a block, and the norm of its direction.
#[derive(Clone, Copy)]
struct BatchColumn {
    number: usize,
    length: f32,
}

impl BlockCodes {
    fn of(model: &Model, sae: &Sae, features: &[usize], rows: &[Vec<u32>], task: &Task) -> Result<Self> {
        let place = place(model, sae)?;
        let wide = sae.d_in();
        let positions: usize = rows.iter().map(Vec::len).sum();
        memory::check(4 * positions as u128 * features.len() as u128, || {
            format!("the codes of {} features", features.len())
        })?;
        let mut column: Vec<Option<BatchColumn>> = vec![None; sae.d_sae()];
        for (number, feature) in features.iter().enumerate() {
            column[*feature] = Some(BatchColumn { number, length: length(sae, *feature)? as f32 });
        }
        let mut found = Self {
            codes: vec![vec![0.0; positions]; features.len()],
            entries: vec![[0.0; 2]; wide],
            products: vec![vec![0.0; wide]; features.len()],
        };
        let mut start = 0;
        for part in rows.chunks(AT_ONCE) {
            task.check()?;
            let batch = Rows::new(part.to_vec())?;
            let cache = model.decoder.cache(&batch, Ask { places: vec![place], ..Ask::default() }, task)?;
            let x = dtype::convert(&cache.at(place)?, DType::F32)?.to_device(&Device::Cpu)?;
            sae.check_fits(x.dim(2)?, &model.name(), &place.to_string())?;
            let x = x.contiguous()?.reshape((part.len() * batch.width(), wide))?;
            let codes = sae.encode_sparse(&dtype::convert(&x, sae.parts().encoder.dtype())?, task)?;
            let x = x.to_vec2::<f32>()?;
            for (row, ids) in part.iter().enumerate() {
                for at in 0..ids.len() {
                    let place = row * batch.width() + at;
                    let (features, codes) = codes.row(place);
                    found.take(start + at, &x[place], features, codes, &column);
                }
                start += ids.len();
            }
        }
        Ok(found)
    }

    fn take(&mut self, at: usize, x: &[f32], features: &[u32], codes: &[f32], column: &[Option<BatchColumn>]) {
        for (sums, x) in self.entries.iter_mut().zip(x) {
            sums[0] += f64::from(*x);
            sums[1] += f64::from(*x) * f64::from(*x);
        }
        for (feature, code) in features.iter().zip(codes) {
            let Some(Some(BatchColumn { number, length })) = column.get(*feature as usize) else { continue };
            let code = code * length;
            self.codes[*number][at] = code;
            self.products[*number].iter_mut().zip(x).for_each(|(sum, x)| *sum += f64::from(code) * f64::from(*x));
        }
    }

    fn sums(&self, number: usize) -> [f64; 2] {
        let codes = self.codes[number].iter().map(|code| f64::from(*code));
        codes.fold([0.0; 2], |[sum, squares], code| [sum + code, squares + code * code])
    }
}

/// Returns the norm of a feature's decoder direction, by which its activations are multiplied: SAEDashboard folds it
/// into them.
fn length(sae: &Sae, feature: usize) -> Result<f64> {
    let length = written(sae, feature, 1)?.sqr()?.sum_all()?.to_scalar::<f32>()?.sqrt();
    Ok(if length > 0.0 { f64::from(length) } else { 1.0 })
}

/// Returns the Pearson correlation and the cosine of two columns of `n` numbers, from their sums, squares and products.
fn correlation(n: f64, a: [f64; 2], b: [f64; 2], product: f64) -> (f64, f64) {
    let spread = ((n * a[1] - a[0] * a[0]).max(0.0) * (n * b[1] - b[0] * b[0]).max(0.0)).sqrt();
    let length = (a[1] * b[1]).sqrt();
    // What is constant is correlated with nothing.
    let over = |value: f64, by: f64| if by > 0.0 { value / by } else { 0.0 };
    (over(n * product - a[0] * b[0], spread), over(product, length))
}

struct Maker<'a> {
    model: &'a Model,
    sae: &'a Sae,
    rows: &'a [Vec<u32>],
    read: &'a BlockCodes,
    /// The features of the file among those that were read.
    columns: &'a [usize],
    options: &'a BatchOptions,
}

impl Maker<'_> {
    fn feature(&self, feature: usize, column: usize, others: &[usize]) -> Result<BatchFeature> {
        let codes = &self.read.codes[column];
        let n = codes.len() as f64;
        let active: Vec<f64> = codes.iter().filter(|code| **code > 0.0).map(|code| f64::from(*code)).collect();
        let (freq_hist_data_bar_values, freq_hist_data_bar_heights) = histogram(&active);
        let mut made = BatchFeature {
            feature_index: feature,
            frac_nonzero: rounded(codes.iter().filter(|code| code.abs() > 1e-6).count() as f64 / n.max(1.0), 5),
            freq_hist_data_bar_values,
            freq_hist_data_bar_heights,
            n_prompts_total: self.rows.len(),
            n_tokens_in_prompt: self.rows.iter().map(Vec::len).max().unwrap_or_default(),
            activations: self.contexts(feature, codes),
            ..BatchFeature::default()
        };
        self.directions(&mut made)?;
        self.correlations(&mut made, column, others);
        Ok(made)
    }

    /// Notes the largest entries of the feature's direction, and its effect on the logits: as it is, without the final
    /// norm.
    fn directions(&self, made: &mut BatchFeature) -> Result<()> {
        let direction = (written(self.sae, made.feature_index, 1)? / length(self.sae, made.feature_index)?)?;
        let entries: Vec<f64> = direction.squeeze(0)?.to_dtype(DType::F64)?.to_vec1()?;
        let size: f64 = entries.iter().map(|entry| entry.abs()).sum();
        made.neuron_alignment_indices = largest(&entries, self.options.correlated);
        let values: Vec<f64> = made.neuron_alignment_indices.iter().map(|at| entries[*at]).collect();
        made.neuron_alignment_l1 =
            values.iter().map(|value| rounded(value.abs() / size.max(f64::MIN_POSITIVE), 3)).collect();
        made.neuron_alignment_values = values.into_iter().map(|value| rounded(value, 3)).collect();
        if self.sae.d_out() != self.model.decoder.config().d_model {
            return Ok(());
        }
        let unembed = self.model.decoder.weights().unembed.weight.floats()?;
        let direction = direction.to_device(unembed.device())?;
        let logits: Vec<f64> = direction.matmul(&unembed.t()?)?.squeeze(0)?.to_dtype(DType::F64)?.to_vec1()?;
        let (values, heights) = histogram(&logits);
        (made.logits_hist_data_bar_values, made.logits_hist_data_bar_heights) = (values, heights);
        let negative: Vec<f64> = logits.iter().map(|logit| -logit).collect();
        let named = |at: &[usize]| -> (Vec<String>, Vec<f64>) {
            at.iter().map(|at| (self.spelled(*at as u32), rounded(logits[*at], 3))).unzip()
        };
        (made.pos_str, made.pos_values) = named(&largest(&logits, self.options.logits));
        (made.neg_str, made.neg_values) = named(&largest(&negative, self.options.logits));
        Ok(())
    }

    fn correlations(&self, made: &mut BatchFeature, column: usize, others: &[usize]) {
        let read = self.read;
        let n = self.read.codes[column].len() as f64;
        let own = read.sums(column);
        let with_entries: Vec<(f64, f64)> = read
            .entries
            .iter()
            .zip(&read.products[column])
            .map(|(entry, product)| correlation(n, own, *entry, *product))
            .collect();
        let with_features: Vec<(f64, f64)> = self
            .columns
            .iter()
            .map(|other| {
                if *other == column {
                    return (0.0, 0.0);
                }
                let pairs = read.codes[column].iter().zip(&read.codes[*other]);
                let product = pairs.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                correlation(n, own, read.sums(*other), product)
            })
            .collect();
        let chosen = |found: &[(f64, f64)]| -> (Vec<usize>, Vec<f64>, Vec<f64>) {
            let pearson: Vec<f64> = found.iter().map(|(pearson, _)| *pearson).collect();
            let at = largest(&pearson, self.options.correlated);
            let numbers = |of: fn(&(f64, f64)) -> f64| at.iter().map(|at| rounded(of(&found[*at]), 3)).collect();
            let pearson = numbers(|found| found.0);
            let cosine = numbers(|found| found.1);
            (at, pearson, cosine)
        };
        (made.correlated_neurons_indices, made.correlated_neurons_pearson, made.correlated_neurons_l1) =
            chosen(&with_entries);
        let (at, pearson, cosine) = chosen(&with_features);
        made.correlated_features_indices = at.into_iter().map(|at| others[at]).collect();
        (made.correlated_features_pearson, made.correlated_features_l1) = (pearson, cosine);
    }

    /// Returns the max-activating examples, then contexts drawn from each interval between 0 and the largest
    /// activation, ends included.
    fn contexts(&self, feature: usize, codes: &[f32]) -> Vec<BatchActivation> {
        let numbers: Vec<f64> = codes.iter().map(|code| f64::from(*code)).collect();
        let most = numbers.iter().copied().fold(0.0, f64::max);
        let mut found: Vec<BatchActivation> = largest(&numbers, self.options.top)
            .into_iter()
            .filter_map(|at| self.context(codes, at, [-1.0, rounded(most, 3), -1.0]))
            .collect();
        let mut random = stream(self.options.seed.draws(), "batch files", feature as u64);
        for interval in (0..self.options.intervals).rev() {
            let edge = |step: usize| most * step as f64 / self.options.intervals as f64;
            let low = edge(interval);
            let high = edge(interval + 1);
            let within: Vec<usize> =
                (0..numbers.len()).filter(|at| numbers[*at] >= low && numbers[*at] <= high).collect();
            let share = rounded(within.len() as f64 / numbers.len().max(1) as f64, 5);
            let drawn = rand::seq::index::sample(&mut random, within.len(), self.options.each.min(within.len()));
            let contexts = drawn
                .iter()
                .filter_map(|at| self.context(codes, within[at], [rounded(low, 3), rounded(high, 3), share]));
            found.extend(contexts);
        }
        found
    }

    /// Returns the row of a position, without its first token.
    fn context(&self, codes: &[f32], at: usize, [bin_min, bin_max, bin_contains]: [f64; 3]) -> Option<BatchActivation> {
        let mut start = 0;
        let row = self.rows.iter().find(|row| {
            let is_here = at < start + row.len();
            start += if is_here { 0 } else { row.len() };
            is_here
        })?;
        let values = codes.get(start + 1..start + row.len()).unwrap_or_default();
        Some(BatchActivation {
            bin_min,
            bin_max,
            bin_contains,
            tokens: row.iter().skip(1).map(|id| self.spelled(*id)).collect(),
            values: values.iter().map(|code| rounded(f64::from(*code), 3)).collect(),
            qualifying_token_index: (at - start) as i64 - 1,
            dfa_target_index: -1,
            ..BatchActivation::default()
        })
    }

    /// Returns a token as the vocabulary spells it.
    fn spelled(&self, id: u32) -> String {
        let piece = self.model.tokenizer.as_ref().and_then(|tokenizer| tokenizer.vocab().piece(id).ok());
        piece.map_or_else(|| contexts::name(self.model, id), |piece| piece.name.clone())
    }
}

fn rounded(value: f64, digits: i32) -> f64 {
    let scale = 10_f64.powi(digits);
    (value * scale).round() / scale
}

/// Returns the places of the largest numbers, the largest first, of equal ones the earliest first.
fn largest(numbers: &[f64], count: usize) -> Vec<usize> {
    let order = |a: &usize, b: &usize| numbers[*b].total_cmp(&numbers[*a]).then(a.cmp(b));
    let mut places: Vec<usize> = (0..numbers.len()).collect();
    if count > 0 && count < places.len() {
        places.select_nth_unstable_by(count - 1, order);
    }
    places.truncate(count);
    places.sort_by(order);
    places
}

/// Returns the middles of equally wide bins from the least to the largest number, and the count in each.
fn histogram(numbers: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let (low, high) =
        numbers.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(*x), high.max(*x)));
    if numbers.is_empty() {
        return (Vec::new(), Vec::new());
    }
    let wide = (high - low) / BINS as f64;
    let mut heights = vec![0.0; BINS];
    for number in numbers {
        let bin = if wide > 0.0 { ((number - low) / wide) as usize } else { 0 };
        heights[bin.min(BINS - 1)] += 1.0;
    }
    ((0..BINS).map(|bin| rounded(low + wide * (bin as f64 + 0.5), 3)).collect(), heights)
}
