//! A monitor at work: on texts, and while a model writes one.

use std::sync::Mutex;

use super::Monitor;
use crate::base::locked;
use crate::common::*;
use crate::intervene::each_text::each_text;
use crate::model::generate::SamplingSettings;
use crate::model::hooks::{At, BoundHook, Edit};
use crate::options::seed::SeedOptions;

crate::options! {
    pub struct MonitorRunOptions {
        /// Whether to stop at the first token with an alarm.
        stop: bool = true;
        /// Maximum number of new tokens.
        tokens: usize = 50;
        /// The sampling temperature, by which logits are divided; 0 takes the likeliest token.
        temperature: f64 = 0.0 => at_least(0.0);
        with seed: SeedOptions;
    }
}

/// A score above its threshold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Alarm {
    pub text: usize,
    pub position: usize,
    /// The number of the sensor.
    pub sensor: usize,
    pub score: f64,
}

/// A text that a model wrote under a monitor.
#[derive(Debug, Clone)]
pub struct Generation {
    /// The prompt and the new tokens; of a stopped text none after that with the alarm.
    pub ids: Vec<u32>,
    /// The number of tokens of the prompt.
    pub prompt: usize,
    pub alarms: Vec<Alarm>,
    pub stopped: bool,
}

impl Monitor {
    /// Returns the scores of each text: sensor by sensor, at each position.
    pub fn scores(&self, model: &Model, texts: &[Vec<u32>], task: &Task) -> Result<Vec<Vec<Vec<f64>>>> {
        let places = self.places(model)?;
        let context = model.decoder.config().context;
        if let Some(long) = texts.iter().position(|ids| ids.len() > context) {
            let length = texts[long].len();
            return Err(
                err!(Argument, "expected texts of at most {context} tokens, found {length} in text {long}").about("x")
            );
        }
        let by_place = Self::by_place(&places);
        let mut found = vec![vec![Vec::new(); self.sensors.len()]; texts.len()];
        let bar = task.begin("watching", Some(texts.len() as u64));
        let read: Vec<Place> = by_place.keys().copied().collect();
        each_text(&model.decoder, texts, &read, task, &mut |text, at| {
            for (which, x) in by_place.values().zip(at) {
                for (sensor, scores) in which.iter().zip(self.scores_at(which, x)?) {
                    found[text][*sensor] = scores;
                }
            }
            bar.advance(1);
            Ok(())
        })?;
        Ok(found)
    }

    /// Returns the largest score of each text, sensor by sensor: `[sensor][text]`. Refuses scores that are not numbers.
    pub fn largest(&self, model: &Model, texts: &[Vec<u32>], task: &Task) -> Result<Vec<Vec<f64>>> {
        let scores = self.scores(model, texts, task)?;
        let of = |sensor: usize| {
            let most = |(text, scores): (usize, &Vec<Vec<f64>>)| {
                let scores = scores[sensor].get(self.without_first..).unwrap_or_default();
                if scores.iter().any(|score| score.is_nan()) || scores.is_empty() {
                    let which = if self.without_first > 0 { " behind the first ones" } else { "" };
                    Err(err!(Numeric, "expected a score for each position{which} of text {text}, found none or NaN")
                        .about("x"))
                } else {
                    Ok(scores.iter().copied().fold(f64::NEG_INFINITY, f64::max))
                }
            };
            scores.iter().enumerate().map(most).collect::<Result<Vec<f64>>>()
        };
        (0..self.sensors.len()).map(of).collect()
    }

    /// Returns all alarms of texts, in the order in which they are read; with `stop` those of the first token of each
    /// text that has any.
    pub fn watch(&self, model: &Model, texts: &[Vec<u32>], stop: bool, task: &Task) -> Result<Vec<Alarm>> {
        let mut alarms = Vec::new();
        for (text, scores) in self.scores(model, texts, task)?.into_iter().enumerate() {
            let length = scores.first().map_or(0, Vec::len);
            for position in self.without_first..length {
                let before = alarms.len();
                for (sensor, (scores, threshold)) in scores.iter().zip(&self.thresholds).enumerate() {
                    if scores[position] > *threshold {
                        alarms.push(Alarm { text, position, sensor, score: scores[position] });
                    }
                }
                if stop && alarms.len() > before {
                    break;
                }
            }
        }
        Ok(alarms)
    }

    /// Continues a prompt, and monitors the prompt and each new token as it is read, which is before the next is
    /// chosen.
    pub fn generate(
        &self,
        model: &Model,
        prompt: &[u32],
        options: &MonitorRunOptions,
        seed: u64,
        task: &Task,
    ) -> Result<Generation> {
        let config = model.decoder.config();
        let by_place = Self::by_place(&self.places(model)?);
        let heard = Arc::new(Mutex::new(Vec::new()));
        let listen = |(place, which): (&Place, &Vec<usize>)| {
            let ear = MonitorHook { monitor: self, which: which.clone(), heard: heard.clone() };
            BoundHook::new(config, &place.to_string(), None, None, Box::new(ear))
        };
        let hooks = by_place.iter().map(listen).collect::<Result<Vec<_>>>()?;
        let choice = SamplingSettings {
            temperature: options.temperature,
            seed,
            stops: config.eos.clone(),
            ..SamplingSettings::greedy(options.tokens)
        };
        let has_alarm = || !locked(&heard).is_empty();
        let mut stopped = false;
        let mut said = |_: usize, _: u32| {
            stopped = options.stop && has_alarm();
            Ok(!stopped)
        };
        let batch = Batch::new(vec![prompt.to_vec()])?;
        let new = model.decoder.generate(&batch, &choice, hooks, &mut said, task)?;
        let mut alarms: Vec<Alarm> = std::mem::take(&mut *locked(&heard));
        alarms.sort_by_key(|alarm| (alarm.position, alarm.sensor));
        let mut ids: Vec<u32> = prompt.iter().chain(new.iter().flatten()).copied().collect();
        if stopped {
            // The token after the alarm was chosen in the same pass.
            ids.pop();
            let first = alarms.first().map(|alarm| alarm.position);
            alarms.retain(|alarm| Some(alarm.position) == first);
        }
        Ok(Generation { ids, prompt: prompt.len(), alarms, stopped })
    }
}

/// A hook that scores the activations of one text at one site, and changes nothing.
struct MonitorHook<'a> {
    monitor: &'a Monitor,
    which: Vec<usize>,
    heard: Arc<Mutex<Vec<Alarm>>>,
}

impl Edit for MonitorHook<'_> {
    fn edit(&mut self, at: &At, _: Place, _: Option<&[i64]>, x: &Tensor) -> Result<Option<Tensor>> {
        let found = self.monitor.scores_at(&self.which, x)?;
        let mut heard = locked(&self.heard);
        for (sensor, scores) in self.which.iter().zip(found) {
            for (position, score) in at.columns.clone().zip(scores) {
                let counts = position >= self.monitor.without_first;
                if counts && score > self.monitor.thresholds[*sensor] {
                    heard.push(Alarm { text: 0, position, sensor: *sensor, score });
                }
            }
        }
        Ok(None)
    }
}
