//! Bars as lines of blocks, each with its name and its value.

use super::legend::legend;
use super::plot::{Body, mark_notes};
use super::screen::{self, Screen};
use crate::base::Result;
use crate::report::chart::{Bars, Chart, View};
use crate::report::number;
use crate::report::palette;
use crate::report::symbols::{count, token};

/// What fills the bars of a series where there are no colours.
const FILLINGS: [&str; 4] = ["█", "▒", "▓", "░"];

const LONGEST_NAME: usize = 24;
const WIDEST: usize = 100;

pub fn bars(chart: &Chart, categories: &[String], series: &[Bars], screen: &Screen) -> Result<Body> {
    let mut view = chart.view()?;
    let filling = |index: usize| if screen.colour { "█" } else { FILLINGS[index % FILLINGS.len()] };
    let names: Vec<&str> = series.iter().map(|s| s.name.as_str()).collect();
    let mut lines = if chart.legend { legend(&names, |i| filling(i).into(), screen) } else { Vec::new() };
    let most = (screen.height.max(24) * 2 / series.len()).max(1);
    // Intervals only where they leave as much room for the bars.
    let narrow = screen.width < 60;
    let values: Vec<Vec<String>> = series.iter().map(|s| values(s, !narrow)).collect();
    let labels: Vec<String> = categories.iter().take(most).map(|c| screen::fitted(&token(c), LONGEST_NAME)).collect();
    let label_room = labels.iter().map(|l| screen::width(l)).max().unwrap_or(0).min(screen.width / 3);
    let value_room = values.iter().flatten().map(|v| screen::width(v)).max().unwrap_or(0);
    let room = screen.width.min(WIDEST).saturating_sub(label_room + value_room + 3).max(4);
    for (category, label) in labels.iter().enumerate() {
        for (index, s) in series.iter().enumerate() {
            let label = screen::fitted(if index == 0 { label } else { "" }, label_room);
            let bar = bar(&view, s.values[category], room, filling(index));
            let bar = screen.ink(&bar, palette::series(index));
            lines.push(format!("{} {bar} {}", screen::right(&label, label_room), values[index][category]));
        }
    }
    if categories.len() > most {
        lines.push(format!("… and {}", count(categories.len() - most, "more bar")));
    }
    if !chart.y.label.is_empty() {
        lines.push(screen.dim(&screen::fitted(&token(&chart.y.label), screen.width)));
    }
    view.notes.extend(mark_notes(&chart.marks));
    Ok((lines, view.notes))
}

/// The values as text, and the ends of their intervals if they are wanted.
fn values(s: &Bars, intervals: bool) -> Vec<String> {
    let ends = |i: usize| match s.spread.as_ref().filter(|_| intervals) {
        Some(spread) => format!(" [{}, {}]", number::digits(spread.low[i], 3), number::digits(spread.high[i], 3)),
        None => String::new(),
    };
    s.values.iter().enumerate().map(|(i, value)| format!("{}{}", number::digits(*value, 4), ends(i))).collect()
}

/// The bar from the zero of the axis to the value, padded to `room` columns.
fn bar(view: &View, value: f64, room: usize, filling: &str) -> String {
    let scale = &view.y;
    if !scale.shows(value) {
        return " ".repeat(room);
    }
    let share = |v: f64| scale.share(v).clamp(0.0, 1.0) * room as f64;
    let base = if scale.log { 0.0 } else { share(0.0) };
    let (from, to) = (base.min(share(value)), base.max(share(value)));
    let start = from.round() as usize;
    let eighths = ((to - from.round()).max(0.0) * 8.0).round() as usize;
    // Eighths only where a bar grows to the right in full blocks; the others end on whole characters.
    let (whole, rest) =
        if filling == "█" && value >= 0.0 { (eighths / 8, eighths % 8) } else { ((eighths + 4) / 8, 0) };
    let end = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"][rest];
    screen::left(&format!("{}{}{end}", " ".repeat(start), filling.repeat(whole)), room)
}
