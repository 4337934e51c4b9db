//! The zip archive of a `.pt` file: the byte range of each stored entry.

use std::io::Cursor;

use zip::{CompressionMethod, ZipArchive};

use crate::common::*;

/// Beginning of a pickle without an archive: the tag of its protocol, and the magic number of PyTorch's old format.
const OLD: &[u8] = b"\x80\x02\x8a\x0a";

pub(super) struct Archive {
    /// The byte ranges of entries in the file, by their names without the prefix of the archive's own name.
    places: BTreeMap<String, Range<usize>>,
}

impl Archive {
    pub fn new(bytes: &[u8]) -> Result<Self> {
        if !bytes.starts_with(b"PK") {
            return Err(not_zip(bytes));
        }
        let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(broken)?;
        if archive.has_duplicate_names() {
            bail!(Format, "the archive has two entries of the same name");
        }
        if archive.file_names().flatten().any(|name| name.ends_with("/constants.pkl")) {
            return Err(err!(Format, "this file holds a program (TorchScript), not tensors alone")
                .hint("in PyTorch save `model.state_dict()` with torch.save"));
        }
        let mut places = BTreeMap::new();
        for index in 0..archive.len() {
            let (name, place) = place(&mut archive, index)?;
            if place.end > bytes.len() || place.start > place.end {
                bail!(Format, "expected the entry `{name}` within the file, found the end of the file before");
            }
            places.insert(name, place);
        }
        let root = root(&places)?;
        let own = |(name, place): (String, Range<usize>)| Some((name.strip_prefix(&root)?.to_string(), place));
        let archive = Self { places: places.into_iter().filter_map(own).collect() };
        archive.check_order(bytes)?;
        Ok(archive)
    }

    fn check_order(&self, bytes: &[u8]) -> Result<()> {
        match self.places.get("byteorder").and_then(|place| bytes.get(place.clone())) {
            None | Some(b"little") => Ok(()),
            Some(other) => {
                bail!(Format, "expected little-endian numbers, found `{}`", String::from_utf8_lossy(other))
            }
        }
    }

    pub fn pickle<'a>(&self, bytes: &'a [u8]) -> Result<&'a [u8]> {
        let place = self.places.get("data.pkl").cloned();
        place.and_then(|place| bytes.get(place)).ok_or_else(|| err!(Bug, "an archive without a pickle was let in"))
    }

    /// Returns the byte range of a storage.
    pub fn storage(&self, key: &str) -> Result<Range<usize>> {
        let name = format!("data/{key}");
        self.places.get(&name).cloned().ok_or_else(|| err!(Format, "expected `{name}` in the archive, found none"))
    }
}

fn place(archive: &mut ZipArchive<Cursor<&[u8]>>, index: usize) -> Result<(String, Range<usize>)> {
    let entry = archive.by_index_raw(index).map_err(broken)?;
    let name = entry.name().map_err(broken)?.to_string();
    if entry.compression() != CompressionMethod::Stored || entry.encrypted() {
        return Err(err!(Format, "expected stored entries in the archive, found `{name}` packed")
            .hint("torch.save packs nothing; unpack the archive and store it again"));
    }
    let start = entry.data_start().and_then(|start| usize::try_from(start).ok());
    let size = usize::try_from(entry.compressed_size()).ok();
    match start.zip(size).and_then(|(start, size)| Some(start..start.checked_add(size)?)) {
        Some(place) => Ok((name, place)),
        None => bail!(Format, "expected the entry `{name}` within the file, found the end of the file before"),
    }
}

/// Returns the root folder of the archive, in which the pickle is.
fn root(places: &BTreeMap<String, Range<usize>>) -> Result<String> {
    let roots: Vec<&str> = places
        .keys()
        .filter_map(|name| name.strip_suffix("data.pkl"))
        .filter(|root| root.is_empty() || root.find('/') == Some(root.len() - 1))
        .collect();
    match roots.as_slice() {
        [root] => Ok(root.to_string()),
        [] => Err(err!(Format, "expected `data.pkl` in the archive, found none")
            .hint("this is a zip archive, but no file of PyTorch")),
        _ => bail!(Format, "expected one `data.pkl` in the archive, found {}", roots.len()),
    }
}

fn not_zip(bytes: &[u8]) -> Error {
    let again = "in PyTorch 1.6 or newer load it and save it again with torch.save";
    if bytes.starts_with(OLD) {
        return err!(Format, "expected a zip archive, found a file of PyTorch from before 1.6").hint(again);
    }
    if bytes.get(257..262) == Some(b"ustar") {
        return err!(Format, "expected a zip archive, found a tar archive of PyTorch from before 0.2").hint(again);
    }
    if bytes.first() == Some(&0x80) {
        return err!(Format, "expected a zip archive, found a plain pickle").hint("save tensors with torch.save");
    }
    err!(Format, "expected a zip archive of PyTorch, found other content")
}

fn broken(error: zip::result::ZipError) -> Error {
    Error::new(Kind::Format, format!("expected a zip archive that can be read, found: {error}"))
}
