//! `microtome add [LIBRARY]`: says what libraries may touch, asks, and locks them.

use std::io::{IsTerminal, Write};

use super::prelude::*;
use super::run;
use crate::script::engine::drawing;
use crate::script::engine::failure::{Failure, Sources};
use crate::script::engine::typed_line;
use crate::script::library::add::{AddPlan, AddedLibrary, hosts};
use crate::script::library::fetching::ProjectFolder;
use crate::script::library::manifest::ManifestError;
use crate::script::library::{LOCK, MANIFEST, project};

#[derive(Args)]
pub struct AddArguments {
    /// A name, with versions as in heads@1.2; a folder; or the address of a .tar.gz as forges give it for a tag or a
    /// commit. If left out, all that microtome.toml names.
    #[arg(value_name = "LIBRARY")]
    pub place: Option<String>,

    /// The index that has the name, an address or a folder, in place of the one in microtome.toml.
    #[arg(long, value_name = "INDEX", requires = "place")]
    pub index: Option<String>,

    /// The SHA-256 that the archive must have.
    #[arg(long, requires = "place")]
    pub hash: Option<String>,

    /// Grant what the libraries want to touch without being asked.
    #[arg(long)]
    pub yes: bool,
}

pub fn run(options: &CommonArguments, add: &AddArguments) -> Result<Exit> {
    // What the user names on the command line, and in the project's own manifest, is theirs to write and to fetch.
    let mut options = options.clone();
    let root = root(&options)?;
    options.allow_write.push(root.clone());
    let manifest = Files::new(setup::access(&options)?, false).script(&root.join(MANIFEST)).ok();
    let wish = AddedLibrary { place: add.place.as_deref(), hash: add.hash.as_deref(), index: add.index.as_deref() };
    options.allow_net.extend(hosts(&wish, manifest.as_deref()));
    let env = setup::env(&options, SessionNeeds::default())?;
    let cache = env.settings.cache.as_deref();
    let ground = ProjectFolder { root, files: &env.files, cache, task: &env.task };
    let plan = match ground.plan(&wish) {
        Ok(plan) => plan,
        Err(mistake) => return mistaken(*mistake),
    };
    if plan.lock.libraries.is_empty() {
        tell(&format!("{MANIFEST} names no libraries"));
        return Ok(Exit::Done);
    }
    let shown = run::to_stdout(&plan.text());
    if shown != Exit::Done {
        return Ok(shown);
    }
    let kept = kept(&env.files, cache)?;
    if !plan.is_new {
        // After a clone the lock file is there, and the cache is empty.
        ground.keep(&plan, &kept)?;
        tell(&format!("nothing is new: {LOCK} has all of it"));
        return Ok(Exit::Done);
    }
    if !add.yes && !agreed(&env.task)? {
        tell("nothing was written");
        return Ok(Exit::Failed);
    }
    ground.carry_out(&plan, &kept)?;
    print_plan(&plan);
    Ok(Exit::Done)
}

/// Returns the folder of the project: that of the nearest manifest above, or the current one.
pub(super) fn root(options: &CommonArguments) -> Result<PathBuf> {
    let files = Files::new(setup::access(options)?, false);
    let found = project::found(Path::new(""), &|path| files.script_if_there(path))?;
    let here = || std::env::current_dir().map_err(|e| crate::base::Error::io("find", Path::new("."), &e));
    found.map_or_else(here, |(root, _)| Ok(root))
}

/// Returns files that may be written in the cache.
fn kept(files: &Files, cache: Option<&Path>) -> Result<Files> {
    match cache {
        Some(cache) => Ok(Files::new(files.access().within(cache)?, false)),
        None => Ok(files.clone()),
    }
}

/// Asks the user, and returns whether the answer is yes.
fn agreed(task: &Task) -> Result<bool> {
    if !std::io::stdin().is_terminal() {
        return Err(err!(Argument, "what the libraries may touch was not agreed to: nobody can be asked here")
            .hint("look at the table, and say `--yes` if that is right"));
    }
    let mut out = std::io::stderr();
    let _reader_may_be_gone = write!(out, "May they? [y/N] ").and_then(|()| out.flush());
    let Some(answer) = typed_line::line(task)? else {
        let _reader_may_be_gone = writeln!(out);
        return Ok(false);
    };
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

fn print_plan(plan: &AddPlan) {
    let names: Vec<&str> = plan.lock.libraries.iter().map(|locked| locked.name.as_str()).collect();
    tell(&format!("wrote {MANIFEST} and {LOCK}: {}", names.join(", ")));
}

/// Draws a mistake in a file under its line.
fn mistaken(mistake: ManifestError) -> Result<Exit> {
    let Some((file, ..)) = &mistake.place else { return Err(mistake.error) };
    let sources = Sources::default();
    sources.add(file, &mistake.text);
    let colour = setup::screen(&std::io::stderr()).colour;
    let failure = Failure::from(Box::new(mistake));
    crate::script::engine::console::to_stderr(&drawing::draw(&failure, &sources, colour));
    Ok(Exit::Failed)
}
