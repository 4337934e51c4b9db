//! The part of a sheet that a chart is drawn on: all of it, or a panel of a picture of several charts.

use super::*;
use crate::report::draw::layout::{self, PAD, TITLE};

/// Room at each side of a plot, for what stands around it.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Margins {
    pub left: f64,
    pub top: f64,
    pub right: f64,
    pub bottom: f64,
}

/// The part of a sheet that a chart is drawn on.
#[derive(Debug, Clone)]
pub struct Pane {
    pub width: f64,
    pub height: f64,
    pub lettering: Lettering,
    /// Part of the chart in a picture of several; none where it is all of the picture.
    pub panel: Option<Panel>,
}

/// Part of a chart in a picture of several.
#[derive(Debug, Clone)]
pub struct Panel {
    /// Letter above the plot, empty where panels have none.
    pub letter: String,
    /// Whether labels of the x axis stand below the plot, and not below another panel.
    pub has_x_labels: bool,
    /// Whether labels of the y axis stand at the left of the plot, and not of another panel.
    pub has_y_labels: bool,
    /// Margins that panels have in common, once they are known.
    pub margins: Option<Margins>,
}

impl Pane {
    /// Returns the margins that are not to follow from the labels.
    pub fn margins(&self) -> Option<Margins> {
        self.panel.as_ref().and_then(|panel| panel.margins)
    }

    pub fn has_x_labels(&self) -> bool {
        self.panel.as_ref().is_none_or(|panel| panel.has_x_labels)
    }

    pub fn has_y_labels(&self) -> bool {
        self.panel.as_ref().is_none_or(|panel| panel.has_y_labels)
    }

    /// Breaks notes into lines of a width. The notes of panels stand together below all of them.
    pub fn note_lines(&self, notes: &[String], width: f64) -> Vec<String> {
        if self.panel.is_some() { Vec::new() } else { layout::note_lines(notes, width, self.lettering.font) }
    }
}

/// Free space between the letter of a panel and its title.
const LETTER_GAP: f64 = 9.0;

/// The title above a plot, with the letter of a panel before it.
pub struct Heading {
    letter: String,
    /// Room that the letter takes before the title.
    indent: f64,
    lines: Vec<String>,
    /// Width of the longest line, behind the letter.
    pub width: f64,
}

impl Heading {
    pub fn of(title: &str, pane: &Pane) -> Self {
        let letter = pane.panel.as_ref().map(|panel| panel.letter.clone()).unwrap_or_default();
        let font = pane.lettering.font;
        let wide = |line: &String| TITLE.of(font).width(line);
        let indent = if letter.is_empty() { 0.0 } else { wide(&letter) + LETTER_GAP };
        let lines = layout::title_lines(title, pane.width - indent, font);
        let width = indent + lines.iter().map(wide).fold(0.0, f64::max);
        Self { letter, indent, lines, width }
    }

    pub fn height(&self) -> f64 {
        if self.lines.is_empty() && !self.letter.is_empty() {
            return layout::title_height(std::slice::from_ref(&self.letter));
        }
        layout::title_height(&self.lines)
    }

    pub fn draw(&self, canvas: &mut Canvas) -> Result<()> {
        if !self.letter.is_empty() {
            layout::draw_title(canvas, std::slice::from_ref(&self.letter))?;
        }
        layout::draw_title_from(canvas, &self.lines, PAD + self.indent)
    }
}
