//! The drawing of a model as data: sections, the steps along the residual stream in each, and boxes with their inputs.

use std::ops::RangeInclusive;

use serde::Serialize;

use crate::model::config::Config;
use crate::model::site::SiteKind;

/// A site in a drawing.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SiteLabel {
    pub name: &'static str,
    /// The axes behind those of batch and position, or all of them where these are not the first two.
    pub shape: String,
}

/// The origin of an input of a box.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Input {
    Stream,
    /// The output of an earlier part of the segment, by its number.
    Part(usize),
}

/// A box of a drawing.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Part {
    /// The computation of the box; empty where a site is between two others without one.
    pub name: String,
    pub details: Vec<String>,
    /// Sites of what is computed on the way.
    pub inside: Vec<SiteLabel>,
    /// Sites of the output.
    pub behind: Vec<SiteLabel>,
    pub inputs: Vec<Input>,
    /// The row of the segment, from 0: below all inputs.
    pub row: usize,
    /// The columns of the segment that the box spans.
    pub first: usize,
    pub last: usize,
}

impl Part {
    pub fn columns(&self) -> RangeInclusive<usize> {
        self.first..=self.last
    }

    pub fn sites(&self) -> impl Iterator<Item = &SiteLabel> {
        self.inside.iter().chain(&self.behind)
    }
}

/// Boxes that read the residual stream, and those whose outputs are added to it.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Segment {
    pub parts: Vec<Part>,
    pub added: Vec<usize>,
}

/// A step along the residual stream.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    Segment(Segment),
    /// The stream itself as a site, behind a computation on it if there is one.
    Stream {
        name: String,
        inside: Vec<SiteLabel>,
        sites: Vec<SiteLabel>,
    },
    /// A site that has no place of its own in drawings yet, with what flows there.
    Other {
        site: SiteLabel,
        meaning: &'static str,
    },
}

impl Step {
    pub fn sites(&self) -> Vec<&SiteLabel> {
        match self {
            Step::Segment(segment) => segment.parts.iter().flat_map(Part::sites).collect(),
            Step::Stream { inside, sites, .. } => inside.iter().chain(sites).collect(),
            Step::Other { site, .. } => vec![site],
        }
    }
}

/// A kind of blocks, or what stands before or behind all blocks.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Section {
    pub title: String,
    /// The layers that the section stands for; none outside of blocks.
    pub layers: Vec<usize>,
    pub steps: Vec<Step>,
}

impl Section {
    pub fn sites(&self) -> Vec<&SiteLabel> {
        self.steps.iter().flat_map(Step::sites).collect()
    }
}

/// A place for sites: a layer, or the outside of blocks.
#[derive(Clone, Copy)]
pub struct SitesAt<'a> {
    pub config: &'a Config,
    pub layer: Option<usize>,
}

impl SitesAt<'_> {
    /// Lists the kinds of sites that exist there, in the order of the computation.
    pub fn kinds(self) -> impl Iterator<Item = SiteKind> {
        SiteKind::all().filter(move |kind| match self.layer {
            Some(layer) => kind.in_blocks() && kind.exists_in(self.config, layer),
            None => !kind.in_blocks() && kind.exists(self.config),
        })
    }

    pub fn has(self, name: &str) -> bool {
        self.kinds().any(|kind| kind.name() == name)
    }

    /// Returns the labels of those of these sites that exist.
    pub fn labels(self, names: &[&str]) -> Vec<SiteLabel> {
        let found = |name: &&str| self.kinds().find(|kind| kind.name() == *name);
        names.iter().filter_map(found).map(|kind| self.label(kind)).collect()
    }

    /// Returns the label of a site, whose shape is the one that its meaning ends with.
    pub fn label(self, kind: SiteKind) -> SiteLabel {
        let is_mamba = self.config.ssm.as_ref().is_some_and(|ssm| ssm.is_mamba());
        let shapes = |kind: SiteKind| -> Vec<&'static str> {
            kind.meaning().split('[').skip(1).filter_map(|rest| rest.split(']').next()).collect()
        };
        // The outputs of a state space have the shape of its inputs, and their meaning says so in words.
        let found = Some(shapes(kind)).filter(|found| !found.is_empty()).unwrap_or_else(|| shapes(SiteKind::SsmX));
        let shape = if is_mamba { found.last() } else { found.first() }.copied().unwrap_or_default();
        let shape = match shape.strip_prefix("batch, pos, ") {
            Some(rest) => rest.replace(", ", " × "),
            None => format!("[{shape}]"),
        };
        SiteLabel { name: kind.name(), shape }
    }
}

/// A box that is about to become a part of a segment; of its sites those are kept that exist.
#[derive(Default)]
pub struct Drawn {
    pub name: String,
    pub details: Vec<String>,
    pub inside: Vec<&'static str>,
    pub behind: Vec<&'static str>,
    pub inputs: Vec<Input>,
    pub first: usize,
    pub last: usize,
}

impl Drawn {
    pub fn new(name: impl Into<String>, columns: RangeInclusive<usize>) -> Self {
        Self { name: name.into(), first: *columns.start(), last: *columns.end(), ..Self::default() }
    }

    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.details.push(detail.into());
        self
    }

    pub fn details(mut self, details: impl IntoIterator<Item = String>) -> Self {
        self.details.extend(details);
        self
    }

    pub fn inside(mut self, site: &'static str) -> Self {
        self.inside.push(site);
        self
    }

    pub fn behind(mut self, site: &'static str) -> Self {
        self.behind.push(site);
        self
    }

    pub fn reads(mut self, inputs: &[Input]) -> Self {
        self.inputs.extend(inputs);
        self
    }
}

/// A segment in the making.
pub struct SegmentBuilder<'a> {
    pub at: SitesAt<'a>,
    pub segment: Segment,
}

impl<'a> SegmentBuilder<'a> {
    pub fn new(at: SitesAt<'a>) -> Self {
        Self { at, segment: Segment::default() }
    }

    pub fn config(&self) -> &'a Config {
        self.at.config
    }

    pub fn has(&self, site: &str) -> bool {
        self.at.has(site)
    }

    pub fn add(&mut self, drawn: Drawn) -> Input {
        let row_below = |input: &Input| match input {
            Input::Stream => 0,
            Input::Part(part) => self.segment.parts[*part].row + 1,
        };
        let row = drawn.inputs.iter().map(row_below).max().unwrap_or_default();
        self.segment.parts.push(Part {
            name: drawn.name,
            details: drawn.details,
            inside: self.at.labels(&drawn.inside),
            behind: self.at.labels(&drawn.behind),
            inputs: drawn.inputs,
            row,
            first: drawn.first,
            last: drawn.last,
        });
        Input::Part(self.segment.parts.len() - 1)
    }

    /// Adds what this part gives to the residual stream.
    pub fn add_to_stream(&mut self, input: Input) {
        if let Input::Part(part) = input {
            self.segment.added.push(part);
        }
    }

    /// Moves a part without inputs of its own beside the one that reads it.
    pub fn lower(&mut self, input: Input, row: usize) {
        if let Input::Part(part) = input {
            self.segment.parts[part].row = row;
        }
    }

    pub fn finished(self) -> Step {
        Step::Segment(self.segment)
    }
}
