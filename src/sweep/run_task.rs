//! One task, in a process of its own: a harvest, or a cell. All engines start the same.

use std::io::Read;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::cell::{Harvest, HarvestSource, SweepCell, TextSource};
use super::folder::{Folder, TaskState};
use super::plan::{TextPlan, fit_plan};
use super::plan_sources;
use crate::base::files;
use crate::base::{Kind, Table};
use crate::common::*;
use crate::data::Text;
use crate::data::harvest::{HarvestOptions, TextReading};
use crate::data::store::{Store, StoreOptions};
use crate::model::Model;
use crate::options::{OptionGroup, Plain};
use crate::sae::fit::{FitProduct, FitResult, FitStorage, Job, Source, TargetName};
use crate::sae::formats::Format;
use crate::sae::metrics::{
    EffectOptions, JudgedRowsOptions, MeasureOnOptions, MeasureOptions, Measures, Point, effect_on_text, layer_table,
    measured_at, measured_by_layer, measured_by_layer_in, measured_in, measured_in_model,
};
use crate::tensor::Device;
use crate::training::CheckpointOptions;

/// The name of the file with the measures of a cell.
pub(super) const MEASURES: &str = "measures.json";
/// The folder of a store inside that of its harvest.
const ACTIVATIONS: &str = "activations";
/// The folder of a cell's checkpoints.
const CHECKPOINTS: &str = "checkpoint";

/// Time that a task waits for another process that has its folder: one that a cluster believes dead may live a while.
const PATIENCE: Duration = Duration::from_secs(60);

/// Measures of a cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CellMeasures {
    pub point: Point,
    pub measures: Table,
    /// Loss of the model with the dictionary spliced in, where that is asked for.
    pub effect: Option<Table>,
}

/// Ends this process when whoever started it does, whose end of the pipe is our standard input.
pub fn tie() -> Result<()> {
    let wait = || {
        let mut rest = Vec::new();
        let _ends_either_way = std::io::stdin().lock().read_to_end(&mut rest);
        files::abandon();
        std::process::exit(1);
    };
    std::thread::Builder::new()
        .name("tie".into())
        .spawn(wait)
        .map_err(|e| err!(Memory, "cannot start a thread: {e}"))?;
    Ok(())
}

/// Runs a task, unless it is done. Its error is written into its folder, too.
pub fn run_task(folder: &Folder, id: &str, device: &Device, task: &Task) -> Result<()> {
    let sweep = folder.sweep()?;
    let job: Box<dyn Fn() -> Result<()>> = if let Some(harvest) = sweep.harvests.iter().find(|one| one.id() == id) {
        let harvest = harvest.clone();
        Box::new(move || gather_activations(folder, &harvest, device, task))
    } else if let Some(cell) = sweep.cells.iter().find(|one| one.id() == id) {
        let store = sweep.harvest(cell)?.id();
        let cell = cell.clone();
        Box::new(move || fit(folder, &cell, &store, device, task))
    } else {
        return Err(err!(Argument, "the sweep in {} has no task {id}", folder.root.display())
            .hint("its plan has changed since; type `microtome sweep` with the plan again"));
    };
    let place = folder.files.access().to_write(&folder.place(id))?;
    let since = Instant::now();
    while folder.files.is_locked(&place)? && since.elapsed() < PATIENCE {
        task.check()?;
        std::thread::sleep(Duration::from_millis(50));
    }
    folder.files.lock(&place)?;
    if folder.is_done(id)? {
        return Ok(());
    }
    folder.set(id, &TaskState::Started)?;
    job().and_then(|()| finish(folder, id)).inspect_err(|error| match error.kind {
        Kind::Interrupted => folder.set_interrupted(id),
        _ => {
            // Where even this cannot be written, whoever started the task hears it on standard error.
            let _said_elsewhere =
                folder.set(id, &TaskState::Failed { error: error.message.clone(), hint: error.hint.clone() });
        }
    })
}

/// Writes down that a task is done, with the hashes of what it has written.
fn finish(folder: &Folder, id: &str) -> Result<()> {
    let place = folder.place(id);
    let name = |path: &PathBuf| Some(path.strip_prefix(&place).ok()?.display().to_string());
    let written = folder.files.ledger().written;
    let files = written.iter().filter_map(|(path, hash)| Some((name(path)?, hash.clone())));
    let files = files.filter(|(name, _)| name != "state.json" && !name.starts_with(CHECKPOINTS)).collect();
    folder.set(id, &TaskState::Done { files })
}

fn gather_activations(folder: &Folder, harvest: &Harvest, device: &Device, task: &Task) -> Result<()> {
    let HarvestSource { text, store, .. } = &harvest.reading;
    let files = &folder.files;
    let model = expected_model(&harvest.reading, files, device, task)?;
    let text = expected_text(text, files, task)?;
    let dir = activations(folder, &harvest.id()).display().to_string();
    let options = StoreOptions { dir: Some(dir), ..store_options(store)? };
    let sites: Vec<&str> = harvest.sites.iter().map(String::as_str).collect();
    options.harvest(files, &model, &sites, &text, task)?;
    Ok(())
}

fn fit(folder: &Folder, cell: &SweepCell, store: &str, device: &Device, task: &Task) -> Result<()> {
    let files = &folder.files;
    let place = folder.place(&cell.id());
    let store = Store::open(files, &activations(folder, store))?;
    let checkpoints = place.join(CHECKPOINTS);
    let kept = CheckpointOptions { dir: Some(checkpoints.display().to_string()), ..CheckpointOptions::default() };
    let storage = FitStorage { checkpoints: kept, device: device.clone(), ..FitStorage::none(files) };
    // An interruption ends the task: a fit that was cut short must not pass for a result.
    let (of, sites, skip) = match &cell.target {
        Some(target) => (target.of, target.sites.iter().map(String::as_str).collect(), target.skip),
        None => (TargetName::Dictionary, vec![cell.site.as_str()], false),
    };
    let job = Job {
        source: Source::Store(&store),
        target: of.of_sites(&sites, skip)?,
        plans: &[fit_plan(of, &cell.fit)?],
        is_sweep: false,
        storage: &storage,
    };
    let found = job.run(&task.whole())?.pop();
    let FitResult { made, is_whole, failed, .. } = found.ok_or_else(|| err!(Bug, "a fit without a dictionary"))?;
    match failed {
        Some(error) => return Err(error),
        None if !is_whole => return Err(Error::interrupted()),
        None => {}
    }
    let judgement = judge(&made, cell, &store, files, device, task)?;
    match &made {
        FitProduct::Dictionary(sae) => sae.save(files, &place, Format::Microtome)?,
        FitProduct::CrossLayer(transcoders) => transcoders.save(files, &place)?,
    };
    folder.write(&place.join("cell.json"), cell)?;
    folder.write(&place.join(MEASURES), &judgement)?;
    files.discard(&checkpoints)
}

/// Measures what was fitted on the text that is named for it, or on the activations that it was fitted to.
fn judge(
    made: &FitProduct,
    cell: &SweepCell,
    store: &std::sync::Arc<Store>,
    files: &Files,
    device: &Device,
    task: &Task,
) -> Result<CellMeasures> {
    let SweepCell { reading, judge, effect_rows, .. } = cell;
    let needs_model = judge.is_some() || *effect_rows > 0;
    let model = needs_model.then(|| expected_model(reading, files, device, task)).transpose()?;
    let text = judge.as_ref().unwrap_or(&reading.text);
    let read = match model {
        Some(model) => Some((model, expected_text(text, files, task)?)),
        None => None,
    };
    let positions = match (&read, judge) {
        (Some((model, text)), Some(_)) => store_options(&reading.store)?.skip.resolved(model, text, task)?,
        _ => HarvestOptions::default(),
    };
    let judged = read.as_ref().filter(|_| judge.is_some());
    let judged = judged.map(|(model, text)| TextReading::new(model, text, &positions));
    let sae = match made {
        FitProduct::Dictionary(sae) => sae,
        FitProduct::CrossLayer(made) => {
            let options = MeasureOptions::default();
            let found = match judged {
                Some(reading) => measured_by_layer(made, reading, options, task)?,
                None => measured_by_layer_in(made, store, options, task)?,
            };
            let point = point_of_layers(cell, &found);
            return Ok(CellMeasures { point, measures: layer_table(&found), effect: None });
        }
    };
    let measures = match judged {
        Some(reading) => measured_in_model(sae, reading, &MeasureOnOptions::default(), task)?,
        None if cell.target.is_some() => measured_at(sae, store, MeasureOptions::default(), task)?,
        None => measured_in(sae, store, &cell.site, MeasureOptions::default(), task)?,
    };
    let effect = match &read {
        Some((model, text)) if *effect_rows > 0 => {
            let rows = JudgedRowsOptions { rows: *effect_rows, ..JudgedRowsOptions::default() };
            let options = EffectOptions { rows, ..EffectOptions::default() };
            Some(effect_on_text(sae, model, text, &options, task)?)
        }
        _ => None,
    };
    Ok(CellMeasures {
        point: Point::of(sae, &measures, effect.as_ref()),
        measures: measures.table(),
        effect: effect.map(|effect| effect.table()),
    })
}

/// Returns the sums over layers of features and codes, and the mean of the fractions of variance explained.
fn point_of_layers(cell: &SweepCell, layers: &[Measures]) -> Point {
    let sum = |of: fn(&Measures) -> usize| layers.iter().map(of).sum::<usize>();
    let features = sum(|layer| layer.features.fired.len());
    let dead = sum(|layer| layer.features.dead());
    let fves: Vec<f64> = layers.iter().filter_map(|layer| layer.fve).collect();
    Point {
        kind: "cross-layer transcoder".into(),
        settings: cell.settings(),
        features,
        l0: layers.iter().map(|layer| layer.l0).sum(),
        fve: (!fves.is_empty()).then(|| fves.iter().sum::<f64>() / fves.len() as f64),
        dead_share: dead as f64 / features as f64,
        recovered: None,
    }
}

fn activations(folder: &Folder, harvest: &str) -> PathBuf {
    folder.place(harvest).join(Path::new(ACTIVATIONS))
}

fn store_options(words: &super::OptionValues) -> Result<StoreOptions> {
    StoreOptions::given(|name| words.get(name).map(Plain::from))
}

/// Loads the model of the plan, and refuses it if it has changed.
fn expected_model(reading: &HarvestSource, files: &Files, device: &Device, task: &Task) -> Result<Model> {
    let model = plan_sources::load(&reading.model.source, files, device, task)?;
    let found = crate::data::store::ModelMark::of(&model, task)?.weights;
    if found == reading.model.weights { Ok(model) } else { Err(changed(&reading.model.source)) }
}

/// Opens the text of the plan, and refuses it if it has changed.
fn expected_text(text: &TextSource, files: &Files, task: &Task) -> Result<Text> {
    let words = TextPlan { source: text.source.clone(), options: text.options.clone() };
    let found = plan_sources::open(&words, files, task)?;
    if plan_sources::contents(&found, files, task)? == text.contents { Ok(found) } else { Err(changed(&text.source)) }
}

fn changed(source: &str) -> Error {
    err!(File, "{source} has changed since the sweep was planned")
        .hint("type `microtome sweep` with the plan again: other contents are other cells")
}
