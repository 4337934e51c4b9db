//! Numbers in JSON, which has no NaN and no infinities: they are written as "NaN", "inf" and "-inf"; what is missing as
//! null.

use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::base::results::is_missing;
use crate::base::{Cell, Grid, Result};
use crate::err;

/// Returns any plain data as JSON.
pub fn json(value: &impl Serialize) -> Result<Value> {
    serde_json::to_value(value).map_err(|e| err!(Bug, "a result cannot be written as JSON: {e}"))
}

pub fn number(value: f64) -> Value {
    if is_missing(value) {
        return Value::Null;
    }
    serde_json::Number::from_f64(value).map_or_else(|| super::number::digits(value, 1).into(), Value::Number)
}

pub fn numbers(values: &[f64]) -> Value {
    values.iter().map(|v| number(*v)).collect()
}

pub fn cell(cell: &Cell) -> Result<Value> {
    match cell {
        Cell::Float(value) => Ok(number(*value)),
        other => json(other),
    }
}

/// Writes lists of numbers, for `#[serde(serialize_with)]`.
pub fn serialize<S: Serializer>(values: &[f64], serializer: S) -> Result<S::Ok, S::Error> {
    numbers(values).serialize(serializer)
}

pub fn grid(grid: &Grid) -> Result<Value> {
    let mut data = json(grid)?;
    data["values"] = numbers(&grid.values);
    if !grid.intervals.is_empty() {
        data["intervals"] = grid.intervals.iter().map(|ends| numbers(ends)).collect();
    }
    Ok(data)
}

/// Writes grids, for `#[serde(serialize_with)]`.
pub fn serialize_grid<S: Serializer>(value: &Grid, serializer: S) -> Result<S::Ok, S::Error> {
    grid(value).map_err(serde::ser::Error::custom)?.serialize(serializer)
}

/// Writes JSON for people, too.
pub fn pretty(value: &Value) -> Result<String> {
    let text = serde_json::to_string_pretty(value).map_err(|e| err!(Bug, "a result cannot be written as JSON: {e}"))?;
    Ok(text + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::results::MISSING;

    #[test]
    fn what_json_lacks_is_spelled() {
        let values = numbers(&[1.5, f64::NAN, MISSING, f64::INFINITY, f64::NEG_INFINITY]);
        assert_eq!(values, serde_json::json!([1.5, "NaN", null, "inf", "-inf"]));
        assert_eq!(cell(&Cell::Missing).unwrap(), Value::Null);
    }
}
