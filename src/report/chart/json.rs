//! Lists of numbers in JSON, which has no NaN (written as null) and no infinities (written as "inf" and "-inf").

use serde::{Serializer, ser::SerializeSeq};

pub fn serialize<S: Serializer>(values: &[f64], serializer: S) -> Result<S::Ok, S::Error> {
    let mut list = serializer.serialize_seq(Some(values.len()))?;
    for value in values {
        match value {
            v if v.is_nan() => list.serialize_element(&())?,
            v if v.is_infinite() => list.serialize_element(if *v > 0.0 { "inf" } else { "-inf" })?,
            v => list.serialize_element(v)?,
        }
    }
    list.end()
}
