//! An index: static files at an address or in a folder, which say of libraries which versions there are, with their
//! hashes, what they need, and what they may touch.
//!
//! `index.toml` has the format, `libraries/NAME.jsonl` an entry for each version of a library, `archives/` the
//! archives, and `all.jsonl`, for searching, the newest entry of each.

use std::fmt::Display;
use std::str::FromStr;

use semver::{Version, VersionReq};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::manifest::{self, Manifest, ManifestError};
use super::project::cleaned;
use crate::base::access::permissions::Touches;
use crate::base::files::utf8;
use crate::base::json;
use crate::net::{self, Server};
use crate::script::prelude::*;

/// The format of an index that this program reads and writes.
const FORMAT: u32 = 1;

/// The file that says the format, and the one for searching.
pub const HEAD: &str = "index.toml";
pub const ALL: &str = "all.jsonl";

/// The folder of the files that have the versions of a library each, and the ending of their names.
pub const LIBRARIES: &str = "libraries";
pub const LINES: &str = ".jsonl";

/// Largest size of a file of entries.
const MOST_BYTES: u64 = 16 << 20;

/// Number of versions that are listed where none of them will do.
const SHOWN: usize = 12;

/// Hint about a file that no user of an index can mend.
const BROKEN: &str = "the index is broken there: tell whoever keeps it";

/// A version of a library, as an index has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    pub name: String,
    #[serde(with = "as_text")]
    pub version: Version,
    /// Path of the archive in the index.
    pub archive: String,
    /// SHA-256 of the archive.
    pub hash: String,
    /// The versions of microtome that it runs with.
    #[serde(with = "as_text")]
    pub microtome: VersionReq,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub licence: Option<String>,
    /// Permissions that it asks for.
    pub read: Vec<String>,
    pub write: Vec<String>,
    pub net: Vec<String>,
    pub dependencies: BTreeMap<String, Requirement>,
    /// Whether its author has withdrawn it.
    #[serde(default)]
    pub yanked: bool,
}

/// Versions of a library that will do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Requirement(#[serde(with = "as_text")] pub VersionReq);

/// Values that a file has as strings.
mod as_text {
    use super::*;

    pub fn serialize<T: Display, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(value)
    }

    pub fn deserialize<'de, T: FromStr<Err: Display>, D: Deserializer<'de>>(of: D) -> Result<T, D::Error> {
        let text = String::deserialize(of)?;
        text.parse().map_err(|e| D::Error::custom(format!("expected a version such as 0.1.0, found `{text}`: {e}")))
    }
}

impl Entry {
    pub fn touches(&self) -> Touches {
        Touches { read: self.read.clone(), write: self.write.clone(), net: self.net.clone() }
    }

    /// Returns the libraries that it needs, by name.
    pub fn needs(&self) -> BTreeMap<String, VersionReq> {
        self.dependencies.iter().map(|(name, Requirement(versions))| (name.clone(), versions.clone())).collect()
    }

    /// Returns whether this program can run it.
    fn runs_here(&self) -> bool {
        manifest::misfit(&self.name, &self.microtome).is_none()
    }

    /// Returns whether a project that does not have it yet may take it.
    pub fn is_open(&self) -> bool {
        !self.yanked && self.runs_here()
    }

    /// Refuses an entry whose parts are not what they should be.
    fn checked(mut self) -> Result<Self> {
        manifest::check_name(&self.name)?;
        self.hash = manifest::check_hash(&self.hash)?;
        self.read.iter().chain(&self.write).try_for_each(|folder| manifest::check_folder(folder))?;
        self.net.iter().try_for_each(|host| manifest::check_host(host))?;
        self.dependencies.keys().try_for_each(|name| manifest::check_name(name))?;
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'+');
        let is_name = |part: &str| !part.is_empty() && !part.starts_with('.') && part.bytes().all(is_plain);
        if !self.archive.split('/').all(is_name) {
            bail!(Format, "expected the path of an archive in the index, found `{}`", self.archive);
        }
        Ok(self)
    }

    /// Lists what the manifest of an archive says otherwise than this entry, a phrase each.
    pub fn differences(&self, manifest: &Manifest, file: &str) -> Result<Vec<String>> {
        let (name, version) = manifest.named(file)?;
        let mut unlike = Vec::new();
        if *name != self.name || *version != self.version {
            unlike.push(format!("it is `{name}` {version}"));
        }
        let own = manifest.touches();
        let said = self.touches();
        let more = own.beyond(&said).into_iter();
        unlike.extend(more.map(|one| format!("it wants to touch `{one}`, which the index does not say")));
        let less = said.beyond(&own).into_iter();
        unlike.extend(less.map(|one| format!("the index says `{one}`, which it does not want to touch")));
        let needs = manifest.named_dependencies()?;
        if needs != self.needs() {
            unlike.push(format!("it needs {}, and the index says {}", needs_text(&needs), needs_text(&self.needs())));
        }
        Ok(unlike)
    }

    /// Writes in a few words what it may touch.
    pub fn touches_text(&self) -> String {
        let parts = [("reads", &self.read), ("writes", &self.write), ("connects to", &self.net)];
        let said = parts.into_iter().filter(|(_, all)| !all.is_empty());
        let said: Vec<String> = said.map(|(verb, all)| format!("{verb} {}", all.join(", "))).collect();
        if said.is_empty() { "nothing".into() } else { said.join("; ") }
    }
}

/// Writes what is needed in words.
fn needs_text(needs: &BTreeMap<String, VersionReq>) -> String {
    let all: Vec<String> = needs.iter().map(|(name, versions)| format!("`{name}` {versions}")).collect();
    if all.is_empty() { "no library".into() } else { all.join(", ") }
}

/// Writes the versions that there are, and why some cannot be taken.
pub fn versions_text(entries: &[Entry]) -> String {
    let one = |entry: &Entry| match (entry.yanked, entry.runs_here()) {
        (true, _) => format!("{} (yanked)", entry.version),
        (false, true) => entry.version.to_string(),
        (false, false) => format!("{} (needs microtome {})", entry.version, entry.microtome),
    };
    let mut all: Vec<String> = entries.iter().take(SHOWN).map(one).collect();
    if entries.len() > SHOWN {
        all.push(format!("and {} more", entries.len() - SHOWN));
    }
    if all.is_empty() { "none".into() } else { all.join(", ") }
}

/// Reads the lines of a file of entries; `file` is what errors call it.
fn parsed(text: &str, file: &str) -> Result<Vec<Entry>> {
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    let entry = |(number, line): (usize, &str)| {
        let wrong = |e: serde_json::Error| {
            // The place within the line is that of a program's text, which nobody reads.
            let words = e.to_string();
            err!(Format, "{}", words.split(" at line ").next().unwrap_or_default())
        };
        let read = json::read::<Entry>(line.as_bytes(), wrong).and_then(Entry::checked);
        read.map_err(|e| {
            let shown = Error { message: visible(&e.message), ..e }.within(format!("{file}:{number}"));
            shown.hint(BROKEN)
        })
    };
    lines.map(entry).collect()
}

/// Writes entries, a line each.
pub fn text(entries: &[Entry]) -> Result<String> {
    let line = |entry: &Entry| serde_json::to_string(entry).map(|line| line + "\n");
    entries.iter().map(line).collect::<Result<_, _>>().map_err(|e| err!(Bug, "{e}"))
}

/// Returns the entries that have all words in their name or description; those whose name has most of them come first.
pub fn found(entries: Vec<Entry>, words: &[String]) -> Vec<Entry> {
    let words: Vec<String> = words.iter().map(|word| word.to_lowercase()).collect();
    let mut found: Vec<(usize, Entry)> = Vec::new();
    for entry in entries {
        let description = entry.description.as_deref().unwrap_or_default().to_lowercase();
        let in_name = words.iter().filter(|word| entry.name.contains(word.as_str())).count();
        if words.iter().all(|word| entry.name.contains(word.as_str()) || description.contains(word.as_str())) {
            found.push((words.len() - in_name, entry));
        }
    }
    found.sort_by(|(one, a), (other, b)| (one, &a.name).cmp(&(other, &b.name)));
    found.into_iter().map(|(_, entry)| entry).collect()
}

/// The first file of an index, of which other formats may have other keys.
#[derive(Deserialize)]
struct IndexHead {
    format: u32,
}

/// An index whose format is known.
pub struct Index<'a> {
    /// Address or folder of the index, as errors name it.
    shown: String,
    /// The folder, where it is one.
    folder: Option<PathBuf>,
    files: &'a Files,
    task: &'a Task,
}

impl<'a> Index<'a> {
    /// Opens an index at an address, or in a folder that is counted from `base`.
    pub fn open(shown: &str, base: &Path, files: &'a Files, task: &'a Task) -> Result<Self> {
        let folder = (!manifest::is_address(shown)).then(|| cleaned(&base.join(shown)));
        if folder.is_none() {
            manifest::check_address(shown)?;
        }
        let index = Self { shown: shown.trim_end_matches('/').into(), folder, files, task };
        let bytes = index.file(HEAD)?.ok_or_else(|| {
            err!(File, "there is no index in {shown}: it has no {HEAD}")
                .hint(format!("check the place; the {HEAD} of a new index says `format = {FORMAT}`"))
        })?;
        let name = index.name(HEAD);
        let text = utf8(bytes).map_err(|e| e.within(&name))?;
        let head: IndexHead = manifest::read(&text, &name).map_err(ManifestError::visible)?;
        if head.format != FORMAT {
            return Err(err!(
                Format,
                "the index {shown} has format {}, and this program reads format {FORMAT}",
                head.format
            )
            .hint("a newer microtome reads it, or whoever keeps it has one of this format, too"));
        }
        Ok(index)
    }

    /// Returns what errors call a file of the index.
    fn name(&self, file: &str) -> String {
        format!("{}/{file}", self.shown)
    }

    /// Returns the content of a file, if there is one.
    fn file(&self, file: &str) -> Result<Option<Vec<u8>>> {
        if let Some(folder) = &self.folder {
            let place = folder.join(file);
            let is_there = self.files.has(&place)? && place.is_file();
            return is_there.then(|| self.files.of_program(&place)).transpose();
        }
        let address = self.name(file);
        let server = Server::new(self.files.access(), None)?;
        let answer = net::wait_for(server.ask(self.task, &address, &address, MOST_BYTES))?;
        match answer.status {
            200 => Ok(Some(answer.content)),
            404 => Ok(None),
            status => Err(err!(Network, "{address} answered {status}").hint("check the address, or try again later")),
        }
    }

    fn lines(&self, file: &str) -> Result<Option<Vec<Entry>>> {
        let name = self.name(file);
        let Some(bytes) = self.file(file)? else { return Ok(None) };
        let text = utf8(bytes).map_err(|e| e.within(&name))?;
        parsed(&text, &name).map(Some)
    }

    /// Returns the versions of a library in the order of their publication, if the index has the library.
    pub fn entries_if_there(&self, library: &str) -> Result<Option<Vec<Entry>>> {
        let file = format!("{LIBRARIES}/{library}{LINES}");
        let Some(entries) = self.lines(&file)? else { return Ok(None) };
        let mut seen = BTreeSet::new();
        for entry in &entries {
            if entry.name != library || !seen.insert(&entry.version) {
                let place = self.name(&file);
                return Err(err!(
                    Format,
                    "{place}: expected each version of `{library}` once, found `{}` {}",
                    entry.name,
                    entry.version
                )
                .hint(BROKEN));
            }
        }
        Ok(Some(entries))
    }

    /// Makes the error of a library that the index does not have.
    pub fn missing(&self, library: &str) -> Error {
        let all = self.all().unwrap_or_default();
        let near = names::nearest(library, all.iter().map(|entry| entry.name.as_str()));
        let hint = match near {
            Some(near) => format!("did you mean `{near}`?"),
            None => "`microtome search WORDS` lists what it has".into(),
        };
        err!(File, "the index {} has no library `{library}`", self.shown).hint(hint)
    }

    /// Returns the newest entry of each library.
    pub fn all(&self) -> Result<Vec<Entry>> {
        Ok(self.lines(ALL)?.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes an entry that touches nothing and needs what is given, as `rates ^1`.
    fn entry(name: &str, version: &str, needs: &[&str]) -> Entry {
        let need = |need: &&str| {
            let (name, versions) = need.split_once(' ').unwrap();
            (name.to_string(), Requirement(versions.parse().unwrap()))
        };
        Entry {
            name: name.into(),
            version: version.parse().unwrap(),
            archive: format!("archives/{name}-{version}.tar.gz"),
            hash: "ab".repeat(32),
            microtome: VersionReq::STAR,
            description: None,
            licence: None,
            read: Vec::new(),
            write: Vec::new(),
            net: Vec::new(),
            dependencies: needs.iter().map(need).collect(),
            yanked: false,
        }
    }

    #[test]
    fn entries_are_read_as_they_are_written() {
        let mut first = entry("heads", "1.0.0-beta.1", &["rates >=1, <3"]);
        first.description = Some("Scores of \"heads\".\nIn two lines.".into());
        first.yanked = true;
        let entries = [first, entry("heads", "1.0.0", &[])];
        let written = text(&entries).unwrap();
        assert_eq!(written.lines().count(), 2, "{written}");
        assert_eq!(parsed(&written, "f").unwrap(), entries);
        assert!(parsed("\n", "f").unwrap().is_empty());
    }

    #[test]
    fn a_broken_line_is_an_error_with_its_number() {
        let good = text(&[entry("heads", "1.0.0", &["rates ^1"])]).unwrap();
        for (from, to, said) in [
            ("\"1.0.0\"", "\"1\"", "expected a version such as 0.1.0, found `1`"),
            ("^1", "first", "expected a version such as 0.1.0, found `first`"),
            ("\"heads\"", "\"Heads\"", "expected the name of a library, found `Heads`"),
            ("\"rates\"", "\"../rates\"", "expected the name of a library, found `../rates`"),
            ("abab", "", "expected a SHA-256, 64 hexadecimal digits"),
            ("archives/", "../", "expected the path of an archive in the index"),
            ("archives/", "https://x.org/", "expected the path of an archive in the index"),
            ("\"read\":[]", "\"read\":[\"/etc\"]", "expected a folder below"),
            ("\"net\":[]", "\"net\":[\"a b\"]", "expected a host, found `a b`"),
            ("\"net\":[],", "", "missing field `net`"),
            ("\"net\"", "\"run\"", "unknown field `run`"),
            ("\"yanked\":false", "\"yanked\":1", "invalid type"),
            ("}\n", "\n", "EOF while parsing"),
            ("{", "<html>", "expected value"),
            ("\"heads\"", "\"a\\nb\"", "found `a↵b`"),
        ] {
            let bad = good.replacen(from, to, 1);
            assert_ne!(bad, good, "{from}");
            let error = parsed(&format!("{good}\n{bad}"), "heads.jsonl").unwrap_err();
            assert!(error.message.starts_with("heads.jsonl:3: "), "{from}: {error}");
            assert!(error.message.contains(said), "{from}: {error}");
            assert!(error.hint.unwrap().contains("the index is broken there"), "{from}");
        }
    }

    #[test]
    fn an_archive_that_is_not_what_its_entry_says_is_told() {
        let told = |more: &str| {
            let text = format!("name = \"heads\"\nversion = \"1.0.0\"\n{more}");
            let manifest = Manifest::parse(&text, "f").unwrap();
            let mut entry = entry("heads", "1.0.0", &["rates ^1"]);
            entry.read = vec!["data".into()];
            entry.differences(&manifest, "f").unwrap().join("; ")
        };
        let needs = "[dependencies]\nrates = { version = \"1\" }\n";
        assert_eq!(told(&format!("[touches]\nread = [\"data\"]\n{needs}")), "");
        assert_eq!(
            told(&format!("[touches]\nread = [\"data\"]\nnet = [\"x.org\"]\n{needs}")),
            "it wants to touch `net x.org`, which the index does not say"
        );
        assert_eq!(told(needs), "the index says `read data`, which it does not want to touch");
        assert_eq!(told("[touches]\nread = [\"data\"]"), "it needs no library, and the index says `rates` ^1");
    }

    #[test]
    fn libraries_are_found_by_all_words_and_by_their_names_first() {
        let mut entries = ["tools", "probes", "heads"].map(|name| entry(name, "1.0.0", &[])).to_vec();
        entries[0].description = Some("Linear Probes and heads.".into());
        let names = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(ToString::to_string).collect();
            found(entries.clone(), &words).into_iter().map(|entry| entry.name).collect::<Vec<_>>()
        };
        assert_eq!(names(&["probes"]), ["probes", "tools"]);
        assert_eq!(names(&["HEADS", "linear"]), ["tools"]);
        assert_eq!(names(&["nothing"]), [""; 0]);
        assert_eq!(names(&[]), ["heads", "probes", "tools"]);
        entries[0].read = vec!["data".into(), "more".into()];
        entries[0].net = vec!["x.org".into()];
        assert_eq!(entries[0].touches_text(), "reads data, more; connects to x.org");
        assert_eq!(entries[1].touches_text(), "nothing");
    }
}
