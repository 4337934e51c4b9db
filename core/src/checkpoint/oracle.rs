//! Activation oracles (Karvonen et al. 2025, arXiv 2512.15674): models that answer questions about vectors of their own stream,
//! which are added to that of placeholders in the prompt. A file beside the adapter says where and how.

use super::nla_meta::size;
use super::sidecar;
use crate::base::json as json_of;
use crate::base::random::stream;
use crate::common::*;
use crate::model::Model;
use crate::model::batch::Batch;
use crate::model::chat::ChatOptions;
use crate::model::generate::{Drawn, GenerateOptions};
use crate::model::inject::{InjectedNorm, InjectedVectors, Injection, InjectionRule};
use crate::options::fields::ConfigFields;
use crate::options::seed::SeedOptions;
use crate::tensor::{Tensor, Values};
use crate::tokenizer::tokens::TokenName;
use rand::Rng;

/// The file that says how an oracle was trained.
const CONFIG: &str = "ao_config.json";

/// The form of prompts in that file; no other one was published.
const PREFIX: &str = "Layer: {layer}\\n{special_token} * {num_positions} \\n";

crate::options! {
    /// Options of a question about vectors.
    pub struct OracleOptions {
        /// The layer behind which the vectors flow, or several: then the vectors of the first come first.
        layers: Vec<usize> = Vec::new() => usually("those of the training, if it had one choice");
        /// Maximum number of new tokens.
        tokens: usize = 40 => at_least(1.0);
        /// The sampling temperature, by which logits are divided; 0 takes the likeliest token.
        temperature: f64 = 0.0 => at_least(0.0);
        /// The folder or name on the hub that has `ao_config.json`.
        meta: Option<String> = None => usually("the adapter's own");
        with seed: SeedOptions;
    }
}

impl OracleOptions {
    /// Returns whether the likeliest token is taken each time, so that nothing is drawn.
    pub fn is_greedy(&self) -> bool {
        self.temperature == 0.0
    }
}

/// The way in which an oracle is given vectors, by its `ao_config.json`.
#[derive(Debug, Clone, PartialEq)]
pub struct Oracle {
    /// The placeholder, a token that stands once for each vector.
    placeholder: String,
    /// The layer behind which vectors are added.
    hook_layer: usize,
    /// The factor of vectors, once they have the norm of what is there.
    factor: f64,
    /// The layers, or several together, that vectors of the training were of.
    choices: Vec<Vec<usize>>,
}

/// A prompt, and the positions of its placeholders.
#[derive(Debug, PartialEq)]
struct OraclePrompt {
    ids: Vec<u32>,
    places: Vec<i64>,
}

impl Oracle {
    /// Reads the file of a folder, of the folder of a file, or of a model on the hub.
    pub fn open(files: &Files, name: &str, task: &Task) -> Result<Self> {
        let folder = sidecar::folder_with(files, name, &[CONFIG], task)?;
        Self::read(&sidecar::text(files, &folder, CONFIG)?).map_err(|e| e.within(CONFIG))
    }

    /// Reads the text of the file; what it says of the training alone is left.
    pub fn read(text: &str) -> Result<Self> {
        let config: Value = json_of::read(text.as_bytes(), |e| err!(File, "expected JSON, found: {e}"))?;
        if config["schema_version"] != 1 {
            bail!(File, "expected the `schema_version` 1, found {}", config["schema_version"]);
        }
        if config["prefix_template"] != PREFIX {
            bail!(File, "expected the `prefix_template` {PREFIX:?}, found {}", config["prefix_template"]);
        }
        let name = "act_layer_combinations";
        let choice = |value: &Value| {
            let layers = value.as_array().filter(|layers| !layers.is_empty());
            let layers = layers.ok_or_else(|| err!(File, "expected lists of layers in `{name}`, found {value}"))?;
            layers.iter().map(|layer| size(layer, name)).collect::<Result<Vec<_>>>()
        };
        let choices = config[name].as_array().filter(|choices| !choices.is_empty());
        let choices =
            choices.ok_or_else(|| err!(File, "expected lists of layers in `{name}`, found {}", config[name]))?;
        let factor = config["steering_coefficient"].as_f64().filter(|factor| factor.is_finite());
        let factor = factor.ok_or_else(|| {
            err!(File, "expected a number for `steering_coefficient`, found {}", config["steering_coefficient"])
        })?;
        let placeholder = config["special_token"].as_str().filter(|token| !token.is_empty());
        let placeholder = placeholder
            .ok_or_else(|| err!(File, "expected a token for `special_token`, found {}", config["special_token"]))?;
        Ok(Self {
            placeholder: placeholder.to_string(),
            hook_layer: size(&config["hook_onto_layer"], "hook_onto_layer")?,
            factor,
            choices: choices.iter().map(choice).collect::<Result<_>>()?,
        })
    }

    /// Returns the layers that vectors are said to be of: those that are asked for, which must be a choice of the training.
    fn layers<'a>(&'a self, asked: &[usize]) -> Result<&'a [usize]> {
        let refused = |found: String| {
            Err(err!(Argument, "expected layers of the training, one of {:?}, found {found}", self.choices)
                .hint("`layers` is the layer behind which the vectors were read, or several")
                .about("layers"))
        };
        match (asked, self.choices.as_slice()) {
            ([], [only]) => Ok(only.as_slice()),
            ([], _) => refused("none".into()),
            _ => match self.choices.iter().find(|choice| choice.as_slice() == asked) {
                Some(choice) => Ok(choice.as_slice()),
                None => refused(format!("{asked:?}")),
            },
        }
    }

    /// Returns the prompt that asks a question about so many vectors of each layer. A tokenizer that splits the placeholders
    /// otherwise than at the time of the training is refused.
    fn prompt(
        &self,
        model: &Model,
        question: &str,
        layers: &[usize],
        each: usize,
        task: &Task,
    ) -> Result<OraclePrompt> {
        let of_layer = |layer: &usize| format!("Layer: {layer}\n{} \n", self.placeholder.repeat(each));
        let message = layers.iter().map(of_layer).collect::<String>() + question;
        let values = Map::from_iter([("enable_thinking".to_string(), Value::Bool(false))]);
        let chat = ChatOptions { answer: true, values: ConfigFields(values), ..ChatOptions::default() };
        let ids = model.chat(json!([{ "role": "user", "content": message }]), &chat, task)?.ids;
        let id = model.token(&TokenName::Text(self.placeholder.clone()), task)?;
        let wanted = layers.len() * each;
        let places: Vec<usize> = (0..ids.len()).filter(|at| ids[*at] == id).take(wanted).collect();
        let is_row = |block: &[usize]| block.windows(2).all(|pair| pair[1] == pair[0] + 1);
        if places.len() != wanted || !places.chunks(each).all(is_row) {
            return Err(err!(
                Argument,
                "expected {wanted} placeholders {:?} in the prompt, {each} in a row, found them at {places:?}",
                self.placeholder
            )
            .hint(format!("{CONFIG} is of another tokenizer, or of another template of chats"))
            .about("m"));
        }
        Ok(OraclePrompt { ids, places: places.into_iter().map(|place| place as i64).collect() })
    }

    /// Answers a question about vectors, once for each tensor `[vectors, d_model]`.
    pub fn answers(
        &self,
        model: &Model,
        vectors: &[Tensor],
        question: &str,
        options: &OracleOptions,
        seed: u64,
        task: &Task,
    ) -> Result<Vec<String>> {
        let layers = self.layers(&options.layers)?;
        // Those of one number have one prompt.
        let mut by_count: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (number, rows) in vectors.iter().enumerate() {
            let count = rows.dim(0)?;
            if count == 0 || !count.is_multiple_of(layers.len()) {
                return Err(err!(
                    Argument,
                    "expected as many vectors of each of the {} layers, found {count}",
                    layers.len()
                )
                .about("vectors"));
            }
            by_count.entry(count).or_default().push(number);
        }
        let mut answers = vec![String::new(); vectors.len()];
        for (count, numbers) in by_count {
            let prompt = self.prompt(model, question, layers, count / layers.len(), task)?;
            let each = numbers.iter().map(|number| Values::Tensor(vectors[*number].clone())).collect();
            let injection = Injection {
                vector: InjectedVectors::Each(each),
                at: None,
                pos: Some(prompt.places),
                site: format!("resid_post.{}", self.hook_layer),
                rule: InjectionRule { add: true, norm: Some(InjectedNorm::Same), scale: self.factor },
            };
            let generate = GenerateOptions::with_injection(injection, options.tokens, options.temperature);
            let batch = Batch::new(vec![prompt.ids; numbers.len()])?;
            let drawn = Drawn { seed: stream(seed, "oracle", count as u64).next_u64(), in_words: true };
            let said = model.generate(&batch, &generate, drawn, Vec::new(), &mut |_| {}, task)?;
            for (number, text) in numbers.into_iter().zip(said.texts) {
                answers[number] = text.trim().to_string();
            }
        }
        Ok(answers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the keys of a published file that say how vectors are put in, and some of the others.
    fn config() -> Value {
        json!({
            "layer_combinations": [[25], [50], [75]],
            "act_layer_combinations": [[9], [18], [27]],
            "schema_version": 1,
            "special_token": " ?",
            "prefix_template": "Layer: {layer}\\n{special_token} * {num_positions} \\n",
            "model_name": "Qwen/Qwen3-8B",
            "hook_onto_layer": 1,
            "steering_coefficient": 1.0,
            "lora_r": 64,
        })
    }

    #[test]
    fn the_file_says_where_vectors_go() {
        let oracle = Oracle::read(&config().to_string()).unwrap();
        assert_eq!((oracle.placeholder.as_str(), oracle.hook_layer, oracle.factor), (" ?", 1, 1.0));
        assert_eq!(oracle.layers(&[18]).unwrap(), [18]);
        let refused = |asked: &[usize]| oracle.layers(asked).unwrap_err().message;
        assert_eq!(refused(&[]), "expected layers of the training, one of [[9], [18], [27]], found none");
        assert!(refused(&[9, 18]).ends_with("found [9, 18]"));
        let together = Oracle { choices: vec![vec![9, 18]], ..oracle };
        assert_eq!(together.layers(&[]).unwrap(), [9, 18]);
    }

    #[test]
    fn other_files_are_refused() {
        let refused = |key: &str, value: Value| {
            let mut config = config();
            config[key] = value;
            Oracle::read(&config.to_string()).unwrap_err().message
        };
        assert!(refused("schema_version", json!(2)).contains("`schema_version` 1, found 2"));
        assert!(refused("prefix_template", json!("L{layer}")).contains("`prefix_template`"));
        assert!(refused("act_layer_combinations", json!([])).contains("`act_layer_combinations`"));
        assert!(refused("act_layer_combinations", json!([[]])).contains("`act_layer_combinations`"));
        assert!(refused("hook_onto_layer", json!(-1)).contains("`hook_onto_layer`"));
        assert!(refused("steering_coefficient", Value::Null).contains("`steering_coefficient`"));
        assert!(refused("special_token", json!("")).contains("`special_token`"));
        assert!(Oracle::read("{").is_err());
    }
}
