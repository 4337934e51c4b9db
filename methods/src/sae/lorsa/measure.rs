//! A Lorsa in its model: its codes and patterns on texts, and what it is measured by.

use super::{Attended, Lorsa};
use crate::common::*;
use crate::sae::metrics::{MeasureOptions, Meter};
use crate::sae::text_rows::dictionary::{CodedTexts, TextDictionary};
use crate::sae::{SitePair, one_place};
use crate::tensor::dtype;
use crate::tensor::files::NamedTensors;

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
}

impl TextDictionary for Lorsa {
    fn to_tensors(&self) -> Result<NamedTensors> {
        self.written()
    }

    fn of_tensors(named: &NamedTensors) -> Result<Self> {
        Self::read(named)
    }

    fn sites(&self) -> Result<SitePair<'_>> {
        Ok(SitePair { reads: &self.about.reads, writes: &self.about.writes })
    }

    fn places(&self, model: &Model) -> Result<[Place; 2]> {
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

    fn context(&self) -> Option<usize> {
        Some(self.about.context)
    }

    fn meter(&self, options: MeasureOptions) -> Result<Meter> {
        Meter::new(self.d_out(), self.heads(), options)
    }

    fn coded(&self, model: &Model, batch: &Batch, task: &Task) -> Result<CodedTexts> {
        let LayerActivations { read, written } = activations(model, self.places(model)?, batch, task)?;
        let codes = self.encode(&read.to_device(self.decoder.device())?, None)?;
        Ok(CodedTexts { x: written, x_hat: self.decode(&codes)?, codes })
    }
}
