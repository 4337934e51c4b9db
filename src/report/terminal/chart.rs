//! A chart as text, or as a picture where the terminal can show one.

use super::screen::{self, Screen};
use super::{bars, heat, histogram, inline, plot};
use crate::base::Result;
use crate::report::chart::{Chart, Content};
use crate::report::symbols::visible;

/// The chart for this screen, ending in a line end.
pub fn chart(chart: &Chart, screen: &Screen) -> Result<String> {
    chart.check()?;
    if let Some(picture) = inline::picture(chart, screen)? {
        return Ok(picture);
    }
    let (body, notes) = match &*chart.content {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Grid;
    use crate::base::results::MISSING;
    use crate::report::chart::*;

    /// The chart on a small screen without colours, which starts on a line of its own to be read more easily.
    fn drawn(chart: &Chart) -> String {
        let screen = Screen { width: 40, height: 12, ..Screen::default() };
        format!("\n{}", super::chart(chart, &screen).unwrap())
    }

    fn series(name: &str, y: &[f64]) -> Series {
        let x = (0..y.len()).map(|i| i as f64).collect();
        Series { name: name.into(), x, y: y.to_vec(), ..Series::default() }
    }

    #[test]
    fn lines_have_gaps_and_annotations() {
        let mut chart = Chart::line(vec![series("loss", &[3.0, 1.0, f64::NAN, 1.0])]).titled("Loss");
        chart.x.label = "step".into();
        chart.marks = vec![Mark::Horizontal { at: 2.0, text: "target".into() }];
        assert_eq!(
            drawn(&chart),
            "
Loss
● loss
3 ┤ ⠐⠢⡀
  │   ⠈⠒⢄
2 ┤╌╌╌╌╌╌⠑⢄⡀╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌
  │        ⠈⠢⢄
1 ┤           ⠑⠤                      ⠄
  └─┬──────────┬───────────┬──────────┬─
    0          1           2          3
                   step
1 point is NaN or infinite and left out.
╌ 2: target
"
        );
    }

    #[test]
    fn points_of_several_groups_are_letters_where_there_is_no_colour() {
        let chart = Chart::scatter(vec![series("first", &[1.0, 2.0, 3.0]), series("second", &[3.0, 2.5])]);
        assert_eq!(
            drawn(&chart),
            "
a first  b second
3 ┤ b                                 a
  │                  b
  │
2 ┤                  a
  │
1 ┤ a
  └─┬───────┬────────┬────────┬───────┬─
   0.0     0.5      1.0      1.5     2.0
"
        );
    }

    #[test]
    fn bars_grow_both_ways_from_zero() {
        let bars = Bars { values: vec![1.0, -0.5, f64::NAN, MISSING], ..Bars::default() };
        let chart = Chart::bar(vec![" the".into(), "\n".into(), ")".into(), "(".into()], vec![bars]);
        assert_eq!(
            drawn(&chart),
            "
␣the           █████████████████▌  1
   ↵   ████████                    -0.5
   )                               NaN
   (                               –
1 value is NaN or infinite and left out.
"
        );
    }

    #[test]
    fn histograms_stand_in_columns() {
        let bins = BinOptions { bins: Some(3), ..BinOptions::default() };
        let chart = binned(vec![(String::new(), vec![0.0, 1.0, 1.0, 2.0, 2.0, 2.0, 3.0])], &bins).unwrap();
        assert_eq!(
            drawn(&chart),
            "
count
4 ┤                         ▅▅▅▅▅▅▅▅▅▅▅▅
  │                         ████████████
  │                         ████████████
2 ┤            ▇▇▇▇▇▇▇▇▇▇▇▇▇████████████
  │▃▃▃▃▃▃▃▃▃▃▃▃█████████████████████████
0 ┤█████████████████████████████████████
  └┬───────────┬───────────┬───────────┬
   0           1           2           3
"
        );
    }

    #[test]
    fn heat_maps_are_numbers_or_shades_where_there_is_no_colour() {
        let grid = Grid {
            title: "Patching".into(),
            rows: vec!["0".into(), "1".into()],
            columns: vec![" the".into(), " cat".into()],
            quantity: "effect".into(),
            values: vec![0.5, -1.0, 0.25, f64::NAN],
            ..Grid::default()
        };
        assert_eq!(
            drawn(&Chart::heat(grid.clone())),
            "
Patching
0    0.50   -1.00
1    0.25
     ␣the    ␣cat
  -1 -█-▒+░+▓ 1  effect
1 cell is NaN or infinite (grey).
"
        );
        let quantity = "effect on the logit difference of the answers".into();
        let missing = Grid { quantity, values: vec![0.5, -1.0, 0.25, MISSING], ..grid };
        assert_eq!(
            drawn(&Chart::heat(missing)),
            "
Patching
0    0.50   -1.00
1    0.25
     ␣the    ␣cat
  -1 -█-▒+░+▓ 1
effect on the logit difference of the
answers
"
        );
        let names: Vec<String> = ["the", "committee", "met"].map(String::from).into();
        let values = vec![1.0, 0.0, 0.0, 0.25, 0.75, 0.0, 0.0, 0.5, 0.5];
        let pattern = drawn(&Chart::heat(Grid { rows: names.clone(), columns: names, values, ..Grid::default() }));
        let numbers: Vec<Vec<&str>> =
            pattern.lines().skip(1).take(3).map(|line| line.split_whitespace().skip(1).collect()).collect();
        assert_eq!(numbers, [vec!["1.00"], vec!["0.25", "0.75"], vec!["0.00", "0.50", "0.50"]]);
        let wide = Grid {
            rows: vec!["0".into()],
            columns: (0..30).map(|i| i.to_string()).collect(),
            values: (0..30).map(|i| f64::from(i) - 15.0).collect(),
            ..Grid::default()
        };
        assert_eq!(
            drawn(&Chart::heat(wide)),
            "
0 ##====----····   ░░░░▒▒▒▒▓▓▓▓█
  0  3  6  9  12 15 18 21 24 27
  -15 #=-·░▒▓█ 15
"
        );
    }
}
