//! Sums about the mean that are updated row by row, so that they do not depend on the batches.

/// The sums of one dimension of x and of the error e = x - x_hat (Welford 1962).
#[derive(Debug, Clone, Copy, Default)]
pub struct DimensionSums {
    pub mean: f64,
    /// Sum of (x - mean)².
    pub spread: f64,
    error_mean: f64,
    /// Sum of (x - mean)(e - mean e).
    pub shared: f64,
    /// Sum of e².
    pub error: f64,
}

impl DimensionSums {
    /// Takes in row `1 / share`.
    pub fn add(&mut self, x: f64, x_hat: f64, share: f64) {
        let error = x - x_hat;
        let step = x - self.mean;
        self.mean += step * share;
        self.spread += step * (x - self.mean);
        self.shared += (x - self.mean) * (error - self.error_mean);
        self.error_mean += (error - self.error_mean) * share;
        self.error += error * error;
    }
}

/// The sums of the rows at one position.
#[derive(Debug, Clone, Default)]
pub struct PositionSums {
    pub count: u64,
    means: Vec<f64>,
    /// Sum of |x - mean of the position|².
    spread: f64,
    pub error: f64,
}

impl PositionSums {
    pub fn add(&mut self, x: &[f32], error: f64) {
        self.count += 1;
        self.means.resize(x.len(), 0.0);
        let share = 1.0 / self.count as f64;
        for (mean, x) in self.means.iter_mut().zip(x) {
            let step = f64::from(*x) - *mean;
            *mean += step * share;
            self.spread += step * (f64::from(*x) - *mean);
        }
        self.error += error;
    }

    /// Computes the sum of |x - centre|².
    pub fn spread_about(&self, centre: impl Iterator<Item = f64>) -> f64 {
        let offset: f64 = self.means.iter().zip(centre).map(|(mean, centre)| (mean - centre).powi(2)).sum();
        self.spread + self.count as f64 * offset
    }
}
