//! Automatic circuit discovery (Conmy et al. 2023, algorithm 1): edges are tried one after the other, from the logits
//! back, and one is removed if the loss with it cut as well is less than a threshold above the loss before.
//!
//! Three things make that cheap. An input of a node from which no kept edges lead to the logits changes nothing, so its
//! edges cost nothing. All senders of a receiver come before it, so what they write stays that of the clean run, and
//! only what comes after the receiver is recomputed. And the edges of one receiver are tried together: each in a run
//! without those before it that are expected to be removed, which is the run that counts as long as the expectation was
//! right. What is expected of an edge is what became of most edges of its sender, and after a wrong guess what the runs
//! that followed it show.

use super::exact::moving;
use super::names::graph_of;
use super::propagation::{Push, Start};
use super::runs::EdgeRuns;
use super::texts::RunState;
use super::wiring::Extent;
use super::{EdgeAblation, check_values, completed, provenance, scale};
use crate::base::task::{Bar, InterruptibleWork};
use crate::circuit::graph::Graph;
use crate::intervene::grid::quantity;
use crate::intervene::metric::Measure;
use crate::options::{Plain, Setting};
use crate::sae::prelude::*;

/// A threshold, or a list of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Thresholds {
    pub values: Vec<f64>,
    pub is_one: bool,
}

impl Setting for Thresholds {
    fn wanted() -> String {
        "a number or an array of numbers".into()
    }

    fn of(value: &Plain) -> Option<Self> {
        match f64::of(value) {
            Some(one) => Some(Self { values: vec![one], is_one: true }),
            None => {
                let values = Vec::<f64>::of(value).filter(|values| !values.is_empty())?;
                Some(Self { values, is_one: false })
            }
        }
    }

    fn written(&self) -> String {
        match self.values.as_slice() {
            [one] if self.is_one => one.written(),
            _ => self.values.written(),
        }
    }
}

crate::options! {
    /// Thresholds of the search, and what cut edges carry.
    pub struct AcdcOptions {
        /// An edge is removed if cutting it as well makes the metric worse by less than this, in the metric's unit;
        /// where it is worse by just as much, rounding decides, some 1e-7 in f32. A list of thresholds finds a circuit
        /// for each.
        threshold: Thresholds = Thresholds { values: vec![0.01], is_one: true };
        /// The activation that a cut edge carries.
        ablation: EdgeAblation = EdgeAblation::Corrupt;
    }
}

/// Edges that a search tried, in its order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EdgeTrial {
    pub edge: usize,
    /// The loss with this edge cut as well.
    pub loss: f64,
    /// The rise above the loss before.
    pub gain: f64,
    pub is_kept: bool,
}

/// Finds the circuits of some thresholds, each with the gain of its edges: among all edges, or among those of a graph, with
/// all others cut from the beginning. A search that was interrupted keeps the edges that it did not reach, and no circuits
/// follow it.
pub fn acdc(
    model: &Model,
    pairs: &[TokenPair],
    measure: Measure,
    normalised: bool,
    among: Option<&Graph>,
    options: &AcdcOptions,
    task: &Task,
) -> Result<Vec<Graph>> {
    if let Some(wrong) = options.threshold.values.iter().find(|threshold| !threshold.is_finite()) {
        return Err(err!(Argument, "expected finite thresholds, found {wrong}").about("threshold"));
    }
    let mut runs = EdgeRuns::new(model, pairs, measure, options.ablation, task)?;
    if let Some(some) = among {
        runs.begin_with(some, task)?;
    }
    let scale = scale(model, pairs, measure, normalised, task)?.abs();
    let bar = task.begin("trying edges", Some((runs.wiring.edges() * options.threshold.values.len()) as u64));
    let mut found = Vec::new();
    for threshold in &options.threshold.values {
        let (trials, is_whole) = search(&runs, measure, threshold / scale, bar.as_ref(), task)?;
        let mut gains: Vec<Option<f64>> = runs.begun().into_iter().map(|kept| kept.then_some(0.0)).collect();
        for trial in &trials {
            gains[trial.edge] = trial.is_kept.then_some(scale * trial.gain);
        }
        let kept = gains.iter().enumerate().filter_map(|(edge, gain)| gain.map(|gain| (edge, gain)));
        let mut graph = graph_of(&runs.wiring, kept);
        graph.title = format!("ACDC at {threshold}, {} ablation", options.ablation.word());
        graph.model = model.name().to_string();
        graph.quantity = Some(quantity("worse by", measure, normalised));
        graph.is_whole = is_whole;
        graph.made = vec![("threshold".into(), (*threshold).into())];
        if let Some(some) = among {
            graph.made.push(("among".into(), some.edges.len().into()));
        }
        graph.made.extend(provenance(measure, pairs, options.ablation, model));
        found.push(graph);
        if !is_whole {
            break;
        }
    }
    Ok(found)
}

/// Tries all edges that the runs begin with; returns the trials so far, and false if interrupted.
pub fn search(
    runs: &EdgeRuns,
    measure: Measure,
    threshold: f64,
    bar: &dyn Bar,
    task: &Task,
) -> Result<(Vec<EdgeTrial>, bool)> {
    // The loss is the metric where less is better, and the negative of all others.
    let is_loss = matches!(measure, Measure::Kl(_) | Measure::MeanKl(_) | Measure::Loss | Measure::Rank);
    let sign = if is_loss { 1.0 } else { -1.0 };
    let mut search = AcdcSearch {
        runs,
        sign,
        threshold,
        states: runs.texts.iter().map(|texts| texts.clean.clone()).collect(),
        kept: runs.begun(),
        loss: sign * runs.clean(),
        at_once: FIRST,
        leaning: vec![0; runs.wiring.senders.len()],
        trials: Vec::new(),
        made: 0,
        piece: task.piece(),
        task,
    };
    let is_moving =
        runs.texts.iter().map(|texts| moving(texts.shifts(Extent::Everywhere))).collect::<Result<Vec<_>>>()?;
    let is_moving: Vec<bool> =
        (0..runs.wiring.senders.len()).map(|sender| is_moving.iter().any(|moving| moving[sender])).collect();
    let done = (0..runs.wiring.receivers.len()).rev().try_for_each(|receiver| {
        search.receiver(receiver, &is_moving)?;
        bar.advance(runs.wiring.before(receiver).len() as u64);
        Ok(())
    });
    let is_whole = completed(done, &search.piece, search.made)?;
    Ok((search.trials, is_whole))
}

/// The number of edges that are tried together where nothing is known of them: at first, at least and at most.
const FIRST: usize = 8;
const FEWEST: usize = 4;
const MOST: usize = 64;

struct AcdcSearch<'s, 'a> {
    runs: &'s EdgeRuns<'a>,
    sign: f64,
    threshold: f64,
    /// The runs so far, one for each group of texts; only of nodes that matter.
    states: Vec<RunState>,
    kept: Vec<bool>,
    /// The loss with the edges that are kept so far.
    loss: f64,
    at_once: usize,
    /// The number of edges of each sender that were kept, less that of those that were removed.
    leaning: Vec<i32>,
    trials: Vec<EdgeTrial>,
    /// The number of joint trials so far.
    made: u64,
    piece: InterruptibleWork<'s>,
    task: &'s Task,
}

impl AcdcSearch<'_, '_> {
    /// Tries all edges into a receiver, those of the latest senders first.
    fn receiver(&mut self, receiver: usize, is_moving: &[bool]) -> Result<()> {
        let wiring = &self.runs.wiring;
        let extent = wiring.extents(&self.kept).1[receiver];
        let begun = |sender: &usize| self.kept[wiring.edge(*sender, receiver)];
        let order: Vec<usize> = wiring.before(receiver).rev().filter(begun).collect();
        let counts = |sender: &usize| extent != Extent::Nowhere && is_moving[*sender];
        // Whether each is expected to go: most do.
        let mut expected: Vec<bool> = order.iter().map(|sender| self.leaning[*sender] <= 0).collect();
        let mut gone = Vec::new();
        let mut at = 0;
        // The number of edges of which runs have shown what to expect.
        let mut shown = 0;
        while at < order.len() {
            let at_once = if shown > 0 { shown.max(FEWEST) } else { self.at_once };
            let some: Vec<usize> = (at..order.len()).filter(|place| counts(&order[*place])).take(at_once).collect();
            let end = match some.last() {
                Some(last) if some.len() == at_once => last + 1,
                _ => order.len(),
            };
            self.piece.check(self.made)?;
            let losses = self.losses(receiver, extent, &self.sets(&order, &some, &expected, &gone))?;
            self.made += 1;
            let mut tried = 0;
            let mut is_right = true;
            let mut before = self.loss;
            while at < end && is_right {
                let sender = order[at];
                before = self.loss;
                let loss = if counts(&sender) { losses[tried] } else { self.loss };
                let gain = loss - self.loss;
                let goes = gain < self.threshold;
                let edge = wiring.edge(sender, receiver);
                self.trials.push(EdgeTrial { edge, loss, gain, is_kept: !goes });
                self.kept[edge] = !goes;
                if goes {
                    gone.push(sender);
                    self.loss = loss;
                }
                if counts(&sender) {
                    self.leaning[sender] += if goes { -1 } else { 1 };
                    is_right = goes == expected[at];
                    tried += 1;
                }
                at += 1;
            }
            if shown == 0 {
                self.at_once = if is_right { (2 * self.at_once).min(MOST) } else { (self.at_once / 2).max(FEWEST) };
            }
            shown = some.len() - tried;
            if !is_right && shown > 0 {
                // The runs after the wrong guess show what to expect, though not the result.
                if expected[some[tried - 1]] {
                    before = losses[tried - 1];
                }
                for (place, loss) in some.iter().zip(&losses).skip(tried) {
                    let went = expected[*place];
                    expected[*place] = loss - before < self.threshold;
                    if went {
                        before = *loss;
                    }
                }
            }
        }
        if extent != Extent::Nowhere && !gone.is_empty() {
            for (texts, state) in self.runs.texts.iter().zip(&mut self.states) {
                *state = texts.state(state, &self.kept, self.task)?;
            }
        }
        Ok(())
    }

    /// Returns the senders that are cut in the run of each trial: those that are removed, those before it that are
    /// expected to be, and its own.
    fn sets(&self, order: &[usize], some: &[usize], expected: &[bool], gone: &[usize]) -> Vec<Vec<usize>> {
        let mut cut = gone.to_vec();
        let mut sets = Vec::new();
        for place in some {
            sets.push([cut.as_slice(), &[order[*place]]].concat());
            if expected[*place] {
                cut.push(order[*place]);
            }
        }
        sets
    }

    /// Returns the loss with each set of senders cut from a receiver.
    fn losses(&self, receiver: usize, extent: Extent, sets: &[Vec<usize>]) -> Result<Vec<f64>> {
        let mut sums = vec![0.0; sets.len()];
        for (texts, state) in self.runs.texts.iter().zip(&self.states) {
            for (some, sums) in sets.chunks(texts.at_once()).zip(sums.chunks_mut(texts.at_once())) {
                self.task.check()?;
                let change = texts.cut(state, receiver, extent, some)?;
                let push = Push { receiver, change };
                // The state has the edges into this receiver uncut, all of which these sets are of.
                let start = Start { base: state, kept: &state.kept, push: Some(push), variants: some.len() };
                for (sum, values) in sums.iter_mut().zip(texts.values(start, self.task)?) {
                    check_values(&values, &texts.numbers, &|| " where edges are cut".into())?;
                    *sum += self.sign * values.iter().sum::<f64>();
                }
            }
        }
        Ok(sums.into_iter().map(|sum| sum / self.runs.pairs as f64).collect())
    }
}
