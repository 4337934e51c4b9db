//! Methods of results: saving them, and reading their data.

use super::page;
use crate::report::Report;
use crate::script::engine::show::saved_picture;
use crate::script::prelude::*;

#[export_module(manifest)]
pub mod methods {
    /// Writes the page of the report as one file, whose name ends in .html. Without a name, it writes the page, its data and its
    /// pictures into the folder of the run, where its record is, if the report has the script's name, and else into a folder of
    /// the report's name in it. Returns the path of the page.
    ///
    /// What `microtome run FILE` leaves is below out/FILE/. At the prompt there is no such folder, and the page is in out/NAME/.
    ///
    /// A live page answers: it has the engine, the model and the dictionaries of its circuits inside, and computes on the reader's
    /// machine, with no server and no connection. In a circuit one types another text, ablates or scales nodes, and sees codes,
    /// probabilities and losses move; pages of lenses, patterns of heads and cards of features are those of one's own text. What was
    /// printed stays. Weights are stored in 16 bits, or matrices of the model as int8. The engine is found as the page on the engine in a
    /// page says.
    ///
    /// # Options
    /// - [report_page]
    ///
    /// # Example
    /// ```
    /// let r = report("doc-save", ["Nothing yet."]);
    /// r.save().ends_with("doc-save/index.html")  //=> true
    /// r.save("doc/page.html").ends_with("doc/page.html")  //=> true
    /// ```
    #[rhai_fn(global, name = "save", pure, return_raw)]
    pub fn save_page(ctx: NativeCallContext, report: &mut Report, path: &str, options: Options) -> Fallible<String> {
        let env = env(&ctx)?;
        Ok(page::saved(&env, report, path, taken(options)?)?)
    }

    #[rhai_fn(global, pure, return_raw)]
    pub fn save(ctx: NativeCallContext, report: &mut Report) -> Fallible<String> {
        let env = env(&ctx)?;
        Ok(report.save(&env.files, &env.folder, &env.task)?.display().to_string())
    }

    /// Returns the report's name and the data of its items, as a map.
    ///
    /// # Example
    /// ```
    /// report("doc", ["one", "two"]).to_map().items[1].data  //=> "two"
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn to_map(report: &mut Report) -> Fallible<Dynamic> {
        Ok(mapped(report)?)
    }

    /// Writes the chart as .svg, .png, .pdf, .json, .txt or .html, as the name ends. Returns the path of the file.
    ///
    /// In .svg the letters are outlines, so that it looks the same everywhere. In .pdf, one page of the chart's size (96
    /// pixels to an inch), they are text of the embedded typefaces. Equal charts are equal files.
    ///
    /// # Options
    /// - [picture_file]
    ///
    /// # Example
    /// ```
    /// plot::line([1, 3, 2]).save("doc/line.pdf").ends_with("line.pdf")  //=> true
    /// plot::line([1, 3, 2]).save("doc/line.png", #{ dpi: 300 }).ends_with("line.png")  //=> true
    /// ```
    #[rhai_fn(global, name = "save", pure, return_raw)]
    pub fn save_chart(ctx: NativeCallContext, chart: &mut Chart, path: &str, options: Options) -> Fallible<String> {
        Ok(saved_picture(&ctx, chart, path, &taken(options)?)?)
    }

    /// Returns the chart's data as a map: its kind, title, axes and series.
    ///
    /// # Example
    /// ```
    /// plot::line([1, 3, 2]).to_map().series[0].y  //=> [1.0, 3.0, 2.0]
    /// ```
    #[rhai_fn(global, name = "to_map", pure, return_raw)]
    pub fn chart_map(chart: &mut Chart) -> Fallible<Dynamic> {
        Ok(mapped(chart)?)
    }

    /// Writes the table as .csv, .parquet, .arrow, .feather, .arrows, .json, .txt, .html or .md, as the name ends. Returns the path
    /// of the file.
    ///
    /// `data::table` reads the first six back with the types of the cells, and so do pandas, polars and others. In .csv a
    /// missing cell is empty, and a text that looks like something else stands in quotes. .json is a list of maps, one for each row;
    /// NaN and infinities, which JSON lacks, are null there, as a missing cell is. Among floats, integers are written as floats. A
    /// column of .parquet and of Arrow has one type: numbers, texts or booleans. Of Arrow, .arrow and .feather are files and .arrows is
    /// a stream. None of these has a title.
    ///
    /// # Example
    /// ```
    /// let runs = table([#{ kind: "topk", fve: 0.9 }, #{ kind: "l1" }]);
    /// runs.save("doc/runs.csv");
    /// run::load_text("doc/runs.csv")  //=> "fve,kind\n0.9,topk\n,l1\n"
    /// run::load_json(runs.save("doc/runs.json"))[0]  //=> #{ fve: 0.9, kind: "topk" }
    /// ["parquet", "arrow"].map(|format| data::table(runs.save(`doc/runs.${format}`)).rows == runs.rows)  //=> [true, true]
    /// ```
    #[rhai_fn(global, name = "save", pure, return_raw)]
    pub fn save_table(ctx: NativeCallContext, table: &mut Table, path: &str) -> Fallible<String> {
        Ok(saved(&ctx, table, path)?)
    }

    /// Returns the table's title, columns and rows, as a map.
    ///
    /// # Example
    /// ```
    /// table([#{ a: 1 }, #{ a: 2 }]).to_map().rows  //=> [[1], [2]]
    /// ```
    #[rhai_fn(global, name = "to_map", pure, return_raw)]
    pub fn table_map(table: &mut Table) -> Fallible<Dynamic> {
        Ok(mapped(table)?)
    }

    /// Returns the names of the table's columns.
    ///
    /// # Example
    /// ```
    /// table([#{ a: 1, b: 2 }]).columns  //=> ["a", "b"]
    /// ```
    #[rhai_fn(global, get = "columns", pure)]
    pub fn columns(table: &mut Table) -> Array {
        table.columns.iter().cloned().map(Dynamic::from).collect()
    }

    /// Writes the grid as .svg, .png, .pdf, .json, .txt or .html, as the name ends. Returns the path of the file.
    ///
    /// # Options
    /// - [picture_file]
    ///
    /// # Example
    /// ```
    /// grid([[1, 2], [3, 4]]).save("doc/grid.png").ends_with("grid.png")  //=> true
    /// ```
    #[rhai_fn(global, name = "save", pure, return_raw)]
    pub fn save_grid(ctx: NativeCallContext, grid: &mut Grid, path: &str, options: Options) -> Fallible<String> {
        Ok(saved_picture(&ctx, grid, path, &taken(options)?)?)
    }

    /// Returns the grid's title, names and values, row after row, as a map.
    ///
    /// # Example
    /// ```
    /// grid([[1, 2], [3, 4]]).to_map().values  //=> [1.0, 2.0, 3.0, 4.0]
    /// ```
    #[rhai_fn(global, name = "to_map", pure, return_raw)]
    pub fn grid_map(grid: &mut Grid) -> Fallible<Dynamic> {
        Ok(mapped(grid)?)
    }

    /// Writes the card as .json, .txt or .html, as the name ends. Returns the path of the file.
    ///
    /// # Example
    /// ```
    /// card("run 3", #{ loss: 2.5 }).save("doc/card.json").ends_with("card.json")  //=> true
    /// ```
    #[rhai_fn(global, name = "save", pure, return_raw)]
    pub fn save_card(ctx: NativeCallContext, card: &mut Card, path: &str) -> Fallible<String> {
        Ok(saved(&ctx, card, path)?)
    }

    /// Returns the card's title, fields, histogram and body, as a map.
    ///
    /// # Example
    /// ```
    /// card("run 3", #{ loss: 2.5 }).to_map().fields.loss  //=> 2.5
    /// ```
    #[rhai_fn(global, name = "to_map", pure, return_raw)]
    pub fn card_map(card: &mut Card) -> Fallible<Dynamic> {
        Ok(mapped(card)?)
    }

    /// Writes the text as .json, .txt or .html, as the name ends. Returns the path of the file.
    ///
    /// # Example
    /// ```
    /// heat_text(["a"], [1]).save("doc/heat.html").ends_with("heat.html")  //=> true
    /// ```
    #[rhai_fn(global, name = "save", pure, return_raw)]
    pub fn save_heat_text(ctx: NativeCallContext, heat: &mut HeatText, path: &str) -> Fallible<String> {
        Ok(saved(&ctx, heat, path)?)
    }

    /// Returns the title, the tokens, their numbers, and what these are, as a map.
    ///
    /// # Example
    /// ```
    /// heat_text(["a", "b"], [1, 0.5]).to_map().values  //=> [1.0, 0.5]
    /// ```
    #[rhai_fn(global, name = "to_map", pure, return_raw)]
    pub fn heat_text_map(heat: &mut HeatText) -> Fallible<Dynamic> {
        Ok(mapped(heat)?)
    }
}
