//! numpy's npy format: one array with a header that is a Python dictionary.

use std::io::Write;

use candle_core::{DType, Device, Tensor};

use super::super::element;
use super::{countable, put, write_elements};
use crate::common::*;

const MAGIC: &[u8] = b"\x93NUMPY";

/// The content of the header, and the number of its bytes.
#[derive(Debug, PartialEq)]
pub(super) struct NpyHeader {
    dtype: DType,
    big_endian: bool,
    fortran_order: bool,
    shape: Vec<usize>,
    /// Offset of the first element.
    pub(super) data: usize,
}

/// Parses a whole npy file.
pub fn parse(bytes: &[u8]) -> Result<Tensor> {
    let header = NpyHeader::parse(bytes)?;
    header.tensor(bytes.get(header.data..).unwrap_or_default())
}

impl NpyHeader {
    /// Reads the header at the start of `bytes`.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self> {
        let (data, text) = Self::text(bytes)?;
        let text = std::str::from_utf8(text).map_err(|_| err!(Format, "the npy header is not text"))?;
        let mut words = HeaderParser { rest: text.trim_end() };
        let mut descr = None;
        let mut fortran = None;
        let mut shape = None;
        words.expect("{")?;
        while !words.take("}") {
            let key = words.string()?;
            words.expect(":")?;
            match key {
                "descr" if descr.is_none() => descr = Some(words.string()?),
                "fortran_order" if fortran.is_none() => fortran = Some(words.boolean()?),
                "shape" if shape.is_none() => shape = Some(words.tuple()?),
                other => bail!(Format, "the npy header has an unknown or repeated key `{other}`"),
            }
            if !words.take(",") {
                words.expect("}")?;
                break;
            }
        }
        let (Some(descr), Some(fortran_order), Some(shape)) = (descr, fortran, shape) else {
            bail!(Format, "expected descr, fortran_order and shape in the npy header, found {text:?}");
        };
        countable(&shape)?;
        let (dtype, big_endian) = element_type(descr)?;
        Ok(Self { dtype, big_endian, fortran_order, shape, data })
    }

    /// Returns the offset of the data, and the text of the header.
    fn text(bytes: &[u8]) -> Result<(usize, &[u8])> {
        let cut_short = || err!(Format, "the npy header is cut short");
        if !bytes.starts_with(MAGIC) {
            bail!(Format, "expected an npy file, found other content");
        }
        let (start, length) = match bytes.get(6..8).ok_or_else(cut_short)? {
            [1, 0] => {
                (10, bytes.get(8..10).and_then(|b| b.try_into().ok()).map(|b| usize::from(u16::from_le_bytes(b))))
            }
            [2 | 3, 0] => {
                (12, bytes.get(8..12).and_then(|b| b.try_into().ok()).map(|b| u32::from_le_bytes(b) as usize))
            }
            version => bail!(Format, "expected npy version 1, 2 or 3, found {}.{}", version[0], version[1]),
        };
        let end = length.and_then(|length| length.checked_add(start)).ok_or_else(cut_short)?;
        Ok((end, bytes.get(start..end).ok_or_else(cut_short)?))
    }

    /// Returns the number of bytes of elements that must follow; refused if there is not enough memory.
    pub(super) fn size(&self) -> Result<usize> {
        Ok(element::room(&self.shape, self.dtype)? * self.dtype.size_in_bytes())
    }

    /// Returns the tensor with these elements.
    pub(super) fn tensor(&self, data: &[u8]) -> Result<Tensor> {
        let places = self.shape.iter().try_fold(1_u128, |p, d| p.checked_mul(*d as u128)).unwrap_or(u128::MAX);
        let wanted = places.saturating_mul(self.dtype.size_in_bytes() as u128);
        if data.len() as u128 != wanted {
            bail!(Format, "expected {wanted} bytes of elements for shape {:?}, found {}", self.shape, data.len());
        }
        self.size()?;
        let swapped;
        let data = if self.big_endian {
            let width = self.dtype.size_in_bytes();
            swapped = data.chunks(width).flat_map(|x| x.iter().rev().copied()).collect::<Vec<u8>>();
            &swapped
        } else {
            data
        };
        if !self.fortran_order {
            return Ok(Tensor::from_raw_buffer(data, self.dtype, &self.shape, &Device::Cpu)?);
        }
        let turned: Vec<usize> = self.shape.iter().rev().copied().collect();
        let axes: Vec<usize> = (0..turned.len()).rev().collect();
        let columns_first = Tensor::from_raw_buffer(data, self.dtype, &turned, &Device::Cpu)?;
        Ok(columns_first.permute(axes)?.contiguous()?)
    }
}

/// Returns the dtype that a descr like `<f4` names, and whether its bytes are swapped.
fn element_type(descr: &str) -> Result<(DType, bool)> {
    let (order, name) = descr.split_at_checked(1).unwrap_or_default();
    let dtype = match name {
        "f8" => DType::F64,
        "f4" => DType::F32,
        "f2" => DType::F16,
        "i8" => DType::I64,
        "i4" => DType::I32,
        "i2" => DType::I16,
        "u4" => DType::U32,
        "u1" | "b1" => DType::U8,
        _ => {
            return Err(err!(Format, "expected a dtype that tensors have, found `{descr}`")
                .hint("tensors are f2 f4 f8, i2 i4 i8, u1 u4 and b1; convert the array in numpy with `astype`"));
        }
    };
    match order {
        "<" | "|" | "=" => Ok((dtype, false)),
        ">" => Ok((dtype, true)),
        _ => bail!(Format, "expected a byte order of <, > or |, found `{descr}`"),
    }
}

/// A parser for the small part of Python's syntax in which headers are written.
struct HeaderParser<'a> {
    rest: &'a str,
}

impl<'a> HeaderParser<'a> {
    fn take(&mut self, word: &str) -> bool {
        self.rest = self.rest.trim_start();
        match self.rest.strip_prefix(word) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, word: &str) -> Result<()> {
        if self.take(word) { Ok(()) } else { Err(self.wrong(&format!("`{word}`"))) }
    }

    fn wrong(&self, wanted: &str) -> crate::base::Error {
        let found: String = self.rest.chars().take(24).collect();
        err!(Format, "expected {wanted} in the npy header, found `{found}`")
    }

    fn string(&mut self) -> Result<&'a str> {
        let quote = if self.take("'") {
            '\''
        } else if self.take("\"") {
            '"'
        } else {
            return Err(self.wrong("a string"));
        };
        let (text, rest) = self.rest.split_once(quote).ok_or_else(|| self.wrong("the end of a string"))?;
        self.rest = rest;
        Ok(text)
    }

    fn boolean(&mut self) -> Result<bool> {
        match (self.take("True"), self.take("False")) {
            (true, _) => Ok(true),
            (_, true) => Ok(false),
            _ => Err(self.wrong("True or False")),
        }
    }

    fn tuple(&mut self) -> Result<Vec<usize>> {
        self.expect("(")?;
        let mut sizes = Vec::new();
        while !self.take(")") {
            self.rest = self.rest.trim_start();
            let end = self.rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.rest.len());
            let size = self.rest[..end].parse().map_err(|_| self.wrong("a size"))?;
            sizes.push(size);
            self.rest = &self.rest[end..];
            if !self.take(",") {
                self.expect(")")?;
                break;
            }
        }
        Ok(sizes)
    }
}

/// Writes the tensor as an npy file, version 1.
pub fn write(t: &Tensor, w: &mut dyn Write) -> Result<()> {
    put(w, &header(t)?)?;
    write_elements(t, w)
}

/// Returns the header for a tensor, padded so that the elements begin at a multiple of 64.
pub(super) fn header(t: &Tensor) -> Result<Vec<u8>> {
    let descr = match t.dtype() {
        DType::F64 => "<f8",
        DType::F32 => "<f4",
        DType::F16 => "<f2",
        DType::I64 => "<i8",
        DType::I32 => "<i4",
        DType::I16 => "<i2",
        DType::U32 => "<u4",
        DType::U8 => "|u1",
        other => {
            return Err(err!(Argument, "numpy has no dtype {}", other.as_str())
                .hint("cast to f32 first, or save as .safetensors"));
        }
    };
    let sizes: String = t.dims().iter().map(|d| format!("{d}, ")).collect();
    let shape = if t.rank() == 1 { sizes.trim_end() } else { sizes.trim_end_matches(", ") };
    let mut text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({shape}), }}");
    let unpadded = MAGIC.len() + 4 + text.len() + 1;
    text.push_str(&" ".repeat(unpadded.next_multiple_of(64) - unpadded));
    text.push('\n');
    let length =
        u16::try_from(text.len()).map_err(|_| err!(Shape, "a tensor of {} axes is too much for npy", t.rank()))?;
    Ok([MAGIC, &[1, 0], &length.to_le_bytes(), text.as_bytes()].concat())
}
