//! Activation reconstructors of natural language autoencoders (kitft/natural_language_autoencoders): the first layers of a model
//! and a linear map, which make a vector of a description. Files beside the model have the prompt and the map.

use super::load::Shards;
use super::nla_meta::{HEAD, META, NlaMeta, NlaRole, size};
use super::sidecar;
use crate::common::*;
use crate::model::Model;
use crate::model::batch::Batch;
use crate::model::config::Predicts;
use crate::model::layout::TensorSource;
use crate::model::run::Ask;
use crate::model::site::{Place, Site, SiteKind};
use crate::tensor::{DType, Tensor};

/// Mark in the template of a prompt where the description belongs.
const DESCRIPTION: &str = "{explanation}";

/// The map's name in its file.
const WEIGHT: &str = "weight";

crate::options! {
    /// Options of a vector that is made of a description.
    pub struct ReconstructOptions {
        /// The folder or name on the hub that has `nla_meta.yaml` and `value_head.safetensors`.
        meta: Option<String> = None => usually("the model's own");
    }
}

/// The prompt of a reconstructor, and the map behind its last layer.
#[derive(Debug)]
pub struct Reconstructor {
    /// The text that the model reads, with `{explanation}` for the description.
    template: String,
    /// Ids of the last tokens of each prompt, as they were in the training.
    ending: Vec<u32>,
    /// The map from the stream behind the last layer at the last token, `[d_model, d_model]`.
    head: Tensor,
}

impl Reconstructor {
    /// Reads the files of a folder, of the folder of a file, or of a model on the hub.
    pub fn open(files: &Files, name: &str, task: &Task) -> Result<Self> {
        let folder = sidecar::folder_with(files, name, &[META, HEAD], task)?;
        let meta = NlaMeta::read(&sidecar::text(files, &folder, META)?).map_err(|e| e.within(META))?;
        let (template, ending) = prompt_of(&meta).map_err(|e| e.within(META))?;
        let shards = Shards::open(files, &folder, &[HEAD.to_string()], task)?;
        let expected = [meta.d_model, meta.d_model];
        let shape = shards.shape(WEIGHT).unwrap_or_default();
        if shape != expected {
            bail!(Format, "{HEAD}: expected `{WEIGHT}` of the shape {expected:?}, found {shape:?}");
        }
        Ok(Self { template, ending, head: shards.tensor_as(WEIGHT, DType::F32)? })
    }

    /// Makes vectors of descriptions, `[descriptions, d_model]`, in f32.
    pub fn reconstruct(&self, model: &Model, descriptions: &[String], task: &Task) -> Result<Tensor> {
        let config = model.decoder.config();
        let d_model = self.head.dim(0)?;
        if config.d_model != d_model {
            return Err(
                err!(Shape, "expected a model of d_model {d_model}, by {META}, found {}", config.d_model).about("m")
            );
        }
        if config.predicts != Predicts::Nothing || config.layers == 0 {
            return Err(err!(Argument, "expected a reconstructor, which has no unembedding, found another model")
                .hint("load the folder or the model on the hub that has nla_meta.yaml with the role \"ar\"")
                .about("m"));
        }
        let prompts = descriptions.iter().map(|description| self.prompt(model, description, task));
        let batch = Batch::new(prompts.collect::<Result<_>>()?).map_err(|e| e.about("explanations"))?;
        let place = Place { site: Site::new(SiteKind::ResidPost, config.layers - 1), head: None };
        let ask = Ask { places: vec![place], positions: Some(vec![-1]), ..Ask::default() };
        let stream = model.decoder.cache(&batch, ask, task)?.at(place)?.squeeze(1)?.to_dtype(DType::F32)?;
        let head = self.head.to_device(stream.device())?;
        Ok(kernels::linear(&stream.contiguous()?, &head, None)?.detach())
    }

    /// Returns the tokens of a prompt. A tokenizer that ends it otherwise than in the training is refused: the map would read
    /// another token.
    fn prompt(&self, model: &Model, description: &str, task: &Task) -> Result<Vec<u32>> {
        let text = self.template.replace(DESCRIPTION, description);
        let ids = model.tokenizer()?.encode(&text, None, task)?.ids;
        if ids.ends_with(&self.ending) {
            return Ok(ids);
        }
        let last = &ids[ids.len().saturating_sub(self.ending.len())..];
        Err(err!(Argument, "expected the prompt to end in the tokens {:?}, found {last:?}", self.ending)
            .hint(format!("{META} is of another tokenizer"))
            .about("m"))
    }
}

/// Returns the template of a prompt, and the tokens that it has to end in, where the file says them.
fn prompt_of(meta: &NlaMeta) -> Result<(String, Vec<u32>)> {
    if meta.role != NlaRole::Reconstructor {
        let role = &meta.value["role"];
        return Err(err!(File, "expected a model that reads descriptions, of the role \"ar\", found {role}")
            .hint("a verbaliser, \"av\", describes vectors: `m.verbalise` asks it"));
    }
    let name = "critic_suffix_ids";
    let ending = match &meta.value["tokens"][name] {
        Value::Null => Vec::new(),
        Value::Array(ids) => ids.iter().map(|id| size(id, name).map(|id| id as u32)).collect::<Result<_>>()?,
        other => bail!(File, "expected a list of tokens for `{name}`, found {other}"),
    };
    Ok((meta.template(DESCRIPTION)?, ending))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<(String, Vec<u32>)> {
        prompt_of(&NlaMeta::read(&format!("kind: nla_model\nd_model: 4\n{text}"))?)
    }

    #[test]
    fn the_prompt_and_its_end_are_read() {
        let templates = "prompt_templates:\n  ar: 'of {explanation} is'\n";
        let found = read(&format!("role: ar\n{templates}tokens:\n  critic_suffix_ids: [3, 4]\n"));
        assert_eq!(found.unwrap(), ("of {explanation} is".into(), vec![3, 4]));
        assert_eq!(read(&format!("role: critic\n{templates}")).unwrap().1, Vec::<u32>::new());
        assert!(read(&format!("role: av\n{templates}")).unwrap_err().hint.unwrap().contains("verbalise"));
        assert!(read(&format!("role: ar\n{templates}tokens:\n  critic_suffix_ids: many\n")).is_err());
        assert!(read("role: ar\nprompt_templates:\n  ar: 'of'\n").is_err());
    }
}
