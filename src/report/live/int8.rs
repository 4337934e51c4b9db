//! A model whose matrices are stored as int8: 32 numbers of a row share a scale, as in the format that GGUF files call `Q8_0`.
//!
//! The weights are in a safetensors file by our own names, so that every matrix is `[out, in]`, as its blocks lie. It is there as
//! its integers, a byte each, and its scales. Who loads the file makes the same integers of the numbers that these stand for.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::base::files::Files;
use crate::base::{Result, Task, json};
use crate::checkpoint::load::{LoadOptions, LoadSettings, Precision};
use crate::err;
use crate::model::Model;
use crate::model::layout::TensorSource;
use crate::tensor::files::NamedTensors;
use crate::tensor::files::safetensors::SafetensorsFile;
use crate::tensor::{DType, Device, Tensor};

/// The files of a model, as it is saved.
const CONFIG: &str = "config.json";
const WEIGHTS: &str = "model.safetensors";

/// The name of the model in errors.
const IN_PAGE: &str = "the model of the page";

/// End of the name of a matrix's scales, behind that of the matrix.
pub const SCALES: &str = ".int8_scales";

/// Number of numbers that share a scale, and the integer of the largest of them.
const BLOCK: usize = 32;
const MOST: f32 = 127.0;

/// Writes a model into a folder, and returns the paths of its files. Matrices are int8 where those of a model that is loaded with
/// the dtype "q8" are; all else stays as it is.
pub fn save(model: &Model, files: &Files, folder: &Path, task: &Task) -> Result<Vec<PathBuf>> {
    let unpublished = Model { published: None, ..model.clone() };
    let places = unpublished.save(files, folder, task)?;
    let packed = Model::load(files, &folder.display().to_string(), &loading(LoadOptions::default()), task)?;
    let decoder = &packed.decoder;
    let mut tensors = BTreeMap::new();
    let mut has_int8 = false;
    for (name, weight) in decoder.weights().named(decoder.config())? {
        task.check()?;
        let numbers = weight.tensor()?;
        if weight.packed().is_none() {
            tensors.insert(name, numbers);
            continue;
        }
        has_int8 = true;
        let (bytes, scales) = integers(&numbers)?;
        tensors.insert(format!("{name}{SCALES}"), scales);
        tensors.insert(name, bytes);
    }
    if !has_int8 {
        let origin = &model.origin;
        return Err(err!(Argument, "expected matrices of whole blocks of {BLOCK} numbers, found none in {origin}")
            .hint("leave `dtype` away; numbers have 16 bits then")
            .about("dtype"));
    }
    NamedTensors { tensors, ..NamedTensors::default() }.save(files, &folder.join(WEIGHTS))?;
    Ok(places)
}

/// Loads the model of a folder that [`save`] has written.
pub fn load(files: &Files, folder: &Path, task: &Task) -> Result<Model> {
    let wrong = |e| err!(Format, "expected the {CONFIG} of a model, found: {e}");
    let config: Value = json::read_content(&files.bytes(&folder.join(CONFIG))?, wrong)?;
    let source = Int8File { file: SafetensorsFile::new(files.map(&folder.join(WEIGHTS))?)? };
    let options = LoadOptions { tokenizer: Some(folder.display().to_string()), ..LoadOptions::default() };
    Model::of_tensors(files, config, &source, IN_PAGE, &loading(options), task)
}

fn loading(options: LoadOptions) -> LoadSettings {
    LoadOptions { dtype: Precision::Q8, ..options }.onto(Device::Cpu)
}

/// Returns the integers of a matrix as bytes, `[out, in]`, and the scales of its blocks.
fn integers(numbers: &Tensor) -> Result<(Tensor, Tensor)> {
    let (rows, inner) = numbers.dims2()?;
    let flat = numbers.flatten_all()?.to_vec1::<f32>()?;
    let mut bytes = Vec::with_capacity(flat.len());
    let mut scales = Vec::with_capacity(flat.len() / BLOCK);
    for block in flat.as_chunks::<BLOCK>().0 {
        let scale = block.iter().fold(0.0_f32, |most, x| most.max(x.abs())) / MOST;
        // What is no number, in a block of zeros, becomes 0.
        bytes.extend(block.iter().map(|x| ((x / scale).round() as i8).cast_unsigned()));
        scales.push(scale);
    }
    let bytes = Tensor::from_vec(bytes, (rows, inner), &Device::Cpu)?;
    let scales = Tensor::from_vec(scales, (rows, inner / BLOCK), &Device::Cpu)?;
    // Half precision has the scales of all but matrices of the smallest and the largest numbers.
    let half = scales.to_dtype(DType::F16)?;
    let apart = (half.to_dtype(DType::F32)? - &scales)?.abs()?.sum_all()?.to_scalar::<f32>()?;
    Ok((bytes, if apart == 0.0 { half } else { scales }))
}

/// A file of such weights, whose matrices are read as the numbers that their integers stand for.
struct Int8File<B> {
    file: SafetensorsFile<B>,
}

impl<B: AsRef<[u8]>> TensorSource for Int8File<B> {
    fn names(&self) -> Vec<String> {
        self.file.names().filter(|name| !name.ends_with(SCALES)).map(String::from).collect()
    }

    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        Some(self.file.shape(name)?.to_vec())
    }

    fn tensor(&self, name: &str) -> Result<Tensor> {
        let stored = self.file.tensor(name)?;
        let of_scales = format!("{name}{SCALES}");
        if self.file.shape(&of_scales).is_none() {
            return Ok(stored);
        }
        let integers = stored.flatten_all()?.to_vec1::<u8>()?;
        let scales = self.file.tensor(&of_scales)?.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
        let (blocks, rest) = integers.as_chunks::<BLOCK>();
        if blocks.len() != scales.len() || !rest.is_empty() {
            let found = scales.len();
            return Err(err!(Shape, "tensor `{name}`: expected a scale for each {BLOCK} integers, found {found}"));
        }
        let scaled = |(block, scale): (&[u8; BLOCK], &f32)| block.map(|byte| f32::from(byte.cast_signed()) * scale);
        let numbers: Vec<f32> = blocks.iter().zip(&scales).flat_map(scaled).collect();
        Ok(Tensor::from_vec(numbers, stored.dims(), &Device::Cpu)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::batch::Batch;
    use crate::samples;
    use crate::tensor::floats;

    #[test]
    fn integers_and_scales_stand_for_the_numbers_again() {
        // The second block has the scale 2^-3, and integers up to 127; the first is of zeros.
        let numbers: Vec<f32> = (0..64_u8).map(|at| if at < 32 { 0.0 } else { f32::from(at * 2 + 1) / 8.0 }).collect();
        let matrix = Tensor::from_vec(numbers.clone(), (2, 32), &Device::Cpu).unwrap();
        let (bytes, scales) = integers(&matrix).unwrap();
        assert_eq!((bytes.dims(), scales.dims(), scales.dtype()), (&[2, 32][..], &[2, 1][..], DType::F16));
        assert_eq!(floats(&scales).unwrap(), [0.0, 0.125]);
        let tensors = BTreeMap::from([("w".to_string(), bytes), (format!("w{SCALES}"), scales)]);
        let mut written = Vec::new();
        let named = NamedTensors { tensors, ..NamedTensors::default() };
        crate::tensor::files::safetensors::write(&named, &mut written).unwrap();
        let source = Int8File { file: SafetensorsFile::new(written).unwrap() };
        assert_eq!((source.names(), source.shape("w")), (vec!["w".to_string()], Some(vec![2, 32])));
        assert_eq!(source.tensor("w").unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap(), numbers);
        assert!(source.tensor("v").is_err());
    }

    #[test]
    fn a_model_of_int8_computes_what_it_did_when_it_was_loaded_as_such() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::unrecorded(folder.path()).unwrap();
        let task = Task::default();
        let packed = Model::load(&files, "tiny", &loading(LoadOptions::default()), &task).unwrap();
        let place = folder.path().join("model");
        let written =
            save(&Model::load(&files, "tiny", &LoadSettings::default(), &task).unwrap(), &files, &place, &task);
        assert!(written.unwrap().iter().any(|path| path.ends_with(WEIGHTS)));
        let loaded = load(&files, &place, &task).unwrap();
        assert_eq!(loaded.decoder.weights().packings(), ["Q8_0"]);
        assert!(loaded.tokenizer.is_some());
        let batch = Batch::new(vec![vec![3, 1, 4, 1, 5]]).unwrap();
        let logits = |model: &Model| floats(&model.decoder.logits(&batch, Vec::new(), &task).unwrap()).unwrap();
        assert_eq!(logits(&loaded), logits(&packed));
    }

    #[test]
    fn a_model_without_whole_blocks_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::unrecorded(folder.path()).unwrap();
        let error = save(&samples::model(), &files, &folder.path().join("model"), &Task::default()).unwrap_err();
        assert!(error.message.starts_with("expected matrices of whole blocks of 32 numbers"), "{error}");
    }
}
