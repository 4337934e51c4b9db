//! A parcel: what an explorer holds, as files, and the explorer that is made of them again in an exported page. Model,
//! dictionaries and lenses are saved as scripts save them. Of the text there are the tokens that are read of it, so that neither
//! its source nor the model that writes it is needed; and beside these what answers need of it, since a page takes minutes to read it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::answers;
use super::state::{Explorer, ExplorerInputs};
use crate::base::files::Files;
use crate::base::{Cell, Kind, Result, Table, Task, json};
use crate::checkpoint::load::LoadSettings;
use crate::data::Text;
use crate::data::pack::Encoder;
use crate::data::text::TextOptions;
use crate::err;
use crate::features::dashboard::{Said, SaidWords};
use crate::model::Model;
use crate::model::reading::fitted::FittedLens;
use crate::sae::load::LoadOptions;
use crate::sae::{Format, Sae};
use crate::tensor::files::NamedTensors;
use crate::tensor::files::safetensors::{self, SafetensorsFile};
use crate::tensor::{DType, Device, Tensor};

/// Folder of the files in an exported page.
pub const FOLDER: &str = "/explorer";

/// Names of the model's folder, of its weights, and of the file with all that is neither model nor dictionary nor lens.
const MODEL: &str = "model";
const WEIGHTS: &str = "model/model.safetensors";
const REST: &str = "rest.json";

/// The largest number of features of a dictionary whose survey is kept, and of all together for trees to be: each has some
/// kilobytes. Others read the text in the page, when their first card is asked for.
const MOST_SURVEYED: usize = 1 << 12;

/// Parts of an explorer that are neither model nor dictionary nor lens, with the names of those.
#[derive(Serialize, Deserialize)]
struct Rest {
    inputs: ExplorerInputs,
    /// The name of the model, and the sources of the dictionaries and of the lenses, in their order.
    origin: String,
    dictionaries: Vec<String>,
    lenses: Vec<String>,
    text: PackedText,
    words: Vec<PackedWords>,
}

/// A text as the tokens of its documents.
#[derive(Serialize, Deserialize)]
struct PackedText {
    name: String,
    /// Maximum number of tokens that are read.
    tokens: Option<u64>,
    bos: Option<bool>,
    documents: Vec<Vec<u32>>,
}

/// Words of a feature.
#[derive(Serialize, Deserialize)]
struct PackedWords {
    feature: String,
    description: String,
    score: Option<f64>,
}

/// Returns the name of the folder of a dictionary.
fn dictionary(number: usize) -> String {
    format!("dictionary-{number}")
}

/// Returns the name of the file of a lens.
fn lens(number: usize) -> String {
    format!("lens-{number}.safetensors")
}

/// Paths of packed files from their folder.
pub struct PackedPaths {
    /// Files of the model, the lenses and the text.
    pub model: Vec<PathBuf>,
    /// Files of the dictionaries, and of what was computed with them.
    pub dictionaries: Vec<PathBuf>,
}

impl Explorer {
    /// Writes all that the explorer holds into a folder.
    pub fn pack(&self, files: &Files, folder: &Path, task: &Task) -> Result<PackedPaths> {
        let mut model = self.model.save(files, &folder.join(MODEL), task)?;
        narrow(files, &folder.join(WEIGHTS), task)?;
        for (number, (_, fitted)) in self.lenses.iter().enumerate() {
            let path = folder.join(lens(number));
            fitted.save(files, &path, task)?;
            model.push(files.access().to_write(&path)?);
        }
        model.push(files.save_whole(&folder.join(REST), json_of(&self.rest(task)?)?)?);
        let mut dictionaries = Vec::new();
        for (number, of) in self.dictionaries.iter().enumerate() {
            let sae = of.sae.to_device(&Device::Cpu)?;
            dictionaries.extend(sae.save(files, &folder.join(dictionary(number)), Format::Microtome)?);
        }
        for (name, part) in self.parts(task)? {
            dictionaries.push(files.save_whole(&folder.join(name), part)?);
        }
        let above = files.access().to_write(folder)?;
        let within = |places: Vec<PathBuf>| -> Result<Vec<PathBuf>> {
            let paths = places.iter().map(|place| place.strip_prefix(&above).map(Path::to_path_buf));
            paths.collect::<Result<_, _>>().map_err(|e| err!(Bug, "a file beyond its folder: {e}"))
        };
        Ok(PackedPaths { model: within(model)?, dictionaries: within(dictionaries)? })
    }

    /// Makes the explorer of the files that [`Explorer::pack`] has written into a folder.
    pub fn unpacked(folder: &Path, files: &Files, task: &Task) -> Result<Self> {
        let bytes = files.bytes(&folder.join(REST))?;
        let wrong =
            |e: serde_json::Error| err!(Format, "expected the {REST} of an exported explorer, found another: {e}");
        let Rest { inputs, origin, dictionaries, lenses, text, words } = json::read_content(&bytes, wrong)?;
        let path = |name: &str| folder.join(name).display().to_string();
        let model = Model { origin, ..Model::load(files, &path(MODEL), &LoadSettings::default(), task)? };
        let load = |(number, source): (usize, String)| -> Result<(String, Sae)> {
            Ok((source, Sae::load(files, &path(&dictionary(number)), &LoadOptions::default(), task)?))
        };
        let saes = dictionaries.into_iter().enumerate().map(load).collect::<Result<Vec<_>>>()?;
        let load = |(number, source): (usize, String)| -> Result<(String, FittedLens)> {
            Ok((source, FittedLens::load_any(files, &folder.join(lens(number)), task)?))
        };
        let lenses = lenses.into_iter().enumerate().map(load).collect::<Result<Vec<_>>>()?;
        let options = TextOptions { tokens: text.tokens, bos: text.bos, ..TextOptions::default() };
        let read = Text::of_ids(text.documents, options)?.named(&text.name);
        let made = Self::of(inputs, model, saes, lenses, read, said(words), files)?;
        Ok(Self { kept_in: Some(folder.to_path_buf()), ..made })
    }

    /// Computes the parts of answers that take long: what cards and trees need of the text, and all about heads. One that cannot
    /// be computed is left out, and refused in the page as it is here.
    fn parts(&self, task: &Task) -> Result<Vec<(String, Vec<u8>)>> {
        let mut parts = Vec::new();
        let mut keep = |name: String, part: Result<Vec<u8>>| match part {
            Err(error) if error.kind == Kind::Interrupted => Err(error),
            part => {
                parts.extend(part.ok().map(|part| (name, part)));
                Ok(())
            }
        };
        keep(answers::HEADS.into(), answers::head_answers(self, task).and_then(|found| json_of(&found)))?;
        let mut surveyed = 0;
        for (number, of) in self.dictionaries.iter().enumerate() {
            surveyed += of.sae.d_sae();
            if of.sae.d_sae() <= MOST_SURVEYED {
                for without_first in [false, true] {
                    let found = answers::overview(self, number, without_first, task);
                    let part = found.and_then(|found| json_of(&found.survey));
                    keep(answers::survey_name(number, without_first), part)?;
                }
            }
        }
        for number in (0..self.dictionaries.len()).filter(|_| surveyed <= MOST_SURVEYED) {
            let found = answers::tree_text(self, number, task);
            keep(answers::tree_name(number), found.and_then(|found| json_of(&found.survey)))?;
        }
        Ok(parts)
    }

    fn rest(&self, task: &Task) -> Result<Rest> {
        let words = self.dictionaries.iter().flat_map(|of| {
            let site = of.sae.parts().about.site();
            let word = |(feature, said): (usize, &SaidWords)| PackedWords {
                feature: format!("{site}/{feature}"),
                description: said.words.text.clone(),
                score: Some(said.words.score).filter(|score| score.is_finite()),
            };
            self.said.of_site(&site).map(word).collect::<Vec<_>>()
        });
        Ok(Rest {
            inputs: self.plan.clone(),
            origin: self.model.origin.clone(),
            dictionaries: self.dictionaries.iter().map(|of| of.source.clone()).collect(),
            lenses: self.lenses.iter().map(|(source, _)| source.clone()).collect(),
            text: PackedText {
                name: self.text.name().into(),
                tokens: self.text.options().tokens,
                bos: self.text.options().bos,
                documents: self.documents(task)?,
            },
            words: words.collect(),
        })
    }

    /// Reads the tokens of the text's documents, as many as there are rows of.
    fn documents(&self, task: &Task) -> Result<Vec<Vec<u32>>> {
        self.text.expect_end()?;
        let most = self.text.options().tokens.unwrap_or(u64::MAX);
        let bar = task.begin(&format!("reading {}", self.text.name()), self.text.options().tokens);
        let mut encoder = Encoder::new(self.text.documents(task)?, self.model.text_tokenizer()?.clone());
        let mut documents: Vec<Vec<u32>> = Vec::new();
        let mut count = 0;
        while count < most
            && let Some(piece) = encoder.next(task)?
        {
            count += piece.ids.len() as u64;
            bar.advance(piece.ids.len() as u64);
            match documents.last_mut() {
                Some(document) if piece.at > 0 => document.extend(piece.ids),
                _ => documents.push(piece.ids),
            }
        }
        Ok(documents)
    }
}

fn json_of(value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|e| err!(Bug, "a part of an explorer became no JSON: {e}"))
}

/// Returns the words of features that have any.
fn said(words: Vec<PackedWords>) -> Said {
    let rows = words.into_iter().map(|PackedWords { feature, description, score }| -> Vec<Cell> {
        vec![feature.into(), description.into(), score.into()]
    });
    Said::of_table(&Table::new("words", ["feature", "description", "score"], rows)).unwrap_or_default()
}

/// Rewrites weights in 16 bits where these hold the same numbers, as they do of a model that was published so.
fn narrow(files: &Files, path: &Path, task: &Task) -> Result<()> {
    let file = SafetensorsFile::new(files.map(path)?)?;
    let mut tensors = BTreeMap::new();
    for name in file.names() {
        task.check()?;
        tensors.insert(name.to_string(), narrowed(file.tensor(name)?)?);
    }
    let named = NamedTensors { tensors, metadata: file.metadata().clone() };
    files.save(path, |out| safetensors::write(&named, out))?;
    Ok(())
}

fn narrowed(tensor: Tensor) -> Result<Tensor> {
    if tensor.dtype() != DType::F32 {
        return Ok(tensor);
    }
    let bits = |tensor: &Tensor| -> Result<Vec<u32>> {
        let numbers = tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
        Ok(numbers.into_iter().map(f32::to_bits).collect())
    };
    let whole = bits(&tensor)?;
    for dtype in [DType::F16, DType::BF16] {
        let narrow = tensor.to_dtype(dtype)?;
        if bits(&narrow)? == whole {
            return Ok(narrow);
        }
    }
    Ok(tensor)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;
    use crate::explorer::answers::Question;
    use crate::explorer::reply;
    use crate::explorer::samples::explorer;

    fn answer(explorer: &Explorer, name: &str, question: &Value) -> Value {
        let question = Question::parse(name, question.clone()).unwrap();
        let carrier: reply::Carrier = Arc::new(|_: &Value| {});
        reply::last(reply::answer(explorer, question, &carrier, &Arc::default()))
    }

    #[test]
    fn an_explorer_that_was_packed_gives_the_same_answers() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::unrecorded(folder.path()).unwrap();
        let task = Task::default();
        let table = Table::new(
            "words",
            ["feature", "description"],
            [vec![Cell::from("resid_post.1/2"), Cell::from("letters <b>")]],
        );
        let explorer = Explorer { said: Said::of_table(&table).unwrap(), ..explorer() };
        let place = folder.path().join("parcel");
        let packed = explorer.pack(&files, &place, &task).unwrap();
        assert!(packed.model.contains(&PathBuf::from(WEIGHTS)), "{:?}", packed.model);
        let has = |name: &str| packed.dictionaries.contains(&PathBuf::from(name));
        let kept = ["heads.json", "survey-0-0.json", "survey-0-1.json", "survey-1-1.json", "tree-1.json"];
        assert!(kept.into_iter().all(has), "{:?}", packed.dictionaries);
        assert!(!has("tree-0.json"), "there is no dictionary of an earlier site");
        let again = Explorer::unpacked(&place, &files, &task).unwrap();
        assert_eq!(again.start(), explorer.start());
        assert_eq!(again.start()["dictionaries"][1]["words"]["2"], json!(["letters <b>", null]));
        for (name, question) in [
            ("read", json!({ "text": "ab(cd)e", "dictionary": 1, "chosen": 3 })),
            ("card", json!({ "dictionary": 1, "feature": 2 })),
            ("card", json!({ "dictionary": 0, "feature": 5, "without_first": true })),
            ("compare", json!({ "texts": ["abc", "(cd)"], "dictionary": 0 })),
            ("tree", json!({ "dictionary": 1, "feature": 2 })),
            ("heads", json!({})),
            ("head", json!({ "layer": 1, "head": 0 })),
        ] {
            let expected = answer(&explorer, name, &question);
            assert_eq!(expected["done"], true, "{name}: {expected}");
            assert_eq!(answer(&again, name, &question), expected, "{name}");
        }
    }

    #[test]
    fn weights_are_narrowed_where_nothing_is_lost() {
        let dtype = |numbers: &[f32]| narrowed(Tensor::new(numbers, &Device::Cpu).unwrap()).unwrap().dtype();
        assert_eq!(dtype(&[0.5, -3.0, 65504.0]), DType::F16);
        assert_eq!(dtype(&[1.0, f32::from_bits(0x7149_0000)]), DType::BF16);
        assert_eq!(dtype(&[0.1]), DType::F32);
    }
}
