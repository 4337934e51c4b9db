//! Which features of a dictionary promote a token: by their direction, by what the model does without them, and by when
//! they are active.

use super::logits::direct;
use super::survey::{Kept, Moment, Tally};
use crate::base::{Cell, Result, Table, Task};
use crate::err;
use crate::intervene::OnFeatures;
use crate::intervene::features::Which;
use crate::model::Model;
use crate::model::batch::Batch;
use crate::model::hooks::{Action, Bound};
use crate::model::run::Ask;
use crate::model::site::Place;
use crate::sae::Sae;
use crate::sae::splice::Rest;
use crate::tensor::{DType, Tensor, normalise};

/// Rows of tokens that go through the model at once.
const AT_ONCE: usize = 32;

/// At so many of a feature's strongest positions the model is run without it.
const ABLATED_AT: usize = 16;

/// A feature, and how much it promotes the tokens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Promoter {
    pub feature: usize,
    /// At how many positions it was active.
    pub fired: u64,
    /// Its mean code, where it is active, times how much longer its direction makes the tokens' logits than all others
    /// on average, through the weights of the last norm, whose division is left out.
    pub direct: f64,
    /// Of its code with the probability of the tokens at the same position, over all positions.
    pub correlation: f64,
    /// By how much the tokens' probability falls at its strongest positions when its code is set to 0.
    pub ablation: f64,
}

/// What is counted over all positions.
struct Sums {
    positions: f64,
    p: f64,
    p_squared: f64,
    /// Feature by feature: sums of c^2 and of c p; those of c are in the tallies.
    squares: Vec<f64>,
    products: Vec<f64>,
    tallies: Vec<Tally>,
}

/// The features that promote the tokens most, the one with the largest effect of ablation first. The model is run
/// without `candidates` features each: those with the largest direct effect, and those with the largest correlation.
pub fn predicting(
    model: &Model,
    (sae, place): (&Sae, Place),
    rows: &[Vec<u32>],
    tokens: &[u32],
    candidates: usize,
    task: &Task,
) -> Result<Vec<Promoter>> {
    if tokens.is_empty() {
        return Err(err!(Argument, "expected at least one token to look for, found none"));
    }
    let sums = read(model, (sae, place), rows, tokens, task)?;
    let direct = direct(model, sae, tokens)?;
    let mut found: Vec<Promoter> = (0..sae.d_sae())
        .filter(|f| sums.tallies[*f].fired > 0)
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
    let by: [fn(&Promoter) -> f64; 2] = [|p| p.direct, |p| p.correlation];
    let mut chosen = Vec::new();
    for measure in by {
        found.sort_by(|a, b| measure(b).total_cmp(&measure(a)).then(a.feature.cmp(&b.feature)));
        chosen.extend(found.iter().take(candidates.max(1)).map(|promoter| promoter.feature));
    }
    found.retain(|promoter| chosen.contains(&promoter.feature));
    let bar = task.begin("running without features", Some(found.len() as u64));
    for promoter in &mut found {
        let tally = &sums.tallies[promoter.feature];
        promoter.ablation = ablation(model, (sae, place), promoter.feature, &tally.top, rows, tokens, task)?;
        bar.advance(1);
    }
    found.sort_by(|a, b| b.ablation.total_cmp(&a.ablation).then(a.feature.cmp(&b.feature)));
    Ok(found)
}

/// The same as rows of a table.
pub fn table(found: &[Promoter]) -> Table {
    let columns = ["feature", "active positions", "direct effect", "correlation", "fall of P without it"];
    let rows = found.iter().map(|p| {
        vec![Cell::from(p.feature), Cell::Int(p.fired as i64), p.direct.into(), p.correlation.into(), p.ablation.into()]
    });
    Table { title: String::new(), columns: columns.map(String::from).to_vec(), rows: rows.collect() }
}

fn read(model: &Model, (sae, place): (&Sae, Place), rows: &[Vec<u32>], tokens: &[u32], task: &Task) -> Result<Sums> {
    let zeros = vec![0.0; sae.d_sae()];
    let tallies = vec![Tally::default(); sae.d_sae()];
    let mut sums = Sums { positions: 0.0, p: 0.0, p_squared: 0.0, squares: zeros.clone(), products: zeros, tallies };
    let bar = task.begin("reading what is predicted", Some(rows.len() as u64));
    for (part, rows) in rows.chunks(AT_ONCE).enumerate() {
        task.check()?;
        let batch = Batch::new(rows.to_vec())?;
        let run = model.decoder.run(&batch, Ask { places: vec![place], ..Ask::default() }, task)?;
        let p = together(&run.logits, tokens)?.to_dtype(DType::F64)?.to_vec2::<f64>()?;
        let codes = sae.encode(&run.cache.at(place)?.to_dtype(DType::F32)?)?;
        for (row, ids) in rows.iter().enumerate() {
            let codes = codes.get(row)?.narrow(0, 0, ids.len())?.to_vec2::<f32>()?;
            for (column, codes) in codes.iter().enumerate() {
                sums.take(((part * AT_ONCE + row) as u32, column as u32), codes, p[row][column]);
            }
        }
        bar.advance(rows.len() as u64);
    }
    Ok(sums)
}

impl Sums {
    fn take(&mut self, (row, column): (u32, u32), codes: &[f32], p: f64) {
        const KEPT: Kept = Kept { top: ABLATED_AT, some: 0, seed: 0 };
        self.positions += 1.0;
        self.p += p;
        self.p_squared += p * p;
        for (feature, code) in codes.iter().enumerate().filter(|(_, code)| **code != 0.0) {
            let c = f64::from(*code);
            self.squares[feature] += c * c;
            self.products[feature] += c * p;
            self.tallies[feature].take(Moment { row, column, code: *code }, feature, KEPT);
        }
    }

    /// Pearson's, over all positions; 0 where one of the two never changes.
    fn correlation(&self, feature: usize) -> f64 {
        let (n, c) = (self.positions, self.tallies[feature].sum);
        let both = self.products[feature] - c * self.p / n;
        let spreads = (self.squares[feature] - c * c / n) * (self.p_squared - self.p * self.p / n);
        if spreads > 0.0 { both / spreads.sqrt() } else { 0.0 }
    }
}

/// The probability of the tokens together: `[.., vocab]` to `[..]`.
fn together(logits: &Tensor, tokens: &[u32]) -> Result<Tensor> {
    let p = normalise::softmax(logits, -1)?.contiguous()?;
    let axis = p.rank() - 1;
    Ok(p.index_select(&Tensor::new(tokens, p.device())?, axis)?.sum(axis)?)
}

/// How much the probability of the tokens falls at these positions when a feature is taken off.
fn ablation(
    model: &Model,
    (sae, place): (&Sae, Place),
    feature: usize,
    moments: &[Moment],
    rows: &[Vec<u32>],
    tokens: &[u32],
    task: &Task,
) -> Result<f64> {
    let texts = moments.iter().filter_map(|moment| {
        rows.get(moment.row as usize).and_then(|row| row.get(..=moment.column as usize)).map(<[u32]>::to_vec)
    });
    let batch = Batch::new(texts.collect())?;
    let last = |hooks: Vec<Bound>| -> Result<f64> {
        let p = together(&model.decoder.logits(&batch, hooks, task)?, tokens)?.to_dtype(DType::F64)?;
        let each = batch
            .lengths()
            .into_iter()
            .enumerate()
            .map(|(row, length)| Ok(p.get(row)?.get(length - 1)?.to_scalar::<f64>()?));
        let each: Vec<f64> = each.collect::<Result<_>>()?;
        Ok(each.iter().sum::<f64>() / each.len() as f64)
    };
    let hook = OnFeatures::new(sae.clone(), &Which::Only(vec![feature]), Rest::Kept, Box::new(Action::Zero.begin()))?;
    let hook = hook.at(model.decoder.config(), &place.to_string(), None)?;
    Ok(last(Vec::new())? - last(vec![hook])?)
}
