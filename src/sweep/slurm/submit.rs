//! Submission of tasks that are not done, and cancellation of jobs.

use std::ffi::OsString;

use super::commands::job_number;
use super::jobs::{PLACE, QueuedJobs, SlurmJob, SlurmJobs};
use super::{Resources, Slurm};
use crate::base::counts::count;
use crate::common::*;
use crate::sweep::Launch;
use crate::sweep::cell::{Sweep, SweepCell};
use crate::sweep::folder::Folder;

/// Result of a submission.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SubmissionResult {
    /// The numbers of the jobs.
    pub jobs: Vec<String>,
    /// Number of cells that the jobs are to fit.
    pub cells: usize,
    /// Number of cells that an earlier submission still has.
    pub live: usize,
}

/// A submission without the tasks of a job.
struct Submission<'a> {
    folder: &'a Folder,
    launch: &'a Launch,
    resources: &'a Resources,
    slurm: &'a Slurm,
    threads: usize,
    /// Path from the folder of the sweep on.
    place: String,
    jobs: SlurmJobs,
    made: Vec<String>,
}

/// Submits all that is not done and that no earlier job still has. If one of the jobs is refused, those of this
/// submission are cancelled.
pub fn submit(
    folder: &Folder,
    sweep: &Sweep,
    launch: &Launch,
    resources: &Resources,
    slurm: &Slurm,
    task: &Task,
) -> Result<SubmissionResult> {
    folder.forget_cancel()?;
    let jobs = SlurmJobs::read(folder)?;
    let live = jobs.live(slurm, task)?;
    let is_live = |id: &String| live.running.contains(id) || live.waiting.contains(id);
    let mut due = Vec::new();
    let mut still = 0;
    for (harvest, cells) in sweep.by_harvest() {
        let mut missing: Vec<&SweepCell> = Vec::new();
        for cell in cells {
            if is_live(&cell.id()) {
                still += 1;
            } else if !folder.is_done(&cell.id())? {
                missing.push(cell)
            }
        }
        if !missing.is_empty() {
            due.push((harvest, missing));
        }
    }
    if due.is_empty() {
        return Ok(SubmissionResult { live: still, ..SubmissionResult::default() });
    }
    let largest = slurm.largest_array(task)?;
    let threads = due.first().map_or(1, |(harvest, _)| harvest.reading.threads);
    // Its number is that of the submission.
    let number =
        1 + jobs.jobs.iter().filter_map(|job| job.place.rsplit('/').next()?.parse::<usize>().ok()).max().unwrap_or(0);
    let place = format!("{PLACE}/{number}");
    let mut submission = Submission { folder, launch, resources, slurm, threads, place, jobs, made: Vec::new() };
    let mut work = || -> Result<usize> {
        let mut all = 0;
        for (harvest, cells) in &due {
            let id = harvest.id();
            let first = match (folder.is_done(&id)?, holder(&submission.jobs, &live, &id)) {
                (true, _) => None,
                // An earlier job still makes it.
                (false, Some(number)) => Some(number),
                (false, None) => Some(submission.alone(&id, task)?),
            };
            for piece in cells.chunks(largest) {
                let tasks: Vec<String> = piece.iter().map(|cell| cell.id()).collect();
                submission.array(tasks, first.as_deref(), task)?;
                all += piece.len();
            }
        }
        submission.gathering(task)?;
        Ok(all)
    };
    match work() {
        Ok(cells) => Ok(SubmissionResult { jobs: submission.made, cells, live: still }),
        Err(error) => Err(submission.undone(error)),
    }
}

/// Returns the job that still has a task.
fn holder(jobs: &SlurmJobs, live: &QueuedJobs, id: &str) -> Option<String> {
    let has = |job: &&SlurmJob| live.jobs.contains(&job.number) && job.tasks.iter().any(|task| task == id);
    let is_live = live.running.contains(id) || live.waiting.contains(id);
    jobs.jobs.iter().rev().find(has).filter(|_| is_live).map(|job| job.number.clone())
}

impl Submission<'_> {
    /// Submits a job of one task.
    fn alone(&mut self, id: &str, task: &Task) -> Result<String> {
        let command = self.command(&["work", &self.root(), id]);
        self.job("harvest", &command, vec![id.into()], Vec::new(), task)
    }

    /// Submits an array of tasks, after the job of their harvest.
    fn array(&mut self, tasks: Vec<String>, after: Option<&str>, task: &Task) -> Result<String> {
        let named: Vec<&str> = tasks.iter().map(String::as_str).collect();
        let command = format!(
            "tasks=({})\n{} \"${{tasks[$SLURM_ARRAY_TASK_ID]}}\"",
            named.join(" "),
            self.command(&["work", &self.root()])
        );
        let at_once = self.resources.at_once.map(|most| format!("%{most}")).unwrap_or_default();
        let mut options = vec![format!("--array=0-{}{at_once}", tasks.len().saturating_sub(1))];
        if let Some(number) = after {
            options.extend([format!("--dependency=afterok:{number}"), "--kill-on-invalid-dep=yes".into()]);
        }
        self.job("cells", &command, tasks, options, task)
    }

    /// Submits the job that gathers, when all others have ended.
    fn gathering(&mut self, task: &Task) -> Result<String> {
        let command = self.command(&["gather", &self.root()]);
        let after = format!("--dependency=afterany:{}", self.made.join(":"));
        self.job("gather", &command, Vec::new(), vec![after], task)
    }

    fn root(&self) -> String {
        self.folder.root.display().to_string()
    }

    /// Writes a command of this program in words of the shell.
    fn command(&self, words: &[&str]) -> String {
        let program = self.launch.program.as_os_str().to_os_string();
        let all = std::iter::once(program).chain(self.launch.words(words));
        let quoted: Vec<String> = all.map(|word| quoted(&word.to_string_lossy())).collect();
        format!("exec {}", quoted.join(" "))
    }

    /// Writes the script of a job, submits it, and writes down its number.
    fn job(
        &mut self,
        what: &str,
        command: &str,
        tasks: Vec<String>,
        options: Vec<String>,
        task: &Task,
    ) -> Result<String> {
        let is_array = options.iter().any(|option| option.starts_with("--array"));
        let name = format!("{what}-{}.sh", self.made.len() + 1);
        let script = self.folder.root.join(&self.place).join(name);
        self.folder.files.save_whole(&script, format!("#!/bin/bash\n{command}\n"))?;
        let mut words: Vec<OsString> = self.common(what, is_array)?;
        words.extend(options.iter().map(OsString::from));
        words.push(script.into());
        let number = job_number(&self.slurm.output("sbatch", &words, task)?)?;
        self.made.push(number.clone());
        self.jobs.jobs.push(SlurmJob { number: number.clone(), place: self.place.clone(), tasks, is_array });
        self.jobs.save(self.folder)?;
        Ok(number)
    }

    /// Returns the options that all jobs of a sweep have.
    fn common(&self, what: &str, is_array: bool) -> Result<Vec<OsString>> {
        let here = std::env::current_dir().map_err(|e| Error::io("find", Path::new("."), &e))?;
        let log: PathBuf = self.folder.root.join(&self.place).join(if is_array { "%A_%a.txt" } else { "%j.txt" });
        let Resources { partition, account, time, memory, cpus, gpus, .. } = self.resources;
        let sweep = self.folder.root.file_name().unwrap_or_default().to_string_lossy();
        let mut words: Vec<OsString> = vec![
            "--parsable".into(),
            "--requeue".into(),
            "--open-mode=append".into(),
            format!("--job-name={sweep}-{what}").into(),
            format!("--cpus-per-task={}", cpus.unwrap_or(self.threads)).into(),
        ];
        let mut path = |option: &str, path: &Path| {
            let mut word = OsString::from(option);
            word.push(path);
            words.push(word);
        };
        path("--chdir=", &here);
        path("--output=", &log);
        let texts = [("partition", partition), ("account", account), ("time", time), ("mem", memory)];
        words.extend(texts.iter().filter_map(|(name, value)| Some(format!("--{name}={}", value.as_ref()?).into())));
        words.extend(gpus.map(|number| format!("--gpus={number}").into()));
        Ok(words)
    }

    /// Cancels what this submission has submitted, and adds to the error what is left.
    fn undone(&self, error: Error) -> Error {
        if self.made.is_empty() {
            return error;
        }
        // The user may have pressed Ctrl-C: the jobs are cancelled all the same.
        let words: Vec<OsString> = self.made.iter().map(OsString::from).collect();
        let left = match self.slurm.output("scancel", &words, &Task::default()) {
            Ok(_) => format!(
                "{} submitted before {} cancelled",
                count(self.made.len(), "job"),
                if self.made.len() == 1 { "was" } else { "were" }
            ),
            Err(failed) => format!("jobs {} may still run ({})", self.made.join(", "), failed.message),
        };
        Error { message: format!("{}; {left}", error.message), ..error }
    }
}

/// Quotes a word for the shell.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,+@%".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.into()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

/// Cancels all jobs of a sweep that have not ended; returns their numbers.
pub fn cancel(folder: &Folder, slurm: &Slurm, task: &Task) -> Result<Vec<String>> {
    let live = SlurmJobs::read(folder)?.live(slurm, task)?;
    if !live.jobs.is_empty() {
        let words: Vec<OsString> = live.jobs.iter().map(OsString::from).collect();
        slurm.output("scancel", &words, task)?;
    }
    Ok(live.jobs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_for_the_shell() {
        assert_eq!(quoted("out/plan"), "out/plan");
        assert_eq!(quoted("my plan's $HOME"), r"'my plan'\''s $HOME'");
        assert_eq!(quoted(""), "''");
    }

    #[test]
    fn the_number_of_a_job_is_a_number() {
        assert_eq!(job_number("12\n"), Ok("12".into()));
        assert_eq!(job_number("12;cluster\n"), Ok("12".into()));
        for rubbish in ["", "Submitted batch job 12", "-1", "12 13"] {
            assert!(job_number(rubbish).unwrap_err().message.contains("expected the number of a job"), "{rubbish}");
        }
    }
}
