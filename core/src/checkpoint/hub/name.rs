//! Names of models and data sets on a hub: `org/name`, `org/name@revision`, `org/name/file.gguf@revision`.

use std::fmt;

use hf_hub::RepoType;

use crate::common::*;

/// The default revision.
const MAIN: &str = "main";

/// Kind of a repository of a hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RepoKind {
    Model,
    DataSet,
}

impl RepoKind {
    /// Returns the word for one of them, in messages.
    pub fn word(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::DataSet => "data set",
        }
    }

    /// Returns the word for all of them, in the hub's addresses.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Model => "models",
            Self::DataSet => "datasets",
        }
    }

    pub fn repo_type(self) -> RepoType {
        match self {
            Self::Model => RepoType::Model,
            Self::DataSet => RepoType::Dataset,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    pub kind: RepoKind,
    pub org: String,
    pub name: String,
    /// A branch, a tag, or a commit.
    pub revision: String,
    /// A single file, if one is named.
    pub file: Option<String>,
}

impl Name {
    /// Parses the name of a model, or of one file of it.
    pub fn parse(text: &str) -> Result<Self> {
        Self::of(RepoKind::Model, text, "`org/name`, `org/name@revision`, or `org/name/file.gguf` for one file")
    }

    /// Parses the name of a data set, without a file.
    pub fn data_set(text: &str) -> Result<Self> {
        let wanted = "`org/name` or `org/name@revision`";
        let name = Self::of(RepoKind::DataSet, text, wanted)?;
        if let Some(file) = name.file {
            return Err(err!(Argument, "expected the name of a data set alone, found `{file}` after it").hint(wanted));
        }
        Ok(name)
    }

    fn of(kind: RepoKind, text: &str, wanted: &str) -> Result<Self> {
        let (path, revision) = text.split_once('@').unwrap_or((text, MAIN));
        let mut parts = path.splitn(3, '/');
        let (org, name) = match (parts.next(), parts.next()) {
            (Some(org), Some(name)) if is_word(org) && is_word(name) => (org.to_string(), name.to_string()),
            _ => {
                let what = kind.word();
                return Err(err!(Argument, "expected the name of a {what} on the hub, found `{text}`").hint(wanted));
            }
        };
        if !is_path(revision) {
            bail!(Argument, "expected a branch, a tag or a commit after `@`, found `{text}`");
        }
        let file = parts.next().map(str::to_string);
        if file.as_deref().is_some_and(|file| !is_path(file)) {
            bail!(Argument, "expected a file's name after `{org}/{name}/`, found `{text}`");
        }
        Ok(Self { kind, org, name, revision: revision.to_string(), file })
    }

    /// Returns the name of the repository at another revision.
    pub fn at(&self, revision: &str) -> Self {
        Self { revision: revision.into(), ..self.clone() }
    }

    /// Tells whether the revision is the usual one.
    pub fn is_main(&self) -> bool {
        self.revision == MAIN
    }

    /// Returns `org/name`.
    pub fn repo(&self) -> String {
        format!("{}/{}", self.org, self.name)
    }

    /// Returns the path of the repository's page on the hub, below which its files are.
    pub fn page(&self) -> String {
        match self.kind {
            RepoKind::Model => self.repo(),
            RepoKind::DataSet => format!("{}/{}", self.kind.plural(), self.repo()),
        }
    }

    /// Returns whether the revision is a commit, which always means the same files.
    pub fn is_commit(&self) -> bool {
        is_commit(&self.revision)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.org, self.name)?;
        if let Some(file) = &self.file {
            write!(f, "/{file}")?;
        }
        match self.revision.as_str() {
            MAIN => Ok(()),
            revision => write!(f, "@{revision}"),
        }
    }
}

/// Returns whether a part of a name is valid: the name of a folder in the cache is made of it.
fn is_word(part: &str) -> bool {
    let plain = part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    plain && (1..=96).contains(&part.len()) && !part.contains("..") && !part.contains("--") && !part.starts_with('.')
}

/// Returns whether a path from any source stays below its folder.
pub fn is_path(path: &str) -> bool {
    let is_part = |part: &str| {
        !matches!(part, "" | "." | "..") && part.chars().all(|c| !c.is_control() && !matches!(c, '\\' | ':'))
    };
    path.split('/').all(is_part)
}

/// Returns whether a revision is a commit, as git names it: forty hexadecimal digits.
pub fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && revision.bytes().all(|b| b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> (String, String, Option<String>) {
        let name = Name::parse(text).unwrap();
        assert_eq!(name.to_string(), text);
        (name.repo(), name.revision, name.file)
    }

    #[test]
    fn the_parts_of_a_name() {
        assert_eq!(parts("org/name"), ("org/name".into(), "main".into(), None));
        assert_eq!(parts("org/name@refs/pr/1"), ("org/name".into(), "refs/pr/1".into(), None));
        let file = Some("sub/x.Q4_K.gguf".to_string());
        assert_eq!(parts("o.r-g/na_me/sub/x.Q4_K.gguf@v1"), ("o.r-g/na_me".into(), "v1".into(), file));
        assert_eq!(Name::parse("org/name@main").unwrap(), Name::parse("org/name").unwrap());
    }

    #[test]
    fn what_would_leave_the_cache_is_no_name() {
        for text in [
            "",
            "name",
            "org/",
            "/name",
            "../name",
            "org/..",
            "a--b/c",
            "org/name/",
            "org/name/../x",
            "org/name//x",
            "org/name@",
            "org/name@../x",
            "org/name@a//b",
            "org/na me",
            "org/name/C:x",
            "org/.git",
            "org/name@x\n",
        ] {
            assert!(Name::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_data_set_has_pages_of_its_own_and_no_file_in_its_name() {
        let name = Name::data_set("org/name@refs/convert/parquet").unwrap();
        assert_eq!((name.page().as_str(), name.revision.as_str()), ("datasets/org/name", "refs/convert/parquet"));
        assert_eq!(Name::parse("org/name").unwrap().page(), "org/name");
        assert!(Name::data_set("org/name").unwrap().is_main() && !name.is_main());
        let error = Name::data_set("org/name/data/x.parquet").unwrap_err();
        assert_eq!(error.message, "expected the name of a data set alone, found `data/x.parquet` after it");
        let error = Name::data_set("squad").unwrap_err();
        assert_eq!(error.message, "expected the name of a data set on the hub, found `squad`");
    }

    #[test]
    fn a_commit_has_forty_digits() {
        assert!(is_commit(&"0a".repeat(20)));
        assert!(!is_commit("main"));
        assert!(!is_commit(&"0g".repeat(20)));
    }
}
