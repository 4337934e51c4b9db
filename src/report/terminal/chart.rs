//! A chart as text, or as a picture where the terminal can show one.

use super::screen::{self, Screen};
use super::{bars, heat, histogram, inline, plot};
use crate::base::Result;
use crate::report::chart::{Chart, Content};
use crate::report::palette;
use crate::report::symbols::{token, visible};

/// The chart for this screen, ending in a line end.
pub fn chart(chart: &Chart, screen: &Screen) -> Result<String> {
    chart.check()?;
    if let Some(picture) = inline::picture(chart, screen)? {
        return Ok(picture);
    }
    let (body, notes) = match &chart.content {
        Content::Line { series } | Content::Scatter { series } => plot::points(chart, series, screen)?,
        Content::Bar { categories, series } => bars::bars(chart, categories, series, screen)?,
        Content::Histogram { edges, series } => histogram::counts(chart, edges, series, screen)?,
        Content::Heat { grid, colours } => heat::grid(chart, grid, colours, screen)?,
    };
    let mut out = Vec::new();
    out.extend(screen::wrapped(&visible(&chart.title), screen.width).iter().map(|line| screen.bold(line)));
    out.extend(body);
    out.extend(notes.iter().flat_map(|note| screen::wrapped(note, screen.width)).map(|line| screen.dim(&line)));
    let trimmed: Vec<&str> = out.iter().map(|line| line.trim_end()).collect();
    Ok(trimmed.join("\n") + "\n")
}

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
