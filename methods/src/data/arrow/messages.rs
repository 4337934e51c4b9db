//! The messages of a file or a stream of Arrow, walked through before the crate decodes any: each must be whole, of a known
//! version, and claim no more memory than there is.

use arrow_ipc::convert::try_fb_to_schema;
use arrow_ipc::{
    Block, Endianness, MessageHeader, MetadataVersion, RecordBatch, Schema as IpcSchema, root_as_footer,
    root_as_message,
};
use arrow_schema::{ArrowError, Schema};

use crate::base::budget::Budget;
use crate::common::*;

/// The bytes that a file begins and ends with.
const MAGIC: &[u8] = b"ARROW1";
/// The bytes that a file of the format before Arrow's own begins with.
const FIRST_FEATHER: &[u8] = b"FEA1";
/// The length of the end of a file: the length of the footer, and the magic bytes.
const TAIL: usize = 10;
/// The bytes before the length of every message.
const MARKER: [u8; 4] = [0xff; 4];
/// The number of bytes before a message, the marker and its length.
const PREFIX: usize = 8;
/// The number of bytes before a compressed buffer, its length when it is decompressed.
const CLAIM: usize = 8;

/// The messages of a file or a stream.
pub struct Messages {
    /// The batches and the dictionaries, each before the batches that need it.
    pub parts: Vec<Part>,
    pub version: MetadataVersion,
    /// The place of what has the schema: the footer of a file, the first message of a stream.
    schema: Range<usize>,
    has_footer: bool,
}

/// The message of a batch or a dictionary.
pub struct Part {
    /// The place of the message: from the marker before it to the end of its body.
    pub place: Range<usize>,
    /// The number of bytes before the body.
    pub metadata: usize,
    pub is_dictionary: bool,
}

impl Messages {
    /// Finds the messages, and refuses the first that is damaged.
    pub fn of(bytes: &[u8]) -> Result<Self> {
        if bytes.starts_with(FIRST_FEATHER) {
            return Err(err!(Format, "expected the second version of Feather, found the first").hint(
                "read it where it was written, and write it again: `pyarrow.feather.write_feather(table, path)`",
            ));
        }
        if bytes.starts_with(MAGIC) { Self::of_file(bytes) } else { Self::of_stream(bytes) }
    }

    /// Finds the messages of a file at the places that its footer has. Not every program writes them as a stream.
    fn of_file(bytes: &[u8]) -> Result<Self> {
        let end = bytes.len().checked_sub(TAIL).ok_or_else(cut)?;
        let Some((length, MAGIC)) = bytes.get(end..).and_then(|tail| tail.split_first_chunk()) else {
            return Err(cut());
        };
        let length = usize::try_from(i32::from_le_bytes(*length)).ok();
        let start = length.and_then(|length| end.checked_sub(length));
        let start = start.ok_or_else(|| err!(Format, "its footer is longer than the file"))?;
        let footer = bytes.get(start..end).unwrap_or_default();
        let footer = root_as_footer(footer).map_err(|e| err!(Format, "its footer is damaged: {e}"))?;
        check_version(footer.version())?;
        let schema = footer.schema().ok_or_else(|| err!(Format, "its footer has no schema"))?;
        check_order(&schema)?;
        let before = bytes.get(..start).unwrap_or_default();
        let part = |(block, is_dictionary): (&Block, bool)| {
            let at = usize::try_from(block.offset()).ok().filter(|at| *at < before.len()).ok_or_else(cut)?;
            let whole = next(before.get(at..).unwrap_or_default())?.ok_or_else(cut)?;
            let part = whole.part(at)?;
            if part.is_dictionary != is_dictionary {
                bail!(Format, "its footer takes batches for dictionaries, or dictionaries for batches");
            }
            Ok(part)
        };
        let dictionaries = footer.dictionaries().into_iter().flatten().map(|block| (block, true));
        let batches = footer.recordBatches().into_iter().flatten().map(|block| (block, false));
        let parts = dictionaries.chain(batches).map(part).collect::<Result<_>>()?;
        Ok(Self { parts, version: footer.version(), schema: start..end, has_footer: true })
    }

    /// Finds the messages of a stream, one after the other.
    fn of_stream(bytes: &[u8]) -> Result<Self> {
        let first = next(bytes)?.ok_or_else(|| err!(Format, "expected a schema, found nothing"))?;
        if first.header != MessageHeader::Schema {
            bail!(Format, "expected a schema before anything else, found {}", name(first.header));
        }
        let schema = PREFIX..first.metadata;
        let mut at = first.length;
        let mut parts = Vec::new();
        while let Some(whole) = next(bytes.get(at..).unwrap_or_default())? {
            parts.push(whole.part(at)?);
            at += whole.length;
        }
        Ok(Self { parts, version: first.version, schema, has_footer: false })
    }

    /// Returns the schema.
    pub fn schema(&self, bytes: &[u8]) -> Result<Schema, ArrowError> {
        let about = bytes.get(self.schema.clone()).unwrap_or_default();
        let schema = if self.has_footer {
            root_as_footer(about).ok().and_then(|footer| footer.schema())
        } else {
            root_as_message(about).ok().and_then(|message| message.header_as_schema())
        };
        try_fb_to_schema(schema.ok_or_else(|| ArrowError::SchemaError("its schema is damaged".into()))?)
    }
}

/// A message that is whole.
struct Whole {
    /// The length with the marker before it and the body behind.
    length: usize,
    /// The number of bytes before the body.
    metadata: usize,
    header: MessageHeader,
    version: MetadataVersion,
}

impl Whole {
    /// Returns the message at a place as that of a batch or a dictionary, or refuses it.
    fn part(&self, at: usize) -> Result<Part> {
        let is_dictionary = match self.header {
            MessageHeader::RecordBatch => false,
            MessageHeader::DictionaryBatch => true,
            MessageHeader::Schema => bail!(Format, "expected one schema, found another behind it"),
            other => bail!(Format, "expected record batches, found {}", name(other)),
        };
        Ok(Part { place: at..at + self.length, metadata: self.metadata, is_dictionary })
    }
}

/// Returns the message that bytes begin with; none at the end of the stream.
fn next(bytes: &[u8]) -> Result<Option<Whole>> {
    // A stream may end without saying so, between two messages.
    if bytes.is_empty() {
        return Ok(None);
    }
    let (marker, rest) = bytes.split_first_chunk().ok_or_else(cut)?;
    if *marker != MARKER {
        return Err(err!(Format, "expected the file or the stream of Arrow's IPC format, found other bytes").hint(
            "files begin with ARROW1, and messages with four bytes 0xff; \
             those of Arrow before 0.15 (2019) have none, and must be written again",
        ));
    }
    let (length, rest) = rest.split_first_chunk().ok_or_else(cut)?;
    let length = u32::from_le_bytes(*length) as usize;
    if length == 0 {
        return Ok(None);
    }
    let (about, rest) = rest.split_at_checked(length).ok_or_else(cut)?;
    let about = root_as_message(about).map_err(|e| err!(Format, "a message is damaged: {e}"))?;
    check_version(about.version())?;
    let size = usize::try_from(about.bodyLength()).ok();
    let body = size.and_then(|size| rest.get(..size)).ok_or_else(cut)?;
    if let Some(schema) = about.header_as_schema() {
        check_order(&schema)?;
    }
    let batch = about.header_as_record_batch();
    let batch = batch.or_else(|| about.header_as_dictionary_batch().and_then(|dictionary| dictionary.data()));
    batch.map_or(Ok(()), |batch| check_room(&batch, body))?;
    let metadata = PREFIX + length;
    let version = about.version();
    Ok(Some(Whole { length: metadata + body.len(), metadata, header: about.header_type(), version }))
}

fn cut() -> Error {
    err!(Format, "it ends within a message").hint("it was cut short; copy or write it again")
}

fn name(header: MessageHeader) -> &'static str {
    header.variant_name().unwrap_or("a message of an unknown type")
}

fn check_version(version: MetadataVersion) -> Result<()> {
    if [MetadataVersion::V4, MetadataVersion::V5].contains(&version) {
        return Ok(());
    }
    // The format counts its versions from 1, and writes one less.
    Err(err!(Format, "expected version 4 or 5 of Arrow's IPC format, found version {}", i32::from(version.0) + 1)
        .hint("write it with a program that has version 5, as all since Arrow 1.0 have"))
}

/// Refuses numbers in another order of bytes.
fn check_order(schema: &IpcSchema) -> Result<()> {
    if schema.endianness() == Endianness::Little {
        return Ok(());
    }
    Err(err!(Format, "expected numbers whose lowest byte is first, found them in another order"))
}

/// Refuses compressed buffers that claim more memory than there is.
fn check_room(batch: &RecordBatch, body: &[u8]) -> Result<()> {
    if batch.compression().is_none() {
        return Ok(());
    }
    let mut budget = Budget::of_content(memory::available());
    for buffer in batch.buffers().into_iter().flatten() {
        let start = usize::try_from(buffer.offset()).ok();
        let prefix = start.and_then(|start| body.get(start..)?.first_chunk::<CLAIM>());
        // Buffers that lie elsewhere are refused by the crate, which explains them; a length of -1 means not compressed.
        let length = prefix.map_or(0, |prefix| i64::from_le_bytes(*prefix));
        budget.take(u128::try_from(length).unwrap_or(0), || "a batch".into())?;
    }
    Ok(())
}
