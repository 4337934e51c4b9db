//! The optimal assignment of rows to columns.

use crate::base::{Result, Task};

/// Assigns to each row of `costs`, which has `rows` rows and at least as many columns, the column that makes the sum of
/// the costs least, each column taken at most once: the Hungarian method by shortest paths (Jonker & Volgenant 1987).
pub fn assigned(costs: &[f64], rows: usize, columns: usize, task: &Task) -> Result<Vec<usize>> {
    let mut search = AssignmentSearch {
        costs,
        columns,
        row_price: vec![0.0; rows],
        price: vec![0.0; columns],
        taken: vec![None; columns],
    };
    let bar = task.begin("matching directions", Some(rows as u64));
    for row in 0..rows {
        search.place(row, task)?;
        bar.advance(1);
    }
    let mut found = vec![0; rows];
    for (column, row) in search.taken.iter().enumerate() {
        if let Some(place) = row.and_then(|row| found.get_mut(row)) {
            *place = column;
        }
    }
    Ok(found)
}

struct AssignmentSearch<'a> {
    costs: &'a [f64],
    columns: usize,
    row_price: Vec<f64>,
    price: Vec<f64>,
    /// Row that has each column.
    taken: Vec<Option<usize>>,
}

impl AssignmentSearch<'_> {
    /// Finds a column for one more row, along the cheapest chain of rows that give way to each other.
    fn place(&mut self, row: usize, task: &Task) -> Result<()> {
        let mut far = vec![f64::INFINITY; self.columns];
        let mut from: Vec<Option<usize>> = vec![None; self.columns];
        let mut seen = vec![false; self.columns];
        let mut chain = Vec::new();
        let mut at = row;
        let mut entered = None;
        let mut length = 0.0;
        loop {
            task.check()?;
            let costs = &self.costs[at * self.columns..(at + 1) * self.columns];
            let mut next = (f64::INFINITY, 0);
            for column in (0..self.columns).filter(|column| !seen[*column]) {
                let reached = length + costs[column] - self.row_price[at] - self.price[column];
                if reached < far[column] {
                    (far[column], from[column]) = (reached, entered);
                }
                if far[column] < next.0 {
                    next = (far[column], column);
                }
            }
            let column;
            (length, column) = next;
            seen[column] = true;
            match self.taken[column] {
                Some(owner) => {
                    chain.push((column, owner));
                    (at, entered) = (owner, Some(column));
                }
                None => {
                    self.pay(row, &chain, &far, length);
                    self.give_way(row, column, &from);
                    return Ok(());
                }
            }
        }
    }

    /// Raises the prices of the rows and columns on the way, so that no pair costs less than nothing.
    fn pay(&mut self, row: usize, chain: &[(usize, usize)], far: &[f64], length: f64) {
        self.row_price[row] += length;
        for (column, owner) in chain {
            let step = length - far[*column];
            self.price[*column] -= step;
            self.row_price[*owner] += step;
        }
    }

    /// Hands columns on, from the free one back to the row that had none.
    fn give_way(&mut self, row: usize, mut column: usize, from: &[Option<usize>]) {
        while let Some(before) = from[column] {
            self.taken[column] = self.taken[before];
            column = before;
        }
        self.taken[column] = Some(row);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Finds the least sum over all ways, one by one.
    fn least(costs: &[f64], rows: usize, columns: usize, row: usize, used: u32) -> f64 {
        if row == rows {
            return 0.0;
        }
        let free = (0..columns).filter(|column| used & (1 << column) == 0);
        let sums = free.map(|c| costs[row * columns + c] + least(costs, rows, columns, row + 1, used | (1 << c)));
        sums.fold(f64::INFINITY, f64::min)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        #[test]
        fn no_other_assignment_costs_less(
            (rows, columns, costs) in (1_usize..5, 0_usize..3).prop_flat_map(|(rows, more)| {
                (Just(rows), Just(rows + more), prop::collection::vec(0_u32..9, rows * (rows + more)))
            })
        ) {
            let costs: Vec<f64> = costs.into_iter().map(f64::from).collect();
            let found = assigned(&costs, rows, columns, &Task::default()).unwrap();
            let mut sorted = found.clone();
            sorted.sort_unstable();
            sorted.dedup();
            prop_assert_eq!(sorted.len(), rows);
            let cost: f64 = found.iter().enumerate().map(|(row, column)| costs[row * columns + column]).sum();
            prop_assert_eq!(cost, least(&costs, rows, columns, 0, 0));
        }
    }
}
