//! Suggestions of the nearest correct name.

/// Length beyond which a text is no name that somebody mistyped; comparing two takes time and memory by the product of
/// their lengths.
const LONGEST: usize = 200;

/// Number of names that are read at a glance.
const FEW: usize = 4;

/// Returns the candidate nearest to `name`, if one is near enough to be a typo.
///
/// Nearness is the Damerau-Levenshtein distance, and "near" a third of the name's length; a candidate that the name
/// begins, that is one of its words, or that differs only in case or underscores, is near too. Texts of more than 200
/// characters are not compared.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let is_short = |text: &str| text.chars().nth(LONGEST).is_none();
    if !is_short(name) {
        return None;
    }
    let wanted = plain(name);
    let length = wanted.chars().count();
    // A name of one letter would be near to every name.
    let limit = if length < 2 { 0 } else { (length / 3).max(1) };
    candidates
        .into_iter()
        .filter(|candidate| *candidate != name && is_short(candidate))
        .filter_map(|candidate| {
            let other = plain(candidate);
            let distance = strsim::damerau_levenshtein(&wanted, &other);
            let begins =
                wanted.len() >= 3 && (other.starts_with(&wanted) || wanted.starts_with(&other) && other.len() >= 3);
            let is_word = candidate.len() >= 4 && name.split('_').any(|word| word == candidate);
            (distance <= limit || begins || is_word).then_some((distance, candidate))
        })
        .min_by_key(|(distance, candidate)| (*distance, candidate.len(), *candidate))
        .map(|(_, candidate)| candidate)
}

/// Number of letters by which a name is a slip of another.
const SLIP: usize = 2;

/// Returns whether a name is another one but for at most two letters that are wrong, missing, too many or exchanged, its case,
/// and its underscores and hyphens.
pub fn is_slip(name: &str, of: &str) -> bool {
    let is_short = |text: &str| text.chars().nth(LONGEST).is_none();
    is_short(name) && is_short(of) && strsim::damerau_levenshtein(&plain(name), &plain(of)) <= SLIP
}

/// Returns a name without what people write in one way or another.
fn plain(name: &str) -> String {
    name.to_lowercase().replace(['_', '-', ' '], "")
}

/// Suggests "did you mean `lr`?" where some candidate is near, all that `name` is the first word of if these are a few,
/// else the list of all candidates when it is short.
pub fn suggestion<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str> + Clone) -> Option<String> {
    let mut longer: Vec<&str> = candidates.clone().into_iter().filter(|other| is_first_word(name, other)).collect();
    longer.sort_unstable();
    longer.dedup();
    if let [most @ .., last] = &longer[..]
        && (1..FEW).contains(&most.len())
    {
        return Some(format!("did you mean `{}` or `{last}`?", most.join("`, `")));
    }
    if let Some(near) = nearest(name, candidates.clone()) {
        return Some(format!("did you mean `{near}`?"));
    }
    let mut all: Vec<&str> = candidates.into_iter().collect();
    all.sort_unstable();
    all.dedup();
    match all.len() {
        1..=12 => Some(format!("expected one of {}", all.join(", "))).filter(|text| text.len() <= 12 * LONGEST),
        _ => None,
    }
}

fn is_first_word(name: &str, of: &str) -> bool {
    !name.is_empty() && of.strip_prefix(name).is_some_and(|rest| rest.starts_with('_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_a_letter_or_two() {
        for name in ["gpt2-small-res-jbb", "gpt2_small_res_jb", "gpt2-small-re-jb", "GPT2-small-res-bj"] {
            assert!(is_slip(name, "gpt2-small-res-jb"), "{name}");
        }
        for name in ["gpt2-small-saes", "gpt2-small", "gpt2-small-res-jb-new"] {
            assert!(!is_slip(name, "gpt2-small-res-jb"), "{name}");
        }
    }

    #[test]
    fn a_slip_is_answered_and_a_stranger_is_not() {
        assert_eq!(nearest("sofmax", ["softmax", "log_softmax", "sum"]), Some("softmax"));
        assert_eq!(nearest("argMax", ["argmin", "argmax"]), Some("argmax"));
        assert_eq!(nearest("temperatur", ["temperature", "top_k"]), Some("temperature"));
        assert_eq!(nearest("banana", ["softmax", "sum"]), None);
        assert_eq!(nearest("max_new_tokens", ["temperature", "tokens"]), Some("tokens"));
        assert_eq!(nearest("max_new_of", ["of", "tokens"]), None);
    }

    #[test]
    fn long_texts_are_not_compared() {
        // Compared, these would take ten billion steps, and as many numbers.
        let long = "xy".repeat(50_000);
        let other = "xy".repeat(50_001);
        assert_eq!(nearest(&long, [other.as_str(), "softmax"]), None);
        assert_eq!(nearest("sofmax", [other.as_str(), "softmax"]), Some("softmax"));
        assert_eq!(suggestion(&long, [other.as_str(), "softmax"]), None);
    }

    #[test]
    fn short_lists_are_shown_whole() {
        assert_eq!(suggestion("zzz", ["b", "a"]).unwrap(), "expected one of a, b");
        assert_eq!(suggestion("stesp", ["steps", "lr"]).unwrap(), "did you mean `steps`?");
    }

    #[test]
    fn a_first_word_stands_for_all_that_it_begins() {
        let sites = ["attn_out", "attn_in", "mlp_in", "attn_post_scale"];
        let all = "did you mean `attn_in`, `attn_out` or `attn_post_scale`?";
        assert_eq!(suggestion("attn", sites).unwrap(), all);
        assert_eq!(suggestion("mlp", sites).unwrap(), "did you mean `mlp_in`?");
        let five = ["x_a", "x_b", "x_c", "x_d", "x_e"];
        assert_eq!(suggestion("x", five).unwrap(), "expected one of x_a, x_b, x_c, x_d, x_e");
    }
}
