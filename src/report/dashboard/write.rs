//! Writing a dashboard: file by file, each whole or not there, so that what is there after an interruption is complete.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::data::{card, line, script, words};
use super::page::{CircuitPage, about, index};
use crate::base::error::Kind;
use crate::base::files::Files;
use crate::base::{Result, Task, json as reading, parallel};
use crate::circuit::Circuit;
use crate::err;
use crate::features::{Dashboard, FeatureCard, HeadCards};
use crate::report::visible_text::visible;

/// Number of lines in a file of the index.
const LINES: usize = 4096;
/// Number of cards that are made at once, and whose texts are in one file.
const BLOCK: usize = 256;
/// Name of the file that says whose folder it is.
pub(super) const MARK: &str = "dashboard.json";

/// Result of writing a dashboard.
#[derive(Debug, Clone, PartialEq)]
pub struct WrittenDashboard {
    pub page: PathBuf,
    /// The number of cards that were made, and of those that were there already.
    pub made: usize,
    pub kept: usize,
}

/// Refuses a folder with files of something else; gives the names of the data of dashboards that are there.
pub fn check_folder(dir: &Path, files: &Files) -> Result<Vec<String>> {
    let place = files.access().to_write(&dir.join(MARK)).map_err(|e| e.about("dir"))?;
    let folder = place.parent().unwrap_or(dir);
    // What may not be read is no empty folder.
    files.has(folder).map_err(|e| e.about("dir"))?;
    let names = files.names(folder);
    let is_ours = |mark: Value| mark["made by"] == "microtome";
    let mark = || reading::read::<Value>(&files.bytes(&place).unwrap_or_default(), |e| err!(Format, "{e}"));
    if !names.is_empty() && !mark().is_ok_and(is_ours) {
        let some: Vec<&str> = names.iter().take(3).map(String::as_str).collect();
        let found = format!("found {} with {}", dir.display(), visible(&some.join(", ")));
        return Err(err!(File, "expected a new folder or one of a dashboard, {found}")
            .hint("give another folder: #{ dir: \"features\" }")
            .about("dir"));
    }
    let data = names.iter().filter_map(|name| name.strip_suffix('/')).filter(|name| is_data(name));
    Ok(data.map(String::from).collect())
}

/// Tells whether a folder has the name that a dashboard gives its data; others may be somebody's own.
fn is_data(name: &str) -> bool {
    let is_key = |key: &str| key.len() == 16 && key.bytes().all(|byte| byte.is_ascii_hexdigit());
    name.strip_prefix("data-").is_some_and(is_key)
}

/// Writes the pages below a folder. Cards of features that are there already, of the same numbers, stay.
pub fn write(
    dashboard: &Dashboard,
    circuits: &[Circuit],
    heads: Option<&HeadCards>,
    dir: &Path,
    files: &Files,
    task: &Task,
) -> Result<WrittenDashboard> {
    let before = check_folder(dir, files)?;
    let data = format!("data-{}", dashboard.key()?.get(..16).unwrap_or_default());
    let writer = DashboardWriter { dashboard, files, task, dir, data: &data };
    let all = dashboard.counts().cards;
    let mark = |made: usize| {
        let mark = json!({
            "made by": "microtome", "data": data, "complete": made == all, "cards": all, "cards made": made,
            "text": dashboard.survey.name, "tokens": dashboard.survey.positions, "model": dashboard.model.name(),
        });
        files.save_whole(&dir.join(MARK), format!("{mark:#}\n"))
    };
    // First of all, so that the folder is known as ours whatever happens.
    mark(0)?;
    let pages = circuits.iter().map(|circuit| CircuitPage::of(dashboard, circuit)).collect::<Result<Vec<_>>>()?;
    for (number, page) in pages.iter().enumerate() {
        writer.save(&format!("circuits/{number}.html"), &page.html)?;
    }
    for head in heads.iter().flat_map(|heads| &heads.cards) {
        let name = format!("{}-{}", head.layer, head.head);
        writer.save(&format!("heads/{name}.js"), &script("head", &name, &card(&head.card))?)?;
    }
    let about = about(dashboard, &pages, heads);
    let chunks = writer.index()?;
    let blocks = writer.blocks();
    let tell = |made: usize| -> Result<PathBuf> {
        let mut about = about.clone();
        about["made"] = made.into();
        about["chunks"] = chunks.into();
        about["words"] = blocks.iter().map(|block| Value::from(block.name.as_str())).collect();
        writer.save("about.js", &script("about", "", &about)?)?;
        mark(made)?;
        files.save_whole(&dir.join("index.html"), index(&data))
    };
    let kept: usize = blocks.iter().filter(|block| block.is_made).map(|block| block.features.len()).sum();
    let page = tell(kept)?;
    let mut made = 0;
    let bar = task.begin("writing cards", Some(all as u64));
    bar.had(kept as u64);
    for block in blocks.iter().filter(|block| !block.is_made) {
        match writer.block(block) {
            Ok(()) => {
                made += block.features.len();
                bar.advance(block.features.len() as u64);
            }
            Err(error) => {
                tell(kept + made)?;
                let there = kept + made;
                let hint = format!("{there} of {all} cards are complete in {}; the same call goes on", dir.display());
                return Err(if error.kind == Kind::Interrupted { error.hint(hint) } else { error });
            }
        }
    }
    tell(kept + made)?;
    for other in before.iter().filter(|before| **before != data) {
        files.discard(&dir.join(other))?;
    }
    Ok(WrittenDashboard { page, made, kept })
}

/// Cards that are made together.
struct CardBatch {
    dictionary: usize,
    features: Vec<usize>,
    /// The name of the file with its texts, which is written when its cards are complete.
    name: String,
    is_made: bool,
}

struct DashboardWriter<'a> {
    dashboard: &'a Dashboard,
    files: &'a Files,
    task: &'a Task,
    dir: &'a Path,
    data: &'a str,
}

impl DashboardWriter<'_> {
    fn save(&self, name: &str, content: &str) -> Result<()> {
        self.files.save_whole(&self.dir.join(self.data).join(name), content).map(drop)
    }

    /// Writes the lines of all features; returns the number of files.
    fn index(&self) -> Result<usize> {
        let dictionaries = self.dashboard.survey.dictionaries.iter().enumerate();
        let all: Vec<(usize, usize)> =
            dictionaries.flat_map(|(n, tallies)| (0..tallies.len()).map(move |f| (n, f))).collect();
        let line = |(dictionary, feature): &(usize, usize)| -> Result<Value> {
            self.task.check()?;
            let entry = self.dashboard.entry(*dictionary, *feature)?;
            Ok(line(&entry, self.dashboard.has_card(*dictionary, *feature)))
        };
        for (chunk, features) in all.chunks(LINES).enumerate() {
            let lines: Vec<Value> = parallel::try_map(features.len(), &|at| line(&features[at]))?;
            self.save(&format!("index/{chunk}.js"), &script("index", &chunk.to_string(), &lines.into())?)?;
        }
        Ok(all.len().div_ceil(LINES))
    }

    fn blocks(&self) -> Vec<CardBatch> {
        let of = |(dictionary, features): (usize, &Vec<usize>)| {
            let block = |(number, features): (usize, &[usize])| {
                let name = format!("{dictionary}/{number}");
                let path = self.dir.join(self.data).join(format!("words/{name}.js"));
                let place = self.files.access().to_write(&path);
                let is_made = place.is_ok_and(|place| self.files.has(&place).is_ok_and(|has| has));
                CardBatch { dictionary, features: features.to_vec(), name, is_made }
            };
            features.chunks(BLOCK).enumerate().map(block).collect::<Vec<_>>()
        };
        self.dashboard.shown.iter().enumerate().flat_map(of).collect()
    }

    fn block(&self, block: &CardBatch) -> Result<()> {
        let cards = self.dashboard.cards(block.dictionary, &block.features, self.task)?;
        let ready = parallel::try_map(cards.len(), &|at| {
            self.task.check()?;
            let one = &cards[at];
            let name = format!("{}/{}", block.dictionary, one.feature);
            Ok((one.feature, script("card", &name, &card(one))?))
        })?;
        for (feature, text) in ready {
            self.task.check()?;
            self.save(&format!("cards/{}/{}/{feature}.js", block.dictionary, feature / 1000), &text)?;
        }
        let texts = |card: &FeatureCard| json!([card.feature, words(card)]);
        let texts: Value = cards.iter().map(texts).collect();
        self.save(&format!("words/{}.js", block.name), &script("words", &block.name, &texts)?)
    }
}
