//! A dictionary with fewer codes: only the largest of each row are kept.

use super::{Parts, Sae, baselines};
use crate::base::Result;

impl Sae {
    /// Returns the dictionary with only the `k` codes of the largest absolute value in each row. One that selects its
    /// codes by thresholds, gates or an estimate of their number refuses.
    pub fn keeping(&self, k: usize) -> Result<Self> {
        let activation = self.parts().activation.keeping(k)?;
        let parts = Parts { activation, ..self.parts().clone() };
        // Random directions have another gain for another number of codes.
        if parts.about.more.contains_key(baselines::GAIN) { baselines::with_gain(parts) } else { Self::new(parts) }
    }
}

#[cfg(test)]
mod tests {
    use crate::sae::baselines;
    use crate::tensor::{Device, Tensor};

    #[test]
    fn the_largest_codes_stay_as_they_are() {
        let x = Tensor::new(&[[1.0_f32, -3.0, 2.0]], &Device::Cpu).unwrap();
        let codes = |sae: &crate::sae::Sae| sae.encode(&x).unwrap().to_vec2::<f32>().unwrap();
        let neurons = baselines::neurons(3, None).unwrap();
        assert_eq!(codes(&neurons.keeping(2).unwrap()), [[0.0, -3.0, 2.0]]);
        assert_eq!(codes(&baselines::neurons_relu(3, None).unwrap().keeping(1).unwrap()), [[0.0, 0.0, 2.0]]);
        assert!(neurons.keeping(4).is_err());
    }
}
