//! Names that people bring along from Python, PyTorch and NumPy, answered with what stands for them here.

/// Suggests what to write instead of a function, a method or a property called `name`.
pub fn function(name: &str) -> Option<&'static str> {
    look_up(FUNCTIONS, name)
}

/// Suggests what to write instead of a method or a column called `name` of a table.
pub fn of_table(name: &str) -> Option<&'static str> {
    look_up(TABLES, name)
}

/// Suggests what to write instead of a function of one of our modules that it does not have.
pub fn in_module(module: &str, name: &str) -> Option<&'static str> {
    (module == "hooks").then(|| look_up(HOOKS, name)).flatten()
}

/// Suggests what to write instead of a word of another language.
pub fn word(name: &str) -> Option<&'static str> {
    look_up(WORDS, name)
}

/// Suggests what to write instead of calling into a module called `name`.
pub fn module(name: &str) -> Option<&'static str> {
    look_up(MODULES, name)
}

/// Suggests what to write instead of a statement of another language, which the text before the place of an error, in
/// its line, and from there on gives away.
pub fn statement(before: &str, rest: &str) -> Option<&'static str> {
    let first = rest.split(|c: char| !is_of_name(c)).next().unwrap_or_default();
    if matches!(first, "and" | "or") {
        return word(first);
    }
    let starts = before.trim_start().split(|c: char| !is_of_name(c)).next().unwrap_or_default();
    if rest.starts_with(':') && matches!(starts, "for" | "if" | "while" | "else") {
        return Some(BLOCK);
    }
    let is_in_braces =
        before.rfind('{').is_some_and(|brace| !before[brace..].contains('}') && is_value(&before[..brace]));
    if is_in_braces && rest.trim_start_matches(is_of_name).trim_start().starts_with(':') {
        return Some(MAP);
    }
    let is_open = |open: char, close: char| before.matches(open).count() > before.matches(close).count();
    if (is_open('[', ']') || is_open('(', ')')) && rest.split_once(" for ").is_some_and(|(_, of)| of.contains(" in ")) {
        return Some(COMPREHENSION);
    }
    let line = without_texts(&[before, rest.lines().next().unwrap_or_default()].concat());
    (line.matches(')').count() > line.matches('(').count()).then_some(NOT_OPENED)
}

/// Returns a line without what stands between quotes.
fn without_texts(line: &str) -> String {
    line.split('"').step_by(2).collect()
}

/// Returns whether an unknown variable is given a value where it stands first.
pub fn is_made(before: &str, rest: &str) -> bool {
    let after = rest.trim_start_matches(is_of_name).trim_start();
    (before.trim().is_empty() || before.trim_end().ends_with([';', '{', '}']))
        && after.starts_with('=')
        && !after.starts_with("==")
}

/// Returns whether an unknown variable is the first of several that are given values at once.
pub fn is_made_with_others(before: &str, rest: &str) -> bool {
    let is_first = before.trim().is_empty() || before.trim_end().ends_with([';', '{', '}']);
    let line = rest.lines().next().unwrap_or_default();
    is_first
        && line.split_once('=').is_some_and(|(names, after)| {
            names.contains(',')
                && names.chars().all(|c| is_of_name(c) || matches!(c, ' ' | ','))
                && !after.starts_with('=')
        })
}

/// Returns whether a value follows, in its line, the name that the rest begins with, and the name is not declared.
pub fn is_before_value(before: &str, rest: &str) -> bool {
    let declares = ["let", "const", "fn", "for", "as"];
    let last = before.trim_end().rsplit(|c: char| !is_of_name(c)).next().unwrap_or_default();
    let after = rest.trim_start_matches(is_of_name).trim_start_matches([' ', '\t']);
    !declares.contains(&last) && (after.starts_with(['"', '`', '[', '#']) || after.starts_with(is_of_name))
}

/// Returns whether a statement is a name so far, with or without `let` before it.
pub fn is_name(before: &str) -> bool {
    let statement = before.rsplit([';', '{', '}']).next().unwrap_or_default();
    statement.chars().all(|c| is_of_name(c) || c == ' ')
}

/// Returns whether more names follow, a bracket that ends them, and a value for all.
pub fn is_assigned(rest: &str) -> bool {
    rest.split_once(')').is_some_and(|(names, after)| {
        let after = after.trim_start();
        names.chars().all(|c| is_of_name(c) || matches!(c, ' ' | ','))
            && after.starts_with('=')
            && !after.starts_with("==")
    })
}

fn is_of_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Returns whether a value is expected behind this text, and no block.
fn is_value(before: &str) -> bool {
    let before = before.trim_end();
    before.is_empty() || before.ends_with(['=', '(', ',', '[', ':', '|']) || before.ends_with("return")
}

const BLOCK: &str = "a block stands between braces: `for x in xs { print(x); }`";
const MAP: &str = "a map is `#{ a: 1 }`";
const COMPREHENSION: &str =
    "what is made of each element is `xs.map(|x| x * 2)`, some of the elements are `xs.filter(|x| x > 1)`";
const NOT_OPENED: &str = "a bracket is closed that was not opened: a call is `print(x)`";

/// Hint in place of several names for the parts of one value.
pub const ONE_BY_ONE: &str = "names are given one by one: `let a = xs[0]; let b = xs[1];`";

/// Hint in place of a loop over several names.
pub const COUNTED: &str = "a loop counts by `for (x, i) in xs { .. }`; the parts of a pair are `pair[0]` and `pair[1]`";

/// Hint where a map has a key that is computed.
pub const KEY: &str = "a key is a name, or a text between quotes, and `:` behind it; one that is computed is set \
                       afterwards: `map[key] = 1`";

/// Hint where a variable is made.
pub const MADE: &str = "a variable is made by `let`: `let x = 5;`";

type NameTable = &'static [(&'static [&'static str], &'static str)];

fn look_up(table: NameTable, name: &str) -> Option<&'static str> {
    table.iter().find(|(names, _)| names.contains(&name)).map(|(_, hint)| *hint)
}

const FUNCTIONS: NameTable = &[
    (&["t", "T", "mT", "swapaxes", "swapdims"], "a transposed tensor is `t.transpose()`"),
    (&["view", "view_as", "ravel"], "use `t.reshape([..])`, or `t.flatten()`"),
    (&["size"], "`t.shape` is its sizes, `t.count` how many elements it has"),
    (&["numel", "nelement"], "`t.count` is the number of elements"),
    (&["ndim", "dim"], "`t.rank` is the number of axes"),
    (&["masked_fill", "masked_fill_", "index_fill", "fill_"], "assign to a mask: `t[mask] = value`"),
    (&["masked_select", "index_select", "select"], "index with a mask or a list: `t[mask]`, `t[[1, 2]]`"),
    (&["index_add", "scatter_reduce"], "use `t.scatter_add(axis, index, source)`"),
    (&["matmul", "mm", "bmm", "dot", "mv"], "a matrix product is `a @ b`"),
    (&["mul", "multiply", "sub", "subtract", "add", "divide", "true_divide"], "use the operators `+ - * /`"),
    (&["eq", "equals", "ne"], "use the operators: `a == b`, `a != b`; `a.equal(b)` compares whole tensors"),
    (&["lt", "le", "gt", "ge", "greater", "less"], "use the operators: `a < b`, `a <= b`, `a > b`, `a >= b`"),
    (&["pow", "power", "square"], "a power is `x ** 2`"),
    (&["rsqrt"], "use `x ** -0.5`"),
    (&["var", "var_mean"], "the variance is `t.variance()`"),
    (
        &["concat", "concatenate", "vstack", "hstack"],
        "use `tensor::cat([a, b], axis)` or `tensor::stack([a, b], axis)`",
    ),
    (&["unbind", "chunk", "tensor_split", "array_split"], "use `t.split(size, axis)`, or index: `t[i]`"),
    (&["clip", "clamp_min", "clamp_max"], "use `t.clamp(low, high)`, `t.maximum(low)` or `t.minimum(high)`"),
    (&["isnan"], "use `t.is_nan()`"),
    (&["isinf"], "use `t.is_inf()`"),
    (&["isfinite"], "use `t.is_finite()`"),
    (&["allclose", "isclose"], "use `a.all_close(b)`"),
    (&["array_equal"], "use `a.equal(b)`"),
    (
        &["cosine_similarity", "cos_sim", "cosine_sim", "pairwise_cosine"],
        "`tensor::cosine(a, b)` is for pairs of rows, `geometry::cosines(a, b)` of `std/geometry` for all with all",
    ),
    (&["inv"], "use `a.inverse()`"),
    (&["rand", "random", "uniform_", "rand_like"], "use `tensor::uniform(shape)`"),
    (&["normal", "normal_", "randn_like"], "use `tensor::randn(shape)`"),
    (&["randperm", "shuffle"], "use `tensor::permutation(n)`, and index with it"),
    (&["choice", "multinomial"], "use `tensor::randint(shape, low, high)`, and index with it"),
    (&["zeros_like", "empty", "empty_like"], "use `tensor::zeros(t.shape)`"),
    (&["ones_like"], "use `tensor::ones(t.shape)`"),
    (&["full_like"], "use `tensor::full(t.shape, value)`"),
    (&["array", "asarray", "as_tensor", "from_numpy"], "use `tensor([..])`, or `tensor::load(\"file.npy\")`"),
    (&["tolist", "to_list", "numpy"], "use `t.to_array()`"),
    (
        &["type", "astype", "float", "double", "half", "bfloat16", "long", "int"],
        "use `t.to(\"f32\")`, `x.to_float()`, `x.to_int()`",
    ),
    (&["cov"], "use `t.covariance()`"),
    (&["corrcoef", "pearsonr"], "use `t.corr()`"),
    (&["tile", "repeat_interleave"], "use `t.repeat([..])`"),
    (&["expand_as", "broadcast_to"], "use `t.expand(shape)`"),
    (&["moveaxis", "movedim"], "use `t.permute([..])`"),
    (&["one_hot"], "index the identity: `tensor::eye(classes)[ids]`"),
    (&["log1p"], "use `(1 + x).log()`"),
    (&["expm1"], "use `x.exp() - 1`"),
    (
        &["floor_divide", "floordiv", "divmod", "remainder", "fmod", "mod"],
        "`div(a, b)` is the whole part of a quotient of integers, `a % b` what is left",
    ),
    (&["nanmean", "nansum", "nanstd"], "leave them out by a mask: `t[t.is_finite()]`"),
    (
        &["backward", "grad", "requires_grad", "requires_grad_"],
        "gradients of a metric of the logits are `m.grads(x, metric, sites)`",
    ),
    (
        &["from_pretrained", "load_model"],
        "a model is loaded by `model::load(\"org/name\")`, a dictionary by `sae::load(\"release/id\")`",
    ),
    (
        &["run_with_cache", "cache_all"],
        "`m.run(x)` gives logits and cache, `m.cache(x, sites)` what flows at some sites",
    ),
    (&["run_with_hooks", "add_hook"], "hooks are an option: `m.logits(x, #{ hooks: [hooks::zero(site)] })`"),
    (&["register_forward_hook", "register_hook"], "use `hooks::edit(site, |x, at| ..)` and the option `hooks`"),
    (&["forward"], "use `m.logits(x)`, or `m.run(x)`"),
    (&["set_ungroup_grouped_query_attention"], "use `m.ungrouped()`"),
    (&["to_tokens", "tokenize"], "use `m.tokens(text)`"),
    (&["to_str_tokens", "convert_ids_to_tokens"], "use `m.token_texts(x)`, of a text or of ids"),
    (&["to_single_token"], "use `m.token(text)`"),
    (&["state_dict", "named_parameters"], "`m.parameters` lists the weights, `m.weight(name)` is one"),
    (&["hook_dict", "named_modules"], "`m.sites()` names the sites, `m.site_table()` says what flows there"),
    (&["kl_div"], "`metric::kl()` is one of pairs; of two distributions it is `(p * (p.log() - q.log())).sum(-1)`"),
    (&["clone", "copy", "contiguous"], "tensors are values: `let u = t;` is a copy"),
    (&["append"], "use `array.push(x)`, or `+=` for all of another array"),
    (&["extend"], "use `array.append(other)`"),
    (&["sorted"], "`array.sort()` sorts in place, `t.sort()` gives values and indices"),
    (&["reversed"], "`array.reverse()` turns an array around in place"),
    (&["zip"], "count instead: `for i in 0..a.len { a[i] + b[i] }`"),
    (&["enumerate"], "a loop can count: `for (x, i) in array { .. }`"),
    (&["items"], "`map.keys()` and `map.values()` are arrays"),
    (&["range", "xrange"], "a range is `0..n`, or `range(start, end, step)`"),
    (&["map_over", "apply"], "use the operators on whole tensors, or `t.to_array().map(|x| ..)`"),
    (&["println", "printf", "echo", "puts"], "use `print(x)`, or `show(x)` for a picture of it"),
    (&["format", "sprintf"], "values stand in text between backticks: `` `loss ${x}` ``"),
    (&["str"], "use `x.to_string()`, or backticks: `` `${x}` ``"),
    (&["isinstance", "typeof"], "use `kind_of(x)`"),
    (&["open", "read"], "use `run::load_text(path)`"),
    (
        &[
            "read_csv",
            "read_parquet",
            "read_feather",
            "read_ipc",
            "read_json",
            "read_ndjson",
            "scan_csv",
            "scan_parquet",
        ],
        "the table of a file is `data::table(\"x.csv\")`",
    ),
    (&["DataFrame"], "a table is made of maps, one for each row: `table([#{ a: 1 }, #{ a: 2 }])`"),
    (&["imshow", "heatmap"], "use `plot::heat(t)`"),
    (&["hist"], "use `plot::histogram(t)`"),
];

/// Names of pandas and polars.
const TABLES: NameTable = &[
    (
        &["sort", "sort_values", "order_by", "order", "arrange", "nlargest", "nsmallest"],
        "the rows in the order of a column are `t.sort_by(\"a\")`",
    ),
    (
        &["tail", "last"],
        "the rows at the end of an order are the first of the opposite one: `t.sort_by(\"a\", #{ descending: true }).head(5)`",
    ),
    (&["limit", "first", "slice"], "the first rows are `t.head(5)`"),
    (
        &[
            "write_csv",
            "to_csv",
            "write_parquet",
            "to_parquet",
            "to_feather",
            "write_ipc",
            "write_json",
            "write_ndjson",
            "to_markdown",
        ],
        "a table is written in the format that the name ends in: `t.save(\"x.csv\")`",
    ),
    (
        &["with_columns", "with_column", "assign", "rename", "drop", "map", "apply", "insert"],
        "rows are values of the script, and `table(rows)` makes a table of new ones: \
         `let rows = []; for row in t { row.b = row.a; rows.push(row); }`; `t.select([\"a\", \"b\"])` leaves the other columns out",
    ),
    (
        &["vstack", "concat", "hstack", "append", "extend", "union"],
        "the rows of two tables with the same columns are one table by `table(a.rows + b.rows, #{ columns: a.columns })`",
    ),
    (
        &["height", "shape", "count", "size", "nrow", "nrows", "n_rows", "width"],
        "`t.len` is the number of rows, `t.columns.len` that of columns",
    ),
    (&["select"], "several columns stand in a list: `t.select([\"a\", \"b\"])`"),
    (
        &["describe", "mean", "std", "min", "max", "sum", "agg", "aggregate"],
        "a column is a list, `t[\"a\"]`, and lists have `t[\"a\"].mean()`, `t[\"a\"].min()` and `t[\"a\"].max()`; \
         each group has its own by `t.group_by(\"a\", |rows| #{ best: rows[\"b\"].max() })`",
    ),
    (
        &["groupby", "value_counts", "unique", "n_unique", "nunique", "drop_duplicates", "distinct"],
        "each value of a column becomes a row by `t.group_by(\"a\", |rows| #{ n: rows.len })`",
    ),
    (&["merge", "inner_join", "left_join"], "rows that are equal in a column stand side by side by `a.join(b, \"a\")`"),
    (
        &["query", "where", "loc", "iloc", "dropna", "drop_nulls"],
        "some of the rows are `t.filter(|row| row.a != ())`, one of them is `t[0]`",
    ),
    (
        &["iterrows", "iter_rows", "itertuples", "to_dict", "to_dicts", "rows_as_maps"],
        "a loop goes through the rows as maps: `for row in t { print(row.a); }`",
    ),
];

const HOOKS: NameTable = &[(
    &["ablate", "ablation", "zero_ablate", "knock_out"],
    "an activation is set to zero by `hooks::zero(\"z.0\")`, to its mean in other texts by `hooks::mean(\"z.0\", cache)`",
)];

const WORDS: NameTable = &[
    (&["def", "function", "func"], "a function is `fn name(x) { .. }`"),
    (&["lambda"], "a function without a name is `|x| x + 1`"),
    (&["None", "nil", "null", "undefined"], "nothing is written `()`"),
    (&["True"], "write `true`"),
    (&["False"], "write `false`"),
    (&["elif", "elseif"], "write `else if`"),
    (&["and"], "write `&&`"),
    (&["or"], "write `||`"),
    (&["not"], "write `!`"),
    (&["mut", "val"], "a variable is `let x = ..;`, and can always be changed"),
    (&["from", "use", "require"], "a library is `import \"path\" as name;`"),
    (&["raise", "assert"], "use `throw \"..\"`, or `run::check(condition, \"..\")`"),
    (&["del", "with", "class", "yield", "async", "await"], "there is no such statement in the script language"),
    (&["inf", "Infinity", "infinity"], "infinity is `1.0 / 0.0`"),
    (&["nan", "NaN", "NAN"], "not a number is `0.0 / 0.0`"),
    (&["pi"], "pi is `PI()`"),
    (
        &["axis", "axes", "dim", "keepdim", "dtype", "seed"],
        "an axis is given as it is, options as a map: `t.sum(0, #{ keepdim: true })`",
    ),
    (&["f"], "values stand in text between backticks: `` `loss ${x}` ``"),
];

const MODULES: NameTable = &[
    (
        &["np", "numpy", "torch", "t", "th", "F", "nn", "jnp"],
        "tensors are made by `tensor::`, and everything else is a method",
    ),
    (&["math", "Math"], "functions of numbers need no module: `x.sqrt()`, `x.exp()`, `PI()`"),
    (&["plt", "pyplot", "px", "sns"], "charts are made by `plot::`"),
    (&["linalg"], "linear algebra is methods: `a.svd()`, `a.eigh()`, `a.inverse()`"),
    (&["json"], "use `to_json(x)`, `run::load_json(path)`, `run::save_json(path, x)`"),
    (&["os", "fs", "io", "sys", "path"], "files are read and written by `run::` and `tensor::`"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::Session;

    /// Words in hints that stand for something of the reader's.
    const PLACEHOLDERS: &[&str] = &["fn", "name", "if"];

    #[test]
    fn what_the_hints_call_exists() {
        let session = Session::for_tests();
        let docs = session.docs();
        for (_, hint) in [FUNCTIONS, TABLES, HOOKS, WORDS, MODULES].concat() {
            for (before, _) in hint.match_indices('(').map(|(at, _)| hint.split_at(at)) {
                let name = before.rsplit(|c: char| !(c.is_alphanumeric() || c == '_')).next().unwrap_or_default();
                let known = docs.functions(name).next().is_some() || KNOWN_TO_THE_LANGUAGE.contains(&name);
                assert!(name.is_empty() || known || PLACEHOLDERS.contains(&name), "{hint}: {name}");
            }
        }
    }

    const KNOWN_TO_THE_LANGUAGE: &[&str] = &["print"];

    #[test]
    fn every_name_is_answered_with_its_hint() {
        let mut session = Session::for_tests();
        type HintFunction = fn(&str) -> String;
        let ways: [(NameTable, HintFunction); 5] = [
            (FUNCTIONS, |name| format!("tensor([1.0]).{name}")),
            (TABLES, |name| format!("table([#{{ a: 1 }}]).{name}(1, 2)")),
            (HOOKS, |name| format!("hooks::{name}(\"z.0\")")),
            (WORDS, |name| format!("{name} 1")),
            (MODULES, |name| format!("{name}::something(1)")),
        ];
        for (table, way) in ways {
            for (names, hint) in table {
                for name in *names {
                    let failure = session.eval("<1>", &way(name)).unwrap_err();
                    assert_eq!(failure.hint.as_deref(), Some(*hint), "{}: {}", way(name), failure.message);
                }
            }
        }
    }

    #[test]
    fn no_word_stands_twice() {
        for table in [FUNCTIONS, TABLES, HOOKS, WORDS, MODULES] {
            let mut all: Vec<&str> = table.iter().flat_map(|(names, _)| names.iter().copied()).collect();
            let length = all.len();
            all.sort_unstable();
            all.dedup();
            assert_eq!(all.len(), length);
        }
    }
}
