//! Attention of a head: as coloured text, and as a heat map.

use super::column;
use crate::bail;
use crate::base::{Grid, HeatText, Result};
use crate::model::cache::Cache;
use crate::model::site::{Place, SiteKind};
use crate::tensor::{Tensor, floats};

crate::options! {
    /// Options of the position from which attention is shown.
    #[derive(Debug, Clone, Copy)]
    pub struct AttentionOptions {
        /// The query position; negative ones count from the end.
        from: i64 = -1;
    }
}

/// Returns the tokens of a text, each coloured by how strongly the head attends to it from one position.
pub fn text(cache: &Cache, place: Place, row: usize, query: i64, tokens: &[String]) -> Result<HeatText> {
    let column = column(cache, row, query)?;
    let values = floats(&pattern(cache, place, row, tokens)?.get(column)?)?;
    let position = if query < 0 { query + tokens.len() as i64 } else { query };
    Ok(HeatText {
        title: format!("{place} from position {position}"),
        tokens: tokens.to_vec(),
        values,
        quantity: "attention".into(),
    })
}

/// Returns all of the pattern that was recorded: a row for each query, a column for each key.
pub fn grid(cache: &Cache, place: Place, row: usize, tokens: &[String]) -> Result<Grid> {
    let pattern = pattern(cache, place, row, tokens)?;
    let label = |position: i64| {
        let position = if position < 0 { position + tokens.len() as i64 } else { position };
        let token = usize::try_from(position).ok().and_then(|position| tokens.get(position));
        format!("{position} {}", token.map_or("", String::as_str))
    };
    let all: Vec<i64> = (0..tokens.len() as i64).collect();
    let queries = cache.positions().unwrap_or(&all);
    let whole = match cache.positions() {
        Some(_) => pattern,
        None => pattern.narrow(0, 0, tokens.len())?,
    };
    Ok(Grid {
        title: place.to_string(),
        row_axis: "query".into(),
        column_axis: "key".into(),
        rows: queries.iter().map(|position| label(*position)).collect(),
        columns: all.iter().map(|position| label(*position)).collect(),
        quantity: "attention".into(),
        values: floats(&whole)?,
        ..Grid::default()
    })
}

/// Returns the pattern `[query, key]` of one head in one text, keys beyond its end left off.
fn pattern(cache: &Cache, place: Place, row: usize, tokens: &[String]) -> Result<Tensor> {
    if place.site.kind != SiteKind::Pattern || place.head.is_none() {
        bail!(Argument, "expected one head of a pattern, such as `pattern.0.1`, found `{place}`");
    }
    let Some(length) = cache.lengths().get(row).copied() else {
        bail!(Index, "there is no text {row}: this run has {}", cache.lengths().len());
    };
    if tokens.len() != length {
        bail!(Shape, "expected the {length} tokens of text {row}, found {}", tokens.len());
    }
    Ok(cache.at(place)?.get(row)?.narrow(1, 0, length)?)
}
