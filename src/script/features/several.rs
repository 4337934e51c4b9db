//! Features as arguments: one or several, of one dictionary or of several.

use super::Feature;
use crate::base::Result;
use crate::err;
use crate::sae;
use crate::script::value::Given;

/// Features, each as the index of its dictionary and its index there.
pub struct Several {
    pub saes: Vec<sae::Sae>,
    pub features: Vec<(usize, usize)>,
    /// The name of each in tables.
    pub names: Vec<String>,
}

impl Several {
    /// A feature, or an array of them.
    pub fn of(given: &Given) -> Result<Self> {
        let mut several = Self { saes: Vec::new(), features: Vec::new(), names: Vec::new() };
        let elements = given.elements();
        if elements.is_empty() {
            return Err(err!(Argument, "expected at least one feature for `f`, found an empty array").about("f"));
        }
        for element in elements {
            let feature = element.handle::<Feature>().ok_or_else(|| {
                element.refuse("a feature or an array of features").hint("`s.feature(12)` is a feature of a dictionary")
            })?;
            several.add(&feature);
        }
        Ok(several)
    }

    fn add(&mut self, feature: &Feature) {
        let core = &feature.sae.core;
        let known = self.saes.iter().position(|sae| sae.is(core));
        let sae = known.unwrap_or_else(|| {
            self.saes.push(core.clone());
            self.saes.len() - 1
        });
        self.features.push((sae, feature.index));
        let site = feature.site().unwrap_or_else(|| "?".into());
        self.names.push(format!("{site}/{}", feature.index));
    }
}
