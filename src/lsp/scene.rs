//! Variables of a script that does not run, as far as they can be told: types, by what the reference says that calls
//! return, and the values of the few calls whose value is inside the program.

use std::cell::OnceCell;
use std::rc::Rc;

use super::scopes::{DefinitionKind, Scopes};
use crate::checkpoint::load::{INSIDE, LoadSettings};
use crate::data::Text;
use crate::data::text::SourceOptions;
use crate::repl::known_variables::{KnownVariables, ValueShape};
use crate::repl::value_shape;
use crate::script::Session;
use crate::script::docs::Docs;
use crate::script::engine::env::Env;
use crate::script::engine::value::Value;

/// The values inside the program, made when they are first asked for: the model, and the texts that need no file.
#[derive(Default)]
pub struct StandIns {
    model: OnceCell<Option<Value>>,
    grammar: OnceCell<Option<Value>>,
    sample: OnceCell<Option<Value>>,
}

impl StandIns {
    /// Returns the value of a call, given by its words, if it is one of those inside.
    fn of(&self, call: &[&str], env: &Env) -> Option<Value> {
        match call {
            ["model", "::", "load", "(", "\"tiny\"", ")"] => self.model.get_or_init(|| model(env)).clone(),
            ["data", "::", "text", "(", "\"grammar\"", ..] => self.grammar.get_or_init(|| text("grammar", env)).clone(),
            ["data", "::", "text", "(", "\"sample\"", ..] => self.sample.get_or_init(|| text("sample", env)).clone(),
            _ => None,
        }
    }
}

fn model(env: &Env) -> Option<Value> {
    let model = crate::model::Model::load(&env.files, INSIDE, &LoadSettings::default(), &env.task).ok()?;
    Some(Value::from(crate::script::model::Model::from(model)))
}

fn text(source: &str, env: &Env) -> Option<Value> {
    Text::open(&env.files, source, SourceOptions::default(), &env.task).ok().map(Value::from)
}

/// A value of a definition, or its shape, as far as they are known.
#[derive(Clone, Default)]
struct KnownDefinition {
    value: Option<Value>,
    shape: Option<ValueShape>,
}

/// The variables of a script around one of its bytes.
pub struct Scene<'a> {
    session: &'a Session,
    scopes: &'a Scopes<'a>,
    known: Vec<KnownDefinition>,
    byte: usize,
}

impl<'a> Scene<'a> {
    pub fn new(session: &'a Session, scopes: &'a Scopes<'a>, stand_ins: &StandIns, byte: usize) -> Self {
        let known = vec![KnownDefinition::default(); scopes.definitions.len()];
        let mut scene = Self { session, scopes, known, byte };
        // What a value is made of stands before it.
        for (number, found) in scopes.definitions.iter().enumerate() {
            if found.value.is_empty() || found.is_assigned || found.kind == DefinitionKind::Import {
                continue;
            }
            scene.byte = scopes.bytes(found.value.start).start;
            let shape = value_shape::whole(&scopes.text, found.value.start, found.value.end, &scene);
            let words: Vec<&str> = found.value.clone().map(|token| scopes.text.word(token)).collect();
            let value = shape.as_ref().and_then(|_| stand_ins.of(&words, session.env()));
            if let Some(known) = scene.known.get_mut(number) {
                *known = KnownDefinition { value, shape };
            }
        }
        scene.byte = byte;
        scene
    }

    /// Returns what is known of the value of a definition.
    pub fn shape_of(&self, definition: usize) -> Option<&ValueShape> {
        self.known.get(definition)?.shape.as_ref()
    }

    fn named(&self, name: &str) -> Option<&KnownDefinition> {
        self.known.get(self.scopes.named(name, self.byte)?)
    }
}

impl KnownVariables for Scene<'_> {
    fn docs(&self) -> Rc<Docs> {
        self.session.docs()
    }

    fn env(&self) -> &Env {
        self.session.env()
    }

    fn variable(&self, name: &str) -> Option<&Value> {
        self.named(name)?.value.as_ref()
    }

    fn variables(&self) -> Vec<(&str, &Value)> {
        let seen = self.scopes.visible(self.byte).into_iter();
        seen.filter_map(|number| Some((self.scopes.name(number), self.known.get(number)?.value.as_ref()?))).collect()
    }

    fn shape(&self, name: &str) -> Option<ValueShape> {
        self.named(name)?.shape.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn types_follow_from_what_calls_return() {
        let session = Session::new(Env::in_memory(Path::new("out")).unwrap());
        let text = "let t = tensor::zeros([2, 3]);\nlet s = t.sum(0);\nlet n = 3;\nlet m = #{ a: 1 };\nlet v = 1;\n\
                    v = \"x\";\nfn f(t) { let u = t; }\nlet w = n + 1;";
        let scopes = Scopes::new(text);
        let scene = Scene::new(&session, &scopes, &StandIns::default(), text.len());
        let kind = |name: &str| scene.shape(name).map(|shape| shape.kind);
        assert_eq!([kind("t"), kind("s")], [Some("Tensor".to_string()), Some("Tensor".to_string())]);
        assert_eq!([kind("n"), kind("m")], [Some("integer".to_string()), Some("map".to_string())]);
        assert_eq!([kind("v"), kind("w"), kind("u")], [None, None, None]);
        assert!(scene.variables().is_empty());
    }

    #[test]
    fn the_model_inside_is_known_by_its_values() {
        let session = Session::new(Env::in_memory(Path::new("out")).unwrap());
        let text = "let m = model::load(\"tiny\"); let t = data::text(\"grammar\", #{ seed: 1 });";
        let scopes = Scopes::new(text);
        let scene = Scene::new(&session, &scopes, &StandIns::default(), text.len());
        let names: Vec<&str> = scene.variables().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["m", "t"]);
        assert!(scene.variable("m").is_some_and(|value| value.is::<crate::script::model::Model>()));
    }
}
