//! The map of options at the end of a call: taken key by key, and what nobody asked for is an error.

use rhai::{Dynamic, Map};

use crate::base::{Result, names};
use crate::err;
use crate::options::OptionGroup;
use crate::script::engine::value::{GivenValue, given, plain};

/// The options of one call while they are read. Every key that is asked for counts as known; [`OptionReader::finish`]
/// refuses the others, so it stands before the work begins.
pub struct OptionReader {
    map: Map,
    known: Vec<&'static str>,
    /// Options that would be taken if another one said so, and whose they are.
    of_others: Vec<(&'static str, String)>,
}

/// Begins to read the options of a call.
pub fn options(map: Map) -> OptionReader {
    OptionReader { map, known: Vec::new(), of_others: Vec::new() }
}

/// Reads all options of a call, where they are one declaration.
pub fn taken<T: OptionGroup>(map: Map) -> Result<T> {
    let mut read = options(map);
    let taken = read.declared()?;
    read.finish()?;
    Ok(taken)
}

/// Reads all options of a call, where they are two declarations.
pub fn taken_both<A: OptionGroup, B: OptionGroup>(map: Map) -> Result<(A, B)> {
    let mut read = options(map);
    let both = (read.declared()?, read.declared()?);
    read.finish()?;
    Ok(both)
}

/// Reads all options of a call, where they are three declarations.
pub fn taken_three<A: OptionGroup, B: OptionGroup, C: OptionGroup>(map: Map) -> Result<(A, B, C)> {
    let mut read = options(map);
    let all = (read.declared()?, read.declared()?, read.declared()?);
    read.finish()?;
    Ok(all)
}

impl OptionReader {
    /// Returns the raw value of an option, if it was given.
    pub fn value(&mut self, key: &'static str) -> Option<Dynamic> {
        self.known.push(key);
        self.map.get(key).cloned()
    }

    /// Reads an option through any of the conversions of [`GivenValue`].
    pub fn get<T>(&mut self, key: &'static str, convert: impl Fn(&GivenValue) -> Result<T>) -> Result<Option<T>> {
        self.value(key).map(|value| convert(&given(key, &value)).map_err(|error| error.about(key))).transpose()
    }

    /// Reads a group of options that the core declares.
    pub fn declared<T: OptionGroup>(&mut self) -> Result<T> {
        T::given(|name| self.value(name).map(|value| plain(&value)))
    }

    /// Notes an option that this call does not take, and with what it would: "kind jumprelu".
    pub fn of_other(&mut self, key: &'static str, whose: String) {
        self.of_others.push((key, whose));
    }

    /// Reads a seed of the call's own, if one is stated.
    pub fn seed(&mut self) -> Result<Option<u64>> {
        Ok(self.get("seed", GivenValue::integer)?.map(|seed| seed as u64))
    }

    /// Refuses every key that was not asked for, and names the nearest that is known.
    pub fn finish(self) -> Result<()> {
        let Some(unknown) = self.map.keys().find(|key| !self.known.contains(&key.as_str())) else { return Ok(()) };
        let whose: Vec<&str> =
            self.of_others.iter().filter(|(key, _)| key == unknown).map(|(_, whose)| whose.as_str()).collect();
        let hint = if whose.is_empty() {
            let others = self.of_others.iter().map(|(key, _)| *key);
            names::suggestion(unknown, self.known.iter().copied().chain(others))
        } else {
            Some(format!("it is an option of {}", whose.join(", ")))
        };
        Err(err!(Name, "unknown option `{unknown}`").maybe_hint(hint).about(unknown.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_take_both_numbers_and_refuse_strangers() {
        let map: Map = [("lr".into(), Dynamic::from(1_i64)), ("stesp".into(), Dynamic::from(5_i64))].into();
        let mut read = options(map);
        assert_eq!(read.get("lr", GivenValue::number), Ok(Some(1.0)));
        assert_eq!(read.get("steps", GivenValue::size), Ok(None));
        let error = read.finish().unwrap_err();
        assert_eq!(error.message, "unknown option `stesp`");
        assert_eq!(error.hint.as_deref(), Some("did you mean `steps`?"));
    }
}
