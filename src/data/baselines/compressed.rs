//! How small a text becomes: the yardstick that needs no training.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use lzma_rust2::{XzOptions, XzWriter};

use crate::base::{Error, Result, Task, names};
use crate::{bail, err};

/// How much is handed over between two questions whether to stop.
const PORTION: usize = 1 << 14;

/// What makes the text smaller, each as hard as it tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    Gzip,
    Xz,
}

impl Program {
    pub fn parse(name: &str) -> Result<Self> {
        match name {
            "gzip" => Ok(Self::Gzip),
            "xz" => Ok(Self::Xz),
            _ => Err(err!(Name, "expected the name of a program, found `{name}`")
                .maybe_hint(names::suggestion(name, ["gzip", "xz"]))),
        }
    }
}

/// The bits of the compressed text for each byte of the text: `8 * compressed / bytes`, headers included.
pub fn bits_per_byte(text: &[u8], program: Program, task: &Task) -> Result<f64> {
    if text.is_empty() {
        bail!(Argument, "expected text to compress, found none");
    }
    let failed = |e: std::io::Error| -> Error { err!(Bug, "a text that cannot be compressed: {e}") };
    let size = match program {
        Program::Gzip => {
            let mut writer = GzEncoder::new(Counted(0), Compression::best());
            hand_over(text, &mut writer, task)?;
            writer.finish().map_err(failed)?.0
        }
        Program::Xz => {
            let mut writer = XzWriter::new(Counted(0), XzOptions::with_preset(9)).map_err(failed)?;
            hand_over(text, &mut writer, task)?;
            writer.finish().map_err(failed)?.0
        }
    };
    Ok(8.0 * size as f64 / text.len() as f64)
}

fn hand_over(text: &[u8], writer: &mut impl Write, task: &Task) -> Result<()> {
    let bar = task.begin("compressing", Some(text.len() as u64));
    for portion in text.chunks(PORTION) {
        task.check()?;
        writer.write_all(portion).map_err(|e| err!(Bug, "a text that cannot be compressed: {e}"))?;
        bar.advance(portion.len() as u64);
    }
    Ok(())
}

/// Counts what is written and keeps nothing of it.
struct Counted(u64);

impl Write for Counted {
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

    #[test]
    fn what_repeats_becomes_small_and_noise_does_not() {
        let bits = |text: &[u8], program| bits_per_byte(text, program, &Task::default()).unwrap();
        let noise: Vec<u8> =
            (0..20_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8 ^ (i * i) as u8).collect();
        let same = vec![b'a'; 20_000];
        for program in [Program::Gzip, Program::Xz] {
            assert!(bits(&same, program) < 0.1);
            assert!(bits(&noise, program) > 4.0);
        }
        // An empty member of gzip has 20 bytes, so one letter has more than that.
        assert!(bits(b"a", Program::Gzip) > 160.0);
        assert!(bits_per_byte(b"", Program::Xz, &Task::default()).is_err());
        assert_eq!(Program::parse("gzp").unwrap_err().hint.unwrap(), "did you mean `gzip`?");
    }
}
