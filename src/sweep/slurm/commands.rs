//! Slurm's commands, with a limit on how long each may take.

use std::ffi::OsString;
use std::io::{ErrorKind, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use super::Slurm;
use crate::common::*;
use crate::sweep::output::shown;

/// Time between two looks at a command.
const GLANCE: Duration = Duration::from_millis(20);

/// Maximum number of bytes that are read of a command's output.
const MOST: u64 = 64 << 20;

/// The largest array where Slurm does not say it: its own default.
const ARRAY: usize = 1001;

impl Slurm {
    /// Returns the output of a command, if it succeeds.
    pub(super) fn output(&self, program: &str, arguments: &[OsString], task: &Task) -> Result<String> {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|e| match e.kind() {
            ErrorKind::NotFound => err!(File, "there is no `{program}` here, a command of Slurm")
                .hint("type this on a machine of the cluster, or leave `--engine slurm` out"),
            _ => err!(File, "cannot start `{program}`: {e}"),
        })?;
        let out = listen(child.stdout.take());
        let errors = listen(child.stderr.take());
        let ended = self.ended(&mut child, program, task);
        if ended.is_err() {
            let _has_just_ended = child.kill();
            let _nothing_left_to_wait_for = child.wait();
        }
        let status = ended?;
        // A process that it has left behind may hold the pipe; what it said itself is there.
        let heard = |from: Receiver<Vec<u8>>| from.recv_timeout(Duration::from_secs(1)).unwrap_or_default();
        let out = heard(out);
        let errors = heard(errors);
        if !status.success() {
            return Err(refused(program, &shown(&errors), &shown(&out), status));
        }
        text(program, out)
    }

    fn ended(&self, child: &mut Child, program: &str, task: &Task) -> Result<ExitStatus> {
        let since = Instant::now();
        loop {
            task.check()?;
            if let Some(status) = child.try_wait().map_err(|e| err!(Bug, "cannot wait for `{program}`: {e}"))? {
                return Ok(status);
            }
            if since.elapsed() > self.patience {
                return Err(err!(File, "`{program}` has not answered for {} seconds", self.patience.as_secs())
                    .hint("Slurm's controller may be down or busy: try again, or wait longer with --patience"));
            }
            std::thread::sleep(GLANCE);
        }
    }

    /// Returns the number of tasks that an array may have.
    pub(super) fn largest_array(&self, task: &Task) -> Result<usize> {
        let said = self.output("scontrol", &["show".into(), "config".into()], task)?;
        let line = said.lines().find_map(|line| line.trim().strip_prefix("MaxArraySize"));
        let number = line.and_then(|line| line.trim_start_matches([' ', '=']).trim().parse::<usize>().ok());
        Ok(number.filter(|number| *number > 0).unwrap_or(ARRAY))
    }
}

/// Returns output that is read as numbers and states: it must be what was written, not what is left of it.
fn text(program: &str, out: Vec<u8>) -> Result<String> {
    String::from_utf8(out).map_err(|e| {
        let line = e.as_bytes().split(|byte| *byte == b'\n').find(|line| std::str::from_utf8(line).is_err());
        let line = line.unwrap_or_default();
        let found: String = shown(line).trim().chars().take(80).collect();
        err!(Format, "expected UTF-8 from `{program}`, found \"{found}\"")
            .hint("set LC_ALL=C.UTF-8: Slurm's commands write names of users and jobs as they are")
    })
}

/// Reads to the end on a thread of its own.
fn listen(from: Option<impl Read + Send + 'static>) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    if let Some(from) = from {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let _as_much_as_there_was = from.take(MOST).read_to_end(&mut bytes);
            let _nobody_may_wait_any_more = sender.send(bytes);
        });
    }
    receiver
}

fn refused(program: &str, errors: &str, out: &str, status: ExitStatus) -> Error {
    let line = errors.lines().chain(out.lines()).map(str::trim).find(|line| !line.is_empty());
    let prefix = format!("{program}: ");
    let line = line.map(|line| line.strip_prefix(prefix.as_str()).unwrap_or(line).trim_start_matches("error: "));
    match line {
        Some(line) => err!(File, "`{program}` refused: {line}"),
        None => err!(File, "`{program}` refused without a word: {status}"),
    }
}

/// Returns the number of a job, as `sbatch --parsable` prints it: before the name of a cluster, if there are several.
pub(super) fn job_number(said: &str) -> Result<String> {
    let first = said.trim().split(';').next().unwrap_or_default();
    if !first.is_empty() && first.bytes().all(|byte| byte.is_ascii_digit()) {
        Ok(first.into())
    } else {
        let shown: String = said.trim().chars().take(80).collect();
        Err(err!(Format, "expected the number of a job from `sbatch`, found {shown:?}")
            .hint("`sbatch --version` says whether it is Slurm's; `squeue --me` whether a job was submitted"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_that_is_no_text_is_refused_with_its_bytes() {
        assert_eq!(text("squeue", b"7_1 RUNNING\n".to_vec()).unwrap(), "7_1 RUNNING\n");
        let refused = text("squeue", b"7_1 RUNNING\n8 PEND\xffING\n".to_vec()).unwrap_err();
        assert_eq!(refused.message, "expected UTF-8 from `squeue`, found \"8 PEND\\xffING\"");
    }
}
