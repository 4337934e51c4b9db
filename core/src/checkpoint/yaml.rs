//! YAML, in which files beside models are written.

use crate::common::*;

/// Reads a text.
pub fn parsed(text: &str) -> Result<Value> {
    serde_saphyr::from_str(text).map_err(|e| err!(File, "expected YAML, found: {}", e.without_snippet()))
}
