//! Matching brackets.

use super::{BRACKETS, Col, Letter, Pen, SignPair, nested};

/// The number of bytes within which a bracket has to be closed: others, such as that of a smiley, do not count.
const REACH: usize = 2000;

const OPENING: [char; BRACKETS.len()] = ['(', '[', '{'];
const CLOSING: [char; BRACKETS.len()] = [')', ']', '}'];
const ROUND: usize = 1;

pub fn mark(letters: &[Letter], pen: &mut Pen) {
    let pairs = pairs(letters);
    let place = |pair: SignPair| Some((letters.get(pair.open)?.at, letters.get(pair.close)?.end()));
    for (pair, depth) in nested(pairs.clone()) {
        let Some((start, end)) = place(pair) else { continue };
        pen.mark(Col::Bracket, start, end, pair.kind);
        pen.mark(Col::BracketDepth, start, end, depth);
    }
    let round = pairs.into_iter().filter(|pair| pair.kind == ROUND).collect();
    for (pair, depth) in nested(round) {
        let Some((start, end)) = place(pair) else { continue };
        pen.mark(Col::Depth, start, end, depth);
        pen.mark(Col::SinceOpen, start, end, start);
    }
}

/// Matches brackets: a closing bracket matches the last open one of its kind; brackets opened in between have no match.
fn pairs(letters: &[Letter]) -> Vec<SignPair> {
    let mut pairs = Vec::new();
    let mut open = Vec::<(usize, usize, usize)>::new();
    for (index, letter) in letters.iter().enumerate() {
        if let Some(kind) = OPENING.iter().position(|sign| *sign == letter.sign) {
            open.push((kind, index, letter.at));
        } else if let Some(kind) = CLOSING.iter().position(|sign| *sign == letter.sign) {
            let reach = open.iter().rev().take_while(|(_, _, at)| letter.at - at <= REACH);
            let back = reach.map(|(other, ..)| *other).position(|other| other == kind);
            let found = back.and_then(|back| open.len().checked_sub(back + 1));
            if let Some((kind, start, _)) = found.and_then(|found| open.drain(found..).next()) {
                pairs.push(SignPair { open: start, close: index, kind: kind + 1 });
            }
        }
    }
    pairs
}
