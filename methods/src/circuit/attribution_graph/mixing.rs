//! Attention patterns of the frozen model, over the scales of the norms around attention: held for short prompts, and
//! computed anew wherever they are read, some queries at a time, for long ones.

use crate::common::*;

/// Bytes of the attention patterns of all layers up to which they are held. Patterns grow with the square of the tokens, and
/// all else in a graph with the tokens: held patterns of longer prompts would soon be most of its memory (in Gemma 3 270M
/// those of 480 tokens take 64 MiB, those of 4,000 take 4.3 GiB). Shorter prompts do without the time to compute them again.
const HELD: u128 = 64 << 20;

/// Number of queries whose patterns are computed at a time: with 4,000 keys and 4 heads 8 MiB of numbers, and few masked keys
/// in a window of 512.
pub(super) const QUERIES: usize = 128;

/// The way in which attention patterns are at hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patterns {
    Held,
    Recomputed,
}

impl Patterns {
    /// Returns the way for a prompt of so many tokens, by the memory that all patterns would take.
    pub fn of(config: &Config, tokens: usize) -> Self {
        let bytes = 4 * (config.layers * config.heads) as u128 * (tokens as u128).pow(2);
        if bytes <= HELD { Self::Held } else { Self::Recomputed }
    }

    /// Returns the site that a run has to record in each layer.
    pub fn site(self) -> SiteKind {
        match self {
            Self::Held => SiteKind::Pattern,
            Self::Recomputed => SiteKind::AttnIn,
        }
    }
}

/// The patterns of one layer over the scales of the norms around attention.
pub enum Mixing {
    /// Patterns in memory: `[heads, key, query]`.
    Held(Tensor),
    Recomputed(RecomputedMixing),
}

/// The sources that patterns are computed from.
pub struct RecomputedMixing {
    pub model: Arc<Decoder>,
    pub layer: usize,
    /// The input of attention: `[1, tokens, d]`.
    pub read: Tensor,
    /// The factors of keys, 1 / scale of the norm before attention: `[1, tokens, 1]`.
    pub keys: Tensor,
    /// The factors of queries, 1 / scale of the norm behind attention: `[1, tokens, 1]`.
    pub queries: Tensor,
}

/// A function that is called with a run of queries, the keys that any of them attends to, and their pattern:
/// `[heads, queries, keys]`.
type Visit<'a> = dyn FnMut(Range<usize>, Range<usize>, &Tensor) -> Result<()> + 'a;

impl Mixing {
    /// Takes gradients from what heads mix at the first positions, `[heads, positions, width]`, to the values there:
    /// `[kv_heads, positions, width]`.
    pub fn to_values(&self, gradients: &Tensor, kv_heads: usize, task: &Task) -> Result<Tensor> {
        let (heads, positions, width) = gradients.dims3()?;
        let mixing = match self {
            Self::Held(mixing) => mixing.narrow(1, 0, positions)?.narrow(2, 0, positions)?.contiguous()?,
            Self::Recomputed(mixing) => return mixing.to_values(gradients, kv_heads, task),
        };
        // Heads that share their values add up.
        let back = mixing.matmul(gradients)?.reshape((kv_heads, heads / kv_heads, positions, width))?;
        Ok(if heads == kv_heads { back.squeeze(1)? } else { back.sum(1)? })
    }

    /// Mixes the values of each head at the first positions: `[heads, positions, width]`.
    pub fn mixed(&self, values: &Tensor, task: &Task) -> Result<Tensor> {
        let positions = values.dim(1)?;
        match self {
            Self::Held(mixing) => {
                let mixing = mixing.narrow(1, 0, positions)?.narrow(2, 0, positions)?;
                Ok(mixing.transpose(1, 2)?.contiguous()?.matmul(values)?)
            }
            Self::Recomputed(mixing) => mixing.mixed(values, task),
        }
    }

    /// Returns how much of each of the first positions some queries mix: `[heads, positions, queries]`.
    pub fn of_queries(&self, queries: &[usize], positions: usize, task: &Task) -> Result<Tensor> {
        match self {
            Self::Held(mixing) => {
                let places: Vec<u32> = queries.iter().map(|query| *query as u32).collect();
                let places = Tensor::from_vec(places, queries.len(), mixing.device())?;
                Ok(mixing.index_select(&places, 2)?.narrow(1, 0, positions)?)
            }
            Self::Recomputed(mixing) => mixing.of_queries(queries, positions, task),
        }
    }
}

impl RecomputedMixing {
    fn to_values(&self, gradients: &Tensor, kv_heads: usize, task: &Task) -> Result<Tensor> {
        let (heads, positions, width) = gradients.dims3()?;
        let back = Tensor::zeros((kv_heads, positions, width), DType::F32, gradients.device())?;
        let mut add = |queries: Range<usize>, keys: Range<usize>, pattern: &Tensor| -> Result<()> {
            let factors = self.queries.narrow(1, queries.start, queries.len())?;
            let given = gradients.narrow(1, queries.start, queries.len())?.contiguous()?.broadcast_mul(&factors)?;
            // Heads that share their values add up in one product.
            let rows = heads / kv_heads * queries.len();
            let pattern = pattern.reshape((kv_heads, rows, keys.len()))?;
            let part = pattern.t()?.matmul(&given.reshape((kv_heads, rows, width))?)?;
            let sum = (back.narrow(1, keys.start, keys.len())?.contiguous()? + part)?;
            back.slice_set(&sum, 1, keys.start)?;
            Ok(())
        };
        self.each_block(positions, &mut add, task)?;
        Ok(back.broadcast_mul(&self.keys.narrow(1, 0, positions)?)?)
    }

    fn mixed(&self, values: &Tensor, task: &Task) -> Result<Tensor> {
        let mut parts = Vec::new();
        let mut add = |queries: Range<usize>, keys: Range<usize>, pattern: &Tensor| -> Result<()> {
            let factors = self.keys.narrow(1, keys.start, keys.len())?;
            let read = values.narrow(1, keys.start, keys.len())?.contiguous()?.broadcast_mul(&factors)?;
            let part = pattern.matmul(&read)?;
            parts.push(part.broadcast_mul(&self.queries.narrow(1, queries.start, queries.len())?)?);
            Ok(())
        };
        self.each_block(values.dim(1)?, &mut add, task)?;
        Ok(Tensor::cat(&parts, 1)?)
    }

    fn of_queries(&self, queries: &[usize], positions: usize, task: &Task) -> Result<Tensor> {
        let all = self.all_keys(positions, task)?;
        let mut columns = Vec::with_capacity(queries.len());
        for together in queries.chunk_by(|a, b| a == b) {
            let query = together[0];
            let (keys, pattern) = self.pattern(&all, query..query + 1, task)?;
            let factors = self.keys.narrow(1, keys.start, keys.len())?;
            let column = pattern.t()?.broadcast_mul(&factors)?.broadcast_mul(&self.queries.narrow(1, query, 1)?)?;
            let column = column.pad_with_zeros(1, keys.start, positions - keys.end)?;
            columns.extend(std::iter::repeat_n(column, together.len()));
        }
        Ok(Tensor::cat(&columns, 2)?)
    }

    /// Shows the patterns of all queries at the first positions, some queries after the other.
    fn each_block(&self, positions: usize, visit: &mut Visit, task: &Task) -> Result<()> {
        let all = self.all_keys(positions, task)?;
        for first in (0..positions).step_by(QUERIES) {
            let queries = first..positions.min(first + QUERIES);
            let (keys, pattern) = self.pattern(&all, queries.clone(), task)?;
            visit(queries, keys, &pattern)?;
        }
        Ok(())
    }

    /// Computes the keys of the first positions.
    fn all_keys(&self, positions: usize, task: &Task) -> Result<Tensor> {
        self.model.ports(SiteKind::K, self.layer, &self.read.narrow(1, 0, positions)?, 0, task)
    }

    /// Computes the pattern of a run of queries, `[heads, queries, keys]`, and returns over which keys it is.
    fn pattern(&self, all: &Tensor, queries: Range<usize>, task: &Task) -> Result<(Range<usize>, Tensor)> {
        task.check()?;
        let read = self.read.narrow(1, queries.start, queries.len())?;
        let q = self.model.ports(SiteKind::Q, self.layer, &read, queries.start, task)?;
        let (keys, pattern) = self.model.patterns_of(self.layer, &q, all, queries.start)?;
        Ok((keys, pattern.squeeze(0)?.to_dtype(DType::F32)?))
    }
}
