//! Architectures of dictionaries in files: what the tensors of a file are, and what is computed with them.

use crate::sae::parts::activation::ActivationPart;

crate::choices! {
    /// The format of a dictionary.
    #[derive(PartialOrd, Ord)]
    pub enum Format {
        SaeLens = "saelens",
        DictionaryLearning = "dictionary_learning",
        Sparsify = "sparsify",
        GemmaScope = "gemma_scope",
        CircuitTracer = "circuit_tracer",
        /// The tied dictionaries of Cunningham et al.: `encoder` and `encoder_bias`.
        Tied = "tied",
        /// The format of this program, which holds every dictionary.
        Microtome = "microtome",
    }
}

impl Format {
    /// Returns the name of the config file beside the tensors.
    pub fn config(self) -> Option<&'static str> {
        match self {
            Format::SaeLens | Format::Sparsify => Some("cfg.json"),
            Format::DictionaryLearning | Format::GemmaScope => Some("config.json"),
            Format::CircuitTracer => Some("config.yaml"),
            Format::Tied | Format::Microtome => None,
        }
    }
}

/// The part of a dictionary that a tensor of a file is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum DictionaryPart {
    Encoder,
    EncoderBias,
    Decoder,
    DecoderBias,
    Skip,
    /// A tensor of the activation function, by its own name.
    Own(&'static str, ActivationPart),
    /// One threshold for all features; -1 where there is none yet.
    OneThreshold,
    K,
    /// Number of features of each nested group.
    Groups,
    /// Maximum number of codes, where the training aimed at `K`.
    Most,
    /// A number that is used in training alone, its key among other metadata, and its value where that is not known.
    OfTraining {
        key: &'static str,
        usual: f64,
    },
    /// The number that rows were divided by in training, and that biases are still in units of.
    Divisor,
    /// Vector that was subtracted from rows before that.
    Shift,
}

impl DictionaryPart {
    /// One threshold a feature.
    pub const THRESHOLD: Self = Self::Own("threshold", ActivationPart::Offset);
    pub const GATE: Self = Self::Own("gate", ActivationPart::Offset);
    pub const MAGNITUDE: Self = Self::Own("magnitude", ActivationPart::Offset);
    pub const LOG_SCALE: Self = Self::Own("log_scale", ActivationPart::Factor);
}

/// The activation function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActivationRule {
    Relu,
    TopK,
    AbsTopK,
    Threshold,
    Gated,
    /// A function that one file defines, by its name.
    Other(&'static str),
}

/// The subtraction of the decoder bias from the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Centring {
    Always,
    Never,
    /// Subtraction if the config says so.
    Stated,
}

/// A tensor of a file.
#[derive(Debug, Clone, Copy)]
pub struct TensorLine {
    pub part: DictionaryPart,
    pub name: &'static str,
    /// Whether the file has it transposed.
    pub turned: bool,
    /// Whether the file has a vector as a matrix of one row.
    pub is_row: bool,
    /// Whether a file may be without it.
    pub optional: bool,
}

#[derive(Debug)]
pub struct Architecture {
    pub format: Format,
    pub name: &'static str,
    /// The kind of such a dictionary, where it is not stated.
    pub kind: &'static str,
    pub activation: ActivationRule,
    pub centred: Centring,
    /// Whether it writes to another site than it reads.
    pub transcodes: bool,
    /// Whether input and output may have different widths.
    pub widens: bool,
    /// Whether codes may be in units of what they write.
    pub rescales: bool,
    /// Whether it may normalise each input.
    pub scales: bool,
    pub lines: &'static [TensorLine],
}

impl Architecture {
    pub fn line(&self, part: DictionaryPart) -> Option<&'static TensorLine> {
        self.lines.iter().find(|line| line.part == part)
    }

    /// Returns whether a file with these tensors may be of this architecture.
    pub fn may_hold(&self, names: &[String]) -> bool {
        let known = |name: &String| self.lines.iter().any(|line| line.name == name);
        let there = |line: &TensorLine| line.optional || names.iter().any(|name| name == line.name);
        names.iter().all(known) && self.lines.iter().all(there)
    }
}

/// Makes a line of a tensor that the file has as it is.
pub const fn line(part: DictionaryPart, name: &'static str) -> TensorLine {
    TensorLine { part, name, turned: false, is_row: false, optional: false }
}

/// Makes a line of a tensor that the file has transposed.
pub const fn turned(part: DictionaryPart, name: &'static str) -> TensorLine {
    TensorLine { turned: true, ..line(part, name) }
}

/// Makes a line of a tensor that a file may be without.
pub const fn maybe(part: DictionaryPart, name: &'static str) -> TensorLine {
    TensorLine { optional: true, ..line(part, name) }
}

/// Joins lines to those of another architecture, `N` together.
pub const fn joined<const N: usize>(first: &[TensorLine], more: &[TensorLine]) -> [TensorLine; N] {
    assert!(first.len() + more.len() == N);
    let mut all = [first[0]; N];
    let mut at = 1;
    while at < N {
        all[at] = if at < first.len() { first[at] } else { more[at - first.len()] };
        at += 1;
    }
    all
}

/// Makes an architecture that writes to the site that it reads.
pub const fn row(
    format: Format,
    name: &'static str,
    kind: &'static str,
    activation: ActivationRule,
    centred: Centring,
    lines: &'static [TensorLine],
) -> Architecture {
    Architecture {
        format,
        name,
        kind,
        activation,
        centred,
        transcodes: false,
        widens: false,
        rescales: false,
        scales: false,
        lines,
    }
}
