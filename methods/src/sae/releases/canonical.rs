//! Canonical dictionaries of Gemma Scope by the list of a repository: of several that differ in their L0, the one that is nearest
//! to 100.

use crate::common::*;

/// The L0 that is nearest to this one is canonical.
const CANONICAL_L0: usize = 100;
const CANONICAL: &str = "canonical";
const WITH_L0: &str = "average_l0_";

/// Returns whether a path is a canonical one, which stands for another path.
pub fn is_canonical(inside: &str) -> bool {
    inside.rsplit('/').next() == Some(CANONICAL)
}

/// Finds the path that `layer_20/width_16k/canonical` stands for among those of a repository: the one whose L0 is
/// nearest to 100. SAELens' table has these, but for one of two that are as near.
pub fn canonical<'a>(inside: &str, places: impl Iterator<Item = &'a str>) -> Result<Option<String>> {
    let Some(folder) = inside.strip_suffix(CANONICAL).filter(|_| is_canonical(inside)) else { return Ok(None) };
    let away = |place: &str| {
        let l0: usize = place.strip_prefix(folder)?.strip_prefix(WITH_L0)?.parse().ok()?;
        Some(l0.abs_diff(CANONICAL_L0))
    };
    let mut found: Vec<(usize, &str)> = places.filter_map(|place| Some((away(place)?, place))).collect();
    found.sort_unstable();
    match found.as_slice() {
        [(nearest, first), (next, second), ..] if nearest == next => {
            Err(err!(Name, "`{first}` and `{second}` are equally near to an L0 of {CANONICAL_L0}")
                .hint("name the one that you mean in place of `canonical`"))
        }
        [(_, first), ..] => Ok(Some(first.to_string())),
        [] => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_canonical_one_is_nearest_to_an_l0_of_100() {
        let all = ["20", "71", "139", "61", "142"].map(|l0| format!("layer_1/width_16k/average_l0_{l0}"));
        let places = || all.iter().map(String::as_str).chain(["layer_2/width_16k/average_l0_100", "layer_1/other"]);
        let found = canonical("layer_1/width_16k/canonical", places()).unwrap();
        assert_eq!(found.as_deref(), Some("layer_1/width_16k/average_l0_71"));
        assert_eq!(canonical("layer_1/width_16k/average_l0_20", places()), Ok(None));
        assert_eq!(canonical("layer_3/width_16k/canonical", places()), Ok(None));
        let tied = ["layer_1/width_16k/average_l0_64", "layer_1/width_16k/average_l0_136"];
        let error = canonical("layer_1/width_16k/canonical", tied.into_iter()).unwrap_err();
        assert!(error.message.ends_with("are equally near to an L0 of 100"), "{}", error.message);
    }
}
