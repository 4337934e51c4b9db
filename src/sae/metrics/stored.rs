//! A dictionary measured on a store, in constant memory.

use std::sync::Arc;

use super::{Measures, Meter, Rules, Seen};
use crate::base::{Result, Task};
use crate::data::harvest::Blocks;
use crate::data::store::Store;
use crate::err;
use crate::sae::Sae;
use crate::tensor::dtype;

/// About so many codes are computed at once.
const CODES: usize = 1 << 23;

/// Measures of a dictionary on all rows of a site of a store, with those by position. A dictionary of another site is
/// refused.
pub fn measured_in(sae: &Sae, (store, site): (&Arc<Store>, &str), rules: Rules, task: &Task) -> Result<Measures> {
    let listed = store.made().sites.get(store.site(site)?).ok_or_else(|| err!(Bug, "a site that is not listed"))?;
    sae.check_fits(listed.width, &store.made().model.origin, &listed.site)?;
    let mut meter = Meter::new(sae.d_out(), sae.d_sae(), rules)?;
    let mut blocks = store.in_order(&[site], (CODES / sae.d_sae().max(1)).clamp(1, 4096))?;
    let bar = task.begin("measuring", Some(store.len()));
    while let Some(block) = blocks.next(task)? {
        let x = block.activations.first().ok_or_else(|| err!(Bug, "rows of no site"))?;
        let x = dtype::convert(x, sae.parts().encoder.dtype())?;
        let (codes, x_hat) = sae.encode_and_reconstruct(&x)?;
        meter.add(Seen { x: &x, codes: &codes, x_hat: &x_hat, positions: Some(&block.positions) }, task)?;
        bar.advance(block.len() as u64);
    }
    meter.finish()
}
