//! Tensor files: npy, npz and safetensors, chosen by the extension; PyTorch files are read only.

use super::{heavy, tensor_arg};
use crate::script::prelude::*;
use crate::tensor::files::{FileContent, NamedTensors, SaveOptions, TensorTree, open, safetensors, save as write_file};

/// Reads tensors by name from a map.
fn named(tensors: &Map) -> Result<NamedTensors> {
    let tensors =
        tensors.iter().map(|(name, t)| Ok((name.to_string(), tensor_arg(name, t)?))).collect::<Result<_>>()?;
    Ok(NamedTensors { tensors, ..NamedTensors::default() })
}

/// Converts the content of a file to a value of scripts.
fn value(tree: TensorTree<Tensor>) -> Dynamic {
    match tree {
        TensorTree::Nothing => Dynamic::UNIT,
        TensorTree::Bool(value) => value.into(),
        TensorTree::Int(value) => value.into(),
        TensorTree::Float(value) => value.into(),
        TensorTree::Text(text) => text.into(),
        TensorTree::Bytes(bytes) => Dynamic::from_blob(bytes),
        TensorTree::Tensor(tensor) => Dynamic::from(tensor),
        TensorTree::List(parts) => parts.into_iter().map(value).collect::<Array>().into(),
        TensorTree::Map(fields) => {
            fields.into_iter().map(|(name, part)| (name.into(), value(part))).collect::<Map>().into()
        }
    }
}

#[export_module(manifest)]
pub mod functions {
    /// Reads a tensor file: one tensor from .npy, a map of tensors by name from .npz and .safetensors.
    ///
    /// A .pt or .pth file of PyTorch is returned as it was saved, so that checkpoints can be taken apart: nested maps and
    /// lists of tensors, numbers and strings, with `()` for None, arrays for tuples and sets, and blobs for bytes. No code
    /// in it is run: an object that is neither a tensor nor a plain value, such as a whole module, is refused by name.
    ///
    /// # Example
    /// ```
    /// tensor([1, 2]).save("a.npy");
    /// tensor::load("a.npy")  //=> tensor([1.0, 2.0])
    /// let checkpoint = tensor::load("tests/fixtures/formats/pt/nested.pt");
    /// checkpoint.model.bias  //=> tensor([0.5, -0.5])
    /// [checkpoint.step, checkpoint.config.list]  //=> [100000, [1, "x", [2, 3]]]
    /// ```
    #[rhai_fn(return_raw)]
    pub fn load(ctx: NativeCallContext, path: &str) -> Fallible<Dynamic> {
        let env = env(&ctx)?;
        let opened = open(&env.files, Path::new(path)).map_err(|e| e.about("path"))?;
        let content = heavy(&ctx, opened.size(), move || opened.read().map_err(|e| e.about("path")))?;
        let placed = content.map(&mut |t: Tensor| Ok(t.to_device(&env.device)?))?;
        Ok(super::value(placed))
    }

    /// Writes a map of tensors by name to .npz or .safetensors, relative to the output folder.
    ///
    /// # Options
    /// - [tensor_save]
    ///
    /// # Example
    /// ```
    /// let about = #{ by: "me" };
    /// tensor::save("pair.safetensors", #{ a: tensor([1]), b: tensor([2]) }, #{ metadata: about });
    /// tensor::load("pair.safetensors").b  //=> tensor([2.0])
    /// tensor::metadata("pair.safetensors")  //=> #{ by: "me" }
    /// ```
    #[rhai_fn(return_raw)]
    pub fn save(ctx: NativeCallContext, path: &str, tensors: Map, options: Options) -> Fallible<()> {
        let SaveOptions { metadata } = taken(options)?;
        let content = FileContent::Named(NamedTensors { metadata: metadata.0, ..super::named(&tensors)? });
        let env = env(&ctx)?;
        Ok(write_file(&env.files, Path::new(path), &content, &env.task).map_err(|e| e.about("path"))?)
    }

    /// Reads the metadata of a safetensors file: strings by name.
    ///
    /// # Example
    /// ```
    /// tensor::save("x.safetensors", #{ a: tensor([1]) });
    /// tensor::metadata("x.safetensors")  //=> #{}
    /// ```
    #[rhai_fn(return_raw)]
    pub fn metadata(ctx: NativeCallContext, path: &str) -> Fallible<Map> {
        let read = |map| safetensors::SafetensorsFile::new(map).map_err(|e| e.within(path));
        let reader = env(&ctx)?.files.map_as(Path::new(path), read).map_err(|e| e.about("path"))?;
        Ok(reader.metadata().iter().map(|(key, text)| (key.into(), text.clone().into())).collect())
    }
}

#[export_module(manifest)]
pub mod methods {
    /// Writes the tensor to .npy, .npz or .safetensors, relative to the output folder.
    ///
    /// In .npz and .safetensors files its name is `tensor`.
    ///
    /// # Example
    /// ```
    /// tensor([[1, 2]]).save("row.npy");
    /// tensor::load("row.npy").shape  //=> [1, 2]
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn save(ctx: NativeCallContext, t: &mut Tensor, path: &str) -> Fallible<()> {
        let env = env(&ctx)?;
        Ok(write_file(&env.files, Path::new(path), &FileContent::One(t.clone()), &env.task)
            .map_err(|e| e.about("path"))?)
    }
}
