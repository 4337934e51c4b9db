//! Setup of a session from the words of the command line: access, device, threads, console, Ctrl-C.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, Ordering};

use super::args::CommonArguments;
use super::progress::ProgressBars;
use super::progress_log::ProgressLog;
use crate::base::access::{Access, Rules};
use crate::base::cache;
use crate::base::files;
use crate::base::settings::Settings;
use crate::base::task::{Progress, Silent};
use crate::checkpoint::hub;
use crate::common::*;
use crate::report::terminal::{Graphics, Screen};
use crate::script::engine::console::Console;
use crate::script::engine::env::{Arguments, Env};
use crate::script::session::record::Record;
use crate::tensor::device;
use crate::training::trackers::{TrackedScript, trackers};

/// Needs of a command in its session beside the common options.
#[derive(Default)]
pub struct SessionNeeds {
    pub arguments: Arguments,
    /// Whether what is read is hashed and what is printed kept, for the record of a run.
    pub recording: bool,
    /// The folder of the run's record and of reports, below the output folder.
    pub folder: PathBuf,
    /// The record of the run that is to be repeated, and the folder that it wrote to.
    pub again: Option<(Record, PathBuf)>,
    /// Whether standard output carries a result and nothing else, as it does by `--json`.
    pub reserved: bool,
    /// The front end, where it is not the terminal.
    pub front: Option<Front>,
    /// Whether Ctrl-C belongs to the line editor while it asks, so that the handler must not end the program.
    pub interactive: bool,
}

/// A front end in place of the terminal.
pub struct Front {
    pub console: Console,
    pub progress: Arc<dyn Progress>,
}

pub fn env(options: &CommonArguments, wants: SessionNeeds) -> Result<Env> {
    let settings = settings(options);
    let (recorded, before, screen_before) = match wants.again {
        Some((record, out)) => (record.sources, Some(out), Some(record.screen)),
        None => (BTreeMap::new(), None, None),
    };
    let mut access = access(options)?;
    if let Some(before) = before {
        access = access.reading_below(before);
    }
    let interrupted = listen_for_interruption(wants.interactive)?;
    let (front, own_progress) = wants.front.map(|front| (front.console, front.progress)).unzip();
    let progress: Arc<dyn Progress> = match (settings.quiet, own_progress) {
        (true, _) => Arc::new(Silent),
        (false, Some(progress)) => progress,
        (false, None) if std::io::stderr().is_terminal() => Arc::new(ProgressBars::default()),
        (false, None) => Arc::new(ProgressLog::default()),
    };
    let reserved = options.json || wants.reserved;
    let here = if reserved { screen(&std::io::stderr()) } else { screen(&std::io::stdout()) };
    let console = match (front, screen_before) {
        (Some(console), _) => console,
        // Output for another screen is compared, but not shown on this one.
        (None, Some(before)) if before != here => Console::memory(before),
        _ if reserved => Console::stderr(here, interrupted.clone()),
        _ => Console::stdout(here, interrupted.clone()),
    };
    // What is recorded is a run of a script, and all else a session.
    let script = match wants.folder.to_str().filter(|_| wants.recording) {
        Some(script) => TrackedScript::of_run(script, settings.seed, wants.arguments.given()),
        None => TrackedScript::of_session(settings.seed),
    };
    let trackers = trackers(&options.trackers(), &access, &wants.folder, &script)?;
    let task = Task::new(interrupted, progress).tracked_by(trackers);
    let console = if wants.recording { console.keeping() } else { console };
    let files = Files::new(access, wants.recording).heeding(&task);
    let device = device::open(&settings.device)?;
    Ok(Env {
        arguments: wants.arguments.into(),
        folder: wants.folder,
        recorded: recorded.into(),
        ..Env::new(settings, task, files, console, device)
    })
}

/// Settings that the sessions of tests have in common; made once, before the first of them.
#[derive(Clone)]
pub struct TestSettings {
    settings: Settings,
    options: CommonArguments,
    interrupted: Arc<AtomicBool>,
}

impl TestSettings {
    pub fn new(options: &CommonArguments) -> Result<Self> {
        let interrupted = listen_for_interruption(false)?;
        Ok(Self { settings: settings(options), options: options.clone(), interrupted })
    }

    pub fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    /// Builds an environment that prints into memory and writes below `out`.
    pub fn env(&self, out: &std::path::Path) -> Result<Env> {
        let settings = Settings { out: out.to_path_buf(), quiet: true, ..self.settings.clone() };
        let access = access(&CommonArguments { out: out.to_path_buf(), ..self.options.clone() })?;
        let task = Task::new(self.interrupted.clone(), Arc::new(Silent));
        let colour = screen(&std::io::stdout()).colour;
        let screen = Screen { width: 80, height: 24, colour, graphics: Graphics::Text };
        let files = Files::new(access, false).heeding(&task);
        let device = device::open(&settings.device)?;
        Ok(Env::new(settings, task, files, Console::memory(screen).keeping(), device))
    }
}

/// Builds the access rules of scripts.
pub fn access(options: &CommonArguments) -> Result<Access> {
    hiding_tokens(Access::new(&options.out, &rules(options))?)
}

/// Returns the rules that the command line has.
pub fn rules(options: &CommonArguments) -> Rules {
    Rules {
        allow_read: options.allow_read.clone(),
        deny_read: options.deny_read.clone(),
        allow_write: options.allow_write.clone(),
        deny_write: options.deny_write.clone(),
        allow_net: options.allow_net.clone(),
        deny_net: options.deny_net.clone(),
    }
}

/// Hides the user's tokens, which are for the hub alone, from scripts.
pub fn hiding_tokens(access: Access) -> Result<Access> {
    hub::HubSettings::tokens().iter().try_fold(access, |access, place| access.hiding(place))
}

/// Builds the settings of sessions. Only the thread of the script may be there by now.
pub fn settings(options: &CommonArguments) -> Settings {
    let mut settings = Settings {
        seed: options.seed,
        out: options.out.clone(),
        device: options.device.clone(),
        quiet: options.quiet,
        cache: cache::folder(),
        fresh: options.fresh,
        ..Settings::default()
    };
    if let Some(threads) = options.threads {
        settings.threads = threads.into();
    }
    // SAFETY: the script's thread is the only one that runs by now; the matrix kernels read this once, later.
    unsafe { std::env::set_var("RAYON_NUM_THREADS", settings.threads.to_string()) };
    settings
}

/// Returns the terminal of a stream: its size, and whether it supports colours and pictures.
pub fn screen(stream: &impl IsTerminal) -> Screen {
    let terminal = stream.is_terminal();
    let colourless = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
        || std::env::var("TERM").is_ok_and(|term| term == "dumb");
    let size = if terminal { terminal_size::terminal_size() } else { None };
    let (width, height) = size.map_or((80, 24), |(w, h)| (usize::from(w.0).max(20), usize::from(h.0).max(5)));
    let graphics = if terminal { Graphics::detect(|name| std::env::var(name).ok()) } else { Graphics::Text };
    Screen { width, height, colour: terminal && !colourless, graphics }
}

/// Sets up the flag that Ctrl-C raises. A second Ctrl-C, when the first one was not heeded, ends the program.
pub fn listen_for_interruption(interactive: bool) -> Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    let raised = flag.clone();
    ctrlc::set_handler(move || {
        if raised.swap(true, Ordering::Relaxed) && !interactive {
            files::abandon();
            std::process::exit(super::Exit::Interrupted as i32);
        }
    })
    .map_err(|e| err!(Bug, "cannot listen for Ctrl-C: {e}"))?;
    Ok(flag)
}
