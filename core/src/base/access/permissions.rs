//! Permissions of a library: folders and hosts that its manifest names, and that the user has granted. Whatever its
//! code reads, writes or fetches must be allowed to the run and be within them, too.

use std::path::{Component, Path, PathBuf};

use url::Url;

use super::folders::Folders;
use super::hosts::Hosts;
use super::{HUB, RuleVerdict, STORES, resolve};
use crate::base::{Error, Result};
use crate::err;

/// The folder that stands for everything that the run itself may touch.
pub const EVERYTHING: &str = "/";

/// Folders and hosts that a library names: folders as they are written down, relative, and hosts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Touches {
    /// Folders that are read, below the working folder or the output folder.
    pub read: Vec<String>,
    /// Folders that are written, below the output folder.
    pub write: Vec<String>,
    pub net: Vec<String>,
}

impl Touches {
    /// Returns the entries of `self` that `granted` lacks, as `read data`, one string for each.
    pub fn beyond(&self, granted: &Self) -> Vec<String> {
        let mut more = Vec::new();
        for (verb, asked, given) in [
            ("read", &self.read, &granted.read),
            ("write", &self.write, &granted.write),
            ("net", &self.net, &granted.net),
        ] {
            more.extend(asked.iter().filter(|one| !given.contains(one)).map(|one| format!("{verb} {one}")));
        }
        more
    }
}

/// The permissions of a library in one run.
#[derive(Debug, Clone)]
pub struct Permissions {
    library: String,
    /// The file that names the folders and hosts.
    manifest: String,
    /// The function that the library calls.
    primitive: String,
    read: Folders,
    write: Folders,
    net: Hosts,
}

impl Permissions {
    /// Builds the permissions of a library in a run that reads below the folders `roots` and writes below `out`.
    /// Whoever may fetch models from the hub may read them in its cache, `models`.
    pub(super) fn new(
        library: &str,
        manifest: &str,
        touches: &Touches,
        roots: &[&Path],
        out: &Path,
        models: &Path,
    ) -> Result<Self> {
        let mut read = Folders::default();
        let mut write = Folders::default();
        let place = |below: &Path, folder: &str| match folder {
            EVERYTHING => Ok(PathBuf::from("/")),
            _ => resolve(&below.join(folder)),
        };
        for folder in &touches.read {
            for below in roots.iter().chain(&[out]) {
                read.set(place(below, folder)?, true);
            }
        }
        // What it may write it may read again.
        for folder in &touches.write {
            read.set(place(out, folder)?, true);
            write.set(place(out, folder)?, true);
        }
        let mut hosts = touches.net.clone();
        if hosts.iter().any(|host| host == HUB) {
            hosts.extend(STORES.map(String::from));
            read.set(resolve(models)?, true);
        }
        let net = Hosts::only(&hosts)?;
        Ok(Self { library: library.into(), manifest: manifest.into(), primitive: String::new(), read, write, net })
    }

    pub fn library(&self) -> &str {
        &self.library
    }

    /// Returns these permissions for a call of this function.
    pub fn calling(&self, primitive: &str) -> Self {
        Self { primitive: primitive.into(), ..self.clone() }
    }

    /// Returns these permissions with a folder of the program's own.
    pub(super) fn within(&self, own: &Path) -> Self {
        let mut permissions = self.clone();
        permissions.read.set(own.into(), true);
        permissions.write.set(own.into(), true);
        permissions
    }

    pub(super) fn reads(&self, place: &Path) -> bool {
        self.read.allows(place)
    }

    /// Refuses a `path`, looked for at `place`, that the library may not read or write. The error says nothing of what
    /// lies at a place that the library may not read.
    pub(super) fn judge(&self, verb: &str, asked: &Path, place: &Path) -> Result<()> {
        let rules = if verb == "read" { &self.read } else { &self.write };
        match resolve(place) {
            Ok(place) if rules.allows(&place) => Ok(()),
            _ => Err(self.refusal(verb, &asked.display().to_string(), &folder_of(asked))),
        }
    }

    pub(super) fn judge_host(&self, address: &Url) -> Result<()> {
        let Some(host) = address.host() else { return Ok(()) };
        match self.net.judge(&host, address.port_or_known_default()) {
            RuleVerdict::Allowed => Ok(()),
            _ => Err(self.refusal("net", &host.to_string(), &host.to_string())),
        }
    }

    fn refusal(&self, verb: &str, what: &str, wish: &str) -> Error {
        let Self { library, manifest, primitive, .. } = self;
        let may_not = if verb == "net" { "connect to" } else { verb };
        err!(Access, "the library `{library}` may not {may_not} {what} (by `{primitive}`)").hint(format!(
            "its {manifest} would have to say `{verb} = [\"{wish}\"]` under [touches], and `microtome add` to grant it"
        ))
    }
}

/// Returns the folder that a library would have to name for a path: as the path was written, if that is relative and
/// goes down.
fn folder_of(asked: &Path) -> String {
    let goes_down = asked.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    match asked.parent().filter(|_| goes_down) {
        Some(folder) if !folder.as_os_str().is_empty() => folder.display().to_string(),
        Some(_) => ".".into(),
        None => EVERYTHING.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Access, Rules};
    use super::*;
    use std::sync::Arc;

    fn access(folder: &Path, touches: &Touches) -> Access {
        let out = folder.join("out");
        let access = Access::new(&out, &Rules::default()).unwrap();
        let models = folder.join("hub");
        let permissions =
            Permissions::new("heads", "microtome.toml", touches, &[folder], access.out(), &models).unwrap();
        access.under(Arc::new(permissions.calling("load_text")))
    }

    fn touches(read: &[&str], write: &[&str], net: &[&str]) -> Touches {
        let [read, write, net] = [read, write, net].map(|all| all.iter().map(|one| one.to_string()).collect());
        Touches { read, write, net }
    }

    #[test]
    fn a_library_touches_what_it_says_and_the_run_allows() {
        let folder = tempfile::tempdir().unwrap();
        let base = resolve(folder.path()).unwrap();
        let own = access(&base, &touches(&["data"], &["heads", "../out2"], &["example.org"]));
        for allowed in ["data/x", "data", "out/data/x", "out/heads/x"] {
            assert!(own.to_read(&base.join(allowed)).is_ok(), "{allowed}");
        }
        for denied in ["x", "data2/x", "data/../x", "out/x", "datA/x"] {
            let error = own.to_read(&base.join(denied)).unwrap_err();
            assert!(error.message.starts_with("the library `heads` may not read"), "{denied}: {}", error.message);
        }
        assert!(own.to_write(Path::new("heads/x")).is_ok());
        for denied in ["x", "data/x", "heads/../x"] {
            assert!(own.to_write(Path::new(denied)).is_err(), "{denied}");
        }
        // The run may not write there, whatever the library was granted.
        assert!(own.to_write(Path::new("../out2/x")).unwrap_err().message.starts_with("this script may not"));
        let fetch = |host: &str| own.to_fetch(&Url::parse(&format!("https://{host}/x")).unwrap());
        assert!(fetch("huggingface.co").unwrap_err().message.contains("library `heads` may not connect to"));
        // Not on the command line.
        assert!(fetch("example.org").unwrap_err().message.starts_with("this script may not"));
        let everything = access(&base, &touches(&["/"], &[], &[]));
        assert!(
            everything.to_read(&base.join("x")).is_ok() && everything.to_read(Path::new("/proc/self/environ")).is_err()
        );
    }

    #[cfg(unix)]
    #[test]
    fn links_lead_out_of_no_leave() {
        let folder = tempfile::tempdir().unwrap();
        let base = resolve(folder.path()).unwrap();
        std::fs::create_dir_all(base.join("data")).unwrap();
        std::fs::write(base.join("secret"), "").unwrap();
        std::os::unix::fs::symlink("../secret", base.join("data/link")).unwrap();
        let own = access(&base, &touches(&["data"], &["."], &[]));
        let refused = own.to_read(&base.join("data/link")).unwrap_err();
        assert!(!refused.to_string().contains(&base.join("secret").display().to_string()), "{refused}");
        assert!(!own.shows(&base.join("data/link"), true) && own.shows(&base.join("data/other"), false));
    }

    #[test]
    fn a_refusal_says_which_line_would_allow_it() {
        let folder = tempfile::tempdir().unwrap();
        let own = access(folder.path(), &Touches::default());
        let hint = |path: &str| own.to_read(Path::new(path)).unwrap_err().hint.unwrap();
        assert!(hint("data/a/x.txt").contains("`read = [\"data/a\"]`"));
        assert!(hint("x.txt").contains("`read = [\".\"]`") && hint("/etc/x").contains("`read = [\"/\"]`"));
        let error = own.to_read(Path::new("x.txt")).unwrap_err();
        assert_eq!(error.message, "the library `heads` may not read x.txt (by `load_text`)");
    }

    #[test]
    fn more_than_was_granted_is_told_apart() {
        let granted = touches(&["a"], &[], &["h"]);
        assert_eq!(touches(&["a", "b"], &["c"], &["h"]).beyond(&granted), ["read b", "write c"]);
    }
}
