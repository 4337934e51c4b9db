//! Verification: a model's activations compared with those that another program recorded of the same weights and
//! tokens.
//!
//! A dump is a safetensors file of activations, under the names of TransformerLens or ours, and of the ids that were
//! read. TransformerLens records two things otherwise than our sites do. Its `hook_normalized` is the output of a norm
//! before its weights, which is computed from the residual stream and the scale; and its scores contain the mask, minus
//! infinity or the least number of a dtype, so that only unmasked ones are compared.

use super::compare::DifferenceSums;
use crate::base::disk::Mapping;
use crate::base::{Cell, Result, Table, Task};
use crate::model::batch::Batch;
use crate::model::cache::Cache;
use crate::model::config::{Config, NormKind};
use crate::model::decoder::Decoder;
use crate::model::hooks::BoundHook;
use crate::model::run::Ask;
use crate::model::site::{NORMED, Place, Site, SiteKind, one_site};
use crate::tensor::files::safetensors::SafetensorsFile;
use crate::tensor::{DType, Tensor, dtype, floats};
use crate::tokenizer::tokens::token_id;
use crate::{bail, err};

/// The names under which a dump has its ids.
const IDS: [&str; 2] = ["tokens", "input_ids"];
/// Name of the mask of a dump: 1 at tokens, 0 at padding.
const MASK: &str = "attention_mask";
/// The greatest number that stands for a masked score: the least of f16, the dtype of the narrowest range.
const MASKED: f64 = -65504.0;

/// The hint where a name of a dump stands for several sites.
const ONE: &str = "one activation has one site";

/// Activations of another program.
pub struct Dump {
    name: String,
    file: SafetensorsFile<Mapping>,
}

/// A site, or two sites, that a name of a dump refers to.
#[derive(Debug, Clone, Copy, PartialEq)]
enum DumpSite {
    Place(Place),
    /// The output of a norm before its weights: the residual stream, centred by a layer norm, over the scale.
    Normed {
        stream: Site,
        scale: Site,
    },
}

/// One activation of a dump compared with ours.
#[derive(Debug, Clone, PartialEq)]
pub struct ComparedActivation {
    /// Name in the dump.
    pub name: String,
    /// Euclidean norms over all positions.
    pub theirs: f64,
    pub ours: f64,
    pub cosine: f64,
    /// Largest difference: max |ours - theirs|.
    pub largest: f64,
    /// Relative difference: |ours - theirs| / |theirs|.
    pub relative: f64,
    /// Limit of the difference, if both are known to compute in f32.
    pub limit: Option<Limit>,
}

/// Limit of a difference, and where the difference is largest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limit {
    /// Largest |ours - theirs| / |theirs| that rounding explains.
    pub bound: f64,
    /// Text with the largest difference.
    pub text: usize,
    /// Position of the largest difference in that text.
    pub position: usize,
}

impl ComparedActivation {
    pub(crate) fn of(name: String, sums: &DifferenceSums) -> Self {
        Self {
            name,
            theirs: sums.aa.sqrt(),
            ours: sums.bb.sqrt(),
            cosine: sums.cosine(),
            largest: sums.largest,
            relative: sums.relative(),
            limit: None,
        }
    }

    /// Returns whether the difference is within its limit, if it has one.
    pub fn agrees(&self) -> Option<bool> {
        self.limit.map(|limit| self.relative <= limit.bound)
    }
}

impl Dump {
    /// Opens a dump and reads its header; `name` is what the user calls it.
    pub fn new(name: String, bytes: Mapping) -> Result<Self> {
        let file = SafetensorsFile::new(bytes).map_err(|e| e.within(&name))?;
        Ok(Self { name, file })
    }

    fn has(&self, name: &str) -> bool {
        self.file.shape(name).is_some()
    }

    /// Reads the ids that the other program read.
    pub fn ids(&self, vocab: usize) -> Result<Batch> {
        let Some(name) = IDS.into_iter().find(|name| self.has(name)) else {
            return Err(err!(Argument, "expected the ids that were read as `tokens` or `input_ids`, found neither")
                .hint("give them: m.verify(dump, ids)"));
        };
        let ids = self.file.tensor(name)?;
        if dtype::is_float(ids.dtype()) || !matches!(ids.rank(), 1 | 2) {
            let shape = ids.dims();
            let found = ids.dtype().as_str();
            bail!(Format, "expected integers in `{name}`, [pos] or [batch, pos], found {found} of shape {shape:?}");
        }
        let ids = if ids.rank() == 1 { ids.unsqueeze(0)? } else { ids };
        let rows = dtype::cast(&ids, DType::I64)?.to_vec2::<i64>()?;
        let row = |row: Vec<i64>| row.into_iter().map(|id| token_id(id, vocab)).collect::<Result<Vec<u32>>>();
        Batch::new(rows.into_iter().map(row).collect::<Result<_>>().map_err(|e| e.within(name))?)
    }

    /// Returns the names of activations, those of ids and masks left out.
    fn names(&self) -> impl Iterator<Item = &str> {
        self.file.names().filter(|name| !IDS.contains(name) && *name != MASK)
    }

    fn refuse_padding(&self) -> Result<()> {
        if !self.has(MASK) {
            return Ok(());
        }
        if floats(&self.file.tensor(MASK)?)?.iter().all(|real| *real == 1.0) {
            Ok(())
        } else {
            Err(err!(Format, "expected texts of the same length, found padding in `{MASK}`")
                .hint("what another program computes at padding has no counterpart here; dump texts of one length"))
        }
    }

    /// Runs the model on the ids and compares every activation, in the order of the computation.
    pub fn verify(&self, decoder: &Decoder, batch: &Batch, hooks: Vec<BoundHook>, task: &Task) -> Result<Verification> {
        self.refuse_padding()?;
        let config = decoder.config();
        let mut known = Vec::new();
        let mut unknown = Vec::new();
        for name in self.names() {
            match flow(config, name) {
                Ok(flow) => known.push((flow, name)),
                Err(error) => unknown.push((name.into(), error.message)),
            }
        }
        if known.is_empty() {
            return Err(err!(Format, "expected activations, found none that is a site of this model")
                .hint("names are those of TransformerLens, `blocks.0.hook_resid_post`, or `resid_post.0`"));
        }
        known.sort_by_key(|(flow, _)| flow.last());
        let places = known.iter().flat_map(|(flow, _)| flow.places()).collect();
        let cache = decoder.cache(batch, Ask { hooks, places, ..Ask::default() }, task)?;
        let mut found = Vec::new();
        let bar = task.begin("comparing", Some(known.len() as u64));
        for (flow, name) in known {
            match compared(config, &cache, flow, name, &self.file.tensor(name)?, task)? {
                Ok(one) => found.push(one),
                Err(why) => unknown.push((name.into(), why)),
            }
            bar.advance(1);
        }
        Ok(Verification { dump: self.name.clone(), compared: found, unknown })
    }
}

impl DumpSite {
    fn places(self) -> Vec<Place> {
        let whole = |site| Place { site, head: None };
        match self {
            DumpSite::Place(place) => vec![place],
            DumpSite::Normed { stream, scale } => vec![whole(stream), whole(scale)],
        }
    }

    /// Returns the last of the sites, after which the activation is known.
    fn last(self) -> Option<Place> {
        self.places().into_iter().max()
    }

    fn ours(self, config: &Config, cache: &Cache) -> Result<Tensor> {
        match self {
            DumpSite::Place(place) => cache.at(place),
            DumpSite::Normed { stream, scale } => {
                let whole = |site| cache.at(Place { site, head: None });
                let x = whole(stream)?;
                let scale = whole(scale)?;
                let x = match config.norm {
                    Some(NormKind::Layer) => x.broadcast_sub(&x.mean_keepdim(x.rank() - 1)?)?,
                    _ => x,
                };
                Ok(x.broadcast_div(&scale)?)
            }
        }
    }
}

/// Returns the site behind the norm whose output before its weights goes by this name.
fn behind_norm(config: &Config, name: &str) -> Result<Option<Site>> {
    let found = NORMED.iter().find_map(|(normed, kind)| match normed.split_once("{}") {
        None => (*normed == name).then(|| kind.name().to_string()),
        Some((before, after)) => {
            let layer = name.strip_prefix(before)?.strip_suffix(after)?;
            Some(format!("{}.{layer}", kind.name()))
        }
    });
    found.map(|ours| Ok(one_site(config, &ours, ONE)?.site)).transpose()
}

/// Resolves a name of a dump for a model of this config.
fn flow(config: &Config, name: &str) -> Result<DumpSite> {
    let Some(site) = behind_norm(config, name)? else { return Ok(DumpSite::Place(one_site(config, name, ONE)?)) };
    let (stream, scale) = match site.kind {
        SiteKind::AttnIn => (Site::new(SiteKind::ResidPre, site.layer), SiteKind::NormScale),
        SiteKind::MlpIn if config.is_serial() => (Site::new(SiteKind::ResidMid, site.layer), SiteKind::MlpNormScale),
        SiteKind::MlpIn => (Site::new(SiteKind::ResidPre, site.layer), SiteKind::MlpNormScale),
        _ if config.transform.is_some() => (Site::new(SiteKind::TransformOut, 0), SiteKind::FinalNormScale),
        _ => (Site::new(SiteKind::ResidPost, config.layers.saturating_sub(1)), SiteKind::FinalNormScale),
    };
    if !scale.exists_in(config, site.layer) {
        bail!(Name, "{} models of this kind have no such norm", config.family);
    }
    Ok(DumpSite::Normed { stream, scale: Site::new(scale, site.layer) })
}

/// Compares an activation of the dump with the model's, or returns why that is not possible.
fn compared(
    config: &Config,
    cache: &Cache,
    flow: DumpSite,
    name: &str,
    theirs: &Tensor,
    task: &Task,
) -> Result<Result<ComparedActivation, String>> {
    let ours = flow.ours(config, cache)?;
    // TransformerLens drops the axis of the batch when it is asked to.
    let theirs =
        if ours.dim(0)? == 1 && theirs.rank() + 1 == ours.rank() { theirs.unsqueeze(0)? } else { theirs.clone() };
    if ours.dims() != theirs.dims() {
        let ours = ours.dims();
        let theirs = theirs.dims();
        return Ok(Err(format!("expected the shape {ours:?}, found {theirs:?}")));
    }
    let scores = matches!(flow, DumpSite::Place(Place { site: Site { kind: SiteKind::Scores, .. }, .. }));
    let mut sums = DifferenceSums::default();
    for row in 0..ours.dim(0)? {
        let ours = ours.get(row)?;
        let theirs = theirs.get(row)?;
        for piece in 0..ours.dim(0)? {
            task.check()?;
            let mut ours = floats(&ours.get(piece)?)?;
            let mut theirs = floats(&theirs.get(piece)?)?;
            if scores {
                let is_compared = |theirs: f64| theirs.is_nan() || theirs > MASKED;
                (ours, theirs) = ours.into_iter().zip(theirs).filter(|(_, theirs)| is_compared(*theirs)).unzip();
            }
            sums.add(&theirs, &ours);
        }
    }
    Ok(Ok(ComparedActivation::of(name.into(), &sums)))
}

/// The outcome of all activations of a dump, or of another implementation.
#[derive(Debug, Clone, PartialEq)]
pub struct Verification {
    /// The name of the dump, or of the implementation.
    pub dump: String,
    /// Compared activations in the order of the computation.
    pub compared: Vec<ComparedActivation>,
    /// Names that were not compared, with the reason.
    pub unknown: Vec<(String, String)>,
}

impl Verification {
    /// Returns the activation with the largest difference relative to its norm; one that is NaN comes before all
    /// others.
    pub fn worst(&self) -> Option<&ComparedActivation> {
        let rank = |one: &&ComparedActivation| if one.relative.is_nan() { f64::INFINITY } else { one.relative };
        self.compared.iter().max_by(|a, b| rank(a).total_cmp(&rank(b)))
    }

    /// Returns whether all differences are within their limits, if they have limits.
    pub fn agrees(&self) -> Option<bool> {
        let found: Option<Vec<bool>> = self.compared.iter().map(ComparedActivation::agrees).collect();
        found.filter(|found| !found.is_empty()).map(|found| found.into_iter().all(|agrees| agrees))
    }

    /// Returns the first activation whose difference exceeds its limit.
    pub fn first_apart(&self) -> Option<&ComparedActivation> {
        self.compared.iter().find(|one| one.agrees() == Some(false))
    }

    pub fn table(&self) -> Table {
        let row = |one: &ComparedActivation| {
            let ComparedActivation { name, theirs, ours, cosine, largest, relative, limit } = one;
            let numbers = [*theirs, *ours, *cosine].map(Cell::unless_nan);
            let mut row: Vec<Cell> = [Cell::Text(name.clone())].into_iter().chain(numbers).collect();
            row.extend([Cell::Float(*largest), Cell::Float(*relative)]);
            if let Some(Limit { bound, text, position }) = limit {
                row.extend([Cell::Float(*bound), (*text).into(), (*position).into()]);
            }
            row
        };
        let columns =
            ["activation", "|theirs|", "|ours|", "cosine", "max |ours - theirs|", "|ours - theirs| / |theirs|"];
        let bounds: &[&str] = if self.agrees().is_some() { &["bound", "text", "position"] } else { &[] };
        Table::new(
            format!("activations beside those of {}", self.dump),
            columns.iter().chain(bounds).map(ToString::to_string),
            self.compared.iter().map(row),
        )
    }

    /// Returns a table of the names that were not compared, with the reasons.
    pub fn left_out(&self) -> Table {
        let row = |(name, why): &(String, String)| vec![name.as_str().into(), why.as_str().into()];
        Table::new(format!("not compared, of {}", self.dump), ["activation", "why"], self.unknown.iter().map(row))
    }
}
