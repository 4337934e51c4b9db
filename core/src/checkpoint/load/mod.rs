//! Loading models from a folder, one file, or the hub: the file's names are mapped to ours, and each weight is read
//! once.

mod block_scaled;
mod embedded;
mod file;
mod folder;
mod mapped;
mod packed_shifts;
mod shards;
mod slicing;
mod stated;
mod tensor_check;
mod weight_reader;

use super::adapter::AdapterFile;
use super::hub::{self, HubSettings, Name};
use crate::base::disk;
use crate::common::*;
use crate::model::Model;
use crate::model::config::Config;
use crate::model::decoder::Decoder;
use crate::model::layout::{Layout, PublishedForm, TensorSource};
use crate::model::weights::Weights;
use crate::options::fields::ConfigFields;
use crate::options::{Plain, Setting};
use crate::tensor::{DType, Device, dtype};
use crate::tokenizer::Tokenizer;

pub use embedded::{NAME as INSIDE, parts as parts_inside};
pub use folder::folder;
pub use shards::Shards;
pub use slicing::together;
pub use stated::{stated_config, stating_file};
pub use tensor_check::place;
pub use weight_reader::weights;

crate::options! {
    pub struct LoadOptions {
        /// The dtype of the computation, or "q8": in f32, with matrices that are stored as int8, 32 numbers to a scale.
        dtype: Precision = Precision::Dtype(DType::F32);
        /// The dtype to which products with matrices round what they read, and with bf16 the matrices, too.
        compute: Products = Products::F32;
        /// Keys of config.json to ignore, where an unknown one is refused.
        ignore: Vec<String> = Vec::new() => usually("none");
        /// A map of what the file of a TransformerLens model does not say of its config.
        config: ConfigFields = ConfigFields::default() => usually("none");
        /// The file or folder of another tokenizer.
        tokenizer: Option<String> = None => usually("the one in or beside the file");
        /// A LoRA adapter of PEFT that is put beside the weights: a folder, or `org/name` on the hub.
        adapter: Option<String> = None;
    }
}

crate::choices! {
    /// Dtypes to which products with matrices round what they read.
    pub enum Products {
        /// Numbers as they are.
        F32 = "f32",
        /// Numbers of both factors rounded to bf16: up to twice as fast where the CPU multiplies bf16, with the same bits elsewhere.
        Bf16 = "bf16",
        /// Rows rounded to int8 and multiplied with the integers of quantised matrices, which every matrix has to be.
        Int8 = "int8",
    }
}

/// The form of weights in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// Numbers that are computed with as they are. Matrices that a file has quantised stay so where this is f32, which
    /// gives the same numbers.
    Dtype(DType),
    /// Matrices of int8, and the rest in f32.
    Q8,
}

impl Precision {
    /// Returns the dtype of weights that are not quantised.
    pub fn of_numbers(self) -> DType {
        match self {
            Self::Dtype(dtype) => dtype,
            Self::Q8 => DType::F32,
        }
    }
}

impl From<DType> for Precision {
    fn from(dtype: DType) -> Self {
        Self::Dtype(dtype)
    }
}

impl Setting for Precision {
    const CHOICES: &'static [&'static str] = &["f32", "f64", "f16", "bf16", "q8"];

    fn wanted() -> String {
        "a dtype of floats, or \"q8\"".into()
    }

    fn of(value: &Plain) -> Option<Self> {
        match value {
            Plain::Text(name) if name == Q8 => Some(Self::Q8),
            Plain::Text(name) => dtype::parse(name).ok().filter(|found| dtype::is_float(*found)).map(Self::Dtype),
            _ => None,
        }
    }

    fn written(&self) -> String {
        match self {
            Self::Dtype(dtype) => format!("{:?}", dtype.as_str()),
            Self::Q8 => format!("{Q8:?}"),
        }
    }
}

const Q8: &str = "q8";

/// Options of loading a model, and the device onto which it is loaded.
#[derive(Debug, Clone)]
pub struct LoadSettings {
    pub options: LoadOptions,
    pub device: Device,
    /// The adapter that the options name, once its files are opened, which loading does.
    pub adapter: Option<Arc<AdapterFile>>,
}

impl Default for LoadSettings {
    fn default() -> Self {
        LoadOptions::default().onto(Device::Cpu)
    }
}

impl LoadSettings {
    /// Opens the adapter that the options name, so that an invalid one is refused before a model is read.
    fn opened(&self, files: &Files, task: &Task) -> Result<Self> {
        self.check_products()?;
        let LoadOptions { adapter, ignore, .. } = &self.options;
        let open = |name: &String| AdapterFile::open(files, name, ignore, task).map_err(|e| e.about("adapter"));
        let adapter = adapter.as_ref().map(open).transpose()?.map(Arc::new);
        Ok(Self { adapter, ..self.clone() })
    }

    /// Refuses an adapter of another base than this one, before its weights are read.
    fn check_adapter(&self, layout: &Layout) -> Result<()> {
        match &self.adapter {
            None => Ok(()),
            Some(adapter) => adapter.check(layout).map_err(|e| e.about("adapter")),
        }
    }

    /// Refuses products of rounded numbers where there are none: elsewhere than in f32, on the CPU.
    fn check_products(&self) -> Result<()> {
        let LoadOptions { compute, dtype, .. } = &self.options;
        if *compute == Products::F32 || dtype.of_numbers() == DType::F32 && self.device.is_cpu() {
            return Ok(());
        }
        Err(err!(Argument, "expected f32 on the CPU for products of {}, found {}", compute.word(), self.place())
            .hint("load it with #{ dtype: \"bf16\" } there")
            .about("compute"))
    }

    /// Names the dtype and the device.
    fn place(&self) -> String {
        let device = if self.device.is_cpu() { "the CPU" } else { "another device" };
        format!("{} on {device}", self.options.dtype.of_numbers().as_str())
    }

    /// Refuses a `config` that would be ignored.
    fn expect_no_config(&self) -> Result<()> {
        if self.options.config.0.is_empty() {
            return Ok(());
        }
        bail!(Argument, "expected no `config` for a model whose files state it, found one")
    }
}

impl LoadOptions {
    pub fn onto(self, device: Device) -> LoadSettings {
        LoadSettings { options: self, device, adapter: None }
    }
}

/// A model as its files have it.
#[derive(Debug)]
pub struct LoadedModel {
    pub config: Config,
    pub weights: Weights,
    /// The published form; None for formats that we do not write.
    pub published: Option<PublishedForm>,
    /// The tokenizer inside the file of the weights, or in the folder beside them.
    pub tokenizer: Option<Tokenizer>,
}

impl Model {
    /// Returns whether the model is the one inside the binary, without hooks that change it.
    pub fn is_inside(&self) -> bool {
        self.origin == INSIDE && self.decoder.kept().is_empty()
    }

    /// Loads the model of a folder or a file, or of the hub where there is neither: `org/name`, `org/name@revision`.
    /// `tiny` is the one inside the binary; a folder of that name is `./tiny`.
    pub fn load(files: &Files, name: &str, loading: &LoadSettings, task: &Task) -> Result<Self> {
        let loading = &loading.opened(files, task)?;
        if name == embedded::NAME {
            return finished(files, embedded::embedded(loading, task)?, name.to_string(), loading, task);
        }
        let Some(on_hub) = hub::unless_here(files, name, may_be_a_model, || elsewhere(name))? else {
            return local(files, Path::new(name), name.to_string(), loading, task);
        };
        let snapshot = hub::fetch(files, task, &HubSettings::from_env(), &on_hub).map_err(hub::nor_here)?;
        let file = on_hub.file.as_ref().map(|file| format!("/{file}")).unwrap_or_default();
        let origin = format!("{}{file}@{}", on_hub.repo(), snapshot.commit);
        local(files, snapshot.path(), origin, loading, task)
    }

    /// Builds the model of these tensors and the config.json that belongs to them; both have the names that published files
    /// of the family have. `origin` is what the model is called. A program of candle has such tensors in a `VarMap`, or from
    /// `candle_core::safetensors::load`.
    pub fn of_tensors(
        files: &Files,
        config_json: Value,
        tensors: &dyn TensorSource,
        origin: &str,
        loading: &LoadSettings,
        task: &Task,
    ) -> Result<Self> {
        loading.expect_no_config()?;
        let loading = &loading.opened(files, task)?;
        let loaded = folder::of_config(config_json, tensors, folder::CONFIG, origin, loading, task)?;
        finished(files, loaded, origin.to_string(), loading, task)
    }
}

/// Suggests what to write for a name that is neither here nor a name of the hub. Other tools know some models by short
/// names.
fn elsewhere(name: &str) -> String {
    const OWNERS: &[(&str, &str)] = &[("gpt2", "openai-community"), ("pythia-", "EleutherAI")];
    if names::nearest(name, [embedded::NAME]).is_some() {
        return format!("did you mean `{}`, the model inside the program?", embedded::NAME);
    }
    match OWNERS.iter().find(|(start, _)| name.starts_with(start)) {
        Some((_, owner)) if !name.contains('/') => format!("on the hub it is `{owner}/{name}`"),
        _ => "expected a folder, a file, or a model of the hub as `org/name`".into(),
    }
}

/// Returns whether a name may be that of a model on the hub: a single file there has an extension, a path to a folder
/// has none.
fn may_be_a_model(name: &Name) -> bool {
    name.file.as_ref().is_none_or(|file| Path::new(file).extension().is_some())
}

fn local(files: &Files, path: &Path, origin: String, loading: &LoadSettings, task: &Task) -> Result<Model> {
    let is_folder = disk::is_dir(&files.access().to_read(path)?);
    let load = if is_folder { folder::folder } else { file::file };
    finished(files, load(files, path, loading, task)?, origin, loading, task)
}

/// Joins the model with its tokenizer: the one that the user chose, or that came with it.
fn finished(files: &Files, loaded: LoadedModel, origin: String, loading: &LoadSettings, task: &Task) -> Result<Model> {
    let config = &loaded.config;
    let tokenizer = match &loading.options.tokenizer {
        Some(stated) => Some(tokenizer(files, Path::new(stated), config.vocab, task)?),
        None => loaded.tokenizer,
    };
    let tokenizer = tokenizer.map(|tokenizer| tokenizer.or_marks(config.bos, config.eos.first().copied()));
    let decoder = Decoder::new(loaded.config, loaded.weights);
    let published = loaded.published.map(Arc::new);
    let base = Model { published, ..Model::new(decoder, tokenizer, origin) };
    match &loading.adapter {
        None => Ok(base),
        Some(adapter) => adapter.applied(&base, task).map_err(|e| e.about("adapter")),
    }
}

/// Reads the tokenizer of a file or a folder, for a model with this many tokens.
fn tokenizer(files: &Files, path: &Path, tokens: usize, task: &Task) -> Result<Tokenizer> {
    let shown = path.display();
    if disk::is_dir(&files.access().to_read(path)?) {
        let found = tokenizer_of_folder(files, path, task)?;
        return found.ok_or_else(|| err!(File, "expected a tokenizer in {shown}, found none"));
    }
    let bytes = files.bytes(path)?;
    let ending = path.extension().map(|ending| ending.to_string_lossy().into_owned()).unwrap_or_default();
    let read = task.apart(move || match ending.as_str() {
        "bin" => Tokenizer::from_llama2c(&bytes, Some(tokens)),
        "txt" => Tokenizer::from_world(&bytes),
        _ => Tokenizer::from_json(&bytes),
    });
    read.map_err(|e| e.within(shown))
}

/// Reads the tokenizer of a folder, if it has one. It is built on another thread, since the largest take a second or
/// two without a check for interruptions.
fn tokenizer_of_folder(files: &Files, folder: &Path, task: &Task) -> Result<Option<Tokenizer>> {
    let files = files.clone();
    let folder = folder.to_path_buf();
    task.apart(move || Tokenizer::from_folder(&files, &folder))
}

#[cfg(test)]
mod tests {
    use candle_nn::VarMap;

    use super::*;
    use crate::base::access::Rules;
    use crate::model::batch::Batch;
    use crate::tensor::{Tensor, floats};

    #[test]
    fn variables_of_candle_make_the_model_of_their_folder() {
        let task = Task::default();
        let settings = LoadSettings::default();
        let files = Files::unrecorded(Path::new("out")).unwrap();
        let variables = VarMap::new();
        let mut named = variables.data().lock().unwrap();
        for (name, t) in kit::tensors("models/llama/model.safetensors") {
            named.insert(name, candle_core::Var::from_tensor(&t).unwrap());
        }
        let tensors: BTreeMap<String, Tensor> =
            named.iter().map(|(name, var)| (name.clone(), (**var).clone())).collect();
        let config = kit::json("models/llama/config.json");
        let made = Model::of_tensors(&files, config, &tensors, "variables", &settings, &task).unwrap();
        let folder = kit::fixture("models/llama").display().to_string();
        let read = Model::load(&files, &folder, &settings, &task).unwrap();
        let batch = Batch::new(vec![vec![3, 1, 4, 1, 5]]).unwrap();
        let logits = |model: &Model| model.decoder.logits(&batch, Vec::new(), &task).unwrap();
        assert_eq!(floats(&logits(&made)).unwrap(), floats(&logits(&read)).unwrap());
        assert!(!logits(&made).track_op());
    }

    /// Checks that files without the beginning of their format are refused before they are hashed for a record: that would
    /// be interrupted.
    #[test]
    fn what_is_no_model_is_refused_before_it_is_hashed() {
        let folder = tempfile::tempdir().unwrap();
        let interrupted = Task::default();
        interrupted.flag().store(true, std::sync::atomic::Ordering::Relaxed);
        let files = Files::new(Access::new(folder.path(), &Rules::default()).unwrap(), true).heeding(&interrupted);
        for name in ["large.gguf", "large.safetensors", "large.bin", "large.pt"] {
            let path = folder.path().join(name);
            std::fs::write(&path, vec![0; 1 << 16]).unwrap();
            let loaded = Model::load(&files, &path.display().to_string(), &LoadSettings::default(), &Task::default());
            assert!(loaded.is_err_and(|error| error.kind != crate::base::Kind::Interrupted), "{name}");
        }
    }

    /// Checks that what does not go with a config is refused before the weights are hashed, which takes a minute here and would
    /// be interrupted.
    #[test]
    fn a_config_is_refused_before_the_weights_are_hashed() {
        const HOLE: u64 = 1 << 36;
        let folder = tempfile::tempdir().unwrap();
        let weights = folder.path().join("model.safetensors");
        let shape = HOLE / 4;
        let header = format!(r#"{{"x":{{"dtype":"F32","shape":[{shape}],"data_offsets":[0,{HOLE}]}}}}"#);
        let start = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat();
        std::fs::write(&weights, &start).unwrap();
        let file = std::fs::File::options().write(true).open(&weights).unwrap();
        file.set_len(start.len() as u64 + HOLE).unwrap();
        std::fs::write(folder.path().join("config.json"), r#"{"model_type":"llama","colour":"red"}"#).unwrap();
        for path in [folder.path(), weights.as_path()] {
            let waiting = Task::default();
            let flag = waiting.flag().clone();
            std::thread::spawn(move || {
                std::thread::sleep(std::time::Duration::from_secs(5));
                flag.store(true, std::sync::atomic::Ordering::Relaxed);
            });
            let files = Files::new(Access::new(folder.path(), &Rules::default()).unwrap(), true).heeding(&waiting);
            let loaded = Model::load(&files, &path.display().to_string(), &LoadSettings::default(), &Task::default());
            let error = loaded.err().unwrap();
            assert!(error.message.contains("config.json"), "{}", error.message);
        }
    }
}
