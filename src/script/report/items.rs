//! Charts, tables, grids, cards, heat text and reports as handles that scripts hold.

use crate::report::Report;
use crate::report::visible_text::elided;
use crate::script::prelude::*;

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
        self.data(&Task::default())
    }
}

/// Writes ` "title"`, where there is one.
fn called(title: &str) -> String {
    if title.is_empty() { String::new() } else { format!(" {:?}", elided(&visible(title), 40)) }
}
