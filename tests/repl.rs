//! The prompt as users see it: typed into through a pseudo-terminal, and fed through a pipe.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Instant;

use crate::torture::terminal::{CTRL_C, CTRL_D, CTRL_R, Terminal, UP};

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// A prompt in a folder of its own.
fn ready() -> (tempfile::TempDir, Terminal) {
    let folder = folder();
    let terminal = Terminal::ready(folder.path());
    (folder, terminal)
}

#[test]
fn an_expression_is_answered_and_quit_leaves() {
    let (_folder, mut terminal) = ready();
    assert!(terminal.screen().starts_with("microtome "));
    terminal.line("6 * 7");
    terminal.see_line("42");
    terminal.done("ans + 1;");
    terminal.line("ans");
    terminal.see_line("43");
    terminal.prompt();
    terminal.line(":quit");
    assert_eq!(terminal.ended(), 0);
}

#[test]
fn control_d_leaves_and_quiet_has_no_banner() {
    let folder = folder();
    let mut terminal = Terminal::start_with(folder.path(), &["--quiet"], &[]);
    terminal.prompt();
    assert!(!terminal.screen().contains("microtome"));
    terminal.send(CTRL_D);
    assert_eq!(terminal.ended(), 0);
}

#[test]
fn a_function_goes_over_several_lines() {
    let (_folder, mut terminal) = ready();
    terminal.line("fn triple(x) {");
    terminal.line("  let sum = x +");
    terminal.line("    x + x;");
    terminal.line("  sum");
    terminal.done("}");
    terminal.line("triple(14)");
    terminal.see_line("42");
}

#[test]
fn tab_completes_and_lists() {
    let (_folder, mut terminal) = ready();
    terminal.send("run::see\t");
    terminal.see("> run::seed()");
    terminal.send("\r");
    terminal.see_line("0");
    terminal.prompt();
    terminal.send("run::save_\t");
    terminal.see("save_json(path: string");
    terminal.see("save_text(path: string");
    terminal.send(CTRL_C);
    terminal.prompt();
    terminal.done("let measurements = [1, 2];");
    terminal.send("measur\t.pus\t3); measurements.len()\r");
    terminal.see_line("3");
}

#[test]
fn tab_completes_models_by_their_names() {
    let folder = folder();
    std::fs::create_dir_all(folder.path().join(".cache/huggingface/hub/models--org--small")).unwrap();
    let mut terminal = Terminal::ready(folder.path());
    terminal.send("model::load(\"ti\t");
    terminal.see("> model::load(\"tiny\"");
    terminal.send(CTRL_C);
    terminal.prompt();
    terminal.send("model::load(\"or\t");
    terminal.see("> model::load(\"org/small\"");
}

#[test]
fn a_hint_shows_the_parameter_that_is_written() {
    let (_folder, mut terminal) = ready();
    terminal.send("run::check(");
    terminal.see("run::check(‹condition: bool›, message: string) -> bool");
    terminal.send("1 == 1, ");
    terminal.see("run::check(condition: bool, ‹message: string›) -> bool");
    terminal.send("\"held\")\r");
    terminal.see_line("check holds: held");
    terminal.prompt();
    assert!(!terminal.screen().contains('‹'), "a hint stays behind:\n{}", terminal.screen());
}

#[test]
fn control_c_stops_the_line_and_keeps_the_variables() {
    let (_folder, mut terminal) = ready();
    terminal.done("let kept = 41;");
    // A decomposition cannot check the flag; it runs on a thread whose result can be dropped.
    let endless = ["loop {}", "sleep(100000)", "[1, 2].for_each(|| loop {})", "tensor::randn([4000, 4000]).svd()"];
    for (index, endless) in endless.iter().enumerate() {
        terminal.line(&format!("kept += 1; print(`running ${{kept}}`); {endless}"));
        terminal.see_line(&format!("running {}", 42 + index));
        let pressed = Instant::now();
        terminal.send(CTRL_C);
        terminal.prompt();
        println!("{endless}: stopped after {:?}", pressed.elapsed());
        assert_eq!(terminal.screen().matches("interrupted").count(), index + 1);
    }
    terminal.line("kept");
    terminal.see_line("45");
    // At the prompt, Ctrl-C discards the line.
    terminal.prompt();
    terminal.send("1 + (");
    terminal.see("> 1 + (");
    terminal.send(CTRL_C);
    terminal.prompt();
    terminal.line("\"still here\"");
    terminal.see_line("still here");
}

#[test]
fn an_error_is_drawn_and_the_session_goes_on() {
    let (_folder, mut terminal) = ready();
    terminal.line("let made = 1; mxa(1, 2)");
    terminal.see("unknown function `mxa`");
    terminal.see("<1>:1:15");
    terminal.prompt();
    terminal.line("made + 1");
    terminal.see_line("2");
}

#[test]
fn questions_are_answered() {
    let (_folder, mut terminal) = ready();
    terminal.line("?run::seed");
    terminal.see_line("run::seed() -> integer");
    terminal.see("Returns the seed that drives this run's randomness");
    terminal.prompt();
    terminal.line("??run::seed");
    terminal.see("is native");
}

/// Waits until the screen contains the text so many times.
fn see_times(terminal: &Terminal, text: &str, times: usize) {
    let start = Instant::now();
    while terminal.screen().matches(text).count() < times {
        assert!(start.elapsed().as_secs() < 20, "waited in vain for {times} times {text}:\n{}", terminal.screen());
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

#[test]
fn a_person_explains_a_feature_and_control_c_leaves() {
    let (folder, mut terminal) = ready();
    let made = r#"
let t = data::tokenizer("to be or not to be", #{ kind: "characters", min_frequency: 1 });
export let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
let documents = [];
documents.pad(40, "to be or not to be");
export let text = data::texts(documents);
export let s = sae::fit(m, "resid_post.0", text, #{ k: 2, ratio: 2, steps: 5, seed: 1 });
let active = features::contexts(m, s, text).table.to_map().rows[0][1];
export let f = s.feature(active);
"#;
    std::fs::write(folder.path().join("made.rhai"), made).unwrap();
    terminal.done("import \"made\" as made;");
    terminal.done("let asked = #{ explainer: \"person\", length: 8 };");
    terminal.line("features::explain(made::m, made::f, made::text, asked).text");
    terminal.see("1 of 1: {");
    terminal.line("fires at vowels");
    // Typed, and answered.
    see_times(&terminal, "fires at vowels", 2);
    terminal.line("features::explain(made::m, made::f, made::text, asked)");
    see_times(&terminal, "1 of 1: {", 2);
    terminal.send(CTRL_C);
    terminal.see("interrupted");
    terminal.line("20 + 22");
    terminal.see_line("42");
}

#[test]
fn a_saved_session_runs_as_a_script() {
    let (folder, mut terminal) = ready();
    for line in ["fn double(x) { x * 2 }", "4", "let y = double(ans)", "oops", "print(`y is ${y}`)"] {
        terminal.done(line);
    }
    terminal.line(":save mine.rhai");
    terminal.see("saved ");
    let run = Command::new(env!("CARGO_BIN_EXE_microtome"))
        .args(["run", "out/mine.rhai"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&run.stdout), "y is 8\n", "{}", String::from_utf8_lossy(&run.stderr));
    assert_eq!(run.status.code(), Some(0));
}

#[test]
fn a_saved_session_gives_the_bytes_that_the_session_had() {
    let folder = folder();
    let mut terminal = Terminal::start_with(folder.path(), &["--seed", "3"], &[]);
    terminal.prompt();
    terminal.done("let x = tensor::randn([2000, 16]);");
    terminal.line("let s = sae::fit(x, #{ k: 2, d_sae: 24, batch: 64, steps: 1000000 });");
    terminal.see("rows/s");
    terminal.send(CTRL_C);
    terminal.prompt();
    terminal.line("let a = tensor::randn([2]); boom(tensor::randn([2]));");
    terminal.see("unknown function `boom`");
    terminal.prompt();
    terminal.line("print(\"drawing\"); loop { tensor::randn([2]); }");
    terminal.see_line("drawing");
    std::thread::sleep(std::time::Duration::from_millis(50));
    terminal.send(CTRL_C);
    terminal.prompt();
    terminal.done(":type tensor::randn([3])");
    terminal.done("let made = [a, tensor::randn([3]), tensor::uniform([2])];");
    terminal.done("let t = sae::fit(x, #{ k: 2, d_sae: 24, batch: 64, steps: 3 });");
    terminal.done("run::save_json(\"made.json\", made + [s.directions, t.directions]);");
    terminal.done("s.save(\"s\");");
    terminal.line(":save mine.rhai");
    terminal.see("saved ");
    let run = Command::new(env!("CARGO_BIN_EXE_microtome"))
        .args(["--out", "again", "run", "out/mine.rhai"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let script = std::fs::read_to_string(folder.path().join("out/mine.rhai")).unwrap();
    assert!(run.status.success(), "{}\n{script}", String::from_utf8_lossy(&run.stderr));
    assert!(script.contains("run::end_early([") && script.contains("run::drawn(#{ \"tensor::randn\": "), "{script}");
    let saved = std::fs::read_dir(folder.path().join("out/s")).unwrap().flatten();
    let saved: Vec<String> = saved.map(|entry| format!("s/{}", entry.file_name().display())).collect();
    assert!(!saved.is_empty());
    for file in saved.iter().map(String::as_str).chain(["made.json"]) {
        let bytes = |place: &str| std::fs::read(folder.path().join(place).join(file)).unwrap();
        assert!(bytes("out") == bytes("again"), "{file} has other bytes:\n{script}");
    }
}

#[test]
fn the_history_outlives_the_session() {
    let (folder, mut terminal) = ready();
    terminal.line("fn nine() {");
    terminal.line("  9");
    terminal.done("}");
    terminal.done("let marker = \"found\";");
    terminal.line(":quit");
    terminal.ended();
    let mut terminal = Terminal::ready(folder.path());
    terminal.send(UP);
    terminal.see("> :quit");
    terminal.send(UP);
    terminal.see("> let marker");
    terminal.send(UP);
    terminal.see("> fn nine() {\n  9\n}");
    terminal.send("\r");
    terminal.prompt();
    terminal.line("nine() * 2");
    terminal.see_line("18");
    terminal.prompt();
    terminal.send(CTRL_R);
    terminal.send("mark");
    terminal.see("let marker = \"found\"");
    terminal.send("\r");
    terminal.prompt();
    terminal.line("marker");
    terminal.see_line("found");
}

#[test]
fn a_history_that_cannot_be_kept_is_a_remark() {
    let folder = folder();
    std::fs::write(folder.path().join("file"), "").unwrap();
    let place = folder.path().join("file/history").display().to_string();
    let mut terminal = Terminal::start_with(folder.path(), &[], &[("MICROTOME_HISTORY", &place)]);
    terminal.prompt();
    terminal.see("the history cannot be read");
    terminal.line("6 * 7");
    terminal.see_line("42");
    terminal.prompt();
    terminal.send(UP);
    terminal.see("the history is not saved");
    terminal.send("\r");
    terminal.prompt();
    assert_eq!(terminal.screen().matches("the history is not saved").count(), 1);
}

#[test]
fn a_pasted_block_is_one_entry() {
    let (_folder, mut terminal) = ready();
    terminal.send("\x1b[200~let a = 20;\rfn more(x) {\r\tx + 1\r}\rprint(`got ${more(a)}`);\r\"end\"\x1b[201~");
    terminal.send("\r");
    terminal.see_line("got 21");
    terminal.see_line("end");
    terminal.prompt();
    terminal.send(UP);
    terminal.see("> let a = 20;\nfn more(x) {");
}

#[test]
fn a_closed_terminal_ends_the_process() {
    for running in ["", "loop { sleep(0.01); print(\"tick\"); }"] {
        let (_folder, mut terminal) = ready();
        terminal.line(&format!("print(\"go\"); {running}"));
        terminal.see_line("go");
        terminal.close();
        terminal.ended();
    }
}

#[test]
fn the_rc_file_comes_first_and_its_errors_do_not_end_the_session() {
    let folder = folder();
    let rc = folder.path().join("rc.rhai").display().to_string();
    std::fs::write(&rc, "let from_rc = 5;\noops();").unwrap();
    let mut terminal = Terminal::start_with(folder.path(), &[], &[("MICROTOME_RC", &rc)]);
    terminal.prompt();
    terminal.see("unknown function `oops`");
    terminal.line("from_rc * 2");
    terminal.see_line("10");
}

#[test]
fn colours_only_where_they_are_welcome() {
    for (variables, coloured) in [(&[][..], true), (&[("NO_COLOR", "1")][..], false)] {
        let folder = folder();
        let mut terminal = Terminal::start_with(folder.path(), &[], variables);
        terminal.prompt();
        terminal.line("let text = \"green\"; oops()");
        terminal.see("unknown function `oops`");
        terminal.prompt();
        let bytes = terminal.bytes();
        assert_eq!(bytes.contains("\x1b[35mlet\x1b[0m"), coloured, "{bytes:?}");
        assert_eq!(bytes.contains("\x1b[32m\"green\"\x1b[0m"), coloured);
        assert!(coloured || !bytes.contains("\x1b[1") && !bytes.contains("\x1b[3"), "{bytes:?}");
    }
}

/// Microtome with these lines on its standard input.
fn piped(folder: &Path, words: &[&str], lines: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_microtome"))
        .args(words)
        .current_dir(folder)
        .env("MICROTOME_RC", "")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn lines_from_a_pipe_are_answered_without_ado() {
    let folder = folder();
    for (lines, answers, code) in [
        ("1+1\n", "2\n", 0),
        ("fn f(x) {\n  x * 2\n}\n\nf(4)\n\"text\"", "8\ntext\n", 0),
        ("1\noops\n2\n", "1\n2\n", 1),
        ("1\n:quit\n2\n", "1\n", 0),
        ("run::check(1 == 2, \"no\");\n", "check FAILED: no\n", 3),
        ("let x = [1,\n", "", 1),
        ("", "", 0),
    ] {
        let output = piped(folder.path(), &[], lines);
        assert_eq!(String::from_utf8_lossy(&output.stdout), answers, "{lines:?}");
        assert_eq!(output.status.code(), Some(code), "{lines:?}");
        assert!(!output.stderr.contains(&0x1b), "{lines:?}");
    }
}

#[test]
fn json_has_no_place_at_the_prompt() {
    let folder = folder();
    let output = piped(folder.path(), &["--json"], "1\n");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--json"));
}

/// A literal of many lines is scanned once, not once for each of its lines.
#[test]
fn a_literal_of_many_lines_is_read() {
    let folder = folder();
    let rows = "  [1, 2, 3], // a row\n".repeat(20_000);
    let output = piped(folder.path(), &[], &format!("let rows = [\n{rows}];\nrows.len()\n"));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "20000\n");
}

/// Control codes in the names and contents of scripts, libraries and files never reach the terminal.
#[test]
fn nothing_from_outside_is_a_code_to_the_terminal() {
    let folder = folder();
    // The clipboard, the screen, and an escape sequence that begins with a single character (C1).
    let evil = "\x1b]52;c;eA==\x07\x1b[2J";
    let file = format!("lib{evil}.rhai");
    std::fs::write(folder.path().join(&file), "fn f( {").unwrap();
    std::fs::write(folder.path().join("names.txt"), evil).unwrap();
    std::fs::write(
        folder.path().join("evil.rhai"),
        "let e = run::load_text(\"names.txt\"); let long = \"x\"; long.pad(40, \"x\");
        let map = #{}; map[e] = long; map.other = long; let short = #{}; short[e] = 1; let shown = card(e, short, #{ body: e });
        let rows = table([short], #{ title: e });
        run::save_text(`a${e}.txt`, e);",
    )
    .unwrap();
    let mut terminal = Terminal::ready(folder.path());
    terminal.done(":load evil.rhai");
    for line in
        ["map", "show(shown)", "[shown]", "show(rows)", "short", "e", "print(short)", "throw e", ":vars", ":out"]
    {
        terminal.done(line);
    }
    terminal.done("import `lib${e}` as lib;");
    terminal.done("run::load_json(`a${e}.txt`)");
    // An answer to this means that everything before it is done.
    terminal.line("\"the end\"");
    terminal.see_line("the end");
    let bytes = terminal.bytes();
    assert!(!bytes.contains("\x1b]52") && !bytes.contains('\x07') && !bytes.contains("\x1b[2J"), "{bytes:?}");
    assert!(bytes.contains("␛]52;c;eA==␇"), "{bytes:?}");
}
