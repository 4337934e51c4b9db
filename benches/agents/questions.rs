//! Questions whose truth is known by construction: made by a generator with a seed, in a folder each, and graded.
//!
//! A generator is a script of the folder `generate`, run by the program. It builds what is asked about, checks its own truth
//! another way (by removing every part, by text that was held out, by a second computation), and ends with an error that
//! begins with `truth:` where that fails; then the next draw of the same seed is taken. It writes the question and its files
//! below `given`, and the truth beside that folder.

use std::path::{Path, PathBuf};
use std::process::Command;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde_json::{Map, Value, json};

use super::calls::Program;

/// The kinds of questions, each with a generator of its name.
pub const KINDS: [&str; 10] =
    ["head", "edge", "circuit", "layer", "subspace", "backdoor", "adapter", "site", "feature", "number"];

/// The largest number of draws of a seed.
const DRAWS: u64 = 40;

/// A part of an answer, with all values that it may have.
#[derive(Debug, Clone, PartialEq)]
pub enum Field {
    /// A head, written as `LAYER.HEAD`.
    Head { layers: u64, heads: u64 },
    /// One of these texts.
    Choice(Vec<String>),
    /// An integer of a range, ends included.
    Integer { from: i64, to: i64 },
    /// A number of a range, right within a distance.
    Number { from: f64, to: f64, within: f64 },
}

impl Field {
    fn read(schema: &Value) -> Option<Self> {
        Some(match schema["type"].as_str()? {
            "head" => Self::Head { layers: schema["layers"].as_u64()?, heads: schema["heads"].as_u64()? },
            "choice" => Self::Choice(
                schema["of"].as_array()?.iter().map(|one| one.as_str().map(String::from)).collect::<Option<_>>()?,
            ),
            "integer" => Self::Integer { from: schema["from"].as_i64()?, to: schema["to"].as_i64()? },
            "number" => Self::Number {
                from: schema["from"].as_f64()?,
                to: schema["to"].as_f64()?,
                within: schema["within"].as_f64()?,
            },
            _ => return None,
        })
    }

    /// Returns whether a value is the true one. Integers may be written as floats or as text, as language models do.
    pub fn is_right(&self, said: &Value, truth: &Value) -> bool {
        let number = |value: &Value| value.as_f64().or_else(|| value.as_str()?.trim().parse().ok());
        match self {
            Self::Head { .. } => said.as_str().map(|head| head.trim_start_matches("z.")) == truth.as_str(),
            Self::Choice(_) => said.as_str().is_some() && said == truth,
            Self::Integer { .. } => number(said).is_some() && number(said) == number(truth),
            Self::Number { within, .. } => {
                number(said).zip(number(truth)).is_some_and(|(said, truth)| (said - truth).abs() <= *within)
            }
        }
    }

    /// Computes the probability that a uniform draw is right.
    pub fn chance(&self, truth: &Value) -> f64 {
        match self {
            Self::Head { layers, heads } => 1.0 / (layers * heads) as f64,
            Self::Choice(of) => 1.0 / of.len() as f64,
            Self::Integer { from, to } => 1.0 / (to - from + 1) as f64,
            Self::Number { from, to, within } => {
                let truth = truth.as_f64().unwrap_or(f64::NAN);
                ((truth + within).min(*to) - (truth - within).max(*from)).max(0.0) / (to - from)
            }
        }
    }

    /// Draws one of all possible values.
    pub fn drawn(&self, random: &mut ChaCha8Rng) -> Value {
        match self {
            Self::Head { layers, heads } => {
                json!(format!("{}.{}", random.random_range(0..*layers), random.random_range(0..*heads)))
            }
            Self::Choice(of) => json!(of[random.random_range(0..of.len())]),
            Self::Integer { from, to } => json!(random.random_range(*from..=*to)),
            Self::Number { from, to, .. } => json!(random.random_range(*from..*to)),
        }
    }
}

/// What is known of a question without its truth.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The question in words.
    pub text: String,
    /// What the words say, for programs: the receiver of an edge, the label of a feature, a prompt.
    pub about: Value,
    /// What the answer must have, as the file of the question says it.
    pub schema: Value,
    pub fields: Vec<(String, Field)>,
}

/// A question in its folder.
#[derive(Debug, Clone)]
pub struct Question {
    pub kind: &'static str,
    pub seed: u64,
    pub asked: Asked,
    /// The folder of the question: what may be read is below `given`, the truth beside it.
    pub folder: PathBuf,
}

impl Question {
    /// Returns the folder that whoever answers may read.
    pub fn given(&self) -> PathBuf {
        self.folder.join("given")
    }

    /// Reads the truth. Only what grades calls this.
    fn truth(&self) -> Value {
        read(&self.folder.join("truth.json"))
    }

    /// Returns whether an answer is right in all of its parts.
    pub fn is_right(&self, said: &Value) -> bool {
        let truth = self.truth();
        self.asked.fields.iter().all(|(name, field)| field.is_right(&said[name], &truth[name]))
    }

    /// Computes the probability that uniform draws of all parts are right.
    pub fn chance(&self) -> f64 {
        let truth = self.truth();
        self.asked.fields.iter().map(|(name, field)| field.chance(&truth[name])).product()
    }

    /// Draws an answer.
    pub fn drawn(&self, random: &mut ChaCha8Rng) -> Value {
        let fields = self.asked.fields.iter();
        Value::Object(fields.map(|(name, field)| (name.clone(), field.drawn(random))).collect::<Map<_, _>>())
    }
}

/// Returns the kind of the one question of a seed.
pub fn kind_of(seed: u64) -> &'static str {
    KINDS[(seed as usize + KINDS.len() - 1) % KINDS.len()]
}

/// Makes the question of a kind and a seed, in an empty folder of its own below `place`. `words` are arguments of the
/// generator.
pub fn question(program: &Program, place: &Path, kind: &'static str, seed: u64, words: &[&str]) -> Question {
    let folder = place.join(format!("{kind}-{seed}"));
    let script =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/agents/generate").join(kind).with_extension("rhai");
    for draw in 0..DRAWS {
        if folder.exists() {
            std::fs::remove_dir_all(&folder).unwrap();
        }
        let output = Command::new(&program.path)
            .args(["--quiet", "--seed", &(seed * 100 + draw).to_string(), "--out"])
            .arg(&folder)
            .arg("run")
            .arg(&script)
            .args(words)
            .current_dir(place)
            .env("MICROTOME_CACHE", place.join("cache"))
            .output()
            .unwrap();
        if output.status.success() {
            let asked = asked(&read(&folder.join("given/question.json")));
            return Question { kind, seed, asked: asked.expect("a question with a schema"), folder };
        }
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("truth: "), "{kind}, seed {seed}: {said}");
    }
    panic!("{kind}, seed {seed}: none of {DRAWS} draws has a truth that holds");
}

fn asked(question: &Value) -> Option<Asked> {
    let schema = question["answer"].clone();
    let fields = schema.as_object()?.iter().map(|(name, schema)| Some((name.clone(), Field::read(schema)?)));
    Some(Asked {
        text: question["text"].as_str()?.into(),
        about: question["about"].clone(),
        fields: fields.collect::<Option<_>>()?,
        schema,
    })
}

fn read(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap()
}
