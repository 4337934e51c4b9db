//! Annotations: texts at points, arrows, lines and shaded spans, each text where it hides least, on a plate of ground
//! so that it reads.

use super::*;
use crate::report::clip::Rectangle;
use crate::report::draw::canvas::Anchor;
use crate::report::draw::layout::NOTE;
use crate::report::palette::{GROUND, INK, MUTED};
use crate::report::point_thinning;

const DASH: f64 = 4.0;

/// Length and half the width of the head of an arrow, and its distance from the point.
const HEAD: (f64, f64) = (7.0, 3.2);
const CLEAR: f64 = 4.0;

/// Maximum number of places of the data, and of a line, that annotations keep clear of.
const MOST_PLACES: usize = 4000;

/// Shades the spans of both axes, which lie behind the data.
pub fn draw_behind(plot: &mut Plot, chart: &Chart) -> Result<()> {
    let frame = plot.frame;
    for mark in &chart.marks {
        let (from, to) = match mark {
            Annotation::XSpan { low, high, .. } => {
                let x = |value: f64| plot.x(value).clamp(frame.left, frame.right);
                ((x(*low), frame.top), (x(*high), frame.bottom))
            }
            Annotation::YSpan { low, high, .. } => {
                ((frame.left, plot.y_inside(*high)), (frame.right, plot.y_inside(*low)))
            }
            _ => continue,
        };
        plot.canvas.rectangle(from, to, MUTED.faint(0.14))?;
    }
    Ok(())
}

/// Draws what lies over the data, and the names of all annotations.
pub fn draw(plot: &mut Plot, chart: &Chart) -> Result<()> {
    let frame = plot.frame;
    let mut covered = if chart.marks.is_empty() { Vec::new() } else { data(plot, chart) };
    for mark in &chart.marks {
        let (text, spots) = match mark {
            Annotation::Text { x, y, text } if plot.view.contains(*x, *y) => {
                let (x, y) = plot.place(*x, *y);
                plot.canvas.disc((x, y), 2.2, INK)?;
                let right = x + 7.0;
                let left = x - width(plot, text) - 7.0;
                (text, [(right, y - 10.0), (right, y + 10.0), (left, y - 10.0), (left, y + 10.0)])
            }
            Annotation::Horizontal { at, text } if plot.view.y.contains(*at) => {
                let y = plot.y(*at);
                plot.canvas.dashed(&[(frame.left, y), (frame.right, y)], DASH, 1.2, MUTED)?;
                (text, [(frame.right, y - 9.0), (frame.right, y + 9.0), (frame.left, y - 9.0), (frame.left, y + 9.0)])
            }
            Annotation::Vertical { at, text } if plot.view.x.contains(*at) => {
                let x = plot.x(*at);
                plot.canvas.dashed(&[(x, frame.top), (x, frame.bottom)], DASH, 1.2, MUTED)?;
                let right = x + 6.0;
                let left = x - width(plot, text) - 6.0;
                let high = frame.top + 9.0;
                let low = frame.bottom - 9.0;
                (text, [(right, high), (left, high), (right, low), (left, low)])
            }
            Annotation::Arrow { x, y, text, from } if plot.view.contains(*x, *y) => {
                let (middle, line) = plot.place(from[0], from[1]);
                let wide = width(plot, text);
                let spot = (middle - wide / 2.0, line);
                let tip = plot.place(*x, *y);
                arrow(plot, &inside(&frame, spot, wide), tip)?;
                (text, [spot; 4])
            }
            Annotation::XSpan { low, high, text } if plot.view.x.low < *high && *low < plot.view.x.high => {
                let middle = (plot.inside(Direction::X, *low) + plot.inside(Direction::X, *high)) / 2.0;
                let left = middle - width(plot, text) / 2.0;
                let high = frame.top + 9.0;
                let low = frame.bottom - 9.0;
                (text, [(left, high), (left, low), (left, high + 16.0), (left, low - 16.0)])
            }
            Annotation::YSpan { low, high, text } if plot.view.y.low < *high && *low < plot.view.y.high => {
                let middle = (plot.y_inside(*low) + plot.y_inside(*high)) / 2.0;
                let right = frame.right - width(plot, text) - 6.0;
                let left = frame.left + 6.0;
                let between = (left + right) / 2.0;
                (text, [(right, middle), (left, middle), (between, middle), (right, middle)])
            }
            Annotation::Line { points, text } => {
                let path: Vec<Point> = points.iter().map(|[x, y]| plot.place(*x, *y)).collect();
                let pieces = frame.path(&point_thinning::path(&path));
                for piece in &pieces {
                    plot.canvas.path(piece, 1.4, INK)?;
                }
                let shown = pieces.concat();
                let Some((start, end)) = shown.first().zip(shown.last()) else { continue };
                covered.extend(pieces.iter().flat_map(|piece| along(piece)).take(MOST_PLACES));
                (text, [(end.0, end.1 - 9.0), (end.0, end.1 + 9.0), (start.0, start.1 - 9.0), (start.0, start.1 + 9.0)])
            }
            _ => continue,
        };
        plate(plot, text, &spots, &mut covered)?;
    }
    Ok(())
}

/// Draws an arrow from the side of a text's plate to a little before a point, if there is room for it.
fn arrow(plot: &mut Plot, plate: &Rectangle, to: Point) -> Result<()> {
    let centre = ((plate.left + plate.right) / 2.0, (plate.top + plate.bottom) / 2.0);
    let from = plate.segment(centre, to).map_or(centre, |(_, side)| side);
    let length = (to.0 - from.0).hypot(to.1 - from.1);
    let (long, half) = HEAD;
    if length < CLEAR + long {
        return Ok(());
    }
    let dx = (to.0 - from.0) / length;
    let dy = (to.1 - from.1) / length;
    let along = |back: f64| (to.0 - dx * back, to.1 - dy * back);
    let neck = along(CLEAR + long);
    plot.canvas.line(from, neck, 1.2, INK)?;
    let head = [along(CLEAR), (neck.0 - dy * half, neck.1 + dx * half), (neck.0 + dy * half, neck.1 - dx * half)];
    plot.canvas.polygon(&head, INK)
}

/// Returns places of the data, which annotations are to keep clear of, those of the right axis by its range.
fn data(plot: &mut Plot, chart: &Chart) -> Vec<Point> {
    let kind = chart.content.kind();
    let every = kind.points().count().div_ceil(MOST_PLACES).max(1);
    let Some(right) = kind.right() else { return places(plot, kind.points().step_by(every)) };
    let side = |is_right: bool| {
        let own = kind.series().iter().filter(|s| right.holds(&s.name) == is_right);
        places(&plot.of_side(is_right), own.flat_map(Series::points).step_by(every))
    };
    [false, true].map(side).concat()
}

/// Returns the places of those points that the axes can show.
fn places(plot: &Plot, points: impl Iterator<Item = (f64, f64)>) -> Vec<Point> {
    points.filter(|(x, y)| plot.view.shows(*x, *y)).map(|(x, y)| plot.place(x, y)).collect()
}

/// Returns places along a path, a few pixels apart.
fn along(path: &[Point]) -> impl Iterator<Item = Point> {
    path.windows(2).flat_map(|pair| {
        let from = pair[0];
        let to = pair[1];
        let steps = ((to.0 - from.0).hypot(to.1 - from.1) / 6.0) as usize + 1;
        let at = move |share: f64| (from.0 + (to.0 - from.0) * share, from.1 + (to.1 - from.1) * share);
        (0..=steps).map(move |i| at(i as f64 / steps as f64))
    })
}

fn fitted(plot: &Plot, text: &str) -> String {
    NOTE.of(plot.canvas.font()).fitted(&elided(&visible(text), 80), plot.frame.width() - 12.0)
}

fn width(plot: &Plot, text: &str) -> f64 {
    NOTE.of(plot.canvas.font()).width(&fitted(plot, text))
}

/// Writes the text at the one of `spots` where it covers least; a spot is the left end of a text and its middle line.
fn plate(plot: &mut Plot, text: &str, spots: &[Point], covered: &mut Vec<Point>) -> Result<()> {
    if text.is_empty() {
        return Ok(());
    }
    let text = fitted(plot, text);
    let wide = NOTE.of(plot.canvas.font()).width(&text);
    let around = |spot: &Point| inside(&plot.frame, *spot, wide);
    let hidden = |plate: &Rectangle| covered.iter().filter(|point| plate.contains(**point)).count();
    let Some(plate) = spots.iter().map(around).min_by_key(hidden) else { return Ok(()) };
    plot.canvas.rectangle((plate.left, plate.top), (plate.right, plate.bottom), GROUND.faint(0.8))?;
    let middle = (plate.top + plate.bottom) / 2.0;
    plot.canvas.text(&text, (plate.left + 3.0, middle), Anchor::Left, NOTE, INK)?;
    // The next annotation is to keep clear of this one, too.
    let steps = (wide / 6.0) as usize + 1;
    covered.extend((0..=steps).map(|i| (plate.left + plate.width() * i as f64 / steps as f64, middle)));
    Ok(())
}

/// Returns the plate of a text at this spot, moved so far that it lies inside of the plot.
fn inside(frame: &Rectangle, (left, middle): Point, wide: f64) -> Rectangle {
    let left = left.min(frame.right - wide - 6.0).max(frame.left + 4.0);
    let middle = middle.clamp(frame.top + 8.0, (frame.bottom - 8.0).max(frame.top + 8.0));
    Rectangle { left: left - 3.0, top: middle - 7.0, right: left + wide + 3.0, bottom: middle + 7.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(marks: Vec<Annotation>) -> Chart {
        let series = Series { x: vec![0.0, 10.0], y: vec![0.0, 10.0], ..Series::default() };
        Chart { marks, ..Chart::line(vec![series]) }
    }

    fn body(marks: Vec<Annotation>) -> String {
        chart(marks).draw(false).unwrap().body
    }

    #[test]
    fn spans_lie_behind_the_data_and_their_names_over_it() {
        let spans = vec![
            Annotation::XSpan { low: 2.0, high: 4.0, text: "warm-up".into() },
            Annotation::YSpan { low: 6.0, high: 20.0, text: "target".into() },
        ];
        let drawn = body(spans);
        let shade = "opacity=\"0.14\" fill=\"#5B636E\"";
        assert_eq!(drawn.matches(shade).count(), 2);
        let line = drawn.find("stroke=\"#0072B2\"").unwrap();
        assert!(drawn.rfind(shade).unwrap() < line, "{drawn}");
        assert!(drawn.find(">\nwarm-up\n<").unwrap() > line && drawn.find(">\ntarget\n<").unwrap() > line);
        assert!(!body(Vec::new()).contains(shade));
        // The range holds both ends.
        let view = chart(vec![Annotation::YSpan { low: 6.0, high: 20.0, text: String::new() }]).view().unwrap();
        assert!(view.y.contains(20.0));
    }

    #[test]
    fn lines_lie_over_the_data_and_are_cut_at_the_frame() {
        let line = |points: Vec<[f64; 2]>| Annotation::Line { points, text: "y = x".into() };
        let across = line(vec![[0.0, 0.0], [10.0, 10.0]]);
        let drawn = body(vec![across.clone()]);
        let stroke = "stroke=\"#1F2329\" stroke-width=\"14\"";
        assert_eq!((drawn.matches(stroke).count(), drawn.matches(">\ny = x\n<").count()), (1, 1));
        assert!(drawn.find(stroke).unwrap() > drawn.find("stroke=\"#0072B2\"").unwrap());
        // The axes hold the line, unless they have a range.
        let far = chart(vec![line(vec![[0.0, 0.0], [20.0, 20.0]])]);
        assert!(far.view().unwrap().x.contains(20.0));
        let mut cut = far.clone();
        cut.x.range = Some([0.0, 10.0]);
        let ends = |chart: &Chart| {
            let body = chart.draw(false).unwrap().body;
            let line = body.lines().find(|line| line.contains(stroke)).unwrap().to_string();
            line.split('"').nth(1).unwrap().split_whitespace().map(String::from).collect::<Vec<_>>()
        };
        let x = |point: &str| point.split_once(',').unwrap().0.parse::<f64>().unwrap();
        // The frame ends 20 pixels before the sheet.
        assert!((x(&ends(&cut)[1]) - 7000.0).abs() <= 1.0, "{:?}", ends(&cut));
        assert!(x(&ends(&far)[1]) < 6990.0);
        // Beyond the frame there is neither line nor name.
        cut.marks = vec![line(vec![[20.0, 0.0], [30.0, 1.0]])];
        assert!(!cut.draw(false).unwrap().body.contains("y = x"));
    }

    #[test]
    fn annotations_keep_clear_of_the_series_of_the_right_axis() {
        let series = |name: &str, y: [f64; 3]| Series {
            name: name.into(),
            x: vec![0.0, 1.0, 2.0],
            y: y.to_vec(),
            ..Series::default()
        };
        let right = RightAxis { axis: Axis::default(), series: vec!["b".into()] };
        let series = vec![series("a", [0.0, 1.0, 2.0]), series("b", [1e6, 2e6, 3e6])];
        let chart = Chart::new(ChartContent::Line(LineChart { series, right: Some(right) }));
        let pane = Pane { width: 720.0, height: 440.0, lettering: Lettering::default(), panel: None };
        let mut found: Vec<bool> = Vec::new();
        let drawn = axes::draw(&chart, chart.view().unwrap(), &pane, |plot| {
            found = data(plot, &chart).into_iter().map(|place| plot.frame.contains(place)).collect();
            Ok(())
        });
        assert!(drawn.is_ok());
        assert_eq!(found, [true; 6]);
    }

    #[test]
    fn an_arrow_leads_from_its_text_to_its_point() {
        let at = Annotation::Arrow { x: 5.0, y: 5.0, text: "here".into(), from: [2.0, 9.0] };
        let drawn = body(vec![at]);
        let head = drawn.split("<polygon points=\"").nth(1).unwrap().split('"').next().unwrap();
        let corners: Vec<(f64, f64)> = head
            .split_whitespace()
            .map(|corner| corner.split_once(',').unwrap())
            .map(|(x, y)| (x.parse().unwrap(), y.parse().unwrap()))
            .collect();
        let text = drawn.split("<text ").find(|text| text.contains(">\nhere\n<")).unwrap();
        let place = |name: &str| {
            let (_, rest) = text.split_once(&format!("{name}=\"")).unwrap();
            rest.split('"').next().unwrap().parse::<f64>().unwrap()
        };
        // The tip lies below and to the right of the neck, as the point does of the text.
        assert!(corners.len() == 3 && corners[0].0 > corners[1].0.min(corners[2].0), "{corners:?}");
        assert!(corners[0].1 > place("y") && corners[0].0 > place("x"), "{corners:?} {text}");
        // A point under its own text has no arrow.
        let close = Annotation::Arrow { x: 5.0, y: 5.0, text: "here".into(), from: [5.0, 5.0] };
        assert!(!body(vec![close]).contains("<polygon"));
    }
}
