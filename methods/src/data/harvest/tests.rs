//! Tests that harvests equal the activations of the model, in every sink, without skipped positions.

use std::ops::ControlFlow;

use super::*;
use crate::data::text;
use crate::fixtures;
use crate::model::config::Mixer;
use crate::tokenizer::labels::Column;

pub const CONTEXT: usize = 8;
const BOS: u32 = 26;

/// Builds a tokenizer whose tokens are letters; `.` is BOS, and separates documents.
pub fn tokenizer() -> Tokenizer {
    let list = (b'a'..=b'z').map(|letter| char::from(letter).to_string());
    let letters = Tokenizer::characters(list.chain([".".into()]).collect(), Some("."), None).unwrap();
    letters.or_marks(None, Some(BOS))
}

pub fn model(config: Config) -> Model {
    let config = Config { vocab: 27, vocab_out: None, context: CONTEXT, ..config };
    Model::new(fixtures::decoder(config, DType::F32), Some(tokenizer()), "sample")
}

/// Builds documents of different lengths, in rows that begin with a mark.
pub fn letters(documents: usize, options: text::TextOptions) -> Text {
    let word = |i: usize| (0..5 + i * 7 % 23).map(|j| char::from(b'a' + ((i * 11 + j * j) % 26) as u8)).collect();
    Text::given((0..documents).map(word).collect(), text::TextOptions { bos: Some(true), ..options }).unwrap()
}

/// Collects everything that a harvest yields, site by site, with its origin.
pub fn collected(blocks: &mut dyn Blocks) -> (Vec<Vec<Vec<f32>>>, Vec<[u32; 3]>) {
    let mut sites = Vec::new();
    let mut origins = Vec::new();
    while let Some(block) = blocks.next(&Task::default()).unwrap() {
        assert!(!block.is_empty());
        sites.resize(block.activations.len(), Vec::new());
        for (site, x) in sites.iter_mut().zip(&block.activations) {
            site.extend(x.to_vec2::<f32>().unwrap());
        }
        origins.extend((0..block.len()).map(|i| [block.tokens[i], block.rows[i], block.positions[i]]));
    }
    (sites, origins)
}

fn harvested(
    model: &Model,
    sites: &[&str],
    text: &Text,
    options: &HarvestOptions,
) -> (Vec<Vec<Vec<f32>>>, Vec<[u32; 3]>) {
    collected(&mut TextReading::new(model, text, options).harvest(sites, &Task::default()).unwrap())
}

const SITES: [&str; 6] = ["resid_post.*", "z.1.2", "z.0", "mlp_hidden.0", "head_out.1", "norm_scale.1"];

#[test]
fn every_kept_position_has_the_activation_that_a_recorded_run_has_there() {
    let model = model(fixtures::config());
    let text = letters(150, text::TextOptions::default());
    let task = Task::default();
    let (sites, origins) = harvested(&model, &SITES, &text, &HarvestOptions::default());
    let harvest = TextReading::new(&model, &text, &HarvestOptions::default()).harvest(&SITES, &task).unwrap();
    let names: Vec<String> = harvest.places().iter().map(ToString::to_string).collect();
    assert_eq!(names, ["z.0", "mlp_hidden.0", "resid_post.0", "norm_scale.1", "z.1.2", "head_out.1", "resid_post.1"]);
    assert_eq!(harvest.widths(), [16, 24, 16, 1, 4, 64, 16]);
    let rows = pack::gathered(&text, &tokenizer(), CONTEXT, None, &task, |row| Ok(row.ids)).unwrap();
    assert!(rows.len() > 300 && origins.len() == rows.len() * CONTEXT);
    let batch = Batch::new(rows.clone()).unwrap();
    let ask = Ask { places: harvest.places().to_vec(), ..Ask::default() };
    let cache = model.decoder.cache(&batch, ask, &task).unwrap();
    for ((place, found), width) in harvest.places().iter().zip(&sites).zip(harvest.widths()) {
        let all = cache.at(*place).unwrap().reshape((rows.len() * CONTEXT, *width)).unwrap();
        let all = all.to_vec2::<f32>().unwrap();
        for (found, [token, row, position]) in found.iter().zip(&origins) {
            let row = *row as usize;
            let position = *position as usize;
            assert_eq!(rows[row][position], *token);
            let wanted = &all[row * CONTEXT + position];
            assert!(found.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-5), "{place} {row} {position}");
        }
    }
}

#[test]
fn a_site_gives_the_same_bits_alone_and_beside_others_in_models_of_every_kind() {
    for config in fixtures::configs() {
        let asked = match config.mixer_of(0) {
            Mixer::Attention => "q.0",
            Mixer::Delta => "delta_beta.0",
            Mixer::StateSpace => "ssm_dt.0",
            Mixer::TimeMixing => "rwkv_a.0",
        };
        let model = model(config);
        let text = letters(9, text::TextOptions::default());
        let (both, origins) =
            harvested(&model, &["resid_post.1", asked, "resid_pre.0"], &text, &HarvestOptions::default());
        for (number, site) in ["resid_pre.0", asked, "resid_post.1"].into_iter().enumerate() {
            let (alone, same) = harvested(&model, &[site], &text, &HarvestOptions::default());
            assert_eq!((&alone[0], &same), (&both[number], &origins), "{site}");
        }
    }
}

#[test]
fn what_is_to_be_left_out_is_and_nothing_else() {
    let model = model(fixtures::config());
    let labelled = |options| letters(20, text::TextOptions { labels: true, ..options });
    let text = labelled(text::TextOptions::default());
    let site = ["resid_post.0"];
    let (all, everywhere) = harvested(&model, &site, &text, &HarvestOptions::default());
    assert!(everywhere.iter().any(|[token, _, position]| *token == BOS && *position > 0));
    type SkipRule = fn(&[u32; 3]) -> bool;
    let keep = |keep: Skipped| HarvestOptions { skip: keep, ..HarvestOptions::default() };
    let rules: [(Skipped, SkipRule); 4] = [
        (Skipped { without_bos: true, ..Skipped::default() }, |[token, ..]| *token != BOS),
        (Skipped { without_first: 3, ..Skipped::default() }, |[.., position]| *position >= 3),
        (Skipped { without_ids: BTreeSet::from([0, 4]), ..Skipped::default() }, |[token, ..]| ![0, 4].contains(token)),
        (
            Skipped { without_bos: true, without_first: 1, without_ids: BTreeSet::from([1]), ..Skipped::default() },
            |o| o[0] > 1 && o[0] != BOS && o[2] > 0 || o[0] == 0 && o[2] > 0,
        ),
    ];
    for (rule, wanted) in rules {
        let (found, origins) = harvested(&model, &site, &text, &keep(rule.clone()));
        let kept: Vec<usize> = (0..everywhere.len()).filter(|i| wanted(&everywhere[*i])).collect();
        assert_eq!(origins, kept.iter().map(|i| everywhere[*i]).collect::<Vec<_>>(), "{rule:?}");
        assert_eq!(found[0], kept.iter().map(|i| all[0][*i].clone()).collect::<Vec<_>>());
    }
    // Padding is not a position.
    let short = Text::given(vec!["abc".into()], text::TextOptions::default()).unwrap();
    assert_eq!(harvested(&model, &site, &short, &HarvestOptions::default()).1.len(), 3);
}

#[test]
fn tokens_are_left_out_by_their_label() {
    let model = model(fixtures::config());
    let mix = crate::data::grammar::Mix::default();
    let text = Text::grammar(
        &mix,
        text::TextPart::All,
        text::TextOptions { tokens: Some(400), ..text::TextOptions::default() },
    );
    // Every character of the language that is not a letter is one unknown token here.
    let list = (b'a'..=b'z').map(|letter| char::from(letter).to_string()).chain(["?".into()]).collect();
    let tokenizer = Tokenizer::characters(list, None, Some("?")).unwrap();
    let model = Model { tokenizer: Some(tokenizer.clone()), ..model };
    let task = Task::default();
    let marked = |column: &Column| {
        let values = |row: Row| pack::values(&row, column);
        let values = pack::gathered(&text, &tokenizer, CONTEXT, None, &task, values).unwrap();
        values.iter().flatten().filter(|value| **value != 0).count()
    };
    let columns = pack::columns(&text, &task).unwrap();
    let column = columns.iter().find(|column| (20..300).contains(&marked(column))).unwrap();
    let labels = BTreeMap::from([(column.name.to_string(), BTreeSet::from([0]))]);
    let options =
        HarvestOptions { skip: Skipped { without_labels: labels, ..Skipped::default() }, ..HarvestOptions::default() };
    assert_eq!(harvested(&model, &["resid_post.0"], &text, &options).1.len(), marked(column));
}

#[test]
fn a_harvest_goes_on_where_another_has_left_the_stream() {
    let task = Task::default();
    let options = HarvestOptions::default();
    let sites = ["resid_pre.0", "resid_post.0", "resid_post.1"];
    let mut relayed = 0;
    for (number, config) in fixtures::configs().into_iter().enumerate() {
        let model = model(config);
        // Several batches of the first one.
        let text = letters(if number == 0 { 300 } else { 20 }, text::TextOptions::default());
        let harvest = |sites: &[&str]| TextReading::new(&model, &text, &options).harvest(sites, &task).unwrap();
        let whole = collected(&mut harvest(&sites)).0;
        let mut first = harvest(&sites[..2]).handing_over();
        assert!(collected(&mut first).0 == whole[..2]);
        let relay = first.handed_over();
        assert_eq!(relay.is_some(), goes_on(&model.decoder));
        relayed += usize::from(relay.is_some());
        let last = collected(&mut harvest(&sites[2..]).starting_at(relay)).0;
        assert!(last[0] == whole[2], "{:?}", model.decoder.config());
    }
    assert!(relayed > 10, "{relayed}");
    // A stream behind a site is of no use to it.
    let model = model(fixtures::config());
    let text = letters(20, text::TextOptions::default());
    let harvest = |site: &str| TextReading::new(&model, &text, &options).harvest(&[site], &task).unwrap();
    let mut first = harvest("resid_post.0").handing_over();
    let expected = collected(&mut harvest("z.0")).0;
    collected(&mut first);
    assert_eq!(collected(&mut harvest("z.0").starting_at(first.handed_over())).0, expected);
}

#[test]
fn statistics_are_those_of_the_blocks() {
    let model = model(fixtures::config());
    let text = letters(30, text::TextOptions::default());
    let task = Task::default();
    let mut rows = Vec::new();
    let mut sink = FunctionSink(|block: ActivationBlock| {
        rows.extend(block.activations[0].to_vec2::<f32>()?);
        Ok(ControlFlow::Continue(()))
    });
    let progress = TextReading::new(&model, &text, &HarvestOptions::default())
        .harvest(&["resid_post.1"], &task)
        .unwrap()
        .run(&mut sink, &task)
        .unwrap();
    let found = &progress.statistics[0];
    assert_eq!((found.count, progress.kept), (rows.len() as u64, rows.len() as u64));
    let mean = |column: usize| rows.iter().map(|row| f64::from(row[column])).sum::<f64>() / rows.len() as f64;
    assert!(found.mean.iter().enumerate().all(|(i, x)| (x - mean(i)).abs() < 1e-9));
    let norms: f64 = rows.iter().flatten().map(|x| f64::from(*x).powi(2)).sum();
    assert!((found.mean_square_norm - norms / rows.len() as f64).abs() < 1e-6);
    assert_eq!(found.max, f64::from(rows.iter().flatten().fold(0.0, |max: f32, x| max.max(x.abs()))));
}

#[test]
fn a_sink_that_has_enough_ends_the_harvest() {
    let model = model(fixtures::config());
    let text = letters(900, text::TextOptions::default());
    let mut blocks = 0;
    let mut sink = FunctionSink(|_| {
        blocks += 1;
        Ok(if blocks == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    });
    let progress = TextReading::new(&model, &text, &HarvestOptions::default())
        .harvest(&["embed"], &Task::default())
        .unwrap()
        .run(&mut sink, &Task::default())
        .unwrap();
    assert_eq!(progress.read, 2 * (TOKENS / CONTEXT) as u64);
}

#[test]
fn wrong_questions_are_answered() {
    let plain = model(fixtures::config());
    let text = letters(5, text::TextOptions::default());
    let refused = |model: &Model, sites: &[&str], text: &Text, options: &HarvestOptions| match TextReading::new(
        model, text, options,
    )
    .harvest(sites, &Task::default())
    {
        Ok(_) => panic!("{sites:?} should be refused"),
        Err(error) => error.message,
    };
    let of = |sites: &[&str]| refused(&plain, sites, &text, &HarvestOptions::default());
    assert_eq!(of(&["resid_pots.1"]), "unknown site `resid_pots`");
    assert_eq!(of(&[]), "expected at least one site to harvest, found none");
    assert!(of(&["pattern.0"]).contains("`pattern.0` has no activation per position"));
    let keep =
        |keep: Skipped| refused(&plain, &["embed"], &text, &HarvestOptions { skip: keep, ..HarvestOptions::default() });
    assert!(keep(Skipped { without_first: CONTEXT, ..Skipped::default() }).contains("fewer positions"));
    assert!(keep(Skipped { without_ids: BTreeSet::from([27]), ..Skipped::default() }).contains("below 27"));
    let labels = BTreeMap::from([("depth".to_string(), BTreeSet::from([0]))]);
    assert!(keep(Skipped { without_labels: labels, ..Skipped::default() }).contains("expected a text with labels"));
    let long = HarvestOptions { context: Some(CONTEXT + 1), ..HarvestOptions::default() };
    assert!(refused(&plain, &["embed"], &text, &long).contains("from 1 to 8"));
    let mute = Model { tokenizer: None, ..plain.clone() };
    assert!(refused(&mute, &["embed"], &text, &HarvestOptions::default()).contains("with a tokenizer"));
    let endless =
        Text::grammar(&crate::data::grammar::Mix::default(), text::TextPart::All, text::TextOptions::default());
    assert!(refused(&plain, &["embed"], &endless, &HarvestOptions::default()).contains("a text with an end"));
    let nothing = Skipped { without_ids: (0..27).collect(), ..Skipped::default() };
    let options = HarvestOptions { skip: nothing, ..HarvestOptions::default() };
    let mut sink = FunctionSink(|_| Ok(ControlFlow::Continue(())));
    let error = TextReading::new(&plain, &text, &options)
        .harvest(&["embed"], &Task::default())
        .unwrap()
        .run(&mut sink, &Task::default())
        .unwrap_err();
    assert!(error.message.contains("expected activations to keep"), "{}", error.message);
}

#[test]
fn numbers_that_overflow_are_told_with_their_place() {
    let mut model = model(fixtures::config());
    let mut weights = model.decoder.weights().clone();
    let spoilt = weights.embed.tensor().unwrap().to_vec2::<f32>().unwrap();
    let spoilt: Vec<f32> = spoilt
        .iter()
        .enumerate()
        .flat_map(|(id, row)| {
            row.iter().enumerate().map(move |(i, x)| if (id, i) == (2, 5) { f32::INFINITY } else { *x })
        })
        .collect();
    weights.embed = Tensor::from_vec(spoilt, weights.embed.dims(), &Device::Cpu).unwrap().into();
    model.decoder = Arc::new(Decoder::new(model.decoder.config().as_ref().clone(), weights));
    let text = Text::given(vec!["aaaaaaaaabca".into()], text::TextOptions::default()).unwrap();
    let options = HarvestOptions { context: Some(6), ..HarvestOptions::default() };
    let mut harvest = TextReading::new(&model, &text, &options).harvest(&["embed"], &Task::default()).unwrap();
    let error = harvest.next(&Task::default()).unwrap_err();
    assert_eq!(
        error.message,
        "expected finite activations at `embed`, found inf in column 5 at position 4 of row 1 (token 2)"
    );
}
