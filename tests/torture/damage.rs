//! Damage to files: to their bytes, and to the content of containers whose checksums and lengths are corrected.

use std::io::{Cursor, Read, Write};

use serde_json::Value;

use super::dice::Dice;

/// Where damage is done so that the first checks do not notice it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum DamageKind {
    /// Any bytes.
    Bytes,
    Json,
    /// Lines of text.
    Lines,
    /// A JSON header after its length.
    Safetensors,
    /// Members of an archive.
    Zip,
    Gzip,
    /// A safetensors file with its hash at the end, in hexadecimal digits.
    Summed,
}

/// The maximum length of a damaged file.
const LONGEST: usize = 4 << 20;

/// A file with damage at one to four places; `other` is a file of the same kind, to take pieces from.
pub fn damaged(good: &[u8], other: &[u8], inside: DamageKind, dice: &mut Dice) -> Vec<u8> {
    let mut bytes = good.to_vec();
    let places = 1 + dice.below(2) * dice.below(4);
    for _ in 0..places {
        bytes = match inside {
            DamageKind::Bytes => anywhere(bytes, other, dice),
            _ if dice.chance(0.35) => anywhere(bytes, other, dice),
            DamageKind::Json => json(&bytes, dice).unwrap_or_else(|| anywhere(bytes, other, dice)),
            DamageKind::Lines => line(bytes, dice),
            DamageKind::Safetensors => header(&bytes, dice).unwrap_or_else(|| anywhere(bytes, other, dice)),
            DamageKind::Zip => member(&bytes, other, dice).unwrap_or_else(|| anywhere(bytes, other, dice)),
            DamageKind::Summed => summed(&bytes, other, dice).unwrap_or_else(|| anywhere(bytes, other, dice)),
            DamageKind::Gzip => packed(&bytes, other, dice).unwrap_or_else(|| anywhere(bytes, other, dice)),
        };
        bytes.truncate(LONGEST);
    }
    bytes
}

/// Damage regardless of the format.
fn anywhere(mut bytes: Vec<u8>, other: &[u8], dice: &mut Dice) -> Vec<u8> {
    if bytes.is_empty() {
        return other.to_vec();
    }
    let place = dice.place(bytes.len()).min(bytes.len() - 1);
    let most = if dice.chance(0.7) { 16 } else { 4096 };
    let length = 1 + dice.below(most).min(bytes.len() - place - 1);
    match dice.below(12) {
        0 => bytes.truncate(place),
        1 => bytes[place] ^= 1 << dice.below(8),
        2 => bytes[place] = dice.bits() as u8,
        3 | 4 => {
            let lies =
                [0, 1, 0x7f, 0xff, 0xffff, 1 << 20, 1 << 28, 0x7fff_ffff, 0xffff_ffff, 1 << 31, 1 << 40, 1 << 62];
            let lie = match dice.below(6) {
                0 => u64::MAX - dice.below(16) as u64,
                1 => i64::MAX as u64,
                2 => dice.bits(),
                _ => *dice.pick(&lies),
            };
            let width = *dice.pick(&[1, 2, 4, 8]);
            let lie = if dice.chance(0.85) { lie.to_le_bytes() } else { (lie << (64 - 8 * width)).to_be_bytes() };
            let end = (place + width).min(bytes.len());
            bytes[place..end].copy_from_slice(&lie[..end - place]);
        }
        5 => {
            bytes.drain(place..place + length);
        }
        6 => {
            let piece = bytes[place..place + length].to_vec();
            let times = [1, 2, 10, 1000, 30_000][dice.below(5)].min(LONGEST / piece.len());
            bytes.splice(place..place, piece.repeat(times));
        }
        7 if !other.is_empty() => {
            let from = dice.place(other.len()).min(other.len() - 1);
            let to = (from + 1 + dice.below(512)).min(other.len());
            bytes.splice(place..place + length, other[from..to].iter().copied());
        }
        8 => {
            let noise: Vec<u8> = (0..length).map(|_| dice.bits() as u8).collect();
            bytes[place..place + length].copy_from_slice(&noise);
        }
        9 => bytes[place..place + length].fill(*dice.pick(&[0, 0xff, b' ', b'9', b'['])),
        10 => {
            let end = place + length;
            let to = dice.below(bytes.len() - length + 1);
            let piece: Vec<u8> = bytes.drain(place..end).collect();
            bytes.splice(to..to, piece);
        }
        _ => bytes = number(bytes, dice),
    }
    bytes
}

/// Another number in place of some digits.
fn number(mut bytes: Vec<u8>, dice: &mut Dice) -> Vec<u8> {
    let starts: Vec<usize> = (0..bytes.len())
        .filter(|at| bytes[*at].is_ascii_digit() && (*at == 0 || !bytes[*at - 1].is_ascii_digit()))
        .take(100_000)
        .collect();
    if starts.is_empty() {
        return bytes;
    }
    let start = *dice.pick(&starts);
    let end = start + bytes[start..].iter().take_while(|b| b.is_ascii_digit()).count();
    bytes.splice(start..end, dice.pick(NUMBERS).bytes());
    bytes
}

const NUMBERS: &[&str] = &[
    "0",
    "1",
    "-1",
    "1.5",
    "1e400",
    "-1e400",
    "1e-400",
    "255",
    "65536",
    "2147483647",
    "2147483648",
    "4294967296",
    "100000000000",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "99999999999999999999999999",
    "NaN",
    "null",
];

/// A changed JSON text.
fn json(bytes: &[u8], dice: &mut Dice) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut value: Value = serde_json::from_str(text).ok()?;
    let nodes = count(&value);
    let at = dice.below(nodes);
    let copy = dice.below(nodes);
    let copied = node(&mut value, &mut { copy }).cloned()?;
    let place = node(&mut value, &mut { at })?;
    // What a JSON value cannot represent replaces this mark in the text.
    const MARK: &str = "a mark that stands nowhere else";
    let mut instead = None;
    match dice.below(12) {
        0 => *place = Value::Null,
        1 => *place = Value::Bool(dice.chance(0.5)),
        2..=4 => {
            instead = Some(dice.pick(NUMBERS).to_string());
            *place = MARK.into();
        }
        5 => {
            *place = dice
                .pick(&["", "a", "\u{0}", "../../x", "/etc/hosts", "float32", "F64", "llama", "topk"])
                .to_string()
                .into()
        }
        6 => *place = copied,
        7 => {
            let depth = *dice.pick(&[10, 200, 100_000]);
            let [open, close] = *dice.pick(&[["[", "]"], ["{\"a\":", "}"]]);
            let closed = if dice.chance(0.8) { close.repeat(depth) } else { String::new() };
            instead = Some(format!("{}1{closed}", open.repeat(depth)));
            *place = MARK.into();
        }
        8 => {
            let many = *dice.pick(&[3, 1000, 50_000]);
            *place = Value::Array(vec![copied.clone(); many.min(LONGEST / copied.to_string().len())]);
        }
        9 => *place = Value::String("a".repeat(*dice.pick(&[100, 100_000]))),
        _ => match place {
            Value::Object(fields) if !fields.is_empty() => {
                let keys: Vec<String> = fields.keys().cloned().collect();
                let key = dice.pick(&keys);
                let taken = fields.remove(key);
                if dice.chance(0.5) {
                    fields.insert(format!("{key}_"), taken?);
                }
            }
            Value::Array(items) if !items.is_empty() => {
                let at = dice.below(items.len());
                if dice.chance(0.5) {
                    items.remove(at);
                } else {
                    items.insert(at, copied);
                }
            }
            other => *other = copied,
        },
    }
    let text = value.to_string();
    let text = match instead {
        Some(instead) => text.replace(&format!("\"{MARK}\""), &instead),
        None => text,
    };
    Some(text.into_bytes())
}

fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(count).sum(),
        Value::Object(fields) => fields.values().map(count).sum(),
        _ => 0,
    }
}

/// The node with this index, in the order of the text.
fn node<'a>(value: &'a mut Value, left: &mut usize) -> Option<&'a mut Value> {
    if *left == 0 {
        return Some(value);
    }
    *left -= 1;
    match value {
        Value::Array(items) => items.iter_mut().find_map(|item| node(item, left)),
        Value::Object(fields) => fields.values_mut().find_map(|field| node(field, left)),
        _ => None,
    }
}

/// One line removed, doubled, cut, made long or replaced.
fn line(bytes: Vec<u8>, dice: &mut Dice) -> Vec<u8> {
    let mut lines: Vec<Vec<u8>> = bytes.split(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
    let at = dice.below(lines.len());
    match dice.below(8) {
        0 => {
            lines.remove(at);
        }
        1 => lines.insert(at, lines[at].clone()),
        2 => {
            let length = dice.below(lines[at].len() + 1);
            lines[at].truncate(length);
        }
        3 => {
            let times = *dice.pick(&[2, 100, 10_000]);
            lines[at] = lines[at].repeat(times.min(LONGEST / lines[at].len().max(1)));
        }
        4 => lines[at] = b"[".repeat(*dice.pick(&[10, 200, 200_000])),
        5 => {
            lines[at] = dice
                .pick(&[&b"\xff\xfe"[..], b"\0\0\0", b"\r", b"\xef\xbb\xbf", b"{}", b"\"", b"{\"text\": 1}"])
                .to_vec()
        }
        6 => lines[at] = json(&lines[at], dice).unwrap_or_default(),
        _ => lines[at] = number(lines[at].clone(), dice),
    }
    lines.join(&b'\n')
}

/// A changed header, with its length corrected.
fn header(bytes: &[u8], dice: &mut Dice) -> Option<Vec<u8>> {
    let length = u64::from_le_bytes(*bytes.first_chunk()?) as usize;
    let text = bytes.get(8..8usize.checked_add(length)?)?;
    let mut changed = if dice.chance(0.7) { json(text, dice)? } else { number(text.to_vec(), dice) };
    changed.resize(changed.len().next_multiple_of(8), b' ');
    let mut file = (changed.len() as u64).to_le_bytes().to_vec();
    file.extend(changed);
    file.extend(&bytes[8 + length..]);
    Some(file)
}

/// Changed content, with its hash corrected.
fn summed(bytes: &[u8], other: &[u8], dice: &mut Dice) -> Option<Vec<u8>> {
    use sha2::{Digest, Sha256};
    let content = bytes.get(..bytes.len().checked_sub(64)?)?;
    let mut changed = match header(content, dice) {
        Some(changed) if dice.chance(0.6) => changed,
        _ => anywhere(content.to_vec(), other, dice),
    };
    let hash = Sha256::digest(&changed);
    changed.extend(microtome::base::files::hex(&hash).bytes());
    Some(changed)
}

/// A changed member of an archive, with its checksum corrected.
fn member(bytes: &[u8], other: &[u8], dice: &mut Dice) -> Option<Vec<u8>> {
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).ok()?;
    let chosen = dice.below(archive.len().max(1));
    let mut made = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let method = *dice.pick(&[zip::CompressionMethod::Stored, zip::CompressionMethod::Deflated]);
    let options = zip::write::SimpleFileOptions::default().compression_method(method);
    for index in 0..archive.len() {
        let mut content = Vec::new();
        let mut file = archive.by_index(index).ok()?;
        let name = file.name().ok()?.into_owned();
        file.by_ref().take(LONGEST as u64).read_to_end(&mut content).ok()?;
        if index == chosen {
            content = anywhere(content, other, dice);
        }
        made.start_file(name, options).ok()?;
        made.write_all(&content).ok()?;
    }
    Some(made.finish().ok()?.into_inner())
}

/// Changed content, compressed again.
fn packed(bytes: &[u8], other: &[u8], dice: &mut Dice) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    flate2::read::MultiGzDecoder::new(bytes).take(LONGEST as u64).read_to_end(&mut content).ok()?;
    let content = anywhere(content, other, dice);
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packer.write_all(&content).ok()?;
    packer.finish().ok()
}
