//! The differences of the activations of two models at every token, and their principal components: directions in which a
//! fine-tune moved activations most, and the contexts at either end of each.

use super::pair::{ModelPair, RowPosition, context};
use crate::features::logits::{extremes, promoted_by};
use crate::sae::baselines::{CovarianceMoments, pca};
use crate::sae::prelude::*;

/// The difference of the activations of two models, tuned less base, at every position of some rows.
#[derive(Debug, Clone)]
pub struct DifferenceRows {
    pub place: Place,
    /// The differences, row after row: `[positions, width]`.
    pub x: Tensor,
    /// The tokens that were read.
    pub rows: Vec<Vec<u32>>,
}

/// Computes the difference of the activations of two models at every position of some rows. A dictionary is fitted to it
/// as to any activations.
pub fn differences(pair: ModelPair, rows: &[Vec<u32>], site: &str, task: &Task) -> Result<DifferenceRows> {
    let place = pair.place(site)?;
    let width = pair.width(place)?;
    let count: usize = rows.iter().map(Vec::len).sum();
    memory::check(4 * count as u128 * width as u128, || format!("{count} differences at {place}"))?;
    let mut found: Vec<f32> = Vec::with_capacity(count * width);
    let mut take = |_: usize, base: &Tensor, tuned: &Tensor| -> Result<()> {
        found.extend((tuned - base)?.flatten_all()?.to_vec1::<f32>()?);
        Ok(())
    };
    pair.activations(rows, place, &mut take, task)?;
    Ok(DifferenceRows { place, x: Tensor::from_vec(found, (count, width), &Device::Cpu)?, rows: rows.to_vec() })
}

/// Principal components of differences, and the codes of all positions.
#[derive(Debug, Clone)]
pub struct DifferenceComponents {
    pub place: Place,
    /// The components as a dictionary, the largest variance first; its bias is the mean difference.
    pub dictionary: Sae,
    /// The share of each component in the variance.
    pub shares: Vec<f64>,
    /// The share of the mean difference in the mean square of the differences, which is not in the components.
    pub share_of_mean: f64,
    /// The codes of each position: `[positions][components]`.
    codes: Vec<Vec<f32>>,
    positions: Vec<RowPosition>,
    rows: Vec<Vec<u32>>,
}

/// Computes the first principal components of differences; all of them for none.
pub fn components(found: DifferenceRows, count: Option<usize>, task: &Task) -> Result<DifferenceComponents> {
    let DifferenceRows { place, x, rows } = found;
    let moments = CovarianceMoments::of(&x, task)?;
    let dictionary = pca(&moments, count, None, task).map_err(|e| e.about("components"))?;
    let shares = dictionary.parts().about.more.get("explained_variance");
    let shares = shares.and_then(|shares| serde_json::from_value(shares.clone()).ok());
    let shares: Vec<f64> = shares.ok_or_else(|| err!(Bug, "components without their shares"))?;
    let size = x.to_dtype(DType::F64)?.sqr()?.sum_all()?.to_scalar::<f64>()? / moments.count().max(1) as f64;
    let mean = moments.mean()?.sqr()?.sum_all()?.to_scalar::<f64>()?;
    let codes = dictionary.encode(&x)?.to_vec2::<f32>()?;
    let of_row = |(row, ids): (usize, &Vec<u32>)| {
        (0..ids.len()).map(move |column| RowPosition { row, column }).collect::<Vec<_>>()
    };
    let positions = rows.iter().enumerate().flat_map(of_row).collect();
    let share_of_mean = if size > 0.0 { mean / size } else { 0.0 };
    Ok(DifferenceComponents { place, dictionary, shares, share_of_mean, codes, positions, rows })
}

impl DifferenceComponents {
    /// Refuses a component that there is not.
    fn check(&self, component: usize) -> Result<()> {
        if component < self.shares.len() {
            return Ok(());
        }
        Err(err!(Argument, "expected a component below {}, found {component}", self.shares.len()).about("component"))
    }

    /// Tabulates the components: the share of each in the variance, and the range of its codes.
    pub fn table(&self) -> Table {
        let row = |(component, share): (usize, &f64)| -> Vec<Cell> {
            let codes = || self.codes.iter().filter_map(|codes| codes.get(component)).map(|code| f64::from(*code));
            let lowest = codes().fold(f64::INFINITY, f64::min);
            let highest = codes().fold(f64::NEG_INFINITY, f64::max);
            vec![component.into(), (*share).into(), lowest.into(), highest.into()]
        };
        Table::new(
            format!("principal components of {} differences at {}", self.codes.len(), self.place),
            ["component", "share", "lowest", "highest"],
            self.shares.iter().enumerate().map(row),
        )
    }

    /// Tabulates the positions with the largest codes of a component, then those with the smallest: which of two ends is
    /// which sign says nothing.
    pub fn contexts(&self, component: usize, count: usize, name: &dyn Fn(u32) -> String) -> Result<Table> {
        self.check(component)?;
        let code = |at: &usize| self.codes[*at][component];
        let mut order: Vec<usize> = (0..self.positions.len()).collect();
        order::sort_descending(&mut order, code);
        let count = count.min(order.len() / 2);
        let ends = order[..count].iter().chain(order[order.len() - count..].iter().rev());
        let row = |at: &usize| -> Vec<Cell> {
            let place = self.positions[*at];
            vec![
                f64::from(code(at)).into(),
                context(&self.rows, place, name).into(),
                place.row.into(),
                place.column.into(),
            ]
        };
        let title = format!("ends of component {component} of differences at {}", self.place);
        Ok(Table::new(title, ["code", "context", "row", "position"], ends.map(row)))
    }

    /// Tabulates the tokens that a component raises and lowers most, through the final norm's weights and the unembedding
    /// of the tuned model.
    pub fn tokens(&self, tuned: &Model, component: usize, count: usize, name: &dyn Fn(u32) -> String) -> Result<Table> {
        self.check(component)?;
        let logits = promoted_by(tuned, &self.dictionary, &[component])?;
        let logits = logits.into_iter().next().unwrap_or_default();
        Ok(extremes(&format!("tokens along component {component}"), &logits, name, count))
    }
}
