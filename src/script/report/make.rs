//! From the values of a script to tables, grids, cards and heat text.

use std::collections::BTreeSet;

use rhai::{Array, Dynamic, Map};

use crate::base::{Card, Cell, Grid, HeatText, Result, Table};
use crate::script::options::{OptionReader, options as read};
use crate::script::plot::data::Data;
use crate::script::value::{Given, given, repr};
use crate::{bail, err};

pub fn table(rows: &Array, map: Map) -> Result<Table> {
    let mut options = read(map);
    let named = options.get("columns", |given| given.texts())?;
    let title = options.text("title", "")?;
    options.finish()?;
    let maps: Option<Vec<Map>> = rows.iter().map(|row| row.clone().try_cast::<Map>()).collect();
    let (columns, rows) = match (maps, named) {
        (Some(maps), named) => by_name(&maps, named),
        (None, Some(columns)) => (columns, rows.iter().map(listed).collect::<Result<_>>()?),
        (None, None) => {
            return Err(err!(Argument, "expected rows that are maps, found lists without `columns`")
                .hint("name the columns: table(rows, #{ columns: [\"a\", \"b\"] })")
                .about("rows"));
        }
    };
    if let Some(row) = rows.iter().find(|row| row.len() > columns.len()) {
        let error = err!(Shape, "expected at most {} values in a row, found {}", columns.len(), row.len());
        return Err(error.about("rows"));
    }
    Ok(Table { title, columns, rows })
}

/// Columns by name, all keys of all rows where none were named.
fn by_name(maps: &[Map], named: Option<Vec<String>>) -> (Vec<String>, Vec<Vec<Cell>>) {
    let all = || maps.iter().flat_map(|map| map.keys()).map(|key| key.to_string());
    let columns = named.unwrap_or_else(|| all().collect::<BTreeSet<String>>().into_iter().collect());
    let row = |map: &Map| columns.iter().map(|name| map.get(name.as_str()).map_or(Cell::Missing, cell)).collect();
    let rows = maps.iter().map(row).collect();
    (columns, rows)
}

fn listed(row: &Dynamic) -> Result<Vec<Cell>> {
    Ok(given("rows", row).list()?.iter().map(cell).collect())
}

fn cell(value: &Dynamic) -> Cell {
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

pub fn heat_text(tokens: Array, values: &Dynamic, map: Map) -> Result<HeatText> {
    let mut options = read(map);
    let (title, quantity) = (options.text("title", "")?, options.text("quantity", "")?);
    options.finish()?;
    let tokens = given("tokens", &tokens.into()).texts()?;
    let values = Data { name: "values", value: values }.numbers()?;
    if tokens.is_empty() {
        bail!(Argument, "expected at least one token, found none");
    }
    let heat = HeatText { title, tokens, values, quantity };
    heat.check().map_err(|e| e.about("values"))?;
    Ok(heat)
}

/// A grid from a matrix; its names and quantity come from the options.
pub fn grid(data: Data, read: &mut OptionReader) -> Result<Grid> {
    let mut grid = match data.value.read_lock::<Grid>() {
        Some(grid) => grid.clone(),
        None => {
            let (rows, columns, values) = data.matrix()?;
            let numbered = |count: usize| (0..count).map(|i| i.to_string()).collect();
            Grid { rows: numbered(rows), columns: numbered(columns), values, ..Grid::default() }
        }
    };
    let sizes = (grid.rows.len(), grid.columns.len());
    grid.rows = read.get("rows", Given::labels)?.unwrap_or(grid.rows);
    grid.columns = read.get("columns", Given::labels)?.unwrap_or(grid.columns);
    let found = (grid.rows.len(), grid.columns.len());
    if found != sizes {
        let error = err!(
            Shape,
            "expected names for {} rows and {} columns, found {} and {}",
            sizes.0,
            sizes.1,
            found.0,
            found.1
        );
        return Err(error.about("values"));
    }
    grid.quantity = read.text("quantity", &grid.quantity)?;
    grid.title = read.text("title", &grid.title)?;
    grid.row_axis = read.text("y", &grid.row_axis)?;
    grid.column_axis = read.text("x", &grid.column_axis)?;
    Ok(grid)
}

/// A grid on its own.
pub fn grid_alone(data: &Dynamic, map: Map) -> Result<Grid> {
    let mut options = read(map);
    let grid = grid(Data { name: "data", value: data }, &mut options)?;
    options.finish()?;
    Ok(grid)
}

/// A card of named facts.
pub fn card(title: &str, fields: &Map, map: Map) -> Result<Card> {
    let mut options = read(map);
    let body = options.get("body", Given::text)?;
    options.finish()?;
    let fields = fields.iter().map(|(name, value)| (name.to_string(), cell(value))).collect();
    Ok(Card { title: title.into(), fields, body, ..Card::default() })
}
