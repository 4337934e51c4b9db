//! The file beside either model of a natural language autoencoder (kitft/natural_language_autoencoders): which of both the model
//! is, and the prompt that it was trained on.

use super::yaml;
use crate::common::*;

/// The file that says how a model is used.
pub const META: &str = "nla_meta.yaml";

/// The file of the map behind a reconstructor.
pub const HEAD: &str = "value_head.safetensors";

/// The model of an autoencoder that a file is beside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NlaRole {
    /// The model that is given a vector and describes it.
    Verbaliser,
    /// The model that reads a description and gives a vector.
    Reconstructor,
}

impl NlaRole {
    /// Returns the word of the file, and the one of earlier files.
    fn words(self) -> [&'static str; 2] {
        match self {
            Self::Verbaliser => ["av", "actor"],
            Self::Reconstructor => ["ar", "critic"],
        }
    }
}

/// Settings of a model by the file beside it.
#[derive(Debug, Clone)]
pub struct NlaMeta {
    pub role: NlaRole,
    pub d_model: usize,
    /// The whole file.
    pub value: Value,
}

impl NlaMeta {
    /// Reads the text of the file.
    pub fn read(text: &str) -> Result<Self> {
        let value = yaml::parsed(text)?;
        if value["kind"] != "nla_model" {
            bail!(File, "expected the kind \"nla_model\", found {}", value["kind"]);
        }
        let is_it = |role: &NlaRole| role.words().iter().any(|word| value["role"] == *word);
        let Some(role) = [NlaRole::Verbaliser, NlaRole::Reconstructor].into_iter().find(is_it) else {
            bail!(File, "expected the role \"av\" or \"ar\", found {}", value["role"]);
        };
        Ok(Self { role, d_model: size(&value["d_model"], "d_model")?, value })
    }

    /// Returns the prompt of the model, which has a mark once.
    pub fn template(&self, mark: &str) -> Result<String> {
        let templates = &self.value["prompt_templates"];
        let [word, earlier] = self.role.words();
        let template = if templates[word].is_null() { &templates[earlier] } else { &templates[word] };
        let template = text_of(template, word)?;
        if template.matches(mark).count() != 1 {
            bail!(File, "expected {mark} once in the prompt's template, found {template:?}");
        }
        Ok(template)
    }
}

/// Reads a size.
pub fn size(value: &Value, name: &str) -> Result<usize> {
    let found = value.as_u64().and_then(|size| u32::try_from(size).ok());
    found
        .map(|size| size as usize)
        .ok_or_else(|| err!(File, "expected an integer of at least 0 for `{name}`, found {value}"))
}

/// Reads a text.
pub fn text_of(value: &Value, name: &str) -> Result<String> {
    value.as_str().map(String::from).ok_or_else(|| err!(File, "expected a text for `{name}`, found {value}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_models_are_told_apart_in_either_form() {
        let read = |role: &str| NlaMeta::read(&format!("kind: nla_model\nrole: {role}\nd_model: 4\n"));
        for (role, words) in [(NlaRole::Verbaliser, ["av", "actor"]), (NlaRole::Reconstructor, ["ar", "critic"])] {
            assert!(words.iter().all(|word| read(word).unwrap().role == role));
        }
        assert!(read("judge").unwrap_err().message.contains("\"av\" or \"ar\""));
        assert!(NlaMeta::read("kind: nla_dataset\nrole: av").unwrap_err().message.contains("\"nla_model\""));
        assert!(NlaMeta::read("kind: [").unwrap_err().message.starts_with("expected YAML"));
    }

    #[test]
    fn a_prompt_has_its_mark_once() {
        let meta = |template: &str| {
            let text = format!("kind: nla_model\nrole: ar\nd_model: 4\nprompt_templates:\n  critic: '{template}'\n");
            NlaMeta::read(&text).unwrap().template("{it}")
        };
        assert_eq!(meta("so {it}").unwrap(), "so {it}");
        assert!(meta("so").is_err() && meta("{it} {it}").is_err());
    }
}
