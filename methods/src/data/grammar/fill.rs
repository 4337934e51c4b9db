//! Templates: sentences with slots, parentheses of a kind, and marks.
//!
//! `{noun}` is a slot: one that the caller fills, or a word of the topic. An "a" before it becomes "an" before a vowel.
//! `(gloss:..)` is a parenthesis of that kind, and `~` before `)` or an apostrophe marks it as certain to come.
//! Curly quotation marks become straight ones, which are marked.

use std::borrow::Cow;

use super::labels::{PAREN_KINDS, value};
use super::lexicon::phrases;
use super::pen::Pen;
use super::slot::Slot;
use super::{hosts, people, words};

impl Pen {
    /// Writes a template.
    pub fn fill(&mut self, template: &str, slots: &[Slot]) {
        let mut rest = template;
        while let Some(at) = rest.find(['{', '(', ')', '~', '“', '”', '‘', '’']) {
            let (plain, sign) = rest.split_at(at);
            let (plain, article) = match plain.strip_suffix("a ") {
                Some(before) if sign.starts_with('{') && (before.is_empty() || before.ends_with(' ')) => (before, true),
                _ => (plain, false),
            };
            self.out.push(plain);
            rest = self.sign(sign, article, slots);
        }
        self.out.push(rest);
    }

    /// Handles a sign of a template, and returns the rest of the template.
    fn sign<'t>(&mut self, text: &'t str, article: bool, slots: &[Slot]) -> &'t str {
        let mut chars = text.chars();
        let sign = chars.next();
        let rest = chars.as_str();
        match sign {
            Some('{') => {
                let (slot, behind) = rest.split_once('}').unwrap_or((rest, ""));
                self.slot(slot, article, slots);
                return behind;
            }
            Some('(') => {
                let (kind, behind) = rest.split_once(':').unwrap_or(("", rest));
                self.out.open(value(&PAREN_KINDS, kind));
                return behind;
            }
            Some('~') if rest.starts_with(')') => self.out.due(),
            Some('~') => self.out.apostrophe_due(),
            Some('“') => self.out.open_double(),
            Some('‘') => self.out.open_single(),
            _ => self.out.close(),
        }
        rest
    }

    fn slot(&mut self, name: &str, article: bool, slots: &[Slot]) {
        if let Some(slot) = slots.iter().find(|slot| slot.name == name) {
            if article {
                self.article(&slot.text);
            }
            if let Some((column, value)) = slot.next {
                self.out.mark_next(column, value);
            }
            let start = self.out.len();
            self.out.push(&slot.text);
            for (column, value) in slot.marks.iter().flatten() {
                self.out.mark_since(*column, start, *value);
            }
            return;
        }
        match self.plain(name) {
            Some(text) => {
                if article {
                    self.article(&text);
                }
                self.out.push(&text);
            }
            None => hosts::write(self, name),
        }
    }

    fn article(&mut self, text: &str) {
        self.out.push(if words::begins_with_vowel(text) { "an " } else { "a " });
    }

    /// Returns the text of a slot of plain words; none if the slot is a phrase that may be explained in parentheses.
    fn plain(&mut self, name: &str) -> Option<Cow<'static, str>> {
        let topic = self.topic;
        Some(match name {
            "noun" => self.fresh(topic.nouns).into(),
            "nouns" => words::plural(self.fresh(topic.nouns)).into(),
            "one" => self.fresh(topic.people).into(),
            "people" => words::plural(self.fresh(topic.people)).into(),
            "place" => self.fresh(topic.places).into(),
            "gift" => self.fresh(topic.gifts).into(),
            "event" => self.fresh(topic.events).into(),
            "adj" => self.fresh(&phrases::ADJECTIVES).into(),
            "time" => self.word(&phrases::TIMES).into(),
            "duration" => self.word(&phrases::DURATIONS).into(),
            "deed" => self.word(&phrases::DEEDS).into(),
            "state" => self.word(&phrases::STATES).into(),
            "month" => self.word(&["January", "March", "May", "July", "October", "December"]).into(),
            "day" => self.word(&["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]).into(),
            "count" => self.word(&phrases::COUNTS).into(),
            "digit" => (2 + self.below(8)).to_string().into(),
            "digits" => (20 + self.below(80)).to_string().into(),
            "year" => (1700 + self.below(320)).to_string().into(),
            "name" => people::given(self).0.into(),
            "surname" => people::surname(self).into(),
            "city" => people::city(self).into(),
            _ => return None,
        })
    }
}
