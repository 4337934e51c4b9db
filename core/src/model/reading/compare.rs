//! The comparison of two runs: how far each site differs, the first difference, and the effect on the predictions.

use crate::bail;
use crate::base::results::MISSING;
use crate::base::{Card, Cell, Grid, Result, Table, Task, parallel};
use crate::model::cache::Cache;
use crate::model::run::Run;
use crate::model::site::{Heads, Place};
use crate::tensor::{Tensor, floats};

/// The difference of run b from run a at one site.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Difference {
    pub place: Place,
    /// Largest difference, max |a - b|; NaN if one of them has a NaN that the other has not.
    pub largest: f64,
    /// Relative difference: |a - b| / |a|, in the Euclidean norm over all real positions; 0 where both are zero.
    pub relative: f64,
    /// Cosine, a . b / (|a| |b|), over all real positions; NaN where one of them is zero.
    pub cosine: f64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct RunComparison {
    /// The sites that both runs recorded, in the order of the computation.
    pub sites: Vec<Difference>,
    /// KL(a || b) of the next-token distributions in nats: by text, by position.
    pub kl: Vec<Vec<f64>>,
}

impl RunComparison {
    /// Returns the first site that is not bit-identical.
    pub fn first(&self) -> Option<Place> {
        self.sites.iter().find(|site| site.largest != 0.0).map(|site| site.place)
    }

    pub fn table(&self) -> Table {
        let row = |site: &Difference| {
            let Difference { place, largest, relative, cosine } = *site;
            vec![place.to_string().into(), largest.into(), Cell::unless_nan(relative), Cell::unless_nan(cosine)]
        };
        Table::new("two runs, a and b", ["site", "max |a - b|", "|a - b| / |a|", "cosine"], self.sites.iter().map(row))
    }

    /// Summarises the outcome in a few lines.
    pub fn card(&self) -> Card {
        let all: Vec<f64> = self.kl.iter().flatten().copied().collect();
        let mean = all.iter().sum::<f64>() / all.len().max(1) as f64;
        let most = all.iter().copied().fold(0.0, larger);
        let first = match (self.first(), self.sites.is_empty()) {
            (Some(place), _) => place.to_string(),
            (None, true) => "no site was recorded in both".into(),
            (None, false) => "none".into(),
        };
        let fields = [
            ("first site that differs", first.into()),
            ("KL(a || b), mean over tokens, nats", mean.into()),
            ("KL(a || b), largest, nats", most.into()),
        ];
        Card::new("two runs, a and b", fields)
    }

    /// Makes a heat map of KL(a || b) by text and position; missing beyond the end of a text.
    pub fn grid(&self) -> Grid {
        let width = self.kl.iter().map(Vec::len).max().unwrap_or(0);
        let row =
            |text: &Vec<f64>| text.iter().copied().chain(std::iter::repeat_n(MISSING, width - text.len())).collect();
        Grid {
            title: "what the difference does to the prediction".into(),
            row_axis: "text".into(),
            column_axis: "position".into(),
            rows: (0..self.kl.len()).map(|text| text.to_string()).collect(),
            columns: (0..width).map(|position| position.to_string()).collect(),
            quantity: "KL(a || b), nats".into(),
            values: self.kl.iter().flat_map(|text| -> Vec<f64> { row(text) }).collect(),
            ..Grid::default()
        }
    }
}

/// Compares two runs over texts of the same lengths.
pub fn compare(a: &Run, b: &Run, task: &Task) -> Result<RunComparison> {
    if a.batch.lengths() != b.batch.lengths() {
        bail!(
            Shape,
            "expected two runs over texts of the same lengths, found {:?} and {:?} tokens",
            a.batch.lengths(),
            b.batch.lengths()
        );
    }
    if a.cache.positions() != b.cache.positions() {
        bail!(Shape, "expected the same positions in both runs, found {} and {}", kept(&a.cache), kept(&b.cache));
    }
    let mut sites = Vec::new();
    for (place, x) in a.cache.iter() {
        if let Some((_, y)) = b.cache.iter().find(|(other, _)| *other == place) {
            sites.push(difference(&a.cache, *place, x, y, task)?);
        }
    }
    Ok(RunComparison { sites, kl: divergences(a, b, task)? })
}

fn kept(cache: &Cache) -> String {
    cache.positions().map_or_else(|| "all".into(), |positions| format!("{positions:?}"))
}

fn difference(cache: &Cache, place: Place, a: &Tensor, b: &Tensor, task: &Task) -> Result<Difference> {
    if a.dims() != b.dims() {
        bail!(Shape, "`{place}` has the shape {:?} in one run and {:?} in the other", a.dims(), b.dims());
    }
    let mut sums = DifferenceSums::default();
    for row in 0..a.dim(0)? {
        let a = real(cache, place, a, row)?;
        let b = real(cache, place, b, row)?;
        for piece in 0..a.dim(0)? {
            task.check()?;
            sums.add(&floats(&a.get(piece)?)?, &floats(&b.get(piece)?)?);
        }
    }
    Ok(Difference { place, largest: sums.largest, relative: sums.relative(), cosine: sums.cosine() })
}

/// Returns the activations of one text, without padding.
fn real(cache: &Cache, place: Place, x: &Tensor, row: usize) -> Result<Tensor> {
    let mut x = x.get(row)?;
    let Some(length) = cache.lengths().get(row).copied() else { bail!(Bug, "a row without its length") };
    let square = place.site.kind.heads() == Heads::Square;
    if square {
        x = x.narrow(x.rank() - 1, 0, length)?;
    }
    if cache.positions().is_none() {
        let axis = if square && place.head.is_none() { 1 } else { 0 };
        x = x.narrow(axis, 0, length)?;
    }
    Ok(x)
}

/// Sums over the numbers of two activations, a and b.
#[derive(Default)]
pub(crate) struct DifferenceSums {
    /// Largest difference, max |a - b|; NaN if one of them has a NaN that the other has not.
    pub largest: f64,
    /// Sum of squares of a - b.
    pub apart: f64,
    /// Sum of squares of a.
    pub aa: f64,
    /// Sum of squares of b.
    pub bb: f64,
    /// Dot product of a and b.
    pub ab: f64,
}

impl DifferenceSums {
    /// Computes |a - b| / |a|; 0 where both are zero.
    pub fn relative(&self) -> f64 {
        if self.apart == 0.0 { 0.0 } else { (self.apart / self.aa).sqrt() }
    }

    /// Computes a . b / (|a| |b|); NaN where one of them is zero.
    pub fn cosine(&self) -> f64 {
        self.ab / (self.aa * self.bb).sqrt()
    }

    pub fn add(&mut self, a: &[f64], b: &[f64]) {
        for (a, b) in a.iter().zip(b) {
            // Equal infinities have no difference, though their subtraction gives NaN.
            let apart = if a == b || a.is_nan() && b.is_nan() { 0.0 } else { (a - b).abs() };
            self.largest = larger(self.largest, apart);
            self.apart += apart * apart;
            self.aa += a * a;
            self.bb += b * b;
            self.ab += a * b;
        }
    }
}

/// Returns the larger number; NaN if either is NaN.
fn larger(a: f64, b: f64) -> f64 {
    if a.is_nan() || a > b { a } else { b }
}

fn divergences(a: &Run, b: &Run, task: &Task) -> Result<Vec<Vec<f64>>> {
    if a.logits.dims() != b.logits.dims() {
        bail!(
            Shape,
            "the logits have the shape {:?} in one run and {:?} in the other",
            a.logits.dims(),
            b.logits.dims()
        );
    }
    let text = |(row, length): (usize, usize)| {
        let a = a.logits.get(row)?;
        let b = b.logits.get(row)?;
        // Each position by itself, in order, so that the number of threads changes nothing.
        parallel::try_map(length, &|position| {
            task.check()?;
            Ok(kl(&floats(&a.get(position)?)?, &floats(&b.get(position)?)?))
        })
    };
    a.batch.lengths().into_iter().enumerate().map(text).collect()
}

/// Computes KL(p || q) = sum p ln(p / q) in nats, of the softmax p of `a` and q of `b`.
pub fn kl(a: &[f64], b: &[f64]) -> f64 {
    let all_a = log_sum_exp(a);
    let all_b = log_sum_exp(b);
    let terms = a.iter().zip(b).map(|(a, b)| {
        let log_p = a - all_a;
        let log_q = b - all_b;
        // What has no probability contributes nothing, even where q has none either.
        if log_p == f64::NEG_INFINITY { 0.0 } else { log_p.exp() * (log_p - log_q) }
    });
    terms.sum()
}

/// Computes log(sum of e^x).
pub fn log_sum_exp<T: Copy + Into<f64>>(logits: &[T]) -> f64 {
    let numbers = || logits.iter().map(|logit| Into::<f64>::into(*logit));
    let most = numbers().fold(f64::NEG_INFINITY, f64::max);
    most + numbers().map(|logit| (logit - most).exp()).sum::<f64>().ln()
}
