//! The server for editors, spoken to by its protocol: what an editor asks while somebody writes, and clients that mean
//! harm.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use kit::editor::Editor;
use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_microtome");

fn range(line: u32, start: u32, end: u32) -> Value {
    json!({ "start": { "line": line, "character": start }, "end": { "line": line, "character": end } })
}

/// The text after edits, which come in the order of the text and do not overlap, in lines without wide letters.
fn edited(text: &str, edits: &Value) -> String {
    let byte = |place: &Value| {
        let line = place["line"].as_u64().unwrap() as usize;
        let before: usize = text.split_inclusive('\n').take(line).map(str::len).sum();
        before + place["character"].as_u64().unwrap() as usize
    };
    let mut new = text.to_string();
    for edit in edits.as_array().unwrap().iter().rev() {
        let bytes = byte(&edit["range"]["start"])..byte(&edit["range"]["end"]);
        new.replace_range(bytes, edit["newText"].as_str().unwrap());
    }
    new
}

fn labels(completion: &Value) -> Vec<&str> {
    completion.as_array().unwrap().iter().map(|item| item["label"].as_str().unwrap()).collect()
}

#[test]
fn a_mistake_is_shown_where_it_is_and_mended_by_an_action() {
    let folder = tempfile::tempdir().unwrap();
    let mut editor = Editor::begun(PROGRAM, folder.path());
    let text = "let x = 3;\nrun::chekc(x > 2, \"three\");\n";
    let uri = editor.open("a.rhai", text);
    let mistakes = editor.mistakes(&uri, 1);
    assert_eq!(mistakes.len(), 1, "{mistakes:?}");
    assert_eq!(mistakes[0]["range"], range(1, 5, 10));
    let message = "unknown function `run::chekc`\nhint: did you mean `run::check`?";
    assert_eq!(
        (&mistakes[0]["message"], &mistakes[0]["code"], &mistakes[0]["severity"], &mistakes[0]["source"]),
        (&json!(message), &json!("name"), &json!(1), &json!("microtome"))
    );
    let asked = json!({
        "textDocument": { "uri": uri }, "range": range(1, 6, 6), "context": { "diagnostics": mistakes },
    });
    let actions = editor.result("textDocument/codeAction", asked);
    assert_eq!((&actions[0]["title"], &actions[0]["kind"]), (&json!("Replace with `run::check`"), &json!("quickfix")));
    let mended = edited(text, &actions[0]["edit"]["changes"][&uri]);
    assert_eq!(mended, "let x = 3;\nrun::check(x > 2, \"three\");\n");
    editor.change(&uri, 2, json!([{ "text": mended }]));
    assert_eq!(editor.mistakes(&uri, 2), [] as [Value; 0]);
}

#[test]
fn a_mistake_behind_an_emoji_is_counted_as_the_protocol_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut editor = Editor::begun(PROGRAM, folder.path());
    let uri = editor.open("a.rhai", "let a = \"🙂\" + oops;\r\nlet b = a;\r\n");
    assert_eq!(editor.mistakes(&uri, 1)[0]["range"], range(0, 15, 19));
    // A key behind the emoji, in UTF-16 code units; then the mistake is on the second line.
    let first = json!({ "range": range(0, 15, 19), "text": "\"\"" });
    let second = json!({ "range": range(1, 8, 9), "text": "oops" });
    editor.change(&uri, 2, json!([first, second]));
    assert_eq!(editor.mistakes(&uri, 2)[0]["range"], range(1, 8, 12));
}

#[test]
fn of_many_keys_the_last_is_answered_and_two_texts_stay_apart() {
    let folder = tempfile::tempdir().unwrap();
    let mut editor = Editor::begun(PROGRAM, folder.path());
    let one = editor.open("one.rhai", "fn area(k) { k }\n");
    let two = editor.open("two.rhai", "area(1);\n");
    // A function of another text is none of this one.
    let mistakes = editor.mistakes(&two, 1);
    assert_eq!(mistakes[0]["message"].as_str().unwrap().lines().next(), Some("unknown function `area`"));
    for version in 2..100 {
        editor.change(&one, version, json!([{ "text": format!("let n = {version}; m") }]));
    }
    editor.change(&one, 100, json!([{ "text": "let n = 100; n" }]));
    assert_eq!(editor.mistakes(&one, 100), [] as [Value; 0]);
    editor.tell("textDocument/didClose", json!({ "textDocument": { "uri": one } }));
    let asked = json!({ "textDocument": { "uri": one } });
    assert_eq!(editor.request("textDocument/documentSymbol", asked)["error"]["code"], -32602);
}

#[test]
fn completion_knows_names_options_sites_and_labels() {
    let folder = tempfile::tempdir().unwrap();
    let mut editor = Editor::begun(PROGRAM, folder.path());
    let none = json!({});
    let complete = "textDocument/completion";
    let found = editor.at(complete, "a.rhai", "tensor::randn([2], #{ s¦ })", none.clone());
    assert!(labels(&found).contains(&"seed"), "{found}");
    assert_eq!(found[0]["textEdit"]["range"], range(0, 22, 23));
    assert_eq!(found[0]["textEdit"]["newText"], "seed: ");
    assert!(found[0]["documentation"]["value"].as_str().is_some_and(|said| !said.is_empty()), "{found}");
    for (marked, wanted) in [
        ("let alpha = 1;\nal¦", "alpha"),
        ("circuit::comp¦", "compiled"),
        ("let t = tensor::zeros([2]);\nt.resh¦", "reshape"),
        ("let x = tensor::ones([2, 2]);\nsae::fit(x, #{ kind: \"¦\" })", "topk"),
        ("let m = model::load(\"tiny\");\nm.run(\"a\", #{ sites: \"resid_post.¦\" })", "resid_post.3"),
        ("import \"std/¦\"", "std/stats"),
    ] {
        let found = editor.at(complete, "b.rhai", marked, none.clone());
        assert!(labels(&found).contains(&wanted), "{marked}: {:?}", labels(&found));
    }
    // A module of the stdlib that is not imported comes with its import.
    let found = editor.at(complete, "c.rhai", "// about\nstats::interv¦", none);
    let import = &found[0]["additionalTextEdits"][0];
    assert_eq!((&import["newText"], &import["range"]), (&json!("import \"std/stats\" as stats;\n"), &range(1, 0, 0)));
}

#[test]
fn hover_and_signatures_say_what_the_reference_says() {
    let folder = tempfile::tempdir().unwrap();
    let mut editor = Editor::begun(PROGRAM, folder.path());
    let hover = editor.at("textDocument/hover", "a.rhai", "tensor::ran¦dn([2], #{ seed: 1 })", json!({}));
    let said = hover["contents"]["value"].as_str().unwrap();
    for part in ["```rhai\ntensor::randn(shape: integers", "- `seed`", "tensor::randn("] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!((&hover["contents"]["kind"], &hover["range"]), (&json!("markdown"), &range(0, 8, 13)));
    let own = "/// Returns twice as much.\nfn twice(x) { 2 * x }\ntwi¦ce(1)";
    let hover = editor.at("textDocument/hover", "b.rhai", own, json!({}));
    assert!(hover["contents"]["value"].as_str().unwrap().contains("Returns twice as much."), "{hover}");
    assert_eq!(editor.at("textDocument/hover", "c.rhai", "1 ¦+ 2", json!({})), Value::Null);
    let help = editor.at("textDocument/signatureHelp", "d.rhai", "run::check(1 == 1, ¦", json!({}));
    assert_eq!(help["activeParameter"], 1);
    assert_eq!(help["signatures"][0]["label"], "run::check(condition: bool, message: string) -> bool");
}

#[test]
fn definitions_lead_into_the_stdlib_and_into_libraries() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let place = folder.path().join(name);
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        std::fs::write(place, text).unwrap();
    };
    write("microtome.toml", "name = \"heads\"\nversion = \"0.1.0\"\n");
    write("lib.rhai", "// A library.\n\n/// Returns 2.\nfn two() { 2 }\n");
    write("tools/own.rhai", "fn one() { 1 }\nfn one(x) { x }\n");
    let mut editor = Editor::begun(PROGRAM, folder.path());
    let definition = "textDocument/definition";
    let std = editor.at(definition, "a.rhai", "import \"std/stats\" as st;\nst::auro¦c([1], [2])", json!({}));
    let file = std["uri"].as_str().unwrap().strip_prefix("file://").unwrap();
    let text = std::fs::read_to_string(file).unwrap();
    let line = std["range"]["start"]["line"].as_u64().unwrap() as usize;
    assert!(text.lines().nth(line).unwrap().starts_with("fn auroc("), "{std}");
    // The file is of the program, and says nothing while it is open.
    let uri = std["uri"].as_str().unwrap().to_string();
    let document = json!({ "uri": uri, "languageId": "rhai", "version": 1, "text": text });
    editor.tell("textDocument/didOpen", json!({ "textDocument": document }));
    assert_eq!(editor.mistakes(&uri, 1), [] as [Value; 0]);
    for (marked, file, range) in [
        ("import \"heads\" as h;\nh::t¦wo()", "lib.rhai", range(3, 3, 6)),
        ("import \"tools/own\" as own;\nown::on¦e(1)", "tools/own.rhai", range(1, 3, 6)),
        ("import \"tools/o¦wn\" as own;", "tools/own.rhai", range(0, 0, 0)),
        ("fn f(x) { ¦x }", "b.rhai", range(0, 5, 6)),
    ] {
        let found = editor.at(definition, "b.rhai", marked, json!({}));
        assert_eq!((found["uri"].as_str().unwrap(), &found["range"]), (editor.uri(file).as_str(), &range), "{marked}");
    }
}

#[test]
fn a_name_is_renamed_where_it_means_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let mut editor = Editor::begun(PROGRAM, folder.path());
    let text = "let x = 1;\nfn f(x) { x + 1 }\nprint(f(x));\n";
    let marked = "let ¦x = 1;\nfn f(x) { x + 1 }\nprint(f(x));\n";
    let named = editor.at("textDocument/rename", "a.rhai", marked, json!({ "newName": "start" }));
    let new = edited(text, &named["changes"][&editor.uri("a.rhai")]);
    assert_eq!(new, "let start = 1;\nfn f(x) { x + 1 }\nprint(f(start));\n");
    let prepared = editor.at("textDocument/prepareRename", "a.rhai", marked, json!({}));
    assert_eq!(prepared, json!({ "range": range(0, 4, 5), "placeholder": "x" }));
    let context = json!({ "context": { "includeDeclaration": false } });
    let uses = editor.at("textDocument/references", "a.rhai", marked, context);
    assert_eq!((uses.as_array().unwrap().len(), &uses[0]["range"]), (1, &range(2, 8, 9)));
    // A name that would mean something else is refused, and why is said.
    let place = json!({ "line": 0, "character": 4 });
    let asked = json!({ "textDocument": { "uri": editor.uri("a.rhai") }, "position": place, "newName": "if" });
    let refused = editor.request("textDocument/rename", asked);
    assert!(refused["error"]["message"].as_str().unwrap().starts_with("expected a name, found `if`"), "{refused}");
    let uri = editor.uri("a.rhai");
    let symbols = editor.result("textDocument/documentSymbol", json!({ "textDocument": { "uri": uri } }));
    let names: Vec<&str> = symbols.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["x", "f"]);
}

#[test]
fn a_text_is_formatted_if_it_is_a_script() {
    let folder = tempfile::tempdir().unwrap();
    let mut editor = Editor::begun(PROGRAM, folder.path());
    let text = "let x  = unknown;\nif x > 1 {\nprint( x );\n}\n";
    let options = json!({ "tabSize": 2, "insertSpaces": true });
    for (name, text, wanted) in [
        ("a.rhai", text, "let x = unknown;\nif x > 1 {\n    print(x);\n}\n"),
        ("b.rhai", "let x  = ;\n", "let x  = ;\n"),
        ("c.rhai", "let x = 1;\n", "let x = 1;\n"),
    ] {
        let uri = editor.open(name, text);
        let asked = json!({ "textDocument": { "uri": uri }, "options": options });
        let edits = editor.result("textDocument/formatting", asked);
        assert_eq!(edited(text, &edits), wanted, "{name}");
    }
    let uri = editor.open("d.rhai", "let t = tensor::zeros([2, 3]);\nlet u = t + 1;\n");
    let asked = json!({ "textDocument": { "uri": uri }, "range": range(0, 0, 40) });
    let hints = editor.result("textDocument/inlayHint", asked);
    assert_eq!((hints.as_array().unwrap().len(), &hints[0]["label"]), (1, &json!(": [2, 3]")));
}

#[test]
fn nothing_is_run() {
    let folder = tempfile::tempdir().unwrap();
    let library = "run::save_text(\"library.txt\", \"x\");\nloop {}\nfn one() { 1 }\n";
    std::fs::write(folder.path().join("own.rhai"), library).unwrap();
    let mut editor = Editor::begun(PROGRAM, folder.path());
    let text = "import \"own\" as own;\nrun::save_text(\"script.txt\", \"x\");\nown::one();\nown::two();\nloop {}\n";
    let uri = editor.open("a.rhai", text);
    let mistakes = editor.mistakes(&uri, 1);
    assert_eq!((mistakes.len(), &mistakes[0]["range"]), (1, &range(3, 5, 8)), "{mistakes:?}");
    assert!(!folder.path().join("out").exists());
    // What is imported is read again when something was saved.
    std::fs::write(folder.path().join("own.rhai"), format!("{library}fn two() {{ 2 }}\n")).unwrap();
    editor.tell("textDocument/didSave", json!({ "textDocument": { "uri": uri } }));
    assert_eq!(editor.mistakes(&uri, 1), [] as [Value; 0]);
    // A mistake of a library is shown where that is imported, with its place there.
    std::fs::write(folder.path().join("own.rhai"), "\nfn f( {\n").unwrap();
    editor.tell("textDocument/didSave", json!({ "textDocument": { "uri": uri } }));
    let mistakes = editor.mistakes(&uri, 1);
    assert_eq!(mistakes[0]["range"], range(0, 0, 6));
    let place = &mistakes[0]["relatedInformation"][0]["location"];
    assert_eq!(place["uri"].as_str().unwrap(), editor.uri("own.rhai"));
    assert_eq!(place["range"]["start"]["line"], 1);
}

#[test]
fn hostile_texts_leave_the_server_alive() {
    let folder = tempfile::tempdir().unwrap();
    let mut editor = Editor::begun(PROGRAM, folder.path());
    let texts = [
        "(".repeat(100_000),
        "{".repeat(100_000),
        format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000)),
        "`${".repeat(50_000),
        "/*".repeat(50_000),
        "fn f() { f".repeat(5_000),
        "let a = |b| ".repeat(3_000),
        "\u{0}\u{feff}\u{202e}é🙂\r\r\n".repeat(1_000),
        format!("{}{}", "let a = 1;".repeat(3_000), "let f = || a;".repeat(3_000)),
        "x".repeat(1 << 20),
    ];
    for (number, text) in texts.iter().enumerate() {
        let uri = editor.open(&format!("{number}.rhai"), text);
        let _some = editor.mistakes(&uri, 1);
        let place = json!({ "line": 0, "character": 50_000 });
        let asked = json!({ "textDocument": { "uri": uri }, "position": place });
        for method in ["completion", "hover", "signatureHelp", "definition"] {
            editor.result(&format!("textDocument/{method}"), asked.clone());
        }
        editor.result("textDocument/documentSymbol", json!({ "textDocument": { "uri": uri } }));
        editor.result("textDocument/formatting", json!({ "textDocument": { "uri": uri }, "options": {} }));
    }
    let uri = editor.open("last.rhai", "oops");
    assert_eq!(editor.mistakes(&uri, 1).len(), 1);
}

#[test]
fn what_is_not_known_is_answered_with_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let mut editor = Editor::started(PROGRAM, folder.path());
    assert_eq!(editor.request("textDocument/hover", json!({}))["error"]["code"], -32002);
    editor.request("initialize", json!({ "capabilities": {} }));
    editor.tell("$/unknown", json!({}));
    editor.tell("textDocument/didChange", json!({ "textDocument": 7 }));
    for (method, params, code) in [
        ("workspace/unknown", json!({}), -32601),
        ("textDocument/hover", json!({ "textDocument": 7 }), -32602),
        ("textDocument/hover", json!([]), -32602),
        ("initialize", json!({ "capabilities": {} }), -32600),
    ] {
        let reply = editor.request(method, params);
        assert_eq!(reply["error"]["code"], code, "{method}: {reply}");
    }
    editor.send(&json!({ "jsonrpc": "2.0", "id": "text", "result": null }));
    let uri = editor.open("a.rhai", "oops");
    assert_eq!(editor.mistakes(&uri, 1).len(), 1);
}

#[test]
fn the_server_ends_with_its_client() {
    let folder = tempfile::tempdir().unwrap();
    let mut editor = Editor::begun(PROGRAM, folder.path());
    assert_eq!(editor.result("shutdown", Value::Null), Value::Null);
    assert_eq!(editor.request("textDocument/hover", json!({}))["error"]["code"], -32600);
    editor.tell("exit", Value::Null);
    assert_eq!(editor.ended(), (Some(0), String::new()));

    let mut editor = Editor::begun(PROGRAM, folder.path());
    editor.tell("exit", Value::Null);
    assert_eq!(editor.ended(), (Some(1), String::new()));

    let mut editor = Editor::begun(PROGRAM, folder.path());
    editor.hang_up();
    assert_eq!(editor.ended(), (Some(1), String::new()));
}

#[test]
fn what_is_no_message_ends_the_server_with_a_word() {
    let folder = tempfile::tempdir().unwrap();
    for (bytes, said) in [
        (b"Content-Length: 3\r\n\r\n{]}".as_slice(), "error: expected a message of the protocol as JSON"),
        (b"GET / HTTP/1.1\r\n\r\n".as_slice(), "error: expected a header such as"),
        (b"Content-Length: 18446744073709551615\r\n\r\n".as_slice(), "error: expected a message of at most 64.0 MiB"),
        (b"\xff\xfe\r\n".as_slice(), "error: expected a header such as"),
    ] {
        let mut editor = Editor::begun(PROGRAM, folder.path());
        editor.write(bytes);
        let (code, errors) = editor.ended();
        assert_eq!(code, Some(1), "{errors}");
        assert!(errors.starts_with(said), "{errors}");
    }
}

#[test]
fn neovim_shows_mistakes_completes_and_mends() {
    if !Command::new("nvim").arg("--version").output().is_ok_and(|output| output.status.success()) {
        assert!(std::env::var_os("CI").is_none(), "there is no nvim, and .ci/run installs it");
        let mut shown = std::io::stderr().lock();
        writeln!(shown, "skipped: there is no Neovim on the search path").unwrap();
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let text = "let x = 3;\nrun::chekc(x > 2, \"three\");\ntensor::ze\n";
    std::fs::write(folder.path().join("a.rhai"), text).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lsp/neovim.lua");
    let mut neovim = Command::new("nvim");
    neovim.args(["--headless", "-u", "NONE", "-S"]).arg(script).current_dir(folder.path());
    neovim.env("HOME", folder.path()).env("MICROTOME_CACHE", folder.path().join("cache"));
    let ended = neovim.env("MICROTOME", PROGRAM).env("SCRIPT", "a.rhai").env("FOUND", "found.json").output().unwrap();
    let found = std::fs::read(folder.path().join("found.json"));
    let found: Value = serde_json::from_slice(&found.unwrap_or_else(|error| panic!("{error}: {ended:?}"))).unwrap();
    let mistake = "unknown function `run::chekc`\nhint: did you mean `run::check`?";
    let mended = ["let x = 3;", "run::check(x > 2, \"three\");", "tensor::ze"];
    assert_eq!(found, json!({ "mistakes": [[1, 5, mistake]], "candidates": ["zeros"], "mended": mended }));
}
