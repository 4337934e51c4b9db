//! The sites that bridges join, and passes that begin at one of them.

use crate::common::*;
use crate::model::hooks::NoHooks;

/// Name of what these functions do, for an error.
const WHAT: &str = "a bridge";

/// Lists the sites of bridges: the stream that attention and MLPs read, and that behind the last block.
fn sites(config: &Config) -> Vec<Site> {
    let is_bridged = |site: &Site| match site.kind {
        SiteKind::ResidPre | SiteKind::ResidMid => true,
        SiteKind::ResidPost => site.layer + 1 == config.layers,
        _ => false,
    };
    Site::all(config).into_iter().filter(is_bridged).collect()
}

/// Returns the sites of bridges between two models; refuses models of other layers, and those that read more than the stream.
pub fn common(dense: &Model, sparse: &Model) -> Result<Vec<Site>> {
    for (model, name) in [(dense, "dense"), (sparse, "sparse")] {
        model.decoder.check_keeps_none(WHAT).map_err(|e| e.about(name))?;
        let config = model.decoder.config();
        config.expect_next_token(WHAT).map_err(|e| e.about(name))?;
        if let Some(found) = beside_the_stream(config) {
            return Err(err!(
                Argument,
                "expected a model whose layers read nothing but the residual stream, found {found}"
            )
            .hint("a pass that begins in another model has the stream alone")
            .about(name));
        }
    }
    let [of_dense, of_sparse] = [dense, sparse].map(|model| model.decoder.config());
    for (what, expected, found) in [
        ("layers", of_dense.layers, of_sparse.layers),
        ("tokens that it predicts", of_dense.outputs(), of_sparse.outputs()),
    ] {
        if expected != found {
            return Err(err!(
                Shape,
                "expected a sparse model with {expected} {what}, as the dense one has, found {found}"
            )
            .about("sparse"));
        }
    }
    let expected = sites(of_dense);
    let found = sites(of_sparse);
    if expected != found {
        let has = |sites: &[Site]| {
            if sites.iter().any(|site| site.kind == SiteKind::ResidMid) { "MLPs behind attention" } else { "others" }
        };
        return Err(err!(
            Argument,
            "expected a sparse model with {}, as the dense one has, found {}",
            has(&expected),
            has(&found)
        )
        .hint("each bridge joins the same place of both models")
        .about("sparse"));
    }
    if expected.is_empty() {
        return Err(err!(Argument, "expected models with layers, found none").about("dense"));
    }
    Ok(expected)
}

/// Makes the error of two models that read a text as other tokens.
pub fn read_differently() -> Error {
    err!(Argument, "expected models that read the same tokens, found others in the sparse one")
        .hint("both need the same tokenizer")
        .about("sparse")
}

/// Describes what layers read beside the stream before them, if there is something.
fn beside_the_stream(config: &Config) -> Option<&'static str> {
    match config {
        Config { shared_keys: Some(_), .. } => Some("layers that read the keys and values of others"),
        Config { layer_inputs: Some(_), .. } => Some("inputs of every layer beside the stream"),
        Config { rwkv: Some(_), .. } => Some("values of the first layer that all others read"),
        _ => None,
    }
}

/// Computes the stream of a model at each site, `[batch, pos, d_model]` in f32.
pub fn streams(decoder: &Decoder, sites: &[Site], batch: &Batch, task: &Task) -> Result<Vec<Tensor>> {
    let places: Vec<Place> = sites.iter().map(|site| Place { site: *site, head: None }).collect();
    let cache = decoder.cache(batch, Ask { places: places.clone(), ..Ask::default() }, task)?;
    places.iter().map(|place| dtype::convert(&cache.at(*place)?, DType::F32)).collect()
}

/// Streams of a model at each site, `[batch, pos, d_model]`, and its logits at some points, all in f32.
pub struct StreamedPass {
    pub streams: Vec<Tensor>,
    pub logits: Tensor,
}

impl StreamedPass {
    pub fn new(
        decoder: &Decoder,
        sites: &[Site],
        batch: &Batch,
        points: &[(usize, usize)],
        task: &Task,
    ) -> Result<Self> {
        let places: Vec<Place> = sites.iter().map(|site| Place { site: *site, head: None }).collect();
        let ask = Ask { places: places.clone(), ..Ask::default() };
        let (cache, end) = decoder.run_to_end(batch, ask, points, task)?;
        let stream = |place: &Place| dtype::convert(&cache.at(*place)?, DType::F32);
        let streams = places.iter().map(stream).collect::<Result<_>>()?;
        let logits = dtype::convert(&decoder.logits_of(&end, 0..points.len(), task)?, DType::F32)?;
        Ok(Self { streams, logits })
    }
}

/// Computes the logits, in f32, at some points of a pass that begins with this stream at a site.
pub fn logits_from(
    decoder: &Decoder,
    batch: &Batch,
    site: Site,
    stream: &Tensor,
    points: &[(usize, usize)],
    task: &Task,
) -> Result<Tensor> {
    let stream = dtype::convert(stream, decoder.dtype())?;
    let found = decoder.resumed(batch, site, &stream, &mut NoHooks, Logits::Points(points), task)?;
    dtype::convert(&found.ok_or_else(|| err!(Bug, "a pass without hooks that was stopped"))?, DType::F32)
}
