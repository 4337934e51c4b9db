//! Circuits: features in rows, the earliest at the bottom, with an edge for each effect.

mod place;

use super::canvas::{Anchor, Canvas, Drawing, Point, Type, draw as on_canvas};
use super::layout::{self, PAD};
use crate::base::Result;
use crate::circuit::{Edge, Graph};
use crate::report::number;
use crate::report::palette::{GROUND, INK, MUTED, RULE, Rgb, SERIES, mixed};
use crate::report::picture::Picture;
use crate::report::symbols::visible;
use place::{BOX_WIDTH, Placed};

/// Edges by which the later feature falls, and by which it grows, when the earlier one is ablated.
const FALLS: Rgb = SERIES[0];
const GROWS: Rgb = SERIES[1];

const NAME: Type = Type::bold(10.5);
const MEANING: Type = Type::regular(10.5);
const EFFECT: Type = Type::regular(9.5);
const SITE: Type = Type::bold(11.0);

const LINE: f64 = 13.0;
/// The most lines that a description takes.
const LINES: usize = 3;
/// Beyond this many edges only strong ones say their effect.
const MANY: usize = 24;
const STRONG: f64 = 0.2;

/// Straight pieces that a curve is drawn of.
const PIECES: usize = 24;

impl Picture for Graph {
    fn title(&self) -> String {
        self.title.clone()
    }

    fn description(&self) -> String {
        let (nodes, edges) = (self.nodes.len(), self.edges.len());
        format!("{}: {nodes} features of {} dictionaries, {edges} effects", self.title, self.sites.len())
    }

    fn draw(&self, spelling: bool) -> Result<Drawing> {
        let texts: Vec<Vec<String>> = (0..self.nodes.len()).map(|node| lines(self, node)).collect();
        let heights: Vec<f64> = texts.iter().map(|lines| (lines.len() + 1) as f64 * LINE + 9.0).collect();
        let labels = self.sites.iter().map(|site| SITE.width(site)).fold(0.0, f64::max) + 16.0;
        let placed = Placed::of(self, &heights, PAD + labels);
        let title = layout::title_lines(&self.title, placed.width);
        let notes = layout::note_lines(&notes(self), placed.width);
        let above = PAD + layout::title_height(&title);
        let height = above + placed.height + layout::notes_height(&notes) + PAD;
        on_canvas(placed.width, height, spelling, |canvas| {
            layout::draw_title(canvas, &title)?;
            layout::draw_notes(canvas, &notes, height)?;
            draw_levels(canvas, self, &placed, above)?;
            // The weakest first, so that the strong ones lie on top.
            let mut edges: Vec<&Edge> = self.edges.iter().collect();
            edges.sort_by(|a, b| a.effect.abs().total_cmp(&b.effect.abs()));
            edges.iter().try_for_each(|edge| draw_edge(canvas, edge, &placed, &heights, above))?;
            for (node, text) in texts.iter().enumerate() {
                draw_node(canvas, self, node, (text, heights[node]), placed.centres[node], above)?;
            }
            let is_labelled = |edge: &&&Edge| edges.len() <= MANY || edge.effect.abs() >= STRONG;
            edges.iter().filter(is_labelled).try_for_each(|edge| draw_effect(canvas, edge, &placed, &heights, above))
        })
    }
}

fn notes(graph: &Graph) -> Vec<String> {
    let made: Vec<String> =
        graph.made.iter().map(|(name, value)| format!("{name} {}", number::Column::Free.write(value))).collect();
    let mut notes = vec![
        "An edge says by which share the upper feature falls when the lower one is taken off: blue where it falls, \
         orange where it grows. Features are named by site and index."
            .to_string(),
    ];
    if !graph.is_whole {
        notes.push("Interrupted: what is drawn is what had been found.".into());
    }
    notes.push(format!("{}; {}.", graph.model, made.join(", ")));
    notes
}

/// What stands in a node's box below its name.
fn lines(graph: &Graph, node: usize) -> Vec<String> {
    let node = &graph.nodes[node];
    let mut text = node.meaning.clone().unwrap_or_default();
    if node.outlier {
        text = if text.is_empty() { "outlier dimension".into() } else { format!("outlier dimension: {text}") };
    }
    MEANING.wrapped(&visible(&text), BOX_WIDTH - 14.0, LINES)
}

fn draw_levels(canvas: &mut Canvas, graph: &Graph, placed: &Placed, above: f64) -> Result<()> {
    for (level, middle) in &placed.levels {
        let Some(site) = graph.sites.get(*level) else { continue };
        let y = above + middle;
        canvas.line((PAD, y), (placed.width - PAD, y), 1.0, RULE)?;
        canvas.rectangle((PAD, y - 9.0), (PAD + SITE.width(site) + 8.0, y + 9.0), GROUND)?;
        canvas.text(site, (PAD, y), Anchor::Start, SITE, MUTED)?;
    }
    Ok(())
}

/// From the top of the lower box to the bottom of the upper one.
fn ends(edge: &Edge, placed: &Placed, heights: &[f64], above: f64) -> (Point, Point) {
    let (from, to) = (placed.centres[edge.from], placed.centres[edge.to]);
    ((from.0, above + from.1 - heights[edge.from] / 2.0), (to.0, above + to.1 + heights[edge.to] / 2.0))
}

/// A cubic curve that leaves and arrives upright.
fn on_curve((from, to): (Point, Point), t: f64) -> Point {
    let bend = (from.1 - to.1) / 2.0;
    let (a, b) = ((from.0, from.1 - bend), (to.0, to.1 + bend));
    let s = 1.0 - t;
    let mix =
        |p: f64, q: f64, r: f64, u: f64| s * s * s * p + 3.0 * s * s * t * q + 3.0 * s * t * t * r + t * t * t * u;
    (mix(from.0, a.0, b.0, to.0), mix(from.1, a.1, b.1, to.1))
}

fn colour(edge: &Edge) -> Rgb {
    if edge.effect < 0.0 { GROWS } else { FALLS }
}

fn draw_edge(canvas: &mut Canvas, edge: &Edge, placed: &Placed, heights: &[f64], above: f64) -> Result<()> {
    let ends = ends(edge, placed, heights, above);
    let points: Vec<Point> = (0..=PIECES).map(|i| on_curve(ends, i as f64 / PIECES as f64)).collect();
    let strength = edge.effect.abs().min(1.0);
    canvas.path(&points, 0.8 + 6.0 * strength, colour(edge).faint(0.35 + 0.5 * strength.sqrt()))
}

fn draw_effect(canvas: &mut Canvas, edge: &Edge, placed: &Placed, heights: &[f64], above: f64) -> Result<()> {
    let text = format!("{:.0} %", 100.0 * edge.effect);
    let (x, y) = on_curve(ends(edge, placed, heights, above), 0.3);
    let half = EFFECT.width(&text) / 2.0 + 2.0;
    canvas.rectangle((x - half, y - 6.5), (x + half, y + 6.5), GROUND.faint(0.85))?;
    canvas.text(&text, (x, y), Anchor::Middle, EFFECT, INK)
}

fn draw_node(
    canvas: &mut Canvas,
    graph: &Graph,
    node: usize,
    (lines, height): (&[String], f64),
    (x, y): Point,
    above: f64,
) -> Result<()> {
    let (left, right) = (x - BOX_WIDTH / 2.0, x + BOX_WIDTH / 2.0);
    let (top, bottom) = (above + y - height / 2.0, above + y + height / 2.0);
    let is_target = node == 0;
    let edge = if is_target { INK } else { mixed(RULE, MUTED, 0.5) };
    let border = if is_target { 1.6 } else { 0.8 };
    canvas.rectangle((left - border, top - border), (right + border, bottom + border), edge)?;
    canvas.rectangle((left, top), (right, bottom), GROUND)?;
    let name = graph.nodes[node].feature.to_string();
    canvas.text(&name, (left + 7.0, top + 4.5 + LINE / 2.0), Anchor::Start, NAME, INK)?;
    if let Some(score) = graph.nodes[node].score {
        let text = number::digits(score, 2);
        canvas.text(&text, (right - 7.0, top + 4.5 + LINE / 2.0), Anchor::End, EFFECT, MUTED)?;
    }
    for (i, line) in lines.iter().enumerate() {
        let middle = top + 4.5 + (i as f64 + 1.5) * LINE;
        canvas.text(line, (left + 7.0, middle), Anchor::Start, MEANING, MUTED)?;
    }
    Ok(())
}
