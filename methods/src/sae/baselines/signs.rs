//! A linear dictionary with each direction split into its positive and its negative half.

use super::parts;
use crate::common::*;
use crate::sae::{Activation, Parts, Sae};

/// Splits the directions of a linear dictionary, such as principal components: the directions are followed by their
/// negatives, each with a code that is not negative: relu(x . d) and relu(-x . d). The reconstruction is the same.
pub fn split_signs(sae: &Sae) -> Result<Sae> {
    let given = sae.parts();
    let Activation::Linear(k) = given.activation else {
        return Err(err!(
            Argument,
            "expected a dictionary whose codes have both signs, found one of kind {}",
            given.about.kind
        )
        .hint("`sae::pca` makes one"));
    };
    let both = |rows: &Tensor| -> Result<Tensor> { Ok(Tensor::cat(&[rows, &rows.neg()?], 0)?) };
    let activation = k.map_or(Activation::Relu, Activation::TopK);
    let made = parts("", both(&given.encoder)?, both(&given.decoder)?, activation, None);
    let mut about = given.about.clone();
    about.kind = given.about.kind.with_signs();
    about.more.clear();
    let bias = given.encoder_bias.as_ref().map(|bias| -> Result<Tensor> { Ok(Tensor::cat(&[bias, &bias.neg()?], 0)?) });
    let encoder_bias = bias.transpose()?;
    let decoder_bias = given.decoder_bias.clone();
    let centred = given.centred;
    let scaling = given.scaling;
    let whole = Parts { encoder_bias, decoder_bias, centred, scaling, about, ..made };
    Sae::new(whole)
}

#[cfg(test)]
mod tests {
    use kit::far;

    use super::*;
    use crate::base::Task;
    use crate::base::random::stream;
    use crate::sae::baselines::{CovarianceMoments, neurons_relu, pca};
    use crate::tensor::{DType, create};

    #[test]
    fn the_halves_reconstruct_what_the_whole_does() {
        let x = create::randn(&[50, 4], DType::F32, &mut stream(1, "x", 0)).unwrap();
        let x = (x + 2.0).unwrap();
        let moments = CovarianceMoments::of(&x, &Task::default()).unwrap();
        for k in [None, Some(2)] {
            let whole = pca(&moments, None, k, &Task::default()).unwrap();
            let halves = split_signs(&whole).unwrap();
            assert_eq!((halves.d_sae(), halves.parts().about.kind.as_str()), (8, "pca_signs"));
            let codes = halves.encode(&x).unwrap().min_all().unwrap().to_scalar::<f32>().unwrap();
            assert!(codes >= 0.0);
            assert!(far(halves.reconstruct(&x).unwrap(), whole.reconstruct(&x).unwrap()) < 1e-5);
        }
        assert!(split_signs(&neurons_relu(4, None).unwrap()).is_err());
    }
}
