//! Results that can be shown: one file for each kind, with its text for the terminal, its HTML and its JSON.
//!
//! A new kind is one more file here that implements [`Item`], and its line in the list of modules.

mod card;
mod chart;
mod feature;
mod graph;
mod grid;
mod heads;
mod heat_text;
mod lens_page;
mod markdown;
mod model;
mod table;
mod text;

use std::path::{Path, PathBuf};

use serde_json::Value;

pub use card::CardOptions;
pub use graph::{circuit_html, linked_graph};
pub use heat_text::HeatTextOptions;
pub use table::TableOptions;
pub use text::MarkdownText;

use super::html::page;
use super::json::pretty;
use super::live::part::LivePart;
use super::picture::{self, Picture};
use super::terminal::Screen;
use crate::base::files::Files;
use crate::base::{Error, Result, Table, Task, names};
use crate::data;
use crate::err;

crate::options! {
    /// Options of files of pictures.
    pub struct PictureOptions {
        /// Pixels of a .png to an inch, of which a chart has 96; the file says so, for others that show it at its size.
        dpi: Option<f64> = None => usually("192").at_least(24.0).at_most(1200.0);
    }
}

/// A result that can be shown, saved, and put into a report.
pub trait Item {
    /// Returns one word for the kind of the item, as files spell it.
    fn kind(&self) -> &'static str;

    /// Writes the item for the screen, ending in a line end.
    fn terminal(&self, screen: &Screen) -> Result<String>;

    /// Writes the item's part of a page, complete and escaped.
    fn html(&self) -> Result<String>;

    /// Returns all data of the item.
    fn data(&self) -> Result<Value>;

    /// Returns the picture, if the item is one.
    fn picture(&self) -> Option<Box<dyn Picture + '_>> {
        None
    }

    /// Returns a copy for another thread, if there may be so much in the item that showing it takes long.
    fn detached(&self) -> Option<Box<dyn Item + Send>> {
        None
    }

    /// Returns the table, if the item is one: other programs have formats for tables.
    fn table(&self) -> Option<&Table> {
        None
    }

    /// Writes the item in Markdown, if it is a table.
    fn markdown(&self) -> Option<String> {
        None
    }

    /// Writes the item in the language of Graphviz, if it is a graph.
    fn graphviz(&self) -> Option<String> {
        None
    }

    /// Returns what a live report needs so that the item answers there, if it can.
    fn live(&self) -> Option<LivePart> {
        None
    }
}

/// Returns the data with the kind of the item before it.
pub fn tagged(item: &dyn Item) -> Result<Value> {
    let mut out = serde_json::Map::from_iter([("type".to_string(), Value::from(item.kind()))]);
    match item.data()? {
        Value::Object(fields) => out.extend(fields),
        other => {
            out.insert("data".into(), other);
        }
    }
    Ok(Value::Object(out))
}

/// Makes something of an item, apart if the item may be large, so that Ctrl-C is heard.
pub fn made<T: Send + 'static>(
    item: &dyn Item,
    task: &Task,
    make: impl FnOnce(&dyn Item) -> Result<T> + Send + 'static,
) -> Result<T> {
    match item.detached() {
        Some(copy) => task.apart(move || make(copy.as_ref())),
        None => make(item),
    }
}

/// Writes the item in the format that the file's name asks for; gives back where it was written.
pub fn save(item: &dyn Item, files: &Files, path: &Path, task: &Task) -> Result<PathBuf> {
    save_picture(item, &PictureOptions::default(), files, path, task)
}

/// Writes the item as [`save`] does, a picture with these options.
pub fn save_picture(
    item: &dyn Item,
    options: &PictureOptions,
    files: &Files,
    path: &Path,
    task: &Task,
) -> Result<PathBuf> {
    let name = path.to_path_buf();
    let dpi = options.dpi;
    files.save_whole(path, made(item, task, move |item| encoded(item, &name, dpi))?)
}

fn encoded(item: &dyn Item, path: &Path, dpi: Option<f64>) -> Result<Vec<u8>> {
    let picture = item.picture();
    let ending = path.extension().and_then(|e| e.to_str());
    if dpi.is_some() && ending != Some("png") {
        return Err(err!(Argument, "expected a name that ends in .png beside `dpi`, found {}", path.display())
            .hint("other pictures have no pixels, and every size")
            .about("dpi"));
    }
    let content = item.table().zip(ending).and_then(|(table, ending)| data::table::encoded(table, ending));
    if let Some(content) = content {
        return content;
    }
    Ok(match (ending, &picture) {
        (Some("json"), _) => pretty(&tagged(item)?)?.into_bytes(),
        (Some("txt"), _) => item.terminal(&Screen { width: 120, ..Screen::default() })?.into_bytes(),
        (Some("html"), _) => page::page(item.kind(), &item.html()?).into_bytes(),
        (Some("svg"), Some(picture)) => picture::svg(picture.as_ref())?.into_bytes(),
        (Some("png"), Some(picture)) => match dpi {
            Some(dpi) => picture::png_at(picture.as_ref(), dpi)?,
            None => picture::png(picture.as_ref())?,
        },
        (Some("pdf"), Some(picture)) => picture::pdf(picture.as_ref())?,
        (Some("md"), _) if let Some(text) = item.markdown() => text.into_bytes(),
        (Some("dot"), _) if let Some(dot) = item.graphviz() => dot.into_bytes(),
        (found, _) => return Err(unknown_format(item, found)),
    })
}

fn unknown_format(item: &dyn Item, found: Option<&str>) -> Error {
    let drawn = item.picture().map_or(&[][..], |_| &["svg", "png", "pdf"]);
    let dot = item.graphviz().map_or(&[][..], |_| &["dot"]);
    let md = item.markdown().map_or(&[][..], |_| &["md"]);
    let tables = item.table().map_or(&[][..], |_| &data::table::FORMATS);
    let known = [drawn, tables, &["json", "txt", "html"], md, dot].concat();
    let kind = item.kind();
    let article = match kind {
        "heads" | "lenses" => "",
        _ if kind.starts_with(['a', 'e', 'i', 'o', 'u']) => "an ",
        _ => "a ",
    };
    match found {
        None => err!(Argument, "expected a file name that ends in .{}", known.join(", .")),
        Some(found) => err!(Argument, "cannot save {article}{kind} as .{found}")
            .maybe_hint(names::suggestion(found, known.iter().copied())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Card, Grid, HeatText};
    use crate::circuit::Graph;
    use crate::features::FeatureCard;

    #[test]
    fn what_may_be_large_can_be_saved_on_another_thread() {
        let chart = crate::report::samples::all().remove(0).1;
        let card = Card::default();
        let graph = Graph::default();
        let text = HeatText::default();
        let all: [&dyn Item; 7] =
            [&chart, &Grid::default(), &Table::default(), &text, &card, &FeatureCard::default(), &graph];
        for item in all {
            let copy = item.detached().unwrap();
            assert_eq!(tagged(copy.as_ref()).unwrap(), tagged(item).unwrap());
        }
    }

    #[test]
    fn the_name_of_the_file_chooses_the_format() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::unrecorded(folder.path()).unwrap();
        let grid = crate::report::samples::grid(2, 2, |r, c| (r + c) as f64);
        let save = |item: &dyn Item, name: &str| save(item, &files, Path::new(name), &Task::default());
        let read = |name: &str| std::fs::read(save(&grid, name).unwrap()).unwrap();
        assert!(read("g.svg").starts_with(b"<svg"));
        assert!(read("g.png").starts_with(b"\x89PNG"));
        assert!(read("g.pdf").starts_with(b"%PDF-"));
        assert!(read("g.html").starts_with(b"<!doctype html>"));
        let json: Value = serde_json::from_slice(&read("g.json")).unwrap();
        assert_eq!((&json["type"], &json["values"][3]), (&Value::from("grid"), &Value::from(2.0)));
        let wrong = save(&grid, "g.pgn").unwrap_err();
        assert_eq!(
            (wrong.message.as_str(), wrong.hint.as_deref()),
            ("cannot save a grid as .pgn", Some("did you mean `png`?"))
        );
        assert!(save(&Table::default(), "t.svg").is_err());
        let table = Table::new("T", ["a"], [vec![1_i64.into()]]);
        let read = |name: &str| String::from_utf8(std::fs::read(save(&table, name).unwrap()).unwrap()).unwrap();
        assert_eq!((read("t.csv").as_str(), read("t.json").as_str()), ("a\n1\n", "[\n  {\"a\":1}\n]\n"));
        // In a report, it has its title.
        assert_eq!(tagged(&table).unwrap()["title"], "T");
        assert_eq!(save(&table, "t.cvs").unwrap_err().hint.as_deref(), Some("did you mean `csv`?"));
        assert!(save(&Grid::default(), "none").is_err());
    }
}
