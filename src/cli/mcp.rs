//! `microtome mcp`: the server of the Model Context Protocol, and the files by which clients know it.

use std::time::Duration;

use super::args::{CALL_SECONDS, McpArguments, McpClient};
use super::prelude::*;
use super::run::to_stdout;
use crate::base::access::Access;
use crate::base::settings::Settings;
use crate::base::task::Silent;
use crate::base::{Kind, memory};
#[cfg(feature = "explorer")]
use crate::mcp::{Addresses, serve_http};
use crate::mcp::{Client, FrontEnd, Limits, Server, install, serve};
use crate::script::engine::env::{Env, LoadedModels, SharedModels};
use crate::tensor::{Device, device};
use crate::training::trackers::{TrackedScript, TrackerKind, trackers};

pub fn run(options: &CommonArguments, mcp: &McpArguments) -> Result<Exit> {
    match mcp.install {
        Some(client) => installed(options, mcp, client),
        None => served(options, mcp),
    }
}

fn here() -> Result<PathBuf> {
    std::env::current_dir().map_err(|e| Error::io("find", Path::new("."), &e))
}

fn installed(options: &CommonArguments, mcp: &McpArguments, client: McpClient) -> Result<Exit> {
    let program = std::env::current_exe().map_err(|e| err!(File, "cannot find this program's own file: {e}"))?;
    let mut words = options.words()?;
    words.push("mcp".into());
    if mcp.time != CALL_SECONDS {
        words.extend(["--time".into(), mcp.time.to_string().into()]);
    }
    if let Some(memory) = mcp.memory {
        words.extend(["--memory".into(), memory.to_string().into()]);
    }
    let client = match client {
        McpClient::Claude => Client::Claude,
        McpClient::Cursor => Client::Cursor,
        McpClient::Vscode => Client::VsCode,
        McpClient::Zed => Client::Zed,
        McpClient::Codex => Client::Codex,
    };
    let place = install(client, &here()?, &program, &words)?;
    Ok(to_stdout(&format!("{}\n", place.display())))
}

fn served(options: &CommonArguments, mcp: &McpArguments) -> Result<Exit> {
    let settings = SessionSettings::closed(options, &here()?)?;
    let memory = mcp.memory.map_or_else(|| memory::available() / 2, |gibibytes| gibibytes << 30);
    let limits = Limits { time: Duration::from_secs(mcp.time), memory };
    let access = settings.access.clone();
    let make = move |front: FrontEnd| settings.env(front);
    let server = Server::new(Arc::new(make), access, limits, &permissions(options));
    match mcp.http {
        None => serve(server).map(|()| Exit::Done),
        Some(port) => served_over_http(server, port),
    }
}

#[cfg(feature = "explorer")]
fn served_over_http(server: Server, port: u16) -> Result<Exit> {
    let task = Task::new(setup::listen_for_interruption(false)?, Arc::new(Silent));
    let told = |addresses: &Addresses| {
        let words = format!("page:   {}\nserver: {}\n", addresses.page, addresses.server);
        let _exit = to_stdout(&words);
    };
    match serve_http(server, port, told, &task) {
        // Ctrl-C is how it ends.
        Err(error) if error.kind == Kind::Interrupted => Ok(Exit::Interrupted),
        other => other.map(|()| Exit::Done),
    }
}

#[cfg(not(feature = "explorer"))]
fn served_over_http(_server: Server, _port: u16) -> Result<Exit> {
    Err(Error::not_built("page of sessions", "explorer"))
}

/// Says what scripts may touch, for agents.
fn permissions(options: &CommonArguments) -> String {
    let listed = |paths: &[PathBuf]| paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
    let more = |verb: &str, words: String| if words.is_empty() { words } else { format!(" {verb} {words}.") };
    format!(
        "Scripts read the folder that the server was started in, write below {}, and have no network, but for what the \
         person allowed.{}{}{} A call cannot ask for more: an error names the flag that the person would give, so ask the \
         person.",
        options.out.display(),
        more("They also read", listed(&options.allow_read)),
        more("They also write", listed(&options.allow_write)),
        more("They may connect to", options.allow_net.join(", ")),
    )
}

/// Settings that sessions side by side have in common, of a program that acts for somebody else; made once, before the
/// first of them.
struct SessionSettings {
    settings: Settings,
    trackers: Vec<TrackerKind>,
    access: Access,
    device: Device,
    models: Arc<SharedModels>,
}

impl SessionSettings {
    /// Makes settings under which scripts read below `here`, and what the options allow.
    fn closed(options: &CommonArguments, here: &Path) -> Result<Self> {
        let settings = setup::settings(options);
        let folders: Vec<PathBuf> = [here.to_path_buf()].into_iter().chain(settings.cache.clone()).collect();
        let access = setup::hiding_tokens(Access::closed(&options.out, &folders, &setup::rules(options))?)?;
        let device = device::open(&settings.device)?;
        Ok(Self { settings, trackers: options.trackers(), access, device, models: Arc::default() })
    }

    /// Builds the environment of a session, whose inputs are hashed for its record.
    fn env(&self, front: FrontEnd) -> Result<Env> {
        let FrontEnd { console, progress, interrupted, folder } = front;
        let script = TrackedScript::of_session(self.settings.seed);
        let trackers = trackers(&self.trackers, &self.access, &folder, &script)?;
        let task = Task::new(interrupted, progress).tracked_by(trackers);
        let files = Files::new(self.access.clone(), true).heeding(&task);
        let models = LoadedModels::sharing(self.models.clone()).into();
        Ok(Env { folder, models, ..Env::new(self.settings.clone(), task, files, console, self.device.clone()) })
    }
}
