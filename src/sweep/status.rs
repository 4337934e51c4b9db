//! Progress of a sweep, read from its folder by whoever asks.

use serde_json::{Value, json};

use super::cell::{Harvest, Sweep, SweepCell};
use super::folder::{Folder, TaskState};
use super::slurm::{self, Slurm};
use crate::base::counts::count;
use crate::common::*;

/// State of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskStatus {
    Done,
    Running,
    Waiting,
    /// An end by Ctrl-C or `microtome sweep cancel`; the task goes on at its last checkpoint.
    Interrupted,
    /// The error that ended the task.
    Failed(String),
    /// A task that has begun, that nobody works on, and that has no result; with the reason, as far as that is known.
    Lost(String),
}

impl TaskStatus {
    fn word(&self) -> &'static str {
        match self {
            TaskStatus::Done => "done",
            TaskStatus::Running => "running",
            TaskStatus::Waiting => "waiting",
            TaskStatus::Interrupted => "interrupted",
            TaskStatus::Failed(_) => "failed",
            TaskStatus::Lost(_) => "lost",
        }
    }

    /// Tells what went wrong.
    pub fn why(&self) -> Option<&str> {
        match self {
            TaskStatus::Failed(why) | TaskStatus::Lost(why) => Some(why),
            _ => None,
        }
    }
}

/// One task of a sweep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskProgress {
    pub id: String,
    pub label: String,
    pub standing: TaskStatus,
}

/// A sweep at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    pub folder: String,
    pub harvests: Vec<TaskProgress>,
    pub cells: Vec<TaskProgress>,
    /// Processes and jobs that work on the sweep, in words.
    pub at_work: Vec<String>,
    /// Facts that could not be found out.
    pub notes: Vec<String>,
}

/// Returns the state of all tasks. Whether one is running is known by the lock of its folder, and from Slurm where jobs
/// of it were submitted there.
pub fn status(folder: &Folder, slurm: &Slurm, task: &Task) -> Result<Status> {
    let sweep = folder.sweep()?;
    let mut notes = Vec::new();
    let mut at_work = Vec::new();
    let jobs = slurm::SlurmJobs::read(folder)?;
    let live = match jobs.live(slurm, task) {
        Ok(live) => live,
        Err(error) if error.kind == crate::base::Kind::Interrupted => return Err(error),
        Err(error) => {
            notes.push(format!("what Slurm does is not known: {}", error.message));
            slurm::QueuedJobs::default()
        }
    };
    if folder.files.is_locked(&folder.root)? {
        at_work.push("a process of `microtome sweep`".to_string());
    }
    if !live.jobs.is_empty() {
        at_work.push(format!("Slurm, {} {}", if live.jobs.len() == 1 { "job" } else { "jobs" }, live.jobs.join(", ")));
    }
    let progress = |id: String, label: String| -> Result<TaskProgress> {
        task.check()?;
        let standing = standing(folder, &id, &jobs, &live)?;
        Ok(TaskProgress { id, label, standing })
    };
    let Sweep { harvests, cells } = &sweep;
    let mut harvests: Vec<TaskProgress> =
        harvests.iter().map(|one: &Harvest| progress(one.id(), one.label())).collect::<Result<_>>()?;
    let cells: Vec<TaskProgress> =
        cells.iter().map(|one: &SweepCell| progress(one.id(), one.label())).collect::<Result<_>>()?;
    // A store that was removed when all its cells were done is not needed again.
    let done: BTreeSet<&str> =
        cells.iter().filter(|cell| cell.standing == TaskStatus::Done).map(|cell| cell.id.as_str()).collect();
    for (progress, (_, of_harvest)) in harvests.iter_mut().zip(sweep.by_harvest()) {
        let is_needed = of_harvest.iter().any(|cell| !done.contains(cell.id().as_str()));
        if progress.standing == TaskStatus::Waiting && !is_needed {
            progress.standing = TaskStatus::Done;
        }
    }
    Ok(Status { folder: folder.root.display().to_string(), harvests, cells, at_work, notes })
}

fn standing(folder: &Folder, id: &str, jobs: &slurm::SlurmJobs, live: &slurm::QueuedJobs) -> Result<TaskStatus> {
    let running = || -> Result<bool> { Ok(live.running.contains(id) || folder.files.is_locked(&folder.place(id))?) };
    if matches!(folder.state(id)?, Some(TaskState::Done { .. })) {
        return Ok(TaskStatus::Done);
    }
    if running()? {
        return Ok(TaskStatus::Running);
    }
    // It is read again: whoever ran may have ended since.
    Ok(match folder.state(id)? {
        Some(TaskState::Done { .. }) => TaskStatus::Done,
        // It is tried again.
        _ if live.waiting.contains(id) => TaskStatus::Waiting,
        None => TaskStatus::Waiting,
        Some(TaskState::Interrupted) => TaskStatus::Interrupted,
        Some(TaskState::Failed { error, .. }) => TaskStatus::Failed(error),
        Some(TaskState::Lost { why }) => TaskStatus::Lost(why),
        // Or may have begun.
        Some(TaskState::Started) if running()? => TaskStatus::Running,
        Some(TaskState::Started) => TaskStatus::Lost(match jobs.last_words(folder, id) {
            Some(line) => line,
            None => "it ended without a word: its process was killed, or its machine went down".into(),
        }),
    })
}

impl Status {
    /// Returns the tasks that went wrong.
    pub fn wrong(&self) -> impl Iterator<Item = &TaskProgress> {
        self.harvests.iter().chain(&self.cells).filter(|one| one.standing.why().is_some())
    }

    pub fn is_done(&self) -> bool {
        self.cells.iter().all(|cell| cell.standing == TaskStatus::Done)
    }

    /// Returns whether anybody works on the sweep.
    pub fn is_going(&self) -> bool {
        !self.at_work.is_empty()
            || self.harvests.iter().chain(&self.cells).any(|one| one.standing == TaskStatus::Running)
    }

    /// Describes the sweep in lines, as people read it.
    pub fn text(&self) -> String {
        let mut lines = vec![self.folder.clone()];
        for (noun, tasks) in [("harvest", &self.harvests), ("cell", &self.cells)] {
            lines.push(format!("  {}: {}", count(tasks.len(), noun), counted(tasks)));
        }
        for one in self.wrong() {
            let why = one.standing.why().and_then(|why| why.lines().next()).unwrap_or_default();
            lines.push(format!("  {} {}, {}: {why}", one.standing.word(), one.id, one.label));
        }
        lines.extend(self.notes.iter().map(|note| format!("  {note}")));
        lines.push(match (self.at_work.is_empty(), self.is_done()) {
            (false, _) => format!("  at work: {}", self.at_work.join("; ")),
            (true, true) => "  all cells are done".into(),
            (true, false) => {
                "  nobody is at work; `microtome sweep` with the plan goes on with what is not done".into()
            }
        });
        lines.join("\n") + "\n"
    }

    pub fn json(&self) -> Value {
        let tasks = |tasks: &[TaskProgress]| -> Vec<Value> {
            let task = |one: &TaskProgress| json!({ "id": one.id, "label": one.label, "state": one.standing.word(), "error": one.standing.why() });
            tasks.iter().map(task).collect()
        };
        json!({
            "folder": self.folder, "harvests": tasks(&self.harvests), "cells": tasks(&self.cells),
            "at_work": self.at_work, "notes": self.notes,
        })
    }
}

/// Counts tasks by their state: "7 done, 1 failed".
fn counted(tasks: &[TaskProgress]) -> String {
    let of = |word: &str| tasks.iter().filter(|one| one.standing.word() == word).count();
    let counts = ["done", "running", "waiting", "interrupted", "failed", "lost"].map(|word| (of(word), word));
    let some = counts.iter().filter(|(number, _)| *number > 0).map(|(number, word)| format!("{number} {word}"));
    some.collect::<Vec<_>>().join(", ")
}
