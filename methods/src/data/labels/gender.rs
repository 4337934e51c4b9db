//! Words for women and men, and where one of their pronouns comes next.

use super::{Col, Pen};

const FEMALE: usize = 1;
const MALE: usize = 2;

/// The pronouns, in the order of the column's values. "her" before a noun is not distinguished.
pub const PRONOUNS: [&str; 8] = ["she", "he", "her", "him", "hers", "his", "herself", "himself"];

const WOMEN: [&str; 28] = [
    "woman",
    "women",
    "girl",
    "girls",
    "lady",
    "ladies",
    "mother",
    "mothers",
    "daughter",
    "daughters",
    "sister",
    "sisters",
    "wife",
    "wives",
    "aunt",
    "aunts",
    "queen",
    "queens",
    "princess",
    "duchess",
    "countess",
    "actress",
    "waitress",
    "nun",
    "grandmother",
    "mrs",
    "ms",
    "madam",
];

const MEN: [&str; 28] = [
    "man",
    "men",
    "boy",
    "boys",
    "gentleman",
    "gentlemen",
    "father",
    "fathers",
    "son",
    "sons",
    "brother",
    "brothers",
    "husband",
    "husbands",
    "uncle",
    "uncles",
    "king",
    "kings",
    "prince",
    "duke",
    "actor",
    "waiter",
    "monk",
    "lord",
    "grandfather",
    "mr",
    "sir",
    "grandson",
];

pub fn mark(text: &str, pen: &mut Pen) {
    let mut rest = 0;
    while let Some(start) = text.get(rest..).and_then(|text| text.find(char::is_alphanumeric)).map(|at| rest + at) {
        let after = text.get(start..).unwrap_or_default();
        let end = start + after.find(|sign: char| !sign.is_alphanumeric()).unwrap_or(after.len());
        let word = text.get(start..end).unwrap_or_default().to_lowercase();
        let pronoun = PRONOUNS.iter().position(|known| *known == word);
        if let Some(pronoun) = pronoun {
            next(text, start, pronoun + 1, pen);
        }
        match pronoun {
            // They alternate: she, he, her, him.
            Some(pronoun) => pen.mark(Col::Gender, start, end, if pronoun % 2 == 0 { FEMALE } else { MALE }),
            None if WOMEN.contains(&word.as_str()) => pen.mark(Col::Gender, start, end, FEMALE),
            None if MEN.contains(&word.as_str()) => pen.mark(Col::Gender, start, end, MALE),
            None => {}
        }
        rest = end;
    }
}

/// Marks the last sign before the word at `start`, or the one before the space, where the pronoun is due.
fn next(text: &str, start: usize, pronoun: usize, pen: &mut Pen) {
    let before = text.get(..start).unwrap_or_default();
    let before = before.strip_suffix(' ').unwrap_or(before);
    if let Some((at, sign)) = before.char_indices().next_back() {
        pen.mark(Col::PronounNext, at, at + sign.len_utf8(), pronoun);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::line;

    #[test]
    fn words_and_pronouns_have_a_gender() {
        assert_eq!(line("She saw him; Mrs. Mann", "gender"), "111.....222..111......");
        assert_eq!(line("the other theme", "gender"), "...............");
        assert_eq!(line("Éva: herself", "gender"), ".....1111111");
    }

    #[test]
    fn a_pronoun_is_due_where_the_word_before_it_ends() {
        assert_eq!(line("that he saw her", "pronoun_next"), "...2......3....");
        assert_eq!(line("She (hers) é him", "pronoun_next"), "....5......4....");
        assert_eq!(line("he", "pronoun_next"), "..");
    }
}
