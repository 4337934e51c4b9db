//! The counts of one feature.

use serde::{Deserialize, Serialize};

use super::KeptPositions;

/// A position where a feature is active.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Moment {
    pub row: u32,
    pub column: u32,
    pub code: f32,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Tally {
    /// The number of positions at which the feature is active.
    pub fired: u64,
    /// The sum of the feature's activations.
    pub sum: f64,
    /// The positions where the feature is strongest, the strongest first; of ties the first ones.
    pub top: Vec<Moment>,
    /// A uniform sample of all positions where the feature is active.
    pub some: Vec<Moment>,
}

impl Tally {
    /// Counts an activation, and returns whether its position is kept.
    pub fn take(&mut self, moment: Moment, feature: usize, kept: KeptPositions) -> bool {
        self.fired += 1;
        self.sum += f64::from(moment.code);
        let is_top = self.top.len() < kept.top || self.top.last().is_some_and(|last| moment.code > last.code);
        if is_top {
            let at = self.top.partition_point(|known| known.code >= moment.code);
            self.top.insert(at, moment);
            self.top.truncate(kept.top);
        }
        // Algorithm R of Vitter 1985: the n-th takes a place of k with probability k / n.
        if self.some.len() < kept.some {
            self.some.push(moment);
            return true;
        }
        let drawn = self.draw(feature, kept.seed) % self.fired;
        let place = self.some.get_mut(drawn as usize);
        let is_drawn = place.is_some();
        if let Some(place) = place {
            *place = moment;
        }
        is_top || is_drawn
    }

    /// Returns a number drawn for the latest activation.
    pub(super) fn draw(&self, feature: usize, seed: u64) -> u64 {
        mixed(seed ^ mixed(feature as u64) ^ self.fired)
    }

    /// Returns the mean activation where the feature is active.
    pub fn mean(&self) -> f64 {
        if self.fired == 0 { 0.0 } else { self.sum / self.fired as f64 }
    }
}

/// Computes the finaliser of SplitMix64 (Steele et al. 2014): a draw for each activation must cost next to nothing.
pub(super) fn mixed(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_strongest_are_kept_in_order_and_the_drawn_ones_evenly() {
        let kept = KeptPositions { top: 3, some: 10, seed: 1 };
        let mut early = 0;
        for feature in 0..200 {
            let mut tally = Tally::default();
            for i in 0..1000_u32 {
                let code = (i * 7919 % 1000) as f32;
                tally.take(Moment { row: i, column: 0, code }, feature, kept);
            }
            assert_eq!(tally.top.iter().map(|m| m.code).collect::<Vec<_>>(), [999.0, 998.0, 997.0]);
            assert_eq!((tally.fired, tally.some.len(), tally.mean()), (1000, 10, 499.5));
            early += tally.some.iter().filter(|m| m.row < 500).count();
        }
        // 2,000 draws with a deviation of 22.
        assert!((900..1100).contains(&early), "{early}");
    }
}
