//! Examples of the guide, as its pages ask for them.

use microtome::base::clock::Instant;
use microtome::script::docs::site::ExampleForm;
use serde_json::json;
use wasm_bindgen::prelude::*;

use crate::{Engine, tell};

#[wasm_bindgen]
impl Engine {
    /// Runs an example of this form (`script`, `part`, `session` or `typed`) piece by piece; what an answer belongs to is told before it,
    /// as an output of the kind `typed`. Returns how it ended, as [`Engine::run`] does.
    pub fn example(&mut self, text: &str, form: &str) -> String {
        let begun = Instant::now();
        let form = ExampleForm::named(form).unwrap_or(ExampleForm::Script);
        let outcome = self.repl.run_example(text, form, &|line: &str| tell(&json!({ "kind": "typed", "text": line })));
        self.ended(begun, outcome)
    }
}
