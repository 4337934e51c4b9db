//! The picture of a model's blocks, as all results that are drawn.

use super::build;
use super::layout::{self, Marks, PLUS};
use super::parts::{Section, SiteLabel, Step};
use crate::base::{Cell, Result, Table};
use crate::model::config::Config;
use crate::report::draw::canvas::{self, Anchor, Canvas, Drawing, Point};
use crate::report::draw::layout::{PAD, draw_notes, draw_title, note_lines, notes_height, title_height, title_lines};
use crate::report::draw::lettering::Font;
use crate::report::palette::{GROUND, INK, MUTED, RULE, SERIES};
use crate::report::picture::Picture;
use crate::report::visible_text::count;

/// The width within which kinds of blocks stand side by side.
const WIDEST: f64 = 960.0;
const BESIDE: f64 = 26.0;
const BELOW: f64 = 14.0;
const NOTE: &str = "On coloured ground: sites, by the names that hooks take, with the axes of their activations behind batch and position.";

/// The blocks of a model as a picture.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelPicture {
    pub title: String,
    pub sections: Vec<Section>,
}

impl ModelPicture {
    pub fn of(config: &Config) -> Self {
        let title = format!("{}: {} of {}", config.family, count(config.layers, "layer"), config.d_model);
        Self { title, sections: build::sections(config) }
    }

    /// Returns the number of distinct kinds of blocks.
    pub fn kinds(&self) -> usize {
        self.sections.iter().filter(|section| !section.layers.is_empty()).count()
    }

    /// Tabulates the boxes of the drawing with their sites.
    pub fn table(&self) -> Table {
        let mut rows = Vec::new();
        for section in &self.sections {
            for step in &section.steps {
                match step {
                    Step::Segment(segment) => rows.extend(segment.parts.iter().map(|part| {
                        let words = [std::slice::from_ref(&part.name), &part.details[..]].concat();
                        row(section, words.join(", ").trim_start_matches(", "), part.sites())
                    })),
                    Step::Stream { name, inside, sites } => {
                        let words = if name.is_empty() { "residual stream" } else { name };
                        rows.push(row(section, words, inside.iter().chain(sites)));
                    }
                    Step::Other { site, meaning } => rows.push(row(section, meaning, [site].into_iter())),
                }
            }
        }
        Table::new(&self.title, ["part", "computation", "sites"], rows)
    }

    fn placed(&self, top: f64) -> PlacedMarks {
        let mut marks = Marks::default();
        let mut width: f64 = 0.0;
        let mut y = top;
        let mut x = PAD;
        let mut lowest = y;
        for (i, section) in self.sections.iter().enumerate() {
            let own = layout::width(section);
            let is_beside = i > 0 && !section.layers.is_empty() && !self.sections[i - 1].layers.is_empty();
            if is_beside && x + own <= WIDEST {
                lowest = lowest.max(marks.section(section, x, y));
            } else {
                if i > 0 {
                    y = lowest + if self.kinds() > 1 { BELOW } else { 0.0 };
                }
                x = PAD;
                lowest = marks.section(section, x, y);
            }
            width = width.max(x + own);
            x += own + BESIDE;
        }
        PlacedMarks { marks, width: width + PAD, bottom: lowest }
    }
}

/// All marks of a picture, and its size without what is below them.
struct PlacedMarks {
    marks: Marks,
    width: f64,
    bottom: f64,
}

fn row<'a>(section: &Section, words: &str, sites: impl Iterator<Item = &'a SiteLabel>) -> Vec<Cell> {
    let sites: Vec<&str> = sites.map(|site| site.name).collect();
    vec![section.title.clone().into(), words.into(), sites.join(", ").into()]
}

impl Picture for ModelPicture {
    fn title(&self) -> String {
        self.title.clone()
    }

    fn description(&self) -> String {
        let titles: Vec<&str> = self.sections.iter().map(|section| section.title.as_str()).collect();
        format!(
            "{}: the residual stream, what branches off it, and the sites of each activation; {}",
            self.title,
            titles.join("; ")
        )
    }

    fn keeps_text(&self) -> bool {
        true
    }

    fn draw(&self, spelling: bool) -> Result<Drawing> {
        let width = self.placed(0.0).width;
        let title = title_lines(&self.title, width, Font::Sans);
        let PlacedMarks { marks, bottom, .. } = self.placed(PAD + title_height(&title));
        let notes = note_lines(&[NOTE.to_string()], width, Font::Sans);
        let height = bottom + notes_height(&notes) + 4.0 + PAD;
        canvas::draw(width, height, spelling, |canvas| {
            draw_title(canvas, &title)?;
            painted(&marks, canvas)?;
            draw_notes(canvas, &notes, height)
        })
    }
}

fn painted(marks: &Marks, canvas: &mut Canvas) -> Result<()> {
    for line in &marks.streams {
        canvas.path(line, 2.6, INK)?;
    }
    for line in &marks.lines {
        canvas.path(line, 1.0, MUTED)?;
    }
    for frame in &marks.boxes {
        let corners = [(frame.left, frame.top), (frame.right, frame.bottom)];
        canvas.rectangle(corners[0], corners[1], RULE)?;
    }
    for frame in &marks.plates {
        let corners = [(frame.left, frame.top), (frame.right, frame.bottom)];
        canvas.rectangle(corners[0], corners[1], SERIES[0].faint(0.2))?;
    }
    for at in &marks.down {
        canvas.polygon(&[*at, (at.0 - 2.8, at.1 - 5.0), (at.0 + 2.8, at.1 - 5.0)], MUTED)?;
    }
    for at in &marks.aside {
        canvas.polygon(&[*at, (at.0 + 5.0, at.1 - 2.8), (at.0 + 5.0, at.1 + 2.8)], MUTED)?;
    }
    for at in &marks.sums {
        plus(canvas, *at)?;
    }
    for words in &marks.words {
        let ink = if words.is_muted { MUTED } else { INK };
        canvas.text(&words.text, (words.left, words.middle), Anchor::Left, words.style, ink)?;
    }
    Ok(())
}

/// Draws the sign of an addition to the stream.
fn plus(canvas: &mut Canvas, (x, y): Point) -> Result<()> {
    canvas.disc((x, y), PLUS, INK)?;
    canvas.disc((x, y), PLUS - 1.2, GROUND)?;
    canvas.line((x - 3.5, y), (x + 3.5, y), 1.2, INK)?;
    canvas.line((x, y - 3.5), (x, y + 3.5), 1.2, INK)
}
