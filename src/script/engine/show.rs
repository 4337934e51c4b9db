//! Showing and saving values: `show(x)`, the REPL's answer, and the JSON of any value.

use std::path::Path;

use rhai::plugin::*;
use rhai::{Array, Dynamic, Map, NativeCallContext};

use crate::base::{Result, Task};
use crate::err;
use crate::report::Item;
use crate::report::items::{self, PictureOptions};
use crate::report::terminal::Screen;
use crate::report::visible_text::visible;
use crate::script::engine::console::Console;
use crate::script::engine::env::{Env, env, signed};
pub use crate::script::engine::handle::Handle;
use crate::script::engine::handle::{short, shown_handle};
use crate::script::engine::value::{Any, Fallible, NumberLayout, from_json, json_text, parsed, written};

/// Writes a value as the terminal shows it.
pub fn shown(value: &Dynamic, screen: &Screen, task: &Task) -> Result<String> {
    if let Some(text) = shown_handle(value, screen, task) {
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
        return shown_map(value, &map, screen, task);
    }
    Ok(screen.shortened(&written(value, task)?))
}

/// Writes a value to the console, as `show` does.
pub fn tell_of(ctx: &NativeCallContext, value: &Dynamic, env: &Env) -> Result<()> {
    let text = shown(value, env.console.screen(), &env.task)?;
    let text = signed(ctx, text.trim_end_matches('\n').into());
    match env.console.in_notebook() {
        Some(notebook) => notebook.value(value, text.into_owned(), false, &env.task),
        None => {
            env.console.say(&text);
            Ok(())
        }
    }
}

/// Writes a value to the console, as the prompt answers.
pub fn tell(value: &Dynamic, console: &Console, task: &Task) -> Result<()> {
    let text = shown(value, console.screen(), task)?;
    match console.in_notebook() {
        Some(notebook) => notebook.value(value, text.trim_end_matches('\n').into(), true, task),
        None => {
            console.say(text.trim_end_matches('\n'));
            // A long text may have been interrupted; a console that nobody reads says so itself.
            if console.closed().is_some() { Ok(()) } else { task.check() }
        }
    }
}

/// Writes a map: one key a line once it is longer than one line.
fn shown_map(value: &Dynamic, map: &Map, screen: &Screen, task: &Task) -> Result<String> {
    let one_line = written(value, task)?;
    if one_line.chars().count() <= screen.width {
        return Ok(one_line);
    }
    let line = |(key, value): (&rhai::Identifier, &Dynamic)| {
        Ok(format!("  {}: {},", visible(key), screen.shortened(&written(value, task)?)))
    };
    let lines: Vec<String> = map.iter().map(line).collect::<Result<_>>()?;
    Ok(format!("#{{\n{}\n}}", lines.join("\n")))
}

/// Writes an item in the format that the path asks for, and gives back where it is.
pub fn saved(ctx: &NativeCallContext, item: &dyn Item, path: &str) -> Result<String> {
    saved_picture(ctx, item, path, &PictureOptions::default())
}

/// Writes an item as [`saved`] does, a picture with these options.
pub fn saved_picture(ctx: &NativeCallContext, item: &dyn Item, path: &str, options: &PictureOptions) -> Result<String> {
    let env = env(ctx)?;
    let place = items::save_picture(item, options, &env.files, Path::new(path), &env.task);
    Ok(place.map_err(|e| e.about("path"))?.display().to_string())
}

/// Returns the data of a handle, as a value of scripts.
pub fn mapped(handle: &impl Handle) -> Result<Dynamic> {
    Ok(from_json(handle.json()?))
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
        Ok(super::tell_of(&ctx, &value, &env)?)
    }

    /// Returns a value written down in one line, as the REPL answers with it.
    ///
    /// # Example
    /// ```
    /// repr(["a", 1.50])  //=> "[\"a\", 1.5]"
    /// ```
    #[rhai_fn(name = "repr", return_raw)]
    pub fn repr_of(ctx: NativeCallContext, value: Any) -> Fallible<String> {
        Ok(written(&value, &env(&ctx)?.task)?)
    }

    /// Returns a value as JSON text.
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
        Ok(json_text(&value, NumberLayout::Line, &env(&ctx)?.task)?)
    }

    /// Returns the value that a JSON text stands for: objects become maps, arrays arrays.
    ///
    /// # Example
    /// ```
    /// parse_json("{ \"a\": [1, 2.5] }")  //=> #{ a: [1, 2.5] }
    /// ```
    #[rhai_fn(return_raw)]
    pub fn parse_json(ctx: NativeCallContext, text: &str) -> Fallible<Dynamic> {
        let wrong = |e: serde_json::Error| err!(Format, "expected JSON, found other text: {e}");
        Ok(parsed(text.into(), wrong, &env(&ctx)?.task)?)
    }
}
