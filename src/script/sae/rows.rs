//! Which positions of a text are read, from what scripts give.

use std::collections::BTreeSet;

use crate::base::{Result, Task, names};
use crate::data::harvest::{Keep, Options};
use crate::data::{Text, pack};
use crate::err;
use crate::model::Model;
use crate::model::labels::{Column, Values};
use crate::script::options::OptionReader;
use crate::script::value::Given;

/// Reads which positions of a text are harvested.
pub fn keeping(read: &mut OptionReader) -> Result<Options> {
    let keep = Keep {
        without_bos: read.flag("without_bos", false)?,
        without_first: read.size("without_first", 0)?,
        ..Keep::default()
    };
    Ok(Options { keep, context: read.get("context", Given::size)? })
}

/// The same, with the tokens and the classes of tokens that are skipped.
pub fn choosing(read: &mut OptionReader, model: &Model, text: &Text, task: &Task) -> Result<Options> {
    let mut options = keeping(read)?;
    if let Some(ids) = read.get("without_tokens", |given| tokens(given, model, task))? {
        options.keep.without_ids = ids;
    }
    if let Some(labels) = read.get("without_labels", Given::map)? {
        for (name, values) in labels {
            let column = pack::column(text, &name, task)?;
            let values = crate::script::value::given(&format!("without_labels.{name}"), &values);
            let values = values.elements().iter().map(|given| value_of(&column, given)).collect::<Result<_>>()?;
            options.keep.without_labels.insert(name.to_string(), values);
        }
    }
    Ok(options)
}

/// Whether an option was given that only goes with a text.
pub fn of_text_only(read: &mut OptionReader) -> Result<bool> {
    let is_plain = keeping(read)? == Options::default();
    let others = ["without_tokens", "without_labels"].map(|key| read.value(key).is_some());
    Ok(!is_plain || others.contains(&true))
}

/// Refuses options of a text where there is none.
pub fn no_text_options(are_given: bool) -> Result<()> {
    match are_given {
        true => Err(err!(Argument, "expected no options of a text where activations are given").about("options")),
        false => Ok(()),
    }
}

/// Tokens by their ids, or by texts that are one token each.
fn tokens(given: &Given, model: &Model, task: &Task) -> Result<BTreeSet<u32>> {
    let one = |given: &Given| -> Result<u32> {
        if !given.value().is_string() {
            return u32::try_from(given.size()?).map_err(|_| given.refuse("a token id"));
        }
        let text = given.text()?;
        let none = || given.refuse("a token id, since this model has no tokenizer");
        let found = model.tokenizer.as_ref().ok_or_else(none)?.encode(&text, Some(false), task)?.ids;
        match found.as_slice() {
            [id] => Ok(*id),
            several => {
                let count = several.len();
                Err(given.refuse("the text of one token").hint(format!("{text:?} is {count} tokens in this model")))
            }
        }
    };
    given.elements().iter().map(one).collect()
}

/// A value of a column: a number, or the name of a kind.
fn value_of(column: &Column, given: &Given) -> Result<u32> {
    if !given.value().is_string() {
        return u32::try_from(given.size()?).map_err(|_| given.refuse("the value of a label"));
    }
    let (name, none) = (given.text()?, "none");
    let kinds = match &column.values {
        Values::Kind(kinds) => kinds.iter().copied(),
        _ => return Err(given.refuse("a number, which this label has")),
    };
    let mut all = std::iter::once(none).chain(kinds.clone());
    let unknown = || given.refuse("the name of a kind").maybe_hint(names::suggestion(&name, kinds.clone()));
    all.position(|kind| kind == name).and_then(|at| u32::try_from(at).ok()).ok_or_else(unknown)
}
