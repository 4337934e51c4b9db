//! The activations that dictionaries are fitted to: tensors, those of a store, or those of a model that reads a text.

use std::ops::ControlFlow;
use std::sync::Arc;

use serde_json::json;
use sha2::{Digest, Sha256};

use super::rows::{ActivationRows, OfTensor, PairedRows};
use crate::base::counts::count;
use crate::base::files::hex;
use crate::common::*;
use crate::data::harvest::{ActivationBlock, FunctionSink, Passes, Relay, TextReading};
use crate::data::store::{Made, ModelMark, Shuffle, ShuffledStore, Store};
use crate::model::ModelName;
use crate::sae::{About, ReadSite};

/// Activations of a text are held in memory during training if they take no more than this, in bytes: all layers of a
/// small model on half a million tokens, for which the model then runs once and not once for each layer.
pub const HELD: usize = 2 << 30;

/// Buffer of rows in memory, and the seed that shuffles them.
#[derive(Debug, Clone, Copy)]
pub struct RowBuffer {
    pub seed: u64,
    /// Number of rows in memory; None for as many as a fixed amount of memory holds.
    pub rows: Option<usize>,
}

impl RowBuffer {
    fn of_store(self) -> Shuffle {
        Shuffle { seed: self.seed, buffer: self.rows.unwrap_or(Shuffle::default().buffer) }
    }

    /// Returns the number of rows that it holds of sites of these widths together.
    pub fn rows_of(self, widths: &[usize]) -> usize {
        self.rows_within(HELD, widths)
    }

    /// Returns the number of rows that it holds of sites of these widths together, where it is to take so many bytes.
    pub fn rows_within(self, bytes: usize, widths: &[usize]) -> usize {
        let row = size_of::<f32>() * widths.iter().sum::<usize>();
        self.rows.unwrap_or((bytes / row.max(1)).max(1))
    }
}

crate::options! {
    /// Choice of the site of a store.
    pub struct StoreSiteOptions {
        /// Site of a store whose activations are read.
        site: Option<String> = None => usually("its only one");
    }
}

/// Activations of one site, or of several row by row.
pub struct FitData {
    pub rows: Box<dyn ActivationRows>,
    /// The number of rows in an epoch.
    pub count: usize,
    /// The width of each site.
    pub widths: Vec<usize>,
    /// The model and the sites, where known.
    pub about: About,
    /// Whether all rows are in memory at once: all data for which that holds share one order.
    is_held: bool,
}

impl FitData {
    /// Tensors `[.., width]`, one for each site.
    pub fn of_tensors(sites: &[Tensor], seed: u64, about: About) -> Result<Self> {
        let rows = Box::new(OfTensor::several(sites, seed)?);
        let widths: Vec<usize> = sites.iter().map(|x| x.dims().last().copied().unwrap_or_default()).collect();
        let count = sites.first().map_or(0, |x| x.elem_count() / widths.first().copied().unwrap_or_default().max(1));
        Ok(Self { rows, count, widths, about, is_held: true })
    }

    /// Reads some sites of a store.
    pub fn of_store(store: &Arc<Store>, sites: &[&str], buffer: RowBuffer) -> Result<Self> {
        let rows = OfStore::new(store, sites, buffer.of_store())?;
        let made = store.made();
        let named = sites.iter().map(|site| Ok(made.sites.get(store.site(site)?).map(|width| width.site.clone())));
        let sites = named.collect::<Result<Vec<_>>>()?.into_iter().flatten().map(ReadSite::new).collect();
        let about = About { models: vec![made.model.origin.clone()], sites, ..About::default() };
        let count = usize::try_from(store.len()).map_err(|_| err!(Memory, "more rows than can be counted"))?;
        Ok(Self { widths: rows.shuffled.widths().to_vec(), rows: Box::new(rows), count, about, is_held: false })
    }

    /// Reads some sites of a model on a text. Where the buffer does not hold all rows, the model runs again in every
    /// epoch.
    pub fn of_model(reading: TextReading, sites: &[&str], buffer: RowBuffer, task: &Task) -> Result<Self> {
        let widths = reading.harvest(sites, task)?.widths().to_vec();
        let shuffle = Shuffle { seed: buffer.seed, buffer: buffer.rows_of(&widths) };
        let rows = OfModel::new(reading, sites, shuffle, task)?;
        let sites = sites.iter().map(|site| ReadSite::new(*site)).collect();
        let about = About { models: vec![reading.model.name()], sites, ..About::default() };
        let count = usize::try_from(rows.passes.rows()).map_err(|_| err!(Memory, "more rows than can be counted"))?;
        let is_held = rows.passes.fillings() == 1;
        Ok(Self { widths: rows.passes.widths(), rows: Box::new(rows), count, about, is_held })
    }

    /// Joins the sites of several models, whose rows come in one order.
    pub fn joined(all: Vec<Self>) -> Result<Self> {
        let mut all = all.into_iter();
        let first = all.next().ok_or_else(|| err!(Bug, "no activations to join"))?;
        all.try_fold(first, |all, data| {
            if !(all.is_held && data.is_held && all.count == data.count) {
                return Err(err!(Memory, "the activations of several models do not fit into the buffer")
                    .hint("read less text, or give a larger `buffer`, in rows"));
            }
            let models = [all.about.models, data.about.models].concat();
            Ok(Self {
                rows: Box::new(PairedRows::new(all.rows, data.rows)),
                count: all.count,
                widths: [all.widths, data.widths].concat(),
                about: About { models, ..all.about },
                is_held: true,
            })
        })
    }
}

/// The rows of a store, in constant memory.
struct OfStore {
    shuffled: ShuffledStore,
    about: String,
}

impl OfStore {
    /// Opens one site, or several that are read together, in the order given.
    fn new(store: &Arc<Store>, sites: &[&str], shuffle: Shuffle) -> Result<Self> {
        let about = format!("{sites:?} of the store {}, {shuffle:?}", store.identity());
        Ok(Self { shuffled: store.shuffled(sites, shuffle)?, about })
    }
}

impl ActivationRows for OfStore {
    fn next(&mut self, rows: usize, task: &Task) -> Result<Vec<Tensor>> {
        self.shuffled.next(rows, task)
    }

    fn skip(&mut self, rows: u64, _task: &Task) -> Result<()> {
        self.shuffled.skip(rows);
        Ok(())
    }

    fn about(&self) -> String {
        self.about.clone()
    }
}

/// The activations of a model on a text, in constant memory: every epoch runs the model again.
struct OfModel {
    passes: Passes,
    about: String,
}

impl OfModel {
    /// Opens one site, or several that are read together, in the order given.
    fn new(reading: TextReading, sites: &[&str], shuffle: Shuffle, task: &Task) -> Result<Self> {
        let made = reading.harvest(sites, task)?;
        let made = Made::new(reading, &made, DType::F32, shuffle.buffer, task)?;
        // The model's content counts, not where it was loaded from.
        let made = Made { model: ModelMark { origin: ModelName::default(), ..made.model }, ..made };
        let made = hex(&Sha256::digest(json!(made).to_string()));
        let passes = Passes::new(reading, sites, shuffle.seed, shuffle.buffer, task)?;
        let about = format!("{sites:?} of the tokens {} as {made} has them, {shuffle:?}", passes.tokens());
        Ok(Self { passes, about })
    }
}

impl ActivationRows for OfModel {
    fn next(&mut self, rows: usize, task: &Task) -> Result<Vec<Tensor>> {
        self.passes.next(rows, task)
    }

    fn skip(&mut self, rows: u64, _task: &Task) -> Result<()> {
        self.passes.skip(rows);
        Ok(())
    }

    fn about(&self) -> String {
        self.about.clone()
    }
}

/// Activations of a model on a text in memory.
pub struct HarvestedSites {
    /// `[rows, width]` of each site, in the order of the computation, with the sites' names.
    pub sites: Vec<(String, Tensor)>,
    /// The streams from which sites behind these can be harvested.
    pub relay: Option<Relay>,
}

/// Harvests the activations of a model at some sites on a text in memory, from where a harvest of sites before them has
/// left the streams; `hands_over`: whether sites behind them follow.
pub fn harvested(
    reading: TextReading,
    sites: &[&str],
    relay: Option<Relay>,
    hands_over: bool,
    task: &Task,
) -> Result<HarvestedSites> {
    let harvest = reading.harvest(sites, task)?.starting_at(relay);
    let mut harvest = if hands_over { harvest.handing_over() } else { harvest };
    let text = reading.text;
    let widths = harvest.widths().to_vec();
    let places = harvest.places().to_vec();
    if let Some(tokens) = text.options().tokens {
        let bytes = 4 * tokens as u128 * (widths.iter().sum::<usize>() + harvest.handed_width()) as u128;
        memory::check(bytes, || "the activations of this text".into())?;
    }
    let tokens = usize::try_from(text.options().tokens.unwrap_or_default()).unwrap_or_default();
    let mut found: Vec<Vec<f32>> =
        widths.iter().map(|width| Vec::with_capacity(tokens.saturating_mul(*width))).collect();
    let mut sink = FunctionSink(|block: ActivationBlock| {
        for (all, x) in found.iter_mut().zip(&block.activations) {
            let numbers = x.flatten_all()?.to_vec1::<f32>()?;
            memory::check(4 * numbers.len() as u128, || "more activations of this text".into())?;
            all.extend(numbers);
        }
        Ok(ControlFlow::Continue(()))
    });
    if let Err(error) = harvest.pass_to(&mut sink, task) {
        if error.kind == Kind::Interrupted {
            let read = found.first().zip(widths.first()).map_or(0, |(numbers, width)| numbers.len() / width);
            task.say(&format!(
                "stopped while harvesting, before the first step: {} read and dropped; `data::harvest` keeps what it \
                 has read, and fits read its folder",
                count(read, "row")
            ));
        }
        return Err(error);
    }
    let tensors = found.into_iter().zip(widths).zip(places).map(|((numbers, width), place)| {
        if numbers.is_empty() {
            return Err(err!(Argument, "no position of the text is left to harvest at {place}: all are skipped"));
        }
        let rows = numbers.len() / width;
        Ok((place.to_string(), Tensor::from_vec(numbers, (rows, width), &Device::Cpu)?))
    });
    Ok(HarvestedSites { sites: tensors.collect::<Result<_>>()?, relay: harvest.handed_over() })
}
