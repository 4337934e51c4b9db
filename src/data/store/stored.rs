//! An open store: memory-mapped shards, of which only what is being read is in memory.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use memmap2::Mmap;
use sha2::{Digest, Sha256};

use super::made::{Made, ModelMark, Width};
use super::manifest::{Listed, MANIFEST, Manifest, shard_name};
use super::numbers::Numbers;
use super::{POSITIONS, ROWS, TOKENS, changed};
use crate::base::files::{Files, hex};
use crate::base::{Result, Task, memory, names};
use crate::data::harvest::{Moments, Progress};
use crate::err;
use crate::model::config::Config;
use crate::model::site::{NAME_ONE, one_site};
use crate::tensor::DType;
use crate::tensor::files::safetensors::Reader;

/// Bytes hashed between two checks for an interruption.
const PIECE: usize = 4 << 20;

/// Activations on disk.
pub struct Store {
    manifest: Manifest,
    dtype: DType,
    shards: Vec<Shard>,
}

/// A mapped file of a store.
pub(super) struct Shard {
    pub path: PathBuf,
    pub rows: usize,
    file: Reader<Mmap>,
    sha256: String,
}

impl Store {
    /// Opens a store that is complete. Every shard must exist with unchanged length and tensors.
    pub fn open(files: &Files, folder: &Path) -> Result<Arc<Self>> {
        let manifest = Manifest::read(files, &folder.join(MANIFEST))?;
        if !manifest.complete {
            return Err(err!(Argument, "{}: this store is not complete", folder.display())
                .hint("run the same harvest into this folder again to resume it"));
        }
        let dtype = manifest.dtype()?;
        let opened = manifest.shards.iter().enumerate().map(|(number, listed)| {
            let path = folder.join(shard_name(number));
            Shard::open(files, path, listed, (&manifest.made, dtype))
        });
        let shards = opened.collect::<Result<Vec<_>>>()?;
        Ok(Arc::new(Self { dtype, shards, manifest }))
    }

    /// Its provenance.
    pub fn made(&self) -> &Made {
        &self.manifest.made
    }

    /// The number of positions.
    pub fn len(&self) -> u64 {
        self.manifest.progress.kept
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How the harvest ended: what it read, and the statistics of each site.
    pub fn progress(&self) -> &Progress {
        &self.manifest.progress
    }

    /// The dtype of the shards; they are read as f32.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The index of a site in the store. Names are those of the model; the error for a site that the store does not
    /// have lists those that it has.
    pub fn site(&self, name: &str) -> Result<usize> {
        let sites = &self.made().sites;
        let config = serde_json::from_value::<Config>(self.made().model.config.clone());
        let config = config.map_err(|e| err!(Format, "the manifest's config is not valid: {e}"))?;
        let named = match sites.iter().any(|site| site.site == name) {
            true => name.to_string(),
            false => one_site(&config, name, NAME_ONE)?.to_string(),
        };
        let found = sites.iter().position(|site| site.site == named);
        found.ok_or_else(|| {
            let held = || sites.iter().map(|site| site.site.as_str());
            let list = format!("it holds {}", held().collect::<Vec<_>>().join(", "));
            err!(Name, "the store does not hold `{name}`").hint(names::suggestion(name, held()).unwrap_or(list))
        })
    }

    /// The sites, in the order of the computation.
    pub fn site_names(&self) -> Vec<String> {
        self.made().sites.iter().map(|site| site.site.clone()).collect()
    }

    /// The site of a store with one site; an error lists several.
    pub fn only_site(&self) -> Result<String> {
        match self.site_names().as_slice() {
            [one] => Ok(one.clone()),
            several => Err(err!(Argument, "expected `site`, since the store holds {}", several.join(", "))
                .hint("sae::fit_all fits a dictionary to each")
                .about("site")),
        }
    }

    /// The width of a site.
    pub fn width(&self, site: usize) -> Result<usize> {
        Ok(self.listed(site)?.width)
    }

    /// Count, mean, mean square norm and largest number of a site.
    pub fn statistics(&self, name: &str) -> Result<&Moments> {
        let site = self.site(name)?;
        self.manifest.progress.statistics.get(site).ok_or_else(|| err!(Bug, "a site without statistics"))
    }

    /// Refuses another model than the one that the store was made from.
    pub fn expect_model(&self, model: &ModelMark) -> Result<()> {
        self.made().model.expect(model)
    }

    /// Compares the hash of every shard with the manifest.
    pub fn verify(&self, task: &Task) -> Result<()> {
        let bar = task.begin("checking shards", Some(self.manifest.shards.iter().map(|shard| shard.bytes).sum()));
        for shard in &self.shards {
            let map = shard.file.bytes();
            let mut hash = Sha256::new();
            for start in (0..map.len()).step_by(PIECE) {
                task.check()?;
                let end = (start + PIECE).min(map.len());
                hash.update(map.get(start..end).unwrap_or_default());
                memory::give_back(map, start..end);
                bar.advance((end - start) as u64);
            }
            let found = hex(&hash.finalize());
            if found != shard.sha256 {
                return Err(changed(&shard.path, &format!("the SHA-256 {}", shard.sha256), &found));
            }
        }
        Ok(())
    }

    /// The identity of its activations: a hash of the hashes of its shards.
    pub fn identity(&self) -> String {
        let mut hash = Sha256::new();
        self.manifest.shards.iter().for_each(|shard| hash.update(&shard.sha256));
        hex(&hash.finalize())
    }

    pub(super) fn sites(&self, names: &[&str]) -> Result<Vec<usize>> {
        match names.is_empty() {
            true => Err(err!(Argument, "expected at least one site of the store, found none")),
            false => names.iter().map(|name| self.site(name)).collect(),
        }
    }

    fn listed(&self, site: usize) -> Result<&Width> {
        self.made().sites.get(site).ok_or_else(|| err!(Bug, "a site that is not of the store"))
    }

    pub(super) fn shards(&self) -> &[Shard] {
        &self.shards
    }

    /// Appends rows of a shard to a list of numbers, and releases the file's pages.
    pub(super) fn load(&self, shard: usize, site: usize, rows: Range<usize>, to: &mut Numbers) -> Result<()> {
        let Width { site, width } = self.listed(site)?;
        self.shard(shard)?.with(site, rows, width * self.dtype.size_in_bytes(), |bytes| to.read(bytes))
    }

    /// Tokens, rows and positions of rows of a shard.
    pub(super) fn origins(&self, shard: usize, rows: Range<usize>) -> Result<[Vec<u32>; 3]> {
        let shard = self.shard(shard)?;
        let read = |name: &str| -> Result<Vec<u32>> {
            let mut found = Vec::new();
            shard.with(name, rows.clone(), size_of::<i32>(), |bytes| {
                found.extend(bytes.as_chunks::<4>().0.iter().map(|bytes| u32::from_le_bytes(*bytes)));
            })?;
            Ok(found)
        };
        Ok([read(TOKENS)?, read(ROWS)?, read(POSITIONS)?])
    }

    fn shard(&self, number: usize) -> Result<&Shard> {
        self.shards.get(number).ok_or_else(|| err!(Bug, "a shard that is not of the store"))
    }

    /// Refuses NaN and infinity among rows of a shard that were read as f32; `first` is the number of the first of
    /// them.
    pub(super) fn finite(&self, shard: usize, site: usize, first: usize, rows: &[f32]) -> Result<()> {
        let Some(at) = rows.iter().position(|x| !x.is_finite()) else { return Ok(()) };
        let (listed, found) = (self.listed(site)?, rows.get(at).copied().unwrap_or(f32::NAN));
        Err(err!(
            Numeric,
            "{}: expected finite activations, found {found} in row {}, column {} of `{}`",
            self.shard(shard)?.path.display(),
            first + at / listed.width,
            at % listed.width,
            listed.site
        )
        .hint("harvests write none, so the shard has changed; `verify` compares the hashes of all shards"))
    }
}

impl Shard {
    fn open(files: &Files, path: PathBuf, listed: &Listed, (made, dtype): (&Made, DType)) -> Result<Self> {
        let map = files.map(&path)?;
        if map.len() as u64 != listed.bytes {
            return Err(changed(&path, &format!("{} bytes", listed.bytes), &map.len().to_string()));
        }
        let file = Reader::new(map).map_err(|e| e.within(path.display()))?;
        let sites = made.sites.iter().map(|site| (site.site.as_str(), dtype, vec![listed.rows, site.width]));
        let beside = [TOKENS, ROWS, POSITIONS].map(|name| (name, DType::I32, vec![listed.rows]));
        let wanted: Vec<_> = sites.chain(beside).collect();
        for (name, dtype, shape) in &wanted {
            if (file.dtype(name), file.shape(name)) != (Some(*dtype), Some(shape)) {
                let found = format!("{:?} of {:?}", file.shape(name), file.dtype(name));
                return Err(changed(&path, &format!("`{name}` as {shape:?} of {dtype:?}"), &found));
            }
        }
        if file.names().count() != wanted.len() {
            return Err(changed(&path, &format!("{} tensors", wanted.len()), &file.names().count().to_string()));
        }
        Ok(Self { path, rows: listed.rows, file, sha256: listed.sha256.clone() })
    }

    /// Passes the bytes of some rows of a tensor to a function, and releases their pages.
    fn with(&self, name: &str, rows: Range<usize>, row_bytes: usize, show: impl FnOnce(&[u8])) -> Result<()> {
        let outside = || err!(Bug, "rows {rows:?} that are not of `{name}`");
        let place = self.file.place(name).ok_or_else(outside)?;
        let part = place.start + rows.start * row_bytes..place.start + rows.end * row_bytes;
        if rows.end > self.rows || part.end > place.end {
            return Err(outside());
        }
        let map = self.file.bytes();
        show(map.get(part).ok_or_else(outside)?);
        // Of the whole file, since the system also maps pages around those that are read.
        memory::give_back(map, 0..map.len());
        Ok(())
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Store({} rows in {} shards)", self.len(), self.shards.len())
    }
}
