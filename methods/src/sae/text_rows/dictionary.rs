//! Dictionaries whose codes depend on the tokens before, so that they read texts whole: how one is measured, and what a
//! model loses with it.

use super::{CountedPositions, in_batches, rows_of};
use crate::common::*;
use crate::data::Text;
use crate::sae::SitePair;
use crate::sae::metrics::{
    CodedBatch, Effect, EvaluationText, JudgedRowsOptions, KlPositions, MeasureOptions, Measures, Meter, effect_of,
};
use crate::sae::splice::{ErrorTreatment, Reconstruction, Splice};
use crate::tensor::files::NamedTensors;

crate::options! {
    /// A dictionary that reads texts, measured on one.
    pub struct TextMeasureOptions {
        with measure: MeasureOptions;
        with rows: JudgedRowsOptions;
    }

    /// A dictionary that reads texts, spliced into a model.
    pub struct TextEffectOptions {
        /// The positions that the KL is a mean over: those behind which another token of the row stands, or all.
        kl: KlPositions = KlPositions::Predicted;
        with rows: JudgedRowsOptions;
    }
}

/// Activations that a dictionary reconstructs in texts, its codes, and what these write: `[batch, pos, ..]` each.
pub struct CodedTexts {
    pub x: Tensor,
    pub codes: Tensor,
    pub x_hat: Tensor,
}

/// A dictionary that reads texts whole.
pub trait TextDictionary: Clone + Into<Reconstruction> {
    /// Returns tensors and metadata, of which [`TextDictionary::of_tensors`] makes the dictionary again.
    fn to_tensors(&self) -> Result<NamedTensors>;

    /// Makes a dictionary of its tensors and metadata.
    fn of_tensors(named: &NamedTensors) -> Result<Self>;

    /// Returns the sites that it reads and writes; an error where they are unknown.
    fn sites(&self) -> Result<SitePair<'_>>;

    /// Finds its sites in a model, and refuses a model that has none such, or other widths there.
    fn places(&self, model: &Model) -> Result<[Place; 2]>;

    /// Returns the most tokens of a row of the text that it was fitted on, where known.
    fn context(&self) -> Option<usize>;

    /// Makes a meter of its widths.
    fn meter(&self, options: MeasureOptions) -> Result<Meter>;

    /// Computes the codes of texts that a model reads, and what they write. Those of padding mean nothing.
    fn coded(&self, model: &Model, batch: &Batch, task: &Task) -> Result<CodedTexts>;

    /// Reads the rows of a text on which it is judged, which have as many tokens as those that it was fitted on.
    fn rows(
        &self,
        model: &Model,
        text: &Text,
        options: &JudgedRowsOptions,
        task: &Task,
    ) -> Result<Vec<EvaluationText>> {
        self.places(model)?;
        rows_of(model, text, self.context(), options, task)
    }

    /// Gives activations, codes and reconstructions at the positions that count to `take`, some texts at a time.
    fn on_rows(
        &self,
        model: &Model,
        rows: &[EvaluationText],
        task: &Task,
        take: &mut dyn FnMut(CodedBatch) -> Result<()>,
    ) -> Result<()> {
        in_batches(rows, task, |_, part, batch| {
            let CodedTexts { x, codes, x_hat } = self.coded(model, &batch, task)?;
            let counted = CountedPositions::of(part, batch.width())?;
            let [x, codes, x_hat] = [counted.rows_of(&x)?, counted.rows_of(&codes)?, counted.rows_of(&x_hat)?];
            take(CodedBatch { x: &x, codes: &codes, x_hat: &x_hat, positions: Some(&counted.positions) })
        })
    }

    /// Measures how well it reconstructs its site on a text, and how sparse its codes are.
    fn measured(&self, model: &Model, text: &Text, options: &TextMeasureOptions, task: &Task) -> Result<Measures> {
        let rows = self.rows(model, text, &options.rows, task)?;
        let mut meter = self.meter(options.measure)?;
        self.on_rows(model, &rows, task, &mut |part| meter.add(part, task))?;
        meter.finish()
    }

    /// Measures what a model loses with the reconstruction in the place of the activations, beside zeros and the mean
    /// there.
    fn effect(&self, model: &Model, text: &Text, options: &TextEffectOptions, task: &Task) -> Result<Effect> {
        let rows = self.rows(model, text, &options.rows, task)?;
        let splice = Splice::new(self.clone(), ErrorTreatment::Dropped);
        effect_of(&model.decoder, self.sites()?, splice, &rows, options.kl, task)
    }
}
