//! Functions and closures run as parts of the text that they are written in, whoever calls them, in whatever order.
//!
//! Two modules are the same byte for byte but for one number, which one of their helpers adds. Each way of calling a
//! closure gives what that module gives alone. Two libraries and a script are the same in all; each way reads a file
//! where the closure is of the one library or of the script, and is refused where it is of the other.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use crate::support;
use microtome::script::Session;
use microtome::script::docs::{OptionDoc, ReferenceEntry};
use microtome::script::engine::env::Env;
use microtome::script::engine::thread::with_large_stack;

/// A module, all functions of which add `SHIFT`: by a helper, an import, a constant, or a closure. What others call
/// reads a file where `READS` stands in place of the comments. `helper` reads none, so that no refusal of it hides that
/// its callers were let through.
const MODULE: &str = "import \"deep/lib\" as deep;
const SHIFT = SHIFT_HERE;
fn helper(x) { x + global::SHIFT }
fn near(x) { helper(x) /*reads*/ }
fn plain(x) { helper(x) /*reads*/ }
fn closure() { |x| helper(x) /*reads*/ }
fn capturing(n) { |x| helper(x) * n /*reads*/ }
fn nested() { |x| [x].map(|y| helper(y) /*reads*/)[0] }
fn constant() { |x| x + global::SHIFT /*reads*/ }
fn imported() { |x| deep::far(x) + global::SHIFT - 1000 /*reads*/ }
fn pointed() { near }
fn pointed_by_name() { Fn(\"near\") }
fn stored() { #{ f: |x| helper(x) /*reads*/, list: [|x| helper(x) /*reads*/, |x| helper(x) + 0 /*reads*/] } }
fn fixed() { [|x| x + global::SHIFT /*reads*/, #{ f: |x| x + global::SHIFT /*reads*/ }] }
fn mapped(list) { list.map(|x| helper(x) /*reads*/) }
fn mapped_by_name(list) { list.map(near) }
fn applied(f, x) { f.call(x) }
fn method(x) { [x].map(|| helper(this) /*reads*/)[0] }
fn changed(x) { let list = [x]; let by = 1; list.for_each(|| this = helper(this) * by /*reads*/); list[0] }
fn first(list) { list.find(|x| helper(x) /*reads*/ > 1000) }
fn farthest(list) { list.order_by(|x, y| helper(y) - helper(x) /*reads*/)[0] }
fn gradient() { tensor::grad(|t| (t * helper(0)).sum() /*reads*/, tensor([1.0]))[0] }
fn loss() { |t| (t * helper(0)).sum() /*reads*/ }
fn hook() { |t| t * helper(0) /*reads*/ }
fn of_logits() { |logits| logits.sum() * 0 + helper(0) /*reads*/ }
fn of_text() { |text| helper(0) /*reads*/ }
fn of_answer() { |said| `${helper(0) /*reads*/}` }
fn of_any() { |given| throw helper(0) /*reads*/ }
fn metric_of() { |logits, pair| logits[0] * 0 + helper(0) /*reads*/ }
fn of_pair() { |logits, pair| throw helper(0) /*reads*/ }
fn of_row() { |row| throw helper(row.x) /*reads*/ }
fn of_none(x) { || throw helper(x) /*reads*/ }
fn of_one() { |y| throw helper(y) /*reads*/ }
fn of_two() { |y, z| throw helper(z) /*reads*/ }
fn of_group() { |rows| #{ y: helper(rows[\"x\"][0]) /*reads*/ } }
fn evaluated(x) { eval(\"[x].map(Fn(`helper`))[0]\") }
fn mended(x) { let y = 0; try { throw x } catch (e) { y = helper(e) /*reads*/; } y }
fn branched(x) { switch x { 0 => 0, _ => [x].map(|y| helper(y) /*reads*/)[0] } }
";

/// What stands in place of the comments of the module where its functions read a file: its text, and 0.
const READS: &str = "+ run::load_text(\"data/a.txt\").len * 0";

/// Ways of calling, as expressions of a script that imports a module as `m`. With the integer `x` each gives x + SHIFT.
const WAYS: &[(&str, &str)] = &[
    ("called", "m::plain(x)"),
    ("returned", "m::closure().call(x)"),
    ("returned with what it captured", "m::capturing(1).call(x)"),
    ("nested", "m::nested().call(x)"),
    ("with a constant", "m::constant().call(x)"),
    ("with an import", "m::imported().call(x)"),
    ("pointed to", "m::pointed().call(x)"),
    ("pointed to by name", "m::pointed_by_name().call(x)"),
    ("stored in a map", "m::stored().f.call(x)"),
    ("a method of a map", "m::stored().f(x)"),
    ("stored in a list", "m::stored().list[1].call(x)"),
    ("a constant list", "m::fixed()[0].call(x)"),
    ("a map in a constant list", "m::fixed()[1].f.call(x)"),
    ("map within", "m::mapped([x])[0]"),
    ("map within, by name", "m::mapped_by_name([x])[0]"),
    ("map", "[x].map(m::closure())[0]"),
    ("map of a range", "(x..x + 1).map(m::closure())[0]"),
    ("for_each", "{ let found = 0; let f = m::closure(); [x].for_each(|| found = f.call(this)); found }"),
    ("this", "m::method(x)"),
    ("this, changed", "m::changed(x)"),
    ("find", "m::first([x]) + m::helper(0)"),
    ("order", "m::farthest([0, x]) + m::helper(0)"),
    ("reduce", "[x].reduce(|sum, y| sum + m::closure().call(y), 0)"),
    ("through another module", "other::applied(m::closure(), x)"),
    ("by name through another module", "other::applied(m::pointed(), x)"),
    ("curried", "other::applied(m::capturing(1), x)"),
    ("curried by the caller", "m::closure().curry(x).call()"),
    ("called with `call`", "call(m::closure(), x)"),
    ("after an error", "m::mended(x)"),
    ("in a branch", "m::branched(x)"),
    ("in a text that is evaluated", "m::evaluated(x)"),
    ("gradient", "m::gradient().to_int() + x"),
    ("gradient of a loss that is passed on", "tensor::grad(m::loss(), tensor([1.0]))[0].to_int() + x"),
    ("value and gradient", "tensor::value_and_grad(m::loss(), tensor([1.0])).value.to_int() + x"),
    ("jacobian", "tensor::jacobian(m::loss(), tensor([1.0]))[0].to_int() + x"),
    ("product with a Jacobian", "tensor::vjp(m::hook(), tensor([1.0]), [1.0])[0].to_int() + x"),
    ("gradients of a model", "model.grads([1, 2], m::of_logits(), \"resid_post.0\").value.to_int() + x"),
    ("rows to train on", "trained.call(m::of_any()) + x"),
    ("rows to judge a training on", "held.call(m::of_any()) + x"),
    ("effect of steering", "steered.call(m::of_text()) + x"),
    ("answers of anchors", "anchored.call(m::of_answer(), #{})[\"with\"][0].split(\" \")[0].parse_int() + x"),
    ("embedding of anchors", "caught.call(|| anchored.call([\"a\"], #{ embedding: m::of_any() })) + x"),
    ("hook", "hooked.call(m::hook()) + x"),
    ("hook of features", "caught.call(|| model.run([1, 2], #{ hooks: hooks::edit(own.feature(0), m::of_any()) })) + x"),
    ("hook that a model keeps", "caught.call(|| model.with(hooking.call(m::of_any()).hooks).run([1, 2])) + x"),
    ("hook of a lens", "caught.call(|| lens.read(model, [1, 2], \"resid_post.1\", hooking.call(m::of_any()))) + x"),
    ("hook of values", "caught.call(|| metric::loss().values(model, pairs, hooking.call(m::of_any()))) + x"),
    ("hook of attention", "caught.call(|| model.attention([1, 2], \"pattern.1.0\", hooking.call(m::of_any()))) + x"),
    ("hook of a map", "caught.call(|| model.attention_map([1, 2], \"pattern.1.0\", hooking.call(m::of_any()))) + x"),
    ("hook of attribution", "caught.call(|| model.attribution([1, 2], 3, hooking.call(m::of_any()))) + x"),
    ("hook of a cache", "caught.call(|| model.cache([1, 2], \"resid_post.1\", hooking.call(m::of_any()))) + x"),
    ("hook of a text", "caught.call(|| writer.generate(\"a b\", hooking.call(m::of_any()))) + x"),
    ("hook of new ids", "caught.call(|| writer.generate_ids([1, 2], hooking.call(m::of_any()))) + x"),
    ("hook of gradients", "caught.call(|| model.grads([1, 2], |l| l.sum(), \"z.0\", hooking.call(m::of_any()))) + x"),
    ("hook of the logit lens", "caught.call(|| model.lens([1, 2], \"resid_post.1\", hooking.call(m::of_any()))) + x"),
    ("hook of a page", "caught.call(|| model.lens_page([1, 2], [lens], hooking.call(m::of_any()))) + x"),
    ("hook of logits", "caught.call(|| model.logits([1, 2], hooking.call(m::of_any()))) + x"),
    ("hook of a loss", "caught.call(|| model.loss([1, 2], hooking.call(m::of_any()))) + x"),
    ("hook of losses", "caught.call(|| model.losses([1, 2], hooking.call(m::of_any()))) + x"),
    ("hook of predictions", "caught.call(|| model.predict([1, 2], 1, hooking.call(m::of_any()))) + x"),
    ("metric of a grid", "caught.call(|| intervene::grid(model, pairs, by.call(m::of_pair()))) + x"),
    ("metric of paths", "caught.call(|| intervene::paths(model, pairs, by.call(m::of_pair()))) + x"),
    ("metric of interactions", "interacting.call(m::of_pair()) + x"),
    ("metric of edges", "caught.call(|| circuit::edges(model, pairs, by.call(m::of_pair()))) + x"),
    ("metric of ACDC", "caught.call(|| circuit::acdc(model, pairs, by.call(m::of_pair()))) + x"),
    ("metric of features", "caught.call(|| circuit::sparse_features(model, [own], pairs, by.call(m::of_pair()))) + x"),
    ("metric of nodes", "caught.call(|| edges.ablate(model, pairs, \"head\", by.call(m::of_pair()))) + x"),
    ("metric of a curve", "caught.call(|| edges.curve(model, pairs, by.call(m::of_pair()))) + x"),
    ("metric of a judgement", "caught.call(|| edges.judge(model, pairs, by.call(m::of_pair()))) + x"),
    ("metric", "metric::of(m::metric_of()).values(model, [#{ clean: [1, 2], token: 3 }])[0].to_int() + x"),
    ("rows of a table that are chosen", "filtered.call(m::of_row())"),
    ("rows of a table in groups", "table([#{ x: x }]).group_by(\"x\", m::of_group())[\"y\"][0]"),
    ("sort in place", "caught.call(|| { let list = [x, x]; list.sort(m::of_two()) })"),
    ("sort_by in place", "caught.call(|| { let list = [x, x]; list.sort_by(m::of_two()) })"),
    ("order of a list", "caught.call(|| [x, x].order(m::of_two()))"),
    ("order_by of a list", "caught.call(|| [x, x].order_by(m::of_two()))"),
    ("dedup", "caught.call(|| { let list = [x, x]; list.dedup(m::of_two()) })"),
    ("filter", "caught.call(|| [x].filter(m::of_one()))"),
    ("all", "caught.call(|| [x].all(m::of_one()))"),
    ("some", "caught.call(|| [x].some(m::of_one()))"),
    ("find with its own closure", "caught.call(|| [x].find(m::of_one()))"),
    ("zip", "caught.call(|| [0].zip([x], m::of_two()))"),
    ("find_map", "[x].find_map(m::closure())"),
    ("index_of", "caught.call(|| [x].index_of(m::of_one()))"),
    ("drain", "caught.call(|| { let list = [x]; list.drain(m::of_one()) })"),
    ("retain", "caught.call(|| { let list = [x]; list.retain(m::of_one()) })"),
    ("for_each with its own closure", "caught.call(|| [0].for_each(m::of_none(x)))"),
    ("reduce with its own closure", "caught.call(|| [x].reduce(m::of_two(), 0))"),
    ("reduce_rev", "caught.call(|| [x].reduce_rev(m::of_two(), 0))"),
    ("map of a map", "caught.call(|| #{ y: x }.map(m::of_two()))"),
    ("filter of a map", "caught.call(|| #{ y: x }.filter(m::of_two()))"),
    ("drain of a map", "caught.call(|| { let map = #{ y: x }; map.drain(m::of_two()) })"),
    ("retain of a map", "caught.call(|| { let map = #{ y: x }; map.retain(m::of_two()) })"),
    ("filter of a range", "caught.call(|| (x..x + 1).filter(m::of_one()))"),
    ("for_each of a range", "caught.call(|| (x..x + 1).for_each(m::of_one()))"),
    ("reduce of a range", "caught.call(|| (x..x + 1).reduce(m::of_two(), 0))"),
    ("optimiser", "descended.call(m::loss()) + x"),
    ("optimiser that runs", "run_down.call(m::loss()) + x"),
];

/// The modules, each with the number that it adds.
const SHIFTS: [(&str, i64); 2] = [("v1", 1001), ("v2", 1101)];

/// Functions of the reference that take a function as an argument, each with the way that tries it. No type tells of
/// functions that are one of several things that an argument may be: of these there are rows to train on and answers of
/// anchors among the ways.
const TRIED: &[(&str, &str)] = &[
    ("Descent.run", "optimiser that runs"),
    ("Descent.step", "optimiser"),
    ("Model.grads", "gradients of a model"),
    ("Table.filter", "rows of a table that are chosen"),
    ("Table.group_by", "rows of a table in groups"),
    ("array.all", "all"),
    ("array.dedup", "dedup"),
    ("array.drain", "drain"),
    ("array.filter", "filter"),
    ("array.find", "find with its own closure"),
    ("array.find_map", "find_map"),
    ("array.for_each", "for_each with its own closure"),
    ("array.index_of", "index_of"),
    ("array.map", "map"),
    ("array.order", "order of a list"),
    ("array.order_by", "order_by of a list"),
    ("array.reduce", "reduce with its own closure"),
    ("array.reduce_rev", "reduce_rev"),
    ("array.retain", "retain"),
    ("array.some", "some"),
    ("array.sort", "sort in place"),
    ("array.sort_by", "sort_by in place"),
    ("array.zip", "zip"),
    ("hooks::edit", "hook"),
    ("map.drain", "drain of a map"),
    ("map.filter", "filter of a map"),
    ("map.map", "map of a map"),
    ("map.retain", "retain of a map"),
    ("metric::of", "metric"),
    ("range.filter", "filter of a range"),
    ("range.for_each", "for_each of a range"),
    ("range.map", "map of a range"),
    ("range.reduce", "reduce of a range"),
    ("tensor::grad", "gradient of a loss that is passed on"),
    ("tensor::jacobian", "jacobian"),
    ("tensor::value_and_grad", "value and gradient"),
    ("tensor::vjp", "product with a Jacobian"),
];

/// Options of the reference that are functions, or hooks and metrics that may have one, each with the function that it
/// belongs to and the way that tries it.
const TRIED_OPTIONS: &[(&str, &str, &str)] = &[
    ("Circuit.ablate", "metric", "metric of nodes"),
    ("Circuit.curve", "metric", "metric of a curve"),
    ("Circuit.judge", "metric", "metric of a judgement"),
    ("FittedLens.read", "hooks", "hook of a lens"),
    ("Metric.values", "hooks", "hook of values"),
    ("Model.attention", "hooks", "hook of attention"),
    ("Model.attention_map", "hooks", "hook of a map"),
    ("Model.attribution", "hooks", "hook of attribution"),
    ("Model.cache", "hooks", "hook of a cache"),
    ("Model.generate", "hooks", "hook of a text"),
    ("Model.generate_ids", "hooks", "hook of new ids"),
    ("Model.grads", "hooks", "hook of gradients"),
    ("Model.lens", "hooks", "hook of the logit lens"),
    ("Model.lens_page", "hooks", "hook of a page"),
    ("Model.logits", "hooks", "hook of logits"),
    ("Model.loss", "hooks", "hook of a loss"),
    ("Model.losses", "hooks", "hook of losses"),
    ("Model.predict", "hooks", "hook of predictions"),
    ("Model.run", "hooks", "hook of features"),
    ("circuit::acdc", "metric", "metric of ACDC"),
    ("circuit::edges", "metric", "metric of edges"),
    ("circuit::sparse_features", "metric", "metric of features"),
    ("intervene::anchors", "embedding", "embedding of anchors"),
    ("intervene::grid", "metric", "metric of a grid"),
    ("intervene::interactions", "measure", "metric of interactions"),
    ("intervene::paths", "metric", "metric of paths"),
    ("intervene::steer", "metric", "effect of steering"),
    ("model::train", "held", "rows to judge a training on"),
];

/// What a script has beside: an import, a constant and functions with the names of those of the modules.
const BESIDE: &str = "import \"deep/false\" as deep;
const SHIFT = 7;
fn helper(x) { x + 500000 }
fn near(x) { x + 500000 }
";

/// What the ways of calling use.
const MEANS: &str = "import \"other\" as other;
let model = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: 11, context: 8 }, #{ seed: 3 });
let at = |hooks| model.run([1, 2], #{ hooks: hooks })[\"resid_post.0\"][0][0][0];
let hooked = |f| (at.call([hooks::edit(\"resid_post.0\", f)]) / at.call([])).round().to_int();
let hooking = |f| #{ hooks: hooks::edit(\"resid_post.0\", f) };
let sgd = || optim::sgd(tensor([0.0]), #{ lr: 1.0 });
let reached = |opt| (-opt.params[0]).round().to_int();
let descended = |f| { let opt = sgd.call(); opt.step(f); reached.call(opt) };
let run_down = |f| { let opt = sgd.call(); opt.run(1, f); reached.call(opt) };
let is_number = |e| type_of(e) == \"i64\";
let caught = |f| { let n = 0; try { f.call(); } catch (e) { if !is_number.call(e) { throw e } n = e; } n };
let tiny = #{ layers: 1, d_model: 8, heads: 2, vocab: 11 };
let trained = |f| caught.call(|| model::train(tiny, f, #{ steps: 1 }));
let held = |f| caught.call(|| model::train(tiny, [[1, 2, 3]], #{ steps: 1, held: f }));
let filtered = |f| caught.call(|| table([#{ x: 5 }]).filter(f));
let words = #{ words: [\"a\", \"b\", \"c\", \".\"], seed: 3 };
let writer = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 4, context: 64 }, words);
let asked = #{ strengths: [1], random: 0, tokens: 1, seed: 1 };
let steered_by = #{ \"resid_post.0\": tensor::ones([8]) };
let steering = |f| intervene::steer(writer, steered_by, [\"a\"], [\"a b\"], asked + #{ metric: f });
let steered = |f| steering.call(f)[\"effect\"][0].to_int();
let sentences = \"a b c a b c . b c a b c a .\";
let rollouts = #{ rollouts: 2, tokens: 8, seed: 1 };
let anchored = |answers, more| intervene::anchors(writer, sentences, answers, rollouts + more);
let pairs = data::pairs([[1, 2, 3], [4, 2, 3]], [[1, 7, 3], [4, 7, 3]], #{ answers: [5, 5], wrong: [6, 6] });
let by = |f| #{ metric: metric::of(f) };
let edges = circuit::edges(model, pairs);
edges.group(\"head\", [\"z.0.0\"]);
let eye = tensor::eye(8);
let own = sae::of(#{ encoder: eye, decoder: eye, activation: \"linear\", site: \"resid_post.0\", model: model });
let two = [own.feature(0), own.feature(1)];
let measured = |f| intervene::interactions(model, two, [[1, 2, 3], [4, 2, 3]], #{ measure: metric::of(f) });
let interacting = |f| caught.call(|| measured.call(f));
let lens = model.tuned_lens([[1, 2, 3]], #{ steps: 1 });
let x = 5;
";

fn write(folder: &Path, name: &str, text: &str) {
    kit::write(folder.join(name), text);
}

/// Writes the module that `MODULE` imports.
fn write_imported(folder: &Path) {
    write(folder, "deep/lib.rhai", "fn far(x) { near(x) } fn near(x) { x + 1000 }");
}

/// Writes the modules that `BESIDE` and `MEANS` import.
fn write_others(folder: &Path) {
    write(folder, "deep/false.rhai", "fn far(x) { x + 900000 }");
    write(
        folder,
        "other.rhai",
        "import \"deep/false\" as deep; const SHIFT = 70; fn helper(x) { x + 800000 } fn near(x) { x + 800000 }
         fn applied(f, x) { f.call(x) } fn mapped(list, f) { list.map(f) }",
    );
}

/// A folder with two such modules, which add 1001 and 1101.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, shift) in SHIFTS {
        write(folder.path(), &format!("{name}.rhai"), &MODULE.replace("SHIFT_HERE", &shift.to_string()));
    }
    write_imported(folder.path());
    write_others(folder.path());
    folder
}

/// The folder of a project that uses two libraries, and the text that its script begins with. The libraries are this
/// text, too, which adds 1001 and reads a file; the library `a` was granted that, and `b` nothing.
fn project() -> (tempfile::TempDir, String) {
    // A library may not `eval`.
    let lines: Vec<&str> = MODULE.lines().filter(|line| !line.contains("eval(")).collect();
    let text = lines.join("\n").replace("SHIFT_HERE", "1001").replace("/*reads*/", READS) + "\n";
    let folder = tempfile::tempdir().unwrap();
    for (name, touches) in [("a", "[touches]\nread = [\"data\"]\n"), ("b", "")] {
        let manifest = format!("name = \"{name}\"\nversion = \"0.1.0\"\n{touches}");
        write(folder.path(), &format!("{name}/microtome.toml"), &manifest);
        write(folder.path(), &format!("{name}/lib.rhai"), &text);
        write_imported(&folder.path().join(name));
    }
    let work = folder.path().join("work");
    write(&work, "data/a.txt", "some words");
    write_imported(&work);
    write_others(&work);
    for library in ["../a", "../b"] {
        printed(folder.path(), &["add", library, "--yes"]);
    }
    (folder, text)
}

/// What the program prints in the project of a folder.
fn printed(folder: &Path, words: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_microtome"));
    command.current_dir(folder.join("work")).args(words);
    command.env("MICROTOME_CACHE", folder.join("cache")).env("XDG_CONFIG_HOME", folder.join("config"));
    command.env("HF_HOME", folder.join("hub")).env("MICROTOME_PATH", "").env_remove("HF_ENDPOINT");
    support::printed(&mut command)
}

fn session(folder: &Path) -> Session {
    Session::new(Env::in_memory(&folder.join("out")).unwrap())
}

/// The value of a text in a session, evaluated as that of a script in the folder.
fn value(session: &mut Session, folder: &Path, text: &str) -> String {
    let name = folder.join("main.rhai").display().to_string();
    match session.eval(&name, text) {
        Ok(value) => value.to_string(),
        Err(failure) => format!("{}: {}", failure.kind, failure.message),
    }
}

#[test]
fn every_function_of_the_reference_that_takes_one_is_tried() {
    let takes_function = |entry: &&ReferenceEntry| {
        entry.overloads.iter().any(|overload| overload.parameters.iter().any(|(_, kind)| kind == "function"))
    };
    let docs = session(Path::new(".")).docs();
    let found: BTreeSet<String> = docs.entries().iter().filter(takes_function).map(ReferenceEntry::path).collect();
    let tried: BTreeSet<String> = TRIED.iter().map(|(path, _)| path.to_string()).collect();
    assert_eq!(found, tried, "functions of the reference that take a function, and those that are tried");
    for (path, named) in TRIED {
        assert!(is_tried(path, named), "{path}: {named}");
    }
}

#[test]
fn every_option_of_the_reference_that_may_have_one_is_tried() {
    // Options have no types: their words tell.
    let told = ["a function |", "metric of each pair", "a metric of `metric::of`", "in any form of `data`"];
    let may_have_one =
        |option: &OptionDoc| option.key == "hooks" || told.iter().any(|words| option.meaning.contains(words));
    let docs = session(Path::new(".")).docs();
    let mut found = BTreeSet::new();
    for entry in docs.entries() {
        let options = entry.doc.options.iter().filter(|option| may_have_one(option));
        found.extend(options.map(|option| (entry.path(), option.key.clone())));
    }
    let tried: BTreeSet<(String, String)> =
        TRIED_OPTIONS.iter().map(|(path, key, _)| (path.to_string(), key.to_string())).collect();
    assert_eq!(found, tried, "options of the reference that may have a function, and those that are tried");
    for (path, key, named) in TRIED_OPTIONS {
        assert!(is_tried(path, named), "{path}, {key}: {named}");
    }
}

/// Whether the way of this name calls a function of the reference, itself or by what stands in `MEANS`.
fn is_tried(path: &str, named: &str) -> bool {
    let call = format!("{}(", path.rsplit(['.', ':']).next().unwrap_or_default());
    let way = WAYS.iter().find(|(what, _)| *what == named);
    way.is_some_and(|(_, code)| code.contains(&call) || MEANS.contains(&call))
}

#[test]
fn each_module_gives_its_own_results_in_a_script_in_both_orders() {
    let folder = folder();
    for order in [["v1", "v2"], ["v2", "v1"]] {
        let mut script: String = order.iter().map(|name| format!("import \"{name}\" as {name};\n")).collect();
        script.push_str(BESIDE);
        script.push_str(MEANS);
        let mut expected = Vec::new();
        let mut ways = Vec::new();
        // Each twice, since what a name was found to mean is remembered from the second time on.
        for _ in 0..2 {
            for (what, way) in WAYS {
                for (module, shift) in SHIFTS {
                    ways.push(way.replace("m::", &format!("{module}::")));
                    expected.push((format!("{what}, {module}"), (5 + shift).to_string()));
                }
            }
            ways.push("helper(x)".into());
            expected.push(("the script's own".into(), "500005".into()));
            ways.push("other::applied(|y| helper(y) + global::SHIFT + deep::far(0), x)".into());
            expected.push(("the script's closure in a module".into(), "1400012".into()));
            ways.push("other::mapped([x], helper)[0]".into());
            expected.push(("the script's function in a module".into(), "500005".into()));
        }
        script.push_str(&format!("[{}].map(|value| `${{value}}`)", ways.join(",\n")));
        let mut session = session(folder.path());
        let name = folder.path().join("main.rhai").display().to_string();
        let found = session.eval(&name, &script).unwrap_or_else(|failure| panic!("{failure:?}"));
        let found = found.into_typed_array::<String>().unwrap();
        assert_eq!(found.len(), expected.len());
        for (found, (what, expected)) in found.iter().zip(&expected) {
            assert_eq!(found, expected, "{what} ({order:?})");
        }
    }
}

#[test]
fn each_module_gives_its_own_results_at_the_prompt_in_both_orders() {
    let folder = folder();
    for order in [["v1", "v2"], ["v2", "v1"]] {
        let mut session = session(folder.path());
        for name in order {
            value(&mut session, folder.path(), &format!("import \"{name}\" as {name};"));
        }
        for line in BESIDE.lines().chain(MEANS.lines()) {
            value(&mut session, folder.path(), line);
        }
        for (what, way) in WAYS.iter().chain(WAYS) {
            for (module, shift) in SHIFTS {
                let way = way.replace("m::", &format!("{module}::"));
                assert_eq!(
                    value(&mut session, folder.path(), &way),
                    (5 + shift).to_string(),
                    "{what}, {module}: {way}"
                );
                assert_eq!(value(&mut session, folder.path(), "helper(x)"), "500005", "after {what}");
            }
        }
        // Two lines with one closure at one place.
        value(&mut session, folder.path(), "fn shift(x) { x + 1 }\nlet f = |x| shift(x);");
        value(&mut session, folder.path(), "fn shift(x) { x + 2 }\nlet g = |x| shift(x);");
        assert_eq!(
            value(&mut session, folder.path(), "[f.call(0), g.call(0), [0].map(f)[0], [0].map(g)[0]]"),
            "[1, 2, 1, 2]"
        );
    }
}

#[test]
fn each_way_has_the_permissions_of_the_text_that_the_closure_is_of() {
    let (folder, text) = project();
    // The script's own functions are called without a module.
    for order in [["", "a::", "b::"], ["b::", "a::", ""]] {
        let mut script = text.clone();
        for module in order.iter().filter_map(|module| module.strip_suffix("::")) {
            script.push_str(&format!("import \"{module}\" as {module};\n"));
        }
        script.push_str(MEANS);
        let mut expected = Vec::new();
        // Each twice, since what a name was found to mean is remembered from the second time on.
        for _ in 0..2 {
            for (what, way) in WAYS.iter().filter(|(_, way)| !way.contains("m::evaluated")) {
                for module in order {
                    let way = way.replace("m::", module);
                    script.push_str(&format!("try {{ print({way}); }} catch (e) {{ print(e.message); }}\n"));
                    expected.push((format!("{what}: {way}"), module == "b::"));
                }
            }
        }
        write(folder.path(), "work/main.rhai", &script);
        let printed = printed(folder.path(), &["run", "main.rhai"]);
        assert_eq!(printed.lines().count(), expected.len(), "{printed}");
        for (line, (way, is_refused)) in printed.lines().zip(expected) {
            let is_right =
                if is_refused { line.starts_with("the library `b` may not read data/a.txt") } else { line == "1006" };
            assert!(is_right, "{way} ({order:?}): {line}");
        }
    }
}

#[test]
fn a_module_calls_its_own_functions_and_those_of_the_language_only() {
    let folder = folder();
    write(
        folder.path(),
        "borrowing.rhai",
        "fn borrowed(x) { only_in_the_script(x) } fn as_method(x) { x.only_in_the_script() }",
    );
    for call in ["borrowing::borrowed(1)", "borrowing::as_method(1)"] {
        let mut session = session(folder.path());
        let script = format!(
            "import \"borrowing\" as borrowing; fn only_in_the_script(x) {{ 1 }} fn only_in_the_script() {{ 2 }} {call}"
        );
        assert!(value(&mut session, folder.path(), &script).contains("only_in_the_script"), "{call}");
    }
}

#[test]
fn closures_end_deep_recursion_and_carry_errors_as_before() {
    let folder = folder();
    let deep = with_large_stack(|| {
        let folder = self::folder();
        let script = "fn down(n) { [n].map(|x| down(x + 1))[0] } down(0)";
        value(&mut session(folder.path()), folder.path(), script)
    });
    assert!(deep.unwrap().contains("deep"));
    let mut session = session(folder.path());
    let wrong = value(&mut session, folder.path(), "let f = |a, b| a + b; f.call(1)");
    assert_eq!(wrong, "argument: this closure cannot take (integer)");
    let early = value(
        &mut session,
        folder.path(),
        "fn early(x) { if x > 0 { return \"yes\"; } \"no\" } [early(1), [0].map(early)[0], [1].map(|x| { return x + 1; })[0]]",
    );
    assert_eq!(early, "[\"yes\", \"no\", 2]");
    let shared = value(&mut session, folder.path(), "let n = 0; let count = || n += 1; count.call(); count.call(); n");
    assert_eq!(shared, "2");
}

/// A name that is a variable around a closure and a function of the same text: the variable where the engine captures it, an
/// error where it captures nothing, and never the function in silence.
#[test]
fn a_closure_takes_no_function_for_a_variable_around_it() {
    const BOTH: [(&str, &str); 9] = [
        ("let add = |x| x + 1; [1].map(|y| add.call(y))[0]", "let"),
        ("fn all(list, add) { list.map(|y| add.call(y))[0] } all([1], |x| x + 2)", "parameter"),
        ("let of = |add| [1].map(|y| add.call(y))[0]; of.call(|x| x + 3)", "parameter of a closure"),
        (
            "fn two(add) { let both = |x| add.call(add.call(x)); [1].map(|y| both.call(y))[0] } two(|x| x * 3)",
            "two deep",
        ),
        ("for add in [|x| x + 4] { return [1].map(|y| add.call(y))[0]; }", "loop"),
        ("fn sum(add) { [1].map(|y| y + add)[0] } sum(2)", "number"),
        ("let add = 5; [1].map(|y| [2].map(|z| z + add)[0])[0]", "closure in a closure"),
        ("if true { let add = |x| x + 6; [1].map(|y| add.call(y))[0] }", "block"),
        ("let add = |x| x + 1; eval(\"add.call(1)\")", "eval"),
    ];
    let expected = [2, 3, 4, 9, 5, 3, 7, 7, 2];
    let function = "fn add(x) { x + 1000 }";
    let folder = tempfile::tempdir().unwrap();
    for ((text, about), expected) in BOTH.into_iter().zip(expected) {
        let mut session = support::session(folder.path());
        let behind = session.eval("behind", &format!("{text};\n{function}")).unwrap();
        assert_eq!(behind.as_int(), Ok(expected), "{about}");
        let before = format!("{function}\n{text}");
        if about == "eval" {
            assert_eq!(session.eval("before", &before).unwrap().as_int(), Ok(expected));
            continue;
        }
        let error = session.eval("before", &before).unwrap_err();
        assert!(error.message.starts_with("`add` is a variable around this closure"), "{about}: {error:?}");
        assert!(error.place.is_some() && error.hint.is_some(), "{about}: {error:?}");
        let found = session.check("before", &before);
        assert!(found.iter().any(|failure| failure.message == error.message), "{about}: {found:?}");
    }
    // Where nothing else has the name, a closure may name a function; a variable of its own is nearer.
    let mut session = support::session(folder.path());
    for (text, expected) in [
        ("[1].map(|y| [y].map(add)[0])[0]", 1001),
        ("[1].map(|y| { let add = 7; add + y })[0]", 8),
        ("fn other(add) { add } [1].map(|y| [y].map(add)[0])[0]", 1001),
        ("if true { let add = 7; } [1].map(|y| [y].map(add)[0])[0]", 1001),
    ] {
        let found = session.eval("own", &format!("{function}\n{text}")).unwrap();
        assert_eq!(found.as_int(), Ok(expected), "{text}");
    }
}
