//! Floor 7: tokenizers. Text to token ids and back: one type for the tokenizers of every file format, and for those
//! that are created here.
//!
//! The name of a special token in a text (`<s>`) is handled as by the program that the file was made for: tokenizers of
//! a `tokenizer.json` read it as that token, those of GGUF, llama2.c and RWKV as plain text.

mod alphabet;
mod bytelevel;
mod chat;
mod folder;
mod gguf;
mod json;
pub mod labels;
mod library;
mod limits;
mod lines;
mod llama2c;
mod lookup;
mod merges;
mod metadata;
mod misfit;
mod saving;
mod spelling;
mod splits;
mod stream;
mod symbols;
mod template;
mod token_list;
pub mod tokens;
pub mod train;
mod vocab;
mod words;
mod world;

pub use chat::{Chats, DEFAULT, FILE as CHAT_FILE};
pub use metadata::Gguf;
pub use saving::WORLD as WORLD_FILE;
pub use stream::Stream;
pub use vocab::{Vocab, VocabEntry};

use self::saving::{Origin, Ours};
use crate::common::*;
use tokens::Tokens;

/// A token, and the bytes of the text that it covers.
type TokenSpan = (u32, Range<usize>);

/// An engine that splits texts into tokens and adds none.
trait Splitter: Send + Sync {
    fn split(&self, text: &str, task: &Task) -> Result<Vec<TokenSpan>>;
}

/// Converts the `tokenizers` crate's error about a file.
fn failed(error: tokenizers::Error) -> Error {
    err!(Format, "expected a tokenizer that can be used: {error}")
}

#[derive(Clone)]
pub struct Tokenizer {
    vocab: Arc<Vocab>,
    split: Arc<dyn Splitter>,
    origin: Arc<Origin>,
    /// The tokens that the tokenizer's own rule puts before every text, and after it.
    front: Vec<u32>,
    back: Vec<u32>,
    bos: Option<u32>,
    eos: Option<u32>,
    /// Chat templates; None if the tokenizer's files have none.
    chats: Option<Arc<Chats>>,
}

impl Tokenizer {
    /// Makes a tokenizer that adds nothing by itself.
    fn new(vocab: Arc<Vocab>, split: Arc<dyn Splitter>, origin: Origin) -> Self {
        let front = Vec::new();
        let back = Vec::new();
        Self { vocab, split, origin: Arc::new(origin), front, back, bos: None, eos: None, chats: None }
    }

    /// Makes the tokenizer of a GGUF file. `marks` are the BOS and the EOS token, and `adds_bos` says whether texts begin with
    /// the first.
    fn of_gguf(
        vocab: Arc<Vocab>,
        split: Arc<dyn Splitter>,
        parts: Gguf,
        marks: [Option<u32>; 2],
        adds_bos: bool,
    ) -> Result<Self> {
        let [bos, eos] = marks;
        let adds_eos = parts.add_eos_token.unwrap_or(false);
        Self::new(vocab, split, Origin::Ours(Ours::Gguf(Box::new(parts)))).marked(bos, eos)?.adding(adds_bos, adds_eos)
    }

    /// Encodes a text. `bos` decides whether it begins with the BOS token; without it the tokenizer's own rule decides,
    /// as for the end.
    pub fn encode(&self, text: &str, bos: Option<bool>, task: &Task) -> Result<Tokens> {
        let front = self.before(bos)?;
        let back = &self.back;
        let placed = self.split.split(text, task)?;
        let added = |ids: &[u32], at: usize| ids.iter().map(|id| (*id, at..at)).collect::<Vec<_>>();
        let all = [added(&front, 0), placed, added(back, text.len())].concat();
        let (ids, offsets) = all.into_iter().unzip();
        Ok(Tokens { ids, offsets, text: text.into(), front: front.len(), back: back.len(), vocab: self.vocab.clone() })
    }

    /// Returns the tokens before a text.
    fn before(&self, bos: Option<bool>) -> Result<Vec<u32>> {
        match bos {
            None => Ok(self.front.clone()),
            Some(false) => Ok(Vec::new()),
            Some(true) => {
                let id = self.bos.ok_or_else(|| {
                    err!(Argument, "this tokenizer has no token that marks the beginning of a text")
                        .hint("leave out `bos`, or put the id of a token of your choice before the others")
                })?;
                match self.front.first() {
                    Some(first) if *first == id => Ok(self.front.clone()),
                    _ => Ok([&[id], self.front.as_slice()].concat()),
                }
            }
        }
    }

    /// Makes tokens that are given by their ids, with the text that they stand for; none is added.
    pub fn of_ids(&self, ids: Vec<u32>) -> Result<Tokens> {
        let (text, offsets) = self.vocab.placed(&ids)?;
        Ok(Tokens { ids, offsets, text, front: 0, back: 0, vocab: self.vocab.clone() })
    }

    /// Decodes tokens. Special ones are shown, and invalid bytes become U+FFFD.
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        self.vocab.decode(ids)
    }

    /// Starts decoding token by token, after `before`, which has been decoded already.
    pub fn stream_after(&self, before: &[u32]) -> Result<Stream<'_>> {
        let mut stream = Stream::new(&self.vocab);
        for id in before {
            stream.push(*id)?;
        }
        Ok(stream)
    }

    /// Returns the readable text of one token.
    pub fn text_of(&self, id: u32) -> Result<String> {
        self.vocab.text_of(id)
    }

    pub fn vocab(&self) -> &Vocab {
        &self.vocab
    }

    /// Returns the BOS token, whether or not the tokenizer adds it by itself.
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// Returns the EOS token.
    pub fn eos(&self) -> Option<u32> {
        self.eos
    }

    /// Returns the token that stands for a masked one, by the names that encoders' tokenizers give it.
    pub fn mask(&self) -> Option<u32> {
        ["[MASK]", "<mask>"].into_iter().find_map(|name| self.vocab.id_of(name))
    }

    /// Sets the BOS and EOS tokens of the model's config, if the tokenizer's own files have none. Nothing is added to
    /// texts because of that. An id without a token, as in placeholder configs, is ignored.
    pub fn or_marks(mut self, bos: Option<u32>, eos: Option<u32>) -> Self {
        let token = |id: &u32| self.vocab.piece(*id).is_ok();
        (self.bos, self.eos) = (self.bos.or(bos.filter(token)), self.eos.or(eos.filter(token)));
        self
    }

    /// Sets the BOS and EOS tokens of the tokenizer's own file.
    fn marked(mut self, bos: Option<u32>, eos: Option<u32>) -> Result<Self> {
        for (id, what) in [(bos, "beginning"), (eos, "end")] {
            id.map(|id| self.vocab.piece(id)).transpose().map_err(|e| e.within(format!("the token of the {what}")))?;
        }
        (self.bos, self.eos) = (bos, eos);
        Ok(self)
    }

    /// Returns the tokens that the tokenizer's own rule puts before every text, and after it.
    pub fn rule(&self) -> (&[u32], &[u32]) {
        (&self.front, &self.back)
    }

    /// Sets the tokenizer's own rule by whether BOS and EOS are added, as most file formats state it.
    fn adding(mut self, bos: bool, eos: bool) -> Result<Self> {
        let marked = |wanted: bool, id: Option<u32>, what: &str| match id {
            _ if !wanted => Ok(Vec::new()),
            Some(id) => Ok(vec![id]),
            None => {
                Err(err!(Format, "expected a token for the {what} of a text, since one is to be added, found none"))
            }
        };
        self.front = marked(bos, self.bos, "beginning")?;
        self.back = marked(eos, self.eos, "end")?;
        Ok(self)
    }
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tokenizer of {} tokens", self.vocab.iter().count())
    }
}
