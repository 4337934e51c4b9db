//! Documents of several texts, alternating by their weights.

use crate::base::{Result, Task};
use crate::data::{Document, Documents};

struct MixShare {
    documents: Box<dyn Documents>,
    weight: f64,
    /// Bytes returned so far, divided by the weight.
    given: f64,
    ended: bool,
    /// A piece that was read to see whether it continues the document before, and does not.
    ahead: Option<Document>,
}

/// Documents of several texts: the next one is of the text that has returned the fewest bytes for its weight.
pub struct MixedDocuments {
    shares: Vec<MixShare>,
    /// The text whose document is being read.
    turn: Option<usize>,
}

impl MixedDocuments {
    pub fn new(parts: Vec<(Box<dyn Documents>, f64)>) -> Self {
        let share = |(documents, weight)| MixShare { documents, weight, given: 0.0, ended: false, ahead: None };
        Self { shares: parts.into_iter().map(share).collect(), turn: None }
    }

    /// Returns the number of the text that begins the next document; the first of several that are equal.
    fn due(&self) -> Option<usize> {
        let open = self.shares.iter().enumerate().filter(|(_, share)| !share.ended);
        open.min_by(|(_, a), (_, b)| a.given.total_cmp(&b.given)).map(|(at, _)| at)
    }
}

impl Documents for MixedDocuments {
    fn next(&mut self, task: &Task) -> Result<Option<Document>> {
        loop {
            let Some(turn) = self.turn.or_else(|| self.due()) else { return Ok(None) };
            let going_on = self.turn.is_some();
            let Some(share) = self.shares.get_mut(turn) else { return Ok(None) };
            let found = match share.ahead.take() {
                Some(document) => Some(document),
                None => share.documents.next(task)?,
            };
            match found {
                None => (share.ended, self.turn) = (true, None),
                // The pieces of a document stay together.
                Some(document) if going_on && document.at == 0 => (share.ahead, self.turn) = (Some(document), None),
                Some(document) => {
                    share.given += document.text.len() as f64 / share.weight;
                    self.turn = Some(turn);
                    return Ok(Some(document));
                }
            }
        }
    }
}
