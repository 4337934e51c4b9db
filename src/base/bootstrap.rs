//! Intervals of a statistic, by drawing again from what was observed.

use rand::RngExt;

use super::random::stream;

/// How often it is drawn again.
pub const RESAMPLES: usize = 1_000;

/// The 95 % percentile interval of a statistic of `count` observations (Efron 1979): it is computed of as many that are
/// drawn from them with replacement, given by their numbers, a thousand times. None where a draw has no finite statistic,
/// and of less than two observations.
pub fn bootstrap(count: usize, seed: u64, statistic: impl Fn(&[usize]) -> f64) -> Option<[f64; 2]> {
    if count < 2 {
        return None;
    }
    let mut random = stream(seed, "bootstrap", 0);
    let mut drawn = vec![0; count];
    let mut found = Vec::with_capacity(RESAMPLES);
    for _ in 0..RESAMPLES {
        drawn.iter_mut().for_each(|number| *number = random.random_range(0..count));
        found.push(statistic(&drawn));
    }
    found.sort_by(f64::total_cmp);
    // Either end is where infinities and NaN are found.
    let is_finite = [found.first(), found.last()].into_iter().flatten().all(|x| x.is_finite());
    is_finite.then(|| [quantile(&found, 0.025), quantile(&found, 0.975)])
}

/// Between the two nearest of sorted numbers, linearly.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
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
    fn what_does_not_vary_has_no_width_and_what_is_not_finite_no_interval() {
        assert_eq!(bootstrap(5, 0, |_| 3.0), Some([3.0, 3.0]));
        assert_eq!(bootstrap(1, 0, |_| 3.0), None);
        assert_eq!(bootstrap(2, 0, |drawn| 1.0 / drawn.iter().sum::<usize>() as f64), None);
        assert_eq!(bootstrap(2, 0, |drawn| (drawn.iter().sum::<usize>() as f64 - 1.0).sqrt()), None);
    }

    #[test]
    fn quantiles_lie_between_the_nearest() {
        assert_eq!(quantile(&[0.0, 1.0, 2.0, 4.0], 0.5), 1.5);
        assert_eq!(quantile(&[0.0, 1.0, 2.0, 4.0], 1.0), 4.0);
    }
}
