//! `microtome lsp`: the server of the Language Server Protocol.

use super::prelude::*;
use crate::base::settings::Settings;
use crate::lsp::{Ending, serve};
use crate::report::terminal::Screen;
use crate::script::engine::console::Console;
use crate::script::engine::env::Env;
use crate::tensor::Device;

pub fn run(options: &CommonArguments) -> Result<Exit> {
    let settings = Settings { quiet: true, ..setup::settings(options) };
    let task = Task::default();
    let files = Files::new(setup::access(options)?, false).heeding(&task);
    // Nothing is printed: standard output belongs to the protocol.
    let env = Env::new(settings, task, files, Console::memory(Screen::default()), Device::Cpu);
    Ok(match serve(env)? {
        Ending::Announced => Exit::Done,
        Ending::Sudden => Exit::Failed,
    })
}
