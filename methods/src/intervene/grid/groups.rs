//! Pairs in groups that go into one pass, and the alignment of positions between the two prompts of a pair.

use crate::intervene::metric::{Measure, pairs_at_once};
use crate::model::site::Heads;
use crate::sae::prelude::*;

crate::choices! {
    /// Alignments of positions where the prompts of a pair differ in length.
    pub enum Alignment {
        /// Refusal of pairs whose prompts differ in length.
        None = "none",
        /// The last positions, and so on towards the beginning.
        End = "end",
        /// The positions of tokens that both prompts have in the same order, and of stretches of equal length between
        /// two of them.
        Tokens = "tokens",
    }
}

crate::choices! {
    /// The prompt that is run, and the one that is patched in.
    pub enum PatchDirection {
        /// Clean activations into the corrupt run.
        Denoise = "denoise",
        /// Corrupt activations into the clean run.
        Noise = "noise",
    }
}

impl PatchDirection {
    /// Returns the prompt that is run, and the one that is patched in.
    pub fn prompts(self) -> (Prompt, Prompt) {
        match self {
            PatchDirection::Denoise => (Prompt::Corrupt, Prompt::Clean),
            PatchDirection::Noise => (Prompt::Clean, Prompt::Corrupt),
        }
    }
}

/// Pairs whose prompts all have the same two lengths, with their numbers among all pairs.
pub struct PairGroup {
    pub pairs: Vec<TokenPair>,
    pub numbers: Vec<usize>,
    pub direction: PatchDirection,
    /// The position of the other prompt for each pair and position of the prompt that is run; none where both are as
    /// long, and each position is aligned with itself.
    beside: Option<Vec<Vec<Option<usize>>>>,
}

impl PairGroup {
    /// Splits the pairs into groups that go into one pass each. `share` is the part of a usual pass that each may take.
    pub fn of(
        model: &Model,
        pairs: &[TokenPair],
        measure: Measure,
        direction: PatchDirection,
        align: Alignment,
        share: usize,
    ) -> Result<Vec<Self>> {
        let mut by_length: BTreeMap<(usize, usize), Vec<usize>> = BTreeMap::new();
        for (number, pair) in pairs.iter().enumerate() {
            let clean = pair.clean.len();
            let corrupt = pair.corrupt.len();
            if corrupt == 0 {
                return Err(err!(Argument, "expected a corrupt prompt in pair {number}, found none").about("pairs"));
            }
            if clean != corrupt && align == Alignment::None {
                return Err(err!(
                    Argument,
                    "expected prompts of the same length, found {clean} and {corrupt} tokens in pair {number}"
                )
                .hint("data::pairs(task, #{ for: m, same_length: true }) makes such pairs; `align` says which positions stand side by side")
                .about("pairs"));
            }
            by_length.entry((clean, corrupt)).or_default().push(number);
        }
        let at_once = (pairs_at_once(&model.decoder, pairs, measure) / share).max(1);
        let cut = by_length
            .into_values()
            .flat_map(|numbers| numbers.chunks(at_once).map(<[usize]>::to_vec).collect::<Vec<_>>());
        cut.map(|numbers| Self::new(pairs, numbers, direction, align)).collect()
    }

    fn new(pairs: &[TokenPair], numbers: Vec<usize>, direction: PatchDirection, align: Alignment) -> Result<Self> {
        let pairs: Vec<TokenPair> = numbers.iter().map(|number| pairs[*number].clone()).collect();
        let is_same = pairs.first().is_none_or(|pair| pair.clean.len() == pair.corrupt.len());
        let mut group = Self { pairs, numbers, direction, beside: None };
        if !is_same {
            let each = group.numbers.iter().zip(group.prompts()).map(|(number, (run, from))| {
                let beside = match align {
                    Alignment::Tokens => by_tokens(run, from),
                    Alignment::End | Alignment::None => by_ends(run.len(), from.len()),
                };
                if beside.iter().any(Option::is_some) {
                    Ok(beside)
                } else {
                    Err(err!(Argument, "the prompts of pair {number} have no tokens in common to be aligned by")
                        .hint("align: \"end\" aligns the last tokens, whatever they are")
                        .about("pairs"))
                }
            });
            group.beside = Some(each.collect::<Result<_>>()?);
        }
        Ok(group)
    }

    /// Returns the prompt that is run and the one that is patched in, for each pair.
    fn prompts(&self) -> impl Iterator<Item = (&[u32], &[u32])> {
        let (run, from) = self.direction.prompts();
        self.pairs.iter().map(move |pair| (pair.prompt(run).unwrap_or(&[]), pair.prompt(from).unwrap_or(&[])))
    }

    /// Returns the number of tokens of each prompt that is run.
    pub fn length(&self) -> usize {
        self.prompts().next().map_or(0, |(run, _)| run.len())
    }

    /// Returns whether positions of the two prompts have to be aligned.
    pub fn is_aligned(&self) -> bool {
        self.beside.is_some()
    }

    /// Returns the first position at which a patch can change anything in a causal model: before it the prompts of each
    /// pair are the same.
    pub fn first_change(&self) -> usize {
        let first = |(pair, (run, from)): (usize, (&[u32], &[u32]))| {
            let same = run.iter().zip(from).take_while(|(a, b)| a == b).count();
            let Some(beside) = &self.beside else { return same };
            let stays = |(at, other): (usize, &Option<usize>)| other.is_none_or(|other| other == at && at < same);
            beside[pair].iter().enumerate().take_while(|place| stays(*place)).count()
        };
        self.prompts().enumerate().map(first).min().unwrap_or(0)
    }

    /// Returns the activations of the other prompts, `[texts, pos, ..]`, at the positions of those that are run; a
    /// position that is not aligned keeps its own. `pair_of` has the pair of each text.
    pub fn aligned(&self, place: Place, source: &Tensor, own: &Tensor, pair_of: &[usize]) -> Result<Tensor> {
        let Some(beside) = &self.beside else { return Ok(source.clone()) };
        if place.site.kind.heads() == Heads::Square {
            return Err(err!(Argument, "`{place}` cannot be aligned: its axes are queries and keys")
                .hint("patch `z`, or pairs whose prompts have the same length")
                .about("sites"));
        }
        let texts = source.dim(0)?;
        let from = source.dim(1)?;
        let run = own.dim(1)?;
        let (length, other) = self.prompts().next().map_or((0, 0), |(run, from)| (run.len(), from.len()));
        let mut rows = Vec::with_capacity(texts * run);
        for (text, pair) in pair_of.iter().enumerate() {
            for at in 0..run {
                // What follows the prompts are the same answers.
                let found = beside[*pair].get(at).copied().unwrap_or_else(|| Some(at - length + other));
                rows.push(match found.filter(|found| *found < from) {
                    Some(found) => (text * from + found) as u32,
                    None => (texts * from + text * run + at) as u32,
                });
            }
        }
        let all = Tensor::cat(&[source.flatten(0, 1)?, own.to_dtype(source.dtype())?.flatten(0, 1)?], 0)?;
        let rows = Tensor::new(rows, source.device())?;
        Ok(all.index_select(&rows, 0)?.reshape(own.shape())?)
    }
}

fn by_ends(run: usize, from: usize) -> Vec<Option<usize>> {
    (0..run).map(|at| (at + from).checked_sub(run)).collect()
}

/// Returns the positions of a longest common subsequence, and between two of them those of stretches as long in both
/// prompts.
fn by_tokens(run: &[u32], from: &[u32]) -> Vec<Option<usize>> {
    let n = run.len();
    let m = from.len();
    let mut longest = vec![vec![0_u32; m + 1]; n + 1];
    for i in 0..n {
        for j in 0..m {
            longest[i + 1][j + 1] =
                if run[i] == from[j] { longest[i][j] + 1 } else { longest[i][j + 1].max(longest[i + 1][j]) };
        }
    }
    let mut i = n;
    let mut j = m;
    let mut common = Vec::new();
    while i > 0 && j > 0 {
        if run[i - 1] == from[j - 1] {
            (i, j) = (i - 1, j - 1);
            common.push((i, j));
        } else if longest[i - 1][j] >= longest[i][j - 1] {
            i -= 1;
        } else {
            j -= 1;
        }
    }
    let mut beside = vec![None; n];
    if common.is_empty() {
        return beside;
    }
    common.reverse();
    common.push((n, m));
    let mut i = 0;
    let mut j = 0;
    for (next, other) in common {
        if next - i == other - j {
            (i..next).for_each(|at| beside[at] = Some(j + at - i));
        }
        if next < n {
            beside[next] = Some(other);
        }
        (i, j) = (next + 1, other + 1);
    }
    beside
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_stand_side_by_side_from_the_end_or_by_their_tokens() {
        assert_eq!(by_ends(3, 2), [None, Some(0), Some(1)]);
        assert_eq!(by_ends(2, 3), [Some(1), Some(2)]);
        // A name of two tokens in place of one, and another word in the middle that is as long.
        assert_eq!(by_tokens(&[1, 8, 2, 5, 3], &[1, 9, 9, 2, 6, 3]), [Some(0), None, Some(3), Some(4), Some(5)]);
        assert_eq!(by_tokens(&[1, 2, 4], &[7, 1, 2, 5]), [Some(1), Some(2), Some(3)]);
        assert_eq!(by_tokens(&[1, 2], &[3, 4, 5]), [None, None]);
    }
}
