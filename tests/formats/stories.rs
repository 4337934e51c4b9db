//! The small model that came with llama2.c generates the story that was published for it.

use microtome::base::Task;
use microtome::checkpoint::formats::llama2c::Checkpoint;
use microtome::checkpoint::load::{self, LoadSettings};
use microtome::model::batch::Batch;
use microtome::model::decoder::Decoder;
use microtome::model::generate::SamplingSettings;
use microtome::tokenizer::Tokenizer;

/// What llama2.c prints at temperature 0, as published with the model.
const PUBLISHED: &str = "Once upon a time, there was a little girl named Lily. She loved to play outside in the park. One day, she saw a big, red ball. She wanted to play with it, but it was too high.
Lily's mom said, \"Lily, let's go to the park.\" Lily was sad and didn't know what to do. She said, \"I want to play with your ball, but I can't find it.\"
Lily was sad and didn't know what to do. She said, \"I'm sorry, Lily. I didn't know what to do.\"
Lily didn't want to help her mom, so she said, \"I'm sorry, mom. I didn't know what to do.\" Her mom said, \"Don't worry, Lily. We can help you.";

/// The default number of steps of llama2.c.
const STEPS: usize = 256;

pub fn file(name: &str) -> Vec<u8> {
    std::fs::read(kit::fixture("stories260K").join(name)).unwrap()
}

#[test]
fn the_published_story_comes_out_word_for_word() {
    let checkpoint = Checkpoint::new(file("stories260K.bin")).unwrap();
    let layout = checkpoint.layout().unwrap();
    let tokenizer = Tokenizer::from_llama2c(&file("tok512.bin"), Some(layout.config.vocab)).unwrap();
    let task = Task::default();
    let weights = load::weights(&layout, &checkpoint, "stories260K", &LoadSettings::default(), &task).unwrap();
    let stops = layout.config.eos.clone();
    let decoder = Decoder::new(layout.config, weights);
    let start = tokenizer.encode("", Some(true), &task).unwrap().ids;
    assert_eq!(start, [1]);
    let choice = SamplingSettings { stops, ..SamplingSettings::greedy(STEPS) };
    let batch = Batch::new(vec![start]).unwrap();
    let told = decoder.generate(&batch, &choice, Vec::new(), &mut |_, _| Ok(true), &task).unwrap().remove(0);
    assert_eq!(told.len(), STEPS);
    assert_eq!(tokenizer.decode(&told).unwrap().trim_start(), PUBLISHED);
}
