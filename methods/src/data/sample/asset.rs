//! Sampled text as a file: a header with its origin, then token ids compressed by xz.

use std::io::{Read, Write};

use lzma_rust2::{XzOptions, XzReader, XzWriter};

use super::Settings;
use crate::common::*;

const MAGIC: &[u8; 8] = b"MTSAMPLE";
const VERSION: u32 = 1;

/// Maximum number of stored tokens.
const MOST: u64 = 1 << 30;

/// Memory limit of decompression: the dictionary is never larger than the tokens.
const MEMORY_KIB: u32 = 1 << 20;

/// Tokens that were sampled from a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Asset {
    /// Concatenated rows of `context` tokens; the last one may be shorter.
    pub ids: Vec<u32>,
    pub context: u32,
    pub settings: Settings,
    /// The fingerprint of the model that generated the tokens.
    pub weights: [u8; 32],
}

/// Returns the bytes of the file: magic, version, context, number of tokens, bytes of each (2 or 4), seed, temperature,
/// top k, fingerprint of the model, all little-endian; then an xz stream of the ids.
pub fn write_asset(asset: &Asset) -> Result<Vec<u8>> {
    let width: u32 = if asset.ids.iter().all(|id| *id <= u32::from(u16::MAX)) { 2 } else { 4 };
    let mut file = Vec::new();
    file.extend_from_slice(MAGIC);
    file.extend_from_slice(&VERSION.to_le_bytes());
    file.extend_from_slice(&asset.context.to_le_bytes());
    file.extend_from_slice(&(asset.ids.len() as u64).to_le_bytes());
    file.extend_from_slice(&width.to_le_bytes());
    file.extend_from_slice(&asset.settings.seed.to_le_bytes());
    file.extend_from_slice(&asset.settings.temperature.to_le_bytes());
    file.extend_from_slice(&(asset.settings.top_k as u64).to_le_bytes());
    file.extend_from_slice(&asset.weights);
    let bytes = asset.ids.iter().flat_map(|id| id.to_le_bytes().into_iter().take(width as usize));
    let bytes: Vec<u8> = bytes.collect();
    let mut options = XzOptions::with_preset(9);
    // Ids begin at even bytes, which helps the compressor; a dictionary larger than the text does not help.
    (options.lzma_options.lp, options.lzma_options.pb) = (1, 1);
    options.lzma_options.dict_size = (bytes.len() as u32).next_power_of_two().clamp(1 << 12, 1 << 26);
    let failed = |e: std::io::Error| err!(Bug, "tokens that cannot be compressed: {e}");
    let mut writer = XzWriter::new(file, options).map_err(failed)?;
    writer.write_all(&bytes).map_err(failed)?;
    writer.finish().map_err(failed)
}

/// Reads the file that [`write_asset`] wrote. The ids themselves are checked where they are used.
pub fn read_asset(bytes: &[u8]) -> Result<Asset> {
    let PackedHeader { count, width, context, settings, weights, packed } = PackedHeader::read(bytes)?;
    Ok(Asset { ids: unpacked(packed, count, width)?, context, settings, weights })
}

/// Reads the part that [`write_asset`] wrote before the ids: the settings, and the number of ids.
pub fn read_head(bytes: &[u8]) -> Result<(Settings, u64)> {
    let head = PackedHeader::read(bytes)?;
    Ok((head.settings, head.count))
}

/// A file whose ids are packed.
struct PackedHeader<'a> {
    count: u64,
    width: usize,
    context: u32,
    settings: Settings,
    weights: [u8; 32],
    packed: &'a [u8],
}

impl<'a> PackedHeader<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self> {
        let mut header = AssetHeader(bytes);
        if header.take::<8>()? != *MAGIC {
            bail!(Format, "expected a file of sampled text, found other bytes at its beginning");
        }
        let version = header.number()?;
        if version != VERSION {
            bail!(Format, "expected version {VERSION} of a file of sampled text, found {version}");
        }
        let context = header.number()?;
        let count = u64::from_le_bytes(header.take()?);
        let width = header.number()?;
        if context == 0 || count > MOST || !matches!(width, 2 | 4) {
            bail!(
                Format,
                "expected rows of tokens of 2 or 4 bytes, found {count} tokens of {width} in rows of {context}"
            );
        }
        let seed = u64::from_le_bytes(header.take()?);
        let temperature = f64::from_le_bytes(header.take()?);
        let top_k = u64::from_le_bytes(header.take()?);
        let top_k = usize::try_from(top_k).map_err(|_| err!(Format, "expected a `top_k` that fits, found {top_k}"))?;
        let settings = Settings { seed, temperature, top_k }.checked().map_err(|e| Error { kind: format(), ..e })?;
        let weights = header.take()?;
        Ok(Self { count, width: width as usize, context, settings, weights, packed: header.0 })
    }
}

fn format() -> crate::base::Kind {
    crate::base::Kind::Format
}

/// Decompresses `count` ids, and at most one byte more.
fn unpacked(packed: &[u8], count: u64, width: usize) -> Result<Vec<u32>> {
    let expected = count * width as u64;
    let mut bytes = Vec::new();
    let reader = XzReader::new_mem_limit(packed, false, MEMORY_KIB);
    let read = reader.take(expected + 1).read_to_end(&mut bytes);
    read.map_err(|e| err!(Format, "expected tokens packed by xz: {e}"))?;
    if bytes.len() as u64 != expected {
        bail!(Format, "expected {count} tokens in a file of sampled text, found {} bytes of them or more", bytes.len());
    }
    let id = |bytes: &[u8]| bytes.iter().rev().fold(0, |id, byte| id << 8 | u32::from(*byte));
    Ok(bytes.chunks_exact(width).map(id).collect())
}

/// The rest of a file after its first fields.
struct AssetHeader<'a>(&'a [u8]);

impl AssetHeader<'_> {
    fn take<const SIZE: usize>(&mut self) -> Result<[u8; SIZE]> {
        let (field, rest) = self
            .0
            .split_first_chunk::<SIZE>()
            .ok_or_else(|| err!(Format, "expected a file of sampled text, found one that ends in its header"))?;
        self.0 = rest;
        Ok(*field)
    }

    fn number(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.take()?))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn asset(ids: Vec<u32>) -> Asset {
        Asset { ids, context: 4, settings: Settings { seed: 7, ..Settings::default() }, weights: [9; 32] }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn what_was_written_is_read(ids in prop::collection::vec(prop_oneof![0_u32..5000, any::<u32>()], 0..60)) {
            let asset = asset(ids);
            prop_assert_eq!(read_asset(&write_asset(&asset).unwrap()).unwrap(), asset);
        }

        #[test]
        fn damage_is_an_error_or_harmless(at in 0_usize..140, value: u8) {
            let mut bytes = write_asset(&asset((0..40).collect())).unwrap();
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
            // Fields of the header may be changed to other fields; no change may panic.
            let _read = read_asset(&bytes);
        }
    }

    #[test]
    fn a_file_that_is_cut_or_lies_is_refused() {
        let bytes = write_asset(&asset((0..40).collect())).unwrap();
        for end in 0..bytes.len() {
            assert!(read_asset(&bytes[..end]).is_err(), "{end}");
        }
        let mut lies = bytes.clone();
        lies[16] = 39;
        assert!(read_asset(&lies).unwrap_err().message.contains("expected 39 tokens"));
        lies[16] = 41;
        assert!(
            read_asset(&lies).unwrap_err().message.contains("expected 41 tokens, found 80")
                || read_asset(&lies).is_err()
        );
        lies[8] = 2;
        assert!(read_asset(&lies).unwrap_err().message.contains("found 2"));
    }
}
