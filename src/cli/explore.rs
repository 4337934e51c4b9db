//! `microtome explore`: a page for the browser on which a person looks at features while typing, served on this machine or exported
//! as a folder.

use super::args::ExploreArguments;
use super::prelude::*;
use crate::base::{Kind, files};
use crate::checkpoint::load::INSIDE;
use crate::explorer::export::{ExportedFile, export};
use crate::explorer::{Explorer, ExplorerInputs, serve};
use crate::model::reading::fitted::FittedLens;
use crate::report::page_engine::PageEngine;
use crate::sae::formats::find;
use crate::script::engine::env::Env;
use crate::script::session::record::{self, Record};

pub fn run(options: &CommonArguments, explore: &ExploreArguments) -> Result<Exit> {
    // What the user names on the command line is theirs to write, unlike what a script names.
    let mut options = options.clone();
    options.allow_write.extend(explore.export.clone());
    let env = setup::env(&options, SessionNeeds::default())?;
    let engine = explore.export.as_ref().map(|_| PageEngine::find_for_answers()).transpose()?;
    let saved = explore.run.as_deref().map(|folder| saved(&env.files, folder)).transpose()?.unwrap_or_default();
    let dictionaries = [explore.dictionary.clone(), saved.dictionaries].concat();
    if let (Some(run), []) = (&explore.run, dictionaries.as_slice()) {
        return Err(err!(Argument, "expected a run that has saved a dictionary, found none in {}", run.display())
            .hint("let its script save what it fits, `s.save(\"NAME\")`, or name a dictionary with --dictionary"));
    }
    let model = explore.model.clone().or(saved.model).unwrap_or_else(|| INSIDE.into());
    let plan = ExplorerInputs {
        model,
        dictionaries,
        lenses: [explore.lens.clone(), saved.lenses].concat(),
        text: explore.text.clone(),
        tokens: explore.tokens,
        descriptions: explore.descriptions.clone(),
    };
    if let (Some(folder), Some(engine)) = (&explore.export, engine) {
        let written = export(&opened(&env, plan)?, &engine, folder, &env.files, &env.task)?;
        return Ok(super::run::to_stdout(&sizes(folder, &written)));
    }
    let served = opened(&env, plan).and_then(|explorer| {
        serve(explorer, explore.port, |address| env.console.speak(&format!("{address}\n")), &env.task)
    });
    if let Some(kind) = env.console.closed() {
        return Ok(super::run::unwritten(kind));
    }
    match served {
        // Ctrl-C is how it ends. What is still being written is given up.
        Err(error) if error.kind == Kind::Interrupted => {
            files::abandon();
            Ok(Exit::Interrupted)
        }
        other => other.map(|()| Exit::Done),
    }
}

/// Writes the files of an export with their sizes, and where the page is.
fn sizes(folder: &Path, written: &[ExportedFile]) -> String {
    let total: u64 = written.iter().map(|file| file.bytes).sum();
    let mb = |bytes: u64| format!("{:>9.3} MB", bytes as f64 / 1e6);
    let lines = written.iter().map(|file| format!("{}  {}\n", mb(file.bytes), file.name));
    lines.collect::<String>() + format!("{}  in {}\n", mb(total), folder.join("index.html").display()).as_str()
}

fn opened(env: &Env, plan: ExplorerInputs) -> Result<Explorer> {
    Explorer::load(plan, &env.files, &env.device, &env.task)
}

/// The model, the dictionaries and the lenses that a run has saved.
#[derive(Debug, Default)]
struct SavedModels {
    model: Option<String>,
    dictionaries: Vec<String>,
    lenses: Vec<String>,
}

/// Finds the dictionaries, the lenses and the model among the files that a run has written, by its record.
fn saved(files: &Files, folder: &Path) -> Result<SavedModels> {
    let path = folder.join(record::FILE);
    let text = files.text(&path).map_err(|e| {
        e.within("the record of the run")
            .hint("expected the folder that a run has made, such as out/NAME, with its run.json")
    })?;
    let record = Record::parse(&text)?;
    // The record stands in out/NAME/run.json; what it wrote is counted from out/.
    let place = crate::base::access::resolve(&path)?;
    let out = place.parent().and_then(Path::parent).unwrap_or(Path::new("/")).to_path_buf();
    let written: Vec<String> =
        record.written.keys().filter(|path| out.join(path).is_file()).map(|path| path.replace('\\', "/")).collect();
    let there: BTreeSet<&str> = written.iter().map(String::as_str).collect();
    let shown = |path: &str| short(&out.join(path)).display().to_string();
    let is_model = |folder: &&str| there.contains(format!("{folder}/model.safetensors").as_str());
    let folders: Vec<&str> =
        written.iter().filter_map(|path| path.strip_suffix("/config.json")).filter(is_model).collect();
    let model = match folders.as_slice() {
        [one] => Some(shown(one)),
        [] => None,
        several => {
            return Err(err!(Argument, "the run has saved several models: {}", several.join(", "))
                .hint("choose one with --model"));
        }
    };
    let dictionaries: Vec<String> = find::all(&written).iter().map(|found| shown(&found.weights)).collect();
    // A lens has the name that its script gives it; what is damaged, or of something else, is none.
    let is_lens = |path: &&String| {
        path.ends_with(".safetensors") && FittedLens::is_in(files, &out.join(path)).is_ok_and(|is_lens| is_lens)
    };
    let lenses: Vec<String> = written.iter().filter(is_lens).map(|path| shown(path)).collect();
    Ok(SavedModels { model, dictionaries, lenses })
}

/// Returns the path from the current folder on, if it stands below it.
fn short(path: &Path) -> PathBuf {
    let here = std::env::current_dir().ok();
    here.and_then(|here| path.strip_prefix(here).ok().map(Path::to_path_buf)).unwrap_or_else(|| path.to_path_buf())
}
