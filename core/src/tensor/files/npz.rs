//! numpy's npz format: a zip archive of npy files.

use std::io::{self, Cursor, Read, Write};

use candle_core::Tensor;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipArchive, ZipWriter};

use super::{npy, write_elements};
use crate::base::budget::Budget;
use crate::common::*;

/// Maximum length of a header; numpy writes some hundred bytes.
const LONGEST_HEADER: u64 = 1 << 20;

/// Parses a whole npz file: its arrays by name.
pub fn parse(bytes: &[u8]) -> Result<BTreeMap<String, Tensor>> {
    parse_within(bytes, memory::available())
}

/// Parses a whole npz file within this memory.
pub(super) fn parse_within(bytes: &[u8], free: u64) -> Result<BTreeMap<String, Tensor>> {
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(broken)?;
    if archive.has_duplicate_names() {
        bail!(Format, "the npz file has two arrays of the same name");
    }
    let mut tensors = BTreeMap::new();
    let mut room = Budget::of_content(free);
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(broken)?;
        let file = entry.name().map_err(broken)?.to_string();
        let Some(name) = file.strip_suffix(".npy") else {
            bail!(Format, "expected .npy files in the npz file, found `{file}`");
        };
        let tensor = read(&mut entry, &mut room).map_err(|e| e.within(name))?;
        tensors.insert(name.to_string(), tensor);
    }
    Ok(tensors)
}

/// Reads one array. The archive's sizes may be false, so no more is read than the array's own header says; and all
/// arrays are counted together, since a small archive may contain any number of them.
fn read(entry: &mut dyn Read, room: &mut Budget) -> Result<Tensor> {
    let failed = |e: std::io::Error| err!(Format, "the npz file is damaged: {e}");
    let mut start = Vec::new();
    // The first twelve bytes say how long the header is.
    entry.take(12).read_to_end(&mut start).map_err(failed)?;
    let announced = match (start.get(6), start.get(8..12)) {
        (Some(1), Some(b)) => u64::from(u16::from_le_bytes([b[0], b[1]])),
        (_, Some(b)) => u64::from(u32::from_le_bytes([b[0], b[1], b[2], b[3]])),
        _ => bail!(Format, "the npy header is cut short"),
    };
    entry.take(announced.min(LONGEST_HEADER)).read_to_end(&mut start).map_err(failed)?;
    let header = npy::NpyHeader::parse(&start)?;
    let mut data = start.split_off(header.data.min(start.len()));
    let size = header.size()?;
    room.take(size as u128, || "what is in the npz file".into())?;
    let missing = size.saturating_sub(data.len()) as u64;
    // One byte more than expected: reading to the end is also what verifies the checksum.
    entry.take(missing + 1).read_to_end(&mut data).map_err(failed)?;
    header.tensor(&data)
}

fn broken(error: zip::result::ZipError) -> Error {
    Error::new(Kind::Format, format!("expected an npz file that can be read, found: {error}"))
}

/// Writes an npz file with stored (not compressed) arrays.
pub fn write(tensors: &BTreeMap<String, Tensor>, w: &mut dyn Write) -> Result<()> {
    let failed = |e: zip::result::ZipError| err!(File, "cannot write: {e}");
    let mut archive = ZipWriter::new_stream(UntilFailure { w, failed: false });
    for (name, tensor) in tensors {
        let size = tensor.elem_count() as u64 * tensor.dtype().size_in_bytes() as u64;
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Stored)
            .last_modified_time(DateTime::DEFAULT)
            .unix_permissions(0o644)
            .large_file(size > u64::from(u32::MAX) - LONGEST_HEADER);
        archive.start_file(format!("{name}.npy"), options).map_err(failed)?;
        let header = npy::header(tensor).map_err(|e| e.within(name))?;
        super::put(&mut archive, &header)?;
        write_elements(tensor, &mut archive)?;
    }
    archive.finish().map_err(failed)?;
    Ok(())
}

/// A writer that stops at the first failure, and takes whatever comes after it: an archive that is dropped is still
/// written to its end, and the crate prints a line of its own to the terminal if that fails, too.
struct UntilFailure<'a> {
    w: &'a mut dyn Write,
    failed: bool,
}

impl Write for UntilFailure<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.failed {
            return Ok(bytes.len());
        }
        let written = self.w.write(bytes);
        self.failed = written.as_ref().is_err_and(|e| e.kind() != io::ErrorKind::Interrupted);
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.failed {
            return Ok(());
        }
        let flushed = self.w.flush();
        self.failed = flushed.is_err();
        flushed
    }
}
