//! Metrics of transcoders of all layers: what they write in each layer against what the model's MLPs write there.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::{CodedBatch, MeasureOptions, Measures, Meter};
use crate::common::*;
use crate::data::harvest::{ActivationBlock, Blocks, FunctionSink, TextReading};
use crate::data::store::Store;
use crate::sae::transcoders::{Reads, TranscoderLayer, Transcoders, Writes};

/// Rows measured at once.
const ROWS: usize = 1024;

/// Measures each layer: what is written there by features of this and of all earlier layers, and the codes of its own
/// features.
pub fn measured_by_layer(
    transcoders: &Transcoders,
    reading: TextReading,
    options: MeasureOptions,
    task: &Task,
) -> Result<Vec<Measures>> {
    let config = reading.model.decoder.config();
    if (config.layers, config.d_model) != (transcoders.layers().len(), transcoders.width()) {
        return Err(err!(
            Argument,
            "expected transcoders of {} layers of width {}, found {} of width {}",
            config.layers,
            config.d_model,
            transcoders.layers().len(),
            transcoders.width()
        ));
    }
    let sites = sites(transcoders)?;
    let sites: Vec<&str> = sites.iter().map(String::as_str).collect();
    let mut meters = LayerMeters::new(transcoders, options)?;
    let harvest = reading.harvest(&sites, task)?;
    let mut sink = FunctionSink(|block: ActivationBlock| {
        meters.add(&block, task)?;
        Ok(ControlFlow::Continue(()))
    });
    harvest.run(&mut sink, task)?;
    meters.finish()
}

/// Measures each layer on all rows of a store that has what is read and what is written.
pub fn measured_by_layer_in(
    transcoders: &Transcoders,
    store: &Arc<Store>,
    options: MeasureOptions,
    task: &Task,
) -> Result<Vec<Measures>> {
    let sites = sites(transcoders)?;
    let mut meters = LayerMeters::new(transcoders, options)?;
    let mut blocks = store.in_order(&sites.iter().map(String::as_str).collect::<Vec<_>>(), ROWS)?;
    while let Some(block) = blocks.next(task)? {
        meters.add(&block, task)?;
    }
    meters.finish()
}

/// A meter for each layer.
struct LayerMeters<'a> {
    transcoders: &'a Transcoders,
    decoders: Vec<Tensor>,
    meters: Vec<Meter>,
}

impl<'a> LayerMeters<'a> {
    fn new(transcoders: &'a Transcoders, options: MeasureOptions) -> Result<Self> {
        let meter = |layer: &TranscoderLayer| Meter::new(transcoders.width(), layer.features(), options);
        let decoders = decoders(transcoders)?;
        Ok(Self { transcoders, decoders, meters: transcoders.layers().iter().map(meter).collect::<Result<_>>()? })
    }

    /// Adds rows of what is read and what is written in each layer.
    fn add(&mut self, block: &ActivationBlock, task: &Task) -> Result<()> {
        let rows = block.activations.first().map_or(Ok(0), |x| x.dim(0))?;
        for start in (0..rows).step_by(ROWS) {
            let size = ROWS.min(rows - start);
            let part = |x: &Tensor| x.narrow(0, start, size);
            let seen = block.activations.iter().map(part).collect::<std::result::Result<Vec<_>, _>>()?;
            let (read, written): (Vec<_>, Vec<_>) = seen.into_iter().enumerate().partition(|(i, _)| i % 2 == 0);
            let read: Vec<Tensor> = read.into_iter().map(|(_, x)| x).collect();
            let found = reconstructed(self.transcoders, &self.decoders, &read, task)?;
            let positions = block.positions.get(start..start + size);
            for (meter, ((_, x), (codes, x_hat))) in self.meters.iter_mut().zip(written.iter().zip(&found)) {
                meter.add(CodedBatch { x, codes, x_hat, positions }, task)?;
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<Vec<Measures>> {
        self.meters.into_iter().map(Meter::finish).collect()
    }
}

/// Returns these measures as a table with a row for each layer.
pub fn layer_table(measures: &[Measures]) -> Table {
    let row =
        |(layer, of): (usize, &Measures)| vec![layer.into(), of.fve.into(), of.l0.into(), of.features.dead().into()];
    Table::new("transcoders by layer", ["layer", "fve", "l0", "dead"], measures.iter().enumerate().map(row))
}

/// Lists the sites that are read and written in each layer, in the order of the computation.
fn sites(transcoders: &Transcoders) -> Result<Vec<String>> {
    let reads = match (transcoders.reads, transcoders.writes) {
        (Reads::MlpIn, Writes::MlpOut) => SiteKind::MlpIn,
        (Reads::ResidMid, Writes::MlpOut) => SiteKind::ResidMid,
        _ => {
            return Err(err!(Argument, "expected transcoders that read `mlp_in` or `resid_mid` and write `mlp_out`")
                .hint("these read or write between a norm and its weight, where the model has no site"));
        }
    };
    let of_layer = |layer| [reads, SiteKind::MlpOut].map(|kind| Site::new(kind, layer).to_string());
    Ok((0..transcoders.layers().len()).flat_map(of_layer).collect())
}

/// Reads all decoders: `[features, written layers, d]` of each layer.
fn decoders(transcoders: &Transcoders) -> Result<Vec<Tensor>> {
    let numbers = |layer: &TranscoderLayer| layer.decoder.shape().iter().map(|size| *size as u128).product::<u128>();
    memory::check(4 * transcoders.layers().iter().map(numbers).sum::<u128>(), || "the decoders of all layers".into())?;
    let all = |layer: &TranscoderLayer| layer.decoder.rows(&(0..layer.features() as u32).collect::<Vec<_>>());
    transcoders.layers().iter().map(all).collect()
}

/// Computes the codes of each layer, and what is written there.
fn reconstructed(
    transcoders: &Transcoders,
    decoders: &[Tensor],
    read: &[Tensor],
    task: &Task,
) -> Result<Vec<(Tensor, Tensor)>> {
    let layers = transcoders.layers();
    let mut found = Vec::with_capacity(layers.len());
    for (layer, x) in layers.iter().zip(read) {
        task.check()?;
        let x = &x.to_device(layer.encoder.device())?;
        let mut written = match &layer.skip {
            Some(skip) => kernels::linear(x, skip, None)?,
            None => x.zeros_like()?,
        };
        if let Some(bias) = &layer.decoder_bias {
            written = written.broadcast_add(bias)?;
        }
        found.push((layer.fired(&layer.pre(x)?)?, written));
    }
    for (from, decoder) in decoders.iter().enumerate() {
        for ahead in 0..decoder.dim(1)? {
            task.check()?;
            let directions =
                decoder.narrow(1, ahead, 1)?.squeeze(1)?.contiguous()?.to_device(found[from].0.device())?;
            let written = found[from].0.matmul(&directions)?;
            found[from + ahead].1 = (&found[from + ahead].1 + written)?;
        }
    }
    // On the device of what was read.
    let back = |t: Tensor| -> Result<Tensor> { Ok(t.to_device(read.first().map_or(&Device::Cpu, Tensor::device))?) };
    found.into_iter().map(|(codes, written)| Ok((back(codes)?, back(written)?))).collect()
}
