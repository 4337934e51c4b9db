//! Monitors as files: JSON with the weights of each probe or direction, its site and its threshold, and on which texts the
//! thresholds were fitted at what false-positive rate.

use serde::{Deserialize, Serialize};

use super::{FittedThresholds, Monitor, Sensor};
use crate::base::json;
use crate::common::*;
use crate::probes::ProbeRecord;

/// The name of the format in the file.
const FORMAT: &str = "microtome.monitor.1";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedMonitor {
    format: String,
    fitted: Option<FittedThresholds>,
    #[serde(default, skip_serializing_if = "is_zero")]
    without_first: usize,
    watched: Vec<SavedSensor>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedSensor {
    site: String,
    threshold: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    probe: Option<ProbeRecord>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    direction: Option<Vec<f32>>,
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

impl Monitor {
    /// Writes the monitor into one file, atomically. Features are refused, since a file of numbers is no dictionary.
    pub fn save(&self, files: &Files, path: &Path) -> Result<PathBuf> {
        if path.extension().is_none_or(|ending| ending != "json") {
            return Err(err!(Argument, "expected a path that ends in .json, found `{}`", path.display()));
        }
        let watched = self.sensors.iter().zip(&self.thresholds).map(|(sensor, threshold)| saved(sensor, *threshold));
        let watched = watched.collect::<Result<_>>()?;
        let monitor = SavedMonitor {
            format: FORMAT.into(),
            fitted: self.fitted.clone(),
            without_first: self.without_first,
            watched,
        };
        let text =
            serde_json::to_string_pretty(&monitor).map_err(|e| err!(Bug, "a monitor that cannot be written: {e}"))?;
        files.save_whole(path, text + "\n")
    }

    /// Reads a monitor that [`Monitor::save`] wrote; any other content is refused.
    pub fn load(files: &Files, path: &Path) -> Result<Self> {
        read(&files.bytes(path)?).map_err(|e| e.within(path.display()))
    }
}

fn saved(sensor: &Sensor, threshold: f64) -> Result<SavedSensor> {
    if !threshold.is_finite() {
        return Err(err!(Numeric, "expected a finite threshold for the {}, found {threshold}", sensor.name()));
    }
    let site = sensor.site().to_string();
    match sensor {
        Sensor::Probe { probe, .. } => {
            Ok(SavedSensor { site, threshold, probe: Some(ProbeRecord::of(probe)), direction: None })
        }
        Sensor::Direction { vector, .. } => {
            Ok(SavedSensor { site, threshold, probe: None, direction: Some(vector.clone()) })
        }
        Sensor::Feature { .. } => Err(err!(
            Argument,
            "expected probes and directions in a monitor that is saved, found the {}",
            sensor.name()
        )
        .hint("save the dictionary with s.save(folder), and `mon.thresholds` beside it")),
    }
}

/// Parses the monitor in the bytes of a file.
fn read(bytes: &[u8]) -> Result<Monitor> {
    let SavedMonitor { format, fitted, without_first, watched } =
        json::read(bytes, |e| err!(Format, "expected a file of a monitor, found other content: {e}"))?;
    if format != FORMAT {
        return Err(err!(Format, "expected a file of a monitor, `{FORMAT}`, found `{format}`")
            .hint("`mon.save(path)` writes one"));
    }
    let mut sensors = Vec::with_capacity(watched.len());
    let mut thresholds = Vec::with_capacity(watched.len());
    for SavedSensor { site, threshold, probe, direction } in watched {
        sensors.push(match (probe, direction) {
            (Some(probe), None) => Sensor::Probe { probe: Arc::new(probe.probe()?), site },
            (None, Some(vector)) => {
                let width = vector.len();
                Sensor::direction(&Tensor::from_vec(vector, width, &Device::Cpu)?, &site)?
            }
            _ => bail!(Format, "expected a probe or a direction at `{site}`, found both or neither"),
        });
        thresholds.push(threshold);
    }
    Ok(Monitor { fitted, without_first, ..Monitor::new(sensors, &thresholds)? })
}
