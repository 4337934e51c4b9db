//! An open store: mapped files, or objects of a bucket, of which only what is being read is in memory.

use sha2::{Digest, Sha256};

use super::made::{Made, ModelMark, Width};
use super::manifest::{Listed, Manifest, shard_name};
use super::numbers::NumberList;
use super::place::StorePlace;
use super::{POSITIONS, ROWS, TOKENS, changed};
use crate::base::disk::Mapping;
use crate::base::files::{TemporaryFolder, hex};
use crate::common::*;
use crate::data::harvest::{Moments, Progress};
use crate::model::site::NAME_ONE;
use crate::net::BucketFolder;
use crate::tensor::files::safetensors::Header;

/// The number of bytes hashed between two checks for an interruption.
const PIECE: usize = 4 << 20;
/// The number of bytes of an object that are requested to find its header in them.
const BEGINNING: u64 = 16 << 10;
/// The longest header that the format allows.
const LONGEST: u64 = 100 << 20;

/// Activations on disk.
pub struct Store {
    manifest: Manifest,
    dtype: DType,
    shards: Vec<Shard>,
    remote: Option<Arc<BucketFolder>>,
    /// The folder, where it is removed with the store.
    _until_dropped: Option<TemporaryFolder>,
}

/// A file of a store.
pub(super) struct Shard {
    pub path: PathBuf,
    pub rows: usize,
    header: Header,
    listed: Listed,
    /// The mapped file; none for an object of a bucket.
    map: Option<Mapping>,
}

/// Some rows of a tensor of a shard.
pub(super) struct ShardRows<'a> {
    pub shard: usize,
    pub tensor: &'a str,
    pub rows: Range<usize>,
    pub row_bytes: usize,
}

impl Store {
    /// Opens a store that is complete. Every shard must exist with unchanged length and tensors.
    pub fn open(files: &Files, folder: &Path) -> Result<Arc<Self>> {
        Ok(Arc::new(Self::opened(files, folder)?))
    }

    /// Opens the store of a temporary folder, which is removed with it.
    pub(super) fn in_temporary(folder: TemporaryFolder) -> Result<Arc<Self>> {
        let opened = Self::opened(&folder.files, &folder.path)?;
        Ok(Arc::new(Self { _until_dropped: Some(folder), ..opened }))
    }

    fn opened(files: &Files, folder: &Path) -> Result<Self> {
        let place = StorePlace::new(files, folder)?;
        let manifest = place.expect_manifest()?;
        if !manifest.complete {
            return Err(err!(Argument, "{}: this store is not complete", folder.display())
                .hint("run the same harvest into this folder again to resume it"));
        }
        let dtype = manifest.dtype()?;
        let named = || (0..).map(shard_name).map(|name| place.path(&name)).zip(&manifest.shards);
        let opened: Vec<(Header, Option<Mapping>)> = match &place.remote {
            Some(remote) => {
                headers(remote, &manifest.shards, files.task())?.into_iter().map(|header| (header, None)).collect()
            }
            None => {
                let mapped = named().map(|(path, listed)| {
                    files.map_as(&path, |map| Ok((listed.header(&path, &map, map.len() as u64)?, Some(map))))
                });
                mapped.collect::<Result<_>>()?
            }
        };
        let shard = |((path, listed), (header, map)): ((PathBuf, &Listed), _)| Shard {
            path,
            rows: listed.rows,
            header,
            listed: listed.clone(),
            map,
        };
        let shards: Vec<Shard> = named().zip(opened).map(shard).collect();
        for shard in &shards {
            shard.check(&manifest.made, dtype)?;
        }
        Ok(Self { dtype, shards, remote: place.remote, manifest, _until_dropped: None })
    }

    /// Returns the provenance of the store.
    pub fn made(&self) -> &Made {
        &self.manifest.made
    }

    /// Returns the number of positions.
    pub fn len(&self) -> u64 {
        self.manifest.progress.kept
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the final progress of the harvest: what it read, and the statistics of each site.
    pub fn progress(&self) -> &Progress {
        &self.manifest.progress
    }

    /// Returns the dtype of the shards; they are read as f32.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Returns the index of a site in the store. Names are those of the model; the error for a site that the store does
    /// not have lists those that it has.
    pub fn site(&self, name: &str) -> Result<usize> {
        let sites = &self.made().sites;
        let config = &self.made().model.config;
        // A store that another program has made need not know the model, and then has the names that it gives.
        let named = if config.is_null() || sites.iter().any(|site| site.site == name) {
            name.to_string()
        } else {
            let config = serde_json::from_value::<Config>(config.clone());
            let config = config.map_err(|e| err!(Format, "the manifest's config is not valid: {e}"))?;
            one_site(&config, name, NAME_ONE)?.to_string()
        };
        let found = sites.iter().position(|site| site.site == named);
        found.ok_or_else(|| {
            let held = || sites.iter().map(|site| site.site.as_str());
            let list = format!("it holds {}", held().collect::<Vec<_>>().join(", "));
            err!(Name, "the store does not hold `{name}`").hint(names::suggestion(name, held()).unwrap_or(list))
        })
    }

    /// Returns the sites, in the order of the computation.
    pub fn site_names(&self) -> Vec<String> {
        self.made().sites.iter().map(|site| site.site.clone()).collect()
    }

    /// Returns the site of a store with one site; the error lists several.
    pub fn only_site(&self) -> Result<String> {
        match self.site_names().as_slice() {
            [one] => Ok(one.clone()),
            several => Err(err!(Argument, "expected `site`, since the store holds {}", several.join(", "))
                .hint("sae::fit_all fits a dictionary to each")
                .about("site")),
        }
    }

    /// Returns the width of a site.
    pub fn width(&self, site: usize) -> Result<usize> {
        Ok(self.listed(site)?.width)
    }

    /// Returns the statistics of a site: count, mean, mean square norm and largest number.
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
        for (number, shard) in self.shards.iter().enumerate() {
            let mut hash = Sha256::new();
            let mut add = |bytes: &[u8]| {
                task.check()?;
                hash.update(bytes);
                bar.advance(bytes.len() as u64);
                Ok(())
            };
            let starts = (0..shard.listed.bytes).step_by(PIECE);
            let pieces = starts.map(|start| start..(start + PIECE as u64).min(shard.listed.bytes));
            match (&shard.map, &self.remote) {
                (Some(map), _) => {
                    for piece in pieces {
                        let piece = piece.start as usize..piece.end as usize;
                        add(map.get(piece.clone()).unwrap_or_default())?;
                        memory::give_back(map, piece);
                    }
                }
                (None, Some(remote)) => {
                    let wanted = pieces.map(|piece| (shard_name(number), piece));
                    remote.parts(wanted, &mut |_, bytes, _| add(bytes))?;
                }
                (None, None) => return Err(err!(Bug, "a shard that is nowhere")),
            }
            let found = hex(&hash.finalize());
            if found != shard.listed.sha256 {
                return Err(changed(&shard.path, &format!("the SHA-256 {}", shard.listed.sha256), &found));
            }
        }
        Ok(())
    }

    /// Returns the identity of the activations: a hash of the hashes of the shards.
    pub fn identity(&self) -> String {
        let mut hash = Sha256::new();
        self.manifest.shards.iter().for_each(|shard| hash.update(&shard.sha256));
        hex(&hash.finalize())
    }

    pub(super) fn sites(&self, names: &[&str]) -> Result<Vec<usize>> {
        if names.is_empty() {
            Err(err!(Argument, "expected at least one site of the store, found none"))
        } else {
            names.iter().map(|name| self.site(name)).collect()
        }
    }

    fn listed(&self, site: usize) -> Result<&Width> {
        self.made().sites.get(site).ok_or_else(|| err!(Bug, "a site that is not of the store"))
    }

    pub(super) fn shards(&self) -> &[Shard] {
        &self.shards
    }

    /// Appends rows of shards to a list of numbers.
    pub(super) fn load(
        &self,
        site: usize,
        wanted: impl IntoIterator<Item = (usize, Range<usize>)>,
        to: &mut NumberList,
        task: &Task,
    ) -> Result<()> {
        let Width { site, width } = self.listed(site)?;
        let row_bytes = width * self.dtype.size_in_bytes();
        let part = |(shard, rows)| ShardRows { shard, tensor: site, rows, row_bytes };
        self.each_part(wanted.into_iter().map(part), task, &mut |_, bytes| to.read(bytes))
    }

    /// Returns the tokens, rows and positions of rows of a shard.
    pub(super) fn origins(&self, shard: usize, rows: Range<usize>, task: &Task) -> Result<[Vec<u32>; 3]> {
        let part = |tensor| ShardRows { shard, tensor, rows: rows.clone(), row_bytes: size_of::<i32>() };
        let mut found: [Vec<u32>; 3] = Default::default();
        self.each_part([TOKENS, ROWS, POSITIONS].map(part), task, &mut |number, bytes| {
            if let Some(found) = found.get_mut(number) {
                found.extend(bytes.as_chunks::<4>().0.iter().map(|bytes| u32::from_le_bytes(*bytes)));
            }
        })?;
        Ok(found)
    }

    /// Passes the bytes of each part, in order, to a function with its number. Pages of mapped files are released.
    fn each_part<'a>(
        &self,
        parts: impl IntoIterator<Item = ShardRows<'a>>,
        task: &Task,
        show: &mut dyn FnMut(usize, &[u8]),
    ) -> Result<()> {
        let parts = parts.into_iter().map(|part| Ok((part.shard, self.shard(part.shard)?.place(&part)?)));
        if let Some(remote) = &self.remote {
            let wanted = parts.map(|part| part.map(|(shard, place)| (shard_name(shard), place)));
            let wanted = wanted.collect::<Result<Vec<_>>>()?;
            return remote.parts(wanted, &mut |number, bytes, _| {
                show(number, bytes);
                Ok(())
            });
        }
        for (number, part) in parts.enumerate() {
            task.check()?;
            let (shard, place) = part?;
            let map = self.shard(shard)?.map.as_ref().ok_or_else(|| err!(Bug, "a shard that is nowhere"))?;
            let place = place.start as usize..place.end as usize;
            show(number, map.get(place).ok_or_else(|| err!(Bug, "rows that are not of their file"))?);
            // Of the whole file, since the system also maps pages around those that are read.
            memory::give_back(map, 0..map.len());
        }
        Ok(())
    }

    fn shard(&self, number: usize) -> Result<&Shard> {
        self.shards.get(number).ok_or_else(|| err!(Bug, "a shard that is not of the store"))
    }

    /// Refuses NaN and infinity among rows of a shard that were read as f32; `first` is the number of the first of
    /// them.
    pub(super) fn finite(&self, shard: usize, site: usize, first: usize, rows: &[f32]) -> Result<()> {
        let Some(at) = rows.iter().position(|x| !x.is_finite()) else { return Ok(()) };
        let listed = self.listed(site)?;
        let found = rows.get(at).copied().unwrap_or(f32::NAN);
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

/// Reads the headers of the objects of a bucket. A header that is longer than the requested beginning is requested once
/// more.
fn headers(remote: &BucketFolder, listed: &[Listed], task: &Task) -> Result<Vec<Header>> {
    let bar = task.begin("opening shards", Some(listed.len() as u64));
    let mut found: Vec<Option<Header>> = listed.iter().map(|_| None).collect();
    let mut wanted: Vec<(usize, u64)> = (0..listed.len()).map(|number| (number, BEGINNING)).collect();
    while !wanted.is_empty() {
        let mut longer = Vec::new();
        let beginnings = wanted.iter().map(|(number, count)| (shard_name(*number), 0..*count));
        remote.parts(beginnings, &mut |at, beginning, length| {
            let lost = || err!(Bug, "an object that nobody asked for");
            let (number, _) = *wanted.get(at).ok_or_else(lost)?;
            let needed = Header::length(beginning)?;
            if needed > beginning.len() as u64 && needed <= length.min(LONGEST) && beginning.len() as u64 <= BEGINNING {
                longer.push((number, needed));
                return Ok(());
            }
            let (listed, found) = listed.get(number).zip(found.get_mut(number)).ok_or_else(lost)?;
            *found = Some(listed.header(&remote.address(&shard_name(number)), beginning, length)?);
            bar.advance(1);
            Ok(())
        })?;
        wanted = longer;
    }
    found.into_iter().map(|header| header.ok_or_else(|| err!(Bug, "a shard without a header"))).collect()
}

impl Listed {
    /// Parses the header of the file from its beginning, if the file has the length in the manifest.
    fn header(&self, path: &Path, beginning: &[u8], length: u64) -> Result<Header> {
        if length != self.bytes {
            return Err(changed(path, &format!("{} bytes", self.bytes), &length.to_string()));
        }
        let length = usize::try_from(length).map_err(|_| err!(Memory, "{} is too large", path.display()))?;
        Header::parse(beginning, length).map_err(|e| e.within(path.display()))
    }
}

impl Shard {
    /// Refuses a file whose tensors are not those of the manifest.
    fn check(&self, made: &Made, dtype: DType) -> Result<()> {
        let sites = made.sites.iter().map(|site| (site.site.as_str(), dtype, vec![self.rows, site.width]));
        let beside = [TOKENS, ROWS, POSITIONS].map(|name| (name, DType::I32, vec![self.rows]));
        let wanted: Vec<_> = sites.chain(beside).collect();
        for (name, dtype, shape) in &wanted {
            if (self.header.dtype(name), self.header.shape(name)) != (Some(*dtype), Some(shape)) {
                let found = format!("{:?} of {:?}", self.header.shape(name), self.header.dtype(name));
                return Err(changed(&self.path, &format!("`{name}` as {shape:?} of {dtype:?}"), &found));
            }
        }
        let found = self.header.names().count();
        if found != wanted.len() {
            return Err(changed(&self.path, &format!("{} tensors", wanted.len()), &found.to_string()));
        }
        Ok(())
    }

    /// Returns where rows of a tensor are in the file.
    fn place(&self, part: &ShardRows) -> Result<Range<u64>> {
        let outside = || err!(Bug, "rows {:?} that are not of `{}`", part.rows, part.tensor);
        let place = self.header.place(part.tensor).ok_or_else(outside)?;
        let [start, end] = [part.rows.start, part.rows.end].map(|row| place.start + row * part.row_bytes);
        if part.rows.end <= self.rows && end <= place.end && start <= end {
            Ok(start as u64..end as u64)
        } else {
            Err(outside())
        }
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Store({} rows in {} shards)", self.len(), self.shards.len())
    }
}
