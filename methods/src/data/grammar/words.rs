//! The forms of words: plurals, articles, initials.

/// Nouns with irregular plurals.
const IRREGULAR: [(&str, &str); 12] = [
    ("woman", "women"),
    ("man", "men"),
    ("child", "children"),
    ("knife", "knives"),
    ("shelf", "shelves"),
    ("goose", "geese"),
    ("fisherman", "fishermen"),
    ("foot", "feet"),
    ("wife", "wives"),
    ("leaf", "leaves"),
    ("thief", "thieves"),
    ("gentleman", "gentlemen"),
];

/// Beginnings of words whose spelling does not show whether they are spoken with a vowel, and whether they are.
const SPOKEN: [(&str, bool); 12] = [
    ("hour", true),
    ("honest", true),
    ("heir", true),
    ("use", false),
    ("uni", false),
    ("euro", false),
    ("one", false),
    ("once", false),
    ("ukr", false),
    ("usual", false),
    ("ewe", false),
    ("ubi", false),
];

/// Returns whether a text takes "an" as its article.
pub fn begins_with_vowel(text: &str) -> bool {
    let bytes = text.as_bytes();
    let begins = |start: &str| bytes.get(..start.len()).is_some_and(|head| head.eq_ignore_ascii_case(start.as_bytes()));
    match SPOKEN.iter().find(|(start, _)| begins(start)) {
        Some((_, vowel)) => *vowel,
        None => bytes.first().is_some_and(|first| b"aeiouAEIOU".contains(first)),
    }
}

/// Returns the plural of a noun.
pub fn plural(noun: &str) -> String {
    if let Some((_, many)) = IRREGULAR.iter().find(|(one, _)| *one == noun) {
        return (*many).into();
    }
    let mut many = String::with_capacity(noun.len() + 2);
    let before_last = noun.len().checked_sub(2).and_then(|at| noun.as_bytes().get(at));
    match noun.as_bytes().last() {
        Some(b'y') if !before_last.is_some_and(|c| b"aeiou".contains(c)) => {
            many.push_str(noun.strip_suffix('y').unwrap_or(noun));
            many.push_str("ies");
        }
        Some(b's' | b'x' | b'z') => many.extend([noun, "es"]),
        Some(b'h') if before_last.is_some_and(|c| b"cs".contains(c)) => many.extend([noun, "es"]),
        _ => many.extend([noun, "s"]),
    }
    many
}

/// Returns the initials of the capitalised words.
pub fn initials(phrase: &str) -> String {
    phrase.split(' ').filter_map(|word| word.chars().next()).filter(char::is_ascii_uppercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plurals_follow_the_rules_or_the_list() {
        let many = ["key", "baby", "box", "dish", "coach", "month", "knife", "glass", "toy", "man"].map(plural);
        assert_eq!(
            many,
            ["keys", "babies", "boxes", "dishes", "coaches", "months", "knives", "glasses", "toys", "men"]
        );
    }

    #[test]
    fn an_article_goes_by_the_ear() {
        let an = ["apple", "hour", "old", "Umbrella", "engine"].map(begins_with_vowel);
        assert_eq!(an, [true; 5]);
        let a = ["useful", "uniform", "European", "horse", "one", ""].map(begins_with_vowel);
        assert_eq!(a, [false; 6]);
    }

    #[test]
    fn initials_are_those_of_capitalised_words() {
        assert_eq!(initials("Bureau of Harbor Affairs"), "BHA");
    }
}
