//! Valid files that are truncated, have flipped bytes or false counts: each is read or refused, without a panic.

use std::alloc::{GlobalAlloc, Layout as Piece, System};
use std::cell::Cell;

use microtome::base::{Result, Task, random};
use microtome::checkpoint::family;
use microtome::checkpoint::formats::{gguf, lens, llama2c, pickle};
use microtome::checkpoint::load::{self, LoadSettings};
use microtome::model::decoder::Decoder;
use microtome::model::layout::{Layout, TensorSource};
use microtome::tensor::files::safetensors;
use rand::{Rng, RngExt};

use crate::torture::samples;

thread_local! {
    /// The largest allocation of this test; other tests run on other threads.
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

/// No file here is larger than 1.1 MB, and no correct reader needs an allocation of more than a few times that.
const MOST: usize = 8 << 20;

struct LargestAllocation;

// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for LargestAllocation {
    unsafe fn alloc(&self, piece: Piece) -> *mut u8 {
        // A thread that is ending has none any more.
        let _gone = LARGEST.try_with(|largest| largest.set(largest.get().max(piece.size())));
        unsafe { System.alloc(piece) }
    }

    unsafe fn dealloc(&self, place: *mut u8, piece: Piece) {
        unsafe { System.dealloc(place, piece) }
    }
}

#[global_allocator]
static ALLOCATOR: LargestAllocation = LargestAllocation;

/// How each damaged copy is made.
fn damaged(good: &[u8], header: usize, random: &mut impl Rng) -> Vec<u8> {
    let mut bytes = good.to_vec();
    // Nine out of ten times in the header, where it matters most.
    let reach = if random.random_bool(0.9) { header.min(good.len()) } else { good.len() };
    let place = random.random_range(0..reach);
    match random.random_range(0..5) {
        0 => bytes.truncate(place),
        1 => bytes[place] ^= 1 << random.random_range(0..8),
        2 => bytes[place] = random.random(),
        kind => {
            let lies =
                [0, 1, 0x7f, 0xff, 0x7fff_ffff, 0xffff_ffff, 1 << 31, 1 << 40, 1 << 62, i64::MAX as u64, u64::MAX];
            let lie = lies[random.random_range(0..lies.len())].to_le_bytes();
            let width = if kind == 3 { 4 } else { 8 };
            let end = (place + width).min(bytes.len());
            bytes[place..end].copy_from_slice(&lie[..end - place]);
        }
    }
    bytes
}

/// Reads `count` damaged copies, and every truncation within the header.
fn survives(good: &[u8], header: usize, count: usize, read: impl Fn(&[u8]) -> Result<()>) {
    read(good).unwrap();
    for end in 0..header.min(good.len()) {
        assert!(read(&good[..end]).is_err(), "a file cut at byte {end} is read");
    }
    let mut random = random::stream(7, "damage", 0);
    let mut refused = 0;
    for _ in 0..count {
        if let Err(error) = read(&damaged(good, header, &mut random)) {
            assert!(!error.message.is_empty());
            assert_ne!(error.kind, microtome::base::Kind::Bug, "{error}");
            refused += 1;
        }
    }
    assert!(refused > count / 4, "only {refused} of {count} damaged files were refused");
    assert!(LARGEST.get() < MOST, "{} bytes were asked for", LARGEST.get());
}

/// Everything in a file: its tensors, and the model if there is one.
fn whole(source: &dyn TensorSource, layout: Option<Layout>) -> Result<()> {
    for name in source.names() {
        source.tensor(&name)?;
    }
    let Some(layout) = layout else { return Ok(()) };
    let weights = load::weights(&layout, source, "damaged", &LoadSettings::default(), &Task::default())?;
    Decoder::new(layout.config, weights);
    Ok(())
}

#[test]
fn gguf_files() {
    let good = samples::gguf();
    let header = good.windows(5).rposition(|w| w == b"token").unwrap() + 60;
    survives(&good, header, 4000, |bytes| {
        let file = gguf::GgufFile::new(bytes)?;
        let layout = file.layout()?;
        whole(&file, Some(layout))
    });
}

#[test]
fn llama2c_checkpoints() {
    for newer in [false, true] {
        survives(&samples::llama2c(newer), if newer { 256 } else { 28 }, 2000, |bytes| {
            let file = llama2c::Checkpoint::new(bytes)?;
            let layout = file.layout()?;
            whole(&file, Some(layout))
        });
    }
}

/// The offsets of the pickle and of the archive's directory are where damage matters most.
#[test]
fn pt_files() {
    for name in ["formats/pt/state.pt", "formats/pt/nested.pt", "formats/pt/protocol4.pt"] {
        survives(&samples::fixture(name), 1300, 2000, |bytes| whole(&pickle::PickleFile::new(bytes)?, None));
    }
}

#[test]
fn directories_of_pt_files() {
    let good = samples::fixture("formats/pt/state.pt");
    let start = good.windows(4).position(|w| w == b"PK\x01\x02").unwrap();
    // The directory is at the end; reversed, the file is damaged like one with a header.
    let turned: Vec<u8> = good.iter().rev().copied().collect();
    survives(&turned, good.len() - start, 2000, |bytes| {
        let bytes: Vec<u8> = bytes.iter().rev().copied().collect();
        whole(&pickle::PickleFile::new(bytes.as_slice())?, None)
    });
}

/// A state dictionary in memory.
struct MemoryStateDict(safetensors::SafetensorsFile<Vec<u8>>, Vec<(String, Vec<usize>)>);

impl MemoryStateDict {
    fn open(bytes: &[u8]) -> Result<Self> {
        let reader = safetensors::SafetensorsFile::new(bytes.to_vec())?;
        let shapes = reader.all()?.tensors.into_iter().map(|(name, t)| (name, t.dims().to_vec())).collect();
        Ok(Self(reader, shapes))
    }
}

impl TensorSource for MemoryStateDict {
    fn names(&self) -> Vec<String> {
        self.1.iter().map(|(name, _)| name.clone()).collect()
    }

    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.1.iter().find(|(other, _)| other == name).map(|(_, shape)| shape.clone())
    }

    fn tensor(&self, name: &str) -> Result<microtome::tensor::Tensor> {
        self.0.tensor(name)
    }
}

#[test]
fn state_dictionaries() {
    let good = samples::fixture("formats/lens/gelu.safetensors");
    let header = 8 + u64::from_le_bytes(*good.first_chunk().unwrap()) as usize;
    let options = serde_json::json!({"act": "gelu"});
    survives(&good, header, 2000, |bytes| {
        let file = MemoryStateDict::open(bytes)?;
        let layout = lens::layout(&file, options.as_object().unwrap())?;
        whole(&file, Some(layout))
    });
}

#[test]
fn configs() {
    for family in ["llama", "gpt2", "gpt_neox", "gemma3_text"] {
        let good = samples::fixture(&format!("models/{family}/config.json"));
        // The line end after the last brace may be missing.
        let end = good.iter().rposition(|byte| *byte == b'}').unwrap();
        survives(&good, end, 1000, |bytes| {
            let config = serde_json::from_slice(bytes).map_err(|e| microtome::err!(Format, "{e}"))?;
            family::read(&config, &[])?.config.parameters()?;
            Ok(())
        });
    }
}
