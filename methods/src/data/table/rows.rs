//! Operations on a table's rows and columns: selection, sorting, groups, and joins of two tables.

use std::cmp::Ordering;
use std::collections::HashMap;

use super::{cells, twice};
use crate::common::*;

crate::options! {
    pub struct SortOptions {
        /// Whether the largest come first. Missing cells come last either way.
        descending: bool = false;
    }
}

crate::choices! {
    /// The rows of the first table that are in a join.
    pub enum JoinKind {
        /// The rows that have a partner.
        Inner = "inner",
        /// All rows; where there is no partner, its cells are missing.
        Left = "left",
    }
}

crate::options! {
    pub struct JoinOptions {
        /// The rows that are kept: "inner" leaves out rows without a partner, "left" keeps those of the first table.
        how: JoinKind = JoinKind::Inner;
    }
}

/// Selects columns, in the given order.
pub fn select(table: &Table, columns: &[String]) -> Result<Table> {
    if let Some(name) = twice(columns) {
        return Err(err!(Argument, "expected each column once, found `{name}` more than once").about("columns"));
    }
    let places = columns.iter().map(|name| table.place(name)).collect::<Result<Vec<_>>>()?;
    let row = |row: &Vec<Cell>| places.iter().map(|place| row.get(*place).cloned().unwrap_or(Cell::Missing)).collect();
    Ok(Table { title: table.title.clone(), columns: columns.to_vec(), rows: table.rows.iter().map(row).collect() })
}

/// Returns the first rows.
pub fn head(table: &Table, count: usize) -> Table {
    kept(table, 0..count.min(table.rows.len()))
}

/// Returns the rows at these places.
pub fn kept(table: &Table, places: impl IntoIterator<Item = usize>) -> Table {
    let rows = places.into_iter().filter_map(|place| table.rows.get(place).cloned()).collect();
    Table { title: table.title.clone(), columns: table.columns.clone(), rows }
}

/// Sorts the rows by some columns, of which the first decides, and the next where its cells are equal. Rows that are
/// equal in all of them keep their order.
pub fn sort(table: &Table, columns: &[String], options: &SortOptions) -> Result<Table> {
    let columns = columns.iter().map(|name| table.column(name)).collect::<Result<Vec<_>>>()?;
    let order = |cells: &Vec<&Cell>, one: usize, other: usize| {
        let one = cells[one];
        let other = cells[other];
        match (one, other) {
            (Cell::Missing, _) | (_, Cell::Missing) => rank(one).cmp(&rank(other)),
            _ if options.descending => compare(other, one),
            _ => compare(one, other),
        }
    };
    let mut places: Vec<usize> = (0..table.rows.len()).collect();
    places.sort_by(|one, other| {
        let orders = columns.iter().map(|cells| order(cells, *one, *other));
        orders.fold(Ordering::Equal, Ordering::then)
    });
    Ok(kept(table, places))
}

/// Returns the rank of a cell's type: booleans before numbers before texts, and missing cells last.
fn rank(cell: &Cell) -> u8 {
    match cell {
        Cell::Bool(_) => 0,
        Cell::Int(_) | Cell::Float(_) => 1,
        Cell::Text(_) => 2,
        Cell::Missing => 3,
    }
}

/// Compares two cells: numbers by their value, NaN above all others, and texts by their characters.
fn compare(one: &Cell, other: &Cell) -> Ordering {
    match (one, other) {
        (Cell::Bool(one), Cell::Bool(other)) => one.cmp(other),
        (Cell::Int(one), Cell::Int(other)) => one.cmp(other),
        (Cell::Float(one), Cell::Float(other)) => {
            one.partial_cmp(other).unwrap_or_else(|| one.is_nan().cmp(&other.is_nan()))
        }
        (Cell::Int(one), Cell::Float(other)) => compare_mixed(*one, *other),
        (Cell::Float(one), Cell::Int(other)) => compare_mixed(*other, *one).reverse(),
        // UTF-8 keeps the order of characters.
        (Cell::Text(one), Cell::Text(other)) => one.cmp(other),
        _ => rank(one).cmp(&rank(other)),
    }
}

/// Compares an integer with a float, exactly: as a float, a large integer would be rounded.
fn compare_mixed(one: i64, other: f64) -> Ordering {
    /// The first float above all integers.
    const ABOVE: f64 = 9_223_372_036_854_775_808.0;
    if other.is_nan() || other >= ABOVE {
        return Ordering::Less;
    }
    if other < -ABOVE {
        return Ordering::Greater;
    }
    let whole = other.floor();
    one.cmp(&(whole as i64)).then(if other > whole { Ordering::Less } else { Ordering::Equal })
}

/// A key that is the same for two cells if and only if they are equal.
#[derive(PartialEq, Eq, Hash)]
enum CellKey<'a> {
    Missing,
    Bool(bool),
    Int(i64),
    /// The bits of a number that is no integer.
    Float(u64),
    Text(&'a str),
}

impl<'a> CellKey<'a> {
    fn of(cell: &'a Cell) -> Self {
        match cell {
            Cell::Missing => Self::Missing,
            Cell::Bool(value) => Self::Bool(*value),
            Cell::Int(number) => Self::Int(*number),
            Cell::Float(number) if number.is_nan() => Self::Float(f64::NAN.to_bits()),
            // `1.0` is as good as `1`.
            Cell::Float(number) if compare_mixed(*number as i64, *number).is_eq() => Self::Int(*number as i64),
            Cell::Float(number) => Self::Float(number.to_bits()),
            Cell::Text(text) => Self::Text(text),
        }
    }
}

/// The rows of a table that are equal in some columns.
pub struct TableGroup {
    /// Values of these columns.
    pub values: Vec<Cell>,
    pub rows: Table,
}

/// Refuses columns to group or join by that are none, or of which one is named twice.
fn by(columns: &[String]) -> Result<()> {
    match twice(columns) {
        _ if columns.is_empty() => Err(err!(Argument, "expected at least one column, found none")),
        Some(name) => Err(err!(Argument, "expected each column once, found `{name}` more than once")),
        None => Ok(()),
    }
}

/// Returns the cells of some columns, row after row.
fn keys<'t>(table: &'t Table, columns: &[String]) -> Result<Vec<Vec<&'t Cell>>> {
    let columns = columns.iter().map(|name| table.column(name)).collect::<Result<Vec<_>>>()?;
    Ok((0..table.rows.len()).map(|row| columns.iter().map(|cells| cells[row]).collect()).collect())
}

fn key_of<'t>(cells: &[&'t Cell]) -> Vec<CellKey<'t>> {
    cells.iter().map(|cell| CellKey::of(cell)).collect()
}

/// Groups the rows by the values of some columns, in the order in which each combination first occurs.
pub fn groups(table: &Table, columns: &[String]) -> Result<Vec<TableGroup>> {
    by(columns)?;
    let mut found: Vec<Vec<usize>> = Vec::new();
    let mut known: HashMap<Vec<CellKey>, usize> = HashMap::new();
    let keys = keys(table, columns)?;
    for (place, cells) in keys.iter().enumerate() {
        let group = *known.entry(key_of(cells)).or_insert(found.len());
        match found.get_mut(group) {
            Some(places) => places.push(place),
            None => found.push(vec![place]),
        }
    }
    let group = |places: Vec<usize>| TableGroup {
        values: keys[places[0]].iter().map(|cell| (*cell).clone()).collect(),
        rows: kept(table, places),
    };
    Ok(found.into_iter().map(group).collect())
}

/// Joins each row of a table with each row of another that is equal in some columns, which both have. The other's columns
/// come last, those of a name that both have with `_right` appended.
pub fn join(table: &Table, other: &Table, by_columns: &[String], options: &JoinOptions) -> Result<Table> {
    by(by_columns).map_err(|e| e.about("columns"))?;
    let here = keys(table, by_columns).map_err(|e| e.about("columns"))?;
    let there = keys(other, by_columns).map_err(|e| e.within("the other table").about("columns"))?;
    let mut columns = table.columns.clone();
    let added: Vec<usize> =
        (0..other.columns.len()).filter(|place| !by_columns.contains(&other.columns[*place])).collect();
    columns.extend(
        added
            .iter()
            .map(|place| &other.columns[*place])
            .map(|name| if table.columns.contains(name) { format!("{name}_right") } else { name.clone() }),
    );
    if let Some(name) = twice(&columns) {
        return Err(err!(Name, "expected columns of different names after the join, found `{name}` more than once")
            .hint("choose the columns of either table by `select` before"));
    }
    let mut partners: HashMap<Vec<CellKey>, Vec<usize>> = HashMap::new();
    for (place, cells) in there.iter().enumerate() {
        // What is missing is equal to nothing.
        if cells.iter().all(|cell| **cell != Cell::Missing) {
            partners.entry(key_of(cells)).or_default().push(place);
        }
    }
    let partners: Vec<&[usize]> =
        here.iter().map(|cells| partners.get(&key_of(cells)).map_or(&[][..], Vec::as_slice)).collect();
    let is_left = options.how == JoinKind::Left;
    let count: u128 = partners.iter().map(|of| of.len().max(usize::from(is_left)) as u128).sum();
    memory::check(count * columns.len() as u128 * size_of::<Cell>() as u128, || format!("a join of {count} rows"))?;
    let mut rows = Vec::new();
    for (row, partners) in table.rows.iter().zip(partners) {
        let joined = |partner: Option<&Vec<Cell>>| -> Vec<Cell> {
            let of = |place: &usize| partner.and_then(|row| row.get(*place)).cloned().unwrap_or(Cell::Missing);
            let others = added.iter().map(of);
            cells(table, row).cloned().chain(others).collect()
        };
        rows.extend(partners.iter().map(|place| joined(other.rows.get(*place))));
        if partners.is_empty() && is_left {
            rows.push(joined(None));
        }
    }
    Ok(Table { title: table.title.clone(), columns, rows })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(columns: &[&str], rows: Vec<Vec<Cell>>) -> Table {
        Table { title: "T".into(), columns: columns.iter().map(|name| name.to_string()).collect(), rows }
    }

    /// Returns the cells of one column as they are written for a person.
    fn texts(table: &Table, column: &str) -> Vec<String> {
        table.column(column).unwrap().into_iter().map(|cell| format!("{cell:?}")).collect()
    }

    fn of_values(values: &[Cell]) -> Table {
        let rows = values.iter().enumerate().map(|(place, value)| vec![value.clone(), place.into()]).collect();
        table(&["value", "place"], rows)
    }

    fn order(values: &[Cell], descending: bool) -> Vec<i64> {
        let sorted = sort(&of_values(values), &["value".into()], &SortOptions { descending }).unwrap();
        let place = |cell: &Cell| if let Cell::Int(place) = cell { *place } else { -1 };
        sorted.column("place").unwrap().into_iter().map(place).collect()
    }

    #[test]
    fn numbers_are_ordered_by_value_and_what_is_missing_comes_last_either_way() {
        let values = [2.5.into(), Cell::Missing, 2_i64.into(), Cell::Float(f64::NAN), 2.0.into(), (-1_i64).into()];
        assert_eq!(order(&values, false), [5, 2, 4, 0, 3, 1]);
        assert_eq!(order(&values, true), [3, 0, 2, 4, 5, 1]);
        let texts = ["b".into(), "B".into(), "ä".into(), "".into(), "a".into()];
        assert_eq!(order(&texts, false), [3, 1, 4, 0, 2]);
        let mixed: [Cell; 3] = ["1".into(), 1_i64.into(), true.into()];
        assert_eq!(order(&mixed, false), [2, 1, 0]);
    }

    #[test]
    fn large_integers_are_not_rounded_beside_floats() {
        let large = 9_007_199_254_740_993_i64;
        assert_eq!(compare_mixed(large, 9_007_199_254_740_992.0), Ordering::Greater);
        assert_eq!(compare_mixed(i64::MAX, 9_223_372_036_854_775_808.0), Ordering::Less);
        assert_eq!(compare_mixed(i64::MIN, -9_223_372_036_854_775_808.0), Ordering::Equal);
        assert_eq!(compare_mixed(i64::MIN, f64::NEG_INFINITY), Ordering::Greater);
        assert_eq!(compare_mixed(-1, -1.5), Ordering::Greater);
        assert_eq!(compare_mixed(-2, -1.5), Ordering::Less);
        assert!(CellKey::of(&Cell::Float(9_223_372_036_854_775_808.0)) != CellKey::of(&Cell::Int(i64::MAX)));
        assert!(CellKey::of(&Cell::Float(-0.0)) == CellKey::of(&Cell::Int(0)));
    }

    #[test]
    fn several_columns_decide_one_after_the_other() {
        let rows = [("b", 1), ("a", 2), ("b", 0), ("a", 1)].map(|(name, n)| vec![name.into(), Cell::Int(n)]);
        let sorted =
            sort(&table(&["name", "n"], rows.into()), &["name".into(), "n".into()], &SortOptions::default()).unwrap();
        assert_eq!(texts(&sorted, "n"), ["Int(1)", "Int(2)", "Int(0)", "Int(1)"]);
        assert!(sort(&sorted, &["x".into()], &SortOptions::default()).is_err());
    }

    #[test]
    fn columns_are_chosen_in_the_order_asked_for() {
        let all = table(&["a", "b", "c"], vec![vec![1_i64.into(), 2_i64.into(), 3_i64.into()], vec![4_i64.into()]]);
        let some = select(&all, &["c".into(), "a".into()]).unwrap();
        assert_eq!((some.columns.join(" "), some.title.as_str()), ("c a".into(), "T"));
        assert_eq!(some.rows, [vec![3_i64.into(), 1_i64.into()], vec![Cell::Missing, 4_i64.into()]]);
        assert!(select(&all, &["a".into(), "a".into()]).unwrap_err().message.contains("`a` more than once"));
        assert_eq!(select(&all, &["d".into()]).unwrap_err().message, "this table has no column `d`");
        assert_eq!((head(&all, 1).rows.len(), head(&all, 9).rows.len()), (1, 2));
    }

    #[test]
    fn groups_stand_in_the_order_of_their_first_rows() {
        let values = ["b".into(), 1_i64.into(), "a".into(), 1.0.into(), Cell::Missing, "b".into(), Cell::Missing];
        let found = groups(&of_values(&values), &["value".into()]).unwrap();
        let listed: Vec<(Vec<Cell>, usize)> =
            found.into_iter().map(|group| (group.values, group.rows.rows.len())).collect();
        let all = [("b".into(), 2), (1_i64.into(), 2), ("a".into(), 1), (Cell::Missing, 2)];
        assert_eq!(listed, all.map(|(value, rows)| (vec![value], rows)));
    }

    #[test]
    fn several_columns_make_one_key() {
        let rows = [("a", 1, 10), ("a", 2, 20), ("b", 1, 30), ("a", 1, 40)];
        let all = table(&["x", "y", "n"], rows.map(|(x, y, n)| vec![x.into(), Cell::Int(y), Cell::Int(n)]).into());
        let by = ["x".to_string(), "y".to_string()];
        let found = groups(&all, &by).unwrap();
        let listed: Vec<usize> = found.iter().map(|group| group.rows.rows.len()).collect();
        assert_eq!((listed, &found[2].values), (vec![2, 1, 1], &vec!["b".into(), Cell::Int(1)]));
        let other = table(&["y", "z", "x"], vec![vec![1.0.into(), "found".into(), "a".into()], vec![Cell::Missing]]);
        let joined = join(&all, &other, &by, &JoinOptions::default()).unwrap();
        assert_eq!(joined.columns, ["x", "y", "n", "z"]);
        assert_eq!(texts(&joined, "n"), ["Int(10)", "Int(40)"]);
        assert!(groups(&all, &[]).is_err() && groups(&all, &["x".into(), "x".into()]).is_err());
    }

    #[test]
    fn a_join_has_every_pair_of_equal_rows() {
        let left = table(
            &["id", "x", "y"],
            vec![vec![1_i64.into(), "p".into()], vec![2_i64.into()], vec![Cell::Missing], vec![1.0.into(), "q".into()]],
        );
        let rows = [(1, "one"), (3, "three"), (1, "uno")].map(|(id, name)| vec![name.into(), Cell::Int(id)]);
        let mut right = table(&["x", "id"], rows.into());
        right.rows.push(vec!["nothing".into(), Cell::Missing]);
        let inner = join(&left, &right, &["id".into()], &JoinOptions::default()).unwrap();
        assert_eq!(inner.columns, ["id", "x", "y", "x_right"]);
        assert_eq!(texts(&inner, "x"), ["Text(\"p\")", "Text(\"p\")", "Text(\"q\")", "Text(\"q\")"]);
        assert_eq!(texts(&inner, "x_right")[..2], ["Text(\"one\")", "Text(\"uno\")"]);
        let kept = join(&left, &right, &["id".into()], &JoinOptions { how: JoinKind::Left }).unwrap();
        assert_eq!(kept.rows.len(), 6);
        assert_eq!(texts(&kept, "x_right")[2..4], ["Missing", "Missing"]);
        let wrong = join(&left, &right, &["y".into()], &JoinOptions::default()).unwrap_err();
        assert_eq!(wrong.message, "the other table: this table has no column `y`");
        let clash = table(&["id", "x", "x_right"], Vec::new());
        let clash = join(&clash, &right, &["id".into()], &JoinOptions::default()).unwrap_err();
        assert!(clash.message.contains("`x_right`"));
    }
}
