//! Writing a store: blocks become shards, and the manifest is updated after every shard.

use std::ops::ControlFlow;

use super::made::Made;
use super::manifest::{Listed, Manifest, shard_name};
use super::numbers::NumberList;
use super::place::StorePlace;
use super::{POSITIONS, ROWS, TOKENS};
use crate::common::*;
use crate::data::harvest::{ActivationBlock, Progress, Sink};
use crate::net::Version;
use crate::tensor::files::{NamedTensors, safetensors};

/// A writer of the shards of a folder. An incomplete shard is not listed, and is written anew.
pub struct StoreWriter {
    place: StorePlace,
    manifest: Manifest,
    /// The version of the manifest in a bucket.
    version: Option<Version>,
    open: OpenShard,
}

/// The shard that is being filled.
struct OpenShard {
    sites: Vec<NumberList>,
    tokens: Vec<i32>,
    rows: Vec<i32>,
    positions: Vec<i32>,
}

impl OpenShard {
    fn new(dtype: DType, sites: usize) -> Result<Self> {
        let sites = (0..sites).map(|_| NumberList::new(dtype)).collect::<Result<_>>()?;
        Ok(Self { sites, tokens: Vec::new(), rows: Vec::new(), positions: Vec::new() })
    }
}

impl StoreWriter {
    /// Begins a store in a folder, or resumes the one that is there if it has the same provenance. The folder is
    /// locked, unless the store is complete.
    pub fn begin(files: &Files, folder: &Path, made: Made) -> Result<Self> {
        let place = StorePlace::to_write(files, folder)?;
        let mut found = place.manifest()?;
        if found.as_ref().is_none_or(|there| !there.manifest.complete) {
            place.lock()?;
            // Another run may have continued it before we got the lock.
            found = place.manifest()?;
        }
        let is_new = found.is_none();
        let (manifest, version) = match found {
            None => (Manifest::new(made), None),
            Some(there) => {
                let expected = there.manifest.made.expect(&made, !there.manifest.complete);
                expected.map_err(|e| e.within(folder.display()))?;
                (there.manifest, there.version)
            }
        };
        let open = OpenShard::new(manifest.dtype()?, manifest.made.sites.len())?;
        let mut writer = Self { place, manifest, version, open };
        writer.check_listed()?;
        if is_new {
            writer.save()?;
        }
        Ok(writer)
    }

    /// Returns the folder, with links resolved.
    pub fn folder(&self) -> &Path {
        &self.place.folder
    }

    /// Returns the progress at the end of the listed shards.
    pub fn progress(&self) -> &Progress {
        &self.manifest.progress
    }

    pub fn is_complete(&self) -> bool {
        self.manifest.complete
    }

    /// Refuses an interrupted harvest whose shards are missing or have another length.
    fn check_listed(&self) -> Result<()> {
        for (number, listed) in self.manifest.shards.iter().enumerate() {
            let length = self.place.length(&shard_name(number))?;
            if length != listed.bytes {
                let path = self.place.path(&shard_name(number));
                return Err(super::changed(&path, &format!("{} bytes", listed.bytes), &format!("{length}")));
            }
        }
        Ok(())
    }

    fn add(&mut self, block: &ActivationBlock) -> Result<()> {
        let bytes: usize = self.manifest.made.sites.iter().map(|site| site.width * size_of::<f32>()).sum();
        memory::check(bytes as u128 * block.len() as u128, || "a part of a shard".into())?;
        for ((site, numbers), x) in self.manifest.made.sites.iter().zip(&mut self.open.sites).zip(&block.activations) {
            let x: Vec<f32> = x.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
            if let Some(at) = numbers.round(&x) {
                let row = at / site.width;
                let column = at % site.width;
                let of = |list: &[u32]| list.get(row).copied().unwrap_or_default();
                return Err(err!(
                    Numeric,
                    "expected activations that fit {}, found {} at `{}`, column {column}, position {} of row {}",
                    self.manifest.made.dtype,
                    x.get(at).copied().unwrap_or(f32::NAN),
                    site.site,
                    of(&block.positions),
                    of(&block.rows)
                )
                .hint("store them as bf16 or f32"));
            }
        }
        let signed = |list: &[u32]| list.iter().map(|x| i32::try_from(*x)).collect::<Result<Vec<_>, _>>();
        let wide = |_| err!(Argument, "expected tokens and rows below 2^31");
        self.open.tokens.extend(signed(&block.tokens).map_err(wide)?);
        self.open.rows.extend(signed(&block.rows).map_err(wide)?);
        self.open.positions.extend(signed(&block.positions).map_err(wide)?);
        Ok(())
    }

    /// Writes the open shard, and then the manifest that lists it.
    fn close(&mut self, progress: &Progress) -> Result<()> {
        let next = OpenShard::new(self.manifest.dtype()?, self.manifest.made.sites.len())?;
        let open = std::mem::replace(&mut self.open, next);
        let rows = open.tokens.len();
        let mut tensors = BTreeMap::new();
        for (site, numbers) in self.manifest.made.sites.iter().zip(open.sites) {
            tensors.insert(site.site.clone(), numbers.rows(site.width)?);
        }
        for (name, list) in [(TOKENS, open.tokens), (ROWS, open.rows), (POSITIONS, open.positions)] {
            tensors.insert(name.into(), Tensor::from_vec(list, rows, &Device::Cpu)?);
        }
        let named = NamedTensors { tensors, metadata: BTreeMap::from([("format".into(), "pt".into())]) };
        let name = shard_name(self.manifest.shards.len());
        let (bytes, sha256) = self.place.save(&name, |file| safetensors::write(&named, file))?;
        self.manifest.shards.push(Listed { rows, bytes, sha256 });
        self.manifest.progress = progress.clone();
        Ok(())
    }

    fn save(&mut self) -> Result<()> {
        self.version = self.place.save_manifest(&self.manifest, self.version.as_ref())?;
        Ok(())
    }
}

impl Sink for StoreWriter {
    fn take(&mut self, block: ActivationBlock, progress: &Progress, _task: &Task) -> Result<ControlFlow<()>> {
        self.add(&block)?;
        if self.open.tokens.len() >= self.manifest.made.shard_rows {
            self.close(progress)?;
            self.save()?;
        }
        Ok(ControlFlow::Continue(()))
    }

    fn finish(&mut self, progress: &Progress, _task: &Task) -> Result<()> {
        if !self.open.tokens.is_empty() {
            self.close(progress)?;
        }
        // Rows without kept positions may come after the last shard.
        self.manifest.progress = progress.clone();
        self.manifest.complete = true;
        self.save()
    }
}
