//! Fonts of a PDF: TrueType files with the outlines of the glyphs that are used, and of no others.

use std::collections::{BTreeMap, BTreeSet};

use resvg::usvg::fontdb::{Database, ID};

use crate::base::Result;
use crate::err;

/// Tables that a subset has, in the order of a file; the first two and the last one are only in fonts with hints.
const TABLES: [&[u8; 4]; 9] = [b"cvt ", b"fpgm", b"glyf", b"head", b"hhea", b"hmtx", b"loca", b"maxp", b"prep"];

/// Bits of a part of a composite glyph.
const WORDS: u16 = 0x0001;
const SCALED: u16 = 0x0008;
const MORE: u16 = 0x0020;
const SCALED_BOTH_WAYS: u16 = 0x0040;
const TURNED: u16 = 0x0080;

/// A font, and the glyphs of it that a page uses.
pub struct UsedFont {
    pub id: ID,
    /// Glyphs by number, with the letters that they stand for.
    pub glyphs: BTreeMap<u16, String>,
    name: String,
    data: Vec<u8>,
}

/// Measures of a font, in thousandths of its size.
pub struct FontMetrics {
    /// Left, low, right and high end of all glyphs laid upon each other.
    pub bounds: [i32; 4],
    pub ascent: i32,
    pub descent: i32,
}

impl UsedFont {
    /// Reads a font of the database, of which nothing is used yet.
    pub fn of(database: &Database, id: ID) -> Result<Self> {
        let name = database.face(id).map(|face| face.post_script_name.clone());
        let data = database.with_face_data(id, |data, _| data.to_vec());
        let (name, data) = name.zip(data).ok_or_else(|| err!(Bug, "the font of a picture cannot be read"))?;
        Ok(Self { id, glyphs: BTreeMap::new(), name, data })
    }

    /// Returns units of the outlines to the size of the font.
    pub fn units(&self) -> u16 {
        self.table(b"head").and_then(|head| word(head, 18)).filter(|units| *units > 0).unwrap_or(1000)
    }

    /// Returns how far a glyph moves the next one, in thousandths of the size.
    pub fn width(&self, glyph: u16) -> Result<u16> {
        let (advance, _) = self.advance(glyph).ok_or_else(lost)?;
        Ok((f64::from(advance) * 1000.0 / f64::from(self.units())).round() as u16)
    }

    pub fn metrics(&self) -> Result<FontMetrics> {
        let read = || {
            let head = self.table(b"head")?;
            let hhea = self.table(b"hhea")?;
            let signed = |table: &[u8], at: usize| {
                let value = f64::from(word(table, at)?.cast_signed());
                Some((value * 1000.0 / f64::from(self.units())).round() as i32)
            };
            let bounds = [signed(head, 36)?, signed(head, 38)?, signed(head, 40)?, signed(head, 42)?];
            Some(FontMetrics { bounds, ascent: signed(hhea, 4)?, descent: signed(hhea, 6)? })
        };
        read().ok_or_else(lost)
    }

    /// Returns the name of the font with six letters before it that are those of its glyphs: two subsets of one font
    /// must not be taken for one another where files are joined.
    pub fn subset_name(&self) -> String {
        // FNV-1a.
        let bytes = self.glyphs.keys().flat_map(|glyph| glyph.to_be_bytes());
        let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        let hash = bytes.fold(0xcbf2_9ce4_8422_2325, step);
        let letter = |place: u32| char::from(b'A' + (hash / 26_u64.pow(place) % 26) as u8);
        let tag: String = (0..6).map(letter).collect();
        format!("{tag}+{}", self.name)
    }

    /// Returns a font file with the glyphs that are used at their numbers, and nothing at all others.
    pub fn subset(&self) -> Result<Vec<u8>> {
        self.reduced().ok_or_else(lost)
    }

    fn reduced(&self) -> Option<Vec<u8>> {
        let used = self.with_parts()?;
        let count = usize::from(*used.last()?) + 1;
        let mut outlines = Vec::new();
        let mut places = Vec::new();
        let mut widths = Vec::new();
        for glyph in 0..count as u16 {
            places.extend_from_slice(&(outlines.len() as u32).to_be_bytes());
            let is_used = used.contains(&glyph);
            let (advance, side) = if is_used { self.advance(glyph)? } else { (0, 0) };
            widths.extend_from_slice(&advance.to_be_bytes());
            widths.extend_from_slice(&side.to_be_bytes());
            if is_used {
                outlines.extend_from_slice(self.outline(glyph)?);
                outlines.resize(outlines.len().next_multiple_of(4), 0);
            }
        }
        places.extend_from_slice(&(outlines.len() as u32).to_be_bytes());
        let with = |tag: &[u8; 4], at: usize, value: u16| {
            let mut table = self.table(tag)?.to_vec();
            table.get_mut(at..at + 2)?.copy_from_slice(&value.to_be_bytes());
            Some(table)
        };
        let mut tables = Vec::new();
        for tag in TABLES {
            let table = match tag {
                b"glyf" => outlines.clone(),
                b"loca" => places.clone(),
                b"hmtx" => widths.clone(),
                // Offsets of four bytes.
                b"head" => with(tag, 50, 1)?,
                b"hhea" => with(tag, 34, count as u16)?,
                b"maxp" => with(tag, 4, count as u16)?,
                _ => match self.table(tag) {
                    Some(hints) => hints.to_vec(),
                    None => continue,
                },
            };
            tables.push((tag, table));
        }
        written(&tables)
    }

    /// Returns the glyphs that are used, those that composite ones are made of, and the first one, which every font has.
    fn with_parts(&self) -> Option<BTreeSet<u16>> {
        let mut found = BTreeSet::from([0]);
        let mut open: Vec<u16> = self.glyphs.keys().copied().collect();
        while let Some(glyph) = open.pop() {
            if found.insert(glyph) {
                open.extend(self.parts(glyph)?);
            }
        }
        Some(found)
    }

    /// Returns the glyphs that a composite glyph is made of; none for others.
    fn parts(&self, glyph: u16) -> Option<Vec<u16>> {
        let outline = self.outline(glyph)?;
        let mut parts = Vec::new();
        if outline.is_empty() || word(outline, 0)?.cast_signed() >= 0 {
            return Some(parts);
        }
        let mut at = 10;
        loop {
            let flags = word(outline, at)?;
            parts.push(word(outline, at + 2)?);
            at += if flags & WORDS != 0 { 8 } else { 6 };
            at += match flags & (SCALED | SCALED_BOTH_WAYS | TURNED) {
                0 => 0,
                SCALED => 2,
                SCALED_BOTH_WAYS => 4,
                _ => 8,
            };
            if flags & MORE == 0 {
                return Some(parts);
            }
        }
    }

    /// Returns the bytes of a glyph's outline, none for a blank.
    fn outline(&self, glyph: u16) -> Option<&[u8]> {
        let places = self.table(b"loca")?;
        let is_long = word(self.table(b"head")?, 50)? == 1;
        let place = |number: usize| {
            if is_long { long(places, number * 4) } else { Some(u32::from(word(places, number * 2)?) * 2) }
        };
        let glyph = usize::from(glyph);
        self.table(b"glyf")?.get(place(glyph)? as usize..place(glyph + 1)? as usize)
    }

    /// Returns how far a glyph moves the next one, and its distance from its own place, in units.
    fn advance(&self, glyph: u16) -> Option<(u16, u16)> {
        let widths = self.table(b"hmtx")?;
        let full = usize::from(word(self.table(b"hhea")?, 34)?);
        let glyph = usize::from(glyph);
        if glyph < full {
            return Some((word(widths, glyph * 4)?, word(widths, glyph * 4 + 2)?));
        }
        // The last ones have one advance in common.
        let last = full.checked_sub(1)? * 4;
        Some((word(widths, last)?, word(widths, full * 4 + (glyph - full) * 2)?))
    }

    fn table(&self, tag: &[u8; 4]) -> Option<&[u8]> {
        let count = usize::from(word(&self.data, 4)?);
        let records = self.data.get(12..12 + count * 16)?;
        let record = records.chunks_exact(16).find(|record| record.starts_with(tag))?;
        let start = long(record, 8)? as usize;
        self.data.get(start..start + long(record, 12)? as usize)
    }
}

fn lost() -> crate::base::Error {
    err!(Bug, "the font of a picture lacks a part")
}

fn word(data: &[u8], at: usize) -> Option<u16> {
    data.get(at..at + 2)?.try_into().ok().map(u16::from_be_bytes)
}

fn long(data: &[u8], at: usize) -> Option<u32> {
    data.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes)
}

/// Returns the sum of a table in words of four bytes.
pub fn checksum(table: &[u8]) -> u32 {
    let mut sum = 0_u32;
    for piece in table.chunks(4) {
        let mut four = [0; 4];
        four[..piece.len()].copy_from_slice(piece);
        sum = sum.wrapping_add(u32::from_be_bytes(four));
    }
    sum
}

/// Writes tables as a font file, with its checksums.
fn written(tables: &[(&[u8; 4], Vec<u8>)]) -> Option<Vec<u8>> {
    let count = tables.len() as u16;
    let power = count.ilog2() as u16;
    let range = 16 << power;
    let mut file = 0x0001_0000_u32.to_be_bytes().to_vec();
    for number in [count, range, power, count * 16 - range] {
        file.extend_from_slice(&number.to_be_bytes());
    }
    let mut body = Vec::new();
    let start = file.len() + 16 * tables.len();
    let mut head = 0;
    for (tag, table) in tables {
        let mut table = table.clone();
        let place = start + body.len();
        if *tag == b"head" {
            head = place;
            // The sum of the whole file comes here, and is made as if this were 0.
            table.get_mut(8..12)?.fill(0);
        }
        file.extend_from_slice(tag.as_slice());
        for number in [checksum(&table), place as u32, table.len() as u32] {
            file.extend_from_slice(&number.to_be_bytes());
        }
        body.extend_from_slice(&table);
        body.resize(body.len().next_multiple_of(4), 0);
    }
    file.extend_from_slice(&body);
    let sum = 0xB1B0_AFBA_u32.wrapping_sub(checksum(&file));
    file.get_mut(head + 8..head + 12)?.copy_from_slice(&sum.to_be_bytes());
    Some(file)
}
