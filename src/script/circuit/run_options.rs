//! The runs that circuits are judged by, from the options of a call.

use crate::circuit::ablations::{NodeAblations, naming_weights};
use crate::circuit::channels::ChannelRuns;
use crate::circuit::edges::{EdgeAblation, EdgeRuns};
use crate::circuit::graph::Units;
use crate::circuit::sparse_features::{FeatureAblations, NodeAblation};
use crate::intervene::metric::Measure;
use crate::script::circuit::Circuit;
use crate::script::intervene::Metric;
use crate::script::model::prelude::*;

crate::options! {
    /// Options of runs that circuits are judged by.
    #[derive(Clone)]
    pub struct RunOptions {
        /// Metric of each pair. Faithfulness is a share, so that `normalised` metrics are refused.
        metric: Metric = Metric::default() => usually("metric::logit_diff()");
        /// Replacement of all but the circuit: its activations in the run of the pair's corrupt prompt, their mean over
        /// those runs, or zero.
        ablation: EdgeAblation = EdgeAblation::Corrupt;
    }
}

/// Runs `work` with the ablations of a circuit's kind, and the measure.
pub fn with_runs<T>(
    ctx: &NativeCallContext,
    circuit: &Circuit,
    m: &Model,
    pairs: &Array,
    RunOptions { metric, ablation }: &RunOptions,
    work: impl FnOnce(&dyn NodeAblations, Measure) -> Result<T>,
) -> Fallible<T> {
    if metric.is_normalised() {
        return Err(err!(Argument, "expected a metric without `normalised`: faithfulness is a share already")
            .about("metric")
            .into());
    }
    metric.over(ctx, m, &pairs.clone().into(), |pairs, measure, task| {
        let run = || match circuit.graph().units() {
            Units::Edges => work(&EdgeRuns::new(m.core(), pairs, measure, *ablation, task)?, measure),
            Units::Nodes if circuit.graph().has_channels() => {
                work(&ChannelRuns::new(m.core(), pairs, measure, *ablation, task)?, measure)
            }
            Units::Nodes => {
                let saes = circuit.core.dictionaries()?;
                let positions = FeatureAblations::positions(circuit.graph());
                let ablation = NodeAblation::from(*ablation);
                work(&FeatureAblations::of_pairs(m.core(), saes, pairs, measure, ablation, positions, task)?, measure)
            }
        };
        run().map_err(|e| naming_weights(e, m.core()))
    })
}

pub fn maybe(value: Option<f64>) -> Dynamic {
    value.map_or(Dynamic::UNIT, Dynamic::from)
}

pub fn maybe_json(value: Option<f64>) -> Value {
    value.map_or(Value::Null, number)
}
