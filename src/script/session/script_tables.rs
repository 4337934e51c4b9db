//! Tables of a whole script, by the names of the variables that have them.

use crate::script::engine::handle;
use crate::script::engine::value::type_name;
use crate::script::prelude::*;
use crate::script::session::{Session, inspect};

impl Session {
    /// Refuses, before the script runs, a table that it cannot have, and an option that it may mean for itself.
    pub fn refuse_unknown_table(&self, script: &str, text: &str, table: &str) -> Result<()> {
        let asked = self.compile(script, text).ok().and_then(|ast| inspect::arguments(&ast));
        if asked.is_some_and(|asked| asked.iter().any(|asked| asked == "table")) {
            return Err(err!(Argument, "this script has an argument `--table` of its own").hint(
                "give that one after `--`, as in `-- --table VALUE`; a table of the script is saved by `t.save(\"t.arrow\")`",
            ));
        }
        let defined = inspect::defined(text);
        if defined.iter().any(|name| name == table) {
            return Ok(());
        }
        let near = names::nearest(table, defined.iter().map(String::as_str));
        let hint = match near {
            Some(near) => format!("did you mean `{near}`?"),
            None => "name a variable of the script, as in `let runs = table(rows);`".into(),
        };
        Err(err!(Name, "this script has no variable `{table}`").hint(hint))
    }

    /// Returns the table that a variable has, or that stands for it in a report; the error lists those that have one.
    pub fn table(&self, name: &str) -> Result<Table> {
        let found = self.variable(name);
        if let Some(table) = found.and_then(table_of) {
            return Ok(table);
        }
        let kind = match found {
            Some(value) => type_name(value).to_string(),
            None => "no such variable at the top level of the script".into(),
        };
        let tables = self.variables().into_iter().filter(|(_, value)| table_of(value).is_some());
        let tables: Vec<&str> = tables.map(|(name, _)| name).collect();
        let hint = if tables.is_empty() {
            "no variable at its top level has a table; `table(rows)` makes one of a list of maps".into()
        } else {
            format!("its tables are {}", tables.join(", "))
        };
        Err(err!(Argument, "expected a table in the variable `{name}`, found {kind}").hint(hint))
    }
}

fn table_of(value: &Dynamic) -> Option<Table> {
    // A closure may share the variable.
    let item = handle::item(&value.flatten_clone()).ok()??;
    item.table().cloned()
}
