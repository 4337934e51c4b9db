//! The trainer of fits: members that share one reading of the data, each a dictionary or a cross-layer transcoder. Each
//! batch is read, centred and scaled once for all. A single fit is a run of one member.

use serde_json::{Value, json};

use super::checkpoint::CheckpointOwner;
use super::cross_layer::{self, CrossLayerShape};
use super::finish::finished;
use super::history::{FitHistory, FitStep};
use super::loss::FitBatch;
use super::params::{DictionaryShape, Params};
use super::plan::Recipe;
use super::reading::FitReading;
use super::rows::ActivationRows;
use super::state::FitState;
use crate::bail;
use crate::base::random::stream;
use crate::common::*;
use crate::sae::transcoders::{Reads, Transcoders};
use crate::sae::{About, Sae};
use crate::training::{self, CheckpointFolder, Checkpoints, Trainer};

/// The metadata key for the settings of the fit.
pub const SETTINGS: &str = "fit";

/// Product of a fit.
#[derive(Debug, Clone)]
pub enum FitProduct {
    /// A dictionary, a transcoder or a crosscoder.
    Dictionary(Sae),
    CrossLayer(Transcoders),
}

impl FitProduct {
    /// Returns the dictionary; a cross-layer transcoder is refused.
    pub fn dictionary(self) -> Result<Sae> {
        match self {
            Self::Dictionary(sae) => Ok(sae),
            Self::CrossLayer(_) => Err(err!(Bug, "a cross-layer transcoder in the place of a dictionary")),
        }
    }

    /// Returns the cross-layer transcoder; a dictionary is refused.
    pub fn cross_layer(self) -> Result<Transcoders> {
        match self {
            Self::CrossLayer(transcoders) => Ok(transcoders),
            Self::Dictionary(_) => Err(err!(Bug, "a dictionary in the place of a cross-layer transcoder")),
        }
    }

    /// Returns a copy on a device.
    pub fn to_device(&self, device: &Device) -> Result<Self> {
        Ok(match self {
            Self::Dictionary(sae) => Self::Dictionary(sae.to_device(device)?),
            Self::CrossLayer(transcoders) => Self::CrossLayer(transcoders.to_device(device)?),
        })
    }
}

/// Result of a fit.
#[derive(Debug, Clone)]
pub struct FitResult {
    pub made: FitProduct,
    /// Numbers of each step. For a cross-layer transcoder, L0 and dead features are sums over layers, and FVE is a
    /// mean.
    pub history: FitHistory,
    /// Whether the fit was completed, neither interrupted nor failed.
    pub is_whole: bool,
    /// Error that ended the fit, where `made` is the state before.
    pub failed: Option<Error>,
}

/// Fits that are ready to run. Each ends bit for bit as it would alone on the same rows.
pub struct FitRun<'a> {
    reading: FitReading<'a>,
    members: Vec<Member<'a>>,
    /// Input of the features of cross-layer transcoders; none where dictionaries are fitted.
    of_layers: Option<Reads>,
    /// The description of the data, as checkpoints have it.
    data: String,
    /// Names of the sites that are read, once the fit runs; empty for other data.
    sites: String,
    /// Batches that have been read or skipped.
    at: u64,
}

impl<'a> FitRun<'a> {
    /// Prepares a run by recipes, each with the folder of its checkpoints. A member with a checkpoint resumes from it,
    /// which need not be the same step for all. `rows` gives activations, or for transcoders what is read and what is
    /// to be written: of one layer, or of each layer where `of_layers` is given.
    pub fn new(
        recipes: Vec<(Recipe, Option<CheckpointFolder<'a>>)>,
        rows: Box<dyn ActivationRows + 'a>,
        of_layers: Option<Reads>,
        task: &Task,
    ) -> Result<Self> {
        let (batch, is_scaled) = shared(&recipes)?;
        let (mut reading, first) = FitReading::new(rows, batch, is_scaled, task)?;
        let mut ready = Vec::with_capacity(recipes.len());
        for (recipe, keep) in recipes {
            let shapes = shapes(&first, recipe.d_sae, of_layers.is_some())?;
            recipe.compute.check(first[0].x.device())?;
            ready.push((recipe.checked(shapes[0])?, keep, shapes));
        }
        let sizes: Vec<(usize, &[DictionaryShape])> =
            ready.iter().map(|(recipe, _, shapes)| (recipe.batch, shapes.as_slice())).collect();
        room(&sizes, first[0].x.device(), of_layers.is_some())?;
        let data = if ready.iter().any(|(_, keep, _)| keep.is_some()) { reading.about() } else { String::new() };
        let mut members = Vec::with_capacity(ready.len());
        for (recipe, keep, shapes) in ready {
            task.check()?;
            members.push(Member::begin(recipe, keep, &shapes, of_layers.is_some(), &first, &data, task)?);
        }
        let at = members.iter().map(Member::made).min().unwrap_or(0);
        if at > 0 {
            reading.skip(at, task)?;
        }
        Ok(Self { reading, members, of_layers, data, sites: String::new(), at })
    }

    /// Fits to the end. An interruption ends it early and is cleared: the result is what was fitted so far. One whose
    /// loss becomes NaN ends in the state before; it is an error if all of them do.
    pub fn run(mut self, about: &About, task: &Task) -> Result<Vec<FitResult>> {
        self.sites = about.site();
        training::run(&mut self, task)?;
        let Self { reading, members, of_layers, .. } = self;
        members.into_iter().map(|member| member.finish(&reading, of_layers, about.clone())).collect()
    }

    fn noun(&self, count: usize) -> &'static str {
        match (self.of_layers.is_some(), count) {
            (false, 1) => "dictionary",
            (false, _) => "dictionaries",
            (true, 1) => "cross-layer transcoder",
            (true, _) => "cross-layer transcoders",
        }
    }
}

impl Trainer for FitRun<'_> {
    fn label(&self) -> String {
        match self.members.as_slice() {
            [one] if one.is_of_layers => format!("fitting a cross-layer transcoder of {} layers", one.states.len()),
            [_] => "fitting".into(),
            several => format!("fitting {} {}", several.len(), self.noun(several.len())),
        }
    }

    fn steps(&self) -> u64 {
        self.members.iter().map(|member| member.recipe.steps).max().unwrap_or(0)
    }

    fn made(&self) -> u64 {
        self.at
    }

    fn is_going(&self) -> bool {
        self.members.iter().any(Member::is_going)
    }

    fn advance(&mut self, task: &Task) -> Result<()> {
        let batch = self.reading.next(task)?;
        task.check()?;
        let at = self.at;
        // Those at a later step wait for the others. An interruption comes between steps: all have made as many.
        for member in self.members.iter_mut().filter(|member| member.is_going() && member.made() == at) {
            member.advance(&batch)?;
        }
        if self.members.iter().all(|member| member.failed.is_some())
            && let Some(error) = self.members.iter_mut().find_map(|member| member.failed.take())
        {
            return Err(error);
        }
        self.at += 1;
        Ok(())
    }

    fn progress(&self, speed: f64) -> String {
        let recent: Vec<FitStep> = self.members.iter().filter_map(|member| member.history.recent(20)).collect();
        let rows = speed * self.members.first().map_or(0.0, |member| member.recipe.batch as f64);
        let failed = self.members.iter().filter(|member| member.failed.is_some()).count();
        let failed = if failed > 0 { format!(", {failed} failed") } else { String::new() };
        match recent.as_slice() {
            [] => String::new(),
            [FitStep { loss, l0, fve, dead, .. }] => {
                format!("loss {loss:.4}, L0 {l0:.1}, FVE {fve:.3}, {dead} dead, {rows:.0} rows/s")
            }
            several => {
                let [l0, fve] = [span(several, |step| step.l0), span(several, |step| step.fve)];
                format!("L0 {:.1} to {:.1}, FVE {:.3} to {:.3}, {rows:.0} rows/s{failed}", l0[0], l0[1], fve[0], fve[1])
            }
        }
    }

    fn members(&self) -> usize {
        self.members.len()
    }

    fn label_of(&self, member: usize) -> String {
        let recipe = self.members.get(member).map(|member| member.recipe.folder());
        format!("{} {}", self.sites, recipe.unwrap_or_default()).trim().into()
    }

    fn settings_of(&self, member: usize) -> Value {
        let Some(Member { recipe, .. }) = self.members.get(member) else { return Value::Null };
        let mut settings = recipe.json();
        settings["d_sae"] = json!(recipe.d_sae);
        settings["sites"] = json!(self.sites);
        settings
    }

    fn numbers_of(&self, member: usize, step: u64) -> Vec<(&'static str, f64)> {
        self.members.get(member).map_or_else(Vec::new, |member| member.history.numbers(step))
    }

    fn has_failed(&self, member: usize) -> bool {
        self.members.get(member).is_some_and(|member| member.failed.is_some())
    }

    /// Returns the checkpoints of the first member that has some.
    fn checkpoints(&self) -> Option<&Checkpoints<'_>> {
        self.members.iter().find_map(|member| member.checkpoints.as_ref())
    }

    fn is_due(&self) -> bool {
        let is_due = |member: &Member| member.checkpoints.as_ref().is_some_and(|at| at.is_due(member.made()));
        self.members.iter().any(is_due)
    }

    fn save(&mut self) -> Result<()> {
        self.members.iter_mut().try_for_each(|member| member.save(&self.data))
    }

    fn left(&self) -> String {
        match self.members.iter().filter(|member| member.is_going()).count() {
            0 | 1 => format!("the {} as it is", self.noun(1)),
            several => format!("{several} unfinished {} as they are", self.noun(several)),
        }
    }
}

/// A dictionary or a cross-layer transcoder in training.
struct Member<'a> {
    recipe: Recipe,
    checkpoints: Option<Checkpoints<'a>>,
    /// State of the dictionary, or of each layer.
    states: Vec<FitState>,
    is_of_layers: bool,
    history: FitHistory,
    /// The error of a step; the state before it stays.
    failed: Option<Error>,
}

impl<'a> Member<'a> {
    /// Begins from the `first` rows, or resumes from the checkpoint. `data` describes what is read.
    fn begin(
        recipe: Recipe,
        keep: Option<CheckpointFolder<'a>>,
        shapes: &[DictionaryShape],
        is_of_layers: bool,
        first: &[FitBatch],
        data: &str,
        task: &Task,
    ) -> Result<Self> {
        let device = first[0].x.device();
        let random = &mut stream(recipe.seed, "dictionary", 0);
        let mut states = if is_of_layers {
            cross_layer::draw(&recipe, shapes, random, device)?
        } else {
            vec![FitState::new(Params::draw(&recipe, shapes[0], random, device)?, recipe.d_sae)]
        };
        let mut history = FitHistory { read_per_step: recipe.batch as u64, ..FitHistory::default() };
        let whose = CheckpointOwner { recipe: &recipe, data, is_of_layers };
        let mut checkpoints = keep.map(|folder| Checkpoints::open(folder, whose.format())).transpose()?;
        match &mut checkpoints {
            Some(checkpoints) if checkpoints.has_one()? => {
                checkpoints.resume(|file| whose.restore(&mut states, &mut history, file))?;
            }
            _ if is_of_layers => cross_layer::start(&mut states, first, &recipe, task)?,
            _ => states[0].start(&first[0], &recipe, task)?,
        }
        Ok(Self { recipe, checkpoints, states, is_of_layers, history, failed: None })
    }

    /// Returns the number of steps made.
    fn made(&self) -> u64 {
        self.states.first().map_or(0, |state| state.step)
    }

    fn is_going(&self) -> bool {
        self.failed.is_none() && self.made() < self.recipe.steps
    }

    /// Makes one step. A NaN loss ends this member, and no other.
    fn advance(&mut self, batch: &[FitBatch]) -> Result<()> {
        let made = if self.is_of_layers {
            cross_layer::advance(&mut self.states, batch, &self.recipe)
        } else {
            self.states[0].advance(&batch[0], &self.recipe)
        };
        match made {
            Ok(found) => self.history.steps.push(found),
            Err(error) if error.kind == Kind::Numeric => self.failed = Some(error),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn save(&mut self, data: &str) -> Result<()> {
        let made = self.made();
        let Some(checkpoints) = &mut self.checkpoints else { return Ok(()) };
        let whose = CheckpointOwner { recipe: &self.recipe, data, is_of_layers: self.is_of_layers };
        checkpoints.save(made, || whose.saved(&self.states, &self.history))
    }

    /// Returns what was made so far.
    fn finish(self, reading: &FitReading, of_layers: Option<Reads>, mut about: About) -> Result<FitResult> {
        let made = self.made();
        let Self { recipe, states, history, failed, .. } = self;
        let is_whole = made >= recipe.steps;
        let made = match of_layers {
            Some(reads) => {
                let model = about.models.pop();
                let finished = cross_layer::finished(&recipe, &states, &reading.read, &reading.written, reads, model);
                FitProduct::CrossLayer(finished?)
            }
            None => {
                let read = &reading.read[0];
                let written = reading.written.first();
                about.more.insert(SETTINGS.into(), settings(&recipe, made, read.scale));
                let FitState { params, threshold, .. } = &states[0];
                FitProduct::Dictionary(finished(&recipe, params, *threshold, read, written, about)?)
            }
        };
        Ok(FitResult { made, history, is_whole, failed })
    }
}

/// Returns the recipe, with the scale of activations that its penalties and thresholds refer to.
fn settings(recipe: &Recipe, made: u64, scale: f64) -> Value {
    let mut settings = recipe.json();
    settings["steps_made"] = json!(made);
    settings["scale"] = json!(scale);
    settings
}

/// Returns batch and scaling, which members that read together have in common.
fn shared(recipes: &[(Recipe, Option<CheckpointFolder>)]) -> Result<(usize, bool)> {
    let Some((first, _)) = recipes.first() else {
        bail!(Argument, "expected at least one dictionary to fit, found none");
    };
    let of = |recipe: &Recipe| (recipe.batch, recipe.scaled);
    if recipes.iter().all(|(recipe, _)| of(recipe) == of(first)) {
        Ok(of(first))
    } else {
        Err(err!(Argument, "the fits of a sweep share one `batch` and one `scaled`"))
    }
}

/// Returns what the features of each layer read and write; a dictionary has one layer.
fn shapes(first: &[FitBatch], d_sae: usize, is_of_layers: bool) -> Result<Vec<DictionaryShape>> {
    let widths = |batch: &FitBatch| Ok::<_, Error>((batch.x.dims2()?.1, batch.target().dims2()?.1));
    match first {
        [only] if !is_of_layers => {
            let (d_in, d_out) = widths(only)?;
            Ok(vec![DictionaryShape { d_in, d_sae, d_out }])
        }
        [any, ..] if is_of_layers => {
            let (d_in, d_out) = widths(any)?;
            let shape = CrossLayerShape { layers: first.len(), d_in, d_sae, d_out };
            Ok(shape.of_layers())
        }
        other => Err(err!(Bug, "expected the activations of one dictionary, found {} layers", other.len())),
    }
}

/// Refuses fits that do not fit into memory. Each member is its batch and the shapes of its layers.
fn room(members: &[(usize, &[DictionaryShape])], device: &Device, is_of_layers: bool) -> Result<()> {
    let weights = |shape: &DictionaryShape| shape.d_sae as u128 * (shape.d_in + shape.d_out) as u128;
    let all: u128 = members.iter().flat_map(|(_, shapes)| *shapes).map(weights).sum();
    let codes = |shapes: &[DictionaryShape]| shapes.iter().map(|shape| shape.d_sae as u128).sum::<u128>();
    let widest = members.iter().map(|(batch, shapes)| *batch as u128 * codes(shapes)).max().unwrap_or(0);
    // Weights, two moments and gradients of all; pre-activations, codes and their gradient graph of one.
    memory::check_on(device, 4 * (4 * all + 6 * widest), || match (members.len(), is_of_layers) {
        (1, false) => "this fit".into(),
        (1, true) => "this cross-layer transcoder".into(),
        (several, false) => format!("the fits of {several} dictionaries"),
        (several, true) => format!("the fits of {several} cross-layer transcoders"),
    })
}

fn span(found: &[FitStep], of: fn(&FitStep) -> f64) -> [f64; 2] {
    let ends = found.iter().map(of);
    [ends.clone().fold(f64::INFINITY, f64::min), ends.fold(f64::NEG_INFINITY, f64::max)]
}

#[cfg(test)]
mod tests;
