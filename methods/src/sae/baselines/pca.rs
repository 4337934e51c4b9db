//! Principal components as a dictionary.

use super::{CovarianceMoments, Principal, components, noted, parts};
use crate::common::*;
use crate::sae::{Activation, Sae};

/// Finds the directions of the largest variance, all or the first ones, and keeps of their codes the k of the largest
/// absolute value. `explained_variance` in its metadata has the share of each direction, in order.
pub fn pca(moments: &CovarianceMoments, count: Option<usize>, k: Option<usize>, task: &Task) -> Result<Sae> {
    let count = components(count, moments.width(), "there are as many as the activations have dimensions")?;
    let principal = Principal::of(moments, task)?;
    let axes = principal.axes.narrow(0, 0, count)?.to_dtype(DType::F32)?;
    let mean = moments.mean()?.to_dtype(DType::F32)?;
    let total: f64 = principal.variances.iter().sum();
    let share = |variance: &f64| if total > 0.0 { variance / total } else { 0.0 };
    let shares: Vec<f64> = principal.variances.iter().take(count).map(share).collect();
    let parts = parts("pca", axes.clone(), axes, Activation::Linear(k), Some(mean));
    Sae::new(noted(parts, [("explained_variance", shares.into())]))
}

#[cfg(test)]
mod tests {
    use kit::far;

    use super::*;
    use crate::base::random::stream;
    use crate::tensor::{Device, Tensor, create};

    fn fitted(x: &Tensor, count: Option<usize>, k: Option<usize>) -> Result<Sae> {
        pca(&CovarianceMoments::of(x, &Task::default())?, count, k, &Task::default())
    }

    #[test]
    fn known_axes_are_found_in_the_order_of_their_variance() {
        // Two axes at 45 degrees with variances 9 and 1, and one that does not vary, about a mean.
        let a = 3.0_f32;
        let b = 1.0_f32;
        let cross = [(a, b), (a, -b), (-a, b), (-a, -b)]
            .map(|(u, v)| [(u + v) * 0.5_f32.sqrt() + 10.0, (u - v) * 0.5_f32.sqrt() - 4.0, 7.0]);
        let x = Tensor::new(&cross, &Device::Cpu).unwrap();
        let sae = fitted(&x, None, None).unwrap();
        let axes = sae.directions().to_vec2::<f32>().unwrap();
        let half = 0.5_f32.sqrt();
        for (axis, expected) in axes.iter().zip([[half, half, 0.0], [half, -half, 0.0], [0.0, 0.0, 1.0]]) {
            let cosine: f32 = axis.iter().zip(expected).map(|(a, b)| a * b).sum();
            assert!((cosine.abs() - 1.0).abs() < 1e-6, "{axis:?}");
        }
        let shares: Vec<f64> = serde_json::from_value(sae.parts().about.more["explained_variance"].clone()).unwrap();
        for (share, expected) in shares.iter().zip([0.9, 0.1, 0.0]) {
            assert!((share - expected).abs() < 1e-6, "{shares:?}");
        }
        assert!(far(sae.reconstruct(&x).unwrap(), &x) < 1e-5);
        assert_eq!(fitted(&x, Some(2), None).unwrap().d_sae(), 2);
        assert!(fitted(&x, Some(4), None).is_err() && fitted(&x, Some(0), None).is_err());
    }

    #[test]
    fn of_all_components_the_k_largest_of_each_row_are_kept() {
        let x = create::randn(&[40, 6], DType::F32, &mut stream(2, "x", 0)).unwrap();
        let error = |k| {
            let back = fitted(&x, None, Some(k)).unwrap().reconstruct(&x).unwrap();
            (back - &x).unwrap().sqr().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap()
        };
        let errors: Vec<f32> = (1..=6).map(error).collect();
        assert!(errors.is_sorted_by(|a, b| a > b) && errors[5] < 1e-6, "{errors:?}");
    }

    #[test]
    fn constant_activations_have_components_that_explain_nothing() {
        let x = Tensor::full(2.5_f32, (10, 3), &Device::Cpu).unwrap();
        let sae = fitted(&x, None, None).unwrap();
        assert_eq!(sae.reconstruct(&x).unwrap().to_vec2::<f32>().unwrap(), x.to_vec2::<f32>().unwrap());
        assert_eq!(sae.parts().about.more["explained_variance"], serde_json::json!([0.0, 0.0, 0.0]));
    }
}
