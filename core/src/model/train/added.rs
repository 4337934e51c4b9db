//! Vectors that are added at sites while a model is trained, and no longer when it is used: what they bring about need not
//! be learned (preventative steering; Chen et al. 2025, section 5.2).

use serde::{Deserialize, Serialize};

use crate::base::Result;
use crate::err;
use crate::model::config::Config;
use crate::model::hooks::checks;
use crate::model::site::{Site, SiteKind, select};
use crate::options::{Plain, Setting};
use crate::tensor::{DType, Device, Tensor, Values};

/// Vectors by site.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AddedVectors(Vec<AddedVector>);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AddedVector {
    site: String,
    vector: Vec<f32>,
}

/// A vector that is added to all positions of a site.
#[derive(Debug, Clone)]
pub struct BoundVector {
    pub site: Site,
    vector: Tensor,
}

impl BoundVector {
    /// Adds the vector to an activation `[batch, pos, d]`.
    pub fn added_to(&self, x: &Tensor) -> Result<Tensor> {
        Ok(x.broadcast_add(&self.vector.to_device(x.device())?.to_dtype(x.dtype())?)?)
    }
}

impl AddedVectors {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Binds the vectors to the sites of a model, each of which must be one tensor as wide as the residual stream.
    pub fn bound(&self, config: &Config) -> Result<Vec<BoundVector>> {
        let each = self.0.iter().map(|added| added.bound(config));
        let bound = each.collect::<Result<Vec<_>>>().map_err(|e| e.about("added"))?;
        for (at, one) in bound.iter().enumerate() {
            if bound[..at].iter().any(|other| other.site == one.site) {
                return Err(err!(Name, "expected a vector for each site, found two for `{}`", one.site).about("added"));
            }
        }
        Ok(bound)
    }
}

impl AddedVector {
    fn bound(&self, config: &Config) -> Result<BoundVector> {
        let places = select(config, &self.site)?;
        let place = match places[..] {
            [place] if place.head.is_none() && is_of_the_stream(place.site.kind) => place,
            _ => {
                return Err(err!(Name, "expected a site as wide as the residual stream, found `{}`", self.site)
                    .hint("embed, resid_pre.2, resid_mid.2, attn_out.2, mlp_out.2 or resid_post.2"));
            }
        };
        let wanted = config.d_model;
        let found = self.vector.len();
        if found != wanted {
            return Err(err!(Shape, "expected a vector of {wanted} numbers at `{place}`, found {found}"));
        }
        let vector = Tensor::from_vec(self.vector.clone(), wanted, &Device::Cpu)?;
        checks::finite(&vector, "numbers in a vector")?;
        Ok(BoundVector { site: place.site, vector })
    }
}

/// Returns whether a site is the residual stream, or what a part of a layer adds to it.
fn is_of_the_stream(kind: SiteKind) -> bool {
    use SiteKind::{AttnOut, Embed, LayerOut, MlpOut, ResidMid, ResidPost, ResidPre};
    matches!(kind, Embed | ResidPre | AttnOut | ResidMid | MlpOut | LayerOut | ResidPost)
}

impl Setting for AddedVectors {
    fn wanted() -> String {
        "a map of vectors by site".into()
    }

    fn of(value: &Plain) -> Option<Self> {
        let Plain::Map(given) = value else { return None };
        let one = |(site, vector): &(String, Plain)| {
            let tensor = Values::of(vector)?.tensor("added", DType::F32).ok()?;
            let vector = tensor.flatten_all().ok()?.to_vec1().ok()?;
            Some(AddedVector { site: site.clone(), vector })
        };
        given.iter().map(one).collect::<Option<_>>().map(Self)
    }

    fn written(&self) -> String {
        let each: Vec<String> =
            self.0.iter().map(|one| format!("\"{}\": a vector of {}", one.site, one.vector.len())).collect();
        format!("#{{ {} }}", each.join(", "))
    }
}
