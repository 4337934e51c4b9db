//! The options that charts share: titles and axes, names, intervals and annotations.

use rhai::{Array, Dynamic, Map};

use super::data::{Data, Named};
use crate::base::Result;
use crate::err;
use crate::report::chart::{Axis, Chart, Mark, Spread};
use crate::script::options::OptionReader;
use crate::script::value::{Given, given};

/// Title, labels and size.
pub fn title_and_size(read: &mut OptionReader, chart: &mut Chart) -> Result<()> {
    chart.title = read.text("title", &chart.title)?;
    chart.x.label = read.text("x", &chart.x.label)?;
    chart.y.label = read.text("y", &chart.y.label)?;
    size(read, chart)
}

pub fn size(read: &mut OptionReader, chart: &mut Chart) -> Result<()> {
    let pixels = |given: &Given| given.size().map(|size| u32::try_from(size).unwrap_or(u32::MAX));
    chart.width = read.get("width", pixels)?.unwrap_or(chart.width);
    chart.height = read.get("height", pixels)?.unwrap_or(chart.height);
    Ok(())
}

pub fn x_axis(read: &mut OptionReader, axis: &mut Axis) -> Result<()> {
    axis.log = read.flag("log_x", axis.log)?;
    axis.range = read.get("x_range", Given::range)?;
    Ok(())
}

pub fn y_axis(read: &mut OptionReader, axis: &mut Axis) -> Result<()> {
    axis.log = read.flag("log_y", axis.log)?;
    axis.range = read.get("y_range", Given::range)?;
    Ok(())
}

/// Legend and annotations, where there are series and axes.
pub fn legend_and_marks(read: &mut OptionReader, chart: &mut Chart) -> Result<()> {
    chart.legend = read.flag("legend", true)?;
    if let Some(value) = read.value("horizontal") {
        let lines = places(Data { name: "horizontal", value: &value })?;
        chart.marks.extend(lines.into_iter().map(|(text, at)| Mark::Horizontal { at, text }));
    }
    if let Some(value) = read.value("vertical") {
        let lines = places(Data { name: "vertical", value: &value })?;
        chart.marks.extend(lines.into_iter().map(|(text, at)| Mark::Vertical { at, text }));
    }
    for text in read.get("texts", Given::list)?.unwrap_or_default() {
        chart.marks.push(text_mark(&text)?);
    }
    Ok(())
}

/// Where lines stand: a number, a list of them, or a map of names to numbers.
fn places(data: Data) -> Result<Vec<(String, f64)>> {
    if let Some(map) = data.value.read_lock::<Map>() {
        return map.iter().map(|(name, at)| Ok((name.to_string(), given(name, at).number()?))).collect();
    }
    Ok(data.numbers()?.into_iter().map(|at| (String::new(), at)).collect())
}

fn text_mark(value: &Dynamic) -> Result<Mark> {
    let refuse = || given("texts", value).refuse("lists of [x, y, text]");
    let parts = value.read_lock::<Array>().map(|list| list.to_vec()).ok_or_else(refuse)?;
    let [x, y, text] = <[Dynamic; 3]>::try_from(parts).map_err(|_| refuse())?;
    let number = |value: &Dynamic| given("texts", value).number();
    Ok(Mark::Text { x: number(&x)?, y: number(&y)?, text: given("texts", &text).text()? })
}

/// Names given by the option, in place of numbers. The series of a map have names already.
pub fn renamed(read: &mut OptionReader, data: &Dynamic, series: &mut [Named]) -> Result<()> {
    let Some(names) = read.get("names", Given::texts)? else { return Ok(()) };
    refuse_beside_map("names", data)?;
    if names.len() != series.len() {
        return Err(
            err!(Shape, "expected one name for each series, found {} for {}", names.len(), series.len()).about("names")
        );
    }
    series.iter_mut().zip(names).for_each(|((name, _), given)| *name = given);
    Ok(())
}

/// A map's entries come in the order of their keys, whatever the order they were written in, so a list beside it would
/// name the wrong ones without a word.
pub fn refuse_beside_map(option: &str, data: &Dynamic) -> Result<()> {
    match keys(data) {
        Some(_) => Err(err!(Argument, "expected no `{option}` for a map, whose keys are the names").about(option)),
        None => Ok(()),
    }
}

fn keys(data: &Dynamic) -> Option<Vec<String>> {
    data.read_lock::<Map>().map(|map| map.keys().map(|key| key.to_string()).collect())
}

/// The intervals of all series: `error`, the distance to both sides, or `lower` and `upper`, the ends themselves.
pub fn spreads(read: &mut OptionReader, data: &Dynamic, series: &[Named]) -> Result<Vec<Option<Spread>>> {
    let [error, lower, upper] = ["error", "lower", "upper"].map(|name| read.value(name).map(|value| (name, value)));
    let alike = |(name, value): (&'static str, Dynamic)| matched(name, &value, data, series);
    match (error, lower, upper) {
        (None, None, None) => Ok(vec![None; series.len()]),
        (Some(error), None, None) => {
            let reaches = alike(error)?.into_iter();
            Ok(series.iter().zip(reaches).map(|((_, y), reach)| Some(Spread::symmetric(y, &reach))).collect())
        }
        (None, Some(lower), Some(upper)) => {
            let ends = alike(lower)?.into_iter().zip(alike(upper)?);
            Ok(ends.map(|(low, high)| Some(Spread { low, high, band: false })).collect())
        }
        _ => Err(err!(Argument, "expected either `error`, or `lower` and `upper` together").about("error")),
    }
}

/// The values of an option that is shaped like the data: key by key if the data are a map, else in order.
fn matched(name: &str, value: &Dynamic, data: &Dynamic, series: &[Named]) -> Result<Vec<Vec<f64>>> {
    let (wanted, found) = (keys(data), keys(value));
    if wanted != found {
        let shape =
            wanted.map_or("a list, like the data".into(), |keys| format!("a map with the keys {}", keys.join(", ")));
        let hint = "a map has the order of its keys, not the one it was written in, so values are matched by name";
        return Err(given(name, value).refuse(&shape).hint(hint));
    }
    let mut rows: Vec<Vec<f64>> = Data { name, value }.series()?.into_iter().map(|(_, values)| values).collect();
    // Names with one number each are one series.
    if let [(_, only)] = series
        && wanted.is_some()
        && only.len() == rows.len()
    {
        rows = vec![rows.concat()];
    }
    if rows.len() != series.len() {
        let message = format!("expected `{name}` for each of {} series, found {}", series.len(), rows.len());
        return Err(err!(Shape, "{message}").about(name));
    }
    Ok(rows)
}
