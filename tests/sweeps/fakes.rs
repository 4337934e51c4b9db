//! Commands that stand in for Slurm's: one that is not there, refuses, hangs or answers rubbish; and what they are asked.

use std::os::unix::fs::PermissionsExt;

use super::{PLAN, SweepFolder};

impl SweepFolder {
    /// Puts a command on the search path that stands in for one of Slurm's.
    fn fake(&mut self, name: &str, script: &str) {
        let bin = self.folder.path().join("bin");
        std::fs::create_dir_all(&bin).unwrap();
        let place = bin.join(name);
        std::fs::write(&place, format!("#!/bin/sh\nPATH=/usr/bin:/bin\n{script}\n")).unwrap();
        std::fs::set_permissions(&place, std::fs::Permissions::from_mode(0o755)).unwrap();
        self.path = Some(bin.display().to_string());
    }
}

const ARRAYS: &str = "echo 'MaxArraySize = 1001'";

#[test]
fn slurm_that_is_not_there_refuses_hangs_or_answers_rubbish_is_named() {
    let mut place = SweepFolder::new(&[("plan", PLAN)]);
    let submit = "sweep plan.rhai --engine slurm --patience 1";
    place.path = Some(place.folder.path().join("empty").display().to_string());
    let (code, text) = place.run(submit);
    assert_eq!(code, 1);
    assert!(text.contains("a command of Slurm") && text.contains("--engine slurm"), "{text}");
    place.fake("scontrol", ARRAYS);
    let (code, text) = place.run(submit);
    assert!(code == 1 && text.contains("there is no `sbatch` here"), "{text}");
    place.fake("sbatch", "exec sleep 600");
    let (code, text) = place.run(submit);
    assert!(code == 1 && text.contains("`sbatch` has not answered for 1 seconds"), "{text}");
    place.fake("sbatch", "echo 'sbatch: error: Batch job submission failed: Invalid account' >&2; exit 1");
    let (code, text) = place.run(submit);
    assert!(code == 1 && text.contains("`sbatch` refused: Batch job submission failed: Invalid account"), "{text}");
    place.fake("sbatch", "echo Submitted batch job 12");
    let (code, text) = place.run(submit);
    assert!(code == 1 && text.contains("expected the number of a job from `sbatch`, found \"Submitted"), "{text}");
    // Nothing was submitted, so nobody is asked what runs.
    assert_eq!(place.count("plan", "waiting"), 4);
}

/// What the fake was called with, a call a line.
fn calls(place: &SweepFolder, name: &str) -> Vec<String> {
    let log = std::fs::read_to_string(place.folder.path().join("bin").join(name).with_extension("log"));
    log.unwrap_or_default().lines().map(String::from).collect()
}

#[test]
fn jobs_are_submitted_once_with_what_was_asked_for_and_cancelled() {
    let mut place = SweepFolder::new(&[("plan", PLAN)]);
    // At most two tasks in an array; jobs are numbered from 11.
    place.fake("scontrol", "echo 'MaxArraySize            = 2'");
    place.fake("sbatch", "echo \"$@\" >>\"${0}.log\"; echo $((10 + $(wc -l <\"${0}.log\")))");
    place.fake(
        "squeue",
        "echo '11 PENDING'; printf '12_0 PENDING\\n12_1 PENDING\\n13_0 RUNNING\\n13_1 PENDING\\n99 RUNNING\\n'",
    );
    place.fake("scancel", "echo \"$@\" >>\"${0}.log\"");
    let submit = "sweep plan.rhai --engine slurm --partition long --account lab --time 2:00:00 --memory 16G --gpus 1 \
                  --at-once 5";
    let (code, text) = place.run(submit);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("submitted jobs 11, 12, 13, 14 for 4 cells"), "{text}");
    let asked = calls(&place, "sbatch");
    assert_eq!(asked.len(), 4, "{asked:?}");
    for call in &asked {
        for word in ["--parsable", "--partition=long", "--account=lab", "--time=2:00:00", "--mem=16G", "--gpus=1"] {
            assert!(call.split(' ').any(|found| found == word), "{word} in {call}");
        }
        assert!(call.contains("--cpus-per-task=1 "), "{call}");
    }
    assert!(asked[1].contains("--array=0-1%5 --dependency=afterok:11 --kill-on-invalid-dep=yes"), "{}", asked[1]);
    assert!(asked[3].contains("--dependency=afterany:11:12:13 "), "{}", asked[3]);
    let script = asked[1].split(' ').next_back().unwrap();
    let script = std::fs::read_to_string(script).unwrap();
    assert!(script.starts_with("#!/bin/bash\ntasks=(cells/") && script.contains(" sweep work "), "{script}");
    assert_eq!((place.count("plan", "running"), place.count("plan", "waiting")), (1, 3));
    // What is with the cluster is not submitted again.
    let (code, text) = place.run(submit);
    assert_eq!(code, 0);
    assert!(text.contains("nothing was submitted; 4 more are in the jobs of before"), "{text}");
    assert_eq!(calls(&place, "sbatch").len(), 4);
    // Another plan would take the tasks from under the jobs.
    std::fs::write(place.folder.path().join("plan.rhai"), PLAN.replace("k: 4", "k: 5")).unwrap();
    let (code, text) = place.run(submit);
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("another plan's jobs still run in this folder: 11, 12, 13"), "{text}");
    assert_eq!(place.run("sweep cancel out/plan").1, "jobs 11, 12, 13 were cancelled\n");
    assert_eq!(calls(&place, "scancel"), ["11 12 13"]);
    // A controller that does not answer is said, and what is in the folder all the same.
    place.fake("squeue", "exec sleep 600");
    let (code, text) = place.run("sweep status out/plan --patience 1");
    assert_eq!(code, 0);
    assert!(
        text.contains("what Slurm does is not known: `squeue` has not answered") && text.contains("4 waiting"),
        "{text}"
    );
}

/// One of several jobs is refused: those before it are cancelled, so that nothing runs that nobody knows of.
#[test]
fn a_submission_is_whole_or_nothing() {
    let mut place = SweepFolder::new(&[("plan", PLAN)]);
    place.fake("scontrol", ARRAYS);
    place.fake("sbatch", "echo x >>\"${0}.log\"; [ $(wc -l <\"${0}.log\") = 1 ] && echo 7 || { echo 'sbatch: error: no more jobs' >&2; exit 1; }");
    place.fake("squeue", "");
    place.fake("scancel", "echo \"$@\" >>\"${0}.log\"");
    let (code, text) = place.run("sweep plan.rhai --engine slurm");
    assert_eq!(code, 1);
    assert!(text.contains("`sbatch` refused: no more jobs; 1 job submitted before was cancelled"), "{text}");
    assert_eq!(calls(&place, "scancel"), ["7"]);
}
