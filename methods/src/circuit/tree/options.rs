//! The options of a tree.

use crate::base::{Cell, order};
use crate::circuit::Graph;

crate::choices! {
    /// Rankings of children.
    pub enum Rank {
        /// The features whose ablation lowers the target most, as in the paper. The one whose ablation raises it most
        /// is shown, too, and not expanded.
        Signed = "signed",
        /// The features that change the target most, in either direction.
        Absolute = "abs",
    }
}

crate::choices! {
    /// Extent to which children are expanded.
    pub enum Depth {
        /// All children, down to the first dictionary.
        Full = "full",
        /// All children of the target; below, only the strongest child of each, while the others are still shown, as in
        /// the authors' notebook.
        Paper = "paper",
    }
}

crate::choices! {
    /// Ways to intervene on a feature.
    pub enum TreeIntervention {
        /// x - c_f d_f at all positions; the effect is the share that the target loses, (orig - ablated) / orig.
        Ablate = "ablate",
        /// 0 + c_f d_f at all positions: the feature alone. The effect is the target's value then, over orig.
        Restore = "restore",
    }
}

crate::choices! {
    /// Readings of the target.
    pub enum ParentReading {
        /// The activation as its dictionary encodes it, selection included.
        Code = "code",
        /// The pre-activation.
        Pre = "pre",
    }
}

/// The name by which a graph keeps the number of first positions that its search left out.
const WITHOUT_FIRST: &str = "without_first";

crate::options! {
    /// Options of the search for a tree; the defaults are those of Cunningham et al. 2023, section 5.
    pub struct TreeOptions {
        /// Number of positions for each feature.
        contexts: usize = 20 => at_least(1.0);
        /// Maximum number of children of a feature.
        children: usize = 3 => at_least(1.0);
        /// The least effect of a child.
        min_effect: f64 = 0.01 => at_least(0.0);
        /// Maximum number of nodes. Each level gets an equal part of what those above have left, for the features on
        /// which most of the target depends: by the product of the effects on the strongest way up.
        max_nodes: Option<usize> = None => usually("any").at_least(2.0);
        /// The ranking of children: the features whose ablation lowers the parent most, or ("abs") those that change it
        /// most.
        rank: Rank = Rank::Signed;
        /// Whether all children are expanded, or ("paper") below the children of the target only the strongest child of
        /// each, as in the authors' notebook.
        depth: Depth = Depth::Full;
        /// Whether a feature is ablated, or ("restore") kept alone: the site is 0 but for c_f d_f, and the effect is
        /// the share of the parent's activation that this restores.
        way: TreeIntervention = TreeIntervention::Ablate;
        /// Whether the parent is read as its activation or as its pre-activation.
        read: ParentReading = ParentReading::Code;
        /// Number of tokens of the text that are searched for the strongest positions.
        tokens: usize = 50_000;
        /// Number of tokens in a row of the text; at most the model's context.
        context: Option<usize> = None => usually("64");
        /// Number of first positions of each row where no feature is read or ablated. Attention of many models rests on
        /// the first token, so that what ablates it changes all that follows.
        without_first: usize = 0;
    }
}

impl TreeOptions {
    /// Returns the options, as recorded in a graph.
    pub fn settings(&self) -> Vec<(String, Cell)> {
        let pairs: [(&str, Cell); 7] = [
            ("contexts", self.contexts.into()),
            ("children", self.children.into()),
            ("min_effect", self.min_effect.into()),
            ("rank", self.rank.word().into()),
            ("depth", self.depth.word().into()),
            ("way", self.way.word().into()),
            ("read", self.read.word().into()),
        ];
        let most = self.max_nodes.map(|most| ("max_nodes", Cell::from(most)));
        let first = (self.without_first > 0).then(|| (WITHOUT_FIRST, Cell::from(self.without_first)));
        pairs.into_iter().chain(most).chain(first).map(|(name, value)| (name.to_string(), value)).collect()
    }

    /// Returns the children, and the feature that is shown, too, because its ablation raises the target.
    pub fn chosen(&self, effects: &[f64]) -> (Vec<usize>, Option<usize>) {
        let strongest = |most: usize, size: &dyn Fn(f64) -> f64| -> Vec<usize> {
            let of = |feature: usize| effects.get(feature).map_or(0.0, |effect| size(*effect));
            let mut features: Vec<usize> =
                (0..effects.len()).filter(|feature| of(*feature) > 0.0 && of(*feature) >= self.min_effect).collect();
            order::sort_descending(&mut features, |feature| of(*feature));
            features.truncate(most);
            features
        };
        match (self.rank, self.way) {
            (Rank::Absolute, _) => (strongest(self.children, &f64::abs), None),
            // What a feature restores of the target is never negative, unless activations may be.
            (Rank::Signed, TreeIntervention::Restore) => (strongest(self.children, &|effect| effect), None),
            (Rank::Signed, TreeIntervention::Ablate) => {
                (strongest(self.children, &|effect| effect), strongest(1, &|effect| -effect).pop())
            }
        }
    }
}

impl Graph {
    /// Returns the number of first positions of each row that the search of a tree left out, 0 for other graphs.
    pub fn without_first(&self) -> usize {
        let cell = self.made.iter().find(|(name, _)| name == WITHOUT_FIRST).map(|(_, cell)| cell);
        match cell {
            Some(Cell::Int(count)) => usize::try_from(*count).unwrap_or_default(),
            _ => 0,
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
        let absolute = TreeOptions { rank: Rank::Absolute, children: 3, ..options.clone() };
        assert_eq!(absolute.chosen(&effects), (vec![3, 1, 0], None));
        let all = TreeOptions { min_effect: 0.0, children: 9, ..options.clone() };
        assert_eq!(all.chosen(&effects), (vec![3, 0, 4, 2], Some(1)));
        let restored = TreeOptions { way: TreeIntervention::Restore, ..options.clone() };
        assert_eq!(restored.chosen(&effects), (vec![3, 0], None));
    }

    #[test]
    fn a_graph_tells_how_it_was_made() {
        let settings = TreeOptions { rank: Rank::Absolute, depth: Depth::Paper, ..TreeOptions::default() }.settings();
        assert_eq!(settings[3], ("rank".to_string(), Cell::from("abs")));
        assert_eq!(settings[4], ("depth".to_string(), Cell::from("paper")));
        assert_eq!(settings[5], ("way".to_string(), Cell::from("ablate")));
        let graph = Graph { made: settings, ..Graph::default() };
        assert_eq!(graph.without_first(), 0);
        let settings = TreeOptions { without_first: 2, ..TreeOptions::default() }.settings();
        assert_eq!(Graph { made: settings, ..Graph::default() }.without_first(), 2);
    }
}
