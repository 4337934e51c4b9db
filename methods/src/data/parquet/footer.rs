//! Checks of a Parquet file's metadata before the crate reads it: the depth of the schema, and the memory that lists
//! and pages need. The metadata are in Thrift's compact protocol.

use crate::base::budget::Budget;
use crate::common::*;

/// Maximum nesting of groups in a schema, through which the crate recurses.
const DEEPEST: usize = 64;

/// Maximum nesting of structures; the format has six levels.
const MOST_NESTED: usize = 32;

/// Approximate memory that the crate needs for each structure of a list; a column of a row group needs most.
const STRUCTURE: u128 = 768;

/// The end of a file: the length of the metadata, and the magic bytes that it also begins with.
const TAIL: usize = 8;

/// Refuses a footer that would crash the crate. Other errors in it are left to the crate, which explains them.
pub fn check_footer(file: &[u8]) -> Result<()> {
    let Some(tail) = file.len().checked_sub(TAIL).and_then(|at| file.get(at..)) else { return Ok(()) };
    let length = tail.first_chunk().map_or(0, |length| u32::from_le_bytes(*length)) as usize;
    let end = file.len() - TAIL;
    let Some(footer) = end.checked_sub(length).and_then(|start| file.get(start..end)) else { return Ok(()) };
    let mut children = Vec::new();
    let mut walk = Walk { rest: footer, budget: Budget::of_header(), schema: Some(&mut children), numbers: Vec::new() };
    walk.structure(0, StructureKind::Top)?;
    depth(&children)
}

/// Returns the decompressed size of the largest of the consecutive pages in these bytes.
pub fn largest_page(mut pages: &[u8]) -> Result<u64> {
    let mut unpacked = 0;
    while !pages.is_empty() {
        let mut walk = Walk { rest: pages, budget: Budget::of_header(), schema: None, numbers: Vec::new() };
        walk.structure(0, StructureKind::Page)?;
        let number = |field: i64| walk.numbers.iter().find(|(id, _)| *id == field).map_or(0, |(_, number)| *number);
        let wide = u64::try_from(number(2));
        let packed = usize::try_from(number(3));
        let (Ok(wide), Ok(packed)) = (wide, packed) else { bail!(Format, "a page of a size below zero") };
        unpacked = wide.max(unpacked);
        pages = walk.rest.get(packed..).ok_or_else(ends)?;
    }
    Ok(unpacked)
}

fn ends() -> Error {
    err!(Format, "it ends within its header")
}

/// Refuses a schema, given by the number of children of each element, that is too deep or has too few elements.
fn depth(children: &[i64]) -> Result<()> {
    // The number of children left in each open group.
    let mut open: Vec<i64> = Vec::new();
    for (at, count) in children.iter().enumerate() {
        if *count < 0 || *count > (children.len() - at) as i64 {
            bail!(Format, "a group of {count} columns in a schema of {} elements", children.len());
        }
        while open.last() == Some(&0) {
            open.pop();
        }
        if let Some(left) = open.last_mut() {
            *left -= 1;
        }
        if *count > 0 {
            open.push(*count);
        }
        if open.len() > DEEPEST {
            bail!(Format, "expected groups at most {DEEPEST} deep in its schema, found deeper ones");
        }
    }
    Ok(())
}

/// The kind of a structure, as far as its checks differ.
#[derive(Clone, Copy, PartialEq, Eq)]
enum StructureKind {
    /// The footer itself, whose second field is the schema.
    Top,
    /// An element of the schema, whose fifth field is its number of children.
    Element,
    /// The header of a page, whose numbers are returned.
    Page,
    Elsewhere,
}

struct Walk<'a> {
    rest: &'a [u8],
    budget: Budget,
    schema: Option<&'a mut Vec<i64>>,
    /// The numbers of a page's header, by their fields.
    numbers: Vec<(i64, i64)>,
}

impl Walk<'_> {
    fn byte(&mut self) -> Result<u8> {
        let (first, rest) = self.rest.split_first().ok_or_else(ends)?;
        self.rest = rest;
        Ok(*first)
    }

    fn skip(&mut self, count: u64) -> Result<()> {
        let rest = usize::try_from(count).ok().and_then(|count| self.rest.get(count..));
        self.rest = rest.ok_or_else(ends)?;
        Ok(())
    }

    fn varint(&mut self) -> Result<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        bail!(Format, "a number of more than 64 bits")
    }

    /// Reads a zigzag number, whose lowest bit is its sign.
    fn signed(&mut self) -> Result<i64> {
        let number = self.varint()?;
        Ok((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }

    fn structure(&mut self, depth: usize, at: StructureKind) -> Result<()> {
        if depth > MOST_NESTED {
            bail!(Format, "expected structures at most {MOST_NESTED} deep, found deeper ones");
        }
        let mut field = 0_i64;
        let mut children = 0;
        loop {
            let head = self.byte()?;
            if head == 0 {
                break;
            }
            field = match head >> 4 {
                0 => self.signed()?,
                step => field.saturating_add(step.into()),
            };
            match (head & 0xf, at, field) {
                (5, StructureKind::Element, 5) => children = self.signed()?,
                (5, StructureKind::Page, _) => {
                    let number = self.signed()?;
                    self.numbers.push((field, number));
                }
                (kind, StructureKind::Top, 2) => self.value(kind, depth, StructureKind::Element)?,
                (kind, ..) => self.value(kind, depth, StructureKind::Elsewhere)?,
            }
        }
        if at == StructureKind::Element
            && let Some(schema) = &mut self.schema
        {
            schema.push(children);
        }
        Ok(())
    }

    /// Skips a value; `inside` is the kind of the structures of a list.
    fn value(&mut self, kind: u8, depth: usize, inside: StructureKind) -> Result<()> {
        match kind {
            // The value of a boolean is its type.
            1 | 2 => Ok(()),
            3 => self.skip(1),
            4..=6 => self.varint().map(|_| ()),
            7 => self.skip(8),
            8 => {
                let length = self.varint()?;
                self.skip(length)
            }
            9 | 10 => self.list(depth, inside),
            11 => self.map(depth),
            12 => self.structure(depth + 1, StructureKind::Elsewhere),
            13 => self.skip(16),
            other => bail!(Format, "a value of the unknown kind {other}"),
        }
    }

    fn list(&mut self, depth: usize, inside: StructureKind) -> Result<()> {
        let head = self.byte()?;
        let count = match head >> 4 {
            15 => self.varint()?,
            count => count.into(),
        };
        let kind = head & 0xf;
        // Each takes at least one byte.
        if count > self.rest.len() as u64 {
            return Err(ends());
        }
        let each = if kind == 12 { STRUCTURE } else { 16 };
        self.budget.take(u128::from(count) * each, || "what it says of itself".into())?;
        for _ in 0..count {
            match kind {
                12 => self.structure(depth + 1, inside)?,
                1 | 2 => self.skip(1)?,
                kind if depth < MOST_NESTED => self.value(kind, depth + 1, StructureKind::Elsewhere)?,
                _ => bail!(Format, "expected lists at most {MOST_NESTED} deep, found deeper ones"),
            }
        }
        Ok(())
    }

    fn map(&mut self, depth: usize) -> Result<()> {
        let count = self.varint()?;
        if count == 0 {
            return Ok(());
        }
        if count > self.rest.len() as u64 || depth >= MOST_NESTED {
            return Err(ends());
        }
        let kinds = self.byte()?;
        for _ in 0..count {
            for kind in [kinds >> 4, kinds & 0xf] {
                match kind {
                    1 | 2 => self.skip(1)?,
                    kind => self.value(kind, depth + 1, StructureKind::Elsewhere)?,
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Builds a footer with only a schema of given numbers of children.
    fn file(children: &[u8]) -> Vec<u8> {
        let mut footer = vec![0x15, 2, 0x19, 0xfc];
        let mut count = children.len();
        while count > 0x7f {
            footer.push(count as u8 | 0x80);
            count >>= 7;
        }
        footer.push(count as u8);
        for children in children {
            // The name `g`, and the count as a zigzag number.
            footer.extend([0x48, 1, b'g', 0x15, 2 * children, 0]);
        }
        footer.push(0);
        let length = (footer.len() as u32).to_le_bytes();
        [b"PAR1".as_slice(), &footer, &length, b"PAR1"].concat()
    }

    #[test]
    fn groups_within_groups_are_counted() {
        let nested = |depth: usize| [vec![1; depth], vec![0]].concat();
        assert_eq!(check_footer(&file(&nested(64))), Ok(()));
        let refused = check_footer(&file(&nested(65))).unwrap_err().message;
        assert_eq!(refused, "expected groups at most 64 deep in its schema, found deeper ones");
        assert!(check_footer(&file(&nested(100_000))).is_err());
        // Sixty sibling groups are not deep.
        let beside = [vec![60], [1, 0].repeat(60)].concat();
        assert_eq!(check_footer(&file(&beside)), Ok(()));
        let claimed = check_footer(&file(&[2, 60, 0])).unwrap_err().message;
        assert_eq!(claimed, "a group of 60 columns in a schema of 3 elements");
    }

    #[test]
    fn structures_within_structures_end_and_what_is_cut_is_an_error() {
        let deep = vec![0x1c; 100_000];
        let length = (deep.len() as u32).to_le_bytes();
        let file = [&deep[..], &length, b"PAR1"].concat();
        assert!(check_footer(&file).unwrap_err().message.contains("structures at most 32 deep"));
        let good = self::file(&[1, 0]);
        for end in 12..good.len() - 9 {
            let cut = [&good[4..end], &((end - 4) as u32).to_le_bytes(), b"PAR1"].concat();
            assert!(check_footer(&cut).is_err(), "{end}");
        }
    }

    #[test]
    fn the_largest_page_is_found() {
        // The kind of page, its decompressed and compressed sizes; then its bytes.
        let page = [0x15, 0, 0x15, 200, 1, 0x15, 4, 0, 9, 9];
        let small = [0x15, 0, 0x15, 2, 0x15, 2, 0, 9];
        assert_eq!(largest_page(&[&small[..], &page, &small].concat()).unwrap(), 100);
        assert!(largest_page(&page[..9]).is_err());
    }
}
