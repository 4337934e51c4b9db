//! The one table of architectures: which of our parts each architecture of a format has, and under which names.

use super::Format;

/// The part of a dictionary that a tensor of a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DictionaryPart {
    Encoder,
    EncoderBias,
    Decoder,
    DecoderBias,
    Skip,
    /// One threshold a feature.
    Threshold,
    /// One threshold for all features; -1 where there is none yet.
    OneThreshold,
    Gate,
    Magnitude,
    LogScale,
    K,
    /// Number of features of each nested group.
    Groups,
    /// Map of the estimator of a row's number of codes to its hidden units.
    CountEncoder,
    /// Bias of these units.
    CountBias,
    /// Weights of these units, as a matrix of one row.
    CountWeight,
    /// Bias of the estimate's logit.
    CountLogit,
    /// Limit of the estimate.
    CountMost,
    /// Scale of a soft top-k, which is used in training alone.
    Softness,
    /// The number that rows were divided by in training, and that biases are still in units of.
    Divisor,
    /// Vector that was subtracted from rows before that.
    Shift,
}

/// The activation function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActivationRule {
    Relu,
    TopK,
    AbsTopK,
    Threshold,
    Gated,
    /// The largest of each row, as many as an estimator says.
    SoftTopK,
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

/// Lists the architectures of a format.
pub fn of(format: Format) -> impl Iterator<Item = &'static Architecture> + Clone {
    TABLE.iter().filter(move |row| row.format == format)
}

const fn line(part: DictionaryPart, name: &'static str) -> TensorLine {
    TensorLine { part, name, turned: false, optional: false }
}

const fn turned(part: DictionaryPart, name: &'static str) -> TensorLine {
    TensorLine { turned: true, ..line(part, name) }
}

const fn maybe(part: DictionaryPart, name: &'static str) -> TensorLine {
    TensorLine { optional: true, ..line(part, name) }
}

/// Joins lines to those of another architecture, `N` together.
const fn joined<const N: usize>(first: &[TensorLine], more: &[TensorLine]) -> [TensorLine; N] {
    assert!(first.len() + more.len() == N);
    let mut all = [first[0]; N];
    let mut at = 1;
    while at < N {
        all[at] = if at < first.len() { first[at] } else { more[at - first.len()] };
        at += 1;
    }
    all
}

const fn row(
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

/// Makes an architecture of SAELens: any scaling, and centred as the config says.
const fn lens(
    name: &'static str,
    kind: &'static str,
    activation: ActivationRule,
    lines: &'static [TensorLine],
) -> Architecture {
    let rescales = matches!(activation, ActivationRule::TopK | ActivationRule::AbsTopK);
    let row = row(Format::SaeLens, name, kind, activation, Centring::Stated, lines);
    Architecture { rescales, scales: true, ..row }
}

const fn lens_transcoder(
    name: &'static str,
    kind: &'static str,
    activation: ActivationRule,
    lines: &'static [TensorLine],
) -> Architecture {
    let row = transcoder(row(Format::SaeLens, name, kind, activation, Centring::Never, lines));
    Architecture { widens: true, ..row }
}

const fn transcoder(row: Architecture) -> Architecture {
    Architecture { transcodes: true, ..row }
}

const PLAIN: &[TensorLine] = &[
    turned(DictionaryPart::Encoder, "W_enc"),
    line(DictionaryPart::EncoderBias, "b_enc"),
    line(DictionaryPart::Decoder, "W_dec"),
    line(DictionaryPart::DecoderBias, "b_dec"),
];
const WITH_THRESHOLD: &[TensorLine] = &joined::<5>(PLAIN, &[line(DictionaryPart::Threshold, "threshold")]);
const WITH_SKIP: &[TensorLine] = &joined::<5>(PLAIN, &[line(DictionaryPart::Skip, "W_skip")]);
const WITH_BOTH: &[TensorLine] = &joined::<6>(WITH_THRESHOLD, &[line(DictionaryPart::Skip, "W_skip")]);
const NESTED: &[TensorLine] = &joined::<7>(
    PLAIN,
    &[
        line(DictionaryPart::K, "k"),
        line(DictionaryPart::OneThreshold, "threshold"),
        line(DictionaryPart::Groups, "group_sizes"),
    ],
);
const GATED: &[TensorLine] = &[
    turned(DictionaryPart::Encoder, "W_enc"),
    line(DictionaryPart::Gate, "b_gate"),
    line(DictionaryPart::Magnitude, "b_mag"),
    line(DictionaryPart::LogScale, "r_mag"),
    line(DictionaryPart::Decoder, "W_dec"),
    line(DictionaryPart::DecoderBias, "b_dec"),
];
/// dictionary_learning's top-k and batch top-k have tensors of the same names.
const WITH_K: &[TensorLine] = &[
    line(DictionaryPart::Encoder, "encoder.weight"),
    line(DictionaryPart::EncoderBias, "encoder.bias"),
    turned(DictionaryPart::Decoder, "decoder.weight"),
    line(DictionaryPart::DecoderBias, "b_dec"),
    line(DictionaryPart::K, "k"),
    line(DictionaryPart::OneThreshold, "threshold"),
];
/// SoftSAE (Stępień et al. 2026), in the authors' copy of dictionary_learning: github.com/St0pien/SoftSAE.
const SOFT: &[TensorLine] = &[
    line(DictionaryPart::Encoder, "encoder.weight"),
    line(DictionaryPart::EncoderBias, "encoder.bias"),
    turned(DictionaryPart::Decoder, "decoder.weight"),
    line(DictionaryPart::DecoderBias, "b_dec"),
    line(DictionaryPart::CountEncoder, "k_estimator.0.weight"),
    line(DictionaryPart::CountBias, "k_estimator.0.bias"),
    line(DictionaryPart::CountWeight, "k_estimator.2.weight"),
    line(DictionaryPart::CountLogit, "k_estimator.2.bias"),
    line(DictionaryPart::K, "k"),
    line(DictionaryPart::CountMost, "k_max"),
    line(DictionaryPart::Softness, "alpha"),
    line(DictionaryPart::Divisor, "norm_factor"),
];
const SOFT_SHIFTED: &[TensorLine] = &joined::<13>(SOFT, &[line(DictionaryPart::Shift, "shift_factor")]);
const SPARSIFY: &[TensorLine] = &[
    line(DictionaryPart::Encoder, "encoder.weight"),
    line(DictionaryPart::EncoderBias, "encoder.bias"),
    line(DictionaryPart::Decoder, "W_dec"),
    line(DictionaryPart::DecoderBias, "b_dec"),
    maybe(DictionaryPart::Skip, "W_skip"),
];
const GEMMA_2: &[TensorLine] = &[
    turned(DictionaryPart::Encoder, "w_enc"),
    line(DictionaryPart::EncoderBias, "b_enc"),
    line(DictionaryPart::Decoder, "w_dec"),
    line(DictionaryPart::DecoderBias, "b_dec"),
    line(DictionaryPart::Threshold, "threshold"),
];
const GEMMA_2_TRANSCODER: &[TensorLine] = &joined::<6>(
    GEMMA_2,
    &[TensorLine { part: DictionaryPart::Skip, name: "affine_skip_connection", turned: true, optional: true }],
);
const UNTURNED: &[TensorLine] = &[
    line(DictionaryPart::Encoder, "W_enc"),
    line(DictionaryPart::EncoderBias, "b_enc"),
    line(DictionaryPart::Decoder, "W_dec"),
    line(DictionaryPart::DecoderBias, "b_dec"),
];
const TRACER: &[TensorLine] = &joined::<5>(UNTURNED, &[maybe(DictionaryPart::Skip, "W_skip")]);
const TRACER_WITH_THRESHOLD: &[TensorLine] = &joined::<6>(
    UNTURNED,
    &[line(DictionaryPart::Threshold, "activation_function.threshold"), maybe(DictionaryPart::Skip, "W_skip")],
);

/// All architectures. Where several rows of a format can represent a dictionary, the first one is written.
static TABLE: &[Architecture] = &[
    lens("standard", "relu", ActivationRule::Relu, PLAIN),
    lens("gated", "gated", ActivationRule::Gated, GATED),
    lens("jumprelu", "jumprelu", ActivationRule::Threshold, WITH_THRESHOLD),
    lens("topk", "topk", ActivationRule::TopK, PLAIN),
    lens("abstopk", "abstopk", ActivationRule::AbsTopK, PLAIN),
    lens_transcoder("transcoder", "transcoder", ActivationRule::Relu, PLAIN),
    lens_transcoder("skip_transcoder", "skip_transcoder", ActivationRule::Relu, WITH_SKIP),
    lens_transcoder("jumprelu_transcoder", "transcoder", ActivationRule::Threshold, WITH_THRESHOLD),
    lens_transcoder("jumprelu_skip_transcoder", "skip_transcoder", ActivationRule::Threshold, WITH_BOTH),
    row(
        Format::DictionaryLearning,
        "AutoEncoder",
        "relu",
        ActivationRule::Relu,
        Centring::Always,
        &[
            line(DictionaryPart::DecoderBias, "bias"),
            line(DictionaryPart::Encoder, "encoder.weight"),
            line(DictionaryPart::EncoderBias, "encoder.bias"),
            turned(DictionaryPart::Decoder, "decoder.weight"),
        ],
    ),
    row(
        Format::DictionaryLearning,
        "AutoEncoderNew",
        "relu",
        ActivationRule::Relu,
        Centring::Never,
        &[
            line(DictionaryPart::Encoder, "encoder.weight"),
            line(DictionaryPart::EncoderBias, "encoder.bias"),
            turned(DictionaryPart::Decoder, "decoder.weight"),
            line(DictionaryPart::DecoderBias, "decoder.bias"),
        ],
    ),
    row(Format::DictionaryLearning, "AutoEncoderTopK", "topk", ActivationRule::TopK, Centring::Always, WITH_K),
    row(
        Format::DictionaryLearning,
        "MatryoshkaBatchTopKSAE",
        "matryoshka",
        ActivationRule::Threshold,
        Centring::Always,
        NESTED,
    ),
    row(Format::DictionaryLearning, "BatchTopKSAE", "batch_topk", ActivationRule::Threshold, Centring::Always, WITH_K),
    row(
        Format::DictionaryLearning,
        "JumpReluAutoEncoder",
        "jumprelu",
        ActivationRule::Threshold,
        Centring::Never,
        WITH_THRESHOLD,
    ),
    row(
        Format::DictionaryLearning,
        "GatedAutoEncoder",
        "gated",
        ActivationRule::Gated,
        Centring::Always,
        &[
            line(DictionaryPart::DecoderBias, "decoder_bias"),
            line(DictionaryPart::Encoder, "encoder.weight"),
            line(DictionaryPart::LogScale, "r_mag"),
            line(DictionaryPart::Gate, "gate_bias"),
            line(DictionaryPart::Magnitude, "mag_bias"),
            turned(DictionaryPart::Decoder, "decoder.weight"),
        ],
    ),
    row(Format::DictionaryLearning, "SoftSAE", "soft_topk", ActivationRule::SoftTopK, Centring::Always, SOFT),
    // Theirs for images.
    row(
        Format::DictionaryLearning,
        "SoftTopKSAE",
        "soft_topk",
        ActivationRule::SoftTopK,
        Centring::Always,
        SOFT_SHIFTED,
    ),
    row(Format::Sparsify, "topk", "topk", ActivationRule::TopK, Centring::Always, SPARSIFY),
    transcoder(row(Format::Sparsify, "topk transcoder", "transcoder", ActivationRule::TopK, Centring::Never, SPARSIFY)),
    row(Format::GemmaScope, "jumprelu", "jumprelu", ActivationRule::Threshold, Centring::Never, WITH_THRESHOLD),
    transcoder(row(
        Format::GemmaScope,
        "jumprelu transcoder",
        "transcoder",
        ActivationRule::Threshold,
        Centring::Never,
        WITH_THRESHOLD,
    )),
    row(Format::GemmaScope, "jump_relu", "jumprelu", ActivationRule::Threshold, Centring::Never, GEMMA_2),
    transcoder(row(
        Format::GemmaScope,
        "jump_relu transcoder",
        "transcoder",
        ActivationRule::Threshold,
        Centring::Never,
        GEMMA_2_TRANSCODER,
    )),
    transcoder(row(Format::CircuitTracer, "relu", "transcoder", ActivationRule::Relu, Centring::Never, TRACER)),
    transcoder(row(Format::CircuitTracer, "topk", "transcoder", ActivationRule::TopK, Centring::Never, TRACER)),
    transcoder(row(
        Format::CircuitTracer,
        "jump_relu",
        "transcoder",
        ActivationRule::Threshold,
        Centring::Never,
        TRACER_WITH_THRESHOLD,
    )),
    row(
        Format::Tied,
        "tied",
        "tied",
        ActivationRule::Relu,
        Centring::Never,
        &[line(DictionaryPart::Encoder, "encoder"), line(DictionaryPart::EncoderBias, "encoder_bias")],
    ),
];
