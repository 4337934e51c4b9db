//! Taking results apart: the columns and rows of tables, the numbers of grids, the facts of cards.

use std::any::TypeId;

use crate::script::engine::foreign_names;
use crate::script::prelude::*;

/// Returns one end of each interval.
fn ends(grid: &Grid, end: usize) -> Result<Tensor> {
    if grid.intervals.is_empty() {
        return Err(
            err!(Argument, "this grid has no intervals").hint("grids of `intervene::grid` have them, over pairs")
        );
    }
    let ends: Vec<f64> = grid.intervals.iter().map(|interval| interval[end]).collect();
    Ok(Tensor::from_vec(ends, (grid.rows.len(), grid.columns.len()), &Device::Cpu)?)
}

fn value(cell: &Cell) -> Dynamic {
    match cell {
        Cell::Missing => Dynamic::UNIT,
        Cell::Bool(value) => (*value).into(),
        Cell::Int(value) => (*value).into(),
        Cell::Float(value) => (*value).into(),
        Cell::Text(text) => text.clone().into(),
    }
}

fn texts(all: &[String]) -> Array {
    all.iter().cloned().map(Dynamic::from).collect()
}

/// Suggests what to write where a missing column is a word of another program, which says more than the names of the others.
fn of_others(error: Error, name: &str) -> Error {
    match foreign_names::of_table(name) {
        Some(hint) if !error.hint.as_ref().is_some_and(|hint| hint.starts_with("did you mean")) => error.hint(hint),
        _ => error,
    }
}

/// Returns a row as a map of its cells.
pub fn row(table: &Table, place: usize) -> Result<Map> {
    if let Some(name) = table.columns.iter().find(|name| table.columns.iter().filter(|other| other == name).count() > 1)
    {
        return Err(err!(
            Name,
            "expected columns of different names for a row as a map, found `{name}` more than once"
        )
        .hint("`table.rows` has the rows as lists"));
    }
    let cells = table.row(place).ok_or_else(|| err!(Bug, "a row beyond the last"))?;
    Ok(cells.map(|(name, cell)| (name.into(), value(cell))).collect())
}

/// Makes `for row in table` iterate over the rows as maps.
pub fn iteration() -> Module {
    let mut module = Module::new();
    module.set_iter_result(TypeId::of::<Table>(), |value| {
        let table = value.cast::<Table>();
        let rows = table.rows.len();
        Box::new((0..rows).map(move |place| Ok(Dynamic::from(row(&table, place)?))))
    });
    module
}

#[export_module(manifest)]
pub mod methods {
    /// Returns a column of a table as an array, by its name, or a row as a map, by its number; a negative one counts
    /// from the end.
    ///
    /// Where a cell is missing stands `()`. `for row in table` goes through the rows as maps.
    ///
    /// # Example
    /// ```
    /// let runs = table([#{ kind: "topk", l0: 32 }, #{ kind: "l1", l0: 50 }]);
    /// runs["l0"]  //=> [32, 50]
    /// runs[-1].kind  //=> "l1"
    /// tensor(runs["l0"]).mean()  //=> 41.0
    /// ```
    #[rhai_fn(global, index_get, pure, return_raw)]
    pub fn at(table: &mut Table, column: Any) -> Fallible<Dynamic> {
        if let Some(name) = column.read_lock::<ImmutableString>() {
            let cells = table.column(&name).map_err(|error| super::of_others(error, &name))?;
            return Ok(Dynamic::from_array(cells.into_iter().map(super::value).collect()));
        }
        let column = given("index", &column);
        if column.integer().is_err() {
            return Err(column.refuse("the name of a column or the number of a row").into());
        }
        let place = column.index(table.rows.len(), "a table", "row")?;
        Ok(super::row(table, place)?.into())
    }

    /// Returns the rows of the table as lists, in the order of its columns.
    ///
    /// # Example
    /// ```
    /// table([#{ a: 1, b: "x" }, #{ a: 2 }]).rows  //=> [[1, "x"], [2, ()]]
    /// ```
    #[rhai_fn(global, get = "rows", pure)]
    pub fn rows(table: &mut Table) -> Array {
        table.rows.iter().map(|row| row.iter().map(super::value).collect::<Array>().into()).collect()
    }

    /// Returns the number of rows of the table.
    ///
    /// # Example
    /// ```
    /// table([#{ a: 1 }, #{ a: 2 }]).len  //=> 2
    /// ```
    #[rhai_fn(global, get = "len", pure)]
    pub fn len(table: &mut Table) -> i64 {
        table.rows.len() as i64
    }

    /// Returns the numbers of the grid: `[rows, columns]`, in f64, NaN where a cell has none.
    ///
    /// # Example
    /// ```
    /// grid([[1, 2], [3, 4]]).tensor[1]  //=> tensor([3.0, 4.0], f64)
    /// ```
    #[rhai_fn(global, get = "tensor", pure, return_raw)]
    pub fn tensor(grid: &mut Grid) -> Fallible<Tensor> {
        let dims = (grid.rows.len(), grid.columns.len());
        Ok(Tensor::from_vec(grid.values.clone(), dims, &Device::Cpu).map_err(Error::from)?)
    }

    /// Returns the lower ends of the 95 % intervals of a grid that has some, such as one of patching:
    /// `[rows, columns]`, in f64.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 8 });
    /// let pairs = data::pairs([[1, 2, 3], [4, 2, 3]], [[1, 7, 3], [4, 7, 3]], #{ answers: [5, 5], wrong: [6, 6] });
    /// let heads = intervene::grid(m, pairs, #{ by: "head" });
    /// [heads.low.shape, (heads.low <= heads.tensor).sum()]  //=> [[1, 2], 2]
    /// ```
    #[rhai_fn(global, get = "low", pure, return_raw)]
    pub fn grid_low(grid: &mut Grid) -> Fallible<Tensor> {
        Ok(super::ends(grid, 0)?)
    }

    /// Returns the upper ends of the 95 % intervals of a grid that has some: `[rows, columns]`, in f64.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 10, context: 8 });
    /// let pairs = data::pairs([[1, 2, 3], [4, 2, 3]], [[1, 7, 3], [4, 7, 3]], #{ answers: [5, 5], wrong: [6, 6] });
    /// intervene::grid(m, pairs, #{ by: "head" }).high.shape  //=> [1, 2]
    /// ```
    #[rhai_fn(global, get = "high", pure, return_raw)]
    pub fn grid_high(grid: &mut Grid) -> Fallible<Tensor> {
        Ok(super::ends(grid, 1)?)
    }

    /// Returns the names of the grid's rows.
    ///
    /// # Example
    /// ```
    /// grid([[1, 2]], #{ rows: ["a"] }).rows  //=> ["a"]
    /// ```
    #[rhai_fn(global, get = "rows", pure)]
    pub fn grid_rows(grid: &mut Grid) -> Array {
        super::texts(&grid.rows)
    }

    /// Returns the names of the grid's columns.
    ///
    /// # Example
    /// ```
    /// grid([[1, 2]], #{ columns: ["a", "b"] }).columns  //=> ["a", "b"]
    /// ```
    #[rhai_fn(global, get = "columns", pure)]
    pub fn grid_columns(grid: &mut Grid) -> Array {
        super::texts(&grid.columns)
    }

    /// Returns one of the card's facts by its name.
    ///
    /// # Example
    /// ```
    /// card("run 3", #{ loss: 2.5 })["loss"]  //=> 2.5
    /// ```
    #[rhai_fn(global, name = "fact", index_get, pure, return_raw)]
    pub fn fact(card: &mut Card, name: &str) -> Fallible<Dynamic> {
        match card.fields.iter().find(|(known, _)| known == name) {
            Some((_, cell)) => Ok(super::value(cell)),
            None => Err(err!(Name, "this card has no fact `{name}`")
                .maybe_hint(names::suggestion(name, card.fields.iter().map(|(known, _)| known.as_str())))
                .into()),
        }
    }

    /// Returns the tokens of the heat text.
    ///
    /// # Example
    /// ```
    /// heat_text(["a", "b"], [1, 0.5]).tokens  //=> ["a", "b"]
    /// ```
    #[rhai_fn(global, get = "tokens", pure)]
    pub fn tokens(heat: &mut HeatText) -> Array {
        super::texts(&heat.tokens)
    }

    /// Returns the numbers of the heat text, one for each token.
    ///
    /// # Example
    /// ```
    /// heat_text(["a", "b"], [1, 0.5]).values  //=> [1.0, 0.5]
    /// ```
    #[rhai_fn(global, get = "values", pure)]
    pub fn values(heat: &mut HeatText) -> Array {
        heat.values.iter().map(|value| Dynamic::from(*value)).collect()
    }
}
