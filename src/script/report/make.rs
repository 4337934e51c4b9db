//! Conversion of values of a script to tables, cards and heat text.

use crate::report::chart::ChartData;
use crate::report::items::{CardOptions, HeatTextOptions, TableOptions};
use crate::script::engine::interrupt_checks::InterruptChecks;
use crate::script::engine::value::{plain_data, repr};
use crate::script::prelude::*;

pub fn table(rows: &Array, map: Map, task: &Task) -> Result<Table> {
    let TableOptions { columns: named, title } = taken(map)?;
    let steps = InterruptChecks::new(task);
    let (columns, rows) = match (rows.iter().all(Dynamic::is_map), named) {
        (true, named) => by_name(rows, named, &steps)?,
        (false, Some(columns)) => (columns, rows.iter().map(|row| listed(row, &steps)).collect::<Result<_>>()?),
        (false, None) => {
            return Err(err!(Argument, "expected rows that are maps, found lists without `columns`")
                .hint("name the columns: table(rows, #{ columns: [\"a\", \"b\"] })")
                .about("rows"));
        }
    };
    if let Some(row) = rows.iter().find(|row| row.len() > columns.len()) {
        let error = err!(Shape, "expected at most {} values in a row, found {}", columns.len(), row.len());
        return Err(error.about("rows"));
    }
    Ok(Table { title: title.unwrap_or_default(), columns, rows })
}

/// Collects columns by name, all keys of all rows where none were named.
fn by_name(maps: &Array, named: Option<Vec<String>>, steps: &InterruptChecks) -> Result<(Vec<String>, Vec<Vec<Cell>>)> {
    let columns = match named {
        Some(columns) => columns,
        None => all_keys(maps, steps)?,
    };
    let row = |row: &Dynamic| {
        steps.take(1 + columns.len())?;
        let map = row.read_lock::<Map>();
        let value = |name: &String| map.as_ref().and_then(|map| map.get(name.as_str()));
        Ok(columns.iter().map(|name| value(name).map_or(Cell::Missing, cell)).collect())
    };
    let rows = maps.iter().map(row).collect::<Result<_>>()?;
    Ok((columns, rows))
}

fn all_keys(maps: &Array, steps: &InterruptChecks) -> Result<Vec<String>> {
    let mut found = BTreeSet::new();
    for map in maps.iter().filter_map(|row| row.read_lock::<Map>()) {
        steps.take(1 + map.len())?;
        for key in map.keys() {
            if !found.contains(key.as_str()) {
                found.insert(key.to_string());
            }
        }
    }
    Ok(found.into_iter().collect())
}

fn listed(row: &Dynamic, steps: &InterruptChecks) -> Result<Vec<Cell>> {
    let cells: Vec<Cell> = given("rows", row).list()?.iter().map(cell).collect();
    steps.take(1 + cells.len())?;
    Ok(cells)
}

/// Converts a value to the cell of a table.
pub fn cell(value: &Dynamic) -> Cell {
    if value.is_unit() {
        return Cell::Missing;
    }
    match (value.as_int(), value.as_float(), value.as_bool()) {
        (Ok(value), ..) => Cell::Int(value),
        (_, Ok(value), _) => Cell::Float(value),
        (.., Ok(value)) => Cell::Bool(value),
        _ if value.is_string() => Cell::Text(value.to_string()),
        _ => Cell::Text(repr(value)),
    }
}

pub fn heat_text(tokens: Array, values: &Dynamic, map: Map, task: &Task) -> Result<HeatText> {
    let HeatTextOptions { title, quantity } = taken(map)?;
    let tokens = given("tokens", &tokens.into()).texts()?;
    let values = ChartData { name: "values", value: &plain_data(values)?, task }.numbers()?;
    if tokens.is_empty() {
        bail!(Argument, "expected at least one token, found none");
    }
    let heat = HeatText { title: title.unwrap_or_default(), tokens, values, quantity: quantity.unwrap_or_default() };
    heat.check().map_err(|e| e.about("values"))?;
    Ok(heat)
}

/// Makes a card of named facts.
pub fn card(title: &str, fields: &Map, map: Map) -> Result<Card> {
    let CardOptions { body } = taken(map)?;
    let fields = fields.iter().map(|(name, value)| (name.as_str(), cell(value)));
    Ok(Card { body, ..Card::new(title, fields) })
}
