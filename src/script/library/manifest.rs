//! `microtome.toml`: what a library or an experiment says of itself.

use std::fmt::Display;
use std::str::FromStr;

use semver::{Version, VersionReq};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::MANIFEST;
use crate::base::access::permissions::{EVERYTHING, Touches};
use crate::script::engine::failure::{Failure, SourcePlace};
use crate::script::prelude::*;

/// Version of this program.
const PROGRAM: &str = env!("CARGO_PKG_VERSION");

/// A longer manifest is none.
pub const LONGEST: usize = 1 << 20;

/// The names of this machine in addresses.
const LOOPBACK: [&str; 3] = ["127.0.0.1", "localhost", "[::1]"];

/// The keys of the file, for those that are misspelt.
const KEYS: [&str; 17] = [
    "name",
    "version",
    "microtome",
    "licence",
    "description",
    "authors",
    "homepage",
    "touches",
    "dependencies",
    "read",
    "write",
    "net",
    "path",
    "address",
    "hash",
    "index",
    "license",
];

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// An experiment that nobody imports needs none.
    pub name: Option<String>,
    #[serde(default, deserialize_with = "parsed")]
    pub version: Option<Version>,
    /// The versions of microtome that it runs with.
    #[serde(default, deserialize_with = "parsed")]
    pub microtome: Option<VersionReq>,
    #[serde(alias = "license")]
    pub licence: Option<String>,
    pub description: Option<String>,
    #[serde(default)]
    pub authors: Vec<String>,
    pub homepage: Option<String>,
    #[serde(default)]
    touches: PermissionsTable,
    #[serde(default)]
    dependencies: BTreeMap<String, DependencyTable>,
    /// The index of the dependencies that name none.
    #[serde(default)]
    index: IndexTable,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct IndexTable {
    address: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct PermissionsTable {
    #[serde(default)]
    read: Vec<String>,
    #[serde(default)]
    write: Vec<String>,
    #[serde(default)]
    net: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table with `version`, with `path`, or with `address` and `hash`")]
struct DependencyTable {
    path: Option<String>,
    address: Option<String>,
    hash: Option<String>,
    #[serde(default, deserialize_with = "parsed")]
    version: Option<VersionReq>,
    index: Option<String>,
}

/// Keys that are read whatever the others are.
#[derive(Deserialize)]
struct ManifestHead {
    name: Option<String>,
    #[serde(default, deserialize_with = "parsed")]
    microtome: Option<VersionReq>,
}

/// A library that another one needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dependency {
    /// The library at a place.
    Source(LibrarySource),
    /// A library that an index has under its name.
    Named(NamedDependency),
}

/// The versions of a library that will do, and the index that has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedDependency {
    pub versions: VersionReq,
    /// An address, or a folder, from the folder of the manifest that names it.
    pub index: Option<String>,
}

/// The source of a library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LibrarySource {
    /// A folder, from the folder of the manifest that names it.
    Folder(String),
    /// The address of a .tar.gz, as forges give it for a commit or a tag, and the SHA-256 of its bytes.
    Archive { address: String, hash: String },
}

/// Parses a value that the file has as a string.
fn parsed<'de, D: Deserializer<'de>, T: FromStr<Err: Display>>(of: D) -> Result<Option<T>, D::Error> {
    let text = String::deserialize(of)?;
    let refused = |e| D::Error::custom(format!("expected a version such as 0.1.0, found `{text}`: {e}"));
    text.parse().map(Some).map_err(refused)
}

/// A mistake in a manifest or a lock file, with its place.
#[derive(Debug, Clone, PartialEq)]
pub struct ManifestError {
    pub error: Error,
    /// The file, and line and column from 1.
    pub place: Option<(String, usize, usize)>,
    /// The text of that file.
    pub text: String,
}

impl ManifestError {
    /// Makes control characters of a file of others visible, so that its words draw no lines of their own.
    pub fn visible(mut self: Box<Self>) -> Box<Self> {
        self.error.message = visible(&self.error.message);
        self
    }
}

impl From<Error> for Box<ManifestError> {
    fn from(error: Error) -> Self {
        ManifestError { error, place: None, text: String::new() }.into()
    }
}

impl From<Box<ManifestError>> for Error {
    /// Writes a mistake in one line, for where the file is not shown.
    fn from(mistake: Box<ManifestError>) -> Self {
        match mistake.place {
            Some((file, line, column)) => mistake.error.within(format!("{file}:{line}:{column}")),
            None => mistake.error,
        }
    }
}

impl From<Box<ManifestError>> for Failure {
    fn from(mistake: Box<ManifestError>) -> Self {
        let ManifestError { error, place, .. } = *mistake;
        let place = place.map(|(source, line, column)| SourcePlace {
            source,
            line,
            column,
            arg: None,
            also: Box::default(),
            option: None,
        });
        // What is wrong in a text is drawn like a mistake in its grammar.
        let kind = if place.is_some() { "syntax".into() } else { error.kind.name().to_string() };
        Self { kind, place, ..Self::from(error) }
    }
}

/// Reads a TOML file of ours; `file` is what errors call it.
pub fn read<T: serde::de::DeserializeOwned>(text: &str, file: &str) -> Result<T, Box<ManifestError>> {
    if text.len() > LONGEST {
        return Err(err!(Format, "expected a file of at most {LONGEST} bytes, found more").within(file).into());
    }
    toml::from_str(text).map_err(|e| {
        let words = e.message().lines().next().unwrap_or_default().to_string();
        let unknown = words.strip_prefix("unknown field `").and_then(|rest| rest.split('`').next());
        let error = match unknown {
            Some(key) => err!(Name, "unknown key `{key}`").maybe_hint(match names::nearest(key, KEYS) {
                Some(near) => Some(format!("did you mean `{near}`?")),
                None => words.split_once(", ").map(|(_, expected)| expected.to_string()),
            }),
            None => err!(Format, "{words}"),
        };
        let place = e.span().map(|span| position(text, span.start));
        let place = place.map(|(line, column)| (file.to_string(), line, column));
        ManifestError { error, place, text: text.into() }.into()
    })
}

fn position(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.rsplit('\n').next().unwrap_or_default();
    (before.matches('\n').count() + 1, line.chars().count() + 1)
}

/// Makes a mistake at the first place where this word stands in quotes, or is a key.
fn at_word(text: &str, file: &str, word: &str, error: Error) -> Box<ManifestError> {
    let quoted = text.find(&format!("\"{word}\"")).or_else(|| text.find(word));
    let place = quoted.map(|at| position(text, at)).map(|(line, column)| (file.to_string(), line, column));
    ManifestError { error, place, text: text.into() }.into()
}

/// Returns why this program cannot run a library that needs one of these versions of it, if it cannot.
pub fn misfit(library: &str, wanted: &VersionReq) -> Option<Error> {
    let runs = Version::parse(PROGRAM).is_ok_and(|own| wanted.matches(&own));
    (!runs).then(|| {
        err!(File, "`{library}` needs microtome {wanted}, and this is {PROGRAM}").hint("take another version of either")
    })
}

/// Returns why this program cannot run the library of a manifest, if that is for other versions, which may have keys
/// that are not known here.
pub fn misfit_of(text: &str) -> Option<Error> {
    if text.len() > LONGEST {
        return None;
    }
    let ManifestHead { name, microtome } = toml::from_str(text).ok()?;
    misfit(&visible(name.as_deref().unwrap_or(MANIFEST)), &microtome?)
}

impl Manifest {
    pub fn parse(text: &str, file: &str) -> Result<Self, Box<ManifestError>> {
        Self::checked(text, file).map_err(ManifestError::visible)
    }

    fn checked(text: &str, file: &str) -> Result<Self, Box<ManifestError>> {
        if let Some(error) = misfit_of(text) {
            return Err(at_word(text, file, "microtome", error));
        }
        let manifest: Self = read(text, file)?;
        let faulty = |word: &str, error| at_word(text, file, word, error);
        if let Some(name) = &manifest.name {
            check_name(name).map_err(|error| faulty(name, error))?;
        }
        let PermissionsTable { read, write, net } = &manifest.touches;
        for folder in read.iter().chain(write) {
            check_folder(folder).map_err(|error| faulty(folder, error))?;
        }
        for host in net {
            check_host(host).map_err(|error| faulty(host, error))?;
        }
        if let Some(index) = &manifest.index.address {
            check_index(index).map_err(|error| faulty(index, error))?;
        }
        for (name, table) in &manifest.dependencies {
            let checked = check_name(name).and_then(|()| table.dependency(name, None));
            checked.map_err(|error| faulty(name, error))?;
        }
        Ok(manifest)
    }

    pub fn touches(&self) -> Touches {
        let PermissionsTable { read, write, net } = self.touches.clone();
        Touches { read, write, net }
    }

    /// Returns the libraries that this one needs, by name.
    pub fn dependencies(&self) -> Result<BTreeMap<String, Dependency>> {
        let index = self.index();
        self.dependencies.iter().map(|(name, table)| Ok((name.clone(), table.dependency(name, index)?))).collect()
    }

    /// Returns the versions of the libraries that this one needs, if it needs all of them by name, as a library of an
    /// index does.
    pub fn named_dependencies(&self) -> Result<BTreeMap<String, VersionReq>> {
        let one = |(name, dependency): (String, Dependency)| match dependency {
            Dependency::Named(named) => Ok((name, named.versions)),
            Dependency::Source(_) => {
                let who = self.name.as_deref().unwrap_or(MANIFEST);
                Err(err!(File, "`{who}` needs `{name}` from elsewhere, and a library of an index needs others by name")
                    .hint(format!("publish `{name}` first, and write `{name} = {{ version = \"0.1\" }}`")))
            }
        };
        self.dependencies()?.into_iter().map(one).collect()
    }

    /// Returns the index of the dependencies that name none.
    pub fn index(&self) -> Option<&str> {
        self.index.address.as_deref()
    }

    /// Returns name and version, which every library has.
    pub fn named(&self, file: &str) -> Result<(&str, &Version)> {
        match (&self.name, &self.version) {
            (Some(name), Some(version)) => Ok((name, version)),
            (None, _) => Err(err!(Format, "{file}: a library has a `name`").hint("add `name = \"heads\"`")),
            (_, None) => Err(err!(Format, "{file}: a library has a `version`").hint("add `version = \"0.1.0\"`")),
        }
    }
}

impl DependencyTable {
    /// Returns what the table says; `index` is the one of the manifest.
    fn dependency(&self, name: &str, index: Option<&str>) -> Result<Dependency> {
        let Some(versions) = &self.version else {
            if self.index.is_some() {
                return Err(err!(Format, "the dependency `{name}` has an `index`, and no `version`")
                    .hint("`version = \"0.1\"` is 0.1.0 and all newer ones that are compatible"));
            }
            return self.source(name).map(Dependency::Source);
        };
        if self.path.is_some() || self.address.is_some() || self.hash.is_some() {
            return Err(err!(Format, "the dependency `{name}` has a `version`, and a place beside it")
                .hint("a version is looked for in an index; what is at a `path` or an `address` has its own"));
        }
        if let Some(index) = &self.index {
            check_index(index)?;
        }
        let index = self.index.as_deref().or(index).map(String::from);
        Ok(Dependency::Named(NamedDependency { versions: versions.clone(), index }))
    }

    fn source(&self, name: &str) -> Result<LibrarySource> {
        match (&self.path, &self.address, &self.hash) {
            (Some(path), None, None) => Ok(LibrarySource::Folder(path.clone())),
            (None, Some(address), Some(hash)) => {
                check_address(address)?;
                Ok(LibrarySource::Archive { address: address.clone(), hash: check_hash(hash)? })
            }
            (None, Some(_), None) => Err(err!(Format, "the dependency `{name}` has an address and no `hash`")
                .hint("`microtome add ADDRESS` fetches it and writes its hash")),
            (Some(_), ..) => Err(err!(Format, "the dependency `{name}` has a `path`, and something beside it")
                .hint("a folder has no address and no hash: its files may change")),
            _ => Err(err!(Format, "the dependency `{name}` does not say where it is")
                .hint("give it `version = \"0.1\"`, `path = \"../folder\"`, or `address` and `hash`")),
        }
    }
}

pub fn check_name(name: &str) -> Result<()> {
    let is_word = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        && name.len() <= 64;
    if !is_word {
        // Names of packages elsewhere have hyphens; these are written in code, too.
        let near = name.contains('-').then(|| name.replace('-', "_")).filter(|near| check_name(near).is_ok());
        let near = near.map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
        return Err(err!(Argument, "expected the name of a library, found `{name}`")
            .hint(format!("{near}names have lower-case letters, digits and `_`, and begin with a letter")));
    }
    if name == "std" {
        return Err(err!(Argument, "the name `std` belongs to the libraries inside microtome").hint("choose another"));
    }
    Ok(())
}

pub(super) fn check_folder(folder: &str) -> Result<()> {
    let goes_down = !folder.is_empty()
        && !folder.contains(['\\', '*', '?', '\0'])
        && !folder.starts_with(['/', '~'])
        && folder.split('/').all(|part| part != "..")
        && !folder.contains(|c: char| c == ':' || c.is_control());
    if goes_down || folder == EVERYTHING {
        Ok(())
    } else {
        Err(err!(Format, "expected a folder below the user's, found `{folder}`").hint(
            "folders are relative and go down: \"data\", \".\" for all below; \"/\" is everything that the run may touch",
        ))
    }
}

pub(super) fn check_host(host: &str) -> Result<()> {
    crate::base::access::check_host(host)
}

/// Returns whether a place is an address, and not a folder.
pub fn is_address(place: &str) -> bool {
    place.contains("://")
}

/// Refuses an index that is neither an address nor a folder.
fn check_index(index: &str) -> Result<()> {
    match index {
        "" => Err(err!(Format, "expected an index, found an empty text").hint("an index is an address or a folder")),
        index if is_address(index) => check_address(index),
        _ => Ok(()),
    }
}

/// Refuses an address that is neither encrypted nor one of this machine: whoever stands in between could change a
/// library together with its hash in the index.
pub fn check_address(address: &str) -> Result<()> {
    if address.starts_with("https://") || is_of_this_machine(address) {
        return Ok(());
    }
    let error = err!(Argument, "expected an address that begins with https://, found `{address}`");
    Err(error.hint("http is for servers of this machine: whoever stands in between could change what is fetched"))
}

/// Returns whether an address is one of loopback, and nothing in it leads elsewhere, as a name before the host may.
fn is_of_this_machine(address: &str) -> bool {
    let authority = address.strip_prefix("http://").and_then(|rest| rest.split('/').next()).unwrap_or_default();
    let is_number = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    let is_port = |rest: &str| rest.is_empty() || rest.strip_prefix(':').is_some_and(is_number);
    LOOPBACK.iter().any(|host| authority.strip_prefix(host).is_some_and(is_port))
}

/// Checks a hash: 64 hexadecimal digits, which are returned in lower case.
pub fn check_hash(hash: &str) -> Result<String> {
    let digits = hash.strip_prefix("sha256:").unwrap_or(hash).to_lowercase();
    if digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        Ok(digits)
    } else {
        Err(err!(Argument, "expected a SHA-256, 64 hexadecimal digits, found `{hash}`"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(text: &str) -> (String, Option<(usize, usize)>) {
        let mistake = Manifest::parse(text, "microtome.toml").unwrap_err();
        (mistake.error.to_string(), mistake.place.map(|(_, line, column)| (line, column)))
    }

    #[test]
    fn a_whole_manifest_is_read() {
        let hash = "ab".repeat(32);
        let text = format!(
            "name = \"heads\"\nversion = \"0.1.0\"\nmicrotome = \">=0.1\"\nlicense = \"MIT\"\nauthors = [\"A\"]\n\
             [touches]\nread = [\"data\"]\nwrite = [\".\"]\nnet = [\"example.org\"]\n[dependencies]\n\
             a = {{ path = \"../a\" }}\nb = {{ address = \"https://x.org/b.tar.gz\", hash = \"sha256:{hash}\" }}\n"
        );
        let manifest = Manifest::parse(&text, "microtome.toml").unwrap();
        assert_eq!(manifest.named("f").unwrap().0, "heads");
        assert_eq!(manifest.licence.as_deref(), Some("MIT"));
        assert_eq!(manifest.touches().write, ["."]);
        let dependencies = manifest.dependencies().unwrap();
        let archive = LibrarySource::Archive { address: "https://x.org/b.tar.gz".into(), hash };
        assert_eq!(dependencies["a"], Dependency::Source(LibrarySource::Folder("../a".into())));
        assert_eq!(dependencies["b"], Dependency::Source(archive));
        assert!(manifest.named_dependencies().unwrap_err().message.contains("needs `a` from elsewhere"));
    }

    #[test]
    fn a_dependency_by_name_has_an_index_of_its_own_or_that_of_the_manifest() {
        let text = "[index]\naddress = \"https://x.org/index\"\n[dependencies]\na = { version = \"1.2\" }\n\
                    b = { version = \"=2.0.0\", index = \"../index\" }\n";
        let manifest = Manifest::parse(text, "microtome.toml").unwrap();
        let dependencies = manifest.dependencies().unwrap();
        for (name, versions, index) in [("a", "^1.2", "https://x.org/index"), ("b", "=2.0.0", "../index")] {
            let named = NamedDependency { versions: versions.parse().unwrap(), index: Some(index.into()) };
            assert_eq!(dependencies[name], Dependency::Named(named));
        }
        assert_eq!(manifest.named_dependencies().unwrap()["a"].to_string(), "^1.2");
        let hint = check_name("probes-kit").unwrap_err().hint.unwrap();
        assert!(hint.starts_with("did you mean `probes_kit`? names have"), "{hint}");
    }

    #[test]
    fn what_is_not_encrypted_comes_from_this_machine_alone() {
        for fine in [
            "https://x.org/index",
            "http://127.0.0.1:8080/index",
            "http://localhost/a.tar.gz",
            "http://[::1]:80/a.tar.gz",
            "http://127.0.0.1",
        ] {
            assert_eq!(check_address(fine), Ok(()), "{fine}");
        }
        for wrong in [
            "http://x.org/index",
            "http://localhost.x.org/index",
            "http://127.0.0.1.x.org",
            "http://127.0.0.1@x.org/index",
            "http://127.0.0.1:80@x.org/index",
            "http://x.org\\@127.0.0.1/index",
            "http://127.0.0.1\\@x.org/index",
            "http://127.0.0.1?@x.org",
            "http:///x.org",
            "ftp://127.0.0.1/index",
        ] {
            let error = check_address(wrong).unwrap_err();
            assert!(error.message.contains("begins with https://") && error.hint.is_some(), "{wrong}: {error}");
        }
        let index = "[index]\naddress = \"http://x.org/index\"";
        let hash = "ab".repeat(32);
        let archive = format!("[dependencies]\na = {{ address = \"http://x.org/a.tar.gz\", hash = \"{hash}\" }}");
        for text in [index, archive.as_str()] {
            assert!(wrong(text).0.contains("begins with https://"), "{text}");
        }
    }

    #[test]
    fn a_mistake_draws_no_lines_of_its_own() {
        let evil = "../x\\n  reads nothing\\u200b\\u001b[2J";
        for text in [
            format!("[touches]\nread = [\"{evil}\"]"),
            format!("[touches]\nnet = [\"{evil}\"]"),
            format!("name = \"{evil}\""),
            format!("version = \"{evil}\""),
            format!("microtome = \"{evil}\""),
            format!("\"{evil}\" = 1"),
            format!("[dependencies]\na = {{ address = \"{evil}\", hash = \"1\" }}"),
            format!("[dependencies]\na = {{ address = \"https://x\", hash = \"{evil}\" }}"),
        ] {
            let error = Manifest::parse(&text, "microtome.toml").unwrap_err().error;
            assert!(!error.message.contains(['\n', '\u{200b}', '\u{1b}']), "{text}: {error}");
            assert!(!error.hint.unwrap_or_default().contains(['\n', '\u{200b}', '\u{1b}']), "{text}");
        }
    }

    #[test]
    fn mistakes_have_their_place_and_their_neighbour() {
        assert_eq!(
            wrong("name = \"a\"\nverison = \"0.1.0\""),
            ("unknown key `verison` (hint: did you mean `version`?)".into(), Some((2, 1)))
        );
        assert_eq!(wrong("name = \"a\"\n[touches]\nreed = []").1, Some((3, 1)));
        for (text, word, place) in [
            ("name = 3", "invalid type", (1, 8)),
            ("name = \"Heads\"", "expected the name of a library", (1, 8)),
            ("name = \"std\"", "belongs to the libraries inside", (1, 8)),
            ("name = ", "", (1, 8)),
            ("[touches]\nread = [\"../x\"]", "expected a folder below", (2, 9)),
            ("[touches]\nread = [\"/etc\"]", "expected a folder below", (2, 9)),
            ("[touches]\nwrite = [\"C:\"]", "expected a folder below", (2, 10)),
            ("[touches]\nnet = [\"a b\"]", "host", (2, 8)),
            ("microtome = \">=9\"", "needs microtome >=9", (1, 1)),
            ("version = \"1\"", "", (1, 11)),
            ("[dependencies]\na = {}", "does not say where", (2, 1)),
            ("[dependencies]\na = { address = \"https://x\" }", "no `hash`", (2, 1)),
            ("[dependencies]\na = { path = \"x\", hash = \"1\" }", "something beside", (2, 1)),
            ("[dependencies]\na = { address = \"x\", hash = \"1\" }", "https", (2, 1)),
            ("[dependencies]\na = { version = \"1.x.y\" }", "expected a version such as", (2, 17)),
            ("[dependencies]\na = { version = \"1\", path = \"x\" }", "a place beside it", (2, 1)),
            ("[dependencies]\na = { index = \"x\" }", "no `version`", (2, 1)),
            ("[dependencies]\na = { version = \"1\", index = \"ftp://x\" }", "https", (2, 1)),
            ("[index]\naddress = \"\"", "an empty text", (2, 11)),
        ] {
            let (message, found) = wrong(text);
            assert!(message.contains(word), "{text}: {message}");
            assert_eq!(found, Some(place), "{text}: {message}");
        }
    }
}
