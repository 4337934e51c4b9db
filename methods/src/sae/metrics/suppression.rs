//! Suppression of codes: how much smaller the codes of features are than those that would reconstruct best (Wright &
//! Sharkey 2024), as a penalty on their size makes them.
//!
//! With all other features held, the factor on the codes c of a feature that leaves the least squared error is
//! s = 1 + sum c d . e / sum c² |d|², over the rows where it is active, with its direction d and the error e = x - x_hat.
//! Of the best codes, 1 / s is kept: 1 for codes of the right size, below 1 for suppressed ones. The interval of s is that of a
//! ratio of sums over independent rows (Cochran 1977, 6.4). The baseline gives each row the error of another one.

use rand::Rng;
use rand::seq::SliceRandom;

use crate::base::bootstrap::{bootstrap, wilson};
use crate::common::*;
use crate::sae::{Sae, codes, rows};

/// Rows at a time; errors are exchanged within them.
const ROWS: usize = 1024;

/// Quantile of the standard normal distribution for an interval of 95 %.
const Z: f64 = 1.959_964;

/// The seed of the bootstrap.
const SEED: u64 = 0;

crate::options! {
    #[derive(Debug, Clone, Copy)]
    pub struct SuppressionOptions {
        /// Features that are active in fewer rows are left out.
        fewest: usize = 20 => at_least(2.0);
    }
}

/// The sums over the rows of one feature of u = c d . e and v = c² |d|².
#[derive(Debug, Clone, Copy, Default)]
struct ProjectionSums {
    rows: usize,
    u: f64,
    v: f64,
    uu: f64,
    uv: f64,
    vv: f64,
}

impl ProjectionSums {
    fn add(&mut self, u: f64, v: f64) {
        self.rows += 1;
        self.u += u;
        self.v += v;
        self.uu += u * u;
        self.uv += u * v;
        self.vv += v * v;
    }

    /// Returns the share of the best codes that is kept, and its interval; None where the best factor may be 0 or less.
    fn kept(&self) -> (Option<f64>, Option<[f64; 2]>) {
        let ratio = self.u / self.v;
        let spread = (self.uu - 2.0 * ratio * self.uv + ratio * ratio * self.vv).max(0.0);
        let n = self.rows as f64;
        let error = (spread * n / (n - 1.0)).sqrt() / self.v;
        let factor = 1.0 + ratio;
        let low = 1.0 + ratio - Z * error;
        let high = 1.0 + ratio + Z * error;
        ((factor > 0.0).then(|| 1.0 / factor), (low > 0.0).then(|| [1.0 / high, 1.0 / low]))
    }
}

/// A feature with the share of its best codes that is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct FeatureSuppression {
    pub feature: usize,
    /// Rows where it is active.
    pub rows: usize,
    /// Share of the best codes that is kept; None where the error would be least with codes of 0 or of the other sign.
    pub share: Option<f64>,
    pub interval: Option<[f64; 2]>,
    /// The interval with the errors of other rows.
    by_chance: Option<[f64; 2]>,
}

/// The features of a dictionary that are active in enough rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Suppression {
    pub kept: Vec<FeatureSuppression>,
    /// Share that is kept of all codes together: the best factor on all of them.
    pub together: Option<f64>,
    features: usize,
}

/// Measures what is kept of the best codes on activations `[.., d]`.
pub fn suppression(
    sae: &Sae,
    x: &Tensor,
    options: SuppressionOptions,
    draws: &mut impl Rng,
    task: &Task,
) -> Result<Suppression> {
    sae.check_writes_what_it_reads()?;
    let x = rows::matrix(x, sae.d_in(), "activations")?;
    let count = x.dim(0)?;
    let width = sae.d_out();
    let parts = sae.parts();
    if count == 0 {
        return Err(err!(Argument, "expected activations, found none").about("x"));
    }
    let directions = directions(sae)?;
    let direction = |feature: u32| &directions[feature as usize * width..(feature as usize + 1) * width];
    let lengths: Vec<f64> = directions.chunks_exact(width).map(|row| dot(row, row)).collect();
    let mut own = vec![ProjectionSums::default(); sae.d_sae()];
    let mut chance = vec![ProjectionSums::default(); sae.d_sae()];
    let mut all = ProjectionSums::default();
    let bar = task.begin("suppression", Some(count as u64));
    for start in (0..count).step_by(ROWS) {
        let part = x.narrow(0, start, ROWS.min(count - start))?;
        let found = sae.encode_sparse(&part, task)?.finite()?;
        // Where inputs are normalised, codes and errors are those of normalised ones.
        let scaled = parts.scaling.of(&part)?.before(&part)?;
        let mut errors = errors(sae, &scaled, start)?;
        for (row, error) in errors.chunks_exact_mut(width).enumerate() {
            let (features, codes) = found.row(row);
            for (feature, code) in features.iter().zip(codes) {
                error.iter_mut().zip(direction(*feature)).for_each(|(error, d)| *error -= code * d);
            }
        }
        let mut others: Vec<usize> = (0..found.rows()).collect();
        others.shuffle(draws);
        for (row, other) in others.iter().enumerate() {
            if row % 16 == 0 {
                task.check()?;
            }
            let error = |row: usize| &errors[row * width..(row + 1) * width];
            let (features, codes) = found.row(row);
            for (feature, code) in features.iter().zip(codes).filter(|(_, code)| **code != 0.0) {
                let d = direction(*feature);
                let at = *feature as usize;
                let code = f64::from(*code);
                let u = code * dot(d, error(row));
                let v = code * code * lengths[at];
                own[at].add(u, v);
                all.add(u, v);
                chance[at].add(code * dot(d, error(*other)), v);
            }
        }
        bar.advance(found.rows() as u64);
    }
    let enough = own.iter().zip(&chance).enumerate().filter(|(_, (own, _))| own.rows >= options.fewest && own.v > 0.0);
    let kept = enough.map(|(feature, (own, chance))| {
        let (share, interval) = own.kept();
        FeatureSuppression { feature, rows: own.rows, share, interval, by_chance: chance.kept().1 }
    });
    let together = if all.v > 0.0 { all.kept().0 } else { None };
    Ok(Suppression { kept: kept.collect(), together, features: sae.d_sae() })
}

/// Returns what a code of 1 writes, feature after feature.
fn directions(sae: &Sae) -> Result<Vec<f32>> {
    let parts = sae.parts();
    let decoder = parts.decoder.to_dtype(DType::F32)?;
    let decoder = if parts.rescaled {
        decoder.broadcast_div(&codes::norms(&decoder)?.maximum(f32::MIN_POSITIVE)?.unsqueeze(1)?)?
    } else {
        decoder
    };
    Ok(decoder.flatten_all()?.to_vec1()?)
}

/// Returns scaled rows less the bias and the skip connection.
fn errors(sae: &Sae, scaled: &Tensor, before: usize) -> Result<Vec<f32>> {
    let parts = sae.parts();
    let left = match &parts.decoder_bias {
        Some(bias) => scaled.broadcast_sub(bias)?,
        None => scaled.clone(),
    };
    rows::finite(&left, "activations", before as u64)
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

impl Suppression {
    /// Tabulates the mean over features, and how many are suppressed, beside what that is with errors of other rows.
    pub fn summary(&self) -> Table {
        let shares: Vec<f64> = self.kept.iter().filter_map(|kept| kept.share).collect();
        let n = shares.len();
        let measured = self.kept.len();
        let mean = |drawn: &mut dyn Iterator<Item = f64>| drawn.sum::<f64>() / n as f64;
        let interval = bootstrap(n, SEED, |drawn| mean(&mut drawn.iter().map(|at| shares[*at])));
        let [low, high] = Cell::ends(interval);
        let whole = (n > 0).then(|| mean(&mut shares.iter().copied()));
        let kept: Vec<Cell> = vec!["kept, mean over features".into(), whole.into(), low, high, n.into(), 1.0.into()];
        let together: Vec<Cell> = vec![
            "kept, all codes together".into(),
            self.together.into(),
            Cell::Missing,
            Cell::Missing,
            measured.into(),
            1.0.into(),
        ];
        let share = |name: &str, is_one: fn([f64; 2]) -> bool| -> Vec<Cell> {
            let count = |interval: fn(&FeatureSuppression) -> Option<[f64; 2]>| {
                self.kept.iter().filter(|kept| interval(kept).is_some_and(is_one)).count()
            };
            let own = count(|kept| kept.interval);
            let chance = count(|kept| kept.by_chance);
            let of = |count: usize| Cell::from((measured > 0).then(|| count as f64 / measured as f64));
            let [low, high] = wilson(own, measured).map(|end| Cell::from(end.is_finite().then_some(end)));
            vec![name.into(), of(own), low, high, measured.into(), of(chance)]
        };
        Table::new(
            format!("suppression of {measured} of {} features", self.features),
            ["measure", "value", "low", "high", "features", "by chance"],
            [
                kept,
                together,
                share("share suppressed", |[_, high]| high < 1.0),
                share("share too large", |[low, _]| low > 1.0),
            ],
        )
    }

    /// Tabulates the features, the most suppressed first.
    pub fn table(&self) -> Table {
        let mut kept: Vec<&FeatureSuppression> = self.kept.iter().collect();
        order::sort_ascending(&mut kept, |kept| kept.share.unwrap_or(f64::INFINITY));
        let row = |kept: &&FeatureSuppression| -> Vec<Cell> {
            let [low, high] = Cell::ends(kept.interval);
            vec![kept.feature.into(), kept.rows.into(), kept.share.into(), low, high]
        };
        Table::new("what is kept of the best codes", ["feature", "rows", "kept", "low", "high"], kept.iter().map(row))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::stream;
    use crate::sae::{Activation, Parts, baselines};
    use crate::tensor::{Device, create};

    /// Draws rows of numbers from 0.5 to 1.5.
    fn x(width: usize) -> Tensor {
        let drawn = create::randn(&[600, width], DType::F64, &mut stream(4, "x", 0)).unwrap();
        ((drawn.sin().unwrap() * 0.5).unwrap() + 1.0).unwrap().to_dtype(DType::F32).unwrap()
    }

    fn of(sae: &Sae, x: &Tensor) -> Suppression {
        suppression(sae, x, SuppressionOptions::default(), &mut stream(0, "s", 0), &Task::default()).unwrap()
    }

    /// Neurons whose codes are a x + b.
    fn neurons(a: f64, b: f32) -> Sae {
        let parts = baselines::neurons_relu(6, None).unwrap().parts().clone();
        let bias = Tensor::full(b, 6, &Device::Cpu).unwrap();
        Sae::new(Parts { encoder: (&parts.encoder * a).unwrap(), encoder_bias: Some(bias), ..parts }).unwrap()
    }

    #[test]
    fn exact_codes_are_kept_and_smaller_ones_by_the_known_amount() {
        let x = x(6);
        let exact = of(&neurons(1.0, 0.0), &x);
        assert_eq!(exact.kept.len(), 6);
        for kept in &exact.kept {
            assert_eq!((kept.share, kept.interval), (Some(1.0), Some([1.0, 1.0])));
        }
        // Four fifths of the best codes, with no doubt.
        for kept in &of(&neurons(0.8, 0.0), &x).kept {
            assert!((kept.share.unwrap() - 0.8).abs() < 1e-6 && (kept.interval.unwrap()[1] - 0.8).abs() < 1e-6);
        }
        // An l1 penalty takes the same from each code: sum c² / sum c x.
        let shrunk = of(&neurons(1.0, -0.2), &x);
        let columns = x.t().unwrap().to_vec2::<f32>().unwrap();
        for kept in &shrunk.kept {
            let x = columns[kept.feature].iter().map(|x| f64::from(*x));
            let (own, best) = x.fold((0.0, 0.0), |(own, best), x| (own + (x - 0.2).powi(2), best + (x - 0.2) * x));
            let [low, high] = kept.interval.unwrap();
            assert!((kept.share.unwrap() - own / best).abs() < 1e-6, "{kept:?}");
            assert!(low < own / best && own / best < high && high < 0.9, "{kept:?}");
        }
        let summary = shrunk.summary();
        assert_eq!((&summary.rows[2][1], &summary.rows[3][1]), (&Cell::Float(1.0), &Cell::Float(0.0)));
        assert!(of(&neurons(1.5, 0.0), &x).kept.iter().all(|kept| kept.interval.unwrap()[0] > 1.0));
    }

    #[test]
    fn the_best_factor_leaves_the_least_error_with_others_held() {
        let sae = baselines::random(6, 15, Some(4), &mut stream(2, "directions", 0)).unwrap();
        let parts = Parts { activation: Activation::Relu, ..sae.parts().clone() };
        let sae = Sae::new(Parts { encoder: (&parts.encoder * 0.7).unwrap(), ..parts }).unwrap();
        let x = create::randn(&[400, 6], DType::F32, &mut stream(5, "x", 0)).unwrap();
        let found = of(&sae, &x);
        assert_eq!(found.kept.len(), 15);
        let codes = sae.encode(&x).unwrap().to_vec2::<f32>().unwrap();
        let error = |feature: usize, factor: f64| -> f64 {
            let scaled: Vec<f32> = codes
                .iter()
                .flat_map(|row| {
                    row.iter().enumerate().map(|(at, c)| if at == feature { *c * factor as f32 } else { *c })
                })
                .collect();
            let scaled = Tensor::from_vec(scaled, (400, 15), &Device::Cpu).unwrap();
            let left = (&x - codes::decoded(sae.parts(), &scaled).unwrap()).unwrap().to_dtype(DType::F64).unwrap();
            left.sqr().unwrap().sum_all().unwrap().to_scalar().unwrap()
        };
        for kept in found.kept.iter().filter(|kept| kept.share.is_some()) {
            let best = 1.0 / kept.share.unwrap();
            let least = error(kept.feature, best);
            assert!(least < error(kept.feature, best + 0.05) && least < error(kept.feature, best - 0.05), "{kept:?}");
        }
    }

    #[test]
    fn what_is_seldom_active_is_left_out_and_widths_are_checked() {
        let sae = neurons(1.0, -1.3);
        let few = of(&sae, &x(6).narrow(0, 0, 40).unwrap());
        assert!(few.kept.iter().all(|kept| kept.rows >= 20), "{few:?}");
        assert!(few.kept.len() < 6);
        let none = of(&neurons(1.0, -9.0), &x(6));
        assert_eq!((none.kept.len(), none.together), (0, None));
        assert_eq!(none.summary().rows[0][1], Cell::Missing);
        let task = Task::default();
        assert!(suppression(&sae, &x(5), SuppressionOptions::default(), &mut stream(0, "s", 0), &task).is_err());
    }
}
