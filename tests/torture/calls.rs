//! Random calls of everything in the reference.

use microtome::script::docs::stdlib::stdlib_path;
use microtome::script::docs::{Docs, OptionDoc, Overload, ReferenceEntry, Role};

use super::dice::Dice;
use super::values::{ValueMaker, quoted};

/// Everything that can be called, and the words in quotation marks in the documentation of each.
pub struct Calls {
    entries: Vec<(ReferenceEntry, Vec<String>)>,
    /// Whether tensors are unusual ones.
    odd: bool,
}

impl Calls {
    /// Calls of all functions, those of the language itself included.
    pub fn all(docs: &Docs) -> Self {
        Self::of(docs, false, |_| true)
    }

    /// Calls that take or create tensors, on unusual tensors.
    pub fn on_odd_tensors(docs: &Docs) -> Self {
        let takes = |overload: &Overload| overload.parameters.iter().any(|(_, kind)| kind == "Tensor");
        Self::of(docs, true, |entry| {
            entry.receiver == "Tensor" || entry.module == "tensor" || entry.overloads.iter().any(takes)
        })
    }

    fn of(docs: &Docs, odd: bool, fits: impl Fn(&ReferenceEntry) -> bool) -> Self {
        // A script that sleeps or runs long on purpose does not hang.
        let wanted = |entry: &&ReferenceEntry| !matches!(entry.name.as_str(), "sleep" | "exit") && fits(entry);
        let entries = docs.entries().iter().filter(wanted).map(|entry| (entry.clone(), said(entry)));
        Self { entries: entries.collect(), odd }
    }

    /// The name of the function, and the call. Every second call is the next one in the order of the reference, so that
    /// all are tried.
    pub fn case(&self, number: u64, dice: &mut Dice) -> (String, String) {
        let in_turn = |number: u64| &self.entries[number as usize % self.entries.len()];
        let (entry, said) = loop {
            let (entry, said) = if number.is_multiple_of(2) { in_turn(number / 2) } else { dice.pick(&self.entries) };
            // The language's own operators on plain numbers are many and rarely interesting.
            if !entry.builtin || number.is_multiple_of(2) || dice.chance(0.25) {
                break (entry, said);
            }
        };
        let mut code = self.call(dice, entry, said, 2);
        if dice.chance(0.15) {
            code = format!("let it = {code}; {}", self.follow(dice));
        }
        let import = stdlib_path(&entry.module).map(|path| format!("import \"{path}\" as {};\n", entry.module));
        // Braces keep its variables from the next call.
        (entry.path(), format!("{}{{ {code} }}\n", import.unwrap_or_default()))
    }

    /// Some operation on the result, whatever its type.
    fn follow(&self, dice: &mut Dice) -> String {
        let methods = ["to_map()", "to_array()", "save(\"x.json\")", "shape", "table", "len()", "to_json()", "chart()"];
        match dice.below(4) {
            0 => "it == it".into(),
            1 => "[it, it].to_json()".into(),
            2 => "#{ a: it, b: [it] }".into(),
            _ => format!("it.{}", dice.pick(&methods)),
        }
    }

    fn call(&self, dice: &mut Dice, entry: &ReferenceEntry, said: &[String], depth: usize) -> String {
        let overload = dice.pick(&entry.overloads);
        let mut arguments: Vec<String> = overload
            .parameters
            .iter()
            .map(|(name, kind)| self.argument(dice, entry, said, name, kind, depth))
            .collect();
        // Now and then one argument too few or too many.
        if dice.chance(0.02) {
            arguments.pop();
        } else if dice.chance(0.02) {
            arguments.push(self.values(dice).anything(1));
        }
        let receiver = || entry.receiver.as_str();
        let all = arguments.join(", ");
        match entry.role {
            Role::Function if entry.module.is_empty() => format!("{}({all})", entry.name),
            Role::Function => format!("{}::{}({all})", entry.module, entry.name),
            Role::Method => format!("{}.{}({all})", self.receiver(dice, receiver(), depth), entry.name),
            Role::Property => format!("{}.{}", self.receiver(dice, receiver(), depth), entry.name),
            Role::Index => {
                let on = self.receiver(dice, receiver(), depth);
                match arguments.as_slice() {
                    [at, value] => format!("let t = {on}; t[{at}] = {value}; t"),
                    _ => format!("{on}[{all}]"),
                }
            }
            Role::Operator => match arguments.as_slice() {
                [one] => format!("{}({one})", entry.name),
                [one, two] => format!("({one}) {} ({two})", entry.name),
                _ => all,
            },
        }
    }

    /// The receiver of a method. Changing a variable of the prelude would affect the calls after this one.
    fn receiver(&self, dice: &mut Dice, kind: &str, depth: usize) -> String {
        let kind = if dice.chance(0.03) { "any" } else { kind };
        let value = self.value(dice, kind, depth);
        if value.starts_with(|c: char| c.is_alphabetic()) { value } else { format!("({value})") }
    }

    fn argument(
        &self,
        dice: &mut Dice,
        entry: &ReferenceEntry,
        said: &[String],
        name: &str,
        kind: &str,
        depth: usize,
    ) -> String {
        let is_options = kind == "options" || name == "options";
        if is_options && !entry.doc.options.is_empty() && dice.chance(0.95) {
            return self.options(dice, entry, said);
        }
        if depth > 0 && dice.chance(0.1) {
            return self.value(dice, kind, depth - 1);
        }
        self.values(dice).argument(name, kind, said)
    }

    /// A value of a type, sometimes created by a call.
    fn value(&self, dice: &mut Dice, kind: &str, depth: usize) -> String {
        if depth > 0 && dice.chance(0.15) {
            let gives = |entry: &ReferenceEntry| {
                let functions = matches!(entry.role, Role::Function | Role::Method) && !entry.scripted;
                functions && entry.overloads.iter().any(|overload| overload.returns == kind)
            };
            let makers: Vec<_> = self.entries.iter().filter(|(entry, _)| gives(entry)).collect();
            if !makers.is_empty() {
                let (entry, said) = *dice.pick(&makers);
                return self.call(dice, entry, said, depth - 1);
            }
        }
        self.values(dice).of(kind, depth)
    }

    fn options(&self, dice: &mut Dice, entry: &ReferenceEntry, said: &[String]) -> String {
        let count = 1 + dice.below(3.min(entry.doc.options.len()));
        let mut fields = std::collections::BTreeMap::new();
        for _ in 0..count {
            let option = dice.pick(&entry.doc.options);
            fields.insert(option.key.clone(), self.option(dice, option, said));
        }
        let fields: Vec<String> = fields.iter().map(|(key, value)| format!("{key}: {value}")).collect();
        format!("#{{ {} }}", fields.join(", "))
    }

    /// A value for an option, usually of the type of its default.
    fn option(&self, dice: &mut Dice, option: &OptionDoc, said: &[String]) -> String {
        let default = option.default.as_str();
        let mut values = self.values(dice);
        if values.dice.chance(0.15) {
            return values.anything(2);
        }
        match default.chars().next() {
            Some('"') if !said.is_empty() && values.dice.chance(0.8) => quoted(values.dice.pick(said)),
            Some('"') => values.text(),
            Some('[') => values.of("array", 1),
            Some(c) if c.is_ascii_digit() && default.contains(['.', 'e']) => values.number(),
            Some(c) if c.is_ascii_digit() || c == '-' => values.integer(),
            _ if default.starts_with("true") || default.starts_with("false") => values.of("bool", 0),
            // A default in words: "as many as that", "none".
            _ => match values.dice.below(4) {
                0 => values.integer(),
                1 => values.number(),
                2 if !said.is_empty() => quoted(values.dice.pick(said)),
                _ => values.anything(2),
            },
        }
    }

    fn values<'a>(&self, dice: &'a mut Dice) -> ValueMaker<'a> {
        ValueMaker { dice, odd: self.odd }
    }
}

/// The words in quotation marks in a documentation.
fn said(entry: &ReferenceEntry) -> Vec<String> {
    let mut texts = vec![entry.doc.summary.as_str(), &entry.doc.body, &entry.doc.example];
    texts.extend(entry.doc.options.iter().flat_map(|option| [option.default.as_str(), &option.meaning]));
    let mut found = Vec::new();
    for text in texts {
        // Every second piece is between quotation marks.
        let inner = text.split('"').skip(1).step_by(2);
        found.extend(inner.filter(|word| word.len() < 40 && !word.contains(['\n', '\\', '$'])).map(String::from));
    }
    found.sort();
    found.dedup();
    found
}
