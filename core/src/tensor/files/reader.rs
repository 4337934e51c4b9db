//! Reader of little-endian numbers from bytes, never beyond their end.

use crate::common::*;

/// Bytes that are read from front to back.
#[derive(Clone)]
pub struct ByteReader<'a> {
    bytes: &'a [u8],
    place: usize,
}

macro_rules! numbers {
    ($($name:ident: $type:ty),*) => { $(
        pub fn $name(&mut self) -> Result<$type> {
            Ok(<$type>::from_le_bytes(self.array()?))
        }
    )* };
}

impl<'a> ByteReader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, place: 0 }
    }

    /// Returns how many bytes have been read.
    pub fn place(&self) -> usize {
        self.place
    }

    /// Returns how many bytes are left.
    pub fn left(&self) -> usize {
        self.bytes.len() - self.place
    }

    pub fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let end = self.place.checked_add(count);
        let Some(found) = end.and_then(|end| self.bytes.get(self.place..end)) else {
            let left = self.left();
            return Err(err!(Format, "expected {count} bytes at byte {}, found {left}", self.place)
                .hint("the file is cut short, or is damaged"));
        };
        self.place += count;
        Ok(found)
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    /// Reads the text up to the next end of line, which is skipped.
    pub fn line(&mut self) -> Result<&'a [u8]> {
        let rest = self.bytes.get(self.place..).unwrap_or_default();
        let Some(length) = rest.iter().position(|byte| *byte == b'\n') else {
            return Err(err!(Format, "expected the end of a line behind byte {}, found none", self.place)
                .hint("the file is cut short, or is damaged"));
        };
        let line = self.take(length)?;
        self.take(1)?;
        Ok(line)
    }

    numbers!(u8: u8, i8: i8, u16: u16, i16: i16, u32: u32, i32: i32, u64: u64, i64: i64, f32: f32, f64: f64);
}

/// Returns the number of elements of a tensor of this shape; refuses one that overflows or, at `width` bytes each,
/// cannot be addressed.
pub fn elements(shape: &[usize], width: usize) -> Result<usize> {
    // Sizes of 0 count as 1 here: candle multiplies sizes and strides in any order, and none may overflow.
    let places = shape.iter().try_fold(1_u128, |product, size| product.checked_mul((*size).max(1) as u128));
    match places.filter(|places| places.saturating_mul(width as u128) <= isize::MAX as u128) {
        Some(_) if shape.contains(&0) => Ok(0),
        Some(places) => Ok(places as usize),
        None => Err(err!(Format, "a tensor of shape {shape:?} has more elements than can be counted")),
    }
}
