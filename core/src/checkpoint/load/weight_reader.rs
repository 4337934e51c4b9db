//! Reading the weights from a source, one tensor at a time.

use kernels::{PackedMatrix, Packing};

use super::{LoadSettings, Precision, Products, tensor_check};
use crate::common::*;
use crate::model::layout::{Layout, StepBack, TensorSource, WeightFrom};
use crate::model::weight::Weight;
use crate::model::weights::Weights;
use crate::tensor::{DType, Tensor};

/// Small matrices that route tokens, which int8 leaves alone: an error of theirs is another expert.
const ROUTING: [&str; 2] = [".router.weight", ".shared_gate.weight"];

/// Tables whose rows are added and never multiplied.
const TABLES: [&str; 2] = ["pos_embed", "type_embed"];

/// Weights of the coordinates of heads, which are no map.
const OF_HEADS: &str = ".rwkv.bonus";

/// Numbers that are in f32 at least: they are compared in f32, and rounded ones would choose other experts.
const WIDE: &str = ".choice_bias";

/// Number of rows that are compared at once.
const ROWS: usize = 1024;

/// Checks by the names and shapes of the tensors that they are the weights of the layout's config, and that there is
/// room for these. `label` is the user's name of the model.
pub fn check(layout: &Layout, source: &dyn TensorSource, label: &str, loading: &LoadSettings) -> Result<()> {
    let parameters = layout.config.parameters()?;
    tensor_check::check(layout, &parameters, source)?;
    let width = loading.options.dtype.of_numbers().size_in_bytes();
    let shelf = PendingTensors::new(layout, &parameters, source, loading)?;
    // Blocks stay where they are, in the map of their file.
    let mut bytes = 0;
    for (ours, shape) in &parameters {
        bytes += if shelf.staying(ours)?.is_some() { 0 } else { (shape.iter().product::<usize>() * width) as u128 };
    }
    // One tensor is held in f32 at a time.
    let bytes = match (loading.options.dtype, loading.options.compute) {
        (Precision::Q8, _) => bytes * 34 / 32 / 4,
        (_, Products::Bf16) => bytes / 2,
        _ => bytes,
    };
    memory::check_on(&loading.device, bytes, || format!("the weights of {label}"))
}

/// Checks the tensors of a source, accepts them, and reads every weight that the layout's config requires.
pub fn weights(
    layout: &Layout,
    source: &dyn TensorSource,
    label: &str,
    loading: &LoadSettings,
    task: &Task,
) -> Result<Weights> {
    check(layout, source, label, loading)?;
    source.accept()?;
    read(layout, source, label, loading, task)
}

/// Reads every weight of a layout whose tensors were checked, in the requested dtype and on the requested device. `label`
/// is the user's name of the model.
pub fn read(
    layout: &Layout,
    source: &dyn TensorSource,
    label: &str,
    loading: &LoadSettings,
    task: &Task,
) -> Result<Weights> {
    let parameters = layout.config.parameters()?;
    let width = loading.options.dtype.of_numbers().size_in_bytes();
    let size = |shape: &[usize]| shape.iter().product::<usize>() * width;
    let mut shelf = PendingTensors::new(layout, &parameters, source, loading)?;
    let all: usize = parameters.iter().map(|(_, shape)| size(shape)).sum();
    let bar = task.begin(&format!("loading {label}"), Some(all as u64));
    Weights::taken(&layout.config, &mut |ours, shape| {
        task.check()?;
        let weight = shelf.take(ours)?;
        bar.advance(size(shape) as u64);
        match weight {
            Weight::Numbers(numbers) => {
                if ours == "embed" && layout.config.tied {
                    same_unembedding(layout, source, &numbers, loading, task)?;
                }
                shelf.stored(ours, numbers)
            }
            staying => Ok(staying),
        }
    })
}

/// Tensors of the file that are still needed for more of ours.
struct PendingTensors<'a> {
    layout: &'a Layout,
    source: &'a dyn TensorSource,
    loading: &'a LoadSettings,
    /// The number of our weights still to be sliced from each.
    awaited: BTreeMap<&'a str, usize>,
    held: BTreeMap<&'a str, Tensor>,
}

impl<'a> PendingTensors<'a> {
    fn new(
        layout: &'a Layout,
        parameters: &[(String, Vec<usize>)],
        source: &'a dyn TensorSource,
        loading: &'a LoadSettings,
    ) -> Result<Self> {
        let mut awaited = BTreeMap::new();
        for (ours, _) in parameters {
            *awaited.entry(tensor_check::place(layout, ours)?.name()).or_insert(0) += 1;
        }
        Ok(Self { layout, source, loading, awaited, held: BTreeMap::new() })
    }

    /// Returns the blocks of a quantised matrix that computes as it is: in f32, in CPU memory, and not transposed.
    fn staying(&self, ours: &str) -> Result<Option<PackedMatrix>> {
        let computes = self.loading.options.dtype.of_numbers() == DType::F32 && self.loading.device.is_cpu();
        let from = tensor_check::place(self.layout, ours)?;
        let Some(packed) = self.source.packed(from.name()).filter(|_| computes) else { return Ok(None) };
        let packed = self.computing(packed, ours)?;
        Ok(match from {
            WeightFrom::Same(_) => Some(packed),
            WeightFrom::Rows { start, count, .. } => Some(packed.rows(*start, *count)?),
            WeightFrom::RowsOfExpert { expert, experts, part, parts, .. } => {
                let rows = packed.dims()[0] / (experts * parts).max(1);
                Some(packed.rows((expert * parts + part) * rows, rows)?)
            }
            // Blocks are those of rows, whichever axis these are counted by.
            WeightFrom::Rewritten { back, .. } if back == &[StepBack::Joined] => Some(packed),
            _ => None,
        })
    }

    /// Returns a quantised matrix with the products that are asked for.
    fn computing(&self, packed: PackedMatrix, ours: &str) -> Result<PackedMatrix> {
        Ok(match self.loading.options.compute {
            Products::F32 => packed,
            Products::Bf16 => packed.rounded(),
            Products::Int8 => packed.by_int8().ok_or_else(|| no_integers(ours))?,
        })
    }

    /// Converts a weight that was read to the form in which it computes.
    fn stored(&self, ours: &str, numbers: Tensor) -> Result<Weight> {
        let is_other = TABLES.contains(&ours) || ours.ends_with(OF_HEADS);
        let is_map = numbers.rank() == 2 && !is_other && !ROUTING.iter().any(|part| ours.ends_with(part));
        if self.loading.options.dtype == Precision::Q8 && is_map {
            if !self.loading.device.is_cpu() {
                return Err(err!(Argument, "expected the CPU for int8, found another device")
                    .hint("load it with #{ dtype: \"bf16\" } there")
                    .about("dtype"));
            }
            if let Some(packed) = PackedMatrix::int8(&numbers).map_err(|e| Error::from(e).within(ours))? {
                return Ok(Weight::Packed(self.computing(packed, ours)?));
            }
        }
        let is_multiplied = is_map && (ours != "embed" || self.layout.config.tied);
        let is_quantisable = Packing::Q8_0.row(numbers.dims().last().copied().unwrap_or_default()).is_some();
        if self.loading.options.compute == Products::Int8 && is_multiplied && is_quantisable {
            return Err(no_integers(ours));
        }
        if self.loading.options.compute == Products::Bf16
            && is_multiplied
            && let Some(packed) = PackedMatrix::bf16(&numbers).map_err(|e| Error::from(e).within(ours))?
        {
            return Ok(Weight::Packed(packed));
        }
        Ok(Weight::Numbers(numbers.to_device(&self.loading.device)?))
    }

    fn take(&mut self, ours: &str) -> Result<Weight> {
        if let Some(packed) = self.staying(ours)? {
            return Ok(Weight::Packed(packed));
        }
        let from = tensor_check::place(self.layout, ours)?;
        let name = from.name();
        let dtype = match self.loading.options.dtype.of_numbers() {
            DType::F64 => DType::F64,
            _ if ours.ends_with(WIDE) => DType::F32,
            dtype => dtype,
        };
        let whole = match self.held.remove(name) {
            Some(whole) => whole,
            None => self.source.tensor_as(name, dtype)?,
        };
        let weight = from.cut(&whole)?;
        let awaited = self.awaited.entry(name).or_insert(1);
        *awaited = awaited.saturating_sub(1);
        if *awaited > 0 {
            self.held.insert(name, whole);
        }
        Ok(Weight::Numbers(weight))
    }
}

/// Returns the error for a matrix of numbers where products are those of integers.
fn no_integers(ours: &str) -> Error {
    err!(Argument, "expected quantised matrices for products of int8, found numbers in `{ours}`")
        .hint("load it with #{ dtype: \"q8\", compute: \"int8\" }, which quantises what is not")
        .about("compute")
}

/// Checks an unembedding that a file has although the config says that it is tied: it must equal the embedding.
fn same_unembedding(
    layout: &Layout,
    source: &dyn TensorSource,
    embed: &Tensor,
    loading: &LoadSettings,
    task: &Task,
) -> Result<()> {
    let Some(from) = layout.weights.get("unembed.weight") else { return Ok(()) };
    let Some(shape) = source.shape(from.name()) else { return Ok(()) };
    let differs = || {
        err!(Format, "tensor `{}` is not the embedding, and the config says that it is", from.name())
            .hint("set `tie_word_embeddings` to false in the config.json if the model was trained that way")
    };
    let dtype = loading.options.dtype.of_numbers();
    let expected = from.whole_shape(embed.dims(), layout.config.d_head, 0)?;
    if shape != expected {
        return Err(differs());
    }
    let unembed = from.cut(&source.tensor_as(from.name(), dtype)?)?;
    let rows = embed.dim(0)?;
    for start in (0..rows).step_by(ROWS) {
        task.check()?;
        let count = ROWS.min(rows - start);
        let equal = embed.narrow(0, start, count)?.eq(&unembed.narrow(0, start, count)?)?;
        if equal.flatten_all()?.min(0)?.to_scalar::<u8>()? == 0 {
            return Err(differs());
        }
    }
    Ok(())
}
