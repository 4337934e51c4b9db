//! Floor 11: dictionaries (sparse autoencoders, transcoders, crosscoders, linear baselines), which encode activations
//! as codes of features.
//!
//! A dictionary is one type, [`Sae`], whatever its kind and library: its [`Parts`] are the mathematics as data. Every
//! kind of training ends in such parts; a format is a reader and a writer of them.
//!
//! ```rust,no_run
//! use microtome_methods::model::site::select;
//! use microtome_methods::prelude::*;
//!
//! /// Fits a top-k dictionary at each of these sites.
//! fn fitted(model: &Model, sites: &[&str], text: &Text, files: &Files, task: &Task) -> Result<Vec<Sae>> {
//!     let options = FitOptions { ratio: 2.0, steps: Some(10), batch: 512, ..Default::default() };
//!     let plans = [FitPlan::new(kinds::TopK { k: 8, ..Default::default() }, options)];
//!     let reading = HarvestOptions { context: Some(64), ..Default::default() };
//!     let storage = FitStorage::none(files);
//!     let readings = [TextReading::new(model, text, &reading)];
//!     let source = Source::Text(&readings);
//!     let target = Target::Dictionary(sites);
//!     let job = Job { source, target, plans: &plans, is_sweep: false, storage: &storage };
//!     job.run(task)?.into_iter().map(|one| one.made.dictionary()).collect()
//! }
//!
//! /// Computes the activations of a dictionary's features, `[1, pos, features]`, where the model reads these tokens.
//! fn codes(model: &Model, sae: &Sae, tokens: Tokens, task: &Task) -> Result<Tensor> {
//!     let site = &sae.parts().about.sites[0].name;
//!     let ask = Ask { places: select(model.decoder.config(), site)?, ..Default::default() };
//!     let cache = model.decoder.cache(&Batch::new(vec![tokens.ids])?, ask, task)?;
//!     sae.encode(&cache.get(site)?)
//! }
//! ```
//!
//! To programs of candle a dictionary is a module, which reconstructs what it reads, and a transcoder one that computes
//! what another writes:
//!
//! ```rust,no_run
//! use candle_core::{Module, Tensor};
//! use microtome_methods::prelude::Sae;
//!
//! /// Computes what a module's dictionary misses of what the module writes.
//! fn missed(module: &impl Module, sae: &Sae, x: &Tensor) -> candle_core::Result<Tensor> {
//!     let written = x.apply(module)?;
//!     &written - written.apply(sae)?
//! }
//! ```

pub mod baselines;
pub mod cached;
pub mod check;
pub mod crosscoder;
pub mod diffing;
pub mod finetune;
pub mod fit;
pub mod formats;
pub mod from_tensors;
pub mod load;
pub mod lorsa;
pub mod map;
pub mod metrics;
pub mod releases;
pub mod splice;
pub mod temporal;
pub mod text_rows;
pub mod transcoders;

mod about;
mod codes;
mod compatibility;
mod encode;
mod nonnegative;
mod parts;
pub(crate) mod prelude;
mod published;
mod pursuit;
mod rows;
mod save;
mod scaling;
mod select;
mod soft_topk;
mod sparser;
mod tensors;

use std::sync::Arc;

pub use about::{About, KindLabel, ReadSite, Span};
pub use compatibility::{SiteOptions, SitePair, check_writes_behind, one_place, site_of, writes_of};
pub use encode::SparseCodes;
pub use formats::Format;
pub use parts::{Activation, Parts};
pub use scaling::Scaling;
pub use transcoders::{Transcoders, site_layer};

use candle_core::Module;

use crate::common::*;
use crate::model::hooks::checks::finite;
use crate::tensor::matmul;

/// A dictionary with consistent parts.
#[derive(Debug, Clone)]
pub struct Sae {
    parts: Arc<Parts>,
}

impl Sae {
    /// Refuses inconsistent parts.
    pub fn new(parts: Parts) -> Result<Self> {
        parts.check()?;
        Ok(Self { parts: Arc::new(parts) })
    }

    pub fn parts(&self) -> &Parts {
        &self.parts
    }

    /// Moves the dictionary to a device.
    pub fn to_device(&self, device: &Device) -> Result<Self> {
        Self::new(self.parts.as_ref().clone().to_device(device)?)
    }

    /// Returns whether this is the same dictionary in memory, and not merely one with equal parts.
    pub fn is(&self, other: &Sae) -> bool {
        Arc::ptr_eq(&self.parts, &other.parts)
    }

    /// Returns the width of the activations that it reads.
    pub fn d_in(&self) -> usize {
        self.parts.encoder.dims()[1]
    }

    /// Returns the width of the activations that it writes.
    pub fn d_out(&self) -> usize {
        self.parts.decoder.dims()[1]
    }

    /// Returns the number of features.
    pub fn d_sae(&self) -> usize {
        self.parts.decoder.dims()[0]
    }

    /// Returns the decoder directions: one row for each feature, `[d_sae, d_out]`.
    pub fn directions(&self) -> &Tensor {
        &self.parts.decoder
    }

    /// Returns the numbers that a change of activations through the dictionary depends on, with the features that it is
    /// of, if some are named.
    pub fn numbers(&self, features: &[u32]) -> Vec<Tensor> {
        let named = Tensor::new(features, &Device::Cpu).ok().filter(|_| !features.is_empty());
        named.into_iter().chain([self.parts.encoder.clone(), self.parts.decoder.clone()]).collect()
    }

    /// Returns the device of the dictionary's parts. Its functions compute there, and answer on the device of what they
    /// are given.
    pub fn device(&self) -> &Device {
        self.parts.encoder.device()
    }

    /// Computes the codes of activations: `[.., d_in]` to `[.., d_sae]`.
    pub fn encode(&self, x: &Tensor) -> Result<Tensor> {
        self.check_readable(x)?;
        let here = x.to_device(self.device())?;
        Ok(self.codes_of(&self.parts.scaling.of(&here)?.before(&here)?)?.to_device(x.device())?)
    }

    /// Computes the codes of activations that are scaled already.
    fn codes_of(&self, x: &Tensor) -> Result<Tensor> {
        // Finding the largest is faster than computing and sorting all, but has no gradients.
        if let (Activation::TopK(_), false) = (&self.parts.activation, codes::has_history(&self.parts, x))
            && let Some(codes) = encode::dense(&self.parts, x)?
        {
            return Ok(codes);
        }
        codes::codes(&self.parts, x)
    }

    /// Computes the pre-activations: `[.., d_in]` to `[.., d_sae]`.
    pub fn pre_activations(&self, x: &Tensor) -> Result<Tensor> {
        self.check_readable(x)?;
        let here = x.to_device(self.device())?;
        Ok(codes::pre(&self.parts, &self.parts.scaling.of(&here)?.before(&here)?)?.to_device(x.device())?)
    }

    /// Estimates how many features activations need: `[.., d_in]` to `[..]`. Only a dictionary that learned it can.
    pub fn ks(&self, x: &Tensor) -> Result<Tensor> {
        self.check_readable(x)?;
        let here = x.to_device(self.device())?;
        let ks = codes::ks(&self.parts, &self.parts.scaling.of(&here)?.before(&here)?)?;
        let ks = ks.ok_or_else(|| {
            let found = self.parts.activation.name();
            err!(Argument, "expected a dictionary that estimates how many features a row needs, found one of {found}")
                .hint("`sae::fit` makes one with `kind: \"soft_topk\"`")
        })?;
        Ok(ks.to_device(x.device())?)
    }

    /// Decodes codes: `[.., d_sae]` to `[.., d_out]`. A dictionary whose decoder needs the input refuses.
    pub fn decode(&self, codes: &Tensor) -> Result<Tensor> {
        self.fits(codes, self.d_sae(), "codes")?;
        let what = match (&self.parts.scaling, &self.parts.skip) {
            (Scaling::None, None) => {
                let found = codes::decoded(&self.parts, &codes.to_device(self.device())?)?;
                return Ok(found.to_device(codes.device())?);
            }
            (Scaling::None, Some(_)) => "has a skip connection",
            _ => "normalises each input",
        };
        Err(err!(Argument, "codes alone cannot be decoded: this dictionary {what}")
            .hint("`reconstruct` takes the input; `directions` are the decoder directions"))
    }

    /// Computes the reconstruction of `x`: `[.., d_in]` to `[.., d_out]`.
    pub fn reconstruct(&self, x: &Tensor) -> Result<Tensor> {
        Ok(self.encode_and_reconstruct(x)?.1)
    }

    /// Computes the codes and the reconstruction of activations, computed together.
    pub fn encode_and_reconstruct(&self, x: &Tensor) -> Result<(Tensor, Tensor)> {
        self.check_readable(x)?;
        let here = x.to_device(self.device())?;
        let scaled = self.parts.scaling.of(&here)?;
        let input = scaled.before(&here)?;
        let codes = self.codes_of(&input)?;
        let mut found = codes::decoded(&self.parts, &codes)?;
        if let Some(skip) = &self.parts.skip {
            found = found.add(&matmul::matmul(&input, &skip.t()?)?)?;
        }
        Ok((codes.to_device(x.device())?, scaled.after(&found)?.to_device(x.device())?))
    }

    /// Returns what single features write for activations `x`, `[n, d_in]`: c_f d_f in the activations' own units,
    /// `[n, d_out]`. Subtracting it ablates the feature.
    pub fn written_by(&self, x: &Tensor, features: &[u32], codes: &Tensor) -> Result<Tensor> {
        self.fits(x, self.d_in(), "activations")?;
        let here = x.to_device(self.device())?;
        let codes = codes.to_device(self.device())?;
        let found = self.parts.scaling.of(&here)?.stretched(&codes::written(&self.parts, features, &codes)?)?;
        Ok(found.to_device(x.device())?)
    }

    /// Returns what features write together for activations `x`, `[.., d_in]`, with codes `[.., features]`: c D in the
    /// activations' own units, without any bias.
    pub fn writes(&self, x: &Tensor, features: &Tensor, codes: &Tensor) -> Result<Tensor> {
        self.fits(x, self.d_in(), "activations")?;
        let [here, features, codes] = [x, features, codes].map(|t| t.to_device(self.device()));
        let found = codes::together(&self.parts, &features?, &codes?)?;
        Ok(self.parts.scaling.of(&here?)?.stretched(&found)?.to_device(x.device())?)
    }

    /// Refuses activations of another width, and NaN and infinities, which not every activation function passes on.
    fn check_readable(&self, x: &Tensor) -> Result<()> {
        self.fits(x, self.d_in(), "activations")?;
        let place = self.place();
        finite(x, format_args!("activations{place}")).map_err(|e| {
            e.hint("a cache of texts of different lengths is padded with NaN; look where others come from")
        })
    }

    fn fits(&self, x: &Tensor, width: usize, what: &str) -> Result<()> {
        if x.dims().last() == Some(&width) {
            return Ok(());
        }
        let place = self.place();
        Err(err!(Shape, "expected {what} of width {width}{place}, found the shape {:?}", x.dims()))
    }

    /// Returns the dictionary's sites in brackets, for errors; empty where they are unknown.
    fn place(&self) -> String {
        let about = &self.parts.about;
        if about.sites.is_empty() { String::new() } else { format!(" ({})", about.site()) }
    }
}

/// The reconstruction, for programs that compose modules of candle.
impl Module for Sae {
    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        self.reconstruct(x).map_err(candle_core::Error::wrap)
    }
}
