//! The messages of a file or a stream of Arrow, walked through before the crate decodes any: each must be whole, of a known
//! version, and claim no more memory than there is.

use std::ops::Range;

use arrow_ipc::{Endianness, Message, MessageHeader, MetadataVersion, RecordBatch, root_as_footer, root_as_message};
use arrow_schema::{ArrowError, Schema};

use crate::base::budget::Budget;
use crate::base::{Error, Result, memory};
use crate::{bail, err};

/// The bytes that a file begins and ends with.
const MAGIC: &[u8] = b"ARROW1";
/// The bytes that a file of the format before Arrow's own begins with.
const FIRST_FEATHER: &[u8] = b"FEA1";
/// The length of the beginning of a file, the magic bytes and two more. Further zeros may follow, eight by eight.
const START: usize = 8;
/// The length of the end of a file: the length of the footer, and the magic bytes.
const TAIL: usize = 10;
/// The bytes before the length of every message.
const MARKER: [u8; 4] = [0xff; 4];
/// The end of a stream: a message of length 0.
pub const END: [u8; 8] = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];
/// The number of bytes before a compressed buffer, its length when it is decompressed.
const PREFIX: usize = 8;

/// The messages of a file or a stream.
pub struct Messages {
    /// The place of all messages: from the schema to the last batch.
    pub place: Range<usize>,
    /// The place of the first message, which is the schema.
    first: Range<usize>,
    batches: usize,
}

impl Messages {
    /// Walks through the messages, and refuses the first that is damaged.
    pub fn of(bytes: &[u8]) -> Result<Self> {
        if bytes.starts_with(FIRST_FEATHER) {
            return Err(err!(Format, "expected the second version of Feather, found the first").hint(
                "read it where it was written, and write it again: `pyarrow.feather.write_feather(table, path)`",
            ));
        }
        if !bytes.starts_with(MAGIC) {
            return Self::walked(bytes, 0..bytes.len());
        }
        let end = bytes.len().checked_sub(TAIL).filter(|end| *end >= START).ok_or_else(cut)?;
        let Some((length, MAGIC)) = bytes.get(end..).and_then(|tail| tail.split_first_chunk()) else {
            return Err(cut());
        };
        let length = usize::try_from(i32::from_le_bytes(*length)).ok();
        let start = length.and_then(|length| end.checked_sub(length)).filter(|start| *start >= START);
        let start = start.ok_or_else(|| err!(Format, "its footer is longer than the file"))?;
        let footer = bytes.get(start..end).unwrap_or_default();
        let footer = root_as_footer(footer).map_err(|e| err!(Format, "its footer is damaged: {e}"))?;
        check_version(footer.version())?;
        let listed = footer.recordBatches().map_or(0, |batches| batches.len());
        let padding =
            bytes.get(START..start).unwrap_or_default().chunks(START).take_while(|eight| **eight == [0; START]);
        let messages = Self::walked(bytes, START * (1 + padding.count())..start)?;
        if messages.batches != listed {
            bail!(Format, "expected {listed} record batches, as its footer says, found {}", messages.batches);
        }
        Ok(messages)
    }

    fn walked(bytes: &[u8], within: Range<usize>) -> Result<Self> {
        let mut at = within.start;
        let mut found = Self { place: at..at, first: at..at, batches: 0 };
        while let Some(message) = next(bytes.get(at..within.end).unwrap_or_default())? {
            let is_first = found.place.is_empty();
            at += message.length;
            found.place.end = at;
            match (message.header, is_first) {
                (MessageHeader::Schema, true) => {
                    found.first = at - message.length..at;
                }
                (MessageHeader::Schema, false) => bail!(Format, "expected one schema, found another behind batches"),
                (header, true) => bail!(Format, "expected a schema before anything else, found {}", name(header)),
                (MessageHeader::RecordBatch, false) => found.batches += 1,
                (MessageHeader::DictionaryBatch, false) => {}
                (header, false) => bail!(Format, "expected record batches, found {}", name(header)),
            }
        }
        if found.place.is_empty() {
            bail!(Format, "expected a schema, found nothing");
        }
        Ok(found)
    }

    /// Returns the schema.
    pub fn schema(&self, bytes: &[u8]) -> Result<Schema, ArrowError> {
        let damaged = || ArrowError::SchemaError("its schema is damaged".into());
        let message = bytes.get(self.first.start + START..self.first.end).ok_or_else(damaged)?;
        let message = root_as_message(message).map_err(|_| damaged())?;
        arrow_ipc::convert::try_fb_to_schema(message.header_as_schema().ok_or_else(damaged)?)
    }
}

/// A message that is whole.
struct Whole {
    /// The length with the marker before it and the body behind.
    length: usize,
    header: MessageHeader,
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
    check_content(&about, body)?;
    Ok(Some(Whole { length: 2 * MARKER.len() + length + body.len(), header: about.header_type() }))
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

/// Refuses numbers in another order of bytes, and compressed buffers that claim more memory than there is.
fn check_content(message: &Message, body: &[u8]) -> Result<()> {
    if let Some(schema) = message.header_as_schema()
        && schema.endianness() != Endianness::Little
    {
        bail!(Format, "expected numbers whose lowest byte is first, found them in another order");
    }
    let batch = message.header_as_record_batch();
    let batch = batch.or_else(|| message.header_as_dictionary_batch().and_then(|dictionary| dictionary.data()));
    batch.map_or(Ok(()), |batch| check_room(&batch, body))
}

fn check_room(batch: &RecordBatch, body: &[u8]) -> Result<()> {
    if batch.compression().is_none() {
        return Ok(());
    }
    let mut budget = Budget::of_content(memory::available());
    for buffer in batch.buffers().into_iter().flatten() {
        let start = usize::try_from(buffer.offset()).ok();
        let prefix = start.and_then(|start| body.get(start..)?.first_chunk::<PREFIX>());
        // Buffers that lie elsewhere are refused by the crate, which explains them; a length of -1 means not compressed.
        let length = prefix.map_or(0, |prefix| i64::from_le_bytes(*prefix));
        budget.take(u128::try_from(length).unwrap_or(0), || "a batch".into())?;
    }
    Ok(())
}
