//! Features as an argument: one, or an array of them.

use crate::features::FeatureList;
use crate::script::features::Feature;
use crate::script::prelude::*;

/// Reads a feature, or an array of them, of one dictionary or of several.
pub fn features(given: &GivenValue) -> Result<FeatureList> {
    let elements = given.elements();
    if elements.is_empty() {
        return Err(err!(Argument, "expected at least one feature for `f`, found an empty array").about("f"));
    }
    let feature = |element: &GivenValue| {
        let feature = element.handle::<Feature>().ok_or_else(|| {
            element.refuse("a feature or an array of features").hint("`s.feature(12)` is a feature of a dictionary")
        })?;
        Ok(feature.core())
    };
    Ok(FeatureList::of(&elements.iter().map(feature).collect::<Result<Vec<_>>>()?))
}
