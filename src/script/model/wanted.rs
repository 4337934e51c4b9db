//! The option `pos` of calls that give logits: at which positions they are wanted.

use crate::base::Result;
use crate::model::decoder::Logits;
use crate::script::options::OptionReader;
use crate::script::value::Given;
use crate::tensor::Tensor;

/// All positions; or some, one alone of which takes no axis.
#[derive(Default)]
pub struct Wanted {
    positions: Option<Vec<i64>>,
    one: bool,
}

impl Wanted {
    pub fn read(options: &mut OptionReader) -> Result<Self> {
        let found = options.get("pos", |given: &Given| Ok((given.integers()?, given.integer().is_ok())))?;
        Ok(found.map_or_else(Self::default, |(positions, one)| Self { positions: Some(positions), one }))
    }

    pub fn positions(&self) -> Option<&[i64]> {
        self.positions.as_deref()
    }

    pub fn logits(&self) -> Logits<'_> {
        self.positions().map_or(Logits::All, Logits::At)
    }

    /// The logits as they were asked for: `[batch, vocab]` of one position alone.
    pub fn shaped(&self, logits: &Tensor) -> Result<Tensor> {
        Ok(if self.one { logits.squeeze(1)? } else { logits.clone() })
    }
}
