//! Text that is written down piece by piece: it asks for room as it grows, and hears Ctrl-C.

use crate::base::{Result, Task};
use crate::script::engine::room::check_room;

/// Number of pieces that are written between two looks at the flag.
const PIECES: usize = 1 << 12;

pub struct TextBuffer<'a> {
    text: String,
    task: &'a Task,
    pieces: usize,
}

impl<'a> TextBuffer<'a> {
    pub fn new(task: &'a Task) -> Self {
        Self { text: String::new(), task, pieces: 0 }
    }

    pub fn put(&mut self, piece: &str) -> Result<()> {
        self.step()?;
        let needed = self.text.len().saturating_add(piece.len());
        if needed > self.text.capacity() {
            // While it grows both are there, the old text and the new.
            let grown = needed.max(2 * self.text.capacity());
            check_room(grown as u128, || "this text".into())?;
            self.text.reserve_exact(grown - self.text.len());
        }
        self.text.push_str(piece);
        Ok(())
    }

    pub fn task(&self) -> &'a Task {
        self.task
    }

    /// Counts a step of the work that says what to write.
    pub fn step(&mut self) -> Result<()> {
        self.pieces += 1;
        if self.pieces.is_multiple_of(PIECES) { self.task.check() } else { Ok(()) }
    }

    /// Writes the elements with `, ` or the like between them.
    pub fn list<T>(
        &mut self,
        items: impl IntoIterator<Item = T>,
        between: &str,
        mut write: impl FnMut(&mut Self, T) -> Result<()>,
    ) -> Result<()> {
        for (i, item) in items.into_iter().enumerate() {
            if i > 0 {
                self.put(between)?;
            }
            write(self, item)?;
        }
        Ok(())
    }

    pub fn done(self) -> String {
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Error;

    #[test]
    fn writing_is_interrupted() {
        let task = Task::default();
        let mut paper = TextBuffer::new(&task);
        paper.list(0..10, ", ", |paper, i| paper.put(&i.to_string())).unwrap();
        task.flag().store(true, std::sync::atomic::Ordering::Relaxed);
        let endless = paper.list(0.., ", ", |paper, i| paper.put(&i.to_string()));
        assert_eq!(endless, Err(Error::interrupted()));
    }
}
