//! The activations that a dictionary is fitted or evaluated on, from what scripts give.

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::base::{Result, Task, memory};
use crate::data::Text;
use crate::data::harvest::{Block, Harvest, HarvestOptions, PositionOptions, SkipOptions, Streamed};
use crate::data::store::{Shuffle, Store};
use crate::err;
use crate::model::Model;
use crate::sae::About;
use crate::sae::fit::{Abreast, OfModel, OfStore, OfTensor, Rows};
use crate::script::options::OptionReader;
use crate::tensor::{Device, Tensor};

/// Activations of a text are held in memory during training if they take no more than this, in bytes: all layers of a
/// small model on half a million tokens, for which the model then runs once and not once for each layer.
const HELD: usize = 2 << 30;

/// The positions of a text that are harvested.
pub fn keeping(read: &mut OptionReader) -> Result<HarvestOptions> {
    Ok(read.declared::<PositionOptions>()?.into())
}

/// The same, with the tokens and the labels that are skipped.
pub fn choosing(read: &mut OptionReader, model: &Model, text: &Text, task: &Task) -> Result<HarvestOptions> {
    read.declared::<SkipOptions>()?.resolved(model, text, task)
}

/// Whether an option was given that only goes with a text.
pub fn of_text_only(read: &mut OptionReader) -> Result<bool> {
    Ok(read.declared::<SkipOptions>()? != SkipOptions::default())
}

/// How rows are shuffled, and the size of the buffer.
#[derive(Debug, Clone, Copy)]
pub struct Held {
    pub seed: u64,
    /// By default as many as a fixed amount of memory holds.
    pub rows: Option<usize>,
}

impl Held {
    fn of_store(self) -> Shuffle {
        Shuffle { seed: self.seed, buffer: self.rows.unwrap_or(Shuffle::default().buffer) }
    }

    pub(super) fn of_widths(self, widths: &[usize]) -> usize {
        let row = size_of::<f32>() * widths.iter().sum::<usize>();
        self.rows.unwrap_or((HELD / row.max(1)).max(1))
    }
}

/// Activations that something is fitted on: of one site, or of several row by row.
pub struct Source {
    pub rows: Box<dyn Rows>,
    /// The number of rows in an epoch.
    pub count: usize,
    /// The width of each site.
    pub widths: Vec<usize>,
    /// The model and the sites, where known.
    pub about: About,
    /// Whether all rows are in memory at once: all sources for which that holds share one order.
    pub is_held: bool,
}

impl Source {
    pub fn of_tensors(sites: &[Tensor], seed: u64, about: About) -> Result<Self> {
        let rows = Box::new(OfTensor::several(sites, seed)?);
        let widths: Vec<usize> = sites.iter().map(|x| x.dims().last().copied().unwrap_or_default()).collect();
        let count = sites.first().map_or(0, |x| x.elem_count() / widths.first().copied().unwrap_or_default().max(1));
        Ok(Self { rows, count, widths, about, is_held: true })
    }

    /// Some sites of a store.
    pub fn of_store(store: &Arc<Store>, sites: &[&str], held: Held) -> Result<Self> {
        let rows = OfStore::new(store, sites, held.of_store())?;
        let made = store.made();
        let named = sites.iter().map(|site| Ok(made.sites.get(store.site(site)?).map(|width| width.site.clone())));
        let sites = named.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect();
        let about = About { model: Some(made.model.origin.clone()), sites, ..About::default() };
        let count = usize::try_from(store.len()).map_err(|_| err!(Memory, "more rows than can be counted"))?;
        Ok(Self { widths: rows.widths().to_vec(), rows: Box::new(rows), count, about, is_held: false })
    }

    /// The sites of several sources, whose rows come in one order.
    pub fn joined(sources: Vec<Self>) -> Result<Self> {
        let mut sources = sources.into_iter();
        let first = sources.next().ok_or_else(|| err!(Bug, "no activations to join"))?;
        sources.try_fold(first, |all, source| {
            if !(all.is_held && source.is_held && all.count == source.count) {
                return Err(err!(Memory, "the activations of several models do not fit into the buffer")
                    .hint("read less text, or give a larger `buffer`, in rows"));
            }
            let model = [all.about.model, source.about.model].into_iter().flatten().collect::<Vec<_>>().join(", ");
            Ok(Self {
                rows: Box::new(Abreast::new(all.rows, source.rows)),
                count: all.count,
                widths: [all.widths, source.widths].concat(),
                about: About { model: Some(model), ..all.about },
                is_held: true,
            })
        })
    }

    /// Some sites of a model, which runs again in every epoch.
    pub fn of_model(
        (model, sites): (&Model, &[&str]),
        text: &Text,
        options: &HarvestOptions,
        held: Held,
        task: &Task,
    ) -> Result<Self> {
        let widths = Harvest::new(model, sites, text, options, task)?.widths().to_vec();
        let shuffle = Shuffle { seed: held.seed, buffer: held.of_widths(&widths) };
        let rows = OfModel::new((model, sites), text, options, shuffle, task)?;
        let sites = sites.iter().map(ToString::to_string).collect();
        let about = About { model: Some(model.origin.clone()), sites, ..About::default() };
        let count = usize::try_from(rows.rows()).map_err(|_| err!(Memory, "more rows than can be counted"))?;
        let is_held = rows.is_held();
        Ok(Self { widths: rows.widths(), rows: Box::new(rows), count, about, is_held })
    }
}

/// The activations of a model at some sites on a text, in memory: `[rows, width]` of each, in the order of the
/// computation, with the sites' names.
pub fn harvested(
    model: &Model,
    sites: &[&str],
    text: &Text,
    options: &HarvestOptions,
    task: &Task,
) -> Result<Vec<(String, Tensor)>> {
    let harvest = Harvest::new(model, sites, text, options, task)?;
    let (widths, places) = (harvest.widths().to_vec(), harvest.places().to_vec());
    if let Some(tokens) = text.options().tokens {
        let bytes = 4 * tokens as u128 * widths.iter().sum::<usize>() as u128;
        memory::check(bytes, || "the activations of this text".into())?;
    }
    let tokens = usize::try_from(text.options().tokens.unwrap_or_default()).unwrap_or_default();
    let mut found: Vec<Vec<f32>> =
        widths.iter().map(|width| Vec::with_capacity(tokens.saturating_mul(*width))).collect();
    let mut sink = Streamed(|block: Block| {
        for (all, x) in found.iter_mut().zip(&block.activations) {
            let numbers = x.flatten_all()?.to_vec1::<f32>()?;
            memory::check(4 * numbers.len() as u128, || "more activations of this text".into())?;
            all.extend(numbers);
        }
        Ok(ControlFlow::Continue(()))
    });
    harvest.run(&mut sink, task)?;
    let tensors = found.into_iter().zip(widths).zip(places).map(|((numbers, width), place)| {
        if numbers.is_empty() {
            return Err(err!(Argument, "no position of the text is left to harvest at {place}: all are skipped"));
        }
        let rows = numbers.len() / width;
        Ok((place.to_string(), Tensor::from_vec(numbers, (rows, width), &Device::Cpu)?))
    });
    tensors.collect()
}
