//! `microtome new lib NAME`: a folder with a library whose tests pass at once.

use clap::Subcommand;

use super::prelude::*;
use crate::script::library::{manifest, skeleton};

#[derive(Args)]
pub struct NewArguments {
    #[command(subcommand)]
    pub what: NewAction,
}

#[derive(Subcommand)]
pub enum NewAction {
    /// A folder with a library that others can add: microtome.toml, a module, a test.
    Lib {
        /// The library's name, which is that of the folder, too.
        name: String,
    },
}

pub fn run(options: &CommonArguments, new: &NewArguments) -> Result<Exit> {
    let NewAction::Lib { name } = &new.what;
    manifest::check_name(name)?;
    let folder = std::path::absolute(name).map_err(|e| crate::base::Error::io("make", name.as_ref(), &e))?;
    if folder.symlink_metadata().is_ok() {
        return Err(
            err!(File, "there is something called {name} already").hint("choose another name, or another folder")
        );
    }
    // What the user names on the command line is theirs to write, unlike what a script names.
    let mut options = options.clone();
    options.allow_write.push(folder.clone());
    let files = Files::new(setup::access(&options)?, false);
    for (file, text) in skeleton::files(name) {
        files.save_whole(&folder.join(file), text)?;
    }
    files.release();
    if !options.quiet {
        tell(&format!("made {name}/; `microtome test {name}` runs its tests"));
    }
    Ok(Exit::Done)
}
