//! Gradients feature by feature: for a feature's rows of encoder and decoder, only the rows of the batch in which it is
//! active.

use pulp::Arch;

use super::inputs::Inputs;
use super::lengths_of;
use super::reconstruct::{Residual, block};
use crate::common::*;
use crate::sae::fit::params::ParamName;
use kernels::arch;
use kernels::sparse::{ByColumn, RowGradients, add_rows, dot, scale, squares};

/// Features in a chunk of parallel work; chunk boundaries depend on nothing else, for reproducibility.
const PIECE: usize = 64;
/// Minimum norm that a direction is divided by.
const SHORTEST: f32 = 1e-8;

/// The gradients of a step. Their memory is reused by the next one.
#[derive(Default)]
pub struct FusedGradients {
    encoder: Vec<f32>,
    /// Gradient of the decoder; empty where the encoder is the decoder.
    decoder: Vec<f32>,
    /// Whether each row of the encoder's and the decoder's gradients has been written.
    there: Vec<bool>,
    encoder_bias: Vec<f32>,
    /// Gradient of the biases of gates; 0 where a kind has none.
    gate: Vec<f32>,
    /// Gradient of the logarithms of the scales of gated features' magnitudes; empty for kinds without gates.
    pub log_scale: Vec<f32>,
    /// Gradient of the decoder bias: initialised with the residual, and the gradient through centring is added to it.
    pub decoder_bias: Vec<f32>,
    pub threshold: Vec<f32>,
    /// Gradient of a linear skip connection; empty where there is none.
    pub skip: Vec<f32>,
    /// Residual of the target, and with nested prefixes that of each prefix.
    pub left: Residual,
    /// The input minus the decoder bias.
    pub centred: Vec<f32>,
    widths: [usize; 2],
}

/// Codes that take part in an error, by features, with the residual of the target and its factor.
pub struct ErrorTerm<'a> {
    pub codes: &'a ByColumn,
    pub felt: CodeGradient<'a>,
    pub factor: f32,
    /// Factor of a slope for the encoder, for each feature; 1 where there are none.
    pub scales: &'a [f32],
    /// Whether the bias that decides about these codes is that of the gates.
    pub of_gates: bool,
}

/// The residual that gives the directions their gradients.
#[derive(Clone, Copy)]
pub enum CodeGradient<'a> {
    /// One residual for all features: `[rows, d_out]`.
    Alike(&'a [f32]),
    /// A residual for the features of each block: `[rows, blocks, d_out]`.
    Blocks(&'a [f32], &'a [(usize, f64)]),
    /// No gradient.
    Nothing,
}

impl<'a> ErrorTerm<'a> {
    pub fn of(codes: &'a ByColumn, rest: &'a [f32], factor: f32) -> Self {
        Self { codes, felt: CodeGradient::Alike(rest), factor, scales: &[], of_gates: false }
    }

    fn scale(&self, feature: usize) -> f32 {
        self.scales.get(feature).copied().unwrap_or(1.0)
    }

    /// Adds the gradient of a direction.
    fn add_to(&self, arch: Arch, row: &mut [f32], feature: usize) {
        let places = self.codes.column(feature);
        let factor = self.factor;
        match self.felt {
            CodeGradient::Alike(rest) => {
                add_rows(arch, row, rest, places.len(), |i| (places[i].row, factor * places[i].value));
            }
            CodeGradient::Blocks(felt, ends) => {
                let count = ends.len() as u32;
                let block = block(ends, feature) as u32;
                let pick = |i: usize| (places[i].row * count + block, factor * places[i].value);
                add_rows(arch, row, felt, places.len(), pick);
            }
            CodeGradient::Nothing => {}
        }
    }
}

/// Other gradients of the directions.
#[derive(Clone, Copy)]
pub struct Directions<'a> {
    /// Whether the part of the gradient along them is removed.
    pub is_unit: bool,
    /// Gradient of the penalty by the length of a part of a direction, for a code of 1.
    pub length: f32,
    pub parts: &'a [usize],
}

/// The rows of some features.
struct GradientChunk<'a> {
    arch: Arch,
    first: usize,
    encoder: &'a mut [f32],
    decoder: &'a mut [f32],
    there: &'a mut [bool],
    bias: &'a mut [f32],
    gate: &'a mut [f32],
}

/// The results of a chunk: the sum of the squares of its gradients, and the gradient through centring.
struct ChunkGradient {
    squares: f64,
    through: Vec<f32>,
}

impl FusedGradients {
    /// Computes those of encoder and decoder, and of the biases of both; gives the sum of all their squares.
    pub fn sweep(&mut self, inputs: &Inputs, terms: &[ErrorTerm], feel: Directions<'_>) -> Result<f64> {
        self.make_room(inputs)?;
        let pieces = parallel::of_each(self.pieces(inputs), &|piece: GradientChunk| piece.sweep(inputs, terms, feel));
        let squares: f64 = pieces.iter().map(|piece| piece.squares).sum();
        if !inputs.is_centred {
            return Ok(squares);
        }
        let mut through = vec![0f64; inputs.shape.d_in];
        for piece in &pieces {
            through.iter_mut().zip(&piece.through).for_each(|(sum, part)| *sum += f64::from(*part));
        }
        // The input is minus the bias, so the bias gets the negative gradient.
        self.decoder_bias.iter_mut().zip(through).for_each(|(bias, part)| *bias -= part as f32);
        Ok(squares)
    }

    /// Adds the gradient of a skip connection, where there is one: residual times input. It writes to every prefix, so
    /// of blocks it has the residual of the first.
    pub fn feel_skip(&mut self, inputs: &Inputs, felt: CodeGradient, factor: f32) -> Result<()> {
        self.skip.clear();
        let rows = inputs.rows;
        let shape = inputs.shape;
        let (felt, blocks) = match felt {
            CodeGradient::Alike(rest) => (rest, 1),
            CodeGradient::Blocks(felt, ends) => (felt, ends.len()),
            CodeGradient::Nothing => return Ok(()),
        };
        if inputs.has_skip {
            let felt = Tensor::from_slice(felt, (rows, blocks, shape.d_out), &Device::Cpu)?;
            let felt = felt.narrow(1, 0, 1)?.squeeze(1)?.contiguous()?;
            let x = Tensor::from_slice(inputs.x, (rows, shape.d_in), &Device::Cpu)?;
            let gradient = (felt.t()?.matmul(&x)? * f64::from(factor))?;
            self.skip = gradient.flatten_all()?.to_vec1::<f32>()?;
        }
        Ok(())
    }

    fn make_room(&mut self, inputs: &Inputs) -> Result<()> {
        let shape = inputs.shape;
        let widths = [shape.d_in, if inputs.is_tied() { 0 } else { shape.d_out }];
        if (self.there.len(), self.widths) != (shape.d_sae, widths) {
            let [encoder, decoder] = widths.map(|width| width * shape.d_sae);
            memory::check(4 * (encoder as u128 + decoder as u128), || "the gradients of a dictionary".into())?;
            *self = Self { encoder: vec![0.0; encoder], decoder: vec![0.0; decoder], widths, ..std::mem::take(self) };
            self.there = vec![false; shape.d_sae];
            self.encoder_bias = vec![0.0; shape.d_sae];
            self.gate = vec![0.0; shape.d_sae];
        }
        Ok(())
    }

    fn pieces(&mut self, inputs: &Inputs) -> Vec<GradientChunk<'_>> {
        let mut encoder = self.encoder.chunks_mut(PIECE * inputs.shape.d_in);
        let mut decoder = self.decoder.chunks_mut(PIECE * inputs.shape.d_out);
        let arch = arch();
        let biases = self.encoder_bias.chunks_mut(PIECE).zip(self.gate.chunks_mut(PIECE));
        let rows = self.there.chunks_mut(PIECE).zip(biases);
        let piece = |(index, (there, (bias, gate)))| GradientChunk {
            arch,
            first: index * PIECE,
            encoder: encoder.next().unwrap_or_default(),
            decoder: decoder.next().unwrap_or_default(),
            there,
            bias,
            gate,
        };
        rows.enumerate().map(piece).collect()
    }

    /// Returns the gradient of a weight; None where the step has none.
    pub fn of<'a>(&'a self, name: ParamName) -> Option<RowGradients<'a>> {
        const WHOLE: &[bool] = &[true];
        let whole = |numbers: &'a [f32]| Some(RowGradients { numbers, width: numbers.len(), there: WHOLE });
        match name {
            ParamName::Encoder => {
                Some(RowGradients { numbers: &self.encoder, width: self.widths[0], there: &self.there })
            }
            ParamName::Decoder => {
                Some(RowGradients { numbers: &self.decoder, width: self.widths[1], there: &self.there })
            }
            ParamName::EncoderBias => whole(&self.encoder_bias),
            ParamName::DecoderBias => whole(&self.decoder_bias),
            ParamName::Threshold => whole(&self.threshold),
            ParamName::Skip => whole(&self.skip).filter(|_| !self.skip.is_empty()),
            ParamName::Gate => whole(&self.gate),
            ParamName::LogScale => whole(&self.log_scale),
            ParamName::Own(_) => None,
        }
    }
}

impl GradientChunk<'_> {
    fn sweep(mut self, inputs: &Inputs, terms: &[ErrorTerm], feel: Directions<'_>) -> ChunkGradient {
        let mut sums = ChunkGradient { squares: 0.0, through: vec![0.0; inputs.shape.d_in] };
        for index in 0..self.there.len() {
            let feature = self.first + index;
            let is_there = terms.iter().any(|term| !term.codes.column(feature).is_empty());
            self.there[index] = is_there;
            self.bias[index] = 0.0;
            self.gate[index] = 0.0;
            if is_there {
                let (squares, through) = self.feature(index, inputs, terms, feel);
                sums.squares += squares;
                if inputs.is_centred && through != 0.0 {
                    add_rows(self.arch, &mut sums.through, inputs.encoder_row(feature), 1, |_| (0, through));
                }
            }
        }
        sums
    }

    /// Computes the gradients of one feature, and returns the sum of their squares, and that of the product with its
    /// row of the encoder.
    fn feature(&mut self, index: usize, inputs: &Inputs, terms: &[ErrorTerm], feel: Directions<'_>) -> (f64, f32) {
        let arch = self.arch;
        let feature = self.first + index;
        let d_in = inputs.shape.d_in;
        let d_out = inputs.shape.d_out;
        let encoder = &mut self.encoder[index * d_in..(index + 1) * d_in];
        encoder.fill(0.0);
        let mut through = 0.0;
        for term in terms {
            let places = term.codes.column(feature);
            let scale = term.scale(feature);
            add_rows(arch, encoder, inputs.x, places.len(), |i| (places[i].row, scale * places[i].slope));
            let slopes = places.iter().map(|place| place.slope).sum::<f32>();
            let bias = if term.of_gates { &mut self.gate[index] } else { &mut self.bias[index] };
            *bias += slopes;
            through += scale * slopes;
        }
        let is_tied = inputs.is_tied();
        // A tied feature has one row, which gets both gradients.
        let row = if is_tied { &mut *encoder } else { &mut self.decoder[index * d_out..(index + 1) * d_out] };
        if !is_tied {
            row.fill(0.0);
        }
        for term in terms {
            term.add_to(arch, row, feature);
        }
        let direction = inputs.direction(feature);
        if let (Some(term), false) = (terms.first(), feel.parts.is_empty()) {
            let codes: f32 = term.codes.column(feature).iter().map(|place| place.value).sum();
            let mut start = 0;
            for (width, length) in feel.parts.iter().zip(lengths_of(direction, feel.parts)) {
                let part = start..start + width;
                add_rows(arch, &mut row[part.clone()], &direction[part], 1, |_| (0, feel.length * codes / length));
                start += width;
            }
        }
        if is_tied {
            // The row is normalised: the gradient along it changes nothing.
            take_off(arch, row, direction, 1.0);
            scale(arch, row, 1.0 / inputs.lengths[feature]);
        } else if feel.is_unit {
            take_off(arch, row, direction, squares(arch, direction).sqrt().max(SHORTEST));
        }
        let biases = [self.bias[index], self.gate[index]].map(|bias| f64::from(bias) * f64::from(bias));
        let decoder = if is_tied { 0.0 } else { squares(arch, &self.decoder[index * d_out..(index + 1) * d_out]) };
        let encoder = squares(arch, &self.encoder[index * d_in..(index + 1) * d_in]);
        (f64::from(encoder) + f64::from(decoder) + biases[0] + biases[1], through)
    }
}

/// Removes the part of a gradient along a direction.
fn take_off(arch: Arch, gradient: &mut [f32], direction: &[f32], length: f32) {
    let along = dot(arch, gradient, direction) / length;
    add_rows(arch, gradient, direction, 1, |_| (0, -along / length));
}
