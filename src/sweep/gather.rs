//! Results of the cells of a sweep: a table of all, charts by site and kind, on one page.

use std::rc::Rc;

use super::cell::{Sweep, SweepCell};
use super::folder::Folder;
use super::run_task::{CellMeasures, MEASURES};
use crate::base::counts::count;
use crate::base::{self, Grid, Table, json};
use crate::common::*;
use crate::report::chart::Chart;
use crate::report::items::{self, Item, MarkdownText};
use crate::report::{Report, pareto};
use crate::sae::metrics::{Pareto, Point};

/// The folder of the page inside that of the sweep.
const REPORT: &str = "report";

/// The measures that have a heat map by site and settings.
type Measure = (&'static str, &'static str, fn(&Point) -> Option<f64>);
const MEASURED: [Measure; 4] = [
    ("FVE", "fraction of variance explained", |point| point.fve),
    ("L0", "codes per row that are not 0", |point| Some(point.l0)),
    ("Dead features", "share of the features", |point| Some(point.dead_share)),
    ("Loss recovered", "share of the cross-entropy", |point| point.recovered),
];

/// Gathered results.
pub struct SweepResults {
    /// A row for each cell that is done, in the order of the plan.
    pub table: Table,
    /// The page.
    pub page: PathBuf,
}

/// Writes `table.json` and the page of the cells that are done; returns None if none is.
pub fn gather(folder: &Folder, task: &Task) -> Result<Option<SweepResults>> {
    let sweep = folder.sweep()?;
    let mut done: Vec<(&SweepCell, Point)> = Vec::new();
    for cell in &sweep.cells {
        task.check()?;
        if folder.is_done(&cell.id())? {
            done.push((cell, judgement(folder, cell)?.point));
        }
    }
    if done.is_empty() {
        return Ok(None);
    }
    let table = table(&done);
    let mut list: Vec<Rc<dyn Item>> = vec![Rc::new(MarkdownText(heading(&sweep, done.len()))), Rc::new(table.clone())];
    list.extend(charts(&done).into_iter().map(|chart| Rc::new(chart) as Rc<dyn Item>));
    items::save(&table, &folder.files, &folder.root.join("table.json"), task)?;
    let page = Report::new(REPORT, list)?.save(&folder.files, Path::new(""), task)?;
    Ok(Some(SweepResults { table, page }))
}

fn judgement(folder: &Folder, cell: &SweepCell) -> Result<CellMeasures> {
    let path = folder.place(&cell.id()).join(Path::new(MEASURES));
    let text = folder.files.bytes(&path)?;
    json::read_content(&text, |e| {
        err!(Format, "{}: expected the measures of a cell: {e}", path.display())
            .hint("remove the folder of this cell and type `microtome sweep` with the plan again")
    })
}

fn heading(sweep: &Sweep, done: usize) -> String {
    let judged = match sweep.cells.iter().find_map(|cell| cell.judge.as_ref()) {
        Some(judge) => format!("They are judged on {}.", judge.source),
        None => "They are judged on the activations that they were fitted to.".into(),
    };
    format!("# Sweep\n{done} of {} are done. {judged}", count(sweep.cells.len(), "cell"))
}

fn table(done: &[(&SweepCell, Point)]) -> Table {
    let has_effects = done.iter().any(|(_, point)| point.recovered.is_some());
    let row = |(cell, point): &(&SweepCell, Point)| {
        let seed = cell.fit.get("seed").and_then(serde_json::Value::as_i64);
        let mut row: Vec<base::Cell> = vec![
            cell.reading.model.source.as_str().into(),
            cell.site.as_str().into(),
            cell.kind().into(),
            seed.into(),
            point.features.into(),
            point.l0.into(),
            point.fve.into(),
            point.dead_share.into(),
        ];
        row.extend(has_effects.then(|| base::Cell::from(point.recovered)));
        row.push(cell.id().into());
        row
    };
    let mut columns = vec!["model", "site", "kind", "seed", "features", "l0", "fve", "dead_share"];
    columns.extend(has_effects.then_some("ce_recovered"));
    columns.push("folder");
    Table::new("All cells that are done", columns, done.iter().map(row))
}

/// Draws FVE against L0 at each site, and each measure by site and settings, as a mean over seeds.
fn charts(done: &[(&SweepCell, Point)]) -> Vec<Chart> {
    let mut places: Vec<(&str, &str)> = Vec::new();
    let mut settings: Vec<String> = Vec::new();
    for (cell, _) in done {
        let place = (cell.reading.model.source.as_str(), cell.site.as_str());
        if !places.contains(&place) {
            places.push(place);
        }
        if !settings.contains(&cell.settings()) {
            settings.push(cell.settings());
        }
    }
    let of = |(model, site): (&str, &str)| -> Vec<&(&SweepCell, Point)> {
        done.iter().filter(|(cell, _)| cell.reading.model.source == model && cell.site == site).collect()
    };
    let is_one = places.iter().all(|(model, _)| Some(model) == places.first().map(|(model, _)| model));
    let name = |(model, site): &(&str, &str)| if is_one { site.to_string() } else { format!("{model} {site}") };
    let against = places.iter().map(|place| {
        let points = of(*place).into_iter().map(|(_, point)| point.clone()).collect();
        let chart = pareto::chart(&Pareto { points });
        Chart { title: format!("{} at {}", chart.title, name(place)), ..chart }
    });
    let by_site = MEASURED.iter().filter(|(.., value)| done.iter().any(|(_, point)| value(point).is_some()));
    let maps = by_site.map(|(title, quantity, value)| {
        let mean = |place: (&str, &str), wanted: &str| {
            let here = of(place).into_iter().filter(|(cell, _)| cell.settings() == wanted);
            let values: Vec<f64> = here.filter_map(|(_, point)| value(point)).collect();
            // Without a value it is NaN, which a heat map leaves empty.
            values.iter().sum::<f64>() / values.len() as f64
        };
        let values = places.iter().flat_map(|place| settings.iter().map(|wanted| mean(*place, wanted))).collect();
        Chart::heat(Grid {
            title: format!("{title} by site and settings"),
            row_axis: "site".into(),
            column_axis: "settings".into(),
            rows: places.iter().map(name).collect(),
            columns: settings.clone(),
            quantity: (*quantity).into(),
            values,
            intervals: Vec::new(),
        })
    });
    against.chain(maps).collect()
}
