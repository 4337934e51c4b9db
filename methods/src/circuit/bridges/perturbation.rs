//! A change of one channel of the sparse model, carried over to the dense one (Gao et al. 2025, appendix A.4).
//!
//! What attention and MLPs read is the stream behind a norm, and bridges join the streams before it. With x the channel as it
//! is read, r a stream's root mean square, w the weights of a norm and g the decoder's row of the channel, a change of x by c is
//! one of the dense model's reading by
//!
//!     c (r_sparse / r_dense) (w_dense / w_sparse) g
//!
//! with the ratio of the means of r over the tokens of both prompts.

use super::Bridges;
use crate::circuit::channels::gains;
use crate::common::*;
use crate::model::config::NormKind;
use crate::model::site::NAME_ONE;
use crate::tensor::matmul::outer;

impl Bridges {
    /// Computes what to add to what the dense model reads at a site, `[pos, d_model]`, for one channel of what the sparse model
    /// reads there to change as from one prompt to another of the same length.
    pub fn perturbation(&self, site: &str, channel: usize, prompts: [&[u32]; 2], task: &Task) -> Result<Tensor> {
        for (model, name) in [(&self.dense, "dense"), (&self.sparse, "sparse")] {
            check_norms(model.decoder.config()).map_err(|e| e.about(name))?;
        }
        let sparse = &self.sparse.decoder;
        let reads = read_site(&self.sparse, site)?;
        let number = self.bridge_before(reads)?;
        let width = sparse.config().d_model;
        if channel >= width {
            return Err(err!(Index, "expected a channel below {width}, found {channel}").about("channel"));
        }
        let [clean, corrupt] = prompts.map(<[u32]>::len);
        if clean != corrupt {
            return Err(
                err!(Shape, "expected prompts of the same length, found {clean} and {corrupt} tokens").about("corrupt")
            );
        }
        let batch = Batch::new(prompts.map(<[u32]>::to_vec).to_vec())?;
        let read = activation(sparse, reads, &batch, task)?.narrow(2, channel, 1)?.squeeze(2)?;
        let change = (read.get(1)? - read.get(0)?)?;
        let size = |decoder: &Decoder| mean_size(&activation(decoder, self.sites[number], &batch, task)?);
        let ratio = size(sparse)? / size(&self.dense.decoder)?;
        let [of_dense, of_sparse] = [&self.dense, &self.sparse].map(|model| gains(&model.decoder, reads));
        let own = of_sparse?.map_or(1.0, |gains| gains[channel]);
        // A channel of weight 0 is always 0 where it is read, and has no change to carry over.
        let factor = if own == 0.0 { 0.0 } else { ratio / own };
        let row = dtype::convert(&self.bridges[number].directions().get(channel)?, DType::F32)?;
        let row = match of_dense? {
            Some(gains) => {
                let gains: Vec<f32> = gains.into_iter().map(|gain| gain as f32).collect();
                row.mul(&Tensor::from_vec(gains, row.elem_count(), row.device())?)?
            }
            None => row,
        };
        outer(&change.to_device(row.device())?, &(row * factor)?)
    }

    /// Returns the number of the bridge of the stream that is read at a site.
    fn bridge_before(&self, reads: Site) -> Result<usize> {
        let is_before = |site: &Site| site.layer == reads.layer && site.kind != SiteKind::ResidPost;
        let mut before = self.sites.iter().enumerate().filter(|(_, site)| is_before(site)).map(|(number, _)| number);
        let found = if reads.kind == SiteKind::AttnIn { before.next() } else { before.next_back() };
        found.ok_or_else(|| err!(Bug, "no bridge before `{reads}`"))
    }
}

/// Finds a site where attention or an MLP reads the stream.
fn read_site(model: &Model, name: &str) -> Result<Site> {
    let Place { site, head } = one_site(model.decoder.config(), name, NAME_ONE)?;
    if head.is_some() || !matches!(site.kind, SiteKind::AttnIn | SiteKind::MlpIn) {
        return Err(err!(Name, "expected what attention or an MLP reads, found `{name}`")
            .hint("attn_in.1 or mlp_in.1")
            .about("site"));
    }
    Ok(site)
}

/// Refuses a model that does not read its stream through the RMS norm of each layer.
fn check_norms(config: &Config) -> Result<()> {
    let is_plain = config.norm == Some(NormKind::Rms) && config.pre_norm && config.unnormed.is_empty();
    if is_plain {
        return Ok(());
    }
    Err(err!(Argument, "expected a model that reads the stream through RMS norms, found other norms")
        .hint("a change of one channel stays one of that channel behind an RMS norm alone"))
}

fn activation(decoder: &Decoder, site: Site, batch: &Batch, task: &Task) -> Result<Tensor> {
    let place = Place { site, head: None };
    let cache = decoder.cache(batch, Ask { places: vec![place], ..Ask::default() }, task)?;
    dtype::convert(&cache.at(place)?, DType::F32)
}

/// Computes the root mean square over the width, `[batch, pos, d_model]`, and its mean over tokens.
fn mean_size(x: &Tensor) -> Result<f64> {
    let sizes = floats(&x.sqr()?.mean(2)?.sqrt()?)?;
    Ok(sizes.iter().sum::<f64>() / sizes.len() as f64)
}
