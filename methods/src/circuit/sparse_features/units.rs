//! The units of a feature circuit, numbered: each feature and the error of each dictionary, once or at each position.

use super::placed::PlacedDictionary;

/// The numbers of all units: dictionary by dictionary, in each position by position, the error after the features.
#[derive(Debug, Clone, PartialEq)]
pub struct Units {
    /// The number of features of each dictionary.
    features: Vec<usize>,
    /// The number of positions; none where a unit is a feature at all positions.
    positions: Option<usize>,
}

/// A unit of a feature circuit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unit {
    pub level: usize,
    pub position: Option<usize>,
    /// The feature; none for the error.
    pub feature: Option<usize>,
}

impl Units {
    pub fn new(placed: &[PlacedDictionary], positions: Option<usize>) -> Self {
        Self { features: placed.iter().map(PlacedDictionary::features).collect(), positions }
    }

    pub fn levels(&self) -> usize {
        self.features.len()
    }

    pub fn positions(&self) -> Option<usize> {
        self.positions
    }

    /// Returns how many positions have units of their own; 1 where a unit is of all.
    pub fn rows(&self) -> usize {
        self.positions.unwrap_or(1)
    }

    /// Returns the number of features of a dictionary; 0 where there is no such one.
    pub fn features(&self, level: usize) -> usize {
        self.features.get(level).copied().unwrap_or(0)
    }

    fn of_level(&self, level: usize) -> usize {
        (self.features(level) + 1) * self.rows()
    }

    /// Returns the number of the first unit of a dictionary.
    pub fn start(&self, level: usize) -> usize {
        (0..level).map(|level| self.of_level(level)).sum()
    }

    pub fn count(&self) -> usize {
        self.start(self.features.len())
    }

    /// Returns the number of a unit; none where there is no such unit.
    pub fn number(&self, unit: Unit) -> Option<usize> {
        let features = *self.features.get(unit.level)?;
        let part = unit.feature.unwrap_or(features);
        let row = match (self.positions, unit.position) {
            (Some(positions), Some(position)) if position < positions => position,
            (None, None) => 0,
            _ => return None,
        };
        let is_part = unit.feature.is_none_or(|feature| feature < features);
        is_part.then(|| self.start(unit.level) + row * (features + 1) + part)
    }

    /// Returns the unit of a number.
    pub fn unit(&self, number: usize) -> Unit {
        let mut level = 0;
        let mut rest = number;
        while level + 1 < self.features.len() && rest >= self.of_level(level) {
            rest -= self.of_level(level);
            level += 1;
        }
        let wide = self.features(level) + 1;
        let row = rest / wide;
        let part = rest % wide;
        Unit { level, position: self.positions.map(|_| row), feature: (part + 1 < wide).then_some(part) }
    }

    /// Returns the numbers of the units of a dictionary.
    pub fn numbers(&self, level: usize) -> std::ops::Range<usize> {
        self.start(level)..self.start(level + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_that_of_its_unit() {
        for positions in [None, Some(3)] {
            let units = Units { features: vec![4, 1], positions };
            assert_eq!(units.count(), 7 * positions.unwrap_or(1));
            for number in 0..units.count() {
                assert_eq!(units.number(units.unit(number)), Some(number));
            }
            let beyond = Unit { level: 1, position: positions.map(|_| 0), feature: Some(1) };
            assert_eq!(units.number(beyond), None);
            assert_eq!(units.number(Unit { level: 2, position: None, feature: None }), None);
        }
        let units = Units { features: vec![4, 1], positions: Some(3) };
        assert_eq!(units.unit(5 + 4), Unit { level: 0, position: Some(1), feature: None });
        assert_eq!(units.number(Unit { level: 0, position: None, feature: Some(0) }), None);
    }
}
