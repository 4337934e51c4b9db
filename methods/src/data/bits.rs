//! Bits per byte: a loss that is comparable across tokenizers.

use crate::base::task::Bar;
use crate::common::*;
use crate::data::Text;
use crate::data::pack::{EncodedDocument, Encoder, beginning};

/// Maximum number of logits and of windows computed at once.
const LOGITS: usize = 1 << 25;
const WINDOWS: usize = 32;

/// The result of a model on a text.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Bits {
    /// The sum of -log p over all tokens that were predicted.
    pub nats: f64,
    /// The number of tokens that were predicted.
    pub tokens: u64,
    /// The bytes of text that these tokens cover.
    pub bytes: u64,
}

impl Bits {
    /// Returns `sum of -log p / ln 2 / bytes`: the bits that an arithmetic coder would need with these predictions.
    pub fn per_byte(&self) -> f64 {
        self.nats / std::f64::consts::LN_2 / self.bytes as f64
    }
}

crate::options! {
    pub struct BitsOptions {
        /// Number of tokens that each window scores, with all before them in the window as context.
        stride: Option<usize> = None => usually("half the context");
    }
}

/// Reads each document of a text in sliding windows of the model's context: each begins `stride` tokens after the one
/// before and scores the tokens that the one before did not reach; the default stride is half a window. Except at the
/// beginning of a document, every scored token has at least a window minus the stride as context.
///
/// A document begins after the tokenizer's BOS token, or else its EOS token, so that its first token is scored, too;
/// without either, that token and its bytes are left out. The text's limit counts the scored tokens.
pub fn bits(decoder: &Decoder, tokenizer: &Tokenizer, text: &Text, stride: Option<usize>, task: &Task) -> Result<Bits> {
    let front = beginning(text, None, tokenizer)?;
    let context = decoder.config().context;
    let room = context - usize::from(front.is_some()).min(context);
    let stride = stride.unwrap_or((room / 2).max(1));
    if room < 2 || stride == 0 || stride >= room {
        return Err(err!(Argument, "expected a stride from 1 to {}, found {stride}", room.saturating_sub(1))
            .hint("windows are as long as the model's context, and overlap by the context minus the stride")
            .about("stride"));
    }
    text.expect_end()?;
    text.expect_characters()?;
    let at_once = (LOGITS / (context * decoder.config().outputs()).max(1)).clamp(1, WINDOWS);
    let between = tokenizer.eos();
    let scorer = Scorer { decoder, at_once, waiting: Vec::new(), found: Bits::default() };
    let mut windows =
        Windows { scorer, front, between, room, stride, window: Vec::new(), fresh: 0, covered: 0, length: 0 };
    let mut encoder = Encoder::new(text.documents(task)?, tokenizer.clone());
    let bar = task.begin(&format!("scoring {}", text.name()), None);
    let most = text.options().tokens.unwrap_or(u64::MAX);
    while windows.scorer.found.tokens < most
        && let Some(piece) = encoder.next(task)?
    {
        windows.take(&piece, most, bar.as_ref(), task)?;
    }
    windows.finish(task)?;
    let found = windows.scorer.done(task)?;
    match found.tokens {
        0 => Err(err!(Argument, "expected a text of at least two tokens, found none in {}", text.name())),
        _ => Ok(found),
    }
}

/// An iterator that cuts documents into windows.
struct Windows<'a> {
    scorer: Scorer<'a>,
    front: Option<u32>,
    between: Option<u32>,
    /// The number of tokens in a window, without the BOS token.
    room: usize,
    stride: usize,
    window: Vec<u32>,
    /// The number of tokens at the end of the window that have not been scored.
    fresh: usize,
    /// The bytes of the document counted so far; `length` is their total.
    covered: u64,
    length: u64,
}

impl Windows<'_> {
    fn take(&mut self, piece: &EncodedDocument, most: u64, bar: &dyn Bar, task: &Task) -> Result<()> {
        if piece.at == 0 {
            self.finish(task)?;
            self.window = self.between.filter(|_| self.front.is_none()).into_iter().collect();
        }
        self.length = piece.at + piece.bytes;
        for (id, span) in piece.ids.iter().zip(&piece.spans) {
            if self.scorer.found.tokens >= most {
                // The rest of the document is not predicted.
                self.length = self.covered;
                break;
            }
            let judged = self.front.is_some() || !self.window.is_empty();
            self.window.push(*id);
            let reached = span.end.max(self.covered);
            if judged {
                self.fresh += 1;
                self.scorer.found.tokens += 1;
                self.scorer.found.bytes += reached - self.covered;
            }
            self.covered = reached;
            if self.window.len() == self.room {
                self.give(task)?;
                self.window.drain(..self.stride);
            }
        }
        bar.advance(piece.bytes);
        Ok(())
    }

    /// Ends the document. Its bytes include trailing white space that is not part of a token.
    fn finish(&mut self, task: &Task) -> Result<()> {
        if self.fresh > 0 {
            self.give(task)?;
        }
        self.scorer.found.bytes += self.length.saturating_sub(self.covered);
        self.window.clear();
        (self.covered, self.length) = (0, 0);
        Ok(())
    }

    fn give(&mut self, task: &Task) -> Result<()> {
        let ids = self.front.iter().chain(&self.window).copied().collect();
        self.scorer.waiting.push((ids, std::mem::take(&mut self.fresh)));
        if self.scorer.waiting.len() >= self.scorer.at_once { self.scorer.run(task) } else { Ok(()) }
    }
}

/// A scorer that runs windows through the model in batches.
struct Scorer<'a> {
    decoder: &'a Decoder,
    at_once: usize,
    /// Windows, and the number of tokens at the end of each that are scored.
    waiting: Vec<(Vec<u32>, usize)>,
    found: Bits,
}

impl Scorer<'_> {
    fn run(&mut self, task: &Task) -> Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let (rows, judged): (Vec<Vec<u32>>, Vec<usize>) = std::mem::take(&mut self.waiting).into_iter().unzip();
        let losses = self.decoder.losses(&Batch::new(rows)?, Vec::new(), task)?;
        for (losses, judged) in losses.iter().zip(judged) {
            let losses = dtype::cast(losses, DType::F64)?.to_vec1::<f64>()?;
            self.found.nats += losses.iter().rev().take(judged).rev().sum::<f64>();
        }
        Ok(())
    }

    fn done(mut self, task: &Task) -> Result<Bits> {
        self.run(task)?;
        Ok(self.found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::text::TextOptions;
    use crate::fixtures;
    use crate::model::weights::Weights;

    const CONTEXT: usize = 6;

    /// Builds a model of 27 tokens; with weights of 0 all of them are equally likely.
    fn decoder(uniform: bool) -> Decoder {
        let config = crate::model::config::Config { vocab: 27, context: CONTEXT, ..fixtures::config() };
        if !uniform {
            return fixtures::decoder(config, DType::F32);
        }
        let zeros = |_: &str, shape: &[usize]| Ok(Tensor::zeros(shape, DType::F32, &Device::Cpu)?);
        let weights = Weights::build(&config, &mut { zeros }).unwrap();
        Decoder::new(config, weights)
    }

    /// Builds a tokenizer whose tokens are letters; `.` marks beginnings, and may end texts.
    fn letters(ending: bool) -> Tokenizer {
        let list = (b'a'..=b'z').map(|letter| char::from(letter).to_string()).chain([".".into()]).collect();
        Tokenizer::characters(list, Some("."), None).unwrap().or_marks(None, ending.then_some(26))
    }

    fn text(texts: &[&str], options: TextOptions) -> Text {
        Text::given(texts.iter().map(|text| text.to_string()).collect(), options).unwrap()
    }

    fn found(decoder: &Decoder, ending: bool, text: &Text, stride: Option<usize>) -> Bits {
        bits(decoder, &letters(ending), text, stride, &Task::default()).unwrap()
    }

    #[test]
    fn where_all_tokens_are_as_likely_a_byte_needs_the_bits_of_the_vocabulary() {
        let text = text(&["abcdefghijklmnopqrstuvwxyz", "abc", "d"], TextOptions::default());
        let all = found(&decoder(true), true, &text, None);
        assert_eq!((all.tokens, all.bytes), (30, 30));
        let wanted = 27_f64.log2() * all.tokens as f64 / all.bytes as f64;
        assert!((all.per_byte() - wanted).abs() < 1e-6, "{} {wanted}", all.per_byte());
        // Without a token before a document its first one is not predicted, and its byte not counted.
        let all = found(&decoder(true), false, &text, None);
        assert_eq!((all.tokens, all.bytes), (27, 27));
        assert!((all.per_byte() - 27_f64.log2()).abs() < 1e-6);
    }

    /// Scores each token in the window of the rule, one window at a time.
    fn by_hand(decoder: &Decoder, ids: &[u32], stride: usize) -> f64 {
        let mut sum = 0.0;
        let mut start = 0;
        let mut judged = 1;
        while judged < ids.len() {
            let end = (start + CONTEXT).min(ids.len());
            let batch = Batch::new(vec![ids[start..end].to_vec()]).unwrap();
            let losses = decoder.losses(&batch, Vec::new(), &Task::default()).unwrap()[0].to_vec1::<f32>().unwrap();
            sum += losses[judged - start - 1..].iter().map(|loss| f64::from(*loss)).sum::<f64>();
            (judged, start) = (end, start + stride);
        }
        sum
    }

    #[test]
    fn every_token_is_judged_once_in_the_window_that_reaches_it_first() {
        let decoder = decoder(false);
        let word = "thequickbrownfoxjumpsoverthelazydog";
        for stride in [1, 2, 3, 5] {
            for length in [1, 2, 5, 6, 7, 8, 9, 35] {
                let text = text(&["ab", &word[..length]], TextOptions::default());
                let ids = |text: &str| -> Vec<u32> {
                    [26].into_iter().chain(text.bytes().map(|letter| u32::from(letter - b'a'))).collect()
                };
                let all = found(&decoder, true, &text, Some(stride));
                let wanted = by_hand(&decoder, &ids("ab"), stride) + by_hand(&decoder, &ids(&word[..length]), stride);
                assert!((all.nats - wanted).abs() < 1e-4, "{stride} {length}: {} {wanted}", all.nats);
                assert_eq!((all.tokens, all.bytes), (length as u64 + 2, length as u64 + 2));
            }
        }
    }

    #[test]
    fn a_limit_counts_judged_tokens_and_their_bytes() {
        let limit = TextOptions { tokens: Some(9), ..TextOptions::default() };
        let all = found(&decoder(true), true, &text(&["abcdef", "ghijkl"], limit), None);
        assert_eq!((all.tokens, all.bytes), (9, 9));
        let error = |stride| {
            let text = text(&["abcdef"], TextOptions::default());
            bits(&decoder(true), &letters(true), &text, Some(stride), &Task::default()).unwrap_err()
        };
        assert!(error(6).message.contains("from 1 to 5, found 6") && error(0).message.contains("found 0"));
    }

    #[test]
    fn blanks_that_are_no_token_are_bytes_all_the_same() {
        let words = ["the", "cat", "<s>"].map(String::from).to_vec();
        let tokenizer = Tokenizer::words(words, Some("<s>"), None).unwrap();
        let text = text(&["the  cat the \n"], TextOptions { bos: Some(true), ..TextOptions::default() });
        let all = bits(&decoder(true), &tokenizer, &text, None, &Task::default()).unwrap();
        assert_eq!((all.tokens, all.bytes), (3, 14));
    }
}
