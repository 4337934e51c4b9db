//! Exact effects: a run with each edge cut, of which only what comes after the edge is computed.

use super::propagation::{Push, Start};
use super::runs::EdgeRuns;
use super::texts::EdgeTexts;
use super::{EdgeAblation, Scores, check_values, completed};
use crate::intervene::metric::Measure;
use crate::sae::prelude::*;

/// Computes the change that cutting each edge alone makes, as a mean over pairs.
pub fn scores(
    model: &Model,
    pairs: &[TokenPair],
    measure: Measure,
    ablation: EdgeAblation,
    task: &Task,
) -> Result<Scores> {
    let runs = EdgeRuns::new(model, pairs, measure, ablation, task)?;
    let wiring = &runs.wiring;
    let mut scores = vec![None; wiring.edges()];
    let bar = task.begin("cutting edges", Some(wiring.edges() as u64));
    let piece = task.piece();
    let mut made = 0;
    let done = (0..wiring.receivers.len()).rev().try_for_each(|receiver| {
        piece.check(made)?;
        let senders = wiring.before(receiver);
        let mut sums = vec![0.0; senders.len()];
        for texts in &runs.texts {
            singly(texts, receiver, &mut sums, task)?;
        }
        for (sender, sum) in senders.clone().zip(sums) {
            scores[wiring.edge(sender, receiver)] = Some(sum / runs.pairs as f64);
        }
        bar.advance(senders.len() as u64);
        made += 1;
        Ok(())
    });
    let is_whole = completed(done, &piece, made)?;
    Ok(Scores { scores, is_whole })
}

/// Adds for each sender of a receiver the sum over pairs of the change that cutting that edge makes.
fn singly(texts: &EdgeTexts, receiver: usize, sums: &mut [f64], task: &Task) -> Result<()> {
    let kept = &texts.clean.kept;
    let extent = texts.wiring.extents(kept).1[receiver];
    let moving = moving(texts.shifts(extent))?;
    let senders: Vec<usize> = texts.wiring.before(receiver).filter(|sender| moving[*sender]).collect();
    for some in senders.chunks(texts.at_once()) {
        task.check()?;
        let sets: Vec<Vec<usize>> = some.iter().map(|sender| vec![*sender]).collect();
        let push = Push { receiver, change: texts.cut(&texts.clean, receiver, extent, &sets)? };
        let start = Start { base: &texts.clean, kept, push: Some(push), variants: some.len() };
        for (sender, values) in some.iter().zip(texts.values(start, task)?) {
            check_values(&values, &texts.numbers, &|| " where one edge is cut".into())?;
            sums[*sender] += values.iter().zip(&texts.clean.values).map(|(cut, clean)| cut - clean).sum::<f64>();
        }
    }
    Ok(())
}

/// Returns whether each sender writes something else in the other run.
pub fn moving(shifts: &Tensor) -> Result<Vec<bool>> {
    let largest = shifts.flatten_from(1)?.abs()?.max(1)?;
    Ok(floats(&largest)?.into_iter().map(|largest| largest != 0.0).collect())
}
