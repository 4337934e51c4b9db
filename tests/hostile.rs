//! Hostile input and environments: each case ends in a clear error, without half-written files or panics.

use crate::support::{self, microtome};
#[cfg(target_os = "linux")]
use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};
#[cfg(target_os = "linux")]
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use microtome::base::access::Rules;

/// Exit code, standard output and standard error of a run in `folder`.
fn run(folder: &Path, words: &[&str]) -> (i32, String, String) {
    support::ended(&microtome(folder).args(words).output().unwrap())
}

#[test]
fn broken_texts_are_answered() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("x.rhai");
    for (text, said) in [
        (&b"let x = \"open"[..], "open string"),
        (b"let x = [1, 2", "expected"),
        (b"fn f( {", "expected"),
        (b"`${1 + `", ""),
        (b"let x = \xff\xfe;", "expected UTF-8 text, found byte 0xff on line 1"),
        (b"\x00\x01\x02", ""),
        (b"print(1);\r\nprint(oops)\r\n", "unknown variable `oops`"),
        (b"}}}}", ""),
    ] {
        std::fs::write(&script, text).unwrap();
        let (code, _, stderr) = run(folder.path(), &["run", "x.rhai"]);
        assert_eq!(code, 1, "{stderr}");
        assert!(stderr.contains(said) && !stderr.contains("panicked"), "{stderr}");
    }
    let deep = format!("let x = {}1{};", "(".repeat(10_000), ")".repeat(10_000));
    std::fs::write(&script, deep).unwrap();
    let (code, _, stderr) = run(folder.path(), &["run", "x.rhai"]);
    assert!(code == 1 && stderr.contains("expression"), "{stderr}");
}

#[test]
fn folders_pipes_and_missing_files_are_no_scripts() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe.rhai");
    if cfg!(unix) {
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    }
    for (name, said) in [
        (".", "it is a folder"),
        ("/dev/zero", "this script may not read /dev/zero"),
        ("pipe.rhai", "not a regular file"),
        ("none.rhai", "no such file"),
    ] {
        if !cfg!(unix) && name.starts_with(['/', 'p']) {
            continue;
        }
        let (code, _, stderr) = run(folder.path(), &["run", name]);
        assert!(code == 1 && stderr.contains(said), "{name}: {stderr}");
    }
}

/// Ctrl-C stops an endless loop, an endless wait, and an endless native call, with exit code 130.
#[cfg(unix)]
#[test]
fn an_interruption_stops_what_runs() {
    let folder = tempfile::tempdir().unwrap();
    for code in [
        "print(0); loop { }",
        "print(0); sleep(1000)",
        "print(0); while true { [3, 1, 2].sort(); }",
        "print(0); tensor::randn([2500, 2500]).svd()",
        "let m = model::init(#{ vocab: 9, context: 1000000 }); print(0); m.generate_ids([1], #{ tokens: 999999 })",
        "let m = model::init(#{ vocab: 9 }); print(0); m.run([1], #{ hooks: hooks::edit(\"embed\", |x| loop { }) })",
        "let t = tensor::zeros([30_000_000]); print(0); loop { t.to_array(); }",
        "let t = tensor::zeros([10_000_000]); print(0); loop { to_json(t); }",
        "let a = []; a.pad(10_000_000, 1.5); print(0); loop { repr(a); }",
        "let a = []; a.pad(10_000_000, 1.5); print(0); loop { a.to_string(); }",
        "let s = \"a b\"; s.pad(30_000_000, \"a b\"); print(0); loop { s.split(); }",
        "let t = tensor::zeros([20_000_000]); print(0); loop { t.save(\"t.npy\"); }",
        "let a = []; a.pad(10_000_000, 1); print(0); loop { run::save_json(\"a.json\", a); }",
        "let m = []; m.pad(50_000, #{ a: 1 }); let n = m; print(0); loop { m == n; }",
        "let m = []; m.pad(50_000, #{ a: 1 }); let text = to_json(m); print(0); loop { parse_json(text); }",
        "let rows = []; rows.pad(100_000, #{ a: 1 }); let t = table(rows); print(0); loop { t.save(\"t.html\"); }",
    ] {
        let mut child =
            microtome(folder.path()).args(["-e", code]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        // The first print says that the script runs.
        let mut first = [0; 2];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut first).unwrap();
        let kill = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
        assert!(kill.success());
        let status = wait(&mut child);
        assert_eq!(status, Some(130), "{code}");
    }
}

/// Calls whose work is large run on a thread of their own, which an interruption leaves at once: also where only the
/// result is large, or the dictionary and not its rows.
#[cfg(target_os = "linux")]
#[test]
fn large_calls_are_left_at_once() {
    if !support::apart("hostile::large_calls_are_left_at_once") {
        return;
    }
    // The pool's threads have the name of the thread that starts them.
    rayon::current_num_threads();
    let apart = || -> BTreeSet<std::ffi::OsString> {
        let threads = std::fs::read_dir("/proc/self/task").unwrap().filter_map(Result::ok);
        let is_apart = |thread: &std::fs::DirEntry| {
            std::fs::read_to_string(thread.path().join("comm")).is_ok_and(|name| name.trim() == "apart")
        };
        threads.filter(is_apart).map(|thread| thread.file_name()).collect()
    };
    let (_folder, mut session) = support::alone();
    let setup =
        "let column = tensor::ones([5000, 1]); let row = tensor::ones([1, 5000]); let line = tensor::ones([5000]);
        let index = tensor::zeros([20_000_000], #{ dtype: \"i64\" }); let places = index.to_array();
        let s = sae::random(8, 10_000, #{ seed: 1 }); let rows = tensor::ones([1, 8]).expand([2000, 8]);
        let wide = tensor::ones([2, 4000]);
        let p = probe::fit([[0], [1], [2], [4]], [0, 0, 1, 1]);
        let column_of_many = tensor::ones([1, 1]).expand([5_000_000, 1]);";
    assert!(session.eval("setup", setup).is_ok());
    let flag = session.env().task.flag().clone();
    for code in [
        "column + row",
        "column < row",
        "tensor::where(column > row, 1, 0)",
        "line.repeat([5000, 1])",
        "line.diag_embed()",
        "line[places]",
        "line.gather(0, index)",
        "wide.covariance()",
        "wide.corr()",
        "line.histogram(20_000_000)",
        "s.encode(rows)",
        "s.reconstruct(rows)",
        "s.decode(tensor::ones([1, 10_000]).expand([2000, 10_000]))",
        "s.keeping(5000)",
        "sae::random(8, 100_000, #{ k: 5000 })",
        "sae::identity(4000)",
        "data::toy(200, #{ d: 100_000, features: 6, active: 2 })",
        "data::toy(\"synth\", #{ rows: 2000, d: 100, features: 3000 })",
        "p.scores(column_of_many)",
        "p.predict(column_of_many)",
    ] {
        // On a fast machine a call may end before its thread is seen: it is made again.
        let kind = (0..20).find_map(|_| {
            // What was left before may still run.
            let before = apart();
            let over = AtomicBool::new(false);
            let ended = std::thread::scope(|scope| {
                scope.spawn(|| {
                    while !over.load(Ordering::SeqCst) {
                        if apart().iter().any(|thread| !before.contains(thread)) {
                            flag.store(true, Ordering::SeqCst);
                        }
                        std::thread::sleep(Duration::from_millis(1));
                    }
                });
                // The second statement hears an interruption that came when the first one was nearly done.
                let ended = session.eval("large", &format!("{code}; 0"));
                over.store(true, Ordering::SeqCst);
                ended
            });
            flag.store(false, Ordering::SeqCst);
            ended.err().map(|failure| failure.kind)
        });
        assert_eq!(kind.as_deref(), Some("interrupted"), "{code}");
    }
}

fn wait(child: &mut std::process::Child) -> Option<i32> {
    let deadline = Instant::now() + Duration::from_secs(20);
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    child.kill().unwrap();
    None
}

/// A closed standard error changes nothing about a failure.
#[test]
fn a_closed_standard_error_is_no_panic() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = microtome(folder.path())
        .args(["-e", "print(1); sleep(0.2); run::load_text(\"missing\")"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stderr.take());
    assert_eq!(wait(&mut child), Some(1));
}

/// A run recorded on a wide terminal in colour can be repeated in a pipe.
#[test]
fn a_run_is_repeated_for_the_screen_that_it_was_made_for() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("x.rhai"), "show(table([#{ a: 1 }], #{ title: \"T\" }));").unwrap();
    assert_eq!(run(folder.path(), &["run", "x.rhai"]).0, 0);
    let record = folder.path().join("out/x/run.json");
    let text = std::fs::read_to_string(&record).unwrap();
    let wide = text.replace("\"colour\": false", "\"colour\": true");
    assert_ne!(text, wide);
    std::fs::write(&record, wide).unwrap();
    let (code, stdout, stderr) = run(folder.path(), &["run", "--again", "out/x/run.json"]);
    assert!(code == 1 && stdout.is_empty() && stderr.contains("different: printed output"), "{stdout}{stderr}");
    std::fs::write(&record, text).unwrap();
    assert_eq!(run(folder.path(), &["run", "--again", "out/x/run.json"]).0, 0);
}

/// The failure of a script is reported even if the record of the run cannot be written.
#[test]
fn a_record_that_cannot_be_written_hides_no_failure() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("out/x/run.json")).unwrap();
    std::fs::write(folder.path().join("x.rhai"), "run::load_text(\"missing\")").unwrap();
    let (code, _, stderr) = run(folder.path(), &["run", "x.rhai"]);
    assert!(code == 1 && stderr.contains("cannot read missing") && stderr.contains("cannot write"), "{stderr}");
}

/// A file that a run read before it overwrote it is an input, and its change is reported when the run is repeated.
#[test]
fn an_input_that_was_overwritten_is_told() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("out")).unwrap();
    std::fs::write(folder.path().join("out/count.txt"), "1").unwrap();
    std::fs::write(
        folder.path().join("x.rhai"),
        "let n = parse_int(run::load_text(\"count.txt\")); run::save_text(\"count.txt\", (n + 1).to_string());",
    )
    .unwrap();
    assert_eq!(run(folder.path(), &["run", "x.rhai"]).0, 0);
    let (code, _, stderr) = run(folder.path(), &["run", "--again", "out/x/run.json"]);
    assert!(code == 1 && stderr.contains("input out/count.txt: other bytes"), "{stderr}");
}

/// An untrusted record states the number of threads and the screen of a run.
#[test]
fn a_record_that_asks_for_too_much_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("x.rhai"), "show(table([#{ a: 1 }], #{ title: \"T\" }));").unwrap();
    assert_eq!(run(folder.path(), &["run", "x.rhai"]).0, 0);
    let record = folder.path().join("out/x/run.json");
    let text = std::fs::read_to_string(&record).unwrap();
    let with = |key: &str, value: u64| {
        let mut json: serde_json::Value = serde_json::from_str(&text).unwrap();
        *json.pointer_mut(key).unwrap() = value.into();
        std::fs::write(&record, json.to_string()).unwrap();
        let (code, _, stderr) = run(folder.path(), &["run", "--again", "out/x/run.json"]);
        assert_eq!(code, 1, "{stderr}");
        stderr
    };
    for threads in [0, 5000, u64::MAX] {
        let stderr = with("/threads", threads);
        assert!(stderr.contains("expected between 1 and 1024 threads in the record"), "{stderr}");
    }
    assert!(with("/screen/width", 1 << 60).contains("a screen of at most 10000 characters a side"));
    assert_eq!(run(folder.path(), &["--threads", "5000", "-e", "1"]).0, 2);
}

#[test]
fn an_output_folder_that_cannot_be_is_told() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    std::fs::write(folder.path().join("x.rhai"), "run::save_text(\"a.txt\", \"x\");").unwrap();
    let (code, _, stderr) = run(folder.path(), &["--out", "file", "run", "x.rhai"]);
    assert!(code == 1 && stderr.contains("cannot write"), "{code} {stderr}");
    // A proc file system refuses new folders even to root, as a read-only one does.
    if cfg!(target_os = "linux") {
        let (code, _, stderr) = run(folder.path(), &["--out", "/proc/none", "run", "x.rhai"]);
        assert!(code == 1 && stderr.contains("cannot write"), "{code} {stderr}");
    }
}

#[cfg(unix)]
#[test]
fn a_library_behind_a_link_is_judged_where_it_is() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("secret")).unwrap();
    std::fs::write(folder.path().join("secret/lib.rhai"), "fn f() { 1 }").unwrap();
    std::os::unix::fs::symlink("secret/lib.rhai", folder.path().join("lib.rhai")).unwrap();
    std::fs::write(folder.path().join("x.rhai"), "import \"lib\" as lib; print(lib::f());").unwrap();
    assert_eq!(run(folder.path(), &["run", "x.rhai"]).1, "1\n");
    let (code, _, stderr) = run(folder.path(), &["--deny-read", "secret", "run", "x.rhai"]);
    assert!(code == 1 && stderr.contains("may not read"), "{stderr}");
}

/// An imported library has the access rules of its caller.
#[test]
fn a_library_cannot_write_outside_either() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("lib.rhai"), "fn steal() { run::save_text(\"../stolen.txt\", \"x\") }").unwrap();
    std::fs::write(folder.path().join("x.rhai"), "import \"lib\" as lib;\nlib::steal();\n").unwrap();
    let (code, _, stderr) = run(folder.path(), &["run", "x.rhai"]);
    assert!(
        code == 1 && stderr.contains("may not write") && stderr.contains("in steal, called at x.rhai:2:6"),
        "{stderr}"
    );
    assert!(!folder.path().join("stolen.txt").exists());
}

#[test]
fn imports_in_a_circle_end() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.rhai"), "import \"b\" as b; fn f() { 1 }").unwrap();
    std::fs::write(folder.path().join("b.rhai"), "import \"a\" as a; fn g() { 2 }").unwrap();
    std::fs::write(folder.path().join("x.rhai"), "import \"a\" as a;").unwrap();
    let (code, _, stderr) = run(folder.path(), &["run", "x.rhai"]);
    assert!(code == 1 && stderr.contains("circle"), "{stderr}");
}

#[test]
fn a_script_cannot_run_away_with_the_memory() {
    for code in [
        "blob(10_000_000_000_000)",
        "blob(12).pad(9_223_372_036_854_775_807, 2)",
        "let a = []; a.pad(10_000_000_000_000, 0)",
        "\"\".pad(10_000_000_000_000, \"x\")",
    ] {
        assert_eq!(support::failure(code, Rules::default()).0, "memory", "{code}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_behind_standard_output_is_an_error() {
    for words in [["-e", "1"], ["-e", "print(1)"], ["doc", "tensor::eye"]] {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let ended = Command::new(env!("CARGO_BIN_EXE_microtome")).args(words).stdout(full).output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr);
        assert!(
            ended.status.code() == Some(1) && said.contains("cannot write to standard output"),
            "{words:?}: {said}"
        );
    }
}

/// Two runs in one folder are kept apart, and a killed one leaves no lock. Regression: as the lock, a pipe blocked a run
/// for ever, a link created a file elsewhere, a folder locked out all runs.
#[cfg(unix)]
#[test]
fn one_run_writes_into_a_folder_whatever_has_the_name_of_the_lock() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("elsewhere")).unwrap();
    for kind in ["nothing", "link", "pipe", "folder"] {
        let out = folder.path().join(kind);
        std::fs::create_dir(&out).unwrap();
        let lock = out.join(".microtome.lock");
        match kind {
            "link" => std::os::unix::fs::symlink(folder.path().join("elsewhere/made"), &lock).unwrap(),
            "pipe" => assert!(Command::new("mkfifo").arg(&lock).status().unwrap().success()),
            "folder" => std::fs::create_dir(&lock).unwrap(),
            _ => {}
        }
        // It is left as it was, and two runs are still kept apart.
        let words = ["--out", kind, "-e", "run::save_text(\"a.txt\", \"1\"); print(1); sleep(1000)"];
        let mut first = microtome(folder.path()).args(words).stdout(Stdio::piped()).spawn().unwrap();
        std::io::Read::read_exact(first.stdout.as_mut().unwrap(), &mut [0; 2]).unwrap();
        let (code, _, stderr) = run(folder.path(), &["--out", kind, "-e", "run::save_text(\"b.txt\", \"2\")"]);
        first.kill().unwrap();
        first.wait().unwrap();
        assert!(code == 1 && stderr.contains("another run is writing into"), "{kind}: {stderr}");
        assert_eq!(run(folder.path(), &["--out", kind, "-e", "run::save_text(\"b.txt\", \"2\")"]).0, 0, "{kind}");
        let is_ours = std::fs::symlink_metadata(&lock).is_ok_and(|meta| meta.is_file());
        assert!(kind == "nothing" || !is_ours, "{kind}");
        assert!(out.join("a.txt").is_file() && out.join("b.txt").is_file(), "{kind}");
    }
    assert!(!folder.path().join("elsewhere/made").exists());
    // A folder of checkpoints belongs to its fit for as long as that runs.
    let fit = "sae::fit(tensor::randn([64, 8], #{ seed: 1 }), #{ k: 2, d_sae: 16, batch: 32, steps: 1_000_000, seed: 1, \
        dir: \"kept\", every: 1 })";
    let mut first = microtome(folder.path()).args(["-e", fit]).stderr(Stdio::null()).spawn().unwrap();
    while !folder.path().join("out/kept/fit.safetensors").exists() {
        assert_eq!(first.try_wait().unwrap(), None);
        std::thread::sleep(Duration::from_millis(2));
    }
    let (code, _, stderr) = run(folder.path(), &["-e", fit]);
    first.kill().unwrap();
    first.wait().unwrap();
    assert!(code == 1 && stderr.contains("another run is writing into"), "{stderr}");
}

/// With every write denied, scripts still run; only the record is missing.
#[test]
fn a_run_that_may_not_write_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("x.rhai"), "print(1);").unwrap();
    std::fs::write(folder.path().join("w.rhai"), "run::save_text(\"a.txt\", \"x\");").unwrap();
    let (code, stdout, stderr) = run(folder.path(), &["--deny-write", "/", "run", "x.rhai"]);
    assert_eq!((code, stdout.as_str()), (0, "1\n"), "{stderr}");
    assert!(stderr.starts_with("no run record is written: this script may not write x"), "{stderr}");
    let (code, _, stderr) = run(folder.path(), &["--deny-write", "/", "run", "w.rhai"]);
    assert!(
        code == 1 && stderr.contains("may not write a.txt") && stderr.contains("denied by --deny-write"),
        "{stderr}"
    );
    assert!(!folder.path().join("out").exists());
}

/// Invalid rules are usage errors, reported before anything runs.
#[test]
fn rules_that_cannot_be_read_are_wrong_usage() {
    let folder = tempfile::tempdir().unwrap();
    for (option, typed, said) in [
        ("--deny-net", "https://huggingface.co/x", "--deny-net huggingface.co"),
        ("--allow-net", "127.0.0.1/8", "10.0.*.*"),
        ("--allow-net", "b\u{fc}*.example", "written in ASCII"),
        ("--deny-read", "data/*.txt", "one folder and everything in it"),
        ("--deny-write", "~/data", "one folder and everything in it"),
    ] {
        let (code, stdout, stderr) = run(folder.path(), &[option, typed, "-e", "print(1)"]);
        assert!(code == 2 && stdout.is_empty() && stderr.contains(said), "{code} {stderr}");
    }
}

/// The environment of a process may hold secrets, such as the token of the hub.
#[cfg(target_os = "linux")]
#[test]
fn secrets_of_the_user_are_not_read_by_scripts() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("hf");
    std::fs::create_dir(&home).unwrap();
    std::fs::write(home.join("token"), "hf_secret").unwrap();
    std::os::unix::fs::symlink("/proc/self", folder.path().join("door")).unwrap();
    let token = home.join("token").display().to_string();
    let said = |more: &[&str], path: &str| {
        let code = format!("print(run::load_text(\"{path}\"))");
        let mut command = microtome(folder.path());
        let command = command.args(more).args(["-e", &code]).env("HF_HOME", &home).env("HF_TOKEN", "hf_secret");
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &*String::from_utf8_lossy(&output.stderr);
        (output.status.code(), text)
    };
    for path in ["/proc/self/environ", "door/environ", "/proc/self/root/proc/self/environ", token.as_str()] {
        let (code, text) = said(&[], path);
        assert!(code == Some(1) && text.contains("this script may not read") && !text.contains("hf_secret"), "{text}");
    }
    assert_eq!(said(&["--allow-read", &token], &token), (Some(0), "hf_secret\n".into()));
    let (code, text) = said(&["--allow-read", "/proc"], "/proc/self/environ");
    assert!(code == Some(0) && text.contains("HF_TOKEN=hf_secret"), "{text}");
}

/// The script itself may be read from a pipe that never delivers.
#[cfg(unix)]
#[test]
fn waiting_for_a_script_is_interrupted() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = microtome(folder.path());
    let mut child = command.args(["run", "-"]).stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    // It does not report that it waits. An interruption that comes too early ends it as the system does.
    std::thread::sleep(Duration::from_secs(1));
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let ended = (0..2_000).find_map(|_| {
        std::thread::sleep(Duration::from_millis(10));
        child.try_wait().unwrap()
    });
    child.kill().unwrap();
    child.wait().unwrap();
    let signal = ended.and_then(|status| std::os::unix::process::ExitStatusExt::signal(&status));
    assert!(signal == Some(2) || ended.and_then(|status| status.code()) == Some(130), "{ended:?}");
}

/// Evaluates code in a process with as many kibibytes of address space: its exit code, and its output.
#[cfg(target_os = "linux")]
fn rationed(code: &str, limit: u32) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("x.rhai"), code).unwrap();
    let limited = format!("ulimit -v {limit}; exec {} run x.rhai", env!("CARGO_BIN_EXE_microtome"));
    let output = Command::new("bash").args(["-c", &limited]).current_dir(folder.path()).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}

/// What doubles in each step is refused while there is memory left to report it, and the script can catch the error.
#[cfg(target_os = "linux")]
#[test]
fn what_doubles_is_refused_before_the_memory_is_gone() {
    for doubling in [
        "let s = \"0123456789\"; loop { s += s; }",
        "let a = []; a.pad(1_000_000, 1); loop { a += a; }",
        "let a = []; a.pad(1_000_000, 1); loop { a = [a, a]; }",
        "let m = #{ a: [] }; m.a.pad(1_000_000, 1); loop { m = #{ a: m, b: m }; }",
        "let b = blob(8); loop { b += b; }",
        "let s = \"a\"; s.pad(20_000_000, \"a\"); s.replace('a', \"0123456789012345678901234567890123456789\");",
        "let s = \"a\"; s.pad(120_000_000, \"a\"); loop { s.split(\"\"); s += s; }",
        "let s = \"a\"; s.pad(120_000_000, \"a\"); loop { s.to_chars(); s += s; }",
        "let row = []; row.pad(1_000_000, 0); let all = []; all.pad(1_000_000, row);",
        "let text = \"a\"; text.pad(1_000_000, \"a\"); let all = []; all.pad(1_000_000, text); all.join(\"\")",
        "let text = \"a\"; text.pad(1_000_000, \"a\"); let all = []; all.pad(1_000_000, text); to_json(all)",
        "let text = \"a\"; text.pad(1_000_000, \"a\"); let all = []; all.pad(1_000_000, text); print(all)",
        "let text = \"[\"; text.pad(200_000_000, \"{},\"); parse_json(text)",
    ] {
        let caught = format!("try {{ {doubling} }} catch (e) {{ print(`caught ${{e.kind}}`); }}");
        // How far a value is from the limit at its last step is another at each limit.
        for limit in [2_800_000, 3_050_000] {
            let (code, said) = rationed(&caught, limit);
            assert!(code == Some(0) && said.contains("caught memory"), "{doubling}, {limit}: {code:?} {said}");
        }
    }
}

/// Where no error can be raised, the script is stopped.
#[cfg(target_os = "linux")]
#[test]
fn what_fills_the_memory_otherwise_is_stopped() {
    for filling in [
        "let s = \"0123456789\"; loop { s = `${s}${s}`; }",
        "fn grow() { loop { this += this; } } let s = \"ab\"; s.grow();",
        "fn grow() { loop { this += this; } } let a = [1]; a.grow();",
        "fn grow() { loop { this += this; } } let b = blob(8); b.grow();",
        "let text = \"a\"; text.pad(1_000_000, \"a\"); let all = []; all.pad(1_000_000, text); let s = `${all}`; print(1);",
    ] {
        let (code, said) = rationed(filling, 3_050_000);
        let refused = ["out of memory", "there is no room to work with it"].iter().any(|words| said.contains(words));
        assert!(code == Some(1) && refused, "{filling}: {code:?} {said}");
    }
}

/// Values that contain each other in a circle end in a value or an error.
#[test]
fn circles_of_values_end() {
    let folder = tempfile::tempdir().unwrap();
    let circle = "let m = #{ t: tensor([1, 0.0 / 0.0]) }; print(m.to_json()); m.f = || m.t;
        print(m); print(`${m}`); print([m]); debug(m);
        try { m.to_json() } catch (e) { print(e.message); }
        try { to_json(m) } catch (e) { print(e.message); }
        try { to_json([m]) } catch (e) { print(e.message); }";
    let (code, stdout, stderr) = run(folder.path(), &["-e", circle]);
    assert!(code == 0 && stdout.starts_with("{\"t\":[1.0,\"NaN\"]}\n"), "{stdout}{stderr}");
    assert_eq!(stdout.matches("a function cannot be written as JSON").count(), 3, "{stdout}");
}

/// A chain of values that hold each other is dropped one within the other, in no more of the stack than it took of the
/// memory: so none overflows the stack of a script, which is as large as half of the memory.
#[cfg(target_os = "linux")]
#[test]
fn a_chain_of_values_takes_no_more_stack_than_memory() {
    if !support::apart("hostile::a_chain_of_values_takes_no_more_stack_than_memory") {
        return;
    }
    // Each closure holds the one before it.
    let make = "let f = || 0; for i in 0..400_000 { let g = f; f = || g; }";
    let taken = support::on_large_stack(move || {
        let (_folder, mut session) = support::alone();
        let before = microtome::base::memory::taken();
        assert!(session.eval("chain", make).is_ok());
        microtome::base::memory::taken() - before
    });
    assert!(taken > 64 << 20, "{taken} bytes for 400,000 closures: the measure is wrong");
    let thread = std::thread::Builder::new().stack_size(taken as usize).spawn(move || {
        let folder = tempfile::tempdir().unwrap();
        let ended = support::session(folder.path()).eval("chain", &format!("{make} f = (); 1"));
        ended.unwrap().as_int()
    });
    assert_eq!(thread.unwrap().join().unwrap(), Ok(1));
}

/// Regression: a path of millions of parts was resolved part by part, which took hours without a check for Ctrl-C.
#[test]
fn a_path_that_no_system_opens_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for call in ["run::load_text(p)", "run::save_text(p, \"x\")", "data::text(p)"] {
        let code = format!("let p = \"a\"; p.pad(10_000_000, \"/a\"); {call}");
        let (code, _, stderr) = run(folder.path(), &["-e", &code]);
        assert!(code == 1 && stderr.contains("at most 4096 bytes"), "{call}: {}", &stderr[..stderr.len().min(300)]);
    }
}
