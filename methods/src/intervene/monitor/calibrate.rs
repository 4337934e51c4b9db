//! Thresholds of a monitor from honest texts alone, as it is deployed: none that should raise an alarm is needed, and the rate
//! of false alarms is what is promised.

use super::{FittedThresholds, Monitor};
use crate::base::bootstrap::wilson;
use crate::common::*;

crate::options! {
    pub struct CalibrationOptions {
        /// The highest probability with which a new text like these raises an alarm.
        false_positive_rate: f64 = 0.01 => above(0.0).at_most(1.0);
    }
}

/// The share of texts that raise an alarm.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AlarmRate {
    pub alarms: usize,
    pub texts: usize,
    /// The 95 % interval of the share (Wilson 1927).
    pub interval: [f64; 2],
}

impl Monitor {
    /// Returns the sensors with the lowest thresholds that keep to a rate of false alarms on new texts like the given ones.
    ///
    /// Each of n given texts and a new one, drawn alike, is as likely to have the k-th largest score, so that the new one is among
    /// the k largest with a probability of at most k / (n + 1): the threshold is the k-th largest score of the given texts
    /// for the largest k that keeps to the rate (Vovk et al. 2005). Several sensors have equal shares of it.
    pub fn calibrated(
        &self,
        model: &Model,
        texts: &[Vec<u32>],
        options: &CalibrationOptions,
        task: &Task,
    ) -> Result<Self> {
        let rate = options.false_positive_rate;
        let own = rate / self.sensors.len() as f64;
        let count = texts.len();
        let among = (own * (count + 1) as f64 + 1e-9).floor() as usize;
        if among == 0 {
            let wanted = (1.0 / own - 1e-9).ceil() - 1.0;
            return Err(err!(
                Argument,
                "expected at least {wanted} texts for a false-positive rate of {rate}, found {count}"
            )
            .hint(
                "that many are needed for one alarm among them to be so rare; state a higher rate, or give more texts",
            )
            .about("x"));
        }
        let threshold = |mut scores: Vec<f64>| {
            order::sort_descending(&mut scores, |score| *score);
            let below_all = scores.last().map_or(f64::NEG_INFINITY, |lowest| lowest.next_down());
            scores.get(among - 1).copied().unwrap_or(below_all)
        };
        let scores = self.largest(model, texts, task)?;
        let thresholds = scores.into_iter().map(threshold).collect();
        let model = model.name().to_string();
        let fitted = FittedThresholds { false_positive_rate: rate, texts: count, model, on_new_texts: true };
        Ok(Self { thresholds, fitted: Some(fitted), ..self.clone() })
    }

    /// Counts the texts that raise an alarm, none of which should.
    pub fn false_alarms(&self, model: &Model, texts: &[Vec<u32>], task: &Task) -> Result<AlarmRate> {
        let scores = self.largest(model, texts, task)?;
        let is_alarm =
            |text: &usize| scores.iter().zip(&self.thresholds).any(|(scores, threshold)| scores[*text] > *threshold);
        let alarms = (0..texts.len()).filter(is_alarm).count();
        Ok(AlarmRate { alarms, texts: texts.len(), interval: wilson(alarms, texts.len()) })
    }
}

impl AlarmRate {
    /// Returns the share.
    pub fn rate(&self) -> f64 {
        self.alarms as f64 / self.texts as f64
    }
}
