//! `run::` and what a script says to the one who started it: arguments, checks, the seed, where results go.

use std::io::Write;

use crate::base::disk;
use crate::script::engine::env::{CHECK_FAILED, CHECK_HOLDS, of_script};
use crate::script::engine::value::{NumberLayout, json_text, parsed};
use crate::script::library::project::{cleaned, path_text};
use crate::script::prelude::*;

#[export_module(manifest)]
pub mod functions {
    /// Checks that a condition holds, says so in one line, and continues either way.
    ///
    /// A run in which some check failed ends with exit code 3. Checks are how an experiment states the result that it
    /// expects, so that a reader sees at once what reproduced.
    ///
    /// # Example
    /// ```
    /// run::check(2 + 2 == 4, "arithmetic holds")  //=> true
    /// ```
    #[rhai_fn(return_raw)]
    pub fn check(ctx: NativeCallContext, condition: bool, message: &str) -> Fallible<bool> {
        let env = of_script(&ctx)?;
        env.checks.note(condition, message);
        let mark = if condition { CHECK_HOLDS } else { CHECK_FAILED };
        env.console.say(&format!("{mark}{message}"));
        Ok(condition)
    }

    /// Returns the seed that drives this run's randomness, as `--seed` gave it.
    ///
    /// A call that states no `seed` has one of its own, which follows from the run's, from the function, from whose text
    /// the call stands in (the script's, or that of a module), and from how often the function was called there before: two
    /// calls in a row differ, and what stands between them changes nothing. Texts, pairs of prompts, splits, and what is drawn
    /// for a card, a dashboard or a map have seed 0 whatever the run's, so that they are the same whenever they are asked for.
    ///
    /// # Example
    /// ```
    /// run::seed()  //=> 0
    /// ```
    #[rhai_fn(return_raw)]
    pub fn seed(ctx: NativeCallContext) -> Fallible<i64> {
        Ok(env(&ctx)?.random.seed() as i64)
    }

    /// Starts the run's randomness again from a seed, as if no function had drawn before.
    ///
    /// Draws that state a seed of their own are not touched by it.
    ///
    /// # Example
    /// ```
    /// run::restart(7);
    /// let a = tensor::randn([3]);
    /// run::restart(7);
    /// a.equal(tensor::randn([3]))  //=> true
    /// ```
    #[rhai_fn(return_raw)]
    pub fn restart(ctx: NativeCallContext, seed: Int) -> Fallible<()> {
        let seed = given("seed", &seed).integer()?;
        of_script(&ctx)?.random.restart(seed as u64);
        Ok(())
    }

    /// Continues as if functions had drawn so often, each in calls without a seed of its own.
    ///
    /// The keys of the map are names of functions; for calls in the text of a module its name and a blank stand before it,
    /// `"std/stats tensor::randn"`. `:save` writes this behind a line that drew before it failed.
    ///
    /// # Example
    /// ```
    /// let a = [tensor::randn([3]), tensor::randn([3])];
    /// run::drawn(#{ "tensor::randn": 1 });
    /// a[1].equal(tensor::randn([3]))  //=> true
    /// ```
    #[rhai_fn(return_raw)]
    pub fn drawn(ctx: NativeCallContext, counts: Any) -> Fallible<()> {
        let Some(map) = counts.read_lock::<Map>() else {
            return Err(given("counts", &counts).refuse("a map of names of functions and numbers").into());
        };
        for (name, count) in map.iter() {
            env(&ctx)?.random.count(name.as_str().into(), given("counts", count).size()? as u64);
        }
        Ok(())
    }

    /// Ends the next trainings and searches early, as Ctrl-C does: each after so many of its steps, `()` for one that goes
    /// on to its end.
    ///
    /// `:save` writes this before a line in which Ctrl-C ended one, so that the script gives what the session had. The steps
    /// are those of trainings; of a search they are its parts.
    ///
    /// # Example
    /// ```
    /// run::end_early([2]);
    /// sae::fit(tensor::randn([8, 4]), #{ k: 2, d_sae: 4, steps: 5 }).more.fit.steps_made  //=> 2
    /// ```
    #[rhai_fn(return_raw)]
    pub fn end_early(ctx: NativeCallContext, steps: Array) -> Fallible<()> {
        let of =
            |steps: &Dynamic| if steps.is_unit() { Ok(None) } else { Ok(Some(given("steps", steps).size()? as u64)) };
        let steps: Vec<Option<u64>> = steps.iter().map(of).collect::<Result<_>>()?;
        env(&ctx)?.task.end_early(&steps);
        Ok(())
    }

    /// Returns the folder that relative paths are written below, as `--out` gave it.
    ///
    /// # Example
    /// ```
    /// type_of(run::out())  //=> "string"
    /// ```
    #[rhai_fn(return_raw)]
    pub fn out(ctx: NativeCallContext) -> Fallible<String> {
        Ok(env(&ctx)?.files.access().out().display().to_string())
    }

    /// Returns the path of a file that lies beside the script or module in which the call stands, wherever the run was
    /// started.
    ///
    /// # Example
    /// ```
    /// run::beside("../data/pairs.json").ends_with("data/pairs.json")  //=> true
    /// ```
    #[rhai_fn(return_raw)]
    pub fn beside(ctx: NativeCallContext, file: &str) -> Fallible<String> {
        let folder = ctx.call_source().and_then(|source| Path::new(source).parent()).unwrap_or_else(|| Path::new(""));
        let whole = std::path::absolute(folder.join(file));
        let whole = whole.map_err(|e| err!(File, "no path leads to `{file}` from here: {e}").about("file"))?;
        Ok(path_text(&cleaned(&whole)))
    }

    /// Writes a value as JSON, below the output folder if the path is relative.
    ///
    /// Tensors become nested arrays; NaN and the infinities, which JSON lacks, become the strings "NaN", "inf" and
    /// "-inf". Returns the path of the file.
    ///
    /// # Example
    /// ```
    /// run::save_json("doc/result.json", #{ loss: 0.5 });
    /// run::load_json("doc/result.json").loss  //=> 0.5
    /// ```
    #[rhai_fn(return_raw)]
    pub fn save_json(ctx: NativeCallContext, path: &str, value: Any) -> Fallible<String> {
        let text = json_text(&value, NumberLayout::Lines, &env(&ctx)?.task)?;
        Ok(super::save_text(&ctx, path, &(text + "\n"))?)
    }

    /// Reads a JSON file: objects become maps, arrays arrays.
    ///
    /// # Example
    /// ```
    /// run::save_json("doc/list.json", [1, 2.5]);
    /// run::load_json("doc/list.json")  //=> [1, 2.5]
    /// ```
    #[rhai_fn(return_raw)]
    pub fn load_json(ctx: NativeCallContext, path: &str) -> Fallible<Dynamic> {
        let env = env(&ctx)?;
        let text = env.files.text(path.as_ref()).map_err(|e| e.about("path"))?;
        let shown = path.to_string();
        let wrong = move |e: serde_json::Error| err!(Format, "{shown} is not JSON: {e}").about("path");
        Ok(parsed(text, wrong, &env.task)?)
    }

    /// Writes a string to a file, below the output folder if the path is relative. Returns the path of the file.
    ///
    /// # Example
    /// ```
    /// run::save_text("doc/note.txt", "hello\n");
    /// run::load_text("doc/note.txt")  //=> "hello\n"
    /// ```
    #[rhai_fn(return_raw)]
    pub fn save_text(ctx: NativeCallContext, path: &str, text: &str) -> Fallible<String> {
        Ok(super::save_text(&ctx, path, text)?)
    }

    /// Reads a whole text file, which must be UTF-8.
    ///
    /// # Example
    /// ```
    /// run::save_text("doc/lines.txt", "one\ntwo");
    /// run::load_text("doc/lines.txt").split("\n")  //=> ["one", "two"]
    /// ```
    #[rhai_fn(return_raw)]
    pub fn load_text(ctx: NativeCallContext, path: &str) -> Fallible<String> {
        Ok(env(&ctx)?.files.text(path.as_ref()).map_err(|e| e.about("path"))?)
    }

    /// Lists the names in a folder, in alphabetical order, those of folders with a slash at the end; without what may
    /// not be read.
    ///
    /// # Example
    /// ```
    /// run::save_text("doc/listed/a.txt", "a");
    /// run::save_text("doc/listed/b/c.txt", "c");
    /// run::list("doc/listed").filter(|name| !name.starts_with("."))  //=> ["a.txt", "b/"]
    /// ```
    #[rhai_fn(return_raw)]
    pub fn list(ctx: NativeCallContext, folder: &str) -> Fallible<rhai::Array> {
        let env = env(&ctx)?;
        let files = &env.files;
        if !disk::is_dir(&files.access().to_read(folder.as_ref()).map_err(|e| e.about("folder"))?) {
            return Err(err!(File, "there is no folder {folder}").about("folder").into());
        }
        let mut names = files.names_while(folder.as_ref(), &|| env.task.check())?;
        // As many as millions, each some hundred operations.
        let names = env.task.heavy(names.len() as f64 * 1e3, move || {
            names.sort();
            Ok(names)
        })?;
        Ok(names.into_iter().map(Dynamic::from).collect())
    }

    /// Copies a file, below the output folder if `to` is relative. Returns the path of the copy.
    ///
    /// # Example
    /// ```
    /// run::save_text("doc/original.txt", "one");
    /// run::copy("doc/original.txt", "doc/copied.txt");
    /// run::load_text("doc/copied.txt")  //=> "one"
    /// ```
    #[rhai_fn(return_raw)]
    pub fn copy(ctx: NativeCallContext, path: &str, to: &str) -> Fallible<String> {
        let env = env(&ctx)?;
        let files = &env.files;
        let bytes = files.bytes(path.as_ref()).map_err(|e| e.about("path"))?;
        Ok(files.save_whole(to.as_ref(), bytes).map_err(|e| e.about("to"))?.display().to_string())
    }

    /// Fetches a file over HTTP into the output folder, unless a file of that name and hash is there already.
    ///
    /// Only hosts that were allowed are asked: the model hub, and what `--allow-net` adds. Returns the path of the file.
    ///
    /// # Options
    /// - `to` = the last part of the address: where to write it
    /// - `sha256` = none: the hash that the content must have, in hexadecimal digits
    ///
    /// # Example
    /// ```
    /// let kind = ();
    /// try { run::fetch("http://not-allowed.example/x") } catch (e) { kind = e.kind; }
    /// kind  //=> "access"
    /// ```
    #[rhai_fn(return_raw)]
    pub fn fetch(ctx: NativeCallContext, address: &str) -> Fallible<String> {
        Ok(super::fetched(&ctx, address, rhai::Map::new())?)
    }

    #[rhai_fn(name = "fetch", return_raw)]
    pub fn fetch_with(
        ctx: NativeCallContext,
        address: &str,
        options: crate::script::engine::value::Options,
    ) -> Fallible<String> {
        Ok(super::fetched(&ctx, address, options)?)
    }
}

#[export_module(manifest)]
pub mod globals {
    /// Returns the value of the script's argument `--name`, or the default if it was not given.
    ///
    /// The text of the argument is read as what the default is: an integer, or any number where the default has a point, as
    /// `8.0`; `true` or `false`, an array separated by commas, or a string. Without a default the argument must be given, and
    /// comes as a string.
    ///
    /// # Example
    /// ```
    /// arg("layer", 3)  //=> 3
    /// ```
    #[rhai_fn(return_raw)]
    pub fn arg(ctx: NativeCallContext, name: &str, default: Any) -> Fallible<Dynamic> {
        let env = of_script(&ctx)?;
        match env.arguments.ask(name) {
            None => Ok(default),
            Some(text) => Ok(super::read_as(name, text, &default)?),
        }
    }

    #[rhai_fn(name = "arg", return_raw)]
    pub fn arg_required(ctx: NativeCallContext, name: &str) -> Fallible<String> {
        let env = of_script(&ctx)?;
        let given = env.arguments.ask(name).map(str::to_string);
        Ok(given.ok_or_else(|| {
            err!(Argument, "the argument `--{name}` is missing")
                .hint(format!("give it after the file: `--{name} VALUE`"))
        })?)
    }
}

/// Number of bytes that are written between two looks at the flag.
const PIECE: usize = 1 << 20;

fn save_text(ctx: &NativeCallContext, path: &str, text: &str) -> Result<String> {
    let env = env(ctx)?;
    let name = Path::new(path);
    let write = |file: &mut dyn Write| {
        text.as_bytes().chunks(PIECE).try_for_each(|piece| {
            env.task.check()?;
            file.write_all(piece).map_err(|e| Error::io("write", name, &e))
        })
    };
    let place = env.files.save(name, write).map_err(|e| e.about("path"))?;
    Ok(place.display().to_string())
}

fn fetched(ctx: &NativeCallContext, address: &str, map: rhai::Map) -> Result<String> {
    let env = env(ctx)?;
    let mut options = crate::script::engine::options::options(map);
    let to = options.get("to", |given| given.text())?;
    let hash = options.get("sha256", |given| given.text())?;
    options.finish()?;
    let place = crate::net::fetch(&env.files, &env.task, address, to.as_deref(), hash.as_deref())?;
    Ok(place.display().to_string())
}

/// Reads the text of an argument as what its default is.
fn read_as(name: &str, text: &str, default: &Dynamic) -> Result<Dynamic> {
    let refuse = |wanted: &str| err!(Argument, "expected {wanted} for `--{name}`, found `{text}`");
    if default.is_int() {
        let plain = text.replace('_', "");
        let whole = plain
            .parse::<i64>()
            .ok()
            .or_else(|| plain.parse::<f64>().ok().filter(|x| x.fract() == 0.0 && x.abs() <= 9e15).map(|x| x as i64));
        return whole.map(Dynamic::from).ok_or_else(|| match plain.parse::<f64>() {
            Ok(_) => refuse("an integer")
                .hint(format!("the default {default} is an integer: as `{default}.0` it takes any number"))
                .about("default"),
            Err(_) => refuse("an integer"),
        });
    }
    if default.is_float() {
        return text.replace('_', "").parse::<f64>().map(Dynamic::from).map_err(|_| refuse("a number"));
    }
    if default.is_bool() {
        return match text {
            "true" => Ok(true.into()),
            "false" => Ok(false.into()),
            _ => Err(refuse("true or false")),
        };
    }
    if let Some(array) = default.read_lock::<rhai::Array>() {
        let like = array.first().cloned().unwrap_or_else(|| Dynamic::from(String::new()));
        let parts = text.split(',').filter(|part| !part.is_empty());
        return Ok(parts.map(|part| read_as(name, part.trim(), &like)).collect::<Result<rhai::Array>>()?.into());
    }
    if default.is_string() || default.is_unit() {
        return Ok(text.to_string().into());
    }
    bail!(
        Argument,
        "`--{name}` cannot be given as text: its default is {}",
        crate::script::engine::value::described(default)
    )
}
