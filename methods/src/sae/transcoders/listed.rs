//! Transcoders in files of other repositories, which circuit-tracer's configs list: a file for each layer, from the first on,
//! as in the set that it calls "gemma".

use super::TranscoderLayer;
use super::dictionaries::{layer, site_layer};
use crate::base::files::Files;
use crate::checkpoint::hub::{HubSettings, Name};
use crate::common::*;
use crate::sae::load::{LoadOptions, Loader};

/// The key above the list.
const KEY: &str = "transcoders:";

/// The beginning of an entry.
const SCHEME: &str = "hf://";

/// The mark before the revision in an entry.
const REVISION: &str = "?revision=";

/// Reads the list of a config: the names of files on the hub. It is empty where the config has none.
pub fn names(config: &str) -> Result<Vec<Name>> {
    let below = config.lines().skip_while(|line| line.trim_end() != KEY).skip(1).map(str::trim_end);
    let is_passed = |line: &str| line.is_empty() || line.trim_start().starts_with('#');
    let entries = below.filter(|line| !is_passed(line)).map_while(|line| line.trim_start().strip_prefix("- "));
    entries.map(name).collect()
}

/// Reads an entry: `hf://org/name/path?revision=v1`.
fn name(entry: &str) -> Result<Name> {
    let text = entry.split(" #").next().unwrap_or_default().trim().trim_matches(['"', '\'']);
    let wrong = || {
        err!(Format, "expected `{SCHEME}org/name/path` in the list of transcoders, found `{text}`")
            .hint("load each layer with sae::load, and give the array of all of them to sae::transcoders")
    };
    let inside = text.strip_prefix(SCHEME).ok_or_else(wrong)?;
    let name = Name::parse(&inside.replace(REVISION, "@")).map_err(|_| wrong())?;
    if name.file.is_none() { Err(wrong()) } else { Ok(name) }
}

/// Fetches and reads the files of a list, one for each layer.
pub fn layers(
    files: &Files,
    settings: &HubSettings,
    names: &[Name],
    ignore: &[String],
    task: &Task,
) -> Result<Vec<TranscoderLayer>> {
    let options = LoadOptions { ignore: ignore.to_vec(), ..LoadOptions::default() };
    let loader = Loader { files, options: &options, model: None, task };
    let bar = task.begin("loading transcoders", Some(names.len() as u64));
    let mut found = Vec::with_capacity(names.len());
    for (number, name) in names.iter().enumerate() {
        task.check()?;
        let sae = loader.hub(settings, name)?;
        let parts = sae.parts();
        let said = parts.about.sites.first().and_then(|site| site_layer(&site.name));
        if let Some(other) = said.filter(|said| *said != number) {
            return Err(err!(
                Format,
                "expected a transcoder of layer {number} in the list, found one of layer {other}: {name}"
            ));
        }
        found.push(layer(number, parts).map_err(|e| e.within(name))?);
        bar.advance(1);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_names_of_files() {
        let config = "model_kind: transcoder_set\ntranscoders:\n  # layers\n  - \"hf://google/a/layer_0/params.npz\"\n\n\
                      - hf://org/b/layer_1.safetensors?revision=v1 # the second\nscan: x\n- none\n";
        let found: Vec<String> = names(config).unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(found, ["google/a/layer_0/params.npz", "org/b/layer_1.safetensors@v1"]);
        assert!(names("model_kind: transcoder_set\n").unwrap().is_empty());
        for entry in ["layer_0.safetensors", "hf://org/name", "https://a.b/c/d"] {
            let error = names(&format!("transcoders:\n- {entry}\n")).unwrap_err();
            assert!(error.message.ends_with(&format!("found `{entry}`")), "{}", error.message);
        }
    }
}
