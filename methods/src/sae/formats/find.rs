//! Finding the dictionaries of a folder or a repository by the names of its files.

use std::collections::BTreeSet;

use super::Format;

/// The files of a dictionary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DictionaryFiles {
    /// The path that selects it: a folder with a dictionary, or one file of several; empty for the folder itself.
    pub place: String,
    pub format: Format,
    /// The file of its tensors.
    pub weights: String,
    pub config: Option<String>,
}

impl DictionaryFiles {
    pub fn files(&self) -> impl Iterator<Item = &String> {
        std::iter::once(&self.weights).chain(&self.config)
    }
}

/// Lists all dictionaries among files, by their place. `paths` go down from one folder, with `/` between names.
pub fn all(paths: &[String]) -> Vec<DictionaryFiles> {
    let there: BTreeSet<&str> = paths.iter().map(String::as_str).collect();
    let mut found: Vec<DictionaryFiles> = paths.iter().filter_map(|path| one(path, &there)).collect();
    // Of two files of one dictionary the one of plain tensors comes first, whose name ends in a later letter.
    found.sort_by(|a, b| (&a.place, a.format, &b.weights).cmp(&(&b.place, b.format, &a.weights)));
    found.dedup_by(|later, first| later.place == first.place && later.format == first.format);
    found
}

/// Finds the dictionary whose tensors a file has, where its name says so.
fn one(path: &str, there: &BTreeSet<&str>) -> Option<DictionaryFiles> {
    let (folder, name) = path.split_at(path.rfind('/').map_or(0, |slash| slash + 1));
    let format = match name {
        "sae_weights.safetensors" => Format::SaeLens,
        "sae.safetensors" => Format::Sparsify,
        "ae.pt" | "ae.safetensors" => Format::DictionaryLearning,
        "params.npz" | "params.safetensors" => Format::GemmaScope,
        "dict.safetensors" => Format::Tied,
        super::whole::FILE => Format::Microtome,
        _ if is_layer(name) => Format::CircuitTracer,
        _ => return None,
    };
    let config = format.config().map(|name| format!("{folder}{name}")).filter(|path| there.contains(path.as_str()));
    if config.is_none() && matches!(format, Format::SaeLens | Format::Sparsify) {
        return None;
    }
    let place = if format == Format::CircuitTracer { path } else { folder.trim_end_matches('/') };
    Some(DictionaryFiles { place: place.to_string(), format, weights: path.to_string(), config })
}

/// Returns whether files below a folder are those of a cross-layer dictionary, one for each layer.
pub fn crosses_layers(inside: &str, paths: &[String]) -> bool {
    let names = paths.iter().filter_map(|path| path.strip_prefix(inside)).map(|rest| rest.trim_start_matches('/'));
    { names }.any(|name| name.starts_with("params_layer_") || name.starts_with("W_dec_"))
}

/// Returns whether a name is that of a layer, such as `layer_3.safetensors`.
fn is_layer(name: &str) -> bool {
    let number = name.strip_prefix("layer_").and_then(|rest| rest.strip_suffix(".safetensors"));
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(paths: &[&str]) -> Vec<(String, Format)> {
        let paths: Vec<String> = paths.iter().map(|path| path.to_string()).collect();
        all(&paths).into_iter().map(|found| (found.place, found.format)).collect()
    }

    #[test]
    fn dictionaries_are_known_by_their_files() {
        let found = places(&[
            "README.md",
            "b/cfg.json",
            "b/sae_weights.safetensors",
            "b/sparsity.safetensors",
            "layers.3/cfg.json",
            "layers.3/sae.safetensors",
            "x/y/ae.pt",
            "x/y/config.json",
            "layer_20/width_16k/average_l0_71/params.npz",
            "t/layer_0.safetensors",
            "t/layer_1.safetensors",
            "t/config.yaml",
            "t/layer_x.safetensors",
            "c/sae.safetensors",
        ]);
        let expected = [
            ("b", Format::SaeLens),
            ("layer_20/width_16k/average_l0_71", Format::GemmaScope),
            ("layers.3", Format::Sparsify),
            ("t/layer_0.safetensors", Format::CircuitTracer),
            ("t/layer_1.safetensors", Format::CircuitTracer),
            ("x/y", Format::DictionaryLearning),
        ];
        assert_eq!(found, expected.map(|(place, format)| (place.to_string(), format)));
    }

    #[test]
    fn of_two_files_of_one_dictionary_the_tensors_are_taken() {
        let paths = ["ae.pt", "ae.safetensors", "config.json"].map(str::to_string);
        let found = all(&paths);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].place.as_str(), found[0].weights.as_str()), ("", "ae.safetensors"));
        assert_eq!(found[0].config.as_deref(), Some("config.json"));
    }
}
