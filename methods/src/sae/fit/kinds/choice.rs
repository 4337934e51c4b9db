//! Descriptions of a kind's codes for the fused step: their selection and their penalty.

/// The selection of a kind's codes, and their penalty.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum CodeChoice<'a> {
    /// The k largest of each row.
    LargestOfRows(usize),
    /// The k x rows largest of all rows.
    LargestOfAll(usize),
    /// All codes above 0, with a penalty of the sparsity coefficient times the mean over rows of the sum of their
    /// costs.
    Positive { price: f64, cost: Cost<'a> },
    /// The codes above a learned threshold of each feature.
    Above(Jump),
    /// The codes whose gate is above 0, with a penalty of the sparsity coefficient times the mean over rows of the sum
    /// of the gates.
    Gated { price: f64 },
}

/// The penalty of a code.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cost<'a> {
    /// The code itself.
    Size,
    /// The code times the norm of its direction.
    Length,
    /// The code times the sum of the norms of its direction's parts, which have these widths.
    Parts(&'a [usize]),
    /// The code to a power.
    Power(f64),
}

impl CodeChoice<'_> {
    /// Returns the maximum number of codes in a row, where it has one.
    pub fn most(self) -> Option<usize> {
        match self {
            Self::LargestOfRows(k) => Some(k),
            _ => None,
        }
    }

    /// Returns whether a dictionary of this many features has so many codes.
    pub fn fits(self, d_sae: usize) -> bool {
        match self {
            Self::LargestOfRows(k) | Self::LargestOfAll(k) => (1..=d_sae).contains(&k),
            Self::Positive { .. } | Self::Above(_) | Self::Gated { .. } => true,
        }
    }
}

/// JumpReLU's penalty, and how its thresholds learn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Jump {
    pub l0: f64,
    pub target: Option<f64>,
    pub bandwidth: f64,
    pub estimate: SlopeEstimator,
}

crate::choices! {
    /// Estimators of the penalty's gradient, which differ in the pre-activations that are near a threshold.
    pub enum SlopeEstimator {
        /// Pre-activations on either side of a threshold (equation 12).
        Paper = "paper",
        /// Codes, which are on one side of a threshold only, as the code of dictionary_learning has it.
        DictionaryLearning = "dictionary_learning",
    }
}
