//! `microtome kernel install` and `microtome kernel run`: the kernel of Jupyter, and the file by which Jupyter knows it.

use super::args::{InstallArguments, KernelAction, KernelArguments};
use super::prelude::*;
use super::run::to_stdout;
use super::setup::Front;
use crate::jupyter::{Connection, Kernel, KernelPlace, install};
use crate::repl::Repl;

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
    let folder = install(&place, &program, &options.words()?)?;
    Ok(to_stdout(&format!("{}\n", folder.display())))
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
