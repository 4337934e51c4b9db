//! Layout of the drawing of a model: boxes in rows and columns beside the residual stream, and lines between them that run
//! down, and aside only between two rows.

use super::parts::{Input, Part, Section, Segment, SiteLabel, Step};
use crate::report::clip::Rectangle;
use crate::report::draw::canvas::{Point, TypeStyle};

pub const HEADING: TypeStyle = TypeStyle::bold(11.5);
pub const NAME: TypeStyle = TypeStyle::regular(10.5);
pub const DETAIL: TypeStyle = TypeStyle::regular(9.0);
pub const SITE: TypeStyle = TypeStyle::bold(9.5);

/// Distance of the residual stream from the left side of its section, and where the first column begins.
const STREAM: f64 = 12.0;
const FIRST: f64 = 34.0;
const COLUMN: f64 = 116.0;
/// Space at both sides of a box in its columns, and around its text.
const ASIDE: f64 = 4.0;
const INSIDE: f64 = 5.0;
/// Space between two rows, above the first one, and below the last one.
const BETWEEN: f64 = 17.0;
const ENTRY: f64 = 20.0;
const JOIN: f64 = 12.0;
const HEADING_LINE: f64 = 17.0;
const LINE: f64 = 12.5;
/// Radius of the sign of an addition.
pub const PLUS: f64 = 6.5;

/// A line of text.
#[derive(Debug, Clone, PartialEq)]
pub struct Words {
    pub text: String,
    pub left: f64,
    pub middle: f64,
    pub style: TypeStyle,
    pub is_muted: bool,
}

impl Words {
    #[cfg(test)]
    pub fn frame(&self) -> Rectangle {
        let half = self.style.size / 2.0;
        Rectangle {
            left: self.left,
            right: self.left + self.style.width(&self.text),
            top: self.middle - half,
            bottom: self.middle + half,
        }
    }
}

/// All marks of a drawing, in pixels from the upper left of its sections.
#[derive(Debug, Default)]
pub struct Marks {
    /// The residual stream.
    pub streams: Vec<Vec<Point>>,
    pub lines: Vec<Vec<Point>>,
    /// Points of arrows that lead down, and of those that lead to the left.
    pub down: Vec<Point>,
    pub aside: Vec<Point>,
    pub sums: Vec<Point>,
    pub boxes: Vec<Rectangle>,
    /// Grounds of the names of sites.
    pub plates: Vec<Rectangle>,
    pub words: Vec<Words>,
}

/// A line of a text about to be placed: a site and its shape, or words.
struct Line {
    site: String,
    words: String,
    style: TypeStyle,
    is_muted: bool,
}

impl Line {
    fn words(words: String, style: TypeStyle, is_muted: bool) -> Self {
        Self { site: String::new(), words, style, is_muted }
    }

    fn width(&self) -> f64 {
        let gap = if self.site.is_empty() || self.words.is_empty() { 0.0 } else { 4.0 };
        SITE.width(&self.site) + gap + self.style.width(&self.words)
    }
}

/// Writes sites with their shapes, beside or below their names.
fn site_lines(sites: &[SiteLabel], room: f64) -> Vec<Line> {
    let mut lines = Vec::new();
    for site in sites {
        let name = SITE.fitted(site.name, room);
        let whole = Line { site: name, ..Line::words(site.shape.clone(), DETAIL, true) };
        if whole.width() <= room {
            lines.push(whole);
        } else {
            lines.push(Line { words: String::new(), ..whole });
            lines.push(Line::words(DETAIL.fitted(&site.shape, room), DETAIL, true));
        }
    }
    lines
}

/// A part with the lines of its texts.
struct Sized<'a> {
    part: &'a Part,
    inside: Vec<Line>,
    /// Number of the last lines inside that are of sites.
    sites: usize,
    behind: Vec<Line>,
}

impl<'a> Sized<'a> {
    fn new(part: &'a Part) -> Self {
        let room = (part.last + 1 - part.first) as f64 * COLUMN - 2.0 * (ASIDE + INSIDE);
        let mut inside: Vec<Line> =
            NAME.wrapped(&part.name, room, 3).into_iter().map(|line| Line::words(line, NAME, false)).collect();
        for detail in &part.details {
            inside.extend(DETAIL.wrapped(detail, room, 3).into_iter().map(|line| Line::words(line, DETAIL, true)));
        }
        let own = site_lines(&part.inside, room);
        let sites = own.len();
        inside.extend(own);
        Self { part, inside, sites, behind: site_lines(&part.behind, room + 2.0 * INSIDE - 2.0) }
    }

    fn box_height(&self) -> f64 {
        if self.inside.is_empty() { 0.0 } else { self.inside.len() as f64 * LINE + 2.0 * INSIDE - 2.0 }
    }

    fn label_height(&self) -> f64 {
        if self.behind.is_empty() { 0.0 } else { self.behind.len() as f64 * LINE + 6.0 }
    }

    fn height(&self) -> f64 {
        self.box_height() + self.label_height()
    }
}

/// Returns the width of a section.
pub fn width(section: &Section) -> f64 {
    let columns = |step: &Step| match step {
        Step::Segment(segment) => segment.parts.iter().map(|part| part.last + 1).max().unwrap_or_default(),
        Step::Stream { .. } | Step::Other { .. } => 2,
    };
    FIRST + section.steps.iter().map(columns).max().unwrap_or(2).max(2) as f64 * COLUMN
}

impl Marks {
    /// Places a section; returns the height at which it ends.
    pub fn section(&mut self, section: &Section, left: f64, top: f64) -> f64 {
        let mut y = top;
        for line in HEADING.wrapped(&section.title, width(section) - STREAM - 12.0, 3) {
            let middle = y + HEADING_LINE / 2.0;
            self.words.push(Words { text: line, left: left + STREAM + 12.0, middle, style: HEADING, is_muted: false });
            y += HEADING_LINE;
        }
        let x = left + STREAM;
        let mut begin = top;
        let mut end = None;
        for step in &section.steps {
            match step {
                Step::Segment(segment) => {
                    let reads = segment.parts.iter().any(|part| part.inputs.contains(&Input::Stream));
                    let placed = self.segment(segment, left, y, reads);
                    if !reads && section.layers.is_empty() {
                        begin = placed.join;
                    }
                    if segment.added.is_empty() {
                        end = Some(placed.entry);
                    }
                    y = placed.bottom;
                }
                Step::Stream { name, inside, sites } => y = self.on_stream(name, inside, sites, x, y),
                Step::Other { site, meaning } => {
                    y = self.on_stream("", &[], std::slice::from_ref(site), x, y);
                    for line in DETAIL.wrapped(meaning, width(section) - STREAM - 12.0, 3) {
                        let middle = y + LINE / 2.0;
                        self.words.push(Words { text: line, left: x + 12.0, middle, style: DETAIL, is_muted: true });
                        y += LINE;
                    }
                }
            }
        }
        self.streams.push(vec![(x, begin), (x, end.unwrap_or(y))]);
        y
    }

    /// Draws sites of the stream, and a computation on it before them, and returns where they end.
    fn on_stream(&mut self, name: &str, inside: &[SiteLabel], sites: &[SiteLabel], x: f64, top: f64) -> f64 {
        let mut y = top + 3.0;
        let room = 2.0 * COLUMN;
        if !name.is_empty() {
            let mut lines = vec![Line::words(name.into(), NAME, false)];
            let own = site_lines(inside, room);
            let count = own.len();
            lines.extend(own);
            let width = lines.iter().map(Line::width).fold(0.0, f64::max) + 2.0 * INSIDE + 6.0;
            let height = lines.len() as f64 * LINE + 2.0 * INSIDE - 2.0;
            let frame = Rectangle { left: x - 8.0, right: x - 8.0 + width, top: y, bottom: y + height };
            self.boxes.push(frame);
            self.lines_within(&lines, count, frame);
            y += height + 4.0;
        }
        for line in site_lines(sites, room) {
            let frame = Rectangle { left: x + 9.0, right: x + 15.0 + line.width(), top: y, bottom: y + LINE + 2.0 };
            self.lines_within(&[line], 1, frame);
            y += LINE + 3.0;
        }
        y + 2.0
    }

    /// Writes lines in the middle of a frame, with a ground behind the last ones, which are of sites.
    fn lines_within(&mut self, lines: &[Line], sites: usize, frame: Rectangle) {
        let centre = (frame.left + frame.right) / 2.0;
        let mut middle = (frame.top + frame.bottom) / 2.0 - (lines.len() as f64 - 1.0) * LINE / 2.0;
        if sites > 0 {
            let own = &lines[lines.len() - sites..];
            let half = own.iter().map(Line::width).fold(0.0, f64::max) / 2.0 + 3.0;
            let bottom = middle + (lines.len() as f64 - 0.5) * LINE;
            let top = bottom - sites as f64 * LINE;
            self.plates.push(Rectangle { left: centre - half, right: centre + half, top, bottom });
        }
        for line in lines {
            let mut left = centre - line.width() / 2.0;
            if !line.site.is_empty() {
                let text = line.site.clone();
                self.words.push(Words { text, left, middle, style: SITE, is_muted: false });
                left += SITE.width(&line.site) + 4.0;
            }
            if !line.words.is_empty() {
                let Line { words, style, is_muted, .. } = line;
                self.words.push(Words { text: words.clone(), left, middle, style: *style, is_muted: *is_muted });
            }
            middle += LINE;
        }
    }

    fn segment(&mut self, segment: &Segment, left: f64, top: f64, is_read: bool) -> PlacedSegment {
        let sized: Vec<Sized> = segment.parts.iter().map(Sized::new).collect();
        let rows = sized.iter().map(|one| one.part.row + 1).max().unwrap_or_default();
        let mut tops = Vec::with_capacity(rows);
        let mut y = top + if is_read { ENTRY } else { 4.0 };
        let mut bottoms = Vec::with_capacity(rows);
        for row in 0..rows {
            tops.push(y);
            let of_row = sized.iter().filter(|one| one.part.row == row);
            y += of_row.map(Sized::height).fold(0.0, f64::max);
            bottoms.push(y);
            y += BETWEEN;
        }
        let last = bottoms.last().copied().unwrap_or(top);
        let entry = top + 6.0;
        let join = last + JOIN;
        let stream = left + STREAM;
        let columns = left + FIRST;
        let mut farthest = None;
        for one in &sized {
            let part = one.part;
            let above = tops[part.row];
            let middle = columns + centre(part);
            if !one.inside.is_empty() {
                let right = columns + (part.last + 1) as f64 * COLUMN - ASIDE;
                let start = columns + part.first as f64 * COLUMN + ASIDE;
                let frame = Rectangle { left: start, right, top: above, bottom: above + one.box_height() };
                self.boxes.push(frame);
                self.lines_within(&one.inside, one.sites, frame);
            }
            if !one.behind.is_empty() {
                let below = above + one.box_height();
                let half = one.behind.iter().map(Line::width).fold(0.0, f64::max) / 2.0 + 3.0;
                let bottom = below + one.label_height();
                let frame = Rectangle { left: middle - half, right: middle + half, top: below + 2.0, bottom };
                self.lines_within(&one.behind, one.behind.len(), frame);
            }
            // The ground of a site without a box begins a little lower.
            let enters = if one.inside.is_empty() { above + 4.0 } else { above };
            for input in &part.inputs {
                let x = columns + way(segment, *input, part);
                match input {
                    Input::Stream => {
                        self.lines.push(vec![(x, entry), (x, enters)]);
                        farthest = Some(x.max(farthest.unwrap_or(x)));
                    }
                    Input::Part(from) => {
                        let from = &sized[*from];
                        let begin = (columns + centre(from.part), tops[from.part.row] + from.height());
                        let aside = bottoms[from.part.row] + 5.0;
                        let mut points = vec![begin];
                        if begin.0 != x {
                            points.extend([(begin.0, aside), (x, aside)]);
                        }
                        points.push((x, enters));
                        self.lines.push(points);
                    }
                }
                if !one.inside.is_empty() {
                    self.down.push((x, above));
                }
            }
        }
        if let Some(farthest) = farthest {
            self.lines.push(vec![(stream, entry), (farthest, entry)]);
        }
        for part in &segment.added {
            let one = &sized[*part];
            let x = columns + centre(one.part);
            let begin = tops[one.part.row] + one.height();
            self.lines.push(vec![(x, begin), (x, join), (stream, join)]);
        }
        let begins = !segment.parts.iter().any(|part| part.inputs.contains(&Input::Stream));
        match segment.added.len() {
            0 => {}
            1 if begins => {}
            _ => {
                self.sums.push((stream, join));
                self.aside.push((stream + PLUS, join));
            }
        }
        let bottom = if segment.added.is_empty() { last + 6.0 } else { join + 10.0 };
        PlacedSegment { entry, join, bottom }
    }
}

/// Heights of a segment: where it reads the stream, where it is added to it, where it ends.
struct PlacedSegment {
    entry: f64,
    join: f64,
    bottom: f64,
}

fn centre(part: &Part) -> f64 {
    (part.first + part.last + 1) as f64 / 2.0 * COLUMN
}

/// Returns where a line from an input comes down to a part, past all boxes between them.
fn way(segment: &Segment, input: Input, to: &Part) -> f64 {
    let (begin, from) = match input {
        Input::Stream => (None, None),
        Input::Part(part) => (Some(centre(&segment.parts[part])), Some(segment.parts[part].row)),
    };
    let spans = |part: &Part, x: f64| part.first as f64 * COLUMN <= x && x <= (part.last + 1) as f64 * COLUMN;
    let is_between = |part: &Part| from.is_none_or(|row| part.row > row) && part.row < to.row;
    let is_free = |x: &f64| !segment.parts.iter().any(|part| is_between(part) && spans(part, *x));
    let columns = to.columns().map(|column| (column as f64 + 0.5) * COLUMN);
    // The middle of an even number of columns is the space between two boxes.
    let has_box = !to.name.is_empty();
    let meets =
        |x: &f64| has_box && (to.first as f64 * COLUMN + ASIDE) < *x && *x < (to.last + 1) as f64 * COLUMN - ASIDE;
    let straight = begin.filter(meets);
    straight.into_iter().chain([centre(to)]).chain(columns).find(is_free).unwrap_or_else(|| centre(to))
}
