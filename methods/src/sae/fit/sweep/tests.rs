//! Sweeps against single fits, interrupted and resumed.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::json;

use super::*;
use crate::base::Kind;
use crate::base::access::{Access, Rules};
use crate::base::files::Files;
use crate::sae::fit::checkpoint::FORMAT;
use crate::sae::fit::tests::{Stops, kind, recipe, rows};
use crate::sae::fit::{Counting, Fit, FitHistory, OfTensor};
use crate::tensor::{DType, Tensor, floats};
use crate::training::CheckpointFolder;

/// Recipes and widths that differ in all that a sweep may vary.
fn several() -> Vec<(Recipe, usize)> {
    let of = |name: &str, options, counting, seed| Recipe { steps: 9, seed, ..recipe(kind(name, options), counting) };
    vec![
        (of("tied", json!({ "l1": 0.01 }), Counting::Mean, 0), 7),
        (of("topk", json!({ "k": 2 }), Counting::Sum, 0), 12),
        (of("topk", json!({ "k": 3 }), Counting::Sum, 4), 12),
        (of("batch_topk", json!({ "k": 2 }), Counting::Normalised, 1), 9),
    ]
}

fn x() -> Tensor {
    rows(40, DType::F32)
}

fn reader(left: u64) -> Box<Stops> {
    Box::new(Stops { rows: OfTensor::new(&x(), 5).unwrap(), left })
}

fn plain((recipe, d_sae): (Recipe, usize)) -> Member<'static> {
    Member { recipe, d_sae, keep: None }
}

/// The complete result of a fit, as numbers.
fn told(fitted: &Fitted) -> (FitHistory, Vec<f64>) {
    let codes = floats(&fitted.sae.encode(&x()).unwrap()).unwrap();
    (fitted.history.clone(), [codes, floats(fitted.sae.directions()).unwrap()].concat())
}

fn alone((recipe, d_sae): (Recipe, usize)) -> (FitHistory, Vec<f64>) {
    let fit = Fit::new(recipe, d_sae, reader(u64::MAX), None, &Task::default()).unwrap();
    told(&fit.run(About::default(), &Task::default()).unwrap())
}

#[test]
fn every_dictionary_of_a_sweep_is_that_of_a_fit_by_itself() {
    let members = several().into_iter().map(plain).collect();
    let sweep = Sweep::new(members, reader(u64::MAX), &Task::default()).unwrap();
    let found = sweep.run(&About::default(), &Task::default()).unwrap();
    assert_eq!(found.len(), 4);
    for (fitted, one) in found.iter().zip(several()) {
        assert!(fitted.is_whole && fitted.history.steps.len() == 9);
        assert_eq!(fitted.sae.parts().about.more["fit"]["seed"], json!(one.0.seed));
        assert_eq!(told(fitted), alone(one));
    }
}

#[test]
fn a_sweep_that_is_resumed_ends_with_the_same_bytes_wherever_each_had_come_to() {
    let folder = tempfile::tempdir().unwrap();
    let files = Files::new(Access::new(folder.path(), &Rules::default()).unwrap(), false);
    let run = |dir: &str, left: u64| {
        let member = |(number, (recipe, d_sae)): (usize, (Recipe, usize))| {
            let folder = std::path::Path::new(dir).join(number.to_string());
            Member { recipe, d_sae, keep: Some(CheckpointFolder { files: &files, folder, every: 1, fresh: false }) }
        };
        let members = several().into_iter().enumerate().map(member).collect();
        Sweep::new(members, reader(left), &Task::default()).unwrap().run(&About::default(), &Task::default())
    };
    let place = |dir: &str, number: usize| folder.path().join(dir).join(number.to_string()).join(FORMAT.file);
    let bytes = |dir: &str| (0..4).map(|number| std::fs::read(place(dir, number)).unwrap()).collect::<Vec<_>>();
    run("whole", u64::MAX).unwrap();
    let error = run("resumed", 3).err().unwrap();
    assert_eq!(error.message, "cannot read on");
    assert_eq!(error.hint.as_deref(), Some("the 2 steps before are saved in resumed/0"));
    run("ahead", 6).err().unwrap();
    // One was at a later step than the others when all of them were killed, and one is new.
    std::fs::copy(place("ahead", 1), place("resumed", 1)).unwrap();
    std::fs::remove_file(place("resumed", 3)).unwrap();
    run("resumed", u64::MAX).unwrap();
    assert!(bytes("whole") == bytes("resumed"));
    // What is done is not done again: the rows that tell how to scale are all that is read.
    assert_eq!(run("whole", 1).unwrap().len(), 4);
}

#[test]
fn one_that_diverges_ends_where_it_was_and_the_others_go_on() {
    let mut all = several();
    all[2].0.lr = 1e25;
    all[2].0.clip = None;
    let run = |members: Vec<(Recipe, usize)>| {
        let members = members.into_iter().map(plain).collect();
        Sweep::new(members, reader(u64::MAX), &Task::default()).unwrap().run(&About::default(), &Task::default())
    };
    let found = run(all.clone()).unwrap();
    assert!(!found[2].is_whole && found[2].history.steps.len() < 9);
    assert!(found[2].failed.as_ref().unwrap().message.contains("the loss is"), "{:?}", found[2].failed);
    for number in [0, 1, 3] {
        assert_eq!(told(&found[number]), alone(all[number].clone()));
    }
    let error = run(vec![all.remove(2)]).err().unwrap();
    assert_eq!(error.kind, Kind::Numeric);
}

#[test]
fn an_interruption_keeps_what_all_have_come_to() {
    let task = Task::default();
    let flag = task.flag().clone();
    let members = several().into_iter().map(plain).collect();
    let rows = Interrupting { rows: OfTensor::new(&x(), 5).unwrap(), left: 4, flag };
    let found = Sweep::new(members, Box::new(rows), &task).unwrap().run(&About::default(), &task).unwrap();
    assert!(!task.is_interrupted());
    assert_eq!(found.iter().map(|fitted| fitted.history.steps.len()).collect::<Vec<_>>(), [3; 4]);
    assert!(found.iter().all(|fitted| !fitted.is_whole && fitted.failed.is_none()));
}

/// Rows during which Ctrl-C is pressed.
struct Interrupting {
    rows: OfTensor,
    left: u64,
    flag: Arc<std::sync::atomic::AtomicBool>,
}

impl Rows for Interrupting {
    fn next(&mut self, rows: usize, task: &Task) -> Result<Vec<Tensor>> {
        let found = self.rows.next(rows, task)?;
        match self.left.checked_sub(1) {
            Some(left) => self.left = left,
            None => self.flag.store(true, Ordering::Relaxed),
        }
        Ok(found)
    }

    fn skip(&mut self, rows: u64, task: &Task) -> Result<()> {
        self.rows.skip(rows, task)
    }

    fn about(&self) -> String {
        self.rows.about()
    }
}

#[test]
fn fits_that_cannot_read_together_are_refused() {
    let mut all = several();
    all[1].0.batch = 8;
    let members = all.into_iter().map(plain).collect();
    let error = Sweep::new(members, reader(9), &Task::default()).err().unwrap();
    assert_eq!(error.message, "the fits of a sweep share one `batch` and one `scaled`");
    let error = Sweep::new(Vec::new(), reader(9), &Task::default()).err().unwrap();
    assert_eq!(error.message, "expected at least one dictionary to fit, found none");
}
