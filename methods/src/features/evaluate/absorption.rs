//! Feature absorption: tokens of a label at which the features of the label are inactive, and others write its
//! direction in their place (Chanin et al. 2024; formulas and thresholds of SAEBench, Karvonen et al. 2025).
//!
//! With u the unit direction of a probe for the label, a token projects x . u, and a feature of it c_f d_f . u.

use super::ablated::{factors, stretches, weights, written};
use super::codes::TokenCodes;
use super::probing::{scores, sparse};
use super::questions::ProbeQuestion;
use super::reading::{DictionaryCodes, EvaluationReading};
use crate::common::*;
use crate::probes::Probe;
use crate::sae::Scaling;

/// The least cosine with the probe of a feature that absorbs all of a label.
const FULL_COSINE: f64 = 0.025;
/// The least cosine with the probe of a feature that absorbs a part of a label.
const PART_COSINE: f64 = 0.1;
/// The share of the token's projection that absorbing features must write.
const SHARE: f64 = 0.4;
/// The largest number of features that absorb a part.
const ABSORBERS: usize = 3;
/// The activation below which a feature is inactive.
const SILENT: f64 = 1e-8;

/// The rise of the F1 of a sparse probe for which one more feature counts as one of the label.
const JUMP: f64 = 0.03;
/// The largest number of features of a label.
const MOST: usize = 10;

/// Products of a probe's direction with a dictionary: for each feature d_f . u, and the cosine.
pub struct ProbeProducts {
    products: Vec<f64>,
    cosines: Vec<f64>,
}

/// The absorption of a label at one token.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TokenAbsorption {
    /// The share of the label that other features write.
    pub fraction: f64,
    /// Whether none of the label's own features is active, and one other writes it.
    pub full: bool,
}

impl ProbeProducts {
    /// Computes the products of directions `[features, d]`, as they are written with an activation of 1, and a unit
    /// direction.
    pub fn of(directions: &Tensor, unit: &[f64]) -> Result<Self> {
        let values = floats(&dtype::convert(directions, DType::F64)?)?;
        let rows = || values.chunks_exact(unit.len());
        let products: Vec<f64> = rows().map(|row| row.iter().zip(unit).map(|(a, b)| a * b).sum()).collect();
        let lengths = rows().map(|row| row.iter().map(|x| x * x).sum::<f64>().sqrt());
        let cosine = |(product, length): (&f64, f64)| if length > 0.0 { product / length } else { 0.0 };
        Ok(Self { cosines: products.iter().zip(lengths).map(cosine).collect(), products })
    }

    /// Returns the absorption at a token with given activations, whose site activation projects `whole`, if `main` are
    /// the features of the label.
    pub fn absorbed(&self, features: &[u32], codes: &[f32], whole: f64, main: &[usize]) -> TokenAbsorption {
        let mut own = 0.0;
        let mut is_silent = true;
        let mut others: Vec<f64> = Vec::new();
        // The feature that writes most, with its cosine.
        let mut top = (f64::NEG_INFINITY, 0.0);
        for (feature, code) in features.iter().zip(codes) {
            let feature = *feature as usize;
            let code = f64::from(*code);
            let written = code * self.products[feature];
            if written > top.0 {
                top = (written, self.cosines[feature]);
            }
            if main.contains(&feature) {
                own += written;
                is_silent &= code < SILENT;
            } else if self.cosines[feature] >= PART_COSINE && written > 0.0 {
                others.push(written);
            }
        }
        order::sort_descending(&mut others, |part| *part);
        let absorbing: f64 = others.iter().take(ABSORBERS).sum();
        let fraction = if own >= whole || absorbing / whole < SHARE {
            0.0
        } else if own <= 0.0 {
            1.0
        } else {
            let absorbing = absorbing.min(whole - own);
            absorbing / (absorbing + own)
        };
        let full = is_silent && whole >= 0.0 && top.1 >= FULL_COSINE && top.0 / whole >= SHARE;
        TokenAbsorption { fraction, full }
    }
}

/// Returns the features of a label: those of the sparse probe that another feature does not improve.
pub fn main_features(codes: &TokenCodes, question: &ProbeQuestion, task: &Task) -> Result<Vec<usize>> {
    let mut best = sparse(codes, question, 1, task)?;
    for k in 2..=MOST.min(codes.d_sae()) {
        let next = sparse(codes, question, k, task)?;
        if next.f1 < best.f1 + JUMP {
            break;
        }
        best = next;
    }
    Ok(best.features)
}

/// Absorption of one label.
#[derive(Debug, Clone, PartialEq)]
pub struct AbsorbedLabel {
    pub name: String,
    /// The features of the label.
    pub main: Vec<usize>,
    /// The number of tokens with the label that the probe on activations finds, over which the other numbers are means.
    pub tokens: usize,
    /// The accuracy of the probe on activations.
    pub accuracy: f64,
    pub fraction: f64,
    pub full: f64,
    /// The mean fraction, and the share of full absorption, in random directions.
    pub random: [f64; 2],
}

/// Measures the absorption of labels, each with its probe.
pub fn absorbed(
    reading: &EvaluationReading,
    questions: &[ProbeQuestion],
    probes: &[(&Probe, f64)],
    task: &Task,
) -> Result<Vec<AbsorbedLabel>> {
    let bar = task.begin("absorption", Some(questions.len() as u64));
    let own = written(&reading.own)?;
    let random = written(&reading.random)?;
    let of = |(question, (probe, accuracy)): (&ProbeQuestion, &(&Probe, f64))| {
        task.check()?;
        let test = &question.test;
        let said = scores(probe, reading.kept.matrix(&test.tokens)?.as_ref());
        let found =
            test.tokens.iter().zip(&test.has_it).zip(said).filter(|((_, has_it), said)| **has_it && *said > 0.0);
        let tokens: Vec<u32> = found.map(|((token, _), _)| *token).collect();
        let weights = weights(probe);
        let length = weights.iter().map(|weight| weight * weight).sum::<f64>().sqrt();
        let unit: Vec<f64> = weights.iter().map(|weight| weight / length).collect();
        let ours = of_dictionary(reading, &reading.own, &own, question, &tokens, &unit, task)?;
        let control = of_dictionary(reading, &reading.random, &random, question, &tokens, &unit, task)?;
        Ok(AbsorbedLabel {
            name: question.name.clone(),
            main: ours.0,
            tokens: tokens.len(),
            accuracy: *accuracy,
            fraction: ours.1[0],
            full: ours.1[1],
            random: control.1,
        })
    };
    let found = parallel::of_each(questions.iter().zip(probes), &of).into_iter().collect::<Result<Vec<_>>>()?;
    bar.advance(questions.len() as u64);
    Ok(found)
}

/// Returns the main features, the mean fraction and the share of full absorption; NaN without tokens.
fn of_dictionary(
    reading: &EvaluationReading,
    coded: &DictionaryCodes,
    written: &Tensor,
    question: &ProbeQuestion,
    tokens: &[u32],
    unit: &[f64],
    task: &Task,
) -> Result<(Vec<usize>, [f64; 2])> {
    let main = main_features(&coded.codes, question, task)?;
    let along = ProbeProducts::of(written, unit)?;
    let mut sums = [0.0; 2];
    for (token, factor) in tokens.iter().zip(factors(coded, &reading.kept, tokens)?) {
        let whole: f64 = reading.kept.row(*token)?.iter().zip(unit).map(|(x, unit)| f64::from(*x) * unit).sum();
        let (features, codes) = coded.codes.row(*token);
        let found = along.absorbed(features, codes, whole / factor, &main);
        sums[0] += found.fraction;
        sums[1] += f64::from(u8::from(found.full));
    }
    Ok((main, sums.map(|sum| sum / tokens.len() as f64)))
}

/// Activations that all have a label, with what is already known of them, so that no text is read.
pub struct LabelledActivations<'a> {
    /// The vectors that each feature writes with an activation of 1, `[features, d]`; `scaling` is how the dictionary
    /// normalises its input.
    pub directions: &'a Tensor,
    pub scaling: Scaling,
    /// Activations `[n, d]`; `codes` are their feature activations `[n, features]`.
    pub x: &'a Tensor,
    pub codes: &'a Tensor,
    /// The direction of the probe, of any length.
    pub probe: &'a Tensor,
    /// The features of the label.
    pub main: &'a [usize],
}

impl LabelledActivations<'_> {
    /// Returns a table of the absorption at each of the activations.
    pub fn absorbed(&self, task: &Task) -> Result<Table> {
        let (count, unit) = self.checked()?;
        let along = ProbeProducts::of(self.directions, &unit)?;
        let x = floats(&dtype::convert(self.x, DType::F64)?)?;
        let codes = dtype::convert(self.codes, DType::F32)?;
        let mut read = TokenCodes::new(codes.dim(1)?);
        for row in 0..count {
            task.check()?;
            read.push(&codes.get(row)?.to_vec1::<f32>()?);
        }
        let mut rows = Vec::with_capacity(count);
        for ((at, x), factor) in (0..).zip(x.chunks_exact(unit.len())).zip(stretches(self.scaling, self.x)?) {
            task.check()?;
            let whole: f64 = x.iter().zip(&unit).map(|(x, unit)| x * unit).sum();
            let (features, codes) = read.row(at);
            let found = along.absorbed(features, codes, whole / factor, self.main);
            rows.push(vec![(at as usize).into(), whole.into(), found.fraction.into(), found.full.into()]);
        }
        let main = self.main.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
        let columns = ["row", "projection", "fraction", "full"];
        Ok(Table::new(format!("absorption of features {main} by others"), columns, rows))
    }

    /// Returns the number of activations and the unit direction, or an error if the shapes do not fit each other.
    fn checked(&self) -> Result<(usize, Vec<f64>)> {
        let wrong = |name: &str, wanted: &str, found: &Tensor| {
            err!(Shape, "expected {wanted} for `{name}`, found the shape {:?}", found.dims()).about(name)
        };
        let (features, width) = match *self.directions.dims() {
            [features, width] if features > 0 => (features, width),
            _ => return Err(wrong("s", "directions [features, d]", self.directions)),
        };
        let count = match *self.x.dims() {
            [count, found] if count > 0 && found == width => count,
            _ => return Err(wrong("x", &format!("activations [n, {width}]"), self.x)),
        };
        if *self.codes.dims() != [count, features] {
            return Err(wrong("codes", &format!("codes [{count}, {features}]"), self.codes));
        }
        if *self.probe.dims() != [width] {
            return Err(wrong("probe", &format!("a direction [{width}]"), self.probe));
        }
        if let Some(none) = self.main.iter().find(|feature| **feature >= features) {
            return Err(err!(Index, "expected features below {features} for `main`, found {none}").about("main"));
        }
        for (name, numbers) in [("x", self.x), ("codes", self.codes), ("probe", self.probe), ("s", self.directions)] {
            if floats(numbers)?.iter().any(|number| !number.is_finite()) {
                return Err(err!(Numeric, "expected finite numbers for `{name}`, found NaN or infinity").about(name));
            }
        }
        let weights = floats(self.probe)?;
        let length = weights.iter().map(|weight| weight * weight).sum::<f64>().sqrt();
        if length == 0.0 {
            return Err(err!(Numeric, "expected a probe with a direction, found zeros").about("probe"));
        }
        Ok((count, weights.iter().map(|weight| weight / length).collect()))
    }
}

/// Returns a table with a row for each label.
pub fn table(title: &str, found: &[AbsorbedLabel]) -> Table {
    let row = |one: &AbsorbedLabel| -> Vec<Cell> {
        let number = |value: f64| Cell::from(value.is_finite().then_some(value));
        let main = one.main.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
        let first = vec![one.name.as_str().into(), main.into(), one.tokens.into(), number(one.accuracy)];
        let [fraction, full] = one.random;
        [first, [one.fraction, one.full, fraction, full].map(number).to_vec()].concat()
    };
    let columns =
        ["label", "features", "tokens", "probe's accuracy", "fraction", "full", "random, fraction", "random, full"];
    Table::new(title, columns, found.iter().map(row))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::ints;

    #[test]
    fn absorption_is_that_of_sae_bench() {
        let truth = kit::tensors("scores/absorption.safetensors");
        let of = |name: &str| floats(&truth[name]).unwrap();
        let acts = of("acts");
        let codes = of("codes");
        let probe = of("probe");
        let length = probe.iter().map(|x| x * x).sum::<f64>().sqrt();
        let unit: Vec<f64> = probe.iter().map(|x| x / length).collect();
        let along = ProbeProducts::of(&truth["W_dec"], &unit).unwrap();
        let projections = of("probe_projection");
        let fractions = of("absorption_fraction");
        let full = ints(&truth["is_full_absorption"]).unwrap();
        let mut rows = TokenCodes::new(20);
        codes.chunks(20).for_each(|row| rows.push(&row.iter().map(|code| *code as f32).collect::<Vec<_>>()));
        for (word, x) in acts.chunks(12).enumerate() {
            let whole: f64 = x.iter().zip(&unit).map(|(x, unit)| x * unit).sum();
            assert!((whole - projections[word]).abs() < 1e-5);
            let (features, codes) = rows.row(word as u32);
            let found = along.absorbed(features, codes, whole, &[0, 1]);
            assert!((found.fraction - fractions[word]).abs() < 1e-5, "{word}: {found:?} {}", fractions[word]);
            assert_eq!(i64::from(found.full), full[word], "{word}");
        }
    }

    #[test]
    fn a_label_that_its_own_feature_writes_is_not_absorbed_and_one_that_another_writes_is() {
        let directions = Tensor::new(&[[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]], &crate::tensor::Device::Cpu).unwrap();
        let along = ProbeProducts::of(&directions, &[1.0, 0.0]).unwrap();
        let none = TokenAbsorption { fraction: 0.0, full: false };
        assert_eq!(along.absorbed(&[0, 2], &[2.0, 5.0], 2.0, &[0]), none);
        assert_eq!(along.absorbed(&[1], &[2.5], 2.0, &[0]), TokenAbsorption { fraction: 1.0, full: true });
        // Own 1 of 2, and the other feature the rest.
        let half = along.absorbed(&[0, 1], &[1.0, 1.25], 2.0, &[0]);
        assert!((half.fraction - 0.5).abs() < 1e-9 && !half.full);
        assert_eq!(along.absorbed(&[2], &[9.0], 2.0, &[0]), none);
    }
}
