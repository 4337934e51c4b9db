//! Charts with an x and a y axis: plotters' `ChartBuilder` draws what is around the data, and each kind what is between
//! the axes.

use std::cell::RefCell;
use std::rc::Rc;

use plotters::chart::ChartBuilder;
use plotters::coord::Shift;
use plotters::drawing::DrawingArea;
use plotters::style::TRANSPARENT;

use super::legend::{Legend, LegendKeys};
use super::pane::Heading;
use super::plot::{Ruler, Space};
use super::*;
use crate::report::clip::Rectangle;
use crate::report::draw::canvas::{self, Anchor, failed, stroke, units};
use crate::report::draw::layout::{self, AxisLabels, LABEL, PAD, TICK, label_room};
use crate::report::palette::{INK, MUTED, RULE, Rgb};
use crate::report::scale::Tick;

/// Free space between the right end of a plot and that of the sheet, beside the margin.
const BESIDE: f64 = 6.0;

/// Free space at the left of a panel whose y axis has its labels at another one.
const UNLABELLED: f64 = 4.0;

/// Distance of tick labels from an axis.
const TICK_GAP: f64 = 8.0;

/// Share of the width that names of categories at the left take at most.
const WIDEST_NAMES: f64 = 0.35;

/// Parts around the data of a chart, and their places.
struct Surroundings {
    heading: Heading,
    legend: Legend,
    notes: Vec<String>,
    /// Names below the plot, where categories stand there in place of numbers.
    below: Option<AxisLabels>,
    /// Names at the left of the plot, where they stand there.
    beside: Option<AxisLabels>,
    x: Ruler,
    y: Ruler,
    right: Option<Ruler>,
    frame: Rectangle,
    /// Room below the plot that ticks or names take.
    depth: f64,
    /// Room below them that the label of the x axis takes.
    x_label: f64,
    has_y_labels: bool,
}

impl Surroundings {
    fn of(chart: &Chart, view: &ChartView, pane: &Pane) -> Self {
        let Pane { width, height, lettering, .. } = *pane;
        let font = lettering.font;
        let given = pane.margins();
        let heading = Heading::of(&chart.title, pane);
        let legend = Legend::new(&LegendKeys::of(chart), width, font);
        let notes = pane.note_lines(&view.notes, width);
        let has_y_labels = pane.has_y_labels();
        let x_label = if pane.has_x_labels() { label_room(&chart.x.label) } else { 0.0 };
        let top = given.map_or(PAD + heading.height() + legend.height() + 4.0, |given| given.top);
        let foot = height - PAD - layout::notes_height(&notes) - x_label;
        // Ticks are chosen for the height there would be with one line of labels; longer labels only make them denser.
        let high = given.map_or(foot - 20.0 - top, |given| height - given.bottom - top);
        let named = |wanted: Direction| {
            chart.content.kind().categories().filter(|(direction, _)| *direction == wanted).map(|(_, names)| names)
        };
        let up = |scale: Scale, axis: &Axis| axis.ticks_on(&scale, (high / 52.0).max(2.0) as usize);
        let ticks = if named(Direction::Y).is_some() { Vec::new() } else { up(view.y, &chart.y) };
        let y = Ruler { scale: view.y, ticks };
        let beside = named(Direction::Y).map(|names| layout::labels_beside(names, width * WIDEST_NAMES, font));
        let widest_label = beside.as_ref().map_or(widest(&y, font), |labels| labels.depth);
        let own = if has_y_labels { PAD + label_room(&chart.y.label) + widest_label + TICK_GAP } else { UNLABELLED };
        let left = given.map_or(own, |given| given.left);
        let right_axis = chart.content.kind().right().map(|right| &right.axis);
        let right = view.right.zip(right_axis).map(|(scale, axis)| Ruler { scale, ticks: up(scale, axis) });
        let room = right.as_ref().map_or(0.0, |right| right_room(chart, right, font));
        let end = given.map_or(width - PAD - BESIDE - room, |given| width - given.right).max(left + 40.0);
        let below = named(Direction::X).filter(|_| pane.has_x_labels()).map(|names| {
            let slot = (end - left) / names.len() as f64;
            layout::labels_below(names, slot, (height * 0.3).min(150.0), font)
        });
        let ticks = match named(Direction::X) {
            Some(_) => Vec::new(),
            None if chart.x.ticks.is_some() => chart.x.ticks_on(&view.x, 0),
            None => ticks_that_fit(&view.x, end - left, font),
        };
        let x = Ruler { scale: view.x, ticks };
        let depth = match &below {
            Some(labels) => labels.depth + 8.0,
            None if pane.has_x_labels() => 20.0,
            None => 0.0,
        };
        let bottom = given.map_or(foot - depth, |given| height - given.bottom).max(top + 30.0);
        let frame = Rectangle { left, top, right: end, bottom };
        Self { heading, legend, notes, below, beside, x, y, right, frame, depth, x_label, has_y_labels }
    }
}

fn widest(ruler: &Ruler, font: Font) -> f64 {
    ruler.ticks.iter().map(|t| TICK.of(font).width(&t.label)).fold(0.0, f64::max)
}

/// Returns the room that the labels of the right axis take.
fn right_room(chart: &Chart, ruler: &Ruler, font: Font) -> f64 {
    let label = chart.content.kind().right().map_or(0.0, |right| label_room(&right.axis.label));
    widest(ruler, font) + TICK_GAP + label
}

/// Returns the room that the labels of a chart take around its plot in a pane.
pub fn margins(chart: &Chart, view: &ChartView, pane: &Pane) -> Margins {
    let Rectangle { left, top, right, bottom } = Surroundings::of(chart, view, pane).frame;
    Margins { left, top, right: pane.width - right, bottom: pane.height - bottom }
}

/// Lays out and draws a chart whose data `paint` draws.
pub fn draw(
    chart: &Chart,
    view: ChartView,
    pane: &Pane,
    paint: impl FnOnce(&mut Plot) -> Result<()>,
) -> Result<Drawing> {
    let around = Surroundings::of(chart, &view, pane);
    let frame = around.frame;
    let styles = chart.styles();
    canvas::draw(pane.width, pane.height, pane.lettering, |canvas| {
        around.heading.draw(canvas)?;
        around.legend.draw(canvas, PAD + around.heading.height())?;
        layout::draw_notes(canvas, &around.notes, pane.height)?;
        let space = draw_around(canvas, chart, &around)?;
        let mut plot = Plot { canvas, frame, view, space, styles: &styles };
        if let Some(labels) = &around.below {
            let centres: Vec<f64> = (0..labels.texts.len()).map(|i| plot.x(i as f64)).collect();
            labels.draw(plot.canvas, frame.bottom + 6.0, |i| centres[i])?;
        }
        if let Some(labels) = around.beside.as_ref().filter(|_| around.has_y_labels) {
            let middles: Vec<f64> = (0..labels.texts.len()).map(|i| plot.y(i as f64)).collect();
            let slot = frame.height() / middles.len() as f64;
            labels.draw_beside(plot.canvas, frame.left - TICK_GAP, slot, |i| middles[i])?;
        }
        annotations::draw_behind(&mut plot, chart)?;
        paint(&mut plot)?;
        draw_frame(&mut plot, around.beside.is_some())?;
        draw_right(&mut plot, chart, &around)?;
        annotations::draw(&mut plot, chart)
    })
}

/// Draws the lines of the grid and all labels at the left and below; returns the map from values to places.
fn draw_around(canvas: &mut Canvas, chart: &Chart, around: &Surroundings) -> Result<Space> {
    let frame = around.frame;
    let below = around.depth + around.x_label;
    let start = if around.has_y_labels { PAD } else { frame.left };
    let right = chart.content.kind().right();
    let tie = right.and_then(|right| right.tie(chart, false));
    let label = LABEL.of(canvas.font());
    // plotters shares a backend of its own, and so it has the sheet for a while.
    let sheet = Rc::new(RefCell::new(std::mem::take(canvas)));
    let size = (units(frame.right - start), units(frame.height() + below));
    let area = DrawingArea::<Canvas, Shift>::from(&sheet).shrink((units(start), units(frame.top)), size);
    let mut plot = ChartBuilder::on(&area)
        .y_label_area_size(units(frame.left - start))
        .x_label_area_size(units(below))
        .build_cartesian_2d(around.x.clone(), around.y.clone())
        .map_err(failed)?;
    let mut mesh = plot.configure_mesh();
    mesh.bold_line_style(stroke(RULE, 1.0))
        .axis_style(TRANSPARENT)
        .label_style(TICK.style(MUTED))
        .axis_desc_style(LABEL.style(INK))
        // Labels stand at twice the length of a tick.
        .set_all_tick_mark_size(units(3.7))
        .x_desc(label.fitted(&visible(&chart.x.label), frame.width()));
    if right.is_none() {
        mesh.y_desc(label.fitted(&visible(&chart.y.label), frame.height()));
    }
    if let Some(ink) = tie {
        mesh.y_label_style(TICK.style(ink));
    }
    mesh.draw().map_err(failed)?;
    *canvas = sheet.take();
    // plotters has one style for the labels of both axes, and the colour of a series is of one only.
    if right.is_some() && around.has_y_labels {
        draw_label_upwards(canvas, &chart.y.label, PAD + LABEL.size / 2.0, &frame, tie.unwrap_or(INK))?;
    }
    Ok(plot.as_coord_spec().clone())
}

/// Draws the ticks and the label of the right axis, if there is one.
fn draw_right(plot: &mut Plot, chart: &Chart, around: &Surroundings) -> Result<()> {
    let Some((ruler, right)) = around.right.as_ref().zip(chart.content.kind().right()) else { return Ok(()) };
    let frame = plot.frame;
    let tie = right.tie(chart, true);
    let beside = frame.right + TICK_GAP;
    for tick in &ruler.ticks {
        let y = frame.bottom - ruler.scale.share(tick.at) * frame.height();
        plot.canvas.text(&tick.label, (beside, y), Anchor::Left, TICK, tie.unwrap_or(MUTED))?;
    }
    let font = plot.canvas.font();
    let middle = beside + widest(ruler, font) + label_room(&right.axis.label) - LABEL.size / 2.0;
    draw_label_upwards(plot.canvas, &right.axis.label, middle, &frame, tie.unwrap_or(INK))
}

/// Writes the label of a y axis, whose middle line is at `x`.
fn draw_label_upwards(canvas: &mut Canvas, label: &str, x: f64, frame: &Rectangle, ink: Rgb) -> Result<()> {
    if label.is_empty() {
        return Ok(());
    }
    let text = LABEL.of(canvas.font()).fitted(&visible(label), frame.height());
    canvas.text_upwards(&text, (x, (frame.top + frame.bottom) / 2.0), Anchor::Center, LABEL, ink)
}

/// Chooses the most ticks whose labels stand clear of each other.
fn ticks_that_fit(scale: &Scale, width: f64, font: Font) -> Vec<Tick> {
    let most = (width / 80.0).max(1.0) as usize;
    let wide = |tick: &Tick| TICK.of(font).width(&tick.label);
    let clear = |ticks: &[Tick]| {
        ticks.windows(2).all(|pair| {
            let apart = (scale.share(pair[1].at) - scale.share(pair[0].at)).abs() * width;
            apart > (wide(&pair[0]) + wide(&pair[1])) / 2.0 + 12.0
        })
    };
    let mut ticks = scale.ticks(most);
    for wanted in (1..most).rev() {
        if clear(&ticks) {
            break;
        }
        ticks = scale.ticks(wanted);
    }
    // Very long labels on a very small plot: one of them is better than a heap.
    if !clear(&ticks) {
        ticks.truncate(1);
    }
    ticks
}

/// Draws the base line, and the zero line where zero lies inside: lines across, but up where values run across.
fn draw_frame(plot: &mut Plot, is_across: bool) -> Result<()> {
    let Rectangle { left, top, right, bottom } = plot.frame;
    let values = if is_across { Direction::X } else { Direction::Y };
    let (from, to, base) = if is_across { (top, bottom, left) } else { (left, right, bottom) };
    let scale = plot.view.scale(values);
    let ends = |at: f64| (values.point(at, from), values.point(at, to));
    if !scale.log && scale.low < 0.0 && scale.high > 0.0 {
        let (a, b) = ends(plot.at(values, 0.0));
        plot.canvas.line(a, b, 1.0, MUTED)?;
    }
    let (a, b) = ends(base);
    plot.canvas.line(a, b, 1.0, INK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_stands_where_the_ticks_of_its_values_are() {
        for log in [false, true] {
            let corners = [1.0, 10.0, 100.0];
            let series = Series { x: corners.to_vec(), y: corners.to_vec(), ..Series::default() };
            let mut chart = Chart::scatter(vec![series]);
            chart.x.log = log;
            chart.y.log = log;
            let body = chart.draw(false).unwrap().body;
            let value = |element: &str, name: &str| {
                let (_, rest) = element.split_once(&format!(" {name}=\"")).unwrap();
                rest.split('"').next().unwrap().to_string()
            };
            let ticks = body.split("<text").filter(|element| element.contains(">\n100\n<"));
            let [beside, below] = ticks.collect::<Vec<_>>().try_into().unwrap();
            let highest = body.split("<circle").last().unwrap();
            assert_eq!((value(highest, "cx"), value(highest, "cy")), (value(below, "x"), value(beside, "y")), "{log}");
        }
    }
}
