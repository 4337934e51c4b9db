//! The exponent of a power law through measurements, with its interval.

use std::fmt;

/// Student's t of 95 %, two-sided, by degrees of freedom from 1 on; that of the last holds for more, nearly.
const STUDENT: [f64; 12] = [12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23, 2.20, 2.18];

/// An exponent and half the width of its interval, which two measurements do not have.
#[derive(Clone, Copy)]
pub struct Exponent {
    pub slope: f64,
    pub half: Option<f64>,
}

impl Exponent {
    /// Lays a line through the logarithms of sizes and of what was measured at them; None for one size alone.
    pub fn of(points: Vec<(f64, f64)>) -> Option<Self> {
        let logs: Vec<(f64, f64)> = points.into_iter().map(|(x, y)| (x.ln(), y.ln())).collect();
        let count = logs.len() as f64;
        let mean = |of: fn(&(f64, f64)) -> f64| logs.iter().map(of).sum::<f64>() / count;
        let [mean_x, mean_y] = [mean(|(x, _)| *x), mean(|(_, y)| *y)];
        let spread: f64 = logs.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
        if logs.is_empty() || spread < 1e-9 {
            return None;
        }
        let slope = logs.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum::<f64>() / spread;
        let errors: f64 = logs.iter().map(|(x, y)| (y - mean_y - slope * (x - mean_x)).powi(2)).sum();
        let freedom = logs.len().saturating_sub(2);
        let half = |freedom: usize| {
            let t = STUDENT[freedom.min(STUDENT.len()) - 1];
            t * (errors / freedom as f64 / spread).sqrt()
        };
        Some(Self { slope, half: (freedom > 0).then(|| half(freedom)) })
    }
}

impl fmt::Display for Exponent {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.half {
            Some(half) => write!(f, "{:.2} ± {half:.2}", self.slope),
            None => write!(f, "{:.2}", self.slope),
        }
    }
}
