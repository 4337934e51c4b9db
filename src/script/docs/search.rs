//! A search for words in all texts of the reference and of the guide, best first: each with the line where it was found, and
//! how to read on.
//!
//! Texts are ranked by BM25 (Robertson & Zaragoza 2009), times the share of the words that they have: a word counts more the
//! fewer texts have it, and each further time less. Words of a name or of a heading count as several.

use super::guide;
use super::site::unescaped;
use super::{Docs, ReferenceEntry};
use crate::base::order;

/// Number of texts that are shown.
const MOST: usize = 10;

/// Constants k1 and b of BM25, at their usual values: how soon further occurrences of a word add nothing, and how much
/// the length of a text matters.
const SATURATION: f64 = 1.2;
const LENGTH: f64 = 0.75;

/// Weight of an occurrence in a name or a heading, in a summary, in other sentences, and in code and tables.
const IN_TITLE: f64 = 8.0;
const IN_SUMMARY: f64 = 4.0;
const IN_LINE: f64 = 1.0;
const IN_CODE: f64 = 0.5;

/// Share of the best one's score that a text must have.
const WORTH: f64 = 0.3;

/// Letters that a word keeps, at least, when its ending is taken off, one fewer without an `s`; and the endings, of which the
/// first that fits is meant.
const STEM: usize = 5;
const ENDINGS: [&str; 14] =
    ["ations", "ation", "ings", "ing", "ions", "ion", "ies", "ers", "er", "es", "ed", "y", "s", "e"];

/// Words that say nothing of what is searched for.
const EMPTY: [&str; 26] = [
    "a", "an", "and", "are", "as", "at", "can", "do", "does", "for", "how", "i", "in", "is", "it", "my", "of", "on",
    "or", "that", "the", "to", "what", "where", "which", "with",
];

/// A text that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchHit {
    /// Name that shows the whole text: that of an entry, or of a page and a heading of it.
    pub name: String,
    /// The number of the line in its page; an entry has none.
    pub number: Option<usize>,
    /// The line, or the sentence, with the most of what was searched for.
    pub line: String,
}

/// A text that is searched: a function with what is said of it, or what stands below a heading.
struct SearchText {
    name: String,
    title: String,
    /// Lines with their numbers in a page, and how much a word in them counts.
    lines: Vec<(Option<usize>, String, f64)>,
}

/// Finds the texts that have the words, best first. One word of several parts, such as `top-k` or `sae::fitt`, must be
/// there as it is.
pub fn search(docs: &Docs, words: &str) -> Vec<SearchHit> {
    let wanted = stems(words);
    let mut texts: Vec<SearchText> = docs.own().map(of_entry).chain(guide::pages().flat_map(of_page)).collect();
    let name = words.trim().to_lowercase();
    if !name.contains(char::is_whitespace) && parts(&name).nth(1).is_some() {
        let has = |line: &str| line.to_lowercase().contains(&name);
        texts.retain(|text| has(&text.title) || text.lines.iter().any(|(_, line, _)| has(line)));
    }
    // Of each text how often it has each word, and how long it is.
    let counted: Vec<(Vec<f64>, f64)> = texts.iter().map(|text| counted(text, &wanted)).collect();
    let all = texts.len().max(1) as f64;
    let mean = counted.iter().map(|(_, length)| length).sum::<f64>() / all;
    let with = |word: usize| counted.iter().filter(|(counts, _)| counts[word] > 0.0).count() as f64;
    let rare: Vec<f64> =
        (0..wanted.len()).map(|word| (1.0 + (all - with(word) + 0.5) / (with(word) + 0.5)).ln()).collect();
    let score = |(counts, length): &(Vec<f64>, f64)| -> f64 {
        let norm = SATURATION * (1.0 - LENGTH + LENGTH * length / mean);
        let score: f64 = counts.iter().zip(&rare).map(|(count, rare)| rare * count / (count + norm)).sum();
        // One word in a name must not outweigh all of them below it.
        let there: f64 = counts.iter().zip(&rare).filter(|(count, _)| **count > 0.0).map(|(_, rare)| rare).sum();
        score * there / rare.iter().sum::<f64>()
    };
    let mut ranked: Vec<(f64, &SearchText)> =
        counted.iter().map(score).zip(&texts).filter(|(score, _)| *score > 0.0).collect();
    order::sort_descending(&mut ranked, |(score, _)| *score);
    let best = ranked.first().map_or(0.0, |(score, _)| *score);
    let worth = ranked.into_iter().take_while(|(score, _)| *score >= WORTH * best).take(MOST);
    worth.map(|(_, text)| found(text, &wanted, &rare)).collect()
}

/// Lists the parts of words in lower case, without their endings; empty words only where there are no others.
fn stems(words: &str) -> Vec<String> {
    let mut stems: Vec<String> = Vec::new();
    let mut empty: Vec<String> = Vec::new();
    for word in parts(words) {
        let fits = |ending: &&&str| {
            word.ends_with(**ending) && word.len() >= STEM + ending.len() - usize::from(**ending == "s")
        };
        let ending = if word.ends_with("ss") { None } else { ENDINGS.iter().find(fits) };
        let stem = ending.and_then(|ending| word.strip_suffix(ending)).unwrap_or(&word);
        let list = if EMPTY.contains(&stem) { &mut empty } else { &mut stems };
        if !list.iter().any(|known| known == stem) {
            list.push(stem.into());
        }
    }
    if stems.is_empty() { empty } else { stems }
}

fn parts(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_lowercase)
}

/// Returns whether a word of a text is meant by a stem: that with another ending; a short one with an `s` at most.
fn is_meant(word: &str, stem: &str) -> bool {
    word.strip_prefix(stem).is_some_and(|ending| match ending {
        "" | "s" => true,
        ending => stem.len() >= STEM && ENDINGS.contains(&ending),
    })
}

/// Counts how often a text has each word, weighted by the place, and how many words it has.
fn counted(text: &SearchText, wanted: &[String]) -> (Vec<f64>, f64) {
    let mut counts = vec![0.0; wanted.len()];
    let mut length = 0.0;
    let lines = text.lines.iter().map(|(_, line, weight)| (line, *weight));
    for (line, weight) in lines.chain([(&text.title, IN_TITLE)]) {
        for word in parts(line) {
            length += 1.0;
            for (count, stem) in counts.iter_mut().zip(wanted) {
                *count += if is_meant(&word, stem) { weight } else { 0.0 };
            }
        }
    }
    (counts, length)
}

/// Finds the first line with the most of the words; of an entry that has them only in its name, the first.
fn found(text: &SearchText, wanted: &[String], rare: &[f64]) -> SearchHit {
    let worth = |line: &str| -> f64 {
        let has = |stem: &String| parts(line).any(|word| is_meant(&word, stem));
        wanted.iter().zip(rare).filter(|(stem, _)| has(stem)).map(|(_, rare)| rare).sum()
    };
    let said = || text.lines.iter().filter(|(_, line, _)| !line.trim().is_empty());
    let mut best = said().next().map(|first| (0.0, first));
    for line in said() {
        let worth = worth(&line.1);
        if best.is_none_or(|(most, _)| worth > most) {
            best = Some((worth, line));
        }
    }
    let (number, line) =
        best.map_or((None, String::new()), |(_, (number, line, _))| (*number, line.trim().to_string()));
    SearchHit { name: text.name.clone(), number, line }
}

fn of_entry(entry: &ReferenceEntry) -> SearchText {
    let doc = &entry.doc;
    let mut lines: Vec<(Option<usize>, String, f64)> = sentences(&doc.summary, IN_SUMMARY).collect();
    lines.extend(doc.body.lines().flat_map(|line| sentences(line, IN_LINE)));
    let options = doc.options.iter().map(|option| format!("{}: {}", option.key, option.meaning));
    lines.extend(options.map(|option| (None, unescaped(&option), IN_LINE)));
    lines.extend(doc.example.lines().map(|line| (None, line.to_string(), IN_CODE)));
    SearchText { name: entry.path(), title: entry.path(), lines }
}

/// Splits a paragraph into its sentences.
fn sentences(text: &str, weight: f64) -> impl Iterator<Item = (Option<usize>, String, f64)> {
    text.split_inclusive(". ").map(move |sentence| (None, unescaped(sentence.trim()), weight))
}

fn of_page(page: guide::GuidePage) -> Vec<SearchText> {
    let name = guide::name_of(page.path);
    let part = |part: guide::GuideSection| {
        let place = if part.anchor.is_empty() { String::new() } else { format!("#{}", part.anchor) };
        let line = |(number, line): (usize, String)| {
            let weight = if line.starts_with(['|', ' ']) { IN_CODE } else { IN_LINE };
            (Some(number), line, weight)
        };
        let lines = part.lines.into_iter().filter(|(_, line)| !line.starts_with("![")).map(line).collect();
        SearchText { name: format!("{name}{place}"), title: part.heading, lines }
    };
    guide::parts(page.text).into_iter().map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::docs::{Overload, Role, parse};

    fn docs(entries: &[(&str, &str)]) -> Docs {
        let entry = |(name, comment): &(&str, &str)| ReferenceEntry {
            module: "hooks".into(),
            role: Role::Function,
            receiver: String::new(),
            name: (*name).into(),
            overloads: vec![Overload { parameters: Vec::new(), returns: "Hook".into() }],
            doc: parse(comment),
            builtin: false,
            scripted: false,
        };
        Docs::of_entries(entries.iter().map(entry).collect())
    }

    fn names(docs: &Docs, words: &str) -> Vec<String> {
        search(docs, words).into_iter().map(|found| found.name).collect()
    }

    #[test]
    fn the_text_that_says_most_comes_first_with_its_line() {
        let docs = docs(&[
            ("add", "/// Adds a vector.\n///\n/// The vector may be a feature."),
            ("zero", "/// Ablates features. Their codes become zero.\n///\n/// Nothing else changes."),
            ("scale", "/// Scales what a site holds."),
        ]);
        let found = search(&docs, "ablating a feature");
        assert_eq!(found[0], SearchHit { name: "hooks::zero".into(), number: None, line: "Ablates features.".into() });
        assert_eq!(names(&docs, "Scaled sites"), ["hooks::scale"]);
        assert_eq!(search(&docs, "codes")[0].line, "Their codes become zero.");
        assert_eq!(names(&docs, "code"), names(&docs, "What is a code?"));
        assert_eq!(names(&docs, "hooks add")[0], "hooks::add");
    }

    #[test]
    fn a_word_of_several_parts_must_be_there_as_it_is_and_short_ones_whole() {
        let docs = docs(&[("add", "/// Adds a vector to what is added."), ("zero", "/// Zero.")]);
        assert_eq!(names(&docs, "hooks::zeroo"), Vec::<String>::new());
        assert_eq!(names(&docs, "hooks::zero"), ["hooks::zero"]);
        assert_eq!(names(&docs, "added_vector_to"), Vec::<String>::new());
        assert_eq!(names(&docs, "ad"), Vec::<String>::new());
        assert_eq!(names(&docs, "::"), Vec::<String>::new());
        assert_eq!(names(&docs, ""), Vec::<String>::new());
    }
}
