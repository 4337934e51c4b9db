//! Charts with an x and a y axis: plotters' `ChartBuilder` draws what is around the data, and each kind what is between
//! the axes.

use std::cell::RefCell;
use std::rc::Rc;

use plotters::chart::ChartBuilder;
use plotters::coord::Shift;
use plotters::drawing::DrawingArea;
use plotters::style::TRANSPARENT;

use super::legend::Legend;
use super::plot::{Ruler, Space};
use super::*;
use crate::report::clip::Rectangle;
use crate::report::draw::canvas::{self, failed, stroke, units};
use crate::report::draw::layout::{self, LABEL, PAD, TICK, label_room};
use crate::report::palette::{INK, MUTED, RULE};
use crate::report::scale::Tick;

/// Lays out and draws a chart whose data `paint` draws.
pub fn draw(
    chart: &Chart,
    view: ChartView,
    key: LegendSymbol,
    spelling: bool,
    paint: impl FnOnce(&mut Plot) -> Result<()>,
) -> Result<Drawing> {
    let width = f64::from(chart.width);
    let height = f64::from(chart.height);
    let title = layout::title_lines(&chart.title, width);
    let legend = Legend::new(&chart.listed(), key, width);
    let notes = layout::note_lines(&view.notes, width);
    let top = PAD + layout::title_height(&title) + legend.height() + 4.0;
    let foot = height - PAD - layout::notes_height(&notes) - label_room(&chart.x.label);
    // Ticks are chosen for the height there would be with one line of labels; longer labels only make them denser.
    let y = Ruler { scale: view.y, ticks: view.y.ticks(((foot - 20.0 - top) / 52.0).max(2.0) as usize) };
    let widest = y.ticks.iter().map(|t| TICK.width(&t.label)).fold(0.0, f64::max);
    let left = PAD + label_room(&chart.y.label) + widest + 8.0;
    let right = (width - PAD - 6.0).max(left + 40.0);
    let named = chart.content.kind().categories().map(|names| {
        let slot = (right - left) / names.len() as f64;
        layout::labels_below(names, slot, (height * 0.3).min(150.0))
    });
    let ticks = if named.is_some() { Vec::new() } else { ticks_that_fit(&view.x, right - left) };
    let x = Ruler { scale: view.x, ticks };
    let depth = named.as_ref().map_or(20.0, |labels| labels.depth + 8.0);
    let frame = Rectangle { left, top, right, bottom: (foot - depth).max(top + 30.0) };
    canvas::draw(width, height, spelling, |canvas| {
        layout::draw_title(canvas, &title)?;
        legend.draw(canvas, PAD + layout::title_height(&title))?;
        layout::draw_notes(canvas, &notes, height)?;
        let space = draw_around(canvas, chart, &frame, depth, x, y)?;
        let mut plot = Plot { canvas, frame, view, space };
        if let Some(labels) = named {
            let centres: Vec<f64> = (0..labels.texts.len()).map(|i| plot.x(i as f64)).collect();
            labels.draw(plot.canvas, frame.bottom + 6.0, |i| centres[i])?;
        }
        paint(&mut plot)?;
        draw_frame(&mut plot)?;
        annotations::draw(&mut plot, chart)
    })
}

/// Draws the lines of the grid and all labels around the frame, those below it with `depth` for its ticks; returns the
/// map from values to places.
fn draw_around(canvas: &mut Canvas, chart: &Chart, frame: &Rectangle, depth: f64, x: Ruler, y: Ruler) -> Result<Space> {
    let below = depth + label_room(&chart.x.label);
    // plotters shares a backend of its own, and so it has the sheet for a while.
    let sheet = Rc::new(RefCell::new(std::mem::take(canvas)));
    let size = (units(frame.right - PAD), units(frame.height() + below));
    let area = DrawingArea::<Canvas, Shift>::from(&sheet).shrink((units(PAD), units(frame.top)), size);
    let mut plot = ChartBuilder::on(&area)
        .y_label_area_size(units(frame.left - PAD))
        .x_label_area_size(units(below))
        .build_cartesian_2d(x, y)
        .map_err(failed)?;
    plot.configure_mesh()
        .bold_line_style(stroke(RULE, 1.0))
        .axis_style(TRANSPARENT)
        .label_style(TICK.style(MUTED))
        .axis_desc_style(LABEL.style(INK))
        // Labels stand at twice the length of a tick.
        .set_all_tick_mark_size(units(3.7))
        .x_desc(LABEL.fitted(&visible(&chart.x.label), frame.width()))
        .y_desc(LABEL.fitted(&visible(&chart.y.label), frame.height()))
        .draw()
        .map_err(failed)?;
    *canvas = sheet.take();
    Ok(plot.as_coord_spec().clone())
}

/// Chooses the most ticks whose labels stand clear of each other.
fn ticks_that_fit(scale: &Scale, width: f64) -> Vec<Tick> {
    let most = (width / 80.0).max(1.0) as usize;
    let clear = |ticks: &[Tick]| {
        ticks.windows(2).all(|pair| {
            let apart = (scale.share(pair[1].at) - scale.share(pair[0].at)) * width;
            apart > (TICK.width(&pair[0].label) + TICK.width(&pair[1].label)) / 2.0 + 12.0
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

/// Draws the base line, and the zero line where zero lies inside.
fn draw_frame(plot: &mut Plot) -> Result<()> {
    let frame = plot.frame;
    if !plot.view.y.log && plot.view.y.low < 0.0 && plot.view.y.high > 0.0 {
        let y = plot.y(0.0);
        plot.canvas.line((frame.left, y), (frame.right, y), 1.0, MUTED)?;
    }
    plot.canvas.line((frame.left, frame.bottom), (frame.right, frame.bottom), 1.0, INK)
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
