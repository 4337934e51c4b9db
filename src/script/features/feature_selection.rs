//! Features as an option: an array of them, of their names or of their indices, or a range.

use crate::options::Foreign;
use crate::sae::Sae;
use crate::script::engine::value::handle;
use crate::script::features::Feature;
use crate::script::prelude::*;

/// The features that are asked for.
#[derive(Debug, Clone)]
pub struct FeatureSelection(Vec<SelectedFeature>);

#[derive(Debug, Clone)]
enum SelectedFeature {
    Index(i64),
    Name(String),
    Of(Sae, usize),
}

/// No dictionary has so many features; what lies beyond its last one is refused by name.
const MOST: i64 = 1 << 26;

impl FeatureSelection {
    /// Finds each feature's dictionary among these and its index there.
    pub fn places(&self, saes: &[Sae]) -> Result<Vec<(usize, usize)>> {
        self.0.iter().map(|one| one.place(saes)).collect::<Result<_>>().map_err(|e| e.about("features"))
    }
}

impl SelectedFeature {
    fn of(value: &Plain) -> Option<Self> {
        match value {
            Plain::Text(name) => Some(Self::Name(name.clone())),
            Plain::Other(_) => {
                handle::<Feature>(value).map(|feature| Self::Of(feature.sae.core.clone(), feature.index))
            }
            number => i64::of(number).map(Self::Index),
        }
    }

    fn place(&self, saes: &[Sae]) -> Result<(usize, usize)> {
        let within = |dictionary: usize, index: i64| {
            let last = saes.get(dictionary).map_or(0, Sae::d_sae).saturating_sub(1);
            let found = usize::try_from(index).ok().filter(|index| *index <= last);
            let found = found.ok_or_else(|| err!(Argument, "expected features from 0 to {last}, found {index}"))?;
            Ok((dictionary, found))
        };
        match self {
            Self::Of(of, feature) => {
                let found = saes.iter().position(|sae| sae.is(of)).map(|dictionary| (dictionary, *feature));
                found.ok_or_else(|| err!(Argument, "expected features of these dictionaries, found one of another"))
            }
            Self::Index(index) if saes.len() == 1 => within(0, *index),
            Self::Index(index) => {
                Err(err!(Argument, "expected features of {} dictionaries by name, found {index}", saes.len())
                    .hint("as in \"resid_post.3/12\", or `s.feature(12)`"))
            }
            Self::Name(name) => {
                let parts = name.rsplit_once('/').and_then(|(site, index)| Some((site, index.parse::<i64>().ok()?)));
                let of = |site: &str| saes.iter().position(|sae| sae.parts().about.site() == site);
                match parts.and_then(|(site, index)| Some((of(site)?, index))) {
                    Some((dictionary, index)) => within(dictionary, index),
                    None => Err(err!(Argument, "expected features such as \"resid_post.3/12\", found {name:?}")),
                }
            }
        }
    }
}

impl Setting for FeatureSelection {
    fn wanted() -> String {
        "an array of features, of their names or of their indices, or a range".into()
    }

    fn of(value: &Plain) -> Option<Self> {
        match value {
            Plain::List(values) => values.iter().map(SelectedFeature::of).collect::<Option<_>>().map(Self),
            Plain::Other(Foreign { value: foreign, .. }) if foreign.is::<Range<i64>>() => {
                let range = foreign.downcast_ref::<Range<i64>>()?;
                let end = range.end.min(range.start.saturating_add(MOST));
                Some(Self((range.start..end).map(SelectedFeature::Index).collect()))
            }
            one => SelectedFeature::of(one).map(|one| Self(vec![one])),
        }
    }

    fn written(&self) -> String {
        format!("{} features", self.0.len())
    }
}
