//! AxBench's score of steering (Wu et al. 2025): three grades from 0 to 2 of each text that is written, for the concept in
//! it, for what it has to do with the prompt (instruct), and for fluency; and their harmonic mean, 0 where one of them is 0.
//!
//! A language model grades, or, without one, the rules that label real text, with the unsteered model:
//!
//! - concept = 2 s, with s the share of the written tokens that have a label;
//! - instruct = 2 max(0, 2 a - 1), with a the share of other prompts after which the text is less likely than after its
//!   own, ties counted half: 0 for a text that could stand after any of them;
//! - fluency = 2 min(1, exp(L' - L)) (1 - r), with L the loss of the text after its prompt, L' the mean of that over
//!   what the unsteered model writes after the prompts, and r the share of triples of tokens that are repeated.

use super::label::LabelShare;
use super::measure::repetition;
use super::sweep::{SteeringSweep, SweepStrength, figure};
use crate::common::*;

/// The largest number of other prompts that a text is tried after.
const OTHERS: usize = 8;

/// The number of tokens in a batch of the model, about.
const TOKENS: usize = 1 << 12;

/// A function that answers the question of a judge.
pub type Ask<'a> = &'a dyn Fn(&str) -> Result<String>;

/// Graders of texts.
pub enum Grader<'a> {
    /// A language model, asked for a concept in words.
    Judge {
        concept: &'a str,
        ask: Ask<'a>,
    },
    Label(&'a LabelShare),
}

const COLUMNS: [&str; 16] = [
    "direction",
    "strength",
    "texts",
    "score",
    "score_low",
    "score_high",
    "concept",
    "concept_low",
    "concept_high",
    "instruct",
    "instruct_low",
    "instruct_high",
    "fluency",
    "fluency_low",
    "fluency_high",
    "failed",
];

/// Grades what is written at each strength, and computes the harmonic mean, each with its mean and the 95 % bootstrap
/// interval over prompts. `failed` counts the texts that a judge gave no grade.
pub fn axbench(sweep: &SteeringSweep, grader: &Grader, task: &Task) -> Result<Table> {
    if sweep.options.tokens == 0 {
        return Err(err!(Argument, "expected tokens to write, which are graded, found 0").about("tokens"));
    }
    let own = match grader {
        Grader::Judge { .. } => None,
        Grader::Label(_) => Some(BaselineLoss::new(sweep, task)?),
    };
    let mut measure = |pushed: &SweepStrength| -> Result<Vec<Vec<f64>>> {
        let grades = match (grader, &own) {
            (Grader::Judge { concept, ask }, _) => judged(sweep, concept, *ask, pushed, task)?,
            (Grader::Label(share), Some(own)) => own.grades(sweep, share, pushed, task)?,
            (Grader::Label(_), None) => return Err(err!(Bug, "grades without the unsteered texts")),
        };
        let score = grades.iter().map(harmonic).collect();
        let each = (0..3).map(|which| grades.iter().map(|grades| grades[which]).collect());
        Ok([score].into_iter().chain(each).collect())
    };
    let found = sweep.run(&mut measure, task)?;
    let row = |line: &super::sweep::SweepLine| -> Vec<Cell> {
        let mut cells: Vec<Cell> = vec![line.direction.into(), line.strength.into(), line.values[0].len().into()];
        line.values.iter().for_each(|values| cells.extend(figure(values, sweep.seed)));
        cells.push(line.failed.into());
        cells
    };
    Ok(Table::new("steering: AxBench's score, 0 to 2", COLUMNS, found.iter().map(row)))
}

/// Returns the harmonic mean, or 0 where a grade is 0.
fn harmonic(grades: &[f64; 3]) -> f64 {
    if grades.contains(&0.0) { 0.0 } else { 3.0 / grades.iter().map(|grade| grade.recip()).sum::<f64>() }
}

/// Returns the questions about each text for a judge.
fn questions(concept: &str, prompt: &str, text: &str) -> [String; 3] {
    let ask = |what: &str, given: &str, grades: [&str; 3]| {
        let grades: String = grades.iter().enumerate().map(|(grade, words)| format!("{grade}: {words}\n")).collect();
        format!(
            "A language model has continued a text. {what}\n\n{given}\n[Continuation]\n{text}\n\n[Grades]\n{grades}\n\
             Consider this one question only. End with a line \"Rating: \" and the grade."
        )
    };
    [
        ask(
            "Does the continuation contain the concept below?",
            &format!("[Concept]\n{concept}\n"),
            ["the concept is not there", "it is there in part or in passing", "it is there, clearly"],
        ),
        ask(
            "Does the continuation belong to the text that it continues?",
            &format!("[Text]\n{prompt}\n"),
            ["it has nothing to do with the text", "it has something to do with it", "it continues the text"],
        ),
        ask(
            "Is the continuation fluent, whatever it says?",
            "",
            ["it cannot be read, or only repeats itself", "it is flawed but readable", "it is fluent"],
        ),
    ]
}

/// Returns the grade in an answer: after the last "Rating:", or the whole answer.
fn rating(answer: &str) -> Option<f64> {
    let answer = answer.to_lowercase();
    let (said, is_marked) = match answer.rsplit_once("rating:") {
        Some((_, behind)) => (behind, true),
        None => (answer.as_str(), false),
    };
    let mut words =
        said.split(|sign: char| !sign.is_alphanumeric() && sign != '.' && sign != '-').filter(|w| !w.is_empty());
    let grade = match words.next()?.trim_end_matches('.') {
        "0" => 0.0,
        "1" => 1.0,
        "2" => 2.0,
        _ => return None,
    };
    (is_marked || words.next().is_none()).then_some(grade)
}

/// Returns the grades of a language model; NaN for a text without all three.
fn judged(
    sweep: &SteeringSweep,
    concept: &str,
    ask: Ask,
    pushed: &SweepStrength,
    task: &Task,
) -> Result<Vec<[f64; 3]>> {
    let made = sweep.written(pushed, true, task)?;
    let tokenizer = sweep.model.tokenizer()?;
    let bar = task.begin("asking the judge", Some(made.texts.len() as u64));
    let mut found = Vec::new();
    let mut strange = None;
    for (prompt, text) in sweep.prompts.rows().iter().zip(&made.texts) {
        let mut grades = [f64::NAN; 3];
        for (grade, question) in grades.iter_mut().zip(questions(concept, &tokenizer.decode(prompt)?, text)) {
            task.check()?;
            let answer = ask(&question)?;
            match rating(&answer) {
                Some(rating) => *grade = rating,
                None => strange = Some(answer),
            }
        }
        let is_whole = grades.iter().all(|grade| !grade.is_nan());
        found.push(if is_whole { grades } else { [f64::NAN; 3] });
        bar.advance(1);
    }
    match strange {
        Some(answer) if found.iter().all(|grades| grades[0].is_nan()) => {
            let answer: String = answer.chars().take(200).collect();
            Err(err!(Format, "expected answers that end with \"Rating: \" and 0, 1 or 2, found {answer:?}")
                .about("judge"))
        }
        _ => Ok(found),
    }
}

/// The losses of the unsteered model on what is written.
struct BaselineLoss<'a> {
    model: &'a Model,
    /// The mean loss of what the model writes itself.
    usual: f64,
}

impl<'a> BaselineLoss<'a> {
    fn new(sweep: &SteeringSweep<'a>, task: &Task) -> Result<Self> {
        let prompts = sweep.prompts.rows();
        if prompts.len() < 2 {
            return Err(err!(Argument, "expected at least two prompts, by which a text is told apart, found 1")
                .about("prompts"));
        }
        let unsteered = Self { model: sweep.model, usual: f64::NAN };
        let made = sweep.written(&SweepStrength { strength: 0.0, others: None }, false, task)?;
        let each: Vec<(&[u32], &[u32])> = pairs(prompts, &made.ids).collect();
        let losses: Vec<f64> = unsteered.losses(&each, task)?.into_iter().filter(|loss| loss.is_finite()).collect();
        if losses.is_empty() {
            return Err(err!(
                Argument,
                "expected an unsteered model that writes something after the prompts, found nothing"
            )
            .about("prompts"));
        }
        Ok(Self { usual: losses.iter().sum::<f64>() / losses.len() as f64, ..unsteered })
    }

    /// Returns the mean loss of each text after its prompt; NaN for a text without tokens.
    fn losses(&self, texts: &[(&[u32], &[u32])], task: &Task) -> Result<Vec<f64>> {
        let rows: Vec<Vec<u32>> = texts.iter().map(|(prompt, new)| [*prompt, *new].concat()).collect();
        let longest = rows.iter().map(Vec::len).max().unwrap_or(1).max(1);
        let at_once = (TOKENS / longest).max(1);
        let mut found = Vec::with_capacity(rows.len());
        for (rows, texts) in rows.chunks(at_once).zip(texts.chunks(at_once)) {
            task.check()?;
            let losses = self.model.decoder.losses(&Batch::new(rows.to_vec())?, Vec::new(), task)?;
            for (losses, (prompt, new)) in losses.iter().zip(texts) {
                let own = &floats(losses)?[prompt.len() - 1..];
                found.push(own.iter().sum::<f64>() / new.len() as f64);
            }
        }
        Ok(found)
    }

    fn grades(
        &self,
        sweep: &SteeringSweep,
        share: &LabelShare,
        pushed: &SweepStrength,
        task: &Task,
    ) -> Result<Vec<[f64; 3]>> {
        let made = sweep.written(pushed, false, task)?;
        let prompts = sweep.prompts.rows();
        let own = self.losses(&pairs(prompts, &made.ids).collect::<Vec<_>>(), task)?;
        let others = OTHERS.min(prompts.len() - 1);
        let strange: Vec<(&[u32], &[u32])> = (0..prompts.len())
            .flat_map(|at| (1..=others).map(move |step| (at + step) % prompts.len()).map(move |other| (other, at)))
            .map(|(other, at)| (prompts[other].as_slice(), made.ids[at].as_slice()))
            .collect();
        let strange = self.losses(&strange, task)?;
        let grades = |at: usize| -> Result<[f64; 3]> {
            let new = &made.ids[at];
            if new.is_empty() {
                return Ok([0.0; 3]);
            }
            let beaten =
                |other: &f64| if *other > own[at] { 1.0 } else { f64::from(u8::from(*other == own[at])) / 2.0 };
            let above = strange[at * others..(at + 1) * others].iter().map(beaten).sum::<f64>() / others as f64;
            let fluency = 2.0 * (self.usual - own[at]).exp().min(1.0) * (1.0 - repetition(new));
            Ok([2.0 * share.of(&prompts[at], new)?, 2.0 * (2.0 * above - 1.0).max(0.0), fluency])
        };
        (0..prompts.len()).map(grades).collect()
    }
}

fn pairs<'a>(prompts: &'a [Vec<u32>], new: &'a [Vec<u32>]) -> impl Iterator<Item = (&'a [u32], &'a [u32])> {
    prompts.iter().map(Vec::as_slice).zip(new.iter().map(Vec::as_slice))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_score_is_the_harmonic_mean() {
        assert_eq!(harmonic(&[2.0, 2.0, 2.0]), 2.0);
        assert_eq!(harmonic(&[2.0, 1.0, 0.0]), 0.0);
        assert!((harmonic(&[1.0, 2.0, 2.0]) - 1.5).abs() < 1e-12);
        assert!(harmonic(&[f64::NAN; 3]).is_nan());
    }

    #[test]
    fn a_rating_is_read_from_what_judges_say() {
        for (answer, grade) in [
            ("Rating: 2", Some(2.0)),
            ("It is fine.\n**Rating:** [[1]]", Some(1.0)),
            ("rating: 0.", Some(0.0)),
            (" 1\n", Some(1.0)),
            ("Rating: 1\nNo: Rating: 2 of 2", Some(2.0)),
            ("Rating: 1.5", None),
            ("Rating: -1", None),
            ("Rating: 12", None),
            ("2 of the words are wrong", None),
            ("", None),
        ] {
            assert_eq!(rating(answer), grade, "{answer:?}");
        }
    }
}
