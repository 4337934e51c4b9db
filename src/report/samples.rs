//! Charts of every kind, with ordinary data and with awkward data, for the tests of everything that draws.

use crate::base::Grid;
use crate::report::chart::*;
use crate::report::draw::lettering::Font;
use crate::report::palette::Palette;
use crate::report::scale::Tick;

const NAN: f64 = f64::NAN;
const INF: f64 = f64::INFINITY;

fn series(name: &str, n: usize, f: impl Fn(f64) -> f64) -> Series {
    let x: Vec<f64> = (0..n).map(|i| i as f64).collect();
    Series { name: name.into(), y: x.iter().map(|x| f(*x)).collect(), x, ..Series::default() }
}

/// Returns number `i` of a sequence from 0 to 1 that looks random and is the same every time.
pub fn noise(i: usize) -> f64 {
    let hashed = (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((hashed ^ (hashed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 11) as f64 / (1_u64 << 53) as f64
}

fn axis(label: &str, log: bool) -> Axis {
    Axis { label: label.into(), log, ..Axis::default() }
}

fn words(n: usize, of: &[&str]) -> Vec<String> {
    (0..n).map(|i| of[i % of.len()].to_string()).collect()
}

impl Chart {
    pub fn titled(self, title: impl Into<String>) -> Self {
        Self { title: title.into(), ..self }
    }
}

/// Builds the charts, with their names.
pub fn all() -> Vec<(&'static str, Chart)> {
    [lines(), points(), bars(), histograms(), heats(), papers(), figures()].concat()
}

fn lines() -> Vec<(&'static str, Chart)> {
    let mut loss = series("topk 24", 60, |x| 3.0 * (-x / 12.0).exp() + 0.8);
    loss.spread = Some(Spread { band: true, ..Spread::symmetric(&loss.y, &vec![0.15; 60]) });
    let other = series("L1, α = 3e-3", 60, |x| 3.2 * (-x / 20.0).exp() + 1.0);
    let mut training = Chart::line(vec![loss, other]).titled("Reconstruction loss while fitting");
    training.x = axis("step (thousands)", false);
    training.y = axis("loss (nats)", false);
    training.marks = vec![
        Annotation::Horizontal { at: 0.8, text: "loss of the model itself".into() },
        Annotation::Vertical { at: 30.0, text: "warm-up ends".into() },
        Annotation::Text { x: 10.0, y: 2.1, text: "the knee".into() },
    ];
    let mut pareto = series("topk", 6, |x| 0.95 - 0.5 * (-x).exp());
    pareto.x = vec![4.0, 8.0, 16.0, 32.0, 64.0, 128.0];
    pareto.spread = Some(Spread::symmetric(&pareto.y, &[0.05, 0.04, 0.03, 0.02, 0.02, 0.01]));
    let mut frontier = Chart::line(vec![pareto]).titled("Variance explained against sparsity");
    frontier.x = axis("L0 (active features per token)", true);
    frontier.y = axis("fraction of variance explained", false);
    let gaps = Series { y: vec![1.0, NAN, 3.0, 2.0, INF, 1.0, 0.0, -1.0], ..series("gaps", 8, |x| x) };
    let mut log_gaps = Chart::line(vec![gaps.clone()]);
    log_gaps.y = axis("log", true);
    let many: Vec<Series> =
        (0..20).map(|k| series(&format!("layer {k}"), 40, |x| (x / 6.0 + k as f64 / 3.0).sin() + k as f64)).collect();
    let mut long = Chart::line(vec![series("million", 1_000_000, |x| (x / 1e5).sin() + noise(x as usize) / 4.0)]);
    long.title = "A million points".into();
    let mut cropped = Chart::line(vec![series("cropped", 50, |x| (x / 4.0).sin() * 2.0)]);
    cropped.y.range = Some([-1.0, 1.0]);
    vec![
        ("line-training", training),
        ("line-frontier", frontier),
        ("line-gaps", Chart::line(vec![gaps])),
        ("line-log-gaps", log_gaps),
        ("line-many", Chart::line(many).titled("Twenty series with a title that is so long that it has to be broken into more than one line to be read at all")),
        ("line-million", long),
        ("line-cropped", cropped),
        ("line-one-point", Chart::line(vec![series("one", 1, |_| 5.0)])),
        ("line-constant", Chart::line(vec![series("constant", 10, |_| 7.0)])),
        ("line-huge", Chart::line(vec![Series { x: vec![-1e308, 1e308], y: vec![f64::MAX, f64::MIN], ..Series::default() }])),
        ("line-tiny", Chart::line(vec![Series { x: vec![0.0, 1e-12, 2e-12], y: vec![1e9, 1e9 + 1.0, 1e9 + 2.0], ..Series::default() }])),
        ("line-small", Chart { width: 160, height: 160, ..Chart::line(vec![series("a", 5, |x| x)]).titled("Small") }),
    ]
}

fn points() -> Vec<(&'static str, Chart)> {
    let cloud = |name: &str, n: usize, at: f64| Series {
        name: name.into(),
        x: (0..n).map(|i| at + noise(i) + noise(i + n)).collect(),
        y: (0..n).map(|i| at + noise(i + 2 * n) + noise(i + 3 * n)).collect(),
        ..Series::default()
    };
    let mut groups = Chart::scatter(vec![cloud("prose", 80, 0.0), cloud("code", 80, 0.7), cloud("numbers", 30, 1.4)]);
    groups.title = "Features by kind of text".into();
    groups.x = axis("first component", false);
    groups.y = axis("second component", false);
    let mut labelled = cloud("features", 14, 0.0);
    labelled.labels = words(14, &[" the", ")", "\n", "東京", "</script>", "a very long label that goes on and on"]);
    let powers = Series {
        x: (0..300).map(|i| 10_f64.powf(noise(i) * 6.0 - 3.0)).collect(),
        y: (0..300).map(|i| 10_f64.powf(noise(i + 300) * 4.0 - 6.0)).collect(),
        ..Series::default()
    };
    let mut logs = Chart::scatter(vec![powers]);
    logs.x = axis("density (per token)", true);
    logs.y = axis("mean activation", true);
    let shapes: Vec<Series> = (0..14).map(|k| cloud(&format!("group {k}"), 4, k as f64)).collect();
    vec![
        ("scatter-groups", groups),
        ("scatter-labels", Chart::scatter(vec![labelled]).titled("Labelled <points> & \"quotes\"")),
        ("scatter-log", logs),
        ("scatter-million", Chart::scatter(vec![cloud("all", 1_000_000, 0.0), cloud("few", 20, 1.0)])),
        ("scatter-shapes", Chart::scatter(shapes)),
        ("scatter-one", Chart::scatter(vec![cloud("one", 1, 0.0)])),
    ]
}

fn bars() -> Vec<(&'static str, Chart)> {
    let bars = |name: &str, values: Vec<f64>| Bars { name: name.into(), values, spread: None };
    let sites: Vec<String> = (0..6).map(|i| format!("resid_post.{i}")).collect();
    let mut recovered = bars("topk", vec![0.93, 0.88, 0.84, 0.82, 0.81, 0.85]);
    recovered.spread = Some(Spread::symmetric(&recovered.values, &[0.02, 0.03, 0.03, 0.04, 0.03, 0.02]));
    let random = bars("random", vec![0.31, 0.28, 0.27, 0.25, 0.22, 0.2]);
    let mut compared = Chart::bar(sites, vec![recovered, random]).titled("Cross-entropy recovered by site");
    compared.y = axis("fraction recovered", false);
    let tokens = [
        " the",
        ")",
        "\n",
        "\t",
        "东京",
        "</script><img onerror=x>",
        "a token with a very long text that cannot fit",
        "\u{202e}x",
        "&amp;",
        " ",
    ];
    let signed: Vec<f64> = (0..10).map(|i| noise(i) * 4.0 - 2.0).collect();
    let mut effects = Chart::bar(words(10, &tokens), vec![bars("", signed)]).titled("Direct effect on tokens");
    effects.y = axis("logit difference", false);
    let mut hundreds = Chart::bar(
        (0..400).map(|i| format!("feature {i}")).collect(),
        vec![bars("", (0..400).map(|i| noise(i) * 100.0).collect())],
    );
    hundreds.y = axis("uses", false);
    let mut log = Chart::bar(words(4, &["a", "b", "c", "d"]), vec![bars("count", vec![3.0, 400.0, 0.0, 1e6])]);
    log.y = axis("count", true);
    vec![
        ("bar-compared", compared),
        ("bar-tokens", effects),
        ("bar-hundreds", hundreds),
        ("bar-log", log),
        ("bar-nan", Chart::bar(words(3, &["a", "b", "c"]), vec![bars("", vec![1.0, NAN, -INF])])),
        ("bar-zero", Chart::bar(words(2, &["a", "b"]), vec![bars("", vec![0.0, 0.0])])),
        ("bar-one", Chart::bar(words(1, &["only"]), vec![bars("", vec![5.0])])),
    ]
}

fn histograms() -> Vec<(&'static str, Chart)> {
    let normal =
        |n: usize, at: f64| (0..n).map(|i| at + (0..6).map(|k| noise(i * 6 + k)).sum::<f64>()).collect::<Vec<_>>();
    let make = |named: Vec<(&str, Vec<f64>)>, bins: BinOptions| {
        binned(named.into_iter().map(|(n, v)| (n.to_string(), v)).collect(), &bins).unwrap()
    };
    let mut one = make(vec![("", normal(3000, 0.0))], BinOptions::default()).titled("Activations of feature 511");
    one.x.label = "activation".into();
    let mut log_counts = one.clone();
    log_counts.y.log = true;
    let log = BinOptions { log: true, ..BinOptions::default() };
    let density =
        (0..2000).map(|i| 10_f64.powf(noise(i) * 3.0 + noise(i + 9000) * 3.0 - 6.0)).chain([0.0, -1.0, NAN]).collect();
    let mut densities = make(vec![("", density)], log);
    densities.x.label = "feature density".into();
    vec![
        ("histogram-one", one),
        ("histogram-two", make(vec![("prose", normal(2000, 0.0)), ("code", normal(1500, 1.0))], BinOptions::default())),
        ("histogram-log", densities),
        ("histogram-log-counts", log_counts),
        ("histogram-constant", make(vec![("", vec![2.0; 50])], BinOptions::default())),
        ("histogram-single", make(vec![("", vec![2.0])], BinOptions { bins: Some(5), ..BinOptions::default() })),
        ("histogram-million", make(vec![("", normal(1_000_000, -3.0))], BinOptions::default())),
    ]
}

/// Builds a grid of `rows` by `columns` filled by `f`.
pub fn grid(rows: usize, columns: usize, f: impl Fn(usize, usize) -> f64) -> Grid {
    Grid {
        title: "Effect of patching".into(),
        row_axis: "layer".into(),
        column_axis: "position".into(),
        rows: (0..rows).map(|i| i.to_string()).collect(),
        columns: (0..columns).map(|i| i.to_string()).collect(),
        quantity: "logit difference".into(),
        values: (0..rows * columns).map(|i| f(i / columns, i % columns)).collect(),
        ..Grid::default()
    }
}

fn heats() -> Vec<(&'static str, Chart)> {
    let mut patching = grid(6, 12, |r, c| noise(r * 12 + c) * 2.0 - 1.0);
    patching.columns =
        words(12, &["When", " Mary", " and", " John", " went", " to", " the", " store", ",", " John", " gave", "\n"]);
    let mut lost = grid(4, 5, |r, c| if r == c { NAN } else { noise(r * 5 + c) });
    lost.rows = words(4, &["a row with a long name that needs much room to be read", "b", "c", "d"]);
    vec![
        ("heat-patching", Chart::heat(patching)),
        ("heat-sequential", Chart::heat(grid(12, 12, |r, c| (r * c) as f64))),
        ("heat-nan", Chart::heat(lost)),
        ("heat-large", Chart::heat(grid(1000, 1000, |r, c| ((r as f64) / 90.0).sin() * ((c as f64) / 70.0).cos()))),
        ("heat-wide", Chart::heat(grid(1, 60, |_, c| c as f64))),
        ("heat-tall", Chart::heat(grid(60, 2, |r, c| (r * 2 + c) as f64 * 1e7))),
        ("heat-one", Chart::heat(grid(1, 1, |_, _| 3.0))),
        ("heat-constant", Chart::heat(grid(3, 3, |_, _| -2.0))),
        ("heat-huge", Chart::heat(grid(2, 2, |r, c| if (r + c) % 2 == 0 { f64::MAX } else { f64::MIN }))),
    ]
}

/// Builds charts as papers have them: panels, two y axes, spans and arrows, colours for print, larger letters.
fn papers() -> Vec<(&'static str, Chart)> {
    let titled = |name: &str, y: f64| {
        let mut chart = Chart::line(vec![series(name, 30, |x| y * (x / 5.0).sin())]).titled(name);
        chart.x = axis("step", false);
        chart.y = axis("value", false);
        Some(chart)
    };
    let rows = vec![vec![titled("small", 1e-3), titled("large", 4e5)], vec![titled("one", 1.0), titled("two", 2.0)]];
    let shared = Panels::new(rows, true, true, LetterStyle::Bracketed);
    let bars = Bars { name: "a".into(), values: vec![1.0, 2.0, 4.0], spread: None };
    let bars = Chart::bar(words(3, &["prose", "code", "numbers"]), vec![bars]);
    let heat = Chart::heat(grid(5, 5, |r, c| r as f64 - c as f64));
    let rows = vec![vec![Some(bars), Some(heat.clone())], vec![titled("last", 3.0)]];
    let mixed = Panels::new(rows, false, false, LetterStyle::Lower);
    let panels = |panels| Chart { height: 600, ..Chart::new(ChartContent::Panels(panels)) };
    let right = RightAxis { axis: axis("accuracy", false), series: vec!["accuracy".into()] };
    let two = vec![series("loss", 40, |x| 3.0 * (-x / 9.0).exp()), series("accuracy", 40, |x| 1.0 - (-x / 9.0).exp())];
    let two = Chart::new(ChartContent::Line(LineChart { series: two, right: Some(right) }));
    let mut marked = Chart::line((0..5).map(|k| series(&format!("{k}"), 20, |x| x * f64::from(k))).collect());
    marked.marks = vec![
        Annotation::XSpan { low: 2.0, high: 5.0, text: "warm-up".into() },
        Annotation::YSpan { low: 60.0, high: 90.0, text: "target".into() },
        Annotation::Arrow { x: 10.0, y: 40.0, text: "the fourth".into(), from: [3.0, 50.0] },
    ];
    vec![
        ("panels-shared", panels(shared).titled("Four panels")),
        ("panels-mixed", panels(mixed)),
        ("line-right", Chart { y: axis("loss (nats)", false), ..two }),
        ("line-marked", Chart { palette: Palette::Print, ..marked.clone() }),
        ("line-large", Chart { palette: Palette::Grey, font_size: 24.0, ..marked }),
        ("heat-print", Chart { palette: Palette::Print, ..heat }),
    ]
}

/// Builds charts with what papers ask for beside: intervals both ways, lines over points, ticks and directions of
/// choice, bars that are stacked or lie, densities, logarithmic colours, the serif, and one legend for all panels.
fn figures() -> Vec<(&'static str, Chart)> {
    let line = |name: &str| series(name, 10, |x| 10_f64.powf(-x / 3.0));
    let mut points = series("all", 10, |x| x + 0.5);
    points.spread = Some(Spread::symmetric(&points.y, &[0.5; 10]));
    points.x_spread = Some(Spread::symmetric(&points.x, &[0.25; 10]));
    let mut errors = Chart::scatter(vec![points]);
    errors.marks = vec![Annotation::Line { points: vec![[0.0, 0.0], [9.0, 9.0]], text: "y = x".into() }];
    let tick = |at: f64, label: &str| Tick { at, label: label.into() };
    let mut ticks = Chart::line(vec![line("")]);
    ticks.x =
        Axis { ticks: Some(vec![tick(0.0, "first"), tick(9.0, "last")]), range: Some([9.0, 0.0]), ..Axis::default() };
    let of_bars = |name: &str, values: [f64; 3]| Bars { name: name.into(), values: values.to_vec(), spread: None };
    let bars = |stacked: bool, horizontal: bool| {
        let series = vec![of_bars("prose", [1.0, 2.0, 3.0]), of_bars("code", [3.0, -1.0, 1.0])];
        let categories = words(3, &["a feature with a long name", "two", "three"]);
        Chart::new(ChartContent::Bar(BarChart { categories, series, stacked, horizontal }))
    };
    let density = BinOptions { bins: Some(8), density: true, ..BinOptions::default() };
    let values = |n: usize| (0..n).map(noise).collect::<Vec<f64>>();
    let mut heat = Chart::heat(grid(3, 4, |r, c| 10_f64.powi((r * 4 + c) as i32 - 6)));
    if let ChartContent::Heat(heat) = std::sync::Arc::make_mut(&mut heat.content) {
        heat.colours.log = true;
        heat.stretch = true;
    }
    let right = RightAxis { axis: axis("density", true), series: vec!["density".into()] };
    let two = vec![series("loss", 10, |x| 9.0 - x), line("density")];
    let two = Chart::new(ChartContent::Line(LineChart { series: two, right: Some(right) }));
    let panel = || Some(Chart::line(vec![line("topk"), line("l1")]));
    let panels = Panels::new(vec![vec![panel(), panel()]], false, false, LetterStyle::Upper);
    let numbers = [("topk", 3_usize), ("l1", 1)].map(|(name, number)| (name.to_string(), number));
    vec![
        ("scatter-errors", errors),
        ("line-ticks", ticks),
        ("bar-stacked", bars(true, false)),
        ("bar-horizontal", bars(false, true)),
        (
            "histogram-density",
            binned(vec![("few".into(), values(50)), ("many".into(), values(500))], &density).unwrap(),
        ),
        ("heat-log", heat),
        ("line-right-log", two),
        ("panels-legend", Chart::new(ChartContent::Panels(panels))),
        ("line-serif", Chart { font: Font::Serif, ..Chart::line(vec![line("τ = 0.1")]).titled("Serif") }),
        ("line-numbers", Chart { colour_numbers: numbers.into(), ..Chart::line(vec![line("l1"), line("topk")]) }),
    ]
}
