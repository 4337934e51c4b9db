//! Facts of the world, in many phrasings.

use std::sync::LazyLock;

use crate::data::grammar::labels::{Col, ENTITIES, value};
use crate::data::grammar::lexicon::facts;
use crate::data::grammar::pen::Pen;
use crate::data::grammar::shapes;
use crate::data::grammar::slot::Slot;
use crate::data::grammar::world::{self, Fact, RELATIONS};

/// Templates by relation: `x` is the thing that the fact is about, `y` the answer, which comes last.
pub static TEMPLATES: LazyLock<[&[&str]; RELATIONS.len()]> =
    LazyLock::new(|| RELATIONS.map(|relation| facts::SECTIONS.list(relation)));

/// Writes a fact in one of its phrasings.
pub fn write(pen: &mut Pen, template: &str, fact: &Fact) {
    let relation = fact.relation as u32 + 1;
    let entity = |at: usize| value(&ENTITIES, fact.kinds[at]);
    let slots = [
        Slot::new("x", fact.about.as_str()).mark(Col::Entity, entity(0)),
        Slot::new("y", fact.answer.as_str())
            .mark(Col::Fact, relation)
            .mark(Col::Entity, entity(1))
            .next(Col::FactNext, relation),
    ];
    pen.fill(template, &slots);
}

/// Returns a random fact, and the index of a template.
pub fn any(pen: &mut Pen) -> Option<(&'static Fact, usize)> {
    let fact = fact(pen)?;
    let phrasing = pen.index(TEMPLATES.get(fact.relation)?);
    Some((fact, phrasing))
}

/// Returns a random fact. In 40 % of the cases the relation is drawn first, so that relations with few facts are not
/// outnumbered by those of people.
fn fact(pen: &mut Pen) -> Option<&'static Fact> {
    if pen.below(10) < 6 {
        world::facts().get(pen.below(world::facts().len()))
    } else {
        let relation = pen.below(RELATIONS.len());
        let count = world::of_relation(relation).count();
        world::of_relation(relation).nth(pen.below(count))
    }
}

pub fn clause(pen: &mut Pen) {
    if pen.is_shaped() {
        if let Some((fact, relation)) = fact(pen).and_then(|fact| Some((fact, *RELATIONS.get(fact.relation)?))) {
            let template = shapes::template(pen, relation);
            write(pen, &template, fact);
        }
        return;
    }
    if let Some((fact, template)) = any(pen)
        && let Some(template) = TEMPLATES.get(fact.relation).and_then(|list| list.get(template))
    {
        write(pen, template, fact);
    }
}
