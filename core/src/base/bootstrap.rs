//! Intervals: the bootstrap of a statistic, and of a share.

use rand::RngExt;

use super::random::stream;

/// Number of bootstrap samples.
pub const RESAMPLES: usize = 1_000;

/// The share of resamples that must have a finite statistic for an interval.
const DEFINED: f64 = 0.95;

/// Computes the 95 % percentile interval of a statistic of `count` observations (Efron 1979) on a thousand resamples
/// with replacement, which are given by the indices of the observations. If an observation is a row with all of its
/// positions, this is the cluster bootstrap. None for less than two observations, and if more than one resample in
/// twenty has no finite statistic.
pub fn bootstrap(count: usize, seed: u64, statistic: impl Fn(&[usize]) -> f64) -> Option<[f64; 2]> {
    intervals(count, seed, 1, |drawn| vec![statistic(drawn)]).pop().flatten()
}

/// Computes the intervals of several statistics like [`bootstrap`], on the same resamples.
pub fn intervals(
    count: usize,
    seed: u64,
    statistics: usize,
    of: impl Fn(&[usize]) -> Vec<f64>,
) -> Vec<Option<[f64; 2]>> {
    if count < 2 {
        return vec![None; statistics];
    }
    let mut random = stream(seed, "bootstrap", 0);
    let mut drawn = vec![0; count];
    let mut found = vec![Vec::with_capacity(RESAMPLES); statistics];
    for _ in 0..RESAMPLES {
        drawn.iter_mut().for_each(|number| *number = random.random_range(0..count));
        found.iter_mut().zip(of(&drawn)).for_each(|(found, value)| found.push(value));
    }
    found.into_iter().map(percentiles).collect()
}

/// Computes the interval of a statistic of several groups of observations, like [`bootstrap`]; each is resampled by itself,
/// and keeps its size. None if a group is empty, too.
pub fn bootstrap_groups(sizes: &[usize], seed: u64, statistic: impl Fn(&[Vec<usize>]) -> f64) -> Option<[f64; 2]> {
    if sizes.contains(&0) || sizes.iter().sum::<usize>() < 2 {
        return None;
    }
    let mut random = stream(seed, "bootstrap", 0);
    let mut draw = |size: &usize| (0..*size).map(|_| random.random_range(0..*size)).collect::<Vec<usize>>();
    let found = (0..RESAMPLES).map(|_| statistic(&sizes.iter().map(&mut draw).collect::<Vec<_>>()));
    percentiles(found.collect())
}

/// Computes the 95 % interval of a share of independent trials (Wilson 1927); NaN without trials.
pub fn wilson(successes: usize, trials: usize) -> [f64; 2] {
    const Z: f64 = 1.959_964;
    let n = trials as f64;
    let p = successes as f64 / trials as f64;
    let middle = (p + Z * Z / (2.0 * n)) / (1.0 + Z * Z / n);
    let half = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt() / (1.0 + Z * Z / n);
    [(middle - half).max(0.0), (middle + half).min(1.0)]
}

fn percentiles(mut found: Vec<f64>) -> Option<[f64; 2]> {
    found.retain(|value| value.is_finite());
    found.sort_by(f64::total_cmp);
    let is_enough = found.len() as f64 >= DEFINED * RESAMPLES as f64;
    is_enough.then(|| [quantile(&found, 0.025), quantile(&found, 0.975)])
}

/// Interpolates linearly between the two nearest of sorted numbers.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let below = sorted[place.floor() as usize];
    let above = sorted[place.ceil() as usize];
    below + (above - below) * place.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_of_a_mean_is_that_of_the_normal_distribution() {
        // 400 numbers spread evenly over [0, 1]: the mean is .5, its deviation sqrt(1/12/400) = .01443.
        let numbers: Vec<f64> = (0..400).map(|i| (f64::from(i) + 0.5) / 400.0).collect();
        let mean = |drawn: &[usize]| drawn.iter().map(|i| numbers[*i]).sum::<f64>() / drawn.len() as f64;
        let [low, high] = bootstrap(400, 1, mean).unwrap();
        assert!((low - (0.5 - 1.96 * 0.01443)).abs() < 0.003 && (high - (0.5 + 1.96 * 0.01443)).abs() < 0.003);
        assert_eq!(bootstrap(400, 1, mean), Some([low, high]));
        assert_ne!(bootstrap(400, 2, mean), Some([low, high]));
    }

    #[test]
    fn positions_of_a_row_that_are_alike_do_not_narrow_it() {
        // 100 rows of four equal numbers: as certain as 100 numbers, and half as certain as 400 independent ones.
        let numbers: Vec<f64> = (0..100).map(|i| f64::from(i * 37 % 100)).collect();
        let mean = |of: &[f64]| of.iter().sum::<f64>() / of.len() as f64;
        let [low, high] =
            bootstrap(100, 0, |drawn| mean(&drawn.iter().map(|i| numbers[*i]).collect::<Vec<_>>())).unwrap();
        let rows = bootstrap(100, 0, |drawn| mean(&drawn.iter().flat_map(|i| [numbers[*i]; 4]).collect::<Vec<_>>()));
        let single =
            bootstrap(400, 0, |drawn| mean(&drawn.iter().map(|i| numbers[*i / 4]).collect::<Vec<_>>())).unwrap();
        assert!(rows.is_some_and(|rows| (rows[0] - low).abs() < 1e-9 && (rows[1] - high).abs() < 1e-9));
        assert!(((high - low) / (single[1] - single[0]) - 2.0).abs() < 0.2);
    }

    #[test]
    fn what_does_not_vary_has_no_width_and_what_is_seldom_finite_no_interval() {
        assert_eq!(bootstrap(5, 0, |_| 3.0), Some([3.0, 3.0]));
        assert_eq!(bootstrap(1, 0, |_| 3.0), None);
        assert_eq!(bootstrap(2, 0, |drawn| 1.0 / drawn.iter().sum::<usize>() as f64), None);
        assert_eq!(bootstrap(2, 0, |drawn| (drawn.iter().sum::<usize>() as f64 - 1.0).sqrt()), None);
        // One resample in a thousand without a finite statistic is ignored: (4/5)^30.
        assert_eq!(bootstrap(30, 0, |drawn| if drawn.iter().any(|i| *i < 6) { 1.0 } else { f64::NAN }), Some([1.0; 2]));
    }

    #[test]
    fn several_statistics_see_the_same_draws() {
        let first = |drawn: &[usize]| drawn[0] as f64;
        let both = intervals(9, 4, 2, |drawn| vec![first(drawn), 2.0 * first(drawn)]);
        let [low, high] = bootstrap(9, 4, first).unwrap();
        assert_eq!(both, [Some([low, high]), Some([2.0 * low, 2.0 * high])]);
        assert_eq!(intervals(1, 4, 2, |_| vec![0.0; 2]), [None, None]);
    }

    #[test]
    fn groups_are_resampled_by_themselves() {
        // The difference of the means of 400 and 100 numbers spread evenly over [0, 1]: its deviation is .0323.
        let spread = |count: usize| (0..count).map(|i| (i as f64 + 0.5) / count as f64).collect::<Vec<f64>>();
        let groups = [spread(400), spread(100)];
        let mean = |group: usize, drawn: &[Vec<usize>]| {
            drawn[group].iter().map(|i| groups[group][*i]).sum::<f64>() / drawn[group].len() as f64
        };
        let [low, high] = bootstrap_groups(&[400, 100], 1, |drawn| mean(0, drawn) - mean(1, drawn)).unwrap();
        assert!((low + 1.96 * 0.0323).abs() < 0.006 && (high - 1.96 * 0.0323).abs() < 0.006, "{low} {high}");
        assert_eq!(bootstrap_groups(&[3, 0], 1, |_| 1.0), None);
        assert_eq!(bootstrap_groups(&[3, 1], 1, |_| 1.0), Some([1.0; 2]));
    }

    #[test]
    fn quantiles_lie_between_the_nearest() {
        assert_eq!(quantile(&[0.0, 1.0, 2.0, 4.0], 0.5), 1.5);
        assert_eq!(quantile(&[0.0, 1.0, 2.0, 4.0], 1.0), 4.0);
    }
}
