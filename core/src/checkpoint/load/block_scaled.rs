//! Matrices in blocks of 8-bit floats, as DeepSeek V3 and R1 are published: every block has a scale, in a tensor beside the
//! matrix. They are read as the products, in the dtype that is computed in.

use crate::common::*;
use crate::model::layout::TensorSource;
use crate::tensor::{DType, Device, Tensor, dtype};

/// End of the name of the scales of a matrix, behind that of the matrix.
const SCALES: &str = "_scale_inv";

/// The key of a config.json that says how its weights are quantised.
const QUANTISED: &str = "quantization_config";

/// A source whose matrices are multiplied by the scales of their blocks.
pub struct BlockScaled<'a> {
    source: &'a dyn TensorSource,
    /// Rows and columns of a block.
    block: [usize; 2],
}

impl<'a> BlockScaled<'a> {
    /// Returns a source without blocks where a config says that there are some, and takes that out of the config.
    pub fn of(config_json: &mut Value, source: &'a dyn TensorSource) -> Option<Self> {
        let how = config_json.get(QUANTISED)?;
        let is_fp8 = how.get("quant_method").is_some_and(|method| method == "fp8");
        let sizes: Vec<usize> = how.get("weight_block_size")?.as_array()?.iter().filter_map(size).collect();
        let [rows, columns] = sizes[..] else { return None };
        let is_known = is_fp8 && rows > 0 && columns > 0 && how.get("fmt").is_none_or(|format| format == "e4m3");
        if !is_known {
            return None;
        }
        config_json.as_object_mut()?.shift_remove(QUANTISED);
        Some(Self { source, block: [rows, columns] })
    }

    /// Returns the name of the scales of a tensor, if it has some.
    fn scales_of(&self, name: &str) -> Option<String> {
        let scales = format!("{name}{SCALES}");
        self.source.shape(&scales).map(|_| scales)
    }
}

fn size(value: &Value) -> Option<usize> {
    usize::try_from(value.as_u64()?).ok()
}

impl TensorSource for BlockScaled<'_> {
    fn names(&self) -> Vec<String> {
        let names = self.source.names();
        let is_scale = |name: &str| name.strip_suffix(SCALES).is_some_and(|of| self.source.shape(of).is_some());
        names.into_iter().filter(|name| !is_scale(name)).collect()
    }

    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.source.shape(name)
    }

    fn tensor(&self, name: &str) -> Result<Tensor> {
        if self.scales_of(name).is_some() { self.tensor_as(name, DType::F32) } else { self.source.tensor(name) }
    }

    fn accept(&self) -> Result<()> {
        self.source.accept()
    }

    fn tensor_as(&self, name: &str, wanted: DType) -> Result<Tensor> {
        let Some(scales_name) = self.scales_of(name) else { return self.source.tensor_as(name, wanted) };
        let matrix = self.source.tensor_as(name, DType::F32)?;
        let scales = self.source.tensor_as(&scales_name, DType::F32)?;
        let [high, wide] = self.block;
        let fits = match *matrix.dims() {
            [rows, columns] => scales.dims() == [rows.div_ceil(high), columns.div_ceil(wide)],
            _ => false,
        };
        if !fits {
            let shape = matrix.dims();
            let found = scales.dims();
            return Err(err!(
                Shape,
                "tensor `{name}`: expected a scale for each block of {high} by {wide} numbers of {shape:?}, found {found:?}"
            ));
        }
        let (_, columns) = matrix.dims2()?;
        let across = columns.div_ceil(wide);
        let scales: Vec<f32> = scales.flatten_all()?.to_vec1()?;
        let mut numbers: Vec<f32> = matrix.flatten_all()?.to_vec1()?;
        for (row, line) in numbers.chunks_mut(columns.max(1)).enumerate() {
            let of_row = &scales[row / high * across..][..across];
            for (part, scale) in line.chunks_mut(wide).zip(of_row) {
                part.iter_mut().for_each(|x| *x *= scale);
            }
        }
        dtype::convert(&Tensor::from_vec(numbers, matrix.dims(), &Device::Cpu)?, wanted)
    }
}
