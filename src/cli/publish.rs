//! `microtome publish LIBRARY --index DIR`: puts a library into an index, once its tests have passed, or withdraws a
//! version.

use super::prelude::*;
use super::test::{self, TestArguments};
use crate::script::library::index::Entry;
use crate::script::library::manifest;
use crate::script::library::publishing::{self, IndexFolder};

#[derive(Args)]
pub struct PublishArguments {
    /// The folder of the library; with --yank a name and a version, such as heads@1.0.0.
    pub library: String,

    /// The folder of the index.
    #[arg(long, value_name = "DIR")]
    pub index: PathBuf,

    /// Withdraw the version: only projects whose lock file has it get it any more.
    #[arg(long)]
    pub yank: bool,
}

pub fn run(options: &CommonArguments, publish: &PublishArguments) -> Result<Exit> {
    let shown = publish.index.display().to_string();
    if manifest::is_address(&shown) {
        return Err(err!(Argument, "expected the folder of an index, found the address {shown}")
            .hint("publish into a folder, and upload it or push it to where it is served"));
    }
    let absolute = |path: &Path| std::path::absolute(path).map_err(|e| Error::io("find", path, &e));
    let folder = absolute(&publish.index)?;
    // What the user names on the command line is theirs to write, unlike what a script names.
    let mut widened = options.clone();
    widened.allow_write.push(folder.clone());
    let files = Files::new(setup::access(&widened)?, false);
    let task = Task::default();
    if publish.yank {
        let (name, version) = publishing::version_of(&publish.library)?;
        let is_new = IndexFolder::open(folder, &files, &task)?.yank(name, &version)?;
        let words = if is_new { "yanked" } else { "was yanked before:" };
        return said(options, &format!("{words} {name} {version} in {shown}"));
    }
    let library = Path::new(&publish.library);
    let tests = TestArguments { place: library.to_path_buf(), only: None, jobs: None, again: false };
    let tested = test::run(options, &tests)?;
    if tested != Exit::Done {
        tell("nothing was published: the tests come first");
        return Ok(tested);
    }
    let Entry { name, version, archive, hash, .. } =
        IndexFolder::open(folder, &files, &task)?.publish(&absolute(library)?)?;
    said(options, &format!("published {name} {version} in {shown}: {archive}, SHA-256 {hash}"))
}

/// Says what was done, unless the user wants no notes.
fn said(options: &CommonArguments, words: &str) -> Result<Exit> {
    if !options.quiet {
        tell(words);
    }
    Ok(Exit::Done)
}
