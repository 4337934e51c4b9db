//! What is checked of several families: gradients at sites, edits behind a cache, and refusals.

use std::ops::Range;

use kit::{far, largest};
use microtome::base::{Result, Task};
use microtome::checkpoint::load::LoadOptions;
use microtome::model::batch::Batch;
use microtome::model::decoder::{Decoder, Logits, Pass, Past};
use microtome::model::hooks::{At, BoundHook, Edit, Hooks};
use microtome::model::run::Ask;
use microtome::model::site::{Place, Site, select};
use microtome::tensor::{DType, Device, Tensor};

use super::files::{expected, files, fixture, floats, ids, load};
use crate::support;

pub fn decoder(family: &str, dtype: DType) -> Decoder {
    let options = LoadOptions { dtype: dtype.into(), ..LoadOptions::default() };
    load(&files(), &fixture(family), &options.onto(Device::Cpu))
}

/// The first of a family's texts.
pub fn text(family: &str) -> Vec<u32> {
    ids(&expected(family)["input_ids"]).remove(0)
}

pub fn place(model: &Decoder, name: &str) -> Place {
    select(model.config(), name).unwrap()[0]
}

/// Adds to one number of one site.
struct Nudge {
    site: Site,
    at: usize,
    by: f64,
}

impl Hooks for Nudge {
    fn wants(&self, site: Site) -> bool {
        site == self.site
    }

    fn on(&mut self, _at: &At, x: &Tensor) -> Result<Option<Tensor>> {
        let mut all: Vec<f64> = x.flatten_all()?.to_vec1()?;
        // A state is shown again with what was added to it carried on, and not with what was added.
        all[self.at] += self.by;
        Ok(Some(Tensor::from_vec(all, x.dims(), x.device())?))
    }

    fn last(&self) -> Option<Site> {
        None
    }
}

/// Checks that gradients at places are those of differences, where a number is moved by a little; the metric is the mean square
/// of the logits of some columns. Returns the gradients.
pub fn checked_gradients(
    model: &Decoder,
    text: &[u32],
    columns: Range<usize>,
    names: impl IntoIterator<Item = impl AsRef<str>>,
    by: f64,
) -> Vec<(Place, Vec<f64>)> {
    let family = &model.config().family;
    let batch = Batch::new(vec![text.to_vec()]).unwrap();
    let metric = |logits: &Tensor| Ok(logits.narrow(1, columns.start, columns.len())?.sqr()?.mean_all()?);
    let places: Vec<Place> = names.into_iter().map(|name| place(model, name.as_ref())).collect();
    let found = model.grads(&batch, Vec::new(), &places, Logits::All, &mut |x| metric(x), &Task::default()).unwrap();
    let gradient = |place: Place| (place, floats(&found.cache.at(place).unwrap()));
    let gradients: Vec<(Place, Vec<f64>)> = places.into_iter().map(gradient).collect();
    for (place, gradient) in &gradients {
        for at in [1, gradient.len() / 3, gradient.len() / 2] {
            let moved = |by: f64| {
                let mut hooks = Nudge { site: place.site, at, by };
                let pass = Pass { hooks: &mut hooks, past: None, logits: Logits::All, task: &Task::default() };
                let logits = model.forward(&batch, pass).unwrap().unwrap();
                metric(&logits).unwrap().to_scalar::<f64>().unwrap()
            };
            let slope = (moved(by) - moved(-by)) / (2.0 * by);
            let off = (gradient[at] - slope).abs() / slope.abs().max(1.0);
            assert!(off < 1e-6, "{family}: {place} at {at}: {} is not {slope}", gradient[at]);
        }
    }
    gradients
}

/// Multiplies by a number, and adds another.
#[derive(Clone, Copy)]
pub struct Line(pub f64, pub f64);

impl Edit for Line {
    fn edit(&mut self, _: &At, _: Place, _: Option<&[i64]>, x: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(x.affine(self.0, self.1)?))
    }
}

pub fn edit(model: &Decoder, site: &str, position: i64, line: Line) -> BoundHook<'static> {
    BoundHook::new(model.config(), site, None, Some(vec![position]), Box::new(line)).unwrap()
}

/// Checks that what comes behind edits of a site is what a cache gives that was edited there, at places and in the logits, of
/// which the first two columns do not change. Returns the change of the logits.
pub fn checked_edits(model: &Decoder, text: &[u32], site: &str, edits: &[(i64, Line)], names: &[&str]) -> Tensor {
    let family = &model.config().family;
    let task = Task::default();
    let bound = |part: &Range<usize>| -> Vec<BoundHook<'static>> {
        let here = edits.iter().filter(|(position, _)| part.contains(&(*position as usize)));
        here.map(|(position, line)| edit(model, site, *position, *line)).collect()
    };
    let places: Vec<Place> = names.iter().map(|name| place(model, name)).collect();
    let ask = |hooks| Ask { hooks, places: places.clone(), ..Ask::default() };
    let batch = |ids: &[u32]| Batch::new(vec![ids.to_vec()]).unwrap();
    let whole = model.run(&batch(text), ask(bound(&(0..text.len()))), &task).unwrap();
    let plain = model.run(&batch(text), ask(Vec::new()), &task).unwrap();
    let mut past = Past::new();
    for part in [0..3, 3..7, 7..8, 8..10] {
        let of_part = |x: &Tensor| x.narrow(1, part.start, part.len()).unwrap();
        let run = model.run_behind(&mut past, &batch(&text[part.clone()]), ask(bound(&part)), &task).unwrap();
        let off = far(&run.logits, of_part(&whole.logits));
        assert!(off < 1e-9, "{family}, {site}: logits at {part:?} are off by {off}");
        for place in &places {
            let off = far(run.cache.at(*place).unwrap(), of_part(&whole.cache.at(*place).unwrap()));
            assert!(off < 1e-9, "{family}, {site}: {place} at {part:?} is off by {off}");
        }
    }
    let change = (&whole.logits - &plain.logits).unwrap();
    assert!(largest(change.narrow(1, 0, 2).unwrap()) < 1e-12, "{family}, {site}");
    change
}

/// Checks that code on a model `m`, a text `x` and a `pair` is refused with these words, or gives a value.
pub fn check_refusals(
    family: &'static str,
    refused: &'static [(&'static str, &'static str)],
    allowed: &'static [&'static str],
) {
    support::on_large_stack(move || {
        let (_folder, mut session) = support::alone();
        let begun = format!(
            "let m = model::load({:?}); let x = [[17, 4, 201, 33]]; \
             let pair = #{{ clean: x[0], corrupt: [17, 4, 7, 33], right: 5, wrong: 6 }};",
            fixture(family)
        );
        for code in std::iter::once(begun.as_str()).chain(allowed.iter().copied()) {
            let _value = session.eval(family, code).unwrap_or_else(|e| panic!("{code}: {}", e.message));
        }
        for (code, wanted) in refused {
            let failure = session.eval(family, code).map(|_| ()).expect_err(code);
            assert!(failure.message.contains(wanted), "{code}: {}", failure.message);
        }
    });
}
