//! The hook that collects kept positions in a forward pass, and the widths of sites.

use crate::common::*;
use crate::model::config::{DeltaNets, LatentAttention, StateSpaces, TimeMixing};
use crate::model::hooks::{At, Hooks, one_head};
use crate::model::site::Heads;

/// Returns the width of a site at each position; the heads of a whole site are concatenated.
pub fn width(config: &Config, place: Place) -> Result<usize> {
    let layer = place.site.layer;
    let of_delta = |size: fn(&DeltaNets) -> usize| config.delta.as_ref().map_or(0, size);
    let of_ssm = |size: fn(&StateSpaces) -> usize| config.ssm.as_ref().map_or(0, size);
    let of_rwkv = |size: fn(&TimeMixing) -> usize| config.rwkv.as_ref().map_or(0, size);
    let of_latent = |size: fn(&LatentAttention) -> usize| config.latent.as_ref().map_or(0, size);
    let heads = match (place.head, place.site.kind.heads()) {
        (_, Heads::Square) => {
            return Err(err!(Argument, "`{place}` has no activation per position: its axes are queries and keys")
                .hint("harvest `z`, or `head_out` for what a head writes"));
        }
        (Some(_), _) | (None, Heads::None) => 1,
        (None, Heads::Queries) => config.heads,
        (None, Heads::Keys) => config.kv_heads_of(layer),
        (None, Heads::DeltaKeys) => of_delta(|delta| delta.key_heads),
        (None, Heads::DeltaValues) => of_delta(|delta| delta.value_heads),
        (None, Heads::StateHeads) => of_ssm(|ssm| ssm.heads),
        (None, Heads::StateGroups) => of_ssm(|ssm| ssm.groups),
        (None, Heads::TimeHeads) => of_rwkv(|rwkv| rwkv.heads),
    };
    let each = match place.site.kind {
        SiteKind::NormScale
        | SiteKind::AttnPostScale
        | SiteKind::MlpNormScale
        | SiteKind::MlpPostScale
        | SiteKind::LayerPostScale
        | SiteKind::ResidMidScale
        | SiteKind::ResidPostScale
        | SiteKind::FinalNormScale => 1,
        SiteKind::DeltaBeta | SiteKind::DeltaDecay | SiteKind::SsmDt => 1,
        SiteKind::DeltaQ | SiteKind::DeltaK => of_delta(|delta| delta.d_key),
        SiteKind::DeltaV | SiteKind::DeltaRead | SiteKind::DeltaGate => of_delta(|delta| delta.d_value),
        SiteKind::SsmX | SiteKind::SsmRead | SiteKind::SsmGate => of_ssm(|ssm| ssm.d_head),
        SiteKind::SsmB | SiteKind::SsmC => of_ssm(|ssm| ssm.d_state),
        SiteKind::SsmState => of_ssm(|ssm| ssm.d_head * ssm.d_state),
        SiteKind::RwkvState => of_rwkv(|rwkv| rwkv.d_head * rwkv.d_head),
        kind if kind.heads() == Heads::TimeHeads => of_rwkv(|rwkv| rwkv.d_head),
        SiteKind::Q | SiteKind::K | SiteKind::QRot | SiteKind::KRot | SiteKind::HeadGate => config.d_head_of(layer),
        SiteKind::V | SiteKind::Z => config.d_value_of(layer),
        SiteKind::QLatent => of_latent(|latent| latent.q_rank.unwrap_or(0)),
        SiteKind::KvLatent => of_latent(|latent| latent.kv_rank),
        SiteKind::KShared => of_latent(|latent| latent.d_shared),
        SiteKind::MlpPre | SiteKind::MlpUp | SiteKind::MlpHidden => config.d_mlp_of(layer),
        SiteKind::LayerInput | SiteKind::LayerGate | SiteKind::LayerHidden => config.layer_inputs.unwrap_or(0),
        SiteKind::Router => config.experts.as_ref().map_or(0, |experts| experts.count),
        SiteKind::Logits => config.outputs(),
        _ => config.d_model,
    };
    Ok(heads * each)
}

/// A hook that collects rows of `[batch * positions, width]` at its sites, and ends the forward pass after the last of
/// them.
pub struct Gather<'a> {
    places: &'a [Place],
    widths: &'a [usize],
    /// The rows of the flattened batch that are kept.
    kept: Tensor,
    /// The site whose stream is handed over, before the last of the places or there.
    handed_at: Option<Site>,
    found: Vec<Option<Vec<f32>>>,
    stream: Option<Tensor>,
}

/// Results of a forward pass.
pub struct Gathered {
    /// The rows of each site, concatenated.
    pub rows: Vec<Vec<f32>>,
    /// The residual stream of the batch, where it is handed over.
    pub stream: Option<Tensor>,
}

impl<'a> Gather<'a> {
    pub fn new(
        places: &'a [Place],
        widths: &'a [usize],
        kept: Vec<u32>,
        handed_at: Option<Site>,
        device: &Device,
    ) -> Result<Self> {
        let count = kept.len();
        let kept = Tensor::from_vec(kept, count, device)?;
        Ok(Self { places, widths, kept, handed_at, found: vec![None; places.len()], stream: None })
    }

    pub fn finish(self) -> Result<Gathered> {
        let missing = |place: &Place| err!(Bug, "a pass that did not come by `{place}`");
        let found = self.found.into_iter().zip(self.places);
        let rows = found.map(|(found, place)| found.ok_or_else(|| missing(place))).collect::<Result<_>>()?;
        Ok(Gathered { rows, stream: self.stream })
    }

    fn rows(&self, place: Place, width: usize, x: &Tensor) -> Result<Vec<f32>> {
        let x = match place.head {
            Some(head) => one_head(place.site.kind, x, head)?,
            None => x.clone(),
        };
        let rows = x.dim(0)? * x.dim(1)?;
        let kept = x.contiguous()?.reshape((rows, width))?.index_select(&self.kept, 0)?;
        Ok(kept.to_dtype(DType::F32)?.flatten_all()?.to_device(&Device::Cpu)?.to_vec1()?)
    }
}

impl Hooks for Gather<'_> {
    fn wants(&self, site: Site) -> bool {
        self.handed_at == Some(site) || self.places.iter().any(|place| place.site == site)
    }

    fn on(&mut self, at: &At, x: &Tensor) -> Result<Option<Tensor>> {
        for (number, (place, width)) in self.places.iter().zip(self.widths).enumerate() {
            if place.site == at.site {
                let rows = self.rows(*place, *width, x)?;
                if let Some(found) = self.found.get_mut(number) {
                    *found = Some(rows);
                }
            }
        }
        if self.handed_at == Some(at.site) {
            self.stream = Some(x.clone());
        }
        Ok(None)
    }

    fn last(&self) -> Option<Site> {
        self.places.iter().map(|place| place.site).max()
    }
}
