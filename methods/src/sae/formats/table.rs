//! The one table of architectures: which of our parts each architecture of a format has, and under which names.

use super::architecture::{
    ActivationRule, Architecture, Centring, DictionaryPart, Format, TensorLine, joined, line, maybe, row, turned,
};
use crate::sae::fit::kinds;

/// Lists the architectures of a format.
pub fn of(format: Format) -> impl Iterator<Item = &'static Architecture> + Clone {
    TABLE.iter().chain(kinds::architectures()).filter(move |row| row.format == format)
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

const fn learning(
    name: &'static str,
    kind: &'static str,
    activation: ActivationRule,
    centred: Centring,
    lines: &'static [TensorLine],
) -> Architecture {
    row(Format::DictionaryLearning, name, kind, activation, centred, lines)
}

const fn scope(name: &'static str, kind: &'static str, lines: &'static [TensorLine]) -> Architecture {
    row(Format::GemmaScope, name, kind, ActivationRule::Threshold, Centring::Never, lines)
}

const fn tracer(name: &'static str, activation: ActivationRule, lines: &'static [TensorLine]) -> Architecture {
    transcoder(row(Format::CircuitTracer, name, "transcoder", activation, Centring::Never, lines))
}

const PLAIN: &[TensorLine] = &[
    turned(DictionaryPart::Encoder, "W_enc"),
    line(DictionaryPart::EncoderBias, "b_enc"),
    line(DictionaryPart::Decoder, "W_dec"),
    line(DictionaryPart::DecoderBias, "b_dec"),
];
const WITH_THRESHOLD: &[TensorLine] = &joined::<5>(PLAIN, &[line(DictionaryPart::THRESHOLD, "threshold")]);
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
    line(DictionaryPart::GATE, "b_gate"),
    line(DictionaryPart::MAGNITUDE, "b_mag"),
    line(DictionaryPart::LOG_SCALE, "r_mag"),
    line(DictionaryPart::Decoder, "W_dec"),
    line(DictionaryPart::DecoderBias, "b_dec"),
];
/// dictionary_learning's dictionaries without a k.
const BIASED: &[TensorLine] = &[
    line(DictionaryPart::DecoderBias, "bias"),
    line(DictionaryPart::Encoder, "encoder.weight"),
    line(DictionaryPart::EncoderBias, "encoder.bias"),
    turned(DictionaryPart::Decoder, "decoder.weight"),
];
const BIASED_APART: &[TensorLine] = &[
    line(DictionaryPart::Encoder, "encoder.weight"),
    line(DictionaryPart::EncoderBias, "encoder.bias"),
    turned(DictionaryPart::Decoder, "decoder.weight"),
    line(DictionaryPart::DecoderBias, "decoder.bias"),
];
const GATED_APART: &[TensorLine] = &[
    line(DictionaryPart::DecoderBias, "decoder_bias"),
    line(DictionaryPart::Encoder, "encoder.weight"),
    line(DictionaryPart::LOG_SCALE, "r_mag"),
    line(DictionaryPart::GATE, "gate_bias"),
    line(DictionaryPart::MAGNITUDE, "mag_bias"),
    turned(DictionaryPart::Decoder, "decoder.weight"),
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
    line(DictionaryPart::THRESHOLD, "threshold"),
];
const GEMMA_2_TRANSCODER: &[TensorLine] =
    &joined::<6>(GEMMA_2, &[TensorLine { turned: true, ..maybe(DictionaryPart::Skip, "affine_skip_connection") }]);
const UNTURNED: &[TensorLine] = &[
    line(DictionaryPart::Encoder, "W_enc"),
    line(DictionaryPart::EncoderBias, "b_enc"),
    line(DictionaryPart::Decoder, "W_dec"),
    line(DictionaryPart::DecoderBias, "b_dec"),
];
const TRACER: &[TensorLine] = &joined::<5>(UNTURNED, &[maybe(DictionaryPart::Skip, "W_skip")]);
const TRACER_WITH_THRESHOLD: &[TensorLine] = &joined::<6>(
    UNTURNED,
    &[line(DictionaryPart::THRESHOLD, "activation_function.threshold"), maybe(DictionaryPart::Skip, "W_skip")],
);

/// All architectures but those that the files of kinds know, which follow. Where several rows of a format can represent a
/// dictionary, the first one is written.
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
    learning("AutoEncoder", "relu", ActivationRule::Relu, Centring::Always, BIASED),
    learning("AutoEncoderNew", "relu", ActivationRule::Relu, Centring::Never, BIASED_APART),
    learning("AutoEncoderTopK", "topk", ActivationRule::TopK, Centring::Always, WITH_K),
    learning("MatryoshkaBatchTopKSAE", "matryoshka", ActivationRule::Threshold, Centring::Always, NESTED),
    learning("BatchTopKSAE", "batch_topk", ActivationRule::Threshold, Centring::Always, WITH_K),
    learning("JumpReluAutoEncoder", "jumprelu", ActivationRule::Threshold, Centring::Never, WITH_THRESHOLD),
    learning("GatedAutoEncoder", "gated", ActivationRule::Gated, Centring::Always, GATED_APART),
    row(Format::Sparsify, "topk", "topk", ActivationRule::TopK, Centring::Always, SPARSIFY),
    transcoder(row(Format::Sparsify, "topk transcoder", "transcoder", ActivationRule::TopK, Centring::Never, SPARSIFY)),
    scope("jumprelu", "jumprelu", WITH_THRESHOLD),
    transcoder(scope("jumprelu transcoder", "transcoder", WITH_THRESHOLD)),
    scope("jump_relu", "jumprelu", GEMMA_2),
    transcoder(scope("jump_relu transcoder", "transcoder", GEMMA_2_TRANSCODER)),
    tracer("relu", ActivationRule::Relu, TRACER),
    tracer("topk", ActivationRule::TopK, TRACER),
    tracer("jump_relu", ActivationRule::Threshold, TRACER_WITH_THRESHOLD),
    row(
        Format::Tied,
        "tied",
        "tied",
        ActivationRule::Relu,
        Centring::Never,
        &[line(DictionaryPart::Encoder, "encoder"), line(DictionaryPart::EncoderBias, "encoder_bias")],
    ),
];
