//! The model hub, played by a small server on loopback: downloads, failures, and the cache.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::support::hub::{COMMIT, Fault, Hub, Repo, TOKEN, digits_of, token};
use microtome::base::access::{Access, Rules};
use microtome::base::files::Files;
use microtome::base::task::{Bar, Progress};
use microtome::base::{Error, Kind, Result, Task};
use microtome::checkpoint::hub::{self, HubSettings, Name, Snapshot};

fn large(seed: u8) -> Vec<u8> {
    (0..200_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8 ^ seed).collect()
}

fn repo(files: &[(&str, Vec<u8>)]) -> Repo {
    Repo { files: files.iter().map(|(name, bytes)| (name.to_string(), bytes.clone())).collect(), ..Repo::default() }
}

fn hub() -> Hub {
    let whole = || {
        repo(&[
            ("config.json", b"{}".to_vec()),
            ("tokenizer.json", b"[]".to_vec()),
            ("README.md", b"me".to_vec()),
            ("model.safetensors", large(1)),
        ])
    };
    let index = br#"{"weight_map": {"a": "m-1.safetensors", "b": "m-2.safetensors"}}"#.to_vec();
    let shards = repo(&[
        ("config.json", b"{}".to_vec()),
        ("model.safetensors.index.json", index),
        ("m-1.safetensors", large(2)),
        ("m-2.safetensors", large(3)),
    ]);
    let files = repo(&[("q/x.gguf", large(4)), ("q/config.json", b"{}".to_vec()), ("../x.gguf", large(5))]);
    let hostile = Repo { etag: Some("../../x".into()), ..whole() };
    let gated = Repo { gated: true, ..whole() };
    let repos = [
        ("org/tiny", whole()),
        ("org/shards", shards),
        ("org/files", files),
        ("org/hostile", hostile),
        ("org/gated", gated),
        ("org/endless", Repo { endless: true, ..whole() }),
        ("org/troubled", Repo { trouble: AtomicUsize::new(1), ..whole() }),
        ("org/closed", Repo { trouble: AtomicUsize::new(9), ..whole() }),
    ];
    Hub::new(repos.into_iter().map(|(name, repo)| (name.to_string(), repo)).collect::<BTreeMap<_, _>>())
}

/// A cache of its own, and the hub's settings.
struct HubCache {
    folder: tempfile::TempDir,
    settings: HubSettings,
}

impl HubCache {
    fn new(hub: &Hub) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = hub.settings(folder.path());
        Self { folder, settings }
    }

    fn fetch(&self, name: &str) -> Result<Snapshot> {
        self.fetch_with(&["127.0.0.1", "localhost"], &Task::default(), name)
    }

    fn fetch_with(&self, hosts: &[&str], task: &Task, name: &str) -> Result<Snapshot> {
        self.fetch_under(Rules::default(), hosts, task, name)
    }

    fn fetch_under(&self, rules: Rules, hosts: &[&str], task: &Task, name: &str) -> Result<Snapshot> {
        let rules = Rules { allow_net: hosts.iter().map(|host| host.to_string()).collect(), ..rules };
        let files = Files::new(Access::new(&self.folder.path().join("out"), &rules).unwrap(), false);
        hub::fetch(&files, task, &self.settings, &Name::parse(name).unwrap())
    }

    fn refusal(&self, name: &str) -> Error {
        self.fetch(name).unwrap_err()
    }

    /// The files in the cache of a model, by path.
    fn kept(&self, model: &str) -> Vec<String> {
        let root = self.settings.cache.join(format!("models--org--{model}"));
        let mut found = Vec::new();
        list(&root, &root, &mut found);
        found.sort();
        found
    }
}

fn list(root: &Path, folder: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.path() {
            path if path.is_dir() => list(root, &path, found),
            path => found.push(path.strip_prefix(root).unwrap().display().to_string()),
        }
    }
}

fn read(path: PathBuf) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

#[test]
fn a_model_is_fetched_once_and_then_found() {
    let hub = hub();
    let place = HubCache::new(&hub);
    let found = place.fetch("org/tiny").unwrap();
    assert_eq!(found.commit, COMMIT);
    assert_eq!(found.path(), place.settings.cache.join("models--org--tiny/snapshots").join(COMMIT));
    assert_eq!(read(found.folder.join("model.safetensors")), large(1));
    assert_eq!(read(found.folder.join("config.json")), b"{}");
    assert_eq!(read(found.folder.join("tokenizer.json")), b"[]");
    assert!(!found.folder.join("README.md").exists());
    let kept = place.kept("tiny");
    assert!(kept.contains(&format!("blobs/{}", digits_of(&large(1)))), "{kept:?}");
    assert!(kept.iter().all(|name| !name.ends_with(".incomplete")), "{kept:?}");
    assert_eq!(read(place.settings.cache.join("models--org--tiny/refs/main")), COMMIT.as_bytes());

    // A branch may have moved, so the hub is asked for its commit, but for nothing more.
    hub.asked();
    hub.asked_of_store();
    assert_eq!(place.fetch("org/tiny").unwrap(), found);
    assert_eq!(hub.asked().len(), 1);
    // A commit never changes.
    assert_eq!(place.fetch(&format!("org/tiny@{COMMIT}")).unwrap(), found);
    assert!(hub.asked().is_empty() && hub.asked_of_store().is_empty());
}

#[test]
fn shards_are_those_that_the_index_names() {
    let hub = hub();
    let place = HubCache::new(&hub);
    let found = place.fetch("org/shards@v1").unwrap();
    assert_eq!(read(found.path().join("m-1.safetensors")), large(2));
    assert_eq!(read(found.path().join("m-2.safetensors")), large(3));
}

#[test]
fn one_file_alone() {
    let hub = hub();
    let place = HubCache::new(&hub);
    let found = place.fetch("org/files/q/x.gguf").unwrap();
    assert_eq!(read(found.path().to_path_buf()), large(4));
    assert_eq!(found.path(), found.folder.join("q/x.gguf"));
    assert!(!found.folder.join("q/config.json").exists());
}

#[test]
fn what_is_not_there_is_said_with_what_is() {
    let hub = hub();
    let place = HubCache::new(&hub);
    for (name, kind, message, hint) in [
        (
            "org/tiny/model.gguf",
            Kind::File,
            "org/tiny has no model.gguf at revision main",
            "it has model.safetensors; ask for one as `org/tiny/model.safetensors`",
        ),
        (
            "org/files",
            Kind::File,
            "org/files has no config.json at revision main",
            "it has q/x.gguf; ask for one as `org/files/q/x.gguf`",
        ),
        (
            "org/none",
            Kind::Name,
            "127.0.0.1 has no model org/none",
            "check the name; a private model requires HF_TOKEN",
        ),
        (
            "org/tiny@v2",
            Kind::Name,
            "org/tiny has no revision `v2`",
            "its branches and tags are listed at HUB/org/tiny/tree/main",
        ),
    ] {
        let error = place.refusal(name);
        assert_eq!((error.kind, error.message.as_str()), (kind, message));
        assert_eq!(error.hint.unwrap(), hint.replace("HUB", &hub.address));
    }
    assert!(place.kept("none").is_empty() && place.kept("tiny").is_empty());
}

#[test]
fn a_gated_model_wants_a_token_which_only_the_hub_sees() {
    let hub = hub();
    let mut place = HubCache::new(&hub);
    let error = place.refusal("org/gated");
    assert_eq!(error.message, "org/gated is gated: it requires a login");
    assert!(error.hint.unwrap().contains("HF_TOKEN"));

    place.settings.token = Some("hf_wrong".into());
    let error = place.refusal("org/gated");
    assert_eq!(error.message, "org/gated is gated, and this token has no access");
    assert!(!error.hint.unwrap().contains("hf_wrong"));
    place.settings.token = Some("hf_two\nlines".into());
    assert!(!place.refusal("org/gated").to_string().contains("two"));

    place.settings.token = Some(TOKEN.into());
    hub.asked();
    place.fetch("org/gated").unwrap();
    assert!(hub.asked().iter().all(|request| token(request) == Some(TOKEN)));
    let asked = hub.asked_of_store();
    assert!(!asked.is_empty() && asked.iter().all(|request| token(request).is_none()));
}

#[test]
fn after_a_cut_connection_only_the_rest_is_asked_for() {
    let hub = hub();
    let place = HubCache::new(&hub);
    hub.fail_once(Fault::Cut(70_000));
    let error = place.refusal("org/tiny");
    let (what, why) = error.message.split_once(" bytes: ").unwrap();
    assert_eq!(what, "the download of model.safetensors stopped after 70000 of 200000");
    assert!(!why.is_empty(), "{error}");
    assert!(error.hint.unwrap().contains("run it again to resume"));
    let part = format!("blobs/{}.incomplete", digits_of(&large(1)));
    assert!(place.kept("tiny").contains(&part));
    assert!(place.kept("tiny").iter().all(|name| !name.ends_with("model.safetensors")));

    hub.asked_of_store();
    let found = place.fetch("org/tiny").unwrap();
    assert_eq!(hub.asked_of_store()[0].header("range"), Some("bytes=70000-"));
    assert_eq!(read(found.folder.join("model.safetensors")), large(1));
    assert!(!place.kept("tiny").contains(&part));
}

#[test]
fn a_server_that_knows_no_parts_sends_all_of_it() {
    let hub = hub();
    let place = HubCache::new(&hub);
    hub.fail_once(Fault::Cut(70_000));
    place.refusal("org/tiny");
    hub.fail_once(Fault::NoRanges);
    let found = place.fetch("org/tiny").unwrap();
    assert_eq!(read(found.folder.join("model.safetensors")), large(1));
}

#[test]
fn a_file_with_a_wrong_bit_or_a_byte_too_many_is_refused_and_removed() {
    let hub = hub();
    let place = HubCache::new(&hub);
    for (fault, said) in [(Fault::Flipped, "expected SHA-256"), (Fault::TooMany, "expected 200000 bytes, found more")] {
        hub.fail_once(fault);
        let error = place.refusal("org/tiny");
        assert_eq!(error.kind, Kind::Network);
        assert!(error.message.starts_with("model.safetensors is not the expected file: "), "{}", error.message);
        assert!(error.message.contains(said), "{}", error.message);
        assert!(place.kept("tiny").iter().all(|name| !name.ends_with(".incomplete") && !name.ends_with("safetensors")));
    }
    assert!(place.fetch("org/tiny").is_ok());
}

#[test]
fn a_part_that_is_of_something_else_is_found_out() {
    let hub = hub();
    let place = HubCache::new(&hub);
    let part = place.settings.cache.join(format!("models--org--tiny/blobs/{}.incomplete", digits_of(&large(1))));
    kit::write(&part, [7; 1000]);
    assert!(place.refusal("org/tiny").message.contains("expected SHA-256"));
    // A part that is longer than the whole is discarded, and one that is complete is not downloaded again.
    std::fs::write(&part, vec![7; 300_000]).unwrap();
    assert!(place.fetch("org/tiny").is_ok());
    std::fs::rename(part.with_extension(""), &part).unwrap();
    hub.asked_of_store();
    assert!(place.fetch("org/tiny").is_ok());
    assert!(hub.asked_of_store().is_empty());
}

#[test]
fn without_leave_or_a_network_only_the_cache_is_used() {
    let hub = hub();
    let mut place = HubCache::new(&hub);
    place.settings.offline = true;
    let error = place.refusal("org/tiny");
    let cache = place.settings.cache.display().to_string();
    assert_eq!(error.message, format!("org/tiny is not in the cache ({cache}), and HF_HUB_OFFLINE is set"));
    assert!(hub.asked().is_empty());
    place.settings.offline = false;
    let error = place.fetch_with(&[], &Task::default(), "org/tiny").unwrap_err();
    assert_eq!(error.kind, Kind::Access);
    assert!(error.message.ends_with("and this script may not connect to 127.0.0.1"), "{}", error.message);
    assert_eq!(error.hint.unwrap(), "allow it with --allow-net 127.0.0.1");

    // Missing files of a partly downloaded model are an error.
    hub.fail_once(Fault::Cut(70_000));
    place.refusal("org/tiny");
    let commit = format!("org/tiny@{COMMIT}");
    assert!(
        place.fetch_with(&[], &Task::default(), &commit).unwrap_err().message.contains("is only partly in the cache")
    );

    let found = place.fetch("org/tiny").unwrap();
    hub.asked();
    assert_eq!(place.fetch_with(&[], &Task::default(), "org/tiny").unwrap(), found);
    place.settings.offline = true;
    assert_eq!(place.fetch("org/tiny").unwrap(), found);
    assert!(hub.asked().is_empty());
}

#[test]
fn where_the_hub_sends_us_on_to_is_judged_too() {
    let hub = hub();
    let place = HubCache::new(&hub);
    let error = place.fetch_with(&["127.0.0.1"], &Task::default(), "org/tiny").unwrap_err();
    assert_eq!((error.kind, error.message.as_str()), (Kind::Access, "this script may not connect to localhost"));
    assert!(hub.asked_of_store().is_empty());
}

#[test]
fn where_there_is_no_network_the_way_to_the_cache_is_shown() {
    let hub = hub();
    let mut place = HubCache::new(&hub);
    place.fetch("org/tiny").unwrap();
    // A port without a listener: it was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    place.settings.endpoint = format!("http://127.0.0.1:{port}");
    let error = place.refusal("org/tiny");
    assert_eq!(error.kind, Kind::Network);
    assert!(error.message.starts_with("cannot fetch org/tiny from 127.0.0.1: "), "{}", error.message);
    assert!(error.hint.unwrap().starts_with("HF_HUB_OFFLINE=1 uses the cache"));
    assert!(place.refusal("org/shards").hint.unwrap().contains("the network connection"));
}

#[test]
fn an_interruption_is_heard_at_once_and_keeps_what_has_come() {
    let hub = hub();
    let place = HubCache::new(&hub);
    hub.fail_once(Fault::Stall(50_000));
    let task = Task::default();
    let flag = task.flag().clone();
    let part = place.settings.cache.join("models--org--tiny/blobs");
    let part = part.join(format!("{}.incomplete", digits_of(&large(1))));
    let heard = part.clone();
    let raised = std::thread::spawn(move || {
        while std::fs::metadata(&part).map_or(0, |meta| meta.len()) < 50_000 {
            std::thread::sleep(Duration::from_millis(5));
        }
        flag.store(true, Ordering::Relaxed);
        Instant::now()
    });
    let error = place.fetch_with(&["127.0.0.1", "localhost"], &task, "org/tiny").unwrap_err();
    assert_eq!(error.kind, Kind::Interrupted);
    let waited = raised.join().unwrap().elapsed();
    assert!(waited < Duration::from_millis(400), "{waited:?}");
    assert_eq!(std::fs::metadata(heard).unwrap().len(), 50_000);
    hub.asked_of_store();
    place.fetch("org/tiny").unwrap();
    assert_eq!(hub.asked_of_store()[0].header("range"), Some("bytes=50000-"));
}

/// A bar's total, and the sum of its progress.
type BarSum = (Option<u64>, Arc<AtomicU64>);

/// All bars, by their label.
#[derive(Default)]
struct Sums(Mutex<BTreeMap<String, BarSum>>);

struct Sum(Arc<AtomicU64>);

impl Progress for Sums {
    fn begin(&self, label: &str, total: Option<u64>) -> Box<dyn Bar> {
        let sum = Arc::new(AtomicU64::new(0));
        self.0.lock().unwrap().insert(label.to_string(), (total, sum.clone()));
        Box::new(Sum(sum))
    }

    fn say(&self, _line: &str) {}
}

impl Bar for Sum {
    fn advance(&self, by: u64) {
        self.0.fetch_add(by, Ordering::Relaxed);
    }
    fn note(&self, _text: &str) {}
}

#[test]
fn progress_counts_what_had_come_before() {
    let hub = hub();
    let place = HubCache::new(&hub);
    hub.fail_once(Fault::Cut(70_000));
    place.refusal("org/tiny");
    let sums = Arc::new(Sums::default());
    let task = Task::new(Arc::default(), sums.clone());
    place.fetch_with(&["127.0.0.1", "localhost"], &task, "org/tiny").unwrap();
    let sums = sums.0.lock().unwrap();
    let (total, sum) = &sums["downloading model.safetensors"];
    assert_eq!((*total, sum.load(Ordering::Relaxed)), (Some(200_000), 200_000));
}

#[test]
fn names_that_a_hub_makes_up_stay_in_the_cache() {
    let hub = hub();
    let place = HubCache::new(&hub);
    assert!(place.refusal("org/hostile").message.contains("gave no hash of config.json of org/hostile"));
    // The file outside is not even listed.
    let hint = place.refusal("org/files/y.gguf").hint.unwrap();
    assert!(!hint.contains(".."), "{hint}");
}

/// From end to end: a script names a model and loads it, with its tokenizer; the second time without a network.
#[test]
fn a_script_loads_a_model_by_its_name() {
    let read = |name: &str| std::fs::read(kit::fixture("models").join(name)).unwrap();
    let tiny = repo(&[
        ("config.json", read("llama/config.json")),
        ("model.safetensors", read("llama/model.safetensors")),
        ("tokenizer.json", read("tokenizer.json")),
    ]);
    let hub = Hub::new(BTreeMap::from([("org/llama".to_string(), tiny)]));
    let folder = tempfile::tempdir().unwrap();
    let run = |offline: &str| {
        let code = "let m = model::load(\"org/llama@main\"); [m.logits(\"She\").shape[2], m.to_map().origin]";
        let mut command = hub.command(folder.path());
        command
            .env("HF_HUB_OFFLINE", offline)
            .args(["--allow-net", "localhost", "--json", "-e", code])
            .output()
            .unwrap()
    };
    for offline in ["0", "1"] {
        let asked = hub.asked().len();
        let output = run(offline);
        let said = String::from_utf8_lossy(&output.stdout);
        let failed = String::from_utf8_lossy(&output.stderr);
        assert_eq!(said.trim(), format!("[320,\"org/llama@{COMMIT}\"]"), "{failed}");
        assert_eq!(hub.asked().len() > asked, offline == "0");
    }
}

#[test]
fn a_script_loads_an_adapter_by_its_name_and_folder() {
    let read = |name: &str| std::fs::read(kit::fixture(name)).unwrap();
    let base = repo(&[
        ("config.json", read("models/llama/config.json")),
        ("model.safetensors", read("models/llama/model.safetensors")),
    ]);
    let adapter = |folder: &str| {
        let file = |name: &str| (format!("{folder}{name}"), read(&format!("adapters/llama/{name}")));
        [file("adapter_config.json"), file("adapter_model.safetensors"), (format!("{folder}README.md"), b"me".to_vec())]
    };
    let files = adapter("").into_iter().chain(adapter("last/")).collect();
    let repos = [("org/llama".to_string(), base), ("org/tuned".to_string(), Repo { files, ..Repo::default() })];
    let hub = Hub::new(BTreeMap::from(repos));
    let folder = tempfile::tempdir().unwrap();
    let run = |adapter: &str| {
        let code = format!(
            "let m = model::load(\"org/llama\", #{{ adapter: \"{adapter}\" }}); [m.adapter.rank, m.to_map().origin]"
        );
        hub.command(folder.path()).args(["--allow-net", "localhost", "--json", "-e", &code]).output().unwrap()
    };
    for (name, origin) in [("org/tuned", "org/tuned"), ("org/tuned/last@main", "org/tuned/last")] {
        let output = run(name);
        let said = String::from_utf8_lossy(&output.stdout);
        let failed = String::from_utf8_lossy(&output.stderr);
        let expected = format!("[4,\"org/llama@{COMMIT} + {origin}@{COMMIT}\"]");
        assert_eq!(said.trim(), expected, "{failed}");
    }
    let failed = run("org/tuned/first");
    let said = String::from_utf8_lossy(&failed.stderr).to_string();
    assert!(said.contains("org/tuned has no first/adapter_config.json at revision main"), "{said}");
    assert!(!hub.asked().iter().any(|asked| asked.target.contains("README")), "more than the adapter was fetched");
}

#[test]
fn a_path_that_is_not_there_is_no_question_to_the_hub() {
    let hub = hub();
    let folder = tempfile::tempdir().unwrap();
    let failure = |code: &str| {
        let output = hub.command(folder.path()).args(["--allow-net", "127.0.0.1", "-e", code]).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{code}");
        String::from_utf8(output.stderr).unwrap()
    };
    for path in ["./does/not/exist", "/does/not", "~/exist", "does/not/exist"] {
        let said = failure(&format!("model::load(\"{path}\")"));
        assert!(said.contains(&format!("cannot read {path}: there is no such file or folder")), "{said}");
    }
    let said = failure("sae::load(\"./does/not\")");
    assert!(said.contains("cannot read ./does/not: there is no such file or folder"), "{said}");
    assert!(hub.asked().is_empty());
    for code in ["model::load(\"org/none\")", "sae::load(\"org/none\")"] {
        let said = failure(code);
        let expected = "has no model org/none; there is no local file or folder of that name either";
        assert!(said.contains(expected), "{said}");
    }
    assert!(!hub.asked().is_empty());
}

/// Denied writes apply to downloads, too; files in the cache can still be used.
#[test]
fn a_denial_holds_for_the_cache() {
    let hub = hub();
    let place = HubCache::new(&hub);
    let task = Task::default();
    let under = |deny_write: &Path, name: &str| {
        let rules = Rules { deny_write: vec![deny_write.into()], ..Rules::default() };
        place.fetch_under(rules, &["127.0.0.1", "localhost"], &task, name)
    };
    let cache = &place.settings.cache;
    let model = cache.join("models--org--tiny");
    let denied: [&Path; 5] = [Path::new("/"), cache, &model, &model.join("blobs"), &cache.join(".locks")];
    for folder in denied {
        let error = under(folder, "org/tiny").unwrap_err();
        assert_eq!(error.kind, Kind::Access, "{error}");
        assert!(error.message.starts_with("this script may not write "), "{error}");
        assert!(error.hint.unwrap().starts_with("denied by --deny-write"));
        assert!(!cache.exists(), "{}", folder.display());
    }
    let found = place.fetch("org/tiny").unwrap();
    let reference = model.join("refs/main");
    std::fs::remove_file(&reference).unwrap();
    for folder in denied {
        assert_eq!(under(folder, "org/tiny").unwrap(), found);
        // The commit of a branch is stored where that may be written.
        assert_eq!(reference.exists(), folder.ends_with("blobs") || folder.ends_with(".locks"), "{}", folder.display());
    }
}

/// The models in a cache that may not be read are not revealed.
#[test]
fn a_cache_that_may_not_be_read_is_not_looked_into() {
    let hub = hub();
    let place = HubCache::new(&hub);
    place.fetch("org/tiny").unwrap();
    let words = |name: &str| {
        let rules = Rules { deny_read: vec![place.settings.cache.clone()], ..Rules::default() };
        let error = place.fetch_under(rules, &["127.0.0.1", "localhost"], &Task::default(), name).unwrap_err();
        assert_eq!(error.kind, Kind::Access);
        error.to_string()
    };
    assert_eq!(words("org/tiny"), words("org/none").replace("none", "tiny"));
}

/// Files with the names of parts and locks may have been put there by others.
#[cfg(unix)]
#[test]
fn what_has_the_name_of_a_part_or_a_lock_is_not_written() {
    let hub = hub();
    let place = HubCache::new(&hub);
    let digits = digits_of(&large(1));
    let part = place.settings.cache.join(format!("models--org--tiny/blobs/{digits}.incomplete"));
    let lock = place.settings.cache.join(format!(".locks/models--org--tiny/{digits}.lock"));
    let other = place.folder.path().join("other");
    std::fs::write(&other, "mine").unwrap();
    for name in [&part, &lock] {
        std::fs::create_dir_all(name.parent().unwrap()).unwrap();
        for kind in ["link", "dangling", "pipe", "folder", "second name"] {
            // An earlier refusal leaves the lock that it held.
            let _gone = std::fs::remove_file(name);
            match kind {
                "link" => std::os::unix::fs::symlink(&other, name).unwrap(),
                "dangling" => std::os::unix::fs::symlink(place.folder.path().join("made"), name).unwrap(),
                "pipe" => assert!(std::process::Command::new("mkfifo").arg(name).status().unwrap().success()),
                "folder" => std::fs::create_dir(name).unwrap(),
                // Locking a file does not change it.
                _ if name == &lock => continue,
                _ => std::fs::hard_link(&other, name).unwrap(),
            }
            let error = place.refusal("org/tiny");
            // A link that leads out of the cache is refused like any other access there.
            let is_refused = error.kind == Kind::Access && ["link", "dangling"].contains(&kind);
            let is_named = error.kind == Kind::File && error.message.contains("remove it, and run it again");
            assert!(is_refused || is_named, "{kind}: {error}");
            assert_eq!(read(other.clone()), b"mine");
            assert!(!place.folder.path().join("made").exists());
            if kind == "folder" { std::fs::remove_dir(name).unwrap() } else { std::fs::remove_file(name).unwrap() }
        }
    }
    place.fetch("org/tiny").unwrap();
}

/// Regression: memory ran out before the answer ended.
#[test]
fn an_answer_without_an_end_is_refused() {
    let hub = hub();
    let error = HubCache::new(&hub).refusal("org/endless");
    assert_eq!(
        (error.kind, error.message.as_str()),
        (Kind::Format, "expected an answer of at most 64.0 MiB about org/endless from 127.0.0.1, found more")
    );
}

#[test]
fn a_hub_in_trouble_is_asked_once_more() {
    let hub = hub();
    let place = HubCache::new(&hub);
    place.fetch("org/troubled").unwrap();
    let error = place.refusal("org/closed");
    assert_eq!((error.kind, error.message.as_str()), (Kind::Network, "127.0.0.1 answered 503 for org/closed"));
    assert_eq!(hub.asked().iter().filter(|request| request.target.contains("closed")).count(), 2);
    // A revision is one segment of a URL, whatever characters it has.
    assert!(place.fetch("org/tiny@refs/pr/1").is_ok());
}
