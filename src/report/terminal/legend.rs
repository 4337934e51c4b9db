//! The names of series, each with what stands for it.

use super::screen::{self, Screen};
use crate::report::palette;
use crate::report::symbols::token;

/// What stands for a series where there are no colours.
pub fn letter(index: usize) -> char {
    char::from(b'a' + (index % 26) as u8)
}

/// The names of the series with their keys, in lines that fit.
pub fn legend(names: &[&str], key: impl Fn(usize) -> String, screen: &Screen) -> Vec<String> {
    let mut lines: Vec<(String, usize)> = Vec::new();
    for (index, name) in names.iter().enumerate().filter(|(_, name)| !name.is_empty()) {
        let name = screen::fitted(&token(name), screen.width.saturating_sub(4).min(40));
        let wide = screen::width(&name) + 2;
        let entry = format!("{} {name}", screen.ink(&key(index), palette::series(index)));
        match lines.last_mut() {
            Some((line, used)) if *used + 2 + wide <= screen.width => {
                line.push_str(&format!("  {entry}"));
                *used += 2 + wide;
            }
            _ => lines.push((entry, wide)),
        }
    }
    let hidden = lines.len().saturating_sub(4);
    lines.truncate(4);
    let more = (hidden > 0).then(|| format!("and {hidden} more lines of names"));
    lines.into_iter().map(|(line, _)| line).chain(more).collect()
}
