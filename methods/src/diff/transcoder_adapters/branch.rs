//! The adapter of one layer, and the passes of a model with adapters in some of its layers.

use std::cell::RefCell;
use std::rc::Rc;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::common::*;
use crate::model::hooks::{At, BoundHook, Edit};
use crate::tensor::elementwise;

/// The names of an adapter's tensors in a checkpoint.
pub const TENSORS: [&str; 4] = ["encoder", "encoder_bias", "decoder", "decoder_bias"];

/// Added to squared norms of directions, whose root has no gradient at 0, where decoders begin.
const NORM_EPS: f64 = 1e-16;

/// The adapter of one layer, in f32.
#[derive(Debug, Clone)]
pub struct Branch {
    /// One row a feature: `[features, d]`.
    pub encoder: Tensor,
    /// `[features]`.
    pub encoder_bias: Tensor,
    /// One row a feature: `[features, d]`.
    pub decoder: Tensor,
    /// `[d]`.
    pub decoder_bias: Tensor,
}

impl Branch {
    /// Draws an encoder uniformly within 1 / sqrt(d). Decoder and biases are 0, so that nothing is added at first.
    pub fn begun(features: usize, d: usize, device: &Device, random: &mut ChaCha8Rng) -> Result<Self> {
        let bound = 1.0 / (d as f32).sqrt();
        let drawn: Vec<f32> = (0..features * d).map(|_| random.random_range(-bound..bound)).collect();
        Ok(Self {
            encoder: Tensor::from_vec(drawn, (features, d), &Device::Cpu)?.to_device(device)?,
            encoder_bias: Tensor::zeros(features, DType::F32, device)?,
            decoder: Tensor::zeros((features, d), DType::F32, device)?,
            decoder_bias: Tensor::zeros(d, DType::F32, device)?,
        })
    }

    pub fn tensors(&self) -> [&Tensor; 4] {
        [&self.encoder, &self.encoder_bias, &self.decoder, &self.decoder_bias]
    }

    /// Makes the branches of tensors in the order of [`TENSORS`], layer by layer.
    pub fn of(tensors: &[Tensor]) -> Vec<Self> {
        let (layers, _) = tensors.as_chunks::<4>();
        let one = |[encoder, encoder_bias, decoder, decoder_bias]: &[Tensor; 4]| Self {
            encoder: encoder.clone(),
            encoder_bias: encoder_bias.clone(),
            decoder: decoder.clone(),
            decoder_bias: decoder_bias.clone(),
        };
        layers.iter().map(one).collect()
    }

    /// Computes the codes of what the MLP reads: `[n, d]` to `[n, features]`.
    fn codes(&self, x: &Tensor) -> Result<Tensor> {
        elementwise::relu(&x.matmul(&self.encoder.t()?)?.broadcast_add(&self.encoder_bias)?)
    }

    fn written(&self, codes: &Tensor) -> Result<Tensor> {
        Ok(codes.matmul(&self.decoder)?.broadcast_add(&self.decoder_bias)?)
    }

    /// Computes the norms of the directions, `[features]`.
    fn norms(&self) -> Result<Tensor> {
        Ok((self.decoder.sqr()?.sum(1)? + NORM_EPS)?.sqrt()?)
    }

    /// Returns the branch with directions of length 1, so that a code is the size of what its feature writes. It computes the
    /// same. A feature that writes nothing stays as it is.
    pub fn with_unit_directions(&self) -> Result<Self> {
        let norms = self.decoder.sqr()?.sum(1)?.sqrt()?;
        let ones = norms.ones_like()?;
        let factor = norms.gt(0.0)?.where_cond(&norms, &ones)?;
        Ok(Self {
            encoder: self.encoder.broadcast_mul(&factor.unsqueeze(1)?)?,
            encoder_bias: self.encoder_bias.mul(&factor)?,
            decoder: self.decoder.broadcast_div(&factor.unsqueeze(1)?)?,
            decoder_bias: self.decoder_bias.clone(),
        })
    }
}

/// The sums of a pass over its adapted layers.
#[derive(Debug, Default)]
pub struct PassSums {
    /// The sum over layers of the mean over tokens of the L1 penalty.
    pub l1: Option<Tensor>,
    /// The sum over layers of the mean number of active features.
    pub active: f64,
    /// The sum over layers of the relative error of the residual stream.
    pub streams: Option<Tensor>,
}

/// A pass with adapters beside the MLPs of some layers.
pub struct AdaptedPass<'a> {
    branches: &'a [Branch],
    is_adapted: &'a dyn Fn(usize) -> bool,
    /// The residual stream of the tuned model behind each layer; none where it is not compared.
    streams: Option<&'a [Tensor]>,
    read: Option<Tensor>,
    sums: PassSums,
}

impl<'a> AdaptedPass<'a> {
    pub fn new(
        branches: &'a [Branch],
        is_adapted: &'a dyn Fn(usize) -> bool,
        streams: Option<&'a [Tensor]>,
    ) -> Rc<RefCell<Self>> {
        let sums = PassSums::default();
        Rc::new(RefCell::new(Self { branches, is_adapted, streams, read: None, sums }))
    }

    /// Makes the hooks of a pass, which fill in its sums.
    pub fn hooks(pass: &Rc<RefCell<Self>>, config: &Config) -> Result<Vec<BoundHook<'a>>> {
        let kinds = [SiteKind::MlpIn, SiteKind::MlpOut, SiteKind::ResidPost];
        let hook = |kind: SiteKind| {
            let edit = Box::new(PassHook(pass.clone()));
            BoundHook::new(config, &format!("{}.*", kind.name()), None, None, edit)
        };
        kinds.into_iter().map(hook).collect()
    }

    pub fn sums(&mut self) -> PassSums {
        std::mem::take(&mut self.sums)
    }

    /// Returns what an MLP and its adapter write together.
    fn added(&mut self, layer: usize, x: &Tensor) -> Result<Option<Tensor>> {
        let read = self.read.take();
        let Some(branch) = self.branches.get(layer).filter(|_| (self.is_adapted)(layer)) else { return Ok(None) };
        let read = read.ok_or_else(|| err!(Bug, "an MLP that wrote before it read"))?;
        let rows = dtype::convert(&read, DType::F32)?.contiguous()?.reshape(((), branch.encoder.dims()[1]))?;
        let codes = branch.codes(&rows)?;
        let penalty = codes.broadcast_mul(&branch.norms()?)?.sum(1)?.mean(0)?;
        self.sums.l1 = Some(plus(self.sums.l1.take(), penalty)?);
        let active = codes.detach().gt(0.0)?.to_dtype(DType::F64)?.sum_all()?.to_scalar::<f64>()?;
        self.sums.active += active / rows.dims()[0] as f64;
        let written = dtype::convert(&branch.written(&codes)?.reshape(x.shape())?, x.dtype())?;
        Ok(Some((x + written)?))
    }

    /// Compares the residual stream behind a layer with the tuned model's.
    fn compare(&mut self, layer: usize, x: &Tensor) -> Result<()> {
        let Some(wanted) = self.streams.and_then(|streams| streams.get(layer)) else { return Ok(()) };
        let error = (dtype::convert(x, DType::F32)? - wanted)?.sqr()?.mean_all()?;
        let size = wanted.sqr()?.mean_all()?.to_scalar::<f32>()?;
        let relative = (error / (f64::from(size) + 1e-8))?;
        self.sums.streams = Some(plus(self.sums.streams.take(), relative)?);
        Ok(())
    }
}

fn plus(sum: Option<Tensor>, more: Tensor) -> Result<Tensor> {
    match sum {
        Some(sum) => Ok((sum + more)?),
        None => Ok(more),
    }
}

/// One of the hooks of a pass.
struct PassHook<'a>(Rc<RefCell<AdaptedPass<'a>>>);

impl Edit for PassHook<'_> {
    fn edit(&mut self, _at: &At, place: Place, _positions: Option<&[i64]>, x: &Tensor) -> Result<Option<Tensor>> {
        let mut pass = self.0.borrow_mut();
        match place.site.kind {
            SiteKind::MlpIn => {
                pass.read = Some(x.clone());
                Ok(None)
            }
            SiteKind::MlpOut => pass.added(place.site.layer, x),
            _ => pass.compare(place.site.layer, x).map(|()| None),
        }
    }
}
