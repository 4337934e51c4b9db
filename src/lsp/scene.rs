//! Variables of a script that does not run, as far as they can be told: types, by what the reference says that calls
//! return, the values of the few calls whose value is inside the program, and the configs of models that files state.

use std::cell::{OnceCell, RefCell};
use std::rc::Rc;
use std::time::SystemTime;

use super::scopes::{Definition, DefinitionKind, Scopes};
use crate::checkpoint::load::{INSIDE, LoadSettings, stated_config, stating_file};
use crate::common::*;
use crate::data::Text;
use crate::data::text::SourceOptions;
use crate::model::config::Config;
use crate::repl::cursor::CursorText;
use crate::repl::known_variables::{KnownVariables, ValueShape, config_of};
use crate::repl::value_shape;
use crate::script::Session;
use crate::script::docs::Docs;
use crate::script::engine::env::Env;
use crate::script::engine::tokens::TokenKind;
use crate::script::engine::value::Value;
use crate::script::model::Model;

/// Number of words of a value that tell whether it is one of those inside the program.
const WORDS: usize = 7;

/// Values that are known without a script that runs, found when it is first asked for: the values inside the program, which are
/// the model and the texts that need no file, and configs of other models.
#[derive(Default)]
pub struct StandIns {
    model: OnceCell<Option<Value>>,
    grammar: OnceCell<Option<Value>>,
    sample: OnceCell<Option<Value>>,
    /// Configs by the files that state them.
    configs: RefCell<BTreeMap<PathBuf, StatedConfig>>,
}

/// A config as a file stated it.
struct StatedConfig {
    /// Time of the last change of the file, and its length.
    state: (SystemTime, u64),
    /// Config that the file states, if it states one.
    config: Option<Rc<Config>>,
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

    /// Returns the config of a model that a script names, whose path may begin beside the script. Nothing is
    /// downloaded, and no weights are read.
    fn config(&self, name: &str, folder: &Path, env: &Env) -> Option<Rc<Config>> {
        if name == INSIDE {
            return config_of(self.model.get_or_init(|| model(env)).as_ref()?);
        }
        let stating = |name: &str| stating_file(&env.files, name).ok().flatten();
        let place = folder.join(name).to_str().and_then(stating).or_else(|| stating(name))?;
        let about = env.files.open(&place).ok()?.0.metadata().ok()?;
        let state = (about.modified().ok()?, about.len());
        let mut configs = self.configs.borrow_mut();
        if let Some(known) = configs.get(&place).filter(|known| known.state == state) {
            return known.config.clone();
        }
        let config = stated_config(&env.files, &place).ok().map(Rc::new);
        configs.insert(place, StatedConfig { state, config: config.clone() });
        config
    }
}

fn model(env: &Env) -> Option<Value> {
    let model = crate::model::Model::load(&env.files, INSIDE, &LoadSettings::default(), &env.task).ok()?;
    Some(Value::from(Model::from(model)))
}

fn text(source: &str, env: &Env) -> Option<Value> {
    Text::open(&env.files, source, SourceOptions::default(), &env.task).ok().map(Value::from)
}

/// A value of a definition, or its shape, as far as they are known.
#[derive(Clone, Default)]
struct KnownDefinition {
    value: Option<Value>,
    shape: Option<ValueShape>,
    /// The name of the model that is loaded, of a value that is not known.
    source: Option<String>,
}

/// Returns the name of the model that a variable holds, if its value is one call of `model::load` that states it.
fn source<'t>(text: &CursorText<'t>, definition: &Definition) -> Option<&'t str> {
    let start = definition.value.start;
    let open = start + 3;
    let is_load = text.word(start) == "model" && text.is_symbol(start + 1, &["::"]) && text.word(start + 2) == "load";
    let last = definition.value.end.checked_sub(1)?;
    let is_whole = text.opening(last) == Some(open) && text.is_symbol(open + 2, &[",", ")"]);
    if !is_load || !is_whole || text.kind(open + 1) != Some(TokenKind::Text) {
        return None;
    }
    let name = text.word(open + 1).strip_prefix('"')?.strip_suffix('"')?;
    (!name.contains(['"', '\\'])).then_some(name)
}

/// The variables of a script around one of its bytes.
pub struct Scene<'a> {
    session: &'a Session,
    scopes: &'a Scopes,
    stand_ins: &'a StandIns,
    /// The folder of the script.
    folder: &'a Path,
    known: Vec<KnownDefinition>,
    byte: usize,
}

impl<'a> Scene<'a> {
    pub fn new(
        session: &'a Session,
        scopes: &'a Scopes,
        stand_ins: &'a StandIns,
        folder: &'a Path,
        byte: usize,
    ) -> Self {
        let text = scopes.text();
        let known = vec![KnownDefinition::default(); scopes.definitions.len()];
        let mut scene = Self { session, scopes, stand_ins, folder, known, byte };
        // What a value is made of stands before it.
        for (number, found) in scopes.definitions.iter().enumerate() {
            if found.value.is_empty() || found.is_assigned || found.kind == DefinitionKind::Import {
                continue;
            }
            scene.byte = scopes.bytes(found.value.start).start;
            let shape = value_shape::whole(&text, found.value.start, found.value.end, &scene);
            let words: Vec<&str> = found.value.clone().take(WORDS).map(|token| text.word(token)).collect();
            let value = shape.as_ref().and_then(|_| stand_ins.of(&words, session.env()));
            let source = if value.is_none() { source(&text, found).map(String::from) } else { None };
            if let Some(known) = scene.known.get_mut(number) {
                *known = KnownDefinition { value, shape, source };
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

    fn models(&self) -> Vec<&str> {
        let is_model = |number: &usize| {
            let Some(KnownDefinition { value, source, .. }) = self.known.get(*number) else { return false };
            source.is_some() || value.as_ref().is_some_and(|value| value.is::<Model>())
        };
        let seen = self.scopes.visible(self.byte).into_iter();
        seen.filter(is_model).map(|number| self.scopes.name(number)).collect()
    }

    fn config(&self, name: &str) -> Option<Rc<Config>> {
        let known = self.named(name)?;
        match &known.value {
            Some(value) => config_of(value),
            None => self.stand_ins.config(known.source.as_ref()?, self.folder, self.env()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_follow_from_what_calls_return() {
        let session = Session::for_tests();
        let text = "let t = tensor::zeros([2, 3]);\nlet s = t.sum(0);\nlet n = 3;\nlet m = #{ a: 1 };\nlet v = 1;\n\
                    v = \"x\";\nfn f(t) { let u = t; }\nlet w = n + 1;";
        let scopes = Scopes::new(text);
        let stand_ins = StandIns::default();
        let scene = Scene::new(&session, &scopes, &stand_ins, Path::new(""), text.len());
        let kind = |name: &str| scene.shape(name).map(|shape| shape.kind);
        assert_eq!([kind("t"), kind("s")], [Some("Tensor".to_string()), Some("Tensor".to_string())]);
        assert_eq!([kind("n"), kind("m")], [Some("integer".to_string()), Some("map".to_string())]);
        assert_eq!([kind("v"), kind("w"), kind("u")], [None, None, None]);
        assert!(scene.variables().is_empty());
    }

    #[test]
    fn the_model_inside_is_known_by_its_values() {
        let session = Session::for_tests();
        let text = "let m = model::load(\"tiny\"); let t = data::text(\"grammar\", #{ seed: 1 });";
        let scopes = Scopes::new(text);
        let stand_ins = StandIns::default();
        let scene = Scene::new(&session, &scopes, &stand_ins, Path::new(""), text.len());
        let names: Vec<&str> = scene.variables().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["m", "t"]);
        assert!(scene.variable("m").is_some_and(|value| value.is::<Model>()));
    }

    #[test]
    fn a_model_in_files_is_known_by_its_config() {
        let session = Session::for_tests();
        let folder = kit::fixture("models");
        let stand_ins = StandIns::default();
        let layers = |text: &str| {
            let scopes = Scopes::new(text);
            let scene = Scene::new(&session, &scopes, &stand_ins, &folder, text.len());
            (scene.models().contains(&"m"), scene.config("m").map(|config| config.layers))
        };
        let (is_model, wanted) = layers("let m = model::load(\"llama\");");
        assert!(is_model && wanted.is_some_and(|layers| layers > 0));
        assert_eq!(layers("let m = model::load(\"llama\", #{ dtype: \"f16\" });"), (true, wanted));
        let (is_model, of_gguf) = layers("let m = model::load(\"../gguf/stablelm.gguf\");");
        assert!(is_model && of_gguf.is_some());
        assert_eq!(layers("let m = model::load(\"no/model\");"), (true, None));
        for text in [
            "let m = model::load(\"llama\").edit(1);",
            "let m = model::load(\"llama\" + \"x\");",
            "let m = model::load(name);",
            "let m = model::load(\"llama\"); m = 1;",
            "let m = model::load(\"a\\\\b\");",
        ] {
            assert_eq!(layers(text), (false, None), "{text}");
        }
        assert_eq!(layers("let m = model::load(\"tiny\", #{ dtype: \"f16\" });"), (true, Some(6)));
        assert_eq!(stand_ins.configs.borrow().len(), 2);
    }
}
