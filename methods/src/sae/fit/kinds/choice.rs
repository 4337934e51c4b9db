//! What a kind says of its codes to the fused step: how they are selected, and their penalty.

/// How a kind selects its codes, and their penalty.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Choice<'a> {
    /// The k largest of each row.
    LargestOfRows(usize),
    /// The k x rows largest of all rows.
    LargestOfAll(usize),
    /// Those above 0, each at a cost, of which the mean over rows of the sum counts `price`.
    Positive { price: f64, cost: Cost<'a> },
    /// Those above a threshold of each feature, which is learned.
    Above(Jump),
    /// Those whose gate is above 0, each at a cost of its gate, of which the mean over rows of the sum counts `price`.
    Gated { price: f64 },
}

/// The penalty of a code.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cost<'a> {
    /// Its size.
    Size,
    /// That times the norm of its direction.
    Length,
    /// That times the lengths of its direction's parts, so wide, together.
    Parts(&'a [usize]),
    /// Its size to a power.
    Power(f64),
}

impl Choice<'_> {
    /// Whether a dictionary of this many features has so many codes.
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
    pub estimate: Estimate,
}

crate::choices! {
    /// Which pre-activations are near a threshold in the penalty's gradient.
    pub enum Estimate {
        /// Pre-activations on either side of it (equation 12).
        Paper = "paper",
        /// Codes, which are on one side of it only, as the code of dictionary_learning has it.
        DictionaryLearning = "dictionary_learning",
    }
}
