//! Showing values: `show(x)`, the REPL's answer, and what every type of handle can do.
//!
//! A new type that scripts hold is an `impl Handle` and its name in `HANDLES` of its folder's `mod.rs`.

use std::any::Any as Anything;
use std::rc::Rc;
use std::sync::OnceLock;

use rhai::plugin::*;
use rhai::{Array, Dynamic, Engine, Map, NativeCallContext};

use super::console::Console;
use super::env::env;
use super::value::{Any, Fallible, Layout, json_text, parsed, written};
use crate::base::{Result, Task};
use crate::report::Item;
use crate::report::symbols::visible;
use crate::report::terminal::Screen;

/// Columns of preformatted text that a page of a report has room for.
pub const PAGE: usize = 100;

/// A result that scripts hold: what all of them can do.
pub trait Handle: Clone + 'static {
    /// The name of the type, as in the reference.
    const NAME: &'static str;
    /// One line, as the value stands in a list.
    fn short(&self) -> String;
    /// All of it, as `show` prints it.
    fn shown(&self, screen: &Screen) -> Result<String>;
    /// Its data.
    fn json(&self) -> Result<serde_json::Value>;
    /// What stands for it in a report, if that is not the text of `shown` with its data.
    fn item(&self) -> Result<Option<Rc<dyn Item>>> {
        Ok(None)
    }
}

/// One type of handle, for values whose type is known only at run time.
pub struct HandleType {
    short: fn(&Dynamic) -> Option<String>,
    shown: fn(&Dynamic, &Screen, &Task) -> Option<Result<String>>,
    json: fn(&Dynamic, &Task) -> Option<Result<serde_json::Value>>,
    item: fn(&Dynamic) -> Option<Result<Option<Rc<dyn Item>>>>,
    inside: fn(&Dynamic) -> Option<Rc<dyn Anything>>,
    register: fn(&mut Engine),
}

pub const fn handle_type<T: Handle>() -> HandleType {
    HandleType {
        short: |value| value.read_lock::<T>().map(|handle| handle.short()),
        shown: |value, screen, _| value.read_lock::<T>().map(|handle| handle.shown(screen)),
        json: |value, _| value.read_lock::<T>().map(|handle| handle.json()),
        item: |value| value.read_lock::<T>().map(|handle| handle.item()),
        inside: |value| value.read_lock::<T>().map(|handle| Rc::new(handle.clone()) as Rc<dyn Anything>),
        register: |engine| {
            engine.register_type_with_name::<T>(T::NAME);
            // What `print`, `+` with a string, and `${..}` in a string write.
            engine.register_fn("to_string", |handle: &mut T| handle.short());
            engine.register_fn("to_debug", |handle: &mut T| handle.short());
        },
    }
}

/// A type whose values may be so large that showing them takes long: that is done apart, and Ctrl-C is heard.
pub const fn large<T: Handle + Send>() -> HandleType {
    HandleType {
        shown: |value, screen, task| {
            let (handle, screen) = (value.read_lock::<T>()?.clone(), *screen);
            Some(task.apart(move || handle.shown(&screen)))
        },
        json: |value, task| {
            let handle = value.read_lock::<T>()?.clone();
            Some(task.apart(move || handle.json()))
        },
        ..handle_type::<T>()
    }
}

/// The types of all parts of the language, from the first engine on.
static TYPES: OnceLock<Vec<&'static HandleType>> = OnceLock::new();

fn types() -> impl Iterator<Item = &'static HandleType> {
    TYPES.get().into_iter().flatten().copied()
}

/// Makes the types known, to the engine and to the functions here.
pub fn register_types(engine: &mut Engine, all: impl IntoIterator<Item = &'static HandleType>) {
    TYPES.get_or_init(|| all.into_iter().collect());
    types().for_each(|kind| (kind.register)(engine));
}

pub fn short(value: &Dynamic) -> Option<String> {
    types().find_map(|kind| (kind.short)(value))
}

pub fn handle_json(value: &Dynamic, task: &Task) -> Option<Result<serde_json::Value>> {
    types().find_map(|kind| (kind.json)(value, task))
}

/// What stands for a handle in a report.
pub fn item(value: &Dynamic) -> Result<Option<Rc<dyn Item>>> {
    types().find_map(|kind| (kind.item)(value)).unwrap_or(Ok(None))
}

/// The handle of a value, as itself.
pub fn handle(value: &Dynamic) -> Option<Rc<dyn Anything>> {
    types().find_map(|kind| (kind.inside)(value))
}

/// A value as the terminal shows it.
pub fn shown(value: &Dynamic, screen: &Screen, task: &Task) -> Result<String> {
    if let Some(text) = types().find_map(|kind| (kind.shown)(value, screen, task)) {
        return text;
    }
    // A list of handles is shown one after the other, a list of numbers on a line.
    if let Some(array) = value.read_lock::<Array>()
        && array.iter().any(|element| short(element).is_some())
    {
        let parts = array.iter().map(|element| {
            task.check()?;
            shown(element, screen, task)
        });
        return Ok(parts.collect::<Result<Vec<String>>>()?.join("\n"));
    }
    if let Some(text) = value.read_lock::<rhai::ImmutableString>() {
        return Ok(text.to_string());
    }
    if let Some(map) = value.read_lock::<Map>() {
        return shown_map(&map, screen, task);
    }
    Ok(screen.shortened(&written(value, task)?))
}

/// Writes a value to the console, as `show` does and the prompt answers.
pub fn tell(value: &Dynamic, console: &Console, task: &Task) -> Result<()> {
    console.say(shown(value, console.screen(), task)?.trim_end_matches('\n'));
    Ok(())
}

/// One key a line once a map is longer than one line.
fn shown_map(map: &Map, screen: &Screen, task: &Task) -> Result<String> {
    let one_line = written(&Dynamic::from(map.clone()), task)?;
    if one_line.chars().count() <= screen.width {
        return Ok(one_line);
    }
    let line = |(key, value): (&rhai::Identifier, &Dynamic)| {
        Ok(format!("  {}: {},", visible(key), screen.shortened(&written(value, task)?)))
    };
    let lines: Vec<String> = map.iter().map(line).collect::<Result<_>>()?;
    Ok(format!("#{{\n{}\n}}", lines.join("\n")))
}

#[export_module(manifest)]
pub mod globals {
    /// Shows any value in the terminal: a tensor as a card, a chart as a picture, a table as a table.
    ///
    /// # Example
    /// ```
    /// show([1, 2.5, "three"]);
    /// ```
    #[rhai_fn(return_raw)]
    pub fn show(ctx: NativeCallContext, value: Any) -> Fallible<()> {
        let env = env(&ctx)?;
        Ok(super::tell(&value, &env.console, &env.task)?)
    }

    /// A value written down in one line, as the REPL answers with it.
    ///
    /// # Example
    /// ```
    /// repr(["a", 1.50])  //=> "[\"a\", 1.5]"
    /// ```
    #[rhai_fn(name = "repr", return_raw)]
    pub fn repr_of(ctx: NativeCallContext, value: Any) -> Fallible<String> {
        Ok(written(&value, &env(&ctx)?.task)?)
    }

    /// A value as JSON text.
    ///
    /// Tensors and results are written as their data; NaN and the infinities, which JSON lacks, become the strings "NaN",
    /// "inf" and "-inf". What has no data, such as a function, is refused.
    ///
    /// # Example
    /// ```
    /// to_json(#{ a: [true, 2.5] })  //=> "{\"a\":[true,2.5]}"
    /// #{ t: tensor([1, 2]) }.to_json()  //=> "{\"t\":[1.0,2.0]}"
    /// ```
    #[rhai_fn(name = "to_json", return_raw)]
    pub fn json_of(ctx: NativeCallContext, value: Any) -> Fallible<String> {
        Ok(json_text(&value, Layout::Line, &env(&ctx)?.task)?)
    }

    // The language has one of its own for maps, which would be found before the one above.
    #[rhai_fn(name = "to_json", return_raw)]
    pub fn json_of_map(ctx: NativeCallContext, value: Map) -> Fallible<String> {
        Ok(json_text(&value.into(), Layout::Line, &env(&ctx)?.task)?)
    }

    /// The value that a JSON text stands for: objects become maps, arrays arrays.
    ///
    /// # Example
    /// ```
    /// parse_json("{ \"a\": [1, 2.5] }")  //=> #{ a: [1, 2.5] }
    /// ```
    #[rhai_fn(return_raw)]
    pub fn parse_json(ctx: NativeCallContext, text: &str) -> Fallible<Dynamic> {
        Ok(parsed(text, &env(&ctx)?.task)?)
    }
}
