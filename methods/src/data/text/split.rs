//! Disjoint parts of a text, so that selection and evaluation use different documents.

use std::borrow::Cow;

use super::hold::number;
use super::{Text, TextSource};
use crate::common::*;
use crate::data::{Document, Documents};

/// Largest depth of texts that are parts of each other: every part reads all of the text that it is a part of.
const MOST_NESTED: usize = 100;

/// Largest number of texts that a mixture reads in turn.
const MOST_MIXED: usize = 10_000;

/// The documents whose hash, as a number from 0 to 1, lies in this range.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HashShare {
    from: f64,
    to: f64,
    /// The number of splits before this one. Each uses another hash, since the hashes of a part's documents are all in
    /// one range.
    depth: usize,
}

impl HashShare {
    fn has(self, beginning: &str) -> bool {
        let own = match self.depth {
            0 => Cow::Borrowed(beginning),
            depth => format!("{depth} {beginning}").into(),
        };
        let number = number(&own) as f64 / 2_f64.powi(64);
        (self.from..self.to).contains(&number)
    }
}

impl Text {
    /// Splits the text into texts that share no document, each with about its share of the documents and of `tokens`. A
    /// hash of a document's content decides, so that copies are in one part, and the parts are the same every time.
    pub fn split(&self, shares: &[f64]) -> Result<Vec<Text>> {
        if let Some(wrong) = shares.iter().find(|share| !share.is_finite() || **share <= 0.0) {
            return Err(err!(Argument, "expected shares above 0, found {wrong}"));
        }
        let total: f64 = shares.iter().sum();
        if shares.len() < 2 {
            return Err(err!(Argument, "expected at least two shares, found {}", shares.len()));
        }
        let mut before = 0.0;
        let depth = self.splits();
        let part = |(index, share): (usize, &f64)| {
            let from = before / total;
            before += share;
            // The last part ends at 1, however the sum of shares is rounded.
            let is_last = index + 1 == shares.len();
            let share = HashShare { from, to: if is_last { f64::INFINITY } else { before / total }, depth };
            self.part(index, share, (before / total).min(1.0) - from)
        };
        shares.iter().enumerate().map(part).map(Text::checked).collect()
    }

    /// Returns the depth of the texts that this one is made of, and the number of texts that are read in turn.
    fn nesting(&self) -> (usize, usize) {
        match &self.source {
            TextSource::Part(whole, _) => {
                let (deep, many) = whole.nesting();
                (deep + 1, many)
            }
            TextSource::Mix(texts) => {
                let all = texts.iter().map(|(text, _)| text.nesting());
                all.fold((1, 0), |(deep, many), (own, read)| (deep.max(own + 1), many + read))
            }
            _ => (1, 1),
        }
    }

    /// Refuses a text that is made of too many others.
    pub(super) fn checked(self) -> Result<Self> {
        let (deep, many) = self.nesting();
        if deep > MOST_NESTED {
            return Err(err!(
                Argument,
                "expected parts and mixtures at most {MOST_NESTED} deep in each other, found more"
            )
            .hint("split once, with all shares: text.split([1, 1, 1, 1])"));
        }
        if many > MOST_MIXED {
            return Err(err!(Argument, "expected a mixture of at most {MOST_MIXED} texts, found {many}"));
        }
        Ok(self)
    }

    /// Returns the largest number of nested splits that the documents come from.
    fn splits(&self) -> usize {
        match &self.source {
            TextSource::Part(whole, _) => whole.splits() + 1,
            TextSource::Mix(texts) => texts.iter().map(|(text, _)| text.splits()).max().unwrap_or(0),
            _ => 0,
        }
    }

    fn part(&self, index: usize, share: HashShare, size: f64) -> Text {
        let mut options = self.options().clone();
        options.tokens = options.tokens.map(|tokens| ((tokens as f64 * size).round() as u64).max(1));
        let name = format!("{}, part {}", self.name(), index + 1);
        let identity = format!("{}, documents from {} to {}", self.identity(), share.from, share.to);
        let rules = self.rules.clone();
        Text {
            identity: identity.into(),
            rules,
            ..Text::new(TextSource::Part(Box::new(self.clone()), share), &name, options)
        }
    }
}

/// The documents of a part. A long document is divided piece by piece, so that a text of one file has parts, too;
/// consecutive pieces in a part stay one document.
pub struct PartDocuments {
    documents: Box<dyn Documents>,
    share: HashShare,
    /// Place in the document at which the current run of consecutive pieces begins.
    begun: Option<u64>,
}

impl PartDocuments {
    pub fn new(documents: Box<dyn Documents>, share: HashShare) -> Self {
        Self { documents, share, begun: None }
    }
}

impl Documents for PartDocuments {
    fn next(&mut self, task: &Task) -> Result<Option<Document>> {
        while let Some(mut document) = self.documents.next(task)? {
            if !self.share.has(&document.text) {
                self.begun = None;
                continue;
            }
            let begun = self.begun.filter(|_| document.at > 0).unwrap_or(document.at);
            self.begun = Some(begun);
            document.at -= begun;
            return Ok(Some(document));
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::super::TextOptions;
    use super::*;

    fn texts(text: &Text) -> Vec<String> {
        let mut documents = text.documents(&Task::default()).unwrap();
        let task = Task::default();
        std::iter::from_fn(|| documents.next(&task).unwrap()).map(|document| document.text).collect()
    }

    #[test]
    fn parts_are_disjoint_whole_and_as_large_as_asked() {
        let all: Vec<String> = (0..2000).map(|i| format!("text {i}")).collect();
        let options = TextOptions { tokens: Some(1000), ..TextOptions::default() };
        let whole = Text::given(all.clone(), options).unwrap();
        let parts = whole.split(&[3.0, 0.5, 0.5]).unwrap();
        let found: Vec<Vec<String>> = parts.iter().map(texts).collect();
        assert!((1400..1600).contains(&found[0].len()), "{}", found[0].len());
        let mut together = found.concat();
        together.sort();
        let mut sorted = all;
        sorted.sort();
        assert_eq!(together, sorted);
        assert_eq!(parts.iter().map(|part| part.options().tokens.unwrap()).collect::<Vec<_>>(), [750, 125, 125]);
        assert_eq!(parts[1].name(), "given texts, part 2");
        assert_ne!(parts[1].identity(), parts[2].identity());
    }

    #[test]
    fn parts_have_parts_as_large_as_asked() {
        let whole = Text::given((0..2000).map(|i| format!("text {i}")).collect(), TextOptions::default()).unwrap();
        for part in whole.split(&[1.0, 3.0]).unwrap() {
            let halves: Vec<Vec<String>> = part.split(&[1.0, 1.0]).unwrap().iter().map(texts).collect();
            let count = texts(&part).len();
            let half = halves[0].len();
            assert_eq!(half + halves[1].len(), count);
            assert!((2 * half).abs_diff(count) < count / 5, "{half} of {count}");
            assert!(!halves[1].iter().any(|text| halves[0].contains(text)));
        }
    }

    #[test]
    fn one_long_document_has_parts() {
        let lines: Vec<String> = (0..120_000).map(|i| format!("line {i}")).collect();
        let whole = Text::given(vec![lines.join("\n")], TextOptions::default()).unwrap();
        let parts = whole.split(&[3.0, 1.0]).unwrap();
        let read = |text: &Text| {
            let mut documents = text.documents(&Task::default()).unwrap();
            let task = Task::default();
            std::iter::from_fn(|| documents.next(&task).unwrap()).collect::<Vec<_>>()
        };
        let pieces = read(&whole);
        let found = parts.iter().map(read).collect::<Vec<_>>();
        let count = |documents: &[Document]| documents.iter().map(|document| document.text.len()).sum::<usize>();
        assert_eq!(count(&found[0]) + count(&found[1]), count(&pieces));
        assert!(found.iter().all(|part| part.len() * 8 > pieces.len()), "{} and {}", found[0].len(), found[1].len());
        for part in found {
            // A piece continues the one before, or begins a document.
            let mut end = 0;
            for piece in part {
                assert!(piece.at == 0 || piece.at == end);
                end = piece.at + piece.text.len() as u64;
                assert!(pieces.iter().any(|whole| whole.text == piece.text));
            }
        }
    }

    #[test]
    fn parts_of_parts_and_mixtures_of_mixtures_have_an_end() {
        let part = |text: Text| text.split(&[1.0, 1.0]).map(|mut parts| parts.remove(0));
        let whole = Text::given(vec!["one".into()], TextOptions::default()).unwrap();
        let deep = (0..99).try_fold(whole.clone(), |text, _| part(text)).unwrap();
        assert!(part(deep).unwrap_err().message.contains("at most 100 deep in each other"));
        let doubled = |text: Text| Text::mix(vec![(text.clone(), 1.0), (text, 1.0)], TextOptions::default());
        let wide = (0..13).try_fold(whole, |text, _| doubled(text)).unwrap();
        assert!(doubled(wide).unwrap_err().message.contains("at most 10000 texts, found 16384"));
    }

    #[test]
    fn shares_that_are_none_are_refused() {
        let whole = Text::given(vec!["one".into()], TextOptions::default()).unwrap();
        assert_eq!(whole.split(&[1.0]).unwrap_err().message, "expected at least two shares, found 1");
        assert_eq!(whole.split(&[1.0, 0.0]).unwrap_err().message, "expected shares above 0, found 0");
    }
}
