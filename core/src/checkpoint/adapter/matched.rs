//! The tensors of an adapter, each matched to the weights of its base by the names of the base's own files.

use super::config::PeftConfig;
use super::{PREFIX, computing, is_same};
use crate::common::*;
use crate::model::adapter::{AdapterParts, EMBEDDINGS, LowRankModule, ModulePlace, ModuleRows, WholeWeight};
use crate::model::layout::{Layout, TensorSource, WeightFrom};
use crate::model::weight::Weight;
use crate::model::weights::Weights;
use crate::tensor::{DType, Device, Tensor};

/// The part of a name by which PEFT tells a module's own weights from those beside them.
const BASE_LAYER: &str = ".base_layer.";

/// The part of a whole model that is the text model, which a text model alone has no name for.
const TEXT_PART: &str = "language_model.";

/// Suggestion where the unembedding of a base is its embedding.
const UNTIE: &str =
    "save the base with an unembedding of its own (`tie_word_embeddings` false), or merge the adapter in PEFT";

/// An adapter whose names and shapes fit its base.
pub struct MatchedAdapter<'a> {
    config: &'a PeftConfig,
    source: &'a dyn TensorSource,
    layout: &'a Layout,
    modules: Vec<MatchedModule>,
    wholes: Vec<MatchedWhole<'a>>,
    /// Count of the numbers in all tensors.
    numbers: usize,
}

/// The matrices of a module, by their names in the file.
struct MatchedModule {
    name: String,
    is_embedding: bool,
    down: String,
    up: String,
    places: Vec<ModulePlace>,
}

/// A weight that the file has as a whole.
struct MatchedWhole<'a> {
    /// Name in the file.
    key: String,
    of: WholeOf<'a>,
}

enum WholeOf<'a> {
    Weights(Vec<(&'a str, &'a WeightFrom)>),
    /// The unembedding of a base whose unembedding is the embedding.
    TiedUnembedding,
}

/// A name of the file, taken apart.
enum KeyPart<'a> {
    Down(&'a str),
    Up(&'a str),
    EmbeddingDown(&'a str),
    EmbeddingUp(&'a str),
    /// A whole weight, by its name in the base.
    Whole(String),
}

impl<'a> KeyPart<'a> {
    fn of(key: &'a str) -> Result<Self> {
        let Some(name) = key.strip_prefix(PREFIX) else {
            return Err(err!(Format, "expected names of tensors that begin with `{PREFIX}`, found `{key}`")
                .hint("expected the file that PEFT's `save_pretrained` writes"));
        };
        let ending = |end: &str| name.strip_suffix(end);
        let part = ending(".lora_A.weight")
            .map(Self::Down)
            .or_else(|| ending(".lora_B.weight").map(Self::Up))
            .or_else(|| ending(".lora_embedding_A").map(Self::EmbeddingDown))
            .or_else(|| ending(".lora_embedding_B").map(Self::EmbeddingUp));
        if let Some(part) = part {
            return Ok(part);
        }
        if name.contains(".lora_magnitude_vector") {
            return Err(err!(Format, "the adapter is a DoRA (it has `{key}`), which is not implemented")
                .hint("merge it in PEFT (`merge_and_unload`), and load what that saves as a model"));
        }
        if name.contains(".lora_") {
            return Err(err!(Format, "the tensor `{key}` of an adapter is not known here"));
        }
        Ok(Self::Whole(name.replace(BASE_LAYER, ".").replace(".modules_to_save.", ".")))
    }
}

/// The names of both matrices of a module, as far as they were found.
#[derive(Default)]
struct Pair {
    down: Option<String>,
    up: Option<String>,
    is_embedding: bool,
}

/// A weight of ours in a tensor of the base's files.
struct Entry<'a> {
    /// The name of the weight here.
    ours: &'a str,
    from: &'a WeightFrom,
    shape: Vec<usize>,
}

/// The tensors of the base's files, and what is in them.
struct BaseTensors<'a> {
    config: &'a PeftConfig,
    layout: &'a Layout,
    entries: BTreeMap<&'a str, Vec<Entry<'a>>>,
}

impl<'a> MatchedAdapter<'a> {
    /// Matches all tensors of an adapter, none of which is read; the first one whose name or shape does not fit is named.
    pub fn new(config: &'a PeftConfig, source: &'a dyn TensorSource, layout: &'a Layout) -> Result<Self> {
        let base = BaseTensors::new(config, layout)?;
        let mut pairs: BTreeMap<String, Pair> = BTreeMap::new();
        let mut wholes = Vec::new();
        let mut names = source.names();
        names.sort();
        for key in names {
            let (module, is_down, is_embedding) = match KeyPart::of(&key)? {
                KeyPart::Down(module) => (module, true, false),
                KeyPart::Up(module) => (module, false, false),
                KeyPart::EmbeddingDown(module) => (module, true, true),
                KeyPart::EmbeddingUp(module) => (module, false, true),
                KeyPart::Whole(name) => {
                    wholes.extend(base.whole(&key, &name, source)?);
                    continue;
                }
            };
            let pair = pairs.entry(module.to_string()).or_default();
            pair.is_embedding |= is_embedding;
            *(if is_down { &mut pair.down } else { &mut pair.up }) = Some(key.clone());
        }
        if pairs.is_empty() && wholes.is_empty() {
            return Err(err!(Format, "expected the tensors of an adapter, found none"));
        }
        let modules =
            pairs.into_iter().map(|(name, pair)| base.module(name, pair, source)).collect::<Result<Vec<_>>>()?;
        check_each_once(&modules)?;
        let keys =
            modules.iter().flat_map(|module| [&module.down, &module.up]).chain(wholes.iter().map(|whole| &whole.key));
        let numbers = keys.filter_map(|key| Some(source.shape(key)?.iter().product::<usize>())).sum::<usize>();
        Ok(Self { config, source, layout, modules, wholes, numbers })
    }

    /// Reads all tensors, in the dtype of the base's weights.
    pub fn read(&self, base: &Weights, task: &Task) -> Result<AdapterParts> {
        let (dtype, device) = computing(base);
        let bytes = self.numbers.saturating_mul(dtype.size_in_bytes());
        memory::check_on(device, bytes as u128, || "the adapter".into())?;
        let read = |key: &str| -> Result<Tensor> {
            task.check()?;
            self.source.tensor_as(key, dtype)
        };
        let module = |module: &MatchedModule| -> Result<LowRankModule> {
            let first = read(&module.down)?;
            let second = read(&module.up)?;
            // PEFT's embedding is (B A)^T, so that ours writes with A^T what B^T reads.
            let (down, up) = if module.is_embedding {
                (second.t()?.contiguous()?, first.t()?.contiguous()?)
            } else {
                (first, second)
            };
            Ok(LowRankModule {
                name: module.name.clone(),
                is_embedding: module.is_embedding,
                down: down.to_device(device)?,
                up: up.to_device(device)?,
                alpha: self.config.alpha_of(&module.name),
                places: module.places.clone(),
            })
        };
        let modules = self.modules.iter().map(module).collect::<Result<_>>()?;
        let wholes = self.wholes(base, &read, device)?;
        Ok(AdapterParts { settings: self.config.settings.clone(), modules, wholes })
    }

    /// Reads the weights that the file has as wholes, without the copies of the base's that PEFT saves beside matrices of
    /// embeddings.
    fn wholes(
        &self,
        base: &Weights,
        read: &dyn Fn(&str) -> Result<Tensor>,
        device: &Device,
    ) -> Result<Vec<WholeWeight>> {
        let mut found = Vec::new();
        let mut unembedding = None;
        let own: BTreeMap<String, Weight> = base.named(&self.layout.config)?.into_iter().collect();
        let is_own = |(ours, weight): &(String, Tensor)| match own.get(ours) {
            Some(own) => equal(weight, &own.tensor()?),
            None => Ok(false),
        };
        for whole in &self.wholes {
            let tensor = read(&whole.key)?;
            match &whole.of {
                WholeOf::TiedUnembedding => unembedding = Some((whole.key.as_str(), tensor)),
                WholeOf::Weights(places) => {
                    let cut = |(ours, from): &(&str, &WeightFrom)| {
                        Ok(((*ours).to_string(), from.cut(&tensor)?.to_device(device)?))
                    };
                    let weights = places.iter().map(cut).collect::<Result<Vec<_>>>()?;
                    let is_beside = whole.key.contains(BASE_LAYER);
                    if is_beside && weights.iter().map(is_own).collect::<Result<Vec<_>>>()?.iter().all(|own| *own) {
                        continue;
                    }
                    let name = whole.key.strip_prefix(PREFIX).unwrap_or(&whole.key).to_string();
                    found.push(WholeWeight { name, tensor, weights });
                }
            }
        }
        if self.layout.config.tied {
            self.check_tied(base, &mut found, unembedding)?;
        }
        Ok(found)
    }

    /// Refuses embeddings and unembeddings that differ where the base has one matrix for both. Embeddings that are the
    /// base's, which PEFT saves beside an adapter of them, are left out.
    fn check_tied(
        &self,
        base: &Weights,
        found: &mut Vec<WholeWeight>,
        unembedding: Option<(&str, Tensor)>,
    ) -> Result<()> {
        let own = base.embed.tensor()?;
        let is_embedding = |whole: &WholeWeight| whole.weights.iter().any(|(ours, _)| ours == "embed");
        let at = found.iter().position(is_embedding);
        let embedding = match at.and_then(|at| found.get(at)) {
            Some(whole) => whole.tensor.clone(),
            None => own.clone(),
        };
        let differs = |key: &str| {
            let what = format!("`{key}` is not the embedding, which is the unembedding of this base, too");
            Err(err!(Format, "{what}").hint(UNTIE))
        };
        if let Some((key, unembedding)) = &unembedding
            && !equal(unembedding, &embedding)?
        {
            return differs(key);
        }
        let Some(at) = at else { return Ok(()) };
        if equal(&embedding, &own)? {
            found.remove(at);
            return Ok(());
        }
        // PEFT trains a copy of a module to save, and the base's unembedding stays.
        let name = found.get(at).map(|whole| whole.name.trim_end_matches(".weight").to_string()).unwrap_or_default();
        let is_copy = self.config.settings.saved.iter().any(|saved| is_same(saved, &name));
        if is_copy && unembedding.is_none() { differs(&name) } else { Ok(()) }
    }
}

/// Refuses two modules for the same weight.
fn check_each_once(modules: &[MatchedModule]) -> Result<()> {
    let mut known = BTreeSet::new();
    for module in modules {
        if let Some(place) = module.places.iter().find(|place| !known.insert(&place.weight)) {
            return Err(err!(
                Format,
                "two modules of the adapter change our `{}`, one of them `{}`",
                place.weight,
                module.name
            ));
        }
    }
    Ok(())
}

fn equal(a: &Tensor, b: &Tensor) -> Result<bool> {
    if a.dims() != b.dims() {
        return Ok(false);
    }
    let b = b.to_device(a.device())?.to_dtype(a.dtype())?;
    Ok(a.ne(&b)?.to_dtype(DType::F32)?.sum_all()?.to_scalar::<f32>()? == 0.0)
}

impl<'a> BaseTensors<'a> {
    fn new(config: &'a PeftConfig, layout: &'a Layout) -> Result<Self> {
        let mut entries: BTreeMap<&str, Vec<Entry>> = BTreeMap::new();
        for (name, shape) in layout.config.parameters()? {
            let Some((ours, from)) = layout.weights.get_key_value(&name) else {
                return Err(err!(Bug, "a layout without `{name}`"));
            };
            entries.entry(from.name()).or_default().push(Entry { ours, from, shape });
        }
        Ok(Self { config, layout, entries })
    }

    /// Finds a tensor of the base's files by a name that may begin earlier or later.
    fn find(&self, name: &str) -> Result<Option<&'a str>> {
        let bare = name.replacen(TEXT_PART, "", 1);
        for name in [name, &bare] {
            if let Some((exact, _)) = self.entries.get_key_value(name) {
                return Ok(Some(exact));
            }
            let mut found = self.entries.keys().filter(|theirs| is_same(theirs, name));
            match (found.next(), found.next()) {
                (Some(one), None) => return Ok(Some(one)),
                (Some(one), Some(other)) => {
                    return Err(err!(Format, "`{name}` of the adapter may be `{one}` or `{other}` of its base"));
                }
                (None, _) => {}
            }
        }
        Ok(None)
    }

    /// Returns the error of a name that the base has not.
    fn missing(&self, what: &str, candidates: &[&str]) -> Error {
        let near = names::nearest(what, candidates.iter().copied()).map(|near| format!("; it has `{near}`"));
        err!(Name, "the adapter changes `{what}`, which this base has not{}", near.unwrap_or_default())
            .hint(self.of_base())
    }

    fn of_base(&self) -> String {
        match &self.config.base {
            Some(base) => format!("it is an adapter of {base}"),
            None => "it is an adapter of another base".into(),
        }
    }

    fn whole(&self, key: &str, name: &str, source: &dyn TensorSource) -> Result<Option<MatchedWhole<'a>>> {
        let Some(theirs) = self.find(name)? else {
            let unembedding = self.layout.weights.get("unembed.weight").filter(|_| self.layout.config.tied);
            if unembedding.is_some_and(|from| is_same(from.name(), name)) {
                return Ok(Some(MatchedWhole { key: key.into(), of: WholeOf::TiedUnembedding }));
            }
            if self.layout.ignores(name) {
                return Ok(None);
            }
            return Err(self.missing(name, &self.entries.keys().copied().collect::<Vec<_>>()));
        };
        let entries = self.entries.get(theirs).map(Vec::as_slice).unwrap_or_default();
        let total = entries.iter().filter_map(|entry| entry.shape.first()).sum();
        let Some(first) = entries.first() else { return Err(err!(Bug, "a tensor of no weights")) };
        let expected = first.from.whole_shape(&first.shape, self.layout.config.d_head, total)?;
        self.expect_shape(key, &expected, source)?;
        let places = entries.iter().map(|entry| (entry.ours, entry.from)).collect();
        Ok(Some(MatchedWhole { key: key.into(), of: WholeOf::Weights(places) }))
    }

    fn expect_shape(&self, key: &str, expected: &[usize], source: &dyn TensorSource) -> Result<()> {
        let found = source.shape(key).unwrap_or_default();
        if found == expected {
            return Ok(());
        }
        Err(err!(Shape, "tensor `{key}`: expected shape {expected:?}, found {found:?}").hint(self.of_base()))
    }

    fn module(&self, name: String, pair: Pair, source: &dyn TensorSource) -> Result<MatchedModule> {
        let (down, up) = match (pair.down, pair.up) {
            (Some(down), Some(up)) => (down, up),
            (Some(one), None) | (None, Some(one)) => {
                return Err(err!(Format, "expected both matrices of `{name}`, found `{one}` alone"));
            }
            (None, None) => return Err(err!(Bug, "a module without matrices")),
        };
        let Some(theirs) = self.find(&format!("{name}.weight"))? else {
            let unembedding = self.layout.weights.get("unembed.weight").filter(|_| self.layout.config.tied);
            if unembedding.is_some_and(|from| is_same(from.name(), &format!("{name}.weight"))) {
                return Err(tied(&name));
            }
            let known: Vec<&str> = self.entries.keys().map(|theirs| theirs.trim_end_matches(".weight")).collect();
            return Err(self.missing(&name, &known));
        };
        let entries = self.entries.get(theirs).map(Vec::as_slice).unwrap_or_default();
        let mut places = Vec::new();
        let mut out = 0;
        let mut inner = 0;
        for entry in entries {
            let (Some((_, rows)), &[of_entry, width]) = (ModuleRows::in_file(entry.from), entry.shape.as_slice())
            else {
                return Err(err!(
                    Format,
                    "the adapter changes `{name}`, which is no linear map or embedding of this base"
                )
                .hint(self.of_base()));
            };
            out += of_entry;
            inner = width;
            places.push(ModulePlace { weight: entry.ours.to_string(), rows });
        }
        let is_embedding = entries.first().is_some_and(|entry| EMBEDDINGS.contains(&entry.ours));
        if is_embedding && self.layout.config.tied && theirs_is_embed(entries) {
            return Err(tied(&name));
        }
        if is_embedding != pair.is_embedding {
            let wanted = if is_embedding { "lora_embedding_A" } else { "lora_A" };
            return Err(err!(Format, "expected `{wanted}` of `{name}`, found `{down}`").hint(self.of_base()));
        }
        let rank = self.config.rank_of(&name);
        let found = source.shape(&down).and_then(|shape| shape.first().copied()).unwrap_or_default();
        if found != rank {
            return Err(err!(Shape, "tensor `{down}`: expected the rank {rank} of the config, found {found}")
                .hint("`r` and `rank_pattern` of adapter_config.json say the rank of each module"));
        }
        let (of_down, of_up) = if is_embedding { ([rank, out], [inner, rank]) } else { ([rank, inner], [out, rank]) };
        self.expect_shape(&down, &of_down, source)?;
        self.expect_shape(&up, &of_up, source)?;
        Ok(MatchedModule { name, is_embedding, down, up, places })
    }
}

fn theirs_is_embed(entries: &[Entry]) -> bool {
    entries.iter().any(|entry| entry.ours == "embed")
}

fn tied(name: &str) -> Error {
    err!(Format, "the adapter changes `{name}`, and the unembedding of this base is its embedding").hint(UNTIE)
}
