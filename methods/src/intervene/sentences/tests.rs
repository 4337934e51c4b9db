//! Sentences of models whose attention is known, of every kind of attention, and what is refused.

use super::*;
use crate::circuit::compiled;
use crate::fixtures::{config, configs, decoder};
use crate::model::config::Predicts;
use crate::model::hooks::{Action, At, BoundHook, Edit, KeptHook};
use crate::tensor::normalise::{divergences, log_probabilities};

fn ranges(ends: &[usize]) -> Vec<Sentence> {
    let starts = std::iter::once(&1).chain(ends);
    starts.zip(ends).map(|(start, end)| Sentence { text: format!("{start}"), tokens: *start..*end }).collect()
}

fn of(model: &Model, ids: &[u32], ends: &[usize], options: &SentenceOptions) -> Sentences {
    of_sentences(model, ids, ranges(ends), options, &Task::default()).unwrap()
}

fn texts(text: &str) -> Vec<&str> {
    cut(text).into_iter().map(|range| text[range].trim()).collect()
}

#[test]
fn a_text_is_cut_where_sentences_end() {
    assert_eq!(
        texts("It is 3.14 wide. Is it so? Yes, it is!\nGood."),
        ["It is 3.14 wide.", "Is it so?\u{20}Yes, it is!\nGood."]
    );
    assert_eq!(texts("A heading here\n\nWhat follows it"), ["A heading here", "What follows it"]);
    assert_eq!(texts("A heading here\r\n\r\nWhat follows it"), ["A heading here", "What follows it"]);
    assert_eq!(texts("First. Oh. Then it rained a lot."), ["First. Oh.", "Then it rained a lot."]);
    assert_eq!(texts("Short."), ["Short."]);
    assert_eq!(texts(" \n "), Vec::<&str>::new());
    // What is cut is all of the text.
    let text = "  Es wär' schön. \n\n Ja, très bien!  Ça va bien, ou non?  ";
    let found = cut(text);
    assert_eq!(found.iter().map(|range| &text[range.clone()]).collect::<String>(), text);
}

#[test]
fn a_token_is_in_the_sentence_of_its_last_byte() {
    let names = ["<s>", "it", "is", "late", ".", "we", "sleep", "soundly"].map(String::from);
    let tokenizer = Tokenizer::words(names.to_vec(), Some("<s>"), None).unwrap();
    let tokens = tokenizer.encode("it is late . we sleep soundly .", Some(true), &Task::default()).unwrap();
    let found = sentences_of(&tokens).unwrap();
    assert_eq!(found.iter().map(|sentence| sentence.tokens.clone()).collect::<Vec<_>>(), [1..5, 5..9]);
    let one = tokenizer.encode("it is late .", None, &Task::default()).unwrap();
    let error = sentences_of(&one).unwrap_err();
    assert_eq!(error.message, "expected a text of at least two sentences, found 1");
}

/// An edit of patterns that hides keys: the attention to them goes to the others in proportion.
struct Hidden(Range<usize>);

impl Edit for Hidden {
    fn edit(&mut self, _: &At, _: Place, _: Option<&[i64]>, x: &Tensor) -> Result<Option<Tensor>> {
        let keys = x.dim(3)?;
        let kept: Vec<f64> = (0..keys).map(|key| if self.0.contains(&key) { 0.0 } else { 1.0 }).collect();
        let kept = Tensor::new(kept, x.device())?.to_dtype(x.dtype())?;
        let hidden = x.broadcast_mul(&(1.0 - &kept)?)?.sum_keepdim(3)?;
        // Queries of which nothing is left are those of the hidden sentence.
        let left = (1.0 - hidden)?.maximum(1e-13)?;
        Ok(Some(x.broadcast_mul(&kept)?.broadcast_div(&left)?))
    }
}

#[test]
fn suppressed_attention_goes_to_other_keys_in_proportion_in_every_kind_of_attention() {
    let ids = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3];
    let ends = [3, 5, 8, 10];
    for config in configs() {
        let model = Model::new(decoder(config.clone(), DType::F64), None, "made");
        if check(&model).is_err() {
            continue;
        }
        let found = of(&model, &ids, &ends, &SentenceOptions { temperature: 0.9, ..SentenceOptions::default() });
        let batch = Batch::new(vec![ids.to_vec()]).unwrap();
        let logs = |hooks| {
            let logits = model.decoder.logits(&batch, hooks, &Task::default()).unwrap().get(0).unwrap();
            log_probabilities(&(logits / 0.9).unwrap()).unwrap()
        };
        let clean = logs(Vec::new());
        for column in 0..3 {
            let edit = Box::new(Hidden(found.sentences[column].tokens.clone()));
            let hook = BoundHook::new(&config, "pattern.*", None, None, edit).unwrap();
            let each = floats(&divergences(&clean, &logs(vec![hook])).unwrap()).unwrap();
            for row in column + 1..4 {
                let tokens = found.sentences[row].tokens.clone();
                let expected: f64 = each[tokens.clone()].iter().map(|kl| (kl.max(0.0) + 1e-9).ln()).sum();
                let expected = expected / tokens.len() as f64;
                let value = found.log_kl[4 * row + column];
                assert!((value - expected).abs() < 1e-5, "{}: {row} {column}: {value} {expected}", config.family);
            }
        }
        assert!(is_missing(found.log_kl[1]) && is_missing(found.log_kl[15]));
        let centred = found.suppression().values;
        assert!((centred[12] + centred[13] + centred[14]).abs() < 1e-12 && centred[4].abs() < 1e-12);
    }
}

#[test]
fn the_induction_head_of_a_compiled_model_attends_to_the_sentence_that_it_needs() {
    let made = compiled::compiled("induction").unwrap();
    let tokenizer = made.model.tokenizer().unwrap();
    let ids = tokenizer.encode("^ a b c d a", None, &Task::default()).unwrap().ids;
    // "a b", "c d", and the "a" whose answer is "b".
    let options = SentenceOptions { found: ReceiverOptions { heads: 1, apart: 2 }, ..SentenceOptions::default() };
    let found = of(&made.model, &ids, &[3, 5, 6], &options);
    assert!(found.log_kl[6] > 0.0, "{:?}", found.log_kl);
    // The induction head attends to the second of two tokens.
    let head = found.heads.iter().find(|head| head.name() == "1.0").unwrap();
    assert!((head.vertical[0] - 0.5).abs() < 1e-3 && is_missing(head.vertical[1]), "{head:?}");
}

#[test]
fn vertical_scores_are_means_of_attention_between_tokens() {
    let model = Model::new(decoder(config(), DType::F64), None, "made");
    let ids = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3];
    let ends = [3, 5, 8, 10];
    let options = SentenceOptions { found: ReceiverOptions { heads: 3, apart: 1 }, ..SentenceOptions::default() };
    let found = of(&model, &ids, &ends, &options);
    let batch = Batch::new(vec![ids.to_vec()]).unwrap();
    let places = select(&config(), "pattern.*").unwrap();
    let ask = crate::model::run::Ask { places, ..Default::default() };
    let cache = model.decoder.cache(&batch, ask, &Task::default()).unwrap();
    for head in &found.heads {
        let pattern = cache.get(&format!("pattern.{}", head.name())).unwrap().get(0).unwrap();
        let pattern = floats(&pattern.flatten_all().unwrap()).unwrap();
        let mean = |row: usize, column: usize| {
            let keys = found.sentences[column].tokens.clone();
            let pairs = found.sentences[row].tokens.clone().flat_map(|query| keys.clone().map(move |key| (query, key)));
            let values: Vec<f64> = pairs.map(|(query, key)| pattern[10 * query + key]).collect();
            values.iter().sum::<f64>() / values.len() as f64
        };
        assert!((head.vertical[0] - (mean(1, 0) + mean(2, 0) + mean(3, 0)) / 3.0).abs() < 1e-6);
        assert!((head.vertical[2] - mean(3, 2)).abs() < 1e-6 && is_missing(head.vertical[3]));
    }
    assert_eq!(found.receivers.len(), 3);
    let kurtoses: Vec<f64> = found.receivers.iter().map(|place| found.heads[*place].kurtosis).collect();
    assert!(kurtoses.is_sorted_by(|a, b| a >= b));
    let named = SentenceOptions { receivers: Some(vec!["1.2".into(), "0.*".into()]), ..options };
    assert_eq!(of(&model, &ids, &ends, &named).receivers, [6, 0, 1, 2, 3]);
}

#[test]
fn a_kurtosis_is_that_of_a_population_less_that_of_the_normal_distribution() {
    assert!((receivers::kurtosis(&[0.0, 0.0, 0.0, 1.0, MISSING]) + 2.0 / 3.0).abs() < 1e-12);
    assert!((receivers::kurtosis(&[1.0, 3.0]) + 2.0).abs() < 1e-12);
    assert!(is_missing(receivers::kurtosis(&[0.3, 0.3, 0.3])));
    assert!(is_missing(receivers::kurtosis(&[0.3])));
    assert_eq!(receivers::largest(&[1.0, MISSING, 3.0, 2.0], 2), [2, 3]);
}

#[test]
fn what_the_method_does_not_hold_for_is_refused() {
    let ids = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3];
    let refused = |model: &Model| {
        let sentences = ranges(&[3, 5, 10]);
        of_sentences(model, &ids, sentences, &SentenceOptions::default(), &Task::default()).unwrap_err()
    };
    let masked = Config { causal: false, predicts: Predicts::Masked, ..config() };
    let error = refused(&Model::new(decoder(masked, DType::F32), None, "made"));
    assert!(error.message.starts_with("the attention between sentences needs a model that predicts the next token"));
    let mixing = configs().into_iter().find(|config| config.causal && config.recurrent_layers().is_some()).unwrap();
    let error = refused(&Model::new(decoder(mixing, DType::F32), None, "made"));
    assert!(error.message.starts_with("expected a model whose tokens reach each other by attention alone, found"));
    let kept = |site: &'static str| {
        let make = move || {
            let zero = Box::new(Action::Zero.begin());
            Ok(vec![BoundHook::new(&config(), site, None, None, zero)?])
        };
        let model = Model::new(decoder(config(), DType::F32), None, "made");
        model.keeping(vec![KeptHook::new(format!("zero at {site}"), Vec::new(), make)])
    };
    assert!(refused(&kept("pattern.1.0")).message.contains("keeps a hook of `pattern.1`, found `zero at pattern.1.0`"));
    // Other hooks are a part of the model.
    of_sentences(&kept("mlp_out.1"), &ids, ranges(&[3, 5, 10]), &SentenceOptions::default(), &Task::default()).unwrap();
}

#[test]
fn rollouts_follow_from_the_seed_and_from_nothing_that_is_chosen_beside() {
    let names = ["<s>", "a", "b", "c", "alphabets", ".", "d", "e"].map(String::from);
    let tokenizer = Tokenizer::words(names.to_vec(), Some("<s>"), None).unwrap();
    let small = Config { vocab: 8, context: 64, ..config() };
    let model = Model::new(decoder(small, DType::F32), Some(tokenizer), "made");
    let text = model.tokenizer().unwrap();
    let text = text.encode("alphabets a b . alphabets c d . alphabets e .", Some(true), &Task::default()).unwrap();
    let answers = ["a", "b", "c"].map(String::from);
    let found = |options: AnchorOptions| {
        let functions = AnchorFunctions { answers: Answers::Among(&answers), embedding: None };
        anchors(&model, &text, functions, &options, &Task::default())
    };
    let options =
        AnchorOptions { rollouts: 40, tokens: 12, temperature: 1.0, seed: Seed::of(5), ..AnchorOptions::default() };
    let all = found(options.clone()).unwrap();
    assert_eq!(all.rows.len(), 3);
    let one = found(AnchorOptions { only: Some(vec![1]), ..options.clone() }).unwrap();
    assert_eq!(one.rows[0], all.rows[1]);
    assert_ne!(found(AnchorOptions { seed: Seed::of(6), ..options.clone() }).unwrap(), all);
    let ended = AnchorOptions { ending: Some("a b".into()), answer_tokens: 2, ..options.clone() };
    assert_eq!(found(ended).unwrap().rows.len(), 3);
    let error = found(AnchorOptions { only: Some(vec![3]), ..options }).unwrap_err();
    assert_eq!(error.message, "expected numbers of the 3 sentences, found 3");
}
