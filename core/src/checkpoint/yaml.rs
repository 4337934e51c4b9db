//! YAML, in which files beside models are written.

use serde_json::Value;

use crate::base::Result;
use crate::err;

/// Reads a text.
pub fn parsed(text: &str) -> Result<Value> {
    serde_saphyr::from_str(text).map_err(|e| err!(File, "expected YAML, found: {}", e.without_snippet()))
}
