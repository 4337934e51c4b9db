//! Vectors in the place of tokens of a prompt: a site gets them where the prompt has a placeholder, when the prompt is
//! read and in no later step of a generation. Patchscopes (Ghandeharioun et al. 2024), SelfIE (Chen et al. 2024),
//! activation oracles (Karvonen et al. 2025) and natural language autoencoders put the vectors in that they ask about.

use super::Model;
use super::batch::Batch;
use super::hooks::{At, BoundHook, Edit, checks};
use super::site::{NAME_ONE, Place, one_site};
use crate::base::{Result, Task};
use crate::options::maps::map_setting;
use crate::options::{Foreign, Plain, Setting};
use crate::tensor::axes::from_end;
use crate::tensor::index::{self, AxisIndex};
use crate::tensor::{DType, Tensor, Values};
use crate::tokenizer::tokens::TokenName;
use crate::{bail, err};

/// The vectors of an injection: the same for all texts, or others for each.
#[derive(Debug, Clone)]
pub enum InjectedVectors {
    /// A vector for all places, `[width]`, or one for each place of a text, `[places, width]`.
    Same(Values),
    /// Vectors of each text, in one of these forms.
    Each(Vec<Values>),
}

impl InjectedVectors {
    fn of_text(&self, row: usize) -> Option<&Values> {
        match self {
            Self::Same(values) => Some(values),
            Self::Each(each) => each.get(row),
        }
    }
}

impl Setting for InjectedVectors {
    fn wanted() -> String {
        "a tensor [width] or [places, width], or an array of such with one for each text".into()
    }

    fn of(value: &Plain) -> Option<Self> {
        let is_tensor = |value: &Plain| matches!(value, Plain::Other(Foreign { value, .. }) if value.is::<Tensor>());
        match value {
            Plain::List(each) if each.iter().any(is_tensor) => {
                each.iter().map(Values::of).collect::<Option<_>>().map(Self::Each)
            }
            value => Values::of(value).map(Self::Same),
        }
    }

    fn written(&self) -> String {
        match self {
            Self::Same(values) => values.written(),
            Self::Each(each) => each.written(),
        }
    }
}

/// The length of an injected vector, before its scale.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum InjectedNorm {
    /// A given L2 norm.
    Of(f64),
    /// The L2 norm of what the site has there.
    Same,
}

impl Setting for InjectedNorm {
    fn wanted() -> String {
        "a number or \"same\"".into()
    }

    fn of(value: &Plain) -> Option<Self> {
        match value {
            Plain::Text(text) if text == "same" => Some(Self::Same),
            number => f64::of(number).map(Self::Of),
        }
    }

    fn written(&self) -> String {
        match self {
            Self::Of(norm) => norm.written(),
            Self::Same => "\"same\"".into(),
        }
    }

    fn numbers(&self) -> Vec<f64> {
        match self {
            Self::Of(norm) => vec![*norm],
            Self::Same => Vec::new(),
        }
    }
}

crate::options! {
    /// Options of how a vector is put in.
    pub struct InjectionRule {
        /// Whether the vector is added to what the site has there, and does not replace it.
        add: bool = false;
        /// Number by which the vector is multiplied.
        scale: f64 = 1.0;
        /// L2 norm that the vector gets before its scale: a number, or "same" for that of what the site has there.
        norm: Option<InjectedNorm> = None => usually("its own").above(0.0);
    }

    /// Options of vectors in the place of tokens of a prompt.
    pub struct Injection {
        /// The vector; or one for each place, or an array with one or several for each text.
        vector: InjectedVectors = InjectedVectors::Each(Vec::new()) => required();
        /// The placeholder: a token, as its text or its id, wherever it is in the prompt.
        at: Option<TokenName> = None => usually("none, with `pos`");
        /// A position or several in place of a placeholder; negative ones count from the end of each prompt.
        pos: Option<Vec<i64>> = None => usually("none, with `at`");
        /// The site that gets the vector.
        site: String = "embed".into();
        with rule: InjectionRule;
    }

    /// Options of a call that reads prompts with vectors in the place of tokens.
    pub struct InjectOptions {
        /// Vectors in the place of tokens of the prompt: a map of `vector`, `at` (a placeholder) or `pos`, `site`, `add`, `scale` and `norm`, or an array of such.
        inject: Vec<Injection> = Vec::new() => usually("none");
    }
}

map_setting!(Injection);

impl InjectOptions {
    /// Binds the injections to a model and the texts of a batch, in their order.
    pub fn bound(&self, model: &Model, batch: &Batch, task: &Task) -> Result<Vec<BoundHook<'static>>> {
        let each = self.inject.iter().map(|injection| injection.bound(model, batch, task));
        each.collect::<Result<_>>().map_err(|e| e.about("inject"))
    }
}

impl Injection {
    /// Binds the injection to a model and the texts of a batch.
    pub fn bound(&self, model: &Model, batch: &Batch, task: &Task) -> Result<BoundHook<'static>> {
        let config = model.decoder.config();
        let place = one_site(config, &self.site, NAME_ONE)?;
        if !self.rule.scale.is_finite() {
            bail!(Argument, "expected a finite number for `scale`, found {}", self.rule.scale);
        }
        let columns = self.columns(model, batch, task)?;
        if let InjectedVectors::Each(each) = &self.vector
            && each.len() != columns.len()
        {
            return Err(err!(
                Argument,
                "expected vectors for each text, of which there are {}, found those of {}",
                columns.len(),
                each.len()
            )
            .hint("a single tensor is put into every text"));
        }
        let texts = columns.into_iter().enumerate().map(|(row, columns)| {
            let vectors = self.vectors(row, columns.len(), model.decoder.dtype())?;
            Ok(InjectedText { columns, vectors })
        });
        let edit = InjectedTexts { texts: texts.collect::<Result<_>>()?, rule: self.rule.clone() };
        BoundHook::new(config, &place.to_string(), None, None, Box::new(edit))
    }

    /// Finds the columns of each text that get a vector.
    fn columns(&self, model: &Model, batch: &Batch, task: &Task) -> Result<Vec<Vec<usize>>> {
        let rows = batch.rows().iter().enumerate();
        match (&self.at, &self.pos) {
            (Some(name), None) => {
                let id = model.token(name, task)?;
                let found = |(row, ids): (usize, &Vec<u32>)| {
                    let columns: Vec<usize> = (0..ids.len()).filter(|column| ids[*column] == id).collect();
                    if columns.is_empty() {
                        return Err(err!(Argument, "expected the placeholder {} in every prompt, and text {row} has none", name.written())
                            .hint("m.tokens(x).strings lists the tokens of a prompt; a token's text includes its leading space"));
                    }
                    Ok(columns)
                };
                rows.map(found).collect()
            }
            (None, Some(positions)) if positions.is_empty() => {
                bail!(Argument, "expected positions for `pos`, found none")
            }
            (None, Some(positions)) => {
                let column = |row: usize, ids: &[u32], position: i64| {
                    from_end(position, ids.len()).ok_or_else(|| {
                        err!(
                            Argument,
                            "expected positions within the {} tokens of text {row}, found {position}",
                            ids.len()
                        )
                    })
                };
                let columns = |(row, ids): (usize, &Vec<u32>)| {
                    let columns = positions.iter().map(|position| column(row, ids, *position));
                    let columns = columns.collect::<Result<Vec<_>>>()?;
                    match (1..columns.len()).find(|at| columns[..*at].contains(&columns[*at])) {
                        None => Ok(columns),
                        Some(twice) => {
                            bail!(Argument, "expected each position of text {row} once, found {} twice", columns[twice])
                        }
                    }
                };
                rows.map(columns).collect()
            }
            (Some(_), Some(_)) => bail!(Argument, "expected `at` or `pos` to say where a vector goes, found both"),
            (None, None) => Err(err!(Argument, "expected `at` or `pos` to say where a vector goes, found neither")
                .hint("`at` is a token of the prompt, as its text or id; `pos` are positions")),
        }
    }

    /// Returns the vectors of a text, `[places, width]`, or `[1, width]` for all of them, with the norm that they must have.
    fn vectors(&self, row: usize, places: usize, dtype: DType) -> Result<Tensor> {
        // Norms of 16 bits would lose digits.
        let precise = if dtype == DType::F64 { DType::F64 } else { DType::F32 };
        let values = self.vector.of_text(row).ok_or_else(|| err!(Bug, "text {row} without its vectors"))?;
        let vectors = match values.dims().len() {
            1 => values.tensor("vector", precise)?.unsqueeze(0)?,
            2 if values.dims()[0] == places => values.tensor("vector", precise)?,
            2 => {
                let found = values.dims()[0];
                return Err(err!(
                    Shape,
                    "expected a vector for each place of text {row}, of which there are {places}, found {found}"
                )
                .hint("one vector, [width], is put into every place"));
            }
            _ => bail!(
                Shape,
                "expected a vector [width], or one for each place [places, width], found {:?}",
                values.dims()
            ),
        };
        checks::finite(&vectors, "numbers in `vector`")?;
        match self.rule.norm {
            None => Ok(vectors),
            // Of length 1, which is multiplied later.
            Some(_) => unit(&vectors),
        }
    }
}

/// Divides vectors `[places, width]` by their L2 norms; first by their largest numbers, whose squares might be infinite.
fn unit(vectors: &Tensor) -> Result<Tensor> {
    let largest = vectors.abs()?.max_keepdim(1)?;
    if largest.min_all()?.to_dtype(DType::F64)?.to_scalar::<f64>()? == 0.0 {
        return Err(err!(Argument, "expected a vector other than 0, which has no direction that could get a `norm`")
            .hint("leave `norm` out"));
    }
    let small = vectors.broadcast_div(&largest)?;
    Ok(small.broadcast_div(&small.sqr()?.sum_keepdim(1)?.sqrt()?)?)
}

/// The vectors of one text: `[places, width]`, or `[1, width]` for all places.
struct InjectedText {
    columns: Vec<usize>,
    vectors: Tensor,
}

struct InjectedTexts {
    texts: Vec<InjectedText>,
    rule: InjectionRule,
}

impl Edit for InjectedTexts {
    fn edit(&mut self, at: &At, place: Place, _: Option<&[i64]>, x: &Tensor) -> Result<Option<Tensor>> {
        // The prompt is read by the first pass alone.
        if at.step > 0 {
            return Ok(None);
        }
        if x.rank() != 3 {
            return Err(err!(
                Argument,
                "expected a site of the form [batch, pos, width] for a vector, found `{place}`, {:?}",
                x.dims()
            )
            .hint("such as `embed` or `resid_post.0`")
            .about("inject"));
        }
        let rows = self.texts.iter().enumerate().map(|(row, text)| self.rule.put(text, place, &x.narrow(0, row, 1)?));
        Ok(Some(Tensor::cat(&rows.collect::<Result<Vec<_>>>()?, 0)?))
    }
}

impl InjectionRule {
    /// Puts the vectors of a text into its row of a site, `[1, pos, width]`.
    fn put(&self, text: &InjectedText, place: Place, x: &Tensor) -> Result<Tensor> {
        let (_, _, width) = x.dims3()?;
        let found = text.vectors.dim(1)?;
        if found != width {
            return Err(
                err!(Shape, "expected a vector of {width} numbers for `{place}`, found {found}").about("inject")
            );
        }
        let places: Vec<i64> = text.columns.iter().map(|column| *column as i64).collect();
        let places = [AxisIndex::All, AxisIndex::List(places), AxisIndex::All];
        let there = index::get(x, &places)?;
        let precise = there.to_dtype(text.vectors.dtype())?;
        let vectors = text.vectors.to_device(x.device())?.unsqueeze(0)?;
        let sized = match self.norm {
            None => vectors,
            Some(InjectedNorm::Of(norm)) => (vectors * norm)?,
            Some(InjectedNorm::Same) => vectors.broadcast_mul(&precise.sqr()?.sum_keepdim(2)?.sqrt()?)?,
        };
        let scaled = (sized * self.scale)?.broadcast_as(precise.shape())?;
        let new = if self.add { (precise + scaled)? } else { scaled.contiguous()? }.to_dtype(x.dtype())?;
        checks::finite(&new, format!("numbers for `{place}` in {}", x.dtype().as_str()))
            .map_err(|e| e.about("inject"))?;
        index::set(x, &places, &new.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::fixtures::{config, decoder};
    use crate::tensor::Device;

    fn map(fields: &[(&str, Plain)]) -> Plain {
        Plain::Map(fields.iter().map(|(name, value)| (name.to_string(), value.clone())).collect())
    }

    fn vector(numbers: &[f64]) -> Plain {
        Plain::List(numbers.iter().map(|number| Plain::Float(*number)).collect())
    }

    fn model(dtype: DType) -> Model {
        Model::new(decoder(config(), dtype), None, "test")
    }

    /// Returns the embeddings of a text with an injection.
    fn embedded(model: &Model, options: Plain) -> Result<Tensor> {
        let batch = Batch::new(vec![vec![1, 2, 3]])?;
        let inject = InjectOptions { inject: Vec::of(&options).expect("an injection") };
        let task = Task::default();
        let hooks = inject.bound(model, &batch, &task)?;
        let places = crate::model::site::select(model.decoder.config(), "embed")?;
        let ask = crate::model::run::Ask { hooks, places, ..crate::model::run::Ask::default() };
        model.decoder.cache(&batch, ask, &task)?.get("embed")
    }

    #[test]
    fn a_map_is_read_with_its_faults() {
        let whole =
            map(&[("vector", vector(&[1.0, 2.0])), ("at", Plain::Integer(3)), ("norm", Plain::Text("same".into()))]);
        let found = Injection::of(&whole).unwrap();
        assert_eq!((found.at, found.rule.norm), (Some(TokenName::Id(3)), Some(InjectedNorm::Same)));
        assert_eq!((found.site.as_str(), found.rule.scale, found.rule.add), ("embed", 1.0, false));
        let fault = |fields: &[(&str, Plain)]| Injection::fault(&map(fields)).is_some();
        assert!(fault(&[("at", Plain::Integer(3))]), "without a vector");
        assert!(fault(&[("vector", vector(&[1.0])), ("layer", Plain::Integer(3))]));
        assert!(fault(&[("vector", vector(&[1.0])), ("norm", Plain::Integer(0))]));
        assert!(fault(&[("vector", Plain::Text("x".into()))]));
        assert!(!fault(&[("vector", vector(&[1.0]))]));
    }

    #[test]
    fn numbers_that_a_model_cannot_hold_are_refused() {
        let d = config().d_model;
        let large = |size: f64| map(&[("vector", vector(&vec![size; d])), ("pos", Plain::Integer(1))]);
        assert!(embedded(&model(DType::F32), large(1e5)).is_ok());
        let error = embedded(&model(DType::F16), large(1e5)).unwrap_err();
        assert_eq!(error.message, "expected finite numbers for `embed` in f16, found inf at [0, 0, 0]");
    }

    #[test]
    fn norms_are_measured_in_32_bits() {
        // In f16 the square of 300 is infinite, and in f32 that of 1e30.
        let d = config().d_model;
        for size in [300.0, 1e30] {
            let fields = [("vector", vector(&vec![size; d])), ("pos", Plain::Integer(1)), ("norm", Plain::Float(2.0))];
            let found = embedded(&model(DType::F16), map(&fields)).unwrap().get(0).unwrap().get(1).unwrap();
            let wanted = Tensor::new((2.0 / (d as f64).sqrt()) as f32, &Device::Cpu).unwrap();
            let off = found.to_dtype(DType::F32).unwrap().broadcast_sub(&wanted).unwrap().abs().unwrap();
            assert!(off.max_all().unwrap().to_scalar::<f32>().unwrap() < 1e-3);
        }
    }
}
