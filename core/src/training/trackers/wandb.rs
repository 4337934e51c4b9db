//! Offline runs of Weights & Biases: `track/wandb/offline-run-TIME-ID/run-ID.wandb`, which `wandb sync` uploads. The file
//! is a log as LevelDB has it, of `Record`s of W&B's protocol buffers (`wandb_internal.proto`, whose field numbers stand
//! below).

use super::checksum::IEEE;
use super::growing_file::GrowingFile;
use super::place::{Place, Turn, digits, now, plain, stamp};
use super::protobuf::Message;
use crate::base::tracking::{RunEnd, TrackedRun, TrackedTraining, Tracker};
use crate::common::*;

/// The beginning of a file: the name of the format, a number, and the version.
const HEADER: &[u8] = b":W&B\xe1\xbe\0";

/// Length of a block, and of the header of a chunk: check, length and kind.
const BLOCK: usize = 1 << 15;
const CHUNK_HEADER: usize = 7;

/// Kinds of chunks: a record in one, and its first, a middle and its last one.
const FULL: u8 = 1;
const FIRST: u8 = 2;
const MIDDLE: u8 = 3;
const LAST: u8 = 4;

/// Fields of a `Record`.
const HISTORY: u32 = 2;
const SUMMARY: u32 = 3;
const RUN: u32 = 17;
const EXIT: u32 = 18;

pub struct WeightsAndBiases {
    place: Place,
}

impl WeightsAndBiases {
    pub fn new(place: Place) -> Self {
        Self { place }
    }
}

impl Tracker for WeightsAndBiases {
    fn begin(&self, training: &TrackedTraining) -> Result<Box<dyn TrackedRun>> {
        let Place { files, folder, script, .. } = &self.place;
        let Turn { number, .. } = self.place.next(&training.label, || Ok(()))?;
        let begun = now();
        // Runs are uploaded under their ids: each has one of its own, and none replaces another.
        let words = [&script.experiment, &script.name, &training.label].map(String::as_str).join(" ");
        let id = digits(&format!("{words} {number} {} {}", std::process::id(), begun.as_nanos()), 16);
        let folder = folder.join("wandb").join(format!("offline-run-{}-{id}", stamp(begun)));
        let settings = [script.settings.as_slice(), &training.settings].concat();
        // The folder that uploading takes for its own files must be there.
        let config: Map<_, _> =
            settings.iter().map(|(name, value)| (name.clone(), json!({ "value": value }))).collect();
        self.place.save(&folder.join("files/config.yaml"), &format!("{}\n", json!(config)))?;
        let update = |config: Message, (name, value): &(String, _)| config.message(1, &item(name, value));
        let run = Message::default()
            .text(1, &id)
            .text(3, &plain(&script.experiment))
            .message(4, &settings.iter().fold(Message::default(), update))
            .text(6, &script.name)
            .text(8, &format!("{number:02} {}", training.label))
            .message(17, &timestamp(begun));
        let mut log = Log::new(files, folder.join(format!("run-{id}.wandb")))?;
        log.record(RUN, &run)?;
        log.file.write()?;
        Ok(Box::new(OfflineRun { log, begun, summary: Message::default() }))
    }
}

/// A training as an offline run.
struct OfflineRun {
    log: Log,
    begun: Duration,
    /// The numbers of the last step.
    summary: Message,
}

impl TrackedRun for OfflineRun {
    fn record(&mut self, step: u64, numbers: &[(&'static str, f64)]) -> Result<()> {
        let time = now();
        let runtime = time.saturating_sub(self.begun).as_secs_f64();
        let times = [("_timestamp", time.as_secs_f64()), ("_runtime", runtime)];
        let mut items: Vec<Message> =
            numbers.iter().chain(&times).map(|(name, number)| item(name, &json_number(*number))).collect();
        items.push(item("_step", &step));
        let all = items.iter().fold(Message::default(), |all, item| all.message(1, item));
        self.log.record(HISTORY, &all.clone().message(2, &Message::default().integer(1, step)))?;
        self.summary = all;
        Ok(())
    }

    fn end(&mut self, end: RunEnd) -> Result<()> {
        let code = match end {
            RunEnd::Done => 0,
            RunEnd::Failed => 1,
            RunEnd::Interrupted => 255,
        };
        let runtime = now().saturating_sub(self.begun).as_secs();
        self.log.record(SUMMARY, &self.summary)?;
        self.log.record(EXIT, &Message::default().integer(1, code).integer(2, runtime))?;
        self.log.file.write()
    }
}

/// Builds an item of a config, of a step or of a summary: a name, and a value as JSON.
fn item(name: &str, json: &impl ToString) -> Message {
    Message::default().text(1, name).text(16, &json.to_string())
}

/// Writes a number as W&B's JSON does, which has infinities and NaN.
fn json_number(number: f64) -> String {
    match number {
        f64::INFINITY => "Infinity".into(),
        f64::NEG_INFINITY => "-Infinity".into(),
        number => format!("{number:?}"),
    }
}

fn timestamp(time: Duration) -> Message {
    Message::default().integer(1, time.as_secs()).integer(2, time.subsec_nanos().into())
}

/// A log of records, each in chunks that cross no border of a block.
struct Log {
    file: GrowingFile,
    length: usize,
    records: u64,
}

impl Log {
    fn new(files: &Files, path: PathBuf) -> Result<Self> {
        let mut file = GrowingFile::new(files, path);
        file.append(HEADER)?;
        Ok(Self { file, length: HEADER.len(), records: 0 })
    }

    fn record(&mut self, field: u32, content: &Message) -> Result<()> {
        self.records += 1;
        let record = Message::default().integer(1, self.records).message(field, content);
        let chunks = chunks(record.written(), self.length);
        self.length += chunks.len();
        self.file.append(&chunks)
    }
}

/// Writes a record from an offset of its file on, in chunks.
fn chunks(mut record: &[u8], offset: usize) -> Vec<u8> {
    let mut written = Vec::with_capacity(record.len() + CHUNK_HEADER);
    let mut is_first = true;
    loop {
        let room = BLOCK - (offset + written.len()) % BLOCK;
        if room < CHUNK_HEADER {
            written.resize(written.len() + room, 0);
            continue;
        }
        let (chunk, rest) = record.split_at(record.len().min(room - CHUNK_HEADER));
        let kind = match (is_first, rest.is_empty()) {
            (true, true) => FULL,
            (true, false) => FIRST,
            (false, false) => MIDDLE,
            (false, true) => LAST,
        };
        written.extend(IEEE.of(&[&[kind], chunk]).to_le_bytes());
        written.extend((chunk.len() as u16).to_le_bytes());
        written.push(kind);
        written.extend(chunk);
        if rest.is_empty() {
            return written;
        }
        record = rest;
        is_first = false;
    }
}

#[cfg(test)]
mod tests {
    use super::super::place::TrackedScript;
    use super::*;
    use crate::base::access::Rules;

    /// Reads the records of a file, and the kinds of their chunks.
    fn records(bytes: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
        assert!(bytes.starts_with(HEADER));
        let mut at = HEADER.len();
        let mut found = Vec::new();
        let mut open: (Vec<u8>, Vec<u8>) = Default::default();
        while at < bytes.len() {
            let room = BLOCK - at % BLOCK;
            if room < CHUNK_HEADER {
                assert!(bytes[at..at + room].iter().all(|byte| *byte == 0));
                at += room;
                continue;
            }
            let check = u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
            let length = usize::from(u16::from_le_bytes(bytes[at + 4..at + 6].try_into().unwrap()));
            let kind = bytes[at + 6];
            let chunk = &bytes[at + CHUNK_HEADER..][..length];
            assert!(CHUNK_HEADER + length <= room);
            assert_eq!(check, IEEE.of(&[&[kind], chunk]));
            at += CHUNK_HEADER + length;
            open.0.extend(chunk);
            open.1.push(kind);
            if matches!(kind, FULL | LAST) {
                found.push(std::mem::take(&mut open));
            }
        }
        assert!(open.1.is_empty());
        found
    }

    #[test]
    fn records_are_cut_at_the_borders_of_blocks() {
        let record = |length: usize| (0..length).map(|at| at as u8).collect::<Vec<u8>>();
        // Of the first block 7 bytes are left, which the header of a chunk takes, then 6, which nothing takes.
        for (lengths, kinds) in [
            (vec![10, 20], vec![vec![FULL], vec![FULL]]),
            (vec![BLOCK - 21, 5], vec![vec![FULL], vec![FIRST, LAST]]),
            (vec![BLOCK - 20, 5], vec![vec![FULL], vec![FULL]]),
            (vec![10, 2 * BLOCK], vec![vec![FULL], vec![FIRST, MIDDLE, LAST]]),
        ] {
            let mut bytes = HEADER.to_vec();
            for length in &lengths {
                let chunks = chunks(&record(*length), bytes.len());
                bytes.extend(chunks);
            }
            let expected: Vec<(Vec<u8>, Vec<u8>)> = lengths.iter().map(|length| record(*length)).zip(kinds).collect();
            assert!(records(&bytes) == expected, "{lengths:?}");
        }
    }

    #[test]
    fn numbers_are_json_or_what_python_reads_for_it() {
        let numbers = [1.0, -1e-9, f64::INFINITY, f64::NEG_INFINITY, f64::NAN].map(json_number);
        assert_eq!(numbers, ["1.0", "-1e-9", "Infinity", "-Infinity", "NaN"]);
    }

    #[test]
    fn each_training_is_a_run_with_settings_steps_summary_and_end() {
        let folder = tempfile::tempdir().unwrap();
        let access = Access::new(folder.path(), &Rules::default()).unwrap();
        let script = TrackedScript { experiment: "x y".into(), name: "seed-0".into(), settings: Vec::new() };
        let tracker = WeightsAndBiases::new(Place::new(&access, Path::new("track"), script).unwrap());
        let training = TrackedTraining { label: "fitting".into(), settings: vec![("k".into(), json!(8))] };
        let mut run = tracker.begin(&training).unwrap();
        run.record(1, &[("loss", 2.0)]).unwrap();
        run.end(RunEnd::Interrupted).unwrap();
        let runs: Vec<_> = std::fs::read_dir(folder.path().join("track/wandb")).unwrap().flatten().collect();
        let name = runs[0].file_name().into_string().unwrap();
        let (_, id) = name.strip_prefix("offline-run-").unwrap().split_once('-').unwrap();
        let config = std::fs::read_to_string(runs[0].path().join("files/config.yaml")).unwrap();
        assert_eq!((runs.len(), config.as_str()), (1, "{\"k\":{\"value\":8}}\n"));
        let bytes = std::fs::read(runs[0].path().join(format!("run-{id}.wandb"))).unwrap();
        let records: Vec<Vec<u8>> = records(&bytes).into_iter().map(|(record, _)| record).collect();
        assert_eq!(records.len(), 4);
        let has = |number: usize, text: &[u8]| records[number].windows(text.len()).any(|window| window == text);
        assert!(has(0, id.as_bytes()) && has(0, b"x-y") && has(0, b"01 fitting"));
        assert!(has(1, b"loss") && has(1, b"2.0") && has(1, b"_step") && has(2, b"loss"));
        // num = 4, and an exit with the code 255
        assert!(records[3].starts_with(&[0x08, 4, 0x92, 0x01]) && has(3, &[0x08, 0xff, 0x01]));
    }
}
