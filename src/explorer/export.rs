//! The explorer as a static page: a folder for any host, or to be opened from a disk, in which the engine answers what the server
//! would. Its files are scripts, styles and one page, since a page that is opened from a disk may load nothing else.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf, absolute};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::answers::Question;
use super::page;
use super::parcel::{FOLDER, PackedPaths};
use super::reply;
use super::state::Explorer;
use crate::base::files::Files;
use crate::base::{Error, Result, Task};
use crate::err;
use crate::model::reading::fitted::FittedLens;
use crate::report::page_engine::{GLUE, PageEngine, packed};
use crate::sae::Sae;

/// The file that lists what an export has written, one name a line.
const LIST: &str = "explorer-files.txt";

/// The page, and the scripts of the engine and of its glue.
const INDEX: &str = "index.html";
const ENGINE: &str = "engine-data.js";
const GLUE_FILE: &str = "page/microtome.js";

/// The file of a first question with its answer.
const FIRST: &str = "first.json";

/// Bytes of packed data in one script, about: hosts of files take 100 MB, and browsers texts of half a gigabyte.
const PIECE: usize = 48 << 20;

/// The largest number of bytes of model, dictionaries and lenses. A page has 4 GiB, for their files, for the numbers that are read
/// of them, and for what is computed.
const MOST: u64 = 1792 << 20;

/// A file that was written, by its path from the folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportedFile {
    pub name: String,
    pub bytes: u64,
}

/// Writes the explorer as a page into a folder, which must be new, empty, or that of an earlier export; returns its files. An
/// explorer that no page can hold is refused before anything is written.
pub fn export(
    explorer: &Explorer,
    engine: &PageEngine,
    folder: &Path,
    files: &Files,
    task: &Task,
) -> Result<Vec<ExportedFile>> {
    check_size(bytes(explorer)?)?;
    let mut folder = ExportFolder::open(folder, files)?;
    let own = tempfile::tempdir().map_err(|e| err!(File, "cannot make a temporary folder: {e}"))?;
    let scratch = Files::unrecorded(own.path())?.heeding(task);
    let mut scripts = DataScripts::new(PIECE);
    let mut loaded = vec![ENGINE.to_string()];
    let PackedPaths { mut model, dictionaries } = explorer.pack(&scratch, own.path(), task)?;
    if let Some(first) = first(explorer) {
        scratch.save_whole(&own.path().join(FIRST), first.to_string())?;
        model.push(FIRST.into());
    }
    folder.save(ENGINE, engine.script())?;
    let of_model = model.iter().map(|path| ("model", path));
    for (stem, path) in of_model.chain(dictionaries.iter().map(|path| ("dictionaries", path))) {
        task.check()?;
        let content = packed(&scratch.of_program(&own.path().join(path))?)?;
        let name = format!("{FOLDER}/{}", path.to_string_lossy().replace('\\', "/"));
        for piece in content.chunks(PIECE) {
            if let Some((script, text)) = scripts.add(stem, &name, piece) {
                folder.save(&script, text)?;
                loaded.push(script);
            }
        }
    }
    if let Some((script, text)) = scripts.take() {
        folder.save(&script, text)?;
        loaded.push(script);
    }
    for (name, _, content) in page::files() {
        folder.save(&format!("page/{name}"), content)?;
    }
    folder.save(GLUE_FILE, GLUE)?;
    loaded.push(GLUE_FILE.into());
    // The page itself comes last: one that was there before goes with its own scripts as long as it can.
    folder.save(INDEX, page::exported(&loaded))?;
    folder.finish()
}

/// Returns a first question with the answer of the program, with which the page compares its own; None where the model cannot read the
/// text of it.
fn first(explorer: &Explorer) -> Option<Value> {
    let question = json!({ "text": explorer.start()["examples"][0], "dictionary": 0, "top": 8 });
    let silent: reply::Carrier = Arc::new(|_: &Value| {});
    let asked = Question::parse("read", question.clone()).ok()?;
    let answer = reply::answer(explorer, asked, &silent, &Arc::default()).ok()?;
    Some(json!({ "question": question, "answer": answer }))
}

/// Returns about how many bytes the model, the dictionaries and the lenses take.
fn bytes(explorer: &Explorer) -> Result<u64> {
    let decoder = &explorer.model.decoder;
    let weights = decoder.weights().named(decoder.config())?;
    let model: u64 = weights
        .iter()
        .map(|(_, weight)| weight.dims().iter().product::<usize>() as u64 * weight.dtype().size_in_bytes() as u64)
        .sum();
    let of_dictionary = |sae: &Sae| sae.d_sae() as u64 * (sae.d_in() + sae.d_out()) as u64 * size_of::<f32>() as u64;
    let dictionaries: u64 = explorer.dictionaries.iter().map(|of| of_dictionary(&of.sae)).sum();
    let of_lens = |lens: &FittedLens| (lens.layers().count() * lens.d_model().pow(2) * size_of::<f32>()) as u64;
    let lenses: u64 = explorer.lenses.iter().map(|(_, lens)| of_lens(lens)).sum();
    Ok(model + dictionaries + lenses)
}

/// Refuses more than a page can hold.
fn check_size(bytes: u64) -> Result<()> {
    if bytes <= MOST {
        return Ok(());
    }
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    Err(err!(
        Memory,
        "expected a model, dictionaries and lenses of at most {} MiB for a page, found {} MiB",
        mib(MOST),
        mib(bytes)
    )
    .hint("a browser gives a page 4 GiB; name fewer dictionaries or a smaller model, or serve the explorer without --export"))
}

/// Packed files as scripts that the page's own script reads, in pieces.
struct DataScripts {
    /// Bytes of packed data in one script.
    most: usize,
    /// Name of the files in the script that is open.
    stem: &'static str,
    /// Number of scripts of that name that are full.
    number: usize,
    /// Text of the script that is open, and its bytes of packed data.
    text: String,
    held: usize,
}

impl DataScripts {
    fn new(most: usize) -> Self {
        Self { most, stem: "", number: 0, text: String::new(), held: 0 }
    }

    /// Adds a piece of a file; returns the script before, by its name, where that is full or of other files.
    fn add(&mut self, stem: &'static str, name: &str, piece: &[u8]) -> Option<(String, String)> {
        let is_other = stem != self.stem;
        let ended = if is_other || self.held + piece.len() > self.most { self.take() } else { None };
        if is_other {
            self.stem = stem;
            self.number = 0;
        }
        let data = STANDARD.encode(piece);
        self.text += &format!("(globalThis.explorerFiles ??= []).push({{ name: \"{name}\", data: \"{data}\" }});\n");
        self.held += piece.len();
        ended
    }

    /// Returns the script that is open, unless it is empty.
    fn take(&mut self) -> Option<(String, String)> {
        if self.text.is_empty() {
            return None;
        }
        self.number += 1;
        self.held = 0;
        let number = if self.number > 1 { format!("-{}", self.number) } else { String::new() };
        Some((format!("{}-data{number}.js", self.stem), std::mem::take(&mut self.text)))
    }
}

/// The folder of an export. Files that others have put there are neither replaced nor removed.
struct ExportFolder<'a> {
    place: PathBuf,
    files: &'a Files,
    /// Names of the files that an earlier export has written.
    before: BTreeSet<String>,
    written: Vec<ExportedFile>,
}

impl<'a> ExportFolder<'a> {
    /// Opens a folder, by its path from the current one.
    fn open(folder: &Path, files: &'a Files) -> Result<Self> {
        let place = absolute(folder).map_err(|e| Error::io("write", folder, &e))?;
        let list = files.script_if_there(&place.join(LIST))?;
        if list.is_none() && !files.names(&place).is_empty() {
            return Err(err!(
                File,
                "expected a new folder, or that of an earlier export, found files in {}",
                folder.display()
            )
            .hint("name another folder, so that nothing is lost"));
        }
        let is_inside = |name: &&str| Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
        let before = list.unwrap_or_default().lines().filter(is_inside).map(String::from).collect();
        Ok(Self { place, files, before, written: Vec::new() })
    }

    fn save(&mut self, name: &str, content: impl AsRef<[u8]>) -> Result<()> {
        let path = self.place.join(name);
        if !self.before.contains(name) {
            if self.files.has(&path)? {
                return Err(err!(File, "expected no {}, which no export has written, found one", path.display())
                    .hint("name another folder, so that nothing is lost"));
            }
            // What is cut short here is known for an export by the next one.
            self.before.insert(name.into());
            let names: Vec<&str> = self.before.iter().map(String::as_str).collect();
            self.files.save_whole(&self.place.join(LIST), names.join("\n") + "\n")?;
        }
        let bytes = content.as_ref().len() as u64;
        self.files.save_whole(&path, content)?;
        self.written.push(ExportedFile { name: name.into(), bytes });
        Ok(())
    }

    /// Removes what the earlier export has and this one has not, and returns the files.
    fn finish(self) -> Result<Vec<ExportedFile>> {
        let Self { place, files, before, written } = self;
        let names: BTreeSet<&str> = written.iter().map(|file| file.name.as_str()).collect();
        for gone in before.iter().filter(|name| !names.contains(name.as_str())) {
            files.remove(&place.join(gone))?;
        }
        let listed: Vec<&str> = names.into_iter().collect();
        files.save_whole(&place.join(LIST), listed.join("\n") + "\n")?;
        files.release();
        Ok(written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explorer::samples::of_one;

    fn engine() -> PageEngine {
        PageEngine { module: vec![1], worker: vec![2] }
    }

    fn exported(folder: &Path) -> Result<Vec<ExportedFile>> {
        export(&of_one(), &engine(), &folder.join("site"), &Files::unrecorded(folder).unwrap(), &Task::default())
    }

    #[test]
    fn a_folder_has_the_page_and_all_that_it_loads() {
        let folder = tempfile::tempdir().unwrap();
        let written = exported(folder.path()).unwrap();
        let place = folder.path().join("site");
        let index = std::fs::read_to_string(place.join(INDEX)).unwrap();
        for file in &written {
            assert_eq!(std::fs::metadata(place.join(&file.name)).unwrap().len(), file.bytes, "{}", file.name);
            assert!(file.name == INDEX || index.contains(&format!("\"{}\"", file.name)), "{}", file.name);
        }
        let data = std::fs::read_to_string(place.join("model-data.js")).unwrap();
        assert!(data.contains("name: \"/explorer/model/model.safetensors\""));
        assert!(place.join("dictionaries-data.js").is_file());
    }

    #[test]
    fn an_earlier_export_is_replaced_and_what_others_put_there_stays() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("site");
        let first = exported(folder.path()).unwrap();
        // One more file of the earlier export, which the next one has not, and one of somebody else.
        let list = std::fs::read_to_string(place.join(LIST)).unwrap();
        std::fs::write(place.join(LIST), list + "model-data-2.js\n../beyond.txt\n").unwrap();
        std::fs::write(place.join("model-data-2.js"), "").unwrap();
        std::fs::write(place.join("mine.txt"), "kept").unwrap();
        std::fs::write(folder.path().join("beyond.txt"), "kept").unwrap();
        assert_eq!(exported(folder.path()).unwrap(), first);
        assert!(!place.join("model-data-2.js").exists() && folder.path().join("beyond.txt").exists());
        assert_eq!(std::fs::read_to_string(place.join("mine.txt")).unwrap(), "kept");
    }

    #[test]
    fn a_folder_of_other_files_is_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("site");
        std::fs::create_dir(&place).unwrap();
        std::fs::write(place.join(INDEX), "mine").unwrap();
        let error = exported(folder.path()).unwrap_err();
        assert!(error.message.starts_with("expected a new folder, or that of an earlier export, found files in "));
        assert_eq!(std::fs::read_dir(&place).unwrap().count(), 1);
        assert_eq!(std::fs::read_to_string(place.join(INDEX)).unwrap(), "mine");
    }

    #[test]
    fn what_no_page_can_hold_is_refused() {
        assert!(check_size(MOST).is_ok());
        let error = check_size(MOST + 1).unwrap_err();
        assert!(error.message.ends_with("of at most 1792 MiB for a page, found 1793 MiB"), "{error}");
    }

    #[test]
    fn large_files_are_in_several_scripts() {
        let mut scripts = DataScripts::new(5);
        assert!(scripts.add("model", "/explorer/a", b"123").is_none());
        let (first, text) = scripts.add("model", "/explorer/a", b"456").unwrap();
        assert_eq!((first.as_str(), text.lines().count()), ("model-data.js", 1));
        let (second, _) = scripts.add("dictionaries", "/explorer/b", b"1").unwrap();
        assert_eq!(second, "model-data-2.js");
        let (third, text) = scripts.take().unwrap();
        let expected = "(globalThis.explorerFiles ??= []).push({ name: \"/explorer/b\", data: \"MQ==\" });\n";
        assert_eq!((third.as_str(), text.as_str()), ("dictionaries-data.js", expected));
        assert!(scripts.take().is_none());
    }
}
