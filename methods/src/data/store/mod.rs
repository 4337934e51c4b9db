//! Activations on disk or in object storage: a folder of shards and a manifest with their provenance.
//!
//! A shard is a safetensors file with one tensor for each site, `[rows, width]`, and with `tokens`, `rows` and
//! `positions`, so that other programs open it. Checks: opening compares every shard's length, names, shapes and dtypes
//! with the manifest; [`Store::verify`] compares their hashes; every number is checked when it is read, and NaN and
//! infinity are refused with their place.

mod made;
mod manifest;
mod numbers;
mod order;
mod place;
mod shuffle;
mod stored;
mod writer;

#[cfg(test)]
mod tests;

use crate::base::files::TemporaryFolder;
use crate::common::*;
use crate::data::Text;
use crate::data::harvest::{SkipOptions, TextReading};

pub use made::{Made, ModelMark, Width};
pub use manifest::{Listed, MANIFEST, Manifest, shard_name};
pub use order::InOrder;
pub use shuffle::{Shuffle, ShuffledStore};
pub use stored::Store;
pub use writer::StoreWriter;

/// Names of the tensors besides those of the sites.
const TOKENS: &str = "tokens";
const ROWS: &str = "rows";
const POSITIONS: &str = "positions";

/// The default size of a shard, about.
const SHARD: usize = 128 << 20;

/// Options of storing activations.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StoreSettings {
    /// The dtype: f32, f16 or bf16.
    pub dtype: DType,
    /// Minimum number of positions in each shard but the last; by default as many as make 128 MiB.
    pub shard_rows: Option<usize>,
}

impl Default for StoreSettings {
    fn default() -> Self {
        StoreOptions::default().storing()
    }
}

crate::choices! {
    /// The dtype of stored activations.
    pub enum StoredDtype {
        F32 = "f32",
        F16 = "f16",
        Bf16 = "bf16",
    }
}

crate::options! {
    /// A harvest into a folder.
    pub struct StoreOptions {
        /// The folder, or an address in object storage: `s3://bucket/folder`, `gs://..` or `az://..`. Without one the
        /// store is in a folder that is removed once nothing uses it any more.
        dir: Option<String> = None => usually("a temporary one");
        /// The dtype; "f16" and "bf16" take half the space.
        dtype: StoredDtype = StoredDtype::F32;
        /// Minimum number of positions in a shard.
        shard_rows: Option<usize> = None => usually("as many as make 128 MiB");
        with skip: SkipOptions;
    }
}

impl StoreOptions {
    fn storing(&self) -> StoreSettings {
        let dtype = match self.dtype {
            StoredDtype::F32 => DType::F32,
            StoredDtype::F16 => DType::F16,
            StoredDtype::Bf16 => DType::BF16,
        };
        StoreSettings { dtype, shard_rows: self.shard_rows }
    }

    /// Runs a model on a text, and stores the activations of some sites in the folder, see [`harvest`], or in a
    /// temporary one.
    pub fn harvest(
        &self,
        files: &Files,
        model: &Model,
        sites: &[&str],
        text: &Text,
        task: &Task,
    ) -> Result<(Arc<Store>, PathBuf)> {
        let options = self.skip.resolved(model, text, task)?;
        let reading = TextReading::new(model, text, &options);
        let Some(dir) = &self.dir else {
            let folder = TemporaryFolder::new(files, "store")?;
            let path = harvested(&folder.files, &folder.path, reading, sites, self.storing(), task)?;
            return Ok((Store::in_temporary(folder)?, path));
        };
        let folder = PathBuf::from(dir);
        let store = harvest(files, &folder, reading, sites, self.storing(), task)?;
        Ok((store, folder))
    }
}

/// Harvests into a folder. An interrupted harvest resumes after its last complete shard, and ends with the same bytes;
/// one that is complete is opened. A store of anything else is refused.
pub fn harvest(
    files: &Files,
    folder: &Path,
    reading: TextReading,
    sites: &[&str],
    storing: StoreSettings,
    task: &Task,
) -> Result<Arc<Store>> {
    Store::open(files, &harvested(files, folder, reading, sites, storing, task)?)
}

/// Writes a store, and returns its folder, with links resolved.
fn harvested(
    files: &Files,
    folder: &Path,
    reading: TextReading,
    sites: &[&str],
    storing: StoreSettings,
    task: &Task,
) -> Result<PathBuf> {
    let mut harvest = reading.harvest(sites, task)?;
    let row: usize = harvest.widths().iter().map(|width| width.saturating_mul(storing.dtype.size_in_bytes())).sum();
    let shard_rows = storing.shard_rows.unwrap_or((SHARD / row.max(1)).max(1));
    if shard_rows == 0 {
        return Err(err!(Argument, "expected shards of at least one row, found 0").about("shard_rows"));
    }
    numbers::NumberList::new(storing.dtype)?;
    let made = Made::new(reading, &harvest, storing.dtype, shard_rows, task)?;
    let mut writer = StoreWriter::begin(files, folder, made)?;
    harvest.go_on(writer.progress().clone(), task).map_err(|e| e.within(folder.display()))?;
    if writer.is_complete() {
        harvest.at_end(task).map_err(|e| e.within(folder.display()))?
    } else {
        harvest.run(&mut writer, task)?;
    }
    Ok(writer.folder().to_path_buf())
}

/// Builds the error for a shard that differs from the manifest.
fn changed(path: &Path, expected: &str, found: &str) -> Error {
    err!(Format, "{}: expected {expected}, as the manifest says, found {found}", path.display())
        .hint("the shard was changed after the harvest; remove the folder and harvest again")
}
