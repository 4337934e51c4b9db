//! The results of a session by their numbers, and pages of what is long.

use std::collections::VecDeque;
use std::time::Duration;

use serde_json::{Value, json};

use super::output::ValueData;
use crate::common::*;
use crate::report::visible_text::elided;

/// Number of results that are kept whatever their size, and the number of bytes up to which more are.
const KEPT: usize = 100;
const MOST_BYTES: usize = 256 << 20;

/// Number of results that are kept at most.
const MOST: usize = 10_000;

/// Bytes of a page.
pub const PAGE: usize = 6_000;

/// The result of one call.
pub struct CallResult {
    pub number: usize,
    pub code: String,
    /// Printed, shown and answered text, and the error as it is drawn.
    pub text: String,
    /// The error as data.
    pub error: Option<Value>,
    pub value: Option<ValueData>,
    pub pictures: Vec<Vec<u8>>,
    pub took: Duration,
}

impl CallResult {
    fn bytes(&self) -> usize {
        let data = self.value.as_ref().and_then(|value| value.json.as_ref()).map_or(0, String::len);
        let pictures: usize = self.pictures.iter().map(Vec::len).sum();
        self.code.len() + self.text.len() + data + pictures
    }

    /// Describes the result on a line.
    pub fn line(&self) -> String {
        let code = elided(self.code.trim().lines().next().unwrap_or_default(), 60);
        let outcome = match (&self.error, &self.value) {
            (Some(error), _) => format!("error: {}", elided(error["message"].as_str().unwrap_or_default(), 60)),
            (None, Some(value)) => value.kind.clone(),
            (None, None) => "no value".into(),
        };
        format!("{}  {code}  -> {outcome}, {} bytes, {:.1} s", self.number, self.text.len(), self.took.as_secs_f64())
    }
}

/// Results of a session, the newest ones whole.
#[derive(Default)]
pub struct Results {
    kept: VecDeque<Arc<CallResult>>,
    count: usize,
    bytes: usize,
}

impl Results {
    /// Returns the number of the next result.
    pub fn next(&self) -> usize {
        self.count + 1
    }

    pub fn add(&mut self, result: Arc<CallResult>) {
        self.count = result.number;
        self.bytes += result.bytes();
        self.kept.push_back(result);
        while self.kept.len() > MOST || self.kept.len() > KEPT && self.bytes > MOST_BYTES {
            let oldest = self.kept.pop_front();
            self.bytes -= oldest.map_or(0, |oldest| oldest.bytes());
        }
    }

    pub fn all(&self) -> impl DoubleEndedIterator<Item = &Arc<CallResult>> {
        self.kept.iter()
    }

    /// Returns a result by its number.
    pub fn get(&self, number: usize) -> Result<Arc<CallResult>> {
        let found = self.kept.iter().find(|result| result.number == number);
        found.cloned().ok_or_else(|| {
            let range = match (self.kept.front(), self.kept.back()) {
                (Some(first), Some(last)) => format!("results {} to {} are kept", first.number, last.number),
                _ => "there are no results yet".into(),
            };
            err!(Argument, "there is no result {number}").hint(range)
        })
    }
}

/// A piece of a long text.
pub struct Page {
    pub text: String,
    pub number: usize,
    pub count: usize,
}

impl Page {
    /// Returns where the piece stands, for a reply.
    pub fn place(&self) -> Value {
        json!({ "page": self.number, "pages": self.count })
    }
}

/// Cuts a text into pages of at most so many bytes of JSON, at the ends of lines where there are such.
pub fn pages(text: &str, bytes: usize) -> Vec<&str> {
    let mut pages = Vec::new();
    let mut rest = text;
    loop {
        let fits = fitting(rest, bytes);
        if fits == rest.len() {
            pages.push(rest);
            return pages;
        }
        let line = rest[..fits].rfind('\n').map(|end| end + 1).filter(|end| *end > fits / 2);
        let (page, after) = rest.split_at(line.unwrap_or(fits));
        pages.push(page);
        rest = after;
    }
}

/// Returns how many bytes of a text take at most so many bytes of JSON.
pub fn fitting(text: &str, bytes: usize) -> usize {
    let mut taken = 0;
    for (at, letter) in text.char_indices() {
        taken += match letter {
            '"' | '\\' | '\n' | '\r' | '\t' => 2,
            letter if (letter as u32) < 0x20 => 6,
            letter => letter.len_utf8(),
        };
        if taken > bytes {
            return at;
        }
    }
    text.len()
}

/// Returns a page of a text by its number, from 1.
pub fn page(text: &str, number: Option<usize>) -> Result<Page> {
    let all = pages(text, PAGE);
    let number = number.unwrap_or(1);
    let found = number.checked_sub(1).and_then(|index| all.get(index));
    let text = found
        .ok_or_else(|| err!(Argument, "there is no page {number}").hint(format!("its pages are 1 to {}", all.len())))?;
    Ok(Page { text: text.to_string(), number, count: all.len() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(number: usize, bytes: usize) -> Arc<CallResult> {
        let text = "x".repeat(bytes);
        let value = None;
        Arc::new(CallResult {
            number,
            code: String::new(),
            text,
            error: None,
            value,
            pictures: Vec::new(),
            took: Duration::ZERO,
        })
    }

    #[test]
    fn a_hundred_results_are_kept_whatever_their_size() {
        let mut results = Results::default();
        for number in 1..=150 {
            assert_eq!(results.next(), number);
            results.add(result(number, 4 << 20));
        }
        assert!(results.get(50).is_err() && results.get(51).is_ok() && results.get(150).is_ok());
        assert_eq!(results.get(1).err().unwrap().hint.unwrap(), "results 51 to 150 are kept");
        let mut small = Results::default();
        (1..=1000).for_each(|number| small.add(result(number, 10)));
        assert!(small.get(1).is_ok());
    }

    #[test]
    fn pages_are_the_text_in_pieces() {
        for (text, bytes) in [("", 4), ("abc", 4), ("a\nb\nc\n", 4), ("ääää", 3), ("\u{1}\u{1}", 6), ("\"\"\"", 2)]
        {
            let all = pages(text, bytes);
            assert_eq!(all.concat(), text);
            assert!(all.iter().all(|page| fitting(page, bytes) == page.len()), "{all:?}");
        }
        assert_eq!(pages("first\nsecond\n", 9), ["first\n", "second\n"]);
        assert_eq!(page("abc", Some(2)).err().unwrap().hint.unwrap(), "its pages are 1 to 1");
    }
}
