//! A plan as a person writes it: a map of what a sweep is of, with the options of `data::harvest` and `sae::sweep`
//! under their own names.

use serde_json::{Map, Value};

use crate::base::names;
use crate::base::settings::MOST_THREADS;
use crate::common::*;
use crate::data::store::StoreOptions;
use crate::data::text::SourceOptions;
use crate::options::{Field, OptionGroup, Plain};
use crate::sae::fit::{AXES_OF_KINDS, FitOptions, FitPlan, TargetName, kinds, with_each};

/// Options with their values, as they were given.
pub type OptionValues = Map<String, Value>;

crate::options! {
    /// Options of a sweep, beside its texts and the options of its harvests and fits.
    #[derive(Debug, Clone, PartialEq)]
    pub struct SweepOptions {
        /// The model, as `model::load` takes it, or several.
        model: Vec<String> = Vec::new() => required();
        /// Sites, such as `resid_post.*`.
        sites: Vec<String> = Vec::new() => required();
        /// Target of the fits: a dictionary of each site; a transcoder of each of the first of two sets of sites, which
        /// writes the one of the second; a crosscoder of all sites; or a cross-layer transcoder that reads `mlp_in.*`
        /// or `resid_mid.*`.
        of: TargetName = TargetName::Dictionary;
        /// Whether transcoders have a linear skip connection.
        skip: bool = false;
        /// Number of rows of text on which the loss recovered is computed; 0 for none.
        effect_rows: usize = 0;
        /// Threads of each task; sums are added up in another order with another number of them.
        threads: usize = 1 => at_least(1.0).at_most(f64::from(MOST_THREADS));
    }
}

/// The options of all kinds that are axes of a plan, after those of single kinds.
const AXES: [&str; 3] = ["d_sae", "ratio", "seed"];

/// The options of a text, and of the text to judge on.
const TEXT: &str = "text";
const JUDGE: &str = "judge";

/// A text, by its source and its options.
#[derive(Debug, Clone, PartialEq)]
pub struct TextPlan {
    pub source: String,
    pub options: OptionValues,
}

/// A parsed plan, with a map of options for each fit.
#[derive(Debug, Clone, PartialEq)]
pub struct SweepPlan {
    pub options: SweepOptions,
    pub text: TextPlan,
    /// The text that dictionaries are judged on, where it is another one.
    pub judge: Option<TextPlan>,
    /// Storage of activations, and positions that are left out.
    pub store: OptionValues,
    /// Each combination of kinds, widths, sparsities and seeds once.
    pub fits: Vec<OptionValues>,
}

impl SweepPlan {
    /// Reads a plan; `seed` is that of fits where the plan has none.
    pub fn read(value: &Value, seed: u64) -> Result<Self> {
        let Value::Object(words) = whole(value) else {
            let found = Plain::from(value).described();
            return Err(err!(Argument, "expected a map as the value of a plan, found {found}")
                .hint("a plan ends in `#{ model: \"tiny\", text: \"sample\", sites: \"resid_post.*\", .. }`"));
        };
        refuse_unknown(&words)?;
        let options = SweepOptions::given(|name| words.get(name).map(Plain::from))?;
        if options.model.is_empty() || options.sites.is_empty() {
            let name = if options.model.is_empty() { "model" } else { "sites" };
            return Err(err!(Argument, "expected at least one for `{name}`, found an empty list").about(name));
        }
        refuse_judges(&options, words.contains_key(JUDGE))?;
        let text = words.get(TEXT).ok_or_else(|| {
            err!(Argument, "expected a text for `text`, found nothing")
                .hint("`text: \"sample\"`, a file, or a map of `source` and the options of `data::text`")
                .about(TEXT)
        })?;
        let store = only(&words, StoreOptions::fields());
        StoreOptions::given(|name| store.get(name).map(Plain::from))?;
        let of = options.of;
        Ok(Self {
            options,
            text: TextPlan::read(TEXT, text)?,
            judge: words.get(JUDGE).map(|judge| TextPlan::read(JUDGE, judge)).transpose()?,
            store,
            fits: fits(&words, of, seed)?,
        })
    }
}

impl TextPlan {
    fn read(name: &str, value: &Value) -> Result<Self> {
        let (source, options) = match value {
            Value::String(source) => (Some(source.clone()), OptionValues::new()),
            Value::Object(words) => {
                let mut words = words.clone();
                let source = words.remove("source");
                (source.and_then(|source| source.as_str().map(String::from)), words)
            }
            _ => (None, OptionValues::new()),
        };
        let source = source.ok_or_else(|| {
            err!(Argument, "expected the source of a text for `{name}`, found {}", Plain::from(value).described())
                .hint("a file, a folder, a pattern, \"sample\", or a map such as #{ source: \"sample\", tokens: 100_000 }")
                .about(name)
        })?;
        let known: Vec<&str> = SourceOptions::fields().iter().map(|field| field.name).collect();
        if let Some(unknown) = options.keys().find(|key| !known.contains(&key.as_str())) {
            let near = names::suggestion(unknown, known.iter().copied());
            return Err(err!(Name, "unknown option `{name}.{unknown}`").maybe_hint(near).about(name));
        }
        let words = Self { source, options };
        words.options().map_err(|e| e.within(format!("`{name}`")))?;
        Ok(words)
    }

    pub fn options(&self) -> Result<SourceOptions> {
        SourceOptions::given(|name| self.options.get(name).map(Plain::from))
    }
}

/// Builds the plan of a fit with these options.
pub fn fit_plan(of: TargetName, words: &OptionValues) -> Result<FitPlan> {
    let options = FitOptions::given(|name| words.get(name).map(Plain::from))?;
    let own = kinds::options_of(options.kind.0)?;
    let own: Vec<(&str, Plain)> =
        own.iter().filter_map(|field| Some((field.name, Plain::from(words.get(field.name)?)))).collect();
    FitPlan::named(of, options, &own)
}

/// Refuses what is not measured of crosscoders and cross-layer transcoders.
fn refuse_judges(options: &SweepOptions, has_judge: bool) -> Result<()> {
    let refused = |name: &str| {
        Err(err!(Argument, "expected no `{name}` for a sweep of `{}`", options.of.word())
            .hint("leave it out: they are judged on the activations that they were fitted to")
            .about(name))
    };
    match options.of {
        TargetName::Crosscoder if has_judge => refused(JUDGE),
        TargetName::Crosscoder | TargetName::CrossLayer if options.effect_rows > 0 => refused("effect_rows"),
        _ => Ok(()),
    }
}

/// Returns the options of each combination: the kinds in their order, and the last axis varies fastest. A kind gets
/// those that it has.
fn fits(words: &OptionValues, of: TargetName, seed: u64) -> Result<Vec<OptionValues>> {
    let named = kinds_of(words, of)?;
    let of_kinds = named.iter().map(|name| kinds::options_of(name)).collect::<Result<Vec<_>>>();
    let of_kinds = of_kinds.map_err(|e| e.about("kind"))?;
    let has = |fields: &[Field], name: &str| fields.iter().any(|field| field.name == name);
    let of_all = FitOptions::fields();
    let is_own = |name: &str| kinds::NAMES.iter().any(|kind| kinds::options_of(kind).is_ok_and(|own| has(own, name)));
    let stray = |name: &&String| is_own(name) && !has(of_all, name) && !of_kinds.iter().any(|own| has(own, name));
    if let Some(stray) = words.keys().find(stray) {
        return Err(err!(Argument, "expected no `{stray}` for {}", named.join(", ")).about(stray.as_str()));
    }
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    for (name, own) in named.iter().zip(&of_kinds) {
        let mut fit = only(words, of_all);
        fit.extend(only(words, own));
        fit.insert("kind".into(), name.as_str().into());
        // Seeds are written as scripts have them, where those of 2^63 and more are negative.
        fit.entry("seed").or_insert_with(|| seed.cast_signed().into());
        let mut cells = vec![fit];
        for axis in AXES_OF_KINDS.iter().chain(&AXES) {
            let Some(Value::Array(values)) = cells.first().and_then(|cell| cell.get(*axis)).cloned() else { continue };
            if values.is_empty() {
                return Err(err!(Argument, "expected values for `{axis}`, found an empty list").about(*axis));
            }
            cells = with_each(cells, &values, |cell, value| {
                cell.insert((*axis).into(), value.clone());
            });
        }
        for cell in cells {
            fit_plan(of, &cell)?;
            if seen.insert(canonical(&Value::Object(cell.clone()))) {
                found.push(cell);
            }
        }
    }
    Ok(found)
}

/// Returns the kinds that a plan names.
fn kinds_of(words: &OptionValues, of: TargetName) -> Result<Vec<String>> {
    let Some(value) = words.get("kind") else { return Ok(vec![of.usual_kind().0.into()]) };
    let field = Field::new("kind", &["Kinds."], &Vec::<String>::new());
    match field.taken::<Vec<String>>(&Plain::from(value))? {
        none if none.is_empty() => Err(err!(Argument, "expected a kind, found an empty list").about("kind")),
        some => Ok(some),
    }
}

/// Returns the options that are among the fields.
fn only(words: &OptionValues, fields: &[Field]) -> OptionValues {
    let known = words.iter().filter(|(name, _)| fields.iter().any(|field| field.name == *name));
    known.map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn refuse_unknown(words: &OptionValues) -> Result<()> {
    let of_kinds = kinds::NAMES.iter().filter_map(|kind| kinds::options_of(kind).ok()).flatten();
    let declared = [SweepOptions::fields(), StoreOptions::fields(), FitOptions::fields()].concat();
    let mut known: Vec<&str> = declared.iter().chain(of_kinds).map(|field| field.name).chain([TEXT, JUDGE]).collect();
    // Where stores are is not the plan's to say.
    known.retain(|name| *name != "dir");
    match words.keys().find(|key| !known.contains(&key.as_str())) {
        None => Ok(()),
        Some(unknown) => Err(err!(Name, "a plan has no option `{unknown}`")
            .maybe_hint(names::suggestion(unknown, known.iter().copied()))
            .about(unknown.as_str())),
    }
}

/// Writes whole numbers without a point: `8.0` and `8` are the same cell.
fn whole(value: &Value) -> Value {
    match value {
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() < 9e15 => Value::from(float as i64),
            _ => value.clone(),
        },
        Value::Array(values) => values.iter().map(whole).collect(),
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), whole(value))).collect(),
        _ => value.clone(),
    }
}

/// Writes JSON with the names of every map in order, so that equal values are equal texts.
pub(super) fn canonical(value: &Value) -> String {
    sorted(value).to_string()
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let ordered: BTreeMap<&String, &Value> = fields.iter().collect();
            ordered.into_iter().map(|(name, value)| (name.clone(), sorted(value))).collect()
        }
        Value::Array(values) => values.iter().map(sorted).collect(),
        _ => value.clone(),
    }
}
