//! Tokenizing documents on several threads, in their order.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;

use crate::base::{Result, Task};
use crate::data::{Document, Documents};
use crate::model::labels::Labels;
use crate::model::tokenizer::Tokenizer;

/// Minimum and maximum bytes read at once, and between these a share of what has been read: a source may generate its
/// text with a model, which is slow for text that is not needed.
const FEWEST: usize = 1 << 14;
const MOST: usize = 1 << 19;
const SHARE: usize = 8;

/// A tokenized document, or a piece of one, without special tokens around it.
#[derive(Debug, Clone, PartialEq)]
pub struct Encoded {
    pub ids: Vec<u32>,
    /// The bytes of the document that each token covers.
    pub spans: Vec<Range<u64>>,
    pub labels: Option<Labels>,
    pub origin: Arc<str>,
    /// Its first byte in the document.
    pub at: u64,
    /// Its length in bytes.
    pub bytes: u64,
}

/// The documents of a source in tokens.
pub struct Encoder {
    documents: Box<dyn Documents>,
    tokenizer: Tokenizer,
    ready: VecDeque<Encoded>,
    /// How many bytes have been read.
    read: usize,
    ended: bool,
}

impl Encoder {
    pub fn new(documents: Box<dyn Documents>, tokenizer: Tokenizer) -> Self {
        Self { documents, tokenizer, ready: VecDeque::new(), read: 0, ended: false }
    }

    pub fn next(&mut self, task: &Task) -> Result<Option<Encoded>> {
        while self.ready.is_empty() && !self.ended {
            let pieces = self.gather(task)?;
            let encoded = pieces.par_iter().map(|piece| encode(&self.tokenizer, piece, task));
            self.ready = encoded.collect::<Result<VecDeque<_>>>()?;
        }
        Ok(self.ready.pop_front())
    }

    fn gather(&mut self, task: &Task) -> Result<Vec<Document>> {
        let (mut pieces, mut bytes) = (Vec::new(), 0);
        let at_once = (self.read / SHARE).clamp(FEWEST, MOST);
        while bytes < at_once {
            task.check()?;
            let Some(piece) = self.documents.next(task)? else {
                self.ended = true;
                break;
            };
            bytes += piece.text.len();
            pieces.push(piece);
        }
        self.read = self.read.saturating_add(bytes);
        Ok(pieces)
    }
}

fn encode(tokenizer: &Tokenizer, document: &Document, task: &Task) -> Result<Encoded> {
    let tokens = tokenizer.encode(&document.text, Some(false), task).map_err(|e| e.within(&document.origin))?;
    // The EOS token of the tokenizer's rule is added by the packing, between documents.
    let end = tokens.len().saturating_sub(tokens.back);
    let (ids, offsets) = (tokens.ids.get(..end).unwrap_or_default(), tokens.offsets.get(..end).unwrap_or_default());
    let place = |range: &Range<usize>| document.at + range.start as u64..document.at + range.end as u64;
    Ok(Encoded {
        ids: ids.to_vec(),
        spans: offsets.iter().map(place).collect(),
        labels: document.marks.as_ref().map(|marks| marks.aligned(&document.text, offsets)),
        origin: document.origin.clone(),
        at: document.at,
        bytes: document.text.len() as u64,
    })
}
