//! Writing a dictionary: which architecture of a format can represent it, and its tensors under that format's names.

use std::collections::BTreeMap;

use super::architecture::{ActivationRule as Kind, Architecture, Centring, DictionaryPart};
use super::{Format, table};
use crate::common::*;
use crate::sae::fit::SETTINGS;
use crate::sae::{Activation, Parts, Scaling};
use crate::tensor::create;

/// Tensors by the names of a format, and which of them are zeros for a bias that the dictionary does not have.
pub struct FormatTensors {
    pub row: &'static Architecture,
    pub tensors: BTreeMap<String, Tensor>,
    pub absent: Vec<String>,
}

/// Writes the dictionary in a format, or refuses it with the reason why the format cannot represent it.
pub fn named_tensors(format: Format, parts: &Parts) -> Result<FormatTensors> {
    let row = architecture(format, parts)?;
    let mut tensors = BTreeMap::new();
    let mut absent = Vec::new();
    for line in row.lines {
        let found = match part(line.part, parts)? {
            Some(found) => found,
            None if line.optional => continue,
            None => {
                absent.push(line.name.to_string());
                zeros(line.part, parts)?
            }
        };
        let found = if line.turned { found.t()?.contiguous()? } else { found };
        let found = if line.is_row { found.unsqueeze(0)? } else { found };
        tensors.insert(line.name.to_string(), found.to_device(&Device::Cpu)?);
    }
    Ok(FormatTensors { row, tensors, absent })
}

/// Finds the first architecture that can represent the dictionary.
fn architecture(format: Format, parts: &Parts) -> Result<&'static Architecture> {
    let mut nearest = None;
    for row in table::of(format) {
        match obstacle(row, parts)? {
            None => return Ok(row),
            Some(found) if nearest.as_ref().is_none_or(|nearest: &Obstacle| nearest.depth < found.depth) => {
                nearest = Some(found);
            }
            Some(_) => {}
        }
    }
    Err(no_place(format, parts, nearest))
}

fn no_place(format: Format, parts: &Parts, nearest: Option<Obstacle>) -> Error {
    let kind = &parts.about.kind;
    let called = if kind.as_str().is_empty() { parts.activation.name() } else { kind.as_str() };
    let why = nearest.map(|nearest| format!(": {}", nearest.why)).unwrap_or_default();
    let all: Vec<&str> = table::of(format).map(|row| row.name).collect();
    err!(Argument, "{} has no architecture for this `{called}` dictionary{why}", format.word())
        .hint(format!("its architectures are {}", all.join(", ")))
}

/// The reason why an architecture cannot represent a dictionary, and the number of checks it passed.
struct Obstacle {
    depth: usize,
    why: String,
}

fn obstacle(row: &Architecture, parts: &Parts) -> Result<Option<Obstacle>> {
    let name = row.name;
    let widens = parts.encoder.dims().last() != parts.decoder.dims().last();
    let transcodes = widens || parts.about.kind.is_transcoder();
    let lacks = |part: DictionaryPart, there: bool| there && row.line(part).is_none();
    let hindrances = [
        (parts.about.sites.len() > 1 || !parts.about.spans.is_empty(), "it has no place for several sites".to_string()),
        (kind(&parts.activation) != Some(row.activation), parts.activation.in_words()),
        (row.transcodes != transcodes, says_transcoding(transcodes)),
        (widens && !row.widens, format!("`{name}` has outputs of the width of its inputs")),
        (!centring(row, parts.centred), says_centring(name, parts.centred)),
        (lacks(DictionaryPart::Skip, parts.skip.is_some()), format!("`{name}` has no skip connection")),
        (skips(row) && parts.skip.is_none(), format!("`{name}` has a skip connection, and this has none")),
        (parts.rescaled && !row.rescales, format!("`{name}` cannot multiply codes by the norms of their directions")),
        (parts.scaling != Scaling::None && !row.scales, format!("`{name}` cannot normalise each input")),
        (lacks(DictionaryPart::EncoderBias, parts.encoder_bias.is_some()), format!("`{name}` has no encoder bias")),
        (
            row.line(DictionaryPart::Groups).is_none() && nested_elsewhere(row, parts),
            format!("`{name}` has no nested groups"),
        ),
        (
            row.line(DictionaryPart::Groups).is_some() && !nested(parts),
            format!("`{name}` has nested groups up to the end"),
        ),
        (
            row.line(DictionaryPart::K).is_some() && k(parts).is_none(),
            format!("`{name}` states a `k`, and this has none"),
        ),
    ];
    if let Some((depth, (_, why))) = hindrances.into_iter().enumerate().find(|(_, (hinders, _))| *hinders) {
        return Ok(Some(Obstacle { depth, why }));
    }
    // Last, since this looks at numbers.
    let one = matches!(row.activation, Kind::Threshold) && row.line(DictionaryPart::OneThreshold).is_some();
    if one && one_threshold(parts)?.is_none() {
        let why = format!("`{name}` has one threshold for all features, and this has several");
        return Ok(Some(Obstacle { depth: usize::MAX, why }));
    }
    Ok(None)
}

fn kind(activation: &Activation) -> Option<Kind> {
    match activation {
        Activation::Relu => Some(Kind::Relu),
        Activation::TopK(_) => Some(Kind::TopK),
        Activation::Threshold(_) => Some(Kind::Threshold),
        Activation::Gated { .. } => Some(Kind::Gated),
        Activation::Linear(Some(_)) => Some(Kind::AbsTopK),
        Activation::Linear(None) => None,
        Activation::Other(other) => Some(Kind::Other(other.function.name)),
    }
}

fn says_transcoding(transcodes: bool) -> String {
    if transcodes {
        "it writes to another site than it reads".into()
    } else {
        "it writes to the site that it reads".into()
    }
}

fn centring(row: &Architecture, centred: bool) -> bool {
    match row.centred {
        Centring::Always => centred,
        Centring::Never => !centred,
        Centring::Stated => true,
    }
}

fn says_centring(name: &str, centred: bool) -> String {
    if centred {
        format!("`{name}` does not subtract the decoder bias from the input, and this does")
    } else {
        format!("`{name}` subtracts the decoder bias from the input, and this does not")
    }
}

/// Returns whether an architecture always has a skip connection.
fn skips(row: &Architecture) -> bool {
    row.line(DictionaryPart::Skip).is_some_and(|line| !line.optional)
}

/// Returns whether a format that knows nested groups has them in another architecture.
fn nested_elsewhere(row: &Architecture, parts: &Parts) -> bool {
    let known = || table::of(row.format).any(|other| other.line(DictionaryPart::Groups).is_some());
    row.line(DictionaryPart::OneThreshold).is_some() && nested(parts) && known()
}

/// Returns whether a dictionary has prefixes, each longer than the one before, the last of them all of it.
fn nested(parts: &Parts) -> bool {
    let prefixes = &parts.about.prefixes;
    let starts = std::iter::once(&0).chain(prefixes);
    prefixes.last() == parts.decoder.dims().first() && starts.zip(prefixes).all(|(start, end)| start < end)
}

/// Returns the k of a dictionary's training, at least on average: its own, what its file said, or the option of the fit
/// that it is from.
pub fn k(parts: &Parts) -> Option<usize> {
    let more = &parts.about.more;
    match &parts.activation {
        Activation::TopK(k) | Activation::Linear(Some(k)) => Some(*k),
        _ => {
            let fitted = || more.get(SETTINGS)?.get("options")?.get("k");
            let stated = more.get("k").or_else(fitted)?.as_u64()?;
            usize::try_from(stated).ok().filter(|k| *k > 0 && i32::try_from(*k).is_ok())
        }
    }
}

/// Returns the threshold that all features have, as f32, since it is written in this dtype.
fn one_threshold(parts: &Parts) -> Result<Option<f64>> {
    let Activation::Threshold(threshold) = &parts.activation else { return Ok(None) };
    let all = floats(threshold)?;
    let same = |first: &f64| all.iter().all(|one| one == first) && f64::from(*first as f32) == *first;
    Ok(all.first().copied().filter(same))
}

/// Returns the tensor for a part of a file; None where the dictionary has no such part.
fn part(part: DictionaryPart, parts: &Parts) -> Result<Option<Tensor>> {
    Ok(match part {
        DictionaryPart::Encoder => Some(parts.encoder.clone()),
        DictionaryPart::EncoderBias => parts.encoder_bias.clone(),
        DictionaryPart::Decoder => Some(parts.decoder.clone()),
        DictionaryPart::DecoderBias => parts.decoder_bias.clone(),
        DictionaryPart::Skip => parts.skip.clone(),
        DictionaryPart::Own(name, _) => {
            let tensors = parts.activation.tensors();
            tensors.iter().find(|one| one.name == name).map(|one| one.tensor.clone())
        }
        DictionaryPart::K => k(parts).map(|k| create::from_floats(vec![k as f64], &[], DType::I32)).transpose()?,
        DictionaryPart::OneThreshold => {
            let stated = parts.about.more.get("threshold").and_then(serde_json::Value::as_f64);
            let one = one_threshold(parts)?.or(stated).unwrap_or(-1.0);
            Some(create::from_floats(vec![one], &[], DType::F32)?)
        }
        DictionaryPart::Groups => Some(groups(&parts.about.prefixes)?),
        DictionaryPart::Most => {
            let most = parts.activation.most();
            most.map(|most| create::from_floats(vec![most as f64], &[], DType::I32)).transpose()?
        }
        DictionaryPart::OfTraining { key, usual } => {
            let stated = parts.about.more.get(key).and_then(serde_json::Value::as_f64);
            Some(create::from_floats(vec![stated.unwrap_or(usual)], &[], DType::F32)?)
        }
        // Ours are of rows as they come.
        DictionaryPart::Divisor => Some(create::from_floats(vec![1.0], &[], DType::F32)?),
        DictionaryPart::Shift => {
            let width = parts.encoder.dims().last();
            width.map(|width| create::zeros(&[*width], DType::F32)).transpose()?
        }
    })
}

fn groups(prefixes: &[usize]) -> Result<Tensor> {
    let starts = std::iter::once(&0).chain(prefixes);
    let sizes: Vec<f64> = starts.zip(prefixes).map(|(start, end)| end.saturating_sub(*start) as f64).collect();
    let count = sizes.len();
    create::from_floats(sizes, &[count], DType::I64)
}

/// Makes a bias of zeros.
fn zeros(part: DictionaryPart, parts: &Parts) -> Result<Tensor> {
    let like = match part {
        DictionaryPart::EncoderBias => parts.decoder.dims().first(),
        DictionaryPart::DecoderBias => parts.decoder.dims().last(),
        _ => None,
    };
    let Some(length) = like else { return Err(err!(Bug, "{part:?} cannot be left out")) };
    create::zeros(&[*length], parts.encoder.dtype())
}
