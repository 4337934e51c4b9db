//! A dictionary of the residual stream, and its site in the model.

use crate::features::feature::place;
use crate::sae::prelude::*;

/// A dictionary at its site.
#[derive(Debug, Clone)]
pub struct Stage {
    pub sae: Sae,
    pub place: Place,
    /// The first block after the dictionary.
    pub block: usize,
}

impl Stage {
    /// Locates a dictionary in a model; refuses one that names no site of the residual stream that it reads, or that is
    /// of another model.
    pub fn new(model: &Model, sae: &Sae) -> Result<Self> {
        let [site] = sae.parts().about.sites.as_slice() else {
            let found = sae.parts().about.sites.len();
            return Err(err!(
                Argument,
                "expected a dictionary of one site of the residual stream, found {found} sites"
            ));
        };
        let config = model.decoder.config();
        let place = place(model, sae)?;
        let block = match place.site.kind {
            SiteKind::ResidPre => place.site.layer,
            SiteKind::ResidPost => place.site.layer + 1,
            _ => {
                return Err(err!(
                    Argument,
                    "expected a dictionary of the residual stream, found one that reads {site}"
                )
                .hint("a causal tree goes from block to block: fit dictionaries on `resid_post.*`"));
            }
        };
        sae.check_fits(config.d_model, &model.name(), &site.to_string())?;
        sae.check_model(&model.name())?;
        Ok(Self { sae: sae.clone(), place, block })
    }

    /// Sorts the dictionaries in the order of the computation; refuses two of one site.
    pub fn all(model: &Model, saes: &[Sae]) -> Result<Vec<Self>> {
        let mut stages = saes.iter().map(|sae| Self::new(model, sae)).collect::<Result<Vec<_>>>()?;
        stages.sort_by_key(|stage| stage.block);
        if let Some([a, b]) = stages.array_windows().find(|[a, b]| a.block == b.block) {
            return Err(err!(Argument, "expected dictionaries of different layers, found {} and {}", a.place, b.place)
                .hint("the residual stream after a block is the one before the next block"));
        }
        Ok(stages)
    }

    /// Locates dictionaries that are in the order of the computation already, like those of a survey.
    pub fn in_order(model: &Model, saes: &[Sae]) -> Result<Vec<Self>> {
        let stages = Self::all(model, saes)?;
        if stages.iter().zip(saes).all(|(stage, sae)| std::ptr::eq(stage.sae.parts(), sae.parts())) {
            Ok(stages)
        } else {
            Err(err!(Bug, "dictionaries that are not in the order of the computation"))
        }
    }
}

/// Refuses a model in which more than the residual stream passes from dictionaries to later ones: keys and values of
/// layers between them, which later layers read. `what` changes several of them in one run.
pub fn check_stream_alone(model: &Model, stages: &[Stage], what: &str) -> Result<()> {
    let config = model.decoder.config();
    let Some(first) = stages.first() else { return Ok(()) };
    let passed = stages.iter().flat_map(|stage| config.keys_passed_on(first.block, stage.block)).min();
    match passed {
        None => Ok(()),
        Some(layer) => Err(err!(
            Argument,
            "{what} needs dictionaries between which the stream is all that flows, and layers behind some of these read the \
             keys and values of layer {layer}"
        )
        .hint(format!("take those up to `resid_pre.{layer}` alone, or those behind it alone"))
        .about("m")),
    }
}

/// Returns the dictionaries of a tree in the order of the computation: all before that of the target, and that of the
/// target.
pub fn leading_to(model: &Model, saes: &[Sae], target: &Sae) -> Result<Vec<Sae>> {
    let top = Stage::new(model, target)?;
    let stages = Stage::all(model, saes)?;
    if let Some(other) = stages.iter().find(|stage| stage.block == top.block && !is_same(&stage.sae, target)) {
        let [a, b] = [&other.sae, target].map(|sae| format!("{} of {} features", sae.parts().about.kind, sae.d_sae()));
        return Err(err!(
            Argument,
            "expected a feature of the dictionaries that are given, found at {} another dictionary ({a}) than that of \
             the feature ({b})",
            top.place
        ));
    }
    let before = stages.into_iter().filter(|stage| stage.block < top.block).map(|stage| stage.sae);
    Ok(before.chain([target.clone()]).collect())
}

/// Returns whether two handles are of one dictionary, or of two with the same weights.
pub fn is_same(a: &Sae, b: &Sae) -> bool {
    let numbers = |sae: &Sae| {
        let of = |tensor: &Tensor| tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>();
        Ok::<_, candle_core::Error>((of(&sae.parts().encoder)?, of(&sae.parts().decoder)?))
    };
    std::ptr::eq(a.parts(), b.parts()) || matches!((numbers(a), numbers(b)), (Ok(a), Ok(b)) if a == b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::circuit::samples::{FEATURES, dictionary, model};
    use crate::fixtures::{config, configs};
    use crate::sae::Activation;

    #[test]
    fn dictionaries_between_which_keys_and_values_pass_are_refused() {
        let checked = |config: Config| {
            let model = model(config);
            let d = model.decoder.config().d_model;
            let saes = ["resid_pre.0", "resid_post.0"].map(|site| dictionary(d, FEATURES, Activation::Relu, site));
            let stages = Stage::all(&model, &saes).unwrap();
            assert!(check_stream_alone(&model, &stages[1..], "this").is_ok());
            check_stream_alone(&model, &stages, "this")
        };
        assert!(checked(config()).is_ok());
        let shared = configs().into_iter().find(|config| config.shared_keys.is_some()).unwrap();
        let error = checked(shared).unwrap_err();
        assert!(error.message.ends_with("read the keys and values of layer 0"), "{error}");
    }
}
