//! Tests that a monitor scores what the cache records, also while a model writes.

use super::*;
use crate::fixtures::{config, decoder};
use crate::model::site::select;
use crate::options::seed::SeedOptions;
use crate::probes::{ClassLabels, ClassName, ProbeOptions};
use crate::sae::{About, Parts, baselines};

const SITE: &str = "resid_post.1";

/// Builds a small model that reads ids, and a dictionary of its second layer.
fn model() -> (Model, Sae) {
    let decoder = decoder(crate::model::config::Config { context: 8, ..config() }, DType::F32);
    let model = Model::new(decoder, None, "small");
    let parts = baselines::neurons_relu(model.decoder.config().d_model, None).unwrap().parts().clone();
    let about = About { sites: vec![SITE.into()], ..parts.about.clone() };
    (model, Sae::new(Parts { about, ..parts }).unwrap())
}

fn labels(of_row: &[bool]) -> ClassLabels {
    ClassLabels::of(&of_row.iter().map(|flag| ClassName::Flag(*flag)).collect::<Vec<_>>()).unwrap()
}

fn activations(model: &Model, ids: &[u32]) -> Tensor {
    let batch = Batch::new(vec![ids.to_vec()]).unwrap();
    let ask = Ask { places: select(model.decoder.config(), SITE).unwrap(), ..Ask::default() };
    model.decoder.cache(&batch, ask, &Task::default()).unwrap().get(SITE).unwrap().get(0).unwrap()
}

fn texts() -> Vec<Vec<u32>> {
    (0..12_u32).map(|i| (0..3 + i % 4).map(|j| (i * 5 + j * 3) % 20).collect()).collect()
}

/// Builds a monitor of a probe and a feature.
fn monitor(model: &Model, sae: &Sae) -> Monitor {
    let rows: Vec<Tensor> = texts().iter().map(|ids| activations(model, ids)).collect();
    let x = Tensor::cat(&rows, 0).unwrap();
    let of_row: Vec<bool> = (0..x.dims()[0]).map(|i| i % 2 == 0).collect();
    let probe = Probe::fit(&x, &labels(&of_row), &ProbeOptions::default(), &Task::default()).unwrap();
    let sensors = vec![
        Sensor::Probe { probe: probe.into(), site: SITE.into() },
        Sensor::Feature { sae: sae.clone(), index: 3, site: SITE.into() },
    ];
    Monitor::new(sensors, &[0.0]).unwrap()
}

#[test]
fn scores_are_those_of_each_text_by_itself() {
    let (model, sae) = model();
    let monitor = monitor(&model, &sae);
    let found = monitor.scores(&model, &texts(), &Task::default()).unwrap();
    for (ids, scores) in texts().iter().zip(&found) {
        let x = activations(&model, ids);
        let Sensor::Probe { probe, .. } = &monitor.sensors[0] else { panic!("the probe comes first") };
        let expected =
            [probe.scores(&x).unwrap(), sae.encode(&x).unwrap().narrow(1, 3, 1).unwrap().squeeze(1).unwrap()];
        for (scores, expected) in scores.iter().zip(expected) {
            let expected = floats(&expected).unwrap();
            assert_eq!(scores.len(), ids.len());
            assert!(scores.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-4), "{scores:?} {expected:?}");
        }
    }
}

#[test]
fn first_positions_raise_no_alarm_and_are_not_in_the_score_of_a_text() {
    let (model, sae) = model();
    let task = Task::default();
    let whole = Monitor { thresholds: vec![f64::NEG_INFINITY; 2], ..monitor(&model, &sae) };
    let behind = Monitor { without_first: 2, ..whole.clone() };
    let scores = whole.scores(&model, &texts(), &task).unwrap();
    let largest = behind.largest(&model, &texts(), &task).unwrap();
    for (text, scores) in scores.iter().enumerate() {
        let expected = scores[0][2..].iter().copied().fold(f64::NEG_INFINITY, f64::max);
        assert_eq!(largest[0][text], expected);
    }
    let alarms = |monitor: &Monitor| monitor.watch(&model, &texts(), false, &task).unwrap();
    let late: Vec<_> = alarms(&whole).into_iter().filter(|alarm| alarm.position >= 2).collect();
    assert_eq!(alarms(&behind), late);
    let options = MonitorRunOptions { stop: false, tokens: 3, temperature: 0.0, seed: SeedOptions::default() };
    let written = behind.generate(&model, &[4, 9, 2], &options, 0, &task).unwrap();
    assert_eq!(written.alarms.iter().map(|alarm| alarm.position).min(), Some(2));
    let short = behind.largest(&model, &[vec![1, 2]], &task).unwrap_err();
    assert!(short.message.contains("behind the first ones of text 0"), "{short:?}");
}

#[test]
fn what_is_written_is_watched_as_what_is_read_and_stops_where_it_is_heard() {
    let (model, sae) = model();
    let whole = monitor(&model, &sae);
    let run = |stop: bool, monitor: &Monitor| {
        let options = MonitorRunOptions { stop, tokens: 5, temperature: 0.0, seed: SeedOptions::default() };
        monitor.generate(&model, &[4, 9, 2], &options, 0, &Task::default()).unwrap()
    };
    let free = run(false, &whole);
    assert_eq!((free.ids.len(), free.prompt, free.stopped), (8, 3, false));
    // The last token has been chosen, and not read.
    let read = whole.watch(&model, &[free.ids[..7].to_vec()], false, &Task::default()).unwrap();
    assert!(!read.is_empty());
    assert_eq!(read.len(), free.alarms.len());
    for (a, b) in read.iter().zip(&free.alarms) {
        assert_eq!((a.position, a.sensor), (b.position, b.sensor));
        assert!((a.score - b.score).abs() < 1e-4);
    }
    // Stopped by the largest score after the prompt.
    let scores = &whole.scores(&model, &[free.ids[..7].to_vec()], &Task::default()).unwrap()[0][0];
    let most = (3..7).max_by(|a, b| scores[*a].total_cmp(&scores[*b])).unwrap();
    let before = scores[..most].iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if before < scores[most] {
        let level = (before + scores[most]) / 2.0;
        let strict = Monitor { thresholds: vec![level, f64::INFINITY], ..whole.clone() };
        let stopped = run(true, &strict);
        assert_eq!((stopped.ids.as_slice(), stopped.stopped), (&free.ids[..=most], true));
        assert_eq!(stopped.alarms.iter().map(|alarm| alarm.position).collect::<Vec<_>>(), [most]);
    }
    let silent = Monitor { thresholds: vec![f64::INFINITY; 2], ..whole };
    assert_eq!((run(true, &silent).ids, run(true, &silent).alarms.len()), (free.ids, 0));
}

#[test]
fn thresholds_that_were_fitted_keep_to_their_rate() {
    let (model, sae) = model();
    let is_alarm: Vec<bool> = (0..12).map(|i| i % 3 == 0).collect();
    let monitor = monitor(&model, &sae);
    let task = Task::default();
    let options = MonitorFitOptions { false_positive_rate: 0.25 };
    let fitted = monitor.fitted(&model, &texts(), &labels(&is_alarm), &options, &task).unwrap();
    let table =
        fitted.on(&model, &texts(), &labels(&is_alarm), &MonitorJudgeOptions::default(), &task).unwrap().judged();
    let rates = table.column("false-positive rate").unwrap();
    for rate in &rates[..2] {
        assert!(matches!(rate, crate::base::Cell::Float(rate) if *rate <= 0.25), "{rate:?}");
    }
    assert_eq!(table.rows.len(), 3);
    assert_eq!(monitor.cost(&model).unwrap().0, sae.d_in() * (1 + sae.d_sae()));
}

#[test]
fn calibrated_thresholds_are_order_statistics_of_honest_texts_and_keep_to_their_rate_on_new_ones() {
    let (model, sae) = model();
    let task = Task::default();
    let vector = Tensor::from_vec((0..16).map(|i| (i as f32 * 1.3).sin()).collect(), 16, &Device::Cpu).unwrap();
    let one = Monitor::new(vec![Sensor::direction(&vector, SITE).unwrap()], &[0.0]).unwrap();
    let honest: Vec<Vec<u32>> =
        (0..39_u32).map(|i| (0..4).map(|j| (i * 7 + j * j * 3 + i * j + i / 20) % 20).collect()).collect();
    let calibrated = |monitor: &Monitor, texts: &[Vec<u32>], rate: f64| {
        monitor.calibrated(&model, texts, &CalibrationOptions { false_positive_rate: rate }, &task)
    };
    let mut scores = one.largest(&model, &honest, &task).unwrap().remove(0);
    scores.sort_by(|a, b| b.total_cmp(a));
    // Of 39 texts and a new one, the new one is among the k largest with a probability of k / 40.
    for (rate, among) in [(0.025, 1), (0.05, 2), (0.074, 2), (0.1, 4), (0.975, 39)] {
        let found = calibrated(&one, &honest, rate).unwrap();
        assert_eq!(found.thresholds, [scores[among - 1]], "{rate}");
        let alarms = found.false_alarms(&model, &honest, &task).unwrap();
        assert!(alarms.alarms < among && alarms.texts == 39 && alarms.interval[0] <= alarms.rate(), "{alarms:?}");
        assert!(found.fitted.unwrap().on_new_texts);
    }
    assert_eq!(calibrated(&one, &honest, 1.0).unwrap().false_alarms(&model, &honest, &task).unwrap().rate(), 1.0);
    // Each text left out in turn is a new one: on average no more than the rate raise an alarm.
    let alarms = |at: &usize| {
        let others: Vec<Vec<u32>> =
            honest.iter().enumerate().filter(|(i, _)| i != at).map(|(_, ids)| ids.clone()).collect();
        let found = calibrated(&one, &others, 0.1).unwrap();
        found.false_alarms(&model, &honest[*at..=*at], &task).unwrap().alarms > 0
    };
    let count = (0..39).filter(alarms).count();
    assert!(count <= 4, "{count} of 39 at a rate of 0.1");
    let few = calibrated(&one, &honest[..18], 0.05).unwrap_err();
    assert_eq!(few.message, "expected at least 19 texts for a false-positive rate of 0.05, found 18");
    assert!(calibrated(&one, &honest[..19], 0.05).is_ok());
    // Two sensors have half of the rate each.
    let both = monitor(&model, &sae);
    assert!(calibrated(&both, &honest[..38], 0.05).unwrap_err().message.contains("at least 39 texts"));
    assert!(calibrated(&both, &honest, 0.05).unwrap().false_alarms(&model, &honest, &task).unwrap().alarms == 0);
}

#[test]
fn a_direction_scores_by_the_projection_onto_it() {
    let (model, _) = model();
    let vector = Tensor::from_vec((0..16).map(|i| i as f32 - 3.0).collect(), 16, &Device::Cpu).unwrap();
    let length = vector.sqr().unwrap().sum_all().unwrap().sqrt().unwrap().to_scalar::<f32>().unwrap();
    let monitor = Monitor::new(vec![Sensor::direction(&vector, SITE).unwrap()], &[0.0]).unwrap();
    let found = monitor.scores(&model, &texts(), &Task::default()).unwrap();
    for (ids, scores) in texts().iter().zip(&found) {
        let expected = floats(&activations(&model, ids).matmul(&vector.unsqueeze(1).unwrap()).unwrap()).unwrap();
        for (found, expected) in scores[0].iter().zip(expected) {
            assert!((found - expected / f64::from(length)).abs() < 1e-5, "{found} and {expected} / {length}");
        }
    }
}

#[test]
fn a_monitor_that_is_saved_and_loaded_gives_the_same_alarms() {
    let (model, sae) = model();
    let both = monitor(&model, &sae);
    let vector = Tensor::ones(16, DType::F32, &Device::Cpu).unwrap();
    let sensors = vec![both.sensors[0].clone(), Sensor::direction(&vector, SITE).unwrap()];
    let options = MonitorFitOptions { false_positive_rate: 0.25 };
    let is_alarm: Vec<bool> = (0..12).map(|i| i % 3 == 0).collect();
    let task = Task::default();
    let plain = Monitor::new(sensors, &[0.5]).unwrap();
    let fitted = plain.fitted(&model, &texts(), &labels(&is_alarm), &options, &task).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let access = crate::base::access::Access::new(folder.path(), &Default::default()).unwrap();
    let files = crate::base::files::Files::new(access, false);
    let honest: Vec<Vec<u32>> = texts().into_iter().cycle().take(19).collect();
    let calibrated =
        plain.calibrated(&model, &honest, &CalibrationOptions { false_positive_rate: 0.2 }, &task).unwrap();
    let behind = Monitor { without_first: 2, ..plain.clone() };
    for monitor in [plain, behind, fitted, calibrated] {
        monitor.save(&files, "guard.json".as_ref()).unwrap();
        let again = Monitor::load(&files, "guard.json".as_ref()).unwrap();
        assert_eq!((&again.thresholds, &again.fitted), (&monitor.thresholds, &monitor.fitted));
        assert_eq!(again.without_first, monitor.without_first);
        let alarms = |monitor: &Monitor| {
            let found = monitor.watch(&model, &texts(), false, &task).unwrap();
            found.iter().map(|alarm| (alarm.text, alarm.position, alarm.sensor)).collect::<Vec<_>>()
        };
        assert_eq!(alarms(&again), alarms(&monitor));
    }
    assert!(both.save(&files, "other.json".as_ref()).unwrap_err().message.contains("found the feature 3 of"));
    assert!(both.save(&files, "other.txt".as_ref()).is_err());
    for damaged in ["{}", "[]", "{\"format\": \"microtome.monitor.2\", \"fitted\": null, \"watched\": []}"] {
        std::fs::write(folder.path().join("damaged.json"), damaged).unwrap();
        assert!(Monitor::load(&files, "damaged.json".as_ref()).is_err(), "{damaged}");
    }
}

#[test]
fn what_cannot_be_watched_is_refused() {
    let (model, sae) = model();
    let whole = monitor(&model, &sae);
    assert!(Monitor::new(Vec::new(), &[0.0]).unwrap_err().message.contains("found nothing"));
    assert!(Monitor::new(whole.sensors.clone(), &[0.0; 3]).unwrap_err().message.contains("one for each of 2"));
    let long = vec![vec![1; 9]];
    assert!(whole.watch(&model, &long, false, &Task::default()).unwrap_err().message.contains("at most 8 tokens"));
    let Sensor::Probe { probe, .. } = &whole.sensors[0] else { panic!("the probe comes first") };
    let nowhere =
        Monitor::new(vec![Sensor::Probe { probe: probe.clone(), site: "resid_post.9".into() }], &[0.0]).unwrap();
    assert!(nowhere.watch(&model, &texts(), false, &Task::default()).is_err());
}
