//! Event files of TensorBoard: `track/tensorboard/RUN/TRAINING/events.out.tfevents.*`, records of TFRecord files, each
//! an `Event` with numbers (`Summary`) by their names.

use super::checksum::CASTAGNOLI;
use super::growing_file::GrowingFile;
use super::place::{Place, Turn, named, now, shown};
use super::protobuf::Message;
use crate::base::Result;
use crate::base::tracking::{RunEnd, TrackedRun, TrackedTraining, Tracker};

/// The format of the events, which the first of them states.
const VERSION: &str = "brain.Event:2";

/// The type of texts in tensors, and the class of what the text plugin shows.
const DT_STRING: u64 = 7;
const DATA_CLASS_TENSOR: u64 = 2;

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
        let Turn { number, of_label } = self.place.next(&training.label, || Ok(()))?;
        let label = named(&training.label);
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
        events.append(&framed(&event(time, 0, &[text_value("settings", &table)])))?;
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

    fn end(&mut self, _: RunEnd) -> Result<()> {
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
    let plugin = Message::default().text(1, "text");
    let metadata = Message::default().message(1, &plugin).integer(4, DATA_CLASS_TENSOR);
    let shape = Message::default().message(2, &Message::default().integer(1, 1));
    let tensor = Message::default().integer(1, DT_STRING).message(2, &shape).text(8, text);
    Message::default().text(1, tag).message(8, &tensor).message(9, &metadata)
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
    use std::path::Path;

    use serde_json::json;

    use super::super::place::TrackedScript;
    use super::*;
    use crate::base::access::{Access, Rules};

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
        assert_eq!(found.len(), 4);
        let has = |record: &[u8], text: &[u8]| record.windows(text.len()).any(|window| window == text);
        assert!(has(found[0], VERSION.as_bytes()) && has(found[1], b"| k | 8 |"));
        assert!(has(found[2], b"loss") && has(found[2], b"l0") && !has(found[3], b"l0"));
        // What is found in the cache does not begin, and keeps the curve that it has.
        let found = track(&["b"]);
        let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["01-a-model", "01-b"]);
    }
}
