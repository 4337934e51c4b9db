//! The script of the page: its modules joined into one. A page that is opened from a folder may load scripts and no modules.

use std::collections::{BTreeMap, BTreeSet};

/// Joins modules, by their names, in the order in which a browser runs them from the first one on.
pub fn joined<'m>(modules: &BTreeMap<&'m str, &'m str>, first: &'m str) -> String {
    let mut joining =
        Joining { modules, begun: BTreeSet::new(), made: BTreeSet::new(), script: String::from("\"use strict\";\n") };
    joining.line("(async () => {");
    joining.line("const modules = {};");
    joining.add(first);
    joining.line("})();");
    joining.script
}

struct Joining<'j, 'm> {
    modules: &'j BTreeMap<&'m str, &'m str>,
    begun: BTreeSet<&'m str>,
    made: BTreeSet<&'m str>,
    script: String,
}

impl<'m> Joining<'_, 'm> {
    fn line(&mut self, line: &str) {
        self.script.push_str(line);
        self.script.push('\n');
    }

    /// Adds a module behind those that it imports, unless it is there.
    fn add(&mut self, name: &'m str) {
        if !self.begun.insert(name) {
            return;
        }
        let text = self.modules.get(name).copied().unwrap_or_default();
        for import in text.lines().filter_map(Import::of) {
            self.add(import.from);
        }
        self.line(&format!("modules[\"{name}\"] = await (async () => {{"));
        let mut exports = Vec::new();
        for line in text.lines() {
            if let Some(import) = Import::of(line) {
                let is_made = self.made.contains(import.from);
                self.line(&import.written(is_made));
            } else if let Some(rest) = line.strip_prefix("export ") {
                exports.extend(rest.split(' ').nth(1));
                self.line(rest);
            } else {
                self.line(line);
            }
        }
        self.line(&format!("return {{ {} }};", exports.join(", ")));
        self.line("})();");
        self.made.insert(name);
    }
}

/// A line that imports names of another module.
struct Import<'m> {
    names: &'m str,
    from: &'m str,
}

impl<'m> Import<'m> {
    fn of(line: &'m str) -> Option<Self> {
        let (names, from) = line.strip_prefix("import ")?.strip_suffix("\";")?.split_once(" from \"./")?;
        Some(Self { names, from })
    }

    /// Writes what stands in its place. Modules that need each other have functions of each other alone, which are looked for
    /// when they are called.
    fn written(&self, is_made: bool) -> String {
        let module = format!("modules[\"{}\"]", self.from);
        if let Some(all) = self.names.strip_prefix("* as ") {
            return format!("const {all} = {module};");
        }
        if is_made {
            return format!("const {} = {module};", self.names.replace(" as ", ": "));
        }
        let later = |name: &str| {
            let (theirs, ours) = name.split_once(" as ").unwrap_or((name, name));
            format!("const {ours} = (...given) => {module}.{theirs}(...given);")
        };
        let names = self.names.trim_matches(['{', '}', ' ']).split(", ");
        names.map(later).collect::<Vec<String>>().join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_stand_behind_those_that_they_import() {
        let modules = BTreeMap::from([
            ("a.js", "import { b as of, C } from \"./b.js\";\nimport * as c from \"./c.js\";\nof(c.d);"),
            ("b.js", "import { d } from \"./c.js\";\nexport const b = (x) => d(x);\nexport class C {}"),
            ("c.js", "import { b } from \"./b.js\";\nexport const d = () => 1;\nexport const e = () => b(2);"),
        ]);
        let expected = r#""use strict";
(async () => {
const modules = {};
modules["c.js"] = await (async () => {
const b = (...given) => modules["b.js"].b(...given);
const d = () => 1;
const e = () => b(2);
return { d, e };
})();
modules["b.js"] = await (async () => {
const { d } = modules["c.js"];
const b = (x) => d(x);
class C {}
return { b, C };
})();
modules["a.js"] = await (async () => {
const { b: of, C } = modules["b.js"];
const c = modules["c.js"];
of(c.d);
return {  };
})();
})();
"#;
        assert_eq!(joined(&modules, "a.js"), expected);
    }
}
