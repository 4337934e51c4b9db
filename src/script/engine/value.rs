//! Values between scripts and the core: one way to take an argument, one way to write a value down.
//!
//! Scripts write `1` or `1.0` as they like; every number that a binding takes goes through [`GivenValue`].

use std::ops::{Range, RangeInclusive};
use std::rc::Rc;

use rhai::{Array, Dynamic, FnPtr, Map};
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use crate::base::files::hex;
use crate::base::{Error, Result, Task, json};
use crate::data::Text;
use crate::err;
pub use crate::options::number_text;
use crate::options::{Foreign, Plain};
use crate::report::json::number;
use crate::report::visible_text::count;
use crate::script::engine::interrupt_checks::InterruptChecks;
use crate::script::engine::room::check_room;
use crate::script::engine::text_buffer::TextBuffer;
use crate::script::engine::{function_names, handle};
use crate::tensor::axes::from_end;
use crate::tensor::{Tensor, dtype, floats, ints, steps};
use crate::tokenizer::tokens::Tokens;

/// Any value of a script, for floors that do not know the engine.
pub type Value = Dynamic;

/// A number, or a value of any of several types, in the signatures of the reference. They are all `Dynamic` to the
/// engine, so that `1` finds its way to a function that wants `1.0`; the name is for the reader.
pub type Num = Dynamic;
/// A whole number; `3.0` is one too.
pub type Int = Dynamic;
/// A whole number or an array of them: an axis or several, a shape.
pub type Ints = Dynamic;
/// A value of any type.
pub type Any = Dynamic;
/// A map of options at the end of a call, `#{ lr: 1e-3 }`.
pub type Options = Map;
/// The result of a binding.
pub type Fallible<T> = std::result::Result<T, Box<rhai::EvalAltResult>>;

/// Returns a map with these fields.
pub fn map<const N: usize>(fields: [(&str, Dynamic); N]) -> Dynamic {
    fields.into_iter().map(|(name, value)| (name.into(), value)).collect::<Map>().into()
}

/// One argument or option, with the name that errors call it by.
#[derive(Clone)]
pub struct GivenValue {
    value: Dynamic,
    name: Rc<str>,
    /// Index of the element that this is of the argument, where its elements are taken one by one.
    element: Option<usize>,
}

/// Returns the argument or option of this name.
pub fn given(name: &str, value: &Dynamic) -> GivenValue {
    GivenValue { value: value.clone(), name: name.into(), element: None }
}

impl GivenValue {
    pub fn value(&self) -> &Dynamic {
        &self.value
    }

    /// Builds the error "expected WANTED for `name`, found a string", pointing at it.
    pub fn refuse(&self, wanted: &str) -> Error {
        let element = self.element.map(|i| format!("[{i}]")).unwrap_or_default();
        let found = described(&self.value);
        err!(Argument, "expected {wanted} for `{}{element}`, found {found}", self.name).about(&*self.name)
    }

    pub fn number(&self) -> Result<f64> {
        if let Ok(x) = self.value.as_float() {
            return Ok(x);
        }
        match self.value.as_int() {
            Ok(i) => Ok(i as f64),
            Err(_) => Err(self.refuse("a number")),
        }
    }

    pub fn integer(&self) -> Result<i64> {
        if let Ok(i) = self.value.as_int() {
            return Ok(i);
        }
        match self.value.as_float() {
            Ok(x) if x.fract() == 0.0 && x.abs() <= 9e15 => Ok(x as i64),
            _ => Err(self.refuse("an integer")),
        }
    }

    /// Reads an index below `len`: an integer, where a negative one counts from the end.
    pub fn index(&self, len: usize, of: &str, what: &str) -> Result<usize> {
        let found = from_end(self.integer()?, len);
        found.ok_or_else(|| self.refuse(&format!("an index of {of} of {}", count(len, what))))
    }

    /// Reads a count or a size: an integer that is not negative.
    pub fn size(&self) -> Result<usize> {
        usize::try_from(self.integer()?).map_err(|_| self.refuse("an integer of at least 0"))
    }

    pub fn text(&self) -> Result<String> {
        self.value.clone().into_string().map_err(|_| self.refuse("a string"))
    }

    /// Returns the handle, if the value is one of this type.
    pub fn handle<T: Clone + 'static>(&self) -> Option<T> {
        self.value.read_lock::<T>().map(|handle| handle.clone())
    }

    pub fn map(&self) -> Result<Map> {
        self.value.clone().try_cast_result::<Map>().map_err(|_| self.refuse("a map"))
    }

    /// Returns the elements of an array.
    pub fn list(&self) -> Result<Array> {
        self.value.clone().into_array().map_err(|_| self.refuse("an array"))
    }

    /// Returns the elements of an array, or the value itself where it is none.
    pub fn elements(&self) -> Vec<GivenValue> {
        match self.value.read_lock::<Array>() {
            Some(array) => array.iter().enumerate().map(|(i, element)| self.part(i, element)).collect(),
            None => vec![self.clone()],
        }
    }

    /// Returns the handles of an array, or the value itself where it is none.
    pub fn handles<T: Clone + 'static>(&self, wanted: &str) -> Result<Vec<T>> {
        self.elements().iter().map(|one| one.handle::<T>().ok_or_else(|| one.refuse(wanted))).collect()
    }

    /// Reads integers: one alone, or an array of them.
    pub fn integers(&self) -> Result<Vec<i64>> {
        self.each("an integer or an array of integers", GivenValue::integer)
    }

    /// Reads sizes: one alone, or an array of them.
    pub fn sizes(&self) -> Result<Vec<usize>> {
        self.each("a size or an array of sizes", GivenValue::size)
    }

    /// Reads numbers: one alone, or an array of them.
    pub fn numbers(&self) -> Result<Vec<f64>> {
        self.each("a number or an array of numbers", GivenValue::number)
    }

    /// Reads two numbers, the low end first.
    pub fn range(&self) -> Result<[f64; 2]> {
        <[f64; 2]>::try_from(self.numbers()?).map_err(|_| self.refuse("two numbers, [low, high]"))
    }

    /// Reads strings: one alone, or an array of them.
    pub fn texts(&self) -> Result<Vec<String>> {
        self.each("a string or an array of strings", GivenValue::text)
    }

    /// Reads names of things: strings, or numbers as they are written.
    pub fn labels(&self) -> Result<Vec<String>> {
        self.each("a name or an array of names", |given| match (given.integer(), given.number()) {
            (Ok(whole), _) => Ok(whole.to_string()),
            (_, Ok(number)) => Ok(number_text(number)),
            _ => given.text(),
        })
    }

    fn each<T>(&self, wanted: &str, take: impl Fn(&GivenValue) -> Result<T>) -> Result<Vec<T>> {
        let Some(array) = self.value.read_lock::<Array>() else {
            return take(self).map(|one| vec![one]).map_err(|_| self.refuse(wanted));
        };
        array.iter().enumerate().map(|(i, element)| take(&self.part(i, element))).collect()
    }

    /// Returns one element of the argument, by itself: a clone of the whole would copy all of the others.
    fn part(&self, i: usize, element: &Dynamic) -> GivenValue {
        GivenValue { value: element.clone(), name: Rc::clone(&self.name), element: Some(i) }
    }
}

/// Returns a value's type as scripts speak of it.
pub fn type_name(value: &Dynamic) -> &str {
    match value.type_name() {
        "i64" => "integer",
        "f64" => "float",
        "bool" => "bool",
        "char" => "character",
        "string" => "string",
        "array" => "array",
        "map" => "map",
        "blob" => "blob",
        "()" => "nothing",
        "Fn" => "function",
        "timestamp" => "timestamp",
        "core::ops::range::Range<i64>" | "core::ops::range::RangeInclusive<i64>" => "range",
        // A handle's Rust path ends in the name that it is registered by.
        other => match other.rsplit("::").next().unwrap_or(other) {
            "SteppedRange" | "SteppedFloats" => "range",
            name => name,
        },
    }
}

/// Describes the value in the words of an error message: its type with an article, and itself where it is short.
pub fn described(value: &Dynamic) -> String {
    // What they hold is not asked for.
    match () {
        () if value.is_array() => Plain::List(Vec::new()).described(),
        () if value.is_map() => Plain::Map(Vec::new()).described(),
        () => plain(value).described(),
    }
}

/// Converts the value for options that the core declares, which knows nothing of scripts.
pub fn plain(value: &Dynamic) -> Plain {
    plain_below(value, 0)
}

fn plain_below(value: &Dynamic, depth: usize) -> Plain {
    if value.is_unit() {
        return Plain::Nothing;
    }
    if let Ok(flag) = value.as_bool() {
        return Plain::Flag(flag);
    }
    if let Ok(number) = value.as_int() {
        return Plain::Integer(number);
    }
    if let Ok(number) = value.as_float() {
        return Plain::Float(number);
    }
    if let Some(text) = value.read_lock::<rhai::ImmutableString>() {
        return Plain::Text(text.to_string());
    }
    // Nothing that is nested deeper is an option.
    if depth < DEEPEST {
        if let Some(list) = value.read_lock::<Array>() {
            return Plain::List(list.iter().map(|value| plain_below(value, depth + 1)).collect());
        }
        if let Some(map) = value.read_lock::<Map>() {
            let fields = map.iter().map(|(key, value)| (key.to_string(), plain_below(value, depth + 1)));
            return Plain::Map(fields.collect());
        }
    }
    let name = type_name(value);
    let article = if name.starts_with(['a', 'e', 'i', 'o', 'u', 'A', 'E', 'I', 'O', 'U']) { "an" } else { "a" };
    let inside = handle::inside(value).or_else(|| range(value)).unwrap_or_else(|| Rc::new(value.clone()));
    Plain::Other(Foreign { what: format!("{article} {name}"), value: inside })
}

/// Converts a range to terms of the core, which knows nothing of the engine's values: without its end.
fn range(value: &Dynamic) -> Option<Rc<dyn std::any::Any>> {
    let inclusive = || value.read_lock::<RangeInclusive<i64>>().map(|r| *r.start()..r.end().saturating_add(1));
    let range = value.read_lock::<Range<i64>>().map(|range| range.clone()).or_else(inclusive)?;
    Some(Rc::new(range))
}

/// Converts the data of a call, a list or lists of numbers, to [`plain`] values, if there is room for them.
pub fn plain_data(value: &Dynamic) -> Result<Plain> {
    let length = |value: &Dynamic| value.read_lock::<Array>().map_or(1, |list| list.len());
    let count = match value.read_lock::<Array>() {
        Some(list) => list.iter().map(length).sum(),
        None => 1,
    };
    check_room(count as u128 * size_of::<Plain>() as u128, || "the values of a list".into())?;
    Ok(plain(value))
}

/// Returns the handle that an option was given, for the options of types that only scripts have.
pub fn handle<T: Clone + 'static>(value: &Plain) -> Option<T> {
    let Plain::Other(Foreign { value, .. }) = value else { return None };
    let found = value.downcast_ref::<T>().cloned();
    // What is no handle, such as a function, is there as the script has it.
    found.or_else(|| value.downcast_ref::<Dynamic>()?.clone().try_cast::<T>())
}

/// Makes a struct around what scripts give as an option, by the words for it and how it is written:
/// `handle_setting!(TreeSetting(Circuit), "a tree", |tree| ..)`. Without a struct the handle itself is an option:
/// `handle_setting!(Hook, "a hook")`.
macro_rules! handle_setting {
    ($name:ident($held_as:ty), $wanted:literal, |$held:ident| $written:expr) => {
        #[doc = concat!("An option that is ", $wanted, ".")]
        #[derive(Clone)]
        pub struct $name(pub $held_as);

        impl $crate::options::Setting for $name {
            fn wanted() -> String {
                $wanted.into()
            }

            fn of(value: &$crate::options::Plain) -> Option<Self> {
                $crate::script::engine::value::handle(value).map(Self)
            }

            fn written(&self) -> String {
                let $held = &self.0;
                $written
            }
        }
    };
    ($handle:ty, $wanted:literal) => {
        impl $crate::options::Setting for $handle {
            fn wanted() -> String {
                $wanted.into()
            }

            fn of(value: &$crate::options::Plain) -> Option<Self> {
                $crate::script::engine::value::handle(value)
            }

            fn written(&self) -> String {
                $crate::script::engine::handle::Handle::short(self)
            }
        }
    };
}

pub(in crate::script) use handle_setting;

/// Returns the value that a script gave as an option: a plain one, a text, tokens, a tensor or a function.
pub fn given_back(value: &Plain) -> Dynamic {
    match value {
        Plain::Nothing => Dynamic::UNIT,
        Plain::Flag(flag) => Dynamic::from(*flag),
        Plain::Integer(number) => Dynamic::from(*number),
        Plain::Float(number) => Dynamic::from(*number),
        Plain::Text(text) => text.clone().into(),
        Plain::List(values) => values.iter().map(given_back).collect::<Array>().into(),
        Plain::Map(fields) => {
            fields.iter().map(|(key, value)| (key.as_str().into(), given_back(value))).collect::<Map>().into()
        }
        Plain::Other(_) => {
            let text = handle::<Text>(value).map(Dynamic::from);
            let tokens = || handle::<Tokens>(value).map(Dynamic::from);
            let tensor = || handle::<Tensor>(value).map(Dynamic::from);
            let function = || handle::<FnPtr>(value).map(Dynamic::from);
            text.or_else(tokens).or_else(tensor).or_else(function).unwrap_or_default()
        }
    }
}

/// Largest depth of lists and maps where they are written down. JSON that is nested deeper is not read by most
/// programs, ours among them.
const DEEPEST: usize = 120;

/// Writes a value as a script would write it, as far as it can be: the REPL's answer, and what `//=>` compares. For
/// values that are known to be small; of others [`written`] is asked.
pub fn repr(value: &Dynamic) -> String {
    // Nobody can interrupt this task, so only a text that there is no room for is not written.
    written(value, &Task::default()).unwrap_or_else(|_| format!("{} too large to be written", described(value)))
}

/// Writes a value of any size. What is nested deeper than anybody reads is left out.
pub fn written(value: &Dynamic, task: &Task) -> Result<String> {
    let mut paper = TextBuffer::new(task);
    write(value, 0, &mut paper)?;
    Ok(paper.done())
}

fn write(value: &Dynamic, depth: usize, paper: &mut TextBuffer) -> Result<()> {
    if let Ok(x) = value.as_float() {
        return paper.put(&number_text(x));
    }
    if let Some(text) = value.read_lock::<rhai::ImmutableString>() {
        return paper.put(&format!("{:?}", text.as_str()));
    }
    if let Ok(c) = value.as_char() {
        return paper.put(&format!("{c:?}"));
    }
    if let Some(array) = value.read_lock::<Array>() {
        if depth >= DEEPEST && !array.is_empty() {
            return paper.put("[..]");
        }
        paper.put("[")?;
        paper.list(array.iter(), ", ", |paper, element| write(element, depth + 1, paper))?;
        return paper.put("]");
    }
    if let Some(map) = value.read_lock::<Map>() {
        if map.is_empty() {
            return paper.put("#{}");
        }
        if depth >= DEEPEST {
            return paper.put("#{..}");
        }
        paper.put("#{ ")?;
        paper.list(map.iter(), ", ", |paper, (key, value)| {
            paper.put(&key_text(key))?;
            paper.put(": ")?;
            write(value, depth + 1, paper)
        })?;
        return paper.put(" }");
    }
    if let Some(function) = value.read_lock::<FnPtr>() {
        return paper.put(&function_names::written(&function));
    }
    if value.is_unit() {
        return paper.put("()");
    }
    if let Some(blob) = value.read_lock::<rhai::Blob>() {
        // As the engine writes it, which cannot be interrupted.
        paper.put("[")?;
        paper.list(blob.chunks(8), " ", |paper, eight| paper.put(&hex(eight)))?;
        return paper.put("]");
    }
    match handle::short(value) {
        Some(text) => paper.put(&text),
        None => paper.put(&value.to_string()),
    }
}

fn key_text(key: &str) -> String {
    let plain =
        key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && !key.starts_with(|c: char| c.is_ascii_digit());
    if plain && !key.is_empty() { key.into() } else { format!("{key:?}") }
}

/// Converts a value to JSON. JSON has no NaN and no infinity: they become the strings "NaN", "inf" and "-inf".
pub fn json(value: &Dynamic, task: &Task) -> Result<serde_json::Value> {
    nested_json(value, 0, task, &InterruptChecks::new(task))
}

fn nested_json(value: &Dynamic, depth: usize, task: &Task, steps: &InterruptChecks) -> Result<serde_json::Value> {
    use serde_json::Value;
    steps.take(1)?;
    if value.is_unit() {
        return Ok(Value::Null);
    }
    if let Ok(b) = value.as_bool() {
        return Ok(b.into());
    }
    if let Ok(i) = value.as_int() {
        return Ok(i.into());
    }
    if let Ok(x) = value.as_float() {
        return Ok(number(x));
    }
    if let Some(array) = value.read_lock::<Array>() {
        check_depth(depth)?;
        return array
            .iter()
            .map(|element| nested_json(element, depth + 1, task, steps))
            .collect::<Result<Vec<_>>>()
            .map(Value::Array);
    }
    if let Some(map) = value.read_lock::<Map>() {
        check_depth(depth)?;
        let field = |(key, value): (_, &Dynamic)| Ok((format!("{key}"), nested_json(value, depth + 1, task, steps)?));
        return map.iter().map(field).collect::<Result<serde_json::Map<_, _>>>().map(Value::Object);
    }
    if let Some(handle) = handle::handle_json(value, task) {
        return handle;
    }
    if value.is_string() || value.is_char() {
        return Ok(Value::String(value.to_string()));
    }
    Err(err!(Argument, "{} cannot be written as JSON", described(value)))
}

fn check_depth(depth: usize) -> Result<()> {
    if depth < DEEPEST {
        return Ok(());
    }
    Err(err!(Argument, "expected lists and maps at most {DEEPEST} deep in each other, found deeper ones")
        .hint("JSON that is nested deeper is not read by most programs"))
}

/// The layout of the JSON of a value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum NumberLayout {
    Line,
    /// An element a line, as people read it.
    Lines,
}

/// Writes a value as the text of its JSON, whatever its size: the text of [`json`], written without it.
pub fn json_text(value: &Dynamic, layout: NumberLayout, task: &Task) -> Result<String> {
    let mut paper = TextBuffer::new(task);
    write_json(value, layout, 0, &mut paper)?;
    Ok(paper.done())
}

fn write_json(value: &Dynamic, layout: NumberLayout, depth: usize, paper: &mut TextBuffer) -> Result<()> {
    if let Some(array) = value.read_lock::<Array>() {
        check_depth(depth)?;
        return bracketed(["[", "]"], array.iter(), layout, depth, paper, |paper, element| {
            write_json(element, layout, depth + 1, paper)
        });
    }
    if let Some(map) = value.read_lock::<Map>() {
        check_depth(depth)?;
        return bracketed(["{", "}"], map.iter(), layout, depth, paper, |paper, (key, value)| {
            paper.put(&serde_json::Value::from(key.as_str()).to_string())?;
            paper.put(if layout == NumberLayout::Line { ":" } else { ": " })?;
            write_json(value, layout, depth + 1, paper)
        });
    }
    if let Some(tensor) = value.read_lock::<Tensor>() {
        let axes = tensor.dims();
        return match tensor_numbers(&tensor, paper.task())? {
            TensorNumbers::Floats(all) => write_axes(&mut all.into_iter().map(number), axes, layout, depth, paper),
            TensorNumbers::Ints(all) => write_axes(&mut all.into_iter().map(Into::into), axes, layout, depth, paper),
        };
    }
    write_plain(&json(value, paper.task())?, layout, depth, paper)
}

/// The numbers of a tensor, row by row.
pub(in crate::script) enum TensorNumbers {
    Floats(Vec<f64>),
    Ints(Vec<i64>),
}

pub(in crate::script) fn tensor_numbers(t: &Tensor, task: &Task) -> Result<TensorNumbers> {
    check_room(t.elem_count() as u128 * size_of::<f64>() as u128, || "a list of all elements".into())?;
    let flat = t.clone();
    let cost = steps(t) as f64;
    if dtype::is_float(t.dtype()) {
        return task.heavy(cost, move || floats(&flat)).map(TensorNumbers::Floats);
    }
    task.heavy(cost, move || ints(&flat)).map(TensorNumbers::Ints)
}

/// Writes the numbers of a tensor as lists in each other, one for each axis.
fn write_axes(
    numbers: &mut impl Iterator<Item = serde_json::Value>,
    axes: &[usize],
    layout: NumberLayout,
    depth: usize,
    paper: &mut TextBuffer,
) -> Result<()> {
    let Some((length, rest)) = axes.split_first() else {
        return numbers.next().map_or(Ok(()), |number| paper.put(&number.to_string()));
    };
    bracketed(["[", "]"], 0..*length, layout, depth, paper, |paper, _| {
        write_axes(numbers, rest, layout, depth + 1, paper)
    })
}

/// Writes what is JSON already: the data of a handle, or one of the simple values.
fn write_plain(value: &serde_json::Value, layout: NumberLayout, depth: usize, paper: &mut TextBuffer) -> Result<()> {
    use serde_json::Value;
    match value {
        Value::Array(items) => bracketed(["[", "]"], items, layout, depth, paper, |paper, item| {
            write_plain(item, layout, depth + 1, paper)
        }),
        Value::Object(fields) => bracketed(["{", "}"], fields, layout, depth, paper, |paper, (key, value)| {
            paper.put(&Value::from(key.as_str()).to_string())?;
            paper.put(if layout == NumberLayout::Line { ":" } else { ": " })?;
            write_plain(value, layout, depth + 1, paper)
        }),
        plain => paper.put(&plain.to_string()),
    }
}

fn bracketed<T>(
    [open, close]: [&str; 2],
    items: impl IntoIterator<Item = T>,
    layout: NumberLayout,
    depth: usize,
    paper: &mut TextBuffer,
    mut write: impl FnMut(&mut TextBuffer, T) -> Result<()>,
) -> Result<()> {
    let line =
        |depth: usize| if layout == NumberLayout::Line { String::new() } else { format!("\n{}", "  ".repeat(depth)) };
    let mut items = items.into_iter().peekable();
    paper.put(open)?;
    if items.peek().is_some() {
        let between = line(depth + 1);
        paper.put(&between)?;
        paper.list(items, &format!(",{between}"), |paper, item| write(paper, item))?;
        paper.put(&line(depth))?;
    }
    paper.put(close)
}

/// Parses the value of a JSON text, which may be many times as large as the text: `[{},{},` and so on. `wrong` says
/// what it is in place of one.
///
/// A long text is read on another thread, where what was made of it is let go of, too, after an interruption.
pub fn parsed(
    text: String,
    wrong: impl FnOnce(serde_json::Error) -> Error + Send + 'static,
    task: &Task,
) -> Result<Dynamic> {
    // A byte of JSON takes some hundred operations.
    let cost = text.len() as f64 * 100.0;
    let ears = task.clone();
    Ok(task.heavy(cost, move || read(&text, wrong, &ears))?.0)
}

/// A value whose strings, lists and maps nothing else has a part in.
struct UnsharedValue(Dynamic);

// SAFETY: a value is bound to its thread by counted references. Those in this one were made with it, by [`read`], and it
// has all of them.
unsafe impl Send for UnsharedValue {}

fn read(text: &str, wrong: impl FnOnce(serde_json::Error) -> Error, task: &Task) -> Result<UnsharedValue> {
    let steps = InterruptChecks::new(task);
    // After an interruption the text is not at fault.
    let refusal = |e: serde_json::Error| task.check().err().unwrap_or_else(|| wrong(e));
    json::read_content_by(text.as_bytes(), JsonValueSeed(&steps), refusal).map(UnsharedValue)
}

/// Converts JSON to a script value: the inverse of [`json`] for everything but the handles.
pub fn from_json(value: serde_json::Value) -> Dynamic {
    // Nobody can interrupt this task.
    JsonValueSeed(&InterruptChecks::new(&Task::default())).deserialize(value).unwrap_or_default()
}

/// A maker of the values of scripts while JSON is read.
#[derive(Clone, Copy)]
struct JsonValueSeed<'a>(&'a InterruptChecks<'a>);

impl<'t> DeserializeSeed<'t> for JsonValueSeed<'_> {
    type Value = Dynamic;

    fn deserialize<D: Deserializer<'t>>(self, content: D) -> std::result::Result<Dynamic, D::Error> {
        self.0.take(1).map_err(D::Error::custom)?;
        content.deserialize_any(self)
    }
}

impl<'t> Visitor<'t> for JsonValueSeed<'_> {
    type Value = Dynamic;

    fn expecting(&self, to: &mut std::fmt::Formatter) -> std::fmt::Result {
        to.write_str("JSON")
    }

    fn visit_unit<E>(self) -> std::result::Result<Dynamic, E> {
        Ok(Dynamic::UNIT)
    }

    fn visit_bool<E>(self, b: bool) -> std::result::Result<Dynamic, E> {
        Ok(b.into())
    }

    fn visit_i64<E>(self, i: i64) -> std::result::Result<Dynamic, E> {
        Ok(i.into())
    }

    fn visit_u64<E>(self, i: u64) -> std::result::Result<Dynamic, E> {
        Ok(i64::try_from(i).map_or_else(|_| (i as f64).into(), Dynamic::from))
    }

    fn visit_f64<E>(self, x: f64) -> std::result::Result<Dynamic, E> {
        Ok(x.into())
    }

    fn visit_str<E>(self, text: &str) -> std::result::Result<Dynamic, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'t>>(self, mut items: A) -> std::result::Result<Dynamic, A::Error> {
        let mut list = Array::new();
        while let Some(item) = items.next_element_seed(self)? {
            list.push(item);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'t>>(self, mut fields: A) -> std::result::Result<Dynamic, A::Error> {
        let mut map = Map::new();
        while let Some(key) = fields.next_key::<String>()? {
            map.insert(key.into(), fields.next_value_seed(self)?);
        }
        Ok(map.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blobs_are_written_as_the_engine_writes_them() {
        for length in [0, 1, 7, 8, 9, 16, 21] {
            let blob = Dynamic::from_blob((0..length).map(|byte| byte * 11).collect());
            assert_eq!(repr(&blob), blob.to_string());
        }
    }

    #[test]
    fn numbers_are_taken_either_way() {
        let one = Dynamic::from(1_i64);
        let real = Dynamic::from(1.0_f64);
        for value in [&one, &real] {
            assert_eq!(given("x", value).number(), Ok(1.0));
            assert_eq!(given("x", value).integer(), Ok(1));
            assert_eq!(given("x", value).sizes(), Ok(vec![1]));
        }
        let half = Dynamic::from(0.5_f64);
        let refusal = given("steps", &half).integer().unwrap_err();
        assert_eq!(refusal.message, "expected an integer for `steps`, found float 0.5");
        assert_eq!(refusal.about.as_deref(), Some("steps"));
    }

    #[test]
    fn numbers_read_well() {
        for (x, text) in [
            (0.1_f32 as f64, "0.1"),
            (1.0, "1.0"),
            (-2.5, "-2.5"),
            (1.0 / 3.0, "0.33333333"),
            (16_777_217.0, "16777217.0"),
            (1e-9, "1e-9"),
            (1.5e20, "1.5e20"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-inf"),
            (0.0, "0.0"),
        ] {
            assert_eq!(number_text(x), text);
        }
    }

    #[test]
    fn json_there_and_back() {
        let text = r#"{"a":[1,2.5,null,"x"],"b":{"c":true}}"#;
        let parsed: serde_json::Value = serde_json::from_str(text).unwrap();
        assert_eq!(json(&from_json(parsed.clone()), &Task::default()).unwrap(), parsed);
        assert_eq!(json(&f64::NAN.into(), &Task::default()).unwrap(), serde_json::json!("NaN"));
    }

    #[test]
    fn the_text_of_json_is_that_of_its_value() {
        let text = r#"{"a":[1,2.5,null,"x\n\"",[],{}],"b":{"c":true,"d":1e300}}"#;
        let value = from_json(serde_json::from_str(text).unwrap());
        let task = Task::default();
        let same = json(&value, &task).unwrap();
        assert_eq!(json_text(&value, NumberLayout::Line, &task).unwrap(), same.to_string());
        assert_eq!(
            json_text(&value, NumberLayout::Lines, &task).unwrap(),
            serde_json::to_string_pretty(&same).unwrap()
        );
        let wrong = |e: serde_json::Error| err!(Format, "{e}");
        assert_eq!(parsed(text.into(), wrong, &task).map(|value| json(&value, &task)), Ok(Ok(same)));
        let large = parsed("[18446744073709551615, -9223372036854775808, 7]".into(), wrong, &task).unwrap();
        assert_eq!(repr(&large), "[1.8446744e19, -9223372036854775808, 7]");
        assert!(parsed("[1] 2".into(), wrong, &task).unwrap_err().message.starts_with("trailing characters"));
    }

    #[test]
    fn the_making_of_json_is_interrupted() {
        let long: Dynamic = vec![Dynamic::from(1_i64); 1 << 13].into();
        let task = Task::default();
        assert!(json(&long, &task).is_ok());
        task.flag().store(true, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(json(&long, &task), Err(Error::interrupted()));
    }

    #[test]
    fn reading_is_interrupted() {
        let wrong = |e: serde_json::Error| err!(Format, "{e}");
        let text = format!("[{}{{}}]", "[1, {}],".repeat(10_000));
        let task = Task::default();
        assert!(read(&text, wrong, &task).is_ok());
        task.flag().store(true, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(read(&text, wrong, &task).map(|_| ()), Err(Error::interrupted()));
        // The end of it is not come to, where it is no JSON.
        assert_eq!(read(&text[..text.len() - 1], wrong, &task).map(|_| ()), Err(Error::interrupted()));
    }

    /// Nests values as deep as memory allows, on a stack that would not hold them.
    #[test]
    fn what_is_nested_too_deep_is_refused_or_left_out() {
        let deep = (0..10_000).fold(Dynamic::from(1_i64), |inner, _| vec![inner].into());
        let task = Task::default();
        assert!(json(&deep, &task).unwrap_err().message.contains("at most 120 deep"));
        assert!(json_text(&deep, NumberLayout::Line, &task).is_err());
        assert!(repr(&deep).contains("[[..]]"));
    }
}
