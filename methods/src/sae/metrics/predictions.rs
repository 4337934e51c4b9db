//! Predictions of a model, clean and with a changed site: cross-entropy and KL, in nats.

use crate::base::results::{Cell, Table};
use crate::common::*;
use crate::model::reading::compare::log_sum_exp;
use crate::tensor::dtype;

/// One number for each run of a model: unchanged, with the reconstruction at the site, with zeros there, and with the
/// mean of the site over the same text.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Losses {
    pub clean: f64,
    pub spliced: f64,
    pub zero: f64,
    pub mean: f64,
}

impl Losses {
    /// Returns (zero - spliced) / (zero - clean): 1 where splicing loses nothing, 0 where it loses as much as zeros.
    pub fn recovered(&self) -> Option<f64> {
        recovered(self.zero, self.spliced, self.clean)
    }

    /// Returns the loss recovered against the mean of the site instead of zeros.
    pub fn recovered_of_mean(&self) -> Option<f64> {
        recovered(self.mean, self.spliced, self.clean)
    }

    fn each(&mut self) -> [&mut f64; 4] {
        [&mut self.clean, &mut self.spliced, &mut self.zero, &mut self.mean]
    }

    fn add(&mut self, other: &Losses) {
        let mut other = *other;
        self.each().into_iter().zip(other.each()).for_each(|(sum, value)| *sum += *value);
    }

    fn over(mut self, count: u64) -> Self {
        self.each().into_iter().for_each(|value| *value /= count as f64);
        self
    }

    fn cells(&self) -> [Cell; 6] {
        let Self { clean, spliced, zero, mean } = *self;
        [Some(clean), Some(spliced), Some(zero), Some(mean), self.recovered(), self.recovered_of_mean()].map(Cell::from)
    }
}

fn recovered(worst: f64, found: f64, best: f64) -> Option<f64> {
    (worst != best).then(|| (worst - found) / (worst - best))
}

/// The cross-entropy of the predictions of one class of tokens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ByClass {
    pub class: u32,
    pub predictions: u64,
    pub ce: Losses,
}

/// The loss of a model when a dictionary is spliced in: means over all predictions that count.
#[derive(Debug, Clone, PartialEq)]
pub struct Effect {
    pub predictions: u64,
    /// The positions that the KL is over.
    pub positions: u64,
    /// -log p of the next token.
    pub ce: Losses,
    /// KL(clean || changed), which is 0 for `clean`.
    pub kl: Losses,
    /// Losses by the class of the token that is predicted, where classes were given, in their order.
    pub classes: Vec<ByClass>,
}

/// Names of the columns that [`Losses`] fills.
const COLUMNS: [&str; 6] = ["clean", "spliced", "zero", "mean", "recovered", "recovered_of_mean"];

impl Effect {
    pub fn table(&self) -> Table {
        let row =
            |name: &str, losses: &Losses| [Cell::from(name)].into_iter().chain(losses.cells()).collect::<Vec<_>>();
        Table::new(
            if self.positions == self.predictions {
                format!("what is lost over {} predictions, in nats", self.predictions)
            } else {
                let Self { predictions, positions, .. } = self;
                format!("what is lost over {predictions} predictions, KL over {positions} positions, in nats")
            },
            ["measure"].into_iter().chain(COLUMNS),
            [row("cross-entropy", &self.ce), row("KL(clean || changed)", &self.kl)],
        )
    }

    /// Tabulates the cross-entropy by class; `names` are those of the classes from 0.
    pub fn by_class(&self, names: &[&str]) -> Table {
        let name = |class: u32| match names.get(class as usize) {
            Some(name) => Cell::from(*name),
            None => Cell::Int(i64::from(class)),
        };
        let row = |class: &ByClass| {
            let first = [name(class.class), class.predictions.into()];
            first.into_iter().chain(class.ce.cells()).collect::<Vec<_>>()
        };
        Table::new(
            "cross-entropy by the class of the token, in nats",
            ["class", "predictions"].into_iter().chain(COLUMNS),
            self.classes.iter().map(row),
        )
    }
}

/// The sums of predictions.
#[derive(Debug, Default)]
pub struct Predictions {
    count: u64,
    positions: u64,
    ce: Losses,
    kl: Losses,
    classes: std::collections::BTreeMap<u32, (u64, Losses)>,
}

impl Predictions {
    /// Adds a position; without a loss where no token comes next.
    pub fn add(&mut self, ce: Option<&Losses>, kl: &Losses, class: Option<u32>) {
        self.positions += 1;
        self.kl.add(kl);
        let Some(ce) = ce else { return };
        self.count += 1;
        self.ce.add(ce);
        if let Some(class) = class {
            let (count, sum) = self.classes.entry(class).or_default();
            *count += 1;
            sum.add(ce);
        }
    }

    pub fn finish(self) -> Result<Effect> {
        if self.count == 0 {
            return Err(err!(Argument, "expected predictions to score, found none")
                .hint("each needs two consecutive tokens that are not skipped"));
        }
        let class = |(class, (predictions, sum)): (u32, (u64, Losses))| ByClass {
            class,
            predictions,
            ce: sum.over(predictions),
        };
        Ok(Effect {
            predictions: self.count,
            positions: self.positions,
            ce: self.ce.over(self.count),
            kl: self.kl.over(self.positions),
            classes: self.classes.into_iter().map(class).collect(),
        })
    }
}

/// The losses of one prediction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cost {
    /// -log p of the target.
    pub ce: f64,
    /// Divergence KL(clean || changed).
    pub kl: f64,
}

impl From<kernels::ComparedRow> for Cost {
    fn from(row: kernels::ComparedRow) -> Self {
        Self { ce: row.loss, kl: row.divergence }
    }
}

/// Computes the losses at each position of `targets`, by logits `[pos, vocab]` of both runs. Sums are in f64.
pub fn judged(clean: &Tensor, changed: &Tensor, targets: &[(usize, u32)], task: &Task) -> Result<Vec<Cost>> {
    let (rows, vocab) = clean.dims2()?;
    let numbers = |t: &Tensor| -> Result<Vec<f32>> { Ok(dtype::convert(t, DType::F32)?.flatten_all()?.to_vec1()?) };
    let clean = numbers(clean)?;
    let changed = numbers(changed)?;
    let row = |(position, target): &(usize, u32)| {
        task.check()?;
        let place = position * vocab..(position + 1) * vocab;
        let target = *target as usize;
        let (Some(clean), Some(changed)) = (clean.get(place.clone()), changed.get(place)) else {
            return Err(err!(Bug, "position {position} of {rows} rows of logits"));
        };
        let Some(wanted) = changed.get(target) else {
            return Err(err!(Index, "expected tokens below {vocab}, the number of logits, found {target}"));
        };
        let total = log_sum_exp(changed);
        Ok(Cost { ce: total - f64::from(*wanted), kl: divergence(clean, changed, total) })
    };
    parallel::try_map(targets.len(), &|at| row(&targets[at]))
}

/// Computes sum p (log p - log q), where `total` is that of q.
fn divergence(clean: &[f32], changed: &[f32], total: f64) -> f64 {
    let clean_total = log_sum_exp(clean);
    let term = |(clean, changed): (&f32, &f32)| {
        let p = (f64::from(*clean) - clean_total).exp();
        // A token without probability adds nothing, whatever its logit is.
        if p > 0.0 { p * (f64::from(*clean) - f64::from(*changed)) } else { 0.0 }
    };
    clean.iter().zip(changed).map(term).sum::<f64>() - (clean_total - total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Device;

    #[test]
    fn divergences_and_losses_are_those_of_their_formulas() {
        let logits = |p: [f32; 3]| Tensor::new(&[p.map(f32::ln), p.map(|p| p.ln() + 7.0)], &Device::Cpu).unwrap();
        let p = logits([0.5, 0.25, 0.25]);
        let q = logits([0.25, 0.5, 0.25]);
        let found = judged(&p, &q, &[(0, 1), (1, 0)], &Task::default()).unwrap();
        let kl = 0.25 * 2.0_f64.ln();
        for (Cost { ce, kl: found }, expected) in found.into_iter().zip([2.0_f64.ln(), 4.0_f64.ln()]) {
            assert!((ce - expected).abs() < 1e-6 && (found - kl).abs() < 1e-6, "{ce} {found}");
        }
        assert_eq!(judged(&p, &p, &[(1, 2)], &Task::default()).unwrap()[0].kl, 0.0);
        assert!(judged(&p, &q, &[(0, 3)], &Task::default()).is_err());
        let never = Tensor::new(&[[0.0_f32, f32::NEG_INFINITY]], &Device::Cpu).unwrap();
        assert_eq!(judged(&never, &never, &[(0, 0)], &Task::default()).unwrap(), [Cost { ce: 0.0, kl: 0.0 }]);
    }

    #[test]
    fn what_is_recovered_lies_between_zeros_and_the_clean_run() {
        let losses = Losses { clean: 1.0, spliced: 2.0, zero: 5.0, mean: 3.0 };
        assert_eq!((losses.recovered(), losses.recovered_of_mean()), (Some(0.75), Some(0.5)));
        assert_eq!(Losses { zero: 1.0, ..losses }.recovered(), None);
        let mut sums = Predictions::default();
        sums.add(Some(&losses), &Losses::default(), Some(4));
        sums.add(Some(&Losses { spliced: 4.0, ..losses }), &Losses::default(), Some(2));
        let effect = sums.finish().unwrap();
        assert_eq!((effect.predictions, effect.ce.spliced, effect.ce.clean), (2, 3.0, 1.0));
        assert_eq!(
            effect.classes.iter().map(|class| (class.class, class.ce.spliced)).collect::<Vec<_>>(),
            [(2, 4.0), (4, 2.0)]
        );
        assert_eq!(effect.by_class(&["", "", "two"]).rows[0][0], "two".into());
        assert_eq!(effect.table().rows[0][5], Cell::Float(0.5));
        assert!(Predictions::default().finish().is_err());
    }
}
