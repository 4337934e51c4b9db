//! Heads and features: which features of dictionaries before a head are active where it attends to, and which features of
//! dictionaries behind it have the direction of what it writes.

use super::text::HeadContext;
use crate::common::*;
use crate::features::contexts::codes;
use crate::features::feature::{Feature, place};
use crate::sae::{Sae, SparseCodes};

/// Number of rows that are encoded at once.
const AT_ONCE: usize = 8;

/// Returns the site of a dictionary. Refuses one whose features heads neither read nor write.
pub fn check_dictionary(model: &Model, sae: &Sae) -> Result<Place> {
    let place = place(model, sae)?;
    let kinds = [SiteKind::ResidPre, SiteKind::ResidMid, SiteKind::ResidPost, SiteKind::AttnIn, SiteKind::AttnOut];
    if !kinds.contains(&place.site.kind) {
        return Err(err!(
            Argument,
            "expected dictionaries of the residual stream, of `attn_in` or of `attn_out`, found one of `{place}`"
        )
        .hint("heads read and write the residual stream"));
    }
    sae.check_writes_what_it_reads()?;
    Ok(place)
}

/// A dictionary of the residual stream, or of what attention reads or writes in a layer, with its codes in the text.
pub struct HeadDictionary<'a> {
    sae: &'a Sae,
    place: Place,
    /// The codes of each row.
    rows: Vec<SparseCodes>,
    /// The mean code of each feature over all positions of the text.
    means: Vec<f64>,
    /// The directions of the features, of length 1: `[features, d_model]`.
    directions: Tensor,
}

impl<'a> HeadDictionary<'a> {
    /// Encodes a text.
    pub fn of(model: &Model, sae: &'a Sae, rows: &[Vec<u32>], task: &Task) -> Result<Self> {
        let place = check_dictionary(model, sae)?;
        let mut encoded = Vec::new();
        let mut means = vec![0.0; sae.d_sae()];
        let mut count = 0_usize;
        let bar = task.begin(&format!("encoding at {place}"), Some(rows.len() as u64));
        for part in rows.chunks(AT_ONCE) {
            task.check()?;
            let width = part.iter().map(Vec::len).max().unwrap_or(0);
            let found = codes(model, sae, place, part, task)?;
            for (row, ids) in part.iter().enumerate() {
                let columns: Vec<usize> = (0..ids.len()).map(|column| row * width + column).collect();
                let own = found.picked(&columns);
                own.features().iter().zip(own.codes()).for_each(|(f, code)| means[*f as usize] += f64::from(*code));
                count += ids.len();
                encoded.push(own);
            }
            bar.advance(part.len() as u64);
        }
        means.iter_mut().for_each(|sum| *sum /= count.max(1) as f64);
        let directions = sae.directions().to_dtype(DType::F32)?.to_device(&Device::Cpu)?;
        let lengths = directions.sqr()?.sum_keepdim(1)?.sqrt()?.maximum(f32::MIN_POSITIVE)?;
        Ok(Self { sae, place, rows: encoded, means, directions: directions.broadcast_div(&lengths)? })
    }

    /// Returns whether what a head of a layer reads flows here: the stream up to the layer, or the input of its attention.
    pub fn is_read_in(&self, layer: usize) -> bool {
        let at = self.place.site.layer;
        match self.place.site.kind {
            SiteKind::ResidPre => at <= layer,
            SiteKind::AttnIn => at == layer,
            SiteKind::ResidMid | SiteKind::ResidPost => at < layer,
            _ => false,
        }
    }

    /// Returns whether what a head of a layer writes flows here.
    pub fn is_written_in(&self, layer: usize) -> bool {
        let at = self.place.site.layer;
        match self.place.site.kind {
            SiteKind::ResidPre => at > layer,
            SiteKind::AttnOut => at == layer,
            SiteKind::ResidMid | SiteKind::ResidPost => at >= layer,
            _ => false,
        }
    }

    fn site(&self) -> String {
        self.sae.parts().about.site()
    }

    /// Names a feature by its site and index.
    fn name(&self, feature: usize) -> Cell {
        Feature::new(self.sae, feature).name().into()
    }

    /// Tabulates the features whose mean code at the keys of contexts exceeds their mean in the text most.
    pub fn read_table(&self, contexts: &[HeadContext], top: usize) -> Table {
        let mut at_keys = vec![0.0; self.means.len()];
        for context in contexts {
            let Some(codes) = self.rows.get(context.row) else { continue };
            let (features, codes) = codes.row(context.key);
            let share = 1.0 / contexts.len().max(1) as f64;
            features.iter().zip(codes).for_each(|(f, code)| at_keys[*f as usize] += share * f64::from(*code));
        }
        let more = |feature: &usize| at_keys[*feature] - self.means[*feature];
        let mut order: Vec<usize> = (0..at_keys.len()).filter(|feature| more(feature) > 0.0).collect();
        order::sort_descending(&mut order, more);
        let row = |feature: &usize| -> Vec<Cell> {
            vec![self.name(*feature), at_keys[*feature].into(), self.means[*feature].into()]
        };
        Table::new(
            format!("Features of {} where it attends to", self.site()),
            ["feature", "mean code there", "in the text"],
            order.iter().take(top).map(row),
        )
    }

    /// Tabulates the features whose directions are most like a vector, `[d_model]`, by the size of the cosine.
    pub fn written_table(&self, vector: &Tensor, top: usize) -> Result<Table> {
        let vector = vector.to_dtype(DType::F32)?.to_device(&Device::Cpu)?;
        let length = vector.sqr()?.sum_all()?.sqrt()?.to_scalar::<f32>()?.max(f32::MIN_POSITIVE);
        let cosines = self.directions.matmul(&(vector / f64::from(length))?.unsqueeze(1)?)?.squeeze(1)?;
        let cosines = floats(&cosines)?;
        let mut order: Vec<usize> = (0..cosines.len()).collect();
        order::sort_descending(&mut order, |feature| cosines[*feature].abs());
        let row = |feature: &usize| -> Vec<Cell> { vec![self.name(*feature), cosines[*feature].into()] };
        Ok(Table::new(
            format!("Features of {} along what it writes", self.site()),
            ["feature", "cosine"],
            order.iter().take(top).map(row),
        ))
    }
}
