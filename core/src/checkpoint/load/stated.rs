//! Configs of models that are not loaded: what a config.json or the header of a GGUF file states, for those who ask for
//! the sites of a model and not for its weights.

use std::io::Read;

use super::file::{config_of_gguf, is_gguf};
use super::folder::{CONFIG, parsed};
use super::{elsewhere, may_be_a_model};
use crate::base::disk;
use crate::base::files::utf8;
use crate::checkpoint::family::{self, multimodal};
use crate::checkpoint::hub::{self, HubSettings};
use crate::common::*;
use crate::model::config::Config;

/// Largest number of bytes of a config.json; published ones have some thousands.
const MOST: u64 = 4 << 20;

/// The key about the form in which weights are stored, which changes nothing of what is computed.
const STORED_AS: &str = "quantization_config";

/// Returns the file that states the config of a model, by the name that [`Model::load`](crate::model::Model::load)
/// takes: the config.json of a folder, or a GGUF file. Of a model of the hub it is in the cache, since nothing is
/// downloaded. None for a model of the hub that is not there, and for a file of weights in another format.
pub fn stating_file(files: &Files, name: &str) -> Result<Option<PathBuf>> {
    let path = match hub::unless_here(files, name, may_be_a_model, || elsewhere(name))? {
        None => PathBuf::from(name),
        Some(on_hub) => match hub::in_cache(files, &HubSettings::from_env(), &on_hub)? {
            Some(snapshot) => snapshot.path().to_path_buf(),
            None => return Ok(None),
        },
    };
    if disk::is_dir(&files.access().to_read(&path)?) {
        return Ok(Some(path.join(CONFIG)));
    }
    Ok(is_gguf(files, &path)?.then_some(path))
}

/// Reads the config that a file states, which [`stating_file`] has found.
pub fn stated_config(files: &Files, path: &Path) -> Result<Config> {
    if path.file_name().is_none_or(|name| name != CONFIG) {
        return config_of_gguf(files, path);
    }
    let config_json = parsed(&text(files, path)?, path)?;
    let ignore = [STORED_AS.to_string()];
    let text_part = multimodal::text_part(&config_json, &ignore)?;
    Ok(family::read(&text_part.unwrap_or(config_json), &ignore)?.config)
}

/// Reads a text that is no input of a run, up to the largest length.
fn text(files: &Files, path: &Path) -> Result<String> {
    let (file, _) = files.open(path)?;
    let mut bytes = Vec::new();
    file.take(MOST + 1).read_to_end(&mut bytes).map_err(|e| Error::io("read", path, &e))?;
    if bytes.len() as u64 > MOST {
        bail!(Format, "expected at most {MOST} bytes in {}, found more", path.display());
    }
    utf8(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::access::Rules;
    use crate::checkpoint::load::LoadSettings;
    use crate::model::Model;
    use crate::model::site::Site;

    fn allowed(rules: &Rules) -> Files {
        Files::new(Access::new(Path::new("out"), rules).unwrap(), false)
    }

    #[test]
    fn a_model_that_is_not_loaded_has_the_sites_of_the_loaded_one() {
        let files = allowed(&Rules::default());
        for name in ["models/llama", "models/mamba", "gguf/stablelm.gguf", "gguf/mixtral-00001-of-00002.gguf"] {
            let path = kit::fixture(name).display().to_string();
            let place = stating_file(&files, &path).unwrap().unwrap();
            let stated = stated_config(&files, &place).unwrap();
            let loaded = Model::load(&files, &path, &LoadSettings::default(), &Task::default()).unwrap();
            assert_eq!(Site::all(&stated), Site::all(loaded.decoder.config()), "{name}");
        }
    }

    #[test]
    fn what_states_nothing_or_too_much_is_refused() {
        let files = allowed(&Rules::default());
        let weights = kit::fixture("models/llama/model.safetensors").display().to_string();
        assert_eq!(stating_file(&files, &weights).unwrap(), None);
        assert!(stating_file(&files, "no model").is_err());
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join(CONFIG);
        assert!(stated_config(&files, &place).is_err());
        std::fs::write(&place, " ".repeat(MOST as usize + 1)).unwrap();
        assert!(stated_config(&files, &place).unwrap_err().message.starts_with("expected at most 4194304 bytes"));
        std::fs::write(folder.path().join("cut.gguf"), b"GGUF\x03\0\0\0").unwrap();
        assert!(stated_config(&files, &folder.path().join("cut.gguf")).is_err());
    }

    #[test]
    fn a_config_that_may_not_be_read_is_not_read() {
        let folder = kit::fixture("models/llama");
        let files = allowed(&Rules { deny_read: vec![folder.clone()], ..Rules::default() });
        assert!(stating_file(&files, &folder.display().to_string()).is_err());
        assert_eq!(stated_config(&files, &folder.join(CONFIG)).unwrap_err().kind, Kind::Access);
    }
}
