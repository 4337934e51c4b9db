//! The endpoints as functions: their numbers beside those of the parts that they are made of, and their refusals.

use std::sync::Arc;

use axum::body::to_bytes;
use serde_json::{Map, Value, json};

use super::prompt::Prompt;
use super::refusal::{Answered, Refusal};
use super::reply::{self, Frames};
use super::requests::{KeyCase, object};
use super::state::{ServeInputs, Served};
use super::steering::{SteerDirection, SteerMethod};
use super::{activations, chat, directions, steer, strongest};
use crate::base::files::Files;
use crate::base::{Kind, Task};
use crate::features::contexts;
use crate::model::Model;
use crate::model::batch::Batch;
use crate::model::generate::{Drawn, GenerateOptions};
use crate::model::run::Ask;
use crate::model::site::select;
use crate::sae::{Activation, Parts, Sae};
use crate::samples::{dictionary, dictionary_of, model};
use crate::tensor::{Device, Tensor};
use crate::tokenizer::Tokenizer;

/// Serves a small model with two dictionaries of one set and another one, none of which has directions of norm 1.
fn served() -> Served {
    let relu = |sae: Sae| Sae::new(Parts { activation: Activation::Relu, ..sae.parts().clone() }).unwrap();
    let sources = vec![
        ("0-set".into(), relu(dictionary("resid_post.0", 1))),
        ("1-set".into(), dictionary("resid_post.1", 2)),
        ("1-other__x".into(), dictionary("resid_post.1", 3)),
    ];
    Served::of(model(), vec!["sample".into()], sources, Some(8)).unwrap()
}

type Endpoint = fn(&Served, Map<String, Value>, &Frames, &Task) -> Answered;

/// Asks an endpoint as its route does.
fn ask(served: &Served, endpoint: Endpoint, mut request: Value) -> Answered {
    if request.get("model").is_none() {
        request["model"] = "sample".into();
    }
    let (frames, _reply) = reply::channel(&Arc::default(), KeyCase::Camel);
    endpoint(served, object(request.to_string().as_bytes()).unwrap(), &frames, &Task::default())
}

fn answer(served: &Served, endpoint: Endpoint, request: Value) -> Value {
    ask(served, endpoint, request).unwrap().unwrap()
}

fn refused(served: &Served, endpoint: Endpoint, request: Value) -> String {
    match ask(served, endpoint, request).unwrap_err() {
        Refusal::Request(error) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

/// Returns the codes of a source for a text, token by token, as the dictionary alone gives them.
fn codes(served: &Served, id: &str, text: &str) -> Vec<Vec<f32>> {
    let source = served.source(id).unwrap();
    let prompt = Prompt::behind_bos(served, text, &Task::default()).unwrap();
    let codes = contexts::codes(&served.model, &source.sae, source.place, &[prompt.ids], &Task::default()).unwrap();
    codes.dense().unwrap().to_vec2().unwrap()
}

fn close(found: &Value, expected: f32) -> bool {
    (found.as_f64().unwrap() - f64::from(expected)).abs() < 1e-5
}

#[test]
fn codes_are_in_units_of_what_is_written_where_no_choice_depends_on_it() {
    let served = served();
    let own = dictionary("resid_post.0", 1);
    let length = |index: usize| {
        let direction = own.directions().get(index).unwrap();
        direction.sqr().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap().sqrt()
    };
    let prompt = Prompt::behind_bos(&served, "ab(c)", &Task::default()).unwrap();
    let batch = Batch::new(vec![prompt.ids]).unwrap();
    let places = select(served.model.decoder.config(), "resid_post.0").unwrap();
    let cache = served.model.decoder.cache(&batch, Ask { places, ..Ask::default() }, &Task::default()).unwrap();
    let relu = Sae::new(Parts { activation: Activation::Relu, ..own.parts().clone() }).unwrap();
    let stream = cache.get("resid_post.0").unwrap().get(0).unwrap();
    let plain: Vec<Vec<f32>> = relu.encode(&stream).unwrap().to_vec2().unwrap();
    for (feature, at) in [(3, 0), (7, 2), (11, 4)] {
        let request = json!({ "prompt": "ab(c)", "source": "0-set", "index": feature.to_string() });
        let found = answer(&served, activations::single, request);
        assert!(close(&found["activation"]["values"][at], plain[at][feature] * length(feature)), "{found}");
    }
    // The other dictionary keeps the largest codes, so it is left as it is.
    let kept = served.source("1-set").unwrap().sae.directions().to_vec2::<f32>().unwrap();
    assert_eq!(kept, dictionary("resid_post.1", 2).directions().to_vec2::<f32>().unwrap());
}

#[test]
fn one_feature_and_all_of_them_agree() {
    let served = served();
    let text = "ab(cd)";
    let by_source = ["0-set", "1-set"].map(|id| codes(&served, id, text));
    let request = json!({ "prompt": text, "sourceSet": "set", "selectedSources": [], "sortByTokenIndexes": [],
                          "ignoreBos": true, "numResults": 30 });
    let found = answer(&served, strongest::all, request);
    assert_eq!(found["tokens"], json!(["a", "b", "(", "c", "d", ")"]));
    let rows = found["activations"].as_array().unwrap();
    assert_eq!(rows.len(), 30);
    let mut last = f64::INFINITY;
    for row in rows {
        let number = usize::from(row["source"] == "1-set");
        let feature = row["index"].as_u64().unwrap() as usize;
        let expected: Vec<f32> = by_source[number].iter().map(|codes| codes[feature]).collect();
        assert!(row["values"].as_array().unwrap().iter().zip(&expected).all(|(found, code)| close(found, *code)));
        let at = row["maxValueIndex"].as_u64().unwrap() as usize;
        assert!(close(&row["maxValue"], expected[at]) && expected.iter().all(|code| *code <= expected[at]));
        let largest = row["maxValue"].as_f64().unwrap();
        assert!(largest <= last && row["sumValues"] == 0.0);
        last = largest;
        let single = json!({ "prompt": text, "source": row["source"], "index": feature.to_string() });
        let single = answer(&served, activations::single, single);
        assert_eq!((&single["activation"]["values"], &single["tokens"]), (&row["values"], &found["tokens"]));
        assert_eq!(single["tokensIsSpecial"], json!(vec![false; 6]));
    }
    // Sums over tokens decide where tokens are named.
    let request = json!({ "prompt": text, "source_set": "set", "selected_sources": ["1-set"], "num_results": 2,
                          "sort_by_token_indexes": [1, 4], "ignore_bos": false });
    let found = answer(&served, strongest::all, request);
    let sums: Vec<f32> = (0..24).map(|feature| by_source[1][1][feature] + by_source[1][4][feature]).collect();
    let largest = sums.iter().copied().fold(f32::MIN, f32::max);
    let rows = found["activations"].as_array().unwrap();
    assert!(close(&rows[0]["sumValues"], largest) && rows.len() == 2);
}

#[test]
fn the_strongest_at_each_token_are_padded_with_silent_ones() {
    let served = served();
    let request = json!({ "prompt": "ab(", "source": "1-set", "topK": 5, "ignoreBos": true });
    let found = answer(&served, strongest::by_token, request);
    let codes = codes(&served, "1-set", "ab(");
    for (at, result) in found["results"].as_array().unwrap().iter().enumerate() {
        assert_eq!((&result["tokenPosition"], &result["isSpecial"]), (&json!(at), &json!(false)));
        let features = result["topFeatures"].as_array().unwrap();
        let values: Vec<f64> = features.iter().map(|one| one["activationValue"].as_f64().unwrap()).collect();
        assert!(values.len() == 5 && values.is_sorted_by(|a, b| a >= b));
        for one in features {
            let index = one["featureIndex"].as_u64().unwrap() as usize;
            assert!(close(&one["activationValue"], codes[at][index]));
        }
        let active = codes[at].iter().filter(|code| **code > 0.0).count();
        assert_eq!(values.iter().filter(|value| **value > 0.0).count(), active);
    }
    let request = json!({ "prompts": ["ab(", "c"], "source": "1-set" });
    let sparse = answer(&served, activations::source, request);
    let active = sparse["results"][0]["activeFeatures"].as_object().unwrap();
    for (feature, entries) in active {
        for entry in entries.as_array().unwrap() {
            let at = entry[0].as_u64().unwrap() as usize;
            let code = f64::from(codes[at][feature.parse::<usize>().unwrap()]);
            assert!(at > 0 && (entry[1].as_f64().unwrap() - code).abs() < 1e-3);
        }
    }
    assert_eq!(sparse["results"][1], json!({ "tokens": ["c"], "activeFeatures": {} }));
    // What is active is counted before it is told.
    let prompt = Prompt::behind_bos(&served, "ab(", &Task::default()).unwrap();
    let codes = activations::codes(&served, served.source("1-set").unwrap(), &prompt, &Task::default()).unwrap();
    assert_eq!(activations::active(&codes, u64::MAX).unwrap(), *active);
    assert_eq!(activations::active(&codes, 1000).unwrap_err().kind, Kind::Memory);
}

#[test]
fn no_token_is_told_with_more_features_than_a_prompt() {
    let sources = vec![("1-wide".into(), dictionary_of(1200, "resid_post.1", 2))];
    let served = Served::of(model(), vec!["sample".into()], sources, None).unwrap();
    let request = json!({ "prompt": "ab", "source": "1-wide", "topK": 25_000_000, "ignoreBos": true });
    let found = answer(&served, strongest::by_token, request);
    let counts = found["results"].as_array().unwrap().iter().map(|one| one["topFeatures"].as_array().unwrap().len());
    assert_eq!(counts.collect::<Vec<_>>(), [strongest::MOST as usize; 2]);
}

#[test]
fn a_vector_is_multiplied_with_what_is_at_its_hook() {
    let served = served();
    let mut vector = vec![0.0; 16];
    vector[5] = 2.0;
    let of =
        |hook: &str| answer(&served, activations::single, json!({ "prompt": "abc", "vector": vector, "hook": hook }));
    let batch = Batch::new(vec![vec![0, 1, 2]]).unwrap();
    let places = select(served.model.decoder.config(), "resid_post.1").unwrap();
    let cache = served.model.decoder.cache(&batch, Ask { places, ..Ask::default() }, &Task::default()).unwrap();
    let stream: Vec<Vec<f32>> = cache.get("resid_post.1").unwrap().get(0).unwrap().to_vec2().unwrap();
    let found = of("blocks.1.hook_resid_post");
    assert_eq!(found, of("resid_post.1"));
    for (at, value) in found["activation"]["values"].as_array().unwrap().iter().enumerate() {
        assert!(close(value, 2.0 * stream[at][5]));
    }
}

#[test]
fn directions_are_told_and_compared() {
    let served = served();
    let found = answer(&served, directions::vector, json!({ "source": "1-set", "index": 4 }));
    let own = dictionary("resid_post.1", 2).parts().encoder.get(4).unwrap().to_vec1::<f32>().unwrap();
    assert_eq!((&found["vector"], &found["hookName"]), (&json!(own), &json!("blocks.1.hook_resid_post")));
    let feature = json!({ "model": "sample", "source": "1-set", "index": 4 });
    let request = json!({ "feature": feature, "source": "1-set", "numResults": 3 });
    let near = answer(&served, directions::nearest, request);
    let list = near["topkDecoderCossimFeatures"].as_array().unwrap();
    assert_eq!((&near["feature"], list.len(), &list[0]["feature"]), (&feature, 3, &feature));
    assert!(close(&list[0]["cosineSimilarity"], 1.0) && list[1]["cosineSimilarity"].as_f64() < Some(1.0));
    let vector: Vec<f32> = served.source("1-set").unwrap().direction(4).unwrap().to_vec1().unwrap();
    let request = json!({ "vector": vector, "source": "1-set", "numResults": 1 });
    assert_eq!(answer(&served, directions::nearest, request)["topkDecoderCossimFeatures"][0]["feature"], feature);
    // A norm that is folded into weights may make them too large.
    let own = dictionary("resid_post.0", 1);
    let encoder = (&own.parts().encoder * 3e38).unwrap();
    let huge = Sae::new(Parts { encoder, activation: Activation::Relu, ..own.parts().clone() }).unwrap();
    let served = Served::of(model(), vec!["sample".into()], vec![("0-set".into(), huge)], None).unwrap();
    let found = refused(&served, directions::vector, json!({ "source": "0-set", "index": 4 }));
    assert!(found.starts_with("expected numbers that are finite, found "), "{found}");
}

#[test]
fn tokens_are_told_one_by_one() {
    let served = served();
    let found = answer(&served, activations::tokenize, json!({ "text": "ab(" }));
    assert_eq!(found, json!({ "tokens": [0, 1, 26], "tokenStrings": ["a", "b", "("], "prependBos": false }));
    let found = answer(&served, activations::tokenize, json!({ "text": "", "prependBos": true }));
    assert_eq!(found, json!({ "tokens": [], "tokenStrings": [], "prependBos": false }));
}

/// Returns the stream of the second layer with one direction steered along, column by column.
fn steered(served: &Served, method: SteerMethod, factor: f64, is_unit: bool, spared: &[usize]) -> Vec<Vec<f32>> {
    let mut vector = vec![0.0_f32; 16];
    (vector[0], vector[1]) = (3.0, 4.0);
    let config = served.model.decoder.config();
    let place = select(config, "resid_post.0").unwrap()[0];
    let direction = SteerDirection { place, vector: Tensor::new(vector, &Device::Cpu).unwrap(), factor };
    let hook = direction.hook(served, method, is_unit, spared).unwrap();
    let ask = Ask { hooks: vec![hook], places: select(config, "resid_post.0").unwrap(), positions: None };
    let batch = Batch::new(vec![vec![0, 1, 2]]).unwrap();
    let cache = served.model.decoder.cache(&batch, ask, &Task::default()).unwrap();
    cache.get("resid_post.0").unwrap().get(0).unwrap().to_vec2().unwrap()
}

#[test]
fn each_method_moves_the_stream_as_it_says() {
    let served = served();
    let plain = steered(&served, SteerMethod::SimpleAdditive, 0.0, false, &[]);
    let along = |row: &[f32]| 0.6 * row[0] + 0.8 * row[1];
    let unit = |at: usize| [0.6, 0.8].get(at).copied().unwrap_or_default();
    let cap = along(&plain[1]) - 0.25;
    type Moved<'a> = Box<dyn Fn(&[f32]) -> f32 + 'a>;
    let cases: [(SteerMethod, f64, bool, Moved); 4] = [
        (SteerMethod::SimpleAdditive, 2.0, false, Box::new(|_| 10.0)),
        (SteerMethod::SimpleAdditive, 2.0, true, Box::new(|_| 2.0)),
        (SteerMethod::OrthogonalDecomp, -1.5, false, Box::new(|row| -2.5 * along(row))),
        (SteerMethod::ProjectionCap, f64::from(cap), true, Box::new(|row| along(row).min(cap) - along(row))),
    ];
    for (method, factor, is_unit, moved) in cases {
        let found = steered(&served, method, factor, is_unit, &[2]);
        assert_eq!(found[2], plain[2], "{method:?}");
        for column in 0..2 {
            for at in 0..16 {
                let expected = plain[column][at] + moved(&plain[column]) * unit(at);
                assert!((found[column][at] - expected).abs() < 1e-4, "{method:?} {column} {at}");
            }
        }
    }
}

/// Returns a request to continue a text.
fn continued(types: Value, more: Value) -> Value {
    let mut request = json!({
        "prompt": "ab(c", "types": types, "steerMethod": "SIMPLE_ADDITIVE", "normalizeSteering": false,
        "nCompletionTokens": 4, "temperature": 0, "strengthMultiplier": 2, "freqPenalty": 1, "seed": 16,
        "features": [{ "model": "sample", "source": "1-set", "index": 3, "strength": 40 }],
    });
    request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    request
}

#[test]
fn continuations_are_told_by_type_and_streamed_frame_by_frame() {
    let served = served();
    let found = answer(&served, steer::completion, continued(json!(["DEFAULT", "STEERED"]), json!({})));
    let outputs = found["outputs"].as_array().unwrap();
    assert_eq!(outputs.iter().map(|output| &output["type"]).collect::<Vec<_>>(), ["DEFAULT", "STEERED"]);
    let texts: Vec<&str> = outputs.iter().map(|output| output["output"].as_str().unwrap()).collect();
    assert!(texts.iter().all(|text| (1..=4).contains(&text.chars().count())), "{texts:?}");
    assert_ne!(texts[0], texts[1]);
    // Without a strength nothing is steered, and the features may be vectors.
    let vector: Vec<f32> = served.source("1-set").unwrap().direction(3).unwrap().to_vec1().unwrap();
    for (strength, expected) in [(0.0, texts[0]), (40.0, texts[1])] {
        let vectors = json!([{ "steeringVector": vector, "strength": strength, "hook": "blocks.1.hook_resid_post" }]);
        let more = json!({ "vectors": vectors, "features": null });
        let found = answer(&served, steer::completion, continued(json!(["STEERED"]), more));
        assert_eq!(found["outputs"][0]["output"], expected);
    }
    let (frames, _reply) = reply::channel(&Arc::default(), KeyCase::Camel);
    let streamed = continued(json!(["STEERED"]), json!({ "stream": true, "model": "sample" }));
    let streamed = object(streamed.to_string().as_bytes()).unwrap();
    assert_eq!(steer::completion(&served, streamed, &frames, &Task::default()), Ok(None));
}

/// Special tokens of chats, behind 24 letters.
const SPECIAL: [&str; 4] = ["<s>", "<|im_end|>", "<think>", "</think>"];

/// Serves the small model with a chat template that writes messages as turns, and begins an answer in this way.
fn chatting(begin: &str) -> Served {
    let folder = tempfile::tempdir().unwrap();
    let letters: Map<String, Value> = ('a'..='x').zip(0..24).map(|(c, id)| (c.to_string(), id.into())).collect();
    let special = |(id, name): (i32, &str)| {
        json!({ "id": id, "content": name, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
                "special": true })
    };
    let special: Vec<Value> = (24..).zip(SPECIAL).map(special).collect();
    let file = json!({
        "version": "1.0", "added_tokens": special, "decoder": { "type": "Fuse" },
        "model": { "type": "BPE", "unk_token": "x", "vocab": letters, "merges": [] },
    });
    let turns = "{% for m in messages %}<s>{{ m.content }}<|im_end|>{% endfor %}";
    let template = format!("{turns}{{% if add_generation_prompt %}}{begin}{{% endif %}}");
    std::fs::write(folder.path().join("tokenizer.json"), file.to_string()).unwrap();
    let config = json!({ "chat_template": template }).to_string();
    std::fs::write(folder.path().join("tokenizer_config.json"), config).unwrap();
    let files = Files::unrecorded(folder.path()).unwrap();
    let tokenizer = Tokenizer::from_folder(&files, folder.path()).unwrap();
    let model = Model::new(model().decoder.clone(), tokenizer, "sample");
    let sources = vec![("1-set".into(), dictionary("resid_post.1", 2))];
    Served::of(model, vec!["sample".into()], sources, None).unwrap()
}

/// Returns the text that follows some tokens along a feature, which reaches all of them but some.
fn along(served: &Served, ids: &[u32], index: usize, spared: &[usize]) -> String {
    let source = served.source("1-set").unwrap();
    let direction = SteerDirection { place: source.place, vector: source.direction(index).unwrap(), factor: 80.0 };
    let hook = direction.hook(served, SteerMethod::SimpleAdditive, false, spared).unwrap();
    let options = GenerateOptions { tokens: 4, temperature: Some(0.0), ..GenerateOptions::default() };
    let drawn = Drawn { seed: 16, in_words: true };
    let batch = Batch::new(vec![ids.to_vec()]).unwrap();
    let made = served.model.generate(&batch, &options, drawn, vec![hook], &mut |_| {}, &Task::default()).unwrap();
    made.texts[0].clone()
}

#[test]
fn a_chat_goes_on_and_its_special_tokens_are_steered_only_where_that_is_asked_for() {
    let served = chatting("<s>");
    let raw = "<s>ab<|im_end|><s>";
    let ids = served.model.text_tokenizer().unwrap().encode_chat(raw, &Task::default()).unwrap().ids;
    assert_eq!(ids, [24, 0, 1, 25, 24]);
    let messages = json!([{ "role": "user", "content": "ab" }]);
    let mut unlike = 0;
    for index in 0..6 {
        let texts = [&[0, 3, 4][..], &[][..]].map(|spared| along(&served, &ids, index, spared));
        unlike += usize::from(texts[0] != texts[1]);
        for (text, is_steered) in texts.iter().zip([false, true]) {
            let feature = json!({ "model": "sample", "source": "1-set", "index": index, "strength": 40 });
            let more = json!({ "prompt": messages, "steerSpecialTokens": is_steered, "features": [feature] });
            let found = answer(&served, chat::completion_chat, continued(json!(["DEFAULT", "STEERED"]), more));
            assert_eq!(found["input"], json!({ "chatTemplate": messages, "raw": raw }));
            let output = &found["outputs"][1];
            assert_eq!((&output["type"], &output["raw"]), (&json!("STEERED"), &json!(format!("{raw}{text}"))));
            let said = output["chatTemplate"].as_array().unwrap();
            assert_eq!(said[0], messages[0]);
            // Without an answer where its turn ends at once.
            assert!(said.len() == 2 || text.starts_with("<|im_end|>"), "{output}");
            for answer in &said[1..] {
                assert_eq!(answer["role"], "assistant");
                assert!(text.starts_with(answer["content"].as_str().unwrap()), "{output}");
            }
        }
    }
    assert!(unlike > 0, "no text depends on whether special tokens are steered");
}

#[test]
fn a_chat_is_streamed_up_to_its_whole_answer() {
    let served = chatting("<s>");
    let request = |is_streamed: bool| {
        let messages = json!([{ "role": "user", "content": "ab" }]);
        let more = json!({ "model": "sample", "prompt": messages, "steerSpecialTokens": false, "stream": is_streamed });
        continued(json!(["STEERED", "DEFAULT"]), more)
    };
    let (frames, reply) = reply::channel(&Arc::default(), KeyCase::Camel);
    let streamed = object(request(true).to_string().as_bytes()).unwrap();
    let answered = chat::completion_chat(&served, streamed, &frames, &Task::default());
    assert_eq!(answered, Ok(None));
    frames.end(answered);
    drop(frames);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let body = runtime.block_on(async { to_bytes(reply.response().await.into_body(), usize::MAX).await.unwrap() });
    let text = String::from_utf8(body.to_vec()).unwrap();
    let frames = text.lines().filter_map(|line| line.strip_prefix("data: "));
    let frames: Vec<Value> = frames.map(|frame| serde_json::from_str(frame).unwrap()).collect();
    let written = |frame: &Value| [0, 1].map(|at| frame["outputs"][at]["raw"].as_str().unwrap().len());
    let is_longer = |a: &Value, b: &Value| written(a).into_iter().zip(written(b)).all(|(a, b)| a <= b);
    assert!(frames.len() > 2 && frames.is_sorted_by(is_longer), "{frames:?}");
    assert_eq!(*frames.last().unwrap(), answer(&served, chat::completion_chat, request(false)));
}

#[test]
fn an_answer_that_begins_within_reasoning_is_told_with_the_mark_of_it() {
    let served = chatting("<s><think>");
    let messages = json!([
        { "role": "user", "content": "a" },
        { "role": "assistant", "content": "<think>c</think>d" },
        { "role": "user", "content": "b" },
    ]);
    let more = json!({ "prompt": messages, "steerSpecialTokens": true });
    let found = answer(&served, chat::completion_chat, continued(json!(["DEFAULT", "STEERED"]), more));
    // The model reads no earlier reasoning, and what is told has it.
    let raw = "<s>a<|im_end|><s>d<|im_end|><s>b<|im_end|><s><think>";
    assert_eq!(found["input"], json!({ "chatTemplate": messages, "raw": raw }));
    for output in found["outputs"].as_array().unwrap() {
        let said = output["chatTemplate"].as_array().unwrap();
        assert_eq!((said.len(), &said[..3]), (4, &messages.as_array().unwrap()[..]));
        let written = output["raw"].as_str().unwrap().strip_prefix(raw).unwrap();
        let content = said[3]["content"].as_str().unwrap();
        assert!(content.starts_with("<think>") && format!("<think>{written}").contains(content), "{output}");
    }
}

#[test]
fn requests_that_cannot_be_answered_say_why() {
    let served = served();
    let single = |source: &str, index: &str| json!({ "prompt": "ab", "source": source, "index": index });
    let says = |endpoint: Endpoint, request: Value, words: &str| {
        let found = refused(&served, endpoint, request);
        assert!(found.contains(words), "{found}");
    };
    says(activations::single, single("2-set", "1"), "expected a source that is served (0-set, 1-set, 1-other__x)");
    says(activations::single, single("1-set", "24"), "1-set: expected a feature below 24 of resid_post.1, found 24");
    says(activations::single, single("1-set", "-1"), "1-set: expected a feature from 0 on, found -1");
    says(activations::single, single("1-set", "one"), "expected a feature as a whole number, found \"one\"");
    says(activations::single, json!({ "prompt": "ab" }), "either `source` and `index` or `vector` and `hook`");
    let named = json!({ "prompt": "ab", "model": "other", "source": "1-set", "index": "1" });
    says(activations::single, named, "expected the model \"sample\", found \"other\" (hint: if it is the same model");
    let long = json!({ "prompt": "abcdefghi", "source": "1-set", "index": "1" });
    says(activations::single, long, "Text too long: 9 tokens, max is 8");
    says(activations::single, json!({ "prompt": "", "source": "1-set", "index": "1" }), "at least one token");
    let vector = json!({ "prompt": "ab", "vector": [1.0], "hook": "resid_post.1" });
    says(activations::single, vector, "expected a vector of 16 numbers for resid_post.1, found one of 1");
    let all = |set: &str, sources: Value, sorted: Value| {
        json!({ "prompt": "ab", "sourceSet": set, "selectedSources": sources, "sortByTokenIndexes": sorted,
                "ignoreBos": true })
    };
    says(strongest::all, all("none", json!([]), json!([])), "expected a source set that is served (other, set)");
    let other = all("set", json!(["1-other__x"]), json!([]));
    says(strongest::all, other, "expected a source that is served (0-set, 1-set)");
    says(strongest::all, all("set", json!([]), json!([2])), "expected indexes of tokens to sort by below 2, found 2");
    let neither = continued(json!(["STEERED"]), json!({ "features": null }));
    says(steer::completion, neither, "expected either `features` or `vectors`");
    let still = json!([{ "steeringVector": vec![0.0; 16], "strength": 1, "hook": "resid_post.1" }]);
    let still = continued(json!(["STEERED"]), json!({ "features": null, "vectors": still }));
    says(steer::completion, still, "expected a vector with a direction");
    let numbers = [("nCompletionTokens", json!(0)), ("temperature", json!(-0.5)), ("nLogprobs", json!(11))];
    for (field, wrong) in numbers.into_iter().chain([("types", json!([]))]) {
        let request = continued(json!(["STEERED"]), json!({ field: wrong }));
        let refusal = ask(&served, steer::completion, request).unwrap_err();
        assert!(matches!(refusal, Refusal::Form { field: Some(found), .. } if found == field), "{refusal:?}");
    }
    for wrong in [json!({}), json!({ "prompt": 3 }), json!({ "prompt": "a", "source": 1, "index": "1" })] {
        assert!(matches!(ask(&served, activations::single, wrong), Err(Refusal::Form { field: None, .. })));
    }
}

#[test]
fn what_does_not_fit_is_refused_before_it_is_served() {
    let of = |sources: Vec<(String, Sae)>| {
        Served::of(model(), vec!["sample".into()], sources, None).err().map(|error| error.to_string())
    };
    let sae = || dictionary("resid_post.1", 1);
    assert_eq!(of(vec![("1-set".into(), sae())]), None);
    assert!(of(vec![("1-set".into(), sae()), ("1-set".into(), sae())]).unwrap().contains("found \"1-set\" twice"));
    for id in ["set", "1-", "1-__x", ""] {
        assert!(of(vec![(id.into(), sae())]).unwrap().contains("expected the name of a source as LAYER-SET"), "{id}");
    }
    assert!(of(vec![("9-set".into(), dictionary("resid_post.9", 1))]).is_some());
    let folder = tempfile::tempdir().unwrap();
    let files = Files::unrecorded(folder.path()).unwrap();
    let load = |source: &str| {
        let sources = vec![source.into()];
        let inputs = ServeInputs { model: "tiny".into(), names: Vec::new(), sources, token_limit: Some(16) };
        Served::load(&inputs, &files, &Device::Cpu, &Task::default())
    };
    assert_eq!(load("3-stream").err().unwrap().kind, Kind::Argument);
    assert_eq!(load("3-none=./nowhere.safetensors").err().unwrap().kind, Kind::File);
    let tiny = load("3-stream=resid_post.3").unwrap();
    assert_eq!((tiny.limit, tiny.sources[0].sae.d_sae()), (16, 192));
    // The model has a BOS token: it stands before each prompt, and the activations of features are without it.
    let text = "<|endoftext|>The dog";
    let prompt = Prompt::behind_bos(&tiny, text, &Task::default()).unwrap();
    assert_eq!(prompt, Prompt::behind_bos(&tiny, "The dog", &Task::default()).unwrap());
    assert!(prompt.begins_with_bos() && prompt.is_special[0] && !prompt.is_special[1]);
    let request = json!({ "prompt": "The dog", "model": "tiny", "source": "3-stream", "index": "7" });
    let found = answer(&tiny, activations::single, request);
    assert_eq!(found["tokens"], json!(&prompt.strings[1..]));
    assert_eq!(found["activation"]["values"].as_array().unwrap().len(), prompt.len() - 1);
}
