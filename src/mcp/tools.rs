//! The tools: what each takes, and what it does.

use std::time::Duration;

use rmcp::model::{JsonObject, Tool, ToolAnnotations};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::asked::Asked;
use super::reply::{Reply, run_reply};
use super::results::{CallResult, page};
use super::session_thread::{SessionThread, Ticket};
use super::sessions::MAIN;
use crate::bail;
use crate::base::memory;
use crate::common::*;

/// Arguments of the tool `run`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RunArguments {
    script: String,
    session: Option<String>,
    seconds: Option<f64>,
}

/// Arguments of the tool `help`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HelpArguments {
    query: Option<String>,
    page: Option<usize>,
}

/// Arguments of the tool `check`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CheckArguments {
    script: String,
    session: Option<String>,
}

/// Arguments of tools that are about a session.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SessionArguments {
    session: Option<String>,
}

/// Arguments of the tool `history`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HistoryArguments {
    number: Option<usize>,
    part: Option<ResultPart>,
    page: Option<usize>,
    session: Option<String>,
}

/// The parts of a result.
#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum ResultPart {
    Text,
    Data,
    Code,
    Pictures,
}

/// Arguments of the tool `save`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SaveArguments {
    session: Option<String>,
    file: Option<String>,
}

/// A tool as clients see it.
struct ToolEntry {
    name: &'static str,
    title: &'static str,
    description: &'static str,
    properties: fn() -> Value,
    required: &'static [&'static str],
    is_reading: bool,
}

/// Description of the argument that names a session.
const SESSION: &str = "Name of the session, \"main\" if left out. Each session has variables of its own.";

const TABLE: &[ToolEntry] = &[
    ToolEntry {
        name: "run",
        title: "Run a script",
        description: "Evaluates Rhai in a session that persists: variables, functions and imports stay for the next call. \
            Returns what was printed and the value of the last expression as text; as structured content its type and \
            data, tables as rows with the types of their columns, errors as kind, message, hint, line and column; charts \
            as PNG. End the script with an expression without a semicolon to see its value. Long results are cut, and \
            `history` has them whole.",
        properties: || {
            json!({
                "script": { "type": "string", "description": "The script, in Rhai with microtome's modules." },
                "session": { "type": "string", "description": SESSION },
                "seconds": { "type": "number", "description": "Seconds after which the call is stopped; never more than the server allows." },
            })
        },
        required: &["script"],
        is_reading: false,
    },
    ToolEntry {
        name: "help",
        title: "Look something up",
        description: "Answers from the reference and the guide: a function (model::load), a method (Model.run), a type \
            (Sae), a module (sae), each with its options and an example that runs; or words (\"activation patching\"), \
            for the places that speak of them. Without a query it lists what there is.",
        properties: || {
            json!({
                "query": { "type": "string", "description": "A name of the language, a page of the guide, or words." },
                "page": { "type": "integer", "minimum": 1, "description": "Page of a long answer." },
            })
        },
        required: &[],
        is_reading: true,
    },
    ToolEntry {
        name: "check",
        title: "Find mistakes",
        description: "Finds mistakes in a script without running it: unknown names, wrong numbers of arguments, misspelt \
            options, each with its place and how to mend it. With `session`, the script may use that session's variables.",
        properties: || {
            json!({
                "script": { "type": "string", "description": "The script to look at." },
                "session": { "type": "string", "description": "A session whose variables the script may use; none if left out." },
            })
        },
        required: &["script"],
        is_reading: true,
    },
    ToolEntry {
        name: "look",
        title: "Look at the sessions",
        description: "Lists a session's variables, models and dictionaries, what it wrote, whether it is working, and the \
            memory of the process. It answers while a script runs.",
        properties: || json!({ "session": { "type": "string", "description": SESSION } }),
        required: &[],
        is_reading: true,
    },
    ToolEntry {
        name: "history",
        title: "Earlier results",
        description: "Lists the results of a session, or returns one of them whole: its text, its data as JSON, its code, \
            or its pictures, by pages. It answers while a script runs, and has what cancelled calls had done.",
        properties: || {
            json!({
                "number": { "type": "integer", "minimum": 1, "description": "Number of the result; a list of all without it." },
                "part": { "type": "string", "enum": ["text", "data", "code", "pictures"], "description": "Part of the result, \"text\" if left out." },
                "page": { "type": "integer", "minimum": 1, "description": "Page of a long part." },
                "session": { "type": "string", "description": SESSION },
            })
        },
        required: &[],
        is_reading: true,
    },
    ToolEntry {
        name: "save",
        title: "Save the session",
        description: "Writes the session as a script that gives the same bytes when it is run, and its run record, which \
            `microtome run --again` repeats. Both are also written after each call.",
        properties: || {
            json!({
                "session": { "type": "string", "description": SESSION },
                "file": { "type": "string", "description": "Another file for the script, below the output folder; one that ends in .ipynb is a notebook." },
            })
        },
        required: &[],
        is_reading: false,
    },
    ToolEntry {
        name: "reset",
        title: "Begin anew",
        description: "Ends a session: what runs is stopped, its script and record are kept, its variables are forgotten. \
            The next call of this name begins a new one; the numbers of results go on.",
        properties: || json!({ "session": { "type": "string", "description": SESSION } }),
        required: &[],
        is_reading: false,
    },
];

fn object(value: Value) -> Arc<JsonObject> {
    match value {
        Value::Object(fields) => Arc::new(fields),
        _ => Arc::default(),
    }
}

/// Lists the tools for clients.
pub fn list() -> Vec<Tool> {
    let tool = |entry: &ToolEntry| {
        let schema = json!({
            "type": "object",
            "properties": (entry.properties)(),
            "required": entry.required,
            "additionalProperties": false,
        });
        let about = ToolAnnotations::with_title(entry.title)
            .read_only(entry.is_reading)
            .destructive(false)
            .idempotent(entry.is_reading)
            .open_world(false);
        Tool::new(entry.name, entry.description, object(schema)).with_title(entry.title).with_annotations(about)
    };
    TABLE.iter().map(tool).collect()
}

/// Lists the names of the tools.
pub fn names() -> impl Iterator<Item = &'static str> + Clone {
    TABLE.iter().map(|entry| entry.name)
}

/// Returns whether there is a tool of this name.
pub fn has(name: &str) -> bool {
    names().any(|known| known == name)
}

/// Answers a call of a tool. What is wrong with a call is an error for whoever made it.
pub async fn answer(asked: &Asked<'_>, name: &str, arguments: JsonObject) -> Reply {
    let answered = match name {
        "run" => run(asked, arguments).await,
        "help" => help(asked, arguments).await,
        "check" => check(asked, arguments).await,
        "look" => look(asked, arguments),
        "history" => history(asked, arguments),
        "save" => save(asked, arguments).await,
        _ => reset(asked, arguments).await,
    };
    answered.unwrap_or_else(|error| Reply::error(&error))
}

/// Reads the arguments of a call.
fn read<T: DeserializeOwned>(arguments: JsonObject) -> Result<T> {
    serde_json::from_value(Value::Object(arguments)).map_err(|e| err!(Argument, "expected other arguments: {e}"))
}

/// Returns the name of the session that a call means.
fn name_of(session: &Option<String>) -> &str {
    session.as_deref().unwrap_or(MAIN)
}

/// Returns a session that there must be.
fn existing(asked: &Asked<'_>, session: &Option<String>) -> Result<Arc<SessionThread>> {
    let name = name_of(session);
    asked.sessions.existing(name).ok_or_else(|| {
        let names: Vec<String> = asked.sessions.all().into_iter().map(|(name, _)| name).collect();
        let hint = match names.as_slice() {
            [] => "there are no sessions; run begins one".into(),
            names => format!("there are {}", names.join(", ")),
        };
        err!(Name, "there is no session {name:?}").hint(hint)
    })
}

async fn run(asked: &Asked<'_>, arguments: JsonObject) -> Result<Reply> {
    let RunArguments { script, session, seconds } = read(arguments)?;
    let name = name_of(&session).to_string();
    let time = allowed_time(asked.limits.time, seconds)?;
    let result = evaluated(asked, &name, script, time).await?;
    Ok(run_reply(&name, &result))
}

/// Evaluates a script in a session.
pub async fn evaluated(asked: &Asked<'_>, session: &str, script: String, time: Duration) -> Result<Arc<CallResult>> {
    let ticket = asked.sessions.named(session)?.ask(move |desk| desk.run(&script))?;
    asked.wait(ticket, time).await
}

/// Returns the time of a call, which is not more than the limit.
fn allowed_time(limit: Duration, seconds: Option<f64>) -> Result<Duration> {
    let Some(seconds) = seconds else { return Ok(limit) };
    let wanted = Duration::try_from_secs_f64(seconds)
        .map_err(|_| err!(Argument, "expected a number of seconds for `seconds`, found {seconds}"))?;
    if wanted > limit {
        return Err(err!(Access, "a call may take {} s here, not {seconds}", limit.as_secs())
            .hint(format!("whoever starts the server allows more with --time {}", seconds.ceil())));
    }
    Ok(wanted)
}

async fn help(asked: &Asked<'_>, arguments: JsonObject) -> Result<Reply> {
    let HelpArguments { query, page: number } = read(arguments)?;
    let ticket = asked.sessions.desk()?.ask(move |desk| desk.help(&query.unwrap_or_default()))?;
    let text = asked.wait(ticket, asked.limits.time).await??;
    let found = page(&text, number)?;
    Ok(Reply::paged(&found, "help with the same query and", found.place()))
}

async fn check(asked: &Asked<'_>, arguments: JsonObject) -> Result<Reply> {
    let CheckArguments { script, session } = read(arguments)?;
    let thread = if session.is_some() { existing(asked, &session)? } else { asked.sessions.desk()? };
    let ticket = thread.ask(move |desk| desk.check(&script))?;
    drop(thread);
    let (drawn, found) = asked.wait(ticket, asked.limits.time).await?;
    let text = if found.is_empty() { "no mistakes found".into() } else { drawn };
    Ok(Reply::new(&text, json!({ "mistakes": found })))
}

fn look(asked: &Asked<'_>, arguments: JsonObject) -> Result<Reply> {
    let SessionArguments { session } = read(arguments)?;
    let process = json!({ "memory": memory::taken(), "free": memory::available() });
    let sessions: Vec<Value> = asked
        .sessions
        .all()
        .into_iter()
        .map(|(name, session)| {
            let running = session.state.running().map(|running| running.begun.elapsed().as_secs_f64());
            json!({ "name": name, "running_seconds": running, "folder": session.state.folder })
        })
        .collect();
    if session.is_none() && sessions.is_empty() {
        let limits = asked.limits;
        let text = format!(
            "no session has begun; {} are in use, {} are free\n\
             a call may take {} s, and {} of memory\n",
            memory::human(u128::from(memory::taken())),
            memory::human(u128::from(memory::available())),
            limits.time.as_secs(),
            memory::human(u128::from(limits.memory)),
        );
        return Ok(Reply::new(&text, json!({ "sessions": [], "process": process })));
    }
    let thread = existing(asked, &session)?;
    let look = thread.state.look();
    let line = |about: &Value| {
        let part = |key: &str| about[key].as_str().unwrap_or_default().to_string();
        format!("{}: {} {}\n", part("name"), part("type"), part("value"))
    };
    let mut text = String::new();
    for (title, all) in [("variables", &look.variables), ("models", &look.models), ("dictionaries", &look.dictionaries)]
    {
        text.push_str(&format!("{title}: {}\n", if all.is_empty() { "none" } else { "" }));
        all.iter().for_each(|about| text.push_str(&format!("  {}", line(about))));
    }
    let state = match thread.state.running() {
        Some(running) => {
            format!("working for {:.1} s; the list is from before\n", running.begun.elapsed().as_secs_f64())
        }
        None => String::new(),
    };
    text.push_str(&format!(
        "written: {}\nfolder: {}\n{state}memory of the process: {}, free {}\n",
        if look.written.is_empty() { "nothing".into() } else { look.written.join(", ") },
        asked.out.join(&thread.state.folder).display(),
        memory::human(u128::from(memory::taken())),
        memory::human(u128::from(memory::available())),
    ));
    Ok(Reply::new(
        &text,
        json!({
            "variables": look.variables, "models": look.models, "dictionaries": look.dictionaries,
            "written": look.written, "sessions": sessions, "process": process,
        }),
    ))
}

fn history(asked: &Asked<'_>, arguments: JsonObject) -> Result<Reply> {
    let HistoryArguments { number, part, page: page_number, session } = read(arguments)?;
    let thread = existing(asked, &session)?;
    let results = thread.state.results();
    let Some(number) = number else {
        let lines: Vec<String> = results.all().rev().map(|result| result.line()).collect();
        let found = page(&lines.join("\n"), page_number)?;
        return Ok(Reply::paged(&found, "history with", found.place()));
    };
    let result = results.get(number)?;
    drop(results);
    let part = part.unwrap_or(ResultPart::Text);
    let text = match part {
        ResultPart::Text => &result.text,
        ResultPart::Code => &result.code,
        ResultPart::Data => result.value.as_ref().and_then(|value| value.json.as_ref()).ok_or_else(|| {
            err!(Argument, "result {number} has no data")
                .hint("it answers with nothing, or with more than is kept: ask for a part of it, or save it to a file")
        })?,
        ResultPart::Pictures => {
            if result.pictures.is_empty() {
                bail!(Argument, "result {number} has no pictures");
            }
            return Ok(Reply::new("", json!({ "number": number })).with_pictures(&result.pictures));
        }
    };
    let found = page(text, page_number)?;
    let words = format!("history with number {number} and");
    Ok(Reply::paged(&found, &words, json!({ "number": number, "page": found.number, "pages": found.count })))
}

async fn save(asked: &Asked<'_>, arguments: JsonObject) -> Result<Reply> {
    let SaveArguments { session, file } = read(arguments)?;
    let ticket: Ticket<Result<(super::desk::SavedSession, String)>> = existing(asked, &session)?.ask(move |desk| {
        let saved = desk.save()?;
        let also = file.map_or(Ok(String::new()), |file| desk.save_as(&file))?;
        Ok((saved, also))
    })?;
    let (saved, also) = asked.wait(ticket, asked.limits.time).await??;
    let shown = |path: &Path| path.display().to_string();
    let mut text = format!("script: {}\nrecord: {}\n{also}", shown(&saved.script), shown(&saved.record));
    saved.remarks.iter().for_each(|remark| text.push_str(&format!("note: {remark}\n")));
    text.push_str(&format!("repeat it: microtome run --again {}\n", shown(&saved.record)));
    Ok(Reply::new(
        &text,
        json!({ "script": shown(&saved.script), "record": shown(&saved.record), "remarks": saved.remarks }),
    ))
}

async fn reset(asked: &Asked<'_>, arguments: JsonObject) -> Result<Reply> {
    let SessionArguments { session } = read(arguments)?;
    let name = name_of(&session).to_string();
    let sessions = asked.sessions.clone();
    // It waits for what runs.
    let ended = tokio::task::spawn_blocking(move || sessions.reset(&name));
    let before = ended.await.map_err(|e| err!(Bug, "the session was not ended: {e}"))??;
    let text = match &before {
        Some(folder) => {
            format!("the session begins anew; the one before is in {}\n", asked.out.join(folder).display())
        }
        None => "there was nothing to forget\n".into(),
    };
    Ok(Reply::new(&text, json!({ "before": before })))
}
