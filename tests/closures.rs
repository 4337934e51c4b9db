//! Functions and closures run as parts of the text that they are written in, whoever calls them, in whatever order.
//!
//! Two modules are the same byte for byte but for one number, which one of their helpers adds. Each way of calling a closure
//! gives what that module gives alone.

use std::collections::BTreeSet;
use std::path::Path;

use microtome::script::Session;
use microtome::script::docs::ReferenceEntry;
use microtome::script::engine::env::Env;
use microtome::script::engine::thread::with_large_stack;

/// A module, all functions of which add `SHIFT`: by a helper, an import, a constant, or a closure.
const MODULE: &str = "import \"deep/lib\" as deep;
const SHIFT = SHIFT_HERE;
fn helper(x) { x + global::SHIFT }
fn plain(x) { helper(x) }
fn closure() { |x| helper(x) }
fn capturing(n) { |x| helper(x) * n }
fn nested() { |x| [x].map(|y| helper(y))[0] }
fn constant() { |x| x + global::SHIFT }
fn imported() { |x| deep::far(x) + global::SHIFT - 1000 }
fn pointed() { helper }
fn pointed_by_name() { Fn(\"helper\") }
fn stored() { #{ f: |x| helper(x), list: [|x| helper(x), |x| helper(x) + 0] } }
fn fixed() { [|x| x + global::SHIFT, #{ f: |x| x + global::SHIFT }] }
fn mapped(list) { list.map(|x| helper(x)) }
fn mapped_by_name(list) { list.map(helper) }
fn applied(f, x) { f.call(x) }
fn method(x) { [x].map(|| helper(this))[0] }
fn changed(x) { let list = [x]; let by = 1; list.for_each(|| this = helper(this) * by); list[0] }
fn first(list) { list.find(|x| helper(x) > 1000) }
fn farthest(list) { list.order_by(|x, y| helper(y) - helper(x))[0] }
fn gradient() { tensor::grad(|t| (t * helper(0)).sum(), tensor([1.0]))[0] }
fn loss() { |t| (t * helper(0)).sum() }
fn hook() { |t| t * helper(0) }
fn of_logits() { |logits| logits.sum() * 0 + helper(0) }
fn of_text() { |text| helper(0) }
fn rows() { |pass| throw helper(0) }
fn metric_of() { |logits, pair| logits[0] * 0 + helper(0) }
fn of_row() { |row| throw helper(row.x) }
fn of_none(x) { || throw helper(x) }
fn of_one() { |y| throw helper(y) }
fn of_two() { |y, z| throw helper(z) }
fn of_group() { |rows| #{ y: helper(rows[\"x\"][0]) } }
fn evaluated(x) { eval(\"[x].map(Fn(`helper`))[0]\") }
fn caught(x) { let y = 0; try { throw x } catch (e) { y = helper(e); } y }
fn branched(x) { switch x { 0 => 0, _ => [x].map(|y| helper(y))[0] } }
";

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
    ("find", "m::first([x]) + m::plain(0)"),
    ("order", "m::farthest([x]) + m::plain(0)"),
    ("reduce", "[x].reduce(|sum, y| sum + m::closure().call(y), 0)"),
    ("through another module", "other::applied(m::closure(), x)"),
    ("by name through another module", "other::applied(m::pointed(), x)"),
    ("curried", "other::applied(m::capturing(1), x)"),
    ("curried by the caller", "m::closure().curry(x).call()"),
    ("called with `call`", "call(m::closure(), x)"),
    ("after an error", "m::caught(x)"),
    ("in a branch", "m::branched(x)"),
    ("in a text that is evaluated", "m::evaluated(x)"),
    ("gradient", "m::gradient().to_int() + x"),
    ("gradient of a loss that is passed on", "tensor::grad(m::loss(), tensor([1.0]))[0].to_int() + x"),
    ("value and gradient", "tensor::value_and_grad(m::loss(), tensor([1.0])).value.to_int() + x"),
    ("jacobian", "tensor::jacobian(m::loss(), tensor([1.0]))[0].to_int() + x"),
    ("product with a Jacobian", "tensor::vjp(m::hook(), tensor([1.0]), [1.0])[0].to_int() + x"),
    ("gradients of a model", "model.grads([1, 2], m::of_logits(), \"resid_post.0\").value.to_int() + x"),
    ("rows to train on", "trained.call(m::rows()) + x"),
    ("effect of steering", "steered.call(m::of_text()) + x"),
    ("hook", "hooked.call(m::hook()) + x"),
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

/// Functions of the reference that take a function as an argument, each with the way that tries it. No type tells of functions
/// that are options, or one of several things that an argument may be: of these the ways have rows to train on and a
/// metric of steering.
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

/// What a script has beside: a helper, an import and a constant with the names of those of the modules.
const BESIDE: &str = "import \"other\" as other; import \"deep/false\" as deep;
const SHIFT = 7;
fn helper(x) { x + 500000 }
fn near(x) { x + 500000 }
let model = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 11, context: 8 }, #{ seed: 3 });
let at = |hooks| model.run([1, 2], #{ hooks: hooks })[\"resid_post.0\"][0][0][0];
let hooked = |f| (at.call([hooks::edit(\"resid_post.0\", f)]) / at.call([])).round().to_int();
let descended = |f| { let opt = optim::sgd(tensor([0.0]), #{ lr: 1.0 }); opt.step(f); (-opt.params[0]).round().to_int() };
let run_down = |f| { let opt = optim::sgd(tensor([0.0]), #{ lr: 1.0 }); opt.run(1, f); (-opt.params[0]).round().to_int() };
let caught = |f| { let thrown = 0; try { f.call(); } catch (e) { thrown = e; } thrown };
let trained = |f| caught.call(|| model::train(#{ layers: 1, d_model: 8, heads: 2, vocab: 11 }, f, #{ steps: 1 }));
let filtered = |f| caught.call(|| table([#{ x: 5 }]).filter(f));
let writer = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 3, context: 8 }, #{ words: [\"a\", \"b\", \"c\"] });
let asked = #{ strengths: [1], random: 0, tokens: 1, seed: 1 };
let steering = |f| intervene::steer(writer, #{ \"resid_post.0\": tensor::ones([8]) }, [\"a\"], [\"a b\"], asked + #{ metric: f });
let steered = |f| steering.call(f)[\"effect\"][0].to_int();
let x = 5;
";

fn write(folder: &Path, name: &str, text: &str) {
    let place = folder.join(name);
    std::fs::create_dir_all(place.parent().unwrap()).unwrap();
    std::fs::write(place, text).unwrap();
}

/// A folder with two such modules, which add 1001 and 1101.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, shift) in [("v1", 1001), ("v2", 1101)] {
        write(folder.path(), &format!("{name}.rhai"), &MODULE.replace("SHIFT_HERE", &shift.to_string()));
    }
    write(folder.path(), "deep/lib.rhai", "fn far(x) { near(x) } fn near(x) { x + 1000 }");
    write(folder.path(), "deep/false.rhai", "fn far(x) { x + 900000 }");
    write(
        folder.path(),
        "other.rhai",
        "import \"deep/false\" as deep; const SHIFT = 70; fn helper(x) { x + 800000 } fn applied(f, x) { f.call(x) }
         fn mapped(list, f) { list.map(f) }",
    );
    folder
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

const SHIFTS: [(&str, i64); 2] = [("v1", 1001), ("v2", 1101)];

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
        let name = path.rsplit(['.', ':']).next().unwrap_or_default();
        let way = WAYS.iter().find(|(what, _)| what == named);
        let is_there = way.is_some_and(|(_, code)| {
            // Some are called by helpers that stand beside.
            code.contains(&format!("{name}(")) || BESIDE.contains(&format!("{name}("))
        });
        assert!(is_there, "{path}: {named}");
    }
}

#[test]
fn each_module_gives_its_own_results_in_a_script_in_both_orders() {
    let folder = folder();
    for order in [["v1", "v2"], ["v2", "v1"]] {
        let mut script: String = order.iter().map(|name| format!("import \"{name}\" as {name};\n")).collect();
        script.push_str(BESIDE);
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
        for line in BESIDE.lines() {
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
