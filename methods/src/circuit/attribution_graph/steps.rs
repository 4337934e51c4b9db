//! The dictionaries of a graph in the order of the computation: of each layer the Lorsa of its attention, where there
//! is one, and then the transcoder of its MLP.

/// A part of a layer that a dictionary stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LayerPart {
    /// The attention, which a Lorsa stands for.
    Attention,
    /// The MLP, which a transcoder stands for.
    Mlp,
}

/// The order of a graph's dictionaries, each of which is one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GraphSteps {
    pub layers: usize,
    /// Whether Lorsas stand for attention.
    pub has_lorsas: bool,
}

impl GraphSteps {
    pub fn count(self) -> usize {
        if self.has_lorsas { 2 * self.layers } else { self.layers }
    }

    /// Returns the step of a part of a layer. Without Lorsas a layer has one step, that of its MLP.
    pub fn of(self, layer: usize, part: LayerPart) -> usize {
        match (self.has_lorsas, part) {
            (false, _) => layer,
            (true, LayerPart::Attention) => 2 * layer,
            (true, LayerPart::Mlp) => 2 * layer + 1,
        }
    }

    /// Returns the layer of a step, and the part of it.
    pub fn at(self, step: usize) -> (usize, LayerPart) {
        if !self.has_lorsas {
            return (step, LayerPart::Mlp);
        }
        let part = if step.is_multiple_of(2) { LayerPart::Attention } else { LayerPart::Mlp };
        (step / 2, part)
    }
}
