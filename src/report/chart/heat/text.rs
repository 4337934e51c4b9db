//! Heat maps as coloured cells, half blocks where there are many rows, and numbers or shades where there is no colour.

use super::*;
use crate::report::grid_pooling::pooled;
use crate::report::number;
use crate::report::palette::ink_on;
use crate::report::terminal::screen;

const LONGEST_NAME: usize = 20;
const WIDEST: usize = 120;

/// Ways to show cells as characters.
enum Style {
    /// A line for each row, cells this wide with their values inside.
    Numbers(usize),
    /// A line for each row, cells this wide.
    Blocks(usize),
    /// Two rows to a line.
    Halves,
}

pub fn grid(chart: &Chart, heat: &HeatMap, screen: &Screen) -> Result<TextPicture> {
    let grid = &heat.grid;
    let (map, mut notes) = heat.map(Palette::Colour)?;
    let names: Vec<String> = grid.rows.iter().map(|r| screen::fitted(&token(r), LONGEST_NAME)).collect();
    let margin = names.iter().map(|n| screen::width(n)).max().unwrap_or(0).min(screen.width / 3) + 1;
    let room = screen.width.min(WIDEST).saturating_sub(margin).max(8);
    let lines_free = screen.height.saturating_sub(8).max(10);
    let halves = screen.colour && grid.rows.len() > lines_free;
    let (shown, pooling) = pooled(grid, if halves { lines_free * 2 } else { lines_free.max(64) }, room);
    notes.extend(pooling);
    let texts = number::cell_texts(&shown);
    let widest = texts.iter().map(|t| t.len()).max().unwrap_or(1) + 1;
    let style = match room / shown.columns.len().max(1) {
        _ if halves => Style::Halves,
        // With some room to spare, for the names of the columns.
        each if each >= widest => Style::Numbers(each.min(widest + 2)),
        each => Style::Blocks(each.clamp(1, 2)),
    };
    let names: Vec<String> = shown.rows.iter().map(|r| screen::fitted(&token(r), margin - 1)).collect();
    let mut lines = Vec::new();
    if !chart.y.label.is_empty() {
        lines.push(screen.dim(&screen::fitted(&format!("{} ↓", visible(&chart.y.label)), screen.width)));
    }
    let wide = match style {
        Style::Numbers(wide) | Style::Blocks(wide) => wide,
        Style::Halves => 1,
    };
    let rows: Vec<&[f64]> = shown.values.chunks(shown.columns.len()).collect();
    match style {
        Style::Halves => {
            for (i, pair) in rows.chunks(2).enumerate() {
                lines.push(format!("{} {}", screen::right(&names[i * 2], margin - 1), half_blocks(pair, &map, screen)));
            }
        }
        _ => {
            for (i, row) in rows.iter().enumerate() {
                let texts = &texts[i * row.len()..(i + 1) * row.len()];
                let texts = matches!(style, Style::Numbers(_)).then_some(texts);
                lines.push(format!(
                    "{} {}",
                    screen::right(&names[i], margin - 1),
                    cells(row, texts, wide, &map, screen)
                ));
            }
        }
    }
    lines.extend(column_names(&shown.columns, wide, margin, room));
    if !chart.x.label.is_empty() {
        let label = screen::fitted(&visible(&chart.x.label), room.saturating_sub(2));
        lines.push(format!("{}{}", " ".repeat(margin), screen.dim(&format!("{label} →"))));
    }
    lines.extend(bar(grid, margin, wide, &map, screen));
    Ok((lines, notes))
}

/// Writes two rows in one line of half blocks: the upper row as ink, the lower row as ground.
fn half_blocks(pair: &[&[f64]], map: &ColourMap, screen: &Screen) -> String {
    let upper = pair[0];
    let lower = pair.get(1);
    let colour = |value: f64| (!is_missing(value)).then(|| map.colour(value));
    let cell = |(column, value): (usize, &f64)| match (colour(*value), lower.and_then(|lower| colour(lower[column]))) {
        (Some(upper), Some(lower)) => screen.ink_on("▀", upper, lower),
        (Some(upper), None) => screen.ink("▀", upper),
        (None, Some(lower)) => screen.ink("▄", lower),
        (None, None) => " ".into(),
    };
    upper.iter().enumerate().map(cell).collect()
}

fn cells(row: &[f64], texts: Option<&[String]>, wide: usize, map: &ColourMap, screen: &Screen) -> String {
    let cell = |(column, value): (usize, &f64)| {
        let ground = map.colour(*value);
        match texts {
            _ if is_missing(*value) => " ".repeat(wide),
            Some(texts) => {
                screen.ink_on(&format!("{} ", screen::right(&texts[column], wide - 1)), ink_on(ground), ground)
            }
            None if screen.colour => screen.ink_on(&" ".repeat(wide), ink_on(ground), ground),
            None => shade(*value, wide, map),
        }
    };
    row.iter().enumerate().map(cell).collect()
}

/// Shades a cell by the size of its value; where there is room and colours are centred, its sign stands before.
fn shade(value: f64, wide: usize, map: &ColourMap) -> String {
    let shades = [' ', '░', '▒', '▓', '█'];
    if !map.shows(value) {
        return "?".repeat(wide);
    }
    let centred = map.low() < 0.0 && map.high() > 0.0;
    let size = if centred { (map.share(value) - 0.5).abs() * 2.0 } else { map.share(value) };
    let level = (size * 4.0).round() as usize % shades.len();
    let shade = shades[level];
    match wide {
        // No room for a sign: values below zero get shades of their own.
        0 | 1 if centred && value < 0.0 => [' ', '·', '-', '=', '#'][level].to_string(),
        0 | 1 => shade.to_string(),
        _ if !centred || shade == ' ' => shade.to_string().repeat(wide),
        _ => format!("{}{}", if value < 0.0 { '-' } else { '+' }, shade.to_string().repeat(wide - 1)),
    }
}

/// Writes the names of the columns, as far as there is room, since text in a terminal cannot slant.
fn column_names(names: &[String], wide: usize, margin: usize, room: usize) -> Option<String> {
    let longest = names.iter().map(|n| screen::width(&token(n))).max().unwrap_or(0).min(12);
    // In slots of some width a part of every name says more than all of some names.
    let every = if wide >= 5 { 1 } else { (longest + 1).div_ceil(wide).max(1) };
    let slot = every * wide;
    let shown = names.iter().step_by(every).map(|name| {
        let name = screen::fitted(&token(name), slot.saturating_sub(1).max(1));
        if every == 1 && wide > 2 { format!("{} ", screen::right(&name, slot - 1)) } else { screen::left(&name, slot) }
    });
    let line: String = shown.collect();
    Some(format!("{}{}", " ".repeat(margin), screen::fitted(line.trim_end(), room))).filter(|l| !l.trim().is_empty())
}

/// Draws the colours from end to end, with the values there and their quantity: beside them, or below where that is too
/// narrow.
fn bar(grid: &Grid, margin: usize, wide: usize, map: &ColourMap, screen: &Screen) -> Vec<String> {
    let steps = if screen.width < 50 { 8 } else { 20 };
    let value = |step: usize| map.value((step as f64 + 0.5) / steps as f64);
    let colours: String = if screen.colour {
        (0..steps).map(|step| screen.ink("█", map.colour(value(step)))).collect()
    } else {
        (0..steps).step_by(wide.min(2)).map(|step| shade(value(step), wide.min(2), map)).collect()
    };
    let ends = [number::digits(map.low(), 3), number::digits(map.high(), 3)];
    let used = screen::width(&ends[0]) + screen::width(&ends[1]) + steps + 4;
    let margin = margin.min(screen.width.saturating_sub(used));
    let quantity = screen.shortened(&visible(&grid.quantity));
    let bar = format!("{}{} {colours} {}", " ".repeat(margin), ends[0], ends[1]);
    if screen::width(&quantity) <= screen.width.saturating_sub(margin + used) {
        return vec![format!("{bar}  {quantity}")];
    }
    std::iter::once(bar).chain(screen::wrapped(&quantity, screen.width)).collect()
}
