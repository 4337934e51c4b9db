//! `run::script` and `run::scripts`: whole scripts, each in a session of its own, recorded, and taken from their records
//! where they ran before.

use super::notebook::script_text;
use super::record::{self, DONE, Record};
use super::run_results::{self, RunResults, RunSettings};
use crate::base::clock::Instant;
use crate::base::task;
use crate::script::engine::env::Check;
use crate::script::prelude::*;

/// Largest depth of scripts that run scripts; each level needs a part of the stack.
const DEEPEST: usize = 3;

#[export_module(manifest)]
pub mod functions {
    /// Runs a script in a session of its own, and gives back what came out.
    ///
    /// It may touch what the script that runs it may touch, and leaves its record and its files below `out`. If the record
    /// of a complete run with the same code (comments apart), arguments, seed, inputs and version is there already, with all
    /// files that it wrote, the results are taken from it; `--fresh` runs it all the same. An error in the script and
    /// checks that fail end nothing here.
    ///
    /// The result is a map: `script`, `args`, `seed`, `outcome` ("done", or the error with its place), `checks` (an array of
    /// maps of `words` and `held`), `held` and `failed` (how many), `printed`, `files` (what it wrote), `seconds` (of the
    /// run that made the record, if it was taken from there) and `recorded` (whether it was).
    ///
    /// # Options
    /// - `args` = none: a map of the script's arguments, which it reads by `arg`
    /// - `seed` = the seed of this run: its seed
    /// - `out` = the output folder of this run: its output folder; below that one if it is relative
    ///
    /// # Example
    /// ```
    /// let path = run::save_text("doc/five.rhai", "run::check(arg(\"n\", 0) == 5, `n is ${arg(\"n\", 0)}`)");
    /// let ran = run::script(path, #{ args: #{ n: 5 }, out: "doc/five" });
    /// ran.outcome  //=> "done"
    /// ran.checks  //=> [#{ held: true, words: "n is 5" }]
    /// run::script(path, #{ args: #{ n: 5 }, out: "doc/five" }).recorded  //=> true
    /// run::script(path, #{ args: #{ n: 6 }, out: "doc/five" }).failed  //=> 1
    /// ```
    #[rhai_fn(return_raw)]
    pub fn script(ctx: NativeCallContext, path: &str) -> Fallible<Map> {
        super::one(&ctx, path, Map::new())
    }

    #[rhai_fn(name = "script", return_raw)]
    pub fn script_with(ctx: NativeCallContext, path: &str, options: Options) -> Fallible<Map> {
        super::one(&ctx, path, options)
    }

    /// Runs scripts one after the other, as `run::script` does, and says after each how long the rest may take.
    ///
    /// Each is a path, or a map of `script`, its path, and the options of `run::script`. Ctrl-C ends all of them; those that
    /// were complete are taken from their records the next time.
    ///
    /// # Example
    /// ```
    /// let path = run::save_text("doc/seeded.rhai", "run::check(run::seed() < 2, \"the seed is small\")");
    /// let runs = run::scripts([1, 2].map(|seed| #{ script: path, seed: seed, out: `doc/seed-${seed}` }));
    /// runs.map(|ran| ran.held)  //=> [1, 0]
    /// ```
    #[rhai_fn(return_raw)]
    pub fn scripts(ctx: NativeCallContext, list: Array) -> Fallible<Array> {
        let env = env(&ctx)?;
        let plans = list.iter().map(|value| super::ScriptRun::of(value, &env)).collect::<Result<Vec<_>>>();
        let plans = plans.map_err(|e| e.about("list"))?;
        Ok(super::all(&env, plans)?.into_iter().map(Dynamic::from).collect())
    }
}

fn one(ctx: &NativeCallContext, path: &str, mut options: Map) -> Fallible<Map> {
    let env = env(ctx)?;
    if options.contains_key("script") {
        return Err(err!(Name, "unknown option `script`").about("script").into());
    }
    options.insert("script".into(), path.into());
    let plan = ScriptRun::of(&Dynamic::from(options), &env)?;
    Ok(ran(&env, &plan)?)
}

/// A script that is to be run.
struct ScriptRun {
    script: String,
    text: String,
    arguments: BTreeMap<String, String>,
    /// The arguments as they were given.
    args: Map,
    seed: u64,
    /// Output folder of the run, where it is another one.
    out: Option<PathBuf>,
}

impl ScriptRun {
    fn of(value: &Dynamic, env: &Env) -> Result<Self> {
        let map = match value.read_lock::<rhai::ImmutableString>() {
            Some(path) => Map::from([("script".into(), Dynamic::from(path.clone()))]),
            None => given("list", value).map()?,
        };
        let mut read = options(map);
        let script = read.get("script", GivenValue::text)?;
        let args = read.get("args", GivenValue::map)?.unwrap_or_default();
        let seed = read.seed()?.unwrap_or(env.settings.seed);
        let out = read.get("out", GivenValue::text)?.map(PathBuf::from);
        read.finish()?;
        let script = script.ok_or_else(|| err!(Argument, "expected the path of a `script`, found none"))?;
        let arguments = args.iter().map(|(name, value)| Ok((name.to_string(), as_typed(name, value)?)));
        Ok(Self {
            text: match env.recorded.get(&script) {
                Some(text) => text.clone(),
                None => script_text(&env.files, Path::new(&script)).map_err(|e| e.about("path"))?,
            },
            arguments: arguments.collect::<Result<_>>().map_err(|e| e.about("args"))?,
            script,
            args,
            seed,
            out,
        })
    }

    /// Returns the name of the run while it runs: `das, seed 1, control true`.
    fn called(&self) -> String {
        let stem = record::folder(&self.script).display().to_string();
        let arguments = self.arguments.iter().map(|(name, value)| format!(", {name} {value}"));
        format!("{stem}, seed {}{}", self.seed, arguments.collect::<String>())
    }
}

/// Writes an argument as it would stand on the command line.
fn as_typed(name: &str, value: &Dynamic) -> Result<String> {
    // A number is the same argument as 1 and as 1.0.
    if let Ok(number) = value.as_float() {
        return Ok(number.to_string());
    }
    if value.is_int() || value.is_bool() || value.is_string() {
        return Ok(value.to_string());
    }
    match value.read_lock::<Array>() {
        Some(list) => Ok(list.iter().map(|one| as_typed(name, one)).collect::<Result<Vec<_>>>()?.join(",")),
        None => {
            let found = described(value);
            bail!(Argument, "expected a number, true, false, a string or an array of them for `{name}`, found {found}")
        }
    }
}

/// Runs all of them; says after each what came out, and how long the others may take.
fn all(env: &Env, plans: Vec<ScriptRun>) -> Result<Vec<Map>> {
    let mut places = BTreeSet::new();
    for plan in &plans {
        let folder = plan.out.clone().unwrap_or_default().join(record::folder(&plan.script));
        if !places.insert(folder.clone()) {
            return Err(err!(Argument, "two scripts of the list would write into {}", folder.display())
                .hint("give each an `out` of its own")
                .about("list"));
        }
    }
    let bar = env.task.begin("scripts", Some(plans.len() as u64));
    let mut done: Vec<Map> = Vec::new();
    let mut took: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for (i, plan) in plans.iter().enumerate() {
        bar.note(&plan.called());
        let map = ran(env, plan)?;
        let seconds = map.get("seconds").and_then(|seconds| seconds.as_float().ok()).unwrap_or_default();
        took.entry(&plan.script).or_default().push(seconds);
        let is_recorded = map.get("recorded").is_some_and(|recorded| recorded.as_bool() == Ok(true));
        if is_recorded {
            bar.had(1)
        } else {
            bar.advance(1)
        }
        let left = left(&took, plans.get(i + 1..).unwrap_or_default());
        let place = format!("{} of {}", i + 1, plans.len());
        env.task.say(&format!("{place}: {}: {}{left}", plan.called(), in_words(&map, seconds, is_recorded)));
        done.push(map);
    }
    Ok(done)
}

/// Writes the outcome of a run in a line.
fn in_words(map: &Map, seconds: f64, is_recorded: bool) -> String {
    let number = |key: &str| map.get(key).and_then(|number| number.as_int().ok()).unwrap_or_default();
    let held = number("held");
    let all = number("held") + number("failed");
    let outcome = map.get("outcome").map(ToString::to_string).unwrap_or_default();
    let outcome = if outcome == DONE { String::new() } else { format!("FAILED: {outcome}; ") };
    let recorded = if is_recorded { ", from its record" } else { "" };
    format!("{outcome}{held} of {} held, {}{recorded}", count(all as usize, "check"), task::human(seconds))
}

/// Estimates how long the rest takes: each script as long as it took with other seeds, others as long as those did on
/// average.
fn left(took: &BTreeMap<&str, Vec<f64>>, rest: &[ScriptRun]) -> String {
    let mean = |all: &[f64]| all.iter().sum::<f64>() / all.len().max(1) as f64;
    let means: Vec<f64> = took.values().map(|all| mean(all)).collect();
    let of = |plan: &ScriptRun| took.get(plan.script.as_str()).map_or(mean(&means), |all| mean(all));
    if rest.is_empty() { String::new() } else { format!("; about {} left", task::human(rest.iter().map(of).sum())) }
}

/// Runs it, or takes its results from its record.
fn ran(env: &Env, plan: &ScriptRun) -> Result<Map> {
    env.task.check()?;
    if env.depth >= DEEPEST {
        bail!(
            Argument,
            "expected scripts that run each other at most {DEEPEST} deep, found {} one deeper",
            plan.script
        );
    }
    let within = env.within(plan.arguments.clone().into(), plan.seed, plan.out.as_deref())?;
    let inner = Env { folder: record::folder(&plan.script), ..within };
    let out = inner.files.access().out().to_path_buf();
    let asked = RunSettings { script: &plan.script, text: &plan.text, arguments: &plan.arguments, seed: plan.seed };
    let known = if env.settings.fresh { None } else { run_results::same(env, &out, &asked) };
    let is_recorded = known.is_some();
    let (record, told, place) = match known {
        Some((record, told)) => (record, told, None),
        None => made(env, inner, plan)?,
    };
    let ledger = run_results::ledger(&record, &out);
    let files: Array = ledger.written.keys().map(|path| path.display().to_string().into()).collect();
    env.files.note_all(ledger);
    env.ran.borrow_mut().extend(record.sources);
    let whole = |text: &str| text.replace(record::OUT, &out.display().to_string());
    let place = place.map(|place| format!(" ({place})")).unwrap_or_default();
    let check = |one: &Check| {
        Dynamic::from(Map::from([("held".into(), one.held.into()), ("words".into(), one.words.clone().into())]))
    };
    let fields: Vec<(&str, Dynamic)> = vec![
        ("script", plan.script.clone().into()),
        ("args", plan.args.clone().into()),
        ("seed", (plan.seed as i64).into()),
        ("outcome", format!("{}{place}", whole(&record.outcome)).into()),
        ("checks", told.checks.iter().map(check).collect::<Array>().into()),
        ("held", (record.checks_passed as i64).into()),
        ("failed", (record.checks_failed as i64).into()),
        ("printed", whole(&told.printed).into()),
        ("files", files.into()),
        ("seconds", told.seconds.into()),
        ("recorded", is_recorded.into()),
    ];
    Ok(fields.into_iter().map(|(name, value)| (name.into(), value)).collect())
}

/// Runs it, and writes down what it did. An interruption is passed on: what is not complete has no record.
fn made(env: &Env, inner: Env, plan: &ScriptRun) -> Result<(Record, RunResults, Option<String>)> {
    let folder = record::folder(&plan.script);
    // Taken before the first line runs; who denies to write there wants the script run all the same.
    let is_kept = match inner.files.access().to_write(&folder) {
        Ok(place) => inner.files.lock(&place).map(|()| true)?,
        Err(error) if error.kind == Kind::Access => false,
        Err(error) => return Err(error),
    };
    let Some(evaluate) = env.evaluate.get() else { bail!(Bug, "this environment belongs to no session") };
    let before = seconds_before(env, plan);
    let start = Instant::now();
    let ended = evaluate(inner, &plan.script, &plan.text);
    if env.task.is_interrupted() {
        return Err(Error::interrupted());
    }
    let record = Record::of(&ended.env, ended.sources, &plan.script, ended.error.as_deref());
    let files: &Files = &ended.env.files;
    let told = RunResults {
        seconds: before.unwrap_or((start.elapsed().as_secs_f64() * 10.0).round() / 10.0),
        checks: ended.env.checks.all(),
        printed: record::without_out(&ended.env.console.kept().unwrap_or_default(), files.access().out()),
    };
    if is_kept {
        // The record comes last, so that one that is there is complete.
        files.save_whole(&folder.join(run_results::FILE), told.text()?)?;
        files.save_whole(&folder.join(record::FILE), record.text()?)?;
    }
    files.release();
    Ok((record, told, ended.place))
}

/// Returns how long the run took when it is repeated by `--again`, whose results must be the same: as long as the first
/// time.
fn seconds_before(env: &Env, plan: &ScriptRun) -> Option<f64> {
    if env.recorded.is_empty() {
        return None;
    }
    let place = plan.out.clone().unwrap_or_default().join(record::folder(&plan.script)).join(run_results::FILE);
    RunResults::parse(&env.files.script(&place).ok()?).map(|told| told.seconds)
}
