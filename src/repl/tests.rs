//! The prompt without a terminal: completion of every kind, questions, commands, saving.

use super::complete::complete;
use super::*;
use crate::script::engine::env::Env;
use crate::script::engine::value;

fn repl_below(out: &Path) -> Repl {
    // Whatever the one who runs the tests begins sessions with must not matter.
    Repl { rc: None, ..Repl::new(Session::new(Env::in_memory(out).unwrap()), false) }
}

fn repl() -> Repl {
    repl_below(Path::new("out"))
}

/// Returns what a line prints, or its failure.
fn said(repl: &mut Repl, line: &str) -> String {
    let outcome = repl.submit(line);
    let printed = repl.session().env().console.take();
    match outcome {
        Ok(_) => printed.trim_end().to_string(),
        Err(trouble) => format!("{printed}error: {}, hint: {:?}", trouble.failure.message, trouble.failure.hint),
    }
}

/// Returns the candidates for a line whose cursor is at `|`: what the line becomes with each.
fn completed(session: &Session, marked: &str) -> Vec<String> {
    let cursor = marked.find('|').unwrap();
    let line = marked.replacen('|', "", 1);
    let (start, candidates) = complete(&line, cursor, session, &|| Ok(())).unwrap();
    candidates.iter().map(|c| format!("{}{}{}", &line[..start], c.replacement, &line[cursor..])).collect()
}

fn shown(session: &Session, line: &str) -> Vec<String> {
    let (_, candidates) = complete(line, line.len(), session, &|| Ok(())).unwrap();
    candidates.into_iter().map(|candidate| candidate.shown).collect()
}

fn furnished() -> Session {
    let mut session = Session::for_tests();
    let text = "let weights = #{ \"blocks.0\": 1, bias: #{ inner: 2 } };\nlet words = [\"a\"];\nlet t = tensor::zeros([2, 3]);\n/// Mixes.\nfn mix(first, second) { first + second }";
    let _nothing = session.eval("<1>", text).unwrap();
    session
}

#[test]
fn variables_functions_modules_and_keywords_complete() {
    let session = furnished();
    assert_eq!(completed(&session, "let x = wei|"), ["let x = weights"]);
    assert_eq!(completed(&session, "mix|"), ["mix("]);
    assert_eq!(completed(&session, "1 + tensor|"), ["1 + tensor(", "1 + tensor::"]);
    assert_eq!(completed(&session, "whi|"), ["while"]);
    assert_eq!(completed(&session, "fn f(alpha, beta) { let gamma = alp|"), ["fn f(alpha, beta) { let gamma = alpha"]);
    assert_eq!(completed(&session, "for entry in words { ent|"), ["for entry in words { entry"]);
    assert_eq!(shown(&session, "mix"), ["mix(first, second)"]);
    assert_eq!(shown(&session, "weig"), ["weights: map"]);
    // A bracket that stands there already is not written again.
    assert_eq!(completed(&session, "mix|(1, 2)"), ["mix(1, 2)"]);
}

#[test]
fn members_complete_by_the_type_of_the_value() {
    let session = furnished();
    assert_eq!(completed(&session, "words.pus|"), ["words.push("]);
    assert_eq!(completed(&session, "t.sha|"), ["t.shape"]);
    assert_eq!(completed(&session, "t.sum(0).sha|"), ["t.sum(0).shape"]);
    assert_eq!(completed(&session, "tensor::ones([2]).sha|"), ["tensor::ones([2]).shape"]);
    assert_eq!(completed(&session, "weights.bi|"), ["weights.bias"]);
    assert_eq!(completed(&session, "weights.bias.in|"), ["weights.bias.inner"]);
    assert!(completed(&session, "words.shape|").is_empty());
    assert!(completed(&session, "weights.|").iter().all(|line| !line.contains("blocks.0")));
    assert!(shown(&session, "words.pus")[0].starts_with("push("));
    // Nothing is known about the value: what microtome's own types have.
    assert!(completed(&session, "unknown().reshap|").contains(&"unknown().reshape(".to_string()));
}

#[test]
fn members_of_modules_complete_with_their_signatures() {
    let mut session = furnished();
    assert_eq!(completed(&session, "tensor::linsp|"), ["tensor::linspace("]);
    assert_eq!(completed(&session, "run::see|"), ["run::seed()"]);
    assert_eq!(shown(&session, "run::seed"), ["seed() -> integer"]);
    let _nothing = session.eval("<2>", "import \"std/stats\" as stats;").unwrap();
    assert!(completed(&session, "stats::inter|").contains(&"stats::interval(".to_string()));
}

#[test]
fn options_complete_by_their_call_and_once() {
    let session = furnished();
    assert_eq!(
        completed(&session, "run::fetch(\"x\", #{ |"),
        ["run::fetch(\"x\", #{ to: ", "run::fetch(\"x\", #{ sha256: "]
    );
    assert_eq!(completed(&session, "run::fetch(\"x\", #{ to: \"y\", |"), ["run::fetch(\"x\", #{ to: \"y\", sha256: "]);
    assert_eq!(completed(&session, "run::fetch(\"x\", #{ sh|})"), ["run::fetch(\"x\", #{ sha256: })"]);
    assert!(shown(&session, "run::fetch(\"x\", #{ sh")[0].contains("the hash that the content must have"));
    assert!(completed(&session, "#{ |").is_empty());
    // Of options that only some kinds have, those of the kind that is written.
    assert!(!completed(&session, "sae::fit(x, #{ tar|").is_empty());
    assert!(completed(&session, "sae::fit(x, #{ kind: \"topk\", tar|").is_empty());
}

#[test]
fn strings_complete_to_files_and_to_keys() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("data/deep")).unwrap();
    for name in ["data/weights.npz", "data/deep/words.txt", "data/.hidden"] {
        std::fs::write(folder.path().join(name), "").unwrap();
    }
    let mut session = Session::new(Env::in_memory(folder.path()).unwrap());
    let _nothing = session.eval("<1>", "let weights = #{ \"blocks.0\": 1, bias: 2 };").unwrap();
    let root = folder.path().display();
    assert_eq!(completed(&session, &format!("f(\"{root}/da|")), [format!("f(\"{root}/data/")]);
    assert_eq!(
        completed(&session, &format!("f(\"{root}/data/|\")")),
        [format!("f(\"{root}/data/deep/\")"), format!("f(\"{root}/data/weights.npz\")")]
    );
    // The folder is the output folder, too, so that a relative path is found there.
    assert_eq!(completed(&session, "tensor::load(\"data/we|"), ["tensor::load(\"data/weights.npz"]);
    assert_eq!(completed(&session, "f(\"src/repl/hist|"), ["f(\"src/repl/history.rs"]);
    assert_eq!(completed(&session, ":load data/deep/|"), [":load data/deep/words.txt"]);
    assert_eq!(completed(&session, "weights[\"bl|"), ["weights[\"blocks.0\"]"]);
    assert_eq!(completed(&session, "weights[\"|\"]"), ["weights[\"bias\"]", "weights[\"blocks.0\"]"]);
    assert_eq!(completed(&session, "import \"std/st|"), ["import \"std/stats"]);
    assert!(completed(&session, "import \"st|").contains(&"import \"std/stats".to_string()));
    assert_eq!(completed(&session, "import \"std/|").len(), crate::script::docs::stdlib::STDLIB.len());
}

#[test]
fn files_that_nobody_waits_for_are_not_listed() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("beside.rhai"), "").unwrap();
    let session = Session::new(Env::in_memory(folder.path()).unwrap());
    let interrupted: &dyn Fn() -> Result<()> = &|| Err(Error::interrupted());
    for line in ["import \"besi", "f(\"besi", ":load besi"] {
        assert_eq!(complete(line, line.len(), &session, &|| Ok(())).unwrap().1.len(), 1, "{line}");
        assert_eq!(complete(line, line.len(), &session, interrupted).unwrap_err(), Error::interrupted());
    }
    // What needs no folder is there all the same.
    assert!(complete("whi", 3, &session, interrupted).is_ok());
}

#[test]
fn strings_complete_to_what_an_argument_may_be() {
    let mut session = Session::for_tests();
    let text = "let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: 10, context: 16 }); \
                let c = m.cache([1, 2], \"mlp_out.*\"); let g = data::text(\"grammar\"); \
                let tab = table([#{ name: 1, grade: 2 }]); let facts = card(\"run\", #{ loss: 2 });";
    let _nothing = session.eval("<1>", text).unwrap();
    assert_eq!(
        completed(&session, "m.cache(t, \"resid_po|"),
        ["m.cache(t, \"resid_post.*\"", "m.cache(t, \"resid_post.0\"", "m.cache(t, \"resid_post.1\""]
    );
    assert_eq!(completed(&session, "m.cache(t, [\"embed\", \"mlp_in.|\"])").len(), 3);
    assert_eq!(completed(&session, "c.mean(\"mlp_out.1|"), ["c.mean(\"mlp_out.1\""]);
    assert_eq!(completed(&session, "c[\"mlp_|\"]"), ["c[\"mlp_out.0\"]", "c[\"mlp_out.1\"]"]);
    assert_eq!(completed(&session, "hooks::zero(\"mlp_out.|\")").len(), 3);
    assert_eq!(completed(&session, "tab[\"gr|\"]"), ["tab[\"grade\"]"]);
    assert_eq!(completed(&session, "sae::fit(m, \"resid_pre.|\", g)").len(), 2);
    let weights = completed(&session, "m.weight(\"blocks.0.attn.q|");
    assert_eq!(weights, ["m.weight(\"blocks.0.attn.q.weight\"", "m.weight(\"blocks.0.attn.q.bias\""]);
    assert_eq!(completed(&session, "m.weight(\"W_E|\")"), ["m.weight(\"W_E\")"]);
    assert_eq!(completed(&session, "data::pairs(\"greater|"), ["data::pairs(\"greater_than\""]);
    assert_eq!(completed(&session, "sae::fit(x, #{ kind: \"jump|"), ["sae::fit(x, #{ kind: \"jumprelu\""]);
    assert_eq!(completed(&session, "sae::fit(x, #{ schedule: \"co|\" })").len(), 2);
    assert_eq!(
        completed(&session, "data::tokenizer(\"a b\", #{ kind: \"wor|"),
        ["data::tokenizer(\"a b\", #{ kind: \"words\""]
    );
    assert_eq!(completed(&session, "g.labels(m, \"dep|"), ["g.labels(m, \"depth\""]);
    assert_eq!(completed(&session, "features::for_label(m, s, g, \"number|").len(), 2);
    assert_eq!(
        completed(&session, "features::for_label(m, s, g, \"number\", \"plu|"),
        ["features::for_label(m, s, g, \"number\", \"plural\""]
    );
    assert_eq!(
        completed(&session, "features::for_label(m, s, g, \"gender\", \"male\", #{ against: \"fe|"),
        ["features::for_label(m, s, g, \"gender\", \"male\", #{ against: \"female\""]
    );
    assert_eq!(completed(&session, "probe::fit(x, y, #{ kind: \"sp|"), ["probe::fit(x, y, #{ kind: \"sparse\""]);
    assert_eq!(completed(&session, "data::text(\"gramm|"), ["data::text(\"grammar\""]);
    assert_eq!(completed(&session, "data::toy(\"|"), ["data::toy(\"synth\""]);
    assert_eq!(completed(&session, "circuit::compiled(\"so|"), ["circuit::compiled(\"sort\""]);
    assert_eq!(completed(&session, "tensor::ones([2]).to(\"b|"), ["tensor::ones([2]).to(\"bf16\""]);
    assert_eq!(completed(&session, "tab.sort_by(\"gr|\")"), ["tab.sort_by(\"grade\")"]);
    assert_eq!(completed(&session, "tab.select([\"name\", \"gr|\"])"), ["tab.select([\"name\", \"grade\"])"]);
    assert_eq!(completed(&session, "facts[\"lo|\"]"), ["facts[\"loss\"]"]);
    assert_eq!(completed(&session, "sae::transcoder(m, \"mlp_in.|\")").len(), 2);
    assert!(completed(&session, "m.cache(t, \"nothing_such|").is_empty());
}

#[test]
fn what_is_loaded_completes_to_names_and_to_files_beside_them() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("tinted/deep")).unwrap();
    std::fs::write(folder.path().join("tinier.gguf"), "").unwrap();
    let session = Session::new(Env::in_memory(folder.path()).unwrap());
    assert_eq!(
        completed(&session, "model::load(\"tin|"),
        ["model::load(\"tiny\"", "model::load(\"tinier.gguf", "model::load(\"tinted/"]
    );
    assert_eq!(completed(&session, "model::load(\"tiny|\")"), ["model::load(\"tiny\")"]);
    assert_eq!(completed(&session, "model::load(\"tinted/|"), ["model::load(\"tinted/deep/"]);
    // A release has ids behind its name.
    assert_eq!(completed(&session, "sae::load(\"gpt2-small-res-jb|").len(), 2);
    assert!(completed(&session, "sae::load(\"gpt2-small-res-jb|\")")[0].ends_with("res-jb/\")"));
}

#[test]
fn a_line_that_failed_is_saved_as_far_as_it_ran() {
    let folder = tempfile::tempdir().unwrap();
    let mut repl = repl_below(folder.path());
    for line in [
        "let a = 7; fn f(x) { x + a() } fn a() { 1 } [1][5]; let b = 2;",
        "let l = []; for i in 0..3 { l.push(i); [1][i] }",
    ] {
        assert!(said(&mut repl, line).starts_with("error: "));
    }
    said(&mut repl, "let c = f(a);");
    said(&mut repl, ":save session.rhai");
    let text = std::fs::read_to_string(folder.path().join("session.rhai")).unwrap() + "[a, c, l]";
    assert_eq!(value::repr(&Session::for_tests().eval("session.rhai", &text).unwrap()), "[7, 8, [0, 1]]", "{text}");
}

#[test]
fn functions_of_ones_own_library_are_documented() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("simple.rhai"),
        "/// Twice as much.\n///\n/// Nothing more.\nfn twice(x) { 2 * x }",
    )
    .unwrap();
    let mut repl = repl_below(folder.path());
    let path = folder.path().join("simple").display().to_string();
    assert_eq!(said(&mut repl, &format!("import \"{path}\" as simple;")), "");
    assert_eq!(
        said(&mut repl, "?simple::twice"),
        "simple::twice(x: any) -> any\n\n  Twice as much.\n\n  Nothing more."
    );
}

#[test]
fn commands_and_questions_complete() {
    let session = furnished();
    assert_eq!(completed(&session, ":be|"), [":bench "]);
    assert_eq!(completed(&session, ":va|"), [":vars"]);
    assert_eq!(completed(&session, ":time wei|"), [":time weights"]);
    assert_eq!(completed(&session, ":type t.sha|"), [":type t.shape"]);
    assert_eq!(completed(&session, ":doc run::see|"), [":doc run::seed"]);
    assert_eq!(completed(&session, ":help ben|"), [":help bench"]);
    assert_eq!(completed(&session, "?run::see|"), ["?run::seed"]);
    assert_eq!(completed(&session, "??see|"), ["??seed"]);
    assert!(completed(&session, ":nothing x|").is_empty());
    assert!(shown(&session, ":ben")[0].contains("evaluate repeatedly"));
}

#[test]
fn no_line_and_no_cursor_breaks_completion() {
    let session = furnished();
    let line = "let é = run::fetch(\"ü\", #{ to: `a ${t.s} b`, sha256: weights[\"bl\"] }).x // `";
    for cursor in 0..=line.len() + 1 {
        let (start, candidates) = complete(line, cursor, &session, &|| Ok(())).unwrap();
        assert!(start <= line.len() && candidates.len() < 5_000);
        assert!(
            !line.is_char_boundary(cursor)
                || signature::hint(line.get(..cursor).unwrap_or(line), &session).is_none_or(|hint| !hint.is_empty())
        );
    }
}

#[test]
fn no_text_breaks_what_is_asked_while_it_is_typed() {
    let session = furnished();
    const PIECES: &[&str] = &[
        "weights", "t", "mix(", "run::", "tensor::", "fetch(", ".", "::", "\"", "`", "${", "}", "#{", "{", "(", ")",
        "[", "]", ", ", ": ", " ", "1", "2.5", "let ", "fn ", "|", "//", "/*", "'", "\\", "\n", "é", ":", "?",
        ":time ", "import ", ";", "=",
    ];
    let texts = proptest::collection::vec(proptest::sample::select(PIECES), 0..12);
    let mut runner = proptest::test_runner::TestRunner::default();
    let ran = runner.run(&texts, |parts| {
        let text = parts.concat();
        for cursor in (0..=text.len()).filter(|at| text.is_char_boundary(*at)) {
            let (start, _) = complete(&text, cursor, &session, &|| Ok(())).unwrap();
            assert!(start <= cursor);
            signature::hint(&text[..cursor], &session);
            assert!(highlight::painted(&text, Some(cursor), &session).len() >= text.len());
        }
        is_unfinished(&text, &session);
        definitions::of(&text);
        Ok(())
    });
    assert_eq!(ran, Ok(()));
}

#[test]
fn the_last_value_is_kept_and_a_semicolon_mutes_it() {
    let mut repl = repl();
    assert_eq!(said(&mut repl, "1 + 1"), "2");
    assert_eq!(said(&mut repl, "ans * 10; // quietly"), "");
    assert_eq!(said(&mut repl, "let x = ans;"), "");
    assert_eq!(said(&mut repl, "ans"), "20");
    assert_eq!(said(&mut repl, "\"a;\""), "a;");
}

#[test]
fn a_failed_line_keeps_what_it_made() {
    let mut repl = repl();
    let failed = said(&mut repl, "let kept = 7; run::nothing()");
    assert!(failed.starts_with("error: unknown function"), "{failed}");
    assert_eq!(said(&mut repl, "kept"), "7");
}

#[test]
fn questions_are_answered_from_the_reference() {
    let mut repl = repl();
    let seed = said(&mut repl, "?run::seed");
    assert!(seed.starts_with("run::seed() -> integer\n\n  Returns the seed"), "{seed}");
    assert!(seed.contains("Example\n    run::seed()  //=> 0"), "{seed}");
    assert_eq!(said(&mut repl, ":doc run::seed"), seed);
    assert!(said(&mut repl, "?run").contains("run::check("));
    assert!(said(&mut repl, "?").contains(":bench EXPR"));
    assert!(said(&mut repl, "?:time").starts_with(":time EXPR"));
    let wrong = said(&mut repl, "?run::sede");
    assert_eq!(wrong, "error: the reference has no `run::sede`, hint: Some(\"did you mean `run::seed`?\")");
    said(&mut repl, "let list = [1];");
    assert!(said(&mut repl, "?list").starts_with("list: array\n"));
}

#[test]
fn sources_are_shown_where_there_are_some() {
    let mut repl = repl();
    said(&mut repl, "/// Doubles.\nfn twice(x) { x * 2 }");
    assert_eq!(said(&mut repl, "??twice"), "// this session\n/// Doubles.\nfn twice(x) { x * 2 }");
    said(&mut repl, "fn twice(x) { x + x }");
    assert_eq!(said(&mut repl, "??twice"), "// this session\nfn twice(x) { x + x }");
    let interval = said(&mut repl, "??stats::interval");
    assert!(interval.starts_with("// std/stats\n/// Returns") && interval.ends_with('}'), "{interval}");
    said(&mut repl, "import \"std/stats\" as s;");
    assert_eq!(said(&mut repl, "??s::interval"), interval);
    assert!(said(&mut repl, "??run::seed").starts_with("`run::seed` is native"));
    assert!(said(&mut repl, "??nothing_at_all").starts_with("error: the reference has no"));
}

#[test]
fn commands_do_what_their_help_says() {
    let mut repl = repl();
    assert_eq!(said(&mut repl, ":vars"), "no variables yet");
    let time = said(&mut repl, ":time let x = 3; x");
    assert!(time.starts_with("3\ntook "), "{time}");
    assert_eq!(said(&mut repl, ":type x / 2.0"), "float");
    assert!(said(&mut repl, ":bench let y = x + 1;").contains(" median, "));
    assert_eq!(said(&mut repl, "let s = \"text\";"), "");
    assert_eq!(said(&mut repl, ":vars"), "x    integer  3\nans  integer  3\ns    string   \"text\"");
    assert_eq!(said(&mut repl, ":reset"), "cleared variables, functions and imports");
    assert!(said(&mut repl, "x").starts_with("error: unknown variable `x`"));
    assert!(matches!(repl.submit(":quit"), Ok(PromptFlow::Quit)));
    assert_eq!(said(&mut repl, ":tiem 1"), "error: unknown command `:tiem`, hint: Some(\"did you mean `:time`?\")");
    assert!(said(&mut repl, ":time").starts_with("error: expected `:time EXPR`"));
    assert!(said(&mut repl, ":vars 1").starts_with("error: expected nothing after `:vars`"));
}

#[test]
fn every_command_is_explained() {
    let mut repl = repl();
    for command in commands::TABLE {
        let help = said(&mut repl, &format!(":help {}", command.name));
        assert!(help.starts_with(&format!(":{}", command.name)) && help.ends_with('.'), "{help}");
        assert!(command.summary.starts_with(char::is_lowercase) && !command.summary.ends_with('.'));
    }
}

#[test]
fn a_saved_session_runs() {
    let folder = tempfile::tempdir().unwrap();
    let mut repl = repl_below(folder.path());
    for line in
        ["fn f(x) { x }", "fn f(x) { x * 2 }", "let a = #{ b: 4 }", "oops", "f(a.b)", "let c = ans + 1", ":vars"]
    {
        said(&mut repl, line);
    }
    let saved = said(&mut repl, ":save session.rhai");
    assert!(saved.starts_with("saved ") && saved.ends_with("session.rhai"), "{saved}");
    let place = folder.path().join("session.rhai");
    let text = std::fs::read_to_string(&place).unwrap() + "c";
    assert_eq!(Session::for_tests().eval("session.rhai", &text).unwrap().as_int(), Ok(9), "{text}");
    assert!(said(&mut repl, ":out").ends_with("\n  session.rhai"));
    said(&mut repl, ":reset");
    assert_eq!(said(&mut repl, ":load session.rhai"), "");
    assert_eq!(said(&mut repl, "c"), "9");
}

#[test]
fn a_session_of_all_kinds_of_statements_is_saved_as_it_was() {
    const FIRST: &[&str] = &[
        "",
        "let a = 3; ",
        "if a > 1 { kept.push(0) } ",
        "for i in 0..2 { kept.push(i) } ",
        "switch a { 1 => { kept.push(1) } _ => { kept.push(2) } } ",
        "while a == 1 { } ",
        "try { [1][5] } catch (e) { kept.push(3) } ",
        "/* said */ { kept.push(4) } ;",
    ];
    const LAST: &[&str] = &[
        "7",
        "[7]",
        "-a",
        "(a)",
        "`${a} {`",
        "#{ b: a }.b",
        "{ a }",
        "if a > 1 { a } else { 0 }",
        "if #{ b: a }.b == { 3 } { 5 } else if a > 1 { 6 } else { 0 }",
        "switch a { 3 => { 8 } _ => 9 }",
        "for i in 0..3 { if i == 2 { break i } }",
        "while true { break 4 }",
        "loop { break 5 }",
        "do { break 6 } while true",
        "try { [1][5] } catch { 2 }",
        "return a + 1",
        "exit(a)",
        "kept.len()",
        "a.twice() + \"x\".twice().len()",
        "(|x| { return x }).call(a)",
    ];
    const BEHIND: &[&str] = &["", ";", " // said", "; fn more() { 1 }", ";\n/// Doc.\nfn int.more() { this } // end"];
    let folder = tempfile::tempdir().unwrap();
    let mut repl = repl_below(folder.path());
    said(&mut repl, "let a = 3; let kept = []; fn int.twice() { this * 2 } fn \"string\".twice() { this + this }");
    for first in FIRST {
        for last in LAST {
            for behind in BEHIND {
                let line = format!("{first}{last}{behind}");
                let outcome = said(&mut repl, &line);
                assert!(!outcome.starts_with("error"), "{line}: {outcome}");
                said(&mut repl, "kept.push(ans);");
            }
        }
    }
    let kept = value::repr(repl.session().variable("kept").unwrap());
    let saved = said(&mut repl, ":save session.rhai");
    assert!(saved.starts_with("saved ") && saved.ends_with("session.rhai"), "{saved}");
    let text = std::fs::read_to_string(folder.path().join("session.rhai")).unwrap() + "kept";
    assert_eq!(value::repr(&Session::for_tests().eval("session.rhai", &text).unwrap()), kept);
}

#[test]
fn a_script_runs_beside_the_session() {
    let folder = tempfile::tempdir().unwrap();
    let script = "let x = arg(\"n\", 1); print(x + 1); fn gone() { 1 }";
    std::fs::write(folder.path().join("script.rhai"), script).unwrap();
    std::fs::write(folder.path().join("wrong.rhai"), "1 +\n  oops").unwrap();
    let mut repl = repl_below(folder.path());
    said(&mut repl, "let x = 100;");
    assert_eq!(said(&mut repl, ":run script.rhai --n 4"), "5");
    assert_eq!(said(&mut repl, "x"), "100");
    assert!(said(&mut repl, "gone()").starts_with("error: unknown function"));
    assert!(said(&mut repl, ":run script.rhai --m 4").contains("error: this script never asks for `--m`"));
    let trouble = repl.submit(":run wrong.rhai").err().unwrap();
    assert!(trouble.sources.unwrap().text("wrong.rhai").is_some());
}

#[test]
fn lines_from_a_pipe_are_put_together_until_they_are_whole() {
    let ending = |text: &str| repl().read(text.as_bytes()).unwrap();
    assert_eq!(ending("fn f() {\n  1\n}\n\nif f() != 1 { throw 1 }\n"), Ending::Done);
    assert_eq!(ending("let x = [1,\n\n2];\nif x.len() != 2 { throw 1 }"), Ending::Done);
    assert_eq!(ending("oops\n1\n"), Ending::Failed);
    assert_eq!(ending("fn f() {\n"), Ending::Failed);
    assert_eq!(ending(":quit\noops\n"), Ending::Done);
    assert_eq!(ending("run::check(false, \"no\")\n"), Ending::CheckFailed);
    assert_eq!(ending(""), Ending::Done);
    assert_eq!(repl().read(&b"\xff\n1\n"[..]).unwrap(), Ending::Failed);
}

#[test]
fn questions_and_commands_end_with_their_line_but_for_code() {
    let session = Session::for_tests();
    assert!(!is_unfinished("?f(", &session) && !is_unfinished(":load f(", &session));
    assert!(is_unfinished(":time f(", &session) && !is_unfinished(":time 1", &session));
    assert!(is_unfinished("  let x =", &session));
}

#[test]
fn words_that_were_seen_as_they_came_are_not_said_once_more() {
    let mut repl = repl();
    let model = "let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 2 }, #{ words: [\"a\", \"b\"] }); \
                 let next = #{ tokens: 2, hooks: hooks::edit(\"logits\", |x, at| { x[[\":\", \":\", at.step]] = 99; x }) };";
    assert_eq!(said(&mut repl, model), "");
    assert_eq!(said(&mut repl, "m.generate(\"a\", next)"), " a b");
    assert_eq!(repl.session().env().console.take_spoken(), "");
    repl.session().env().console.converse();
    assert_eq!(said(&mut repl, "m.generate(\"a\", next)"), " a b");
    assert_eq!(said(&mut repl, "ans"), " a b");
    assert_eq!(said(&mut repl, "m.generate(\"a\", next).to_upper()"), " a b\n A B");
    assert_eq!(said(&mut repl, "m.generate(\"a\", next);"), " a b");
}
