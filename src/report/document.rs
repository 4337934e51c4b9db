//! A report: text and results on one page that needs nothing else, with the data and the pictures beside it.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use serde_json::Value;

use super::html::page;
use super::items::{Item, made, tagged};
use super::json::pretty;
use super::picture;
use super::terminal::Screen;
use crate::base::files::Files;
use crate::base::{Result, Task};
use crate::err;

/// The file name of the first picture, small.
const SMALL: &str = "picture.png";

/// A named list of things to show.
#[derive(Clone)]
pub struct Report {
    name: String,
    items: Vec<Rc<dyn Item>>,
}

impl Report {
    /// Builds a report of this name, which is that of a folder where it is saved.
    pub fn new(name: &str, items: Vec<Rc<dyn Item>>) -> Result<Self> {
        let reserved = name.contains(['/', '\\', ':', '\0']) || name.starts_with('.') || name.trim() != name;
        if name.is_empty() || name.len() > 120 || reserved || name.chars().any(char::is_control) {
            return Err(err!(Argument, "expected a name that can be a folder's, found {name:?}")
                .hint("use letters, digits, spaces, - and _; the folder is made below --out"));
        }
        Ok(Self { name: name.into(), items })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn items(&self) -> &[Rc<dyn Item>] {
        &self.items
    }

    /// Writes the page.
    pub fn html(&self, task: &Task) -> Result<String> {
        let part = |item: &Rc<dyn Item>| {
            task.check()?;
            made(item.as_ref(), task, |item| item.html())
        };
        let content: Result<String> = self.items.iter().map(part).collect();
        Ok(page::page(&self.name, &content?))
    }

    /// Returns all data of all items.
    pub fn data(&self, task: &Task) -> Result<Value> {
        let items: Result<Vec<Value>> = self.items.iter().map(|item| made(item.as_ref(), task, tagged)).collect();
        Ok(serde_json::json!({ "name": self.name, "items": items? }))
    }

    /// Writes the report for this screen.
    pub fn terminal(&self, screen: &Screen) -> Result<String> {
        let mut out = format!("{}\n", screen.bold(&super::visible_text::visible(&self.name)));
        for item in &self.items {
            out.push('\n');
            out.push_str(&item.terminal(screen)?);
        }
        Ok(out)
    }

    /// Returns the folder of the report of a run that leaves its record in `home`: `home` itself, if it has the
    /// report's name, and else a folder of the report's name in it.
    fn folder(&self, home: &Path) -> PathBuf {
        if home.ends_with(&self.name) { home.to_path_buf() } else { home.join(&self.name) }
    }

    /// Writes `index.html`, `data.json`, each picture as `figure-1.svg` and so on, and the first of them once more as a
    /// small `picture.png`, for galleries (where this build has pictures of pixels), into the report's folder; gives back where the page is. `home` is the folder
    /// of the run, empty where there is none. Everything is drawn before anything is written.
    pub fn save(&self, files: &Files, home: &Path, task: &Task) -> Result<PathBuf> {
        let folder = self.folder(home);
        let mut ready = vec![("data.json".to_string(), pretty(&self.data(task)?)?)];
        let mut figures = 0;
        let mut small = None;
        for item in &self.items {
            task.check()?;
            let is_first = figures == 0;
            let drawn = made(item.as_ref(), task, move |item| {
                let Some(picture) = item.picture() else { return Ok(None) };
                let has_small = is_first && cfg!(feature = "pictures");
                let small = has_small.then(|| picture::small_png(picture.as_ref())).transpose()?;
                Ok(Some((picture::svg(picture.as_ref())?, small)))
            })?;
            let Some((svg, of_first)) = drawn else { continue };
            figures += 1;
            small = small.or(of_first);
            ready.push((format!("figure-{figures}.svg"), svg));
        }
        let page = self.html(task)?;
        if let Some(small) = small {
            files.save_whole(&folder.join(SMALL), small)?;
        }
        for (name, content) in &ready {
            files.save_whole(&folder.join(name), content)?;
        }
        files.save_whole(&folder.join("index.html"), page)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Card, HeatText, Table};
    use crate::report::items::MarkdownText;

    fn sample() -> Report {
        let evil = "</script><img src=x onerror=alert(1)>--><b>\u{202e}\x1b[2J";
        let chart = crate::report::samples::all().remove(0).1.titled(evil);
        let table = Table::new(evil, [evil], [vec![evil.into()]]);
        let card = Card { body: Some(evil.into()), ..Card::new(evil, [(evil, evil.into())]) };
        let tokens =
            HeatText { title: evil.into(), tokens: vec![evil.into()], values: vec![1.0], quantity: evil.into() };
        let grid = crate::report::samples::grid(3, 3, |r, c| r as f64 - c as f64);
        let items: Vec<Rc<dyn Item>> = vec![
            Rc::new(MarkdownText(format!("# {evil}\n{evil}"))),
            Rc::new(chart),
            Rc::new(table),
            Rc::new(card),
            Rc::new(tokens),
            Rc::new(grid),
        ];
        Report::new("sample", items).unwrap()
    }

    #[test]
    fn the_page_and_its_neighbours_are_written_and_the_same_every_time() {
        let saved = || {
            let folder = tempfile::tempdir().unwrap();
            let files = Files::unrecorded(folder.path()).unwrap();
            let page = sample().save(&files, Path::new(""), &Task::default()).unwrap();
            let small = std::fs::read(page.with_file_name(SMALL)).unwrap();
            assert!(small.starts_with(b"\x89PNG") && small.len() <= 60_000, "{} bytes", small.len());
            ["index.html", "data.json", "figure-1.svg", "figure-2.svg"]
                .map(|name| std::fs::read_to_string(page.with_file_name(name)).unwrap())
        };
        let first = saved();
        assert_eq!(first, saved());
        let data: Value = serde_json::from_str(&first[1]).unwrap();
        let kinds: Vec<&str> = data["items"].as_array().unwrap().iter().map(|i| i["type"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["text", "chart", "table", "card", "heat text", "grid"]);
    }

    #[test]
    fn a_report_stands_with_the_record_of_its_run() {
        let folder = |home: &str| sample().folder(Path::new(home)).display().to_string();
        assert_eq!([folder(""), folder("sample"), folder("script")], ["sample", "sample", "script/sample"]);
    }

    #[test]
    fn nothing_from_the_data_is_markup_and_nothing_is_loaded() {
        let page = sample().html(&Task::default()).unwrap();
        assert!(
            !page.contains("<img") && !page.contains("<script") && !page.contains("</script") && !page.contains("<b>")
        );
        assert!(!page.contains('\x1b') && !page.contains('\u{202e}'));
        assert!(page.contains("default-src 'none'"));
        // The one address is the name of SVG's language, which nobody loads.
        assert_eq!(
            page.matches("http").count(),
            page.matches("http://www.w3.org/2000/svg").count() + page.matches("http-equiv").count()
        );
        assert!(!page.contains("url(") && !page.contains("@import"));
    }

    #[test]
    fn the_terminal_gets_no_codes_but_ours() {
        let text = sample().terminal(&Screen::default()).unwrap();
        assert!(!text.contains('\x1b') && !text.contains('\u{202e}'));
    }

    #[test]
    fn names_that_leave_the_folder_are_refused() {
        for name in ["", "..", "a/b", "/etc", ".hidden", "a\nb", "C:\\x"] {
            assert!(Report::new(name, vec![]).is_err(), "{name:?}");
        }
    }
}
