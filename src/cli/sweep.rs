//! `microtome sweep PLAN`: dictionaries over a grid, by processes here or by the jobs of a cluster.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::time::Duration;

use super::args::{SweepAction, SweepArguments as Arguments, SweepEngine};
use super::prelude::*;
use super::run;
use crate::base::Kind;
use crate::report::Item;
use crate::script::engine::env::Env;
use crate::script::engine::value::{NumberLayout, json_text};
use crate::sweep::slurm::{self, Resources, Slurm};
use crate::sweep::{
    Folder, Launch, Status, Sweep, SweepCell, SweepPlan, gather, load_plan_sources, local, run_task, status, tie,
};
use crate::training::trackers::{TrackedScript, trackers};

/// Time between two looks of `watch`.
const WATCHED: Duration = Duration::from_secs(2);

pub fn run(options: &CommonArguments, arguments: &Arguments) -> Result<Exit> {
    let slurm = Slurm { patience: Duration::from_secs(arguments.patience) };
    match (&arguments.action, &arguments.plan) {
        (Some(SweepAction::Status { dir }), _) => {
            let (folder, env) = opened(options, dir)?;
            shown(options, &status(&folder, &slurm, &env.task)?)
        }
        (Some(SweepAction::Watch { dir }), _) => watch(options, dir, &slurm),
        (Some(SweepAction::Cancel { dir }), _) => cancel(options, dir, &slurm),
        (Some(SweepAction::Gather { dir }), _) => {
            let (folder, env) = opened(options, dir)?;
            gathered(&folder, options, &env)
        }
        (Some(SweepAction::Work { dir, task, tied }), _) => {
            if *tied {
                tie()?;
            }
            let (folder, env) = opened(options, dir)?;
            let tracked = tracked(options, &folder, &env, task)?;
            run_task(&folder, task, &env.device, &tracked).map(|()| Exit::Done)
        }
        (None, Some(plan)) => planned(options, arguments, plan, &slurm),
        (None, None) => Err(err!(Argument, "expected a plan, found nothing").hint("microtome sweep plan.rhai")),
    }
}

/// Opens the folder of a sweep, which may be written to.
fn opened(options: &CommonArguments, dir: &Path) -> Result<(Folder, Env)> {
    let env = setup::env(&CommonArguments { out: dir.to_path_buf(), ..options.clone() }, SessionNeeds::default())?;
    Ok((Folder::new(&env.files, dir)?, env))
}

/// Returns the task of a process that does one task of a sweep, tracked under the name of its cell.
fn tracked(options: &CommonArguments, folder: &Folder, env: &Env, id: &str) -> Result<Task> {
    if options.track.is_empty() {
        return Ok(env.task.clone());
    }
    let sweep = folder.sweep()?;
    let cell = sweep.cells.iter().find(|cell| cell.id() == id);
    let label = cell.map_or_else(|| id.to_string(), SweepCell::label);
    let name = folder.root.file_name().unwrap_or_default().to_string_lossy();
    let script = TrackedScript::of_task(&name, &label, id);
    let trackers = trackers(&options.trackers(), env.files.access(), Path::new(""), &script)?;
    Ok(env.task.clone().tracked_by(trackers))
}

fn planned(options: &CommonArguments, arguments: &Arguments, path: &Path, slurm: &Slurm) -> Result<Exit> {
    let name = path.file_stem().ok_or_else(|| err!(Argument, "expected a file, found {}", path.display()))?;
    let dir = options.out.join(name);
    let inner = CommonArguments { out: dir.clone(), ..options.clone() };
    let mut session = Session::new(setup::env(&inner, SessionNeeds::default())?);
    let shown_as = path.display().to_string();
    let text = session.env().files.script(path)?;
    let value = match session.eval(&shown_as, &text) {
        Ok(value) => value,
        Err(failure) if failure.is_interrupted() => return Err(Error::interrupted()),
        Err(failure) => {
            show_failure(&session, &failure);
            return Ok(Exit::Failed);
        }
    };
    let env = session.env().clone();
    let text = json_text(&value, NumberLayout::Line, &env.task)?;
    let value = crate::base::json::read_content(text.as_bytes(), |e| err!(Format, "the value of the plan: {e}"))?;
    let plan = SweepPlan::read(&value, options.seed).map_err(|e| e.within(&shown_as))?;
    let known = load_plan_sources(&plan, &env.files, &env.device, &env.task).map_err(|e| e.within(&shown_as))?;
    let sweep = Sweep::expand(&plan, &known, &options.device);
    let folder = Folder::new(&env.files, &dir)?;
    folder.lock()?;
    expect_no_jobs_of_another(&folder, &sweep, slurm, &env)?;
    folder.save_sweep(&sweep)?;
    let launch = launch(options, plan.options.threads)?;
    match arguments.engine {
        SweepEngine::Local => {
            let threads = std::thread::available_parallelism().map_or(1, usize::from);
            let jobs = arguments.jobs.map_or((threads / plan.options.threads).max(1), usize::from);
            local::run(&folder, &sweep, &launch, jobs, &env.task)?;
            let written = gathered(&folder, options, &env)?;
            // What is said of the folder is said of what is left behind.
            env.files.release();
            if written != Exit::Done {
                return Ok(written);
            }
            let now = status(&folder, slurm, &env.task)?;
            Ok(match shown(options, &now)? {
                Exit::Done if now.is_done() => Exit::Done,
                Exit::Done => Exit::Failed,
                unwritten => unwritten,
            })
        }
        SweepEngine::Slurm => submitted(options, arguments, &folder, &sweep, &launch, slurm, &env),
    }
}

/// Refuses a folder in which jobs of another plan still run: they look up their tasks in the plan of the folder.
fn expect_no_jobs_of_another(folder: &Folder, sweep: &Sweep, slurm: &Slurm, env: &Env) -> Result<()> {
    if folder.known_sweep()?.is_none_or(|before| before == *sweep) {
        return Ok(());
    }
    match slurm::SlurmJobs::read(folder)?.live(slurm, &env.task)?.jobs.as_slice() {
        [] => Ok(()),
        jobs => Err(err!(Argument, "another plan's jobs still run in this folder: {}", jobs.join(", "))
            .hint("wait for them, cancel them with `microtome sweep cancel`, or give this plan another name")),
    }
}

fn submitted(
    options: &CommonArguments,
    arguments: &Arguments,
    folder: &Folder,
    sweep: &Sweep,
    launch: &Launch,
    slurm: &Slurm,
    env: &Env,
) -> Result<Exit> {
    let resources = Resources {
        partition: arguments.partition.clone(),
        account: arguments.account.clone(),
        time: arguments.time.clone(),
        memory: arguments.memory.clone(),
        cpus: arguments.cpus.map(usize::from),
        gpus: arguments.gpus.map(usize::from),
        at_once: arguments.at_once.map(|most| most as usize),
    };
    let found = slurm::submit(folder, sweep, launch, &resources, slurm, &env.task)?;
    env.files.release();
    if !options.quiet {
        let live =
            if found.live > 0 { format!("; {} more are in the jobs of before", found.live) } else { String::new() };
        tell(&if found.jobs.is_empty() {
            format!("nothing was submitted{live}")
        } else {
            format!("submitted jobs {} for {} cells{live}", found.jobs.join(", "), found.cells)
        });
    }
    shown(options, &status(folder, slurm, &env.task)?)
}

/// Builds the command that starts tasks: this program with the options of this call that tasks have, too.
fn launch(options: &CommonArguments, threads: usize) -> Result<Launch> {
    let program = std::env::current_exe().map_err(|e| err!(File, "cannot find this program's own file: {e}"))?;
    let mut words: Vec<OsString> =
        vec!["--quiet".into(), "--threads".into(), threads.to_string().into(), "--device".into()];
    words.push(options.device.clone().into());
    words.extend(options.track_words());
    words.extend(options.access_words());
    Ok(Launch { program, words })
}

/// Gathers the cells that are done, and shows the table.
fn gathered(folder: &Folder, options: &CommonArguments, env: &Env) -> Result<Exit> {
    let Some(found) = gather(folder, &env.task)? else { return Ok(Exit::Done) };
    if options.json || options.quiet {
        return Ok(Exit::Done);
    }
    let table = found.table.terminal(&setup::screen(&std::io::stdout()))?;
    Ok(run::to_stdout(&format!("{table}{}\n", found.page.display())))
}

fn shown(options: &CommonArguments, status: &Status) -> Result<Exit> {
    let text = if options.json { format!("{}\n", status.json()) } else { status.text() };
    Ok(run::to_stdout(&text))
}

/// Shows the progress of a sweep until nobody works on it any more.
fn watch(options: &CommonArguments, dir: &Path, slurm: &Slurm) -> Result<Exit> {
    let (folder, env) = opened(options, dir)?;
    let mut before = String::new();
    loop {
        let now = status(&folder, slurm, &env.task)?;
        let text = now.text();
        if text != before {
            // On a terminal the new state takes the place of the old one.
            let up = before.lines().count();
            let over = up > 0 && std::io::stdout().is_terminal();
            let exit = run::to_stdout(&if over { format!("\x1b[{up}A\x1b[J{text}") } else { text.clone() });
            if exit != Exit::Done {
                return Ok(exit);
            }
            before = text;
        }
        if !now.is_going() {
            return Ok(if now.is_done() { Exit::Done } else { Exit::Failed });
        }
        let since = std::time::Instant::now();
        while since.elapsed() < WATCHED {
            env.task.check()?;
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn cancel(options: &CommonArguments, dir: &Path, slurm: &Slurm) -> Result<Exit> {
    let (folder, env) = opened(options, dir)?;
    folder.sweep()?;
    let mut said = Vec::new();
    if folder.files.is_locked(&folder.root)? {
        folder.request_cancel()?;
        said.push("the process that works on it was asked to end".to_string());
    }
    let jobs = match slurm::cancel(&folder, slurm, &env.task) {
        // What was submitted is in the folder, and Slurm is not here.
        Err(error) if error.kind != Kind::Interrupted && !said.is_empty() => {
            tell(&format!("error: {}", error.message));
            Vec::new()
        }
        other => other?,
    };
    if !jobs.is_empty() {
        said.push(format!("jobs {} were cancelled", jobs.join(", ")));
    }
    let said = if said.is_empty() { "nobody works on it".to_string() } else { said.join("; ") };
    Ok(run::to_stdout(&format!("{said}\n")))
}
