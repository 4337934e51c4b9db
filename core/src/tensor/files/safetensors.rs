//! The safetensors format: a JSON header with the offsets of all tensors, then their bytes.

use std::fmt;
use std::io::Write;

use candle_core::{DType, Device, Tensor};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

use super::super::dtype as dtypes;
use super::super::element::{self, dispatch};
use super::{NamedTensors, countable, put, write_elements};
use crate::common::*;

/// The key of the metadata in a header.
const METADATA: &str = "__metadata__";

/// Number of elements that are converted at once.
const PIECE: usize = 1 << 18;

/// One tensor as the header describes it.
#[derive(Debug, Clone, PartialEq)]
struct HeaderEntry {
    dtype: DType,
    shape: Vec<usize>,
    /// The byte range of the tensor in the file.
    place: Range<usize>,
}

/// The header of a file: the places of its tensors.
pub struct Header {
    entries: BTreeMap<String, HeaderEntry>,
    metadata: BTreeMap<String, String>,
}

impl Header {
    /// Returns the bytes from the beginning of a file that have the whole header.
    pub fn length(beginning: &[u8]) -> Result<u64> {
        Ok(announced(beginning)?.saturating_add(8))
    }

    /// Parses the header, for a file of this length: every size is checked, and the tensors must fill the file without gaps
    /// or overlaps.
    pub fn parse(beginning: &[u8], whole: usize) -> Result<Self> {
        let length = announced(beginning)?;
        let end = usize::try_from(length).ok().and_then(|length| length.checked_add(8)).filter(|end| *end <= whole);
        let header = end.and_then(|end| beginning.get(8..end)).ok_or_else(|| {
            let found = whole.saturating_sub(8);
            err!(Format, "expected a safetensors header of {length} bytes, found {found} in the whole file")
                .hint("the file is cut short, or is no safetensors file")
        })?;
        let fields: Fields =
            json::read(header, |e| err!(Format, "the safetensors header is not as it should be: {e}"))?;
        let start = header.len() + 8;
        let mut entries = BTreeMap::new();
        let mut metadata = BTreeMap::new();
        for (name, value) in fields.0 {
            if name == METADATA {
                metadata = texts(&value)?;
            } else {
                let entry = entry(&value, start, whole - start).map_err(|e| e.within(&name))?;
                entries.insert(name, entry);
            }
        }
        gapless(&entries, start, whole)?;
        Ok(Self { entries, metadata })
    }

    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// Returns the names of all tensors, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        Some(&self.entries.get(name)?.shape)
    }

    pub fn dtype(&self, name: &str) -> Option<DType> {
        Some(self.entries.get(name)?.dtype)
    }

    /// Returns the byte range of a tensor in the file.
    pub fn place(&self, name: &str) -> Option<Range<usize>> {
        Some(self.entries.get(name)?.place.clone())
    }
}

/// A file with a parsed and checked header, whose tensors are read one by one.
pub struct SafetensorsFile<B> {
    bytes: B,
    header: Header,
}

impl<B: AsRef<[u8]>> SafetensorsFile<B> {
    pub fn new(bytes: B) -> Result<Self> {
        let header = Header::parse(bytes.as_ref(), bytes.as_ref().len())?;
        Ok(Self { bytes, header })
    }

    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.header.metadata
    }

    /// Returns the names of all tensors, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.header.names()
    }

    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.header.shape(name)
    }

    pub fn dtype(&self, name: &str) -> Option<DType> {
        self.header.dtype(name)
    }

    /// Returns the byte range of a tensor in the file.
    pub fn place(&self, name: &str) -> Option<Range<usize>> {
        self.header.place(name)
    }

    /// Returns the whole file, header included.
    pub fn bytes(&self) -> &B {
        &self.bytes
    }

    /// Reads one tensor by name.
    pub fn tensor(&self, name: &str) -> Result<Tensor> {
        let entry = self.entry(name)?;
        element::room(&entry.shape, entry.dtype)?;
        let data = self.bytes.as_ref().get(entry.place.clone()).unwrap_or_default();
        Ok(Tensor::from_raw_buffer(data, entry.dtype, &entry.shape, &Device::Cpu)?)
    }

    /// Reads one tensor in another float dtype, converted piece by piece, so that it is never in memory in both. After
    /// each piece `read` is called with the part of the file that has been read.
    pub fn tensor_as(
        &self,
        name: &str,
        wanted: DType,
        read: &mut dyn FnMut(Range<usize>) -> Result<()>,
    ) -> Result<Tensor> {
        let entry = self.entry(name)?;
        let count = element::room(&entry.shape, wanted)?;
        let width = entry.dtype.size_in_bytes();
        dispatch!(wanted, T => {
            let mut all: Vec<T> = Vec::with_capacity(count);
            for start in entry.place.clone().step_by(PIECE * width) {
                let end = (start + PIECE * width).min(entry.place.end);
                let data = self.bytes.as_ref().get(start..end).unwrap_or_default();
                let piece = Tensor::from_raw_buffer(data, entry.dtype, &[data.len() / width], &Device::Cpu)?;
                all.extend(dtypes::convert(&piece, wanted)?.to_vec1::<T>()?);
                read(start..end)?;
            }
            Ok(Tensor::from_vec(all, entry.shape.as_slice(), &Device::Cpu)?)
        })
    }

    /// Reads some rows of a tensor, one after the other, in another float dtype, and nothing else of it.
    pub fn rows(&self, name: &str, rows: &[u32], wanted: DType) -> Result<Tensor> {
        let entry = self.entry(name)?;
        let (count, inner) = match entry.shape.split_first() {
            Some((count, inner)) => (*count, inner.iter().product::<usize>()),
            None => bail!(Shape, "expected a tensor with rows, found the number `{name}`"),
        };
        element::room(&[rows.len(), inner], wanted)?;
        let width = inner * entry.dtype.size_in_bytes();
        let mut data = Vec::with_capacity(rows.len() * width);
        for row in rows {
            let row = *row as usize;
            if row >= count {
                bail!(Argument, "expected rows of `{name}` below {count}, found {row}");
            }
            let start = entry.place.start + row * width;
            data.extend_from_slice(self.bytes.as_ref().get(start..start + width).unwrap_or_default());
        }
        let found = Tensor::from_raw_buffer(&data, entry.dtype, &[rows.len(), inner], &Device::Cpu)?;
        dtypes::convert(&found, wanted)
    }

    fn entry(&self, name: &str) -> Result<&HeaderEntry> {
        self.header.entries.get(name).ok_or_else(|| {
            err!(Name, "this file has no tensor `{name}`")
                .maybe_hint(names::suggestion(name, self.header.entries.keys().map(String::as_str)))
        })
    }

    pub fn all(&self) -> Result<NamedTensors> {
        let bytes: u128 = self.header.entries.values().map(|entry| entry.place.len() as u128).sum();
        memory::check(bytes, || "what is in the safetensors file".into())?;
        let read = |name: &String| Ok((name.clone(), self.tensor(name)?));
        let tensors = self.header.entries.keys().map(read).collect::<Result<_>>()?;
        Ok(NamedTensors { tensors, metadata: self.header.metadata.clone() })
    }
}

/// Returns the length of the header, as the file begins with it.
fn announced(beginning: &[u8]) -> Result<u64> {
    match beginning.first_chunk::<8>() {
        Some(length) => Ok(u64::from_le_bytes(*length)),
        None => Err(err!(Format, "expected a safetensors file, found {} bytes", beginning.len())),
    }
}

fn entry(value: &Value, start: usize, available: usize) -> Result<HeaderEntry> {
    let fields = value.as_object().ok_or_else(|| err!(Format, "expected a description, found {value}"))?;
    if let Some(unknown) = fields.keys().find(|key| !["dtype", "shape", "data_offsets"].contains(&key.as_str())) {
        bail!(Format, "unknown field `{unknown}` in the header");
    }
    let dtype = dtype(fields.get("dtype").and_then(Value::as_str).unwrap_or_default())?;
    let shape = sizes(fields.get("shape")).ok_or_else(|| err!(Format, "expected a shape of sizes"))?;
    countable(&shape)?;
    let place = sizes(fields.get("data_offsets"));
    let Some(&[from, to]) = place.as_deref() else { bail!(Format, "expected two data_offsets") };
    if from > to || to > available {
        bail!(Format, "expected data within 0..{available}, found {from}..{to}");
    }
    let places = shape.iter().try_fold(1_u128, |product, size| product.checked_mul(*size as u128));
    let wanted = places.and_then(|places| places.checked_mul(dtype.size_in_bytes() as u128));
    if wanted != Some((to - from) as u128) {
        bail!(
            Format,
            "expected {} bytes for shape {shape:?} of {}, found {}",
            wanted.unwrap_or(u128::MAX),
            dtype.as_str(),
            to - from
        );
    }
    Ok(HeaderEntry { dtype, shape, place: start + from..start + to })
}

fn sizes(value: Option<&Value>) -> Option<Vec<usize>> {
    let size = |v: &Value| v.as_u64().and_then(|size| usize::try_from(size).ok());
    value?.as_array()?.iter().map(size).collect()
}

fn dtype(name: &str) -> Result<DType> {
    NAMES.iter().find(|(theirs, _)| *theirs == name).map(|(_, ours)| *ours).ok_or_else(|| {
        err!(Format, "expected a dtype that tensors have, found `{name}`")
            .hint(format!("tensors are {}", NAMES.map(|(theirs, _)| theirs).join(" ")))
    })
}

/// The format's names of our dtypes; booleans are read as u8.
const NAMES: [(&str, DType); 11] = [
    ("F64", DType::F64),
    ("F32", DType::F32),
    ("F16", DType::F16),
    ("BF16", DType::BF16),
    ("F8_E4M3", DType::F8E4M3),
    ("I64", DType::I64),
    ("I32", DType::I32),
    ("I16", DType::I16),
    ("U32", DType::U32),
    ("U8", DType::U8),
    ("BOOL", DType::U8),
];

fn texts(value: &Value) -> Result<BTreeMap<String, String>> {
    let fields = value.as_object().ok_or_else(|| err!(Format, "expected a map of metadata, found {value}"))?;
    fields
        .iter()
        .map(|(key, value)| match value.as_str() {
            Some(text) => Ok((key.clone(), text.to_string())),
            None => Err(err!(Format, "expected text as metadata `{key}`, found {value}")),
        })
        .collect()
}

/// Checks that the tensors are contiguous from `start` to `end`.
fn gapless(entries: &BTreeMap<String, HeaderEntry>, start: usize, end: usize) -> Result<()> {
    let mut places: Vec<(&Range<usize>, &String)> = entries.iter().map(|(name, e)| (&e.place, name)).collect();
    places.sort_by_key(|(place, _)| (place.start, place.end));
    let mut reached = start;
    for (place, name) in places {
        if place.start != reached {
            let what = if place.start < reached { "overlaps the one before it" } else { "leaves a hole before it" };
            bail!(Format, "tensor `{name}` {what}");
        }
        reached = place.end;
    }
    if reached != end {
        bail!(Format, "expected the tensors to fill the file, found {} bytes behind them", end - reached);
    }
    Ok(())
}

/// The header's fields in order, with duplicate names refused; serde_json itself would keep the last.
struct Fields(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Each;
        impl<'de> Visitor<'de> for Each {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a map of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Fields, A::Error> {
                let mut fields = Vec::new();
                let mut seen = std::collections::BTreeSet::new();
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    if !seen.insert(name.clone()) {
                        return Err(serde::de::Error::custom(format!("the name `{name}` comes twice")));
                    }
                    fields.push((name, value));
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Each)
    }
}

/// Writes a safetensors file: wide dtypes first and then by name, as other writers do, so that all are aligned.
pub fn write(named: &NamedTensors, w: &mut dyn Write) -> Result<()> {
    let mut tensors: Vec<(&String, &Tensor)> = named.tensors.iter().collect();
    tensors.sort_by_key(|(name, t)| (std::cmp::Reverse(t.dtype().size_in_bytes()), *name));
    let mut fields = serde_json::Map::new();
    if !named.metadata.is_empty() {
        fields.insert(METADATA.into(), serde_json::json!(named.metadata));
    }
    let mut offset = 0;
    for (name, t) in &tensors {
        let Some((theirs, _)) = NAMES.iter().find(|(_, ours)| *ours == t.dtype()) else {
            bail!(Argument, "safetensors files have no dtype {}", t.dtype().as_str());
        };
        if *name == METADATA {
            bail!(Argument, "expected another name than `{METADATA}`, which the format keeps for itself");
        }
        let end = offset + t.elem_count() * t.dtype().size_in_bytes();
        fields.insert(
            (*name).clone(),
            serde_json::json!({"dtype": theirs, "shape": t.dims(), "data_offsets": [offset, end]}),
        );
        offset = end;
    }
    let mut header = Value::Object(fields).to_string();
    header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
    put(w, &(header.len() as u64).to_le_bytes())?;
    put(w, header.as_bytes())?;
    tensors.iter().try_for_each(|(_, t)| write_elements(t, w))
}
