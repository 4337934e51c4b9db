//! Texts of different lengths together give for each text what it gives alone, or are refused: every family, every site and every
//! hook, and every call that takes several texts or pairs.
//!
//! `MICROTOME_BATCHES=all cargo test batches:: -- --nocapture` compares the whole product of families, sites and hooks, in f32 and
//! in f64, in place of a part of it.

mod calls;
mod hooks;

use std::collections::BTreeMap;

use microtome::script::Session;
use microtome::tensor::{DType, Tensor};
use rhai::{Array, Dynamic, Map};

/// How a result for several texts follows from those for each alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CombinationRule {
    /// An array with an entry for each text.
    Each,
    /// The mean over texts.
    Mean,
    /// The largest of all texts.
    Largest,
}

/// What is computed of texts, `x`, as a function of a script.
struct BatchCall<'a> {
    group: &'a str,
    joined: CombinationRule,
    code: &'a str,
}

/// The numbers that were compared, by group.
#[derive(Default)]
struct BatchFindings {
    groups: BTreeMap<String, GroupCounts>,
    complaints: Vec<String>,
    /// How many calls were refused for a text alone and for several, by model and reason.
    refusals: BTreeMap<String, usize>,
}

#[derive(Default)]
struct GroupCounts {
    comparisons: usize,
    numbers: usize,
    refused: usize,
    /// The largest difference, beside the largest number of the same result or 1.
    largest: f64,
}

impl BatchFindings {
    /// Compares what a session says of `x` with what it says of each of its entries. `most` is how far they may be apart, beside
    /// the largest number of the result or 1.
    fn compare(&mut self, session: &mut Session, about: &str, call: &BatchCall, most: f64) {
        match alone(session, call) {
            Ok(alone) => self.compare_with(&alone, session, about, call, most),
            Err(message) => self.complaints.push(format!("{}, {about}: {}: alone: {message}", call.group, call.code)),
        }
    }

    /// The same of a call that a model may have no use for: it is refused for each text alone, and has to be for all of
    /// them.
    fn compare_or_refuse(&mut self, session: &mut Session, about: &str, call: &BatchCall, most: f64) {
        match alone(session, call) {
            Ok(alone) => self.compare_with(&alone, session, about, call, most),
            Err(message) => {
                self.refuse(about, &message, 1);
                if eval(session, "of.call(x)").is_ok() {
                    self.complaints.push(format!("{}, {about}: {}: alone: {message}", call.group, call.code));
                }
            }
        }
    }

    fn refuse(&mut self, about: &str, message: &str, calls: usize) {
        let first = message.lines().next().unwrap_or_default();
        *self.refusals.entry(format!("{about}: {first}")).or_default() += calls;
    }

    fn compare_with(&mut self, alone: &[Vec<f64>], session: &mut Session, about: &str, call: &BatchCall, most: f64) {
        let group = self.groups.entry(call.group.to_string()).or_default();
        let about = format!("{}, {about}: {}", call.group, call.code);
        group.comparisons += 1;
        let together = match eval(session, "of.call(x)") {
            Ok(together) => numbers(&together),
            Err(message) => {
                group.refused += 1;
                return self.complaints.push(format!("{about}: refused: {message}"));
            }
        };
        let over_texts = |of: &dyn Fn(Vec<f64>) -> f64| -> Vec<f64> {
            (0..alone[0].len()).map(|at| of(alone.iter().map(|one| one[at]).collect())).collect()
        };
        let expected: Vec<f64> = match call.joined {
            CombinationRule::Each => alone.concat(),
            CombinationRule::Mean => over_texts(&|all| all.iter().sum::<f64>() / all.len() as f64),
            CombinationRule::Largest => over_texts(&|all| all.into_iter().fold(f64::NEG_INFINITY, f64::max)),
        };
        if expected.is_empty() || together.len() != expected.len() {
            let found = (together.len(), expected.len());
            return self.complaints.push(format!("{about}: {} numbers of {} texts alone", found.0, found.1));
        }
        let size = expected.iter().filter(|x| x.is_finite()).fold(1.0_f64, |most, x| most.max(x.abs()));
        let apart = |(a, b): (&f64, &f64)| if a == b || a.is_nan() && b.is_nan() { 0.0 } else { (a - b).abs() / size };
        let largest = together
            .iter()
            .zip(&expected)
            .map(apart)
            .fold(0.0, |most: f64, x| if x > most || x.is_nan() { x } else { most });
        group.numbers += expected.len();
        group.largest = group.largest.max(largest);
        if largest.is_nan() || largest > most {
            self.complaints.push(format!("{about}: off by {largest:.1e}"));
        }
    }

    /// Prints the figures, and fails with all complaints.
    fn judged(self) {
        let all = self.groups.values().map(|group| group.comparisons).sum::<usize>();
        for (name, GroupCounts { comparisons, numbers, refused, largest }) in &self.groups {
            println!(
                "{name}: {comparisons} comparisons of {numbers} numbers, at most {largest:.1e} apart, {refused} refused"
            );
        }
        for (reason, calls) in &self.refusals {
            println!("{calls} refused, {reason}");
        }
        let refused: usize = self.refusals.values().sum();
        println!("{all} comparisons in all, {} complaints, {refused} refused", self.complaints.len());
        let few: Vec<&String> = self.complaints.iter().take(60).collect();
        assert!(few.is_empty(), "{} complaints:\n{few:#?}", self.complaints.len());
        assert!(all > 2 * refused, "{all} comparisons, {refused} calls refused");
    }
}

fn eval(session: &mut Session, code: &str) -> Result<Dynamic, String> {
    let found = session.eval("batches", code).map_err(|failure| failure.message);
    session.env().files.release();
    found
}

/// What a call says of each of its texts alone, or why it is refused; `of` stays the call.
fn alone(session: &mut Session, call: &BatchCall) -> Result<Vec<Vec<f64>>, String> {
    let _nothing = eval(session, &format!("let of = {};", call.code))?;
    let each = eval(session, "x.map(|text| of.call([text]))")?;
    Ok(each.into_array().unwrap().iter().map(numbers).collect())
}

/// All numbers in a value of a script, in their order. Words count as their bytes.
fn numbers(value: &Dynamic) -> Vec<f64> {
    if let Some(tensor) = value.read_lock::<Tensor>() {
        return tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap();
    }
    if let Some(array) = value.read_lock::<Array>() {
        return array.iter().flat_map(numbers).collect();
    }
    if let Some(map) = value.read_lock::<Map>() {
        return map.values().flat_map(numbers).collect();
    }
    if let Ok(text) = value.clone().into_string() {
        return text.bytes().map(f64::from).collect();
    }
    let number = value.as_float().ok().or(value.as_int().ok().map(|x| x as f64));
    let number = number.or(value.as_bool().ok().map(|x| f64::from(u8::from(x))));
    vec![number.unwrap_or_else(|| panic!("{value:?} is no number"))]
}

fn is_all() -> bool {
    std::env::var_os("MICROTOME_BATCHES").is_some_and(|value| value == "all")
}
