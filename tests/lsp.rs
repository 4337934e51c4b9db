//! The server for editors, spoken to by its protocol: what an editor asks while somebody writes, and clients that mean
//! harm.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use kit::editor::Editor;
use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_microtome");

/// An editor in a folder of its own that has greeted the server.
fn begun() -> (tempfile::TempDir, Editor) {
    let folder = tempfile::tempdir().unwrap();
    let editor = Editor::begun(PROGRAM, folder.path());
    (folder, editor)
}

/// Asserts that the server finds the mistake of a text.
fn is_well(editor: &mut Editor) {
    let uri = editor.open("well.rhai", "oops");
    assert_eq!(editor.mistakes(&uri, 1).len(), 1);
}

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

/// Writes a file below a folder.
fn write(folder: &Path, name: &str, text: &str) {
    kit::write(folder.join(name), text);
}

/// The changes of a file in an edit with versions, and the version.
fn change_of<'e>(editor: &Editor, edit: &'e Value, name: &str) -> (&'e Value, &'e Value) {
    let uri = editor.uri(name);
    let mut changes = edit["documentChanges"].as_array().unwrap().iter();
    let change =
        changes.find(|change| change["textDocument"]["uri"] == uri).unwrap_or_else(|| panic!("{name}: {edit}"));
    (&change["edits"], &change["textDocument"]["version"])
}

fn labels(completion: &Value) -> Vec<&str> {
    completion.as_array().unwrap().iter().map(|item| item["label"].as_str().unwrap()).collect()
}

#[test]
fn a_mistake_is_shown_where_it_is_and_mended_by_an_action() {
    let (_folder, mut editor) = begun();
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
    let (_folder, mut editor) = begun();
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
    let (_folder, mut editor) = begun();
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
    let (_folder, mut editor) = begun();
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
    let (_folder, mut editor) = begun();
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
    write(folder.path(), "microtome.toml", HEADS);
    write(folder.path(), "lib.rhai", "// A library.\n\n/// Returns 2.\nfn two() { 2 }\nexport const MOST = 3;\n");
    write(folder.path(), "tools/own.rhai", "fn one() { 1 }\nfn one(x) { x }\n");
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
        ("import \"heads\" as h;\nh::MO¦ST", "lib.rhai", range(4, 13, 17)),
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
    let (_folder, mut editor) = begun();
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

const HEADS: &str = "name = \"heads\"\nversion = \"0.1.0\"\n";

/// A client that takes changes with versions.
fn with_versions() -> Value {
    json!({ "capabilities": { "workspace": { "workspaceEdit": { "documentChanges": true } } } })
}

/// The files of a library, and of scripts that import it in several ways, or others by the same names.
const PROJECT: [(&str, &str); 8] = [
    ("microtome.toml", HEADS),
    (
        "lib.rhai",
        "import \"deep/scores\" as s;\nfn two() { s::one() + 1 }\nfn two(x) { two() + x }\nexport const MOST = 3;\n",
    ),
    ("deep/scores.rhai", "fn one() { 1 }\n"),
    ("scripts/use.rhai", "import \"heads\" as h;\nprint(h::two() + h::two(1)); // two\nlet two = h::MOST;\n"),
    ("scripts/other.rhai", "import \"../lib\" as l;\nfn f() { l::two() }\nl::s::one();\n"),
    ("scripts/none.rhai", "import \"own\" as h;\nh::two();\n"),
    ("scripts/own.rhai", "fn two() { 0 }\n"),
    ("scripts/wrong.rhai", "import \"heads\" as h;\nh::three();\n"),
];

fn project() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    PROJECT.iter().for_each(|(name, text)| write(folder.path(), name, text));
    folder
}

fn text_of(name: &str) -> &'static str {
    PROJECT.iter().find(|(known, _)| *known == name).unwrap().1
}

#[test]
fn a_function_is_renamed_in_all_scripts_that_import_it() {
    let folder = project();
    let mut editor = Editor::started(PROGRAM, folder.path()).greeted(with_versions());
    let rename = "textDocument/rename";
    let main = "import \"heads\" as heads;\nheads::two(2);\n";
    let marked = "import \"heads\" as heads;\nheads::t¦wo(2);\n";
    let prepared = editor.at("textDocument/prepareRename", "scripts/main.rhai", marked, json!({}));
    assert_eq!(prepared, json!({ "range": range(1, 7, 10), "placeholder": "two" }));
    let edit = editor.at(rename, "scripts/main.rhai", marked, json!({ "newName": "pair" }));
    assert_eq!(edit["documentChanges"].as_array().unwrap().len(), 4, "{edit}");
    let (edits, version) = change_of(&editor, &edit, "scripts/main.rhai");
    assert_eq!((edited(main, edits), version), (main.replace("two", "pair"), &json!(1)));
    for (name, wanted) in [
        ("lib.rhai", text_of("lib.rhai").replace("two", "pair")),
        ("scripts/use.rhai", text_of("scripts/use.rhai").replace("h::two", "h::pair")),
        ("scripts/other.rhai", text_of("scripts/other.rhai").replace("two", "pair")),
    ] {
        let (edits, version) = change_of(&editor, &edit, name);
        assert_eq!((edited(text_of(name), edits), version), (wanted, &Value::Null), "{name}");
    }
    // A constant that is exported, and the name of an import that others reach through.
    let marked = text_of("lib.rhai").replace("MOST", "¦MOST");
    let edit = editor.at(rename, "lib.rhai", &marked, json!({ "newName": "LIMIT" }));
    let (edits, version) = change_of(&editor, &edit, "scripts/use.rhai");
    assert_eq!(edited(text_of("scripts/use.rhai"), edits), text_of("scripts/use.rhai").replace("MOST", "LIMIT"));
    assert_eq!((version, change_of(&editor, &edit, "lib.rhai").1), (&Value::Null, &json!(1)));
    let marked = text_of("lib.rhai").replace("as s", "as ¦s");
    let edit = editor.at(rename, "lib.rhai", &marked, json!({ "newName": "scores" }));
    let (edits, _) = change_of(&editor, &edit, "scripts/other.rhai");
    assert_eq!(edited(text_of("scripts/other.rhai"), edits), text_of("scripts/other.rhai").replace("::s", "::scores"));
}

#[test]
fn references_are_those_of_the_project() {
    let folder = project();
    let mut editor = Editor::begun(PROGRAM, folder.path());
    editor.open("scripts/main.rhai", "import \"heads\" as heads;\nheads::two(2);\n");
    let places = |found: &Value| -> Vec<(String, u64)> {
        let name = |place: &Value| {
            let uri = place["uri"].as_str().unwrap();
            let line = place["range"]["start"]["line"].as_u64().unwrap();
            (uri.strip_prefix(&format!("file://{}/", folder.path().display())).unwrap().to_string(), line)
        };
        let mut places: Vec<_> = found.as_array().unwrap().iter().map(name).collect();
        places.sort();
        places
    };
    let mut uses = |name: &str, marked: &str, with_definition: bool| {
        let context = json!({ "context": { "includeDeclaration": with_definition } });
        places(&editor.at("textDocument/references", name, marked, context))
    };
    let marked = text_of("lib.rhai").replace("{ two()", "{ t¦wo()");
    let all: [(&str, u64); 7] = [
        ("lib.rhai", 1),
        ("lib.rhai", 2),
        ("lib.rhai", 2),
        ("scripts/main.rhai", 1),
        ("scripts/other.rhai", 1),
        ("scripts/use.rhai", 1),
        ("scripts/use.rhai", 1),
    ];
    let wanted = all.map(|(name, line)| (name.to_string(), line));
    assert_eq!(uses("lib.rhai", &marked, true), wanted);
    assert_eq!(uses("lib.rhai", &marked, false), wanted[2..]);
    // Asked behind the import, through two of them, and of another script by the same name.
    assert_eq!(uses("scripts/use.rhai", &text_of("scripts/use.rhai").replace("h::two()", "h::t¦wo()"), true), wanted);
    let through = text_of("scripts/other.rhai").replace("s::one", "s::o¦ne");
    let of_one = ["deep/scores.rhai", "lib.rhai", "scripts/other.rhai"];
    let found = uses("scripts/other.rhai", &through, true);
    assert_eq!(found.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), of_one);
    assert_eq!(uses("scripts/none.rhai", "import \"own\" as h;\nh::t¦wo();\n", true).len(), 2);
    // In a script of the stdlib nothing can change, and its uses are found.
    let marked = "import \"std/stats\" as st;\nst::auro¦c([1], [2]); st::auroc([1], [3]);";
    assert_eq!(uses("scripts/std.rhai", marked, false).len(), 2);
}

#[test]
fn a_name_that_cannot_be_another_everywhere_is_refused() {
    let folder = project();
    let computed = "let path = \"heads\";\nimport path as p;\np::pair();\n";
    write(folder.path(), "scripts/computed.rhai", computed);
    let mut editor = Editor::started(PROGRAM, folder.path()).greeted(with_versions());
    let main = "import \"heads\" as h;\nimport \"std/stats\" as st;\nimport \"missing\" as m;\n\
                h::two();\nst::auroc([1], [2]);\nm::f();\nh::pair();\n";
    let uri = editor.open("scripts/main.rhai", main);
    let lib = editor.open("lib.rhai", &format!("{}fn pair() {{ 2 }}\n", text_of("lib.rhai")));
    for (uri, (line, character), name, said) in [
        (&uri, (3, 3), "MOST", "`MOST` would mean something else than `two` in some places of"),
        (&uri, (3, 3), "three", "wrong.rhai"),
        (&uri, (3, 3), "pair", "`pair` would mean something else"),
        (&uri, (3, 3), "a b", "expected a name"),
        (&uri, (4, 5), "roc", "`auroc` is defined in std/stats, which is inside this program and stays as it is"),
        (&uri, (5, 3), "g", "cannot find the library `missing`"),
        (&uri, (6, 3), "couple", "computed.rhai:3 means, whose import is computed"),
        (&lib, (1, 3), "MOST", "`MOST` would mean something else"),
    ] {
        let place = json!({ "line": line, "character": character });
        let asked = json!({ "textDocument": { "uri": uri }, "position": place, "newName": name });
        let refused = editor.request("textDocument/rename", asked);
        assert_eq!(refused["error"]["code"], -32803, "{name}: {refused}");
        assert!(refused["error"]["message"].as_str().unwrap().contains(said), "{name}: {refused}");
    }
    let asked = json!({ "textDocument": { "uri": uri }, "position": { "line": 4, "character": 5 } });
    assert_eq!(editor.request("textDocument/prepareRename", asked)["error"]["code"], -32803);
}

#[test]
fn files_that_may_not_be_read_are_neither_searched_nor_changed() {
    let folder = project();
    write(folder.path(), "secret/own.rhai", "fn two() { 2 }\n");
    write(folder.path(), "secret/use.rhai", "import \"../lib\" as l;\nl::two();\n");
    let secret = folder.path().join("secret").display().to_string();
    let mut editor =
        Editor::started_with(PROGRAM, folder.path(), &["--deny-read", secret.as_str()]).greeted(with_versions());
    let marked = "import \"heads\" as h;\nh::t¦wo(1);\n";
    let edit = editor.at("textDocument/rename", "main.rhai", marked, json!({ "newName": "pair" }));
    let changes = edit["documentChanges"].as_array().unwrap();
    let is_secret = |change: &&Value| change["textDocument"]["uri"].as_str().unwrap().contains("secret");
    assert_eq!((changes.len(), changes.iter().filter(is_secret).count()), (4, 0), "{edit}");
    let uri = editor.open("main.rhai", "import \"secret/own\" as o;\no::two();\n");
    let asked = json!({ "textDocument": { "uri": uri }, "position": { "line": 1, "character": 4 }, "newName": "pair" });
    let refused = editor.request("textDocument/rename", asked);
    assert!(refused["error"]["message"].as_str().unwrap().contains("may not read"), "{refused}");
    // One of the client's own texts, whose file may not be read.
    let uri = editor.open("secret/own.rhai", "fn two() { 2 }\n");
    let asked = json!({ "textDocument": { "uri": uri }, "position": { "line": 0, "character": 4 }, "newName": "pair" });
    let refused = editor.request("textDocument/rename", asked);
    assert!(refused["error"]["message"].as_str().unwrap().contains("may not read"), "{refused}");
}

#[test]
fn outside_of_a_project_the_folder_of_the_client_says_how_far_it_goes() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "tools/own.rhai", "fn one() { 1 }\n");
    write(folder.path(), "use.rhai", "import \"tools/own\" as o;\no::one();\n");
    let uses = |said: Value| {
        let mut editor = Editor::started(PROGRAM, folder.path()).greeted(said);
        let context = json!({ "context": { "includeDeclaration": true } });
        let found = editor.at("textDocument/references", "tools/own.rhai", "fn o¦ne() { 1 }\n", context);
        found.as_array().unwrap().len()
    };
    let uri = format!("file://{}", folder.path().display());
    assert_eq!(uses(json!({})), 1);
    assert_eq!(uses(json!({ "rootUri": uri })), 2);
    assert_eq!(uses(json!({ "rootUri": null, "workspaceFolders": [{ "uri": uri, "name": "all" }] })), 2);
}

#[test]
fn what_is_imported_is_looked_at_anew_when_it_changes() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "deep.rhai", "fn two() { 2 }\n");
    write(folder.path(), "own.rhai", "import \"deep\" as d;\nfn one() { d::two() }\n");
    let mut editor = Editor::begun(PROGRAM, folder.path());
    let text = "import \"own\" as own;\nown::one();\n";
    let uri = editor.open("a.rhai", text);
    assert_eq!(editor.mistakes(&uri, 1), [] as [Value; 0]);
    for (version, deep, count) in [(2, "fn two( {\n", 1), (3, "fn two() { 2 }\n", 0), (4, "fn  two() { 2 }\n", 0)] {
        write(folder.path(), "deep.rhai", deep);
        editor.change(&uri, version, json!([{ "text": text }]));
        assert_eq!(editor.mistakes(&uri, version).len(), count, "{deep}");
    }
    write(folder.path(), "own.rhai", "fn other() { 1 }\n");
    editor.change(&uri, 5, json!([{ "text": text }]));
    assert_eq!(editor.mistakes(&uri, 5)[0]["range"], range(1, 5, 8));
}

#[test]
fn a_text_is_formatted_if_it_is_a_script() {
    let (_folder, mut editor) = begun();
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
    let (_folder, mut editor) = begun();
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
    is_well(&mut editor);
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
    is_well(&mut editor);
}

#[test]
fn what_is_of_another_version_of_the_protocol_is_refused() {
    let (_folder, mut editor) = begun();
    for (message, found) in [
        (json!({ "jsonrpc": "1.0", "id": "old", "method": "shutdown" }), "\"1.0\""),
        (json!({ "id": 7, "method": "shutdown" }), "none"),
    ] {
        let reply = editor.reply(&message);
        let said = format!("expected a message of JSON-RPC 2.0, found {found}");
        assert_eq!((&reply["error"]["code"], &reply["error"]["message"]), (&json!(-32600), &json!(said)));
    }
    // The server would end.
    editor.send(&json!({ "method": "exit" }));
    editor.tell("$/cancelRequest", json!({ "id": 1000 }));
    editor.tell("$/cancelRequest", json!([]));
    is_well(&mut editor);
}

#[test]
fn content_that_is_no_message_is_answered_and_the_session_lives_on() {
    let (_folder, mut editor) = begun();
    for (content, id, code, said) in [
        ("{]}", json!(null), -32700, "expected a message of the protocol as JSON: "),
        ("", json!(null), -32700, "expected a message of the protocol as JSON: "),
        ("{}", json!(null), -32600, "expected a message of JSON-RPC 2.0, found none"),
        ("[]", json!(null), -32600, "expected one message of the protocol, found a batch"),
        (r#"{"jsonrpc":"2.0","id":1.5,"method":"shutdown"}"#, json!(null), -32600, "expected an integer of 32 bits"),
        (r#"{"jsonrpc":"2.0","id":"a","method":5}"#, json!("a"), -32600, "expected a `method` with its name"),
    ] {
        editor.write(format!("Content-Length: {}\r\n\r\n{content}", content.len()).as_bytes());
        let reply = editor.refused();
        assert_eq!((&reply["id"], &reply["error"]["code"]), (&id, &json!(code)), "{content}: {reply}");
        assert!(reply["error"]["message"].as_str().unwrap().starts_with(said), "{content}: {reply}");
        assert!(reply["jsonrpc"] == "2.0" && reply.as_object().unwrap().contains_key("id"), "{content}: {reply}");
    }
    // An answer to an answer would have no end.
    editor.send(&json!({ "jsonrpc": "2.0", "id": null, "error": { "code": -32600, "message": "no" } }));
    is_well(&mut editor);
    editor.result("shutdown", Value::Null);
    editor.tell("exit", Value::Null);
    let said = "microtome lsp: expected an integer of 32 bits or a string as `id`, found null\n";
    assert_eq!(editor.ended(), (Some(0), said.into()));
}

#[test]
fn a_client_that_can_watch_files_is_asked_to() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "own.rhai", "fn one() { 1 }\n");
    let can = json!({ "workspace": { "didChangeWatchedFiles": { "dynamicRegistration": true } } });
    let mut editor = Editor::started(PROGRAM, folder.path()).greeted(json!({ "capabilities": can }));
    let asked = editor.told("client/registerCapability");
    let registration = &asked["params"]["registrations"][0];
    assert_eq!(registration["method"], "workspace/didChangeWatchedFiles", "{asked}");
    assert_eq!(registration["registerOptions"]["watchers"][0], json!({ "globPattern": "**/*.rhai" }), "{asked}");
    editor.send(&json!({ "jsonrpc": "2.0", "id": asked["id"], "result": null }));
    let uri = editor.open("a.rhai", "import \"own\" as own;\nown::one();\n");
    assert_eq!(editor.mistakes(&uri, 1), [] as [Value; 0]);
    write(folder.path(), "own.rhai", "fn other() { 1 }\n");
    let changed = json!({ "uri": editor.uri("own.rhai"), "type": 2 });
    editor.tell("workspace/didChangeWatchedFiles", json!({ "changes": [changed] }));
    assert_eq!(editor.mistakes(&uri, 1)[0]["range"], range(1, 5, 8));
    // A refusal is told, and all goes on.
    let error = json!({ "code": -32603, "message": "no watcher" });
    editor.send(&json!({ "jsonrpc": "2.0", "id": asked["id"], "error": error }));
    editor.result("shutdown", Value::Null);
    editor.tell("exit", Value::Null);
    let (code, errors) = editor.ended();
    assert_eq!(code, Some(0));
    assert!(errors.starts_with("microtome lsp: the client refused ") && errors.ends_with(": no watcher\n"), "{errors}");
}

/// A config.json of a llama with this many layers.
fn config_of(layers: u64) -> String {
    let mut config = kit::json("models/llama/config.json");
    config["num_hidden_layers"] = json!(layers);
    config.to_string()
}

#[test]
fn sites_are_those_of_the_model_that_the_script_loads() {
    let folder = tempfile::tempdir().unwrap();
    let commit = "0123456789abcdef0123456789abcdef01234567";
    let hub = "hub/hub/models--some--model";
    write(folder.path(), &format!("{hub}/refs/main"), commit);
    write(folder.path(), &format!("{hub}/snapshots/{commit}/config.json"), &config_of(7));
    write(folder.path(), "scripts/small/config.json", &config_of(2));
    write(folder.path(), "secret/config.json", &config_of(2));
    write(folder.path(), "long/config.json", &" ".repeat(5 << 20));
    std::fs::copy(kit::fixture("gguf/stablelm.gguf"), folder.path().join("scripts/s.gguf")).unwrap();
    let secret = folder.path().join("secret").display().to_string();
    let options = ["--deny-read", secret.as_str()];
    let mut editor = Editor::started_with(PROGRAM, folder.path(), &options).greeted(json!({}));
    let mut sites = |source: &str| -> Vec<String> {
        let script = format!("let m = model::load(\"{source}\");\nm.run(\"a\", #{{ sites: \"resid_post.¦\" }})");
        let found = editor.at("textDocument/completion", "scripts/a.rhai", &script, json!({}));
        labels(&found).into_iter().map(String::from).collect()
    };
    for (source, last, none) in [
        ("small", "resid_post.1", "resid_post.2"),
        ("scripts/small", "resid_post.1", "resid_post.2"),
        ("some/model", "resid_post.6", "resid_post.7"),
        ("s.gguf", "resid_post.0", "resid_post.99"),
    ] {
        let found = sites(source);
        let has = |site: &str| found.iter().any(|found| found == site);
        assert!(has(last) && has("resid_post.*") && !has(none), "{source}: {found:?}");
    }
    // The file is another one.
    write(folder.path(), "scripts/small/config.json", &config_of(12));
    assert!(sites("small").iter().any(|site| site == "resid_post.11"));
    for source in ["secret", "../secret", "long", "other/model", "nothing", "../scripts"] {
        assert!(!sites(source).iter().any(|site| site.starts_with("resid_post")), "{source}");
    }
}

#[test]
fn a_request_may_be_cancelled_while_it_is_answered() {
    let folder = project();
    let mut editor = Editor::begun(PROGRAM, folder.path());
    let uri = editor.open("lib.rhai", text_of("lib.rhai"));
    let context = json!({ "includeDeclaration": true });
    let params =
        json!({ "textDocument": { "uri": uri }, "position": { "line": 1, "character": 4 }, "context": context });
    let frame = |message: Value| format!("Content-Length: {}\r\n\r\n{message}", message.to_string().len());
    for id in 100..120 {
        // Both at once: whichever thread is first, the request has an answer.
        let asked = json!({ "jsonrpc": "2.0", "id": id, "method": "textDocument/references", "params": params });
        let cancel = json!({ "jsonrpc": "2.0", "method": "$/cancelRequest", "params": { "id": id } });
        editor.write([frame(asked), frame(cancel)].concat().as_bytes());
        let reply = editor.answered(&json!(id));
        assert!(reply["result"].is_array() || reply["error"]["code"] == -32800, "{reply}");
    }
    is_well(&mut editor);
}

#[test]
fn places_outside_of_a_text_and_texts_that_are_not_open_are_answered() {
    let (_folder, mut editor) = begun();
    let open = editor.open("a.rhai", "let a = 1;\nprint(a)");
    let never = editor.uri("never.rhai");
    let far = json!({ "line": u32::MAX, "character": u32::MAX });
    let asked = |uri: &str, place: &Value| {
        json!({
            "textDocument": { "uri": uri }, "position": place, "range": { "start": place, "end": place },
            "context": { "includeDeclaration": true, "diagnostics": [] }, "newName": "b", "options": {},
        })
    };
    let at_places = ["completion", "hover", "signatureHelp", "definition", "references", "codeAction", "inlayHint"];
    let others = ["prepareRename", "rename", "documentSymbol", "formatting"];
    for method in at_places.into_iter().chain(others).map(|name| format!("textDocument/{name}")) {
        let reply = editor.request(&method, asked(&never, &far));
        let said = format!("expected a text that is open, found {never}");
        assert_eq!((&reply["error"]["code"], &reply["error"]["message"]), (&json!(-32602), &json!(said)), "{method}");
        let reply = editor.request(&method, asked(&open, &far));
        assert!(reply["error"].is_null() != method.to_lowercase().ends_with("rename"), "{method}: {reply}");
        if !method.ends_with("documentSymbol") && !method.ends_with("formatting") {
            for wrong in [json!({ "line": -1, "character": 0 }), json!({ "line": 0, "character": 4_294_967_296_u64 })] {
                let reply = editor.request(&method, asked(&open, &wrong));
                assert_eq!(reply["error"]["code"], -32602, "{method}: {reply}");
            }
        }
    }
    // A change of what is not there, and one behind the end.
    editor.change(&never, 2, json!([{ "text": "x" }]));
    editor.tell("textDocument/didClose", json!({ "textDocument": { "uri": never } }));
    editor.change(&open, 2, json!([{ "range": { "start": far, "end": far }, "text": " + oops" }]));
    assert_eq!(editor.mistakes(&open, 2)[0]["range"], range(1, 11, 15));
    editor.result("shutdown", Value::Null);
    editor.tell("exit", Value::Null);
    let (code, errors) = editor.ended();
    let complaint =
        |method: &str| format!("microtome lsp: textDocument/{method}: expected a text that is open, found {never}");
    assert_eq!(code, Some(0));
    assert_eq!(errors.lines().collect::<Vec<_>>(), [complaint("didChange"), complaint("didClose")]);
}

#[test]
fn two_clients_are_answered_at_once_and_one_leaves_in_the_middle_of_a_message() {
    let folder = tempfile::tempdir().unwrap();
    let mut editors = [0, 1].map(|_| Editor::begun(PROGRAM, folder.path()));
    // Both want a copy of one script of the stdlib, which is not there yet.
    let marked = "import \"std/stats\" as st;\nst::auro¦c([1], [2])";
    let found: Vec<Value> = std::thread::scope(|scope| {
        let ask = |editor: &mut Editor| editor.at("textDocument/definition", "a.rhai", marked, json!({}));
        let asked: Vec<_> = editors.iter_mut().map(|editor| scope.spawn(move || ask(editor))).collect();
        asked.into_iter().map(|asked| asked.join().unwrap()).collect()
    });
    assert!(found[0]["uri"].is_string() && found[0] == found[1], "{found:?}");
    let [mut one, mut other] = editors;
    one.write(b"Content-Length: 100\r\n\r\n{\"jsonrpc\":");
    one.hang_up();
    let (code, errors) = one.ended();
    assert_eq!(code, Some(1), "{errors}");
    assert!(
        errors.starts_with("error: expected a message of 100 bytes, found the end of the input after 11"),
        "{errors}"
    );
    is_well(&mut other);
}

#[test]
fn servers_that_share_the_cache_leave_whole_copies_there() {
    let folder = tempfile::tempdir().unwrap();
    let mut editors = [0, 1, 2].map(|_| Editor::begun(PROGRAM, folder.path()));
    let modules = ["stats", "toy", "probes", "shapes", "geometry"];
    let path = |found: &Value| Path::new(found["uri"].as_str().unwrap().strip_prefix("file://").unwrap()).to_path_buf();
    // In the second round the copies are there, and damaged.
    for round in 0..2 {
        let found: Vec<Vec<Value>> = std::thread::scope(|scope| {
            let ask = |editor: &mut Editor| -> Vec<Value> {
                let marked = modules.map(|module| format!("import \"std/{module}¦\" as m;"));
                let definition = "textDocument/definition";
                marked.iter().map(|text| editor.at(definition, "a.rhai", text, json!({}))).collect()
            };
            let threads: Vec<_> = editors.iter_mut().map(|editor| scope.spawn(move || ask(editor))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(found[0] == found[1] && found[1] == found[2], "{found:?}");
        for (module, place) in modules.iter().zip(&found[0]) {
            let text = std::fs::read_to_string(path(place)).unwrap();
            let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("stdlib/{module}.rhai"));
            assert_eq!(text, std::fs::read_to_string(source).unwrap(), "{round}: {module}");
            std::fs::write(path(place), "fn half(").unwrap();
        }
    }
}

#[test]
fn the_server_ends_with_its_client() {
    let (folder, mut editor) = begun();
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
fn a_header_that_is_none_ends_the_server_with_a_word() {
    let folder = tempfile::tempdir().unwrap();
    for (bytes, said) in [
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
