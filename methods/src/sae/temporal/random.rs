//! A control: a temporal dictionary whose weights are drawn at random.

use super::TemporalSae;
use crate::base::random::stream;
use crate::common::*;
use crate::data::Text;
use crate::sae::metrics::JudgedRowsOptions;
use crate::sae::text_rows::dictionary::TextDictionary;
use crate::tensor::{create, float};

impl TemporalSae {
    /// Makes a dictionary of the same shape whose weights are drawn at random, with the sizes that these have, and with
    /// the same bias. What novel codes write is scaled by the one number that reconstructs a text best.
    pub fn random(
        &self,
        model: &Model,
        text: &Text,
        options: &JudgedRowsOptions,
        seed: u64,
        task: &Task,
    ) -> Result<Self> {
        let mut random = stream(seed, "temporal random", 0);
        let mut drawn = Vec::new();
        for (name, tensor) in self.tensors() {
            let found = create::randn_of_size(tensor, &mut random)?;
            drawn.push(if name == "b_dec" { tensor.clone() } else { found.to_device(tensor.device())? });
        }
        let found = self.with(drawn)?;
        let rows = found.rows(model, text, options, task)?;
        let [mut product, mut square] = [0.0; 2];
        found.on_rows(model, &rows, task, &mut |part| {
            let device = found.decoder.device();
            let novel = found.written(&part.codes.to_device(device)?)?.to_device(part.x.device())?;
            let novel = found.scaling.of(part.x)?.stretched(&(novel / found.factor)?)?;
            let rest = ((part.x - part.x_hat)? + &novel)?;
            product += float(&rest.mul(&novel)?.sum_all()?)?;
            square += float(&novel.sqr()?.sum_all()?)?;
            Ok(())
        })?;
        let gain = if square > 0.0 { (product / square).max(0.0) } else { 0.0 };
        found.with_gain(gain)?.check()
    }

    /// Multiplies what novel codes write by a number, and leaves what is predicted as it is.
    fn with_gain(&self, gain: f64) -> Result<Self> {
        let mut found = self.clone();
        match &self.encoder {
            // Codes grow with the rows that they write along, and what layers read is divided by as much.
            None => {
                let part = gain.sqrt();
                found.decoder = (&self.decoder * part)?;
                let back = if part > 0.0 { 1.0 / part } else { 0.0 };
                for layer in &mut found.layers {
                    for map in [&mut layer.keys, &mut layer.queries, &mut layer.values] {
                        map.weight = (&map.weight * back)?;
                    }
                }
            }
            // The projection on what layers predict does not depend on its length.
            Some(_) => found.decoder = (&self.decoder * gain)?,
        }
        Ok(found)
    }
}
