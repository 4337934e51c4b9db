//! Activation verbalisers of natural language autoencoders (kitft/natural_language_autoencoders): models that are given a
//! vector as one token of a prompt, and describe it. A file beside the model says how.

use super::nla_meta::{META, NlaMeta, NlaRole, size, text_of};
use super::sidecar;
use crate::common::*;
use crate::model::Model;
use crate::model::batch::Batch;
use crate::model::chat::ChatOptions;
use crate::model::generate::{Drawn, GenerateOptions};
use crate::model::inject::{InjectedNorm, InjectedVectors, Injection, InjectionRule};
use crate::options::seed::SeedOptions;
use crate::tensor::{Tensor, Values};

/// Mark in the template of a prompt where the placeholder belongs.
const PLACEHOLDER: &str = "{injection_char}";

/// The marks around a description in an answer.
const MARKS: [&str; 2] = ["<explanation>", "</explanation>"];

crate::options! {
    /// Options of a description in words.
    pub struct VerbaliseOptions {
        /// Maximum number of new tokens.
        tokens: usize = 200 => at_least(1.0);
        /// The sampling temperature, by which logits are divided; 0 takes the likeliest token.
        temperature: f64 = 1.0 => at_least(0.0);
        /// The folder or name on the hub that has `nla_meta.yaml`.
        meta: Option<String> = None => usually("the model's own");
        with seed: SeedOptions;
    }
}

impl VerbaliseOptions {
    /// Returns whether the likeliest token is taken each time, so that nothing is drawn.
    pub fn is_greedy(&self) -> bool {
        self.temperature == 0.0
    }
}

/// The way in which a model is given a vector, by its `nla_meta.yaml`.
#[derive(Debug, Clone, PartialEq)]
pub struct Verbaliser {
    d_model: usize,
    /// The message of the user, with `{injection_char}` for the placeholder.
    template: String,
    placeholder: String,
    /// Ids of the token before the placeholder, of itself, and of the token behind it.
    ids: [u32; 3],
    /// The L2 norm that a vector gets; None for its own.
    norm: Option<f64>,
}

impl Verbaliser {
    /// Reads the file of a folder, of the folder of a file, or of a model on the hub.
    pub fn open(files: &Files, name: &str, task: &Task) -> Result<Self> {
        let folder = sidecar::folder_with(files, name, &[META], task)?;
        Self::read(&sidecar::text(files, &folder, META)?).map_err(|e| e.within(META))
    }

    /// Reads the text of the file.
    pub fn read(text: &str) -> Result<Self> {
        let meta = NlaMeta::read(text)?;
        if meta.role != NlaRole::Verbaliser {
            return Err(err!(
                File,
                "expected a model that describes vectors, of the role \"av\", found {}",
                meta.value["role"]
            )
            .hint("a reconstructor, \"ar\", reads descriptions: `m.reconstruct` asks it"));
        }
        let d_model = meta.d_model;
        let template = meta.template(PLACEHOLDER)?;
        let tokens = &meta.value["tokens"];
        let id = |name: &str| size(&tokens[name], name).map(|id| id as u32);
        let norm = match meta.value["extraction"].get("injection_scale") {
            None => bail!(File, "expected `injection_scale`, which a model was trained with, found none"),
            Some(Value::Null) => None,
            Some(scale) if scale == "sqrt_d_model" => Some((d_model as f64).sqrt()),
            Some(scale) => match scale.as_f64().filter(|scale| *scale > 0.0) {
                Some(norm) => Some(norm),
                None => bail!(File, "expected a number above 0 for `injection_scale`, found {scale}"),
            },
        };
        Ok(Self {
            d_model,
            template,
            placeholder: text_of(&tokens["injection_char"], "injection_char")?,
            ids: [id("injection_left_neighbor_id")?, id("injection_token_id")?, id("injection_right_neighbor_id")?],
            norm,
        })
    }

    /// Returns the tokens of the prompt, and the position of the placeholder. A tokenizer that splits it otherwise than at
    /// the time of the training is refused: the model would describe the placeholder.
    pub fn prompt(&self, model: &Model, task: &Task) -> Result<(Vec<u32>, usize)> {
        let d_model = model.decoder.config().d_model;
        if d_model != self.d_model {
            return Err(
                err!(Shape, "expected a model of d_model {}, by {META}, found {d_model}", self.d_model).about("m")
            );
        }
        let message = self.template.replace(PLACEHOLDER, &self.placeholder);
        let chat = ChatOptions { answer: true, ..ChatOptions::default() };
        let ids = model.chat(json!([{ "role": "user", "content": message }]), &chat, task)?.ids;
        let places: Vec<usize> =
            (1..ids.len().saturating_sub(1)).filter(|at| ids[at - 1..=at + 1] == self.ids).collect();
        match places[..] {
            [place] => Ok((ids, place)),
            _ => Err(err!(
                Argument,
                "expected the tokens {:?} around the placeholder once in the prompt, found them {} times",
                self.ids,
                places.len()
            )
            .hint(format!("{META} is of another tokenizer, or of another template of chats"))
            .about("m")),
        }
    }

    /// Describes vectors, `[vectors, d_model]`.
    pub fn describe(
        &self,
        model: &Model,
        vectors: &Tensor,
        options: &VerbaliseOptions,
        seed: u64,
        task: &Task,
    ) -> Result<Vec<String>> {
        let (prompt, place) = self.prompt(model, task)?;
        let rows = vectors.dim(0)?;
        let each = (0..rows).map(|row| Ok(Values::Tensor(vectors.get(row)?)));
        let injection = Injection {
            vector: InjectedVectors::Each(each.collect::<Result<_>>()?),
            at: None,
            pos: Some(vec![place as i64]),
            site: "embed".into(),
            rule: InjectionRule { norm: self.norm.map(InjectedNorm::Of), ..InjectionRule::default() },
        };
        let generate = GenerateOptions::with_injection(injection, options.tokens, options.temperature);
        let batch = Batch::new(vec![prompt; rows]).map_err(|e| e.about("vectors"))?;
        let drawn = Drawn { seed, in_words: true };
        let said = model.generate(&batch, &generate, drawn, Vec::new(), &mut |_| {}, task)?;
        Ok(said.texts.iter().map(|text| described(text)).collect())
    }
}

/// Returns what stands between the marks of an answer; all of it where they are not there, as in one that was cut off.
fn described(text: &str) -> String {
    let behind = text.split_once(MARKS[0]).map_or(text, |(_, behind)| behind);
    behind.split_once(MARKS[1]).map_or(behind, |(within, _)| within).trim().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "
kind: nla_model
role: av
d_model: 16
extraction:
  injection_scale: 150.0
tokens:
  injection_char: x
  injection_token_id: 4
  injection_left_neighbor_id: 3
  injection_right_neighbor_id: 1
prompt_templates:
  av: 'What is {injection_char}?'
";

    #[test]
    fn scales_are_norms() {
        let norm = |scale: &str| Verbaliser::read(&FILE.replace("150.0", scale)).map(|found| found.norm);
        assert_eq!(norm("150.0").unwrap(), Some(150.0));
        assert_eq!(norm("sqrt_d_model").unwrap(), Some(4.0));
        assert_eq!(norm("null").unwrap(), None);
        assert!(norm("0").is_err() && norm("-1.5").is_err() && norm("large").is_err());
        assert!(Verbaliser::read(&FILE.replace("injection_scale: 150.0", "mse_scale: 4")).is_err());
    }

    #[test]
    fn other_files_are_refused() {
        let refused = |from: &str, to: &str| Verbaliser::read(&FILE.replace(from, to)).unwrap_err().message;
        assert!(refused("nla_model", "nla_dataset").contains("\"nla_model\""));
        assert!(refused("role: av", "role: ar").contains("\"ar\""));
        assert!(refused("{injection_char}", "it").contains("once in the prompt's template"));
        assert!(refused("d_model: 16", "d_model: none").contains("`d_model`"));
        assert!(refused("injection_token_id: 4", "token: 4").contains("`injection_token_id`"));
        let older = FILE.replace("role: av", "role: actor").replace("  av:", "  actor:");
        assert_eq!(Verbaliser::read(&older).unwrap(), Verbaliser::read(FILE).unwrap());
    }

    #[test]
    fn a_description_is_between_its_marks() {
        assert_eq!(described("so <explanation>\na b\n</explanation> c"), "a b");
        assert_eq!(described("<explanation>a b"), "a b");
        assert_eq!(described(" a b "), "a b");
    }
}
