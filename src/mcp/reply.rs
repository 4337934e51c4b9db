//! Replies of tools: at most 10 kB of text and data, with an index to the rest.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rmcp::model::{CallToolResult, ContentBlock};
use serde_json::{Map, Value, json};

use super::results::{CallResult, PAGE, Page, fitting, pages};
use crate::base::json::read;
use crate::base::{Cell, Error, Table};
use crate::err;
use crate::report::json::cell;

/// Bytes of JSON that the data of a reply take at most; its text takes at most [`PAGE`].
const MOST_DATA: usize = 3_000;

/// Bytes of JSON that an error takes at most in the data of a reply.
const MOST_ERROR: usize = 1_000;

/// A reply of a tool.
pub struct Reply {
    text: String,
    data: Value,
    pictures: Vec<String>,
    is_error: bool,
    /// The number of the result of a call that ran a script.
    number: Option<usize>,
}

impl Reply {
    pub fn new(text: &str, data: Value) -> Self {
        let (text, is_cut) = shortened(text);
        let data = if is_cut { with(data, "text_is_cut", true.into()) } else { data };
        let data = if data.to_string().len() > MOST_DATA { within(data) } else { data };
        Self { text, data, pictures: Vec::new(), number: None, is_error: false }
    }

    /// Makes the reply of a call that is refused.
    pub fn error(error: &Error) -> Self {
        let hint = error.hint.as_ref().map(|hint| format!("\n  hint: {hint}")).unwrap_or_default();
        let data = json!({
            "kind": error.kind.name(), "message": error.message, "hint": error.hint,
            "source": null, "line": null, "column": null,
        });
        let text = format!("error: {}{hint}\n", error.message);
        Self { is_error: true, ..Self::new(&text, json!({ "error": short_error(&data) })) }
    }

    /// Makes the reply that is a page of a long text; `call` says how one asks for another page.
    pub fn paged(page: &Page, call: &str, data: Value) -> Self {
        let mut text = page.text.clone();
        if page.count > 1 {
            text.push_str(&format!("\n[page {} of {}; {call} page has the others]\n", page.number, page.count));
        }
        Self { text, data, pictures: Vec::new(), number: None, is_error: false }
    }

    pub fn is_error(&self) -> bool {
        self.is_error
    }

    pub fn number(&self) -> Option<usize> {
        self.number
    }

    pub fn with_pictures(mut self, pictures: &[Vec<u8>]) -> Self {
        self.pictures = pictures.iter().map(|picture| STANDARD.encode(picture)).collect();
        self
    }

    /// Returns the reply as the protocol has it.
    pub fn result(self) -> CallToolResult {
        let mut content = Vec::new();
        if !self.text.is_empty() || self.pictures.is_empty() {
            content.push(ContentBlock::text(self.text));
        }
        content.extend(self.pictures.into_iter().map(|picture| ContentBlock::image(picture, "image/png")));
        let mut result = if self.is_error { CallToolResult::error(content) } else { CallToolResult::success(content) };
        result.structured_content = Some(self.data);
        result
    }
}

/// Makes the reply to a call of `run`.
pub fn run_reply(session: &str, result: &CallResult) -> Reply {
    let mut data = json!({ "session": session, "number": result.number, "seconds": result.took.as_secs_f64() });
    let all = pages(&result.text, PAGE);
    let mut text = all.first().copied().unwrap_or_default().to_string();
    if all.len() > 1 {
        text.push_str(&format!(
            "\n[{} of {} bytes; history with number {} and page 2 to {} has the rest]\n",
            text.len(),
            result.text.len(),
            result.number,
            all.len()
        ));
        data["pages"] = all.len().into();
    }
    if let Some(error) = &result.error {
        data["error"] = short_error(error);
    }
    if let Some(value) = &result.value {
        data["value"] = json!({ "type": value.kind });
        match (&value.table, &value.json) {
            (Some(table), _) => data["value"]["table"] = table_data(table),
            (None, Some(json)) if json.len() <= MOST_DATA / 2 => {
                data["value"]["data"] = read(json.as_bytes(), |e| err!(Bug, "{e}")).unwrap_or(Value::Null);
            }
            (None, Some(json)) => {
                data["value"]["bytes"] = json.len().into();
                data["value"]["rest"] = format!("history with number {} and part data", result.number).into();
            }
            (None, None) => {}
        }
    }
    if !result.pictures.is_empty() {
        data["pictures"] = result.pictures.len().into();
    }
    Reply { text, data, pictures: Vec::new(), number: Some(result.number), is_error: result.error.is_some() }
        .with_pictures(&result.pictures)
}

/// Returns a table as data: the types of its columns, and as many rows as there is room for.
fn table_data(table: &Table) -> Value {
    let mut data = json!({ "title": table.title, "columns": columns(table), "row_count": table.rows.len() });
    let mut room = (MOST_DATA / 2).saturating_sub(data.to_string().len());
    let mut rows = Vec::new();
    for row in &table.rows {
        let row = row_data(row);
        let size = row.to_string().len() + 1;
        if size > room {
            break;
        }
        room -= size;
        rows.push(row);
    }
    if data.to_string().len() > MOST_DATA / 2 {
        data["columns"] = json!(table.columns.len());
        rows.clear();
    }
    data["is_cut"] = (rows.len() < table.rows.len()).into();
    data["rows"] = rows.into();
    data
}

/// Returns a table as data for a page, with its first rows.
pub fn first_rows(table: &Table, most: usize) -> Value {
    let rows: Vec<Value> = table.rows.iter().take(most).map(|row| row_data(row)).collect();
    let is_cut = rows.len() < table.rows.len();
    json!({ "columns": columns(table), "row_count": table.rows.len(), "rows": rows, "is_cut": is_cut })
}

fn columns(table: &Table) -> Vec<Value> {
    let about = |(place, name): (usize, &String)| json!({ "name": name, "type": type_of(table, place) });
    table.columns.iter().enumerate().map(about).collect()
}

fn row_data(row: &[Cell]) -> Value {
    row.iter().map(|one| cell(one).unwrap_or_default()).collect()
}

/// Names the type that the cells of a column have in common.
fn type_of(table: &Table, column: usize) -> &'static str {
    let kinds = table.rows.iter().filter_map(|row| match row.get(column)? {
        Cell::Missing => None,
        Cell::Bool(_) => Some("bool"),
        Cell::Int(_) => Some("integer"),
        Cell::Float(_) => Some("float"),
        Cell::Text(_) => Some("text"),
    });
    let common = kinds.fold("", |common, kind| match (common, kind) {
        ("", kind) => kind,
        (common, kind) if common == kind => common,
        ("integer" | "float", "integer" | "float") => "float",
        _ => "mixed",
    });
    if common.is_empty() { "missing" } else { common }
}

/// Cuts a text to the size of a page.
fn shortened(text: &str) -> (String, bool) {
    let fits = fitting(text, PAGE);
    if fits == text.len() {
        (text.into(), false)
    } else {
        (format!("{}\n[cut after {fits} of {} bytes]\n", &text[..fits], text.len()), true)
    }
}

fn short_error(error: &Value) -> Value {
    let mut short = error.clone();
    for key in ["message", "hint", "source"] {
        if let Some(text) = error[key].as_str().filter(|text| fitting(text, MOST_ERROR / 2) < text.len()) {
            short[key] = format!("{}…", &text[..fitting(text, MOST_ERROR / 2)]).into();
        }
    }
    short
}

fn with(mut data: Value, key: &str, value: Value) -> Value {
    data[key] = value;
    data
}

/// Shortens the lists of some data until they fit.
fn within(mut data: Value) -> Value {
    while data.to_string().len() > MOST_DATA {
        let Value::Object(fields) = &mut data else { break };
        let longest = longest_list(fields);
        let Some(list) = longest.and_then(|key| fields.get_mut(&key)).and_then(Value::as_array_mut) else { break };
        list.truncate(list.len() / 2);
        fields.insert("is_cut".into(), true.into());
    }
    data
}

/// Returns the key of the list that takes most room.
fn longest_list(fields: &Map<String, Value>) -> Option<String> {
    let lists = fields.iter().filter(|(_, value)| value.as_array().is_some_and(|list| !list.is_empty()));
    lists.max_by_key(|(_, value)| value.to_string().len()).map(|(key, _)| key.clone())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::output::ValueData;
    use super::*;

    fn size(reply: Reply) -> usize {
        let result = reply.result();
        serde_json::to_string(&result).unwrap().len()
    }

    #[test]
    fn no_reply_is_larger_than_ten_kilobytes() {
        let long = "\"\n\u{1}é".repeat(100_000);
        let rows: Vec<Vec<Cell>> = (0..10_000).map(|i| vec![Cell::Int(i), Cell::Text(long[..100].into())]).collect();
        let table = Table::new("t", ["a", "b"], rows);
        let wide = Table { columns: (0..5_000).map(|i| format!("column {i}")).collect(), ..Table::default() };
        for (json, table) in [(Some(long.clone()), None), (None, Some(table)), (None, Some(wide))] {
            let error =
                Some(json!({ "kind": "k", "message": long, "hint": long, "source": long, "line": 1, "column": 1 }));
            let result = CallResult {
                number: 1_000_000,
                code: String::new(),
                text: long.clone(),
                error,
                value: Some(ValueData { kind: "Table".into(), json, table }),
                pictures: Vec::new(),
                took: Duration::from_secs(1),
            };
            assert!(size(run_reply("main", &result)) < 10_000);
        }
        let list: Vec<Value> = (0..1_000).map(|i| json!({ "number": i, "text": "some text" })).collect();
        assert!(size(Reply::new(&long, json!({ "list": list }))) < 10_000);
        let page = super::super::results::page(&long, Some(3)).unwrap();
        assert!(size(Reply::paged(&page, "history with number 3 and", page.place())) < 10_000);
    }

    #[test]
    fn columns_have_the_type_of_their_cells() {
        let rows = vec![
            vec![Cell::Int(1), Cell::Int(1), Cell::Missing, Cell::Text("a".into()), Cell::Bool(true)],
            vec![Cell::Int(2), Cell::Float(f64::NAN), Cell::Missing, Cell::Int(1), Cell::Missing],
        ];
        let table = Table::new("", ["a", "b", "c", "d", "e"], rows);
        let data = table_data(&table);
        let types: Vec<&str> =
            data["columns"].as_array().unwrap().iter().map(|column| column["type"].as_str().unwrap()).collect();
        assert_eq!(types, ["integer", "float", "missing", "mixed", "bool"]);
        assert_eq!(data["rows"][1], json!([2, "NaN", null, 1, null]));
        assert_eq!((&data["row_count"], &data["is_cut"]), (&json!(2), &json!(false)));
    }
}
