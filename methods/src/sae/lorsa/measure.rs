//! A Lorsa in its model: its codes and patterns on texts, how well it predicts what the layer writes, and what the model loses
//! with it in place of the layer.

use super::{Attended, Lorsa};
use crate::base::{Result, Task};
use crate::data::Text;
use crate::err;
use crate::model::Model;
use crate::model::batch::Batch;
use crate::model::run::Ask;
use crate::model::site::Place;
use crate::sae::metrics::{
    CodedBatch, Effect, EvaluationText, JudgedRowsOptions, KlPositions, MeasureOptions, Measures, Meter, effect_of,
};
use crate::sae::one_place;
use crate::sae::splice::{ErrorTreatment, Splice};
use crate::sae::text_rows::{CountedPositions, in_batches, rows_of};
use crate::tensor::{DType, Device, Tensor, dtype};

crate::options! {
    /// A Lorsa measured on a text.
    #[derive(Debug, Clone)]
    pub struct LorsaMeasureOptions {
        with measure: MeasureOptions;
        with rows: JudgedRowsOptions;
    }
}

crate::options! {
    /// A Lorsa spliced into a model.
    #[derive(Debug, Clone)]
    pub struct LorsaEffectOptions {
        /// The positions that the KL is a mean over: those behind which another token of the row stands, or all.
        kl: KlPositions = KlPositions::Predicted;
        with rows: JudgedRowsOptions;
    }
}

/// The inputs and outputs of a layer's attention on a batch of texts, in f32: `[batch, pos, d]` each.
pub struct LayerActivations {
    pub read: Tensor,
    pub written: Tensor,
}

/// Computes what a layer reads and writes.
pub fn activations(model: &Model, places: [Place; 2], batch: &Batch, task: &Task) -> Result<LayerActivations> {
    let cache = model.decoder.cache(batch, Ask { places: places.to_vec(), ..Ask::default() }, task)?;
    let one = |place: Place| dtype::convert(&cache.at(place)?.detach(), DType::F32);
    let [read, written] = places;
    Ok(LayerActivations { read: one(read)?, written: one(written)? })
}

impl Lorsa {
    /// Finds its sites in a model, and refuses a model that has not such a layer.
    pub fn places(&self, model: &Model) -> Result<[Place; 2]> {
        let config = model.decoder.config();
        let wide = [self.d_in(), self.d_out()];
        if wide != [config.d_model; 2] {
            let [d_in, d_out] = wide;
            return Err(err!(
                Argument,
                "expected a model whose attention reads {d_in} and writes {d_out} numbers, found {} of {}",
                model.name(),
                config.d_model
            )
            .about("m"));
        }
        Ok([one_place(config, &self.about.reads)?, one_place(config, &self.about.writes)?])
    }

    /// Computes queries, keys and values on texts that a model reads. They are where the Lorsa is.
    pub fn attended_in(&self, model: &Model, batch: &Batch, task: &Task) -> Result<Attended> {
        let [place, _] = self.places(model)?;
        let cache = model.decoder.cache(batch, Ask { places: vec![place], ..Ask::default() }, task)?;
        let read = dtype::convert(&cache.at(place)?.detach(), DType::F32)?;
        self.attended(&read.to_device(self.decoder.device())?, None)
    }

    /// Computes the codes of texts that a model reads: `[batch, pos, head]`. Those of padding mean nothing.
    pub fn codes(&self, model: &Model, batch: &Batch, task: &Task) -> Result<Tensor> {
        let read = self.attended_in(model, batch, task)?;
        Ok(self.chosen(&self.mixed(&read, None)?)?.to_device(&Device::Cpu)?)
    }

    /// Reads the rows of a text on which it is judged, which have as many tokens as those that it was fitted on.
    pub fn rows(
        &self,
        model: &Model,
        text: &Text,
        options: &JudgedRowsOptions,
        task: &Task,
    ) -> Result<Vec<EvaluationText>> {
        self.places(model)?;
        rows_of(model, text, Some(self.about.context), options, task)
    }

    /// Measures how well it predicts what the layer writes on a text, and how sparse its codes are.
    pub fn measured(&self, model: &Model, text: &Text, options: &LorsaMeasureOptions, task: &Task) -> Result<Measures> {
        let rows = self.rows(model, text, &options.rows, task)?;
        let mut meter = Meter::new(self.d_out(), self.heads(), options.measure)?;
        self.on_rows(model, &rows, task, &mut |part| {
            let CodedTexts { written, codes, predicted, positions } = part;
            meter.add(CodedBatch { x: &written, codes: &codes, x_hat: &predicted, positions: Some(&positions) }, task)
        })?;
        meter.finish()
    }

    /// Gives what the layer writes, the codes and what they write at the positions that count to `take`, some texts at a time.
    pub(super) fn on_rows(
        &self,
        model: &Model,
        rows: &[EvaluationText],
        task: &Task,
        take: &mut dyn FnMut(CodedTexts) -> Result<()>,
    ) -> Result<()> {
        let places = self.places(model)?;
        in_batches(rows, task, |_, part, batch| {
            let LayerActivations { read, written } = activations(model, places, &batch, task)?;
            let codes = self.encode(&read.to_device(self.decoder.device())?, None)?;
            let predicted = self.decode(&codes)?;
            let counted = CountedPositions::of(part, batch.width())?;
            take(CodedTexts {
                written: counted.rows_of(&written)?,
                codes: counted.rows_of(&codes)?,
                predicted: counted.rows_of(&predicted)?,
                positions: counted.positions,
            })
        })
    }

    /// Measures what a model loses with it in place of the layer, beside zeros and the mean there.
    pub fn effect(&self, model: &Model, text: &Text, options: &LorsaEffectOptions, task: &Task) -> Result<Effect> {
        let rows = self.rows(model, text, &options.rows, task)?;
        let splice = Splice::new(self.clone(), ErrorTreatment::Dropped);
        effect_of(&model.decoder, self.sites(), splice, &rows, options.kl, task)
    }
}

/// Positions of some texts: what the layer writes there, the codes, and what these write.
pub struct CodedTexts {
    pub written: Tensor,
    pub codes: Tensor,
    pub predicted: Tensor,
    pub positions: Vec<u32>,
}
