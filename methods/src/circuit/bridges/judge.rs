//! Errors and divergences of bridges between two models, site by site.

use super::Bridges;
use super::loss::Lesson;
use super::sites::{read_differently, streams};
use crate::common::*;
use crate::data::{Text, harvest};
use crate::sae::metrics::{EvaluationText, JudgedRowsOptions};
use crate::sae::text_rows::{ActivationSums, CONTEXT, in_batches, rows_of, weights};

crate::options! {
    /// Part of a text that bridges are judged on.
    pub struct BridgeJudgeOptions {
        /// Tokens in a row.
        context: Option<usize> = None => usually("64, or the model's where that is shorter").at_least(2.0);
        with judged: JudgedRowsOptions;
    }
}

/// Sums of a site over a text.
#[derive(Debug, Clone, Default)]
struct SiteSums {
    dense: ActivationSums,
    sparse: ActivationSums,
    /// Errors of the encoder.
    encoded: ActivationSums,
    /// Errors of the decoder.
    decoded: ActivationSums,
    to_sparse: f64,
    to_dense: f64,
    of_mean: f64,
}

impl Bridges {
    /// Measures each bridge on a text: the mean squared errors of its encoder and of its decoder over the variance of what they
    /// predict; KL(dense || mixed) in nats of passes that begin in one model and end in the other; and that of the dense model
    /// whose stream at the site is its mean, for comparison.
    pub fn judge(&self, text: &Text, options: &BridgeJudgeOptions, task: &Task) -> Result<Table> {
        let rows = self.rows(text, options, task)?;
        let mut sums = vec![SiteSums::default(); self.sites.len()];
        in_batches(&rows, task, |_, texts, batch| {
            let found = streams(&self.dense.decoder, &self.sites, &batch, task)?;
            let weights = self.weights(texts, &batch)?;
            sums.iter_mut().zip(&found).try_for_each(|(sums, stream)| sums.dense.add(stream, &weights))
        })?;
        let mut count = 0;
        in_batches(&rows, task, |_, texts, batch| {
            count += self.add(&mut sums, texts, batch, task)?;
            Ok(())
        })?;
        if count == 0 {
            return Err(err!(Argument, "expected a text with two tokens in a row, found none").about("text"));
        }
        let error = |of: &ActivationSums, target: &ActivationSums| Cell::Float((of.size() / target.spread().1).powi(2));
        let mean = |sum: f64| Cell::Float(sum / count as f64);
        let row = |(site, sums): (&Site, &SiteSums)| {
            vec![
                site.to_string().into(),
                error(&sums.encoded, &sums.sparse),
                error(&sums.decoded, &sums.dense),
                mean(sums.to_sparse),
                mean(sums.to_dense),
                mean(sums.of_mean),
            ]
        };
        let columns = ["site", "error to sparse", "error to dense", "KL to sparse", "KL to dense", "KL of the mean"];
        Ok(Table::new("bridges", columns, self.sites.iter().zip(&sums).map(row)))
    }

    /// Adds what a batch of texts gives to all sums but that of the dense stream, and returns the number of tokens whose
    /// predictions were compared.
    fn add(&self, sums: &mut [SiteSums], texts: &[EvaluationText], batch: Batch, task: &Task) -> Result<usize> {
        let compared = |(row, text): (usize, &EvaluationText)| -> Vec<(usize, usize)> {
            let columns = (1..text.ids.len()).filter(|next| text.counts(next - 1) && text.counts(*next));
            columns.map(|next| (row, next - 1)).collect()
        };
        let points: Vec<(usize, usize)> = texts.iter().enumerate().flat_map(compared).collect();
        if points.is_empty() {
            return Ok(0);
        }
        let weights = self.weights(texts, &batch)?;
        let of_sparse = streams(&self.sparse.decoder, &self.sites, &batch, task)?;
        let lesson = Lesson::of(&self.dense.decoder, &self.sites, batch, points, task)?;
        let [dense, sparse] = [&self.dense, &self.sparse].map(|model| model.decoder.as_ref());
        for (number, sums) in sums.iter_mut().enumerate() {
            let site = self.sites[number];
            let bridge = &self.bridges[number];
            let of_dense = &lesson.dense.streams[number];
            let of_sparse = &of_sparse[number];
            let encoded = bridge.encode(of_dense)?;
            let decoded = bridge.decode(of_sparse)?;
            sums.sparse.add(of_sparse, &weights)?;
            sums.encoded.add(&(&encoded - of_sparse)?, &weights)?;
            sums.decoded.add(&(&decoded - of_dense)?, &weights)?;
            let (mean, _) = sums.dense.spread();
            let mean = Tensor::from_vec(mean, decoded.dims()[2], decoded.device())?.broadcast_as(decoded.dims())?;
            let total = |decoder: &Decoder, stream: &Tensor| -> Result<f64> {
                Ok(floats(&lesson.divergences(decoder, site, stream, task)?)?.iter().sum())
            };
            sums.to_sparse += total(sparse, &encoded)?;
            sums.to_dense += total(dense, &decoded)?;
            sums.of_mean += total(dense, &mean.contiguous()?)?;
        }
        Ok(lesson.points.len())
    }

    /// Returns 1 for the positions that count and 0 for others: `[rows, wide, 1]`.
    fn weights(&self, texts: &[EvaluationText], batch: &Batch) -> Result<Tensor> {
        weights(&texts.iter().collect::<Vec<_>>(), batch.width(), self.dense.decoder.device())
    }

    /// Reads the rows of a text, which both models must read alike.
    fn rows(&self, text: &Text, options: &BridgeJudgeOptions, task: &Task) -> Result<Vec<EvaluationText>> {
        let read = |model: &Model| {
            let context = harvest::context_or(model.decoder.config(), options.context, CONTEXT)?;
            rows_of(model, text, Some(context), &options.judged, task)
        };
        let of_dense = read(&self.dense)?;
        let of_sparse = read(&self.sparse)?;
        let ids = |rows: &[EvaluationText]| -> Vec<Vec<u32>> { rows.iter().map(|row| row.ids.clone()).collect() };
        if ids(&of_dense) != ids(&of_sparse) {
            return Err(read_differently());
        }
        Ok(of_dense)
    }
}
