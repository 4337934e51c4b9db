//! The options of a tree.

use super::effects::Way;
use super::read::Read;
use crate::base::Cell;

/// How children are ranked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rank {
    /// Those whose ablation lowers the target most, as in the paper. The one whose ablation raises it most is shown
    /// beside them, and not followed.
    #[default]
    Signed,
    /// Those that change it most, in either direction.
    Absolute,
}

/// Which children are expanded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Depth {
    /// All of them, down to the first dictionary.
    #[default]
    Full,
    /// All children of the target; below, only the strongest child of each, while the others are still shown, as in the
    /// authors' notebook.
    Paper,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TreeOptions {
    /// The number of positions for each feature.
    pub contexts: usize,
    pub children: usize,
    /// Edges with smaller effects are left out.
    pub min_effect: f64,
    pub rank: Rank,
    pub depth: Depth,
    pub way: Way,
    pub read: Read,
}

impl Default for TreeOptions {
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

impl Rank {
    pub const ALL: [(&'static str, Self); 2] = [("signed", Self::Signed), ("abs", Self::Absolute)];
}

impl Depth {
    pub const ALL: [(&'static str, Self); 2] = [("full", Self::Full), ("paper", Self::Paper)];
}

impl Way {
    pub const ALL: [(&'static str, Self); 2] = [("ablate", Self::Ablate), ("restore", Self::Restore)];
}

impl Read {
    pub const ALL: [(&'static str, Self); 2] = [("code", Self::Code), ("pre", Self::Pre)];
}

/// The names of the values.
fn name<T: PartialEq>(all: &[(&'static str, T)], value: &T) -> Cell {
    all.iter().find(|(_, known)| known == value).map_or(Cell::Missing, |(name, _)| (*name).into())
}

impl TreeOptions {
    /// The options, as recorded in a graph.
    pub fn told(&self) -> Vec<(String, Cell)> {
        let pairs: [(&str, Cell); 7] = [
            ("contexts", self.contexts.into()),
            ("children", self.children.into()),
            ("min_effect", self.min_effect.into()),
            ("rank", name(&Rank::ALL, &self.rank)),
            ("depth", name(&Depth::ALL, &self.depth)),
            ("way", name(&Way::ALL, &self.way)),
            ("read", name(&Read::ALL, &self.read)),
        ];
        pairs.map(|(name, value)| (name.to_string(), value)).to_vec()
    }

    /// The children, and the feature that is shown beside them because its ablation raises the target.
    pub fn chosen(&self, effects: &[f64]) -> (Vec<usize>, Option<usize>) {
        let strongest = |most: usize, size: &dyn Fn(f64) -> f64| -> Vec<usize> {
            let of = |feature: usize| effects.get(feature).map_or(0.0, |effect| size(*effect));
            let mut features: Vec<usize> =
                (0..effects.len()).filter(|feature| of(*feature) > 0.0 && of(*feature) >= self.min_effect).collect();
            features.sort_by(|a, b| of(*b).total_cmp(&of(*a)).then(a.cmp(b)));
            features.truncate(most);
            features
        };
        match (self.rank, self.way) {
            (Rank::Absolute, _) => (strongest(self.children, &f64::abs), None),
            // What a feature restores of the target is never negative, unless codes may be.
            (Rank::Signed, Way::Restore) => (strongest(self.children, &|effect| effect), None),
            (Rank::Signed, Way::Ablate) => {
                (strongest(self.children, &|effect| effect), strongest(1, &|effect| -effect).pop())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_are_the_strongest_and_what_holds_the_target_down_stands_beside_them() {
        let effects = [0.02, -0.3, 0.009, 0.5, 0.02, 0.0, -0.005];
        let options = TreeOptions { children: 2, ..TreeOptions::default() };
        assert_eq!(options.chosen(&effects), (vec![3, 0], Some(1)));
        let absolute = TreeOptions { rank: Rank::Absolute, children: 3, ..options };
        assert_eq!(absolute.chosen(&effects), (vec![3, 1, 0], None));
        let all = TreeOptions { min_effect: 0.0, children: 9, ..options };
        assert_eq!(all.chosen(&effects), (vec![3, 0, 4, 2], Some(1)));
        let restored = TreeOptions { way: Way::Restore, ..options };
        assert_eq!(restored.chosen(&effects), (vec![3, 0], None));
    }

    #[test]
    fn a_graph_tells_how_it_was_made() {
        let told = TreeOptions { rank: Rank::Absolute, depth: Depth::Paper, ..TreeOptions::default() }.told();
        assert_eq!(told[3], ("rank".to_string(), Cell::from("abs")));
        assert_eq!(told[4], ("depth".to_string(), Cell::from("paper")));
        assert_eq!(told[5], ("way".to_string(), Cell::from("ablate")));
    }
}
