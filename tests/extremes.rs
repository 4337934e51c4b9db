//! Extreme sizes: every function with tensors that are empty, huge or strangely laid out, and every size of every
//! example as large as can be written. Each call returns a value or an error; a panic or an abort fails the test, and
//! long calls are interrupted.

use crate::support;
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use microtome::script::Session;
use microtome::script::docs::{OptionDoc, ReferenceEntry, Role};
use microtome::script::engine::tokens::{CLOSING, OPENING, TokenKind, tokens};
use microtome::script::engine::value::Value;
use microtome::tensor::{DType, Device, Tensor};

/// Limits the address space, so that a bug in a check of sizes ends the test and not the machine.
fn ration() {
    #[cfg(target_os = "linux")]
    {
        let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
        let taken = pages.split(' ').next().unwrap().parse::<u64>().unwrap() * 4096;
        let limit = libc::rlimit { rlim_cur: taken + (8 << 30), rlim_max: libc::RLIM_INFINITY };
        // SAFETY: the system only reads the limit.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &limit) }, 0);
    }
}

/// Milliseconds after which a call is interrupted.
const PATIENCE: u64 = 100;

/// The number of calls that share a session, since creating one takes longer than most calls.
const SHARED: usize = 100;

/// A session for calls that may do anything, each of which is interrupted after a moment.
struct Trial {
    session: Session,
    folder: tempfile::TempDir,
    tried: usize,
    /// The code before the latest call, which calls behind the same code share.
    prepared: String,
    /// When the running call began, in milliseconds since the start of the trial; 0 for none.
    begun: Arc<AtomicU64>,
    start: Instant,
}

impl Trial {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let session = support::session(folder.path());
        let begun = Arc::new(AtomicU64::new(0));
        let start = Instant::now();
        let flag = session.env().task.flag().clone();
        let watched = Arc::downgrade(&begun);
        std::thread::spawn(move || {
            while let Some(begun) = watched.upgrade() {
                let begun = begun.load(Ordering::SeqCst);
                if begun > 0 && start.elapsed().as_millis() as u64 > begun + PATIENCE {
                    flag.store(true, Ordering::Relaxed);
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        Self { session, folder, tried: 0, prepared: String::new(), begun, start }
    }

    /// Evaluates the code behind what comes before it; returns the message of an internal error.
    fn of(&mut self, variables: &[(&str, Value)], before: &str, code: &str) -> Option<String> {
        if self.tried == SHARED {
            *self = Self::new();
        }
        self.tried += 1;
        if self.prepared != before {
            let _tried_by_itself = self.session.eval("before", before);
            self.prepared = before.into();
        }
        for (name, value) in variables {
            self.session.set_variable(name, value.clone());
        }
        self.begun.store(1 + self.start.elapsed().as_millis() as u64, Ordering::SeqCst);
        let ended = self.session.eval("extreme", code);
        self.begun.store(0, Ordering::SeqCst);
        self.session.env().task.flag().store(false, Ordering::Relaxed);
        assert!(self.folder.path().is_dir(), "{code} took its folder away");
        let failure = ended.err().filter(|failure| failure.kind == "bug")?;
        Some(format!("{code}: {}", failure.message))
    }
}

fn dynamic(t: Tensor) -> Value {
    Value::from(t)
}

/// Unusual tensors; the large ones have no elements.
fn odd() -> Vec<(&'static str, Tensor)> {
    let zeros = |shape: &[usize], dtype| Tensor::zeros(shape, dtype, &Device::Cpu).unwrap();
    let counted = Tensor::arange(0_f32, 24.0, &Device::Cpu).unwrap().reshape((2, 3, 4)).unwrap();
    vec![
        ("scalar", zeros(&[], DType::F32)),
        ("none", zeros(&[0], DType::F32)),
        ("none of three", zeros(&[3, 0], DType::I64)),
        ("tall", zeros(&[100_000_000_000, 0], DType::F32)),
        ("wide", zeros(&[0, 100_000_000_000], DType::F32)),
        ("tall bytes", zeros(&[100_000_000_000, 0], DType::U8)),
        ("turned", counted.permute((2, 0, 1)).unwrap()),
        ("cut", counted.narrow(1, 1, 2).unwrap().narrow(2, 1, 2).unwrap()),
        ("stretched", zeros(&[1, 3], DType::F32).broadcast_as((1000, 3)).unwrap()),
    ]
}

/// Arguments for the parameters of a call, by their type in the reference.
fn fillings(kind: &str) -> &'static [&'static str] {
    match kind {
        "Tensor" => &["x", "t"],
        "integer" => &["0", "-1", "100000000000"],
        "integers" => &["0", "[0, 1]", "[100000000000, 0]"],
        "number" => &["0.5", "2"],
        "any" => &["x", "0", "[0]"],
        "bool" => &["true"],
        "string" => &["\"x.npy\""],
        "function" => &["|a| a"],
        "array" => &["[x, t]", "[0, 1]"],
        "options" => &["#{}"],
        _ => &["0"],
    }
}

#[test]
fn odd_tensors_in_every_method() {
    if !support::apart("extremes::odd_tensors_in_every_method") {
        return;
    }
    let complaints = support::on_large_stack(|| {
        ration();
        let docs = support::docs();
        let mut complaints = Vec::new();
        let mut trial = Trial::new();
        let mut calls = 0;
        for entry in docs.own().filter(|e| e.receiver == "Tensor" || e.module == "tensor" || e.role == Role::Operator) {
            for overload in &entry.overloads {
                let kinds: Vec<&str> = overload.parameters.iter().map(|(_, kind)| kind.as_str()).collect();
                for turn in 0..3 {
                    let given: Vec<&str> =
                        kinds.iter().map(|kind| fillings(kind)[turn % fillings(kind).len()]).collect();
                    let code = match (entry.role, given.as_slice()) {
                        (Role::Property, _) => format!("t.{}", entry.name),
                        (Role::Index, given) => format!("t[{}]", given.join(", ")),
                        (Role::Operator, [one]) => format!("{}{one}", entry.name),
                        (Role::Operator, [left, right]) => format!("{left} {} {right}", entry.name),
                        (Role::Method, given) => format!("t.{}({})", entry.name, given.join(", ")),
                        (_, given) => format!("{}({})", entry.path(), given.join(", ")),
                    };
                    for (name, t) in odd() {
                        let x = odd().swap_remove(calls % 9).1;
                        calls += 1;
                        // Printed before the call, since an abort prints nothing.
                        eprintln!("{name}: {code}");
                        let variables = [("t", dynamic(t)), ("x", dynamic(x))];
                        complaints.extend(trial.of(&variables, "", &code).map(|said| format!("{name}: {said}")));
                    }
                    if kinds.is_empty() {
                        break;
                    }
                }
            }
        }
        assert!(calls > 1000, "only {calls} calls were tried");
        complaints
    });
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

/// The largest integer, and a size that exceeds memory.
const SIZES: [&str; 2] = ["9223372036854775807", "100000000000"];

/// The statements of an example, without what it states.
fn statements(example: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut open = String::new();
    for line in example.lines() {
        let stated = line.find("//=>").or_else(|| line.find("// Error: "));
        let line = stated.map_or(line.into(), |at| format!("{};", line[..at].trim_end()));
        open.push_str(&format!("{line}\n"));
        let words = tokens(&open);
        let depth = words.iter().fold(0, |depth, token| token.depth_after(&open, depth));
        let last = words.iter().rfind(|token| token.kind != TokenKind::Comment);
        if depth == 0 && last.is_some_and(|token| token.is_symbol(&open, &[";", "}"])) {
            all.push(std::mem::take(&mut open));
        }
    }
    all.extend(Some(open).filter(|open| !open.trim().is_empty()));
    all
}

/// The places of the whole numbers of a statement. The first two of a list stand for the others, however it is nested.
fn numbers(statement: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut open = Vec::new();
    let mut listed = 0;
    for token in tokens(statement) {
        let word = token.of(statement);
        if token.is_symbol(statement, OPENING) {
            listed *= usize::from(open.contains(&"["));
            open.push(word);
        } else if token.is_symbol(statement, CLOSING) {
            open.pop();
        } else if token.kind == TokenKind::Number && word.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_') {
            let is_element = open.last() == Some(&"[");
            if !is_element || listed < 2 {
                found.push(token.start..token.end);
            }
            listed += usize::from(is_element);
        }
    }
    found
}

/// A call behind the statements that come before it.
struct Case {
    before: String,
    code: String,
}

/// The example with one of its numbers replaced by an extreme one, for each number, and the first call in it with one
/// extreme option, for each option that may be a number. What many examples begin with is tried once: `tried` has the
/// statements so far.
fn enlarged(entry: &ReferenceEntry, tried: &mut BTreeSet<String>) -> Vec<Case> {
    let statements = statements(&entry.doc.example);
    let call = if entry.receiver.is_empty() { format!("{}(", entry.path()) } else { format!(".{}(", entry.name) };
    let first = statements.iter().position(|statement| statement.contains(&call));
    let mut cases = Vec::new();
    for (place, statement) in statements.iter().enumerate() {
        let mut put = |begin: &str, size: &str, end: &str| {
            if tried.insert(format!("{begin}#{end}")) {
                let rest = statements[place + 1..].concat();
                cases.push(Case { before: statements[..place].concat(), code: format!("{begin}{size}{end}{rest}") });
            }
        };
        for (number, size) in numbers(statement).into_iter().zip(SIZES.into_iter().cycle()) {
            put(&statement[..number.start], size, &statement[number.end..]);
        }
        if first == Some(place)
            && let Some((begin, end)) = optioned(statement, &call)
        {
            let options = entry.doc.options.iter().filter(|option| may_be_a_number(option));
            for (option, size) in options.zip(SIZES.into_iter().cycle()) {
                put(&format!("{begin}#{{ {}: ", option.key), size, &format!(" }}{end}"));
            }
        }
    }
    cases
}

/// Whether the default of an option is a number, or said in words.
fn may_be_a_number(option: &OptionDoc) -> bool {
    let default = option.default.as_str();
    !default.starts_with(['"', '[']) && !default.starts_with("true") && !default.starts_with("false")
}

/// What stands before and behind the options of a call in a statement. Options that it has are left out: each is tried
/// alone.
fn optioned(statement: &str, call: &str) -> Option<(String, String)> {
    let at = statement.find(call)? + call.len();
    let close = statement.rfind(')').filter(|close| *close >= at)?;
    let arguments = statement[at..close].split("#{").next().unwrap_or_default().trim_end().trim_end_matches(',');
    let joint = if arguments.is_empty() { "" } else { ", " };
    Some((format!("{}{arguments}{joint}", &statement[..at]), statement[close..].into()))
}

#[test]
fn every_size_as_large_as_can_be() {
    if !support::apart("extremes::every_size_as_large_as_can_be") {
        return;
    }
    let complaints = support::on_large_stack(|| {
        ration();
        let docs = support::docs();
        let mut complaints = Vec::new();
        let mut trial = Trial::new();
        let mut tried = BTreeSet::new();
        for entry in docs.own().filter(|e| !e.scripted) {
            for Case { before, code } in enlarged(entry, &mut tried) {
                eprintln!("{}: {code}", entry.path());
                complaints.extend(trial.of(&[], &before, &code));
            }
        }
        assert!(tried.len() > 1000, "only {} calls were tried", tried.len());
        complaints
    });
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn numbers_are_found_outside_of_texts() {
    let example = "let x = f([[1, 2], [3]], 4.5, 6); // 7\nx.g(\"8\", 9_0)  //=> 1\ny";
    let found = statements(example);
    assert_eq!(found, ["let x = f([[1, 2], [3]], 4.5, 6); // 7\n", "x.g(\"8\", 9_0);\n", "y\n"]);
    let texts = |statement: &str| -> Vec<String> {
        numbers(statement).into_iter().map(|place| statement[place].to_string()).collect()
    };
    assert_eq!(texts(&found[0]), ["1", "2", "6"]);
    assert_eq!(texts(&found[1]), ["9_0"]);
}
