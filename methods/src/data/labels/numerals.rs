//! Numbers, and those of them that are years.

use super::{Col, Pen};

const YEAR: usize = 1;
const NUMBER: usize = 2;

/// Plausible years. Other numbers of four digits are more likely something else.
const YEARS: std::ops::RangeInclusive<u32> = 1000..=2099;

/// Marks all numbers: every run of digits, with its inner points and commas. A year is a number of four digits that
/// does not follow a name in capitals, as in `RFC 1149`.
pub fn mark(text: &str, pen: &mut Pen) {
    let bytes = text.as_bytes();
    let digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let mut at = 0;
    while at < bytes.len() {
        if !digit(at) {
            at += 1;
            continue;
        }
        let start = at;
        while digit(at) || matches!(bytes.get(at), Some(b'.' | b',')) && digit(at + 1) {
            at += 1;
        }
        let number = text.get(start..at).unwrap_or_default();
        let before = text.get(..start).unwrap_or_default();
        let after = text.get(at..).unwrap_or_default();
        let kind = if is_year(before, number, after) { YEAR } else { NUMBER };
        pen.mark(Col::Numeral, start, at, kind);
    }
}

fn is_year(before: &str, number: &str, after: &str) -> bool {
    let whole = number.len() == 4 && number.parse().is_ok_and(|year: u32| YEARS.contains(&year));
    let joined = |sign: char| sign.is_alphanumeric() || matches!(sign, '_' | '.' | '#' | '$' | '%');
    let decade = after.strip_prefix('s').unwrap_or(after);
    let full_stop = decade.strip_prefix('.').unwrap_or(decade);
    whole && !before.ends_with(joined) && !full_stop.starts_with(joined) && !follows_a_name(before)
}

/// Returns whether the text before ends with a word of two or more capitals and a space or a hyphen.
fn follows_a_name(before: &str) -> bool {
    let Some(before) = before.strip_suffix([' ', '-']) else { return false };
    let mut capitals = before.chars().rev().take_while(|sign| sign.is_alphanumeric()).peekable();
    let all = capitals.by_ref().take(2).filter(|sign| sign.is_uppercase()).count() == 2;
    all && capitals.all(char::is_uppercase)
}

#[cfg(test)]
mod tests {
    use super::super::tests::line;

    #[test]
    fn years_stand_alone() {
        assert_eq!(line("in 1987, 3.5", "numeral"), "...1111..222");
        assert_eq!(line("the 1980s.", "numeral"), "....1111..");
        assert_eq!(line("RFC 1149", "numeral"), "....2222");
        assert_eq!(line("1,987 x1987", "numeral"), "22222..2222");
        assert_eq!(line("$1987", "numeral"), ".2222");
    }
}
