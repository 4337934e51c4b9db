//! Heat maps as pictures: coloured cells with their values where there is room, labels around them, and a bar of the
//! colours.

use super::super::pane::Heading;
use super::*;
use crate::report::draw::canvas::{self, Anchor, TypeStyle};
use crate::report::draw::layout::{self, AxisLabels, LABEL, PAD, TICK, label_room};
use crate::report::grid_pooling::pooled;
use crate::report::number;
use crate::report::palette::{INK, MUTED, ink_on};
use crate::report::scale::Tick;

const VALUE: TypeStyle = TypeStyle::regular(10.0);

/// Maximum numbers of rows and columns: smaller cells could not be seen, and the file of more could not be opened.
const MOST_ROWS: usize = 100;
const MOST_COLUMNS: usize = 160;

/// The size of a cell where there is space for it.
const CELL_WIDTH: f64 = 44.0;
const CELL_HEIGHT: f64 = 32.0;

/// The space for the bar of colours: the gap before it, its width, and the height of a line of its quantity.
const BAR_GAP: f64 = 22.0;
const BAR_WIDTH: f64 = 13.0;
const BAR_LEADING: f64 = 15.0;

/// The lines that the quantity takes before the bar becomes longer for its sake.
const BAR_LINES: usize = 3;

struct HeatLayout {
    heading: Heading,
    notes: Vec<String>,
    /// Upper left corner of the cells.
    left: f64,
    top: f64,
    cell_width: f64,
    cell_height: f64,
    rows: AxisLabels,
    columns: AxisLabels,
    width: f64,
    height: f64,
    /// Room below the cells for the names of the columns.
    below: f64,
    bar: ColourBar,
}

/// The bar of colours.
struct ColourBar {
    scale: Scale,
    high: f64,
    ticks: Vec<Tick>,
    /// The quantity in lines, which read upwards.
    quantity: Vec<String>,
    font: Font,
}

impl ColourBar {
    /// Lays out the bar beside cells of this height, no longer than `most` unless the cells are. The quantity is not
    /// cut as long as it has room along `most`.
    fn of(grid: &Grid, map: &ColourMap, cells_high: f64, most: f64, font: Font) -> Self {
        let label = LABEL.of(font);
        let quantity = label.fitted(&visible(&grid.quantity), most * BAR_LINES as f64);
        let mut high = cells_high.clamp(96.0, 260.0);
        let is_whole = |high: f64| {
            let lines = label.wrapped(&quantity, high, usize::MAX);
            lines.len() <= BAR_LINES && quantity.split_whitespace().all(|word| label.width(word) <= high)
        };
        while high < most && !is_whole(high) {
            high = (high + 10.0).min(most);
        }
        let scale = map.scale();
        let ticks = scale.ticks((high / 40.0) as usize);
        Self { scale, high, ticks, quantity: label.wrapped(&quantity, high, BAR_LINES), font }
    }

    /// Returns the distance from the right side of the bar to the first line of the quantity, clear of the ticks.
    fn first_line(&self) -> f64 {
        self.ticks.iter().map(|tick| TICK.of(self.font).width(&tick.label)).fold(0.0, f64::max) + 20.0
    }

    /// Returns the width that the bar takes beside the cells.
    fn room(&self) -> f64 {
        let more = self.quantity.len().saturating_sub(1) as f64 * BAR_LEADING;
        let quantity = if self.quantity.is_empty() { -12.0 } else { 8.0 + more };
        BAR_GAP + BAR_WIDTH + self.first_line() + quantity
    }
}

/// Returns notes on what the picture leaves out.
pub fn notes(chart: &Chart, heat: &HeatMap) -> Result<Vec<String>> {
    let (_, mut notes) = heat.map(chart.palette)?;
    notes.extend(pooled(&heat.grid, MOST_ROWS, MOST_COLUMNS).1);
    Ok(notes)
}

/// Returns the room that is taken around the cells in a pane.
pub fn margins(chart: &Chart, heat: &HeatMap, pane: &Pane) -> Result<Margins> {
    let (map, _) = heat.map(chart.palette)?;
    let (shown, _) = shown(heat);
    let sheet = lay_out(chart, &shown, &map, Vec::new(), pane);
    let HeatLayout { left, top, below, bar, .. } = &sheet;
    Ok(Margins { left: *left, top: *top, right: bar.room() + PAD, bottom: below + PAD })
}

pub fn draw(chart: &Chart, heat: &HeatMap, pane: &Pane) -> Result<Drawing> {
    let (map, mut notes) = heat.map(chart.palette)?;
    let (shown, pooling) = shown(heat);
    notes.extend(pooling);
    let sheet = lay_out(chart, &shown, &map, notes, pane);
    canvas::draw(sheet.width, sheet.height, pane.lettering, |canvas| {
        sheet.heading.draw(canvas)?;
        layout::draw_notes(canvas, &sheet.notes, sheet.height)?;
        draw_cells(canvas, &sheet, &shown.grid, &map)?;
        draw_labels(canvas, chart, &sheet, &shown.grid)?;
        draw_bar(canvas, &sheet, &shown.grid, &map)
    })
}

/// Returns the map with as many cells as can be seen, and a note if these are not all.
fn shown(heat: &HeatMap) -> (HeatMap, Option<String>) {
    let (grid, pooling) = pooled(&heat.grid, MOST_ROWS, MOST_COLUMNS);
    (HeatMap { grid, colours: heat.colours, stretch: heat.stretch }, pooling)
}

fn lay_out(chart: &Chart, heat: &HeatMap, map: &ColourMap, notes: Vec<String>, pane: &Pane) -> HeatLayout {
    let HeatMap { grid, stretch, .. } = heat;
    let font = pane.lettering.font;
    let most_wide = pane.width;
    let most_high = pane.height;
    let given = pane.margins();
    let row_count = grid.rows.len() as f64;
    let column_count = grid.columns.len() as f64;
    let rows = layout::labels_beside(&grid.rows, most_wide * 0.28, font);
    // On the grid of pixels, as the cells' sizes are.
    let left = given.map_or(PAD + label_room(&chart.y.label) + rows.depth + 8.0, |given| given.left).ceil();
    let heading = Heading::of(&chart.title, pane);
    let top = given.map_or(PAD + heading.height() + 2.0, |given| given.top).ceil();
    let note_lines = pane.note_lines(&notes, most_wide);
    let cells = |bar: &ColourBar| {
        let beside = bar.room() + PAD;
        let beside = given.map_or(beside, |given| given.right.max(beside));
        let across = (most_wide - left - beside).max(40.0) / column_count;
        let wide = if *stretch { across } else { whole(across.min(CELL_WIDTH)) };
        let columns = layout::labels_below(&grid.columns, wide, 130.0, font);
        let below = columns.depth + 8.0 + label_room(&chart.x.label);
        let under = given.map_or(below + PAD, |given| given.bottom.max(below + PAD));
        let down = (most_high - top - under).max(40.0) / row_count;
        // Where cells are narrow they are at most twice as high, unless that would be too small to see.
        let high = whole(down.min(CELL_HEIGHT).min((wide * 2.0).max(4.0)));
        let stretched = down - layout::notes_height(&note_lines) / row_count;
        (wide, if *stretch { stretched.max(1.0) } else { high }, columns, below)
    };
    // The bar is as long as the cells are high, and how high they are depends on the space that it takes.
    let bar = |high: f64| ColourBar::of(grid, map, high * row_count, most_high, font);
    let bar = bar(cells(&bar(CELL_HEIGHT)).1);
    let (cell_width, cell_height, columns, below) = cells(&bar);
    let cells_high = cell_height * row_count;
    let title_wide = heading.width + 2.0 * PAD;
    let width = (left + cell_width * column_count + bar.room() + PAD).max(title_wide).max(260.0);
    let notes = pane.note_lines(&notes, width);
    let height = top + (cells_high + below).max(bar.high + 10.0) + layout::notes_height(&notes) + PAD;
    HeatLayout { heading, notes, left, top, cell_width, cell_height, rows, columns, width, height, below, bar }
}

/// Rounds the side of a cell down to whole pixels, so that no seams show between cells, unless it is too small for
/// that.
fn whole(side: f64) -> f64 {
    if side >= 2.0 { side.floor() } else { side.max(0.5) }
}

fn draw_cells(canvas: &mut Canvas, sheet: &HeatLayout, grid: &Grid, map: &ColourMap) -> Result<()> {
    let wide = sheet.cell_width;
    let high = sheet.cell_height;
    let texts = cell_texts(sheet, grid);
    let gap = if wide >= 14.0 && high >= 14.0 { 1.0 } else { 0.0 };
    for (row, values) in grid.values.chunks(grid.columns.len()).enumerate() {
        let top = sheet.top + row as f64 * high;
        let mut start = 0;
        for (column, value) in values.iter().enumerate() {
            // Where nothing is due nothing is drawn.
            if is_missing(*value) {
                start = column + 1;
                continue;
            }
            let colour = map.colour(*value);
            let is_alike = |next: &f64| !is_missing(*next) && map.colour(*next) == colour;
            // Small cells of one colour are drawn in one piece, which keeps the file small.
            if gap == 0.0 && values.get(column + 1).is_some_and(is_alike) {
                continue;
            }
            let from = sheet.left + start as f64 * wide;
            let to = sheet.left + (column + 1) as f64 * wide - gap;
            // Without gaps each reaches a little under the next one, so that no seams show at any size.
            let under = |is_last: bool| if gap > 0.0 || is_last { 0.0 } else { 0.6 };
            let right = to + under(column + 1 == values.len());
            let bottom = top + high - gap + under(row + 1 == grid.rows.len());
            canvas.rectangle((from, top), (right, bottom), colour)?;
            start = column + 1;
            if let Some(texts) = &texts {
                let text = &texts[row * values.len() + column];
                let middle = ((from + to) / 2.0, top + (high - gap) / 2.0);
                canvas.text(text, middle, Anchor::Center, VALUE, ink_on(colour))?;
            }
        }
    }
    Ok(())
}

/// Returns the values as they are written into the cells, if all of them fit.
fn cell_texts(sheet: &HeatLayout, grid: &Grid) -> Option<Vec<String>> {
    if sheet.cell_height < 15.0 || sheet.cell_width < 20.0 {
        return None;
    }
    let texts = number::cell_texts(grid);
    let value = VALUE.of(sheet.bar.font);
    texts.iter().all(|text| value.width(text) <= sheet.cell_width - 5.0).then_some(texts)
}

fn draw_labels(canvas: &mut Canvas, chart: &Chart, sheet: &HeatLayout, grid: &Grid) -> Result<()> {
    let cells_high = sheet.cell_height * grid.rows.len() as f64;
    let cells_wide = sheet.cell_width * grid.columns.len() as f64;
    let middle = |i: usize| sheet.top + (i as f64 + 0.5) * sheet.cell_height;
    sheet.rows.draw_beside(canvas, sheet.left - 6.0, sheet.cell_height, middle)?;
    let foot = sheet.top + cells_high;
    sheet.columns.draw(canvas, foot + 5.0, |i| sheet.left + (i as f64 + 0.5) * sheet.cell_width)?;
    let label = LABEL.of(canvas.font());
    let x_label = label.fitted(&visible(&chart.x.label), cells_wide.max(160.0));
    let y_label = label.fitted(&visible(&chart.y.label), cells_high.max(90.0));
    let below = foot + sheet.columns.depth + 18.0;
    canvas.text(&x_label, (sheet.left + cells_wide / 2.0, below), Anchor::Center, LABEL, INK)?;
    canvas.text_upwards(&y_label, (PAD + 7.0, sheet.top + cells_high / 2.0), Anchor::Center, LABEL, INK)
}

fn draw_bar(canvas: &mut Canvas, sheet: &HeatLayout, grid: &Grid, map: &ColourMap) -> Result<()> {
    let left = sheet.left + sheet.cell_width * grid.columns.len() as f64 + BAR_GAP;
    let right = left + BAR_WIDTH;
    let high = sheet.bar.high;
    let steps = 64;
    for step in 0..steps {
        // From the top down, each a little longer than its share so that no seams show.
        let share = 1.0 - (step as f64 + 0.5) / f64::from(steps);
        let top = sheet.top + high * f64::from(step) / f64::from(steps);
        let bottom = (top + high / f64::from(steps) + 0.6).min(sheet.top + high);
        canvas.rectangle((left, top), (right, bottom), map.colour(map.value(share)))?;
    }
    for tick in &sheet.bar.ticks {
        let y = sheet.top + high * (1.0 - sheet.bar.scale.share(tick.at));
        canvas.line((right, y), (right + 3.0, y), 1.0, MUTED)?;
        canvas.text(&tick.label, (right + 6.0, y), Anchor::Left, TICK, MUTED)?;
    }
    for (at, line) in sheet.bar.quantity.iter().enumerate() {
        let x = right + sheet.bar.first_line() + at as f64 * BAR_LEADING;
        canvas.text_upwards(line, (x, sheet.top + high / 2.0), Anchor::Center, LABEL, INK)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::Colours;
    use super::*;
    use crate::base::results::MISSING;
    use crate::report::picture::Picture;
    use crate::report::samples;

    fn sheet_of(grid: &Grid) -> HeatLayout {
        let mut chart = Chart::heat(grid.clone());
        chart.title = "a pattern".into();
        chart.y.label = "query".into();
        let heat = HeatMap { grid: grid.clone(), colours: Colours::default(), stretch: false };
        let (map, notes) = heat.map(Palette::Colour).unwrap();
        let pane = Pane { width: 720.0, height: 440.0, lettering: Lettering::default(), panel: None };
        lay_out(&chart, &heat, &map, notes, &pane)
    }

    #[test]
    fn cells_stretch_to_the_size_of_the_picture() {
        for grid in [samples::grid(2, 3, |r, c| (r + c) as f64), samples::grid(30, 60, |r, c| (r * c) as f64)] {
            let mut chart = Chart::heat(grid);
            let small = chart.draw(false).unwrap();
            let ChartContent::Heat(heat) = Arc::make_mut(&mut chart.content) else { panic!("no heat map") };
            heat.grid.values[1] = f64::NAN;
            heat.stretch = true;
            let stretched = chart.draw(false).unwrap();
            assert!((stretched.width - 720.0).abs() < 1e-6 && (stretched.height - 440.0).abs() < 1e-6);
            assert!(small.width < 720.0 && small.height < 440.0);
        }
    }

    #[test]
    fn nothing_is_written_where_nothing_is_and_cells_lie_on_pixels() {
        let names: Vec<String> = ["the", "committee", "met"].map(String::from).into();
        let values = vec![1.0, 0.0, 0.0, 0.25, 0.75, f64::NAN, 0.0, 0.5, 0.5];
        let pattern = Grid { rows: names.clone(), columns: names, values, ..Grid::default() };
        let sheet = sheet_of(&pattern);
        let expected = ["1.00", "", "", "0.25", "0.75", "", "0.00", "0.50", "0.50"];
        assert_eq!(cell_texts(&sheet, &pattern).unwrap(), expected);
        for side in [sheet.left, sheet.top, sheet.cell_width, sheet.cell_height] {
            assert_eq!(side.fract(), 0.0);
        }
        // Zeros of any other grid are numbers.
        let mut other = pattern;
        other.values[1] = 0.5;
        assert_eq!(cell_texts(&sheet, &other).unwrap()[2], "0.00");
    }

    #[test]
    fn the_bar_of_colours_says_all_that_it_is_whatever_the_cells_leave_it() {
        let quantity = "probability of the likeliest next token after the patch, less that of the run without it";
        let long = "logit_difference_of_the_answers_by_position";
        for (rows, columns, quantity) in [(1, 1, quantity), (1, 60, quantity), (6, 12, quantity), (60, 2, long)] {
            let grid = Grid { quantity: quantity.into(), ..samples::grid(rows, columns, |r, c| (r + c) as f64 * 1e-3) };
            let sheet = sheet_of(&grid);
            let bar = &sheet.bar;
            assert_eq!(bar.quantity.join(" "), quantity);
            assert!(bar.quantity.iter().all(|line| LABEL.width(line) <= bar.high), "{:?}", bar.quantity);
            let right = sheet.left + sheet.cell_width * columns as f64 + BAR_GAP + BAR_WIDTH;
            let last = right + bar.first_line() + (bar.quantity.len() - 1) as f64 * BAR_LEADING;
            let ticks = bar.ticks.iter().map(|tick| right + 6.0 + TICK.width(&tick.label)).fold(0.0, f64::max);
            assert!(ticks + 6.0 <= right + bar.first_line() && last + 6.0 <= sheet.width, "{rows} by {columns}");
            assert!(sheet.top + bar.high <= sheet.height && ticks <= sheet.width, "{rows} by {columns}");
        }
    }

    #[test]
    fn a_cell_that_has_no_value_is_not_drawn() {
        let cells = |values: Vec<f64>| {
            let columns = values.len();
            let grid = Grid { values, ..samples::grid(1, columns, |_, _| 0.0) };
            Chart::heat(grid).draw(false).unwrap().body.matches("<rect").count()
        };
        let all: Vec<f64> = (0..40).map(f64::from).collect();
        let with = |place: usize, value: f64| [&all[..place], &[value], &all[place + 1..]].concat();
        // What could not be computed is a cell of its own.
        assert_eq!(cells(with(5, f64::NAN)), cells(all.clone()));
        assert_eq!(cells(with(5, MISSING)), cells(all.clone()) - 1);
        assert_eq!(cells(with(39, MISSING)), cells(all.clone()) - 1);
        // Cells that are drawn in one piece are two around it.
        let alike = vec![1.0; 150];
        assert_eq!(cells([&alike[..70], &[MISSING], &alike[71..]].concat()), cells(alike.clone()) + 1);
    }
}
