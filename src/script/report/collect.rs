//! Conversion of values of a script to the items of a report.

use crate::report::html::escape;
use crate::report::{MarkdownText, Report};
use crate::script::engine::handle::{self, PAGE};
use crate::script::engine::show;
use crate::script::engine::value::json;
use crate::script::prelude::*;

/// Makes a report of all that the list holds.
pub fn report(name: &str, list: &Array, task: &Task) -> Result<Report> {
    let mut items = Vec::new();
    list.iter().try_for_each(|value| collect(value, &mut items, task))?;
    Report::new(name, items).map_err(|e| e.about("name"))
}

/// Adds the value as an item, lists of items one by one.
fn collect(value: &Dynamic, items: &mut Vec<Rc<dyn Item>>, task: &Task) -> Result<()> {
    task.check()?;
    if let Some(text) = value.read_lock::<ImmutableString>() {
        items.push(Rc::new(MarkdownText(text.to_string())));
        return Ok(());
    }
    if let Some(item) = handle::item(value)? {
        items.push(item);
        return Ok(());
    }
    let is_plain = |value: &Dynamic| value.is_int() || value.is_float() || value.is_bool();
    if let Some(list) = value.read_lock::<Array>()
        && !list.iter().all(is_plain)
    {
        return list.iter().try_for_each(|value| collect(value, items, task));
    }
    items.push(Rc::new(OtherValue {
        text: show::shown(value, &Screen { width: PAGE, ..Screen::default() }, task)?,
        data: json(value, task)?,
    }));
    Ok(())
}

/// Returns the items that a value is shown as: itself, those of a report, or those of a list that holds nothing else.
pub fn shown_items(value: &Dynamic) -> Result<Vec<Rc<dyn Item>>> {
    if let Some(report) = value.read_lock::<Report>() {
        return Ok(report.items().to_vec());
    }
    if let Some(list) = value.read_lock::<Array>() {
        let items: Option<Vec<_>> = list.iter().map(handle::item).collect::<Result<_>>()?;
        return Ok(items.unwrap_or_default());
    }
    Ok(handle::item(value)?.into_iter().collect())
}

/// Any other value, as `show` shows it.
struct OtherValue {
    text: String,
    data: Value,
}

impl Item for OtherValue {
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
