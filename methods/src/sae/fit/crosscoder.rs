//! Fits of crosscoders: several sites of a model, or the same sites of several models, concatenated row by row.

use std::sync::Arc;

use super::course::Fitted;
use super::data::{FitData, RowBuffer};
use super::kinds;
use super::kinds::KindName;
use super::options::{FitOptions, FitPlan};
use super::rows::Rows;
use super::storage::FitStorage;
use super::to_data::run_recipe;
use crate::base::options::Plain;
use crate::base::{Result, Task};
use crate::data::harvest::{Harvest, HarvestOptions, width};
use crate::data::store::Store;
use crate::data::{Text, pack};
use crate::err;
use crate::model::Model;
use crate::model::site::{Place, select};
use crate::sae::Span;
use crate::sae::crosscoder::{MODELS, factors, site_of_model, unscaled};
use crate::tensor::{DType, Device, Tensor};

crate::options! {
    /// Options whose defaults are others for crosscoders.
    #[derive(Debug, Clone)]
    pub struct CrosscoderOptions {
        /// "crosscoder": an L1 penalty on codes, each times the sum of the norms of its directions; or a kind of
        /// `sae::fit`, with its own options.
        kind: KindName = KindName(kinds::crosscoder::NAME);
        /// Number of features over number of dimensions of one site.
        ratio: f64 = 8.0 => above(0.0);
    }
}

/// Rows from which the scale of each site is computed.
const LOOKED_AT: usize = 1 << 14;

/// The concatenated rows of several sites, each scaled so that none counts more than another.
pub struct Joined<'a> {
    rows: Box<dyn Rows + 'a>,
    spans: Vec<Span>,
    factors: Tensor,
}

impl<'a> Joined<'a> {
    /// Consumes the first rows to compute the scales: a coordinate of each site gets mean square 1 about its mean.
    pub fn new(mut rows: Box<dyn Rows + 'a>, task: &Task) -> Result<Self> {
        let span = |x: &Tensor| -> Result<Span> {
            let wide = x.to_dtype(DType::F64)?;
            let spread = wide.broadcast_sub(&wide.mean_keepdim(0)?)?.sqr()?.mean_all()?.to_scalar::<f64>()?;
            if !spread.is_finite() {
                return Err(err!(Numeric, "expected finite activations to fit, found NaN or infinity"));
            }
            // In single precision, like the multiplication. Without variance there is nothing to scale.
            let scale = if spread > 0.0 { f64::from((1.0 / spread.sqrt()) as f32) } else { 1.0 };
            Ok(Span { width: x.dims()[1], scale })
        };
        let first = rows.next(LOOKED_AT, task)?;
        let spans = first.iter().map(span).collect::<Result<Vec<_>>>()?;
        let device = first.first().map_or(&Device::Cpu, Tensor::device);
        Ok(Self { rows, factors: factors(&spans)?.to_device(device)?, spans })
    }

    pub fn spans(&self) -> &[Span] {
        &self.spans
    }
}

impl Rows for Joined<'_> {
    fn next(&mut self, rows: usize, task: &Task) -> Result<Vec<Tensor>> {
        Ok(vec![Tensor::cat(&self.rows.next(rows, task)?, 1)?.broadcast_mul(&self.factors)?])
    }

    fn skip(&mut self, rows: u64, task: &Task) -> Result<()> {
        self.rows.skip(rows, task)
    }

    fn about(&self) -> String {
        format!("{}, joined", self.rows.about())
    }
}

/// What a crosscoder is fitted by: a plan is made when the widths of its sites are known.
pub struct CrosscoderPlan<'a> {
    pub options: FitOptions,
    /// The options that its kind has of its own, but for the widths of the sites.
    pub own: Vec<(&'a str, Plain)>,
}

impl CrosscoderPlan<'_> {
    fn of_widths(&self, widths: &[usize]) -> Result<FitPlan> {
        let mut own = self.own.clone();
        if self.options.kind == KindName(kinds::crosscoder::NAME) {
            own.retain(|(name, _)| *name != "widths");
            own.push(("widths", Plain::List(widths.iter().map(|width| Plain::Integer(*width as i64)).collect())));
        }
        FitPlan::named(self.options.clone(), &own)
    }
}

/// A crosscoder for some sites of a model, or for the same sites of several models that read the same tokens.
pub fn crosscoder_at(
    (models, sites): (&[&Model], &[String]),
    text: &Text,
    options: &HarvestOptions,
    plan: &CrosscoderPlan,
    storage: &FitStorage,
    task: &Task,
) -> Result<Fitted> {
    let (mut named, mut widths) = (Vec::new(), Vec::new());
    for (number, model) in models.iter().enumerate() {
        for place in places(model, sites).map_err(|e| e.about("sites"))? {
            widths.push(width(model.decoder.config(), place).map_err(|e| e.about("sites"))?);
            named.push(if models.len() == 1 { place.to_string() } else { site_of_model(&place.to_string(), number) });
        }
    }
    several(&named, "at least two sites, or several models")?;
    let plan = plan.of_widths(&widths)?;
    same_tokens(models, text, options.context, task).map_err(|e| e.about("m"))?;
    let mut data = together(models, sites, text, (options, plan.buffer()), task)?;
    data.about.sites = named;
    if models.len() > 1 {
        let origins: Vec<&str> = models.iter().map(|model| model.origin.as_str()).collect();
        data.about.more.insert(MODELS.into(), origins.into());
    }
    crosscoder(data, &plan, storage, task)
}

/// A crosscoder for some sites of a store.
pub fn crosscoder_of_store(
    store: &Arc<Store>,
    sites: &[String],
    plan: &CrosscoderPlan,
    storage: &FitStorage,
    task: &Task,
) -> Result<Fitted> {
    several(sites, "at least two sites")?;
    let width = |name: &String| store.width(store.site(name)?);
    let widths = sites.iter().map(width).collect::<Result<Vec<_>>>().map_err(|e| e.about("sites"))?;
    let plan = plan.of_widths(&widths)?;
    let sites: Vec<&str> = sites.iter().map(String::as_str).collect();
    crosscoder(FitData::of_store(store, &sites, plan.buffer())?, &plan, storage, task)
}

fn crosscoder(data: FitData, plan: &FitPlan, storage: &FitStorage, task: &Task) -> Result<Fitted> {
    let (recipe, d_sae) = plan.recipe(data.count, data.widths.iter().sum::<usize>() / data.widths.len().max(1))?;
    if recipe.kind.only_reconstructs() {
        let kind = recipe.kind.name();
        return Err(
            err!(Argument, "expected a kind of crosscoder, whose sites are scaled, found \"{kind}\"").about("kind")
        );
    }
    let rows = Joined::new(storage.placed(data.rows), task)?;
    let spans = rows.spans().to_vec();
    let fitted = run_recipe((recipe, d_sae), Box::new(rows), data.about, (storage, None), task)?;
    Ok(Fitted { sae: unscaled(&fitted.sae, &spans)?, ..fitted })
}

/// Refuses a crosscoder of one site.
fn several(sites: &[String], wanted: &str) -> Result<()> {
    match sites.len() {
        0 | 1 => Err(err!(Argument, "expected {wanted} for `sites`, found {}", sites.join(", ")).about("sites")),
        _ => Ok(()),
    }
}

/// The sites that names stand for, in the order of the computation, each once.
fn places(model: &Model, sites: &[String]) -> Result<Vec<Place>> {
    let named = sites.iter().map(|site| select(model.decoder.config(), site)).collect::<Result<Vec<_>>>()?;
    let mut places = named.concat();
    places.sort();
    places.dedup();
    Ok(places)
}

/// The activations of the same sites of one or several models, concatenated row by row.
fn together(
    models: &[&Model],
    sites: &[String],
    text: &Text,
    (options, buffer): (&HarvestOptions, RowBuffer),
    task: &Task,
) -> Result<FitData> {
    let sites = match models {
        [first, ..] => places(first, sites)?.iter().map(ToString::to_string).collect(),
        [] => Vec::new(),
    };
    let sites: Vec<&str> = sites.iter().map(String::as_str).collect();
    let mut widths = Vec::new();
    for model in models {
        widths.extend(Harvest::new(model, &sites, text, options, task)?.widths());
    }
    // All of them share the memory, so that their rows have one order.
    let buffer = RowBuffer { rows: Some(buffer.rows_of(&widths)), ..buffer };
    let of_model = |model: &&Model| FitData::of_model((*model, &sites), text, options, buffer, task);
    FitData::joined(models.iter().map(of_model).collect::<Result<_>>()?)
}

/// Refuses models that do not read the same tokens in a text.
fn same_tokens(models: &[&Model], text: &Text, context: Option<usize>, task: &Task) -> Result<()> {
    let [first, others @ ..] = models else { return Ok(()) };
    let rows = |model: &Model| {
        let usual = model.decoder.config().row_length();
        pack::rows(text, model.text_tokenizer()?, context.unwrap_or(usual), task)
    };
    for (number, other) in others.iter().enumerate() {
        let (mut a, mut b) = (rows(first)?, rows(other)?);
        loop {
            task.check()?;
            let [a, b] = [a.next(task)?, b.next(task)?].map(|row| row.map(|row| row.ids));
            if a != b {
                let number = number + 1;
                return Err(err!(
                    Argument,
                    "expected models that read the same tokens, found others in model {number}"
                )
                .hint("a crosscoder of several models needs the same tokenizer and context in all of them"));
            }
            if a.is_none() {
                break;
            }
        }
    }
    Ok(())
}
