//! Probes as files: one safetensors file of our own, with everything that is no tensor in its metadata.

use faer::Mat;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::labels::ClassName;
use super::matrix::tensor;
use super::probe::{Probe, ProbeKind};
use crate::common::*;
use crate::options::chosen;
use crate::tensor::files::{NamedTensors, safetensors};
use crate::tensor::{DType, Device, Tensor, floats};

/// The name of the format in the file.
const FORMAT: &str = "microtome.probe.1";

/// The names in the metadata, for everything of a probe that is no tensor.
const FIELDS: [&str; 8] = ["format", "kind", "classes", "shares", "rows", "width", "features", "l2"];

impl Probe {
    /// Writes the probe into one file, atomically.
    pub fn save(&self, files: &Files, path: &Path) -> Result<PathBuf> {
        if path.extension().is_none_or(|ending| ending != "safetensors") {
            return Err(err!(Argument, "expected a path that ends in .safetensors, found `{}`", path.display()));
        }
        let biases = Tensor::from_vec(self.biases.clone(), self.biases.len(), &Device::Cpu)?;
        let tensors = [("weights", tensor(self.weights.as_ref(), DType::F64)?), ("biases", biases)];
        let values = [
            FORMAT.to_string(),
            self.kind.word().to_string(),
            written(&self.classes)?,
            written(&self.shares)?,
            self.rows.to_string(),
            self.width.to_string(),
            written(&self.features)?,
            written(&self.l2)?,
        ];
        let metadata = FIELDS.map(String::from).into_iter().zip(values).collect();
        let named = NamedTensors { tensors: tensors.map(|(name, tensor)| (name.into(), tensor)).into(), metadata };
        named.save(files, path)
    }

    /// Reads a probe that [`Probe::save`] wrote; any other content is refused.
    pub fn load(files: &Files, path: &Path) -> Result<Self> {
        files.map_as(path, |map| read(&map[..]).map_err(|e| e.within(path.display())))
    }
}

/// Parses the probe in the bytes of a file.
fn read(bytes: &[u8]) -> Result<Probe> {
    let reader = safetensors::SafetensorsFile::new(bytes)?;
    let metadata = reader.metadata();
    if metadata.get("format").map(String::as_str) != Some(FORMAT) {
        return Err(err!(Format, "expected a file of a probe").hint("`p.save(path)` writes one"));
    }
    if let Some(unknown) = metadata.keys().find(|key| !FIELDS.contains(&key.as_str())) {
        bail!(Format, "unknown field `{unknown}` in a probe");
    }
    let outputs = |classes: usize| if classes == 2 { 1 } else { classes };
    let classes: Vec<ClassName> = field(metadata, "classes")?;
    let features: Option<Vec<usize>> = field(metadata, "features")?;
    let width: usize = field(metadata, "width")?;
    let columns = features.as_ref().map_or(width, Vec::len);
    let numbers = |name: &str, shape: &[usize]| {
        let found = reader.tensor(name)?;
        if found.dims() != shape {
            bail!(Format, "expected `{name}` of shape {shape:?}, found {:?}", found.dims());
        }
        floats(&found)
    };
    let weights = numbers("weights", &[columns, outputs(classes.len())])?;
    let biases = numbers("biases", &[outputs(classes.len())])?;
    if let Some(other) = reader.names().find(|name| !["weights", "biases"].contains(name)) {
        bail!(Format, "unknown tensor `{other}` in a probe");
    }
    let record = ProbeRecord {
        kind: text(metadata, "kind")?.into(),
        shares: field(metadata, "shares")?,
        rows: field(metadata, "rows")?,
        l2: field(metadata, "l2")?,
        classes,
        features,
        width,
        weights,
        biases,
    };
    record.probe()
}

/// A probe as plain data, for files that hold more than one.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProbeRecord {
    kind: String,
    classes: Vec<ClassName>,
    shares: Vec<f64>,
    rows: usize,
    width: usize,
    features: Option<Vec<usize>>,
    l2: Option<f64>,
    /// The weights, one column that is read after the other.
    weights: Vec<f64>,
    biases: Vec<f64>,
}

impl ProbeRecord {
    pub fn of(probe: &Probe) -> Self {
        let weights = probe.weights.as_ref();
        let by_column = |i: usize| (0..weights.ncols()).map(move |a| weights[(i, a)]);
        Self {
            kind: probe.kind.word().into(),
            classes: probe.classes.clone(),
            shares: probe.shares.clone(),
            rows: probe.rows,
            width: probe.width,
            features: probe.features.clone(),
            l2: probe.l2,
            weights: (0..weights.nrows()).flat_map(by_column).collect(),
            biases: probe.biases.clone(),
        }
    }

    /// Makes the probe; fields that contradict each other are refused.
    pub fn probe(self) -> Result<Probe> {
        let Self { kind, classes, shares, rows, width, features, l2, weights, biases } = self;
        let kind: ProbeKind = chosen("kind", &kind)?;
        let columns = features.as_ref().map_or(width, Vec::len);
        let outputs = if classes.len() == 2 { 1 } else { classes.len() };
        let is_ordered = |features: &Vec<usize>| features.is_sorted_by(|a, b| a < b);
        let is_sound = classes.len() >= 2
            && classes.is_sorted_by(|a, b| a < b)
            && shares.len() == classes.len()
            && shares.iter().all(|share| share.is_finite())
            && features.as_ref().is_none_or(|all| is_ordered(all) && all.iter().all(|column| *column < width))
            && Some(weights.len()) == columns.checked_mul(outputs)
            && biases.len() == outputs;
        if !is_sound {
            bail!(Format, "the classes, the columns or the weights of this probe contradict each other");
        }
        for (name, numbers) in [("weights", &weights), ("biases", &biases)] {
            if !numbers.iter().all(|number| number.is_finite()) {
                bail!(Format, "expected finite numbers in `{name}`");
            }
        }
        let weights = Mat::from_fn(columns, outputs, |i, a| weights[i * outputs + a]);
        Ok(Probe { kind, classes, shares, rows, width, features, l2, weights, biases })
    }
}

fn written(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|e| err!(Bug, "a field of a probe became no JSON: {e}"))
}

fn text<'a>(metadata: &'a BTreeMap<String, String>, name: &str) -> Result<&'a str> {
    metadata.get(name).map(String::as_str).ok_or_else(|| err!(Format, "a probe without the field `{name}`"))
}

fn field<T: DeserializeOwned>(metadata: &BTreeMap<String, String>, name: &str) -> Result<T> {
    json::read(text(metadata, name)?.as_bytes(), |e| err!(Format, "the field `{name}` of a probe cannot be read: {e}"))
}
