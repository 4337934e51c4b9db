//! Lists of things and people.

use crate::data::grammar::labels::Col;
use crate::data::grammar::lexicon::lists::TEMPLATES;
use crate::data::grammar::pen::Pen;
use crate::data::grammar::{people, words};

/// Writes a template with its lists.
pub fn clause(pen: &mut Pen) {
    let template = pen.own(&TEMPLATES);
    for (at, name) in ["{list}", "{names}"].into_iter().enumerate() {
        if let Some((before, behind)) = template.split_once(name) {
            pen.fill(before, &[]);
            list(pen, at == 1);
            pen.fill(behind, &[]);
            return;
        }
    }
    pen.fill(template, &[]);
}

/// Writes three to five items, each marked with its place in the list.
fn list(pen: &mut Pen, of_people: bool) {
    let length = 3 + pen.below(3);
    let mut before = Vec::new();
    for at in 1..=length {
        pen.out.push(match at {
            1 => "",
            at if at == length => " and ",
            _ => ", ",
        });
        let start = pen.out.len();
        if of_people {
            let mut name = people::given(pen).0;
            while before.contains(&name) {
                name = people::given(pen).0;
            }
            before.push(name);
            pen.out.push(name);
        } else {
            let adjective = pen.chance(20);
            let item = words::plural(pen.fresh(pen.topic.nouns));
            pen.fill(if adjective { "{adj} " } else { "" }, &[]);
            pen.out.push(&item);
        }
        pen.out.mark_since(Col::List, start, at as u32);
    }
}
