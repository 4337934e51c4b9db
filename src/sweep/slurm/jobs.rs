//! Submitted jobs, and their state in Slurm.

use serde::{Deserialize, Serialize};

use super::Slurm;
use crate::base::json;
use crate::common::*;
use crate::sweep::folder::Folder;
use crate::sweep::output::shown;

/// The folder of submissions, inside that of the sweep.
pub(super) const PLACE: &str = "slurm";
const JOBS: &str = "jobs.json";

/// A job that was submitted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlurmJob {
    pub number: String,
    /// The folder of the job's submission, with its script and the output of its tasks.
    pub place: String,
    /// The tasks of an array in their order, or one alone; none for the job that gathers.
    pub tasks: Vec<String>,
    pub is_array: bool,
}

/// All jobs that were submitted for a sweep, the latest last.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlurmJobs {
    pub jobs: Vec<SlurmJob>,
}

/// Jobs and tasks of a sweep that Slurm still has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QueuedJobs {
    /// The numbers of jobs that have not ended.
    pub jobs: Vec<String>,
    /// The tasks of the jobs that have not ended.
    pub running: BTreeSet<String>,
    pub waiting: BTreeSet<String>,
}

impl SlurmJobs {
    pub fn read(folder: &Folder) -> Result<Self> {
        let path = folder.root.join(PLACE).join(JOBS);
        if !folder.files.has(&path)? {
            return Ok(Self::default());
        }
        let text = folder.files.bytes(&path)?;
        json::read_content(&text, |e| err!(Format, "{}: expected jobs: {e}", path.display()))
    }

    pub(super) fn save(&self, folder: &Folder) -> Result<()> {
        folder.write(&folder.root.join(PLACE).join(JOBS), self)
    }

    /// Asks Slurm which of the jobs have not ended.
    pub fn live(&self, slurm: &Slurm, task: &Task) -> Result<QueuedJobs> {
        let mut live = QueuedJobs::default();
        if self.jobs.is_empty() {
            return Ok(live);
        }
        // A job that it does not know any more is an error if asked for, so all of this user's are listed.
        let asked = ["--me", "--noheader", "--array", "--format=%i %T"].map(Into::into);
        let said = slurm.output("squeue", &asked, task)?;
        for line in said.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let mut words = line.split_whitespace();
            let (Some(name), Some(state)) = (words.next(), words.next()) else {
                return Err(err!(Format, "expected a job and its state from `squeue`, found {line:?}"));
            };
            let (number, index) = name.split_once('_').map_or((name, None), |(number, index)| (number, Some(index)));
            let Some(job) = self.jobs.iter().find(|job| job.number == number) else { continue };
            if !live.jobs.iter().any(|known| known == number) {
                live.jobs.push(number.into());
            }
            let tasks = match index.and_then(|index| index.parse::<usize>().ok()) {
                Some(index) => job.tasks.get(index..=index).unwrap_or_default(),
                None => &job.tasks,
            };
            let set = if matches!(state, "RUNNING" | "COMPLETING") { &mut live.running } else { &mut live.waiting };
            set.extend(tasks.iter().cloned());
        }
        Ok(live)
    }

    /// Returns the last line of a task's output on the cluster, where Slurm also says why it ended it.
    pub fn last_words(&self, folder: &Folder, id: &str) -> Option<String> {
        let (job, index) =
            self.jobs.iter().rev().find_map(|job| Some((job, job.tasks.iter().position(|t| t == id)?)))?;
        let name = if job.is_array { format!("{}_{index}.txt", job.number) } else { format!("{}.txt", job.number) };
        let path: PathBuf = folder.root.join(&job.place).join(name);
        let said = shown(&folder.files.bytes(&path).ok()?);
        said.lines().map(str::trim).rfind(|line| !line.is_empty()).map(String::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(number: &str, tasks: &[&str], is_array: bool) -> SlurmJob {
        let tasks = tasks.iter().map(|task| task.to_string()).collect();
        SlurmJob { number: number.into(), place: "slurm/1".into(), tasks, is_array }
    }

    #[test]
    fn jobs_are_written_and_read_as_they_are() {
        let jobs = SlurmJobs { jobs: vec![job("7", &["stores/a"], false), job("8", &["cells/b", "cells/c"], true)] };
        let text = serde_json::to_vec(&jobs).unwrap();
        let read: SlurmJobs = json::read(&text, |e| err!(Format, "{e}")).unwrap();
        assert_eq!(read, jobs);
    }
}
