//! `microtome kernel install` and `microtome kernel run`: the kernel of Jupyter, and the file by which Jupyter knows it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::Exit;
use super::args::{CommonArguments, InstallArguments, KernelAction, KernelArguments};
use super::run::to_stdout;
use super::setup::{self, Front, SessionNeeds};
use crate::base::files::Files;
use crate::base::{Error, Result};
use crate::err;
use crate::jupyter::{Connection, Kernel, KernelPlace, install};
use crate::repl::Repl;
use crate::script::Session;

pub fn run(options: &CommonArguments, kernel: &KernelArguments) -> Result<Exit> {
    match &kernel.action {
        KernelAction::Install(wanted) => installed(options, wanted),
        KernelAction::Run { file } => served(options, file),
    }
}

fn installed(options: &CommonArguments, wanted: &InstallArguments) -> Result<Exit> {
    let place = match &wanted.prefix {
        Some(prefix) => KernelPlace::Prefix(prefix.clone()),
        None if wanted.sys_prefix => KernelPlace::Environment,
        None => KernelPlace::User,
    };
    let program = std::env::current_exe().map_err(|e| err!(File, "cannot find this program's own file: {e}"))?;
    let folder = install(&place, &program, &words(options)?)?;
    Ok(to_stdout(&format!("{}\n", folder.display())))
}

/// Returns the options of this call as words for the calls that Jupyter makes elsewhere: what may be touched is meant
/// from here, and the output folder from where a notebook is.
fn words(options: &CommonArguments) -> Result<Vec<OsString>> {
    let whole = |paths: &[PathBuf]| -> Result<Vec<PathBuf>> {
        let one = |path: &PathBuf| std::path::absolute(path).map_err(|e| Error::io("find", path, &e));
        paths.iter().map(one).collect()
    };
    let placed = CommonArguments {
        allow_read: whole(&options.allow_read)?,
        deny_read: whole(&options.deny_read)?,
        allow_write: whole(&options.allow_write)?,
        deny_write: whole(&options.deny_write)?,
        ..options.clone()
    };
    let settings = [
        ("--seed", options.seed.to_string(), options.seed != 0),
        ("--device", options.device.clone(), options.device != "cpu"),
        ("--threads", options.threads.unwrap_or_default().to_string(), options.threads.is_some()),
    ];
    let mut words: Vec<OsString> = Vec::new();
    for (name, value, _) in settings.into_iter().filter(|(.., is_given)| *is_given) {
        words.extend([name.into(), value.into()]);
    }
    if options.out != Path::new("out") {
        words.extend(["--out".into(), options.out.clone().into_os_string()]);
    }
    words.extend(
        [("--fresh", options.fresh), ("--quiet", options.quiet)]
            .into_iter()
            .filter(|(_, is)| *is)
            .map(|(word, _)| word.into()),
    );
    words.extend(placed.access_words());
    Ok(words)
}

fn served(options: &CommonArguments, file: &Path) -> Result<Exit> {
    let text = Files::new(setup::access(options)?, false).text(file)?;
    let connection = Connection::parse(&text).map_err(|e| e.within(file.display()))?;
    let (kernel, console) = Kernel::new(connection)?;
    let front = Front { console, progress: kernel.progress() };
    let needs = SessionNeeds { interactive: true, front: Some(front), ..SessionNeeds::default() };
    let session = Session::new(setup::env(options, needs)?);
    kernel.run(Repl::new(session, true))?;
    Ok(Exit::Done)
}
