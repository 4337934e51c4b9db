//! At which tokens a feature is strongest in sum, in bounded memory.

/// So many tokens are followed at once.
const FOLLOWED: usize = 32;

/// What is known of a token.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AtToken {
    pub token: u32,
    /// At how many of its occurrences the feature was active, and the sum of the sizes of its codes there: since it has
    /// been followed.
    pub fired: u64,
    pub sum: f64,
    /// How much of the sum may have been missed before.
    pub missed: f64,
}

/// The tokens with the largest sums, by the Space-Saving algorithm (Metwally et al. 2005) with codes as weights. A token
/// that has more than the 32nd part of the whole sum is among them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tokens {
    /// The ids by themselves, since they are searched at every code.
    ids: Vec<u32>,
    found: Vec<AtToken>,
}

impl Tokens {
    pub fn take(&mut self, token: u32, code: f32) {
        let size = f64::from(code.abs());
        if let Some(at) = self.ids.iter().position(|id| *id == token)
            && let Some(known) = self.found.get_mut(at)
        {
            known.fired += 1;
            known.sum += size;
            return;
        }
        let mut fresh = AtToken { token, fired: 1, sum: size, missed: 0.0 };
        if self.ids.len() < FOLLOWED {
            self.ids.push(token);
            self.found.push(fresh);
            return;
        }
        let weakest =
            self.found.iter_mut().zip(&mut self.ids).reduce(|a, b| if weight(b.0) < weight(a.0) { b } else { a });
        if let Some((known, id)) = weakest {
            fresh.missed = weight(known);
            (*known, *id) = (fresh, token);
        }
    }

    /// Those that surely have the largest sums first.
    pub fn strongest(&self) -> Vec<AtToken> {
        let mut found = self.found.clone();
        found.sort_by(|a, b| b.sum.total_cmp(&a.sum).then(a.token.cmp(&b.token)));
        found
    }
}

/// The sum that a token can have at most.
fn weight(known: &AtToken) -> f64 {
    known.sum + known.missed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_tokens_are_counted_exactly() {
        let mut tokens = Tokens::default();
        for i in 0..300_u32 {
            tokens.take(i % 30, if i % 30 == 7 { 2.0 } else { 1.0 });
        }
        let found = tokens.strongest();
        assert_eq!(found[0], AtToken { token: 7, fired: 10, sum: 20.0, missed: 0.0 });
        assert_eq!((found.len(), found[1].token, found[1].sum), (30, 0, 10.0));
    }

    #[test]
    fn among_many_a_frequent_one_is_found_and_bounded() {
        let mut tokens = Tokens::default();
        let mut whole = 0.0;
        for i in 0..20_000_u32 {
            let (token, code) = if i % 10 == 3 { (5, -3.0) } else { (100 + i * 7919 % 1000, 1.0) };
            tokens.take(token, code);
            whole += f64::from(code.abs());
        }
        let first = tokens.strongest()[0];
        assert_eq!(first.token, 5);
        assert!(first.sum <= 6000.0 && first.sum + first.missed >= 6000.0 && first.missed < whole / 32.0, "{first:?}");
    }
}
