//! State spaces: gradients at sites of the recurrence, caches, and edits of states.

use kit::far;
use microtome::base::{Result, Task};
use microtome::checkpoint::load::LoadOptions;
use microtome::model::batch::Batch;
use microtome::model::decoder::{Decoder, Logits, Pass, Past};
use microtome::model::hooks::{At, BoundHook, Edit, Hooks};
use microtome::model::run::Ask;
use microtome::model::site::{Place, Site, select};
use microtome::tensor::{DType, Device, Tensor};

use super::files::{expected, files, fixture, ids};
use crate::support;

pub const STATE_SPACES: [&str; 3] = ["falcon_mamba", "mamba", "mamba2"];

pub fn decoder(family: &str, dtype: DType) -> Decoder {
    let options = LoadOptions { dtype: dtype.into(), ..LoadOptions::default() };
    super::load(&files(), &fixture(family), &options.onto(Device::Cpu))
}

/// Adds to one number of one site.
pub struct Nudge {
    pub site: Site,
    pub at: usize,
    pub by: f64,
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

#[test]
fn gradients_at_sites_are_those_of_differences() {
    for family in STATE_SPACES {
        let model = decoder(family, DType::F64);
        let batch = Batch::new(vec![ids(&expected(family)["input_ids"])[0][..7].to_vec()]).unwrap();
        let metric = |logits: &Tensor| Ok(logits.narrow(1, 3, 4)?.sqr()?.mean_all()?);
        let names = ["ssm_x.0", "ssm_b.1", "ssm_c.0", "ssm_dt.1", "ssm_state.0", "ssm_state.1", "ssm_gate.2", "embed"];
        let places: Vec<Place> = names.iter().map(|name| select(model.config(), name).unwrap()[0]).collect();
        let found =
            model.grads(&batch, Vec::new(), &places, Logits::All, &mut |x| metric(x), &Task::default()).unwrap();
        for place in places {
            let gradient: Vec<f64> = found.cache.at(place).unwrap().flatten_all().unwrap().to_vec1().unwrap();
            for at in [1, gradient.len() / 3, gradient.len() / 2] {
                let moved = |by: f64| {
                    let mut hooks = Nudge { site: place.site, at, by };
                    let pass = Pass { hooks: &mut hooks, past: None, logits: Logits::All, task: &Task::default() };
                    let logits = model.forward(&batch, pass).unwrap().unwrap();
                    metric(&logits).unwrap().to_scalar::<f64>().unwrap()
                };
                let slope = (moved(1e-5) - moved(-1e-5)) / 2e-5;
                let off = (gradient[at] - slope).abs() / slope.abs().max(1.0);
                assert!(off < 1e-6, "{family}: {place} at {at}: {} is not {slope}", gradient[at]);
            }
        }
    }
}

/// Multiplies by a number, and adds another.
pub struct Line(pub f64, pub f64);

impl Edit for Line {
    fn edit(&mut self, _: &At, _: Place, _: Option<&[i64]>, x: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(x.affine(self.0, self.1)?))
    }
}

fn edit(model: &Decoder, position: i64, line: Line) -> BoundHook<'static> {
    BoundHook::new(model.config(), "ssm_state.*", None, Some(vec![position]), Box::new(line)).unwrap()
}

/// What comes behind an edit is what a cache gives that was edited there, and a later edit finds the states that it
/// left.
#[test]
fn edits_of_states_are_carried_on_as_by_a_cache() {
    for family in STATE_SPACES {
        let model = decoder(family, DType::F64);
        let text = ids(&expected(family)["input_ids"])[0][..10].to_vec();
        let task = Task::default();
        let edits = || {
            vec![edit(&model, 7, Line(0.5, -0.2)), edit(&model, 2, Line(0.0, 0.0)), edit(&model, 8, Line(-1.0, 0.1))]
        };
        let places =
            vec![select(model.config(), "ssm_state.1").unwrap()[0], select(model.config(), "ssm_read.2").unwrap()[0]];
        let ask = |hooks| Ask { hooks, places: places.clone(), ..Ask::default() };
        let whole = model.run(&Batch::new(vec![text.clone()]).unwrap(), ask(edits()), &task).unwrap();
        let plain = model.run(&Batch::new(vec![text.clone()]).unwrap(), ask(Vec::new()), &task).unwrap();
        assert!(far(whole.logits.narrow(1, 9, 1).unwrap(), plain.logits.narrow(1, 9, 1).unwrap()) > 1e-3, "{family}");
        assert!(far(whole.logits.narrow(1, 0, 2).unwrap(), plain.logits.narrow(1, 0, 2).unwrap()) < 1e-12, "{family}");
        let mut past = Past::new();
        for part in [0..3, 3..7, 7..8, 8..10] {
            let batch = Batch::new(vec![text[part.clone()].to_vec()]).unwrap();
            let here = edits().into_iter().zip([7, 2, 8]).filter(|(_, at)| part.contains(at)).map(|(edit, _)| edit);
            let run = model.run_behind(&mut past, &batch, ask(here.collect()), &task).unwrap();
            let off = far(&run.logits, whole.logits.narrow(1, part.start, part.len()).unwrap());
            assert!(off < 1e-9, "{family}: logits at {part:?} are off by {off}");
            for place in &places {
                let wanted = whole.cache.at(*place).unwrap().narrow(1, part.start, part.len()).unwrap();
                let off = far(run.cache.at(*place).unwrap(), wanted);
                assert!(off < 1e-9, "{family}: {place} at {part:?} is off by {off}");
            }
        }
    }
}

/// Behind a state of zeros, the first layer reads what it reads of the tokens from there on, with those that the
/// convolution sees.
#[test]
fn nothing_is_remembered_through_a_state_of_zeros() {
    for family in STATE_SPACES {
        let model = decoder(family, DType::F64);
        let text = ids(&expected(family)["input_ids"])[0].clone();
        let seen = model.config().ssm.as_ref().unwrap().kernel - 1;
        let place = select(model.config(), "ssm_read.0").unwrap()[0];
        let read = |from: usize| {
            let batch = Batch::new(vec![text[from..].to_vec()]).unwrap();
            let hooks = vec![edit(&model, (9 - from) as i64, Line(0.0, 0.0))];
            let ask = Ask { hooks, places: vec![place], ..Ask::default() };
            let found = model.cache(&batch, ask, &Task::default()).unwrap().at(place).unwrap();
            found.narrow(1, 10 - from, text.len() - 10).unwrap()
        };
        assert!(far(read(0), read(10 - seen)) < 1e-12, "{family}");
    }
}

#[test]
fn a_cache_of_texts_of_different_lengths_has_the_states_of_each() {
    for family in STATE_SPACES {
        let model = decoder(family, DType::F64);
        let long = ids(&expected(family)["input_ids"]).remove(0);
        let short = long[3..8].to_vec();
        let after = |rows: Vec<Vec<u32>>| {
            let mut past = Past::new();
            let task = Task::default();
            let more = vec![vec![5, 9, 11]; rows.len()];
            model.run_behind(&mut past, &Batch::new(rows).unwrap(), Ask::default(), &task).unwrap();
            model.run_behind(&mut past, &Batch::new(more).unwrap(), Ask::default(), &task).unwrap().logits
        };
        let both = after(vec![long.clone(), short.clone()]);
        assert!(far(after(vec![long]), both.narrow(0, 0, 1).unwrap()) < 1e-9, "{family}");
        assert!(far(after(vec![short]), both.narrow(0, 1, 1).unwrap()) < 1e-9, "{family}");
    }
}

#[test]
fn what_needs_attention_or_an_mlp_says_so() {
    support::on_large_stack(|| {
        let folder = tempfile::tempdir().unwrap();
        let mut session = support::session(folder.path());
        let begun = format!("let m = model::load({:?}); let x = [[17, 4, 201, 33]];", fixture("mamba2"));
        let _nothing = session.eval("states", &begun).unwrap_or_else(|e| panic!("{}", e.message));
        for (code, wanted) in [
            ("m.cache(x, \"pattern.0\")", "mamba2 models of this kind have no site `pattern`"),
            ("m.cache(x, \"mlp_out.0\")", "mamba2 models of this kind have no site `mlp_out`"),
            ("m.qk(0, 0)", "expected attention, found a layer with a state space, which has no heads of attention"),
            ("m.ov(0, 0)", "expected attention, found a layer with a state space, which has no heads of attention"),
            (
                "circuit::edges(m, [#{ clean: x[0], corrupt: [17, 4, 7, 33], right: 5, wrong: 6 }])",
                "this model has state spaces in place of attention",
            ),
        ] {
            let failure = session.eval("states", code).unwrap_err();
            assert!(failure.message.contains(wanted), "{code}: {}", failure.message);
        }
        // By heads, such a layer is shown as a whole.
        let shown = session.eval("states", "m.attribution(x[0], 5, #{ by: \"head\" })");
        println!("{:?}", shown.map(|_| ()).map_err(|e| e.message));
    });
}
