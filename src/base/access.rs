//! What a script may read, write and fetch. The judgement is here; `files` and `net` ask for it where they open things.
//!
//! By default a script may read files, write below the output folder, and fetch from the model hub only. For folders the
//! longest rule that contains the path decides, and at equal length a denial wins; so `--deny-read /` with
//! `--allow-read data` leaves `data` alone readable. Links and `..` are resolved before the judgement.

use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

use super::{Error, Result};
use crate::{bail, err};

/// The hub that models come from, unless `HF_ENDPOINT` names another.
pub const HUB: &str = "huggingface.co";

/// Where that hub keeps large files, and sends those on who ask for one.
const STORES: [&str; 2] = ["*.huggingface.co", "*.hf.co"];

/// Allowed and denied folders; what no rule contains is denied.
#[derive(Debug, Clone, Default)]
struct Folders {
    rules: Vec<(PathBuf, bool)>,
}

impl Folders {
    fn add(&mut self, typed: &[PathBuf], allowed: bool) -> Result<()> {
        for folder in typed {
            self.rules.push((resolve(folder)?, allowed));
        }
        Ok(())
    }

    fn allows(&self, path: &Path) -> bool {
        self.rules
            .iter()
            .filter(|(folder, _)| path.starts_with(folder))
            .max_by_key(|(folder, allowed)| (folder.components().count(), !allowed))
            .is_some_and(|(_, allowed)| *allowed)
    }
}

/// Allowed and denied hosts: `name`, `*.domain`, or `*`.
#[derive(Debug, Clone, Default)]
struct Hosts {
    rules: Vec<(String, bool)>,
}

impl Hosts {
    fn allows(&self, host: &str) -> bool {
        let matches = |rule: &str| match rule.strip_prefix('*') {
            Some(tail) => host.ends_with(tail),
            None => host == rule,
        };
        self.rules
            .iter()
            .filter(|(rule, _)| matches(rule))
            .max_by_key(|(rule, allowed)| (rule.len(), !allowed))
            .is_some_and(|(_, allowed)| *allowed)
    }
}

/// What the command line said about access, as it was typed.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    pub allow_read: Vec<PathBuf>,
    pub deny_read: Vec<PathBuf>,
    pub allow_write: Vec<PathBuf>,
    pub deny_write: Vec<PathBuf>,
    pub allow_net: Vec<String>,
    pub deny_net: Vec<String>,
}

#[derive(Debug, Clone)]
pub struct Access {
    out: PathBuf,
    /// Folders that relative paths are looked for in when neither the current folder nor `out` has them.
    read_below: Vec<PathBuf>,
    read: Folders,
    write: Folders,
    net: Hosts,
}

impl Access {
    /// The defaults, widened and narrowed by `rules`; `out` is the folder that relative paths are written below.
    pub fn new(out: &Path, rules: &Rules) -> Result<Self> {
        let out = resolve(out)?;
        let mut read = Folders { rules: vec![(PathBuf::from("/"), true)] };
        let mut write = Folders { rules: vec![(out.clone(), true)] };
        let hub = hub_hosts(&std::env::var("HF_ENDPOINT").unwrap_or_default());
        let mut net = Hosts { rules: hub.into_iter().map(|host| (host, true)).collect() };
        read.add(&rules.allow_read, true)?;
        read.add(&rules.deny_read, false)?;
        write.add(&rules.allow_write, true)?;
        write.add(&rules.deny_write, false)?;
        net.rules.extend(rules.allow_net.iter().map(|host| (plain(host), true)));
        net.rules.extend(rules.deny_net.iter().map(|host| (plain(host), false)));
        Ok(Self { out, read_below: Vec::new(), read, write, net })
    }

    /// Looks for relative paths in `folder`, too: where a repeated run finds what was there when it was recorded.
    pub fn reading_below(mut self, folder: PathBuf) -> Self {
        self.read_below.push(folder);
        self
    }

    /// The same rules for a folder of the program's own, which is written unless a rule for it, or for what lies in it,
    /// denies that; relative paths are written below it.
    pub fn within(&self, folder: &Path) -> Result<Self> {
        let mut own = self.clone();
        own.out = resolve(folder)?;
        own.read_below.clear();
        own.write.rules.push((own.out.clone(), true));
        Ok(own)
    }

    /// The output folder, links resolved.
    pub fn out(&self) -> &Path {
        &self.out
    }

    /// Where `path` is to be read: as it stands, or below the output folder if it is only there.
    pub fn to_read(&self, path: &Path) -> Result<PathBuf> {
        check_length(path)?;
        let mut place = resolve(path)?;
        if path.is_relative() && !place.exists() {
            for folder in std::iter::once(&self.out).chain(&self.read_below) {
                let there = resolve(&folder.join(path))?;
                if there.exists() {
                    place = there;
                    break;
                }
            }
        }
        if self.read.allows(&place) {
            return Ok(place);
        }
        Err(refusal("read", path, &place).hint(format!("allow it with --allow-read {}", folder_of(&place).display())))
    }

    /// Where `path` is to be written: below the output folder if it is relative.
    pub fn to_write(&self, path: &Path) -> Result<PathBuf> {
        check_length(path)?;
        let place = if path.is_relative() { resolve(&self.out.join(path))? } else { resolve(path)? };
        if self.write.allows(&place) {
            return Ok(place);
        }
        Err(refusal("write", path, &place).hint(format!(
            "a script writes below {} only; allow more with --allow-write {}",
            self.out.display(),
            folder_of(&place).display()
        )))
    }

    /// Whether a connection to `host` may be made.
    pub fn to_fetch(&self, host: &str) -> Result<()> {
        let host = plain(host);
        if self.net.allows(&host) {
            return Ok(());
        }
        Err(err!(Access, "this script may not connect to {host}").hint(format!("allow it with --allow-net {host}")))
    }
}

/// No system opens a longer path, and one of millions of parts would be looked up part by part first.
const LONGEST: usize = 4096;

fn check_length(path: &Path) -> Result<()> {
    match path.as_os_str().len() {
        0..=LONGEST => Ok(()),
        length => Err(err!(File, "expected a path of at most {LONGEST} bytes, found one of {length}")),
    }
}

/// The hosts of the hub at this address, or of the usual one if there is none.
fn hub_hosts(endpoint: &str) -> Vec<String> {
    match plain(host_of(endpoint)) {
        host if host.is_empty() || host == HUB => std::iter::once(HUB).chain(STORES).map(String::from).collect(),
        host => vec![host],
    }
}

/// The host in an address, without the name and password before it and the port after it.
pub fn host_of(address: &str) -> &str {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let place = authority.rsplit_once('@').map_or(authority, |(_, place)| place);
    match place.find(']') {
        // The colons of a numeric address are no port.
        Some(end) if place.starts_with('[') => &place[..=end],
        _ => place.split(':').next().unwrap_or(place),
    }
}

/// A host's name as rules are compared with it: `Example.org.` is `example.org`.
fn plain(host: &str) -> String {
    host.trim_end_matches('.').to_lowercase()
}

fn folder_of(place: &Path) -> &Path {
    place.parent().unwrap_or(place)
}

fn refusal(verb: &str, asked: &Path, place: &Path) -> Error {
    if asked == place {
        err!(Access, "this script may not {verb} {}", asked.display())
    } else {
        err!(Access, "this script may not {verb} {} (which is {})", asked.display(), place.display())
    }
}

/// The absolute path with every link and `..` resolved, also where the end of it does not exist yet.
pub fn resolve(path: &Path) -> Result<PathBuf> {
    if path.as_os_str().is_empty() {
        bail!(File, "expected a path, found an empty string");
    }
    if path.as_os_str().as_encoded_bytes().contains(&0) {
        bail!(File, "expected a path, found one with a zero byte in it");
    }
    let start = std::path::absolute(path).map_err(|e| Error::io("resolve", path, &e))?;
    // Links met on the way are replaced by their targets, so a chain of links that turns in a circle ends at the limit.
    let mut links_left = 40;
    let mut pending: Vec<OsString> = Vec::new();
    let mut resolved = PathBuf::new();
    push_components(&mut pending, &start);
    while let Some(part) = pending.pop() {
        match Path::new(&part).components().next() {
            Some(Component::ParentDir) => {
                resolved.pop();
            }
            Some(Component::Normal(name)) => {
                let next = resolved.join(name);
                match std::fs::read_link(&next) {
                    Ok(_) if links_left == 0 => bail!(File, "{} is a chain of links without end", path.display()),
                    Ok(target) => {
                        links_left -= 1;
                        if target.is_absolute() {
                            resolved = PathBuf::new();
                        }
                        push_components(&mut pending, &target);
                    }
                    Err(_) => resolved = next,
                }
            }
            Some(Component::CurDir) | None => {}
            Some(root) => resolved.push(root.as_os_str()),
        }
    }
    Ok(resolved)
}

fn push_components(pending: &mut Vec<OsString>, path: &Path) {
    pending.extend(path.components().rev().map(|part| part.as_os_str().to_owned()));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(folder: &Path, rules: Rules) -> Access {
        Access::new(&folder.join("out"), &rules).unwrap()
    }

    #[test]
    fn writes_stay_below_out() {
        let folder = tempfile::tempdir().unwrap();
        let access = access(folder.path(), Rules::default());
        let out = access.out().to_path_buf();
        assert_eq!(access.to_write(Path::new("a/b.npy")).unwrap(), out.join("a/b.npy"));
        assert_eq!(access.to_write(&out.join("c")).unwrap(), out.join("c"));
        for outside in ["../x", "a/../../x", "/tmp/elsewhere"] {
            let error = access.to_write(Path::new(outside)).unwrap_err();
            assert_eq!(error.kind, crate::base::Kind::Access, "{outside}");
            assert!(error.hint.unwrap().contains("--allow-write"));
        }
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_before_the_judgement() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        std::fs::create_dir_all(&out).unwrap();
        std::os::unix::fs::symlink(folder.path(), out.join("door")).unwrap();
        std::os::unix::fs::symlink("../missing", out.join("dangling")).unwrap();
        std::os::unix::fs::symlink("circle", out.join("circle")).unwrap();
        let access = access(folder.path(), Rules::default());
        assert!(access.to_write(Path::new("door/x")).is_err());
        assert!(access.to_write(Path::new("dangling")).is_err());
        assert!(access.to_write(Path::new("circle")).unwrap_err().message.contains("without end"));
    }

    #[test]
    fn the_longest_rule_decides_and_denial_wins_a_tie() {
        let folder = tempfile::tempdir().unwrap();
        let base = resolve(folder.path()).unwrap();
        let rules = Rules {
            deny_read: vec!["/".into(), base.join("data/secret")],
            allow_read: vec![base.join("data"), base.join("tie")],
            allow_write: vec![base.join("elsewhere")],
            deny_write: vec![base.join("out/kept")],
            ..Rules::default()
        };
        let access = access(&base, rules);
        assert!(access.to_read(&base.join("data/x")).is_ok());
        assert!(access.to_read(&base.join("data/secret/x")).is_err());
        assert!(access.to_read(&base.join("other")).is_err());
        assert!(access.to_write(&base.join("elsewhere/x")).is_ok());
        assert!(access.to_write(Path::new("kept/x")).is_err());
    }

    #[test]
    fn the_hub_is_found_in_its_address() {
        for (address, host) in [
            ("https://hub.example.org/api", "hub.example.org"),
            ("http://me:secret@hub.example.org:8080", "hub.example.org"),
            ("hub.example.org:80", "hub.example.org"),
            ("http://[::1]:8080/x", "[::1]"),
            ("", ""),
        ] {
            assert_eq!(host_of(address), host);
        }
    }

    #[test]
    fn the_hub_comes_with_its_stores_and_another_hub_alone() {
        let usual = Hosts { rules: hub_hosts("").into_iter().map(|host| (host, true)).collect() };
        for host in ["huggingface.co", "cdn-lfs.huggingface.co", "cas-bridge.xethub.hf.co"] {
            assert!(usual.allows(host), "{host}");
        }
        assert!(!usual.allows("nothuggingface.co") && !usual.allows("hf.co.example.org"));
        assert_eq!(hub_hosts("https://huggingface.co/"), hub_hosts(""));
        assert_eq!(hub_hosts("http://mirror.example.org:80"), ["mirror.example.org"]);
    }

    #[test]
    fn hosts_are_judged_by_name() {
        let rules = Rules {
            allow_net: vec!["data.example.org".into(), "*.example.net".into()],
            deny_net: vec!["bad.example.net".into()],
            ..Rules::default()
        };
        let folder = tempfile::tempdir().unwrap();
        let access = access(folder.path(), rules);
        assert!(access.to_fetch("DATA.example.org").is_ok());
        assert!(access.to_fetch("a.example.net").is_ok());
        assert!(access.to_fetch("bad.example.net").is_err());
        // The same host, as DNS also spells it.
        assert!(access.to_fetch("bad.example.net.").is_err());
        assert!(access.to_fetch("example.com").is_err());
    }
}
