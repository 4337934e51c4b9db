//! Rows of models, our fits to them, and the same evaluation for all dictionaries.

use std::cell::RefCell;
use std::path::Path;

use microtome::script::Session;
use microtome::script::engine::env::Env;
use rhai::Dynamic;

use super::jobs::Job;
use super::{BATCH, SEED};

pub const SENTENCES: &str = "Each is fitted on the same 200,000 rows with batches of 2,048 and seed 0, a warm-up of a fiftieth \
    of the steps and a fall over the last fifth, and judged here on 20,000 rows of held-out text: FVE, then the \
    cross-entropy with the reconstruction in the model's place, codes of a row, dead features, seconds of processor time of \
    the fit, that of libraries on one thread, which never waits. A library stands there with the best of its rates, and \
    where a penalty decides about the number of codes, with the best of those that left it within a quarter of what is \
    compared. `sparsify signum` are its own steps, by sign and \
    without a schedule.";

/// A site of a model, with the rows that dictionaries are fitted to.
pub struct Site {
    pub name: String,
    model: String,
    site: &'static str,
}

/// What is fitted, and what is held out.
const TEXT: &str = r#"["train", "held"].map(|part| data::text("sample", #{ tokens: if part == "held" { 40_000 } else { 420_000 }, part: part, seed: 0 }))"#;
pub fn sites() -> Vec<Site> {
    let of = |name: &str, model: &str, site| Site { name: name.into(), model: model.into(), site };
    let tiny = r#"model::load("tiny")"#;
    let folder = "tests/fixtures/stories260K";
    let stories = format!(r#"model::load("{folder}/stories260K.bin", #{{ tokenizer: "{folder}/tok512.bin" }})"#);
    let mut all: Vec<Site> =
        ["resid_post.1", "resid_post.3", "resid_post.5", "mlp_hidden.3"].map(|site| of(site, tiny, site)).into();
    all.push(of("stories260K", &stories, "resid_post.3"));
    if let Ok(wide) = std::env::var("MICROTOME_WIDE") {
        all.push(of("wide", &format!("model::load({wide:?})"), "resid_post.3"));
    }
    all
}

pub struct Judged {
    pub fve: f64,
    pub ce: f64,
    pub l0: f64,
    /// As a share.
    pub dead: f64,
    pub seconds: f64,
    pub rate: String,
}

/// The rows of a site, in a session that holds the model.
pub struct Rows {
    session: RefCell<Session>,
    site: &'static str,
    /// The file of the rows to fit.
    pub path: String,
}

/// Rows of a site without those of first positions.
const ROWS: &str = r#"
    fn rows(m, ids, site, count) {
        let all = []; let have = 0; let at = 0;
        while have < count {
            let x = m.cache(ids[at..at + 16], site)[site];
            all.push(x[[":", 1..x.shape[1]]].reshape([-1, x.shape[2]]));
            have += all[-1].shape[0]; at += 16;
        }
        tensor::cat(all, 0)[0..count]
    }
"#;

impl Rows {
    pub fn of(site: &Site, folder: &Path) -> Self {
        let env = Env::in_memory(&std::env::temp_dir().join("microtome-bench")).unwrap();
        let path = folder.join(format!("{}.safetensors", site.name)).display().to_string();
        let rows = Self { session: RefCell::new(Session::new(env)), site: site.site, path };
        rows.run(ROWS);
        rows.run(&format!("let m = {}; let texts = {TEXT}; let parts = texts.map(|text| text.ids(m));", site.model));
        let of = |part: usize, count: usize| format!("rows(m, parts[{part}], {:?}, {count})", site.site);
        rows.run(&format!("let train = {}; let held = {};", of(0, 200_000), of(1, 20_000)));
        rows.run(&format!("tensor::save({:?}, #{{ train: train }});", rows.path));
        rows
    }

    fn eval(&self, code: &str) -> Dynamic {
        self.session.borrow_mut().eval("bench", code).unwrap_or_else(|failure| panic!("{failure:?} in {code}"))
    }

    fn run(&self, code: &str) {
        drop(self.eval(code));
    }

    /// Ours, with only kind, codes, steps, batch and seed set.
    pub fn fitted(&self, job: &Job) -> Judged {
        let Job { kind, codes, steps, features, .. } = job;
        let more = if *kind == "matryoshka" {
            format!(", prefixes: [{}, {}, {features}]", features / 8, features / 2)
        } else {
            String::new()
        };
        let begun = processor_time();
        self.run(&format!(
            "let s = sae::fit(train, #{{ kind: {kind:?}, {}: {codes}, d_sae: {features}, steps: {steps}, batch: {BATCH}, seed: {SEED}{more} }});",
            job.option()
        ));
        let seconds = processor_time() - begun;
        Judged { seconds, ..self.judged() }
    }

    /// A dictionary that a library has saved.
    pub fn judged_file(&self, folder: &str) -> Judged {
        self.run(&format!("let s = sae::load({folder:?});"));
        self.judged()
    }

    fn judged(&self) -> Judged {
        let found = self.eval(&format!(
            "let w = s.measure(held); let e = s.effect(m, texts[1], #{{ site: {:?}, rows: 32 }}).to_map().rows[0]; \
             [w[\"fve\"], e[2], w[\"l0\"], w[\"dead_share\"]]",
            self.site
        ));
        let numbers: Vec<f64> = found.into_typed_array::<f64>().unwrap();
        Judged { fve: numbers[0], ce: numbers[1], l0: numbers[2], dead: numbers[3], seconds: 0.0, rate: String::new() }
    }
}

/// Seconds of processor time of this process, all threads together.
fn processor_time() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a timespec of this frame, which the call fills.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}
