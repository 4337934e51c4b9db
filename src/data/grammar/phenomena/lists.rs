//! Lists of things and people.

use crate::data::grammar::labels::Col;
use crate::data::grammar::pen::Pen;
use crate::data::grammar::{people, words};

/// `list` is of things, `names` is of people.
const TEMPLATES: [&str; 24] = [
    "{name} bought {list} {time}",
    "the {people} sold {list}",
    "the {place} was full of {list}",
    "{list} were found in the {place}",
    "for the {event} you need {list}",
    "{names} went to {city} {time}",
    "on the table lay {list}",
    "the list names {list}",
    "the {one} asked for {list}",
    "{names} shared a room {duration}",
    "the shop in {city} sells {list}",
    "the {adj} box contains {list}",
    "the book has chapters about {list}",
    "the letter was signed by {names}",
    "{list} are cheap in {month}",
    "the {people} spoke of {list}, but not of money",
    "{names} voted against it",
    "nobody brought {list}",
    "the prize was shared by {names}",
    "the {one} counted {list}",
    "the {people} complained about {list}",
    "{name} invited {names}",
    "we saw {list} at the {place}",
    "the museum shows {list}",
];

/// Writes a template whose lists are written here.
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
