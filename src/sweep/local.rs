//! The engine of one machine: a process of this program for each task, some at a time. They end when this one does.

use std::collections::VecDeque;
use std::io::Read;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use super::Launch;
use super::cell::Sweep;
use super::folder::{Folder, TaskState};
use super::output::shown;
use crate::base::{Kind, locked};
use crate::common::*;

/// Time between two looks at the processes.
const GLANCE: Duration = Duration::from_millis(20);

/// Number of bytes that are kept of the end of a process's output.
const KEPT: usize = 1 << 14;

/// A task that is due, and the harvest that must be done before.
struct PendingTask {
    id: String,
    label: String,
    after: Option<String>,
}

/// A task that runs. Dropping it ends the process.
struct TaskProcess {
    due: PendingTask,
    child: Child,
    said: Arc<Mutex<Vec<u8>>>,
    reader: Option<std::thread::JoinHandle<()>>,
}

/// Runs all tasks that are not done, `jobs` at a time. A task that fails is said, and the others go on.
pub fn run(folder: &Folder, sweep: &Sweep, launch: &Launch, jobs: usize, task: &Task) -> Result<()> {
    folder.forget_cancel()?;
    let due = due(folder, sweep)?;
    let mut running = Vec::new();
    let outcome = done(folder, due, &mut running, launch, jobs, task);
    let left: Vec<String> = running.iter().map(|one: &TaskProcess| one.due.id.clone()).collect();
    // Their processes end before anything is said of them.
    drop(running);
    if outcome.as_ref().is_err_and(|error| error.kind == Kind::Interrupted) {
        left.iter().for_each(|id| folder.set_interrupted(id));
    }
    outcome
}

/// Runs the tasks that are due. Processes that are still `running` when this ends were not waited for.
fn done(
    folder: &Folder,
    mut due: VecDeque<PendingTask>,
    running: &mut Vec<TaskProcess>,
    launch: &Launch,
    jobs: usize,
    task: &Task,
) -> Result<()> {
    let all = due.len();
    let bar = task.begin("sweep", Some(all as u64));
    let mut ended = 0;
    while !(due.is_empty() && running.is_empty()) {
        if folder.is_cancelled()? {
            folder.forget_cancel()?;
            return Err(Error::interrupted());
        }
        task.check()?;
        let mut index = 0;
        while let Some(one) = running.get_mut(index) {
            let status = one.child.try_wait().map_err(|e| err!(Bug, "cannot wait for a process: {e}"))?;
            let Some(status) = status else {
                index += 1;
                continue;
            };
            let mut one = running.swap_remove(index);
            ended += 1;
            bar.advance(1);
            let words = one.words();
            let label = &one.due.label;
            let id = &one.due.id;
            match outcome(folder, id, status, words, task)? {
                None => task.say(&format!("done {label} ({ended} of {all})")),
                Some(why) => task.say(&format!("{label}: {why} ({ended} of {all})")),
            }
        }
        start(folder, &mut due, running, launch, jobs)?;
        std::thread::sleep(GLANCE);
    }
    Ok(())
}

/// Lists the tasks that are not done: cells, and the harvests that these need.
fn due(folder: &Folder, sweep: &Sweep) -> Result<VecDeque<PendingTask>> {
    let mut all = VecDeque::new();
    for (harvest, cells) in sweep.by_harvest() {
        let mut missing = Vec::new();
        for cell in cells {
            if !folder.is_done(&cell.id())? {
                missing.push(cell);
            }
        }
        let is_there = folder.is_done(&harvest.id())?;
        if !missing.is_empty() && !is_there {
            all.push_back(PendingTask { id: harvest.id(), label: harvest.label(), after: None });
        }
        let after = (!is_there).then(|| harvest.id());
        all.extend(missing.iter().map(|cell| PendingTask { id: cell.id(), label: cell.label(), after: after.clone() }));
    }
    Ok(all)
}

/// Starts what may start. Cells whose harvest has ended without a store are left out.
fn start(
    folder: &Folder,
    due: &mut VecDeque<PendingTask>,
    running: &mut Vec<TaskProcess>,
    launch: &Launch,
    jobs: usize,
) -> Result<()> {
    // Harvests that are still to be made.
    let first = due.iter().filter(|one| one.after.is_none()).chain(running.iter().map(|one| &one.due));
    let ahead: BTreeSet<String> = first.map(|one| one.id.clone()).collect();
    let mut index = 0;
    while let Some(one) = due.get(index)
        && running.len() < jobs
    {
        if let Some(harvest) = &one.after {
            if ahead.contains(harvest) {
                index += 1;
                continue;
            }
            if !folder.is_done(harvest)? {
                due.remove(index);
                continue;
            }
        }
        if let Some(one) = due.remove(index) {
            running.push(TaskProcess::start(folder, one, launch)?);
        }
    }
    Ok(())
}

impl TaskProcess {
    fn start(folder: &Folder, due: PendingTask, launch: &Launch) -> Result<Self> {
        let root = folder.root.display().to_string();
        let mut command = std::process::Command::new(&launch.program);
        command.args(launch.words(&["work", "--tied", &root, &due.id]));
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| err!(File, "cannot start {}: {e}", launch.program.display()))?;
        let said = Arc::new(Mutex::new(Vec::new()));
        let from = child.stderr.take();
        let kept = said.clone();
        let reader = from.map(|from| std::thread::spawn(move || keep_end(from, &kept)));
        Ok(Self { due, child, said, reader })
    }

    /// Returns the last line of the process's output.
    fn words(&mut self) -> Option<String> {
        // The process has ended, and with it what it said.
        if let Some(reader) = self.reader.take() {
            let _ended_or_panicked = reader.join();
        }
        let said = locked(&self.said);
        last_line(&shown(&said))
    }
}

impl Drop for TaskProcess {
    fn drop(&mut self) {
        let _has_ended_already = self.child.kill();
        let _nothing_left_to_wait_for = self.child.wait();
    }
}

fn keep_end(mut from: impl Read, kept: &Mutex<Vec<u8>>) {
    let mut piece = [0; 1024];
    while let Ok(count @ 1..) = from.read(&mut piece) {
        let mut kept = locked(kept);
        kept.extend_from_slice(piece.get(..count).unwrap_or_default());
        let surplus = kept.len().saturating_sub(KEPT);
        kept.drain(..surplus);
    }
}

/// Returns the last line that begins with `error: `, or the last one at all.
fn last_line(text: &str) -> Option<String> {
    let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty());
    let error = lines().filter_map(|line| line.strip_prefix("error: ")).next_back();
    error.or_else(|| lines().next_back()).map(String::from)
}

/// Tells what went wrong with a task that has ended, if anything did; it is written into the task's folder where it has
/// not done so itself.
fn outcome(
    folder: &Folder,
    id: &str,
    status: ExitStatus,
    words: Option<String>,
    task: &Task,
) -> Result<Option<String>> {
    match folder.state(id)? {
        Some(TaskState::Done { .. }) => return Ok(None),
        Some(TaskState::Failed { error, .. }) => return Ok(Some(format!("failed: {error}"))),
        Some(TaskState::Interrupted) => return Ok(Some("interrupted".into())),
        _ => {}
    }
    let (state, why) = match (status.code(), words) {
        (Some(_), Some(error)) => (TaskState::Failed { error: error.clone(), hint: None }, format!("failed: {error}")),
        _ => (TaskState::Lost { why: format!("its process ended with {status}") }, format!("lost: {status}")),
    };
    // On a full disk nothing can be written down; it is said all the same.
    let unwritten = folder.apart(task).set(id, &state).err();
    Ok(Some(match unwritten {
        Some(error) => format!("{why} ({})", error.message),
        None => why,
    }))
}
