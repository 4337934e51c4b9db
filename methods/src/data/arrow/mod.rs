//! Files and streams of Arrow: opened, and their batches read, with limits on the memory that a file may claim.

mod messages;

use arrow_array::RecordBatch;
use arrow_buffer::Buffer;
use arrow_ipc::Block;
use arrow_ipc::reader::FileDecoder;
use arrow_schema::Schema;

use crate::base::error::guarded;
use crate::common::*;
use messages::{Messages, Part};

/// An open file or stream of Arrow.
pub struct Arrow {
    bytes: Buffer,
    /// The messages that are not read yet.
    parts: std::vec::IntoIter<Part>,
    decoder: FileDecoder,
    schema: Arc<Schema>,
    /// The name of the file in errors.
    shown: String,
}

impl Arrow {
    /// Opens the file at a path, which errors name as `shown`.
    pub fn open(files: &Files, path: &Path, shown: &str) -> Result<Self> {
        let read = |map| Self::of(Buffer::from(bytes::Bytes::from_owner(map)), shown);
        files.map_as(path, |map| read(map).map_err(|e| unreadable(shown, e)))
    }

    fn of(bytes: Buffer, shown: &str) -> Result<Self> {
        let messages = Messages::of(&bytes)?;
        let schema = Arc::new(guarded(|| messages.schema(&bytes))?);
        let decoder = FileDecoder::new(schema.clone(), messages.version);
        Ok(Self { bytes, parts: messages.parts.into_iter(), decoder, schema, shown: shown.into() })
    }

    /// Restricts the batches to one of the columns.
    pub fn column(mut self, column: usize) -> Self {
        self.decoder = self.decoder.with_projection(vec![column]);
        self
    }

    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// Reads the next batch; none after the last.
    pub fn next(&mut self) -> Result<Option<RecordBatch>> {
        for part in self.parts.by_ref() {
            let batch = read(&mut self.decoder, &self.bytes, &part).map_err(|e| unreadable(&self.shown, e))?;
            if batch.is_some() {
                return Ok(batch);
            }
        }
        Ok(None)
    }

    /// Adds the name of the file to an error.
    pub fn unreadable(&self, error: Error) -> Error {
        unreadable(&self.shown, error)
    }
}

/// Decodes a message: the batch that it is, or none, if it is a dictionary, which the decoder keeps.
fn read(decoder: &mut FileDecoder, bytes: &Buffer, part: &Part) -> Result<Option<RecordBatch>> {
    let message = bytes.slice_with_length(part.place.start, part.place.len());
    let metadata =
        i32::try_from(part.metadata).map_err(|_| err!(Format, "expected messages below 2 GiB, found a larger one"))?;
    let block = Block::new(0, metadata, (part.place.len() - part.metadata) as i64);
    if part.is_dictionary {
        guarded(|| decoder.read_dictionary(&block, &message))?;
        return Ok(None);
    }
    guarded(|| decoder.read_record_batch(&block, &message))
}

fn unreadable(shown: &str, error: Error) -> Error {
    error.within(format!("{shown} cannot be read as Arrow"))
}
