//! Pushes: their directions, the meaning of a strength of 1, and their hooks.

use crate::common::*;
use crate::data::harvest::width;
use crate::intervene::each_text::each_text;
use crate::model::hooks::{At, BoundHook, Edit};
use crate::sae::splice::heads_joined;
use crate::sae::{Sae, Scaling, site_of};

crate::choices! {
    /// Meanings of a strength of 1.
    pub enum StrengthUnit {
        /// The vector as it is; for a feature its largest activation on the text.
        Own = "own",
        /// A change as long as the median activation at the site, so that directions and sites compare.
        Median = "median",
    }
}

crate::options! {
    /// Options of pushing directions.
    pub struct PushOptions {
        /// The meaning of a strength of 1: the vector itself, and for a feature its maximum on the text; or a change as
        /// long as the median activation at the site on the text.
        unit: StrengthUnit = StrengthUnit::Own;
        /// Whether features are set to their strength, and not raised by it.
        clamp: bool = false;
    }
}

/// A direction at one site.
#[derive(Debug, Clone)]
pub struct Direction {
    site: String,
    what: DirectionKind,
}

#[derive(Debug, Clone)]
enum DirectionKind {
    /// A vector `[d]`.
    Vector(Tensor),
    Features {
        sae: Box<Sae>,
        features: Vec<u32>,
    },
}

impl Direction {
    /// Builds a direction from a vector at a site.
    pub fn of_vector(site: &str, vector: &Tensor) -> Result<Self> {
        let vector = vector.to_dtype(DType::F32)?.flatten_all()?;
        let length = length(&vector)?;
        if !(length.is_finite() && length > 0.0) {
            return Err(err!(Numeric, "expected a vector of finite length above 0 at `{site}`, found {length}")
                .about("direction"));
        }
        Ok(Self { site: site.into(), what: DirectionKind::Vector(vector) })
    }

    /// Builds a direction from features of one dictionary.
    pub fn of_features(sae: &Sae, features: &[usize], site: Option<&str>) -> Result<Self> {
        sae.check_writes_what_it_reads()?;
        let features = crate::intervene::features::FeatureChoice::Only(features.to_vec()).indices(sae.d_sae())?;
        if features.is_empty() {
            return Err(err!(Argument, "expected at least one feature, found none").about("direction"));
        }
        let site = site.map_or_else(|| site_of(sae), |site| Ok(site.to_string()))?;
        Ok(Self { site, what: DirectionKind::Features { sae: Box::new(sae.clone()), features } })
    }
}

fn length(vector: &Tensor) -> Result<f64> {
    Ok(f64::from(vector.sqr()?.sum_all()?.sqrt()?.to_scalar::<f32>()?))
}

/// Directions in a model, with the meaning of a strength of 1.
pub struct Push {
    parts: Vec<(Place, DirectionKind)>,
    /// The unit of each direction: the factor of a vector at a strength of 1, or the activation of each feature.
    units: Vec<Vec<f64>>,
    clamp: bool,
}

impl Push {
    /// Prepares directions in a model; units are measured on the rows of a text.
    pub fn new(
        model: &Decoder,
        directions: Vec<Direction>,
        text: &[Vec<u32>],
        options: &PushOptions,
        task: &Task,
    ) -> Result<Self> {
        let clamp = options.clamp;
        let mut push = Self { parts: Vec::new(), units: Vec::new(), clamp };
        for Direction { site, what } in directions {
            let place = one_site(model.config(), &site, "give a vector for each site").map_err(|e| of_key(&site, e))?;
            let wanted = width(model.config(), place)?;
            match &what {
                DirectionKind::Vector(vector) if vector.elem_count() != wanted => {
                    let found = vector.elem_count();
                    return Err(err!(Shape, "expected a vector of {wanted} numbers at `{place}`, found {found}")
                        .about("direction"));
                }
                DirectionKind::Vector(_) if clamp => {
                    return Err(
                        err!(Argument, "expected features to clamp, found a vector at `{place}`").about("clamp")
                    );
                }
                DirectionKind::Vector(_) => {}
                DirectionKind::Features { sae, .. } => sae.check_width(wanted, &"this model", &place.to_string())?,
            }
            let units = match (&what, options.unit) {
                (DirectionKind::Vector(_), StrengthUnit::Own) => vec![1.0],
                (DirectionKind::Vector(vector), StrengthUnit::Median) => {
                    vec![median_length(model, place, wanted, text, task)? / length(vector)?]
                }
                (DirectionKind::Features { sae, features }, StrengthUnit::Own) => {
                    largest(model, place, sae, features, text, task)?
                }
                (DirectionKind::Features { sae, features }, StrengthUnit::Median) => {
                    let median = median_length(model, place, wanted, text, task)?;
                    features.iter().map(|f| Ok(median / written_length(sae, *f)?)).collect::<Result<_>>()?
                }
            };
            push.parts.push((place, what));
            push.units.push(units);
        }
        if push.parts.is_empty() {
            return Err(err!(Argument, "expected a direction to steer by, found none").about("direction"));
        }
        Ok(push)
    }

    pub fn places(&self) -> Vec<Place> {
        self.parts.iter().map(|(place, _)| *place).collect()
    }

    /// Returns the factor of the first direction at a strength of 1, or the activation of the first feature.
    pub fn unit(&self) -> f64 {
        self.units.first().and_then(|units| units.first()).copied().unwrap_or(1.0)
    }

    /// Returns the width of each site.
    pub fn widths(&self) -> Vec<usize> {
        let width = |what: &DirectionKind| match what {
            DirectionKind::Vector(vector) => vector.elem_count(),
            DirectionKind::Features { sae, .. } => sae.d_out(),
        };
        self.parts.iter().map(|(_, what)| width(what)).collect()
    }

    /// Returns hooks of one strength. With `others`, a unit vector for each site, each change keeps its length and
    /// takes that direction: the control.
    pub fn hooks<'a>(&self, model: &Decoder, strength: f64, others: Option<&[Tensor]>) -> Result<Vec<BoundHook<'a>>> {
        let each = self.parts.iter().enumerate().map(|(number, (place, what))| {
            let edit = SitePush {
                what: what.clone(),
                amounts: self.units[number].iter().map(|unit| (strength * unit) as f32).collect(),
                clamp: self.clamp,
                other: others.and_then(|others| others.get(number)).cloned(),
            };
            BoundHook::new(model.config(), &place.to_string(), None, None, Box::new(edit))
        });
        each.collect()
    }
}

/// Builds an error about a site that is a key of the map of vectors. A word that is like no site may be a variable's
/// name.
fn of_key(site: &str, error: Error) -> Error {
    let is_word = site.chars().all(|c| c.is_alphanumeric() || c == '_');
    let is_like_none = names::nearest(site, SiteKind::all().map(SiteKind::name)).is_none();
    let error = if is_word && is_like_none {
        error.hint(format!(
            "its key is this word and not what a variable holds, which is a key after `map[{site}] = vector`"
        ))
    } else {
        error
    };
    Error { about: Some("direction".into()), ..error }
}

/// Returns the median length of the activations of a text.
fn median_length(model: &Decoder, place: Place, width: usize, text: &[Vec<u32>], task: &Task) -> Result<f64> {
    let mut lengths = Vec::new();
    each_text(model, text, &[place], task, &mut |_, at| {
        let x = heads_joined(&at[0], width)?.to_dtype(DType::F32)?;
        lengths.extend(floats(&x.sqr()?.sum(2)?.sqrt()?)?);
        Ok(())
    })?;
    lengths.sort_by(f64::total_cmp);
    match lengths.get(lengths.len() / 2) {
        Some(median) if median.is_finite() && *median > 0.0 => Ok(*median),
        _ => Err(err!(Numeric, "expected activations of finite length above 0 at `{place}` to take the median of")
            .about("unit")),
    }
}

/// Returns the length of what a feature with activation 1 writes.
fn written_length(sae: &Sae, feature: u32) -> Result<f64> {
    if sae.parts().scaling != Scaling::None {
        return Err(err!(
            Argument,
            "expected a dictionary whose features write the same everywhere, found one that scales"
        )
        .hint("`unit: \"own\"` counts in multiples of a feature's maximum")
        .about("unit"));
    }
    let found = length(&sae.directions().get(feature as usize)?.to_dtype(DType::F32)?)?;
    if found > 0.0 { Ok(found) } else { Err(err!(Numeric, "feature {feature} writes nothing").about("direction")) }
}

/// Returns the largest activation of each feature on a text.
fn largest(
    model: &Decoder,
    place: Place,
    sae: &Sae,
    features: &[u32],
    text: &[Vec<u32>],
    task: &Task,
) -> Result<Vec<f64>> {
    let mut found = vec![0.0_f64; features.len()];
    each_text(model, text, &[place], task, &mut |_, at| {
        let x = heads_joined(&at[0], sae.d_in())?.squeeze(0)?;
        let codes = sae.encode(&dtype::convert(&x, sae.parts().encoder.dtype())?)?.contiguous()?;
        let codes = codes.index_select(&Tensor::new(features, codes.device())?, 1)?;
        let most = floats(&codes.max(0)?)?;
        found.iter_mut().zip(most).for_each(|(found, most)| *found = found.max(most));
        Ok(())
    })?;
    match features.iter().zip(&found).find(|(_, most)| **most <= 0.0) {
        None => Ok(found),
        Some((feature, _)) => Err(err!(Argument, "feature {feature} is nowhere active in the text")
            .hint("its strength is in multiples of its maximum there: give more text")
            .about("text")),
    }
}

/// A push at one site.
struct SitePush {
    what: DirectionKind,
    /// The factor of a vector; or what is added to the activations of features, or what they are set to.
    amounts: Vec<f32>,
    clamp: bool,
    /// The unit vector that the change takes in place of its own direction.
    other: Option<Tensor>,
}

impl SitePush {
    /// Returns the change of rows `[.., d]`.
    fn change(&self, x: &Tensor) -> Result<Tensor> {
        match &self.what {
            DirectionKind::Vector(vector) => {
                let amount = self.amounts.first().copied().unwrap_or_default();
                let change = (vector * f64::from(amount))?.to_device(x.device())?;
                Ok(change.broadcast_as(x.shape())?.contiguous()?)
            }
            DirectionKind::Features { sae, features } => {
                let input = dtype::convert(x, sae.parts().encoder.dtype())?;
                let features = Tensor::new(features.as_slice(), x.device())?;
                let codes = sae.encode(&input)?.contiguous()?;
                let codes = codes.index_select(&features, codes.rank() - 1)?;
                let amounts = Tensor::new(self.amounts.as_slice(), x.device())?.to_dtype(codes.dtype())?;
                let amounts = amounts.broadcast_as(codes.shape())?;
                let change = if self.clamp { (amounts - &codes)? } else { amounts.contiguous()? };
                Ok(sae.writes(&input, &features, &change)?.to_dtype(DType::F32)?)
            }
        }
    }
}

impl Edit for SitePush {
    fn edit(&mut self, _: &At, _: Place, _: Option<&[i64]>, x: &Tensor) -> Result<Option<Tensor>> {
        let width = match &self.what {
            DirectionKind::Vector(vector) => vector.elem_count(),
            DirectionKind::Features { sae, .. } => sae.d_in(),
        };
        let rows = heads_joined(x, width)?.to_dtype(DType::F32)?;
        let mut change = self.change(&rows)?;
        if let Some(other) = &self.other {
            let lengths = change.sqr()?.sum_keepdim(change.rank() - 1)?.sqrt()?;
            change = lengths.broadcast_mul(&other.to_device(x.device())?)?;
        }
        Ok(Some((rows + change)?.reshape(x.dims())?.to_dtype(x.dtype())?))
    }
}
