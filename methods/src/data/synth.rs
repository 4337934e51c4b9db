//! The synthetic benchmark SynthSAEBench (Chanin & Garriga-Alonso 2026, arXiv 2602.14687): activations with known features
//! in superposition, in hierarchies of parents and children of which one at a time is active, and with correlations.
//!
//! The defaults are those of its model of 16,384 features. Draws are ours, so activations are alike and not the same.

use candle_core::cpu::erf::erf_inv;
use rand::{Rng, RngExt};
use rand_distr::StandardNormal;

use super::toy::unit_rows;
use crate::common::*;

/// The name of the benchmark as a kind of synthetic activations.
pub const NAME: &str = "synth";

/// The number of rows drawn from one stream of random numbers.
const ROWS: usize = 256;

/// The mean strength of the most frequent feature and of the rarest; `SPREAD` has the mean and the deviation of the
/// normal distribution whose absolute values are the deviations of strengths.
const STRENGTHS: [f64; 2] = [5.0, 4.0];
const SPREAD: [f64; 2] = [0.5, 0.5];

/// The length of the vector that is added to every row.
const BIAS: f32 = 0.5;

/// The learning rate with which directions are made more orthogonal; `DECAYS` are the decays of Adam.
const RATE: f64 = 3e-4;
const DECAYS: [f64; 2] = [0.9, 0.999];

crate::options! {
    /// Options of activations of the synthetic benchmark.
    #[derive(Debug, Clone, PartialEq)]
    pub struct SynthOptions {
        /// Number of rows.
        rows: usize = 10_000 => at_least(1.0);
        /// Width of the activations.
        d: usize = 768 => at_least(1.0);
        /// Number of features.
        features: usize = 16_384 => at_least(2.0);
        /// Probability of the most frequent feature, those of the others falling with the root of their rank.
        most: f64 = 0.4 => above(0.0).at_most(1.0);
        /// Probability of the rarest feature.
        least: f64 = 5e-4 => above(0.0).at_most(1.0);
        /// Number of features with children and without a parent.
        roots: usize = 128;
        /// Number of children of each feature that has any, one of which at most is active, and only with their parent.
        children: usize = 4;
        /// Number of generations below the roots.
        depth: usize = 3;
        /// Number of causes that all features share.
        causes: usize = 25;
        /// Deviation of the weights with which a feature depends on the shared causes.
        correlation: f64 = 0.1 => at_least(0.0);
        /// Number of steps of making directions more orthogonal.
        orthogonal: usize = 100 => at_most(10_000.0);
        /// Whether the strengths of all features in all rows are returned, too.
        codes: bool = false;
        /// The rows that are drawn: another number gives other rows of the same features.
        part: i64 = 0;
        /// The seed of the features.
        seed: Seed = Seed::default() => usually(OF_CALL);
    }
}

/// Activations with the features that generated them.
#[derive(Debug, Clone)]
pub struct Synth {
    /// The activations: `[rows, d]`.
    pub x: Tensor,
    /// The directions, a row of norm 1 for each feature: `[features, d]`.
    pub directions: Tensor,
    /// The probability of each feature, which the hierarchy changes little.
    pub probabilities: Vec<f64>,
    /// The strength of each feature in each row, where it was requested: `[rows, features]`.
    pub codes: Option<Tensor>,
    /// The mean number of active features in a row.
    pub active: f64,
}

/// The features, with their hierarchy and correlations.
struct World {
    directions: Vec<f32>,
    bias: Vec<f32>,
    d: usize,
    probabilities: Vec<f64>,
    /// The children of each feature, which come after it.
    children: Vec<Range<usize>>,
    has_parent: Vec<bool>,
    /// The thresholds above which features are active.
    floors: Vec<f32>,
    /// The weights of the causes, feature by feature; `own` is the weight that remains for the feature's own part.
    weights: Vec<f32>,
    own: Vec<f32>,
    means: Vec<f32>,
    deviations: Vec<f32>,
}

impl SynthOptions {
    /// Draws the features from the seed and the rows from the seed and the part.
    pub fn make(&self, seed: u64, task: &Task) -> Result<Synth> {
        self.check()?;
        // Each row may be as wide as memory, so that a few of them take long.
        let options = self.clone();
        let inner = task.clone();
        let cost = self.rows as f64 * self.d as f64 * self.features as f64;
        task.heavy(cost, move || options.made(seed, &inner))
    }

    fn made(&self, seed: u64, task: &Task) -> Result<Synth> {
        let world = World::of(self, seed, task)?;
        let d = self.d;
        let features = self.features;
        let mut x = vec![0_f32; self.rows * d];
        let mut codes = vec![0_f32; if self.codes { self.rows * features } else { 0 }];
        let bar = task.begin("making activations", Some(self.rows as u64));
        let purpose = format!("synthetic rows, part {}", self.part);
        let mut active = 0_usize;
        // Parts of all chunks that are worked on together, so that progress is shown.
        let at_once = ROWS * 64;
        for (turn, x) in x.chunks_mut(at_once * d).enumerate() {
            task.check()?;
            let drawn = parallel::blocks(x, ROWS * d, &|first, x| {
                let mut random = stream(seed, &purpose, (turn * 64 + first / (ROWS * d)) as u64);
                x.chunks_mut(d).map(|x| world.row(x, &mut random)).collect::<Vec<Vec<(usize, f32)>>>()
            });
            for (row, found) in drawn.iter().flatten().enumerate() {
                active += found.len();
                if self.codes {
                    let start = (turn * at_once + row) * features;
                    found.iter().for_each(|(feature, code)| codes[start + feature] = *code);
                }
            }
            bar.advance((x.len() / d) as u64);
        }
        let codes = self.codes.then(|| Tensor::from_vec(codes, (self.rows, features), &Device::Cpu)).transpose()?;
        Ok(Synth {
            x: Tensor::from_vec(x, (self.rows, d), &Device::Cpu)?,
            directions: Tensor::from_vec(world.directions, (features, d), &Device::Cpu)?,
            probabilities: world.probabilities,
            codes,
            active: active as f64 / self.rows as f64,
        })
    }

    fn check(&self) -> Result<()> {
        if self.least > self.most {
            return Err(err!(Argument, "expected a `least` of at most `most`, {}, found {}", self.most, self.least)
                .about("least"));
        }
        let [d, features, causes, rows] = [self.d, self.features, self.causes, self.rows].map(|n| n as u128);
        let of_features = features.saturating_mul(8_u128.saturating_mul(d).saturating_add(causes));
        let of_rows = rows.saturating_mul(d + if self.codes { features } else { 0 });
        let numbers = of_features.saturating_add(of_rows);
        memory::check(4_u128.saturating_mul(numbers), || format!("{} rows of synthetic activations", self.rows))
    }

    /// Returns probabilities by Zipf's law between the largest and the smallest.
    fn probabilities(&self) -> Vec<f64> {
        let law = |rank: usize| 1.0 / (rank as f64 + 1.0).sqrt();
        let last = law(self.features - 1);
        let share = |rank: usize| (law(rank) - last) / (1.0 - last);
        (0..self.features).map(|rank| self.least + (self.most - self.least) * share(rank)).collect()
    }

    /// Returns the children of each feature, generation after generation, as long as there are features.
    fn families(&self) -> Vec<Range<usize>> {
        let mut children = vec![0..0; self.features];
        let mut generation = 0..self.roots.min(self.features);
        let mut next = generation.end;
        for _ in 0..self.depth {
            if generation.is_empty() {
                break;
            }
            let first = next;
            for parent in generation {
                let end = next.saturating_add(self.children).min(self.features);
                children[parent] = next..end;
                next = end;
            }
            generation = first..next;
        }
        children
    }
}

impl World {
    fn of(options: &SynthOptions, seed: u64, task: &Task) -> Result<Self> {
        let d = options.d;
        let features = options.features;
        let directions = unit_rows(features, d, &mut stream(seed, "synthetic directions", 0))?;
        let directions = orthogonalised(&directions, options.orthogonal, task)?;
        let bias = unit_rows(1, d, &mut stream(seed, "synthetic bias", 0))?.flatten_all()?.to_vec1::<f32>()?;
        let probabilities = options.probabilities();
        let children = options.families();
        let mut has_parent = vec![false; features];
        children.iter().for_each(|range| has_parent[range.clone()].fill(true));
        let raised = raised(&probabilities, &children);
        let mut random = stream(seed, "synthetic causes", 0);
        let mut normal = || random.sample::<f64, _>(StandardNormal);
        let weights: Vec<f32> =
            (0..features * options.causes).map(|_| (options.correlation * normal()) as f32).collect();
        let own = |feature: usize| {
            let of = &weights[feature * options.causes..(feature + 1) * options.causes];
            let shared: f32 = of.iter().map(|weight| weight * weight).sum();
            (1.0 - shared).max(0.01).sqrt()
        };
        let own = (0..features).map(own).collect();
        let deviations = (0..features).map(|_| (SPREAD[0] + SPREAD[1] * normal()).abs() as f32).collect();
        let last = (features - 1) as f64;
        let mean = |rank: usize| STRENGTHS[0] + (STRENGTHS[1] - STRENGTHS[0]) * rank as f64 / last;
        Ok(Self {
            directions: directions.flatten_all()?.to_vec1()?,
            bias: bias.into_iter().map(|x| BIAS * x).collect(),
            d,
            floors: raised.iter().map(|p| floor(*p)).collect(),
            probabilities,
            children,
            has_parent,
            weights,
            own,
            means: (0..features).map(|rank| mean(rank) as f32).collect(),
            deviations,
        })
    }

    /// Writes one row, and returns the active features with their strengths, in order.
    fn row(&self, x: &mut [f32], random: &mut impl Rng) -> Vec<(usize, f32)> {
        let causes: Vec<f32> =
            (0..self.weights.len() / self.means.len()).map(|_| random.sample::<f32, _>(StandardNormal)).collect();
        let drawn = |feature: usize, random: &mut dyn rand::Rng| {
            let of = &self.weights[feature * causes.len()..(feature + 1) * causes.len()];
            let shared: f32 = of.iter().zip(&causes).map(|(weight, cause)| weight * cause).sum();
            let own: f32 = random.sample(StandardNormal);
            if shared + self.own[feature] * own <= self.floors[feature] {
                return 0.0;
            }
            let strength: f32 = random.sample(StandardNormal);
            (self.means[feature] + self.deviations[feature] * strength).max(0.0)
        };
        let mut found: Vec<(usize, f32)> = Vec::new();
        for feature in (0..self.means.len()).filter(|feature| !self.has_parent[*feature]) {
            let strength = drawn(feature, random);
            if strength > 0.0 {
                found.push((feature, strength));
            }
        }
        // Children are drawn where their parent is active: the others are not, whatever would be drawn.
        let mut next = 0;
        while let Some((parent, strength)) = found.get(next).copied() {
            next += 1;
            let children = self.children[parent].clone();
            let mut active: Vec<(usize, f32)> =
                children.map(|child| (child, drawn(child, random))).filter(|(_, code)| *code > 0.0).collect();
            if !active.is_empty() {
                let (child, code) = active.swap_remove(random.random_range(0..active.len()));
                found.push((child, code * strength / self.means[parent]));
            }
        }
        found.sort_unstable_by_key(|(feature, _)| *feature);
        x.copy_from_slice(&self.bias);
        for (feature, code) in &found {
            let direction = &self.directions[feature * self.d..(feature + 1) * self.d];
            x.iter_mut().zip(direction).for_each(|(x, along)| *x += code * along);
        }
        found
    }
}

/// Returns probabilities with which features are drawn so that about the given ones result: divided by that of the
/// parent, and raised for the siblings that may be chosen in its place.
fn raised(probabilities: &[f64], children: &[Range<usize>]) -> Vec<f64> {
    let mut raised = probabilities.to_vec();
    for (parent, range) in children.iter().enumerate() {
        let of_parent = probabilities[parent];
        let all: f64 = probabilities[range.clone()].iter().sum();
        for child in range.clone() {
            let own = probabilities[child];
            raised[child] = (own / of_parent * (1.0 + (all - own) / of_parent)).min(1.0);
        }
    }
    raised
}

/// Returns the number that a normal variable exceeds with a probability.
fn floor(p: f64) -> f32 {
    if p >= 1.0 { f32::NEG_INFINITY } else { (std::f64::consts::SQRT_2 * erf_inv(1.0 - 2.0 * p)) as f32 }
}

/// The number of rows of directions compared at a time.
const COMPARED: usize = 1024;

/// Returns directions of norm 1 after some steps of Adam on sum over i != j of (d_i . d_j)^2 + n sum (|d_i|^2 - 1)^2.
fn orthogonalised(directions: &Tensor, steps: usize, task: &Task) -> Result<Tensor> {
    let (rows, d) = directions.dims2()?;
    let mut values = directions.flatten_all()?.to_vec1::<f32>()?;
    let mut first = vec![0_f32; rows * d];
    let mut second = vec![0_f32; rows * d];
    let bar = task.begin("turning directions apart", Some(steps as u64));
    for step in 1..=steps {
        let all = Tensor::from_slice(&values, (rows, d), &Device::Cpu)?;
        let turned = all.t()?.contiguous()?;
        let mut slopes = Vec::with_capacity(rows * d);
        for start in (0..rows).step_by(COMPARED) {
            task.check()?;
            let part = all.narrow(0, start, COMPARED.min(rows - start))?;
            let products = part.matmul(&turned)?.matmul(&all)?;
            slopes.extend(products.flatten_all()?.to_vec1::<f32>()?);
        }
        let correction = |decay: f64| (1.0 - decay.powi(step as i32)) as f32;
        let corrections = DECAYS.map(correction);
        let both = first.chunks_mut(d).zip(second.chunks_mut(d));
        let rows_of_all = values.chunks_mut(d).zip(slopes.chunks(d)).zip(both);
        parallel::of_each(rows_of_all, &|((row, slopes), (first, second))| {
            let size: f32 = row.iter().map(|x| x * x).sum();
            // Products of a row with itself are taken out, and its length is held.
            let held = rows as f32 * (size - 1.0) - size;
            for (((x, slope), first), second) in row.iter_mut().zip(slopes).zip(first).zip(second) {
                let slope = 4.0 * (slope + held * *x);
                *first += (1.0 - DECAYS[0] as f32) * (slope - *first);
                *second += (1.0 - DECAYS[1] as f32) * (slope * slope - *second);
                *x -= RATE as f32 * (*first / corrections[0]) / ((*second / corrections[1]).sqrt() + 1e-8);
            }
        });
        bar.advance(1);
    }
    let found = Tensor::from_vec(values, (rows, d), &Device::Cpu)?;
    let lengths = found.sqr()?.sum_keepdim(1)?.sqrt()?.maximum(f32::MIN_POSITIVE)?;
    Ok(found.broadcast_div(&lengths)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> SynthOptions {
        SynthOptions {
            rows: 6000,
            d: 24,
            features: 60,
            roots: 4,
            children: 3,
            depth: 2,
            least: 0.01,
            causes: 5,
            orthogonal: 20,
            codes: true,
            ..SynthOptions::default()
        }
    }

    fn codes(made: &Synth) -> Vec<Vec<f32>> {
        made.codes.as_ref().unwrap().to_vec2().unwrap()
    }

    #[test]
    fn rows_are_their_codes_along_the_directions() {
        let made = SynthOptions { rows: 40, ..small() }.make(1, &Task::default()).unwrap();
        let along = made.codes.as_ref().unwrap().matmul(&made.directions).unwrap();
        let rest = (&made.x - along).unwrap().to_vec2::<f32>().unwrap();
        for row in &rest {
            assert!(row.iter().zip(&rest[0]).all(|(a, b)| (a - b).abs() < 1e-4));
            assert!((row.iter().map(|x| x * x).sum::<f32>().sqrt() - BIAS).abs() < 1e-4);
        }
        let active = codes(&made).iter().flatten().filter(|code| **code > 0.0).count();
        assert!((made.active - active as f64 / 40.0).abs() < 1e-9);
    }

    #[test]
    fn features_are_about_as_frequent_as_said_and_children_are_alone_and_with_their_parent() {
        let options = SynthOptions { correlation: 0.0, ..small() };
        let made = options.make(3, &Task::default()).unwrap();
        let codes = codes(&made);
        let share = |feature: usize| codes.iter().filter(|row| row[feature] > 0.0).count() as f64 / codes.len() as f64;
        // Roots and what has no parent are as frequent as said; of children the correction is a rough one.
        for feature in (0..4).chain(52..60) {
            let p = made.probabilities[feature];
            assert!(
                (share(feature) - p).abs() < 5.0 * (p / codes.len() as f64).sqrt(),
                "{feature}: {} {p}",
                share(feature)
            );
        }
        for feature in 4..52 {
            assert!(share(feature) < 1.3 * made.probabilities[feature] + 0.01, "{feature}: {}", share(feature));
            assert!(share(feature) > 0.3 * made.probabilities[feature], "{feature}: {}", share(feature));
        }
        let families = options.families();
        assert_eq!((families[0].clone(), families[4].clone(), families[16].clone()), (4..7, 16..19, 0..0));
        for row in &codes {
            for (parent, children) in families.iter().enumerate() {
                let active = children.clone().filter(|child| row[*child] > 0.0).count();
                assert!(active <= usize::from(row[parent] > 0.0));
            }
        }
    }

    #[test]
    fn causes_make_features_active_together() {
        let of = |correlation| {
            let options = SynthOptions { correlation, roots: 0, rows: 4000, ..small() };
            let codes = codes(&options.make(5, &Task::default()).unwrap());
            let counts: Vec<f64> =
                codes.iter().map(|row| row.iter().filter(|code| **code > 0.0).count() as f64).collect();
            let mean = counts.iter().sum::<f64>() / counts.len() as f64;
            counts.iter().map(|count| (count - mean).powi(2)).sum::<f64>() / counts.len() as f64
        };
        assert!(of(0.3) > 1.2 * of(0.0));
    }

    #[test]
    fn directions_are_turned_apart_and_parts_are_other_rows_of_them() {
        let cosines = |made: &Synth| {
            let all = made.directions.matmul(&made.directions.t().unwrap()).unwrap().to_vec2::<f32>().unwrap();
            assert!(all.iter().enumerate().all(|(i, row)| (row[i] - 1.0).abs() < 1e-5));
            all.iter().flatten().map(|x| x * x).sum::<f32>()
        };
        let make =
            |orthogonal, part| SynthOptions { rows: 8, orthogonal, part, ..small() }.make(2, &Task::default()).unwrap();
        assert!(cosines(&make(100, 0)) < cosines(&make(0, 0)));
        let values = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(values(&make(9, 0).directions), values(&make(9, 1).directions));
        assert_ne!(values(&make(9, 0).x), values(&make(9, 1).x));
        assert_eq!(values(&make(9, 1).x), values(&make(9, 1).x));
    }

    #[test]
    fn what_cannot_be_made_is_refused() {
        let refused = |options: SynthOptions| options.make(0, &Task::default()).unwrap_err().message;
        assert!(refused(SynthOptions { least: 0.5, ..small() }).starts_with("expected a `least` of at most `most`"));
        assert!(refused(SynthOptions { rows: usize::MAX, ..small() }).contains("synthetic activations"));
        assert!(refused(SynthOptions { features: usize::MAX / 2, ..small() }).contains("synthetic activations"));
    }
}
