//! `microtome run --again run.json`: repeats a recorded run in a separate folder, from the texts of its record and with no
//! dictionary from the cache, and compares all bytes. What the texts are by now is said, too, since they are not run.

use super::prelude::*;
use super::run::STDIN;
use crate::base::settings::MOST_THREADS;
use crate::script::session::differences::{self, Difference};
use crate::script::session::record::{self, Record};

pub fn run(options: &CommonArguments, path: &Path) -> Result<Exit> {
    let record = read(options, path)?;
    refuse_others(options, &record)?;
    // The record stands in out/NAME/run.json; what it wrote is counted from out/.
    let before = crate::base::access::resolve(path)?;
    let before = before.parent().and_then(Path::parent).unwrap_or(Path::new("/")).to_path_buf();
    let scratch = tempfile::tempdir().map_err(|e| Error::io("make", &std::env::temp_dir(), &e))?;
    let threads = u16::try_from(record.threads).ok().filter(|threads| (1..=MOST_THREADS).contains(threads));
    let threads = threads.ok_or_else(|| {
        err!(Format, "expected between 1 and {MOST_THREADS} threads in the record, found {}", record.threads)
    })?;
    let options = CommonArguments {
        out: scratch.path().to_path_buf(),
        seed: record.seed,
        threads: Some(threads),
        device: record.device.clone(),
        // What is taken from the cache would be compared with itself.
        fresh: true,
        ..options.clone()
    };
    let Some(text) = record.sources.get(&record.script).cloned() else {
        crate::bail!(Format, "the record does not contain the text of its script {}", record.script);
    };
    let wants = SessionNeeds {
        arguments: record.arguments.clone().into(),
        recording: true,
        folder: record::folder(&record.script),
        again: Some((record.clone(), before)),
        ..SessionNeeds::default()
    };
    let mut session = Session::new(setup::env(&options, wants)?);
    let outcome = session.eval_script(&record.script, &text);
    if let Some(kind) = session.env().console.closed() {
        return Ok(super::run::unwritten(kind));
    }
    if let Err(failure) = &outcome {
        if failure.is_interrupted() {
            super::tell("interrupted");
            return Ok(Exit::Interrupted);
        }
        show_failure(&session, failure);
    }
    let again = super::run::recorded(&session, &record.script, outcome.as_ref().err());
    let exit = tell(&record, &again);
    tell_texts(&record, &Files::new(session.env().files.access().clone(), false));
    Ok(exit)
}

/// Refuses options that differ from those of the record, which the run has; they are not ignored.
fn refuse_others(options: &CommonArguments, record: &Record) -> Result<()> {
    if !options.track.is_empty() {
        return Err(err!(
            Argument,
            "expected no `--track` with `--again`, which compares a run and keeps nothing of it"
        )
        .hint(format!("run {} itself to track its trainings", record.script)));
    }
    let unlike = [
        ("--seed", options.seed != 0 && options.seed != record.seed),
        ("--device", options.device != "cpu" && options.device != record.device),
        ("--threads", options.threads.is_some_and(|threads| usize::from(threads) != record.threads)),
    ];
    match unlike.iter().find(|(_, unlike)| *unlike) {
        None => Ok(()),
        Some((option, _)) => Err(err!(Argument, "{option} differs from the record")
            .hint(format!("run {} itself to try another {option}", record.script))),
    }
}

/// Reads the record of a run in this file.
pub fn read(options: &CommonArguments, path: &Path) -> Result<Record> {
    let files = Files::new(setup::access(options)?, false);
    if path.is_dir() {
        let found = format!("found the folder {}", path.display());
        return Err(err!(File, "expected the record of a run, {found}").hint("it is out/NAME/run.json"));
    }
    Record::parse(&files.text(path)?).map_err(|e| e.within(path.display()))
}

fn tell(before: &Record, again: &Record) -> Exit {
    let (circumstances, differences): (Vec<Difference>, Vec<Difference>) =
        differences::between(before, again).into_iter().partition(Difference::is_circumstance);
    for difference in &circumstances {
        super::tell(&format!("note: {}", difference.words()));
    }
    if differences.is_empty() {
        let written = count(before.written.len(), "file");
        let read = count(before.read.len(), "file");
        super::tell(&format!("identical: {written} written, {read} read, and the printed output"));
        return Exit::Done;
    }
    for difference in &differences {
        super::tell(&format!("different: {}", difference.words()));
    }
    Exit::Failed
}

/// Says which of the texts that were run are other ones by now: what was found holds for those of the record alone.
fn tell_texts(record: &Record, files: &Files) {
    if record.script != STDIN && files.script(Path::new(&record.script)).is_err() {
        super::tell(&format!("note: {} cannot be read here; the text in the record was run", record.script));
    }
    let changes = differences::of_texts_now(record, files);
    if !changes.is_empty() {
        super::tell("note: the texts in the record were run; those on disk are others now, and were not run:");
    }
    for change in &changes {
        super::tell(&change.words());
    }
}
