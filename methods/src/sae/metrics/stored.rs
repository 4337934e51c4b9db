//! Metrics of a dictionary on a store, in constant memory.

use std::sync::Arc;

use super::measured::Meters;
use super::{MeasureOptions, Measures};
use crate::base::{Result, Task};
use crate::data::harvest::Blocks;
use crate::data::store::Store;
use crate::err;
use crate::sae::Sae;

crate::options! {
    /// A dictionary measured on a store.
    #[derive(Debug, Clone)]
    pub struct MeasureStoreOptions {
        /// For a store, the site.
        site: Option<String> = None => usually("the dictionary's, or the store's only one");
        with measure: MeasureOptions;
    }
}

/// Rows that are read at once.
const ROWS: usize = 4096;

/// Measures of a dictionary on all rows of a site of a store, with those by position. A dictionary of another site is
/// refused.
pub fn measured_in(
    sae: &Sae,
    (store, site): (&Arc<Store>, &str),
    options: MeasureOptions,
    task: &Task,
) -> Result<Measures> {
    let listed = store.made().sites.get(store.site(site)?).ok_or_else(|| err!(Bug, "a site that is not listed"))?;
    sae.check_fits(listed.width, &store.made().model.origin, &listed.site)?;
    let mut meters = Meters::new(&[sae], options)?;
    let mut blocks = store.in_order(&[site], ROWS)?;
    let bar = task.begin("measuring", Some(store.len()));
    while let Some(block) = blocks.next(task)? {
        let x = block.activations.first().ok_or_else(|| err!(Bug, "rows of no site"))?;
        meters.add(x, Some(&block.positions), task, |rows| bar.advance(rows))?;
    }
    meters.finish()?.pop().ok_or_else(|| err!(Bug, "a dictionary without measures"))
}
