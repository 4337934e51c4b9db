//! The rotation of queries and keys: its frequencies, and tables that grow with the text.

use std::sync::Mutex;

use crate::base::Result;
use crate::model::config::{Rotary, Scaling};
use crate::tensor::Device;
use kernels::Rotation;

#[derive(Debug)]
pub struct Turning {
    frequencies: Vec<f32>,
    neighbours: bool,
    table: Mutex<Option<Rotation>>,
}

impl Turning {
    pub fn new(rotary: &Rotary) -> Self {
        Self { frequencies: frequencies(rotary), neighbours: rotary.neighbours, table: Mutex::default() }
    }

    /// A table of at least `positions` positions.
    pub fn table(&self, positions: usize, device: &Device) -> Result<Rotation> {
        let mut held = self.table.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(table) = &*held
            && table.cos.dim(0)? >= positions
        {
            return Ok(table.clone());
        }
        let size = positions.next_power_of_two().max(64);
        let table = Rotation::new(&self.frequencies, size, self.neighbours, device)?;
        *held = Some(table.clone());
        Ok(table)
    }
}

/// theta^(-2i/dims) for each pair i, scaled as the model was; in f32, as the published models have it.
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
    fn tables_grow_with_the_text() {
        let turning = Turning::new(&rotary(Scaling::None));
        assert_eq!(turning.table(3, &Device::Cpu).unwrap().cos.dims(), [64, 4]);
        assert_eq!(turning.table(65, &Device::Cpu).unwrap().cos.dims(), [128, 4]);
        assert_eq!(turning.table(2, &Device::Cpu).unwrap().cos.dims(), [128, 4]);
    }
}
