//! The server as clients see it, whatever carries their messages.

use rmcp::model::{
    CallToolRequestParams, CallToolResponse, ErrorCode, GetPromptRequestParams, GetPromptResponse, Implementation,
    ListPromptsResult, ListResourceTemplatesResult, ListResourcesResult, ListToolsResult, PaginatedRequestParams,
    ReadResourceRequestParams, ReadResourceResponse, ServerCapabilities, ServerConfig, Tool,
};
use rmcp::service::{RequestContext, RoleServer};
use rmcp::{ErrorData, ServerHandler};
use serde_json::json;

use super::asked::Asked;
use super::call_log::{CallLog, LoggedCall};
use super::front::{EnvMaker, Limits};
use super::sessions::Sessions;
use super::{prompts, resources, tools};
use crate::base::access::Access;
use crate::base::{Kind, names};
use crate::common::*;

/// A server with its sessions. Clones share them, so that each connection of a transport may have one.
#[derive(Clone)]
pub struct Server {
    sessions: Arc<Sessions>,
    log: Arc<CallLog>,
    limits: Limits,
    out: PathBuf,
    /// Permissions, in words for agents.
    permissions: Arc<str>,
}

impl Server {
    /// Makes a server whose sessions may touch what `access` allows, which `permissions` says in words.
    pub fn new(make: EnvMaker, access: Access, limits: Limits, permissions: &str) -> Self {
        let out = access.out().to_path_buf();
        Self {
            sessions: Arc::new(Sessions::new(make, access)),
            log: Arc::default(),
            limits,
            out,
            permissions: permissions.into(),
        }
    }

    pub fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// Returns the calls that were answered.
    pub fn log(&self) -> &CallLog {
        &self.log
    }

    /// Stops all calls, of a client that has gone.
    pub fn stop_all(&self) {
        self.sessions.stop_all();
    }

    /// Ends all sessions; their scripts and records are written.
    pub fn finish(&self) {
        self.sessions.finish();
    }

    /// Returns a request; one without a context is that of a person who types into the page.
    pub fn asked<'a>(&'a self, context: Option<&'a RequestContext<RoleServer>>) -> Asked<'a> {
        Asked { sessions: &self.sessions, limits: self.limits, out: &self.out, context }
    }

    /// Asks the session that knows the reference, for an answer that is no tool's.
    async fn of_desk<T: Send + 'static>(
        &self,
        context: &RequestContext<RoleServer>,
        job: impl FnOnce(&mut super::desk::Desk) -> Result<T> + Send + 'static,
    ) -> std::result::Result<T, ErrorData> {
        let asked = self.asked(Some(context));
        let answered = async {
            let ticket = self.sessions.desk()?.ask(job)?;
            asked.wait(ticket, self.limits.time).await
        };
        // What keeps the server from answering is no mistake in the request.
        let answer = answered.await.map_err(|error| protocol_error(ErrorCode::INTERNAL_ERROR, &error))?;
        answer.map_err(|error| protocol_error(code_of(error.kind), &error))
    }
}

/// Returns the code of the protocol for an error in what a request asks for.
fn code_of(kind: Kind) -> ErrorCode {
    match kind {
        Kind::Name | Kind::File => ErrorCode::RESOURCE_NOT_FOUND,
        Kind::Argument | Kind::Shape | Kind::Index | Kind::Access => ErrorCode::INVALID_PARAMS,
        Kind::Format | Kind::Memory | Kind::Numeric | Kind::Network | Kind::Interrupted | Kind::Bug => {
            ErrorCode::INTERNAL_ERROR
        }
    }
}

/// Returns an error of the protocol, whose data have the kind and the hint.
fn protocol_error(code: ErrorCode, error: &Error) -> ErrorData {
    let hint = error.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
    let data = json!({ "kind": error.kind.name(), "hint": error.hint });
    ErrorData::new(code, format!("{}{hint}", error.message), Some(data))
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
            let near = names::suggestion(&request.name, tools::names());
            let unknown = err!(Name, "there is no tool {:?}", request.name).maybe_hint(near);
            return Err(protocol_error(ErrorCode::INVALID_PARAMS, &unknown));
        }
        let asked = self.asked(Some(&context));
        let arguments = request.arguments.unwrap_or_default();
        let call = self.log.begin(LoggedCall::of_agent(&request.name, &arguments));
        let reply = tools::answer(&asked, &request.name, arguments).await;
        call.answer(&reply);
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
        found.map(GetPromptResponse::from).map_err(|error| protocol_error(ErrorCode::INVALID_PARAMS, &error))
    }
}

/// Words for an agent that connects.
const INSTRUCTIONS: &str = "\
microtome takes language models apart: models with named sites and hooks, sparse autoencoders, circuits, statistics, \
charts. Scripts are Rhai. `run` evaluates one in a session that persists; end it with an expression to see its value. \
Look names up with `help` before guessing, and `check` a long script before running it. \
`model::load(\"tiny\")` is a small model that is always there. \
State a control, held-out text, an interval or n, and the seed beside every number that you report: \
the resource microtome://skill says how.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_protocol_have_their_codes_and_hints() {
        let coded = |error: Error| protocol_error(code_of(error.kind), &error).code.0;
        assert_eq!(coded(err!(Name, "there is no resource x")), ErrorCode::RESOURCE_NOT_FOUND.0);
        assert_eq!(coded(err!(Access, "x leads out of the output folder")), ErrorCode::INVALID_PARAMS.0);
        assert_eq!(coded(err!(Memory, "x has 2 GiB")), ErrorCode::INTERNAL_ERROR.0);
        assert_eq!(coded(err!(Bug, "oops")), ErrorCode::INTERNAL_ERROR.0);
        let error = protocol_error(ErrorCode::INVALID_PARAMS, &err!(Name, "no tool").hint("did you mean `run`?"));
        assert_eq!(error.message, "no tool (did you mean `run`?)");
        assert_eq!(error.data, Some(json!({ "kind": "name", "hint": "did you mean `run`?" })));
    }
}
