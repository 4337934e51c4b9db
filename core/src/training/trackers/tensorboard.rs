//! Event files of TensorBoard: `track/tensorboard/RUN/TRAINING/events.out.tfevents.*`, records of TFRecord files, each
//! an `Event` with numbers (`Summary`) by their names. Its HParams plugin compares trainings by their settings, which
//! it has of its own messages (`plugin_data.proto`, whose field numbers stand below).

use super::checksum::CASTAGNOLI;
use super::growing_file::GrowingFile;
use super::place::{Place, Turn, named, now, shown};
use super::protobuf::Message;
use crate::base::tracking::{RunEnd, TrackedRun, TrackedTraining, Tracker};
use crate::common::*;

/// The format of the events, which the first of them states.
const VERSION: &str = "brain.Event:2";

/// The types of floats and texts in tensors, and the class of what has a tensor.
const DT_FLOAT: u64 = 1;
const DT_STRING: u64 = 7;
const DATA_CLASS_TENSOR: u64 = 2;

/// The names of what the HParams plugin is told of a training, and their fields of an `HParamsPluginData`.
const SESSION_START: (&str, u32) = ("_hparams_/session_start_info", 3);
const SESSION_END: (&str, u32) = ("_hparams_/session_end_info", 4);

/// The plugin's `Status` of a training that has ended: it was done, or not.
const STATUS_SUCCESS: u64 = 1;
const STATUS_FAILURE: u64 = 2;

/// The number that is added to checks, so that the check of data with checks in it is none of these.
const MASK: u32 = 0xa282_ead8;

pub struct TensorBoard {
    place: Place,
}

impl TensorBoard {
    pub fn new(place: Place) -> Self {
        Self { place }
    }
}

impl Tracker for TensorBoard {
    fn begin(&self, training: &TrackedTraining) -> Result<Box<dyn TrackedRun>> {
        let Place { files, folder, script, .. } = &self.place;
        let folder = folder.join("tensorboard").join(&script.name);
        let label = named(&training.label);
        // Labels that are one name of a folder are counted as one, so that none discards the other's curve.
        let Turn { number, of_label } = self.place.next(&label, || Ok(()))?;
        if of_label == 1 {
            for before in files.names(&folder).iter().filter(|name| is_of(name, &label)) {
                files.discard(&folder.join(before))?;
            }
        }
        let time = now();
        let name = format!("{number:02}-{label}");
        let file = format!("events.out.tfevents.{}.microtome", time.as_secs());
        let mut events = GrowingFile::new(files, folder.join(name).join(file));
        let time = time.as_secs_f64();
        events.append(&framed(&Message::default().double(1, time).text(3, VERSION)))?;
        let settings = [script.settings.as_slice(), &training.settings].concat();
        let rows: Vec<String> =
            settings.iter().map(|(name, value)| format!("| {} | {} |\n", cell(name), cell(&shown(value)))).collect();
        let table = format!("| setting | value |\n|---|---|\n{}", rows.concat());
        let begun = hparams_value(SESSION_START, &session_start(&settings, time));
        events.append(&framed(&event(time, 0, &[text_value("settings", &table), begun])))?;
        events.write()?;
        Ok(Box::new(EventFile { events }))
    }
}

/// Returns whether a folder is that of a training with this label, whatever its number was.
fn is_of(folder: &str, label: &str) -> bool {
    let parts = folder.trim_end_matches('/').split_once('-');
    parts.is_some_and(|(number, rest)| number.parse::<u64>().is_ok() && rest == label)
}

/// A training as an event file.
struct EventFile {
    events: GrowingFile,
}

impl TrackedRun for EventFile {
    fn record(&mut self, step: u64, numbers: &[(&'static str, f64)]) -> Result<()> {
        // TensorBoard has numbers of 32 bits.
        let value = |(name, number): &(&str, f64)| Message::default().text(1, name).float(2, *number as f32);
        let values: Vec<Message> = numbers.iter().map(value).collect();
        self.events.append(&framed(&event(now().as_secs_f64(), step, &values)))
    }

    fn end(&mut self, end: RunEnd) -> Result<()> {
        let status = if end == RunEnd::Done { STATUS_SUCCESS } else { STATUS_FAILURE };
        let time = now().as_secs_f64();
        let ended = hparams_value(SESSION_END, &Message::default().integer(1, status).double(2, time));
        self.events.append(&framed(&event(time, 0, &[ended])))?;
        self.events.write()
    }
}

/// Builds an event with the values of a summary.
fn event(time: f64, step: u64, values: &[Message]) -> Message {
    let summary = values.iter().fold(Message::default(), |summary, value| summary.message(1, value));
    Message::default().double(1, time).integer(2, step).message(5, &summary)
}

/// Builds a value of a summary that the text plugin shows as Markdown: a tensor of one text.
fn text_value(tag: &str, text: &str) -> Message {
    let shape = Message::default().message(2, &Message::default().integer(1, 1));
    let tensor = Message::default().integer(1, DT_STRING).message(2, &shape).text(8, text);
    plugin_value(tag, &tensor, &Message::default().text(1, "text"))
}

/// Builds a value of a summary for the HParams plugin, which has a message beside a tensor without numbers.
fn hparams_value((tag, field): (&str, u32), message: &Message) -> Message {
    let shape = Message::default().message(2, &Message::default());
    let tensor = Message::default().integer(1, DT_FLOAT).message(2, &shape);
    let data = Message::default().message(field, message);
    plugin_value(tag, &tensor, &Message::default().text(1, "hparams").message(2, &data))
}

/// Builds a value of a summary that a plugin of TensorBoard shows.
fn plugin_value(tag: &str, tensor: &Message, plugin: &Message) -> Message {
    let metadata = Message::default().message(1, plugin).integer(4, DATA_CLASS_TENSOR);
    Message::default().text(1, tag).message(8, tensor).message(9, &metadata)
}

/// Builds a `SessionStartInfo`: the settings of a training, and the time at which it began.
fn session_start(settings: &[(String, Value)], time: f64) -> Message {
    let add = |info: Message, (name, value): &(String, Value)| {
        info.message(1, &Message::default().text(1, name).message(2, &hparam(value)))
    };
    settings.iter().fold(Message::default(), add).double(5, time)
}

/// Builds a `google.protobuf.Value` of one of the kinds that the plugin compares: a number, a text or a truth.
fn hparam(value: &Value) -> Message {
    match (value.as_f64(), value) {
        (Some(number), _) => Message::default().double(2, number),
        (None, Value::Bool(truth)) => Message::default().integer(4, u64::from(*truth)),
        (None, other) => Message::default().text(3, &shown(other)),
    }
}

/// Writes a text as a cell of a table of Markdown.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace(['\n', '\r'], " ")
}

/// Frames a record: its length, the length's check, the record and its check.
fn framed(record: &Message) -> Vec<u8> {
    let length = (record.written().len() as u64).to_le_bytes();
    let [before, behind] = [length.as_slice(), record.written()].map(|bytes| masked(bytes).to_le_bytes());
    [length.as_slice(), &before, record.written(), &behind].concat()
}

fn masked(bytes: &[u8]) -> u32 {
    CASTAGNOLI.of(&[bytes]).rotate_right(15).wrapping_add(MASK)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::place::TrackedScript;
    use super::*;
    use crate::base::access::Rules;

    #[test]
    fn an_event_has_the_bytes_that_protocol_buffers_give_it() {
        let value = Message::default().text(1, "loss").float(2, 0.5);
        let expected = [
            // wall_time = 1.0
            [0x09_u8, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f].as_slice(),
            // step = 300
            &[0x10, 0xac, 0x02],
            // summary of 13 bytes, with one value of 11: tag and simple_value
            &[0x2a, 13, 0x0a, 11, 0x0a, 4, b'l', b'o', b's', b's', 0x15, 0, 0, 0, 0x3f],
        ];
        assert_eq!(event(1.0, 300, &[value]).written(), expected.concat());
    }

    #[test]
    fn a_setting_is_a_number_a_text_or_a_truth_of_a_session() {
        let settings = [("k", json!(8)), ("kind", json!("topk")), ("tied", json!(true)), ("betas", json!([0.5]))];
        let settings = settings.map(|(name, value)| (name.to_string(), value));
        let expected = [
            // Each is a message of key and value; number_value = 8.0
            [0x0a_u8, 14, 0x0a, 1, b'k', 0x12, 9, 0x11, 0, 0, 0, 0, 0, 0, 0x20, 0x40].as_slice(),
            // string_value = "topk"
            &[0x0a, 14, 0x0a, 4, b'k', b'i', b'n', b'd', 0x12, 6, 0x1a, 4, b't', b'o', b'p', b'k'],
            // bool_value = true
            &[0x0a, 10, 0x0a, 4, b't', b'i', b'e', b'd', 0x12, 2, 0x20, 1],
            // A list is a text.
            &[0x0a, 16, 0x0a, 5, b'b', b'e', b't', b'a', b's', 0x12, 7, 0x1a, 5, b'[', b'0', b'.', b'5', b']'],
            // start_time_secs = 1.0
            &[0x29, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f],
        ];
        assert_eq!(session_start(&settings, 1.0).written(), expected.concat());
    }

    #[test]
    fn labels_that_are_one_name_of_a_folder_leave_each_other_their_curves() {
        let folder = tempfile::tempdir().unwrap();
        let access = Access::new(folder.path(), &Rules::default()).unwrap();
        let script = TrackedScript { experiment: "x".into(), name: "seed-0".into(), settings: Vec::new() };
        for _ in 0..2 {
            let tracker = TensorBoard::new(Place::new(&access, Path::new("track"), script.clone()).unwrap());
            for label in ["a b", "a-b"] {
                let training = TrackedTraining { label: label.into(), settings: Vec::new() };
                tracker.begin(&training).unwrap().end(RunEnd::Done).unwrap();
            }
            let found = written(&folder.path().join("track/tensorboard/seed-0"));
            let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
            assert_eq!(names, ["01-a-b", "02-a-b"]);
        }
    }

    #[test]
    fn a_table_stays_a_table_whatever_is_in_it() {
        assert_eq!(cell("a|b\nc"), "a\\|b c");
    }

    /// Reads the records of a file, and checks their checks.
    fn records(mut bytes: &[u8]) -> Vec<&[u8]> {
        let number = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().unwrap());
        let mut found = Vec::new();
        while !bytes.is_empty() {
            let (length, rest) = bytes.split_at(8);
            assert_eq!(number(&rest[..4]), masked(length));
            let length = u64::from_le_bytes(length.try_into().unwrap()) as usize;
            let (record, rest) = rest[4..].split_at(length);
            assert_eq!(number(&rest[..4]), masked(record));
            found.push(record);
            bytes = &rest[4..];
        }
        found
    }

    /// Lists the records of each event file below a folder, by the folder of the training.
    fn written(folder: &Path) -> Vec<(String, Vec<u8>)> {
        let mut found = Vec::new();
        for training in std::fs::read_dir(folder).unwrap().flatten() {
            for file in std::fs::read_dir(training.path()).unwrap().flatten() {
                assert!(file.file_name().to_string_lossy().starts_with("events.out.tfevents."));
                let name = training.file_name().to_string_lossy().into_owned();
                found.push((name, std::fs::read(file.path()).unwrap()));
            }
        }
        found.sort();
        found
    }

    #[test]
    fn each_training_is_a_file_of_its_steps_that_the_same_one_replaces() {
        let folder = tempfile::tempdir().unwrap();
        let access = Access::new(folder.path(), &Rules::default()).unwrap();
        let script = TrackedScript { experiment: "x".into(), name: "seed-0".into(), settings: Vec::new() };
        let track = |labels: &[&str]| {
            let tracker = TensorBoard::new(Place::new(&access, Path::new("x/track"), script.clone()).unwrap());
            for label in labels {
                let training = TrackedTraining { label: label.to_string(), settings: vec![("k".into(), json!(8))] };
                let mut run = tracker.begin(&training).unwrap();
                run.record(1, &[("loss", 2.0), ("l0", 4.0)]).unwrap();
                run.record(2, &[("loss", 1.0)]).unwrap();
                run.end(RunEnd::Done).unwrap();
            }
            written(&folder.path().join("x/track/tensorboard/seed-0"))
        };
        let found = track(&["a model", "b"]);
        assert_eq!([&found[0].0, &found[1].0], ["01-a-model", "02-b"]);
        let found = records(&found[0].1);
        assert_eq!(found.len(), 5);
        let has = |record: &[u8], text: &[u8]| record.windows(text.len()).any(|window| window == text);
        assert!(has(found[0], VERSION.as_bytes()) && has(found[1], b"| k | 8 |"));
        assert!(has(found[1], SESSION_START.0.as_bytes()) && has(found[4], SESSION_END.0.as_bytes()));
        assert!(has(found[2], b"loss") && has(found[2], b"l0") && !has(found[3], b"l0"));
        // What is found in the cache does not begin, and keeps the curve that it has.
        let found = track(&["b"]);
        let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["01-a-model", "01-b"]);
    }
}
