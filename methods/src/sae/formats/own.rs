//! Metadata of this program in a file of a third-party format: one key that other libraries ignore.

use serde_json::{Map, Value, json};

use crate::base::Result;
use crate::checkpoint::family::keys::Keys;
use crate::sae::{About, ReadSite, Span};
use crate::{bail, err};

/// The key in a config that is ours.
pub const KEY: &str = "microtome";

/// The content of the key.
#[derive(Debug, Clone, PartialEq)]
pub struct OwnMetadata {
    pub about: About,
    /// Tensors that the format wants and the dictionary does not have: they are written as zeros.
    pub absent: Vec<String>,
}

impl OwnMetadata {
    pub fn to_json(&self) -> Value {
        let About { kind, models: _, sites, writes, spans, prefixes, more: _ } = &self.about;
        let mut said = json!({
            "kind": kind, "model": self.about.model(), "sites": sites, "prefixes": prefixes,
            "more": self.about.metadata(), "absent": self.absent,
        });
        if let Some(writes) = writes {
            said["writes"] = writes.as_str().into();
        }
        if !spans.is_empty() {
            said["spans"] = spans.iter().map(|span| json!([span.width, span.scale])).collect();
        }
        said
    }

    pub fn from_json(value: &Value) -> Result<Self> {
        Self::read(value).map_err(|e| e.within(KEY))
    }

    fn read(value: &Value) -> Result<Self> {
        let mut keys = Keys::new(value)?;
        let Some(kind) = keys.word("kind")? else { bail!(Format, "expected the key `kind`, found none") };
        let model = keys.word("model")?;
        let about = About {
            kind: kind.into(),
            sites: keys.words("sites")?.unwrap_or_default().into_iter().map(ReadSite::from).collect(),
            writes: keys.word("writes")?.map(str::to_string),
            spans: spans(keys.value("spans"))?,
            prefixes: sizes(keys.value("prefixes"))?,
            ..About::default()
        };
        let about = about.with_metadata(model, more(keys.value("more"))?);
        let absent = keys.words("absent")?.unwrap_or_default().into_iter().map(str::to_string).collect();
        keys.finish_beside(&[], &[])?;
        Ok(Self { about, absent })
    }
}

fn sizes(value: Option<&Value>) -> Result<Vec<usize>> {
    let Some(value) = value else { return Ok(Vec::new()) };
    let size = |value: &Value| value.as_u64().and_then(|size| usize::try_from(size).ok());
    let sizes = value.as_array().and_then(|all| all.iter().map(size).collect::<Option<Vec<_>>>());
    sizes.ok_or_else(|| err!(Format, "expected a list of sizes as `prefixes`, found {value}"))
}

fn spans(value: Option<&Value>) -> Result<Vec<Span>> {
    let Some(value) = value else { return Ok(Vec::new()) };
    let span = |value: &Value| {
        let width = value.get(0)?.as_u64()?;
        let scale = value.get(1)?.as_f64()?;
        Some(Span { width: usize::try_from(width).ok()?, scale })
    };
    let spans = value.as_array().and_then(|all| all.iter().map(span).collect::<Option<Vec<_>>>());
    spans.ok_or_else(|| err!(Format, "expected a list of widths and scales as `spans`, found {value}"))
}

fn more(value: Option<&Value>) -> Result<Map<String, Value>> {
    match value {
        None => Ok(Map::new()),
        Some(Value::Object(fields)) => Ok(fields.clone()),
        Some(other) => bail!(Format, "expected a map as `more`, found {other}"),
    }
}
