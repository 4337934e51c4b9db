//! Files of other programs: a published text comes out again, and no damaged file panics or asks for much memory.

mod hostile;
mod samples;
mod stories;
#[path = "../src/model/formats/gguf/writer.rs"]
mod writer;

// The writer is a part of the crate's own tests too, where this has the same name.
use microtome::model::formats::gguf::Value;
