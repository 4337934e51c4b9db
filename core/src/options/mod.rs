//! Floor 1: the options of a call, declared once: a struct whose fields each have a sentence, a default, and the values
//! that they take.
//!
//! [`options!`](crate::options!) makes of one declaration the struct, its `Default`, the conversion from what a script
//! gives, the table that help and the reference show, and what Tab offers. [`choices!`](crate::choices) does so for a
//! setting that is one of several words.

pub mod fields;
pub mod maps;
pub mod seed;

use std::any::Any;
use std::fmt::Display;
use std::rc::Rc;

use crate::common::*;

/// A value as it was given for an option, whatever language it was written in.
#[derive(Debug, Clone, PartialEq)]
pub enum Plain {
    Nothing,
    Flag(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    List(Vec<Plain>),
    Map(Vec<(String, Plain)>),
    /// A value of another kind: a function, a model.
    Other(Foreign),
}

/// A value of the scripting language, which only options of the script floor accept.
#[derive(Clone)]
pub struct Foreign {
    /// The kind of the value in words: "a function".
    pub what: String,
    pub value: Rc<dyn Any>,
}

impl std::fmt::Debug for Foreign {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.what)
    }
}

impl PartialEq for Foreign {
    fn eq(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.value, &other.value)
    }
}

impl Plain {
    /// Describes the value in the words of an error.
    pub fn described(&self) -> String {
        match self {
            Plain::Nothing => "nothing".into(),
            Plain::Flag(value) => format!("bool {value}"),
            Plain::Integer(value) => format!("integer {value}"),
            Plain::Float(value) => format!("float {}", number_text(*value)),
            Plain::Text(text) if text.chars().count() <= 24 => format!("string {text:?}"),
            Plain::Text(_) => "a string".into(),
            Plain::List(_) => "an array".into(),
            Plain::Map(_) => "a map".into(),
            Plain::Other(foreign) => foreign.what.clone(),
        }
    }
}

impl From<&serde_json::Value> for Plain {
    fn from(value: &serde_json::Value) -> Self {
        use serde_json::Value;
        match value {
            Value::Null => Plain::Nothing,
            Value::Bool(value) => Plain::Flag(*value),
            Value::Number(value) => match value.as_i64() {
                Some(whole) => Plain::Integer(whole),
                None => Plain::Float(value.as_f64().unwrap_or(f64::NAN)),
            },
            Value::String(text) => Plain::Text(text.clone()),
            Value::Array(values) => Plain::List(values.iter().map(Plain::from).collect()),
            Value::Object(fields) => {
                Plain::Map(fields.iter().map(|(key, value)| (key.clone(), Plain::from(value))).collect())
            }
        }
    }
}

/// Writes a number for display: eight significant digits, no trailing zeros. `1.0` remains visibly a float.
pub fn number_text(x: f64) -> String {
    if !x.is_finite() {
        return if x.is_nan() {
            "NaN".into()
        } else if x > 0.0 {
            "inf".into()
        } else {
            "-inf".into()
        };
    }
    if x == 0.0 {
        return "0.0".into();
    }
    let magnitude = x.abs().log10().floor() as i32;
    if !(-5..15).contains(&magnitude) {
        let text = format!("{x:.7e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        return format!("{}e{exponent}", digits.trim_end_matches('0').trim_end_matches('.'));
    }
    let decimals = (7 - magnitude).max(1) as usize;
    let text = format!("{x:.decimals$}");
    let trimmed = text.trim_end_matches('0');
    if trimmed.ends_with('.') { format!("{trimmed}0") } else { trimmed.into() }
}

/// Writes a number as a default: whole ones without a point.
fn number(value: f64) -> String {
    if value.fract() == 0.0 && value.abs() < 1e15 {
        format!("{value}")
    } else if value.abs() < 1e-3 || value.abs() >= 1e15 {
        format!("{value:e}")
    } else {
        format!("{value}")
    }
}

/// A type that an option can have.
pub trait Setting: Sized {
    /// The words that a value is one of, if it is of a choice.
    const CHOICES: &'static [&'static str] = &[];

    /// Describes the accepted values, as an error names them: "a number".
    fn wanted() -> String;

    fn of(value: &Plain) -> Option<Self>;

    /// Writes the value as a script does.
    fn written(&self) -> String;

    /// Returns the numbers in the value, which must lie in the range of the option.
    fn numbers(&self) -> Vec<f64> {
        Vec::new()
    }

    /// Finds the first wrong element of a list or a map.
    fn fault(_value: &Plain) -> Option<ElementFault<'_>> {
        None
    }
}

/// A wrong element of a list or a map: its place, such as `[2]` or `.name`, and what is expected there.
pub struct ElementFault<'a> {
    place: String,
    wanted: String,
    found: &'a Plain,
}

impl<'a> ElementFault<'a> {
    pub fn new(place: String, wanted: String, found: &'a Plain) -> Self {
        Self { place, wanted, found }
    }

    /// Returns the fault of an element that must be a `T`, if it is not.
    pub fn of<T: Setting>(place: String, value: &'a Plain) -> Option<Self> {
        if T::of(value).is_some() {
            return None;
        }
        Some(match T::fault(value) {
            Some(inner) => Self { place: format!("{place}{}", inner.place), ..inner },
            None => Self { place, wanted: T::wanted(), found: value },
        })
    }
}

impl Setting for bool {
    fn wanted() -> String {
        "true or false".into()
    }

    fn of(value: &Plain) -> Option<Self> {
        if let Plain::Flag(value) = value { Some(*value) } else { None }
    }

    fn written(&self) -> String {
        self.to_string()
    }
}

impl Setting for f64 {
    fn wanted() -> String {
        "a number".into()
    }

    fn of(value: &Plain) -> Option<Self> {
        match value {
            Plain::Float(value) => Some(*value),
            Plain::Integer(value) => Some(*value as f64),
            _ => None,
        }
    }

    fn written(&self) -> String {
        number(*self)
    }

    fn numbers(&self) -> Vec<f64> {
        vec![*self]
    }
}

impl Setting for i64 {
    fn wanted() -> String {
        "an integer".into()
    }

    /// Converts a value to a whole number, `3.0` included.
    fn of(value: &Plain) -> Option<Self> {
        match value {
            Plain::Integer(value) => Some(*value),
            Plain::Float(value) if value.fract() == 0.0 && value.abs() <= 9e15 => Some(*value as i64),
            _ => None,
        }
    }

    fn written(&self) -> String {
        self.to_string()
    }

    fn numbers(&self) -> Vec<f64> {
        vec![*self as f64]
    }
}

macro_rules! sizes {
    ($($type:ty),*) => { $(
        impl Setting for $type {
            fn wanted() -> String {
                "an integer of at least 0".into()
            }

            fn of(value: &Plain) -> Option<Self> {
                i64::of(value).and_then(|value| value.try_into().ok())
            }

            fn written(&self) -> String {
                self.to_string()
            }

            fn numbers(&self) -> Vec<f64> {
                vec![*self as f64]
            }
        }
    )* };
}

sizes!(usize, u32, u64);

impl Setting for String {
    fn wanted() -> String {
        "a string".into()
    }

    fn of(value: &Plain) -> Option<Self> {
        if let Plain::Text(text) = value { Some(text.clone()) } else { None }
    }

    fn written(&self) -> String {
        format!("{self:?}")
    }
}

/// An optional value: `()` stands for none.
impl<T: Setting> Setting for Option<T> {
    const CHOICES: &'static [&'static str] = T::CHOICES;

    fn wanted() -> String {
        T::wanted()
    }

    fn of(value: &Plain) -> Option<Self> {
        match T::of(value) {
            Some(value) => Some(Some(value)),
            None => (*value == Plain::Nothing).then_some(None),
        }
    }

    fn written(&self) -> String {
        self.as_ref().map_or_else(|| "none".into(), T::written)
    }

    fn numbers(&self) -> Vec<f64> {
        self.as_ref().map_or_else(Vec::new, T::numbers)
    }

    fn fault(value: &Plain) -> Option<ElementFault<'_>> {
        T::fault(value)
    }
}

/// The suffix for options that take several values.
const OR_SEVERAL: &str = ", or an array of such";

/// Several values, or one alone.
impl<T: Setting> Setting for Vec<T> {
    const CHOICES: &'static [&'static str] = T::CHOICES;

    fn wanted() -> String {
        T::wanted() + OR_SEVERAL
    }

    fn of(value: &Plain) -> Option<Self> {
        match value {
            Plain::List(values) => values.iter().map(T::of).collect(),
            one => T::of(one).map(|one| vec![one]),
        }
    }

    fn written(&self) -> String {
        format!("[{}]", self.iter().map(T::written).collect::<Vec<_>>().join(", "))
    }

    fn numbers(&self) -> Vec<f64> {
        self.iter().flat_map(T::numbers).collect()
    }

    fn fault(value: &Plain) -> Option<ElementFault<'_>> {
        let Plain::List(values) = value else { return T::fault(value) };
        values.iter().enumerate().find_map(|(index, value)| ElementFault::of::<T>(format!("[{index}]"), value))
    }
}

impl<T: Setting + Copy, const N: usize> Setting for [T; N] {
    fn wanted() -> String {
        format!("{N} values, each {}", T::wanted())
    }

    fn of(value: &Plain) -> Option<Self> {
        let Plain::List(values) = value else { return None };
        let values: Vec<T> = values.iter().map(T::of).collect::<Option<_>>()?;
        values.try_into().ok()
    }

    fn written(&self) -> String {
        format!("[{}]", self.iter().map(T::written).collect::<Vec<_>>().join(", "))
    }

    fn numbers(&self) -> Vec<f64> {
        self.iter().flat_map(T::numbers).collect()
    }
}

/// A value for each of some names.
impl<T: Setting> Setting for BTreeMap<String, T> {
    fn wanted() -> String {
        format!("a map whose values are each {}", T::wanted())
    }

    fn of(value: &Plain) -> Option<Self> {
        let Plain::Map(fields) = value else { return None };
        fields.iter().map(|(name, value)| T::of(value).map(|value| (name.clone(), value))).collect()
    }

    fn written(&self) -> String {
        let fields: Vec<String> = self.iter().map(|(name, value)| format!("{name}: {}", value.written())).collect();
        format!("#{{ {} }}", fields.join(", "))
    }

    fn numbers(&self) -> Vec<f64> {
        self.values().flat_map(T::numbers).collect()
    }

    fn fault(value: &Plain) -> Option<ElementFault<'_>> {
        let Plain::Map(fields) = value else { return None };
        fields.iter().find_map(|(name, value)| ElementFault::of::<T>(format!(".{name}"), value))
    }
}

/// One option, as it was declared.
#[derive(Debug, Clone)]
pub struct Field {
    /// The name of the option in scripts.
    pub name: &'static str,
    /// The sentence on the option.
    pub meaning: String,
    /// The default as a script writes it, or in words where it is computed.
    pub default: String,
    pub choices: &'static [&'static str],
    /// Whether a call without the option is refused.
    pub is_required: bool,
    /// Another option, and its words with which this one exists; no words where it always does.
    pub only: (&'static str, &'static [&'static str]),
    wanted: String,
    low: Option<(f64, bool)>,
    high: Option<f64>,
    /// Whether NaN is a value of the option: elsewhere it is a mistake, and no key or record could tell it from none.
    takes_nan: bool,
}

impl Field {
    /// Declares an option with this doc comment and default.
    pub fn new<T: Setting>(name: &'static str, docs: &[&str], default: &T) -> Self {
        Self::of(name, docs, default.written(), T::CHOICES, T::wanted())
    }

    /// Declares an option. Code that is not generic is apart, since every option is of some type.
    fn of(
        name: &'static str,
        docs: &[&str],
        default: String,
        choices: &'static [&'static str],
        wanted: String,
    ) -> Self {
        let sentence = docs.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ");
        Self {
            name,
            meaning: lowered(sentence.strip_suffix('.').unwrap_or(&sentence)),
            default,
            choices,
            is_required: false,
            only: ("", &[]),
            wanted,
            low: None,
            high: None,
            takes_nan: false,
        }
    }

    /// Sets the option's name in scripts, if that is a keyword of Rust.
    pub fn called(self, name: &'static str) -> Self {
        Self { name, ..self }
    }

    /// States in words how the default is computed.
    pub fn usually(self, default: &str) -> Self {
        Self { default: default.into(), ..self }
    }

    pub fn required(self) -> Self {
        Self { is_required: true, default: String::new(), ..self }
    }

    /// Limits the option to calls in which another one is one of these words.
    pub fn only(self, option: &'static str, words: &'static [&'static str]) -> Self {
        Self { only: (option, words), ..self }
    }

    pub fn above(self, low: f64) -> Self {
        Self { low: Some((low, false)), ..self }
    }

    pub fn at_least(self, low: f64) -> Self {
        Self { low: Some((low, true)), ..self }
    }

    pub fn at_most(self, high: f64) -> Self {
        Self { high: Some(high), ..self }
    }

    /// Accepts NaN.
    pub fn or_nan(self) -> Self {
        Self { takes_nan: true, ..self }
    }

    /// Describes the accepted values, as an error names them.
    pub fn wanted(&self) -> String {
        let low = self.low.map(|(low, is_in)| if is_in { format!("at least {low}") } else { format!("above {low}") });
        let high = self.high.map(|high| format!("at most {high}"));
        let range: Vec<String> = [low, high].into_iter().flatten().collect();
        if range.is_empty() {
            self.wanted.clone()
        } else {
            format!("{} {}", self.wanted.trim_end_matches(" of at least 0"), range.join(" and "))
        }
    }

    fn is_within(&self, number: f64) -> bool {
        if number.is_nan() {
            return self.takes_nan;
        }
        let low = self.low.is_none_or(|(low, is_in)| number > low || is_in && number == low);
        low && self.high.is_none_or(|high| number <= high)
    }

    /// Converts the given value of the option, if it is one that the option takes.
    pub fn taken<T: Setting>(&self, value: &Plain) -> Result<T> {
        self.fitting(value).ok_or_else(|| self.refusal(value, T::fault(value), self.wrong_element::<T>(value)))
    }

    fn refusal(&self, value: &Plain, fault: Option<ElementFault>, wrong: Option<(usize, &Plain)>) -> Error {
        match (fault, wrong) {
            (Some(ElementFault { place, wanted, found }), _) => {
                refused(self.name, &place, &wanted, self.choices, found)
            }
            (None, Some((i, element))) => {
                let wanted = self.wanted().replacen(OR_SEVERAL, "", 1);
                refused(self.name, &format!("[{i}]"), &wanted, self.choices, element)
            }
            (None, None) => refused(self.name, "", &self.wanted(), self.choices, value),
        }
    }

    fn fitting<T: Setting>(&self, value: &Plain) -> Option<T> {
        T::of(value).filter(|taken| taken.numbers().iter().all(|n| self.is_within(*n)))
    }

    /// Finds the element of a list that is out of range.
    fn wrong_element<'a, T: Setting>(&self, value: &'a Plain) -> Option<(usize, &'a Plain)> {
        let Plain::List(elements) = value else { return None };
        T::of(&Plain::List(Vec::new()))?;
        elements.iter().enumerate().find(|(_, element)| self.fitting::<T>(element).is_none())
    }
}

fn refused(name: &str, place: &str, wanted: &str, choices: &'static [&'static str], value: &Plain) -> Error {
    let near = match value {
        Plain::Text(text) => names::suggestion(text, choices.iter().copied()),
        _ => None,
    };
    err!(Argument, "expected {wanted} for `{name}{place}`, found {}", value.described()).about(name).maybe_hint(near)
}

/// Converts an argument that is one of several words.
pub fn chosen<T: Setting>(name: &str, word: &str) -> Result<T> {
    let value = Plain::Text(word.into());
    T::of(&value).ok_or_else(|| refused(name, "", &T::wanted(), T::CHOICES, &value))
}

/// Names that help texts begin with.
const PROPER: [&str; 1] = ["Adam"];

/// Returns the sentence as it follows a colon; names and abbreviations keep their capitals.
fn lowered(sentence: &str) -> String {
    let word = sentence.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
    if PROPER.contains(&word) {
        return sentence.into();
    }
    let mut letters = sentence.chars();
    let first = letters.next();
    let second = letters.next();
    match (first, second) {
        (Some(first), Some(second)) if second.is_lowercase() || second == ' ' => {
            first.to_lowercase().chain(sentence.chars().skip(1)).collect()
        }
        _ => sentence.into(),
    }
}

/// A declared group of options.
pub trait OptionGroup: Default {
    fn fields() -> &'static [Field];

    /// Takes the value of an option by its number.
    fn set(&mut self, number: usize, value: &Plain) -> Result<()>;

    /// Builds all options; `find` returns those that were given.
    fn given(mut find: impl FnMut(&'static str) -> Option<Plain>) -> Result<Self> {
        let mut options = Self::default();
        set_given(Self::fields(), &mut find, &mut |number, value| options.set(number, value))?;
        options.refuse_others()?;
        Ok(options)
    }

    /// Writes the values of all options as a script does.
    fn written(&self) -> Vec<String>;

    /// Returns all options by name, each as a script writes it, with the seed that a call drew by, for the record of a fit.
    fn recorded(&self, seed: u64) -> Map<String, Value> {
        let names = Self::fields().iter().map(|field| field.name.to_string());
        let mut all: Map<String, Value> = names.zip(self.written().into_iter().map(Into::into)).collect();
        all.insert("seed".into(), seed.into());
        all
    }

    /// Refuses options with another value than their default that exist only with other words of another option: they would
    /// be without effect.
    fn refuse_others(&self) -> Result<()> {
        refuse_without_effect(Self::fields(), &self.written(), &Self::default().written())
    }
}

/// Sets the options that `find` returns. Code that is not generic over the group is apart, as in [`Field::of`].
fn set_given(
    fields: &'static [Field],
    find: &mut dyn FnMut(&'static str) -> Option<Plain>,
    set: &mut dyn FnMut(usize, &Plain) -> Result<()>,
) -> Result<()> {
    for (number, field) in fields.iter().enumerate() {
        match find(field.name) {
            Some(value) => set(number, &value)?,
            None if field.is_required => return Err(missing(field)),
            None => {}
        }
    }
    Ok(())
}

/// Refuses values that are no defaults, of options that do not exist beside the words of another one.
fn refuse_without_effect(fields: &[Field], values: &[String], defaults: &[String]) -> Result<()> {
    let value = |name: &str| fields.iter().zip(values).find(|(field, _)| field.name == name).map(|(_, v)| v);
    for ((field, own), default) in fields.iter().zip(values).zip(defaults) {
        let (option, words) = field.only;
        let Some(found) = value(option) else { continue };
        let is_there = words.iter().any(|word| *found == format!("{word:?}"));
        if !is_there && own != default {
            let name = field.name;
            let words: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
            return Err(err!(Argument, "expected no `{name}` beside `{option}: {found}`, where it has no effect")
                .hint(format!("`{name}` goes with `{option}` {}", words.join(" or ")))
                .about(name));
        }
    }
    Ok(())
}

fn missing(field: &Field) -> Error {
    err!(Argument, "expected {} for `{}`, found nothing", field.wanted(), field.name)
        .hint(format!("`{}`: {}", field.name, field.meaning))
}

/// Lists words as an error names them: "one of a, b".
pub fn one_of<T: Display>(words: impl IntoIterator<Item = T>) -> String {
    let words: Vec<String> = words.into_iter().map(|word| format!("\"{word}\"")).collect();
    format!("one of {}", words.join(", "))
}

/// Declares options: a struct, its defaults, and how scripts give them.
///
/// Each field has a doc comment, which help shows, and a default. After `=>` come calls of [`Field`]'s methods. Options
/// that several calls share are a group of their own, which `with reading: ReadingOptions;` includes; behind `=>` there
/// `only` limits all of its fields. One call declares one struct or several; those that derive nothing by themselves are
/// `Debug` and `Clone`.
#[macro_export]
macro_rules! options {
    ($(#[$($attribute:tt)*])* $vis:vis struct $name:ident { $($field:tt)* } $($more:tt)+) => {
        $crate::options! { $(#[$($attribute)*])* $vis struct $name { $($field)* } }
        $crate::options! { $($more)+ }
    };
    ($(#[doc = $doc:tt])* $vis:vis struct $name:ident { $($field:tt)* }) => {
        $crate::options! { $(#[doc = $doc])* #[derive(Debug, Clone)] $vis struct $name { $($field)* } }
    };
    ($(#[$attribute:meta])* $vis:vis struct $name:ident { $(
        $(#[doc = $doc:literal])+
        $field:ident : $type:ty = $default:expr $(=> $($clause:ident ( $($argument:expr),* )).+)?;
    )* $(with $group:ident : $of:ty $(=> only($option:literal, $words:expr))?;)* }) => {
        $(#[$attribute])*
        $vis struct $name { $(
            $(#[doc = $doc])+
            pub $field: $type,
        )* $(pub $group: $of,)* }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)* $($group: Default::default(),)* }
            }
        }

        impl $crate::options::OptionGroup for $name {
            fn fields() -> &'static [$crate::options::Field] {
                static FIELDS: std::sync::OnceLock<Vec<$crate::options::Field>> = std::sync::OnceLock::new();
                FIELDS.get_or_init(|| {
                    let default = Self::default();
                    let own = vec![$(
                        $crate::options::Field::new(stringify!($field), &[$($doc),+], &default.$field)
                            $($(.$clause($($argument),*))+)?,
                    )*];
                    let groups: &[Vec<$crate::options::Field>] = &[$(
                        <$of as $crate::options::OptionGroup>::fields().to_vec()
                            $(.into_iter().map(|field| field.only($option, $words)).collect::<Vec<_>>())?
                    ),*];
                    own.into_iter().chain(groups.concat()).collect()
                })
            }

            fn written(&self) -> Vec<String> {
                let own = vec![$($crate::options::Setting::written(&self.$field),)*];
                let groups: &[Vec<String>] = &[$($crate::options::OptionGroup::written(&self.$group)),*];
                own.into_iter().chain(groups.concat()).collect()
            }

            fn set(&mut self, number: usize, value: &$crate::options::Plain) -> $crate::base::Result<()> {
                let Some(field) = Self::fields().get(number) else { return Ok(()) };
                let mut place = 0;
                $(
                    if place == number {
                        self.$field = field.taken(value)?;
                    }
                    place += 1;
                )*
                $(
                    let length = <$of as $crate::options::OptionGroup>::fields().len();
                    if (place..place + length).contains(&number) {
                        $crate::options::OptionGroup::set(&mut self.$group, number - place, value)?;
                    }
                    place += length;
                )*
                debug_assert_eq!(place, Self::fields().len());
                Ok(())
            }
        }
    };
}

/// Declares a setting that is one of several words.
#[macro_export]
macro_rules! choices {
    ($(#[$attribute:meta])* $vis:vis enum $name:ident { $(
        $(#[doc = $doc:literal])*
        $variant:ident = $word:literal,
    )* }) => {
        $(#[$attribute])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        $vis enum $name { $(
            $(#[doc = $doc])*
            $variant,
        )* }

        impl $name {
            pub const ALL: &'static [(&'static str, Self)] = &[$(($word, Self::$variant)),*];

            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.word())
            }
        }

        impl $crate::options::Setting for $name {
            const CHOICES: &'static [&'static str] = &[$($word),*];

            fn wanted() -> String {
                $crate::options::one_of(Self::CHOICES)
            }

            fn of(value: &$crate::options::Plain) -> Option<Self> {
                let $crate::options::Plain::Text(text) = value else { return None };
                Self::ALL.iter().find(|(word, _)| word == text).map(|(_, choice)| *choice)
            }

            fn written(&self) -> String {
                format!("{:?}", self.word())
            }
        }
    };
}

/// Declares a setting that is a text or a number, with the words in which an error asks for it.
#[macro_export]
macro_rules! text_or_number {
    ($(#[$attribute:meta])* $vis:vis enum $name:ident {
        $(#[doc = $text_doc:literal])*
        $text:ident(String),
        $(#[doc = $number_doc:literal])*
        $number:ident($type:ty),
    } wanted $wanted:literal) => {
        $(#[$attribute])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        $vis enum $name {
            $(#[doc = $text_doc])*
            $text(String),
            $(#[doc = $number_doc])*
            $number($type),
        }

        impl $crate::options::Setting for $name {
            fn wanted() -> String {
                $wanted.into()
            }

            fn of(value: &$crate::options::Plain) -> Option<Self> {
                match value {
                    $crate::options::Plain::Text(text) => Some(Self::$text(text.clone())),
                    number => <$type as $crate::options::Setting>::of(number).map(Self::$number),
                }
            }

            fn written(&self) -> String {
                match self {
                    Self::$text(text) => $crate::options::Setting::written(text),
                    Self::$number(number) => $crate::options::Setting::written(number),
                }
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    choices! {
        enum Shape {
            Constant = "constant",
            Linear = "linear",
        }
    }

    options! {
        /// Settings of a sample for tests.
        #[derive(Debug, PartialEq)]
        struct SampleOptions {
            /// The highest learning
            /// rate.
            lr: f64 = 6e-3 => above(0.0);
            /// Rows of an update.
            batch: usize = 2048 => at_least(1.0);
            /// Shape of the learning rate.
            shape: Shape = Shape::Linear;
            /// Decay of the moments.
            betas: [f64; 2] = [0.9, 0.99] => at_least(0.0).at_most(1.0);
            /// Steps.
            steps: Option<u64> = None => usually("as many as there are rows");
            /// Positions.
            at: Vec<i64> = Vec::new();
            /// Number of codes.
            k: usize = 0 => required();
        }
    }

    options! {
        #[derive(Debug, PartialEq)]
        struct Larger {
            /// Rows shown.
            rows: usize = 10;
            with sample: SampleOptions;
        }
    }

    #[test]
    fn groups_are_taken_in() {
        let names: Vec<_> = Larger::fields().iter().map(|field| field.name).collect();
        assert_eq!(names, ["rows", "lr", "batch", "shape", "betas", "steps", "at", "k"]);
        let mut larger = Larger::default();
        let batch = 2;
        larger.set(batch, &Plain::Integer(7)).unwrap();
        larger.set(0, &Plain::Integer(3)).unwrap();
        assert_eq!(larger, Larger { rows: 3, sample: SampleOptions { batch: 7, ..SampleOptions::default() } });
    }

    #[test]
    fn nan_is_a_value_where_that_is_said() {
        let number = Field::new("eps", &["A number."], &0.5);
        assert_eq!(
            number.taken::<f64>(&Plain::Float(f64::NAN)).unwrap_err().message,
            "expected a number for `eps`, found float NaN"
        );
        assert_eq!(number.taken::<f64>(&Plain::Float(f64::INFINITY)).unwrap(), f64::INFINITY);
        assert!(number.clone().or_nan().taken::<f64>(&Plain::Float(f64::NAN)).unwrap().is_nan());
        let several = Field::new("weights", &["Numbers."], &vec![0.5]);
        let list = Plain::List(vec![Plain::Float(0.5), Plain::Float(f64::NAN)]);
        assert_eq!(
            several.taken::<Vec<f64>>(&list).unwrap_err().message,
            "expected a number for `weights[1]`, found float NaN"
        );
    }

    fn given(pairs: &[(&str, Plain)]) -> Result<SampleOptions> {
        SampleOptions::given(|name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| value.clone()))
    }

    options! {
        #[derive(Debug)]
        struct Fall {
            /// Shape of the learning rate.
            shape: Shape = Shape::Linear;
            /// Amount of the fall.
            by: Option<f64> = None => only("shape", &["linear"]);
            with sample: Larger;
        }
    }

    options! {
        #[derive(Debug)]
        struct LimitedFall {
            /// Shape of the learning rate.
            shape: Shape = Shape::Linear;
            with sample: Height => only("shape", &["linear"]);
        }
    }

    options! {
        #[derive(Debug)]
        struct Height {
            /// Height of the fall.
            height: f64 = 1.0;
        }
    }

    #[test]
    fn a_group_is_limited_where_it_is_taken_in() {
        let found = |shape, height| LimitedFall { shape, sample: Height { height } }.refuse_others();
        assert!(found(Shape::Linear, 2.0).is_ok() && found(Shape::Constant, 1.0).is_ok());
        assert_eq!(found(Shape::Constant, 2.0).unwrap_err().about.as_deref(), Some("height"));
        assert_eq!(Height::fields()[0].only, ("", &[] as &[&str]));
    }

    #[test]
    fn options_of_other_words_are_refused() {
        let found = |shape, by| Fall { shape, by, ..Fall::default() }.refuse_others();
        assert!(found(Shape::Linear, Some(0.5)).is_ok() && found(Shape::Constant, None).is_ok());
        let error = found(Shape::Constant, Some(0.5)).unwrap_err();
        assert_eq!(
            (error.message.as_str(), error.about.as_deref()),
            ("expected no `by` beside `shape: \"constant\"`, where it has no effect", Some("by"))
        );
        assert_eq!(Fall::default().written().len(), Fall::fields().len());
    }

    #[test]
    fn what_is_declared_is_what_is_documented() {
        let shown: Vec<_> =
            SampleOptions::fields().iter().map(|f| format!("{} = {}: {}", f.name, f.default, f.meaning)).collect();
        let expected = [
            "lr = 0.006: the highest learning rate",
            "batch = 2048: rows of an update",
            "shape = \"linear\": shape of the learning rate",
            "betas = [0.9, 0.99]: decay of the moments",
            "steps = as many as there are rows: steps",
            "at = []: positions",
            "k = : number of codes",
        ];
        assert_eq!(shown, expected);
        assert_eq!(SampleOptions::fields()[2].choices, ["constant", "linear"]);
    }

    #[test]
    fn an_error_names_the_wrong_element_of_a_list_or_a_map() {
        let refused = |field: Field, value: &Plain| field.taken::<BTreeMap<String, Vec<f64>>>(value).unwrap_err();
        let field = || Field::new("mix", &["Weights."], &BTreeMap::<String, Vec<f64>>::new());
        let text = || Plain::Text("x".into());
        let map = |value| Plain::Map(vec![("a".into(), Plain::Integer(1)), ("b".into(), value)]);
        let error = refused(field(), &map(Plain::List(vec![Plain::Float(0.5), text()])));
        assert_eq!(error.message, "expected a number for `mix.b[1]`, found string \"x\"");
        assert_eq!(error.about.as_deref(), Some("mix"));
        let error = refused(field(), &map(text()));
        assert_eq!(error.message, "expected a number, or an array of such for `mix.b`, found string \"x\"");
        let error = chosen::<Shape>("shape", "liner").unwrap_err();
        assert_eq!(error.hint.as_deref(), Some("did you mean `linear`?"));
    }

    #[test]
    fn values_are_taken_either_way_and_others_refused() {
        let found = given(&[("lr", Plain::Integer(1)), ("k", Plain::Float(2.0)), ("steps", Plain::Nothing)]).unwrap();
        assert_eq!(found, SampleOptions { lr: 1.0, k: 2, ..SampleOptions::default() });
        let refused = |key, value| given(&[("k", Plain::Integer(1)), (key, value)]).unwrap_err();
        assert_eq!(refused("lr", Plain::Integer(0)).message, "expected a number above 0 for `lr`, found integer 0");
        assert_eq!(
            refused("lr", Plain::Float(f64::NAN)).message,
            "expected a number above 0 for `lr`, found float NaN"
        );
        assert_eq!(
            refused("batch", Plain::Float(0.5)).message,
            "expected an integer at least 1 for `batch`, found float 0.5"
        );
        let error = refused("shape", Plain::Text("liner".into()));
        assert_eq!(error.message, "expected one of \"constant\", \"linear\" for `shape`, found string \"liner\"");
        assert_eq!(error.hint.as_deref(), Some("did you mean `linear`?"));
        assert!(
            refused("betas", Plain::List(vec![Plain::Float(0.5), Plain::Float(1.5)])).message.contains("at most 1")
        );
        assert_eq!(
            refused("at", Plain::Text("x".into())).message,
            "expected an integer, or an array of such for `at`, found string \"x\""
        );
        assert_eq!(
            refused("at", Plain::List(vec![Plain::Integer(1), Plain::Float(0.5)])).message,
            "expected an integer for `at[1]`, found float 0.5"
        );
        assert_eq!(given(&[]).unwrap_err().message, "expected an integer of at least 0 for `k`, found nothing");
    }
}
