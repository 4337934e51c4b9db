//! Predictions of a graph for changed features, compared with what the changes do in the model.

use super::dictionaries::GraphDictionaries;
use super::graph::AttributionGraph;
use super::intervene::{FeatureChange, Freeze, InterventionRun, NodeChange, intervene};
use super::mlps::MlpPaths;
use super::steps::LayerPart;
use crate::common::*;

/// The change of a target as a graph predicts it, and as it was measured.
#[derive(Debug, Clone, PartialEq)]
pub struct EffectPrediction {
    pub label: String,
    pub predicted: f64,
    pub measured: f64,
}

impl AttributionGraph {
    /// Runs the prompt with changed features, and compares the change of each target with its prediction.
    pub fn effects(
        &self,
        model: &Model,
        dictionaries: impl Into<GraphDictionaries>,
        changes: &[impl Copy + Into<NodeChange>],
        freeze: Freeze,
        task: &Task,
    ) -> Result<Vec<EffectPrediction>> {
        let dictionaries: GraphDictionaries = dictionaries.into();
        self.check_dictionaries(&dictionaries)?;
        let last = self.tokens.len().saturating_sub(1);
        let run = intervene(model, dictionaries, &self.tokens, changes, freeze, &[last], task)?;
        self.predictions(changes, freeze, &run)
    }

    /// Predicts the change of each target for changed features, with the change in a run: of logits over their mean, or
    /// of differences; directions are left out. With all frozen only direct edges count; otherwise features that read a
    /// changed one change by as much as their pre-activation, and pass the change on.
    pub fn predictions(
        &self,
        changes: &[impl Copy + Into<NodeChange>],
        freeze: Freeze,
        run: &InterventionRun,
    ) -> Result<Vec<EffectPrediction>> {
        if self.mlps == MlpPaths::Relp && freeze == Freeze::All {
            return Err(err!(
                Argument,
                "expected a run whose MLPs answer, as edges of this graph pass them, found one that holds all"
            )
            .hint("#{ freeze: \"patterns\" }, or \"nothing\"")
            .about("freeze"));
        }
        let count = self.features.len();
        // The change of each node, as a share of its activation.
        let mut share = vec![0.0; count];
        for change in changes {
            let NodeChange { part, change }: NodeChange = (*change).into();
            let FeatureChange { layer, position, feature, value } = change;
            let known = self
                .features
                .iter()
                .position(|one| (one.layer, one.part, one.position, one.feature) == (layer, part, position, feature));
            let Some(node) = known else {
                let what = if part == LayerPart::Attention { "head" } else { "feature" };
                return Err(err!(
                    Argument,
                    "expected a feature of the graph, found {what} {feature} of layer {layer} at position {position}"
                ));
            };
            let activation = self.features[node].activation;
            share[node] = (value - activation) / activation;
        }
        let fixed: Vec<bool> = share.iter().map(|share| *share != 0.0).collect();
        let change_of = |node: usize, share: &[f64]| -> f64 {
            self.matrix.row(node).iter().zip(share).map(|(edge, share)| f64::from(*edge) * share).sum()
        };
        if freeze != Freeze::All {
            for node in (0..count).filter(|node| !fixed[*node]) {
                share[node] = change_of(node, &share) / self.features[node].activation;
            }
        }
        let last = run.after.dim(0)?.checked_sub(1).ok_or_else(|| err!(Bug, "a run without positions"))?;
        let change = floats(&(run.after.get(last)? - run.before.get(last)?)?)?;
        let mean = change.iter().sum::<f64>() / change.len().max(1) as f64;
        let first = self.counts().first_target();
        let targets = self.targets.iter().enumerate().filter_map(|(number, target)| {
            let of = |token: u32| change.get(token as usize).copied();
            // A direction is read after the final norm, not in the logits.
            let measured = match (target.token, target.pair) {
                (Some(token), _) => of(token)? - mean,
                (None, Some((one, other))) => of(one)? - of(other)?,
                (None, None) => return None,
            };
            let predicted = change_of(first + number, &share);
            Some(EffectPrediction { label: target.label.clone(), predicted, measured })
        });
        Ok(targets.collect())
    }
}

/// Returns a table of the predictions and what was measured.
pub fn table(predictions: &[EffectPrediction]) -> Table {
    let row = |one: &EffectPrediction| vec![one.label.as_str().into(), one.predicted.into(), one.measured.into()];
    Table::new(
        "change of logits, less the mean over all tokens",
        ["target", "predicted", "measured"],
        predictions.iter().map(row),
    )
}
