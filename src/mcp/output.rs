//! Text, pictures and value of a line, gathered while it runs.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use rhai::{Array, Dynamic, Map};

use crate::base::{Result, Table, Task, locked};
use crate::err;
use crate::repl::stages::{ShownStage, StageDisplay};
use crate::report::items::made;
use crate::report::{Item, picture};
use crate::script::engine::console::Notebook;
use crate::script::engine::value::{NumberLayout, json_text, type_name};
use crate::script::report::collect::shown_items;
use crate::tensor::Tensor;

/// Largest number of bytes of the text of a line that are kept.
pub const MOST_TEXT: usize = 2 << 20;

/// Largest number of bytes of the data of a value that are kept.
const MOST_DATA: usize = 2 << 20;

/// Largest number of numbers and texts in a value that is written as data.
const MOST_LEAVES: usize = 100_000;

/// Largest number of pictures of a line.
const MOST_PICTURES: usize = 4;

/// A value as data.
pub struct ValueData {
    /// The name of its type, as in the reference.
    pub kind: String,
    /// JSON of the value; None where it has none, or too much.
    pub json: Option<String>,
    /// The table, where the value is one or is shown as one.
    pub table: Option<Table>,
}

/// Results of a line.
#[derive(Default)]
pub struct Output {
    /// Printed, shown and answered text, in its order.
    pub text: String,
    /// Whether there was more text than is kept.
    pub is_cut: bool,
    /// The part of the text that a script prints: without the answer, and without what is told by the way.
    pub printed: String,
    pub pictures: Vec<Vec<u8>>,
    /// The answer of the line.
    pub value: Option<ValueData>,
}

impl Output {
    fn add(&mut self, text: &str, is_printed: bool) {
        let room = MOST_TEXT.saturating_sub(self.text.len());
        let kept = &text[..text.floor_char_boundary(room.min(text.len()))];
        self.is_cut |= kept.len() < text.len();
        self.text.push_str(kept);
        if is_printed {
            self.printed.push_str(text);
        }
    }
}

/// The notebook that a session prints to: it keeps everything until the line has ended.
#[derive(Default)]
pub struct Collector(RefCell<Output>);

impl Collector {
    pub fn new() -> Rc<Self> {
        Rc::default()
    }

    /// Takes what was gathered since the last call.
    pub fn take(&self) -> Output {
        self.0.take()
    }
}

impl Notebook for Collector {
    fn print(&self, text: &str) {
        self.0.borrow_mut().add(text, true);
    }

    fn remark(&self, line: &str) {
        self.0.borrow_mut().add(&format!("{line}\n"), false);
    }

    fn value(&self, value: &Dynamic, text: String, is_answer: bool, task: &Task) -> Result<()> {
        let items = shown_items(value)?;
        let mut pictures = Vec::new();
        let room = MOST_PICTURES.saturating_sub(self.0.borrow().pictures.len());
        for item in &items {
            if pictures.len() == room {
                break;
            }
            pictures.extend(png(item.as_ref(), task)?);
        }
        let data = if is_answer { Some(value_data(value, &items, task)?) } else { None };
        let mut output = self.0.borrow_mut();
        output.add(&format!("{text}\n"), !is_answer);
        output.pictures.extend(pictures);
        if is_answer {
            output.value = data;
        }
        Ok(())
    }

    fn page(&self, title: &str, _html: &str) {
        self.0.borrow_mut().add(&format!("page: {title}\n"), false);
    }

    fn ask(&self, _task: &Task) -> Result<Option<String>> {
        Err(err!(Argument, "expected somebody to ask, found a program that takes no questions")
            .hint("ask the person yourself, and give what they say as an argument"))
    }
}

/// Draws an item, if it is a picture.
fn png(item: &dyn Item, task: &Task) -> Result<Option<Vec<u8>>> {
    made(item, task, |item| item.picture().map(|drawn| picture::png(drawn.as_ref())).transpose())
}

fn value_data(value: &Dynamic, items: &[Rc<dyn Item>], task: &Task) -> Result<ValueData> {
    let mut left = MOST_LEAVES;
    // What has no data, such as a function, is refused: its text is all there is.
    let json = if is_small(value, items, &mut left) { json_text(value, NumberLayout::Line, task).ok() } else { None };
    task.check()?;
    let table = match items {
        [item] => item.table().cloned(),
        _ => None,
    };
    Ok(ValueData { kind: type_name(value).into(), json: json.filter(|text| text.len() <= MOST_DATA), table })
}

/// Returns whether a value has few enough numbers to be written down, which is found out without writing them.
fn is_small(value: &Dynamic, items: &[Rc<dyn Item>], left: &mut usize) -> bool {
    let leaves = if let Some(tensor) = value.read_lock::<Tensor>() {
        tensor.elem_count()
    } else if let Some(list) = value.read_lock::<Array>() {
        return list.iter().all(|element| is_small(element, &[], left));
    } else if let Some(map) = value.read_lock::<Map>() {
        return map.values().all(|element| is_small(element, &[], left));
    } else if value.is_string() || value.is_int() || value.is_float() || value.is_bool() || value.is_char() {
        1
    } else if items.is_empty() && !value.is_unit() {
        // A handle that is no item may hold anything: a model, a store of activations.
        return false;
    } else {
        1
    };
    let is_small = leaves <= *left;
    *left = left.saturating_sub(leaves);
    is_small
}

/// The stages of the line that runs, in words, for whoever waits for it.
#[derive(Clone, Default)]
pub struct ProgressWords(Arc<Mutex<Option<String>>>);

impl ProgressWords {
    /// Takes the words, if they are new.
    pub fn take(&self) -> Option<String> {
        locked(&self.0).take()
    }

    fn put(&self, words: String) {
        *locked(&self.0) = Some(words);
    }
}

impl StageDisplay for ProgressWords {
    fn show(&self, stages: &[ShownStage]) {
        let lines: Vec<&str> = stages.iter().map(|stage| stage.line.as_str()).collect();
        self.put(lines.join("\n"));
    }

    fn say(&self, line: &str) {
        self.put(line.into());
    }
}
