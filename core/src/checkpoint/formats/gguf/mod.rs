//! GGUF, the files of llama.cpp: a header with typed metadata (the tokenizer among them), then aligned tensors.

mod architectures;
mod bert;
mod biased;
mod common;
mod delta;
mod gemma;
mod gemma4;
mod keys;
mod latent;
mod layout;
mod mixtures;
mod names;
mod parts;
mod plain;
mod quantised;
mod qwen35;
mod rope;
mod rwkv7;
mod state_spaces;
mod tables;
mod unknown;

use kernels::PackedMatrix;

pub use self::parts::{GgufModel, ShardPlace, part_names};
use self::quantised::TensorKind;
use crate::base;
use crate::base::budget::Budget;
use crate::common::*;
use crate::model::layout::TensorSource;
use crate::tensor::Tensor;
use crate::tensor::files::gguf_value::{self, Value, countable};
use crate::tensor::files::reader::ByteReader;

const MAGIC: &[u8; 4] = b"GGUF";

/// The default alignment of tensors.
const ALIGNMENT: u64 = 32;

/// ggml's maximum number of axes.
const MOST_AXES: u32 = 4;

/// A file with a parsed and checked header, whose tensors are read one by one.
pub struct GgufFile<B> {
    bytes: B,
    pub version: u32,
    pub metadata: BTreeMap<String, Value>,
    tensors: BTreeMap<String, Info>,
    task: Task,
    /// The bytes of the file for matrices that stay quantised, which outlive this reader.
    staying: Option<Arc<dyn AsRef<[u8]> + Send + Sync>>,
}

/// One tensor as the header describes it.
#[derive(Debug, Clone, PartialEq)]
struct Info {
    /// The slowest axis first, as everywhere else in this program; the file has the fastest first.
    shape: Vec<usize>,
    kind: TensorKind,
    /// Byte range of the tensor in the file.
    place: Range<usize>,
}

impl<B: AsRef<[u8]>> GgufFile<B> {
    /// Parses the header: every count and every offset is checked against the length of the file.
    pub fn new(bytes: B) -> Result<Self> {
        Self::within(bytes, Budget::of_header())
    }

    fn within(bytes: B, mut budget: Budget) -> Result<Self> {
        let content = bytes.as_ref();
        let mut reader = ByteReader::new(content);
        let version = version(&mut reader)?;
        let tensors = reader.u64()?;
        let pairs = reader.u64()?;
        let metadata = metadata(&mut reader, pairs, &mut budget)?;
        let infos = infos(&mut reader, tensors, &mut budget)?;
        let alignment = alignment(&metadata)?;
        let start = (reader.place() as u64).next_multiple_of(alignment);
        let tensors = placed(infos, start, alignment, content.len())?;
        Ok(Self { version, metadata, tensors, bytes, task: Task::default(), staying: None })
    }

    /// Sets the task, whose interruption is checked for while a tensor is dequantised.
    pub fn with_task(self, task: &Task) -> Self {
        Self { task: task.clone(), ..self }
    }

    /// Makes matrices that can compute quantised stay in these bytes, which are those of this file.
    pub fn staying_in(self, bytes: Arc<dyn AsRef<[u8]> + Send + Sync>) -> Self {
        Self { staying: Some(bytes), ..self }
    }

    fn info(&self, name: &str) -> Result<&Info> {
        self.tensors.get(name).ok_or_else(|| {
            err!(Name, "this file has no tensor `{name}`")
                .maybe_hint(base::names::suggestion(name, self.tensors.keys().map(String::as_str)))
        })
    }
}

impl<B: AsRef<[u8]>> TensorSource for GgufFile<B> {
    fn names(&self) -> Vec<String> {
        self.tensors.keys().cloned().collect()
    }

    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.tensors.get(name).map(|info| info.shape.clone())
    }

    fn tensor(&self, name: &str) -> Result<Tensor> {
        let info = self.info(name)?;
        let data = self.bytes.as_ref().get(info.place.clone()).unwrap_or_default();
        info.kind.tensor(data, &info.shape, &self.task).map_err(|e| e.within(name))
    }

    fn packed(&self, name: &str) -> Option<PackedMatrix> {
        let info = self.tensors.get(name)?;
        let bytes = self.staying.clone()?;
        // Matrices of several experts follow one another.
        let (rows, inner) = match *info.shape.as_slice() {
            [rows, inner] => (rows, inner),
            [experts, rows, inner] => (experts.checked_mul(rows)?, inner),
            _ => return None,
        };
        PackedMatrix::new(info.kind.packing()?, [rows, inner], bytes, info.place.start)
    }
}

fn version(reader: &mut ByteReader) -> Result<u32> {
    let magic = reader.array::<4>()?;
    if &magic != MAGIC {
        bail!(Format, "expected a GGUF file, which begins with `GGUF`, found other content");
    }
    match reader.u32()? {
        version @ (2 | 3) => Ok(version),
        1 => Err(err!(Format, "expected GGUF version 2 or 3, found 1")
            .hint("files of version 1 are from before September 2023; convert the model again")),
        version if matches!(version.swap_bytes(), 2 | 3) => {
            bail!(Format, "expected a little-endian GGUF file, found a big-endian one")
        }
        version => bail!(Format, "expected GGUF version 2 or 3, found {version}"),
    }
}

fn metadata(reader: &mut ByteReader, pairs: u64, budget: &mut Budget) -> Result<BTreeMap<String, Value>> {
    // A key has its length, a value its type and at least one byte.
    countable(reader, pairs, 8 + 4 + 1, "metadata")?;
    budget.take(u128::from(pairs) * 2 * size_of::<(String, Value)>() as u128, gguf_value::metadata)?;
    let mut metadata = BTreeMap::new();
    for _ in 0..pairs {
        let key = gguf_value::text(reader, budget).map_err(|e| e.within("a key of the metadata"))?;
        let value = Value::read(reader, budget).map_err(|e| e.within(&key))?;
        if metadata.insert(key.clone(), value).is_some() {
            bail!(Format, "the metadata have `{key}` twice");
        }
    }
    Ok(metadata)
}

/// A tensor's entry in the header: name, shape, kind, and offset from the end of the header.
type TensorEntry = (String, Vec<usize>, TensorKind, u64);

fn infos(reader: &mut ByteReader, tensors: u64, budget: &mut Budget) -> Result<Vec<TensorEntry>> {
    // The length of a name, the number of axes, the kind, the offset.
    countable(reader, tensors, 8 + 4 + 4 + 8, "tensors")?;
    // They are listed, and then sorted by their names.
    let each = 2 * (size_of::<TensorEntry>() + size_of::<(String, Info)>()) + 8 * MOST_AXES as usize;
    budget.take(u128::from(tensors) * each as u128, || "the list of tensors of a GGUF file".into())?;
    let mut infos = Vec::new();
    for _ in 0..tensors {
        let name = gguf_value::text(reader, budget).map_err(|e| e.within("a tensor's name"))?;
        let (shape, kind, offset) = described(reader).map_err(|e| e.within(&name))?;
        infos.push((name, shape, kind, offset));
    }
    Ok(infos)
}

fn described(reader: &mut ByteReader) -> Result<(Vec<usize>, TensorKind, u64)> {
    let axes = reader.u32()?;
    if axes > MOST_AXES {
        bail!(Format, "expected at most {MOST_AXES} axes, found {axes}");
    }
    let size = |reader: &mut ByteReader| -> Result<usize> {
        let size = reader.u64()?;
        usize::try_from(size).map_err(|_| err!(Format, "an axis of {size} is too long for this machine"))
    };
    let mut shape = (0..axes).map(|_| size(reader)).collect::<Result<Vec<usize>>>()?;
    shape.reverse();
    Ok((shape, TensorKind::of(reader.u32()?)?, reader.u64()?))
}

fn alignment(metadata: &BTreeMap<String, Value>) -> Result<u64> {
    const KEY: &str = "general.alignment";
    let Some(value) = metadata.get(KEY) else { return Ok(ALIGNMENT) };
    let stated = value.unsigned().map_err(|e| e.within(KEY))?;
    if !stated.is_power_of_two() || stated > 1 << 20 {
        bail!(Format, "{KEY}: expected a power of two up to {}, found {stated}", 1 << 20);
    }
    Ok(stated)
}

/// Resolves and checks the byte range of every tensor, in a file of `length` bytes whose data begin at `start`.
fn placed(infos: Vec<TensorEntry>, start: u64, alignment: u64, length: usize) -> Result<BTreeMap<String, Info>> {
    let mut tensors = BTreeMap::new();
    for (name, shape, kind, offset) in infos {
        let place = place(&shape, kind, offset, start, alignment, length).map_err(|e| e.within(&name))?;
        if tensors.insert(name.clone(), Info { shape, kind, place }).is_some() {
            bail!(Format, "the file has the tensor `{name}` twice");
        }
    }
    apart(&tensors)?;
    Ok(tensors)
}

fn place(
    shape: &[usize],
    kind: TensorKind,
    offset: u64,
    start: u64,
    alignment: u64,
    length: usize,
) -> Result<Range<usize>> {
    let size = kind.size(shape)?;
    if !offset.is_multiple_of(alignment) {
        bail!(Format, "expected an offset that is a multiple of {alignment}, found {offset}");
    }
    let from = start.checked_add(offset).and_then(|from| usize::try_from(from).ok());
    let to = from.and_then(|from| from.checked_add(size));
    match (from, to) {
        (Some(from), Some(to)) if to <= length => Ok(from..to),
        _ => Err(err!(Format, "expected {size} bytes at offset {offset}, found the end of the file before")
            .hint("the file is cut short, or is damaged")),
    }
}

/// Checks that no two tensors share bytes.
fn apart(tensors: &BTreeMap<String, Info>) -> Result<()> {
    let mut places: Vec<(&Range<usize>, &String)> = tensors.iter().map(|(name, info)| (&info.place, name)).collect();
    places.sort_by_key(|(place, _)| (place.start, place.end));
    for pair in places.windows(2) {
        if let [(before, first), (after, second)] = pair
            && after.start < before.end
        {
            bail!(Format, "the tensors `{first}` and `{second}` overlap");
        }
    }
    Ok(())
}

#[cfg(test)]
mod converted_tests;
#[cfg(test)]
mod packed_tests;
#[cfg(test)]
mod parity_tests;
#[cfg(test)]
mod parts_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod writer;
