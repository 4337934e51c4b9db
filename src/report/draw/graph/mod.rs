//! Circuits: features in rows, the earliest at the bottom and the target on top, with an edge for each effect.

mod boxes;
mod key;
mod labels;
pub mod names;
mod place;
mod route;
#[cfg(test)]
pub mod samples;

use super::canvas::{Anchor, Canvas, Drawing, Point, Type, draw as on_canvas};
use super::layout::{self, PAD};
use crate::base::Result;
use crate::circuit::Graph;
use crate::err;
use crate::report::clip::Frame;
use crate::report::number;
use crate::report::palette::{GROUND, MUTED, RULE, Rgb, SERIES};
use crate::report::picture::Picture;
use crate::report::symbols::{count, visible};
use key::Legend;
use labels::Label;
use place::{Level, Placed};

/// Edges by which the later feature falls, and by which it grows, when the earlier one is ablated.
const FALLS: Rgb = SERIES[0];
const GROWS: Rgb = SERIES[1];
const DASH: f64 = 5.0;

const EFFECT: Type = Type::regular(9.5);
const SITE: Type = Type::bold(11.0);
const PARTIAL: Type = Type::bold(11.5);
const PARTIAL_LINE: f64 = 18.0;

/// What a level's ground reaches beyond its boxes.
const BAND: f64 = 10.0;

/// Beyond this a drawing is a tangle.
const MOST_NODES: usize = 300;
const MOST_EDGES: usize = 2000;

impl Picture for Graph {
    fn title(&self) -> String {
        self.title.clone()
    }

    fn description(&self) -> String {
        let (nodes, edges) = (count(self.nodes.len(), "feature"), count(self.edges.len(), "effect"));
        let partial = if self.is_whole { "" } else { ", partial" };
        format!("{}{partial}: {nodes} of {}, {edges}", self.title, count(self.sites.len(), "site"))
    }

    fn draw(&self, spelling: bool) -> Result<Drawing> {
        if !self.can_be_drawn() {
            let (nodes, edges) = (self.nodes.len(), self.edges.len());
            let hint = "save it as .dot or .json, or leave weak edges out when it is made";
            return Err(err!(
                Argument,
                "expected at most {MOST_NODES} nodes and {MOST_EDGES} edges to draw, found {nodes} and {edges}"
            )
            .hint(hint));
        }
        let texts: Vec<boxes::Text> =
            self.nodes.iter().zip(names::nodes(self)).map(|(node, name)| boxes::Text::of(node, &name)).collect();
        let heights: Vec<f64> = texts.iter().map(boxes::Text::height).collect();
        let sites: Vec<String> = self.sites.iter().map(|site| SITE.fitted(&visible(site), 120.0)).collect();
        let labels = sites.iter().map(|site| SITE.width(site)).fold(0.0, f64::max);
        let placed = Placed::of(self, &heights, labels);
        let width = placed.width + 2.0 * PAD;
        let (title, notes) = (layout::title_lines(&self.title, width), layout::note_lines(&notes(self), width));
        let partial = if self.is_whole { 0.0 } else { PARTIAL_LINE };
        let legend = Legend::of(self, width);
        let above = PAD + layout::title_height(&title) + partial + BAND;
        let below = above + placed.height + BAND + 12.0;
        let height = below + legend.height() + layout::notes_height(&notes) + PAD;
        on_canvas(width, height, spelling, |canvas| {
            layout::draw_title(canvas, &title)?;
            if !self.is_whole {
                let text = "Partial: it was interrupted, and shows what had been found by then.";
                let middle = PAD + layout::title_height(&title) + partial / 2.0 - 4.0;
                canvas.text(text, (PAD, middle), Anchor::Start, PARTIAL, GROWS)?;
            }
            self.draw_circuit(canvas, &placed, (&sites, &texts), above)?;
            legend.draw(canvas, below)?;
            layout::draw_notes(canvas, &notes, height)
        })
    }
}

impl Graph {
    /// Whether a drawing of it could be read.
    pub fn can_be_drawn(&self) -> bool {
        self.nodes.len() <= MOST_NODES && self.edges.len() <= MOST_EDGES
    }

    /// Everything between the title and the legend, moved down to `above` and right to the margin.
    fn draw_circuit(
        &self,
        canvas: &mut Canvas,
        placed: &Placed,
        (sites, texts): (&[String], &[boxes::Text]),
        above: f64,
    ) -> Result<()> {
        let moved = |(x, y): Point| (x + PAD, y + above);
        let framed = |frame: &Frame| {
            let ((left, top), (right, bottom)) = (moved((frame.left, frame.top)), moved((frame.right, frame.bottom)));
            Frame { left, top, right, bottom }
        };
        for level in &placed.levels {
            draw_level(canvas, level, sites.get(level.level), placed.width, above)?;
        }
        let curves = route::curves(self, placed);
        // The weakest first, so that the strong ones lie on top.
        let mut order: Vec<usize> = (0..self.edges.len()).collect();
        order.sort_by(|a, b| self.edges[*a].effect.abs().total_cmp(&self.edges[*b].effect.abs()));
        for i in order {
            let points: Vec<Point> = curves[i].iter().map(|point| moved(*point)).collect();
            // What runs below is cut off beside it, so that crossings are seen as such.
            canvas.path(&points, thickness(self.edges[i].effect) + 2.4, GROUND)?;
            stroke(canvas, &points, self.edges[i].effect)?;
        }
        for Label { words, plate } in labels::labels(self, placed, &curves) {
            let plate = framed(&plate);
            canvas.rectangle((plate.left, plate.top), (plate.right, plate.bottom), GROUND.faint(0.88))?;
            words.draw(canvas, (plate.left + labels::MARGIN, (plate.top + plate.bottom) / 2.0))?;
        }
        for (node, (text, frame)) in texts.iter().zip(&placed.boxes).enumerate() {
            let frame = framed(frame);
            boxes::draw(canvas, text, &frame, node == 0)?;
            canvas.area(frame, node);
        }
        Ok(())
    }
}

fn notes(graph: &Graph) -> Vec<String> {
    let made = graph.made.iter().map(|(name, value)| format!("{name} {}", number::Column::Free.write(value)));
    let made: Vec<String> = made.collect();
    let model = if graph.model.is_empty() { Vec::new() } else { vec![graph.model.clone()] };
    let made = if made.is_empty() { Vec::new() } else { vec![made.join(", ")] };
    match [model, made].concat().join("; ") {
        notes if notes.is_empty() => Vec::new(),
        notes => vec![notes],
    }
}

/// A faint ground behind the boxes of a level, and the name of its site.
fn draw_level(canvas: &mut Canvas, level: &Level, site: Option<&String>, width: f64, above: f64) -> Result<()> {
    let (top, bottom) = (above + level.top - BAND, above + level.bottom + BAND);
    canvas.rectangle((PAD, top), (PAD + width, bottom), RULE.faint(0.4))?;
    let Some(site) = site else { return Ok(()) };
    canvas.text(site, (PAD + 8.0, (top + bottom) / 2.0), Anchor::Start, SITE, MUTED)
}

fn thickness(effect: f64) -> f64 {
    0.9 + 7.0 * effect.abs().min(1.0)
}

/// An edge: as wide as its effect is large, dashed and of another colour where the effect is negative.
fn stroke(canvas: &mut Canvas, points: &[Point], effect: f64) -> Result<()> {
    let depth = 0.4 + 0.5 * effect.abs().min(1.0).sqrt();
    match effect {
        effect if effect < 0.0 => canvas.dashed(points, DASH, thickness(effect), GROWS.faint(depth)),
        effect => canvas.path(points, thickness(effect), FALLS.faint(depth)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
            let (wide, high) = drawing.view_box();
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
    fn nothing_is_drawn_too_and_a_tangle_is_refused() {
        let mut graph = samples::graph(&[1]);
        graph.nodes.clear();
        assert!(png(&graph).is_ok());
        let error = inline_svg(&samples::graph(&[200, 101])).unwrap_err();
        assert!(
            error.message.starts_with("expected at most 300 nodes and 2000 edges to draw, found 301 and"),
            "{error:?}"
        );
    }
}
