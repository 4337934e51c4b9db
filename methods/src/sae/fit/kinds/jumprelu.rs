//! `jumprelu`: a threshold for each feature, learned with straight-through estimators, and an L0 penalty (Rajamanoharan
//! et al. 2024b).

use serde::Serialize;

use super::choice::{CodeChoice, Jump, SlopeEstimator};
use super::{
    DictionaryKind, FitProgress, InitialCoefficient, KindPass, KindProperties, ParamName, initial_coefficient,
    penalised,
};
use crate::common::*;
use crate::sae::Activation;
use crate::sae::fit::params::{DictionaryShape, Params};
use crate::sae::select::greater;
use crate::tensor::elementwise;

pub const NAME: &str = "jumprelu";

crate::options! {
    #[derive(Debug, Serialize)]
    pub struct JumpRelu {
        /// Weight of the penalty: the mean number of codes of a row, or with a `target`, (codes / target - 1)².
        l0: Option<f64> = None => at_least(0.0);
        /// The L0 to reach. Without `l0`, the coefficient is adapted during training.
        target: Option<f64> = None => above(0.0);
        /// Width of the interval around a threshold in which pre-activations have a gradient for it, at the scale of the
        /// input.
        bandwidth: f64 = 0.001 => above(0.0);
        /// Initial threshold.
        threshold: Option<f64> = None => usually("0.001, or with a `target` the one that leaves as many codes");
        /// Estimator of the penalty's gradient for thresholds.
        estimate: SlopeEstimator = SlopeEstimator::Paper;
    }
}

/// The default initial threshold.
const THRESHOLD: f64 = 0.001;

impl JumpRelu {
    /// Returns the number of codes whose distance the penalty squares, as the trainer of dictionary_learning has it.
    fn square(&self) -> Option<f64> {
        self.target.filter(|_| self.l0.is_some())
    }

    /// Computes the rectangle kernel of equation 11: 1 within half a bandwidth of the threshold.
    fn near(&self, pre: &Tensor, threshold: &Tensor) -> Result<Tensor> {
        let distance = pre.detach().broadcast_sub(&threshold.detach())?.abs()?;
        let half = (threshold.detach().zeros_like()? + self.bandwidth / 2.0)?;
        greater(&half.broadcast_as(distance.dims())?.contiguous()?, &distance)
    }

    /// Gives a quantity a gradient of its own for the thresholds: `value - (threshold - the same number) * slope`.
    fn with_threshold_gradient(value: &Tensor, threshold: &Tensor, slope: &Tensor) -> Result<Tensor> {
        let nothing = (threshold - threshold.detach())?;
        Ok(value.sub(&slope.broadcast_mul(&nothing)?)?)
    }
}

impl DictionaryKind for JumpRelu {
    fn properties(&self) -> KindProperties {
        let is_adapted = self.target.is_some() && self.l0.is_none();
        KindProperties {
            is_centred: false,
            more: vec![(ParamName::Threshold, self.threshold.unwrap_or(THRESHOLD))],
            gate: ParamName::Threshold,
            target: self.target,
            starts_sparse: self.target.is_some() && self.threshold.is_none(),
            adapted_from: is_adapted.then_some(InitialCoefficient::Estimated),
            ..KindProperties::of(NAME)
        }
    }

    fn check(&self, _shape: DictionaryShape) -> Result<()> {
        if !(self.bandwidth.is_finite() && self.bandwidth > 0.0) {
            return Err(err!(Argument, "expected a number above 0 as `bandwidth`, found {}", self.bandwidth));
        }
        penalised(["l0", "target"], [self.l0, self.target])
    }

    /// Equations 10 and 11: d/d threshold = -(threshold / bandwidth) where the threshold is near.
    fn codes(&self, pass: &KindPass) -> Result<Tensor> {
        let threshold = pass.params.get(ParamName::Threshold)?.as_tensor();
        let codes = elementwise::relu(pass.pre)?.mul(&greater(pass.pre, threshold)?)?;
        let slope = self.near(pass.pre, threshold)?.broadcast_mul(&(threshold.detach() / self.bandwidth)?)?;
        Self::with_threshold_gradient(&codes, threshold, &slope)
    }

    /// Computes the penalty, whose gradient is that of equation 12: d/d threshold of a feature's activity = -1 /
    /// bandwidth where the threshold is near.
    fn penalty(&self, pass: &KindPass, codes: &Tensor) -> Result<Option<Tensor>> {
        let threshold = pass.params.get(ParamName::Threshold)?.as_tensor();
        let fires = greater(pass.pre, threshold)?;
        let near = match self.estimate {
            SlopeEstimator::Paper => self.near(pass.pre, threshold)?,
            SlopeEstimator::DictionaryLearning => self.near(codes, threshold)?,
        };
        let slope = (near / self.bandwidth)?;
        let count = Self::with_threshold_gradient(&fires, threshold, &slope)?.sum(1)?.mean(0)?;
        let count = match self.square() {
            Some(target) => ((count / target)? - 1.0)?.sqr()?,
            None => count,
        };
        Ok(Some((count * initial_coefficient(self.l0))?))
    }

    fn choice(&self, _progress: FitProgress) -> Option<CodeChoice<'_>> {
        let Self { bandwidth, estimate, .. } = *self;
        Some(CodeChoice::Above(Jump { l0: initial_coefficient(self.l0), target: self.square(), bandwidth, estimate }))
    }

    fn activation(&self, params: &Params, _threshold: Option<f64>) -> Result<Activation> {
        Ok(Activation::Threshold(params.get(ParamName::Threshold)?.as_detached_tensor()))
    }
}
