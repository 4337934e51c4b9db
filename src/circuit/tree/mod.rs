//! The causal tree of a feature: which features of earlier dictionaries it is made of (Cunningham et al. 2023, section 5).
//!
//! The strongest positions of a feature are taken, every feature of the dictionary before is ablated there, and those
//! by which it falls most are its children; each of them has children in turn, down to the first dictionary.

mod effects;
mod stage;

use std::collections::BTreeMap;

use super::graph::{Edge, Graph, Node};
use crate::base::{Kind, Result, Task};
use crate::err;
use crate::features::Survey;
use crate::features::survey::site;
use crate::model::Model;
use crate::sae::Sae;
use crate::tensor::DType;
use crate::tensor::normalise::cosine;

pub use effects::{Effects, Read, Way, effects};
pub use stage::Stage;

/// By what children are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rank {
    /// Those by which the target falls most, as the authors do. Those by which it grows are shown, but not followed.
    #[default]
    Signed,
    /// Those that change it most, in either direction.
    Absolute,
}

/// How far down children have children.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Depth {
    /// All of them, down to the first dictionary.
    #[default]
    Full,
    /// All children of the target; below, only the strongest child of each, while the others are still drawn. The
    /// authors' notebook does that.
    Strongest,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// At how many positions a feature is looked at.
    pub contexts: usize,
    pub children: usize,
    /// Below which effect an edge is left out.
    pub min_effect: f64,
    pub rank: Rank,
    pub depth: Depth,
    pub way: Way,
    pub read: Read,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            contexts: 20,
            children: 3,
            min_effect: 0.01,
            rank: Rank::default(),
            depth: Depth::default(),
            way: Way::default(),
            read: Read::default(),
        }
    }
}

/// The causal tree of feature `target` of the last dictionary. `survey` is what the dictionaries found in a text.
pub fn causal_tree(
    model: &Model,
    saes: &[Sae],
    survey: &Survey,
    target: usize,
    options: &Options,
    task: &Task,
) -> Result<Graph> {
    let stages = Stage::all(model, saes)?;
    if stages.len() < 2 {
        return Err(err!(Argument, "expected dictionaries of at least two places, found {}", stages.len()).hint(
            "a tree goes from one place to another: `sae::fit_all(m, \"resid_post.*\", text)` fits one for each",
        ));
    }
    // Which of `survey` each stage is.
    let order = stages.iter().map(|stage| {
        let place = stage.place.to_string();
        saes.iter().position(|sae| site(sae).is_ok_and(|site| site == place))
    });
    let order = order.collect::<Option<Vec<_>>>().ok_or_else(|| err!(Bug, "a dictionary without its place"))?;
    let top = stages.len() - 1;
    let last = &stages[top];
    if target >= last.sae.d_sae() {
        let (place, count) = (last.place, last.sae.d_sae());
        return Err(err!(Argument, "expected a feature below {count} of {place}, found {target}"));
    }
    let mut growing = Growing {
        model,
        stages: &stages,
        order,
        survey,
        options,
        nodes: Vec::new(),
        edges: Vec::new(),
        known: BTreeMap::new(),
    };
    growing.node(top, target)?;
    let is_whole = match growing.all(task) {
        Ok(()) => true,
        Err(error) if error.kind == Kind::Interrupted => {
            task.answer_interruption();
            false
        }
        Err(error) => return Err(error),
    };
    let (nodes, edges) = (growing.nodes, growing.edges);
    Ok(Graph {
        title: format!("causal tree of feature {target} of {}", last.place),
        model: model.origin.clone(),
        sites: stages.iter().map(|stage| stage.place.to_string()).collect(),
        nodes,
        edges,
        is_whole,
        made: options.told(),
    })
}

impl Options {
    fn told(&self) -> Vec<(String, crate::base::Cell)> {
        let rank = match self.rank {
            Rank::Signed => "signed",
            Rank::Absolute => "absolute",
        };
        let way = match self.way {
            Way::Ablate => "ablate",
            Way::Restore => "restore",
        };
        let depth = match self.depth {
            Depth::Full => "full",
            Depth::Strongest => "strongest",
        };
        let read = match self.read {
            Read::Code => "code",
            Read::Pre => "pre",
        };
        let pairs = [
            ("contexts", self.contexts.into()),
            ("children", self.children.into()),
            ("min_effect", self.min_effect.into()),
            ("rank", rank.into()),
            ("depth", depth.into()),
            ("way", way.into()),
            ("read", read.into()),
        ];
        pairs.map(|(name, value): (&str, crate::base::Cell)| (name.to_string(), value)).to_vec()
    }
}

/// A tree while it grows.
struct Growing<'a> {
    model: &'a Model,
    stages: &'a [Stage],
    order: Vec<usize>,
    survey: &'a Survey,
    options: &'a Options,
    nodes: Vec<Node>,
    edges: Vec<Edge>,
    /// The node of a level and feature: a feature that several have as a child is one node.
    known: BTreeMap<(usize, usize), usize>,
}

impl Growing<'_> {
    fn node(&mut self, level: usize, feature: usize) -> Result<usize> {
        if let Some(known) = self.known.get(&(level, feature)) {
            return Ok(*known);
        }
        let stage = &self.stages[level];
        let outlier = is_outlier(&stage.sae, feature)?;
        self.nodes.push(Node { site: stage.place.to_string(), feature, level, meaning: None, score: None, outlier });
        self.known.insert((level, feature), self.nodes.len() - 1);
        Ok(self.nodes.len() - 1)
    }

    /// Level by level, so that a feature that several have as a child is looked at once.
    fn all(&mut self, task: &Task) -> Result<()> {
        let mut followed = vec![0];
        for level in (1..self.stages.len()).rev() {
            let bar = task.begin(&format!("ablating {}", self.stages[level - 1].place), Some(followed.len() as u64));
            let mut next = Vec::new();
            for node in followed {
                let children = self.children(node, task)?;
                let is_target = level + 1 == self.stages.len();
                let most = if is_target || self.options.depth == Depth::Full { children.len() } else { 1 };
                next.extend(children.into_iter().take(most));
                bar.advance(1);
            }
            next.sort_unstable();
            next.dedup();
            followed = next;
        }
        Ok(())
    }

    /// Adds the children of a node, and gives those that are followed.
    fn children(&mut self, node: usize, task: &Task) -> Result<Vec<usize>> {
        let (level, feature) = (self.nodes[node].level, self.nodes[node].feature);
        let (from, to) = (&self.stages[level - 1], &self.stages[level]);
        let tally = self.survey.dictionaries.get(self.order[level]).and_then(|tallies| tallies.get(feature));
        let Some(tally) = tally.filter(|tally| tally.fired > 0) else {
            return Err(err!(Argument, "feature {feature} of {} is never active in this text", to.place)
                .hint("read more text, or choose a feature that fires"));
        };
        let texts: Vec<Vec<u32>> =
            tally.top.iter().take(self.options.contexts).map(|moment| self.survey.up_to(moment)).collect();
        let found = effects(self.model, (from, to), feature, &texts, (self.options.way, self.options.read), task)?;
        let (followed, shown) = self.options.chosen(&found.mean);
        let mut children = Vec::new();
        for (i, child) in followed.iter().chain(&shown).enumerate() {
            let directions = (from.sae.directions().get(*child)?, to.sae.directions().get(feature)?);
            let cosine = cosine(&directions.0, &directions.1, 0)?.to_dtype(DType::F64)?.to_scalar::<f64>()?;
            let index = self.node(level - 1, *child)?;
            self.edges.push(Edge { from: index, to: node, effect: found.mean[*child], cosine });
            if i < followed.len() {
                children.push(index);
            }
        }
        Ok(children)
    }
}

impl Options {
    /// Which features are children, and which are shown beside them because the target grows without them.
    fn chosen(&self, effects: &[f64]) -> (Vec<usize>, Vec<usize>) {
        let strongest = |size: &dyn Fn(f64) -> f64| -> Vec<usize> {
            let mut features: Vec<usize> =
                (0..effects.len()).filter(|feature| size(effects[*feature]) >= self.min_effect).collect();
            features.sort_by(|a, b| size(effects[*b]).total_cmp(&size(effects[*a])).then(a.cmp(b)));
            features.truncate(self.children);
            features
        };
        match self.rank {
            Rank::Signed => (strongest(&|effect| effect), strongest(&|effect| -effect)),
            Rank::Absolute => (strongest(&f64::abs), Vec::new()),
        }
    }
}

/// Whether a direction lies along one dimension of the stream: more than half of its square is there.
fn is_outlier(sae: &Sae, feature: usize) -> Result<bool> {
    let squares = sae.directions().get(feature)?.to_dtype(DType::F64)?.sqr()?;
    let (most, all) = (squares.max(0)?.to_scalar::<f64>()?, squares.sum_all()?.to_scalar::<f64>()?);
    Ok(most > 0.5 * all)
}
