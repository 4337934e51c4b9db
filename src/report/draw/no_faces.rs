//! The measures of the typefaces in a build without the feature `pictures`: what is drawn keeps its text as text, and only its
//! width has to be known. `advances.bin` is written by `advances.py`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use crate::report::draw::face::Face;

/// The measures of each face: the advance of its box, then runs of characters that follow each other, each with the first one,
/// their number, and the advance of each, until a run of none. Numbers are of 16 bits, the first character is of 32.
static TABLE: &[u8] = include_bytes!("advances.bin");

/// Units of all measures in one font size.
const UNITS: f64 = 2048.0;

/// The measures of a face.
struct Measures {
    empty: u16,
    advances: BTreeMap<u32, u16>,
}

static FACES: LazyLock<[Measures; 4]> = LazyLock::new(|| {
    let mut rest = TABLE;
    Face::ALL.map(|_| measures(&mut rest))
});

fn measures(rest: &mut &[u8]) -> Measures {
    let empty = number(rest);
    let mut advances = BTreeMap::new();
    loop {
        let first = u32::from(number(rest)) | (u32::from(number(rest)) << 16);
        let count = u32::from(number(rest));
        if count == 0 {
            return Measures { empty, advances };
        }
        for c in first..first + count {
            advances.insert(c, number(rest));
        }
    }
}

fn number(rest: &mut &[u8]) -> u16 {
    let Some((bytes, after)) = rest.split_first_chunk() else { return 0 };
    *rest = after;
    u16::from_le_bytes(*bytes)
}

fn of(face: Face) -> &'static Measures {
    &FACES[2 * face.font as usize + usize::from(face.is_bold)]
}

pub fn advance(face: Face, c: char) -> Option<f64> {
    of(face).advances.get(&u32::from(c)).map(|advance| f64::from(*advance) / UNITS)
}

pub fn box_advance(face: Face) -> f64 {
    f64::from(of(face).empty) / UNITS
}
