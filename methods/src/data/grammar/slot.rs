//! The text that fills a slot of a template.

use std::borrow::Cow;

use super::labels::Col;

/// The text of a slot, and its marks.
#[derive(Clone, Default)]
pub struct Slot<'a> {
    pub name: &'static str,
    pub text: Cow<'a, str>,
    pub marks: [Option<(Col, u32)>; 2],
    /// The label that is certain once everything before the slot has been read.
    pub next: Option<(Col, u32)>,
}

impl<'a> Slot<'a> {
    pub fn new(name: &'static str, text: impl Into<Cow<'a, str>>) -> Self {
        Self { name, text: text.into(), ..Self::default() }
    }

    pub fn mark(mut self, column: Col, value: u32) -> Self {
        let free = if self.marks[0].is_none() { 0 } else { 1 };
        self.marks[free] = Some((column, value));
        self
    }

    pub fn next(mut self, column: Col, value: u32) -> Self {
        self.next = Some((column, value));
        self
    }
}
