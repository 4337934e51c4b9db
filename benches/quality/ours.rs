//! Rows of models, our fits to them, and the same evaluation for all dictionaries.

use std::cell::RefCell;
use std::path::Path;

use microtome::script::Session;
use microtome::script::engine::env::Env;
use rhai::Dynamic;

use super::BATCH;
use super::jobs::QualityJob;

pub const SENTENCES: &str = "Each is fitted on the same 200,000 rows with batches of 2,048 and seed 0 (where none is named), a warm-up of a fiftieth \
    of the steps and a fall over the last fifth, and judged here on 20,000 rows of held-out text: FVE, then the \
    cross-entropy with the reconstruction in the model's place, codes of a row, dead features, seconds of processor time of \
    the fit, that of libraries on one thread, which never waits. A library stands there with the best of its rates among \
    those whose L0 is within a quarter of the one that is wanted; where none is, all of them are there, each with another \
    penalty or rate. `outliers` are the rows of `resid_post.3` with three dimensions made ten times as large and moved by 30, where \
    the others have a standard deviation of about 1; no model reads these, so they have no cross-entropy. `crosscoder` are the rows of \
    `resid_post.1`, `.3` and `.5`, one behind the other, each with a mean square of 1; of the libraries none fits crosscoders, \
    and their top-k dictionaries of these rows stand beside ours. `transcoder` reads `mlp_in.3` and reconstructs `mlp_out.3`, in 199,920 rows; of \
    the libraries only sparsify fits transcoders. `wide` is `resid_post.3` of the model of `MICROTOME_WIDE`. `sparsify signum` \
    are its own steps, by sign and without a schedule. `authors` is the published code of a kind's authors, where no library has \
    the kind: the trainer of SoftSAE, and the model and loss of temporal feature analysis. `temporal` reads \
    `resid_post.3` of 512 whole texts of 256 tokens, 8 of them in a step, and is judged on 64 others: its L0 and dead features \
    are those of novel codes, and the seconds of ours have the model's passes in them.";

/// What dictionaries are fitted to.
pub struct FitSite {
    pub name: String,
    model: String,
    rows: RowSource,
    seed: u64,
}

/// Which activations are the rows.
enum RowSource {
    Site(&'static str),
    /// Those of a site, with some dimensions made large.
    Outliers(&'static str),
    /// Several sites one behind the other, each with a mean square of 1, for crosscoders.
    Several(&'static [&'static str]),
    /// A site that is read, and one that is reconstructed from it.
    Transcoder(&'static str, &'static str),
    /// A site in whole texts, for dictionaries that read the tokens before.
    Texts(&'static str),
}

/// What is fitted, and what is held out.
const TEXT: &str = r#"["train", "held"].map(|part| data::text("sample", #{ tokens: if part == "held" { 40_000 } else { 420_000 }, part: part, seed: 0 }))"#;
pub fn sites() -> Vec<FitSite> {
    let of = |name: &str, model: &str, rows| FitSite { name: name.into(), model: model.into(), rows, seed: 0 };
    let tiny = r#"model::load("tiny")"#;
    let folder = "tests/fixtures/stories260K";
    let stories = format!(r#"model::load("{folder}/stories260K.bin", #{{ tokenizer: "{folder}/tok512.bin" }})"#);
    let middle = "resid_post.3";
    let mut all: Vec<FitSite> = ["resid_post.1", middle, "resid_post.5", "mlp_hidden.3"]
        .map(|site| of(site, tiny, RowSource::Site(site)))
        .into();
    all.push(of("stories260K", &stories, RowSource::Site(middle)));
    all.push(of("outliers", tiny, RowSource::Outliers(middle)));
    all.push(FitSite { seed: 1, ..of("resid_post.3, seed 1", tiny, RowSource::Site(middle)) });
    all.push(of("resid_post.3, soft_topk", tiny, RowSource::Site(middle)));
    all.push(of("crosscoder", tiny, RowSource::Several(&["resid_post.1", "resid_post.3", "resid_post.5"])));
    all.push(of("transcoder", tiny, RowSource::Transcoder("mlp_in.3", "mlp_out.3")));
    all.push(of("temporal", tiny, RowSource::Texts(middle)));
    if let Ok(wide) = std::env::var("MICROTOME_WIDE") {
        all.push(of("wide", &format!("model::load({wide:?})"), RowSource::Site(middle)));
    }
    all
}

pub struct FitScores {
    pub fve: f64,
    /// Of the model with the reconstruction in its place; None where the rows are not a model's.
    pub ce: Option<f64>,
    pub l0: f64,
    /// As a share.
    pub dead: f64,
    pub seconds: f64,
    pub rate: String,
}

/// The rows of a site, in a session that holds the model.
pub struct Rows<'a> {
    session: RefCell<Session>,
    site: &'a FitSite,
    pub seed: u64,
    /// The file of the rows to fit: `train`, and for a transcoder `target`.
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
    fn with_outliers(x) {
        let d = x.shape[1];
        let large = [d / 7, d / 3, d / 2];
        let numbers = |inside, outside| tensor(range(0, d).map(|i| if large.contains(i) { inside } else { outside }));
        x * numbers.call(10.0, 1.0) + numbers.call(30.0, 0.0)
    }
    fn several(m, parts, sites) {
        let both = [[], []];
        for site in sites {
            let train = rows(m, parts[0], site, 200_000);
            let size = (train * train).mean().sqrt();
            both[0].push(train / size);
            both[1].push(rows(m, parts[1], site, 20_000) / size);
        }
        both.map(|all| tensor::cat(all, 1))
    }
    fn whole(m, ids, site, count) {
        let all = [];
        for at in range(0, count, 16) { all.push(m.cache(ids[at..at + 16], site)[site]); }
        tensor::cat(all, 0)
    }
"#;

/// As many tokens of the text as have the rows of the other sites, without first positions.
const TOKENS_OF_TRANSCODER: usize = 200_704;

/// Texts that are read whole, and the tokens of each, which are as many as the model reads.
const TEXTS: usize = 512;
const TOKENS_OF_TEXT: usize = 256;

impl<'a> Rows<'a> {
    pub fn of(site: &'a FitSite, folder: &Path) -> Self {
        let env = Env::in_memory(folder).unwrap();
        let path = folder.join(format!("{}.safetensors", site.name)).display().to_string();
        let rows = Self { session: RefCell::new(Session::new(env)), site, seed: site.seed, path };
        rows.run(ROWS);
        rows.run(&format!("let m = {}; let texts = {TEXT}; let parts = texts.map(|text| text.ids(m));", site.model));
        let both = |of: &dyn Fn(usize, usize) -> String| {
            rows.run(&format!("let train = {}; let held = {};", of(0, 200_000), of(1, 20_000)));
        };
        match site.rows {
            RowSource::Site(site) => both(&|part, count| format!("rows(m, parts[{part}], {site:?}, {count})")),
            RowSource::Outliers(site) => {
                both(&|part, count| format!("with_outliers(rows(m, parts[{part}], {site:?}, {count}))"));
            }
            RowSource::Several(sites) => {
                rows.run(&format!("let both = several(m, parts, {sites:?}); let train = both[0]; let held = both[1];"));
            }
            RowSource::Transcoder(reads, writes) => {
                rows.run(&format!(
                    "let some = data::text(\"sample\", #{{ tokens: {TOKENS_OF_TRANSCODER}, part: \"train\", seed: 0 }});
                     let store = data::harvest(m, [{reads:?}, {writes:?}], some, #{{ dir: {:?}, without_first: 1 }});
                     let train = store.activations({reads:?}, 0, store.rows);
                     tensor::save({:?}, #{{ train: train, target: store.activations({writes:?}, 0, store.rows) }});",
                    folder.join("store"),
                    rows.path
                ));
                return rows;
            }
            RowSource::Texts(site) => rows.run(&format!("let train = whole(m, parts[0], {site:?}, {TEXTS});")),
        }
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
    pub fn fitted(&self, job: &QualityJob) -> FitScores {
        let QualityJob { kind, codes, steps, features, .. } = job;
        let more = match (*kind, &self.site.rows) {
            ("matryoshka", _) => format!(", prefixes: [{}, {}, {features}]", features / 8, features / 2),
            ("crosscoder", RowSource::Several(sites)) => {
                let widths = format!("range(0, {}).map(|site| m.config.d_model)", sites.len());
                format!(", widths: {widths}")
            }
            _ => String::new(),
        };
        let (fit, of) = match self.site.rows {
            RowSource::Transcoder(reads, writes) => ("transcoder", format!("store, {reads:?}, {writes:?}")),
            RowSource::Texts(site) => ("temporal", format!("m, {site:?}, texts[0]")),
            _ => ("fit", "train".into()),
        };
        let options = match self.site.rows {
            RowSource::Texts(_) => {
                let batch = BATCH / TOKENS_OF_TEXT;
                format!("k: {codes}, batch: {batch}, rows: {TEXTS}, context: {TOKENS_OF_TEXT}")
            }
            _ => format!("kind: {kind:?}, {}: {codes}, batch: {BATCH}{more}", job.option()),
        };
        let begun = processor_time();
        self.run(&format!(
            "let s = sae::{fit}({of}, #{{ {options}, d_sae: {features}, steps: {steps}, seed: {} }});",
            self.seed
        ));
        let seconds = processor_time() - begun;
        FitScores { seconds, ..self.judged() }
    }

    /// A dictionary that a library has saved.
    pub fn judged_file(&self, folder: &str) -> FitScores {
        match self.site.rows {
            RowSource::Texts(site) => {
                self.run(&format!("let s = sae::load_temporal({folder:?}, #{{ site: {site:?} }});"));
            }
            _ => self.run(&format!("let s = sae::load({folder:?});")),
        }
        self.judged()
    }

    fn judged(&self) -> FitScores {
        let numbers = |code: &str| self.eval(code).into_typed_array::<f64>().unwrap();
        let (measure, place) = match self.site.rows {
            RowSource::Site(site) => ("s.measure(held)".into(), Some(format!("site: {site:?}, "))),
            RowSource::Outliers(_) | RowSource::Several(_) => ("s.measure(held)".into(), None),
            RowSource::Transcoder(reads, writes) => {
                let place = format!("site: {reads:?}, writes: {writes:?}, ");
                (format!("s.measure_on(m, texts[1], #{{ {place}without_first: 1 }})"), Some(place))
            }
            RowSource::Texts(_) => ("s.measure_on(m, texts[1])".into(), Some(String::new())),
        };
        let found = numbers(&format!(r#"let w = {measure}; [w["fve"], w["l0"], w["dead_share"]]"#));
        let effect = |place| format!("[s.effect(m, texts[1], #{{ {place}rows: 32 }}).to_map().rows[0][2]]");
        let ce = place.map(|place| numbers(&effect(place))[0]);
        FitScores { fve: found[0], ce, l0: found[1], dead: found[2], seconds: 0.0, rate: String::new() }
    }
}

/// Seconds of processor time of this process, all threads together.
fn processor_time() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a timespec of this frame, which the call fills.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}
