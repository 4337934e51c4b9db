//! The share of each phenomenon in a text.

use std::fmt;

use crate::common::*;

/// The phenomena, as they are named in a mix and in the column `phenomenon`.
pub const PHENOMENA: [&str; 13] = [
    "filler",
    "parentheses",
    "apostrophes",
    "ioi",
    "gender",
    "agreement",
    "years",
    "facts",
    "acronyms",
    "lists",
    "quotes",
    "questions",
    "code",
];

/// The default weights.
const BALANCED: [f64; PHENOMENA.len()] = [10.0, 16.0, 8.0, 10.0, 10.0, 10.0, 7.0, 14.0, 3.0, 3.0, 4.0, 3.0, 6.0];

/// Weights by phenomenon.
#[derive(Clone, PartialEq)]
pub struct Mix {
    weights: [f64; PHENOMENA.len()],
    /// Percentage of the sentences of some tasks whose template is derived from phrases.
    shapes: usize,
}

impl fmt::Debug for Mix {
    /// Formats the mix, which identifies a text: a mix without shapes is written as it was before there were any.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("Mix");
        fields.field("weights", &self.weights);
        if self.shapes > 0 {
            fields.field("shapes", &self.shapes);
        }
        fields.finish()
    }
}

impl Default for Mix {
    fn default() -> Self {
        Self { weights: BALANCED, shapes: 0 }
    }
}

impl Mix {
    /// Builds a mix of only the named phenomena, each with its weight.
    pub fn new(named: &BTreeMap<String, f64>) -> Result<Self> {
        let mut weights = [0.0; PHENOMENA.len()];
        for (name, weight) in named {
            let at = PHENOMENA.iter().position(|known| known == name).ok_or_else(|| {
                err!(Name, "unknown phenomenon `{name}`").maybe_hint(
                    names::suggestion(name, PHENOMENA)
                        .or_else(|| Some(format!("expected one of {}", PHENOMENA.join(", ")))),
                )
            })?;
            if !weight.is_finite() || *weight < 0.0 {
                bail!(Argument, "expected a weight of at least 0 for `{name}`, found {weight}");
            }
            weights[at] = *weight;
        }
        if weights.iter().sum::<f64>() <= 0.0 {
            return Err(err!(Argument, "expected a mix with a weight above 0, found none")
                .hint("name a phenomenon and its weight, such as `#{ ioi: 1 }`"));
        }
        Ok(Self { weights, shapes: 0 })
    }

    /// Returns the weights with a percentage of derived templates.
    pub fn with_shapes(self, shapes: usize) -> Self {
        Self { shapes, ..self }
    }

    pub(super) fn shapes(&self) -> usize {
        self.shapes
    }

    /// Returns the share of code among all.
    pub(super) fn code(&self) -> f64 {
        self.weights[PHENOMENA.len() - 1] / self.weights.iter().sum::<f64>()
    }

    /// Returns the phenomenon of prose that a random number from 0 to 1 selects.
    pub(super) fn prose(&self, place: f64) -> usize {
        let prose = &self.weights[..PHENOMENA.len() - 1];
        let mut left = place * prose.iter().sum::<f64>();
        let fallen = prose.iter().position(|weight| {
            left -= weight;
            left < 0.0
        });
        // Rounding may leave a remainder after the last weight.
        fallen.or_else(|| prose.iter().rposition(|weight| *weight > 0.0)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mix(named: &[(&str, f64)]) -> Result<Mix> {
        Mix::new(&named.iter().map(|(name, weight)| (name.to_string(), *weight)).collect())
    }

    #[test]
    fn places_fall_on_weights_in_order() {
        let mix = mix(&[("ioi", 1.0), ("years", 3.0), ("code", 4.0)]).unwrap();
        assert_eq!(mix.code(), 0.5);
        let names = [0.0, 0.24, 0.26, 0.99, 1.0].map(|place| PHENOMENA[mix.prose(place)]);
        assert_eq!(names, ["ioi", "ioi", "years", "years", "years"]);
    }

    #[test]
    fn a_mix_names_phenomena_with_weights() {
        assert_eq!(mix(&[("iio", 1.0)]).unwrap_err().hint.as_deref(), Some("did you mean `ioi`?"));
        assert!(mix(&[("ioi", -1.0)]).unwrap_err().message.contains("at least 0"));
        assert!(mix(&[("ioi", f64::NAN)]).is_err());
        assert!(mix(&[("ioi", 0.0)]).unwrap_err().message.contains("above 0"));
    }
}
