//! `microtome cache`: lists and clears the user's cache.

use std::time::SystemTime;

use clap::{Subcommand, ValueEnum};

use super::prelude::*;
use super::run;
use crate::base::cache::{self, CachedFolder, VARIABLE, days_ago};
use crate::base::{Cell, Table, memory};
use crate::checkpoint::hub::{self, RepoKind};
use crate::data::sample as texts;
use crate::questions::endpoint::listing as exchanges;
use crate::report::Item;
use crate::sae::cached;

#[derive(Args)]
pub struct CacheArguments {
    #[command(subcommand)]
    pub action: Option<CacheAction>,
}

#[derive(Subcommand)]
pub enum CacheAction {
    /// List the cache, as `microtome cache` alone does.
    List,
    /// Remove cached dictionaries, which can be fitted again; texts and answers of language models go only by their
    /// name, downloaded models never.
    Clear {
        /// Kind of cached data that is removed.
        #[arg(value_enum, value_name = "WHAT", default_value = "dictionaries")]
        what: CachePart,

        /// Only data that was not used for this many days.
        #[arg(long, value_name = "DAYS")]
        older_than: Option<u64>,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CachePart {
    /// Cached dictionaries and transcoders.
    Dictionaries,
    /// Cached texts that models wrote.
    Texts,
    /// Kept answers of language models, which were paid for.
    Exchanges,
}

pub fn run(options: &CommonArguments, cache: &CacheArguments) -> Result<Exit> {
    match cache.action {
        None | Some(CacheAction::List) => list(options),
        Some(CacheAction::Clear { what, older_than }) => clear(options, what, older_than),
    }
}

fn folder() -> Result<PathBuf> {
    cache::folder().ok_or_else(|| err!(File, "there is no cache folder").hint(format!("set {VARIABLE} to a folder")))
}

fn list(options: &CommonArguments) -> Result<Exit> {
    let cache = folder()?;
    let hub = hub::HubSettings::from_env();
    let folder = cached::folder(&cache);
    let files = Files::unrecorded(&options.out)?;
    let dictionaries = cached::listed(&folder, &files).into_iter();
    let dictionaries =
        table(&cached::COLUMNS, dictionaries.map(|listed| (listed.words.to_vec(), listed.lies)).collect());
    let of_models = texts::listed(&texts::folder(&cache), &files).into_iter();
    let of_models = table(&texts::COLUMNS, of_models.map(|listed| (listed.words.to_vec(), listed.lies)).collect());
    let answers = exchanges::listed(&cache, &files).into_iter();
    let answers = table(&exchanges::COLUMNS, answers.map(|listed| (listed.words.to_vec(), listed.lies)).collect());
    let of_hub =
        |kind: RepoKind| hub::kept(&hub, kind).into_iter().map(|(name, lies)| (vec![name], lies)).collect::<Vec<_>>();
    let text = [
        shown(&format!("dictionaries in {}", folder.display()), dictionaries)?,
        shown(&format!("texts that models wrote in {}", texts::folder(&cache).display()), of_models)?,
        shown(&format!("answers of language models in {}", exchanges::folder(&cache).display()), answers)?,
        shown(&format!("models in {}", hub.cache.display()), table(&["model"], of_hub(RepoKind::Model)))?,
        shown(&format!("data sets in {}", hub.cache.display()), table(&["data set"], of_hub(RepoKind::DataSet)))?,
    ];
    Ok(run::to_stdout(&text.concat()))
}

/// The content of a cache folder, and its total size.
struct CacheListing {
    table: Table,
    bytes: u64,
}

/// Returns the rows of a folder's content, and its total size.
fn table(columns: &[&str], all: Vec<(Vec<String>, CachedFolder)>) -> CacheListing {
    let now = SystemTime::now();
    let bytes = all.iter().map(|(_, lies)| lies.bytes).sum();
    let row = |(words, lies): (Vec<String>, CachedFolder)| {
        let last = [memory::human(lies.bytes.into()), days_ago(lies.used, now)];
        words.into_iter().chain(last).map(Cell::from).collect()
    };
    let columns = columns.iter().chain(&["size", "last used"]).map(ToString::to_string);
    let table = Table::new("", columns, all.into_iter().map(row));
    CacheListing { table, bytes }
}

fn shown(title: &str, listing: CacheListing) -> Result<String> {
    let CacheListing { table, bytes } = listing;
    if table.rows.is_empty() {
        return Ok(format!("{title}: none\n"));
    }
    let title = format!("{title}: {}", memory::human(bytes.into()));
    Ok(Table { title, ..table }.terminal(&setup::screen(&std::io::stdout()))? + "\n")
}

fn clear(options: &CommonArguments, what: CachePart, older_than: Option<u64>) -> Result<Exit> {
    let cache = folder()?;
    let now = SystemTime::now();
    let (cleared, one, several) = match what {
        CachePart::Dictionaries => {
            (cache::clear(&cached::folder(&cache), older_than, now)?, "dictionary", "dictionaries")
        }
        CachePart::Texts => (cache::clear(&texts::folder(&cache), older_than, now)?, "text", "texts"),
        CachePart::Exchanges => (exchanges::clear(&cache, older_than, now)?, "answer", "answers"),
    };
    if options.quiet {
        return Ok(Exit::Done);
    }
    let name = if cleared.count == 1 { one } else { several };
    tell(&format!("removed {} {name}, {}", cleared.count, memory::human(u128::from(cleared.bytes))));
    let stay = if what == CachePart::Exchanges { 0 } else { exchanges::count(&cache) };
    if stay > 0 {
        tell(&format!("kept: {}, which go by `microtome cache clear exchanges`", count(stay, "answer")));
    }
    Ok(Exit::Done)
}
