//! The files of a live report: model and dictionaries as their own formats have them, numbers in 16 bits or int8, packed.
//!
//! Each tensor has the one of two formats of 16 bits that is nearer to it, so that one that was published in either keeps all
//! of its numbers. The program loads the files as the page will, and answers the first questions with them.

use serde::Serialize;

use super::answers::LiveReport;
use super::plan::{CONTENTS, DICTIONARY, LivePlan, MODEL, TRANSCODERS};
use super::{checks, int8};
use crate::base::files::{Files, TemporaryFolder};
use crate::base::memory::human;
use crate::base::{Result, Task};
use crate::err;
use crate::model::Model;
use crate::report::page_engine::packed;
use crate::sae::{Format, Sae};
use crate::tensor::files::safetensors::{self, SafetensorsFile};
use crate::tensor::{DType, Tensor};

/// The folder of a live report in its page.
pub const ROOT: &str = "/live";

/// The file of first questions, which the page reads.
const CHECKS: &str = "checks.json";

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
        return Err(err!(Argument, "expected a model and dictionaries of at most {most} in the page, found {found}")
            .hint("make the report of a smaller model, or of fewer dictionaries; `dtype` stores matrices as int8"));
    }
    let folder = TemporaryFolder::new(run, "live")?;
    let save = if plan.int8 { int8::save } else { Model::save };
    let mut places = save(&plan.model, &folder.files, &folder.path.join(MODEL), task)?;
    let place = |name: &str, number: usize| folder.path.join(format!("{name}{number}"));
    for (number, sae) in plan.dictionaries.iter().enumerate() {
        places.extend(sae.save(&folder.files, &place(DICTIONARY, number), Format::Microtome)?);
    }
    for (number, transcoders) in plan.transcoders.iter().enumerate() {
        places.extend(transcoders.save(&folder.files, &place(TRANSCODERS, number))?);
    }
    for place in places.iter().filter(|place| place.extension().is_some_and(|ending| ending == "safetensors")) {
        let bytes = folder.files.bytes(place)?;
        let narrow = task.apart(move || narrowed(bytes))?;
        folder.files.save_whole(place, narrow)?;
    }
    places.push(folder.files.save_whole(&folder.path.join(CONTENTS), json_of(&plan.contents())?)?);
    let first = checks::of(&LiveReport::load(&folder.files, &folder.path, task)?, &plan.items, task)?;
    places.push(folder.files.save_whole(&folder.path.join(CHECKS), json_of(&first)?)?);
    let bar = task.begin("packing", Some(places.len() as u64));
    let mut found = Vec::new();
    for place in places {
        let path = place.strip_prefix(&folder.path).map_err(|_| err!(Bug, "a file outside of its folder"))?;
        let bytes = folder.files.bytes(&place)?;
        let path = path.to_string_lossy().replace('\\', "/");
        found.push(task.apart(move || LiveFile::new(&path, &bytes))?);
        bar.advance(1);
    }
    Ok(found)
}

fn json_of(value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|e| err!(Bug, "a part of a live report became no JSON: {e}"))
}

/// Returns about how many bytes the weights of a plan are in the page.
fn weights(plan: &LivePlan) -> Result<usize> {
    let decoder = &plan.model.decoder;
    let of_model = decoder.config().parameters()?;
    let of_model: usize = of_model.iter().map(|(_, shape)| shape.iter().product::<usize>()).sum();
    let of_sae = |sae: &Sae| sae.parts().encoder.elem_count() + sae.directions().elem_count();
    let of_saes: usize = plan.dictionaries.iter().map(of_sae).sum();
    let layers = plan.transcoders.iter().flat_map(|transcoders| transcoders.layers());
    let of_layers: usize = layers.map(|one| one.encoder.elem_count() * (1 + one.written())).sum();
    // Of int8 a byte, and half of a bit for the scale, which 32 numbers share.
    let of_model = if plan.int8 { of_model + of_model / 16 } else { 2 * of_model };
    Ok(of_model + 2 * (of_saes + of_layers))
}

/// Rewrites a file of tensors with numbers of 16 bits. Scales of int8 have the bits that they need already.
fn narrowed(bytes: Vec<u8>) -> Result<Vec<u8>> {
    let mut named = SafetensorsFile::new(bytes)?.all()?;
    for (name, tensor) in &mut named.tensors {
        if !name.ends_with(int8::SCALES) {
            *tensor = narrow(tensor)?;
        }
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
