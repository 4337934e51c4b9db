//! Curves of two small models, computed with PyTorch in f64 by MIB's formulas (Mueller et al. 2025).

use kit::{fixture, json};
use serde_json::Value;

use super::*;
use crate::circuit::dictionaries::Circuit;
use crate::circuit::edges::{EdgeAblation, EdgeRuns, eap_file};
use crate::fixtures::loaded;
use crate::intervene::fixtures::pairs_in;
use crate::intervene::metric::Measure;

fn floats(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

#[test]
fn curves_and_areas_are_those_of_mib() {
    let task = Task::default();
    for family in ["gpt2", "llama"] {
        let folder = fixture("edges").join(family);
        let model = loaded(folder.join("model"));
        let pairs = pairs_in(&json(folder.join("pairs.json")));
        let truth = json(folder.join("faithfulness.json"));
        let options = CurveOptions { draws: 1, ..CurveOptions::default() };
        assert_eq!(options.shares, floats(&truth["fractions"]));
        let runs = EdgeRuns::new(&model, &pairs, Measure::LogitDiff, EdgeAblation::Corrupt, &task).unwrap();
        for method in ["eap", "eap_zero", "eap_ig", "clean_corrupted", "exact"] {
            let scores = std::fs::read_to_string(folder.join(format!("{method}.json"))).unwrap();
            let circuit = Circuit::without_dictionaries(eap_file::parse(&scores, true).unwrap());
            let found = curve(&circuit, &runs, &options, &task).unwrap();
            let wanted = &truth[method];
            let kept: Vec<f64> = found.points.iter().map(|point| point.kept as f64).collect();
            assert_eq!(kept, floats(&wanted["kept_after_prune"]), "{family} {method}");
            for (point, wanted) in found.points.iter().zip(floats(&wanted["faithfulness"])) {
                let f = point.faithfulness.value.unwrap();
                assert!((f - wanted).abs() < 1e-4, "{family} {method} at {}: {f} is not {wanted}", point.share);
            }
            let areas = found.areas.unwrap();
            for (area, name) in [(areas.cpr, "cpr"), (areas.cmd, "cmd")] {
                let wanted = wanted[name].as_f64().unwrap();
                assert!((area - wanted).abs() < 1e-4, "{family} {method}: {name} {area} is not {wanted}");
            }
        }
        let ends = EndMetrics::of(&runs, &task).unwrap();
        assert!((ends.everything() - truth["m_model"].as_f64().unwrap()).abs() < 1e-4);
        assert!((ends.nothing() - truth["m_empty"].as_f64().unwrap()).abs() < 1e-4);
    }
}
