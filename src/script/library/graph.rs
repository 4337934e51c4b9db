//! A library as a project sees it: its modules, what it needs, and its leave.

use std::cell::OnceCell;

use super::{MAIN, MANIFEST, archive, manifest};
use crate::base::access::permissions::Touches;
use crate::base::disk;
use crate::script::prelude::*;

/// The modules of a library, in a folder or in an archive.
#[derive(Debug)]
pub enum LibraryContent {
    Folder(PathBuf),
    /// An archive of the cache, which is opened when a module is first needed.
    Archive {
        hash: String,
        texts: OnceCell<BTreeMap<String, String>>,
    },
}

/// A library of a project.
#[derive(Debug)]
pub struct Library {
    pub name: String,
    /// Beginning of the names of the library's sources: its folder, or name and version.
    pub shown: String,
    /// The name of its manifest, for errors.
    pub manifest: String,
    pub content: LibraryContent,
    /// The libraries that its modules may import.
    pub needs: BTreeSet<String>,
    pub touches: Touches,
}

impl Library {
    /// Names a module as errors and records do.
    pub fn source(&self, module: &str) -> String {
        match self.shown.as_str() {
            "" => format!("{module}.rhai"),
            shown => format!("{shown}/{module}.rhai"),
        }
    }

    /// Reads the text of a module, if there is one of that name.
    pub fn text(&self, module: &str, files: &Files, cache: Option<&Path>, task: &Task) -> Result<Option<String>> {
        let file = format!("{module}.rhai");
        match &self.content {
            LibraryContent::Folder(folder) => {
                let place = folder.join(&file);
                let is_there = files.has(&place)? && disk::is_file(&place);
                is_there.then(|| files.script(&place)).transpose()
            }
            LibraryContent::Archive { hash, texts } => {
                if texts.get().is_none() {
                    let bytes = archive::cached(files, cache, hash)?.ok_or_else(|| {
                        err!(File, "the library `{}` is not in the cache (SHA-256 {hash})", self.name)
                            .hint("`microtome add` fetches it, or says why it cannot")
                    })?;
                    let unpacked = archive::unpacked(&bytes, task)?;
                    if let Some(misfit) = unpacked.get(MANIFEST).and_then(|text| manifest::misfit_of(text)) {
                        let hint = "`microtome add` says which version of a library of an index runs here";
                        return Err(misfit.hint(hint));
                    }
                    let _first = texts.set(unpacked);
                }
                Ok(texts.get().and_then(|texts| texts.get(&file)).cloned())
            }
        }
    }
}

/// Splits the path of an import into the library and the module: `heads` is its main module, `heads/deep/scores`
/// another. None if the path is none of a library's.
pub fn taken_apart(path: &str) -> Option<(&str, String)> {
    let path = path.strip_suffix(".rhai").unwrap_or(path);
    let (name, module) = path.split_once('/').unwrap_or((path, MAIN));
    let is_plain =
        |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    (is_plain(name) && module.split('/').all(is_plain)).then(|| (name, module.to_string()))
}

/// Finds the module that `path` means for a module of the same library, counted from its folder: `../a` in `deep/b` is
/// `a`.
pub fn sibling(path: &str, of: &str) -> Option<String> {
    let path = path.strip_suffix(".rhai").unwrap_or(path);
    let mut parts: Vec<&str> = of.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            "." => {}
            ".." => drop(parts.pop()?),
            "" => return None,
            part => parts.push(part),
        }
    }
    let module = parts.join("/");
    taken_apart(&format!("x/{module}")).map(|(_, module)| module)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_a_library_and_a_module() {
        let of = |path: &str| taken_apart(path).map(|(name, module)| format!("{name}: {module}"));
        assert_eq!(of("heads").as_deref(), Some("heads: lib"));
        assert_eq!(of("heads/deep/scores.rhai").as_deref(), Some("heads: deep/scores"));
        for none in ["", "/etc/x", "heads/", "heads//x", "heads/../x", "./heads", "a b", "heads/.x", "heads/x\0"] {
            assert_eq!(of(none), None, "{none}");
        }
    }

    #[test]
    fn siblings_stay_in_the_library() {
        assert_eq!(sibling("b", "lib").as_deref(), Some("b"));
        assert_eq!(sibling("../b", "deep/a").as_deref(), Some("b"));
        assert_eq!(sibling("./c.rhai", "deep/a").as_deref(), Some("deep/c"));
        for none in ["../b", "/etc/b", "deep/../../b", ""] {
            assert_eq!(sibling(none, "lib"), None, "{none}");
        }
    }
}
