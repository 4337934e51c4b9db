//! The n-grams of one length, sorted, so that those with the same context are adjacent.

/// Number of bits of a token in a key: ids are below 2^24, and five of them fit into 128 bits.
const BITS: u32 = 25;

/// Maximum number of tokens in an n-gram.
pub const LONGEST: usize = 5;

/// Packs a few tokens into one number, the first in the highest bits.
pub fn key(tokens: &[u32]) -> u128 {
    tokens.iter().fold(0, |key, token| key << BITS | u128::from(*token))
}

/// Returns the last `length` tokens of a key.
pub fn last(key: u128, length: usize) -> u128 {
    key & ((1 << (BITS as usize * length)) - 1)
}

#[derive(Debug, PartialEq)]
pub struct NgramLevel {
    keys: Vec<u128>,
    counts: Vec<u32>,
    contexts: Vec<u128>,
    /// The first n-gram of each context, and at the end their number.
    starts: Vec<u32>,
    /// The sum of the counts of each context, and the part of it that the discounts subtract.
    totals: Vec<u32>,
    taken: Vec<f32>,
    /// The discounts of counts of 1, of 2, and of 3 or more.
    discounts: [f64; 3],
}

impl NgramLevel {
    /// Builds a level of sorted, distinct n-grams with their counts, fewer than 2^32.
    pub fn new(keys: Vec<u128>, counts: Vec<u32>) -> Self {
        let discounts = discounts(&counts);
        let mut level =
            Self { keys, counts, contexts: vec![], starts: vec![], totals: vec![], taken: vec![], discounts };
        let grams = level.keys.iter().zip(&level.counts).enumerate();
        for (at, (key, count)) in grams {
            let context = key >> BITS;
            if level.contexts.last() != Some(&context) {
                level.contexts.push(context);
                level.starts.push(at as u32);
                level.totals.push(0);
                level.taken.push(0.0);
            }
            if let (Some(total), Some(taken)) = (level.totals.last_mut(), level.taken.last_mut()) {
                *total += count;
                *taken += discount(&discounts, *count) as f32;
            }
        }
        level.starts.push(level.keys.len() as u32);
        level
    }

    pub fn len(&self) -> usize {
        self.keys.len()
    }

    pub fn keys(&self) -> &[u128] {
        &self.keys
    }

    /// Returns the continuations of a context.
    pub fn after(&self, context: u128) -> Option<NextTokens<'_>> {
        let at = self.contexts.binary_search(&context).ok()?;
        let place = *self.starts.get(at)? as usize..*self.starts.get(at + 1)? as usize;
        Some(NextTokens {
            keys: self.keys.get(place.clone())?,
            counts: self.counts.get(place)?,
            total: f64::from(*self.totals.get(at)?),
            taken: f64::from(*self.taken.get(at)?),
            discounts: &self.discounts,
        })
    }
}

/// The tokens seen after a context.
pub struct NextTokens<'a> {
    keys: &'a [u128],
    counts: &'a [u32],
    total: f64,
    taken: f64,
    discounts: &'a [f64; 3],
}

impl NextTokens<'_> {
    /// Returns the probability mass of the shorter context.
    pub fn rest(&self) -> f64 {
        self.taken / self.total
    }

    /// Returns each token and its share.
    pub fn shares(&self) -> impl Iterator<Item = (u32, f64)> {
        self.keys.iter().zip(self.counts).map(|(key, count)| (last(*key, 1) as u32, self.worth(*count)))
    }

    /// Returns the share of one token.
    pub fn share(&self, token: u32) -> f64 {
        let found = self.keys.binary_search_by_key(&u128::from(token), |key| last(*key, 1)).ok();
        found.and_then(|at| self.counts.get(at)).map_or(0.0, |count| self.worth(*count))
    }

    fn worth(&self, count: u32) -> f64 {
        (f64::from(count) - discount(self.discounts, count)) / self.total
    }
}

fn discount(discounts: &[f64; 3], count: u32) -> f64 {
    let [once, twice, more] = *discounts;
    match count {
        0 => 0.0,
        1 => once,
        2 => twice,
        _ => more,
    }
}

/// Computes the discounts by the counts of counts (Chen & Goodman 1999, equation 17). With little text a formula may
/// divide by 0, or discount a whole count; then half of the count is used.
fn discounts(counts: &[u32]) -> [f64; 3] {
    let mut times = [0_u64; 5];
    for count in counts {
        if let Some(times) = times.get_mut(*count as usize) {
            *times += 1;
        }
    }
    let [_, n1, n2, n3, n4] = times.map(|times| times as f64);
    let share = n1 / (n1 + 2.0 * n2);
    let wanted = [1.0 - 2.0 * share * n2 / n1, 2.0 - 3.0 * share * n3 / n2, 3.0 - 4.0 * share * n4 / n3];
    let mut found = [0.5, 1.0, 1.5];
    for ((found, wanted), most) in found.iter_mut().zip(wanted).zip([1.0, 2.0, 3.0]) {
        if wanted.is_finite() && wanted > 0.0 && wanted < most {
            *found = wanted;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_cut_at_both_ends() {
        let three = key(&[7, (1 << 24) - 1, 5]);
        assert_eq!(last(three, 1), 5);
        assert_eq!(last(three, 2), key(&[(1 << 24) - 1, 5]));
        assert_eq!(three >> BITS, key(&[7, (1 << 24) - 1]));
    }

    #[test]
    fn discounts_follow_the_counts_of_counts() {
        // Four seen once, two twice, two three times, one four times: Y = 4 / 8.
        let found = discounts(&[1, 1, 1, 1, 2, 2, 3, 3, 4]);
        assert_eq!(found, [0.5, 2.0 - 1.5, 3.0 - 1.0]);
        assert_eq!(discounts(&[5, 6]), [0.5, 1.0, 1.5]);
    }

    #[test]
    fn shares_and_the_rest_are_the_whole() {
        let level = NgramLevel::new(vec![key(&[1, 2]), key(&[1, 4]), key(&[3, 2])], vec![1, 3, 2]);
        let seen = level.after(1).unwrap();
        let all: f64 = seen.shares().map(|(_, share)| share).sum();
        assert!((all + seen.rest() - 1.0).abs() < 1e-7);
        // One of each count: Y = 1/3 and D1 = 1/3.
        assert!((seen.share(2) - (1.0 - 1.0 / 3.0) / 4.0).abs() < 1e-12);
        assert_eq!(seen.share(3), 0.0);
        assert!(level.after(2).is_none());
    }
}
