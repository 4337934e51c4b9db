//! Tests of every chart: the same bytes every time, well-formed pictures of the right size, plain text without codes,
//! and no panic whatever the data.

use proptest::prelude::*;
use resvg::{tiny_skia, usvg};

use super::chart::*;
use super::draw::lettering::Font;
use super::palette::Palette;
use super::picture::{inline_svg, png, svg};
use super::samples;
use super::scale::Tick;
use super::terminal::{self, Graphics, Screen};
use crate::base::Grid;

#[test]
fn every_sample_draws_the_same_bytes_twice() {
    for (name, chart) in samples::all() {
        assert!(svg(&chart).unwrap() == svg(&chart).unwrap(), "{name}");
        assert!(inline_svg(&chart).unwrap() == inline_svg(&chart).unwrap(), "{name}");
    }
}

#[test]
fn pictures_on_their_own_need_no_font_and_say_what_they_show() {
    for (name, chart) in samples::all() {
        let picture = svg(&chart).unwrap();
        assert!(usvg::Tree::from_str(&picture, &usvg::Options::default()).is_ok(), "{name}");
        assert!(picture.contains("<title>") && picture.contains("<desc>") && !picture.contains("<text"), "{name}");
        let inline = inline_svg(&chart).unwrap();
        assert!(usvg::Tree::from_str(&inline, &usvg::Options::default()).is_ok(), "{name}");
        assert!(inline.contains("var(--ink)") && !inline.contains("onerror=x>"), "{name}");
    }
}

#[test]
fn a_png_has_two_pixels_to_the_unit_and_is_not_blank() {
    let (_, chart) = samples::all().remove(0);
    let picture = tiny_skia::Pixmap::decode_png(&png(&chart).unwrap()).unwrap();
    assert_eq!((picture.width(), picture.height()), (1440, 880));
    let blue = picture.pixels().iter().filter(|p| (p.red(), p.green(), p.blue()) == (0x00, 0x72, 0xb2)).count();
    assert!(blue > 500, "{blue} pixels of the first series");
    assert_eq!(png(&chart).unwrap(), png(&chart).unwrap());
}

#[test]
fn the_terminal_gets_lines_that_fit_and_codes_only_with_colour() {
    for (name, chart) in samples::all() {
        for width in [30, 80, 200] {
            let screen = Screen { width, ..Screen::default() };
            let text = chart.text(&screen).unwrap();
            assert!(!text.contains('\x1b'), "{name}");
            for line in text.lines() {
                assert!(terminal::screen::width(line) <= width, "{name} at {width}: {line}");
            }
        }
        let text = chart.text(&Screen { colour: true, ..Screen::default() }).unwrap();
        let text = terminal::codes::obeyed(&text);
        assert!(!text.replace("\x1b[", "").contains('\x1b'), "{name}");
    }
}

#[test]
fn labels_are_text_and_never_markup() {
    let evil = "</svg><script>alert(1)</script>\u{0}\u{202e}";
    let bars = Bars { name: evil.into(), values: vec![1.0], spread: None };
    let mut chart = Chart::bar(vec![evil.into()], vec![bars]).titled(evil);
    (chart.x.label, chart.y.label) = (evil.into(), evil.into());
    chart.marks = vec![Annotation::Horizontal { at: 1.0, text: evil.into() }];
    for picture in [svg(&chart).unwrap(), inline_svg(&chart).unwrap()] {
        assert!(!picture.contains("<script") && picture.matches("</svg>").count() == 1);
        assert!(!picture.contains('\0') && !picture.contains('\u{202e}'));
    }
}

fn numbers() -> impl Strategy<Value = Vec<f64>> {
    prop::collection::vec(
        prop_oneof![any::<f64>(), -10.0..10.0, 1.0..1000.0, Just(0.0), Just(f64::NAN), Just(f64::INFINITY)],
        1..40,
    )
}

fn words() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), Just(String::new()), "[a-z ]{0,80}"]
}

fn content() -> impl Strategy<Value = ChartContent> {
    let series = (words(), numbers(), numbers(), any::<bool>(), any::<bool>(), words()).prop_map(
        |(name, mut x, mut y, spread, band, label)| {
            let length = x.len().min(y.len());
            x.truncate(length);
            y.truncate(length);
            let spread = spread.then(|| Spread { band, ..Spread::symmetric(&y, &x) });
            let labels = if band { vec![label; length] } else { Vec::new() };
            let x_spread = spread.as_ref().map(|_| Spread::symmetric(&x, &y));
            Series { name, x, y, spread, x_spread, labels }
        },
    );
    let series = (prop::collection::vec(series, 1..9), any::<bool>());
    prop_oneof![
        series.prop_map(|(series, joined)| if joined {
            ChartContent::Line(LineChart { series, right: None })
        } else {
            ChartContent::Scatter(ScatterChart { series })
        }),
        (prop::collection::vec((words(), any::<f64>()), 0..30), words(), any::<bool>(), any::<bool>()).prop_map(
            |(bars, name, stacked, horizontal)| {
                let (categories, values): (Vec<String>, Vec<f64>) = bars.into_iter().unzip();
                let series = vec![Bars { name, values, spread: None }; if stacked { 2 } else { 1 }];
                ChartContent::Bar(BarChart { categories, series, stacked, horizontal })
            }
        ),
        (numbers(), 0_usize..50, any::<bool>(), any::<bool>()).prop_map(|(values, count, log, density)| {
            let bins = BinOptions { bins: Some(count), log, density, range: None };
            let made = binned(vec![(String::new(), values)], &bins);
            made.map_or(ChartContent::Scatter(ScatterChart { series: vec![] }), |chart| (*chart.content).clone())
        }),
        (numbers(), 1_usize..8, words(), any::<bool>(), prop::option::of(any::<f64>())).prop_map(
            |(mut values, columns, label, ranged, centre)| {
                let rows = values.len() / columns;
                values.truncate(rows * columns);
                let grid =
                    Grid { rows: vec![label.clone(); rows], columns: vec![label; columns], values, ..Grid::default() };
                let colours = Colours { centre, range: ranged.then_some([-1.0, 1.0]), log: false };
                ChartContent::Heat(HeatMap { grid, colours, stretch: ranged })
            }
        ),
    ]
}

fn axis() -> impl Strategy<Value = Axis> {
    let ends = prop_oneof![(any::<f64>(), any::<f64>()), (0.1..1.0, 1.0..1e9)];
    let range = prop::option::weighted(0.3, ends.prop_map(|(a, b)| [a, b]));
    let ticks = prop::option::weighted(0.2, prop::collection::vec((-10.0..10.0_f64, words()), 0..4));
    (words(), prop::bool::weighted(0.3), range, ticks).prop_map(|(label, log, range, ticks)| {
        let ticks = ticks.map(|ticks| ticks.into_iter().map(|(at, label)| Tick { at, label }).collect());
        Axis { label, log, range, ticks }
    })
}

fn mark() -> impl Strategy<Value = Annotation> {
    prop_oneof![
        (0.1..10.0, any::<f64>(), words()).prop_map(|(x, y, text)| Annotation::Text { x, y, text }),
        (any::<f64>(), words()).prop_map(|(at, text)| Annotation::Horizontal { at, text }),
        (0.1..10.0, words()).prop_map(|(at, text)| Annotation::Vertical { at, text }),
        (0.1..10.0, any::<f64>(), words(), (0.1..10.0, any::<f64>()))
            .prop_map(|(x, y, text, (a, b))| Annotation::Arrow { x, y, text, from: [a, b] }),
        (0.1..5.0, 5.0..10.0, words()).prop_map(|(low, high, text)| Annotation::XSpan { low, high, text }),
        (any::<f64>(), any::<f64>(), words()).prop_map(|(low, high, text)| Annotation::YSpan { low, high, text }),
        (0.1..10.0, any::<f64>(), words())
            .prop_map(|(x, y, text)| Annotation::Line { points: vec![[x, y], [2.0 * x, 1.0]], text }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn no_chart_makes_drawing_panic(
        content in content(),
        title in words(),
        (x, y) in (axis(), axis()),
        marks in prop::collection::vec(mark(), 0..2),
        (width, height) in (150_u32..900, 150_u32..700),
        (columns, lines, colour) in (0_usize..120, 0_usize..60, any::<bool>()),
        font_size in prop_oneof![Just(12.0), 4.0..24.0],
        (palette, font) in (prop::sample::select(Palette::ALL), prop::sample::select(Font::ALL)),
    ) {
        let palette = palette.1;
        let font = font.1;
        let chart = Chart { title, x, y, marks, width, height, font_size, font, palette, ..Chart::new(content) };
        let screen = Screen { width: columns, height: lines, colour, graphics: Graphics::Text };
        let text = chart.text(&screen);
        let picture = inline_svg(&chart);
        prop_assert_eq!(text.is_ok(), picture.is_ok(), "{:?} {:?}", text.err(), picture.err());
        if let Ok(picture) = picture {
            prop_assert!(usvg::Tree::from_str(&picture, &usvg::Options::default()).is_ok(), "{picture}");
        }
        if chart.check().is_err() {
            prop_assert!(svg(&chart).is_err());
        }
    }
}

#[test]
fn a_tangle_of_a_million_points_is_refused_and_a_curve_of_as_many_is_drawn() {
    let y: Vec<f64> = (0..1_000_000).map(samples::noise).collect();
    let line = |x: Vec<f64>| Chart::line(vec![Series { x, y: y.clone(), ..Series::default() }]);
    let tangle = line((0..1_000_000).map(|i| samples::noise(i + 7)).collect());
    assert_eq!(inline_svg(&tangle).unwrap_err().hint.as_deref(), Some("draw so many points with plot::scatter"));
    let curve = inline_svg(&line((0..1_000_000).map(f64::from).collect())).unwrap();
    assert!(curve.len() < 100_000, "{} bytes", curve.len());
}
