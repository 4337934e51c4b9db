//! The rotation of queries and keys: its frequencies, and tables that grow with the text.

use std::sync::Mutex;

use crate::base::{Result, locked};
use crate::model::config::{Rotary, Scaling};
use crate::tensor::Device;
use kernels::Rotation;

#[derive(Debug)]
pub struct RotaryTable {
    frequencies: Vec<f32>,
    neighbours: bool,
    /// The factor of all cosines and sines.
    amplitude: f64,
    table: Mutex<Option<Rotation>>,
}

impl RotaryTable {
    pub fn new(rotary: &Rotary) -> Self {
        let amplitude = match rotary.scaling {
            Scaling::Yarn { amplitude, .. } => amplitude,
            _ => 1.0,
        };
        let frequencies = frequencies(rotary);
        let neighbours = rotary.neighbours;
        Self { frequencies, neighbours, amplitude, table: Mutex::default() }
    }

    /// Returns a table of at least `positions` positions.
    pub fn table(&self, positions: usize, device: &Device) -> Result<Rotation> {
        let mut held = locked(&self.table);
        if let Some(table) = &*held
            && table.cos.dim(0)? >= positions
        {
            return Ok(table.clone());
        }
        let size = positions.next_power_of_two().max(64);
        let mut table = Rotation::new(&self.frequencies, size, self.neighbours, device)?;
        if self.amplitude != 1.0 {
            (table.cos, table.sin) = ((table.cos * self.amplitude)?, (table.sin * self.amplitude)?);
        }
        *held = Some(table.clone());
        Ok(table)
    }
}

/// Computes theta^(-2i/dims) for each pair i, scaled as the model was; in f32, as the published models have it.
fn frequencies(rotary: &Rotary) -> Vec<f32> {
    let plain = (0..rotary.dims / 2).map(|i| {
        let power = (2 * i) as f32 / rotary.dims as f32;
        1.0 / (rotary.theta as f32).powf(power)
    });
    match rotary.scaling {
        Scaling::None => plain.collect(),
        Scaling::Linear { factor } => plain.map(|f| f / factor as f32).collect(),
        Scaling::Llama3 { factor, low, high, original } => {
            plain.map(|f| llama3(f, factor as f32, low as f32, high as f32, original as f32)).collect()
        }
        Scaling::Proportional { factor, pairs } => {
            plain.enumerate().map(|(pair, f)| if pair < pairs { f / factor as f32 } else { 0.0 }).collect()
        }
        Scaling::Yarn { factor, slow, fast, original, rounded, .. } => {
            let (first, last) = yarn_bounds(rotary, slow, fast, original, rounded);
            plain.enumerate().map(|(pair, f)| yarn(f, pair, factor as f32, first, last)).collect()
        }
    }
}

/// Wavelengths above `original / low` are scaled by the factor, those below `original / high` are kept, and those
/// between are interpolated (Llama 3 herd of models, section 3.4.1, as in its code).
fn llama3(frequency: f32, factor: f32, low: f32, high: f32, original: f32) -> f32 {
    let length = 2.0 * std::f32::consts::PI / frequency;
    if length < original / high {
        frequency
    } else if length > original / low {
        frequency / factor
    } else {
        let smooth = (original / length - low) / (high - low);
        (1.0 - smooth) * frequency / factor + smooth * frequency
    }
}

/// Computes the pairs between which frequencies are interpolated: those that turn `fast` times and `slow` times within
/// the original context.
fn yarn_bounds(rotary: &Rotary, slow: f64, fast: f64, original: usize, rounded: bool) -> (f32, f32) {
    let dims = rotary.dims as f64;
    let pair =
        |turns: f64| dims * (original as f64 / (turns * 2.0 * std::f64::consts::PI)).ln() / (2.0 * rotary.theta.ln());
    let (first, last) = if rounded { (pair(fast).floor(), pair(slow).ceil()) } else { (pair(fast), pair(slow)) };
    let first = first.max(0.0);
    let last = last.min(dims - 1.0);
    // Where both are the same pair, the step between them is steep.
    (first as f32, if first == last { last + 0.001 } else { last } as f32)
}

/// Scales the frequency of a pair between the two bounds: kept before the first, divided behind the last.
fn yarn(frequency: f32, pair: usize, factor: f32, first: f32, last: f32) -> f32 {
    let divided = ((pair as f32 - first) / (last - first)).clamp(0.0, 1.0);
    frequency / factor * divided + frequency * (1.0 - divided)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rotary(scaling: Scaling) -> Rotary {
        Rotary { dims: 8, theta: 10_000.0, neighbours: false, scaling }
    }

    #[test]
    fn frequencies_fall_by_a_power_of_theta() {
        let plain = frequencies(&rotary(Scaling::None));
        for (found, expected) in plain.iter().zip([1.0, 0.1, 0.01, 0.001]) {
            assert!((found / expected - 1.0).abs() < 1e-6, "{plain:?}");
        }
        let halved = frequencies(&rotary(Scaling::Linear { factor: 2.0 }));
        assert_eq!(halved, plain.iter().map(|f| f / 2.0).collect::<Vec<_>>());
    }

    #[test]
    fn llama3_keeps_fast_frequencies_and_divides_slow_ones() {
        let scaled = frequencies(&rotary(Scaling::Llama3 { factor: 8.0, low: 1.0, high: 4.0, original: 64 }));
        let plain = frequencies(&rotary(Scaling::None));
        // Wave lengths 6.3, 63, 628, 6283 against 64: kept below 16, divided beyond 64.
        assert_eq!(scaled[0], plain[0]);
        assert!(scaled[1] > plain[1] / 8.0 && scaled[1] < plain[1]);
        assert_eq!([scaled[2], scaled[3]], [plain[2] / 8.0, plain[3] / 8.0]);
    }

    #[test]
    fn yarn_keeps_pairs_that_turn_often_and_divides_those_that_turn_rarely() {
        let yarn =
            |rounded| Scaling::Yarn { factor: 4.0, slow: 1.0, fast: 8.0, original: 640, rounded, amplitude: 1.5 };
        let plain = frequencies(&rotary(Scaling::None));
        // Turns within 640 tokens: 102, 10.2, 1.02, 0.1; the pairs of 8 and 1 turns are 1.10 and 2.01.
        let scaled = frequencies(&rotary(yarn(true)));
        assert_eq!(scaled[..2], plain[..2]);
        assert_eq!(scaled[2], plain[2] / 4.0 * 0.5 + plain[2] * 0.5);
        assert_eq!(scaled[3], plain[3] / 4.0);
        let exact = frequencies(&rotary(yarn(false)));
        assert!((exact[2] / plain[2] - 0.25664).abs() < 1e-4, "{exact:?} of {plain:?}");
        let rotary_table = RotaryTable::new(&rotary(yarn(true)));
        let cos: Vec<f32> = rotary_table.table(1, &Device::Cpu).unwrap().cos.get(0).unwrap().to_vec1().unwrap();
        assert_eq!(cos, [1.5; 4]);
    }

    #[test]
    fn tables_grow_with_the_text() {
        let rotary_table = RotaryTable::new(&rotary(Scaling::None));
        assert_eq!(rotary_table.table(3, &Device::Cpu).unwrap().cos.dims(), [64, 4]);
        assert_eq!(rotary_table.table(65, &Device::Cpu).unwrap().cos.dims(), [128, 4]);
        assert_eq!(rotary_table.table(2, &Device::Cpu).unwrap().cos.dims(), [128, 4]);
    }
}
