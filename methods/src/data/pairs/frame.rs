//! Helpers for prompts of both styles: random draws, answers, and removing a bracket from a text.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;

use super::Pair;

/// Returns a random number below `count`, the same on every machine; 0 if `count` is 0.
pub fn below(rng: &mut ChaCha8Rng, count: usize) -> usize {
    ((u64::from(rng.next_u32()) * count as u64) >> 32) as usize
}

/// Returns a random entry of a list; the default of an empty one.
pub fn pick<T: Copy + Default>(rng: &mut ChaCha8Rng, list: &[T]) -> T {
    list.get(below(rng, list.len())).copied().unwrap_or_default()
}

/// Returns a random entry of a list, with its number; none of an empty one.
pub fn numbered<T: Copy>(rng: &mut ChaCha8Rng, list: &[T]) -> Option<(usize, T)> {
    let at = below(rng, list.len());
    Some((at, *list.get(at)?))
}

/// Returns words as answers, with a leading space.
pub fn spaced<S: AsRef<str>>(words: &[S]) -> Vec<String> {
    words.iter().map(|word| [" ", word.as_ref()].concat()).collect()
}

/// Fills the slots of a template, `{a}` with the text of `a`; an "a" before a vowel becomes "an".
pub fn filled(template: &str, slots: &[(&str, &str)]) -> String {
    let mut text = String::new();
    let mut rest = template;
    while let Some((before, behind)) = rest.split_once('{') {
        let (name, behind) = behind.split_once('}').unwrap_or((behind, ""));
        let word = slots.iter().find(|slot| slot.0 == name).map(|slot| slot.1).unwrap_or_default();
        text.push_str(before);
        let article = text.ends_with(" a ") || text == "a " || text == "A ";
        if article && word.starts_with(['a', 'e', 'i', 'o', 'u', 'A', 'E', 'I', 'O', 'U']) {
            text.pop();
            text.push_str("n ");
        }
        text.push_str(word);
        rest = behind;
    }
    text.push_str(rest);
    text
}

/// Returns the years of a century after one of them, and the other years, by their last two digits.
pub fn years_about(from: usize) -> (Vec<String>, Vec<String>) {
    let digits = |year: usize| [year / 10, year % 10].map(|digit| digit.to_string()).concat();
    ((from + 1..100).map(digits).collect(), (0..=from).map(digits).collect())
}

/// Builds the pair of a prompt that ends where its innermost parenthesis closes. In prose the corrupt one has a comma
/// in place of the opening, as a remark may stand without parentheses; in code it has a bracket of another kind.
pub fn without_parenthesis(prompt: &str, kind: &'static str) -> Option<Pair> {
    let open = innermost(prompt)?;
    let before = prompt.get(..open)?;
    let behind = prompt.get(open + 1..)?;
    let (corrupt, wrong) = match before.strip_suffix(' ') {
        Some(host) => ([host, ", ", behind].concat(), vec![",".into(), ".".into()]),
        None => ([before, "[", behind].concat(), vec!["]".into()]),
    };
    Some(Pair { clean: prompt.into(), corrupt, answers: vec![")".into()], wrong, kind, template: None })
}

/// Returns the place of the last open parenthesis.
fn innermost(text: &str) -> Option<usize> {
    let mut open = Vec::new();
    for (at, sign) in text.char_indices() {
        match sign {
            '(' => open.push(at),
            ')' => open.truncate(open.len().saturating_sub(1)),
            _ => {}
        }
    }
    open.pop()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parenthesis_is_taken_out_of_prose_and_of_code() {
        let pair = without_parenthesis("The Star Fund (SF) met Ann Bell (1812-1870", "span").unwrap();
        assert_eq!(pair.corrupt, "The Star Fund (SF) met Ann Bell, 1812-1870");
        let pair = without_parenthesis("x = print(max(a, b", "call").unwrap();
        assert_eq!((pair.corrupt.as_str(), pair.wrong.as_slice()), ("x = print(max[a, b", &["]".to_string()][..]));
        assert_eq!(without_parenthesis("f(x)", "call"), None);
    }

    #[test]
    fn slots_take_their_article() {
        assert_eq!(filled("a {x} and a {y}", &[("x", "apple"), ("y", "pear")]), "an apple and a pear");
    }

    #[test]
    fn years_split_at_the_first_one() {
        let (later, others) = years_about(97);
        assert_eq!(later, ["98", "99"]);
        assert_eq!((others.len(), others[3].as_str()), (98, "03"));
    }
}
