//! Metrics of a dictionary on a store, in constant memory.

use std::sync::Arc;

use super::measured::Meters;
use super::{MeasureOptions, Measures};
use crate::common::*;
use crate::data::harvest::Blocks;
use crate::data::store::Store;
use crate::sae::Sae;

crate::options! {
    /// A dictionary measured on a store.
    pub struct MeasureStoreOptions {
        /// Site of a store.
        site: Option<String> = None => usually("the dictionary's, or the store's only one");
        with measure: MeasureOptions;
    }
}

/// Rows that are read at once.
const ROWS: usize = 4096;

/// Measures a dictionary on all rows of a site of a store, also by position. A dictionary of another site is refused.
pub fn measured_in(
    sae: &Sae,
    store: &Arc<Store>,
    site: &str,
    options: MeasureOptions,
    task: &Task,
) -> Result<Measures> {
    let listed = store.made().sites.get(store.site(site)?).ok_or_else(|| err!(Bug, "a site that is not listed"))?;
    sae.check_fits(listed.width, &store.made().model.origin, &listed.site)?;
    measured_of(sae, store, &[site], options, task)
}

/// Measures a transcoder or a crosscoder on all rows of a store, at the sites that it reads and writes, with those by position.
pub fn measured_at(sae: &Sae, store: &Arc<Store>, options: MeasureOptions, task: &Task) -> Result<Measures> {
    let about = &sae.parts().about;
    let names = [about.site_names(), about.writes.iter().cloned().collect()].concat();
    let sites: Vec<&str> = names.iter().map(String::as_str).collect();
    measured_of(sae, store, &sites, options, task)
}

fn measured_of(
    sae: &Sae,
    store: &Arc<Store>,
    sites: &[&str],
    options: MeasureOptions,
    task: &Task,
) -> Result<Measures> {
    let mut meters = Meters::new(&[sae], options)?;
    let mut blocks = store.in_order(sites, ROWS)?;
    let bar = task.begin("measuring", Some(store.len()));
    let read = sites.len() - usize::from(sae.parts().about.writes.is_some() && sites.len() > 1);
    while let Some(block) = blocks.next(task)? {
        let (read, written) = block.activations.split_at(read);
        let read = if let [only] = read { only.clone() } else { Tensor::cat(read, 1)? };
        let written = written.first().unwrap_or(&read);
        meters.add_written(&read, written, Some(&block.positions), task, |rows| bar.advance(rows))?;
    }
    meters.finish()?.pop().ok_or_else(|| err!(Bug, "a dictionary without measures"))
}
