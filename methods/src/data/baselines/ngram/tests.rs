//! Tests that probabilities are probabilities, and those of the formula.

use proptest::prelude::*;

use super::*;

fn fitted(texts: &[&[u32]], order: usize, vocab: usize) -> Result<Ngram> {
    let mut texts = texts.iter();
    Ngram::fit(&mut || Ok(texts.next().map(|ids| ids.to_vec())), order, vocab, &Task::default())
}

fn whole(model: &Ngram, context: &[u32]) -> f64 {
    model.logprobs(context).unwrap().into_iter().map(|log| f64::from(log).exp()).sum()
}

#[test]
fn two_tokens_are_worth_what_the_formula_says() {
    // Bigrams: 01 twice, 12 once, 20 once, 02 once. So 2 has been seen after two tokens; 0 after one, and one text
    // begins with it; 1 after one.
    let model = fitted(&[&[0, 1, 2, 0, 1], &[0, 2]], 2, 4).unwrap();
    assert_eq!(model.sizes(), [3, 4]);
    let one = |count: f64, taken: f64| (count - taken) / 5.0;
    // Unigrams count 2, 1 and 2: n1 = 1, n2 = 2, so Y = 1/5, D1 = 1 - 2/5 * 2 = 0.2. No count is 3, so D2 is 1.
    let d1 = 0.2;
    let d2 = 1.0;
    let rest = (2.0 * d2 + d1) / 5.0;
    let unigram = [one(2.0, d2), one(1.0, d1), one(2.0, d2), 0.0].map(|share| share + rest / 4.0);
    let found: Vec<f64> = model.logprobs(&[]).unwrap().into_iter().map(|log| f64::from(log).exp()).collect();
    for (found, expected) in found.iter().zip(unigram) {
        assert!((found - expected).abs() < 1e-6, "{found} {expected}");
    }
    // After 0: 1 twice, 2 once. Bigrams: n1 = 3, n2 = 1, so Y = 3/5, D1 = 1 - 2 * 3/5 / 3 = 0.6, and D2 is 1.
    let after = model.logprobs(&[3, 0]).unwrap();
    let expected = (1.0 - 0.6) / 3.0 + (1.0 + 0.6) / 3.0 * unigram[2];
    assert!((f64::from(after[2]).exp() - expected).abs() < 1e-6);
}

#[test]
fn losses_are_those_of_the_distribution() {
    let ids: Vec<u32> = (0..300_u32).map(|i| (i * i + i / 7) % 11).collect();
    let model = fitted(&[&ids], 5, 12).unwrap();
    let text = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 11];
    let losses = model.losses(&text, &Task::default()).unwrap();
    assert_eq!(losses.len(), text.len() - 1);
    for (at, loss) in losses.iter().enumerate() {
        assert!((loss + model.logprobs(&text[..=at]).unwrap()[text[at + 1] as usize]).abs() < 1e-5);
    }
    // What it has learned from surprises it less.
    let known: f32 = model.losses(&ids, &Task::default()).unwrap().iter().sum::<f32>() / 299.0;
    assert!(known < 0.8 * (12.0_f32).ln());
    assert_eq!(model, fitted(&[&ids], 5, 12).unwrap());
}

#[test]
fn what_is_out_of_range_is_refused() {
    assert!(fitted(&[], 2, 4).unwrap_err().message.contains("found none"));
    assert!(fitted(&[&[4]], 2, 4).unwrap_err().message.contains("below 4, found 4"));
    assert!(fitted(&[&[1]], 6, 4).unwrap_err().message.contains("from 1 to 5, found 6"));
    let model = fitted(&[&[1]], 3, 4).unwrap();
    assert!(model.logprobs(&[9]).is_err());
    assert!(model.losses(&[], &Task::default()).unwrap().is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn probabilities_sum_to_one(
        texts in prop::collection::vec(prop::collection::vec(0_u32..6, 0..40), 1..4),
        order in 1_usize..=5,
        context in prop::collection::vec(0_u32..7, 0..6),
    ) {
        let parts: Vec<&[u32]> = texts.iter().map(Vec::as_slice).collect();
        if let Ok(model) = fitted(&parts, order, 7) {
            prop_assert!((whole(&model, &context) - 1.0).abs() < 1e-5);
        }
    }
}

#[test]
fn a_text_is_read_document_by_document() {
    use crate::data::Text;
    use crate::data::text::TextOptions;
    use crate::tokenizer::Tokenizer;

    let names: Vec<String> = ["<end>", "a", "b", "é"].map(String::from).into();
    let tokenizer = Tokenizer::characters(names, Some("<end>"), None).unwrap().or_marks(None, Some(0));
    let text = |options| Text::given(vec!["abab".into(), "aéb".into()], options).unwrap();
    let task = Task::default();
    let model = Ngram::of_text(&text(TextOptions::default()), &tokenizer, 3, 4, &task).unwrap();
    assert_eq!(model, fitted(&[&[0, 1, 2, 1, 2, 0], &[0, 1, 3, 2, 0]], 3, 4).unwrap());
    let sum = |ids: &[u32]| model.losses(ids, &task).unwrap().into_iter().map(f64::from).sum::<f64>();
    let all = model.bits(&text(TextOptions::default()), &tokenizer, &task).unwrap();
    assert_eq!((all.tokens, all.bytes), (7, 8));
    assert!((all.nats - sum(&[0, 1, 2, 1, 2]) - sum(&[0, 1, 3, 2])).abs() < 1e-6);
    let some = model.bits(&text(TextOptions { tokens: Some(6), ..TextOptions::default() }), &tokenizer, &task).unwrap();
    assert_eq!((some.tokens, some.bytes), (6, 7));
}
