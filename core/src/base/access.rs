//! Rules for the files that a script may read and write, and the hosts that it may fetch from. The decision is made
//! here; `files` and `net` ask for it where they open things.
//!
//! By default a script may read files (but none of the system's own, as in /proc), write below the output folder, and
//! fetch from the model hub only. The command line overrides that, so that a denial holds against whatever is allowed
//! by default. Of its rules the longest that contains the path decides, and at equal length a denial wins; so
//! `--deny-read /` with `--allow-read data` leaves only `data` readable. Links and `..` are resolved before the
//! decision.

mod folders;
mod hosts;
pub mod permissions;
mod places;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use url::Url;

use super::{Error, Result, disk};
use crate::err;
use folders::Folders;
use hosts::Hosts;
use permissions::{Permissions, Touches};

pub use places::resolve;

/// The hub that models come from, unless `HF_ENDPOINT` names another.
pub const HUB: &str = "huggingface.co";

/// Hosts where the hub stores large files, to which it redirects downloads.
const STORES: [&str; 2] = ["*.huggingface.co", "*.hf.co"];

/// Folders of the system itself: the environment of this process, devices, endless files.
const SYSTEM: [&str; 3] = ["/proc", "/sys", "/dev"];

/// Verdict of the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RuleVerdict {
    Allowed,
    /// A denial by a rule of the command line.
    Denied,
    /// No permission by default, and none by a rule of the command line.
    NotAllowed,
}

/// The access options of the command line, as typed.
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
    /// Permissions of the libraries whose code asks; all of them must allow an access.
    granted: Vec<Arc<Permissions>>,
}

impl Access {
    /// Builds the default rules, widened and narrowed by `rules`; `out` is the folder that relative paths are written
    /// below.
    pub fn new(out: &Path, rules: &Rules) -> Result<Self> {
        let mut read = Folders::default();
        read.set("/".into(), true);
        let hub = hub_hosts(&std::env::var("HF_ENDPOINT").unwrap_or_default());
        Self::of(resolve(out)?, read, Hosts::only(&hub)?, rules)
    }

    /// Builds the rules of a program that acts for somebody else: without `rules` that widen them, it reads below
    /// `folders` and what it has written, and connects nowhere. A rule that allows the hub allows its stores of large
    /// files, too.
    pub fn closed(out: &Path, folders: &[PathBuf], rules: &Rules) -> Result<Self> {
        let mut read = Folders::default();
        read.set("/".into(), false);
        for folder in folders {
            read.set(resolve(folder)?, true);
        }
        let has_hub = rules.allow_net.iter().any(|host| host.trim_end_matches('.').eq_ignore_ascii_case(HUB));
        let stores: Vec<String> = STORES.into_iter().filter(|_| has_hub).map(String::from).collect();
        Self::of(resolve(out)?, read, Hosts::only(&stores)?, rules)
    }

    fn of(out: PathBuf, mut read: Folders, mut net: Hosts, rules: &Rules) -> Result<Self> {
        let mut write = Folders::default();
        SYSTEM.iter().for_each(|folder| read.set(folder.into(), false));
        // A run may read what it has written, wherever that is.
        read.set(out.clone(), true);
        write.set(out.clone(), true);
        read.add(&rules.allow_read, "--allow-read", true)?;
        read.add(&rules.deny_read, "--deny-read", false)?;
        write.add(&rules.allow_write, "--allow-write", true)?;
        write.add(&rules.deny_write, "--deny-write", false)?;
        net.add(&rules.allow_net, true)?;
        net.add(&rules.deny_net, false)?;
        Ok(Self { out, read_below: Vec::new(), read, write, net, granted: Vec::new() })
    }

    /// Looks for relative paths in `folder`, too, where a repeated run finds the files of the recorded one.
    pub fn reading_below(mut self, folder: PathBuf) -> Self {
        self.read.set(folder.clone(), true);
        self.read_below.push(folder);
        self
    }

    /// Denies reading a file, unless a rule allows exactly that.
    pub fn hiding(mut self, file: &Path) -> Result<Self> {
        self.read.set(resolve(file)?, false);
        Ok(self)
    }

    /// Returns these rules for a folder of the program's own, which may be written unless a rule denies it; relative
    /// paths are written below it.
    pub fn within(&self, folder: &Path) -> Result<Self> {
        let mut own = self.clone();
        own.out = resolve(folder)?;
        own.read_below.clear();
        own.write.set(own.out.clone(), true);
        own.granted = self.granted.iter().map(|permissions| Arc::new(permissions.within(&own.out))).collect();
        Ok(own)
    }

    /// Returns these rules with another output folder, which must be one that may be written already.
    pub fn below(&self, folder: &Path) -> Result<Self> {
        let read_below = self.read_below.iter().map(|before| before.join(folder)).collect();
        Ok(Self { out: self.to_write(folder)?, read_below, ..self.clone() })
    }

    /// Returns the permissions of a library in this run: its folders are relative to where the run reads and writes.
    /// `manifest` is the name of the file that states them, `models` the cache of the hub.
    pub fn permissions(&self, library: &str, manifest: &str, touches: &Touches, models: &Path) -> Result<Permissions> {
        let roots: Vec<&Path> =
            [Path::new(".")].into_iter().chain(self.read_below.iter().map(PathBuf::as_path)).collect();
        Permissions::new(library, manifest, touches, &roots, &self.out, models)
    }

    /// Narrows these rules to the permissions of a library, for its code.
    pub fn under(&self, permissions: Arc<Permissions>) -> Self {
        let mut narrowed = self.clone();
        narrowed.granted.push(permissions);
        narrowed
    }

    /// Returns the output folder, links resolved.
    pub fn out(&self) -> &Path {
        &self.out
    }

    /// Returns the place where `path` is read: as it is, or below the output folder if it is only there.
    pub fn to_read(&self, path: &Path) -> Result<PathBuf> {
        let first = self.judged(path, path, "read", &self.read);
        if path.is_relative() && !first.as_ref().is_ok_and(|place| disk::exists(place)) {
            // Unreadable paths are treated like missing ones, so that the two cannot be told apart.
            for folder in std::iter::once(&self.out).chain(&self.read_below) {
                let place = resolve(&folder.join(path))?;
                if self.reads(&place) && disk::exists(&place) {
                    return Ok(place);
                }
            }
        }
        first
    }

    /// Returns the place where `path` is written: below the output folder if it is relative.
    pub fn to_write(&self, path: &Path) -> Result<PathBuf> {
        // An empty path names no file, also below a folder.
        let is_below_out = path.is_relative() && !path.as_os_str().is_empty();
        let place = if is_below_out { self.out.join(path) } else { path.to_path_buf() };
        self.judged(path, &place, "write", &self.write)
    }

    /// Returns whether a path may be seen at all: what may not be read is left out of listings. `is_link`: all links
    /// are resolved except the last part of the path itself.
    pub fn shows(&self, place: &Path, is_link: bool) -> bool {
        if is_link { resolve(place).is_ok_and(|place| self.reads(&place)) } else { self.reads(place) }
    }

    /// Returns whether a place, its links resolved, may be read.
    fn reads(&self, place: &Path) -> bool {
        self.read.allows(place) && self.granted.iter().all(|permissions| permissions.reads(place))
    }

    /// Returns the place that a path leads to, if `rules` allow that. A refusal reveals only what a script may read
    /// anyway.
    fn judged(&self, asked: &Path, path: &Path, verb: &str, rules: &Folders) -> Result<PathBuf> {
        self.granted.iter().try_for_each(|permissions| permissions.judge(verb, asked, path))?;
        let place = resolve(path);
        if place.as_ref().is_ok_and(|place| rules.allows(place)) {
            return place;
        }
        let seen = places::resolve_where(path, |place| self.read.allows(place))?;
        let verdict = match (rules.judge(&seen), place) {
            // The visible part of the path is allowed, but it goes on through a hidden folder to a place that is not.
            (RuleVerdict::Allowed, Ok(_)) => RuleVerdict::Denied,
            (RuleVerdict::Allowed, Err(error)) => return Err(error),
            (verdict, _) => verdict,
        };
        let option = format!("--allow-{verb} {}", seen.parent().unwrap_or(&seen).display());
        Err(refusal(verb, asked, &seen).hint(match (verdict, verb) {
            (RuleVerdict::Denied, _) => {
                format!("{}; a longer rule, such as {option}, could allow it", denied_by(&format!("--deny-{verb}")))
            }
            (_, "write") => {
                format!("scripts may only write below {}; allow it with {option}", self.out.display())
            }
            _ => match SYSTEM.iter().find(|folder| seen.starts_with(folder)) {
                Some(folder) => {
                    format!("{folder} belongs to the system; allow it with {option}")
                }
                None => format!("allow it with {option}"),
            },
        }))
    }

    /// Refuses connections to where this address leads, unless they are allowed.
    pub fn to_fetch(&self, address: &Url) -> Result<()> {
        let Some(host) = address.host() else {
            return Err(err!(Argument, "expected an address with a host, found `{}:`", address.scheme()));
        };
        let verdict = self.net.judge(&host, address.port_or_known_default());
        if verdict == RuleVerdict::Allowed {
            return self.granted.iter().try_for_each(|permissions| permissions.judge_host(address));
        }
        Err(err!(Access, "this script may not connect to {host}").hint(match verdict {
            RuleVerdict::Denied => denied_by("--deny-net"),
            _ => format!("allow it with --allow-net {host}"),
        }))
    }

    /// Returns the addresses of a host that are not denied, and refuses a host of which all are denied.
    pub fn to_connect<T>(&self, host: &str, addresses: Vec<T>, of: impl Fn(&T) -> IpAddr) -> Result<Vec<T>> {
        let found = addresses.len();
        let left: Vec<T> = addresses.into_iter().filter(|address| !self.net.denies(of(address))).collect();
        if left.is_empty() && found > 0 {
            return Err(err!(Access, "this script may not connect to {host}, whose address is denied")
                .hint(denied_by("--deny-net")));
        }
        Ok(left)
    }
}

/// Returns the hosts of the hub at this address, or of the usual one if there is none.
fn hub_hosts(endpoint: &str) -> Vec<String> {
    match host_of(endpoint).trim_end_matches('.') {
        host if host.is_empty() || host.eq_ignore_ascii_case(HUB) => {
            std::iter::once(HUB).chain(STORES).map(String::from).collect()
        }
        // An invalid address has no hub; requests to it are refused.
        host => hosts::host_rule(host).into_iter().collect(),
    }
}

/// Refuses a text that is no host as rules name hosts.
pub fn check_host(host: &str) -> Result<()> {
    let wrong = |e: Error| err!(Format, "expected a host, found `{host}`").maybe_hint(e.hint);
    Hosts::only(&[host.to_string()]).map(drop).map_err(wrong)
}

/// Returns the host in an address, without the name and password before it and the port after it.
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

/// Returns the hint that the user's own rule is the reason.
fn denied_by(option: &str) -> String {
    format!("denied by {option}")
}

fn refusal(verb: &str, asked: &Path, place: &Path) -> Error {
    if asked == place {
        err!(Access, "this script may not {verb} {}", asked.display())
    } else {
        err!(Access, "this script may not {verb} {} (which is {})", asked.display(), place.display())
    }
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
        assert!(access.to_write(Path::new("")).unwrap_err().message.contains("empty"));
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
        assert!(access.to_write(Path::new("circle")).unwrap_err().message.contains("loop"));
    }

    /// Checks that the built-in rules hold, although they are longer than `/`.
    #[test]
    fn what_is_denied_is_denied_also_where_it_is_allowed_by_itself() {
        let folder = tempfile::tempdir().unwrap();
        let everything = || vec![PathBuf::from("/")];
        let none = Rules { deny_write: everything(), deny_read: everything(), ..Rules::default() };
        let none = access(folder.path(), Rules { deny_net: vec!["*".into()], ..none });
        let error = none.to_write(Path::new("x")).unwrap_err();
        assert!(error.hint.unwrap().starts_with("denied by --deny-write"));
        assert!(none.to_read(Path::new("x")).is_err());
        assert!(none.within(&folder.path().join("cache")).unwrap().to_write(Path::new("x")).is_err());
        for host in ["huggingface.co", "cdn-lfs.huggingface.co", "cas-bridge.xethub.hf.co"] {
            let error = none.to_fetch(&Url::parse(&format!("https://{host}")).unwrap()).unwrap_err();
            assert_eq!(error.hint.unwrap(), "denied by --deny-net");
        }
        // Of the rules that are given the longest decides.
        let within = |name: &str| folder.path().join(name);
        let deny_read = vec!["/".into(), within("data/secret")];
        let allow_read = vec![within("data")];
        let allow_write = vec![within("out/a"), within("elsewhere")];
        let rules = Rules { deny_read, allow_read, deny_write: everything(), allow_write, ..Rules::default() };
        let some = access(folder.path(), rules);
        assert!(some.to_read(&within("data/x")).is_ok() && some.to_read(&within("other")).is_err());
        assert!(some.to_read(&within("data/secret/x")).is_err() && some.to_write(&within("elsewhere/x")).is_ok());
        assert!(some.to_write(Path::new("a/x")).is_ok() && some.to_write(Path::new("b")).is_err());
    }

    #[test]
    fn closed_rules_say_which_option_would_open_them() {
        let folder = tempfile::tempdir().unwrap();
        let here = folder.path().join("here");
        let closed = |rules: Rules| Access::closed(&folder.path().join("out"), std::slice::from_ref(&here), &rules);
        let plain = closed(Rules::default()).unwrap();
        assert!(plain.to_read(&here.join("x")).is_ok() && plain.to_read(&folder.path().join("out/x")).is_ok());
        for path in [folder.path().join("x"), "/etc/hosts".into(), "/proc/self/environ".into()] {
            let error = plain.to_read(&path).unwrap_err();
            assert_eq!(error.kind, crate::base::Kind::Access, "{path:?}");
            assert!(error.hint.unwrap().contains("allow it with --allow-read"), "{path:?}");
        }
        let hub = Url::parse("https://huggingface.co/x").unwrap();
        let store = Url::parse("https://cas-bridge.xethub.hf.co/x").unwrap();
        let error = plain.to_fetch(&hub).unwrap_err();
        assert_eq!(error.hint.unwrap(), "allow it with --allow-net huggingface.co");
        let open = closed(Rules { allow_net: vec![HUB.into()], ..Rules::default() }).unwrap();
        assert!(open.to_fetch(&hub).is_ok() && open.to_fetch(&store).is_ok() && plain.to_fetch(&store).is_err());
        let wider = closed(Rules { allow_read: vec![folder.path().into()], ..Rules::default() }).unwrap();
        assert!(wider.to_read(&folder.path().join("x")).is_ok());
    }

    #[test]
    fn rules_that_are_no_folders_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        for (typed, option) in [("data/*", "--deny-read"), ("~/data", "--deny-read"), ("a?", "--deny-read")] {
            let rules = Rules { deny_read: vec![typed.into()], ..Rules::default() };
            let error = Access::new(&folder.path().join("out"), &rules).unwrap_err();
            assert_eq!(error.message, format!("expected a folder after {option}, found `{typed}`"));
        }
        // A folder may have such a name.
        std::fs::create_dir(folder.path().join("odd*")).unwrap();
        access(folder.path(), Rules { deny_read: vec![folder.path().join("odd*")], ..Rules::default() });
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_system_itself_is_read_only_where_that_is_allowed() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/proc/self/environ", folder.path().join("link")).unwrap();
        std::os::unix::fs::symlink("/proc/self", folder.path().join("door")).unwrap();
        let plain = access(folder.path(), Rules::default());
        let id = std::process::id();
        for path in [
            "/proc/self/environ",
            "/proc/thread-self/environ",
            "/../proc/self/environ",
            "/proc/self/root/proc/self/environ",
            "/proc/self/task/../environ",
            "//proc//self/./environ",
            "/dev/../proc/self/environ",
            "/sys/kernel/notes",
            "/dev/zero",
        ] {
            let error = plain.to_read(Path::new(path)).unwrap_err();
            assert_eq!(error.kind, crate::base::Kind::Access, "{path}");
            assert!(error.hint.unwrap().contains("belongs to the system; allow it with --allow-read"), "{path}");
        }
        assert!(plain.to_read(&folder.path().join("link")).is_err());
        assert!(plain.to_read(&folder.path().join("door/environ")).is_err());
        assert!(plain.to_read(Path::new(&format!("/proc/{id}/environ"))).is_err());
        // A path through /proc to a file elsewhere is judged as that file.
        let elsewhere = resolve(folder.path()).unwrap().join("file");
        std::fs::write(&elsewhere, "").unwrap();
        let round = PathBuf::from(format!("/proc/self/root{}", elsewhere.display()));
        assert_eq!(plain.to_read(&round).unwrap(), elsewhere);
        let denied = access(folder.path(), Rules { deny_read: vec![folder.path().into()], ..Rules::default() });
        assert!(denied.to_read(&round).is_err());
        for allowed in ["/proc", "/proc/self", "/proc/self/environ"] {
            let rules = Rules { allow_read: vec![allowed.into()], ..Rules::default() };
            assert!(access(folder.path(), rules).to_read(Path::new("/proc/self/environ")).is_ok(), "{allowed}");
        }
    }

    /// Checks that a path that may not be read is refused in the same words, whatever is there: a file, a folder, a
    /// link, or nothing.
    #[cfg(unix)]
    #[test]
    fn a_refusal_does_not_tell_what_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let base = resolve(folder.path()).unwrap();
        let secret = base.join("secret");
        let out = base.join("out");
        std::fs::create_dir_all(secret.join("folder")).unwrap();
        std::fs::create_dir_all(&out).unwrap();
        std::fs::write(secret.join("file"), "").unwrap();
        for (link, target) in [("link", "/etc/hosts"), ("inner", "file"), ("circle", "circle"), ("dangling", "nowhere")]
        {
            std::os::unix::fs::symlink(target, secret.join(link)).unwrap();
        }
        std::os::unix::fs::symlink(&secret, base.join("door")).unwrap();
        let rules = Rules { deny_read: vec![secret.clone(), "/etc".into()], ..Rules::default() };
        let access = access(&base, rules);
        let words = |folder: &Path, name: &str| {
            let read = access.to_read(&folder.join(name)).unwrap_err();
            let write = access.to_write(&folder.join(name)).unwrap_err();
            [read, write].map(|error| format!("{:?} {error}", error.kind).replace(name, "NAME"))
        };
        for folder in [&secret, &base.join("door")] {
            let missing = words(folder, "missing");
            assert!(missing[0].contains("may not read") && missing[1].contains("may not write"));
            for name in ["file", "folder", "link", "inner", "circle", "dangling"] {
                assert_eq!(words(folder, name), missing, "{name}");
            }
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_hidden_file_wants_leave_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let token = folder.path().join("token");
        std::fs::write(&token, "secret").unwrap();
        std::os::unix::fs::symlink("token", folder.path().join("link")).unwrap();
        let with = |allow_read: Vec<PathBuf>| {
            access(folder.path(), Rules { allow_read, ..Rules::default() }).hiding(&token).unwrap()
        };
        assert!(with(vec![]).to_read(&token).is_err() && with(vec![]).to_read(&folder.path().join("link")).is_err());
        assert!(with(vec![folder.path().into()]).to_read(&token).is_err());
        assert!(with(vec![token.clone()]).to_read(&token).is_ok());
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
        let usual = Hosts::only(&hub_hosts("")).unwrap();
        let allows = |host: &str| {
            let url = Url::parse(&format!("https://{host}")).unwrap();
            usual.judge(&url.host().unwrap(), None) == RuleVerdict::Allowed
        };
        for host in ["huggingface.co", "cdn-lfs.huggingface.co", "cas-bridge.xethub.hf.co"] {
            assert!(allows(host), "{host}");
        }
        assert!(!allows("nothuggingface.co") && !allows("hf.co.example.org"));
        assert_eq!(hub_hosts("https://huggingface.co/"), hub_hosts(""));
        assert_eq!(hub_hosts("http://mirror.example.org:80"), ["mirror.example.org"]);
        // A URL is not a pattern.
        assert!(hub_hosts("https://*").is_empty() && hub_hosts("https://a b").is_empty());
    }

    #[test]
    fn refusals_say_which_host() {
        let folder = tempfile::tempdir().unwrap();
        let access = access(folder.path(), Rules { allow_net: vec!["data.example.org".into()], ..Rules::default() });
        assert!(access.to_fetch(&Url::parse("https://DATA.example.org/x").unwrap()).is_ok());
        let error = access.to_fetch(&Url::parse("https://example.com/x").unwrap()).unwrap_err();
        assert_eq!(error.message, "this script may not connect to example.com");
        assert_eq!(error.hint.unwrap(), "allow it with --allow-net example.com");
    }
}
