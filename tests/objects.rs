//! Stores in object storage, played by a server on loopback: written, resumed, read in parts, and what goes wrong.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

use crate::support::bucket::{Buckets, Fault, KEY};

const STORAGES: [&str; 3] = ["s3", "gs", "az"];

/// A harvest of some 12 shards, and what is known of its rows.
const HARVEST: &str = r#"
    let t = data::tokenizer("to be or not to be", #{ kind: "characters", min_frequency: 1 });
    let m = model::init(#{ layers: 1, d_model: 16, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
    let text = data::texts(range(0, 4000).to_array().map(|at| ["to be or not to be", "not to be", "or to be"][at % 3]));
    let s = data::harvest(m, ["z.0", "resid_post.0"], text, #{ dir: DIR, shard_rows: 400 });
    s.verify();
    print(s);
"#;

const FIT: &str = r#"
    let s = data::store(DIR);
    let d = sae::fit(s, #{ site: "resid_post.0", k: 4, d_sae: 32, steps: 60, batch: 128, buffer: 1000, lr: 1e-2 });
    print(`${d.history.to_map().rows[-1]} ${d.directions.abs().sum()}`);
"#;

struct StoreFolder {
    folder: tempfile::TempDir,
    buckets: Buckets,
}

impl StoreFolder {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), buckets: Buckets::new() }
    }

    /// A run of code with a store at `dir`, allowed to connect to these hosts.
    fn command(&self, code: &str, dir: &str, name: &str, hosts: &[&str]) -> Command {
        let script = self.folder.path().join(format!("{name}.rhai"));
        std::fs::write(&script, code.replace("DIR", &format!("{dir:?}"))).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_microtome"));
        command.args(hosts.iter().flat_map(|host| ["--allow-net", host])).arg("run").arg(&script);
        command.current_dir(self.folder.path());
        for (name, _) in std::env::vars() {
            if ["AWS_", "GOOGLE_", "AZURE_"].iter().any(|prefix| name.starts_with(prefix)) {
                command.env_remove(name);
            }
        }
        command
    }

    fn run(&self, code: &str, dir: &str, name: &str) -> Output {
        self.command(code, dir, name, &["127.0.0.1"]).envs(self.buckets.variables()).output().unwrap()
    }

    fn printed(&self, code: &str, dir: &str, name: &str) -> String {
        let output = self.run(code, dir, name);
        assert!(output.status.success(), "{name}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    fn refused(&self, code: &str, dir: &str, name: &str) -> String {
        let output = self.run(code, dir, name);
        assert!(!output.status.success(), "{name}: {}", said(&output));
        said(&output)
    }
}

fn said(output: &Output) -> String {
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    // Long lines are broken for the terminal.
    words.split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" ")
}

/// Without showing megabytes where they differ.
fn assert_same(found: &BTreeMap<String, Vec<u8>>, expected: &BTreeMap<String, Vec<u8>>, what: &str) {
    assert!(found.keys().eq(expected.keys()), "{what}: {:?}", found.keys());
    for (name, bytes) in found {
        assert!(bytes == &expected[name], "{what}: {name} differs");
    }
}

fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let named =
        |entry: std::fs::DirEntry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap());
    let all = std::fs::read_dir(folder).unwrap().flatten().map(named);
    all.filter(|(name, _)| !name.starts_with('.')).collect()
}

#[test]
fn a_store_in_a_bucket_has_the_bytes_of_one_in_a_folder_and_is_read_in_parts() {
    let place = StoreFolder::new();
    let local = place.printed(HARVEST, "acts", "local");
    let fitted = place.printed(FIT, "out/acts", "fit");
    let files = contents(&place.folder.path().join("out/acts"));
    assert!(files.len() > 10, "{:?}", files.keys());
    for storage in STORAGES {
        let dir = format!("{storage}://bucket/runs/acts");
        assert_eq!(place.printed(HARVEST, &dir, storage), local);
        assert_same(&place.buckets.objects("/bucket/runs/acts"), &files, storage);
        // Found again, and nothing is written.
        place.buckets.asked();
        assert_eq!(place.printed(HARVEST, &dir, storage), local);
        assert!(place.buckets.asked().iter().all(|asked| asked.method() != "PUT" && asked.method() != "POST"));
        assert_eq!(place.printed(FIT, &dir, &format!("fit-{storage}")), fitted, "{storage}");
        let asked = place.buckets.asked();
        let of_shards: Vec<_> = asked.iter().filter(|asked| asked.path.contains("shard-")).collect();
        let range =
            |asked: &&crate::support::bucket::Request| asked.header("range").or(asked.header("x-ms-range")).is_some();
        assert!(of_shards.len() > 30 && of_shards.iter().all(range), "{storage}: {}", of_shards.len());
        // What was read and written is in the record, by its address.
        let record = std::fs::read_to_string(place.folder.path().join(format!("out/{storage}/run.json"))).unwrap();
        assert!(record.contains(&format!("\"{dir}/manifest.json\"")), "{record}");
        for name in files.keys() {
            place.buckets.forget(&format!("/bucket/runs/acts/{name}"));
        }
    }
}

#[test]
fn a_harvest_that_was_refused_midway_goes_on_after_its_last_shard() {
    let place = StoreFolder::new();
    place.printed(HARVEST, "acts", "local");
    let files = contents(&place.folder.path().join("out/acts"));
    for storage in STORAGES {
        let dir = format!("{storage}://bucket/acts");
        place.buckets.fail(Fault::RefuseAfter(8));
        let refused = place.refused(HARVEST, &dir, storage);
        assert!(refused.contains("the storage refuses these credentials"), "{refused}");
        place.buckets.fail(Fault::None);
        let begun = place.buckets.objects("/bucket/acts");
        assert!(begun.len() > 2 && begun.len() < files.len(), "{storage}: {}", begun.len());
        let error = place.refused(FIT, &dir, "early");
        assert!(error.contains("this store is not complete"), "{error}");
        place.buckets.asked();
        place.printed(HARVEST, &dir, storage);
        assert_same(&place.buckets.objects("/bucket/acts"), &files, storage);
        let again = place
            .buckets
            .asked()
            .iter()
            .filter(|asked| asked.method() == "PUT" && asked.path.contains("shard-0000"))
            .count();
        assert!(again < 10, "{storage}: shards are written once, found {again}");
        for name in files.keys() {
            place.buckets.forget(&format!("/bucket/acts/{name}"));
        }
    }
}

#[test]
fn what_a_storage_does_wrong_is_said_or_mended() {
    let place = StoreFolder::new();
    let local = place.printed(HARVEST, "acts", "local");
    for storage in STORAGES {
        let dir = format!("{storage}://bucket/acts");
        // A server that is busy is asked again.
        place.buckets.fail(Fault::Busy(3));
        assert_eq!(place.printed(HARVEST, &dir, storage), local);
        // An answer that is cut short is asked for again.
        let fitted = place.printed(FIT, &dir, "fit");
        place.buckets.fail(Fault::Cut(1000));
        assert_eq!(place.printed(FIT, &dir, "fit"), fitted);
        // A byte that has changed is found by `verify`, and a missing object at opening.
        place.buckets.damage("/bucket/acts/shard-00002.safetensors", 4000);
        let error = place.refused(HARVEST, &dir, storage);
        assert!(error.contains("shard-00002.safetensors: expected the SHA-256"), "{error}");
        place.buckets.forget("/bucket/acts/shard-00002.safetensors");
        let error = place.refused(FIT, &dir, "missing");
        assert!(error.contains(&format!("{dir}/shard-00002.safetensors is not there")), "{error}");
        let error = place.refused(FIT, &format!("{storage}://bucket/other"), "none");
        assert!(error.contains("/other/manifest.json is not there"), "{error}");
        // A write that is lost is noticed at once.
        place.buckets.fail(Fault::Forget("shard-00001"));
        let error = place.refused(HARVEST, &format!("{storage}://bucket/lost"), storage);
        assert!(error.contains("that the storage said it had kept, found nothing"), "{error}");
        assert_eq!(place.buckets.objects("/bucket/lost").len(), 2, "the manifest and the first shard");
        // Of two runs in one folder the second to write the manifest stops.
        place.buckets.fail(Fault::Overtake("manifest"));
        let error = place.refused(HARVEST, &format!("{storage}://bucket/two"), storage);
        assert!(error.contains("another program has written it meanwhile"), "{error}");
        for (folder, files) in
            ["acts", "lost", "two"].map(|name| (name, place.buckets.objects(&format!("/bucket/{name}"))))
        {
            files.keys().for_each(|name| place.buckets.forget(&format!("/bucket/{folder}/{name}")));
        }
        place.buckets.fail(Fault::None);
    }
}

/// A shard of more than one part is sent in parts, and an upload that fails leaves none.
#[test]
fn large_files_go_up_in_parts() {
    let place = StoreFolder::new();
    let code = r#"
        let letters = "abcdefghijklmnop";
        let t = data::tokenizer(letters, #{ kind: "characters", min_frequency: 1 });
        let m = model::init(
            #{ layers: 1, d_model: 1024, heads: 2, d_mlp: 16, vocab: t.size, context: 128 },
            #{ tokenizer: t, seed: 1 },
        );
        let row = "";
        for part in range(0, 8) { row += letters; }
        let text = data::texts(range(0, 40).to_array().map(|at| row));
        let s = data::harvest(m, "resid_post.0", text, #{ dir: DIR });
        s.verify();
        print(s);
    "#;
    place.printed(code, "acts", "local");
    let files = contents(&place.folder.path().join("out/acts"));
    assert!(files.values().any(|bytes| bytes.len() > 18 << 20));
    for storage in STORAGES {
        let dir = format!("{storage}://bucket/{storage}");
        place.printed(code, &dir, storage);
        assert_same(&place.buckets.objects(&format!("/bucket/{storage}")), &files, storage);
        let parts = place
            .buckets
            .asked()
            .iter()
            .filter(|asked| asked.query.contains_key("partNumber") || asked.query.contains_key("blockid"))
            .count();
        assert!(parts >= 3, "{storage}: {parts}");
    }
    place.buckets.fail(Fault::RefuseAfter(3));
    let error = place.refused(code, "s3://bucket/refused", "refused");
    assert!(error.contains("the storage refuses these credentials"), "{error}");
    assert!(!place.buckets.has_parts());
    assert!(place.buckets.objects("/bucket/refused").keys().all(|name| name == "manifest.json"));
}

#[test]
fn a_header_that_is_longer_than_what_is_asked_for_first_is_asked_for_again() {
    let place = StoreFolder::new();
    let code = r#"
        let t = data::tokenizer("to be or not to be", #{ kind: "characters", min_frequency: 1 });
        let m = model::init(
            #{ layers: 120, d_model: 4, heads: 1, d_mlp: 4, vocab: t.size, context: 16 },
            #{ tokenizer: t, seed: 1 },
        );
        let text = data::texts(["to be or not to be"]);
        let s = data::harvest(m, ["resid_post.*", "resid_mid.*", "z.*"], text, #{ dir: DIR });
        print(`${s} ${s.statistics()}`);
    "#;
    let local = place.printed(code, "acts", "local");
    assert!(contents(&place.folder.path().join("out/acts"))["shard-00000.safetensors"].len() > 40 << 10);
    assert_eq!(place.printed(code, "s3://bucket/acts", "remote"), local);
    let asked = place.buckets.asked();
    let beginnings: Vec<_> = asked.iter().filter_map(|asked| asked.header("range")).collect();
    assert!(beginnings.len() == 2 && beginnings[0] == "bytes=0-16383", "{beginnings:?}");
}

#[test]
fn only_allowed_hosts_and_known_places_are_asked() {
    let place = StoreFolder::new();
    let run = |dir: &str, net: &[&str], without: &str| {
        let mut command = place.command(HARVEST, dir, "refused", net);
        command.envs(place.buckets.variables());
        if !without.is_empty() {
            place.buckets.variables().iter().filter(|(name, _)| name.starts_with(without)).for_each(|(name, _)| {
                command.env_remove(name);
            });
        }
        said(&command.env("HOME", place.folder.path()).output().unwrap())
    };
    for storage in STORAGES {
        let error = run(&format!("{storage}://bucket/acts"), &[], "");
        assert!(error.contains("this script may not connect to 127.0.0.1") && error.contains("--allow-net"), "{error}");
    }
    assert!(place.buckets.asked().is_empty());
    // Without credentials nobody is asked for some, unless the run may connect there.
    let none = run("s3://bucket/acts", &["127.0.0.1"], "AWS_ACCESS");
    assert!(none.contains("cannot be opened") || none.contains("there are no credentials"), "{none}");
    let none = run("s3://bucket/acts", &["127.0.0.1"], "AWS_");
    assert!(none.contains("there are no credentials for the bucket bucket"), "{none}");
    assert!(none.contains("AWS_ACCESS_KEY_ID") && none.contains("--allow-net 169.254.169.254"), "{none}");
    let none = run("gs://bucket/acts", &["127.0.0.1"], "GOOGLE_");
    assert!(none.contains("there are no credentials for the bucket bucket"), "{none}");
    let none = run("az://bucket/acts", &["127.0.0.1"], "AZURE_");
    assert!(none.contains("the bucket bucket cannot be opened"), "{none}");
    for (dir, said) in [
        ("s3://", "it names no bucket"),
        ("s3://a bucket/x", "it names no bucket"),
        ("s3://bucket/a//b", "expected an address such as s3://bucket/folder"),
    ] {
        let error = run(dir, &["127.0.0.1"], "");
        assert!(error.contains(said), "{dir}: {error}");
    }
    // A key is not sent unencrypted to another machine, and no message shows it.
    let mut command = place.command(HARVEST, "s3://bucket/acts", "open", &["*"]);
    command.envs(place.buckets.variables()).env("AWS_ENDPOINT_URL", "http://storage.invalid");
    let error = said(&command.output().unwrap());
    assert!(error.contains("expected an https address for object storage"), "{error}");
    assert!(!error.contains(KEY) && !error.contains("secret of the tests"), "{error}");
}
