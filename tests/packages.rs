//! Libraries that people share: `microtome new`, `add` and `test`, imports, locks, and the leave of a library.

use std::collections::BTreeMap;
use std::io::{BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use flate2::Compression;
use flate2::write::GzEncoder;
use kit::http::{Request, answer, serve};
use sha2::{Digest, Sha256};

use crate::torture::terminal::{CTRL_C, CTRL_D, Terminal};

/// A folder with a project in `work`, and a cache of its own.
pub struct PackageFolder(tempfile::TempDir);

impl PackageFolder {
    pub fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        std::fs::create_dir(place.path("work")).unwrap();
        place
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        kit::write(self.path(name), text);
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// A library with this manifest after its name and version, and this main module.
    pub fn library(&self, name: &str, more: &str, text: &str) {
        self.write(&format!("{name}/microtome.toml"), &format!("name = \"{name}\"\nversion = \"0.1.0\"\n{more}"));
        self.write(&format!("{name}/lib.rhai"), text);
    }

    pub fn run_in(&self, folder: &str, words: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_microtome"));
        command.current_dir(self.path(folder)).args(words);
        command.env("MICROTOME_CACHE", self.path("cache")).env("XDG_CONFIG_HOME", self.path("config"));
        command.env("HF_HOME", self.path("hub")).env("MICROTOME_PATH", "").env_remove("HF_ENDPOINT");
        command.output().unwrap()
    }

    fn run(&self, words: &[&str]) -> Output {
        self.run_in("work", words)
    }

    /// What it says, all of it, and that it ends with this code.
    pub fn said(&self, code: i32, words: &[&str]) -> String {
        let output = self.run(words);
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8(said).unwrap();
        assert_eq!(output.status.code(), Some(code), "{words:?}: {said}");
        said
    }

    /// What a script of the project prints.
    pub fn printed(&self, script: &str) -> String {
        self.write("work/main.rhai", script);
        let output = self.run(&["run", "main.rhai"]);
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// What is said of a script of the project that fails.
    pub fn refused(&self, script: &str) -> String {
        self.write("work/main.rhai", script);
        self.said(1, &["run", "main.rhai"])
    }
}

pub fn holds(said: &str, words: &[&str]) {
    // Drawings break no lines, so that words are found in one.
    for word in words {
        assert!(said.contains(word), "expected `{word}` in: {said}");
    }
}

const READER: &str = "fn text(path) { run::load_text(path) } fn reader() { |path| run::load_text(path) }
    fn calling(f) { f.call() } fn put(path) { run::save_text(path, \"x\") }
    fn held(path) { data::text(path) } fn first(text) { text.documents(1)[0].text }";

#[test]
fn arguments_checks_and_the_course_of_draws_are_the_scripts_own() {
    let place = PackageFolder::new();
    place.library(
        "heads",
        "",
        "fn secret() { arg(\"secret\") } fn maybe() { arg(\"secret\", \"none\") } fn again() { run::restart(3) }
        fn forged() { run::check(true, \"all is well\") } fn closure() { || arg(\"secret\") } fn calling(f) { f.call() }
        fn printed(text) { print(text) } fn shown(text) { show(text) } fn titled(text) { print(table([], #{ title: text })) }",
    );
    place.said(0, &["add", "../heads", "--yes"]);
    let of = |code: &str| format!("import \"heads\" as heads; {code}");
    for (code, called) in [
        ("heads::secret()", "arg"),
        ("heads::maybe()", "arg"),
        ("heads::closure().call()", "arg"),
        ("heads::again()", "restart"),
        ("heads::forged()", "check"),
    ] {
        holds(&place.refused(&of(code)), &[&format!("`{called}` is for scripts, and"), "heads", "is a library"]);
    }
    // What a library prints is no check.
    let printed = |code: &str| place.printed(&of(code));
    let forged = "check holds: all is well";
    let failed = "check FAILED: nothing is";
    assert_eq!(printed(&format!("heads::printed(\"{forged}\")")), format!("heads: {forged}\n"));
    assert_eq!(printed(&format!("heads::shown(\"one\\n{failed}\")")), format!("one\nheads: {failed}\n"));
    assert!(printed(&format!("heads::titled(\"{forged}\")")).starts_with(&format!("heads: {forged}\n")));
    assert_eq!(printed("heads::printed(\"it holds\"); print(\"check holds: mine\")"), "it holds\ncheck holds: mine\n");
    // The user's own closures stay the user's.
    assert_eq!(place.printed(&of("print(heads::calling(|| arg(\"secret\", \"none\")))")), "none\n");
}

#[test]
fn a_library_reads_and_writes_what_it_was_granted_and_no_more() {
    let place = PackageFolder::new();
    place.library("heads", "[touches]\nread = [\"data\"]\nwrite = [\"made\"]", READER);
    for file in ["work/data/a.txt", "work/secret.txt"] {
        place.write(file, "some words");
    }
    place.said(0, &["add", "../heads", "--yes"]);
    let of = |code: &str| format!("import \"heads\" as heads; {code}");
    assert_eq!(place.printed(&of("print(heads::text(\"data/a.txt\"))")), "some words\n");
    assert_eq!(place.printed(&of("heads::put(\"made/x.txt\"); print(heads::text(\"made/x.txt\"))")), "x\n");
    // The user's own code, and closures of it, have the leave of the run, whoever calls them.
    assert_eq!(place.printed(&of("print(run::load_text(\"secret.txt\"))")), "some words\n");
    assert_eq!(place.printed(&of("print(heads::calling(|| run::load_text(\"secret.txt\")))")), "some words\n");
    // What the user made of a file the library may use.
    assert_eq!(place.printed(&of("print(heads::first(data::text(\"secret.txt\")))")), "some words\n");
    for (code, primitive) in [
        ("heads::text(\"secret.txt\")", "load_text"),
        ("heads::reader().call(\"secret.txt\")", "load_text"),
        ("[\"secret.txt\"].map(heads::reader())", "load_text"),
        ("heads::calling(heads::reader().curry(\"secret.txt\"))", "load_text"),
        ("heads::held(\"secret.txt\").documents(1)", "text"),
        ("heads::text(\"data/../secret.txt\")", "load_text"),
    ] {
        let said = place.refused(&of(code));
        holds(
            &said,
            &[
                "the library `heads` may not read",
                "secret.txt",
                &format!("(by `{primitive}`)"),
                "microtome.toml",
                "read = [",
            ],
        );
        assert!(!said.contains("some words"), "{said}");
    }
    holds(&place.refused(&of("heads::put(\"x.txt\")")), &["may not write x.txt", "write = [\".\"]"]);
    // The run's own rules hold for libraries, too.
    place.write("work/main.rhai", &of("print(heads::text(\"data/a.txt\"))"));
    holds(&place.said(1, &["--deny-read", "data", "run", "main.rhai"]), &["this script may not read"]);
}

/// The stdlib, plain files, other libraries and the loading of a module lend nobody their leave.
#[test]
fn nobody_lends_a_library_leave() {
    let place = PackageFolder::new();
    place.write("work/secret.txt", "some words");
    let reads = "[touches]\nread = [\".\"]\n";
    // `open` may read everything; `sly` nothing, and tries by way of it.
    place.library("open", reads, "fn apply(f, x) { f.call(x) } fn text(path) { run::load_text(path) }");
    place.library(
        "sly",
        "[dependencies]\nopen = { path = \"../open\" }",
        "import \"open\" as open; import \"std/stats\" as stats;
         fn by_other(path) { open::apply(|p| run::load_text(p), path) }
         fn load(path) { run::load_text(path) } fn by_pointer(path) { open::apply(Fn(\"load\"), path) }
         fn by_name(path) { open::apply(load, path) } fn by_fall(path) { reads_all(path) }
         fn by_map(path) { let o = #{ f: |p| run::load_text(p) }; o.f(path) }
         fn by_helper(helper, path) { helper.call(|p| run::load_text(p), path) }
         fn through(path) { open::text(path) }",
    );
    place.said(0, &["add", "../sly", "--yes"]);
    let of = |code: &str| format!("import \"sly\" as sly; {code}");
    for code in [
        "sly::by_other(\"secret.txt\")",
        "sly::by_map(\"secret.txt\")",
        "sly::by_pointer(\"secret.txt\")",
        "sly::by_name(\"secret.txt\")",
        // The user's code has the same closure at the same place, and functions of the same names.
        "fn load(path) { run::load_text(path) } sly::by_name(\"secret.txt\")",
        &format!("\n{:41}|p| run::load_text(p); sly::by_other(\"secret.txt\")", "let same ="),
        "sly::by_helper(|f, x| f.call(x), \"secret.txt\")",
        "fn apply(f, x) { f.call(x) } sly::by_helper(Fn(\"apply\"), \"secret.txt\")",
    ] {
        holds(&place.refused(&of(code)), &["the library `sly` may not read secret.txt"]);
    }
    // A function of the user's is none of the library's.
    holds(
        &place.refused(&of("fn reads_all(path) { run::load_text(path) } sly::by_fall(\"secret.txt\")")),
        &["unknown function `reads_all`"],
    );
    // What `open` itself reads it may read, whoever asks it to: it is its own code that does.
    assert_eq!(place.printed(&of("print(sly::through(\"secret.txt\"))")), "some words\n");
    for (text, words) in [
        ("let x = run::load_text(\"secret.txt\");", "the library `sly` may not read secret.txt"),
        ("fn f() { import \"open\" as o; o::text(\"x\") }", "a library imports at the top"),
        ("let name = \"open\"; import name as o;", "a library imports at the top"),
        ("fn f() { eval(\"1\") }", "a library may not use `eval`"),
        ("fn f() { Fn(\"save\") }", "a library points by name to functions of its own only"),
        ("fn f(name) { [1].map(Fn(name)) }", "a library points by name to functions of its own only"),
        ("import \"open\" as run;", "`run` is a module of the language"),
        ("import \"helper\" as helper;", "which is none of its modules"),
        ("import \"../work/helper\" as helper;", "which is none of its modules"),
    ] {
        place.write("work/helper.rhai", "fn f() { 1 }");
        place.write("sly/lib.rhai", text);
        holds(&place.refused(&of("")), &[words]);
    }
}

/// Closures that read and write, in libraries that are the same byte for byte.
const CLOSURES: &str = r#"fn reading() { |path| run::load_text(path) }
    fn writing() { |path| run::save_text(path, "x") }
    fn is_read() { |path| run::load_text(path).len > 0 }
    fn is_written() { |path| run::save_text(path, "x").len > 0 }
    fn read_hook() { |v| { run::load_text("data/a.txt"); v } }
    fn write_hook() { |v| { run::save_text("made/a.txt", "x"); v } }
    fn read_metric() { |logits, pair| { run::load_text("data/a.txt"); logits.sum() } }
    fn write_metric() { |logits, pair| { run::save_text("made/a.txt", "x"); logits.sum() } }
    fn read_loss() { |t| { run::load_text("data/a.txt"); (t * t).sum() } }
    fn write_loss() { |t| { run::save_text("made/a.txt", "x"); (t * t).sum() } }"#;

/// Ways of calling them, of the library `L`; the first of two reads, the second writes.
const CALLED: &[[&str; 2]] = &[
    [r#"L::reading().call("data/a.txt")"#, r#"L::writing().call("made/a.txt")"#],
    [r#"["data/a.txt"].map(L::reading())"#, r#"["made/a.txt"].map(L::writing())"#],
    [r#"["data/a.txt"].find(L::is_read())"#, r#"["made/a.txt"].find(L::is_written())"#],
    [
        r#"m.run([1, 2], #{ hooks: hooks::edit("resid_post.0", L::read_hook()) })"#,
        r#"m.run([1, 2], #{ hooks: hooks::edit("resid_post.0", L::write_hook()) })"#,
    ],
    ["metric::of(L::read_metric()).values(m, pairs)", "metric::of(L::write_metric()).values(m, pairs)"],
    ["tensor::grad(L::read_loss(), tensor([1.0]))", "tensor::grad(L::write_loss(), tensor([1.0]))"],
];

#[test]
fn closures_of_one_text_have_the_leave_of_their_own_library() {
    let place = PackageFolder::new();
    place.library("a", "[touches]\nread = [\"data\"]\nwrite = [\"made\"]", CLOSURES);
    place.library("b", "", CLOSURES);
    place.write("work/data/a.txt", "some words");
    for library in ["../a", "../b"] {
        place.said(0, &["add", library, "--yes"]);
    }
    for order in [["a", "b"], ["b", "a"]] {
        let mut script: String = order.iter().map(|name| format!("import \"{name}\" as {name};\n")).collect();
        script.push_str(
            "let m = model::init(#{ layers: 1, d_model: 4, heads: 1, vocab: 5 }, #{ seed: 1 });
            let pairs = [#{ clean: [1, 2], token: 3 }];
            let told = |f| { let said = \"done\"; try { f.call(); } catch (e) { said = e.message; } print(said) };\n",
        );
        let mut expected = Vec::new();
        for way in CALLED {
            for (code, refused) in way.iter().zip(["read data/a.txt", "write made/a.txt"]) {
                for library in order {
                    script.push_str(&format!("told.call(|| {});\n", code.replace("L::", &format!("{library}::"))));
                    let refused = format!("the library `b` may not {refused}");
                    expected.push((code, if library == "a" { "done".into() } else { refused }));
                }
            }
        }
        let printed = place.printed(&script);
        assert_eq!(printed.lines().count(), expected.len(), "{printed}");
        for (line, (code, expected)) in printed.lines().zip(expected) {
            assert!(line.starts_with(&expected), "{order:?}, {code}: {line}");
        }
    }
}

#[test]
fn modules_import_each_other_and_a_declared_name_wins() {
    let place = PackageFolder::new();
    place.library("heads", "", "import \"deep/a\" as a; import \"heads/deep/b\" as b; fn all() { [a::f(), b::f()] }");
    place.write(
        "heads/deep/a.rhai",
        "import \"b\" as b; import \"../top\" as top; fn f() { `a ${b::f()} ${top::f()}` }",
    );
    place.write("heads/deep/b.rhai", "fn f() { \"b\" }");
    place.write("heads/top.rhai", "fn f() { \"top\" }");
    place.said(0, &["add", "../heads", "--yes"]);
    place.write("work/heads.rhai", "fn all() { \"beside\" }");
    assert_eq!(place.printed("import \"heads\" as h; print(h::all());"), "[\"a b top\", \"b\"]\n");
    assert_eq!(place.printed("import \"./heads\" as h; print(h::all());"), "beside\n");
    assert_eq!(place.printed("import \"heads/deep/b\" as b; print(b::f());"), "b\n");
    holds(&place.refused("import \"heads/deep/c\" as c;"), &["the library `heads` has no module `deep/c`"]);
    // From a folder of the project, too; and `microtome check` and the prompt know it.
    place.write("work/scripts/x.rhai", "import \"heads\" as h; print(h::all());");
    assert_eq!(place.said(0, &["run", "scripts/x.rhai"]), "[\"a b top\", \"b\"]\n");
    place.write("work/y.rhai", "import \"heads\" as h; h::alll();");
    holds(&place.said(1, &["check", "y.rhai"]), &["unknown function `h::alll`"]);
}

#[test]
fn a_new_library_passes_its_tests_and_overwrites_nothing() {
    let place = PackageFolder::new();
    place.said(0, &["new", "lib", "mine"]);
    let said = place.said(0, &["test", "mine"]);
    holds(&said, &["example of share_above", "test_all_or_nothing", "3 tests passed, 0 failed"]);
    holds(&place.said(0, &["test", "mine", "--again", "--jobs", "1"]), &["3 tests passed"]);
    holds(&place.said(0, &["test", "mine", "--only", "nothing_to"]), &["1 test passed"]);
    holds(&place.said(1, &["new", "lib", "mine"]), &["there is something called mine already"]);
    for wrong in ["Mine", "std", "../x", ""] {
        place.said(2, &["new", "lib", wrong]);
    }
}

#[test]
fn failed_tests_are_drawn_and_have_their_exit_codes() {
    let place = PackageFolder::new();
    place.write("work/checks.rhai", "fn test_it() { run::check(1 == 2, \"one is two\"); }");
    holds(&place.said(3, &["test"]), &["FAILED", "check FAILED: one is two", "0 tests passed, 1 failed"]);
    place.write("work/throws.rhai", "fn test_it() {\n    throw \"no\";\n}");
    holds(&place.said(1, &["test"]), &["throws.rhai:2:5", "2 failed"]);
    place.write("work/throws.rhai", "fn test_it() { print(timestamp()); run::save_text(\"x\", \"1\"); }");
    place.write("work/checks.rhai", "1 + 1  //=> 3");
    holds(&place.said(1, &["test", "checks.rhai"]), &["expected 3, found 2", "checks.rhai:1:1"]);
    place.write("work/none/x.rhai", "1");
    holds(&place.said(1, &["test", "none"]), &["there are no tests in none"]);
}

#[test]
fn the_leave_is_shown_agreed_to_and_locked() {
    let place = PackageFolder::new();
    place.library("rates", "[touches]\nnet = [\"example.org\"]", "fn f() { 1 }");
    place.library(
        "heads",
        "[touches]\nread = [\"data\"]\n[dependencies]\nrates = { path = \"../rates\" }",
        "print(\"ran\");",
    );
    holds(
        &place.said(2, &["add", "../heads"]),
        &["connects to  example.org (new)", "reads        data (new)", "was not agreed to", "--yes"],
    );
    assert!(!place.path("work/microtome.toml").exists() && !place.path("work/microtome.lock").exists());
    place.write("work/microtome.toml", "# mine\n");
    let said = place.said(0, &["add", "../heads", "--yes"]);
    assert!(!said.contains("ran\n"), "{said}");
    assert_eq!(place.read("work/microtome.toml"), "# mine\n\n[dependencies]\nheads = { path = \"../heads\" }\n");
    let lock = place.read("work/microtome.lock");
    holds(&lock, &["name = \"rates\"", "net = [\"example.org\"]", "needs = [\"rates\"]"]);
    holds(&place.said(0, &["add"]), &["nothing is new"]);
    // Only what the project names itself may be imported by its scripts.
    holds(&place.refused("import \"rates\" as rates;"), &["cannot find the library `rates`"]);
    // A library that wants more than it was granted.
    place.library(
        "heads",
        "[touches]\nread = [\"data\", \"more\"]\n[dependencies]\nrates = { path = \"../rates\" }",
        "",
    );
    holds(&place.refused("import \"heads\" as heads;"), &["more than it was granted: read more", "microtome add"]);
    place.library("heads", "[touches]\nread = [\"data\"]\n", "");
    holds(&place.refused("import \"heads\" as heads;"), &["other dependencies of `heads`"]);
    place.write("heads/microtome.toml", "name = \"heads\"\nversion = \"0.2.0\"\n");
    holds(&place.refused("import \"heads\" as heads;"), &["has `heads` 0.1.0", "is `heads` 0.2.0"]);
    std::fs::remove_file(place.path("work/microtome.lock")).unwrap();
    holds(&place.refused("import \"heads\" as heads;"), &["microtome.lock is missing"]);
    place.write("work/microtome.toml", "[dependencies]\nhaeds = 3\n");
    holds(&place.refused("import \"heads\" as heads;"), &["microtome.toml:2:9"]);
    holds(&place.said(1, &["add"]), &["microtome.toml:2:9", "haeds = 3"]);
}

#[test]
fn a_person_is_asked_and_only_yes_is_yes() {
    let place = PackageFolder::new();
    place.library("rates", "[touches]\nnet = [\"example.org\"]", "fn f() { 1 }");
    let cache = place.path("cache");
    for (answer, code) in [("n\r", 1), ("\r", 1), ("yess\r", 1), (CTRL_D, 1), (CTRL_C, 130), ("y\r", 0)] {
        let variables = [("MICROTOME_CACHE", cache.to_str().unwrap())];
        let mut terminal = Terminal::start_with(&place.path("work"), &["add", "../rates"], &variables);
        terminal.see("example.org");
        terminal.see("May they? [y/N]");
        assert!(!place.path("work/microtome.toml").exists() && !place.path("work/microtome.lock").exists());
        terminal.send(answer);
        assert_eq!(terminal.ended(), code, "{answer:?}:\n{}", terminal.screen());
    }
    holds(&place.read("work/microtome.lock"), &["name = \"rates\""]);
    // What was agreed to is offered where it can be imported.
    let mut terminal = Terminal::ready(&place.path("work"));
    terminal.send("import \"rat\t");
    terminal.see("import \"rates");
}

#[test]
fn control_c_ends_the_tests() {
    let place = PackageFolder::new();
    place.write(
        "work/slow.rhai",
        "fn test_a() { print(\"begun\"); loop {} }\nfn test_b() { loop {} }\nfn test_c() { loop {} }",
    );
    place.write("work/quick.rhai", "fn test_first() { 1 }");
    let mut terminal = Terminal::start_with(&place.path("work"), &["test", "--jobs", "2"], &[]);
    terminal.see("quick.rhai: test_first");
    let pressed = Instant::now();
    terminal.send(CTRL_C);
    assert_eq!(terminal.ended(), 130, "{}", terminal.screen());
    println!("stopped after {:?}", pressed.elapsed());
    terminal.see("interrupted");
}

#[test]
fn conflicts_and_circles_are_refused_by_name() {
    let place = PackageFolder::new();
    place.library("rates", "", "");
    place.write("old/microtome.toml", "name = \"rates\"\nversion = \"0.0.9\"\n");
    place.library("a", "[dependencies]\nrates = { path = \"../rates\" }", "");
    place.library("b", "[dependencies]\nrates = { path = \"../old\" }", "");
    place.library("both", "[dependencies]\na = { path = \"../a\" }\nb = { path = \"../b\" }", "");
    let said = place.said(1, &["add", "../both", "--yes"]);
    holds(&said, &["two versions of `rates`", "0.1.0", "which a needs", "0.0.9", "which b needs"]);
    place.library("a", "[dependencies]\nb = { path = \"../b\" }", "");
    place.library("b", "[dependencies]\na = { path = \"../a\" }", "");
    holds(&place.said(1, &["add", "../a", "--yes"]), &["in a circle", "a -> b -> a"]);
    place.library("c", "[dependencies]\nother = { path = \"../rates\" }", "");
    holds(&place.said(1, &["add", "../c", "--yes"]), &["c needs `other`", "that is `rates`"]);
    place.library("new", "microtome = \">=99\"", "");
    holds(&place.said(1, &["add", "../new", "--yes"]), &["`new` needs microtome >=99"]);
    holds(&place.said(1, &["add", "../none", "--yes"]), &["there is no library in"]);
}

pub fn packed(files: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (path, text) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, path, text.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap().finish().unwrap()
}

/// A forge on loopback: what lies at each path, where `Err` redirects; and the paths that were asked for.
struct Forge {
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Forge {
    fn new(files: Vec<(&str, Result<Vec<u8>, String>)>) -> Self {
        let files: BTreeMap<String, _> = files.into_iter().map(|(path, file)| (path.to_string(), file)).collect();
        let files = Arc::new(files);
        let asked = Arc::new(Mutex::new(Vec::new()));
        let noted = asked.clone();
        let port = serve(move |mut stream| {
            let Some(request) = Request::read(&mut BufReader::new(&stream)) else { return };
            let answer = match files.get(&request.target) {
                Some(Ok(bytes)) => answer("200 OK", &[], bytes),
                Some(Err(to)) => answer("302 Found", &[("Location", to.as_str())], b""),
                None => answer("404 Not Found", &[], b""),
            };
            noted.lock().unwrap().push(request.target);
            let _gone = stream.write_all(&answer);
        });
        Self { address: format!("http://127.0.0.1:{port}"), asked }
    }

    fn asked(&self) -> usize {
        std::mem::take(&mut *self.asked.lock().unwrap()).len()
    }
}

#[test]
fn an_archive_is_fetched_once_and_kept_by_its_hash() {
    let archive = packed(&[
        ("heads-1/microtome.toml", "name = \"heads\"\nversion = \"1.0.0\"\n[touches]\nread = [\"data\"]\n"),
        ("heads-1/lib.rhai", "import \"more\" as more; fn f() { more::g() } fn text(p) { run::load_text(p) }"),
        ("heads-1/more.rhai", "fn g() { \"from the archive\" }"),
    ]);
    let hash: String = Sha256::digest(&archive).iter().map(|b| format!("{b:02x}")).collect();
    let forge = Forge::new(vec![
        ("/v1.tar.gz", Ok(archive.clone())),
        ("/moved.tar.gz", Err("/v1.tar.gz".into())),
        ("/away.tar.gz", Err("http://localhost:1/x.tar.gz".into())),
        ("/large.tar.gz", Ok(vec![0; (16 << 20) + 1])),
        ("/page.tar.gz", Ok(b"<html>".to_vec())),
    ]);
    let place = PackageFolder::new();
    let at = |path: &str| format!("{}{path}", forge.address);
    holds(&place.said(1, &["add", &at("/none.tar.gz"), "--yes"]), &["there is nothing at"]);
    holds(&place.said(1, &["add", &at("/large.tar.gz"), "--yes"]), &["at most 16.0 MiB"]);
    holds(&place.said(1, &["add", &at("/page.tar.gz"), "--yes"]), &["no .tar.gz"]);
    holds(&place.said(1, &["add", &at("/away.tar.gz"), "--yes"]), &["may not connect to localhost"]);
    let wrong = "0".repeat(64);
    let said = place.said(1, &["add", &at("/v1.tar.gz"), "--hash", &wrong, "--yes"]);
    holds(&said, &["not the expected archive", &format!("expected SHA-256 {wrong}, found {hash}")]);
    assert!(!place.path("work/microtome.toml").exists() && !place.path("cache/libraries").exists());
    forge.asked();
    place.said(0, &["add", &at("/moved.tar.gz"), "--yes"]);
    assert_eq!(forge.asked(), 2, "the redirection and the archive");
    holds(&place.read("work/microtome.toml"), &[&format!("hash = \"sha256:{hash}\"")]);
    assert_eq!(place.printed("import \"heads\" as heads; print(heads::f());"), "from the archive\n");
    let said = place.refused("import \"heads\" as heads; heads::text(\"x\")");
    holds(&said, &["the library `heads` may not read x", "heads@1.0.0/lib.rhai"]);
    // From the cache, without the network; and again without the lock file.
    place.said(0, &["add", &at("/moved.tar.gz"), "--yes"]);
    std::fs::remove_file(place.path("work/microtome.lock")).unwrap();
    place.said(0, &["add", "--yes"]);
    assert_eq!(forge.asked(), 0);
    // Another project, with the hash known beforehand.
    place.write("work/microtome.toml", "");
    place.said(0, &["add", &at("/v1.tar.gz"), "--hash", &hash, "--yes"]);
    // A manifest that disagrees with the lock file, and a cache that was changed.
    let manifest = place.read("work/microtome.toml");
    place.write("work/microtome.toml", &manifest.replace(&hash, &wrong));
    holds(&place.refused("import \"heads\" as heads;"), &[&wrong, &hash, "microtome add"]);
    place.write("work/microtome.toml", &manifest);
    let kept = format!("cache/libraries/{hash}.tar.gz");
    place.write(&kept, "others");
    holds(&place.refused("import \"heads\" as heads;"), &["has changed: expected SHA-256", &hash]);
    std::fs::remove_file(place.path(&kept)).unwrap();
    holds(&place.refused("import \"heads\" as heads;"), &["is not in the cache", "microtome add"]);
}

/// The record of a run has the texts of its libraries: it is repeated without them.
#[test]
fn a_recorded_run_is_repeated_without_its_libraries() {
    let place = PackageFolder::new();
    place.library(
        "heads",
        "[touches]\nwrite = [\"made\"]",
        "import \"std/stats\" as stats; fn put() { run::save_text(\"made/x\", \"x\") }",
    );
    place.said(0, &["add", "../heads", "--yes"]);
    place.write("work/main.rhai", "import \"heads\" as heads; print(heads::put());");
    place.said(0, &["run", "main.rhai"]);
    std::fs::remove_dir_all(place.path("heads")).unwrap();
    std::fs::remove_file(place.path("work/microtome.toml")).unwrap();
    std::fs::remove_file(place.path("work/microtome.lock")).unwrap();
    holds(&place.said(0, &["run", "--again", "out/main/run.json"]), &["identical: 1 file written"]);
}

/// The library in `examples/library` passes its tests, on a copy of it, twice with the same bytes.
#[test]
fn the_example_library_passes_its_tests() {
    let place = PackageFolder::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/library");
    for entry in walkdir::WalkDir::new(&root).into_iter().flatten().filter(|entry| entry.file_type().is_file()) {
        let name = entry.path().strip_prefix(&root).unwrap().display().to_string();
        place.write(&format!("work/{name}"), &std::fs::read_to_string(entry.path()).unwrap());
    }
    let said = place.said(0, &["test", "--again"]);
    holds(&said, &["heads/lib.rhai: example of scores", "rates/tests/lib.rhai: test_", "0 failed"]);
    // The lock file is what `microtome add` writes.
    holds(&String::from_utf8_lossy(&place.run_in("work/heads", &["add"]).stderr), &["nothing is new"]);
}

#[test]
fn who_imports_what_is_not_there_hears_of_add() {
    let place = PackageFolder::new();
    let said = place.refused("import \"heads\" as heads;");
    holds(&said, &["cannot find the library `heads`", "`microtome add` fetches what others have written"]);
}

/// A library that is refused prints no lines of its own, either.
#[test]
fn what_a_refused_manifest_says_is_visible() {
    let place = PackageFolder::new();
    for (more, said) in [
        (
            "[touches]\nread = [\"../x\\n  reads nothing\\u200b\"]",
            "expected a folder below the user's, found `../x↵  reads",
        ),
        ("[dependencies]\na = { path = \"../x\\n  reads nothing\\u200b\" }", "there is no library in ../x↵  reads"),
    ] {
        place.library("sly", more, "fn f() { 1 }");
        let refused = place.said(1, &["add", "../sly", "--yes"]);
        holds(&refused, &[said]);
        assert!(!refused.contains('\u{200b}'), "{refused}");
    }
}
