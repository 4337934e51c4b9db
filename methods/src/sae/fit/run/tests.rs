//! Sweeps against single fits, interrupted and resumed.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::*;
use crate::base::access::{Access, Rules};
use crate::base::files::Files;
use crate::sae::fit::checkpoint::FORMAT;
use crate::sae::fit::tests::{Stops, kind, recipe, rows};
use crate::sae::fit::{ErrorNormalisation, OfTensor};
use crate::tensor::{DType, Tensor, floats};

/// Returns recipes that differ in all that a sweep may vary.
fn several() -> Vec<Recipe> {
    let of = |d_sae, name: &str, options, counting, seed| Recipe {
        d_sae,
        steps: 9,
        seed,
        ..recipe(kind(name, options), counting)
    };
    vec![
        of(7, "tied", json!({ "l1": 0.01 }), ErrorNormalisation::Mean, 0),
        of(12, "topk", json!({ "k": 2 }), ErrorNormalisation::Sum, 0),
        of(12, "topk", json!({ "k": 3 }), ErrorNormalisation::Sum, 4),
        of(9, "batch_topk", json!({ "k": 2 }), ErrorNormalisation::Normalised, 1),
    ]
}

fn x() -> Tensor {
    rows(40, DType::F32)
}

fn reader(left: u64) -> Box<Stops> {
    Box::new(Stops { rows: OfTensor::new(&x(), 5).unwrap(), left })
}

/// Fits recipes together, without checkpoints.
fn run(recipes: Vec<Recipe>, rows: Box<dyn ActivationRows + '_>, task: &Task) -> Result<Vec<FitResult>> {
    let recipes = recipes.into_iter().map(|recipe| (recipe, None)).collect();
    FitRun::new(recipes, rows, None, task)?.run(&About::default(), task)
}

fn sae(fitted: &FitResult) -> Sae {
    fitted.made.clone().dictionary().unwrap()
}

/// Returns the complete result of a fit, as numbers.
fn told(fitted: &FitResult) -> (FitHistory, Vec<f64>) {
    let codes = floats(&sae(fitted).encode(&x()).unwrap()).unwrap();
    (fitted.history.clone(), [codes, floats(sae(fitted).directions()).unwrap()].concat())
}

fn alone(recipe: Recipe) -> (FitHistory, Vec<f64>) {
    told(&run(vec![recipe], reader(u64::MAX), &Task::default()).unwrap()[0])
}

#[test]
fn every_dictionary_of_a_sweep_is_that_of_a_fit_by_itself() {
    let found = run(several(), reader(u64::MAX), &Task::default()).unwrap();
    assert_eq!(found.len(), 4);
    for (fitted, one) in found.iter().zip(several()) {
        assert!(fitted.is_whole && fitted.history.steps.len() == 9);
        assert_eq!(sae(fitted).parts().about.more["fit"]["seed"], json!(one.seed));
        assert_eq!(told(fitted), alone(one));
    }
}

#[test]
fn a_sweep_that_is_resumed_ends_with_the_same_bytes_wherever_each_had_come_to() {
    let folder = tempfile::tempdir().unwrap();
    let files = Files::new(Access::new(folder.path(), &Rules::default()).unwrap(), false);
    let run = |dir: &str, left: u64| {
        let member = |(number, recipe): (usize, Recipe)| {
            let folder = std::path::Path::new(dir).join(number.to_string());
            (recipe, Some(CheckpointFolder { files: &files, folder, every: 1, fresh: false }))
        };
        let members = several().into_iter().enumerate().map(member).collect();
        FitRun::new(members, reader(left), None, &Task::default()).unwrap().run(&About::default(), &Task::default())
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
    all[2].lr = 1e25;
    all[2].clip = None;
    let run = |recipes: Vec<Recipe>| run(recipes, reader(u64::MAX), &Task::default());
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
    let rows = InterruptingRows { rows: OfTensor::new(&x(), 5).unwrap(), left: 4, flag };
    let found = run(several(), Box::new(rows), &task).unwrap();
    assert!(!task.is_interrupted());
    assert_eq!(found.iter().map(|fitted| fitted.history.steps.len()).collect::<Vec<_>>(), [3; 4]);
    assert!(found.iter().all(|fitted| !fitted.is_whole && fitted.failed.is_none()));
}

/// Rows during which Ctrl-C is pressed.
struct InterruptingRows {
    rows: OfTensor,
    left: u64,
    flag: Arc<std::sync::atomic::AtomicBool>,
}

impl ActivationRows for InterruptingRows {
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
    all[1].batch = 8;
    let error = run(all, reader(9), &Task::default()).err().unwrap();
    assert_eq!(error.message, "the fits of a sweep share one `batch` and one `scaled`");
    let error = run(Vec::new(), reader(9), &Task::default()).err().unwrap();
    assert_eq!(error.message, "expected at least one dictionary to fit, found none");
}
