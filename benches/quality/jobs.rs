//! What is fitted, and the same as arguments of the libraries.

/// Libraries, and the code of the authors of kinds that none of them has.
pub const LIBRARIES: [&str; 5] = ["dictionary_learning", "sae_lens", "sparsify", "sparsify_signum", "authors"];
/// Learning rates of libraries, of which the best counts; that of long fits; with several penalties, one; and those of
/// sparsify's default optimiser, by sign, on the middle layer only.
const RATES: [&str; 3] = ["4e-3", "8e-3", "1.6e-2"];
const RATE_OF_LONG: [&str; 1] = ["4e-3"];
const RATE_OF_PENALTIES: [&str; 1] = ["4e-3"];
const RATES_OF_SIGNS: [&str; 2] = ["4e-3", "1.6e-2"];
/// Learning rates of temporal dictionaries, whose rows have a length of about the square root of the width.
const RATES_OF_TEMPORAL: [&str; 4] = ["2.5e-2", "5e-2", "1e-1", "2e-1"];
/// Learning rates of dictionaries with a learned number of codes: at those of the others the authors' falls to 1.
const RATES_OF_SOFT: [&str; 3] = ["2.5e-4", "1e-3", "4e-3"];
/// Penalties of libraries for a kind, around those that give about the same L0.
const PENALTIES: [(&str, &str, &[&str]); 5] = [
    ("relu", "dictionary_learning", &["0.12", "0.24"]),
    ("relu", "sae_lens", &["0.12", "0.24"]),
    ("gated", "dictionary_learning", &["0.12", "0.24"]),
    ("gated", "sae_lens", &["0.12", "0.24"]),
    ("p_anneal", "dictionary_learning", &["0.03", "0.05"]),
];
/// The relative deviation from the target L0 up to which results are compared.
const NEAR: f64 = 0.25;

/// The steps of a long fit.
const LONG: usize = 3200;

pub struct QualityJob {
    pub kind: &'static str,
    pub codes: usize,
    pub steps: usize,
    pub features: usize,
    /// Whether it is of the layer in the middle of the model.
    is_middle: bool,
}

/// Returns the learning rates of libraries at a site, or for a kind.
pub fn rates(name: &str) -> &'static [&'static str] {
    if name == "temporal" {
        &RATES_OF_TEMPORAL
    } else if name.ends_with("soft_topk") {
        &RATES_OF_SOFT
    } else {
        &RATES
    }
}

/// Few and many steps for top-k, and 400 for the other kinds on the middle layer; few steps where activations are wide.
pub fn jobs(site: &str) -> Vec<QualityJob> {
    let is_middle = site == "resid_post.3";
    let job = |kind, steps| QualityJob { kind, codes: 32, steps, features: 1536, is_middle };
    match site {
        "resid_post.3" => {}
        "mlp_hidden.3" => return vec![job("topk", 100)],
        "crosscoder" => {
            return [100, 400].map(|steps| job("topk", steps)).into_iter().chain([job("crosscoder", 400)]).collect();
        }
        "temporal" => return [100, 400].map(|steps| QualityJob { features: 384, ..job("temporal", steps) }).into(),
        "resid_post.3, seed 1" => return vec![job("topk", 400)],
        "resid_post.3, soft_topk" => return vec![job("soft_topk", 400)],
        _ => return vec![job("topk", 100), job("topk", 400)],
    }
    let mut all: Vec<QualityJob> = [100, 400, LONG].map(|steps| job("topk", steps)).into();
    all.extend(["batch_topk", "matryoshka", "jumprelu", "relu", "gated", "p_anneal"].map(|kind| job(kind, 400)));
    all
}

impl QualityJob {
    pub fn told(&self) -> String {
        format!("{} of {}, {} steps of `{}`", self.codes, self.features, self.steps, self.kind)
    }

    /// Whether a dictionary with this L0 may be compared.
    pub fn is_near(&self, l0: f64) -> bool {
        (l0 / self.codes as f64 - 1.0).abs() <= NEAR
    }

    /// The options of ours: only the number of codes.
    pub fn option(&self) -> &'static str {
        if self.kind.contains("top") || self.kind == "matryoshka" { "k" } else { "target" }
    }

    /// One job for each rate and penalty of a library.
    pub fn words(&self, library: &str) -> Vec<String> {
        let listed = PENALTIES.iter().find(|(kind, of, _)| *kind == self.kind && *of == library);
        let codes = listed
            .map_or_else(|| vec![self.codes.to_string()], |(.., all)| all.iter().map(|l1| l1.to_string()).collect());
        let rates: &[&str] = match (library, listed) {
            ("sparsify_signum", _) if self.is_middle && self.steps == 400 => &RATES_OF_SIGNS,
            ("sparsify_signum", _) => &[],
            (_, Some(_)) => &RATE_OF_PENALTIES,
            _ if self.steps == LONG => &RATE_OF_LONG,
            _ => rates(self.kind),
        };
        let word = |(rate, codes): (&&str, &String)| format!("{}:{codes}:{}:{library}:{rate}", self.kind, self.steps);
        rates.iter().flat_map(|rate| codes.iter().map(move |codes| (rate, codes))).map(word).collect()
    }
}
