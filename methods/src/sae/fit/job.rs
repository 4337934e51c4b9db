//! Fits, and sweeps of several that read the same rows: their source, their target, their plans and their storage. The
//! cache, checkpoints and sweeps hold for every target.

use std::path::PathBuf;
use std::sync::Arc;

use super::data::{FitData, RowBuffer};
use super::joined::JoinedRows;
use super::plan::{FitPlan, Recipe};
use super::run::{FitProduct, FitResult, FitRun};
use super::sites::{SiteData, SitesTogether, texts};
use super::storage::{FitStorage, OnFitted};
use super::target::Target;
use crate::base::counts::count;
use crate::common::*;
use crate::data::harvest::TextReading;
use crate::data::store::Store;
use crate::sae::About;
use crate::sae::cached::{FitKey, ReadingKey, RowOrder};
use crate::sae::crosscoder::unscaled;

/// Fits that are ready to run: one, or those of a sweep.
pub struct Job<'a> {
    pub source: Source<'a>,
    pub target: Target<'a>,
    /// Plan of a fit, or all plans of a sweep, which read the rows in the order of the first.
    pub plans: &'a [FitPlan],
    /// Whether each plan has a folder of its own for its checkpoints, named after its settings.
    pub is_sweep: bool,
    pub storage: &'a FitStorage<'a>,
}

/// Source of activations.
#[derive(Clone, Copy)]
pub enum Source<'a> {
    /// Activations of one site, `[.., d]`.
    Tensor(&'a Tensor),
    Store(&'a Arc<Store>),
    /// A model that reads a text, or all models of a crosscoder on the same text.
    Text(&'a [TextReading<'a>]),
}

/// Activations in lots; the rows of a lot share one order.
enum Lots<'a> {
    Tensor(&'a Tensor, RowBuffer),
    /// A store, with the sites that the rows of each lot have.
    Store(&'a Arc<Store>, Vec<Vec<String>>, RowBuffer),
    /// Sites of a model, each a lot.
    Sites(SiteData<'a>),
    Together(SitesTogether<'a>),
}

/// A lot by its number, and a plan for it.
type PlannedLot<'a> = (usize, &'a FitPlan);

impl<'a> Job<'a> {
    /// Fits each plan to each lot, or loads what is cached. The sites of a model come in the order of the computation,
    /// and the plans of each site in their own.
    pub fn run(&self, task: &Task) -> Result<Vec<FitResult>> {
        let first = self.plans.first();
        let first = first.ok_or_else(|| err!(Argument, "expected at least one dictionary to fit, found none"))?;
        let lots = self.lots(first.buffer(), task)?;
        let wanted = (0..lots.count()).flat_map(|lot| self.plans.iter().map(move |plan| (lot, plan)));
        let wanted: Vec<PlannedLot> = wanted.collect();
        let is_cached = matches!(self.source, Source::Text(_));
        let Some(cache) = is_cached.then(|| self.storage.call_cache(task)).flatten() else {
            return self.fit(&lots, &wanted, &mut |_| (), task);
        };
        let keys = self.keys(&lots, &wanted, task)?;
        let fit = |missing: &[usize], done: OnFitted| {
            let missing: Vec<PlannedLot> = missing.iter().filter_map(|number| wanted.get(*number).copied()).collect();
            self.fit(&lots, &missing, done, task)
        };
        self.storage.completed(&cache, &keys, fit, task)
    }

    fn lots(&self, buffer: RowBuffer, task: &Task) -> Result<Lots<'a>> {
        Ok(match (self.source, self.target) {
            (Source::Tensor(x), Target::Dictionary(_)) => Lots::Tensor(x, buffer),
            (Source::Tensor(_), _) => return Err(err!(Argument, "expected a model or a store, found a tensor")),
            (Source::Store(store), target) => Lots::Store(store, target.of_store(store)?, buffer),
            (Source::Text([reading]), Target::Dictionary(sites)) => {
                Lots::Sites(SiteData::new(*reading, sites, buffer, task)?)
            }
            (Source::Text(several @ [_, _, ..]), target) if !matches!(target, Target::Crosscoder(_)) => {
                let error = err!(Argument, "expected one model, found {}", several.len());
                return Err(error.hint("only crosscoders read several").about("m"));
            }
            (Source::Text(readings), target) => {
                let (sites, label) = target.together(readings, task)?;
                Lots::Together(SitesTogether::new(readings, sites, label, buffer, task)?)
            }
        })
    }

    /// Returns the cache keys of plans for lots of a text.
    fn keys(&self, lots: &Lots, wanted: &[PlannedLot], task: &Task) -> Result<Vec<FitKey>> {
        let reads = lots.reads(task)?;
        let rows = usize::try_from(reads.rows()).map_err(|_| err!(Memory, "more rows than can be counted"))?;
        let key = |(lot, plan): &PlannedLot| -> Result<FitKey> {
            let (order, widths) = lots.order(*lot)?;
            let recipe = self.target.recipe(plan, rows, widths)?;
            // The label of the sites says whether there is a skip connection.
            Ok(FitKey::new(&reads, &order, &Recipe { skip: false, ..recipe }))
        };
        wanted.iter().map(key).collect()
    }

    /// Fits plans lot by lot, and calls `done` with each result.
    fn fit(&self, lots: &Lots, wanted: &[PlannedLot], done: OnFitted, task: &Task) -> Result<Vec<FitResult>> {
        let mut numbers: Vec<usize> = wanted.iter().map(|(lot, _)| *lot).collect();
        numbers.dedup();
        let several = numbers.len() > 1;
        // Ctrl-C ends all of them, and not one after the other: those that are complete are kept.
        let reading = task;
        let whole = task.whole();
        // They count as one piece of work, however many of them are cached.
        let _piece = several.then(|| task.piece());
        let task = if several { &whole } else { task };
        let mut all = Vec::with_capacity(wanted.len());
        for (number, data) in numbers.iter().zip(lots.each(&numbers, reading)) {
            task.check()?;
            let data = data?;
            let site = if several { data.about.site() } else { String::new() };
            if several {
                task.say(&format!("fitting {site}"));
            }
            let plans = wanted.iter().filter(|(lot, _)| lot == number).map(|(_, plan)| *plan);
            let found = self.fit_lot(data, plans, &site, task)?;
            found.iter().for_each(&mut *done);
            all.extend(found);
        }
        Ok(all)
    }

    /// Fits plans to one lot, which is read once. Checkpoints are in the folder `inside` that of the storage.
    fn fit_lot<'p>(
        &self,
        data: FitData,
        plans: impl Iterator<Item = &'p FitPlan>,
        inside: &str,
        task: &Task,
    ) -> Result<Vec<FitResult>> {
        let mut recipes = Vec::new();
        for plan in plans {
            let recipe = self.target.recipe(plan, data.count, &data.widths)?;
            let folder = if self.is_sweep { PathBuf::from(inside).join(recipe.folder()) } else { inside.into() };
            recipes.push((recipe, self.storage.checkpoint(&folder)));
        }
        let rows = self.storage.placed(data.rows);
        let about = self.target.about(data.about);
        let found = match self.target {
            Target::Crosscoder(_) => {
                let rows = JoinedRows::new(rows, task)?;
                let spans = rows.spans().to_vec();
                let scaled = FitRun::new(recipes, Box::new(rows), None, task)?.run(&about, task)?;
                let unscaled = |fitted: FitResult| {
                    let made = FitProduct::Dictionary(unscaled(&fitted.made.dictionary()?, &spans)?);
                    Ok(FitResult { made, ..fitted })
                };
                scaled.into_iter().map(unscaled).collect::<Result<_>>()?
            }
            Target::CrossLayer(reads) => FitRun::new(recipes, rows, Some(reads.of_set()), task)?.run(&about, task)?,
            Target::Dictionary(_) | Target::Transcoder { .. } => {
                FitRun::new(recipes, rows, None, task)?.run(&about, task)?
            }
        };
        tell(&found, task);
        Ok(found)
    }
}

impl Lots<'_> {
    fn count(&self) -> usize {
        match self {
            Lots::Tensor(..) | Lots::Together(_) => 1,
            Lots::Store(_, lots, _) => lots.len(),
            Lots::Sites(sites) => sites.count(),
        }
    }

    /// Returns what all lots read, for keys of the cache.
    fn reads(&self, task: &Task) -> Result<ReadingKey> {
        match self {
            Lots::Sites(sites) => sites.reads(task),
            Lots::Together(together) => together.reads(task),
            Lots::Tensor(..) | Lots::Store(..) => Err(err!(Bug, "a key of what is not cached")),
        }
    }

    /// Returns the order of the rows of a lot, and the width of each of its sites.
    fn order(&self, lot: usize) -> Result<(RowOrder<'_>, &[usize])> {
        match self {
            Lots::Sites(sites) => sites.order(lot),
            Lots::Together(together) => Ok(together.order()),
            Lots::Tensor(..) | Lots::Store(..) => Err(err!(Bug, "a key of what is not cached")),
        }
    }

    /// Returns some lots in their order, each read when it is needed.
    fn each<'s>(&'s self, wanted: &'s [usize], task: &'s Task) -> Box<dyn Iterator<Item = Result<FitData>> + 's> {
        match self {
            Lots::Tensor(x, buffer) => {
                let data = move || FitData::of_tensors(std::slice::from_ref(*x), buffer.seed, About::default());
                Box::new(std::iter::once_with(data))
            }
            Lots::Store(store, lots, buffer) => {
                let lots = wanted.iter().filter_map(move |lot| lots.get(*lot));
                Box::new(lots.map(move |sites| FitData::of_store(store, &texts(sites), *buffer)))
            }
            Lots::Sites(sites) => Box::new(sites.each(wanted, task)),
            Lots::Together(together) => Box::new(std::iter::once_with(move || together.data(task))),
        }
    }
}

/// Reports the fits that failed; of an interruption the training has told.
fn tell(found: &[FitResult], task: &Task) {
    for fitted in found {
        if let Some(error) = &fitted.failed {
            let what = match &fitted.made {
                FitProduct::Dictionary(sae) => format!("a {} dictionary", sae.parts().about.kind),
                FitProduct::CrossLayer(_) => "a cross-layer transcoder".into(),
            };
            let made = count(fitted.history.steps.len(), "step");
            task.say(&format!("{what} stopped after {made}: {error}"));
        }
    }
}
