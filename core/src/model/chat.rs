//! Messages as the text that a model was trained to read them in: the Jinja template of its tokenizer, with the functions
//! and filters that transformers gives to templates.

mod work_limit;

use std::fmt;

use chrono::{NaiveDate, NaiveDateTime, NaiveTime};
use minijinja::machinery::{eval, make_string_output};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Serde};
use minijinja::{AutoEscape, Environment, ErrorKind, State, Value as Given};
use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};
use serde_json::{Map, Value};

use super::Model;
use crate::base::names::suggestion;
use crate::base::{Error, Result, Task};
use crate::err;
use crate::options::fields::ConfigFields;
use crate::tokenizer::tokens::Tokens;
use crate::tokenizer::{Chats, DEFAULT};

crate::options! {
    /// Options of a chat: how messages become a text.
    pub struct ChatOptions {
        /// Whether the text ends with the beginning of an answer, which the model then continues.
        answer: bool = false;
        /// The name of a template, if the tokenizer has several, or a template in Jinja.
        template: Option<String> = None => usually("the tokenizer's own");
        /// More that the template reads, such as `tools`.
        values: ConfigFields = ConfigFields::default() => usually("none");
        /// The day, as "2026-01-31", for templates that write it.
        date: Option<String> = None;
    }
}

impl Model {
    /// Encodes messages, a list of maps with `role` and `content`, as tokens in the model's own form of chats.
    pub fn chat(&self, messages: Value, options: &ChatOptions, task: &Task) -> Result<Tokens> {
        let tokenizer = self.tokenizer()?;
        check(&messages)?;
        let template = template(tokenizer.chats(), options.template.as_deref())?;
        let date = options.date.as_deref().map(date).transpose()?;
        let mut values = tokenizer.chats().map(|chats| chats.marks.clone()).unwrap_or_default();
        values.extend(options.values.0.clone());
        values.insert("messages".into(), messages);
        values.insert("add_generation_prompt".into(), options.answer.into());
        let text = task.apart(move || rendered(&template, &values, date, work_limit::steps()))?;
        tokenizer.encode_chat(&text, task)
    }
}

/// Refuses what are not messages.
fn check(messages: &Value) -> Result<()> {
    let all = messages.as_array().filter(|all| !all.is_empty());
    let wrong = all.map_or(Some(messages), |all| all.iter().find(|one| !one.get("role").is_some_and(Value::is_string)));
    match wrong {
        None => Ok(()),
        Some(found) => Err(err!(Argument, "expected messages, each a map with a `role`, found {found}")
            .hint("such as [#{ role: \"user\", content: \"Hello\" }]")
            .about("messages")),
    }
}

/// Returns the template of this name, or the text itself where it is a template.
fn template(chats: Option<&Chats>, named: Option<&str>) -> Result<String> {
    if let Some(text) = named.filter(|name| name.contains("{{") || name.contains("{%")) {
        return Ok(text.into());
    }
    let Some(chats) = chats else {
        return Err(err!(Argument, "this model's tokenizer has no chat template")
            .hint("models that were trained on chats have one; another can be given as `template`")
            .about("m"));
    };
    let only = if chats.templates.len() == 1 { chats.templates.keys().next().map(String::as_str) } else { None };
    let name = named.or(only).unwrap_or(DEFAULT);
    chats.templates.get(name).cloned().ok_or_else(|| {
        let known: Vec<&str> = chats.templates.keys().map(String::as_str).collect();
        err!(Name, "this model's tokenizer has no chat template `{name}`")
            .maybe_hint(suggestion(name, known))
            .about("template")
    })
}

fn date(text: &str) -> Result<NaiveDateTime> {
    let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").map(|day| day.and_time(NaiveTime::MIN));
    day.map_err(|_| err!(Argument, "expected a day such as \"2026-01-31\", found {text:?}").about("date"))
}

/// Renders a template with values, within the given number of steps.
fn rendered(template: &str, values: &Map<String, Value>, date: Option<NaiveDateTime>, steps: u64) -> Result<String> {
    let text = without_marks_of_answers(template);
    let spaces = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    let spaces = spaces.map_err(|e| err!(Bug, "the syntax of chat templates: {e}"))?;
    let (instructions, blocks) = work_limit::compiled(&text, spaces)?;
    let mut jinja = Environment::new();
    work_limit::prepare(&mut jinja, steps);
    jinja.add_filter("tojson", to_json);
    jinja.add_function("raise_exception", raised);
    jinja.add_function("strftime_now", move |format: String| match date {
        None => Err(stopped(StopReason::NoDate)),
        Some(date) => written(date, &format),
    });
    let mut out = String::new();
    let values = Given::from(Serde(values));
    let made = eval(&jinja, &instructions, values, &blocks, &mut make_string_output(&mut out), AutoEscape::None);
    match made {
        Ok(_) => Ok(out),
        Err(error) => Err(refused(error, steps)),
    }
}

/// Raises the error by which a template refuses messages.
fn raised(state: &State, why: Given) -> std::result::Result<Given, minijinja::Error> {
    work_limit::weigh(state, &why, true)?;
    Err(stopped(StopReason::Raised(why.to_string())))
}

/// Reasons for which a template stopped by itself.
#[derive(Debug)]
enum StopReason {
    Raised(String),
    NoDate,
    Deep,
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StopReason::Raised(text) => f.write_str(text),
            StopReason::NoDate => f.write_str("no date"),
            StopReason::Deep => f.write_str("nested too deeply"),
        }
    }
}

impl std::error::Error for StopReason {}

fn stopped(why: StopReason) -> minijinja::Error {
    minijinja::Error::new(ErrorKind::InvalidOperation, "the template stopped").with_source(why)
}

/// Builds the error of a template that was read and cannot be filled in.
fn refused(error: minijinja::Error, steps: u64) -> Error {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(cause) = source {
        match cause.downcast_ref::<StopReason>() {
            Some(StopReason::Raised(text)) => {
                return err!(Argument, "the chat template refuses these messages: {text}").about("messages");
            }
            Some(StopReason::NoDate) => {
                return err!(Argument, "expected a `date`, which this model's chat template writes, found none")
                    .hint("give a day, #{ date: \"2026-01-31\" }, so that the text is the same whenever this runs")
                    .about("date");
            }
            Some(StopReason::Deep) => {
                let most = work_limit::DEEPEST;
                return err!(Format, "expected a chat template that nests values at most {most} deep, found more");
            }
            None => source = cause.source(),
        }
    }
    if error.kind() == ErrorKind::OutOfFuel {
        let bytes = work_limit::BYTES;
        return err!(
            Format,
            "expected a chat template of at most {steps} steps, of which {bytes} bytes of text are one, found more"
        )
        .hint("it does not end, or makes far more than its messages hold");
    }
    err!(Argument, "the chat template cannot be filled in with these messages: {error}").about("messages")
}

/// Formats a day as `strftime` does. A format that is none would make chrono's own text panic.
fn written(date: NaiveDateTime, format: &str) -> std::result::Result<String, minijinja::Error> {
    let mut text = String::new();
    match fmt::Write::write_fmt(&mut text, format_args!("{}", date.format(format))) {
        Ok(()) => Ok(text),
        Err(_) => Err(minijinja::Error::new(ErrorKind::InvalidOperation, format!("`{format}` is no format of a date"))),
    }
}

/// Writes JSON as Python does: spaces after commas and colons, and no character escaped that need not be.
fn to_json(state: &State, value: &Given, options: Kwargs) -> std::result::Result<Given, minijinja::Error> {
    let indent: Option<usize> = options.get("indent")?;
    // Characters beyond ASCII stay in any case.
    let _is_ascii: Option<bool> = options.get("ensure_ascii")?;
    options.assert_all_used()?;
    let mut out = work_limit::BoundedText::of(state);
    let written = match indent {
        None => value.serialize(&mut Serializer::with_formatter(&mut out, OneLine)),
        Some(size) => {
            let indent = " ".repeat(size.min(16));
            let lines = PrettyFormatter::with_indent(indent.as_bytes());
            value.serialize(&mut Serializer::with_formatter(&mut out, lines))
        }
    };
    match written {
        Ok(()) => Ok(Given::from(String::from_utf8_lossy(&out.text).into_owned())),
        Err(error) if error.is_io() => Err(minijinja::Error::from(ErrorKind::OutOfFuel)),
        Err(error) => Err(minijinja::Error::new(ErrorKind::BadSerialization, error.to_string())),
    }
}

struct OneLine;

impl Formatter for OneLine {
    fn begin_array_value<W: ?Sized + std::io::Write>(&mut self, out: &mut W, first: bool) -> std::io::Result<()> {
        if first { Ok(()) } else { out.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + std::io::Write>(&mut self, out: &mut W, first: bool) -> std::io::Result<()> {
        if first { Ok(()) } else { out.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + std::io::Write>(&mut self, out: &mut W) -> std::io::Result<()> {
        out.write_all(b": ")
    }
}

/// Removes the tags around answers, `{% generation %}` and `{% endgeneration %}`, from a template: they mark what a
/// training learns from and write nothing; blocks that always hold keep their spaces as they are.
fn without_marks_of_answers(template: &str) -> String {
    let mut out = String::new();
    let mut rest = template;
    while let Some((before, behind)) = rest.split_once("{%") {
        out.push_str(before);
        let Some((tag, after)) = behind.split_once("%}") else {
            out.push_str("{%");
            rest = behind;
            continue;
        };
        let name = tag.trim_matches(['-', '+']).trim();
        let tag = match name {
            "generation" => tag.replace(name, "if true"),
            "endgeneration" => tag.replace(name, "endif"),
            _ => tag.into(),
        };
        out.push_str(&format!("{{%{tag}%}}"));
        rest = after;
    }
    out + rest
}

#[cfg(test)]
mod tests;
