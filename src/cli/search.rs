//! `microtome search WORDS`: lists the libraries of an index that have these words in their name or description.

use super::prelude::*;
use super::{add, run};
use crate::base::access::host_of;
use crate::base::{Cell, Table};
use crate::report::Item;
use crate::report::visible_text::visible;
use crate::script::library::MANIFEST;
use crate::script::library::index::{self, Entry, Index};
use crate::script::library::manifest::{self, Manifest};

#[derive(Args)]
pub struct SearchArguments {
    /// Words that must all occur; if left out, all libraries are listed.
    pub words: Vec<String>,

    /// The index, an address or a folder, in place of the one in microtome.toml.
    #[arg(long, value_name = "INDEX")]
    pub index: Option<String>,
}

pub fn run(options: &CommonArguments, search: &SearchArguments) -> Result<Exit> {
    let mut options = options.clone();
    let here = std::env::current_dir().map_err(|e| Error::io("find", ".".as_ref(), &e))?;
    let (place, base) = match &search.index {
        Some(typed) => (typed.clone(), here),
        None => {
            let root = add::root(&options)?;
            let text = Files::new(setup::access(&options)?, false).script_if_there(&root.join(MANIFEST))?;
            let manifest = Manifest::parse(&text.unwrap_or_default(), MANIFEST)?;
            let place = manifest.index().ok_or_else(|| {
                err!(Argument, "there is no index to search")
                    .hint(format!("name one with `--index`, or in {MANIFEST}: [index] address = \"https://..\""))
            })?;
            (place.to_string(), root)
        }
    };
    if manifest::is_address(&place) {
        manifest::check_address(&place)?;
        // An address names one host, and is no rule for several.
        options.allow_net.extend(Some(host_of(&place)).filter(|host| !host.contains('*')).map(String::from));
    }
    let env = setup::env(&options, SessionNeeds::default())?;
    let found = index::found(Index::open(&place, &base, &env.files, &env.task)?.all()?, &search.words);
    if found.is_empty() {
        tell(&format!("the index {place} has no library with these words"));
        return Ok(Exit::Failed);
    }
    let table = Table::new("", COLUMNS, rows(&found));
    Ok(run::to_stdout(&table.terminal(&setup::screen(&std::io::stdout()))?))
}

const COLUMNS: [&str; 4] = ["library", "version", "touches", "description"];

/// Returns a row for each library. What an author wrote draws no lines of its own.
fn rows(found: &[Entry]) -> Vec<Vec<Cell>> {
    let row = |entry: &Entry| {
        let description = visible(entry.description.as_deref().unwrap_or_default());
        [entry.name.clone(), entry.version.to_string(), visible(&entry.touches_text()), description]
            .map(Cell::from)
            .to_vec()
    };
    found.iter().map(row).collect()
}
