//! Tests that stores contain what was harvested, resume where they stopped, and are refused when they were changed.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::*;
use crate::data::harvest::tests::{collected, letters, model};
use crate::data::harvest::{ActivationBlock, Blocks, HarvestOptions, Progress, Sink, Skipped};
use crate::data::text;
use crate::fixtures;
use crate::model::config::Config;
use crate::tensor::{Device, Tensor};

const SITES: [&str; 2] = ["resid_post.0", "z.1.3"];

fn small() -> StoreSettings {
    StoreSettings { shard_rows: Some(700), ..StoreSettings::default() }
}

fn text() -> Text {
    letters(500, text::TextOptions::default())
}

/// Returns a text of several passes through the model.
fn long() -> Text {
    letters(1400, text::TextOptions::default())
}

fn stored(folder: &Path, sites: &[&str], text: &Text, storing: StoreSettings) -> Result<Arc<Store>> {
    let files = Files::unrecorded(folder).unwrap();
    let model = model(fixtures::config());
    harvest(
        &files,
        folder,
        TextReading::new(&model, text, &HarvestOptions::default()),
        sites,
        storing,
        &Task::default(),
    )
}

/// Returns the bytes of every file of a folder.
fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(folder).unwrap().flatten();
    entries.map(|e| (e.file_name().into_string().unwrap(), std::fs::read(e.path()).unwrap())).collect()
}

#[test]
fn a_store_holds_what_the_harvest_gave() {
    let folder = tempfile::tempdir().unwrap();
    let store = stored(folder.path(), &SITES, &text(), small()).unwrap();
    let plain = HarvestOptions::default();
    let mut live =
        TextReading::new(&model(fixtures::config()), &text(), &plain).harvest(&SITES, &Task::default()).unwrap();
    let (sites, origins) = collected(&mut live);
    assert_eq!(store.len(), origins.len() as u64);
    assert_eq!(store.progress(), live.progress());
    assert!(store.shards().len() > 2, "{store:?}");
    for at_once in [37, 100_000] {
        assert_eq!(collected(&mut store.in_order(&SITES, at_once).unwrap()), (sites.clone(), origins.clone()));
    }
    let (alone, _) = collected(&mut store.in_order(&["z.-1.3"], 900).unwrap());
    assert_eq!(alone[0], sites[1]);
    assert_eq!(store.statistics("blocks.0.hook_resid_post").unwrap().count, store.len());
    store.verify(&Task::default()).unwrap();
    let shard = folder.path().join(shard_name(0));
    let bytes = std::fs::read(shard).unwrap();
    let read = ::safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mut names = read.names();
    names.sort();
    assert_eq!(names, ["positions", "resid_post.0", "rows", "tokens", "z.1.3"]);
}

#[test]
fn half_precision_is_rounded_and_what_does_not_fit_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let exact = stored(&folder.path().join("f32"), &SITES, &text(), StoreSettings::default()).unwrap();
    let (exact, _) = collected(&mut exact.in_order(&SITES, 4096).unwrap());
    for (dtype, ulp) in [(DType::F16, 1.0 / 2048.0), (DType::BF16, 1.0 / 256.0)] {
        let storing = StoreSettings { dtype, shard_rows: None };
        let store = stored(&folder.path().join(dtype.as_str()), &SITES, &text(), storing).unwrap();
        let (rounded, _) = collected(&mut store.in_order(&SITES, 4096).unwrap());
        let pairs = exact.iter().flatten().flatten().zip(rounded.iter().flatten().flatten());
        assert!(pairs.clone().all(|(a, b)| (a - b).abs() <= a.abs() * ulp + 1e-6), "{dtype:?}");
        assert!(pairs.filter(|(a, b)| a != b).count() > 1000, "{dtype:?}");
    }
    assert!(stored(folder.path(), &SITES, &text(), StoreSettings { dtype: DType::F64, shard_rows: None }).is_err());
    let mut writer = synthetic_writer(&folder.path().join("large"), "f16", 100);
    let block = block(&[1.0, 2.0, 3.0, 70_000.0], 2, 5);
    let error = writer.take(block, &Progress::new(&[2]), &Task::default()).unwrap_err();
    assert_eq!(
        error.message,
        "expected activations that fit f16, found 70000 at `resid_post.0`, column 1, position 0 of row 6"
    );
}

/// A sink that stops a harvest before some block, as a kill would.
struct StoppingSink<'a>(&'a mut StoreWriter, usize);

impl Sink for StoppingSink<'_> {
    fn take(&mut self, block: ActivationBlock, progress: &Progress, task: &Task) -> Result<ControlFlow<()>> {
        self.1 = self.1.checked_sub(1).ok_or_else(Error::interrupted)?;
        self.0.take(block, progress, task)
    }

    fn finish(&mut self, _progress: &Progress, _task: &Task) -> Result<()> {
        Err(Error::interrupted())
    }
}

fn stop_after(blocks: usize, folder: &Path, shard_rows: usize) -> u64 {
    let files = Files::unrecorded(folder).unwrap();
    let model = model(fixtures::config());
    let text = long();
    let task = Task::default();
    let options = HarvestOptions::default();
    let mut harvest = TextReading::new(&model, &text, &options).harvest(&SITES, &task).unwrap();
    let made = Made::new(TextReading::new(&model, &text, &options), &harvest, DType::F32, shard_rows, &task).unwrap();
    let mut writer = StoreWriter::begin(&files, folder, made).unwrap();
    let went_on = writer.progress().kept;
    harvest.go_on(writer.progress().clone(), &task).unwrap();
    harvest.run(&mut StoppingSink(&mut writer, blocks), &task).unwrap_err();
    went_on
}

#[test]
fn a_harvest_that_was_stopped_anywhere_ends_with_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole");
    let again = folder.path().join("again");
    let storing = StoreSettings { shard_rows: Some(5000), ..StoreSettings::default() };
    let store = stored(&whole, &SITES, &long(), storing).unwrap();
    assert!(store.shards().len() >= 3);
    let mut last = 0;
    for blocks in [0, 1, 2, 3, 0, 2, 30] {
        let before = stop_after(blocks, &again, 5000);
        assert!(before >= last && before < store.len());
        last = before;
        let error = Store::open(&Files::unrecorded(&again).unwrap(), &again).unwrap_err();
        assert!(error.message.ends_with("this store is not complete"), "{}", error.message);
        // A shard that was written before the kill and is not listed is written again.
        let listed = Manifest::read(&Files::unrecorded(&again).unwrap(), &again.join(MANIFEST)).unwrap().shards.len();
        std::fs::write(again.join(shard_name(listed)), "half").unwrap();
    }
    assert!(last > 0);
    stored(&again, &SITES, &long(), storing).unwrap();
    assert_eq!(contents(&again), contents(&whole));
    // One that is complete is found again, and nothing is written.
    stored(&again, &SITES, &long(), storing).unwrap();
    assert_eq!(contents(&again), contents(&whole));
}

#[test]
fn what_was_made_from_something_else_is_refused_and_both_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path();
    stored(place, &SITES, &text(), small()).unwrap();
    let refused =
        |sites: &[&str], text: &Text, storing: StoreSettings| stored(place, sites, text, storing).unwrap_err().message;
    let sites = refused(&["resid_post.1"], &text(), small());
    assert!(sites.ends_with("expected the sites of the store, resid_post.0, z.1.3, found resid_post.1"), "{sites}");
    let limited = letters(500, text::TextOptions { tokens: Some(800), ..text::TextOptions::default() });
    let tokens = refused(&SITES, &limited, small());
    assert!(tokens.ends_with("expected `text.tokens` as the store has it, null, found 800"), "{tokens}");
    let dtype = refused(&SITES, &text(), StoreSettings { dtype: DType::F16, ..small() });
    assert!(dtype.ends_with("expected `dtype` as the store has it, \"f32\", found \"f16\""), "{dtype}");
    // Texts with the same description are told apart by their tokens, a longer one by its end.
    for documents in [499, 501] {
        let other = refused(&SITES, &letters(documents, text::TextOptions::default()), small());
        assert!(other.contains("the text given texts is not the one"), "{other}");
    }
    let files = Files::unrecorded(place).unwrap();
    let task = Task::default();
    let other = model(Config { d_mlp: 20, ..fixtures::config() });
    let options = HarvestOptions::default();
    let error =
        harvest(&files, place, TextReading::new(&other, &text(), &options), &SITES, small(), &task).unwrap_err();
    assert!(error.message.contains("expected the model that the store was made from, sample (weights "), "{error}");
    assert!(error.message.contains("found sample (weights "), "{error}");
    let store = Store::open(&files, place).unwrap();
    store.expect_model(&ModelMark::of(&model(fixtures::config()), &task).unwrap()).unwrap();
    assert!(store.expect_model(&ModelMark::of(&other, &task).unwrap()).is_err());
    let missing = store.site("resid_post.1").unwrap_err();
    assert_eq!(missing.message, "the store does not hold `resid_post.1`");
    assert!(store.site("resid_pots.1").is_err() && store.site("resid_post.*").is_err());
    let keep = HarvestOptions { skip: Skipped { without_bos: true, ..Skipped::default() }, ..options };
    let error =
        harvest(&files, place, TextReading::new(&model(fixtures::config()), &text(), &keep), &SITES, small(), &task);
    assert!(error.unwrap_err().message.contains("`keep.without_bos` as the store has it, false, found true"));
}

#[test]
fn two_harvests_in_one_folder_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let first = Files::unrecorded(folder.path()).unwrap();
    let second = Files::unrecorded(folder.path()).unwrap();
    let model = model(fixtures::config());
    let text = text();
    let options = HarvestOptions::default();
    let task = Task::default();
    let made = || {
        let harvest = TextReading::new(&model, &text, &options).harvest(&SITES, &task).unwrap();
        Made::new(TextReading::new(&model, &text, &options), &harvest, DType::F32, 700, &task).unwrap()
    };
    let writer = StoreWriter::begin(&first, folder.path(), made()).unwrap();
    let error = StoreWriter::begin(&second, folder.path(), made()).err().unwrap();
    assert!(error.message.contains("another run is writing into"), "{error}");
    drop(writer);
    first.release();
    StoreWriter::begin(&second, folder.path(), made()).unwrap();
}

fn shard(folder: &Path) -> PathBuf {
    folder.join(shard_name(1))
}

/// Writes a number over another one of a site in a shard.
fn spoil(folder: &Path, site: &str, at: usize, number: f32) {
    let mut bytes = std::fs::read(shard(folder)).unwrap();
    let place = crate::tensor::files::safetensors::SafetensorsFile::new(&bytes[..]).unwrap().place(site).unwrap();
    bytes[place.start + 4 * at..][..4].copy_from_slice(&number.to_le_bytes());
    std::fs::write(shard(folder), bytes).unwrap();
}

#[test]
fn shards_that_were_changed_are_found_and_numbers_that_are_none_told_with_their_place() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path();
    stored(place, &SITES, &text(), small()).unwrap();
    let good = std::fs::read(shard(place)).unwrap();
    let open = || Store::open(&Files::unrecorded(place).unwrap(), place);
    // A change to another finite number is only detected by the hash.
    spoil(place, "resid_post.0", 16 * 3 + 5, 0.25);
    let error = open().unwrap().verify(&Task::default()).unwrap_err();
    assert!(error.message.contains("shard-00001.safetensors: expected the SHA-256"), "{error}");
    for number in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        spoil(place, "resid_post.0", 16 * 3 + 5, number);
        let store = open().unwrap();
        let wanted = format!("found {number} in row 3, column 5 of `resid_post.0`");
        let mut shuffled = store.shuffled(&["z.1.3", "resid_post.0"], Shuffle { seed: 1, buffer: 600 }).unwrap();
        let rows = store.len() as usize;
        let error = shuffled.next(rows, &Task::default()).unwrap_err();
        assert!(error.message.contains("shard-00001") && error.message.contains(&wanted), "{error}");
        let mut in_order = store.in_order(&["resid_post.0"], 50).unwrap();
        let error = std::iter::repeat_with(|| in_order.next(&Task::default())).find_map(Result::err).unwrap();
        assert!(error.message.contains(&wanted), "{error}");
    }
    let mut longer = good.clone();
    longer.push(0);
    std::fs::write(shard(place), &longer).unwrap();
    assert!(open().unwrap_err().message.contains(&format!("expected {} bytes", good.len())));
    std::fs::write(shard(place), vec![b' '; good.len()]).unwrap();
    assert!(open().unwrap_err().message.contains("shard-00001"));
    let mut renamed = good.clone();
    let name = renamed.windows(5).position(|bytes| bytes == b"z.1.3").unwrap();
    renamed[name + 4] = b'2';
    std::fs::write(shard(place), renamed).unwrap();
    assert!(open().unwrap_err().message.contains("`z.1.3` as ["), "{:?}", open());
    std::fs::remove_file(shard(place)).unwrap();
    assert!(open().unwrap_err().message.contains("there is no such file"));
    assert!(stored(place, &SITES, &text(), small()).unwrap_err().message.contains("there is no such file"));
}

#[test]
fn a_manifest_that_lies_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path();
    stored(place, &SITES, &text(), small()).unwrap();
    let good = std::fs::read_to_string(place.join(MANIFEST)).unwrap();
    let changes = [
        ("activations, 1", "activations, 2"),
        ("\"complete\":true", "\"complete\":true,\"more\":1"),
        ("\"width\":4", "\"width\":5"),
        ("\"dtype\":\"f32\",\"shard_rows\"", "\"dtype\":\"f8\",\"shard_rows\""),
        ("\"kept\":", "\"kept\":1"),
        ("\"shards\":[", "\"shards\":[{\"rows\":18446744073709551615,\"bytes\":1,\"sha256\":\"\"},"),
    ];
    for (from, to) in changes {
        assert!(good.contains(from), "{from}");
        assert!(Manifest::parsed(&good.replacen(from, to, 1)).is_err(), "{to}");
    }
    for end in (0..good.len() - 1).step_by(97) {
        assert!(Manifest::parsed(&good[..end]).is_err(), "{end}");
    }
}

/// Builds the writer of a store of one site without a model.
fn synthetic_writer(folder: &Path, dtype: &str, shard_rows: usize) -> StoreWriter {
    let config = serde_json::to_value(fixtures::config()).unwrap();
    let model = ModelMark { origin: "none".into(), weights: "0".into(), dtype: "f32".into(), config };
    let made = Made {
        by: "test".into(),
        model,
        sites: vec![Width { site: "resid_post.0".into(), width: 2 }],
        text: serde_json::Value::Null,
        context: 1,
        at_once: 1,
        keep: Skipped::default(),
        dtype: dtype.into(),
        shard_rows,
    };
    StoreWriter::begin(&Files::unrecorded(folder).unwrap(), folder, made).unwrap()
}

fn block(numbers: &[f32], width: usize, first: u32) -> ActivationBlock {
    let count = numbers.len() / width;
    let activations = vec![Tensor::from_slice(numbers, (count, width), &Device::Cpu).unwrap()];
    let rows = (first..first + count as u32).collect();
    ActivationBlock { activations, tokens: vec![0; count], rows, positions: vec![0; count] }
}

/// Builds a store of rows that contain their own index.
fn numbered(folder: &Path, rows: usize, shard_rows: usize) -> Arc<Store> {
    let mut writer = synthetic_writer(folder, "f32", shard_rows);
    let mut progress = Progress::new(&[2]);
    for start in (0..rows).step_by(50) {
        let numbers: Vec<f32> = (start..rows.min(start + 50)).flat_map(|i| [i as f32, -(i as f32)]).collect();
        progress.kept += numbers.len() as u64 / 2;
        assert!(writer.take(block(&numbers, 2, start as u32), &progress, &Task::default()).unwrap().is_continue());
    }
    writer.finish(&progress, &Task::default()).unwrap();
    Store::open(&Files::unrecorded(folder).unwrap(), folder).unwrap()
}

fn taken(shuffled: &mut ShuffledStore, rows: usize) -> Vec<usize> {
    let found = shuffled.next(rows, &Task::default()).unwrap();
    let row = |row: Vec<f32>| {
        assert_eq!(row[0], -row[1]);
        row[0] as usize
    };
    found[0].to_vec2::<f32>().unwrap().into_iter().map(row).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn every_row_comes_once_an_epoch_and_skipping_is_reading(
        rows in 1_usize..2500, shard_rows in 1_usize..900, buffer in 1_usize..1500, batch in 1_usize..700, seed: u64,
        at in 0_u64..6000,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let store = numbered(folder.path(), rows, shard_rows);
        let begin = || store.shuffled(&["resid_post.0"], Shuffle { seed, buffer }).unwrap();
        let mut shuffled = begin();
        let epochs: Vec<Vec<usize>> = (0..2).map(|_| taken(&mut shuffled, rows)).collect();
        for epoch in &epochs {
            let mut sorted = epoch.clone();
            sorted.sort();
            prop_assert_eq!(sorted, (0..rows).collect::<Vec<_>>());
        }
        prop_assert!(rows < 20 || epochs[0] != epochs[1]);
        // Batches of any size are the same rows.
        let mut batches = begin();
        let mut found = Vec::new();
        while found.len() + batch <= 2 * rows {
            found.extend(taken(&mut batches, batch));
        }
        let all = epochs.concat();
        prop_assert_eq!(&found[..], &all[..found.len()]);
        prop_assert_eq!(batches.position(), found.len() as u64);
        // Skipping from anywhere to anywhere equals reading.
        let mut skipping = begin();
        let at = at % (2 * rows as u64);
        taken(&mut skipping, (at / 3) as usize);
        skipping.skip(at - at / 3);
        prop_assert_eq!(skipping.position(), at);
        let rest = all.len() - at as usize;
        prop_assert_eq!(taken(&mut skipping, rest), &all[at as usize..]);
    }
}

#[test]
fn rows_of_a_batch_come_from_everywhere() {
    let folder = tempfile::tempdir().unwrap();
    let store = numbered(folder.path(), 8000, 1000);
    let mut shuffled = store.shuffled(&["resid_post.0"], Shuffle { seed: 3, buffer: 4000 }).unwrap();
    let first = taken(&mut shuffled, 300);
    let shards: std::collections::BTreeSet<usize> = first.iter().map(|row| row / 1000).collect();
    assert!(shards.len() >= 6, "{shards:?}");
    let neighbours = first.windows(2).filter(|pair| pair[0].abs_diff(pair[1]) < 10).count();
    assert!(neighbours < 20, "{neighbours}");
    assert!(store.shuffled(&["resid_post.0"], Shuffle { seed: 3, buffer: 0 }).is_err());
    assert!(store.shuffled(&[], Shuffle::default()).is_err() && store.in_order(&["resid_post.0"], 0).is_err());
}

#[test]
fn a_range_of_rows_is_read_across_shards() {
    let folder = tempfile::tempdir().unwrap();
    let task = Task::default();
    let store = stored(folder.path(), &SITES, &text(), small()).unwrap();
    let (sites, origins) = collected(&mut store.in_order(&SITES, 4096).unwrap());
    for (from, to) in [(0, 1), (690, 1410), (1400, store.len())] {
        let block = store.read(&["z.1.3", "resid_post.0"], from..to, &task).unwrap();
        let rows = from as usize..to as usize;
        assert_eq!(block.activations[0].to_vec2::<f32>().unwrap(), sites[1][rows.clone()]);
        assert_eq!(block.activations[1].to_vec2::<f32>().unwrap(), sites[0][rows.clone()]);
        let found = (0..block.len()).map(|i| [block.tokens[i], block.rows[i], block.positions[i]]);
        assert_eq!(found.collect::<Vec<_>>(), origins[rows]);
    }
    for (from, to) in [(5, 5), (0, store.len() + 1)] {
        assert!(store.read(&SITES, from..to, &task).is_err_and(|e| e.message.contains("expected rows of the")));
    }
}
