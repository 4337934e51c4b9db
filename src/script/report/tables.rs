//! Tables made of tables: some of their columns and rows, another order, groups, two tables as one.

use super::make::cell;
use super::parts::row;
use crate::data::table as tables;
use crate::script::engine::env::signed;
use crate::script::engine::show::shown;
use crate::script::prelude::*;

/// Makes `print(table)` print what `show` shows.
pub fn printing() -> Module {
    let mut module = Module::new();
    module.set_native_fn("print", print);
    module
}

fn print(ctx: NativeCallContext, table: Table) -> Fallible<ImmutableString> {
    let env = env(&ctx)?;
    let text = shown(&Dynamic::from(table), env.console.screen(), &env.task)?;
    Ok(signed(&ctx, text.trim_end_matches('\n').into()))
}

/// Finds the places of the rows for which a function returns true.
fn chosen(calls: &Callbacks, table: &Table, f: &FnPtr) -> Result<Vec<usize>> {
    let mut chosen = Vec::new();
    for place in 0..table.rows.len() {
        let answer = calls.call(f, [Dynamic::from_map(row(table, place)?)])?;
        let is_chosen = answer.as_bool().map_err(|_| {
            err!(Argument, "expected true or false from the function of a row, found {}", described(&answer)).about("f")
        })?;
        chosen.extend(is_chosen.then_some(place));
    }
    Ok(chosen)
}

/// Makes a row for each group, with what a function of its rows returns.
fn grouped(calls: &Callbacks, table: &Table, columns: &[String], f: &FnPtr) -> Result<Table> {
    let mut found: Vec<(Vec<Cell>, Map)> = Vec::new();
    for group in tables::groups(table, columns).map_err(|e| e.about("columns"))? {
        let answer = calls.call(f, [Dynamic::from(group.rows)])?;
        let fields = answer.read_lock::<Map>().map(|fields| fields.clone()).ok_or_else(|| {
            err!(Argument, "expected a map from the function of a group's rows, found {}", described(&answer))
                .hint("its keys become columns: |rows| #{ n: rows.len }")
                .about("f")
        })?;
        found.push((group.values, fields));
    }
    let names: BTreeSet<&str> = found.iter().flat_map(|(_, fields)| fields.keys()).map(|key| key.as_str()).collect();
    if let Some(column) = columns.iter().find(|column| names.contains(column.as_str())) {
        return Err(
            err!(Name, "expected other keys than `{column}` from the function: that column has the groups").about("f")
        );
    }
    let cells = |fields: &Map| -> Vec<Cell> {
        names.iter().map(|name| fields.get(*name).map_or(Cell::Missing, cell)).collect()
    };
    let rows = found.iter().map(|(values, fields)| [values.clone(), cells(fields)].concat()).collect();
    let columns = columns.iter().map(String::as_str).chain(names.iter().copied()).map(String::from).collect();
    Ok(Table { title: table.title.clone(), columns, rows })
}

/// Elementary operations for each cell that is compared or copied, about.
const STEPS: f64 = 200.0;

fn steps(table: &Table) -> f64 {
    table.rows.len() as f64 * table.columns.len() as f64 * STEPS
}

#[export_module(manifest)]
pub mod methods {
    /// Selects columns of the table, in the order in which they are named.
    ///
    /// # Example
    /// ```
    /// let runs = table([#{ fve: 0.9, kind: "topk", l0: 32 }]);
    /// runs.select(["kind", "l0"]).rows  //=> [["topk", 32]]
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn select(table: &mut Table, columns: Any) -> Fallible<Table> {
        let columns = given("columns", &columns).texts()?;
        Ok(tables::select(table, &columns).map_err(|e| e.about("columns"))?)
    }

    /// Selects the rows for which a function returns true. It takes a row as a map, as `for row in table` gives it.
    ///
    /// # Example
    /// ```
    /// let runs = table([#{ kind: "topk", l0: 32 }, #{ kind: "l1", l0: 50 }]);
    /// runs.filter(|row| row.l0 < 40)["kind"]  //=> ["topk"]
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn filter(ctx: NativeCallContext, table: &mut Table, f: FnPtr) -> Fallible<Table> {
        let calls = Callbacks::new(&ctx);
        let chosen = calls.outcome(super::chosen(&calls, table, &f))?;
        Ok(tables::kept(table, chosen))
    }

    /// Returns the first `n` rows.
    ///
    /// # Example
    /// ```
    /// table([#{ a: 1 }, #{ a: 2 }, #{ a: 3 }]).head(2)["a"]  //=> [1, 2]
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn head(table: &mut Table, n: Int) -> Fallible<Table> {
        Ok(tables::head(table, given("n", &n).size()?))
    }

    #[rhai_fn(global, pure, name = "head")]
    pub fn head_of_five(table: &mut Table) -> Table {
        tables::head(table, 5)
    }

    /// Sorts the rows by a column: numbers by their value, texts by their characters. Of several columns, the next one
    /// decides where the ones before are equal; rows that are equal in all stay as they stand.
    ///
    /// Booleans come before numbers, these before texts, and NaN counts as the largest number.
    ///
    /// # Options
    /// - [table_sort]
    ///
    /// # Example
    /// ```
    /// let runs = table([#{ kind: "l1", fve: 0.8 }, #{ kind: "topk", fve: 0.9 }, #{ kind: "gated" }]);
    /// runs.sort_by("fve", #{ descending: true })["kind"]  //=> ["topk", "l1", "gated"]
    /// runs.sort_by(["kind"])["fve"]  //=> [(), 0.8, 0.9]
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn sort_by(ctx: NativeCallContext, table: &mut Table, columns: Any, options: Options) -> Fallible<Table> {
        let columns = given("columns", &columns).texts()?;
        let options = taken(options)?;
        let cost = super::steps(table);
        let table = table.clone();
        let sorted = move || tables::sort(&table, &columns, &options).map_err(|e| e.about("columns"));
        Ok(env(&ctx)?.task.heavy(cost, sorted)?)
    }

    /// Groups the rows by a column: one row for each of its values, in the order in which the values come first. A
    /// function takes the rows that have the value, as a table, and returns a map; its keys are the other columns.
    ///
    /// Numbers are equal by their value, `1` and `1.0`; rows without a value are one group.
    ///
    /// # Example
    /// ```
    /// let runs = table([#{ kind: "topk", fve: 0.9 }, #{ kind: "l1", fve: 0.7 }, #{ kind: "topk", fve: 0.8 }]);
    /// let kinds = runs.group_by("kind", |rows| #{ n: rows.len, best: rows["fve"].max() });
    /// kinds.columns  //=> ["kind", "best", "n"]
    /// kinds.rows  //=> [["topk", 0.9, 2], ["l1", 0.7, 1]]
    /// runs.group_by(["kind", "fve"], |rows| #{ n: rows.len }).rows[0]  //=> ["topk", 0.9, 1]
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn group_by(ctx: NativeCallContext, table: &mut Table, columns: Any, f: FnPtr) -> Fallible<Table> {
        let calls = Callbacks::new(&ctx);
        let columns = given("columns", &columns).texts()?;
        calls.outcome(super::grouped(&calls, table, &columns, &f))
    }

    /// Joins two tables: the rows that are equal in a column stand side by side, each row of this table with each row
    /// of the other. A column of the other whose name this table has, too, gets `_right` behind its name.
    ///
    /// Numbers are equal by their value, `1` and `1.0`; a missing cell is equal to none.
    ///
    /// # Options
    /// - [table_join]
    ///
    /// # Example
    /// ```
    /// let runs = table([#{ id: 1, fve: 0.9 }, #{ id: 2, fve: 0.8 }]);
    /// let names = table([#{ id: 1, name: "first" }]);
    /// runs.join(names, "id").rows  //=> [[0.9, 1, "first"]]
    /// runs.join(names, "id", #{ how: "left" })["name"]  //=> ["first", ()]
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn join(
        ctx: NativeCallContext,
        table: &mut Table,
        other: Table,
        columns: Any,
        options: Options,
    ) -> Fallible<Table> {
        let options = taken(options)?;
        let columns = given("columns", &columns).texts()?;
        let cost = super::steps(table) + super::steps(&other);
        let table = table.clone();
        Ok(env(&ctx)?.task.heavy(cost, move || tables::join(&table, &other, &columns, &options))?)
    }
}
