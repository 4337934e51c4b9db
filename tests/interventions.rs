//! Interventions as users write them: short scripts whose results are those of a plain implementation in PyTorch.

mod support;

use std::collections::BTreeMap;
use std::path::Path;

use microtome::script::Session;
use microtome::script::drawing;
use microtome::script::env::Env;

const FAMILIES: [&str; 4] = ["gpt2", "gpt_neox", "llama", "gemma2"];

#[test]
fn scripts_reproduce_interventions_on_every_family() {
    let scripts = support::files("tests/interventions", "rhai");
    assert_eq!(scripts.len(), 6);
    for script in &scripts {
        let text = std::fs::read_to_string(script).unwrap();
        assert!(text.lines().count() < 25, "{} is not short", script.display());
        for family in FAMILIES {
            check(&text, family);
        }
    }
}

/// Runs a script on the model of a family: it ends well, and all of its checks hold.
fn check(text: &str, family: &str) {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/models").join(family);
    let (text, family) = (text.to_string(), family.to_string());
    support::on_large_stack(move || {
        let folder = tempfile::tempdir().unwrap();
        let arguments = BTreeMap::from([("model".to_string(), model.display().to_string())]);
        let env = Env::in_memory(folder.path()).unwrap();
        let mut session = Session::new(Env { arguments: arguments.into(), ..env });
        let outcome = session.eval(&family, &text);
        if let Err(failure) = outcome {
            panic!("{}", drawing::draw(&failure, session.sources(), false));
        }
        let said = session.env().console.take();
        assert!(session.env().checks.failed() == 0 && session.env().checks.passed() > 0, "{family}: {said}");
    });
}
