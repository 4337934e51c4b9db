//! Reports, tables, grids, cards, charts and heat text in the hands of a script: making them, saving them, reading them.

use std::path::Path;
use std::rc::Rc;

use rhai::plugin::*;
use rhai::{Array, Dynamic, Map, NativeCallContext};
use serde_json::Value;

use super::env::env;
use super::options::options as read;
use super::show::{self, Handle};
use super::value::{Any, Fallible, Options, from_json, given, json, repr};
use crate::base::{Card, Cell, Grid, HeatText, Result, Table};
use crate::report::chart::Chart;
use crate::report::html::escape;
use crate::report::symbols::{count, elided, visible};
use crate::report::{Item, Report, Screen, Text, items};
use crate::{bail, err};

/// What a kind of item needs to be a handle: its name, and itself in one line.
macro_rules! handle {
    ($type:ty, $name:literal, $short:expr) => {
        impl Handle for $type {
            const NAME: &'static str = $name;

            fn short(&self) -> String {
                let short: fn(&$type) -> String = $short;
                short(self)
            }

            fn shown(&self, screen: &Screen) -> Result<String> {
                Item::terminal(self, screen)
            }

            fn json(&self) -> Result<Value> {
                self.data()
            }
        }
    };
}

handle!(Chart, "Chart", |chart| chart.short());
handle!(Table, "Table", |table| format!("table of {}{}", count(table.rows.len(), "row"), called(&table.title)));
handle!(Grid, "Grid", |grid| format!("grid of {} by {}{}", grid.rows.len(), grid.columns.len(), called(&grid.title)));
handle!(Card, "Card", |card| format!("card{}", called(&card.title)));
handle!(HeatText, "HeatText", |heat| format!(
    "heat text of {}{}",
    count(heat.tokens.len(), "token"),
    called(&heat.title)
));

impl Handle for Report {
    const NAME: &'static str = "Report";

    fn short(&self) -> String {
        format!("report of {}{}", count(self.items().len(), "item"), called(self.name()))
    }

    fn shown(&self, screen: &Screen) -> Result<String> {
        self.terminal(screen)
    }

    fn json(&self) -> Result<Value> {
        self.data()
    }
}

/// ` "title"`, where there is one.
fn called(title: &str) -> String {
    if title.is_empty() { String::new() } else { format!(" {:?}", elided(&visible(title), 40)) }
}

#[export_module(manifest)]
pub mod functions {
    /// A report: text and results on one page that needs nothing else, with the data as JSON and the pictures beside it.
    ///
    /// Items are strings (in a little markdown: headings, lists, code, emphasis), charts, tables, cards, grids, heat
    /// text, and any other value; lists of items are taken apart. `save` writes the page as NAME/index.html below the
    /// output folder.
    ///
    /// # Example
    /// ```
    /// let r = report("doc-report", ["# Loss\nIt *falls*.", plot::line([3, 2, 1])]);
    /// r.save().ends_with("index.html")  //=> true
    /// ```
    #[rhai_fn(return_raw)]
    pub fn report(name: &str, items: Array) -> Fallible<Report> {
        Ok(super::made(name, &items)?)
    }

    /// A table from rows: maps of column names to values, or lists together with the option `columns`.
    ///
    /// Values are numbers, strings, true or false, or nothing, `()`, where a value is missing.
    ///
    /// # Options
    /// - `columns` = all keys in alphabetical order: the columns, in the order that they are to stand in
    /// - `title` = none: the line above the table
    ///
    /// # Example
    /// ```
    /// table([#{ site: "resid_post.0", fve: 0.93 }, #{ site: "resid_post.1" }]).columns  //=> ["fve", "site"]
    /// ```
    #[rhai_fn(return_raw)]
    pub fn table(rows: Array) -> Fallible<Table> {
        Ok(super::tabled(&rows, Map::new())?)
    }

    #[rhai_fn(name = "table", return_raw)]
    pub fn table_with(rows: Array, options: Options) -> Fallible<Table> {
        Ok(super::tabled(&rows, options)?)
    }

    /// Heat text: tokens on a ground whose colour says how large the number of each is.
    ///
    /// # Options
    /// - `title` = none: the line above the text
    /// - `quantity` = none: what the numbers are, with their unit
    ///
    /// # Example
    /// ```
    /// heat_text(["(", "1999", ")"], [0.1, 0.9, 0.3], #{ quantity: "activation" })  //=> heat text of 3 tokens
    /// ```
    #[rhai_fn(return_raw)]
    pub fn heat_text(tokens: Array, values: Any) -> Fallible<HeatText> {
        Ok(super::heated(tokens, &values, Map::new())?)
    }

    #[rhai_fn(name = "heat_text", return_raw)]
    pub fn heat_text_with(tokens: Array, values: Any, options: Options) -> Fallible<HeatText> {
        Ok(super::heated(tokens, &values, options)?)
    }
}

#[export_module(manifest)]
pub mod methods {
    /// Writes the page, its data and its pictures into the folder of the report's name. Returns the path of the page.
    ///
    /// # Example
    /// ```
    /// report("doc-save", ["Nothing yet."]).save().ends_with("doc-save/index.html")  //=> true
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn save(ctx: NativeCallContext, report: &mut Report) -> Fallible<String> {
        Ok(report.save(&env(&ctx)?.files)?.display().to_string())
    }

    /// The report's name and the data of its items.
    ///
    /// # Example
    /// ```
    /// report("doc", ["one", "two"]).to_map().items[1].data  //=> "two"
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn to_map(report: &mut Report) -> Fallible<Dynamic> {
        Ok(super::mapped(report)?)
    }

    /// Writes the chart as .svg, .png, .json, .txt or .html, as the name ends. Returns the path of the file.
    ///
    /// # Example
    /// ```
    /// plot::line([1, 3, 2]).save("doc/line.svg").ends_with("line.svg")  //=> true
    /// ```
    #[rhai_fn(global, name = "save", pure, return_raw)]
    pub fn save_chart(ctx: NativeCallContext, chart: &mut Chart, path: &str) -> Fallible<String> {
        Ok(super::saved(&ctx, chart, path)?)
    }

    /// The chart's data: its kind, title, axes and series.
    ///
    /// # Example
    /// ```
    /// plot::line([1, 3, 2]).to_map().series[0].y  //=> [1.0, 3.0, 2.0]
    /// ```
    #[rhai_fn(global, name = "to_map", pure, return_raw)]
    pub fn chart_map(chart: &mut Chart) -> Fallible<Dynamic> {
        Ok(super::mapped(chart)?)
    }

    /// Writes the table as .json, .txt or .html, as the name ends. Returns the path of the file.
    ///
    /// # Example
    /// ```
    /// table([#{ a: 1 }]).save("doc/table.txt");
    /// run::load_text("doc/table.txt").contains("a")  //=> true
    /// ```
    #[rhai_fn(global, name = "save", pure, return_raw)]
    pub fn save_table(ctx: NativeCallContext, table: &mut Table, path: &str) -> Fallible<String> {
        Ok(super::saved(&ctx, table, path)?)
    }

    /// The table's title, columns and rows.
    ///
    /// # Example
    /// ```
    /// table([#{ a: 1 }, #{ a: 2 }]).to_map().rows  //=> [[1], [2]]
    /// ```
    #[rhai_fn(global, name = "to_map", pure, return_raw)]
    pub fn table_map(table: &mut Table) -> Fallible<Dynamic> {
        Ok(super::mapped(table)?)
    }

    /// The names of the table's columns.
    ///
    /// # Example
    /// ```
    /// table([#{ a: 1, b: 2 }]).columns  //=> ["a", "b"]
    /// ```
    #[rhai_fn(global, get = "columns", pure)]
    pub fn columns(table: &mut Table) -> Array {
        table.columns.iter().cloned().map(Dynamic::from).collect()
    }

    /// Writes the grid as .svg, .png, .json, .txt or .html, as the name ends. Returns the path of the file.
    #[rhai_fn(global, name = "save", pure, return_raw)]
    pub fn save_grid(ctx: NativeCallContext, grid: &mut Grid, path: &str) -> Fallible<String> {
        Ok(super::saved(&ctx, grid, path)?)
    }

    /// The grid's title, names and values, row after row.
    #[rhai_fn(global, name = "to_map", pure, return_raw)]
    pub fn grid_map(grid: &mut Grid) -> Fallible<Dynamic> {
        Ok(super::mapped(grid)?)
    }

    /// Writes the card as .json, .txt or .html, as the name ends. Returns the path of the file.
    #[rhai_fn(global, name = "save", pure, return_raw)]
    pub fn save_card(ctx: NativeCallContext, card: &mut Card, path: &str) -> Fallible<String> {
        Ok(super::saved(&ctx, card, path)?)
    }

    /// The card's title, fields, histogram and body.
    #[rhai_fn(global, name = "to_map", pure, return_raw)]
    pub fn card_map(card: &mut Card) -> Fallible<Dynamic> {
        Ok(super::mapped(card)?)
    }

    /// Writes the text as .json, .txt or .html, as the name ends. Returns the path of the file.
    ///
    /// # Example
    /// ```
    /// heat_text(["a"], [1]).save("doc/heat.html").ends_with("heat.html")  //=> true
    /// ```
    #[rhai_fn(global, name = "save", pure, return_raw)]
    pub fn save_heat_text(ctx: NativeCallContext, heat: &mut HeatText, path: &str) -> Fallible<String> {
        Ok(super::saved(&ctx, heat, path)?)
    }

    /// The title, the tokens, their numbers, and what these are.
    ///
    /// # Example
    /// ```
    /// heat_text(["a", "b"], [1, 0.5]).to_map().values  //=> [1.0, 0.5]
    /// ```
    #[rhai_fn(global, name = "to_map", pure, return_raw)]
    pub fn heat_text_map(heat: &mut HeatText) -> Fallible<Dynamic> {
        Ok(super::mapped(heat)?)
    }
}

fn saved(ctx: &NativeCallContext, item: &dyn Item, path: &str) -> Result<String> {
    let place = items::save(item, &env(ctx)?.files, Path::new(path)).map_err(|e| e.arg(0))?;
    Ok(place.display().to_string())
}

fn mapped(handle: &impl Handle) -> Result<Dynamic> {
    Ok(from_json(&handle.json()?))
}

fn made(name: &str, list: &Array) -> Result<Report> {
    let mut items = Vec::new();
    list.iter().try_for_each(|value| collect(value, &mut items))?;
    Report::new(name, items).map_err(|e| e.arg(0))
}

/// Adds the value as an item, lists of items one by one.
fn collect(value: &Dynamic, items: &mut Vec<Rc<dyn Item>>) -> Result<()> {
    if let Some(item) = item(value) {
        items.push(item);
        return Ok(());
    }
    let is_plain = |value: &Dynamic| value.is_int() || value.is_float() || value.is_bool();
    if let Some(list) = value.read_lock::<Array>()
        && !list.iter().all(is_plain)
    {
        return list.iter().try_for_each(|value| collect(value, items));
    }
    items.push(Rc::new(Other {
        text: show::shown(value, &Screen { width: 100, ..Screen::default() })?,
        data: json(value)?,
    }));
    Ok(())
}

/// The value as an item of its own kind. A new kind is one line here.
fn item(value: &Dynamic) -> Option<Rc<dyn Item>> {
    fn of<T: Item + Clone + 'static>(value: &Dynamic) -> Option<Rc<dyn Item>> {
        value.read_lock::<T>().map(|item| Rc::new(item.clone()) as Rc<dyn Item>)
    }
    if let Some(text) = value.read_lock::<ImmutableString>() {
        return Some(Rc::new(Text(text.to_string())));
    }
    [of::<Chart>, of::<Table>, of::<Grid>, of::<Card>, of::<HeatText>].iter().find_map(|kind| kind(value))
}

/// Any other value, as `show` shows it.
struct Other {
    text: String,
    data: Value,
}

impl Item for Other {
    fn kind(&self) -> &'static str {
        "value"
    }

    fn terminal(&self, _: &Screen) -> Result<String> {
        Ok(format!("{}\n", self.text.trim_end()))
    }

    fn html(&self) -> Result<String> {
        Ok(format!("<pre>{}</pre>\n", escape::lines(&self.text)))
    }

    fn data(&self) -> Result<Value> {
        Ok(self.data.clone())
    }
}

fn tabled(rows: &Array, map: Map) -> Result<Table> {
    let mut options = read(1, map);
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
                .arg(0));
        }
    };
    if let Some(row) = rows.iter().find(|row| row.len() > columns.len()) {
        let error = err!(Shape, "expected at most {} values in a row, found {}", columns.len(), row.len());
        return Err(error.arg(0));
    }
    Ok(Table { title, columns, rows })
}

/// Columns by name, all keys of all rows where none were named.
fn by_name(maps: &[Map], named: Option<Vec<String>>) -> (Vec<String>, Vec<Vec<Cell>>) {
    let all = || maps.iter().flat_map(|map| map.keys()).map(|key| key.to_string());
    let columns = named.unwrap_or_else(|| all().collect::<std::collections::BTreeSet<String>>().into_iter().collect());
    let row = |map: &Map| columns.iter().map(|name| map.get(name.as_str()).map_or(Cell::Missing, cell)).collect();
    let rows = maps.iter().map(row).collect();
    (columns, rows)
}

fn listed(row: &Dynamic) -> Result<Vec<Cell>> {
    Ok(given(0, "rows", row).list()?.iter().map(cell).collect())
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

fn heated(tokens: Array, values: &Dynamic, map: Map) -> Result<HeatText> {
    let mut options = read(2, map);
    let (title, quantity) = (options.text("title", "")?, options.text("quantity", "")?);
    options.finish()?;
    let tokens = given(0, "tokens", &tokens.into()).texts()?;
    let values = super::plot::data::Data { arg: 1, name: "values", value: values }.numbers()?;
    if tokens.is_empty() {
        bail!(Argument, "expected at least one token, found none");
    }
    let heat = HeatText { title, tokens, values, quantity };
    heat.check().map_err(|e| e.arg(1))?;
    Ok(heat)
}
