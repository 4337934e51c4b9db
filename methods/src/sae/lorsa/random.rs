//! A control: a Lorsa whose heads are drawn at random.

use super::Lorsa;
use crate::base::random::stream;
use crate::common::*;
use crate::data::Text;
use crate::sae::Activation;
use crate::sae::metrics::{CodedBatch, JudgedRowsOptions};
use crate::sae::text_rows::dictionary::TextDictionary;
use crate::tensor::create;

impl Lorsa {
    /// Makes a Lorsa of the same shape whose weights are drawn at random, with the sizes that these have. What its heads write is
    /// scaled by one number and moved by a bias, so that it predicts best what the layer writes on a text.
    pub fn random(
        &self,
        model: &Model,
        text: &Text,
        options: &JudgedRowsOptions,
        seed: u64,
        task: &Task,
    ) -> Result<Self> {
        let mut random = stream(seed, "lorsa random", 0);
        let drawn = self.tensors().into_iter().map(|tensor| create::randn_of_size(tensor, &mut random));
        let drawn: Vec<Tensor> = drawn.collect::<Result<_>>()?;
        let drawn: [Tensor; 8] = drawn.try_into().map_err(|_| err!(Bug, "expected eight tensors of a Lorsa"))?;
        let device = self.decoder.device();
        let mut found = self.with(drawn);
        found.decoder_bias = found.decoder_bias.zeros_like()?;
        let found = found.to_device(device)?;
        let rows = found.rows(model, text, options, task)?;
        let mut sums = FitSums::new(found.d_out());
        found.on_rows(model, &rows, task, &mut |part| sums.add(part))?;
        let (gain, bias) = sums.finish();
        let bias = Tensor::from_vec(bias, found.d_out(), &Device::Cpu)?.to_dtype(DType::F32)?.to_device(device)?;
        // Heads are chosen by what they write, whose size the factor changes.
        let activation = match &found.activation {
            Activation::Threshold(threshold) if found.rescaled => Activation::Threshold((threshold * gain.abs())?),
            other => other.clone(),
        };
        Self { decoder: (&found.decoder * gain)?, decoder_bias: bias, activation, ..found }.check()
    }
}

/// Sums for the factor and the bias that predict best.
struct FitSums {
    count: f64,
    written: Vec<f64>,
    predicted: Vec<f64>,
    product: f64,
    square: f64,
}

impl FitSums {
    fn new(width: usize) -> Self {
        Self { count: 0.0, written: vec![0.0; width], predicted: vec![0.0; width], product: 0.0, square: 0.0 }
    }

    fn add(&mut self, part: CodedBatch) -> Result<()> {
        let written = floats(part.x)?;
        let predicted = floats(part.x_hat)?;
        let wide = self.written.len();
        self.count += part.x.dim(0)? as f64;
        for (y, guess) in written.chunks_exact(wide).zip(predicted.chunks_exact(wide)) {
            for (at, (y, guess)) in y.iter().zip(guess).enumerate() {
                self.written[at] += y;
                self.predicted[at] += guess;
                self.product += y * guess;
                self.square += guess * guess;
            }
        }
        Ok(())
    }

    /// Returns the factor, which is 0 where nothing is predicted, and the bias.
    fn finish(self) -> (f64, Vec<f64>) {
        let count = self.count.max(1.0);
        let pairs = || self.written.iter().zip(&self.predicted);
        let product = self.product - pairs().map(|(y, guess)| y * guess / count).sum::<f64>();
        let square = self.square - self.predicted.iter().map(|guess| guess * guess / count).sum::<f64>();
        let gain = if square > 0.0 { product / square } else { 0.0 };
        let bias = pairs().map(|(y, guess)| (y - gain * guess) / count).collect();
        (gain, bias)
    }
}
