//! The guide: every line is typed, and every answer compared.
//!
//! After an intended change, `GUIDE=overwrite cargo test guide::` writes the answers into the guide.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::figures::session;
use crate::support;

fn page(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name)
}

/// A command or a line at the prompt, with what the page says that it answers.
struct GuideStep {
    typed: String,
    answer: Vec<String>,
}

/// The pieces of the page, in order.
enum GuidePiece {
    Text(String),
    /// A file that the reader writes: its name, and what is in it.
    File(String, String),
    Steps(Vec<GuideStep>),
}

fn pieces(page: &str) -> Vec<GuidePiece> {
    let mut found = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        found.push(GuidePiece::Text(format!("{line}\n")));
        let Some(about) = line.strip_prefix("```") else { continue };
        let inside: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        found.push(match about.split_once(' ') {
            None if about == "console" => GuidePiece::Steps(steps(&inside)),
            Some((_, name)) => GuidePiece::File(name.into(), inside.join("\n") + "\n"),
            None => GuidePiece::Text(inside.join("\n") + "\n"),
        });
        found.push(GuidePiece::Text("```\n".into()));
    }
    found
}

fn steps(lines: &[&str]) -> Vec<GuideStep> {
    let mut found: Vec<GuideStep> = Vec::new();
    for line in lines {
        match found.last_mut() {
            Some(step) if !line.starts_with(['>', '$']) => step.answer.push(line.to_string()),
            _ => found.push(GuideStep { typed: line.to_string(), answer: Vec::new() }),
        }
    }
    found
}

/// A reader's machine: an empty home, an empty folder, and the program on the path.
struct ReaderMachine {
    folder: tempfile::TempDir,
}

impl ReaderMachine {
    /// What a shell says to a command, in the order in which it was said.
    fn answer(&self, command: &str, typed: &str) -> String {
        let folder = self.folder.path();
        let log = folder.join(".answer");
        let file = std::fs::File::create(&log).unwrap();
        let program = Path::new(env!("CARGO_BIN_EXE_microtome"));
        let path = format!("{}:{}", program.parent().unwrap().display(), std::env::var("PATH").unwrap_or_default());
        let mut child = Command::new("sh")
            .args(["-c", command])
            .current_dir(folder.join("work"))
            .env("PATH", path)
            .env("HOME", folder)
            .env("XDG_CACHE_HOME", folder.join("cache"))
            .env("XDG_CONFIG_HOME", folder.join("config"))
            .env("MICROTOME_CACHE", folder.join("cache"))
            .env("MICROTOME_PATH", "")
            .env("TERM", "dumb")
            .stdin(Stdio::piped())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), typed.as_bytes()).unwrap();
        child.wait().unwrap();
        let mut said = String::new();
        std::fs::File::open(&log).unwrap().read_to_string(&mut said).unwrap();
        said.replace(&folder.join("work").display().to_string(), "/home/you/work")
    }

    /// The answers to lines at the prompt, which end in a mark each.
    fn conversation(&self, command: &str, lines: &[String]) -> Vec<String> {
        let mark = |n: usize| format!("=== {n} ===");
        let typed = lines.iter().enumerate().fold(String::new(), |mut typed, (n, line)| {
            let _fits = writeln!(typed, "{line}\nprint(\"{}\")", mark(n));
            typed
        });
        let said = self.answer(command, &typed);
        let mut rest = said.as_str();
        let answer = |n: usize| {
            let (answer, after) = rest.split_once(&format!("{}\n", mark(n))).unwrap_or((rest, ""));
            rest = after;
            answer.to_string()
        };
        (0..lines.len()).map(answer).collect()
    }
}

/// Whether two lines say the same: words to the letter, decimals to a fiftieth, since another kind of processor rounds
/// otherwise.
fn same_line(wanted: &str, found: &str) -> bool {
    let wanted: Vec<&str> = wanted.split_whitespace().collect();
    let found: Vec<&str> = found.split_whitespace().collect();
    let near = |a: &str, b: &str| match (a.contains('.'), a.parse::<f64>(), b.parse::<f64>()) {
        (true, Ok(a), Ok(b)) => (a - b).abs() <= 0.02 * (a.abs() + b.abs()) / 2.0 + 1e-5,
        _ => a == b,
    };
    wanted.len() == found.len() && wanted.iter().zip(found).all(|(a, b)| near(a, b))
}

/// The family of AMD's processors that the answers on the pages are from: Zen 5.
const FAMILY: &str = "26";

/// Whether this processor is of the kind that the answers on the pages are from. Another kind rounds otherwise, and after the
/// 400 steps of a fit another rounding has led to other features.
fn is_the_processor_of_the_answers() -> bool {
    let of_answers = |text: &str| {
        let mut lines = text.lines().filter_map(|line| line.split_once(':'));
        let is_of_family = |(name, value): (&str, &str)| name.trim() == "cpu family" && value.trim() == FAMILY;
        text.contains("AuthenticAMD") && lines.any(is_of_family)
    };
    std::fs::read_to_string("/proc/cpuinfo").is_ok_and(|text| of_answers(&text))
}

/// The names that hold what was fitted, or what was computed of it.
#[derive(Default)]
struct FittedNames(BTreeSet<String>);

impl FittedNames {
    /// Whether an answer hangs on a fit: the line makes one, names what one gave, or runs a script or a sweep. What it is
    /// assigned to hangs on it, too.
    fn are_in(&mut self, typed: &str) -> bool {
        let line = typed.trim_start_matches("> ");
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let mut words = line.split(|c| !is_word(c));
        let runs = typed.starts_with("$ microtome run") || typed.starts_with("$ microtome sweep");
        let hangs = runs || words.any(|word| ["fit", "fit_all"].contains(&word) || self.0.contains(word));
        if let Some((name, _)) = line.strip_prefix("let ").and_then(|rest| rest.split_once(" =")).filter(|_| hangs) {
            self.0.insert(name.to_string());
        }
        hangs
    }
}

/// Whether two answers are of the same kind: their first lines are the same but for numbers.
fn is_same_kind(wanted: &[String], found: &[String]) -> bool {
    let title = |lines: &[String]| -> Option<String> {
        Some(lines.first()?.chars().filter(|c| !c.is_ascii_digit() && *c != '.' && *c != '-').collect())
    };
    title(wanted) == title(found)
}

/// Whether a line tells how far a stage of more than ten seconds is, which there are on a slower machine.
fn is_stage(line: &str) -> bool {
    line.contains(": ended after ") || (line.contains(" of ") && line.ends_with(" left"))
}

/// The answer as the page shows it: whole, or with `...` where the page leaves lines out.
fn shown(wanted: &[String], found: &str) -> Vec<String> {
    let found: Vec<String> =
        found.lines().filter(|line| !is_stage(line)).map(|line| line.trim_end().to_string()).collect();
    match wanted.iter().position(|line| line == "...") {
        Some(before) if found.len() >= wanted.len() => {
            let after = found.len() - (wanted.len() - before - 1);
            [&found[..before], &["...".to_string()], &found[after..]].concat()
        }
        _ => found,
    }
}

/// The page with the answers of today.
fn typed_anew(text: &str, examples: &[PathBuf]) -> (String, Vec<String>) {
    let reader = ReaderMachine { folder: tempfile::tempdir().unwrap() };
    let work = reader.folder.path().join("work");
    std::fs::create_dir(&work).unwrap();
    for example in examples {
        std::fs::copy(example, work.join(example.file_name().unwrap())).unwrap();
    }
    let mut pieces = pieces(text);
    // All files are there before anything is typed.
    for piece in &pieces {
        if let GuidePiece::File(name, content) = piece {
            kit::write(reader.folder.path().join("work").join(name), content);
        }
    }
    let mut steps: Vec<&mut GuideStep> = pieces
        .iter_mut()
        .flat_map(|piece| if let GuidePiece::Steps(steps) = piece { steps.iter_mut() } else { Default::default() })
        .collect();
    let mut complaints = Vec::new();
    let mut fitted = FittedNames::default();
    let mut at = 0;
    // A conversation goes on over all blocks up to the next command.
    while at < steps.len() {
        let command = steps[at].typed.trim_start_matches("$ ").to_string();
        let lines: Vec<String> =
            steps[at + 1..].iter().map_while(|step| step.typed.strip_prefix("> ").map(String::from)).collect();
        let answers = match lines.as_slice() {
            [] => vec![reader.answer(&command, "")],
            lines => [vec![String::new()], reader.conversation(&command, lines)].concat(),
        };
        for answer in answers {
            let step = &mut steps[at];
            let found = shown(&step.answer, &answer);
            let same = found.len() == step.answer.len() && step.answer.iter().zip(&found).all(|(a, b)| same_line(a, b));
            let may_differ = fitted.are_in(&step.typed) && !is_the_processor_of_the_answers();
            let is_right = same || may_differ && is_same_kind(&step.answer, &found);
            if !is_right {
                complaints.push(format!(
                    "{}\nexpected\n{}\nfound\n{}",
                    step.typed,
                    step.answer.join("\n"),
                    found.join("\n")
                ));
                step.answer = found;
            }
            at += 1;
        }
    }
    (written(&pieces), complaints)
}

fn written(pieces: &[GuidePiece]) -> String {
    let step = |step: &GuideStep| -> String {
        std::iter::once(&step.typed).chain(&step.answer).map(|line| format!("{line}\n")).collect()
    };
    let piece = |piece: &GuidePiece| match piece {
        GuidePiece::Text(text) | GuidePiece::File(_, text) => text.clone(),
        GuidePiece::Steps(steps) => steps.iter().map(step).collect::<String>(),
    };
    pieces.iter().map(piece).collect()
}

/// Types a page, and compares or, after an intended change, writes its answers; gives back the page. The examples are in the
/// reader's folder.
fn goes_as_it_says(name: &str, examples: &[PathBuf]) -> String {
    let place = page(name);
    let text = std::fs::read_to_string(&place).unwrap();
    assert_eq!(written(&pieces(&text)), text, "the page is read whole");
    let (anew, complaints) = typed_anew(&text, examples);
    if std::env::var_os("GUIDE").is_some_and(|word| word == "overwrite") {
        std::fs::write(&place, anew).unwrap();
        return text;
    }
    assert!(complaints.is_empty(), "GUIDE=overwrite writes the answers of today\n\n{}", complaints.join("\n\n"));
    text
}

#[test]
fn the_first_hour_goes_as_the_guide_says() {
    let text = goes_as_it_says("guide.md", &[]);
    assert!(text.matches("\n> ").count() > 30, "hardly a line was typed");
}

/// The first session of the README is typed, too; where a comment says how probable a token is, the answer has it.
#[test]
fn the_first_session_goes_as_the_readme_says() {
    let lines = session::lines();
    let reader = ReaderMachine { folder: tempfile::tempdir().unwrap() };
    std::fs::create_dir(reader.folder.path().join("work")).unwrap();
    let answers = reader.conversation("microtome", &lines);
    let mut compared = 0;
    for (line, answer) in lines.iter().zip(&answers) {
        assert!(!answer.lines().any(|said| said.starts_with("error")), "{line}\n{answer}");
        assert!(line.starts_with("let ") || !answer.trim().is_empty(), "{line} answers nothing");
        let Some(stated) = session::stated(line) else {
            // A number that is stated in another form would not be compared.
            let comment = line.split_once("// ").map_or("", |(_, comment)| comment);
            let bare = |word: &str| word.trim_matches(|c: char| !c.is_ascii_alphanumeric()).parse::<f64>().is_ok();
            assert!(!comment.split_whitespace().any(bare), "{line}");
            continue;
        };
        let found = stated.found(answer).unwrap_or_else(|| panic!("{line}\n{answer}"));
        // A range is over fits.
        let is_stated = stated.last_seed.is_none() || is_the_processor_of_the_answers();
        assert!(stated.holds(found) || !is_stated, "{line}: found {found}");
        compared += 1;
    }
    assert!(lines.len() > 15 && compared >= 3, "{compared} of {} lines", lines.len());
}

/// The page on sweeps, whose plan is the one of the examples.
#[test]
fn a_sweep_goes_as_its_page_says() {
    let text = goes_as_it_says("sweeps.md", &[]);
    let plan = std::fs::read_to_string(page("../examples/sweep/plan.rhai")).unwrap();
    assert!(text.contains(&format!("```rhai plan.rhai\n{plan}```\n")));
    assert!(text.matches("\n$ ").count() == 3);
}

/// The page on the costs of large sweeps, whose scripts are examples.
#[test]
fn a_large_sweep_costs_what_its_page_says() {
    let text = goes_as_it_says("scale.md", &support::files("examples/sweep", "rhai"));
    assert!(text.matches("\n$ ").count() == 3);
}

#[test]
fn decimals_may_differ_in_their_last_digits_and_words_may_not() {
    assert!(same_line("a  0.94839  12.62", "a 0.948 12.63"));
    assert!(!same_line("a 0.94", "a 0.99") && !same_line("a 1", "a 2") && !same_line("a 0.9", "b 0.9"));
    assert!(!same_line("a", "a b"));
}

#[test]
fn what_hangs_on_a_fit_is_known_by_its_names() {
    let mut fitted = FittedNames::default();
    let lines = ["> let s = sae::fit(x)", "> let f = s.feature(3)", "> f", "> m.predict(text)", "> let m2 = m", "> m2"];
    assert_eq!(lines.map(|line| fitted.are_in(line)), [true, true, true, false, false, false]);
}

#[test]
fn answers_of_one_kind_differ_in_their_numbers_alone() {
    let title = |line: &str| [line.to_string(), "more".into()];
    assert!(is_same_kind(&title("feature 353 of resid_post.3"), &title("feature 12 of resid_post.3")));
    assert!(!is_same_kind(&title("feature 353"), &title("error: no feature 353")));
}

#[test]
fn what_a_page_leaves_out_of_an_answer_is_left_out() {
    let wanted = ["first".to_string(), "...".into(), "last".into()];
    assert_eq!(shown(&wanted, "first\n2\n3\nlast\n"), wanted);
    assert_eq!(shown(&wanted, "other\n2\n3\nlast\n")[0], "other");
}
