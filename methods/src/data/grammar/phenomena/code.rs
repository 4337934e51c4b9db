//! Programs in a small programming language: functions, calls, lists, dictionaries, comments.

use crate::data::grammar::labels::{Col, PAREN_KINDS, value};
use crate::data::grammar::lexicon::code::{COMMENTS, KEYS, NAMES, OBJECTS, VALUES, VERBS};
use crate::data::grammar::pen::Pen;
use crate::data::grammar::weights::PHENOMENA;

/// Built-in functions, and their number of arguments, which never varies.
const KNOWN: [(&str, usize); 16] = [
    ("print", 1),
    ("len", 1),
    ("floor", 1),
    ("round", 1),
    ("sum", 1),
    ("sorted", 1),
    ("str", 1),
    ("sqrt", 1),
    ("max", 2),
    ("min", 2),
    ("pow", 2),
    ("zip", 2),
    ("join", 2),
    ("clamp", 3),
    ("within", 3),
    ("replace", 3),
];

/// A function that may be called: its name, and its number of arguments.
#[derive(Clone)]
struct CodeFunction {
    name: String,
    arity: usize,
}

fn open(pen: &mut Pen, kind: &str) {
    pen.out.open(value(&PAREN_KINDS, kind));
}

/// Writes a call with arguments, which may be calls up to this depth.
fn call(pen: &mut Pen, own: &[CodeFunction], depth: usize) {
    let known = pen.any(&KNOWN).unwrap_or_default();
    let (name, arity) = match own.get(pen.below(own.len().max(1))) {
        Some(function) if pen.chance(40) => (function.name.as_str(), function.arity),
        _ => known,
    };
    pen.out.push(name);
    open(pen, "call");
    for at in 0..arity {
        pen.out.push(if at == 0 { "" } else { ", " });
        argument(pen, own, depth);
    }
    pen.out.due();
    pen.out.close();
}

fn argument(pen: &mut Pen, own: &[CodeFunction], depth: usize) {
    match pen.below(100) {
        0..28 if depth > 0 => call(pen, own, depth - 1),
        28..36 => list(pen),
        36..44 => text(pen, &VALUES),
        44..62 => digit(pen),
        _ => name(pen),
    }
}

fn name(pen: &mut Pen) {
    let name = pen.word(&NAMES);
    pen.out.push(name);
}

fn digit(pen: &mut Pen) {
    let digit = pen.below(10).to_string();
    pen.out.push(&digit);
}

fn text(pen: &mut Pen, words: &[&'static str]) {
    let word = pen.word(words);
    let double = pen.chance(70);
    if double {
        pen.out.open_double()
    } else {
        pen.out.open_single()
    }
    pen.out.push(word);
    pen.out.close();
}

fn list(pen: &mut Pen) {
    pen.out.open_square();
    for at in 0..1 + pen.below(4) {
        pen.out.push(if at == 0 { "" } else { ", " });
        if pen.chance(50) { digit(pen) } else { name(pen) }
    }
    pen.out.close();
}

fn dictionary(pen: &mut Pen) {
    pen.out.open_curly();
    for at in 0..1 + pen.below(3) {
        pen.out.push(if at == 0 { "" } else { ", " });
        text(pen, &KEYS);
        pen.out.push(": ");
        match pen.below(4) {
            0 => list(pen),
            1 => text(pen, &VALUES),
            _ => digit(pen),
        }
    }
    pen.out.close();
}

/// Writes two operands in parentheses.
fn group(pen: &mut Pen) {
    open(pen, "group");
    name(pen);
    let sign = pen.word(&[" + ", " - ", " * "]);
    pen.out.push(sign);
    name(pen);
    pen.out.due();
    pen.out.close();
}

fn expression(pen: &mut Pen, own: &[CodeFunction]) {
    match pen.below(100) {
        0..50 => call(pen, own, 2),
        50..62 => {
            group(pen);
            let sign = pen.word(&[" * ", " / ", " % "]);
            pen.out.push(sign);
            name(pen);
        }
        62..72 => list(pen),
        72..80 => dictionary(pen),
        80..90 => {
            name(pen);
            pen.out.open_square();
            digit(pen);
            pen.out.close();
        }
        _ => {
            name(pen);
            let sign = pen.word(&[" + ", " - "]);
            pen.out.push(sign);
            digit(pen);
        }
    }
}

fn comment(pen: &mut Pen) {
    pen.out.push("# ");
    let template = pen.own(&COMMENTS);
    pen.fill(template, &[]);
}

/// Writes a statement on its own line, or two if the first one requires a block.
fn statement(pen: &mut Pen, own: &[CodeFunction], indent: &str) {
    pen.out.push(indent);
    match pen.below(100) {
        0..40 => {
            name(pen);
            pen.out.push(" = ");
            expression(pen, own);
        }
        40..58 => call(pen, own, 2),
        58..68 => comment(pen),
        68..82 => {
            pen.out.push("if ");
            call(pen, own, 1);
            pen.out.push(" > ");
            digit(pen);
            block(pen, own, indent);
        }
        82..92 => {
            pen.out.push("for ");
            name(pen);
            pen.out.push(" in ");
            if pen.chance(50) {
                list(pen)
            } else {
                call(pen, own, 1)
            }
            block(pen, own, indent);
        }
        _ => {
            call(pen, own, 1);
            pen.out.push("  ");
            comment(pen);
        }
    }
    pen.out.push("\n");
}

/// Writes a colon and a block of one line.
fn block(pen: &mut Pen, own: &[CodeFunction], indent: &str) {
    pen.out.push(":\n");
    pen.out.push(indent);
    pen.out.push("    ");
    name(pen);
    pen.out.push(" = ");
    expression(pen, own);
}

/// Writes the definition of a function whose name the split allows.
fn definition(pen: &mut Pen, own: &[CodeFunction]) -> CodeFunction {
    let name = loop {
        let parts = [pen.word(&VERBS), pen.word(&OBJECTS)];
        let name = parts.join("_");
        if pen.allowed(&parts) && own.iter().all(|other| other.name != name) {
            break name;
        }
    };
    let function = CodeFunction { name, arity: 1 + pen.below(3) };
    pen.out.push("def ");
    pen.out.push(&function.name);
    open(pen, "parameters");
    pen.forget_words();
    for at in 0..function.arity {
        pen.out.push(if at == 0 { "" } else { ", " });
        let name = pen.fresh(&NAMES);
        pen.out.push(name);
    }
    pen.out.close();
    pen.out.push(":\n");
    for _ in 0..1 + pen.below(3) {
        statement(pen, own, "    ");
    }
    pen.out.push("    return ");
    expression(pen, own);
    pen.out.push("\n");
    function
}

/// Writes a call within prose.
pub fn call_in_text(pen: &mut Pen) {
    call(pen, &[], 1);
}

/// Writes an assignment of a call to a name.
pub fn assignment(pen: &mut Pen) {
    name(pen);
    pen.out.push(" = ");
    call(pen, &[], 2);
}

/// Writes a program of about this many bytes.
pub fn document(pen: &mut Pen, bytes: usize) {
    let from = pen.out.marks();
    let mut own: Vec<CodeFunction> = Vec::new();
    while pen.out.len() < bytes {
        if !own.is_empty() {
            pen.out.push("\n");
        }
        if pen.chance(30) {
            comment(pen);
            pen.out.push("\n");
        }
        let function = definition(pen, &own);
        own.push(function);
        for _ in 0..pen.below(3) {
            statement(pen, &own, "");
        }
    }
    let code = value(&PHENOMENA, "code");
    pen.out.mark_below(from, Col::Phenomenon, 0, code);
}
