//! The longest run of tokens that a text shares with another, such as the training text of its model: a test for
//! memorisation.
//!
//! The text becomes a suffix automaton (Blumer et al. 1985) of its size, through which the other one, however long,
//! passes once.

use super::Asset;
use crate::common::*;
use crate::data::Text;
use crate::data::whole::Whole;

/// Number of tokens processed between two checks for an interruption.
const PORTION: usize = 1 << 14;

/// A run that two texts have in common.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CommonRun {
    /// The number of tokens.
    pub length: usize,
    /// The index of the run's first token in the text, counted over all parts.
    pub at: usize,
    /// The index of the document in the corpus; `place` is the run's first token there.
    pub document: usize,
    pub place: usize,
}

/// Finds the longest run that a part of the text shares with a document of the corpus; the first of several. No run
/// crosses parts or documents.
pub fn longest_common_run<'a>(
    pieces: impl IntoIterator<Item = &'a [u32]>,
    corpus: &mut dyn FnMut() -> Result<Option<Vec<u32>>>,
    task: &Task,
) -> Result<CommonRun> {
    let mut automaton = Automaton::default();
    for piece in pieces {
        automaton.add(piece, task)?;
    }
    let bar = task.begin("comparing with the corpus", None);
    let mut best = CommonRun::default();
    let mut document = 0;
    while let Some(ids) = corpus()? {
        let mut state = 0;
        let mut length = 0;
        for (end, token) in ids.iter().enumerate() {
            if end % PORTION == 0 {
                task.check()?;
            }
            (state, length) = automaton.follow(state, length, *token);
            if length > best.length {
                let at = automaton.end(state) - length;
                best = CommonRun { length, at, document, place: end + 1 - length };
            }
        }
        bar.advance(ids.len() as u64);
        document += 1;
    }
    Ok(best)
}

impl Asset {
    /// Finds the longest run that a row shares with a document of a text, and the document's origin.
    pub fn longest_run_in(
        &self,
        text: &Text,
        tokenizer: &Tokenizer,
        task: &Task,
    ) -> Result<(CommonRun, Option<Arc<str>>)> {
        let mut whole = Whole::new(text, tokenizer, None, task)?;
        let mut origins = Vec::new();
        let mut next = || {
            let document = whole.next(task)?;
            origins.extend(document.as_ref().map(|document| document.origin.clone()));
            Ok(document.map(|document| document.ids))
        };
        let run = longest_common_run(self.ids.chunks(self.context.max(1) as usize), &mut next, task)?;
        let origin = origins.get(run.document).filter(|_| run.length > 0).cloned();
        Ok((run, origin))
    }
}

/// The suffix automaton: all runs of some parts of text. State 0 is the empty run.
struct Automaton {
    states: Vec<AutomatonState>,
    /// The number of tokens added so far.
    tokens: usize,
}

/// Runs with the same end positions.
#[derive(Clone)]
struct AutomatonState {
    /// The length of the longest run of the state.
    length: usize,
    /// The state of the longest suffix with more end positions; state 0 links to itself.
    link: usize,
    /// The end position of one of the runs.
    end: usize,
    /// The next states, by token.
    next: Vec<(u32, usize)>,
}

impl Default for Automaton {
    fn default() -> Self {
        Self { states: vec![AutomatonState { length: 0, link: 0, end: 0, next: Vec::new() }], tokens: 0 }
    }
}

impl Automaton {
    fn add(&mut self, piece: &[u32], task: &Task) -> Result<()> {
        let mut last = 0;
        for (at, token) in piece.iter().enumerate() {
            if at % PORTION == 0 {
                task.check()?;
            }
            self.tokens += 1;
            last = self.extended(last, *token);
        }
        Ok(())
    }

    /// Returns the state of the run that is one token longer than the longest of `last`.
    fn extended(&mut self, last: usize, token: u32) -> usize {
        if let Some(next) = self.next(last, token) {
            return self.exactly(last, next, token);
        }
        let new = self.states.len();
        self.states.push(AutomatonState { length: self.length(last) + 1, link: 0, end: self.tokens, next: Vec::new() });
        let mut shorter = last;
        loop {
            if let Some(next) = self.next(shorter, token) {
                let link = self.exactly(shorter, next, token);
                self.relink(new, link);
                return new;
            }
            self.set(shorter, token, new);
            if shorter == 0 {
                return new;
            }
            shorter = self.link(shorter);
        }
    }

    /// Returns the state of the longest run of `state` with one more token, which leads to `next`: that state, or,
    /// where longer runs are in it, one that is split off.
    fn exactly(&mut self, state: usize, next: usize, token: u32) -> usize {
        let length = self.length(state) + 1;
        if self.length(next) == length {
            return next;
        }
        let split = self.states.len();
        let Some(of) = self.states.get(next).cloned() else { return 0 };
        self.states.push(AutomatonState { length, ..of });
        self.relink(next, split);
        let mut shorter = state;
        while self.next(shorter, token) == Some(next) {
            self.set(shorter, token, split);
            if shorter == 0 {
                break;
            }
            shorter = self.link(shorter);
        }
        split
    }

    /// Returns the longest run that ends with `token` and that the text has, when `length` tokens before led to
    /// `state`.
    fn follow(&self, mut state: usize, mut length: usize, token: u32) -> (usize, usize) {
        loop {
            if let Some(next) = self.next(state, token) {
                return (next, length + 1);
            }
            if state == 0 {
                return (0, 0);
            }
            state = self.link(state);
            length = self.length(state);
        }
    }

    fn next(&self, state: usize, token: u32) -> Option<usize> {
        let next = &self.states.get(state)?.next;
        let at = next.binary_search_by_key(&token, |(token, _)| *token).ok()?;
        next.get(at).map(|(_, state)| *state)
    }

    fn set(&mut self, state: usize, token: u32, to: usize) {
        let Some(AutomatonState { next, .. }) = self.states.get_mut(state) else { return };
        match next.binary_search_by_key(&token, |(token, _)| *token) {
            Ok(at) => next.iter_mut().skip(at).take(1).for_each(|entry| entry.1 = to),
            Err(at) => next.insert(at, (token, to)),
        }
    }

    fn relink(&mut self, state: usize, to: usize) {
        if let Some(state) = self.states.get_mut(state) {
            state.link = to;
        }
    }

    fn link(&self, state: usize) -> usize {
        self.states.get(state).map_or(0, |state| state.link)
    }

    fn length(&self, state: usize) -> usize {
        self.states.get(state).map_or(0, |state| state.length)
    }

    fn end(&self, state: usize) -> usize {
        self.states.get(state).map_or(0, |state| state.end)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn longest(pieces: &[Vec<u32>], corpus: &[Vec<u32>]) -> CommonRun {
        let mut documents = corpus.iter();
        let pieces = pieces.iter().map(Vec::as_slice);
        longest_common_run(pieces, &mut || Ok(documents.next().cloned()), &Task::default()).unwrap()
    }

    #[test]
    fn the_longest_run_is_found_with_its_places() {
        let pieces = [vec![0, 1, 2, 3], vec![4, 5, 1, 2]];
        // 3 4 occurs in the text, but not within a part; 4 5 1 does.
        let corpus = [vec![9, 3, 4, 9], vec![2, 3, 9, 4, 5, 1, 9]];
        assert_eq!(longest(&pieces, &corpus), CommonRun { length: 3, at: 4, document: 1, place: 3 });
        assert_eq!(longest(&pieces, &[vec![8, 8]]), CommonRun::default());
        assert_eq!(longest(&[], &corpus), CommonRun::default());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(150))]

        #[test]
        fn it_is_as_long_as_trying_all_finds(
            pieces in prop::collection::vec(prop::collection::vec(0_u32..3, 0..14), 0..4),
            corpus in prop::collection::vec(prop::collection::vec(0_u32..4, 0..14), 0..3),
        ) {
            let found = longest(&pieces, &corpus);
            let runs = |text: &[u32], length: usize| text.windows(length).map(<[u32]>::to_vec).collect::<Vec<_>>();
            let shared = |length: &usize| {
                corpus.iter().flat_map(|text| runs(text, *length)).any(|run| {
                    pieces.iter().any(|piece| runs(piece, *length).contains(&run))
                })
            };
            prop_assert_eq!(found.length, (1..15).take_while(shared).count());
            if found.length > 0 {
                let all: Vec<u32> = pieces.concat();
                let there = &corpus[found.document][found.place..found.place + found.length];
                prop_assert_eq!(&all[found.at..found.at + found.length], there);
            }
        }
    }
}
