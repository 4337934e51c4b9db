//! Monitors of what a model reads or writes: features, probes or directions whose score at some position is above a
//! threshold.

mod calibrate;
mod judge;
mod run;
mod saved;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use calibrate::{AlarmRate, CalibrationOptions};
pub use judge::{LabelledTexts, MonitorFitOptions, MonitorJudgeOptions};
pub use run::{Alarm, Generation, MonitorRunOptions};

use crate::data::harvest::width;
use crate::probes::Probe;
use crate::sae::prelude::*;
use crate::sae::splice::heads_joined;

/// Sources of a score for each position.
#[derive(Debug, Clone)]
pub enum Sensor {
    /// The activation of a feature.
    Feature { sae: Sae, index: usize, site: String },
    /// The log odds of the second class of a probe.
    Probe { probe: Arc<Probe>, site: String },
    /// The projection onto a unit vector.
    Direction { vector: Vec<f32>, site: String },
}

impl Sensor {
    /// Makes a sensor of a vector, which is divided by its length.
    pub fn direction(vector: &Tensor, site: &str) -> Result<Self> {
        let numbers = floats(&vector.flatten_all()?)?;
        let length = numbers.iter().map(|x| x * x).sum::<f64>().sqrt();
        if !(length.is_finite() && length > 0.0) {
            return Err(err!(Numeric, "expected a vector of finite length above 0 at `{site}`, found {length}")
                .about("watched"));
        }
        Ok(Self::Direction { vector: numbers.iter().map(|x| (x / length) as f32).collect(), site: site.into() })
    }

    pub fn site(&self) -> &str {
        let (Self::Feature { site, .. } | Self::Probe { site, .. } | Self::Direction { site, .. }) = self;
        site
    }

    /// Returns the name of the sensor: `feature 12 of resid_post.3`, `probe of true at resid_post.3`.
    pub fn name(&self) -> String {
        match self {
            Self::Feature { index, site, .. } => format!("feature {index} of {site}"),
            Self::Probe { probe, site } => {
                let class = probe.classes.last().map(ToString::to_string).unwrap_or_default();
                format!("probe of {class} at {site}")
            }
            Self::Direction { site, .. } => format!("direction at {site}"),
        }
    }

    fn width(&self) -> usize {
        match self {
            Self::Feature { sae, .. } => sae.d_in(),
            Self::Probe { probe, .. } => probe.width,
            Self::Direction { vector, .. } => vector.len(),
        }
    }
}

/// Sensors, each with the threshold that its score must be above.
#[derive(Debug, Clone)]
pub struct Monitor {
    pub sensors: Vec<Sensor>,
    pub thresholds: Vec<f64>,
    /// The number of first positions of a text that raise no alarm and do not count in its score.
    pub without_first: usize,
    /// The source of the thresholds, if they were fitted.
    pub fitted: Option<FittedThresholds>,
}

/// The source of thresholds: texts that should raise no alarm, and how many of them may.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FittedThresholds {
    /// The highest share of these texts that may raise an alarm, or the highest probability of an alarm at a new one.
    pub false_positive_rate: f64,
    /// The number of texts without the label.
    pub texts: usize,
    /// The name of the model that read them.
    pub model: String,
    /// Whether the rate is that of new texts like these.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub on_new_texts: bool,
}

impl Monitor {
    /// Builds a monitor; a single threshold is that of all sensors.
    pub fn new(sensors: Vec<Sensor>, thresholds: &[f64]) -> Result<Self> {
        if sensors.is_empty() {
            return Err(err!(Argument, "expected something to watch, found nothing").about("watched"));
        }
        for sensor in &sensors {
            if let Sensor::Probe { probe, .. } = sensor
                && probe.outputs() > 1
            {
                let classes = probe.classes.len();
                return Err(err!(Argument, "expected a probe of two classes to watch, found one of {classes}")
                    .hint("fit one for the class to watch against all others")
                    .about("watched"));
            }
        }
        let thresholds = match thresholds {
            [one] => vec![*one; sensors.len()],
            all if all.len() == sensors.len() => all.to_vec(),
            all => {
                let wanted = sensors.len();
                let found = all.len();
                return Err(err!(Argument, "expected a threshold or one for each of {wanted}, found {found}")
                    .about("threshold"));
            }
        };
        Ok(Self { sensors, thresholds, without_first: 0, fitted: None })
    }

    /// Returns the site that each sensor reads in a model, which must be as wide there.
    fn places(&self, model: &Model) -> Result<Vec<Place>> {
        let config = model.decoder.config();
        let place = |sensor: &Sensor| {
            let place = one_site(config, sensor.site(), "a monitor watches one site with each feature or probe")?;
            let wanted = sensor.width();
            let found = width(config, place)?;
            if wanted != found {
                return Err(err!(
                    Shape,
                    "expected `{place}` to be {wanted} wide for the {}, found {found}",
                    sensor.name()
                ));
            }
            Ok(place)
        };
        self.sensors.iter().map(place).collect()
    }

    /// Returns the scores of the sensors at one site for its activations `[batch, pos, ..]`: for each of `which`, those
    /// of all positions of all texts in order.
    fn scores_at(&self, which: &[usize], x: &Tensor) -> Result<Vec<Vec<f64>>> {
        let Some(first) = which.first().and_then(|at| self.sensors.get(*at)) else { return Ok(Vec::new()) };
        let x = heads_joined(&x.to_dtype(DType::F32)?.to_device(&Device::Cpu)?, first.width())?;
        let rows = x.reshape(((), first.width()))?;
        // Features of one dictionary are encoded together.
        let mut encoded: Vec<(&Sae, Tensor)> = Vec::new();
        let mut found = Vec::with_capacity(which.len());
        for at in which {
            found.push(match &self.sensors[*at] {
                Sensor::Probe { probe, .. } => floats(&probe.scores(&rows)?)?,
                Sensor::Direction { vector, .. } => {
                    let vector = Tensor::from_vec(vector.clone(), (vector.len(), 1), &Device::Cpu)?;
                    floats(&rows.matmul(&vector)?.squeeze(1)?)?
                }
                Sensor::Feature { sae, index, .. } => {
                    let codes = match encoded.iter().find(|(known, _)| known.is(sae)) {
                        Some((_, codes)) => codes.clone(),
                        None => {
                            let codes = sae.encode(&rows.to_dtype(sae.parts().encoder.dtype())?)?;
                            encoded.push((sae, codes.clone()));
                            codes
                        }
                    };
                    floats(&codes.narrow(1, *index, 1)?.squeeze(1)?)?
                }
            });
        }
        Ok(found)
    }

    /// Groups the sensors by site.
    fn by_place(places: &[Place]) -> BTreeMap<Place, Vec<usize>> {
        let mut found: BTreeMap<Place, Vec<usize>> = BTreeMap::new();
        places.iter().enumerate().for_each(|(sensor, place)| found.entry(*place).or_default().push(sensor));
        found
    }

    /// Returns the multiplications for each token: the width for a probe or a direction, width times features for a dictionary, which
    /// encodes all of its features; and their number relative to one for each weight of the model, except those of its
    /// embeddings.
    pub fn cost(&self, model: &Model) -> Result<(usize, f64)> {
        let mut dictionaries: Vec<&Sae> = Vec::new();
        let mut own = 0;
        for sensor in &self.sensors {
            match sensor {
                Sensor::Probe { probe, .. } => own += probe.weights.nrows(),
                Sensor::Direction { vector, .. } => own += vector.len(),
                Sensor::Feature { sae, .. } if dictionaries.iter().any(|known| known.is(sae)) => {}
                Sensor::Feature { sae, .. } => {
                    dictionaries.push(sae);
                    own += sae.d_in() * sae.d_sae();
                }
            }
        }
        let config = model.decoder.config();
        let weights = config.parameters()?;
        let of_blocks = weights.iter().filter(|(name, shape)| shape.len() > 1 && !name.contains("embed"));
        let blocks: usize = of_blocks.map(|(_, shape)| shape.iter().product::<usize>()).sum();
        // The unembedding is a product whether its weights are its own or those of the embedding.
        let all = blocks + config.d_model * config.outputs();
        Ok((own, own as f64 / all as f64))
    }
}
