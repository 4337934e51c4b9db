//! The integer program in a build without the feature `ilp`: refused.

use crate::base::{Error, Result};
use crate::circuit::graph::Graph;

pub fn best_with(_graph: &Graph, _count: usize, _least: usize) -> Result<Option<Vec<bool>>> {
    Err(Error::not_built("solver of integer programs", "ilp"))
}
