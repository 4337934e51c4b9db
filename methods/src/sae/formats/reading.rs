//! Reading a dictionary: names and shapes are checked against the table before any tensor is read, numbers after.

use std::collections::BTreeSet;

use serde_json::Value;

use super::SideDescription;
use super::architecture::{ActivationRule as Kind, Architecture, Centring, DictionaryPart, TensorLine};
use super::own::OwnMetadata;
use crate::base::{Error, Result, Task, memory, names};
use crate::err;
use crate::model::layout::TensorSource;
use crate::sae::codes::unit_rows;
use crate::sae::fit::{DictionaryShape, kinds};
use crate::sae::{About, Activation, KindLabel, Parts, Scaling, tensors};
use crate::tensor::{DType, Tensor, dtype, floats, ints};

/// The statements of the config and the path of a file about a dictionary.
#[derive(Debug)]
pub struct FileStatements {
    pub row: &'static Architecture,
    pub d_in: Option<usize>,
    pub d_sae: Option<usize>,
    pub d_out: Option<usize>,
    pub k: Option<usize>,
    pub centred: bool,
    pub rescaled: bool,
    pub scaling: Scaling,
    pub about: About,
    /// Metadata of this program, which takes precedence.
    pub own: Option<OwnMetadata>,
    /// A tensor that may be there, if it is all ones.
    pub ones: Option<&'static str>,
}

impl FileStatements {
    pub fn new(row: &'static Architecture) -> Self {
        Self {
            row,
            d_in: None,
            d_sae: None,
            d_out: None,
            k: None,
            centred: row.centred == Centring::Always,
            rescaled: false,
            scaling: Scaling::None,
            about: About { kind: row.kind.into(), ..About::default() },
            own: None,
            ones: None,
        }
    }
}

/// Reads the dictionary that a file has, in a dtype of its own.
pub fn parts(
    said: FileStatements,
    source: &dyn TensorSource,
    wanted: DType,
    beside: &SideDescription,
    task: &Task,
) -> Result<Parts> {
    let widths = judged(&said, source, beside)?;
    let label = beside.place;
    let bytes = tensors::bytes(source, source.names(), wanted);
    memory::check(bytes, || format!("the dictionary {label}"))?;
    let bar = task.begin(&format!("loading {label}"), u64::try_from(bytes).ok());
    let mut take = FormatReader { said: &said, source, wanted, task, read: &mut |bytes| bar.advance(bytes) };
    let parts = take.all(widths)?;
    parts.check()?;
    Ok(parts)
}

/// Checks what a config says and the tensors that a file lists, which are not read.
pub fn check(said: &FileStatements, source: &dyn TensorSource, beside: &SideDescription) -> Result<()> {
    judged(said, source, beside).map(|_| ())
}

/// Returns the widths of a file that fits what is said of it, and whose dictionary is wanted.
fn judged(said: &FileStatements, source: &dyn TensorSource, beside: &SideDescription) -> Result<DictionaryShape> {
    let widths = fit(said, source)?;
    let about = said.own.as_ref().map_or(&said.about, |own| &own.about);
    (beside.judge)(about, widths.d_in, widths.d_out)?;
    Ok(widths)
}

/// Checks that every tensor is there, of the right shape, and none too many.
fn fit(said: &FileStatements, source: &dyn TensorSource) -> Result<DictionaryShape> {
    let row = said.row;
    let present = source.names();
    let known = |name: &str| row.lines.iter().any(|line| line.name == name) || said.ones == Some(name);
    let unknown: BTreeSet<&str> = present.iter().map(String::as_str).filter(|name| !known(name)).collect();
    for line in row.lines.iter().filter(|line| !line.optional) {
        if source.shape(line.name).is_none() {
            return Err(missing(row, line.name, &unknown));
        }
    }
    if let Some(stray) = unknown.first() {
        let all: Vec<&str> = row.lines.iter().map(|line| line.name).collect();
        return Err(err!(Format, "found a tensor that {} `{}` does not have: `{stray}`", row.format.word(), row.name)
            .hint(format!(
                "it has {}; without this tensor the dictionary would compute something else",
                all.join(", ")
            )));
    }
    let widths = widths(said, source)?;
    for line in row.lines {
        let Some(found) = source.shape(line.name) else { continue };
        let expected = shape(line, widths);
        if expected.as_ref().is_some_and(|expected| *expected != found) {
            let expected = expected.unwrap_or_default();
            return Err(err!(Shape, "tensor `{}`: expected shape {expected:?}, found {found:?}", line.name)
                .hint(format!("{} features of {} wide activations", widths.d_sae, widths.d_in)));
        }
    }
    Ok(widths)
}

fn missing(row: &Architecture, name: &str, unknown: &BTreeSet<&str>) -> Error {
    let what = format!("{} `{}`", row.format.word(), row.name);
    let hint = match names::nearest(name, unknown.iter().copied()) {
        Some(near) => format!("the file has `{near}`, which {what} does not have"),
        None => format!("{what} has it; perhaps the config belongs to another dictionary"),
    };
    err!(Format, "expected a tensor `{name}`, found none of that name").hint(hint)
}

/// Reads the widths of the file's matrices, checked against the config.
fn widths(said: &FileStatements, source: &dyn TensorSource) -> Result<DictionaryShape> {
    let row = said.row;
    let (d_sae, d_in, encoder) = rows_and_columns(row, DictionaryPart::Encoder, source)?;
    // A dictionary without a decoder has the output width of its input.
    let (_, d_out, decoder) = match row.line(DictionaryPart::Decoder) {
        Some(_) => rows_and_columns(row, DictionaryPart::Decoder, source)?,
        None => (d_sae, d_in, encoder),
    };
    let stated = [("d_in", said.d_in, d_in, encoder), ("d_sae", said.d_sae, d_sae, encoder)];
    for (key, stated, found, tensor) in stated.into_iter().chain([("d_out", said.d_out, d_out, decoder)]) {
        if let Some(stated) = stated.filter(|stated| *stated != found) {
            return Err(err!(Shape, "expected {key} {stated}, as the config says, found {found} in tensor `{tensor}`")
                .hint("the config and the weights do not match"));
        }
    }
    Ok(DictionaryShape { d_in, d_sae, d_out })
}

fn rows_and_columns(
    row: &Architecture,
    part: DictionaryPart,
    source: &dyn TensorSource,
) -> Result<(usize, usize, &'static str)> {
    let Some(line) = row.line(part) else { return Err(err!(Bug, "{} has no {part:?}", row.name)) };
    match (source.shape(line.name).as_deref(), line.turned) {
        (Some(&[rows, columns]), false) | (Some(&[columns, rows]), true) => Ok((rows, columns, line.name)),
        (found, _) => {
            Err(err!(Shape, "expected a matrix in tensor `{}`, found the shape {:?}", line.name, found.unwrap_or(&[])))
        }
    }
}

/// Returns the shape that a tensor of the file has to have; None where it may be of several lengths.
fn shape(line: &TensorLine, widths: DictionaryShape) -> Option<Vec<usize>> {
    let DictionaryShape { d_in, d_sae, d_out } = widths;
    let mut shape = match line.part {
        DictionaryPart::Encoder => vec![d_sae, d_in],
        DictionaryPart::Decoder => vec![d_sae, d_out],
        DictionaryPart::Skip => vec![d_out, d_in],
        DictionaryPart::DecoderBias => vec![d_out],
        DictionaryPart::EncoderBias => vec![d_sae],
        DictionaryPart::Own(_, part) => part.shape(d_sae, d_in),
        DictionaryPart::Shift => vec![d_in],
        DictionaryPart::OneThreshold
        | DictionaryPart::K
        | DictionaryPart::Most
        | DictionaryPart::OfTraining { .. }
        | DictionaryPart::Divisor => vec![],
        DictionaryPart::Groups => return None,
    };
    if line.turned {
        shape.reverse();
    }
    if line.is_row {
        shape.insert(0, 1);
    }
    Some(shape)
}

/// The reader of the tensors of a file that fits.
struct FormatReader<'a> {
    said: &'a FileStatements,
    source: &'a dyn TensorSource,
    wanted: DType,
    task: &'a Task,
    /// Told how many bytes were read.
    read: &'a mut dyn FnMut(u64),
}

impl FormatReader<'_> {
    fn all(&mut self, widths: DictionaryShape) -> Result<Parts> {
        let said = self.said;
        if let Some(name) = said.ones.filter(|name| self.source.shape(name).is_some()) {
            self.all_ones(name)?;
        }
        let mut about = said.about.clone();
        let mut encoder = self.needed(DictionaryPart::Encoder)?;
        let decoder = match said.row.line(DictionaryPart::Decoder) {
            Some(_) => self.needed(DictionaryPart::Decoder)?,
            None => {
                // As the tied dictionaries of Cunningham et al. have them.
                encoder = unit_rows(&encoder, 1e-8)?;
                encoder.clone()
            }
        };
        let skip = self.maybe(DictionaryPart::Skip)?;
        if skip.is_some() && about.kind.as_str() == "transcoder" {
            about.kind = KindLabel::of_transcoders(true);
        }
        about.prefixes = self.prefixes()?;
        let activation = self.activation(widths, &mut about)?;
        let parts = Parts {
            encoder_bias: self.bias(DictionaryPart::EncoderBias)?,
            decoder_bias: self.bias(DictionaryPart::DecoderBias)?,
            encoder,
            decoder,
            activation,
            centred: said.centred,
            rescaled: said.rescaled,
            skip,
            scaling: said.scaling,
            about: said.own.as_ref().map_or(about, |own| own.about.clone()),
        };
        self.of_rows_as_they_come(parts)
    }

    /// Turns a dictionary of rows (x - shift) / divisor into that of the rows x: biases are multiplied by the divisor, codes
    /// with them, and the decoder's bias, by which rows are centred, is moved by the shift.
    fn of_rows_as_they_come(&mut self, parts: Parts) -> Result<Parts> {
        let Some(divisor) = self.number(DictionaryPart::Divisor)? else { return Ok(parts) };
        if divisor <= 0.0 {
            return Err(err!(Format, "expected a number above 0 that rows were divided by, found {divisor}"));
        }
        let shift = self.maybe(DictionaryPart::Shift)?;
        if divisor == 1.0 && shift.is_none() {
            return Ok(parts);
        }
        let scaled = |bias: &Option<Tensor>| bias.as_ref().map(|bias| bias * divisor).transpose();
        let decoder_bias = match (scaled(&parts.decoder_bias)?, shift) {
            (Some(bias), Some(shift)) => Some((bias + shift)?),
            (bias, _) => bias,
        };
        Ok(Parts {
            encoder_bias: scaled(&parts.encoder_bias)?,
            decoder_bias,
            activation: parts.activation.of_unscaled(1.0 / divisor)?,
            ..parts
        })
    }

    fn activation(&mut self, widths: DictionaryShape, about: &mut About) -> Result<Activation> {
        let k = self.k()?;
        let one = self.number(DictionaryPart::OneThreshold)?;
        let the_k = || k.ok_or_else(kinds::no_k);
        Ok(match self.said.row.activation {
            Kind::Relu => Activation::Relu,
            Kind::AbsTopK => Activation::Linear(Some(the_k()?)),
            Kind::TopK => {
                // The library uses the threshold on request; unset it is -1.
                if let Some(one) = one.filter(|one| *one != -1.0) {
                    about.more.insert("threshold".into(), Value::from(one));
                }
                Activation::TopK(the_k()?)
            }
            Kind::Threshold => {
                if let Some(k) = k {
                    about.more.insert("k".into(), Value::from(k));
                }
                Activation::Threshold(match one {
                    Some(one) => filled(one, widths.d_sae, self.wanted)?,
                    None => self.needed(DictionaryPart::THRESHOLD)?,
                })
            }
            Kind::Gated => Activation::Gated {
                gate: self.needed(DictionaryPart::GATE)?,
                magnitude: self.needed(DictionaryPart::MAGNITUDE)?,
                log_scale: self.needed(DictionaryPart::LOG_SCALE)?,
            },
            Kind::Other(name) => {
                let most = self.size(DictionaryPart::Most)?;
                if most.is_some() {
                    about.more.insert("k".into(), Value::from(the_k()?));
                }
                for line in self.said.row.lines {
                    if let DictionaryPart::OfTraining { key, .. } = line.part
                        && let Some(number) = self.number(line.part)?
                    {
                        about.more.insert(key.into(), Value::from(number));
                    }
                }
                let row = self.said.row.name;
                let missing = || err!(Bug, "{row} has no number of codes");
                let part = |name, part| self.needed(DictionaryPart::Own(name, part));
                kinds::activation(name, most.or(k), missing, part)?
            }
        })
    }

    fn k(&self) -> Result<Option<usize>> {
        let Some(found) = self.size(DictionaryPart::K)? else { return Ok(self.said.k) };
        match self.said.k {
            Some(stated) if stated != found => {
                Err(err!(Format, "the config says that k is {stated}, and the tensor `k` is {found}")
                    .hint("the config and the weights do not match"))
            }
            _ => Ok(Some(found)),
        }
    }

    /// Reads a tensor that is one size.
    fn size(&self, part: DictionaryPart) -> Result<Option<usize>> {
        let Some(line) = self.line(part) else { return Ok(None) };
        let found = ints(&self.source.tensor(line.name)?)?.first().copied().unwrap_or_default();
        let size = usize::try_from(found);
        size.map(Some).map_err(|_| err!(Format, "expected a size in `{}`, found {found}", line.name))
    }

    /// Reads a tensor that is one number.
    fn number(&self, part: DictionaryPart) -> Result<Option<f64>> {
        let Some(line) = self.line(part) else { return Ok(None) };
        let tensor = self.source.tensor(line.name)?;
        finite(line.name, &tensor)?;
        Ok(floats(&tensor)?.first().copied())
    }

    /// Reads the ends of the groups.
    fn prefixes(&self) -> Result<Vec<usize>> {
        let Some(line) = self.line(DictionaryPart::Groups) else { return Ok(Vec::new()) };
        let mut end = 0_usize;
        let sizes = ints(&self.source.tensor(line.name)?)?;
        let ends = sizes.iter().map(|size| {
            end = usize::try_from(*size).ok().filter(|size| *size > 0).and_then(|size| end.checked_add(size))?;
            Some(end)
        });
        ends.collect::<Option<_>>().ok_or_else(|| err!(Format, "expected sizes in `{}`, found {sizes:?}", line.name))
    }

    /// Returns a line whose tensor is there.
    fn line(&self, part: DictionaryPart) -> Option<&'static TensorLine> {
        self.said.row.line(part).filter(|line| self.source.shape(line.name).is_some())
    }

    fn needed(&mut self, part: DictionaryPart) -> Result<Tensor> {
        self.maybe(part)?.ok_or_else(|| err!(Bug, "{} has no {part:?}", self.said.row.name))
    }

    fn maybe(&mut self, part: DictionaryPart) -> Result<Option<Tensor>> {
        let Some(line) = self.line(part) else { return Ok(None) };
        self.task.check()?;
        let tensor = self.source.tensor_as(line.name, self.wanted)?;
        finite(line.name, &tensor)?;
        (self.read)(tensor.elem_count() as u64 * self.wanted.size_in_bytes() as u64);
        let tensor = if line.is_row { tensor.squeeze(0)? } else { tensor };
        Ok(Some(if line.turned { tensor.t()?.contiguous()? } else { tensor }))
    }

    /// Reads a bias; None where zeros were written for one that is not there.
    fn bias(&mut self, part: DictionaryPart) -> Result<Option<Tensor>> {
        let Some(bias) = self.maybe(part)? else { return Ok(None) };
        let name = self.line(part).map(|line| line.name);
        let absent = self.said.own.as_ref().is_some_and(|own| own.absent.iter().any(|one| Some(one.as_str()) == name));
        let wanted = part == DictionaryPart::DecoderBias && self.said.centred;
        let dropped = absent && !wanted && floats(&bias)?.iter().all(|x| *x == 0.0);
        Ok((!dropped).then_some(bias))
    }

    fn all_ones(&self, name: &str) -> Result<()> {
        match floats(&self.source.tensor(name)?)?.iter().find(|x| **x != 1.0) {
            None => Ok(()),
            Some(other) => Err(err!(Format, "expected ones in tensor `{name}`, found {other}")
                .hint("fold it into the decoder's rows, and save the dictionary without it")),
        }
    }
}

/// Makes a vector of one number.
fn filled(value: f64, length: usize, wanted: DType) -> Result<Tensor> {
    let one = Tensor::new(value, &crate::tensor::Device::Cpu)?;
    dtype::convert(&one.broadcast_as(length)?.contiguous()?, wanted)
}

/// Refuses NaN and infinities, and says where the first one stands.
pub fn finite(name: &str, tensor: &Tensor) -> Result<()> {
    // Zero times anything finite is zero.
    let sum = dtype::convert(&tensor.affine(0.0, 0.0)?.sum_all()?, DType::F64)?.to_scalar::<f64>()?;
    if sum == 0.0 {
        return Ok(());
    }
    let numbers = floats(tensor)?;
    let Some((place, odd)) = numbers.iter().enumerate().find(|(_, x)| !x.is_finite()) else { return Ok(()) };
    let place = match *tensor.dims() {
        [_, columns] if columns > 0 => format!("[{}, {}]", place / columns, place % columns),
        _ => format!("[{place}]"),
    };
    Err(err!(Numeric, "expected numbers in tensor `{name}`, found {odd} at {place}")
        .hint("the dictionary's fit has diverged, or the file is damaged"))
}
