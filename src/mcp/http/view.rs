//! Questions of the page: the calls since the last one that it has, a picture of a result, and to run a script.

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::base::{json as json_reader, memory};
use crate::common::*;
use crate::explorer::{body, refusal};
use crate::mcp::Server;
use crate::mcp::call_log::LoggedCall;
use crate::mcp::reply::first_rows;
use crate::mcp::results::CallResult;
use crate::mcp::tools;

/// Characters of the text of a call that the page shows; the agent has the rest by `history`, and so has a person.
const MOST_TEXT: usize = 20_000;

/// Rows of a table that the page shows.
const MOST_ROWS: usize = 200;

/// A script that is to be run in a session, or a session that is to be stopped.
#[derive(Deserialize)]
struct Wanted {
    session: String,
    #[serde(default)]
    script: String,
}

/// Answers with the calls since the last one that the page has, and with what runs.
pub async fn calls(State(server): State<Server>, Path((_, after)): Path<(String, u64)>) -> Response {
    let shown: Vec<Value> = server.log().since(after).iter().map(|logged| call(&server, logged)).collect();
    let sessions: Vec<Value> = server
        .sessions()
        .all()
        .iter()
        .map(|(name, session)| {
            let running = session.state.running().map(|running| running.begun.elapsed().as_secs_f64());
            json!({ "name": name, "seconds": running })
        })
        .collect();
    answer(&json!({ "calls": shown, "sessions": sessions, "memory": memory::human(u128::from(memory::taken())) }))
}

fn answer(value: &Value) -> Response {
    ([(CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}

/// Returns a result, if its session still has it.
fn kept(server: &Server, session: &str, number: usize) -> Option<Arc<CallResult>> {
    server.sessions().existing(session)?.state.results().get(number).ok()
}

/// Returns a call as the page draws it.
fn call(server: &Server, call: &LoggedCall) -> Value {
    let found = call.result.and_then(|number| kept(server, &call.session, number));
    json!({
        "id": call.id, "tool": call.tool, "session": call.session, "words": call.words,
        "by_person": call.by_person, "is_error": call.is_error, "seconds": call.took.as_secs_f64(),
        "result": found.as_deref().map(result),
    })
}

fn result(result: &CallResult) -> Value {
    let text: String = result.text.chars().take(MOST_TEXT).collect();
    let table = result.value.as_ref().and_then(|value| value.table.as_ref());
    json!({
        "number": result.number, "code": result.code, "is_cut": text.len() < result.text.len(), "text": text,
        "pictures": result.pictures.len(), "table": table.map(|table| first_rows(table, MOST_ROWS)),
    })
}

/// Answers with a picture of a result.
pub async fn picture(
    State(server): State<Server>,
    Path((_, session, number, index)): Path<(String, String, usize, usize)>,
) -> Response {
    let found = kept(&server, &session, number);
    match found.as_deref().and_then(|result| result.pictures.get(index)) {
        Some(picture) => ([(CONTENT_TYPE, "image/png")], picture.clone()).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// Reads a question of the page.
async fn read<T: DeserializeOwned>(question: Body) -> std::result::Result<T, Response> {
    let bytes = body(question).await.map_err(IntoResponse::into_response)?;
    let wrong = |e: serde_json::Error| err!(Format, "expected a question in JSON, found another text: {e}");
    let found = json_reader::read(&bytes, wrong).and_then(|value: Value| serde_json::from_value(value).map_err(wrong));
    found.map_err(|error| refusal(&error))
}

/// Runs what a person typed, in the session that they look at.
pub async fn run(State(server): State<Server>, request: Request) -> Response {
    let wanted: Wanted = match read(request.into_body()).await {
        Ok(wanted) => wanted,
        Err(refused) => return refused,
    };
    // A page that is closed does not stop what it began, which is watched to its end.
    let Wanted { session, script } = wanted;
    let running = tokio::spawn(async move { evaluated(&server, &session, script).await });
    done(running.await.unwrap_or_else(|e| Err(err!(Bug, "the call was not answered: {e}"))))
}

fn done(outcome: Result<()>) -> Response {
    match outcome {
        Ok(()) => answer(&json!({ "done": true })),
        Err(error) => refusal(&error),
    }
}

/// Evaluates what a person typed, within the limits that agents have.
async fn evaluated(server: &Server, session: &str, script: String) -> Result<()> {
    let asked = server.asked(None);
    let result = tools::evaluated(&asked, session, script, asked.limits.time).await?;
    server.log().add(LoggedCall::of_person(session, &result));
    Ok(())
}

/// Stops what runs in a session.
pub async fn stop(State(server): State<Server>, request: Request) -> Response {
    let wanted: Wanted = match read(request.into_body()).await {
        Ok(wanted) => wanted,
        Err(refused) => return refused,
    };
    done(stopped(&server, &wanted.session))
}

fn stopped(server: &Server, name: &str) -> Result<()> {
    let session = server.sessions().existing(name).ok_or_else(|| err!(Name, "there is no session {name:?}"))?;
    session.state.stop_running();
    Ok(())
}
