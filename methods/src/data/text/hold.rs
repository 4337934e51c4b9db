//! Held-out documents, which training never reads.

use sha2::{Digest, Sha256};

crate::choices! {
    /// A part of the documents of a source.
    pub enum TextPart {
        All = "all",
        /// Documents that are not held out.
        Train = "train",
        /// The held-out documents alone.
        Held = "held",
    }
}

impl TextPart {
    /// Returns whether a document is of this part, where one in `one_in` is held out. Its own beginning decides, so
    /// that its part does not change when others are added, and no copy of a held-out document is trained on.
    pub fn has(self, beginning: &str, one_in: u64) -> bool {
        let held = number(beginning).is_multiple_of(one_in.max(1));
        match self {
            TextPart::All => true,
            TextPart::Train => !held,
            TextPart::Held => held,
        }
    }
}

/// Returns the hash of a document's beginning, as 64 bits.
pub fn number(beginning: &str) -> u64 {
    let hash = Sha256::digest(beginning);
    hash.iter().take(8).fold(0, |number: u64, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_share_nothing_and_leave_nothing_out() {
        let texts: Vec<String> = (0..2000).map(|i| format!("text {i}")).collect();
        let count = |part: TextPart| texts.iter().filter(|text| part.has(text, 10)).count();
        assert_eq!(count(TextPart::All), 2000);
        assert_eq!(count(TextPart::Train) + count(TextPart::Held), 2000);
        assert!((150..250).contains(&count(TextPart::Held)), "{}", count(TextPart::Held));
        assert!(texts.iter().all(|text| TextPart::Train.has(text, 10) != TextPart::Held.has(text, 10)));
    }
}
