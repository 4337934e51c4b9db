//! All pairs with their runs, as searches and judgements of edges need them.

use super::propagation::Start;
use super::texts::{CutValues, EdgeTexts, Means};
use super::wiring::Wiring;
use super::{EdgeAblation, SHARE, check, check_values, groups};
use crate::circuit::ablations::{Ablations, naming_weights};
use crate::circuit::graph::Graph;
use crate::intervene::grid::PairGroup;
use crate::intervene::metric::{Measure, MetricPlan};
use crate::sae::prelude::*;

/// Runs of all pairs with edges cut.
pub struct EdgeRuns<'a> {
    pub wiring: Arc<Wiring>,
    pub texts: Vec<EdgeTexts<'a>>,
    /// The number of pairs.
    pub pairs: usize,
}

impl<'a> EdgeRuns<'a> {
    /// Runs all prompts once, and keeps what each node reads and writes.
    pub fn new(
        model: &Model,
        pairs: &[TokenPair],
        measure: Measure<'a>,
        ablation: EdgeAblation,
        task: &Task,
    ) -> Result<Self> {
        check(model, pairs)?;
        let wiring = Arc::new(Wiring::new(model.decoder.config())?);
        let decoder = Arc::new(model.decoder.ungrouped()?);
        let groups = groups(model, pairs, measure, SHARE)?;
        check_memory(&decoder, &wiring, &groups)?;
        let means = means(&decoder, &wiring, &groups, measure, ablation, task)?;
        let others = others(ablation, &means);
        let mut texts = Vec::new();
        for group in &groups {
            task.check()?;
            let plan = |which| MetricPlan::new(measure, &decoder, &group.pairs, which, &group.numbers, task);
            let clean = plan(Prompt::Clean)?;
            let corrupt = plan(Prompt::Corrupt)?;
            let found = EdgeTexts::new(&decoder, &wiring, clean, group.numbers.clone(), &others, &corrupt, task)?;
            check_values(&found.clean.values, &group.numbers, &String::new).map_err(|e| naming_weights(e, model))?;
            texts.push(found);
        }
        Ok(Self { wiring, texts, pairs: pairs.len() })
    }

    /// Cuts all edges but those of a graph in the runs that a search begins with.
    pub fn begin_with(&mut self, graph: &Graph, task: &Task) -> Result<()> {
        let kept = self.kept(graph).map_err(|e| e.about("among"))?;
        for texts in &mut self.texts {
            task.check()?;
            texts.begin_with(&kept, task)?;
            check_values(&texts.clean.values, &texts.numbers, &|| " where edges are cut".into())?;
        }
        Ok(())
    }

    /// Returns whether each edge is kept in the runs that a search begins with.
    pub fn begun(&self) -> Vec<bool> {
        let all = || vec![true; self.wiring.edges()];
        self.texts.first().map_or_else(all, |texts| texts.clean.kept.clone())
    }

    /// Returns the mean of the metric over all pairs in clean runs, or in those that a search begins with.
    pub fn clean(&self) -> f64 {
        self.texts.iter().flat_map(|texts| &texts.clean.values).sum::<f64>() / self.pairs as f64
    }

    /// Returns the metric of each pair with only some edges kept.
    pub fn with_kept(&self, kept: &[bool], task: &Task) -> Result<Vec<f64>> {
        let mut all = vec![f64::NAN; self.pairs];
        for texts in &self.texts {
            task.check()?;
            let start = Start { base: &texts.clean, kept, push: None, variants: 1 };
            let values = texts.values(start, task)?.concat();
            values.iter().zip(&texts.numbers).for_each(|(value, number)| all[*number] = *value);
        }
        Ok(all)
    }
}

/// Returns what cut edges carry.
pub fn others<'a>(ablation: EdgeAblation, means: &'a [crate::tensor::Tensor]) -> CutValues<'a> {
    match ablation {
        EdgeAblation::Corrupt => CutValues::Corrupt,
        EdgeAblation::Zero => CutValues::Zero,
        EdgeAblation::Mean => CutValues::Means(means),
    }
}

/// Returns the means of what senders write in all corrupt runs; empty where they are not needed.
pub fn means(
    decoder: &Decoder,
    wiring: &Wiring,
    groups: &[PairGroup],
    measure: Measure,
    ablation: EdgeAblation,
    task: &Task,
) -> Result<Vec<crate::tensor::Tensor>> {
    if ablation != EdgeAblation::Mean {
        return Ok(Vec::new());
    }
    let mut means = Means::default();
    for group in groups {
        let plan = MetricPlan::new(measure, decoder, &group.pairs, Prompt::Corrupt, &group.numbers, task)?;
        means.add(decoder, wiring, &plan, task)?;
    }
    means.finish()
}

/// Refuses more pairs than memory holds with what all of their nodes read and write.
fn check_memory(decoder: &Decoder, wiring: &Wiring, groups: &[PairGroup]) -> Result<()> {
    // What is written, what cutting adds, and with edges cut an input for each receiver.
    let mut rows = 2 * wiring.senders.len() + wiring.receivers.len();
    if wiring.is_normed {
        // What the heads of each layer before a receiver write to it in sum.
        rows += wiring.receivers.len() * wiring.layers / 2;
    }
    let bytes = rows * decoder.config().d_model * decoder.dtype().size_in_bytes();
    let tokens: usize = groups.iter().map(|group| group.pairs.len() * group.length()).sum();
    memory::check(tokens as u128 * bytes as u128, || format!("what the nodes of {tokens} tokens read and write"))
        .map_err(|e| e.hint("take fewer pairs").about("pairs"))
}
