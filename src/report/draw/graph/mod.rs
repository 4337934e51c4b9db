//! Circuits: nodes in rows, the earliest at the bottom and the target on top, with an edge for each effect; where nodes
//! stand at positions of a text, in columns, too.

mod boxes;
mod columns;
mod curve;
mod labels;
mod legend;
pub mod node_names;
mod node_style;
mod placement;
mod route;
#[cfg(test)]
pub mod samples;
mod stroke;
pub mod strongest_part;
pub mod view;

use super::canvas::{Anchor, Canvas, Drawing, Layers, Point, TypeStyle};
use super::layout::{self, PAD};
use super::lettering::Font;
use crate::base::Result;
use crate::circuit::Graph;
use crate::report::clip::Rectangle;
use crate::report::number;
use crate::report::palette::{GROUND, MUTED, RULE};
use crate::report::picture::Picture;
use crate::report::visible_text::{count, visible};
use boxes::{BoxSize, BoxText};
use labels::EdgeLabel;
use legend::GraphLegend;
use placement::NodePlacement;
use stroke::StrokeStyle;
use view::GraphView;

const EFFECT: TypeStyle = TypeStyle::regular(9.5);
const SITE: TypeStyle = TypeStyle::bold(11.0);
const REMARK: TypeStyle = TypeStyle::bold(11.5);
const REMARK_LINE: f64 = 18.0;

/// The least room for the title and the legend.
const NARROWEST: f64 = 500.0;
/// Numbers of edges beyond which all are thin, and beyond which they are faint.
const MANY: usize = 100;
const VERY_MANY: usize = 150;
/// Distance by which a level's ground reaches beyond its boxes.
const BAND: f64 = 10.0;
/// The line below the columns, and the space between two of them.
const POSITIONS: f64 = 18.0;
const BETWEEN: f64 = 1.5;

impl Picture for Graph {
    fn title(&self) -> String {
        self.title.clone()
    }

    fn description(&self) -> String {
        let nodes = count(self.nodes.len(), "node");
        let edges = count(self.edges.len(), "effect");
        let partial = if self.is_whole { "" } else { ", partial" };
        format!("{}{partial}: {nodes} of {}, {edges}", self.title, count(self.sites.len(), "site"))
    }

    fn draw(&self, spelling: bool) -> Result<Drawing> {
        GraphLayout::of(&GraphView::of(self)).drawn(spelling)
    }
}

/// A circuit with everything in its place.
struct GraphLayout<'a> {
    view: &'a GraphView<'a>,
    sites: Vec<String>,
    texts: Vec<BoxText>,
    placed: NodePlacement,
    curves: Vec<Vec<Point>>,
    labels: Vec<EdgeLabel>,
    weight: StrokeStyle,
    /// Height at which the boxes begin, below the title and the remarks.
    above: f64,
}

impl<'a> GraphLayout<'a> {
    fn of(view: &'a GraphView<'a>) -> Self {
        let graph = view.graph;
        let site = |site: &Option<usize>| site.and_then(|site| graph.sites.get(site)).map_or("", String::as_str);
        let sites: Vec<String> = view.levels.iter().map(|at| SITE.fitted(&visible(site(at)), 120.0)).collect();
        let left = sites.iter().map(|site| SITE.width(site)).fold(0.0, f64::max);
        let by_position = view.is_by_position();
        let mut names = node_names::nodes(graph);
        if by_position {
            // The column says it.
            let positioned = names.iter_mut().zip(&graph.nodes).filter(|(_, node)| node.position.is_some());
            positioned.for_each(|(name, _)| name.truncate(name.rfind('@').unwrap_or(name.len())));
        }
        let size = if by_position { BoxSize::in_columns(columns::count(view)) } else { BoxSize::in_rows(view) };
        let texts: Vec<BoxText> = (0..view.boxes.len()).map(|at| BoxText::of(view, at, size, &names)).collect();
        let heights: Vec<f64> = texts.iter().map(BoxText::height).collect();
        let placed = if by_position {
            columns::placed(view, &heights, left + 20.0, size.width)
        } else {
            NodePlacement::of(view, &heights, left, size.width)
        };
        let weight = match (by_position, view.edges.len()) {
            (true, VERY_MANY..) => StrokeStyle::FAINT,
            (true, _) | (_, MANY..) => StrokeStyle::THIN,
            _ => StrokeStyle::WIDE,
        };
        let curves = route::curves(view, &placed);
        let labels = labels::labels(view, &placed, &curves);
        Self { view, sites, texts, placed, curves, labels, weight, above: 0.0 }
    }

    fn drawn(mut self, spelling: bool) -> Result<Drawing> {
        let graph = self.view.graph;
        let partial = (!graph.is_whole)
            .then(|| "Partial: it was interrupted, and shows what had been found by then.".to_string());
        let remarks: Vec<&String> = partial.iter().chain(&self.view.left_out).collect();
        let least = remarks.iter().map(|remark| REMARK.width(remark)).fold(NARROWEST, f64::max);
        let width = self.placed.width.max(least) + 2.0 * PAD;
        let title = layout::title_lines(&graph.title, width, Font::Sans);
        let notes = layout::note_lines(&notes(graph), width, Font::Sans);
        let legend = GraphLegend::of(self.view, &self.texts, self.weight, !self.labels.is_empty(), width);
        let titled = PAD + layout::title_height(&title);
        self.above = titled + remarks.len() as f64 * REMARK_LINE + BAND;
        let footer = if self.placed.columns.is_empty() { 0.0 } else { POSITIONS };
        let below = self.above + self.placed.height + BAND + footer + 12.0;
        let height = below + legend.height() + layout::notes_height(&notes) + PAD;
        let mut layers = Layers::new(width, height, spelling);
        layers.add(|canvas| {
            layout::draw_title(canvas, &title)?;
            for (i, remark) in remarks.iter().enumerate() {
                let middle = titled + (i as f64 + 0.5) * REMARK_LINE - 4.0;
                canvas.text(remark, (PAD, middle), Anchor::Left, REMARK, stroke::GROWS)?;
            }
            self.draw_ground(canvas)
        })?;
        self.draw_circuit(&mut layers)?;
        layers.add(|canvas| {
            legend.draw(canvas, below)?;
            layout::draw_notes(canvas, &notes, height)
        })?;
        Ok(layers.finished())
    }

    /// Moves a point from the coordinates of the boxes to those of the sheet.
    fn moved(&self, (x, y): Point) -> Point {
        (x + PAD, y + self.above)
    }

    fn framed(&self, frame: &Rectangle) -> Rectangle {
        let (left, top) = self.moved((frame.left, frame.top));
        let (right, bottom) = self.moved((frame.right, frame.bottom));
        Rectangle { left, top, right, bottom }
    }

    /// Draws a faint ground behind the boxes of each level, cut into columns where there are some, and writes what
    /// levels and columns are called.
    fn draw_ground(&self, canvas: &mut Canvas) -> Result<()> {
        for level in &self.placed.levels {
            let top = self.above + level.top - BAND;
            let bottom = self.above + level.bottom + BAND;
            let first = self.placed.columns.first().map_or(self.placed.width, |column| column.left - 2.0 * BETWEEN);
            canvas.rectangle((PAD, top), (PAD + first, bottom), RULE.faint(0.4))?;
            for column in &self.placed.columns {
                let left = PAD + column.left + BETWEEN;
                let right = PAD + column.right - BETWEEN;
                canvas.rectangle((left, top), (right, bottom), RULE.faint(0.4))?;
            }
            if let Some(site) = self.sites.get(level.level) {
                canvas.text(site, (PAD + 8.0, (top + bottom) / 2.0), Anchor::Left, SITE, MUTED)?;
            }
        }
        for column in &self.placed.columns {
            let at =
                (PAD + (column.left + column.right) / 2.0, self.above + self.placed.height + BAND + POSITIONS / 2.0);
            let name = column.position.map_or("–".to_string(), |position| position.to_string());
            canvas.text(&name, at, Anchor::Center, EFFECT, MUTED)?;
        }
        if !self.placed.columns.is_empty() {
            let at = (PAD + 8.0, self.above + self.placed.height + BAND + POSITIONS / 2.0);
            canvas.text("position", at, Anchor::Left, EFFECT, MUTED)?;
        }
        Ok(())
    }

    /// Draws edges, labels and boxes.
    fn draw_circuit(&self, layers: &mut Layers) -> Result<()> {
        let view = self.view;
        // The weakest first, so that the strong ones lie on top.
        for i in view.by_strength() {
            let edge = &view.edges[i];
            let points: Vec<Point> = self.curves[i].iter().map(|point| self.moved(*point)).collect();
            layers.add_about("edge", &[edge.low, edge.high], |canvas| {
                if self.placed.columns.is_empty() {
                    stroke::clear(canvas, &points, edge.share, self.weight)?;
                }
                stroke::draw(canvas, &points, edge.share, self.weight)?;
                match points.first().filter(|_| edge.is_down) {
                    Some(end) => stroke::arrow(canvas, *end, edge.share),
                    None => Ok(()),
                }
            })?;
        }
        for EdgeLabel { edge, words, plate } in &self.labels {
            let edge = &view.edges[*edge];
            let plate = self.framed(plate);
            layers.add_about("edge", &[edge.low, edge.high], |canvas| {
                canvas.rectangle((plate.left, plate.top), (plate.right, plate.bottom), GROUND.faint(0.88))?;
                words.draw(canvas, (plate.left + labels::MARGIN, (plate.top + plate.bottom) / 2.0))
            })?;
        }
        for (at, (text, frame)) in self.texts.iter().zip(&self.placed.boxes).enumerate() {
            let frame = self.framed(frame);
            layers.add_about("node", &[at], |canvas| {
                text.draw(canvas, &frame)?;
                self.draw_ports(canvas, at, &frame)?;
                canvas.area(frame, at);
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Writes the names of a head's inputs above where their edges end.
    fn draw_ports(&self, canvas: &mut Canvas, at: usize, frame: &Rectangle) -> Result<()> {
        let ends = self.view.edges.iter().zip(&self.curves).filter(|(edge, _)| edge.high == at);
        let mut runs: Vec<(crate::circuit::Port, Vec<f64>)> = Vec::new();
        for (port, x) in ends.filter_map(|(edge, curve)| Some((edge.port?, curve.last()?.0))) {
            match runs.iter_mut().find(|run| run.0 == port) {
                Some(run) => run.1.push(x),
                None => runs.push((port, vec![x])),
            }
        }
        for (port, x) in runs {
            let middle = PAD + x.iter().sum::<f64>() / x.len() as f64;
            canvas.text(&port.to_string(), (middle, frame.bottom - 6.5), Anchor::Center, boxes::PORT, MUTED)?;
        }
        Ok(())
    }
}

fn notes(graph: &Graph) -> Vec<String> {
    let made = graph.made.iter().map(|(name, value)| format!("{name} {}", number::NumberFormat::Free.write(value)));
    let made: Vec<String> = made.collect();
    let model = if graph.model.is_empty() { Vec::new() } else { vec![graph.model.clone()] };
    let made = if made.is_empty() { Vec::new() } else { vec![made.join(", ")] };
    match [model, made].concat().join("; ") {
        notes if notes.is_empty() => Vec::new(),
        notes => vec![notes],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::draw::canvas::Size;
    use crate::report::picture::{inline_svg, png, svg};

    #[test]
    fn every_size_is_drawn_and_the_same_every_time() {
        for graph in samples::all() {
            let picture = inline_svg(&graph).unwrap();
            assert_eq!(picture, inline_svg(&graph).unwrap());
            for node in &graph.nodes {
                assert!(picture.contains(&format!("{}/{}", node.level, node.feature().unwrap())));
            }
            assert!(!picture.contains("Partial") && svg(&graph).unwrap().len() > 1000);
        }
    }

    #[test]
    fn every_text_lies_within_the_picture() {
        for graph in samples::all() {
            let drawing = graph.draw(false).unwrap();
            let Size { width: wide, height: high } = drawing.view_box();
            for text in drawing.body.split("<text ").skip(1) {
                let at = |name: &str| -> f64 {
                    text.split(&format!("{name}=\"")).nth(1).unwrap().split('"').next().unwrap().parse().unwrap()
                };
                let letters = text.split('>').nth(1).unwrap().split('<').next().unwrap();
                // An average letter is at least half as wide as it is high.
                let end = at("x")
                    + if text.contains("\"start\"") {
                        at("font-size") * 0.5 * letters.trim().len() as f64
                    } else {
                        0.0
                    };
                assert!(at("x") >= 0.0 && end <= wide && at("y") >= 0.0 && at("y") <= high, "{text}");
            }
            assert_eq!(
                drawing.areas.iter().map(|area| area.index).collect::<Vec<_>>(),
                (0..graph.nodes.len()).collect::<Vec<_>>()
            );
        }
    }

    #[test]
    fn growing_is_of_another_colour_and_dashed_and_said_only_where_it_occurs() {
        let mut graph = samples::graph(&[2, 1]);
        graph.edges.iter_mut().for_each(|edge| edge.effect = 0.3);
        let falling = inline_svg(&graph).unwrap();
        assert!(falling.contains("#0072B2") && !falling.contains("#D55E00") && !falling.contains("it grows"));
        graph.edges[1].effect = -0.3;
        let mixed = inline_svg(&graph).unwrap();
        assert!(mixed.contains("it grows instead") && mixed.contains("-30 %"));
        assert!(mixed.matches("#D55E00").count() > 5, "dashes are many strokes");
    }

    #[test]
    fn what_is_partial_says_so_and_what_is_hostile_stays_text() {
        let mut graph = samples::graph(&[2, 1]);
        graph.is_whole = false;
        graph.nodes[1].meaning = Some("</svg><script>alert(1)</script>\u{202e}\0".into());
        graph.sites[0] = "<b>".into();
        graph.title = "<i>".into();
        let picture = inline_svg(&graph).unwrap();
        assert!(picture.contains("Partial: it was interrupted"));
        assert!(!picture.contains("<script") && !picture.contains("<b>") && !picture.contains("<i>"));
        assert!(picture.matches("</svg>").count() == 1 && !picture.contains('\u{202e}') && !picture.contains('\0'));
    }

    #[test]
    fn nothing_is_drawn_too_and_of_a_tangle_a_part() {
        let mut graph = samples::graph(&[1]);
        graph.nodes.clear();
        assert!(png(&graph).is_ok());
        let picture = inline_svg(&samples::graph(&[200, 101, 1])).unwrap();
        assert!(picture.contains("Drawn: the strongest ") && picture.contains(" on the way to the targets, and "));
    }

    #[test]
    fn kinds_of_nodes_ports_and_quantities_are_named_where_they_occur() {
        let heads = inline_svg(&samples::heads()).unwrap();
        for words in [
            "z.2.1",
            ">\nq\n<",
            ">\nk\n<",
            "head",
            "MLP",
            "tokens, embedding, logits",
            "change of the logit difference: 2",
        ] {
            assert!(heads.contains(words), "{words} is missing");
        }
        assert!(!heads.contains("cosine") && !heads.contains("error") && !heads.contains(" %"));
        let features = inline_svg(&samples::features()).unwrap();
        assert!(features.contains("error: what the dictionary leaves unexplained") && features.contains("2/error"));
        assert!(!samples::features().edges.iter().any(|edge| edge.cosine.is_some()) && !features.contains("cosine"));
        let grouped = inline_svg(&samples::grouped()).unwrap();
        for words in ["copying heads", "3 nodes", "edges are added up", "leads down, from the upper one"] {
            assert!(grouped.contains(words), "{words} is missing");
        }
    }

    #[test]
    fn by_position_there_are_columns_and_positions_stand_below_them() {
        let picture = inline_svg(&samples::attribution(12, 6)).unwrap();
        for words in ["position", ">\n11\n<", "␣brackets", "p 0.4", "0/100", "probability of the token"] {
            assert!(picture.contains(words), "{words} is missing");
        }
        assert!(!picture.contains('@'));
    }

    /// Writes pictures to look at: `LOOK=folder cargo test --lib pictures_to_look_at`.
    #[test]
    fn pictures_to_look_at() {
        let Some(folder) = std::env::var_os("LOOK").map(std::path::PathBuf::from) else { return };
        for (name, graph) in samples::named() {
            std::fs::write(folder.join(format!("{name}.png")), png(&graph).unwrap()).unwrap();
        }
    }
}
