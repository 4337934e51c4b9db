//! The files of a live report: model and dictionaries as their own formats have them, numbers in 16 bits, packed.
//!
//! Each tensor has the one of two formats of 16 bits that is nearer to it, so that one that was published in either keeps all
//! of its numbers.

use std::path::Path;

use super::plan::LivePlan;
use crate::base::files::{Files, TemporaryFolder};
use crate::base::memory::human;
use crate::base::{Result, Task};
use crate::err;
use crate::report::page_engine::packed;
use crate::sae::{Format, Sae};
use crate::tensor::files::safetensors::{self, SafetensorsFile};
use crate::tensor::{DType, Tensor};

/// The folder of a live report in its page, and the names in it.
pub const ROOT: &str = "/live";
pub const CONTENTS: &str = "report.json";
pub const MODEL: &str = "model";
pub const DICTIONARY: &str = "dictionary-";
pub const TRANSCODERS: &str = "transcoders-";

/// Maximum number of bytes of weights: a browser reads a page as one text, and ends those of half a gigabyte.
const MOST_WEIGHTS: usize = 300_000_000;

/// A file of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveFile {
    /// The path in the page.
    pub path: String,
    /// Number of bytes before they were packed.
    pub size: usize,
    pub packed: Vec<u8>,
}

impl LiveFile {
    fn new(path: &str, bytes: &[u8]) -> Result<Self> {
        Ok(Self { path: format!("{ROOT}/{path}"), size: bytes.len(), packed: packed(bytes)? })
    }
}

/// Writes the files of a plan; refuses more weights than a page can hold before any is written.
pub fn files(plan: &LivePlan, run: &Files, task: &Task) -> Result<Vec<LiveFile>> {
    let weights = weights(plan)?;
    if weights > MOST_WEIGHTS {
        let [found, most] = [weights, MOST_WEIGHTS].map(|bytes| human(bytes as u128));
        return Err(err!(Argument, "expected a model and dictionaries of at most {most} in 16 bits, found {found}")
            .hint("make the report of a smaller model, or of fewer dictionaries"));
    }
    let folder = TemporaryFolder::new(run, "live")?;
    let mut places = plan.model.save(&folder.files, &folder.path.join(MODEL), task)?;
    let place = |name: &str, number: usize| folder.path.join(format!("{name}{number}"));
    for (number, sae) in plan.dictionaries.iter().enumerate() {
        places.extend(sae.save(&folder.files, &place(DICTIONARY, number), Format::Microtome)?);
    }
    for (number, transcoders) in plan.transcoders.iter().enumerate() {
        places.extend(transcoders.save(&folder.files, &place(TRANSCODERS, number))?);
    }
    let bar = task.begin("packing", Some(places.len() as u64));
    let mut found = Vec::new();
    for place in places {
        let path = place.strip_prefix(&folder.path).map_err(|_| err!(Bug, "a file outside of its folder"))?;
        let bytes = folder.files.bytes(&place)?;
        let path = path.to_string_lossy().replace('\\', "/");
        let own = task.apart(move || {
            let is_of_tensors = Path::new(&path).extension().is_some_and(|ending| ending == "safetensors");
            LiveFile::new(&path, &if is_of_tensors { narrowed(bytes)? } else { bytes })
        })?;
        found.push(own);
        bar.advance(1);
    }
    let contents = serde_json::to_vec(&plan.contents()).map_err(|e| err!(Bug, "a plan became no JSON: {e}"))?;
    found.push(LiveFile::new(CONTENTS, &contents)?);
    Ok(found)
}

/// Returns about how many bytes the weights of a plan are in 16 bits.
fn weights(plan: &LivePlan) -> Result<usize> {
    let decoder = &plan.model.decoder;
    let of_model = decoder.config().parameters()?;
    let of_model: usize = of_model.iter().map(|(_, shape)| shape.iter().product::<usize>()).sum();
    let of_sae = |sae: &Sae| sae.parts().encoder.elem_count() + sae.directions().elem_count();
    let of_saes: usize = plan.dictionaries.iter().map(of_sae).sum();
    let layers = plan.transcoders.iter().flat_map(|transcoders| transcoders.layers());
    let of_layers: usize = layers.map(|one| one.encoder.elem_count() * (1 + one.written())).sum();
    Ok(2 * (of_model + of_saes + of_layers))
}

/// Rewrites a file of tensors with numbers of 16 bits.
fn narrowed(bytes: Vec<u8>) -> Result<Vec<u8>> {
    let mut named = SafetensorsFile::new(bytes)?.all()?;
    for tensor in named.tensors.values_mut() {
        *tensor = narrow(tensor)?;
    }
    let mut written = Vec::new();
    safetensors::write(&named, &mut written)?;
    Ok(written)
}

/// Converts numbers to that format of 16 bits which is nearer to them; those that are whole stay.
fn narrow(tensor: &Tensor) -> Result<Tensor> {
    if !matches!(tensor.dtype(), DType::F32 | DType::F64) || tensor.elem_count() == 0 {
        return Ok(tensor.clone());
    }
    let wide = tensor.to_dtype(DType::F32)?;
    let rounded = |dtype: DType| -> Result<(f32, Tensor)> {
        let narrow = wide.to_dtype(dtype)?;
        let apart = (narrow.to_dtype(DType::F32)? - &wide)?.sqr()?.sum_all()?.to_scalar::<f32>()?;
        Ok((apart, narrow))
    };
    let (of_half, half) = rounded(DType::F16)?;
    let (of_brain, brain) = rounded(DType::BF16)?;
    // What is beyond the range of f16 becomes infinite there.
    Ok(if of_half.is_finite() && of_half <= of_brain { half } else { brain })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Device;

    #[test]
    fn numbers_keep_the_format_that_holds_them() {
        let of = |numbers: &[f32]| narrow(&Tensor::new(numbers, &Device::Cpu).unwrap()).unwrap();
        // 1 + 2^-10 has ten bits behind the point, and 2^100 an exponent of eight.
        assert_eq!(of(&[1.0 + 1.0 / 1024.0, -2.5]).dtype(), DType::F16);
        assert_eq!(of(&[1.5, 2.0_f32.powi(100)]).dtype(), DType::BF16);
        let ids = Tensor::new(&[1_u32, 2], &Device::Cpu).unwrap();
        assert_eq!(narrow(&ids).unwrap().dtype(), DType::U32);
        let back = of(&[1.0 + 1.0 / 1024.0, -2.5]).to_dtype(DType::F32).unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(back, [1.0 + 1.0 / 1024.0, -2.5]);
    }
}
