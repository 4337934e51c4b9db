//! The types of tensors in GGUF files, and dequantisation to f32.

use std::borrow::Cow;

use candle_core::CpuStorage;
use candle_core::quantized::GgmlDType;
use kernels::Packing;

use super::tables::TableKind;
use crate::base::{Result, Task, parallel};
use crate::tensor::files::reader::elements;
use crate::tensor::{self, DType, Device, Tensor};
use crate::{bail, err};

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum TensorKind {
    Plain(DType),
    /// Blocks of numbers that share a scale.
    Blocks(GgmlDType),
    /// Blocks whose numbers are chosen from a table.
    Table(TableKind),
}

/// Blocks that one thread dequantises at a time, between two checks for an interruption.
const PIECE: usize = 1 << 12;

impl TensorKind {
    /// Returns the kind with this number in ggml's list.
    pub fn of(number: u32) -> Result<Self> {
        Ok(match number {
            0 => Self::Plain(DType::F32),
            1 => Self::Plain(DType::F16),
            30 => Self::Plain(DType::BF16),
            25 => Self::Plain(DType::I16),
            26 => Self::Plain(DType::I32),
            27 => Self::Plain(DType::I64),
            28 => Self::Plain(DType::F64),
            2 => Self::Blocks(GgmlDType::Q4_0),
            3 => Self::Blocks(GgmlDType::Q4_1),
            6 => Self::Blocks(GgmlDType::Q5_0),
            7 => Self::Blocks(GgmlDType::Q5_1),
            8 => Self::Blocks(GgmlDType::Q8_0),
            10 => Self::Blocks(GgmlDType::Q2K),
            11 => Self::Blocks(GgmlDType::Q3K),
            12 => Self::Blocks(GgmlDType::Q4K),
            13 => Self::Blocks(GgmlDType::Q5K),
            14 => Self::Blocks(GgmlDType::Q6K),
            20 => Self::Table(TableKind::IQ4_NL),
            23 => Self::Table(TableKind::IQ4_XS),
            39 => Self::Table(TableKind::MXFP4),
            other => {
                let found = unsupported(other).map_or(format!("type {other}"), |name| format!("type {other} ({name})"));
                return Err(err!(Format, "expected a type of tensor that is read here, found {found}").hint(
                    "F32 F16 BF16 F64 I16 I32 I64, Q4_0 Q4_1 Q5_0 Q5_1 Q8_0, Q2_K to Q6_K, IQ4_NL IQ4_XS and MXFP4 are; quantise the model again",
                ));
            }
        })
    }

    /// Returns the format of blocks that can compute as they are. Q2_K, Q3_K and those with a table become f32.
    pub fn packing(self) -> Option<Packing> {
        let Self::Blocks(kind) = self else { return None };
        Some(match kind {
            GgmlDType::Q4_0 => Packing::Q4_0,
            GgmlDType::Q4_1 => Packing::Q4_1,
            GgmlDType::Q5_0 => Packing::Q5_0,
            GgmlDType::Q5_1 => Packing::Q5_1,
            GgmlDType::Q8_0 => Packing::Q8_0,
            GgmlDType::Q4K => Packing::Q4K,
            GgmlDType::Q5K => Packing::Q5K,
            GgmlDType::Q6K => Packing::Q6K,
            _ => return None,
        })
    }

    /// Returns the number of bytes of a tensor of this shape.
    pub fn size(self, shape: &[usize]) -> Result<usize> {
        match self {
            Self::Plain(dtype) => Ok(elements(shape, dtype.size_in_bytes())? * dtype.size_in_bytes()),
            Self::Blocks(kind) => whole_blocks(shape, format!("{kind:?}"), kind.block_size(), kind.type_size()),
            Self::Table(kind) => {
                let (numbers, bytes) = kind.block();
                whole_blocks(shape, format!("{kind:?}"), numbers, bytes)
            }
        }
    }

    /// Makes the tensor of these bytes, whose number is [`TensorKind::size`].
    pub fn tensor(self, data: &[u8], shape: &[usize], task: &Task) -> Result<Tensor> {
        let dtype = if let Self::Plain(dtype) = self { dtype } else { DType::F32 };
        let count = tensor::room(shape, dtype)?;
        if data.len() != self.size(shape)? {
            bail!(Bug, "expected {} bytes for a tensor, found {}", self.size(shape)?, data.len());
        }
        match self {
            Self::Plain(dtype) => Ok(Tensor::from_raw_buffer(data, dtype, shape, &Device::Cpu)?),
            Self::Blocks(kind) => Ok(Tensor::from_vec(floats(kind, data, count, task)?, shape, &Device::Cpu)?),
            Self::Table(kind) => Ok(Tensor::from_vec(kind.floats(data, count, task)?, shape, &Device::Cpu)?),
        }
    }
}

/// Returns the number of bytes of a tensor whose rows are whole blocks of so many numbers and bytes.
fn whole_blocks(shape: &[usize], kind: String, numbers: usize, bytes: usize) -> Result<usize> {
    let row = shape.last().copied().unwrap_or_default();
    if row == 0 || !row.is_multiple_of(numbers) {
        bail!(Format, "expected rows of whole blocks of {numbers} numbers for {kind}, found rows of {row}");
    }
    // Quantised tensors become f32, which takes more memory than any block.
    Ok(elements(shape, DType::F32.size_in_bytes())? / numbers * bytes)
}

/// Dequantises blocks.
fn floats(kind: GgmlDType, data: &[u8], count: usize, task: &Task) -> Result<Vec<f32>> {
    let mut floats = vec![0_f32; count];
    let made = parallel::blocks(&mut floats, PIECE * kind.block_size(), &|first, floats| {
        task.check()?;
        let first = first / kind.block_size() * kind.type_size();
        let blocks = &data[first..first + floats.len() / kind.block_size() * kind.type_size()];
        match aligned(kind, blocks).dequantize(floats.len())? {
            CpuStorage::F32(made) => floats.copy_from_slice(&made),
            _ => bail!(Bug, "candle made {kind:?} something else than f32"),
        }
        Ok(())
    });
    made.into_iter().collect::<Result<()>>()?;
    Ok(floats)
}

/// Copies blocks for candle, which requires an alignment of 2 bytes; in a file they may have any offset.
fn aligned(kind: GgmlDType, blocks: &[u8]) -> Box<dyn candle_core::quantized::QuantizedType> {
    const WIDEST: usize = 8;
    let mut room = vec![0_u8; blocks.len() + WIDEST];
    let start = room.as_ptr().align_offset(WIDEST).min(WIDEST);
    let place = &mut room[start..start + blocks.len()];
    place.copy_from_slice(blocks);
    kind.from_data(Cow::Borrowed(place))
}

/// Returns the name of a type of ggml that candle cannot convert to f32.
fn unsupported(number: u32) -> Option<&'static str> {
    Some(match number {
        4 => "Q4_2",
        5 => "Q4_3",
        9 => "Q8_1",
        15 => "Q8_K",
        16 => "IQ2_XXS",
        17 => "IQ2_XS",
        18 => "IQ3_XXS",
        19 => "IQ1_S",
        21 => "IQ3_S",
        22 => "IQ2_S",
        24 => "I8",
        29 => "IQ1_M",
        34 => "TQ1_0",
        35 => "TQ2_0",
        40 => "NVFP4",
        41 => "Q1_0",
        42 => "Q2_0",
        _ => return None,
    })
}
