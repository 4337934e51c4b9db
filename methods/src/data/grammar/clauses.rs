//! Sentences: their phenomena, how clauses are joined, and where paragraphs end.

use super::labels::Col;
use super::lexicon::phrases;
use super::pen::Pen;
use super::phenomena as of;
use super::weights::{Mix, PHENOMENA};

/// Writes a clause of a phenomenon, by its index. Clauses may be part of a longer sentence.
fn clause(pen: &mut Pen, phenomenon: usize) {
    let start = pen.out.len();
    let from = pen.out.marks();
    let write = match PHENOMENA.get(phenomenon).copied().unwrap_or_default() {
        "parentheses" => of::parentheses::clause,
        "apostrophes" => of::apostrophes::clause,
        "ioi" => of::ioi::clause,
        "gender" => of::gender::clause,
        "agreement" => of::agreement::clause,
        "years" => of::years::clause,
        "facts" => of::facts::clause,
        "acronyms" => of::acronyms::clause,
        "lists" => of::lists::clause,
        _ => of::filler::clause,
    };
    write(pen);
    pen.out.mark_below(from, Col::Phenomenon, start, phenomenon as u32 + 1);
}

/// Writes a clause for a quotation, of one of the phenomena that are quoted.
pub fn any(pen: &mut Pen) {
    const QUOTED: [&str; 6] = ["filler", "apostrophes", "ioi", "gender", "agreement", "facts"];
    let name = pen.word(&QUOTED);
    if let Some(at) = PHENOMENA.iter().position(|known| *known == name) {
        clause(pen, at);
    }
}

/// Writes one sentence with its full stop.
fn sentence(pen: &mut Pen, mix: &Mix) {
    pen.forget_words();
    pen.out.capital();
    let start = pen.out.len();
    let phenomenon = draw(pen, mix);
    match whole(phenomenon) {
        Some(write) => {
            let from = pen.out.marks();
            write(pen);
            pen.out.mark_below(from, Col::Phenomenon, start, phenomenon as u32 + 1);
        }
        None => joined(pen, mix, phenomenon),
    }
}

/// Returns the writer of a phenomenon whose sentences cannot be part of another.
fn whole(phenomenon: usize) -> Option<fn(&mut Pen)> {
    match PHENOMENA.get(phenomenon).copied() {
        Some("quotes") => Some(of::quotes::sentence),
        Some("questions") => Some(of::questions::sentence),
        _ => None,
    }
}

/// Writes a sentence of one clause, with or without an opening, or of two that are joined.
fn joined(pen: &mut Pen, mix: &Mix, phenomenon: usize) {
    match pen.below(100) {
        0..14 => {
            let opening = pen.own(&phrases::OPENINGS);
            pen.out.push(opening);
            pen.out.push(", ");
            clause(pen, phenomenon);
        }
        14..26 => {
            clause(pen, phenomenon);
            let joint = pen.word(&phrases::JOINTS);
            pen.out.push(joint);
            pen.forget_words();
            let second = Some(draw(pen, mix)).filter(|drawn| whole(*drawn).is_none());
            clause(pen, second.unwrap_or(phenomenon));
        }
        _ => clause(pen, phenomenon),
    }
    pen.out.push(".");
}

fn draw(pen: &mut Pen, mix: &Mix) -> usize {
    let place = pen.below(1 << 24) as f64 / f64::from(1 << 24);
    mix.prose(place)
}

/// Writes paragraphs of prose, about this many bytes in total.
pub fn prose(pen: &mut Pen, mix: &Mix, bytes: usize) {
    loop {
        sentence(pen, mix);
        if pen.out.len() >= bytes {
            break;
        }
        let end_of_paragraph = pen.chance(8);
        pen.out.push(if end_of_paragraph { "\n\n" } else { " " });
    }
    pen.out.push("\n");
}
