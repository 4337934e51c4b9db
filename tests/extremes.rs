//! Sizes that nobody means: every function with tensors that are empty, huge or strangely laid out, and every size of
//! every example as large as can be written. Each call comes to a value or an error; a panic or an abort fails the test,
//! and what goes on is interrupted.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use microtome::script::Session;
use microtome::script::docs::{Docs, Entry, Role};
use microtome::script::value::Value;
use microtome::tensor::{DType, Device, Tensor};

/// A mistake in a check of sizes must end the test and not the machine: more address space than this is refused.
fn ration() {
    #[cfg(target_os = "linux")]
    {
        static ONCE: std::sync::Once = std::sync::Once::new();
        ONCE.call_once(|| {
            let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
            let taken = pages.split(' ').next().unwrap().parse::<u64>().unwrap() * 4096;
            let limit = libc::rlimit { rlim_cur: taken + (8 << 30), rlim_max: libc::RLIM_INFINITY };
            // SAFETY: a limit of this process, read by the system.
            assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &limit) }, 0);
        });
    }
}

/// Raises the flag again and again, so that every call is interrupted before long, and lets each begin unharmed.
struct Interrupter(Arc<AtomicBool>);

impl Interrupter {
    fn of(session: &Session) -> Self {
        let (flag, ended) = (session.env().task.flag().clone(), Arc::new(AtomicBool::new(false)));
        let watched = ended.clone();
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(200));
            while !watched.load(Ordering::Relaxed) {
                flag.store(true, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        Self(ended)
    }
}

impl Drop for Interrupter {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Evaluates the code in a session of its own; gives back the message of a mistake of ours.
fn tried(variables: &[(&str, Value)], code: &str) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    let mut session = support::session(folder.path());
    for (name, value) in variables {
        session.set_variable(name, value.clone());
    }
    let _interrupter = Interrupter::of(&session);
    let failure = session.eval("extreme", code).err().filter(|failure| failure.kind == "bug")?;
    Some(format!("{code}: {}", failure.message))
}

fn dynamic(t: Tensor) -> Value {
    Value::from(t)
}

fn docs() -> Docs {
    let folder = tempfile::tempdir().unwrap();
    (*support::session(folder.path()).docs()).clone()
}

/// Tensors that few programs are tried with; the large ones have no element.
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

/// Values for the parameters of a call, by their type in the reference.
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
    let complaints = support::on_large_stack(|| {
        ration();
        let docs = docs();
        let mut complaints = Vec::new();
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
                        // Said before it is tried, since an abort says nothing.
                        eprintln!("{name}: {code}");
                        let variables = [("t", dynamic(t)), ("x", dynamic(x))];
                        complaints.extend(tried(&variables, &code).map(|said| format!("{name}: {said}")));
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

/// The example with one of its numbers as large as can be, for each number and each size.
fn enlarged(entry: &Entry) -> Vec<String> {
    let example = &entry.doc.example;
    let bytes = example.as_bytes();
    let (mut all, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let begins = bytes[at].is_ascii_digit()
            && (at == 0 || !(bytes[at - 1].is_ascii_alphanumeric() || matches!(bytes[at - 1], b'_' | b'.' | b'"')));
        let length = bytes[at..].iter().take_while(|b| b.is_ascii_digit() || **b == b'_').count();
        if begins && !matches!(bytes.get(at + length), Some(b'.' | b'e')) {
            for size in ["9223372036854775807", "100000000000", "1000000"] {
                all.push(format!("{}{size}{}", &example[..at], &example[at + length..]));
            }
        }
        at += length.max(1);
    }
    all
}

/// The first call in the example with one of its options, or one that it has already, as large as can be.
fn optioned(entry: &Entry) -> Vec<String> {
    let example = &entry.doc.example;
    let call = if entry.receiver.is_empty() { format!("{}(", entry.path()) } else { format!(".{}(", entry.name) };
    let Some(at) = example.find(&call).map(|at| at + call.len()) else { return Vec::new() };
    let Some(end) = example[at..].find([';', '\n']).map(|end| at + end) else { return Vec::new() };
    let line = example[at..end].split("//=>").next().unwrap_or_default().trim_end();
    let Some(inside) = line.rfind(')').map(|close| &line[..close]) else { return Vec::new() };
    // Options that stand there are left out: each is tried alone.
    let arguments = inside.split("#{").next().unwrap_or_default().trim_end().trim_end_matches(',');
    let options = entry.doc.options.iter().flat_map(|option| {
        ["9223372036854775807", "100000000000", "1000000"].map(|size| format!("#{{ {}: {size} }}", option.key))
    });
    let joint = if arguments.is_empty() { "" } else { ", " };
    options.map(|options| format!("{}{arguments}{joint}{options})", &example[..at])).collect()
}

#[test]
fn every_size_as_large_as_can_be() {
    let complaints = support::on_large_stack(|| {
        ration();
        let docs = docs();
        let mut complaints = Vec::new();
        let mut calls = 0;
        for entry in docs.own().filter(|e| !e.scripted) {
            for code in enlarged(entry).into_iter().chain(optioned(entry)) {
                calls += 1;
                eprintln!("{}: {code}", entry.path());
                complaints.extend(tried(&[], &code));
            }
        }
        assert!(calls > 1000, "only {calls} calls were tried");
        complaints
    });
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}
