//! Reports and what goes into them: tables, grids, cards and heat text, made by scripts.

pub mod collect;
pub mod dashboard;
mod items;
mod make;
pub mod methods;
pub mod mime;
mod page;
pub mod parts;
pub mod tables;

use crate::data::table::{JoinOptions, SortOptions};
use crate::features::dashboard::DashboardOptions;
use crate::report::Report;
use crate::report::chart::{self, GridOptions};
use crate::report::items::{CardOptions, HeatTextOptions, PictureOptions, TableOptions};
use crate::script::engine::value::plain_data;
use crate::script::prelude::*;

/// The groups of options that documentation here names.
pub const OPTIONS: &[NamedOptions] = &[
    ("table", fields::<TableOptions>),
    ("table_join", fields::<JoinOptions>),
    ("table_sort", fields::<SortOptions>),
    ("heat_text", fields::<HeatTextOptions>),
    ("grid", fields::<GridOptions>),
    ("picture_file", fields::<PictureOptions>),
    ("report_page", fields::<page::ReportPageOptions>),
    ("card_of_facts", fields::<CardOptions>),
    ("dashboard", fields::<DashboardOptions>),
    ("dashboard_shown", fields::<dashboard::ShownOptions>),
];

/// The types that scripts hold.
pub const HANDLES: &[HandleType] = &[
    large::<Card>(),
    large::<Chart>(),
    large::<Grid>(),
    large::<HeatText>(),
    handle_type::<Report>(),
    large::<Table>(),
];

#[export_module(manifest)]
pub mod functions {
    /// Makes a report: text and results on one page that needs nothing else, with the data as JSON and the pictures
    /// beside it.
    ///
    /// Items are strings (in Markdown: headings, lists, code, emphasis; links and HTML stay text), charts, tables, cards, grids, heat
    /// text, and any other value; lists of items are taken apart. `save` writes the page beside the record of the run.
    ///
    /// # Example
    /// ```
    /// let r = report("doc-report", ["# Loss\nIt *falls*.", plot::line([3, 2, 1])]);
    /// r.save().ends_with("index.html")  //=> true
    /// ```
    #[rhai_fn(return_raw)]
    pub fn report(ctx: NativeCallContext, name: &str, items: Array) -> Fallible<Report> {
        Ok(super::collect::report(name, &items, &env(&ctx)?.task)?)
    }

    /// Makes a table from rows: maps of column names to values, or lists together with the option `columns`.
    ///
    /// Values are numbers, strings, true or false, or nothing, `()`, where a value is missing.
    ///
    /// # Options
    /// - [table]
    ///
    /// # Example
    /// ```
    /// table([#{ site: "resid_post.0", fve: 0.93 }, #{ site: "resid_post.1" }]).columns  //=> ["fve", "site"]
    /// ```
    #[rhai_fn(return_raw)]
    pub fn table(ctx: NativeCallContext, rows: Array, options: Options) -> Fallible<Table> {
        Ok(super::make::table(&rows, options, &env(&ctx)?.task)?)
    }

    /// Makes heat text: tokens on a ground whose colour says how large the number of each is.
    ///
    /// # Options
    /// - [heat_text]
    ///
    /// # Example
    /// ```
    /// heat_text(["(", "1999", ")"], [0.1, 0.9, 0.3], #{ quantity: "activation" })  //=> heat text of 3 tokens
    /// ```
    #[rhai_fn(return_raw)]
    pub fn heat_text(ctx: NativeCallContext, tokens: Array, values: Any, options: Options) -> Fallible<HeatText> {
        Ok(super::make::heat_text(tokens, &values, options, &env(&ctx)?.task)?)
    }

    /// Makes a grid: a matrix with names for its rows and columns, shown as a heat map.
    ///
    /// The values are a tensor of two dimensions or a list of lists. A cell whose value is `()` stays empty.
    ///
    /// # Options
    /// - [grid]
    ///
    /// # Example
    /// ```
    /// grid([[1, 2, 3], [4, 5, 6]], #{ rows: ["a", "b"] })  //=> grid of 2 by 3
    /// ```
    #[rhai_fn(return_raw)]
    pub fn grid(ctx: NativeCallContext, data: Any, options: Options) -> Fallible<Grid> {
        Ok(chart::grid(&plain_data(&data)?, taken(options)?, &env(&ctx)?.task)?)
    }

    /// Makes a card: named facts about one thing.
    ///
    /// # Options
    /// - [card_of_facts]
    ///
    /// # Example
    /// ```
    /// card("feature 7", #{ density: 0.02, alive: true }, #{ body: "fires in brackets" })  //=> card "feature 7"
    /// ```
    #[rhai_fn(return_raw)]
    pub fn card(title: &str, fields: Map, options: Options) -> Fallible<Card> {
        Ok(super::make::card(title, &fields, options)?)
    }
}
