//! From the values of a script to the items of a report.

use std::rc::Rc;

use candle_core::Tensor;
use rhai::{Array, Dynamic, ImmutableString};
use serde_json::Value;

use crate::base::{Card, Grid, HeatText, Result, Table, Task};
use crate::features::FeatureCard;
use crate::report::chart::Chart;
use crate::report::html::escape;
use crate::report::{Item, Report, Screen, Text};
use crate::script::circuit::{Enough, Judgement, Selection, Tree};
use crate::script::features::{Feature, Ranking};
use crate::script::model::{self, Attribution, Comparison, Lens};
use crate::script::show;
use crate::script::value::json;
use crate::tensor;

/// Columns of preformatted text that a page has room for.
const PAGE: usize = 100;

/// A report of all that the list holds.
pub fn report(name: &str, list: &Array, task: &Task) -> Result<Report> {
    let mut items = Vec::new();
    list.iter().try_for_each(|value| collect(value, &mut items, task))?;
    Report::new(name, items).map_err(|e| e.about("name"))
}

/// Adds the value as an item, lists of items one by one.
fn collect(value: &Dynamic, items: &mut Vec<Rc<dyn Item>>, task: &Task) -> Result<()> {
    task.check()?;
    if let Some(item) = item(value) {
        items.push(item);
        return Ok(());
    }
    if let Some(tensor) = value.read_lock::<Tensor>() {
        items.push(Rc::new(tensor::card::card(&tensor, PAGE)?));
        return Ok(());
    }
    if let Some(feature) = value.read_lock::<Feature>() {
        items.push(Rc::new(feature.card()?));
        return Ok(());
    }
    if let Some(item) = model::summary(value)? {
        items.push(item);
        return Ok(());
    }
    let is_plain = |value: &Dynamic| value.is_int() || value.is_float() || value.is_bool();
    if let Some(list) = value.read_lock::<Array>()
        && !list.iter().all(is_plain)
    {
        return list.iter().try_for_each(|value| collect(value, items, task));
    }
    items.push(Rc::new(Other {
        text: show::shown(value, &Screen { width: PAGE, ..Screen::default() }, task)?,
        data: json(value, task)?,
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
    let plain = [of::<Chart>, of::<Table>, of::<Grid>, of::<Card>, of::<HeatText>, of::<FeatureCard>];
    let read = [of::<Lens>, of::<Attribution>, of::<Comparison>, of::<Ranking>];
    let circuits = [of::<Tree>, of::<Selection>, of::<Judgement>, of::<Enough>];
    plain.iter().chain(&read).chain(&circuits).find_map(|kind| kind(value))
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
