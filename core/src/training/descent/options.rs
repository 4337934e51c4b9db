//! Options of descents: the learning rate, and the constraints of parameters by name.

use std::collections::BTreeMap;

use crate::options::{Plain, Setting};
use crate::training::schedule::ScheduleShape;

crate::options! {
    /// Options of all descents.
    pub struct DescentOptions {
        /// Peak learning rate.
        lr: f64 = 1e-3 => above(0.0);
        /// Learning rate schedule.
        schedule: ScheduleShape = ScheduleShape::Constant;
        /// Steps of learning rate warm-up.
        warmup: u64 = 0;
        /// Steps after which the learning rate has decayed; a schedule other than "constant" needs it.
        steps: Option<u64> = None => usually("none").at_least(1.0);
        /// Steps on which the learning rate of "trapezoid" decays.
        decay: Option<u64> = None => usually("a fifth of the steps");
        /// Maximum gradient norm, over all parameters together.
        clip: Option<f64> = None => usually("none").above(0.0);
        /// Parameters whose rows keep length 1: their names, or true for all.
        unit: ParameterChoice = ParameterChoice::default() => usually("none");
        /// Parameters that keep orthonormal columns, or rows where those are fewer: their names, or true for all.
        orthogonal: ParameterChoice = ParameterChoice::default() => usually("none");
        /// Bounds of the numbers, [low, high], or a map from names of parameters to bounds.
        range: ParameterRanges = ParameterRanges::default() => usually("none");
    }

    pub struct AdamWOptions {
        /// Decay rates of the gradient's moments.
        betas: [f64; 2] = [0.9, 0.999] => at_least(0.0).at_most(1.0);
        /// Number that is added to the divisor.
        eps: f64 = 1e-8 => above(0.0);
        /// Weight decay, apart from the gradient: a step multiplies parameters by 1 - lr weight_decay.
        weight_decay: f64 = 0.01 => at_least(0.0);
        with descent: DescentOptions;
    }

    pub struct AdamOptions {
        /// Decay rates of the gradient's moments.
        betas: [f64; 2] = [0.9, 0.999] => at_least(0.0).at_most(1.0);
        /// Number that is added to the divisor.
        eps: f64 = 1e-8 => above(0.0);
        /// Weight decay within the gradient: its product with the parameter is added to the gradient.
        weight_decay: f64 = 0.0 => at_least(0.0);
        with descent: DescentOptions;
    }

    pub struct SgdOptions {
        /// Share of the previous step's change that is kept.
        momentum: f64 = 0.0 => at_least(0.0).at_most(1.0);
        /// Weight decay within the gradient: its product with the parameter is added to the gradient.
        weight_decay: f64 = 0.0 => at_least(0.0);
        with descent: DescentOptions;
    }
}

/// The parameters that an option is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParameterChoice {
    All,
    Named(Vec<String>),
}

impl Default for ParameterChoice {
    fn default() -> Self {
        Self::Named(Vec::new())
    }
}

impl Setting for ParameterChoice {
    fn wanted() -> String {
        "names of parameters, or true for all".into()
    }

    fn of(value: &Plain) -> Option<Self> {
        match value {
            Plain::Flag(true) => Some(Self::All),
            Plain::Flag(false) => Some(Self::default()),
            names => Vec::of(names).map(Self::Named),
        }
    }

    fn written(&self) -> String {
        match self {
            Self::All => "true".into(),
            Self::Named(names) => names.written(),
        }
    }
}

impl ParameterChoice {
    pub fn has(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Named(names) => names.iter().any(|known| known == name),
        }
    }

    pub fn names(&self) -> &[String] {
        if let Self::Named(names) = self { names } else { &[] }
    }
}

/// Bounds of all parameters, or of some by name.
#[derive(Debug, Clone, PartialEq)]
pub enum ParameterRanges {
    All([f64; 2]),
    Named(BTreeMap<String, [f64; 2]>),
}

impl Default for ParameterRanges {
    fn default() -> Self {
        Self::Named(BTreeMap::new())
    }
}

impl Setting for ParameterRanges {
    fn wanted() -> String {
        "two numbers, [low, high], or a map from names of parameters to such".into()
    }

    fn of(value: &Plain) -> Option<Self> {
        let fits = |range: &[f64; 2]| range[0] < range[1];
        if let Some(all) = <[f64; 2]>::of(value) {
            return fits(&all).then_some(Self::All(all));
        }
        let named: BTreeMap<String, [f64; 2]> = BTreeMap::of(value)?;
        named.values().all(fits).then_some(Self::Named(named))
    }

    fn written(&self) -> String {
        match self {
            Self::All(range) => range.written(),
            Self::Named(ranges) => ranges.written(),
        }
    }
}

impl ParameterRanges {
    pub fn of_parameter(&self, name: &str) -> Option<[f64; 2]> {
        match self {
            Self::All(range) => Some(*range),
            Self::Named(ranges) => ranges.get(name).copied(),
        }
    }

    pub fn names(&self) -> Vec<String> {
        if let Self::Named(ranges) = self { ranges.keys().cloned().collect() } else { Vec::new() }
    }
}
