//! The values of the metadata of a GGUF file.

use crate::base::budget::Budget;
use crate::common::*;
use crate::tensor::files::reader::ByteReader;

/// Maximum nesting of arrays; real files have one level.
const DEEPEST: usize = 4;

#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Unsigned(u64),
    Signed(i64),
    /// An f32, whose shortest decimal is shorter than that of the same number in f64.
    Single(f32),
    Double(f64),
    Bool(bool),
    Text(String),
    Array(Vec<Value>),
}

impl Value {
    pub(crate) fn read(reader: &mut ByteReader, budget: &mut Budget) -> Result<Self> {
        let kind = reader.u32()?;
        Self::of_kind(reader, kind, 0, budget)
    }

    fn of_kind(reader: &mut ByteReader, kind: u32, depth: usize, budget: &mut Budget) -> Result<Self> {
        Ok(match kind {
            0 => Self::Unsigned(reader.u8()?.into()),
            1 => Self::Signed(reader.i8()?.into()),
            2 => Self::Unsigned(reader.u16()?.into()),
            3 => Self::Signed(reader.i16()?.into()),
            4 => Self::Unsigned(reader.u32()?.into()),
            5 => Self::Signed(reader.i32()?.into()),
            6 => Self::Single(reader.f32()?),
            7 => match reader.u8()? {
                0 => Self::Bool(false),
                1 => Self::Bool(true),
                other => bail!(Format, "expected 0 or 1 for a truth value, found {other}"),
            },
            8 => Self::Text(text(reader, budget)?),
            9 => Self::Array(array(reader, depth, budget)?),
            10 => Self::Unsigned(reader.u64()?),
            11 => Self::Signed(reader.i64()?),
            12 => Self::Double(reader.f64()?),
            other => bail!(Format, "expected a type of value from 0 to 12, found {other}"),
        })
    }

    /// Returns the value as a whole number that is not negative.
    pub fn unsigned(&self) -> Result<u64> {
        match self {
            Self::Unsigned(n) => Ok(*n),
            Self::Signed(n) => u64::try_from(*n).map_err(|_| self.other("a number that is not negative")),
            _ => Err(self.other("a whole number")),
        }
    }

    /// Returns the value as a number; for an f32 the f64 with the same shortest decimal, so that 1e-5 is 1e-5.
    pub fn float(&self) -> Result<f64> {
        match self {
            Self::Single(x) => x.to_string().parse().map_err(|_| self.other("a number")),
            Self::Double(x) => Ok(*x),
            Self::Unsigned(n) => Ok(*n as f64),
            Self::Signed(n) => Ok(*n as f64),
            _ => Err(self.other("a number")),
        }
    }

    pub fn bool(&self) -> Result<bool> {
        match self {
            Self::Bool(value) => Ok(*value),
            _ => Err(self.other("true or false")),
        }
    }

    /// Returns the value as true or false, which some writers have as 1 or 0.
    pub fn flag(&self) -> Result<bool> {
        match self {
            Self::Unsigned(0) | Self::Signed(0) => Ok(false),
            Self::Unsigned(1) | Self::Signed(1) => Ok(true),
            _ => self.bool(),
        }
    }

    pub fn text(&self) -> Result<&str> {
        match self {
            Self::Text(text) => Ok(text),
            _ => Err(self.other("a text")),
        }
    }

    pub fn array(&self) -> Result<&[Value]> {
        match self {
            Self::Array(values) => Ok(values),
            _ => Err(self.other("an array")),
        }
    }

    fn other(&self, wanted: &str) -> Error {
        let found = match self {
            Self::Unsigned(n) => n.to_string(),
            Self::Signed(n) => n.to_string(),
            Self::Single(x) => x.to_string(),
            Self::Double(x) => x.to_string(),
            Self::Bool(value) => value.to_string(),
            Self::Text(_) => "a text".into(),
            Self::Array(values) => format!("an array of {}", values.len()),
        };
        err!(Format, "expected {wanted}, found {found}")
    }
}

/// Refuses a count of items that do not fit into the rest of the file, at `least` bytes each.
pub(crate) fn countable(reader: &ByteReader, count: u64, least: u64, what: &str) -> Result<()> {
    if count > reader.left() as u64 / least {
        return Err(err!(Format, "expected room for {count} {what}, found {} bytes in all", reader.left())
            .hint("the file is cut short, or is damaged"));
    }
    Ok(())
}

/// Reads a length-prefixed text.
pub(crate) fn text(reader: &mut ByteReader, budget: &mut Budget) -> Result<String> {
    let length = reader.u64()?;
    let bytes = reader.take(usize::try_from(length).unwrap_or(usize::MAX))?;
    budget.take(bytes.len() as u128, metadata)?;
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_string()),
        Err(e) => bail!(
            Format,
            "expected UTF-8 text, found other bytes at byte {}",
            reader.place() - bytes.len() + e.valid_up_to()
        ),
    }
}

/// Names what the budget counts, for its error.
pub(crate) fn metadata() -> String {
    "the metadata of a GGUF file".into()
}

fn array(reader: &mut ByteReader, depth: usize, budget: &mut Budget) -> Result<Vec<Value>> {
    if depth == DEEPEST {
        bail!(Format, "expected arrays at most {DEEPEST} deep, found deeper ones");
    }
    let kind = reader.u32()?;
    let count = reader.u64()?;
    countable(reader, count, least(kind), "values of an array")?;
    // The list grows by doubling, so its capacity may be twice its length.
    budget.take(2 * u128::from(count) * size_of::<Value>() as u128, metadata)?;
    (0..count).map(|_| Value::of_kind(reader, kind, depth + 1, budget)).collect()
}

/// Returns the minimum number of bytes of a value of this kind.
fn least(kind: u32) -> u64 {
    match kind {
        2 | 3 => 2,
        4..=6 => 4,
        8 | 10..=12 => 8,
        9 => 12,
        _ => 1,
    }
}
