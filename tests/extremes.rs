//! Extreme sizes: every function with tensors that are empty, huge or strangely laid out, and every size of every
//! example as large as can be written. Each call returns a value or an error; a panic or an abort fails the test, and
//! long calls are interrupted.

use crate::support;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use microtome::script::Session;
use microtome::script::docs::{Docs, Entry, Role};
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

/// The number of calls that share a session, since creating one takes longer than most calls.
const SHARED: usize = 100;

/// A session for calls that may do anything, each of which is interrupted after a moment.
struct Trial {
    session: Session,
    folder: tempfile::TempDir,
    tried: usize,
    /// When the running call began, in milliseconds since the start of the trial; 0 for none.
    begun: Arc<AtomicU64>,
    start: Instant,
}

impl Trial {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let session = support::session(folder.path());
        let (begun, start) = (Arc::new(AtomicU64::new(0)), Instant::now());
        let (flag, watched) = (session.env().task.flag().clone(), Arc::downgrade(&begun));
        std::thread::spawn(move || {
            while let Some(begun) = watched.upgrade() {
                let begun = begun.load(Ordering::SeqCst);
                if begun > 0 && start.elapsed().as_millis() as u64 > begun + 200 {
                    flag.store(true, Ordering::Relaxed);
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        Self { session, folder, tried: 0, begun, start }
    }

    /// Evaluates the code; returns the message of an internal error.
    fn of(&mut self, variables: &[(&str, Value)], code: &str) -> Option<String> {
        if self.tried == SHARED {
            *self = Self::new();
        }
        self.tried += 1;
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

fn docs() -> Docs {
    let folder = tempfile::tempdir().unwrap();
    (*support::session(folder.path()).docs()).clone()
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
        let docs = docs();
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
                        complaints.extend(trial.of(&variables, &code).map(|said| format!("{name}: {said}")));
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

/// The example with one of its numbers replaced by an extreme one, for each number and each size.
fn enlarged(entry: &Entry) -> Vec<String> {
    let example = &entry.doc.example;
    let bytes = example.as_bytes();
    let (mut all, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let begins = bytes[at].is_ascii_digit()
            && (at == 0 || !(bytes[at - 1].is_ascii_alphanumeric() || matches!(bytes[at - 1], b'_' | b'.' | b'"')));
        let length = bytes[at..].iter().take_while(|b| b.is_ascii_digit() || **b == b'_').count();
        if begins && !matches!(bytes.get(at + length), Some(b'.' | b'e')) {
            for size in SIZES {
                all.push(format!("{}{size}{}", &example[..at], &example[at + length..]));
            }
        }
        at += length.max(1);
    }
    all
}

/// The first call in the example with one extreme option, which it may have already.
fn optioned(entry: &Entry) -> Vec<String> {
    let example = &entry.doc.example;
    let call = if entry.receiver.is_empty() { format!("{}(", entry.path()) } else { format!(".{}(", entry.name) };
    let Some(at) = example.find(&call).map(|at| at + call.len()) else { return Vec::new() };
    let Some(end) = example[at..].find([';', '\n']).map(|end| at + end) else { return Vec::new() };
    let line = example[at..end].split("//=>").next().unwrap_or_default().trim_end();
    let Some(inside) = line.rfind(')').map(|close| &line[..close]) else { return Vec::new() };
    // Existing options are left out: each is tried alone.
    let arguments = inside.split("#{").next().unwrap_or_default().trim_end().trim_end_matches(',');
    let options =
        entry.doc.options.iter().flat_map(|option| SIZES.map(|size| format!("#{{ {}: {size} }}", option.key)));
    let joint = if arguments.is_empty() { "" } else { ", " };
    options.map(|options| format!("{}{arguments}{joint}{options})", &example[..at])).collect()
}

#[test]
fn every_size_as_large_as_can_be() {
    if !support::apart("extremes::every_size_as_large_as_can_be") {
        return;
    }
    let complaints = support::on_large_stack(|| {
        ration();
        let docs = docs();
        let mut complaints = Vec::new();
        let mut trial = Trial::new();
        let mut calls = 0;
        for entry in docs.own().filter(|e| !e.scripted) {
            // Each place has one of the two sizes, in turn.
            let all = enlarged(entry).into_iter().chain(optioned(entry)).enumerate();
            for (_, code) in all.filter(|(i, _)| (i + i / 2) % 2 == 0) {
                calls += 1;
                eprintln!("{}: {code}", entry.path());
                complaints.extend(trial.of(&[], &code));
            }
        }
        assert!(calls > 1000, "only {calls} calls were tried");
        complaints
    });
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}
