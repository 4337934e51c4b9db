//! Axes as mathematics: ranges that fit the data, round ticks, and the place of a value between the ends.

use serde::Serialize;

use super::number;

/// The range of one axis.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    pub low: f64,
    pub high: f64,
    pub log: bool,
    /// Whether the axis begins at its high end.
    pub reversed: bool,
}

/// A labelled place on an axis.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Tick {
    pub at: f64,
    pub label: String,
}

impl Tick {
    /// Builds a tick whose label is its number.
    pub fn numbered(at: f64) -> Self {
        let is_plain = at == 0.0 || (1e-4..1e6).contains(&at.abs());
        Self { at, label: if is_plain { number::digits(at, 6) } else { number::power(at, 5) } }
    }
}

impl Scale {
    /// Builds the range from `low` to `high`, widened where they are too close to tell apart in double precision.
    pub fn new(low: f64, high: f64, log: bool) -> Self {
        let smaller = low.min(high);
        let larger = low.max(high);
        let least = |end: f64| if log { end.max(f64::MIN_POSITIVE) } else { end };
        let low = least(smaller);
        let high = least(larger);
        let largest = low.abs().max(high.abs());
        let range = |low: f64, high: f64| Self { low, high, log, reversed: false };
        if high / 2.0 - low / 2.0 > largest * 1e-12 && largest > 1e-290 {
            return range(low, high);
        }
        if log {
            return range(low / 2.0, (high * 2.0).min(f64::MAX));
        }
        let reach = if largest > 1e-290 { largest * 0.1 } else { 1.0 };
        range((low - reach).max(f64::MIN), (high + reach).min(f64::MAX))
    }

    /// Builds the range that holds all of the values that this kind of axis can show, if there are any.
    pub fn around(values: impl Iterator<Item = f64>, log: bool) -> Option<Self> {
        let (low, high) = values
            .filter(|v| shows(*v, log))
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
        (low <= high).then(|| Self::new(low, high, log))
    }

    /// Adds a margin of `share` of the length at both ends, so that marks do not sit on the frame.
    pub fn padded(self, share: f64) -> Self {
        let rising = Self { reversed: false, ..self };
        let low = rising.value(-share);
        let high = rising.value(1.0 + share);
        if low.is_finite() && high.is_finite() && (!self.log || low > 0.0) { Self { low, high, ..self } } else { self }
    }

    /// Returns the place of `value`: 0 where the axis begins, 1 where it ends, beyond outside.
    pub fn share(&self, value: f64) -> f64 {
        let (low, high, value) = if self.log {
            (self.low.log10(), self.high.log10(), value.log10())
        } else {
            // Quarters, so that the distance of huge numbers is finite.
            (self.low / 4.0, self.high / 4.0, value / 4.0)
        };
        let share = (value - low) / (high - low);
        if self.reversed { 1.0 - share } else { share }
    }

    /// Returns the value that lies at `share`.
    pub fn value(&self, share: f64) -> f64 {
        let share = if self.reversed { 1.0 - share } else { share };
        if self.log {
            return 10_f64.powf(self.low.log10() * (1.0 - share) + self.high.log10() * share);
        }
        self.low * (1.0 - share) + self.high * share
    }

    pub fn shows(&self, value: f64) -> bool {
        shows(value, self.log)
    }

    pub fn contains(&self, value: f64) -> bool {
        self.low <= value && value <= self.high
    }

    /// Chooses about `wanted` round values with labels, at most twice as many, in rising order.
    pub fn ticks(&self, wanted: usize) -> Vec<Tick> {
        let wanted = wanted.clamp(1, 100);
        if !self.log {
            return self.linear_ticks(wanted);
        }
        let decades = self.high.log10() - self.low.log10();
        if decades < 0.7 {
            return self.linear_ticks(wanted);
        }
        let exponents = self.low.log10().floor() as i32..=self.high.log10().ceil() as i32;
        // Plain numbers only where all of them are short.
        let plain = self.low >= 0.9e-3 && self.high < 1e5;
        let every = (decades / wanted as f64).ceil().max(1.0) as i32;
        let steps: &[f64] = if decades <= 2.0 && wanted >= 4 { &[1.0, 2.0, 5.0] } else { &[1.0] };
        exponents
            .filter(|exponent| exponent.rem_euclid(every) == 0)
            .flat_map(|exponent| steps.iter().map(move |step| (*step, exponent)))
            .map(|(step, exponent)| (decimal(step, exponent), exponent))
            .filter(|(at, _)| self.contains(*at))
            .map(|(at, exponent)| Tick { at, label: log_label(at, exponent, plain) })
            .collect()
    }

    fn linear_ticks(&self, wanted: usize) -> Vec<Tick> {
        // The range itself may be wider than doubles are.
        let (step, exponent) = round_step((self.high / wanted as f64 - self.low / wanted as f64).min(f64::MAX));
        let unit = decimal(step, exponent);
        let first = (self.low / unit - 1e-9).ceil();
        let last = (self.high / unit + 1e-9).floor();
        let count = (last - first + 1.0).clamp(0.0, 200.0) as usize;
        // The multiple is exact and so is the power of ten, hence 0.3 and not 0.30000000000000004.
        let values: Vec<f64> = (0..count).map(|i| decimal((first + i as f64) * step, exponent)).collect();
        let largest = values.iter().fold(0.0, |most: f64, v| most.max(v.abs()));
        values.into_iter().map(|at| Tick { at, label: linear_label(at, exponent, largest) }).collect()
    }
}

/// Returns whether an axis of this kind can show the value.
pub fn shows(value: f64, log: bool) -> bool {
    value.is_finite() && (!log || value > 0.0)
}

/// Computes `multiple * 10^exponent`, exact where doubles can be.
fn decimal(multiple: f64, exponent: i32) -> f64 {
    match exponent {
        0.. => multiple * 10_f64.powi(exponent),
        -300..0 => multiple / 10_f64.powi(-exponent),
        _ => multiple * 10_f64.powi(exponent + 200) * 1e-200,
    }
}

/// Returns the nearest round step, 1, 2 or 5 times a power of ten.
fn round_step(raw: f64) -> (f64, i32) {
    let exponent = raw.log10().floor();
    let lead = raw / 10_f64.powf(exponent);
    let exponent = exponent as i32;
    match lead {
        lead if lead < 1.5 => (1.0, exponent),
        lead if lead < 3.5 => (2.0, exponent),
        lead if lead < 7.5 => (5.0, exponent),
        _ => (1.0, exponent + 1),
    }
}

fn linear_label(value: f64, exponent: i32, largest: f64) -> String {
    let lead = if largest > 0.0 { largest.log10().floor() as i32 } else { 0 };
    // Seven digits before the point or three zeros after it, unless the digits differ only far behind the first.
    if (-3..7).contains(&lead) || lead - exponent > 6 && (-3..16).contains(&lead) {
        return number::fixed(value, (-exponent).max(0) as usize);
    }
    let own = if value == 0.0 { 0 } else { value.abs().log10().floor() as i32 };
    number::power(value, (own - exponent).clamp(0, 16) as usize)
}

fn log_label(value: f64, exponent: i32, plain: bool) -> String {
    if plain { number::fixed(value, (-exponent).max(0) as usize) } else { number::power(value, 0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn labels(low: f64, high: f64, log: bool, wanted: usize) -> Vec<String> {
        Scale::new(low, high, log).ticks(wanted).into_iter().map(|t| t.label).collect()
    }

    #[test]
    fn ticks_are_round_and_labels_have_the_digits_they_need() {
        assert_eq!(labels(0.0, 1.0, false, 5), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(labels(-3.0, 17.0, false, 4), ["0", "5", "10", "15"]);
        assert_eq!(labels(0.0, 30_000.0, false, 3), ["0", "10,000", "20,000", "30,000"]);
        assert_eq!(labels(0.0, 3e7, false, 3), ["0", "10⁷", "2×10⁷", "3×10⁷"]);
        assert_eq!(labels(0.0, 2.5e-5, false, 3), ["0", "10⁻⁵", "2×10⁻⁵"]);
        assert_eq!(labels(1e9, 1e9 + 4.0, false, 2), ["1,000,000,000", "1,000,000,002", "1,000,000,004"]);
    }

    #[test]
    fn log_ticks_are_powers_of_ten_and_finer_on_short_axes() {
        assert_eq!(labels(0.001, 1000.0, true, 6), ["0.001", "0.01", "0.1", "1", "10", "100", "1000"]);
        assert_eq!(labels(1e-8, 1.0, true, 4), ["10⁻⁸", "10⁻⁶", "10⁻⁴", "10⁻²", "10⁰"]);
        assert_eq!(labels(1.0, 60.0, true, 6), ["1", "2", "5", "10", "20", "50"]);
        assert_eq!(labels(2.0, 5.0, true, 3), ["2", "3", "4", "5"]);
    }

    #[test]
    fn a_reversed_axis_begins_at_its_high_end() {
        for log in [false, true] {
            let scale = Scale { reversed: true, ..Scale::new(1.0, 100.0, log) };
            assert_eq!((scale.share(100.0), scale.share(1.0)), (0.0, 1.0));
            assert!((scale.value(scale.share(7.0)) - 7.0).abs() < 1e-12);
        }
    }

    #[test]
    fn ticks_that_are_given_are_written_with_the_digits_they_need() {
        let labels = [0.0, 0.5, 32.0, 12_345.0, 1e-6, 2.5e7].map(|at| Tick::numbered(at).label);
        assert_eq!(labels, ["0", "0.5", "32", "12,345", "10⁻⁶", "2.5×10⁷"]);
    }

    #[test]
    fn a_range_wider_than_doubles_are_has_a_tick() {
        let scale = Scale::new(0.0, 1.6918580559094028e308, false).padded(0.04);
        assert_eq!(scale.ticks(1), [Tick { at: 0.0, label: "0".into() }]);
        assert!(Scale::new(-1.7e308, 1.7e308, false).padded(0.04).ticks(1).iter().all(|tick| tick.at.is_finite()));
    }

    #[test]
    fn constants_get_room_and_nothing_gets_none() {
        let constant = Scale::around([7.0, 7.0].into_iter(), false).unwrap();
        assert_eq!((constant.low, constant.high, constant.share(7.0)), (6.3, 7.7, 0.5));
        let around_zero = Scale { low: -1.0, high: 1.0, log: false, reversed: false };
        assert_eq!(Scale::around([0.0].into_iter(), false).unwrap(), around_zero);
        assert_eq!(Scale::around([f64::NAN, f64::INFINITY].into_iter(), false), None);
        assert_eq!(Scale::around([-1.0, 0.0].into_iter(), true), None);
    }

    proptest! {
        #[test]
        fn any_range_has_ticks_inside_it_in_rising_order(
            a in any::<f64>().prop_filter("finite", |v| v.is_finite()),
            b in any::<f64>().prop_filter("finite", |v| v.is_finite()),
            log: bool,
            wanted in 1_usize..20,
        ) {
            let scale = Scale::new(a, b, log).padded(0.04);
            prop_assert!(scale.low < scale.high && scale.low.is_finite() && scale.high.is_finite());
            let ticks = scale.ticks(wanted);
            prop_assert!(ticks.len() <= 5 * wanted + 6, "{} ticks", ticks.len());
            prop_assert!(ticks.windows(2).all(|w| w[0].at < w[1].at));
            prop_assert!(ticks.iter().all(|t| (-0.01..=1.01).contains(&scale.share(t.at))));
        }
    }
}
