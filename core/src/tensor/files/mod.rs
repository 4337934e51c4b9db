//! Tensor files: safetensors, npy and npz, chosen by the extension; PyTorch files are read only.
//!
//! Headers are checked against the file's length before anything is allocated, unknown content is refused by name, and the
//! same tensors always give the same bytes: sorted names, no timestamps.

pub mod gguf_value;
pub mod npy;
pub mod npz;
pub mod pickle;
pub mod reader;
pub mod safetensors;

use std::io::Write;

use candle_core::{CpuStorage, Device, Storage, Tensor};

use super::element::{self, dispatch};
use crate::base::disk::Mapping;
use crate::common::*;
use crate::options::{Plain, Setting};

/// Strings by name.
#[derive(Debug, Clone, Default)]
pub struct Metadata(pub BTreeMap<String, String>);

impl Setting for Metadata {
    fn wanted() -> String {
        "a map of strings".into()
    }

    fn of(value: &Plain) -> Option<Self> {
        let Plain::Map(fields) = value else { return None };
        let field = |(name, text): &(String, Plain)| Some((name.clone(), String::of(text)?));
        fields.iter().map(field).collect::<Option<_>>().map(Self)
    }

    fn written(&self) -> String {
        let fields: Vec<String> = self.0.iter().map(|(name, text)| format!("{name:?}: {text:?}")).collect();
        format!("#{{{}}}", fields.join(", "))
    }
}

crate::options! {
    pub struct SaveOptions {
        /// Strings by name that a safetensors file stores beside its tensors.
        metadata: Metadata = Metadata::default();
    }
}

/// The content of a tensor file to be written.
#[derive(Debug, Clone)]
pub enum FileContent {
    One(Tensor),
    Named(NamedTensors),
}

/// Tensors by name, and the metadata of a safetensors file.
#[derive(Debug, Clone, Default)]
pub struct NamedTensors {
    pub tensors: BTreeMap<String, Tensor>,
    pub metadata: BTreeMap<String, String>,
}

impl NamedTensors {
    /// Saves the tensors as safetensors; returns the path.
    pub fn save(&self, files: &Files, path: &Path) -> Result<PathBuf> {
        files.save(path, |file| safetensors::write(self, file))
    }

    /// Loads all of a safetensors file.
    pub fn load(files: &Files, path: &Path) -> Result<Self> {
        files.map_as(path, |map| safetensors::SafetensorsFile::new(map)?.all())
    }
}

/// The content of a tensor file: one tensor, tensors by name, or, in PyTorch files, nested maps and lists of tensors and
/// plain values.
#[derive(Debug, Clone, PartialEq)]
pub enum TensorTree<T> {
    Nothing,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
    Tensor(T),
    List(Vec<TensorTree<T>>),
    Map(BTreeMap<String, TensorTree<T>>),
}

impl<T> TensorTree<T> {
    /// Maps each tensor.
    pub fn map<U>(self, each: &mut impl FnMut(T) -> Result<U>) -> Result<TensorTree<U>> {
        Ok(match self {
            TensorTree::Nothing => TensorTree::Nothing,
            TensorTree::Bool(value) => TensorTree::Bool(value),
            TensorTree::Int(value) => TensorTree::Int(value),
            TensorTree::Float(value) => TensorTree::Float(value),
            TensorTree::Text(text) => TensorTree::Text(text),
            TensorTree::Bytes(bytes) => TensorTree::Bytes(bytes),
            TensorTree::Tensor(tensor) => TensorTree::Tensor(each(tensor)?),
            TensorTree::List(parts) => {
                TensorTree::List(parts.into_iter().map(|part| part.map(each)).collect::<Result<_>>()?)
            }
            TensorTree::Map(fields) => {
                let field = |(name, part): (String, TensorTree<T>)| Ok((name, part.map(each)?));
                TensorTree::Map(fields.into_iter().map(field).collect::<Result<_>>()?)
            }
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Npy,
    Npz,
    Safetensors,
    Torch,
}

/// The extensions that are read, and those that are written.
const READ: [&str; 5] = ["npy", "npz", "safetensors", "pt", "pth"];
const WRITTEN: [&str; 3] = ["npy", "npz", "safetensors"];

fn format(path: &Path, endings: &[&str]) -> Result<Format> {
    let ending = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
    match ending {
        "npy" => Ok(Format::Npy),
        "npz" => Ok(Format::Npz),
        "safetensors" => Ok(Format::Safetensors),
        "pt" | "pth" => Ok(Format::Torch),
        _ => {
            let (last, others) = endings.split_last().unwrap_or((&"", &[]));
            let known = format!(".{} or .{last}", others.join(", ."));
            let near = names::nearest(ending, endings.iter().copied());
            Err(err!(Argument, "expected a path that ends in {known}, found `{}`", path.display())
                .maybe_hint(near.map(|n| format!("did you mean `.{n}`?"))))
        }
    }
}

/// An open file that has not been read yet.
pub struct OpenFile {
    format: Format,
    bytes: Mapping,
    name: String,
}

/// Opens a tensor file, which is read later, possibly on another thread.
pub fn open(files: &Files, path: &Path) -> Result<OpenFile> {
    let format = format(path, &READ)?;
    let name = path.display().to_string();
    let checked = |map: Mapping| match format {
        Format::Safetensors => safetensors::SafetensorsFile::new(&map[..]).map(drop).map(|()| map),
        // These are known to be wrong only when they are read.
        Format::Npy | Format::Npz | Format::Torch => Ok(map),
    };
    let bytes = files.map_as(path, |map| checked(map).map_err(|e| e.within(&name)))?;
    Ok(OpenFile { format, bytes, name })
}

impl OpenFile {
    /// Returns the size of the file in bytes.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Reads one tensor from npy, tensors by name from npz and safetensors, and all content of a PyTorch file.
    pub fn read(&self) -> Result<TensorTree<Tensor>> {
        let bytes = &self.bytes[..];
        let named = |tensors: BTreeMap<String, Tensor>| {
            TensorTree::Map(tensors.into_iter().map(|(name, tensor)| (name, TensorTree::Tensor(tensor))).collect())
        };
        let read = match self.format {
            Format::Npy => npy::parse(bytes).map(TensorTree::Tensor),
            Format::Npz => npz::parse(bytes).map(named),
            Format::Safetensors => {
                safetensors::SafetensorsFile::new(bytes).and_then(|r| r.all()).map(|found| named(found.tensors))
            }
            Format::Torch => pickle::PickleFile::new(bytes).and_then(pickle::PickleFile::read),
        };
        read.map_err(|e| e.within(&self.name))
    }
}

/// Writes one tensor as npy, or tensors by name as npz or safetensors.
pub fn save(files: &Files, path: &Path, content: &FileContent, task: &Task) -> Result<()> {
    let saved = |fill: &dyn Fn(&mut dyn Write) -> Result<()>| {
        let saved = files.save(path, |file| fill(&mut InterruptibleWriter { file, task })).map(|_place| ());
        // An interrupted save leaves no file, and is reported as an interruption, not as an error of the file.
        saved.map_err(|error| task.check().err().unwrap_or(error))
    };
    match (format(path, &WRITTEN)?, content) {
        (Format::Npy, FileContent::One(t)) => saved(&|w| npy::write(t, w)),
        (Format::Npy, FileContent::Named(_)) => {
            Err(err!(Argument, "expected one tensor for an npy file, found several by name")
                .hint("save them as .npz or .safetensors"))
        }
        (Format::Npz, FileContent::Named(named)) if !named.metadata.is_empty() => {
            Err(err!(Argument, "an npz file has no place for metadata").hint("save as .safetensors"))
        }
        (Format::Npz, content) => saved(&|w| npz::write(&by_name(content).tensors, w)),
        (Format::Safetensors, content) => saved(&|w| safetensors::write(&by_name(content), w)),
        (Format::Torch, _) => Err(err!(Argument, "files of PyTorch are read, and not written")
            .hint("save as .safetensors, which PyTorch reads too: `safetensors.torch.load_file`")),
    }
}

/// Maximum number of axes, more than in any library.
const MOST_AXES: usize = 64;

/// Refuses a shape that takes longer to process than its elements.
fn countable(shape: &[usize]) -> Result<()> {
    if shape.len() > MOST_AXES {
        bail!(Format, "expected a tensor of at most {MOST_AXES} axes, found {}", shape.len());
    }
    Ok(())
}

/// A writer that Ctrl-C interrupts.
struct InterruptibleWriter<'a> {
    file: &'a mut dyn Write,
    task: &'a Task,
}

impl Write for InterruptibleWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.task.check().map_err(std::io::Error::other)?;
        self.file.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

/// Names the tensors of a file of named tensors; one without a name is called `tensor`.
fn by_name(content: &FileContent) -> NamedTensors {
    match content {
        FileContent::Named(named) => named.clone(),
        FileContent::One(t) => {
            NamedTensors { tensors: [("tensor".to_string(), t.clone())].into(), metadata: BTreeMap::new() }
        }
    }
}

/// Writes the elements in row order as little-endian bytes.
fn write_elements(t: &Tensor, w: &mut dyn Write) -> Result<()> {
    // In pieces, so that a large tensor is not copied as a whole.
    const PIECE: usize = 1 << 16;
    if t.dtype() == candle_core::DType::F8E4M3 {
        return put(w, &eight_bit(t)?);
    }
    dispatch!(t.dtype(), T => element::with_slice::<T, _>(t, |elements| {
        for piece in elements.chunks(PIECE) {
            let bytes: Vec<u8> = piece.iter().flat_map(|x| x.to_le_bytes()).collect();
            put(w, &bytes)?;
        }
        Ok(())
    }))
}

fn eight_bit(t: &Tensor) -> Result<Vec<u8>> {
    let t = t.to_device(&Device::Cpu)?.contiguous()?;
    let (storage, layout) = t.storage_and_layout();
    match (&*storage, layout.contiguous_offsets()) {
        (Storage::Cpu(CpuStorage::F8E4M3(x)), Some((from, to))) => {
            Ok(x[from..to].iter().map(|x| x.to_bits()).collect())
        }
        _ => bail!(Bug, "an f8 tensor copied to the CPU is not there"),
    }
}

fn put(w: &mut dyn Write, bytes: &[u8]) -> Result<()> {
    w.write_all(bytes).map_err(|e| err!(File, "cannot write: {e}"))
}

#[cfg(test)]
mod tests;
