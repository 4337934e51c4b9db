//! Compression: the baseline that needs no training.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use lzma_rust2::{XzOptions, XzWriter};

use crate::common::*;
use crate::data::Text;

/// Number of bytes compressed between two checks for an interruption.
const PORTION: usize = 1 << 14;

crate::choices! {
    /// The compressors, each at its strongest setting.
    pub enum Program {
        Gzip = "gzip",
        Xz = "xz",
    }
}

/// Returns the bits of the compressed text for each byte of the text: `8 * compressed / bytes`, headers included.
pub fn bits_per_byte(text: &Text, program: Program, task: &Task) -> Result<f64> {
    let mut documents = text.all_documents(task)?;
    bits_of(&mut || Ok(documents.next(task)?.map(|document| document.text)), program, task)
}

/// Returns the bits for each byte of a text that comes in parts.
fn bits_of(next: &mut dyn FnMut() -> Result<Option<String>>, program: Program, task: &Task) -> Result<f64> {
    let mut text = Pieces { next, bytes: 0, task };
    let size = match program {
        Program::Gzip => {
            let mut writer = GzEncoder::new(ByteCounter(0), Compression::best());
            text.to(&mut writer)?;
            writer.finish().map_err(failed)?.0
        }
        Program::Xz => {
            let mut writer = XzWriter::new(ByteCounter(0), XzOptions::with_preset(9)).map_err(failed)?;
            text.to(&mut writer)?;
            writer.finish().map_err(failed)?.0
        }
    };
    match text.bytes {
        0 => bail!(Argument, "expected text to compress, found none"),
        bytes => Ok(8.0 * size as f64 / bytes as f64),
    }
}

fn failed(error: std::io::Error) -> Error {
    err!(Bug, "a text that cannot be compressed: {error}")
}

/// A text as the input of a compressor.
struct Pieces<'a> {
    next: &'a mut dyn FnMut() -> Result<Option<String>>,
    bytes: usize,
    task: &'a Task,
}

impl Pieces<'_> {
    fn to(&mut self, writer: &mut impl Write) -> Result<()> {
        let bar = self.task.begin("compressing", None);
        while let Some(piece) = (self.next)()? {
            for portion in piece.as_bytes().chunks(PORTION) {
                self.task.check()?;
                writer.write_all(portion).map_err(failed)?;
                bar.advance(portion.len() as u64);
            }
            self.bytes += piece.len();
        }
        Ok(())
    }
}

/// A writer that counts the bytes that are written, and drops them.
struct ByteCounter(u64);

impl Write for ByteCounter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::chosen;

    #[test]
    fn what_repeats_becomes_small_and_noise_does_not() {
        let bits = |text: &str, program| {
            let mut halves = [&text[..text.len() / 2], &text[text.len() / 2..]].into_iter();
            let mut next = || Ok(halves.next().map(String::from));
            bits_of(&mut next, program, &Task::default()).unwrap()
        };
        let noise: String = (0..20_000_u32)
            .map(|i| char::from((i.wrapping_mul(2_654_435_761) >> 25) as u8 ^ (i * i % 101) as u8))
            .collect();
        for program in [Program::Gzip, Program::Xz] {
            assert!(bits(&"a".repeat(20_000), program) < 0.1);
            assert!(bits(&noise, program) > 3.0);
        }
        // An empty member of gzip has 20 bytes, so one letter has more than that.
        assert!(bits("a", Program::Gzip) > 160.0);
        assert!(bits_of(&mut || Ok(None), Program::Xz, &Task::default()).is_err());
        let unknown = chosen::<Program>("program", "gzp").unwrap_err();
        assert_eq!(unknown.hint.unwrap(), "did you mean `gzip`?");
    }
}
