//! The options of a fit, and the shape that follows from them and the model.

pub use crate::sae::text_rows::fit::TextDescentOptions;

crate::choices! {
    /// The heads that a fit begins with.
    pub enum LorsaStart {
        /// All weights are drawn at random.
        Random = "random",
        /// Groups have the queries and keys of the layer's own heads, and heads read and write within what these do.
        Model = "model",
    }
}

crate::options! {
    /// A fit of a Lorsa.
    pub struct LorsaFitOptions {
        /// Number of heads.
        heads: Option<usize> = None => usually("`ratio` times d_model").at_least(1.0);
        /// Number of heads over d_model.
        ratio: f64 = 4.0 => above(0.0);
        /// Number of heads that are active at a token.
        k: usize = 16 => at_least(1.0);
        /// Number of groups of heads that share queries and keys.
        groups: Option<usize> = None => usually("the layer's heads").at_least(1.0);
        /// Size of queries and keys.
        d_qk: Option<usize> = None => usually("that of the layer's heads").at_least(2.0);
        /// Heads at the beginning: drawn at random ("random"), or with the layer's own queries and keys, and within what its heads
        /// read and write ("model").
        start: LorsaStart = LorsaStart::Random;
        /// Size of the queries and keys that are drawn: their numbers' standard deviation, where what is read has 1.
        qk_size: f64 = 0.3 => at_least(0.0).only("start", &["random"]);
        /// Number of steps.
        steps: u64 = 2000 => at_least(1.0);
        with descent: TextDescentOptions;
    }
}

/// The shape of a Lorsa.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FitShape {
    pub heads: usize,
    pub groups: usize,
    pub d_qk: usize,
    pub context: usize,
}
