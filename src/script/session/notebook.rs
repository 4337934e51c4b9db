//! Notebook files, format 4 of Jupyter: their code cells as a script, their formatting, and one made of texts.
//!
//! The script of a notebook has a line before each cell that marks it, as other programs mark cells in scripts, so that
//! a record can hold a notebook as text. The cells are evaluated one after the other, as in a notebook: each may end
//! without a semicolon, and a function may be defined again.

use std::ops::Range;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use crate::base::json as reading;
use crate::common::*;
use crate::script::Session;
use crate::script::engine::failure::Failure;
use crate::script::engine::value::Value as ScriptValue;

/// Beginning of the line before a cell in the script of a notebook.
const MARK: &str = "// %% cell ";

/// The version of the format that is read and written; later minor versions only add to it.
const FORMAT: u64 = 4;

/// Returns whether a file is a notebook by its name.
pub fn is_notebook(name: &str) -> bool {
    name.ends_with(".ipynb")
}

/// Reads a script, or the script of a notebook.
pub fn script_text(files: &Files, path: &Path) -> Result<String> {
    let text = files.script(path)?;
    let name = path.to_string_lossy();
    if is_notebook(&name) { script(&text).map_err(|e| e.within(&name)) } else { Ok(text) }
}

/// A notebook as far as it is read.
#[derive(Deserialize)]
struct NotebookFile {
    #[serde(default)]
    metadata: Metadata,
    cells: Vec<NotebookCell>,
}

#[derive(Deserialize, Default)]
struct Metadata {
    #[serde(default)]
    language_info: Option<LanguageInfo>,
}

#[derive(Deserialize)]
struct LanguageInfo {
    name: String,
}

#[derive(Deserialize)]
struct NotebookCell {
    cell_type: String,
    source: CellSource,
}

/// The text of a cell, whole or in lines.
#[derive(Deserialize)]
#[serde(untagged)]
enum CellSource {
    Whole(String),
    Lines(Vec<String>),
}

impl NotebookCell {
    fn is_code(&self) -> bool {
        self.cell_type == "code"
    }

    fn text(&self) -> String {
        match &self.source {
            CellSource::Whole(text) => text.clone(),
            CellSource::Lines(lines) => lines.concat(),
        }
    }
}

fn parsed(text: &str) -> Result<NotebookFile> {
    let wrong = |e: serde_json::Error| err!(Format, "expected a notebook, found other JSON or none: {e}");
    // The version first: what it decides would otherwise be missed with words of its own.
    let version = reading::read_content::<Value>(text.as_bytes(), wrong)?["nbformat"].clone();
    if version != json!(FORMAT) {
        return Err(err!(Format, "expected a notebook of format {FORMAT}, found format {version}")
            .hint("open it in Jupyter and save it again, or convert it: jupyter nbconvert --to notebook"));
    }
    let file: NotebookFile = reading::read_content(text.as_bytes(), wrong)?;
    match &file.metadata.language_info {
        Some(language) if language.name != "rhai" => {
            Err(err!(Format, "expected a notebook of rhai, found one of {}", language.name))
        }
        _ => Ok(file),
    }
}

/// Returns whether a cell is a question or a command of the prompt, which a script has not.
fn is_command(text: &str) -> bool {
    text.trim_start().starts_with(['?', ':'])
}

/// Returns the code cells of a notebook as one text. Questions and commands of the prompt are left out.
pub fn script(notebook: &str) -> Result<String> {
    let file = parsed(notebook)?;
    let code = file.cells.iter().filter(|cell| cell.is_code()).map(NotebookCell::text);
    let marked = code.enumerate().filter(|(_, text)| !is_command(text));
    Ok(marked.map(|(index, text)| format!("{MARK}{}\n{}\n", index + 1, text.trim_end())).collect())
}

/// Splits the script of a notebook into its cells, each with the number of lines before it.
fn cells(script: &str) -> Vec<(usize, String)> {
    let mut cells: Vec<(usize, String)> = Vec::new();
    for (number, line) in script.lines().enumerate() {
        match cells.last_mut() {
            Some((_, text)) if !line.starts_with(MARK) => text.push_str(&format!("\n{line}")),
            _ => cells.push((number, line.into())),
        }
    }
    cells
}

impl Session {
    /// Evaluates a script, or the script of a notebook cell by cell; the value is that of the last cell.
    pub fn eval_script(&mut self, name: &str, text: &str) -> Result<ScriptValue, Failure> {
        if !is_notebook(name) {
            return self.eval(name, text);
        }
        let mut value = ScriptValue::UNIT;
        for (before, cell) in cells(text) {
            // Behind empty lines, so that places in it are those of the whole.
            let outcome = self.eval(name, &format!("{}{cell}", "\n".repeat(before)));
            self.sources().add(name, text);
            value = outcome?;
            if !value.is_unit() {
                self.set_variable("ans", value.clone());
            }
        }
        self.sources().add(name, text);
        Ok(value)
    }
}

/// Writes a notebook of code cells, as Jupyter would lay it out.
pub fn written(cells: &[String]) -> Result<String> {
    let cell = |text: &String| json!({ "cell_type": "code", "execution_count": null, "metadata": {}, "outputs": [], "source": lines(text) });
    let notebook = json!({
        "cells": cells.iter().map(cell).collect::<Vec<_>>(),
        "metadata": {
            "kernelspec": { "display_name": "microtome", "language": "rhai", "name": "microtome" },
            "language_info": { "file_extension": ".rhai", "mimetype": "text/x-rhai", "name": "rhai" },
        },
        "nbformat": FORMAT,
        "nbformat_minor": 4,
    });
    let mut out = Vec::new();
    let layout = serde_json::ser::PrettyFormatter::with_indent(b" ");
    let mut writer = serde_json::Serializer::with_formatter(&mut out, layout);
    serde::Serialize::serialize(&notebook, &mut writer).map_err(|e| err!(Bug, "cannot write the notebook: {e}"))?;
    out.push(b'\n');
    String::from_utf8(out).map_err(|e| err!(Bug, "cannot write the notebook: {e}"))
}

/// Splits a text into lines that keep their ends, as notebooks have them.
fn lines(text: &str) -> Vec<&str> {
    text.split_inclusive('\n').collect()
}

/// A notebook whose code was formatted, and the failures of cells that could not be.
pub struct FormattedNotebook {
    pub text: String,
    pub failures: Vec<Failure>,
}

/// Formats the code cells of a notebook by `format`, which takes the name of a cell and its text. Every byte outside of
/// the cells that change stays as it is.
pub fn formatted(
    name: &str,
    text: &str,
    format: impl Fn(&str, &str) -> Result<String, Failure>,
) -> Result<FormattedNotebook> {
    let file = parsed(text).map_err(|e| e.within(name))?;
    let sources = source_places(text);
    let mut new = FormattedNotebook { text: text.into(), failures: Vec::new() };
    let mut code = 0;
    let mut changes = Vec::new();
    for (cell, place) in file.cells.iter().zip(sources).filter(|(cell, _)| cell.is_code()) {
        code += 1;
        let before = cell.text();
        if is_command(&before) {
            continue;
        }
        match format(&format!("{name}, cell {code}"), &before) {
            Ok(after) if after.trim_end() != before => changes.push((place, after)),
            Ok(_) => {}
            Err(failure) => new.failures.push(failure),
        }
    }
    for (place, after) in changes.into_iter().rev() {
        let laid_out = in_layout(&text[place.clone()], after.trim_end())?;
        new.text.replace_range(place, &laid_out);
    }
    Ok(new)
}

/// Writes a text as the JSON of a source that stands in for one of this layout: whole, in lines each on a line of the
/// file, or in lines on one.
fn in_layout(before: &str, text: &str) -> Result<String> {
    let quoted = |text: &str| serde_json::to_string(text).map_err(|e| err!(Bug, "cannot write the notebook: {e}"));
    let Some(inside) = before.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) else { return quoted(text) };
    let gap = &inside[..inside.len() - inside.trim_start().len()];
    let end = &inside[inside.trim_end().len()..];
    let between = if gap.is_empty() { ", ".to_string() } else { format!(",{gap}") };
    let all = lines(text).into_iter().map(quoted).collect::<Result<Vec<_>>>()?;
    Ok(format!("[{gap}{}{end}]", all.join(&between)))
}

/// Finds the sources of all cells in the text of a notebook that was read.
fn source_places(text: &str) -> Vec<Range<usize>> {
    let member = |of: Range<usize>, wanted: &str| {
        // Where a key stands twice, the last one counts.
        members(text, of.start).into_iter().rfind(|(key, _)| key == wanted).map(|(_, place)| place)
    };
    let cells = member(0..text.len(), "cells").map_or_else(Vec::new, |cells| elements(text, cells.start));
    cells.into_iter().filter_map(|cell| member(cell, "source")).collect()
}

/// Returns where the JSON value that begins at or behind a byte stands.
fn value_at(text: &str, at: usize) -> Option<Range<usize>> {
    let start = blanks_end(text, at);
    let mut values = serde_json::Deserializer::from_str(&text[start..]).into_iter::<IgnoredAny>();
    values.next()?.ok()?;
    Some(start..start + values.byte_offset())
}

/// Returns the first byte from one on that is no white space.
fn blanks_end(text: &str, at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    at + rest.len() - rest.trim_start().len()
}

/// Lists the keys of the JSON object that begins at or behind a byte, each with the place of its value.
fn members(text: &str, at: usize) -> Vec<(String, Range<usize>)> {
    let mut found = Vec::new();
    let mut at = blanks_end(text, at) + 1;
    while let Some(key) = value_at(text, at)
        && let Ok(name) = reading::read_content(text[key.clone()].as_bytes(), |e| err!(Bug, "a key is no text: {e}"))
        && let Some(value) = value_at(text, blanks_end(text, key.end) + 1)
    {
        at = blanks_end(text, value.end) + 1;
        found.push((name, value));
    }
    found
}

/// Lists the places of the elements of the JSON array that begins at a byte.
fn elements(text: &str, at: usize) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut at = at + 1;
    while let Some(value) = value_at(text, at) {
        at = blanks_end(text, value.end) + 1;
        found.push(value);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::engine::env::Env;

    const NOTEBOOK: &str = r##"{
 "cells": [
  {"cell_type": "markdown", "metadata": {}, "source": ["# A title\n", "let  x=1"]},
  {
   "cell_type": "code", "execution_count": 3,
   "metadata": {"source": "not this"}, "outputs": [ {"a":1.50} ],
   "source": [
    "let x=[1,2] ;\n",
    "fn f() { 1 }"
   ]
  },
  {"cell_type": "code", "source": "?f", "metadata": {}, "outputs": []},
  {"cell_type": "code", "source": "fn f() { x.len() }\nf( )", "metadata": {}, "outputs": []}
 ],
 "metadata": {"language_info": {"name": "rhai"}, "own":  true},
 "nbformat": 4, "nbformat_minor": 5
}
"##;

    #[test]
    fn cells_are_evaluated_one_after_the_other() {
        let script = script(NOTEBOOK).unwrap();
        assert_eq!(script, "// %% cell 1\nlet x=[1,2] ;\nfn f() { 1 }\n// %% cell 3\nfn f() { x.len() }\nf( )\n");
        let mut session = Session::for_tests();
        let failure = session.eval_script("a.ipynb", &script).unwrap_err();
        let place = failure.place.unwrap();
        assert_eq!((place.source.as_str(), place.line), ("a.ipynb", 5), "{}", failure.message);
        let good = script.replace("x.len()", "4");
        assert_eq!(session.eval_script("a.ipynb", &good).unwrap().as_int(), Ok(4));
        assert_eq!(session.eval("<1>", "ans + x[1]").unwrap().as_int(), Ok(6));
        assert_eq!(session.sources().text("a.ipynb").as_deref(), Some(good.as_str()));
    }

    #[test]
    fn formatting_changes_code_and_nothing_else() {
        let session = Session::for_reading(Env::in_memory(Path::new("out")).unwrap());
        let new = formatted("a.ipynb", NOTEBOOK, |name, text| session.formatted(name, text)).unwrap();
        assert!(new.failures.is_empty());
        let expected = NOTEBOOK.replace("\"let x=[1,2] ;\\n\"", "\"let x = [1, 2];\\n\"").replace("\\nf( )", "\\nf()");
        assert_eq!(new.text, expected);
        let again = formatted("a.ipynb", &new.text, |name, text| session.formatted(name, text)).unwrap();
        assert_eq!(again.text, new.text);
        let broken = NOTEBOOK.replace("x=[1,2] ;", "x=;");
        let new = formatted("a.ipynb", &broken, |name, text| session.formatted(name, text)).unwrap();
        assert_eq!(new.failures[0].place.as_ref().unwrap().source, "a.ipynb, cell 1");
        assert!(new.text.contains("let x=;") && new.text.contains("\\nf()"));
    }

    #[test]
    fn what_is_written_is_read_and_laid_out_as_jupyter_does() {
        let text = written(&["let a = 1;\na".into(), "\"ü\"".into()]).unwrap();
        assert!(text.starts_with("{\n \"cells\": [\n  {\n   \"cell_type\": \"code\",\n"), "{text}");
        assert!(text.contains("    \"let a = 1;\\n\",\n    \"a\"\n   ]\n") && text.ends_with("}\n"), "{text}");
        assert_eq!(script(&text).unwrap(), "// %% cell 1\nlet a = 1;\na\n// %% cell 2\n\"ü\"\n");
    }

    #[test]
    fn other_files_are_refused_with_words() {
        let message = |text: &str| script(text).unwrap_err().message;
        assert!(message("let a = 1").starts_with("expected a notebook, found other JSON or none: "));
        assert!(message("{\"cells\": []}").ends_with("found format null"));
        let old = NOTEBOOK.replace("\"nbformat\": 4", "\"nbformat\": 3");
        assert_eq!(message(&old), "expected a notebook of format 4, found format 3");
        let python = NOTEBOOK.replace("\"rhai\"", "\"python\"");
        assert_eq!(message(&python), "expected a notebook of rhai, found one of python");
        assert!(message(&NOTEBOOK.replace("\"f( )\"", "3").replace("\"?f\"", "3")).contains("found other JSON"));
    }

    proptest::proptest! {
        #[test]
        fn places_are_found_however_the_file_is_laid_out(
            texts in proptest::collection::vec("[a-z\"\\\\\n\u{e9} {}\\[\\],:]{0,12}", 0..4),
            is_pretty in proptest::bool::ANY,
        ) {
            let cells: Vec<Value> = texts.iter().map(|text| json!({ "x": [{"source": 1}], "source": text, "y": {} })).collect();
            let file = json!({ "cells": cells, "nbformat": 4 });
            let text = if is_pretty { format!("\n{file:#} ") } else { file.to_string() };
            let found: Vec<String> =
                source_places(&text).into_iter().map(|place| serde_json::from_str(&text[place]).unwrap()).collect();
            proptest::prop_assert_eq!(found, texts);
        }
    }
}
