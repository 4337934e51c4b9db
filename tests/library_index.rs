//! Libraries by name: an index in a folder and on a static server, what it may lie about, what goes on without it, and
//! what is published into it.

use std::io::{BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::{Arc, Mutex};

use kit::http::{Request, answer, serve};
use sha2::{Digest, Sha256};

use crate::packages::{PackageFolder, holds, packed};

/// A folder with an empty index beside the project.
fn beside_an_index() -> PackageFolder {
    let place = PackageFolder::new();
    place.write("index/index.toml", "format = 1\n");
    place
}

/// Writes a library of this version, with this behind it in its manifest; its function returns its name and version.
fn write(place: &PackageFolder, name: &str, version: &str, more: &str) {
    place.write(&format!("{name}/microtome.toml"), &format!("name = \"{name}\"\nversion = \"{version}\"\n{more}"));
    place.write(&format!("{name}/lib.rhai"), &format!("fn f() {{ \"{name} {version}\" }}\nfn test_f() {{ f() }}\n"));
}

/// Writes such a library, and publishes it.
fn publish(place: &PackageFolder, name: &str, version: &str, more: &str) {
    write(place, name, version, more);
    place.said(0, &["publish", &format!("../{name}"), "--index", "../index"]);
}

/// Writes a library that needs others of the index, and publishes it.
fn publish_needing(place: &PackageFolder, name: &str, version: &str, needs: &str) {
    write(place, name, version, &format!("[index]\naddress = \"../index\"\n[dependencies]\n{needs}\n"));
    // Its own tests run with what is locked in its folder.
    let locked = place.run_in(name, &["add", "--yes"]);
    assert!(locked.status.success(), "{}", words(&locked));
    place.said(0, &["publish", &format!("../{name}"), "--index", "../index"]);
}

fn words(output: &Output) -> String {
    String::from_utf8([output.stdout.as_slice(), &output.stderr].concat()).unwrap()
}

/// Changes the entries of a library by hand.
fn change(place: &PackageFolder, name: &str, from: &str, to: &str) {
    let file = format!("index/libraries/{name}.jsonl");
    let before = place.read(&file);
    assert!(before.contains(from), "{before}");
    place.write(&file, &before.replace(from, to));
}

/// Returns the hash that the index has of the only version of a library.
fn hash(place: &PackageFolder, name: &str) -> String {
    let entry: serde_json::Value = serde_json::from_str(&place.read(&format!("index/libraries/{name}.jsonl"))).unwrap();
    entry["hash"].as_str().unwrap().to_string()
}

fn forget(place: &PackageFolder, names: &[&str]) {
    for name in names {
        let path = place.path(name);
        if path.is_dir() { std::fs::remove_dir_all(path).unwrap() } else { std::fs::remove_file(path).unwrap() }
    }
}

const PROJECT: [&str; 2] = ["work/microtome.toml", "work/microtome.lock"];

fn nothing_was_written(place: &PackageFolder) {
    assert!(PROJECT.iter().all(|file| !place.path(file).exists()) && !place.path("cache/libraries").exists());
}

/// A server on loopback, and the paths that were asked for.
pub struct StaticServer {
    pub address: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl StaticServer {
    /// Serves the files of a folder as they are.
    pub fn of(folder: PathBuf) -> Self {
        Self::answering(move |path| match std::fs::read(folder.join(path)) {
            Ok(bytes) => answer("200 OK", &[], &bytes),
            Err(_) => answer("404 Not Found", &[], b""),
        })
    }

    /// Sends what `bytes` makes of a path, and hangs up.
    pub fn answering(bytes: impl Fn(&str) -> Vec<u8> + Clone + Send + 'static) -> Self {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let noted = asked.clone();
        let port = serve(move |mut stream| {
            let Some(request) = Request::read(&mut BufReader::new(&stream)) else { return };
            let path = request.target.trim_start_matches('/').to_string();
            let sent = bytes(&path);
            noted.lock().unwrap().push(path);
            let _gone = stream.write_all(&sent);
        });
        Self { address: format!("http://127.0.0.1:{port}"), asked }
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }
}

#[test]
fn a_library_is_added_by_its_name_with_what_it_needs() {
    let place = beside_an_index();
    publish(&place, "rates", "1.0.0", "");
    publish_needing(&place, "heads", "1.0.0", "rates = { version = \"1\" }\n[touches]\nread = [\"data\"]");
    let said = place.said(2, &["add", "heads", "--index", "../index"]);
    holds(
        &said,
        &[
            "heads 1.0.0, from the index ../index",
            "rates 1.0.0, from the index ../index",
            "reads        data (new)",
            &hash(&place, "heads"),
            "was not agreed to",
        ],
    );
    assert!(PROJECT.iter().all(|file| !place.path(file).exists()));
    place.said(0, &["add", "heads", "--index", "../index", "--yes"]);
    let written = "[dependencies]\nheads = { version = \"1.0.0\", index = \"../index\" }\n";
    assert_eq!(place.read("work/microtome.toml").trim_start(), written);
    holds(
        &place.read("work/microtome.lock"),
        &[
            "index = \"../index\"",
            "address = \"../index/archives/heads-1.0.0.tar.gz\"",
            "needs = [\"rates\"]",
            &hash(&place, "rates"),
        ],
    );
    assert_eq!(place.printed("import \"heads\" as heads; print(heads::f());"), "heads 1.0.0\n");
    holds(&place.refused("import \"rates\" as rates;"), &["cannot find the library `rates`"]);
    holds(&place.said(0, &["add"]), &["nothing is new"]);
    // What the manifest asks for now is not what is locked.
    place.write("work/microtome.toml", &written.replace("1.0.0", "2"));
    let refused = place.refused("import \"heads\" as heads;");
    let wanted = "wants `heads` ^2 from the index ../index";
    holds(&refused, &[wanted, "has 1.0.0 from the index ../index", "microtome add"]);
    // An index that the project names need not be written again.
    place.write("work/microtome.toml", "[index]\naddress = \"../index/\"\n");
    place.said(0, &["add", "rates@1", "--yes"]);
    holds(&place.read("work/microtome.toml"), &["address = \"../index/\"", "rates = { version = \"1\" }\n"]);
    assert_eq!(place.printed("import \"rates\" as rates; print(rates::f());"), "rates 1.0.0\n");
}

#[test]
fn what_is_locked_and_in_the_cache_needs_no_index() {
    let place = beside_an_index();
    publish(&place, "heads", "1.0.0", "");
    let server = StaticServer::of(place.path("index"));
    place.said(0, &["add", "heads@1", "--index", &server.address, "--yes"]);
    assert_eq!(server.asked(), ["index.toml", "libraries/heads.jsonl", "archives/heads-1.0.0.tar.gz"]);
    holds(&place.read("work/microtome.toml"), &[&format!("version = \"1\", index = \"{}\"", server.address)]);
    let prints = |expected: &str| assert_eq!(place.printed("import \"heads\" as h; print(h::f());"), expected);
    prints("heads 1.0.0\n");
    // A newer version changes nothing until it is asked for.
    publish(&place, "heads", "1.1.0", "");
    holds(&place.said(0, &["add"]), &["nothing is new"]);
    assert_eq!(server.asked(), [""; 0]);
    place.said(0, &["add", "heads@1", "--index", &server.address, "--yes"]);
    prints("heads 1.1.0\n");
    server.asked();
    // After a clone the lock file is there, and the cache is empty.
    forget(&place, &["cache"]);
    holds(&place.refused("import \"heads\" as h;"), &["is not in the cache", "microtome add"]);
    holds(&place.said(0, &["add"]), &["nothing is new"]);
    assert_eq!(server.asked(), ["index.toml", "libraries/heads.jsonl", "archives/heads-1.1.0.tar.gz"]);
    prints("heads 1.1.0\n");
    // Another project finds the archive in the cache.
    forget(&place, &PROJECT);
    place.said(0, &["add", "heads", "--index", &server.address, "--yes"]);
    assert_eq!(server.asked(), ["index.toml", "libraries/heads.jsonl"]);
}

#[test]
fn versions_that_do_not_go_together_are_refused_with_who_needs_them() {
    let place = beside_an_index();
    for version in ["1.0.0", "1.1.0", "2.0.0", "3.0.0-beta.1"] {
        publish(&place, "rates", version, "");
    }
    publish_needing(&place, "a", "1.0.0", "rates = { version = \"1\" }");
    publish_needing(&place, "b", "1.0.0", "rates = { version = \">=1.0, <1.1\" }");
    publish_needing(&place, "c", "1.0.0", "rates = { version = \"2\" }");
    place.write("work/microtome.toml", "[index]\naddress = \"../index\"\n");
    let locked = |version: &str| {
        let lock = place.read("work/microtome.lock");
        holds(&lock, &[&format!("name = \"rates\"\nversion = \"{version}\"")]);
    };
    place.said(0, &["add", "a", "--yes"]);
    locked("1.1.0");
    // The one that all can use is taken, although another one was locked.
    place.said(0, &["add", "b", "--yes"]);
    locked("1.0.0");
    let before = PROJECT.map(|file| place.read(file));
    let said = place.said(1, &["add", "c", "--yes"]);
    holds(&said, &["there is no version of `rates` for all who need it", "a 1.0.0 needs ^1", "c 1.0.0 needs ^2"]);
    holds(&said, &["the index has 3.0.0-beta.1, 2.0.0, 1.1.0, 1.0.0", "a project has one version of each library"]);
    place.library("rates", "", "fn f() { \"mine\" }");
    let said = place.said(1, &["add", "../rates", "--yes"]);
    holds(&said, &["two versions of `rates`", "the index ../index", "../rates"]);
    for (code, wish, said) in [
        (1, "rates@9", "this project needs ^9"),
        (2, "rates@new", "expected versions such as 1.2 behind `rates@`, found `new`"),
        (1, "raets", "the index ../index has no library `raets`"),
        (1, "raets", "did you mean `rates`?"),
        (1, "probes-kit@1.2", "has no library `probes_kit`"),
    ] {
        holds(&place.said(code, &["add", wish, "--yes"]), &[said]);
    }
    holds(&place.said(2, &["add", "a", "--hash", &"0".repeat(64)]), &["leave `--hash` out"]);
    holds(&place.said(2, &["add", "../a", "--index", "../index"]), &["leave `--index` out"]);
    assert_eq!(PROJECT.map(|file| place.read(file)), before);
    place.write("work/microtome.toml", "");
    holds(&place.said(2, &["add", "d"]), &["there is no folder `d` here, and no index", "`--index`"]);
}

#[test]
fn versions_are_asked_for_as_semver_writes_them() {
    let place = beside_an_index();
    for version in ["1.2.0", "1.2.3", "1.3.0", "2.0.0", "3.0.0-beta.1", "3.0.0-beta.2"] {
        publish(&place, "heads", version, "");
    }
    place.write("work/microtome.toml", "[index]\naddress = \"../index\"\n");
    for (wish, version) in [
        ("heads", "2.0.0"),
        ("heads@1.2", "1.3.0"),
        ("heads@~1.2", "1.2.3"),
        ("heads@=1.2.0", "1.2.0"),
        ("heads@>=1, <3", "2.0.0"),
        ("heads@1.2.*", "1.2.3"),
        ("heads@3.0.0-beta.1", "3.0.0-beta.2"),
        ("heads@=3.0.0-beta.1", "3.0.0-beta.1"),
    ] {
        place.said(0, &["add", wish, "--yes"]);
        let versions = wish.split_once('@').map_or(version, |(_, versions)| versions);
        holds(&place.read("work/microtome.toml"), &[&format!("heads = {{ version = \"{versions}\" }}")]);
        assert_eq!(place.printed("import \"heads\" as h; print(h::f());"), format!("heads {version}\n"), "{wish}");
    }
    holds(
        &place.said(1, &["add", "heads@3", "--yes"]),
        &["this project needs ^3; the index has 3.0.0-beta.2, 3.0.0-beta.1"],
    );
}

#[test]
fn what_a_new_version_wants_beyond_the_old_one_is_shown_before_it_is_added() {
    let place = beside_an_index();
    publish(&place, "low", "1.0.0", "[touches]\nwrite = [\"made\"]\n");
    publish_needing(&place, "middle", "1.0.0", "low = { version = \"1\" }");
    publish_needing(&place, "top", "1.0.0", "middle = { version = \"1\" }\n[touches]\nread = [\"data\"]");
    // A dependency of a dependency is shown, kept and run, and is nobody's to import.
    place.write("work/microtome.toml", "[index]\naddress = \"../index\"\n");
    let said = place.said(2, &["add", "top"]);
    holds(&said, &["low 1.0.0", "writes       made (new)", "middle 1.0.0", "top 1.0.0", "reads        data (new)"]);
    place.said(0, &["add", "top", "--yes"]);
    assert_eq!(place.printed("import \"top\" as t; print(t::f());"), "top 1.0.0\n");
    for name in ["middle", "low"] {
        holds(&place.refused(&format!("import \"{name}\" as x;")), &[&format!("cannot find the library `{name}`")]);
    }
    publish(&place, "low", "1.1.0", "[touches]\nwrite = [\"made\"]\nnet = [\"example.org\"]\n");
    let before = PROJECT.map(|file| place.read(file));
    // Nothing is written or kept as long as nobody has agreed.
    let asked = place.said(2, &["add", "low"]);
    holds(&asked, &["low 1.1.0", "in place of  1.0.0", "writes       made\n", "connects to  example.org (new)"]);
    holds(&asked, &["reads        data\n", "was not agreed to"]);
    assert_eq!(PROJECT.map(|file| place.read(file)), before);
    let kept = || std::fs::read_dir(place.path("cache/libraries")).unwrap().flatten().count();
    let archives = kept();
    place.said(0, &["add", "low", "--yes"]);
    assert_eq!(kept(), archives + 1);
    holds(&place.read("work/microtome.lock"), &["name = \"low\"\nversion = \"1.1.0\"", "net = [\"example.org\"]"]);
}

/// Puts an archive of a version that only a later program runs in the place of one that this one runs, in the index and
/// in the lock file. Returns the archive and its hash.
fn replace_by_a_later_one(place: &PackageFolder, name: &str, version: &str) -> (Vec<u8>, String) {
    let manifest = format!("name = \"{name}\"\nversion = \"{version}\"\nmicrotome = \">=99\"\nshape = \"of 99\"\n");
    let archive = packed(&[("x/microtome.toml", manifest.as_str()), ("x/lib.rhai", "fn f() { 1 }")]);
    let hash: String = Sha256::digest(&archive).iter().map(|byte| format!("{byte:02x}")).collect();
    std::fs::write(place.path(&format!("index/archives/{name}-{version}.tar.gz")), &archive).unwrap();
    let lines = place.read(&format!("index/libraries/{name}.jsonl"));
    let line = lines.lines().find(|line| line.contains(&format!("\"version\":\"{version}\""))).unwrap();
    let mut entry: serde_json::Value = serde_json::from_str(line).unwrap();
    let before = entry["hash"].as_str().unwrap().to_string();
    entry["hash"] = hash.as_str().into();
    entry["microtome"] = ">=99".into();
    change(place, name, line, &entry.to_string());
    let lock = place.read("work/microtome.lock");
    assert!(lock.contains(&before), "{lock}");
    place.write("work/microtome.lock", &lock.replace(&before, &hash));
    (archive, hash)
}

#[test]
fn a_locked_version_that_cannot_be_used_here_stays_and_is_in_nobodys_way() {
    let place = beside_an_index();
    for (name, version) in [("rates", "1.0.0"), ("rates", "1.1.0"), ("tools", "1.0.0"), ("probes", "1.0.0")] {
        publish(&place, name, version, "");
    }
    publish(&place, "heads", "1.0.0", "");
    publish_needing(&place, "heads", "2.0.0", "rates = { version = \"=1.0.0\" }");
    place.said(0, &["add", "heads", "--index", "../index", "--yes"]);
    let (archive, hash) = replace_by_a_later_one(&place, "heads", "2.0.0");
    let locked = |versions: &[&str]| {
        let lock = place.read("work/microtome.lock");
        let all = versions.iter().map(|version| version.split_once(' ').unwrap());
        all.for_each(|(name, version)| holds(&lock, &[&format!("name = \"{name}\"\nversion = \"{version}\"")]));
        holds(&lock, &[&hash]);
    };
    let unusable = "unusable     `heads` needs microtome >=99, and this is ";
    let newest = "newest here  1.0.0, by `microtome add heads@1.0.0`";
    let stays = "; it stays in microtome.lock as it is";
    // Not in the cache: the index says what it needs.
    forget(&place, &["cache"]);
    let said = place.said(0, &["add", "tools", "--index", "../index", "--yes"]);
    holds(&said, &["heads 2.0.0", unusable, stays, newest, "tools 1.0.0", "wrote microtome.toml and microtome.lock"]);
    locked(&["heads 2.0.0", "rates 1.0.0", "tools 1.0.0"]);
    assert_eq!(place.printed("import \"tools\" as t; print(t::f());"), "tools 1.0.0\n");
    holds(&place.refused("import \"heads\" as h;"), &["the library `heads` is not in the cache"]);
    // In the cache, too, with a key that is not known here; and without the index.
    std::fs::write(place.path(&format!("cache/libraries/{hash}.tar.gz")), archive).unwrap();
    holds(&place.said(0, &["add"]), &[unusable, newest, "nothing is new"]);
    std::fs::rename(place.path("index"), place.path("away")).unwrap();
    let said = place.said(0, &["add"]);
    holds(&said, &[unusable, stays, "nothing is new"]);
    assert!(!said.contains("newest here"), "{said}");
    std::fs::rename(place.path("away"), place.path("index")).unwrap();
    let refused = place.refused("import \"heads\" as h; print(h::f());");
    holds(&refused, &["`heads` needs microtome >=99, and this is", "`microtome add` says which version"]);
    assert_eq!(place.printed("import \"tools\" as t; print(t::f());"), "tools 1.0.0\n");
    // What it needs is still said for it.
    let said = place.said(1, &["add", "rates@1.1", "--yes"]);
    holds(&said, &["there is no version of `rates`", "heads 2.0.0 needs =1.0.0", "this project needs ^1.1"]);
    // Gone from the index and from the cache.
    let file = "index/libraries/heads.jsonl";
    let lines = place.read(file);
    let first: String =
        lines.lines().filter(|line| line.contains("\"1.0.0\"")).map(|line| format!("{line}\n")).collect();
    assert_eq!(first.lines().count(), 1, "{lines}");
    place.write(file, &first);
    forget(&place, &["cache"]);
    let gone = "unusable     neither the index nor the cache has it any more; it stays in microtome.lock as it is";
    let said = place.said(0, &["add", "probes", "--index", "../index", "--yes"]);
    holds(&said, &["heads 2.0.0", gone, newest, "probes 1.0.0"]);
    forget(&place, &[file]);
    let said = place.said(0, &["add"]);
    holds(&said, &[gone, "nothing is new"]);
    assert!(!said.contains("newest here"), "{said}");
    locked(&["heads 2.0.0", "rates 1.0.0", "tools 1.0.0", "probes 1.0.0"]);
    // And by what the table says the project has one that runs; where it is from the project knows.
    place.write(file, &first);
    let said = place.said(0, &["add", "heads@1.0.0", "--yes"]);
    holds(&said, &["heads 1.0.0", "in place of  2.0.0"]);
    assert!(!said.contains("unusable"), "{said}");
    holds(&place.read("work/microtome.toml"), &["heads = { version = \"1.0.0\", index = \"../index\" }"]);
    assert_eq!(place.printed("import \"heads\" as h; print(h::f());"), "heads 1.0.0\n");
}

#[test]
fn an_index_in_a_folder_is_found_by_a_clone() {
    let place = beside_an_index();
    publish(&place, "rates", "1.0.0", "");
    publish_needing(&place, "heads", "1.0.0", "rates = { version = \"1\" }");
    let absolute = place.path("index").display().to_string();
    let of_project =
        |folder: &str| ["microtome.toml", "microtome.lock"].map(|file| place.read(&format!("{folder}/{file}")));
    let add = |folder: &str, words: &[&str]| {
        let output = place.run_in(folder, &[&["add"][..], words].concat());
        let said = self::words(&output);
        assert!(output.status.success(), "{words:?}: {said}");
        said
    };
    // Beside the project: both are moved to another depth, as a clone of what is around them is.
    let said = add("work", &["heads", "--index", &absolute, "--yes"]);
    assert!(!said.contains("absolute path"), "{said}");
    for text in of_project("work") {
        holds(&text, &["index = \"../index\""]);
        assert!(!text.contains(&absolute), "{text}");
    }
    std::fs::create_dir_all(place.path("a/b")).unwrap();
    for folder in ["work", "index"] {
        std::fs::rename(place.path(folder), place.path("a/b").join(folder)).unwrap();
    }
    forget(&place, &["cache"]);
    holds(&add("a/b/work", &[]), &["nothing is new"]);
    for folder in ["work", "index"] {
        std::fs::rename(place.path("a/b").join(folder), place.path(folder)).unwrap();
    }
    // Below the project.
    std::fs::create_dir(place.path("own")).unwrap();
    std::fs::rename(place.path("index"), place.path("own/index")).unwrap();
    let below = place.path("own/index").display().to_string();
    add("own", &["rates", "--index", &below, "--yes"]);
    holds(&place.read("own/microtome.lock"), &["index = \"index\"", "address = \"index/archives/rates-1.0.0.tar.gz\""]);
    std::fs::rename(place.path("own/index"), place.path("index")).unwrap();
    // Elsewhere: the path is kept, and told, and found from a clone at another depth. A library that names the same
    // folder otherwise has no other index.
    write(&place, "tools", "1.0.0", "[index]\naddress = \"../index\"\n[dependencies]\nrates = { version = \"1\" }\n");
    for folder in ["far/off/project", "far/clone"] {
        std::fs::create_dir_all(place.path(folder)).unwrap();
    }
    let kept =
        format!("The index {absolute} is kept as an absolute path: a clone of this project looks for it there, too.");
    let said = add("far/off/project", &["heads", "--index", &absolute, "--yes"]);
    holds(&said, &[&kept]);
    holds(&add("far/off/project", &["../../../tools", "--yes"]), &["rates 1.0.0", "tools 1.0.0", &kept]);
    let [manifest, lock] = of_project("far/off/project");
    assert!(manifest.contains(&absolute) && !lock.contains("index = \".."), "{manifest}{lock}");
    place.write("far/clone/microtome.toml", &manifest.replace("../../../tools", "../../tools"));
    place.write("far/clone/microtome.lock", &lock.replace("../../../tools", "../../tools"));
    holds(&add("far/clone", &[]), &["nothing is new"]);
    forget(&place, &["far/clone", "far/off"]);
    // One that is typed from where one is stays so.
    std::fs::create_dir_all(place.path("far/off/project")).unwrap();
    let said = add("far/off/project", &["heads", "--index", "../../../index", "--yes"]);
    assert!(!said.contains("absolute path"), "{said}");
    holds(&place.read("far/off/project/microtome.toml"), &["index = \"../../../index\""]);
}

#[test]
fn an_index_that_lies_is_refused_and_nothing_is_written() {
    let place = beside_an_index();
    publish(&place, "heads", "1.0.0", "[touches]\nread = [\"data\"]\n");
    let right = hash(&place, "heads");
    let wrong = "0".repeat(64);
    let add = ["add", "heads", "--index", "../index", "--yes"];
    change(&place, "heads", &right, &wrong);
    let said = place.said(1, &add);
    let hashes = format!("expected SHA-256 {wrong}, found {right}");
    holds(&said, &["heads-1.0.0.tar.gz is not the expected archive", &hashes]);
    nothing_was_written(&place);
    change(&place, "heads", &wrong, &right);
    change(&place, "heads", "\"read\":[\"data\"]", "\"read\":[]");
    let told = "is not what the index ../index says of `heads` 1.0.0: it wants to touch `read data`";
    holds(&place.said(1, &add), &[told, "which the index does not say"]);
    nothing_was_written(&place);
    change(&place, "heads", "\"read\":[]", "\"read\":[\"data\"]");
    change(&place, "heads", "\"version\":\"1.0.0\"", "\"version\":\"1.0.1\"");
    holds(&place.said(1, &add), &["says of `heads` 1.0.1: it is `heads` 1.0.0"]);
    nothing_was_written(&place);
    change(&place, "heads", "1.0.1", "1.0.0");
    place.said(0, &add);
    // Another archive under a version that is locked.
    change(&place, "heads", &right, &wrong);
    forget(&place, &["cache"]);
    holds(&place.said(1, &["add"]), &["another archive of `heads` 1.0.0 than before", &right, &wrong]);
}

#[test]
fn a_yanked_version_stays_where_it_is_locked_and_is_given_to_nobody_else() {
    let place = beside_an_index();
    for version in ["1.0.0", "1.1.0"] {
        publish(&place, "heads", version, "");
    }
    let add = ["add", "heads", "--index", "../index", "--yes"];
    holds(&place.said(0, &add), &["heads 1.1.0"]);
    let yank = ["publish", "heads@1.1.0", "--index", "../index", "--yank"];
    holds(&place.said(0, &yank), &["yanked heads 1.1.0 in ../index"]);
    holds(&place.said(0, &yank), &["was yanked before"]);
    holds(&place.said(2, &["publish", "heads", "--index", "../index", "--yank"]), &["such as heads@1.0.0"]);
    holds(&place.said(0, &["add"]), &["heads 1.1.0", "nothing is new"]);
    forget(&place, &["cache"]);
    let said = place.said(0, &["add"]);
    holds(&said, &["heads 1.1.0", "yanked       withdrawn by its author; it stays", "nothing is new"]);
    assert_eq!(place.printed("import \"heads\" as h; print(h::f());"), "heads 1.1.0\n");
    holds(&place.said(1, &["add", "heads@1.1", "--index", "../index"]), &["the index has 1.1.0 (yanked), 1.0.0"]);
    forget(&place, &PROJECT);
    holds(&place.said(0, &add), &["heads 1.0.0"]);
}

#[test]
fn an_index_that_cannot_be_read_is_told_and_the_next_try_goes_on() {
    let place = beside_an_index();
    publish(&place, "heads", "1.0.0", "");
    let in_folder = |code: i32| place.said(code, &["add", "heads", "--index", "../index", "--yes"]);
    place.write("index/index.toml", "format = 3\nshards = true\n");
    holds(&in_folder(1), &["the index ../index has format 3, and this program reads format 1", "a newer microtome"]);
    place.write("index/index.toml", "shards = true\n");
    holds(&in_folder(1), &["../index/index.toml", "missing field `format`"]);
    forget(&place, &["index/index.toml"]);
    holds(&in_folder(1), &["there is no index in ../index: it has no index.toml"]);
    place.write("index/index.toml", "format = 1\n");
    let file = "index/libraries/heads.jsonl";
    let good = place.read(file);
    place.write(file, &format!("{good}<html>\n"));
    holds(&in_folder(1), &["../index/libraries/heads.jsonl:2: expected value", "the index is broken there"]);
    place.write(file, &format!("{good}{good}"));
    holds(&in_folder(1), &["expected each version of `heads` once"]);
    place.write(file, &good);
    nothing_was_written(&place);
    // A server that hangs up in the middle of each file, once, and then sends it.
    let folder = place.path("index");
    let cut = Arc::new(Mutex::new(Vec::new()));
    let seen = cut.clone();
    let server = StaticServer::answering(move |path| {
        let whole = answer("200 OK", &[], &std::fs::read(folder.join(path)).unwrap());
        let mut seen = seen.lock().unwrap();
        if seen.contains(&path.to_string()) {
            return whole;
        }
        seen.push(path.to_string());
        whole[..whole.len() - 5].to_vec()
    });
    let add = ["add", "heads", "--index", &server.address, "--yes"];
    for file in ["index.toml", "libraries/heads.jsonl", "archives/heads-1.0.0.tar.gz"] {
        holds(&place.said(1, &add), &[&format!("cannot fetch {}/{file}: ", server.address), "check the address"]);
        nothing_was_written(&place);
    }
    assert_eq!(cut.lock().unwrap().len(), 3);
    place.said(0, &add);
    assert_eq!(place.printed("import \"heads\" as h; print(h::f());"), "heads 1.0.0\n");
    // One that hangs up before it says anything, and one that has an error.
    let silent = StaticServer::answering(|_| Vec::new());
    holds(&place.said(1, &["search", "--index", &silent.address]), &["cannot fetch", "index.toml"]);
    let broken = StaticServer::answering(|_| answer("503 Service Unavailable", &[], b""));
    holds(&place.said(1, &["search", "--index", &broken.address]), &["index.toml answered 503", "try again later"]);
    let endless = StaticServer::answering(|_| answer("200 OK", &[], &vec![b' '; (16 << 20) + 1]));
    holds(&place.said(1, &["search", "--index", &endless.address]), &["at most 16.0 MiB"]);
}

#[test]
fn a_peer_that_hangs_up_leaves_a_project_as_it_was_and_a_clone_needs_none() {
    let place = beside_an_index();
    publish(&place, "heads", "1.0.0", "");
    let folder = place.path("index");
    let server = StaticServer::answering(move |path| {
        let whole = answer("200 OK", &[], &std::fs::read(folder.join(path)).unwrap());
        let sent = if path.contains("1.1.0") { whole.len() / 2 } else { whole.len() };
        whole[..sent].to_vec()
    });
    place.said(0, &["add", "heads", "--index", &server.address, "--yes"]);
    let before = PROJECT.map(|file| place.read(file));
    publish(&place, "heads", "1.1.0", "");
    let said = place.said(1, &["add", "heads", "--yes"]);
    holds(&said, &[&format!("cannot fetch {}/archives/heads-1.1.0.tar.gz: ", server.address)]);
    assert_eq!(PROJECT.map(|file| place.read(file)), before);
    assert_eq!(place.printed("import \"heads\" as h; print(h::f());"), "heads 1.0.0\n");
    // Both files are all that a clone needs where the cache has the archives.
    server.asked();
    let [manifest, lock] = before;
    place.write("clone/microtome.toml", &manifest);
    place.write("clone/microtome.lock", &lock);
    place.write("clone/main.rhai", "import \"heads\" as h; print(h::f());");
    holds(&words(&place.run_in("clone", &["add"])), &["nothing is new"]);
    assert_eq!(words(&place.run_in("clone", &["run", "main.rhai"])), "heads 1.0.0\n");
    assert_eq!(server.asked(), [""; 0]);
}

/// Runs two commands at once, each in a folder.
fn at_once(place: &PackageFolder, commands: [(&str, &[&str]); 2]) -> [Output; 2] {
    std::thread::scope(|scope| {
        let running = commands.map(|(folder, words)| scope.spawn(move || place.run_in(folder, words)));
        running.map(|thread| thread.join().unwrap())
    })
}

#[test]
fn two_at_once_both_end_well_or_are_told_why_not() {
    let place = beside_an_index();
    std::fs::create_dir(place.path("other")).unwrap();
    for name in ["a", "b"] {
        write(&place, name, "1.0.0", "");
    }
    let published = |name| ["publish", name, "--index", "../index"];
    for output in at_once(&place, [("work", &published("../a")), ("work", &published("../b"))]) {
        assert!(output.status.success(), "{}", words(&output));
    }
    assert_eq!(place.read("index/all.jsonl").lines().count(), 2);
    // Two projects with one cache, which has neither archive, or not the one that both need.
    let add = |name| ["add", name, "--index", "../index", "--yes"];
    for [one, other] in [["a", "b"], ["b", "b"]] {
        for output in at_once(&place, [("work", &add(one)), ("other", &add(other))]) {
            assert!(output.status.success(), "{}", words(&output));
        }
        forget(&place, &["cache"]);
    }
    // One project: nothing that was written is lost.
    forget(&place, &PROJECT);
    let mut added = Vec::new();
    let outputs = at_once(&place, [("work", &add("a")), ("work", &add("b"))]);
    for (name, output) in ["a", "b"].into_iter().zip(outputs) {
        if output.status.success() {
            added.push(name);
        } else {
            holds(&words(&output), &["has changed since the table was made", "run the command again"]);
        }
    }
    assert!(!added.is_empty());
    let manifest = place.read("work/microtome.toml");
    let lock = place.read("work/microtome.lock");
    for name in added {
        holds(&manifest, &[&format!("{name} = {{ version")]);
        holds(&lock, &[&format!("name = \"{name}\"")]);
    }
    place.said(0, &["add", "--yes"]);
}

/// The files of the index but for its first one.
fn files(place: &PackageFolder) -> Vec<String> {
    let root = place.path("index");
    let all = walkdir::WalkDir::new(&root).sort_by_file_name().into_iter().flatten();
    let files = all.filter(|entry| entry.file_type().is_file()).map(|entry| entry.path().to_path_buf());
    let names = files.map(|path| path.strip_prefix(&root).unwrap().display().to_string());
    names.filter(|name| name != "index.toml").collect()
}

#[test]
fn what_is_published_has_passed_its_tests_and_stays() {
    let place = beside_an_index();
    let publish_it = ["publish", "../heads", "--index", "../index"];
    write(&place, "heads", "1.0.0", "");
    for (code, text, said) in [
        (1, "fn test_f() { throw \"no\" }", "FAILED"),
        (3, "fn test_f() { run::check(false, \"it holds\") }", "nothing was published"),
        (1, "fn f() { 1 }", "there are no tests in ../heads"),
    ] {
        place.write("heads/lib.rhai", text);
        holds(&place.said(code, &publish_it), &[said]);
        assert_eq!(files(&place), [""; 0]);
    }
    write(&place, "heads", "1.0.0", "[dependencies]\nrates = { path = \"../rates\" }\n");
    holds(&place.said(1, &publish_it), &["`heads` needs `rates` from elsewhere", "publish `rates` first"]);
    assert_eq!(files(&place), [""; 0]);
    write(&place, "heads", "1.0.0", "");
    holds(&place.said(0, &publish_it), &["1 test passed", "published heads 1.0.0 in ../index: archives/heads-1.0.0"]);
    let all = ["all.jsonl", "archives/heads-1.0.0.tar.gz", "libraries/heads.jsonl"];
    assert_eq!(files(&place), all);
    let before = all.map(|file| std::fs::read(place.path("index").join(file)).unwrap());
    place.write("heads/lib.rhai", "fn f() { 2 }\nfn test_f() { f() }\n");
    let said = place.said(1, &publish_it);
    holds(&said, &["the index has `heads` 1.0.0 already", "raise `version` in ../heads/microtome.toml"]);
    assert_eq!(all.map(|file| std::fs::read(place.path("index").join(file)).unwrap()), before);
    holds(&place.said(2, &["publish", "../heads", "--index", "https://x.org/index"]), &["the folder of an index"]);
    let nowhere = place.said(1, &["publish", "../heads", "--index", "../none"]);
    holds(&nowhere, &["there is no index in ../none: it has no index.toml"]);
    assert!(!place.path("none").exists());
}

#[test]
fn an_index_is_searched_by_words() {
    let place = beside_an_index();
    publish(&place, "heads", "1.0.0", "description = \"Scores of attention.\"\n[touches]\nread = [\"data\"]\n");
    publish(&place, "heads", "1.1.0", "description = \"Scores of attention.\"\n");
    publish(&place, "probes", "0.1.0", "description = \"Probes\\nfor heads.\"\n");
    let server = StaticServer::of(place.path("index"));
    for index in ["../index", &server.address] {
        let said = place.said(0, &["search", "HEADS", "--index", index]);
        let lines: Vec<&str> = said.lines().collect();
        let at = |word: &str| lines.iter().position(|line| line.contains(word)).expect(word);
        assert!(at("1.1.0") < at("0.1.0"), "{said}");
        holds(&said, &["nothing", "Scores of attention.", "Probes↵for heads."]);
        assert!(!said.contains("1.0.0"), "{said}");
    }
    assert_eq!(server.asked(), ["index.toml", "all.jsonl"]);
    holds(&place.said(1, &["search", "heads", "none", "--index", "../index"]), &["no library with these words"]);
    holds(&place.said(2, &["search", "heads"]), &["there is no index to search", "--index"]);
    place.write("work/microtome.toml", "[index]\naddress = \"../index\"\n");
    holds(&place.said(0, &["search"]), &["heads", "probes"]);
    // The template of an index is one.
    let template = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/index").display().to_string();
    holds(&place.said(1, &["search", "--index", &template]), &["no library with these words"]);
}
