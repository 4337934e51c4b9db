//! Dictionaries at their sites in a model, in the order of the computation, and their nodes' values in a run.

use crate::common::*;
use crate::data::harvest::width;
use crate::features::logits::written;
use crate::model::site::Heads;
use crate::sae::{Activation, Sae, Scaling, check_writes_behind, one_place, site_of, writes_of};

/// A dictionary with the site that it reads and the site that it writes, which is the same unless it is a transcoder.
#[derive(Debug, Clone)]
pub struct PlacedDictionary {
    pub sae: Sae,
    pub reads: Place,
    pub writes: Place,
}

/// The nodes of one dictionary in a run: its activations `[.., features]`, and the reconstruction error, `[.., d]`.
#[derive(Debug, Clone)]
pub struct DictionaryValues {
    pub codes: Tensor,
    pub error: Tensor,
}

impl PlacedDictionary {
    /// Returns the dictionaries in the order of the sites that they write; refuses those of other models or widths, and
    /// two of one site.
    pub fn all(model: &Model, saes: &[Sae]) -> Result<Vec<Self>> {
        if saes.is_empty() {
            return Err(err!(Argument, "expected at least one dictionary, found none")
                .hint("`sae::fit_all(m, \"resid_post.*\", text)` fits one for each layer")
                .about("saes"));
        }
        let found = saes.iter().map(|sae| Self::new(model, sae)).collect::<Result<Vec<_>>>();
        let mut found = found.map_err(|e| e.about("saes"))?;
        found.sort_by_key(|placed| placed.writes);
        match found.windows(2).find(|two| two[0].writes == two[1].writes) {
            Some(two) => {
                Err(err!(Argument, "expected dictionaries of different sites, found two at `{}`", two[0].writes)
                    .about("saes"))
            }
            None => Ok(found),
        }
    }

    fn new(model: &Model, sae: &Sae) -> Result<Self> {
        let config = model.decoder.config();
        let site = site_of(sae)?;
        let reads = one_place(config, &site)?;
        sae.check_fits(width(config, reads)?, &model.name(), &site)?;
        sae.check_model(&model.name())?;
        let writes = match writes_of(sae, None)? {
            Some(site) => one_place(config, &site)?,
            None => reads,
        };
        if reads != writes {
            check_writes_behind(reads, writes)?;
        }
        let wide = width(config, writes)?;
        if wide != sae.d_out() {
            let found = sae.d_out();
            return Err(err!(
                Shape,
                "expected a dictionary that writes {wide} numbers at `{writes}`, found one of {found}"
            ));
        }
        if let Some(place) = [reads, writes].into_iter().find(|place| place.site.kind.heads() != Heads::None) {
            return Err(err!(Argument, "expected dictionaries of activations without heads, found one of `{place}`")
                .hint("fit them on `attn_out`, `mlp_out` and `resid_post`"));
        }
        Ok(Self { sae: sae.clone(), reads, writes })
    }

    /// Returns the site that names the dictionary.
    pub fn name(&self) -> String {
        self.reads.to_string()
    }

    pub fn features(&self) -> usize {
        self.sae.d_sae()
    }

    /// Returns whether everything after the dictionary passes through the site that it writes.
    pub fn is_stream(&self) -> bool {
        use SiteKind::{Embed, ResidMid, ResidPost, ResidPre};
        matches!(self.writes.site.kind, Embed | ResidPre | ResidMid | ResidPost)
    }

    /// Converts the input to the dtype that the dictionary reads.
    pub fn input(&self, x: &Tensor) -> Result<Tensor> {
        dtype::convert(x, self.sae.parts().encoder.dtype())
    }

    /// Returns the nodes in a run, in f32, from the activations that the dictionary reads and writes; with gradients
    /// where these have some.
    pub fn values(&self, read: &Tensor, written: &Tensor) -> Result<DictionaryValues> {
        let (codes, found) = self.encoded(&self.input(read)?)?;
        let error = (written.to_dtype(DType::F32)? - found.to_dtype(DType::F32)?)?;
        Ok(DictionaryValues { codes: codes.to_dtype(DType::F32)?, error })
    }

    /// Returns activations and reconstruction. Under a gradient, the encoding without one finds which features are
    /// selected, and does not sort them.
    fn encoded(&self, input: &Tensor) -> Result<(Tensor, Tensor)> {
        let parts = self.sae.parts();
        let is_selecting =
            matches!(parts.activation, Activation::Relu | Activation::TopK(_) | Activation::Threshold(_));
        if !(input.track_op() && is_selecting && parts.scaling == Scaling::None && parts.skip.is_none()) {
            return self.sae.encode_and_reconstruct(input);
        }
        let selected = self.sae.encode(&input.detach())?.ne(0.0)?.to_dtype(input.dtype())?;
        let codes = (self.sae.pre_activations(input)? * selected)?;
        let found = self.sae.decode(&codes)?;
        Ok((codes, found))
    }

    /// Returns what an activation of 1 of some features writes, before a scaling is undone: `[features, d]`.
    pub fn directions(&self, features: &[u32]) -> Result<Tensor> {
        let all = written(&self.sae, 0, self.features())?;
        Ok(all.index_select(&Tensor::new(features, all.device())?, 0)?)
    }

    /// Returns what given changes of all feature activations, `[.., features]`, and of the error, `[.., d]`, add to the
    /// site's activation. Where inputs are scaled, feature activations are in the units of this input.
    pub fn added(&self, input: &Tensor, codes: &Tensor, error: &Tensor) -> Result<Tensor> {
        let every = Tensor::arange(0_u32, self.features() as u32, input.device())?;
        let codes = dtype::convert(codes, input.dtype())?;
        let written = self.sae.writes(input, &every, &codes)?.to_dtype(DType::F32)?;
        Ok((written + error)?)
    }
}

impl DictionaryValues {
    /// Returns all activations and the error as 0.
    pub fn zero(placed: &PlacedDictionary, like: &Tensor) -> Result<Self> {
        let of = |width: usize| Tensor::zeros((1, 1, width), DType::F32, like.device());
        Ok(Self { codes: of(placed.features())?, error: of(placed.sae.d_out())? })
    }
}
