//! The server as clients see it, whatever carries their messages.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rmcp::model::{
    CallToolRequestParams, CallToolResponse, GetPromptRequestParams, GetPromptResponse, Implementation,
    ListPromptsResult, ListResourceTemplatesResult, ListResourcesResult, ListToolsResult, PaginatedRequestParams,
    ProgressNotificationParam, ProgressToken, ReadResourceRequestParams, ReadResourceResponse, ServerCapabilities,
    ServerConfig, Tool,
};
use rmcp::service::{RequestContext, RoleServer};
use rmcp::{ErrorData, ServerHandler};

use super::session_thread::{StopReason, Ticket};
use super::sessions::{EnvMaker, Limits, Sessions};
use super::{prompts, resources, tools};
use crate::base::access::Access;
use crate::base::{Error, Result, memory};

/// Time between two looks at a call that runs.
const GLANCE: Duration = Duration::from_millis(50);

/// Time after which a call that was stopped is stopped again: a training that ended early gives what it has, and the
/// script goes on with that.
const AGAIN: Duration = Duration::from_secs(2);

/// Time that a client has to take a notification.
const PATIENCE: Duration = Duration::from_secs(1);

/// Largest number of bytes of a resource.
pub const MOST_RESOURCE: usize = 1 << 20;

/// A server with its sessions. Clones share them, so that each connection of a transport may have one.
#[derive(Clone)]
pub struct Server {
    sessions: Arc<Sessions>,
    limits: Limits,
    out: PathBuf,
    /// What is allowed, in words for agents.
    permissions: Arc<str>,
}

impl Server {
    /// Makes a server whose sessions may touch what `access` allows, which `permissions` says in words.
    pub fn new(make: EnvMaker, access: Access, limits: Limits, permissions: &str) -> Self {
        let out = access.out().to_path_buf();
        Self { sessions: Arc::new(Sessions::new(make, access)), limits, out, permissions: permissions.into() }
    }

    /// Stops all calls, of a client that has gone.
    pub fn stop_all(&self) {
        self.sessions.stop_all();
    }

    /// Ends all sessions; their scripts and records are written.
    pub fn finish(&self) {
        self.sessions.finish();
    }

    /// Asks the session that knows the reference, for an answer that is no tool's.
    async fn of_desk<T: Send + 'static>(
        &self,
        context: &RequestContext<RoleServer>,
        job: impl FnOnce(&mut super::desk::Desk) -> Result<T> + Send + 'static,
    ) -> std::result::Result<T, ErrorData> {
        let asked = Asked { server: self, context };
        let answered = async {
            let ticket = self.sessions.desk()?.ask(job)?;
            asked.wait(ticket, self.limits.time).await?
        };
        answered.await.map_err(|error: Error| not_found(&error))
    }
}

/// Returns an error of the protocol for something that is not there.
fn not_found(error: &Error) -> ErrorData {
    let hint = error.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
    ErrorData::resource_not_found(format!("{}{hint}", error.message), None)
}

/// A request, and the server that answers it.
pub struct Asked<'a> {
    server: &'a Server,
    context: &'a RequestContext<RoleServer>,
}

impl Asked<'_> {
    pub fn sessions(&self) -> &Sessions {
        &self.server.sessions
    }

    pub fn shared_sessions(&self) -> Arc<Sessions> {
        self.server.sessions.clone()
    }

    pub fn limits(&self) -> Limits {
        self.server.limits
    }

    pub fn out(&self) -> &Path {
        &self.server.out
    }

    /// Waits for the answer to a call. Meanwhile its progress is told, and it is stopped when it is cancelled, or when it
    /// takes more than it may.
    pub async fn wait<T>(&self, mut ticket: Ticket<T>, time: Duration) -> Result<T> {
        let token = self.context.meta.get_progress_token();
        let asked = Instant::now();
        let mut stopped: Option<Instant> = None;
        loop {
            tokio::select! {
                biased;
                answer = &mut ticket.answer => return answer.map_err(|_| tools::not_answered()),
                () = self.context.ct.cancelled(), if stopped.is_none() => {
                    ticket.stop(StopReason::default());
                    stopped = Some(Instant::now());
                }
                () = tokio::time::sleep(GLANCE) => {}
            }
            if stopped.is_some_and(|since| since.elapsed() >= AGAIN) {
                ticket.stop(StopReason::default());
            }
            let reason = ticket.running().and_then(|running| {
                let grown = memory::taken().saturating_sub(running.memory);
                self.too_much(running.begun.elapsed(), time, grown)
            });
            if let Some(reason) = reason.filter(|_| stopped.is_none()) {
                ticket.stop(reason);
                stopped = Some(Instant::now());
            }
            if let (Some(token), Some(words)) = (&token, ticket.progress()) {
                self.tell(token, asked.elapsed(), words).await;
            }
        }
    }

    /// Returns why a call is stopped that takes more than it may.
    fn too_much(&self, took: Duration, time: Duration, grown: u64) -> Option<StopReason> {
        let limits = self.limits();
        if took > time {
            let words =
                format!("the call was stopped after {} s; what it had done by then is kept", time.as_secs_f64());
            let hint = "do less in a call, or let whoever starts the server give more with --time";
            return Some(StopReason { words, hint: Some(hint.into()) });
        }
        (grown > limits.memory).then(|| StopReason {
            words: format!(
                "the call was stopped when the process had grown by {}, of {} that a call may take",
                memory::human(u128::from(grown)),
                memory::human(u128::from(limits.memory))
            ),
            hint: Some("do less in a call, or let whoever starts the server give more with --memory".into()),
        })
    }

    /// Tells how far a call is. The number that must rise is that of seconds; the words say what was done.
    async fn tell(&self, token: &ProgressToken, since: Duration, words: String) {
        let told = ProgressNotificationParam::new(token.clone(), since.as_secs_f64()).with_message(words);
        // A client that does not read is not waited for.
        let _unread = tokio::time::timeout(PATIENCE, self.context.peer.notify_progress(told)).await;
    }
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder().enable_tools().enable_resources().enable_prompts().build();
        let about = Implementation::new("microtome", env!("CARGO_PKG_VERSION")).with_title("microtome");
        let words = format!("{}\n\n{}", INSTRUCTIONS, self.permissions);
        ServerConfig::new(capabilities).with_server_info(about).with_instructions(words)
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> std::result::Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(tools::list()))
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        tools::list().into_iter().find(|tool| tool.name == name)
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> std::result::Result<CallToolResponse, ErrorData> {
        if !tools::has(&request.name) {
            return Err(ErrorData::invalid_params(format!("there is no tool {:?}", request.name), None));
        }
        let asked = Asked { server: self, context: &context };
        let reply = tools::answer(&asked, &request.name, request.arguments.unwrap_or_default()).await;
        Ok(reply.result().into())
    }

    async fn list_resources(
        &self,
        _request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> std::result::Result<ListResourcesResult, ErrorData> {
        let all = self.of_desk(&context, |desk| Ok(resources::list(desk))).await?;
        Ok(ListResourcesResult::with_all_items(all))
    }

    async fn list_resource_templates(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> std::result::Result<ListResourceTemplatesResult, ErrorData> {
        Ok(ListResourceTemplatesResult::with_all_items(resources::templates()))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        context: RequestContext<RoleServer>,
    ) -> std::result::Result<ReadResourceResponse, ErrorData> {
        let found = self.of_desk(&context, move |desk| resources::read(desk, &request.uri)).await?;
        Ok(found.into())
    }

    async fn list_prompts(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> std::result::Result<ListPromptsResult, ErrorData> {
        Ok(ListPromptsResult::with_all_items(prompts::list()))
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> std::result::Result<GetPromptResponse, ErrorData> {
        let found = prompts::of(&request.name, &request.arguments.unwrap_or_default());
        found.map(GetPromptResponse::from).map_err(|error| ErrorData::invalid_params(error.message, None))
    }
}

/// What an agent is told of the server when it connects.
const INSTRUCTIONS: &str = "\
microtome takes language models apart: models with named sites and hooks, sparse autoencoders, circuits, statistics, \
charts. Scripts are Rhai. `run` evaluates one in a session that persists; end it with an expression to see its value. \
Look names up with `help` before guessing, and `check` a long script before running it. \
`model::load(\"tiny\")` is a small model that is always there. \
State a control, held-out text, an interval or n, and the seed beside every number that you report: \
the resource microtome://skill says how.";
