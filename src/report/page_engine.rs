//! The engine of pages that compute, as `page/build` made it: where the program finds it, and how a page holds it. There are two: the
//! whole one, and a smaller one without scripts, which answers what live reports and exported explorers ask.
//!
//! A page opens from a file, which may load nothing beside it but scripts. So the engine stands in the page as text, gzip in
//! base64, in elements that a browser does not run; `page_engine.js` unpacks them.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::base::files::Files;
use crate::base::{Result, disk};
use crate::err;

/// The environment variable that names the folder of a built engine.
pub const VARIABLE: &str = "MICROTOME_PAGE_ENGINE";

/// The side of a page: the class `Microtome`, which unpacks the engine and asks it.
pub const GLUE: &str = include_str!("page_engine.js");

/// The engine, for WebAssembly, and the script of its worker.
const MODULE: &str = "engine_bg.wasm";
const WORKER: &str = "worker.js";

/// The folder of the smaller engine within that of the whole one.
const ANSWERS: &str = "answers";

/// The ids of their elements in a page, which [`GLUE`] looks for.
const MODULE_ID: &str = "engine";
const WORKER_ID: &str = "engine-script";

/// A built engine, ready to be put into pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageEngine {
    /// The module, packed by gzip.
    pub module: Vec<u8>,
    /// The script of the worker, the glue of wasm-bindgen before it, packed by gzip.
    pub worker: Vec<u8>,
}

impl PageEngine {
    /// Finds the engine: in the folder that `MICROTOME_PAGE_ENGINE` names, or else in `page` beside the program's file, or
    /// in `../share/microtome/page` of it.
    pub fn find() -> Result<Self> {
        Self::among(&folders(), &[""])
    }

    /// Finds an engine that answers: where the engine is the smaller one, or else the whole one.
    pub fn find_for_answers() -> Result<Self> {
        Self::among(&folders(), &[ANSWERS, ""])
    }

    /// Reads the engine from the first of these folders that has one, in the first of these parts of it.
    fn among(folders: &[PathBuf], parts: &[&str]) -> Result<Self> {
        let has_both = |folder: &PathBuf| [MODULE, WORKER].iter().all(|name| disk::is_file(&folder.join(name)));
        let mut places = folders.iter().flat_map(|folder| parts.iter().map(move |part| folder.join(part)));
        let Some(folder) = places.find(has_both) else {
            let places: Vec<String> = folders.iter().map(|folder| folder.display().to_string()).collect();
            let places = if places.is_empty() { "no folder that it could be in".into() } else { places.join(", ") };
            return Err(err!(File, "expected the engine of pages, {MODULE} and {WORKER}, found neither in {places}")
                .hint(format!("`page/build` makes it, in target/page; name that folder in {VARIABLE}")));
        };
        let files = Files::unrecorded(&folder)?;
        let read = |name: &str| packed(&files.of_program(&folder.join(name))?);
        Ok(Self { module: read(MODULE)?, worker: read(WORKER)? })
    }

    /// Writes the elements that hold the engine, for a page of its own.
    pub fn elements(&self) -> String {
        element(MODULE_ID, &self.module) + element(WORKER_ID, &self.worker).as_str()
    }

    /// Writes a script, for a file beside pages that share the engine: it puts the elements into the page that loads it.
    pub fn script(&self) -> String {
        let mut script = String::from("\"use strict\";\n");
        for (id, packed) in [(MODULE_ID, &self.module), (WORKER_ID, &self.worker)] {
            let text = STANDARD.encode(packed);
            let _into_text = write!(
                script,
                "{{\n  const element = document.createElement(\"script\");\n  element.type = \"text/plain\";\n  \
                 element.id = \"{id}\";\n  element.textContent = \"{text}\";\n  document.head.append(element);\n}}\n"
            );
        }
        script
    }
}

/// Lists the folders that an engine may be in.
fn folders() -> Vec<PathBuf> {
    let named = std::env::var_os(VARIABLE).filter(|folder| !folder.is_empty()).map(PathBuf::from);
    let program = std::env::current_exe().ok();
    let beside = program.as_deref().and_then(Path::parent).map(beside).into_iter().flatten();
    named.into_iter().chain(beside).collect()
}

/// Returns where an engine is that was installed with a program in this folder.
fn beside(folder: &Path) -> [PathBuf; 2] {
    [folder.join("page"), folder.join("../share/microtome/page")]
}

/// Packs bytes by gzip, the same for the same bytes.
pub fn packed(bytes: &[u8]) -> Result<Vec<u8>> {
    let failed = |e: std::io::Error| err!(File, "cannot pack what a page holds: {e}");
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).map_err(failed)?;
    encoder.finish().map_err(failed)
}

/// Writes an element of a page that holds packed bytes, which `unpacked` of [`GLUE`] reads by its id.
pub fn element(id: &str, packed: &[u8]) -> String {
    format!("<script type=\"text/plain\" id=\"{id}\">{}</script>\n", STANDARD.encode(packed))
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::GzDecoder;

    use super::*;

    fn unpacked(packed: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        GzDecoder::new(packed).read_to_end(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn an_engine_is_found_in_the_first_folder_that_has_all_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let [half, whole] = ["half", "whole"].map(|name| folder.path().join(name));
        for place in [&half, &whole] {
            std::fs::create_dir(place).unwrap();
            std::fs::write(place.join(WORKER), "onmessage = null").unwrap();
        }
        let error = PageEngine::among(&[half.clone(), folder.path().join("none")], &[""]).unwrap_err();
        assert!(error.message.contains("half, ") && error.message.contains("none"), "{error}");
        assert!(error.hint.unwrap().contains("page/build"));
        assert!(PageEngine::among(&[], &[""]).unwrap_err().message.ends_with("no folder that it could be in"));
        std::fs::write(whole.join(MODULE), b"\0asm").unwrap();
        let found = PageEngine::among(&[half, whole.clone()], &[ANSWERS, ""]).unwrap();
        assert_eq!(unpacked(&found.module), b"\0asm");
        assert_eq!(unpacked(&found.worker), b"onmessage = null");
        let elements = found.elements();
        let text = elements.split("id=\"engine\">").nth(1).and_then(|rest| rest.split('<').next()).unwrap();
        assert_eq!(STANDARD.decode(text).unwrap(), found.module);
        let script = found.script();
        assert!(script.contains("element.id = \"engine-script\"") && script.contains(text));
        let smaller = whole.join(ANSWERS);
        std::fs::create_dir(&smaller).unwrap();
        std::fs::write(smaller.join(MODULE), b"\0").unwrap();
        std::fs::write(smaller.join(WORKER), "").unwrap();
        let found = |parts| PageEngine::among(std::slice::from_ref(&whole), parts).unwrap();
        assert_eq!([&[""][..], &[ANSWERS, ""]].map(|parts| unpacked(&found(parts).module).len()), [4, 1]);
    }

    #[test]
    fn bytes_are_packed_the_same_every_time() {
        let bytes: Vec<u8> = (0..10_000_u32).map(|i| (i % 7) as u8).collect();
        let once = packed(&bytes).unwrap();
        assert_eq!(once, packed(&bytes).unwrap());
        assert!(unpacked(&once) == bytes && once.len() < 500);
        // No time is in it.
        assert_eq!(once[4..8], [0; 4]);
    }
}
