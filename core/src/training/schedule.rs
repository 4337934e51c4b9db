//! Learning rate schedules: a warm-up, then one of four shapes.

use serde::{Deserialize, Serialize};

crate::choices! {
    /// The shape after the warm-up.
    #[derive(Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum ScheduleShape {
        Constant = "constant",
        /// Linear decay to the floor.
        Linear = "linear",
        /// Cosine decay to the floor.
        Cosine = "cosine",
        /// Constant, then linear decay to the floor over the last `decay` steps: until the decay begins, a training can be
        /// extended without changing the steps so far (Hägele et al. 2024, section 3).
        Trapezoid = "trapezoid",
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    pub shape: ScheduleShape,
    /// Steps of linear warm-up.
    pub warmup: u64,
    /// Decay steps of a trapezoid.
    pub decay: u64,
    /// The final learning rate, as a share of the peak.
    pub floor: f64,
}

impl Schedule {
    /// Returns the learning rate of a step, counted from 0, as a share of the peak.
    pub fn factor(&self, step: u64, steps: u64) -> f64 {
        if step < self.warmup {
            return (step + 1) as f64 / self.warmup as f64;
        }
        // The progress after the warm-up; the floor would be reached by the step after the last.
        let through = |from: u64| {
            let whole = steps.saturating_sub(from).max(1) as f64;
            (step.saturating_sub(from) as f64 / whole).min(1.0)
        };
        let fall = match self.shape {
            ScheduleShape::Constant => return 1.0,
            ScheduleShape::Linear => through(self.warmup),
            ScheduleShape::Cosine => (1.0 - (std::f64::consts::PI * through(self.warmup)).cos()) / 2.0,
            ScheduleShape::Trapezoid => through(steps.saturating_sub(self.decay).max(self.warmup)),
        };
        1.0 - (1.0 - self.floor) * fall
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn factors(shape: ScheduleShape, floor: f64) -> Vec<f64> {
        let schedule = Schedule { shape, warmup: 2, decay: 4, floor };
        (0..10).map(|step| (schedule.factor(step, 10) * 1e6).round() / 1e6).collect()
    }

    #[test]
    fn the_shapes_are_what_they_are_called() {
        assert_eq!(factors(ScheduleShape::Constant, 0.0), [0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]);
        assert_eq!(factors(ScheduleShape::Linear, 0.0), [0.5, 1.0, 1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125]);
        assert_eq!(
            factors(ScheduleShape::Linear, 0.5),
            [0.5, 1.0, 1.0, 0.9375, 0.875, 0.8125, 0.75, 0.6875, 0.625, 0.5625]
        );
        assert_eq!(factors(ScheduleShape::Trapezoid, 0.0), [0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.75, 0.5, 0.25]);
        let cosine = factors(ScheduleShape::Cosine, 0.0);
        assert_eq!([cosine[2], cosine[6]], [1.0, 0.5]);
        assert_eq!(cosine[4], ((1.0 + (std::f64::consts::PI / 4.0).cos()) / 2.0 * 1e6).round() / 1e6);
    }

    #[test]
    fn no_warm_up_and_more_decay_than_steps_are_no_trouble() {
        let all = Schedule { shape: ScheduleShape::Trapezoid, warmup: 0, decay: 100, floor: 0.0 };
        assert_eq!([all.factor(0, 2), all.factor(1, 2)], [1.0, 0.5]);
    }
}
