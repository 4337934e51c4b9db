//! Permutation test of rules: the rows of labels are permuted against the rows of activations, and each rule is
//! compared with the best of all rules of its family (Westfall & Young 1993, max T), so that its p holds for all that
//! were tried.
//!
//! A permutation keeps what is alike within a row. Rows are assumed to be exchangeable; a document that spans two makes
//! them a little less so.

use rand::seq::SliceRandom;

use super::rules::Bits;
use crate::common::*;

/// The number of permutations.
pub const PERMUTATIONS: usize = 499;

/// Returns for each rule, given by the places at which it holds and the bits of its label, the share of permutations
/// (the identity included) in which any rule of the family is as far above its mean, in its standard deviations.
pub fn corrected(family: &[(&[(u32, u32)], &Bits)], rows: usize, seed: u64, task: &Task) -> Result<Vec<f64>> {
    memory::check(8 * (PERMUTATIONS * family.len()) as u128, || format!("the permutations of {} rules", family.len()))?;
    let mut random = stream(seed, "permutations", 0);
    let mut order: Vec<u32> = (0..rows as u32).collect();
    // What was found is the first.
    let mut orders = vec![order.clone()];
    for _ in 0..PERMUTATIONS {
        order.shuffle(&mut random);
        orders.push(order.clone());
    }
    let scores = parallel::try_map(family.len(), &|at| {
        task.check()?;
        let (places, label) = &family[at];
        let both = |order: &Vec<u32>| {
            places.iter().filter(|(row, position)| label.has(order[*row as usize], *position)).count() as f32
        };
        Ok(standardised(orders.iter().map(both).collect()))
    })?;
    let best: Vec<f32> =
        (0..orders.len()).map(|at| scores.iter().map(|of| of[at]).fold(f32::NEG_INFINITY, f32::max)).collect();
    let share = |of: &Vec<f32>| {
        let as_good = best.iter().skip(1).filter(|best| **best >= of[0]).count();
        (1 + as_good) as f64 / orders.len() as f64
    };
    Ok(scores.iter().map(share).collect())
}

/// Returns distances from the mean in standard deviations; 0 for what never changes.
fn standardised(mut values: Vec<f32>) -> Vec<f32> {
    let n = values.len() as f32;
    let mean = values.iter().sum::<f32>() / n;
    let deviation = (values.iter().map(|value| (value - mean).powi(2)).sum::<f32>() / n).sqrt();
    values.iter_mut().for_each(|value| *value = if deviation > 0.0 { (*value - mean) / deviation } else { 0.0 });
    values
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::super::rules::HeldOutRows;
    use super::*;

    /// The starts of forty rows of ten tokens.
    const STARTS: [usize; 41] = {
        let mut starts = [0; 41];
        let mut row = 0;
        while row < 41 {
            starts[row] = row * 10;
            row += 1;
        }
        starts
    };

    fn holds(seed: u64) -> Vec<bool> {
        let mut random = stream(seed, "labels", 0);
        (0..400).map(|_| random.random_range(0..7) == 0).collect()
    }

    fn places(holds: &[bool]) -> Vec<(u32, u32)> {
        (0..).zip(holds).filter(|(_, holds)| **holds).map(|(token, _)| (token / 10, token % 10)).collect()
    }

    #[test]
    fn the_label_itself_is_found_and_chance_is_not() {
        let rows = HeldOutRows::of(&STARTS);
        let label = holds(0);
        let bits = rows.bits(&label);
        let mut all = vec![places(&label)];
        all.extend((1..30).map(|seed| places(&holds(seed))));
        let family: Vec<(&[(u32, u32)], &Bits)> = all.iter().map(|places| (places.as_slice(), &bits)).collect();
        let found = corrected(&family, 40, 1, &Task::default()).unwrap();
        assert_eq!(found[0], 1.0 / 500.0);
        assert!(found[1..].iter().all(|p| *p > 0.01), "{found:?}");
        // Alone, about one in twenty random ones has a p below 0.05: the correction is for the number tried.
        assert!(found[1..].iter().filter(|p| **p < 0.05).count() <= 1, "{found:?}");
        let single = corrected(&family[..1], 40, 1, &Task::default()).unwrap();
        assert_eq!(single, [1.0 / 500.0]);
    }

    #[test]
    fn what_is_the_same_at_each_position_of_all_rows_is_no_finding() {
        let rows = HeldOutRows::of(&STARTS);
        let first: Vec<bool> = (0..400).map(|token| token % 10 == 0).collect();
        let found = corrected(&[(&places(&first), &rows.bits(&first))], 40, 1, &Task::default()).unwrap();
        assert_eq!(found, [1.0]);
    }
}
