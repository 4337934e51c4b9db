//! Tests of what pictures are made of: each part of the samples, found in their drawings by its shape, its colour and
//! its text.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::chart::Chart;
use super::draw::canvas::{Drawing, Size};
use super::palette::{Palette, Rgb};
use super::picture::Picture;
use super::samples;

/// A part of a drawing: its kind, its attributes, and its text, if it has one.
struct Part {
    kind: String,
    attributes: BTreeMap<String, String>,
    text: String,
}

fn drawn(sample: &str) -> Drawing {
    static SAMPLES: LazyLock<Vec<(&str, Chart)>> = LazyLock::new(samples::all);
    let found = SAMPLES.iter().find(|(name, _)| *name == sample);
    found.unwrap_or_else(|| panic!("no sample {sample}")).1.draw(false).unwrap()
}

/// Reads the parts of a drawing, in their order.
fn parts(drawing: &Drawing) -> Vec<Part> {
    let element = |text: &str| {
        let (tag, rest) = text.split_once('>').unwrap();
        let (kind, attributes) = tag.split_once(' ').unwrap_or((tag, ""));
        let pair = |attribute: &str| {
            let (name, value) = attribute.split_once("=\"").unwrap();
            (name.trim().to_string(), value.trim().to_string())
        };
        let attributes = attributes.trim_end_matches('/').split("\" ").map(|piece| piece.trim_end_matches('"'));
        let attributes = attributes.filter(|attribute| !attribute.trim().is_empty()).map(pair).collect();
        Part { kind: kind.into(), attributes, text: rest.trim().into() }
    };
    drawing.body.split('<').filter(|text| !text.is_empty() && !text.starts_with('/')).map(element).collect()
}

/// Counts the parts that are as wanted: a kind, attributes, and a text behind a colon, as in `text fill=#1F2329 :loss`.
fn count(parts: &[Part], wanted: &str) -> usize {
    let (wanted, text) = wanted.split_once(" :").map_or((wanted, None), |(wanted, text)| (wanted, Some(text)));
    let mut words = wanted.split(' ');
    let kind = words.next().unwrap();
    let pairs: Vec<(&str, &str)> = words.map(|pair| pair.split_once('=').unwrap()).collect();
    let is_wanted = |part: &&Part| {
        let has = |(name, value): &(&str, &str)| part.attributes.get(*name).is_some_and(|found| found == value);
        part.kind == kind && pairs.iter().all(has) && text.is_none_or(|text| part.text == text)
    };
    parts.iter().filter(is_wanted).count()
}

/// Returns the corners of a line.
fn corners(part: &Part) -> Vec<(f64, f64)> {
    let numbers = part.attributes["points"].split(' ').map(|point| point.split_once(',').unwrap());
    numbers.map(|(x, y)| (x.parse().unwrap(), y.parse().unwrap())).collect()
}

/// Numbers of parts in the samples; a part that is drawn more than once has its key in the legend, or several points.
const PARTS: &[(&str, &[(&str, usize)])] = &[
    (
        "line-training",
        &[
            ("polygon opacity=0.18 fill=#0072B2", 1),
            ("polyline stroke=#0072B2 stroke-width=18", 2),
            ("polyline stroke=#D55E00 stroke-width=18", 2),
            ("text font-size=105 :loss of the model itself", 1),
            ("text font-size=105 :warm-up ends", 1),
            ("text font-size=105 :the knee", 1),
            ("circle r=22 fill=#1F2329", 1),
            ("text font-size=120 :topk 24", 1),
            ("text font-weight=bold font-size=150 :Reconstruction loss while fitting", 1),
        ],
    ),
    // A bar with two caps for each of six points, and a marker.
    ("line-frontier", &[("polyline stroke=#0072B2 stroke-width=12", 18), ("circle r=28 fill=#0072B2", 6)]),
    (
        "bar-compared",
        &[("polyline stroke=#1F2329 stroke-width=12", 18), ("rect fill=#0072B2", 7), ("rect fill=#D55E00", 7)],
    ),
    ("bar-stacked", &[("rect fill=#0072B2", 4), ("rect fill=#D55E00", 4), ("text text-anchor=end :two", 0)]),
    ("bar-horizontal", &[("rect fill=#0072B2", 4), ("rect fill=#D55E00", 4), ("text text-anchor=end :two", 1)]),
    ("histogram-one", &[("polygon opacity=0.75 fill=#0072B2", 1)]),
    (
        "histogram-two",
        &[("polygon opacity=0.3 fill=#0072B2", 1), ("polygon opacity=0.3 fill=#D55E00", 1), ("rect fill=#D55E00", 1)],
    ),
    ("histogram-log", &[("text text-anchor=middle :10⁻³", 1)]),
    ("histogram-density", &[("text :density", 1), ("text :count", 0)]),
    // Neighbours differ in colour, dashes and markers: squares, triangles and discs.
    (
        "line-marked",
        &[
            ("circle fill=#13326D", 20),
            ("rect fill=#AC322A", 20),
            ("polygon fill=#3D996E", 20),
            ("circle fill=#ECA52E", 20),
            ("rect fill=#13326D", 20),
            ("polyline stroke=#ECA52E stroke-width=18", 2),
            ("rect opacity=0.14 fill=#5B636E", 2),
            ("text :warm-up", 1),
            ("text :target", 1),
            ("text :the fourth", 1),
            ("polygon fill=#1F2329", 1),
        ],
    ),
    ("panels-shared", &[("text font-weight=bold :(a)", 1), ("text font-weight=bold :(d)", 1)]),
    ("panels-mixed", &[("text font-weight=bold :a", 1), ("text font-weight=bold :c", 1), ("text :(a)", 0)]),
    (
        "panels-legend",
        &[
            ("text font-weight=bold :B", 1),
            ("text :topk", 1),
            ("text :l1", 1),
            // One key, and a line in each panel.
            ("polyline stroke=#0072B2 stroke-width=18", 3),
        ],
    ),
    ("heat-print", &[("rect fill=#C9CCD1", 0), ("text :logit difference", 1)]),
    ("heat-log", &[("text text-anchor=start :10⁻⁴", 1), ("text text-anchor=start :1", 0)]),
    // Bars up and across with their caps, and a line over the points.
    (
        "scatter-errors",
        &[
            ("polyline stroke=#0072B2 stroke-width=12", 60),
            ("polyline stroke=#1F2329 stroke-width=14", 1),
            ("text :y = x", 1),
        ],
    ),
    ("line-ticks", &[("text :first", 1), ("text :last", 1), ("text :5", 0)]),
    ("line-right-log", &[("text text-anchor=start fill=#D55E00 :10⁻²", 1), ("text text-anchor=end :10⁻²", 0)]),
    ("line-numbers", &[("polyline stroke=#CC79A7 stroke-width=18", 2), ("polyline stroke=#0072B2", 0)]),
];

#[test]
fn pictures_have_all_of_their_parts() {
    for (sample, wanted) in PARTS {
        let parts = parts(&drawn(sample));
        for (part, number) in *wanted {
            assert_eq!(count(&parts, part), *number, "{sample}: {part}");
        }
    }
}

#[test]
fn lines_across_and_up_are_dashed_from_side_to_side() {
    let parts = parts(&drawn("line-training"));
    let marks = parts.iter().filter(|part| {
        let is = |name: &str, value: &str| part.attributes.get(name).is_some_and(|found| found == value);
        part.kind == "polyline" && is("stroke", "#5B636E") && is("stroke-width", "12")
    });
    let dashes: Vec<Vec<(f64, f64)>> = marks.map(corners).filter(|dash| dash.first() != dash.last()).collect();
    let (level, upright): (Vec<_>, Vec<_>) = dashes.iter().partition(|dash| dash[0].1 == dash[dash.len() - 1].1);
    let ends = |dashes: &[&Vec<(f64, f64)>], of: fn(&(f64, f64)) -> f64| {
        let all: Vec<f64> = dashes.iter().flat_map(|dash| dash.iter().map(of)).collect();
        all.iter().copied().fold(f64::NEG_INFINITY, f64::max) - all.iter().copied().fold(f64::INFINITY, f64::min)
    };
    assert!(level.len() > 20 && ends(&level, |p| p.0) > 6000.0 && ends(&level, |p| p.1) == 0.0, "{level:?}");
    assert!(upright.len() > 20 && ends(&upright, |p| p.1) > 2000.0 && ends(&upright, |p| p.0) == 0.0, "{upright:?}");
}

#[test]
fn series_are_dashed_where_their_pattern_says_so() {
    let parts = parts(&drawn("line-marked"));
    let strokes = |number: usize| {
        let colour = Palette::Print.series(number).hex();
        count(&parts, &format!("polyline stroke={colour} stroke-width=18"))
    };
    // The key and the line in one stroke each, or in dashes, of which dots are more.
    assert_eq!(strokes(3), 2);
    assert!(strokes(1) > 20 && strokes(2) > 2 * strokes(1), "{} and {}", strokes(1), strokes(2));
}

#[test]
fn letters_are_of_the_size_and_the_greys_that_are_asked_for() {
    let large = drawn("line-large");
    assert_eq!((large.scale, large.width, large.view_box()), (2.0, 720.0, Size { width: 3600.0, height: 2200.0 }));
    let parts = parts(&large);
    for number in 0..4 {
        let Rgb(r, g, b) = Palette::Grey.series(number);
        assert!(r == g && g == b);
        assert!(count(&parts, &format!("polyline stroke={}", Rgb(r, g, b).hex())) > 1);
    }
    assert_eq!(count(&parts, "circle fill=#13326D"), 0);
}

#[test]
fn the_outline_of_a_histogram_goes_up_and_down_as_its_counts_do() {
    let parts = parts(&drawn("histogram-one"));
    let outline = parts.iter().find(|part| part.kind == "polygon").unwrap();
    let corners = corners(outline);
    let base = corners.iter().map(|(_, y)| *y).fold(f64::NEG_INFINITY, f64::max);
    let highest = corners.iter().map(|(_, y)| *y).fold(f64::INFINITY, f64::min);
    let top = corners.iter().position(|(_, y)| *y == highest).unwrap();
    // A bell: its top is in the middle, and its ends are low.
    assert!(top * 4 > corners.len() && top * 4 < 3 * corners.len() && base - highest > 2000.0, "{corners:?}");
    // Hairlines stand between the columns, each from the base.
    let between = count(&parts, "polyline stroke=#FFFFFE stroke-width=10");
    assert!(between > 10 && between < corners.len() / 2, "{between}");
}

#[test]
fn all_text_of_a_picture_is_of_its_typeface() {
    for (sample, family) in [("line-serif", "DejaVu Serif"), ("line-ticks", "DejaVu Sans")] {
        let parts = parts(&drawn(sample));
        let texts: Vec<&Part> = parts.iter().filter(|part| part.kind == "text").collect();
        assert!(texts.len() > 5 && texts.iter().all(|text| text.attributes["font-family"] == family), "{sample}");
    }
}
