//! A group of options as the value of one option: a map, such as that of `lora`.

use super::{ElementFault, OptionGroup, Plain};

/// Makes a group of options a setting: `map_setting!(LoraOptions)`.
macro_rules! map_setting {
    ($name:ty) => {
        impl $crate::options::Setting for $name {
            fn wanted() -> String {
                $crate::options::maps::map_wanted::<Self>()
            }

            fn of(value: &$crate::options::Plain) -> Option<Self> {
                $crate::options::maps::map_of(value)
            }

            fn written(&self) -> String {
                $crate::options::maps::map_written(self)
            }

            fn fault(value: &$crate::options::Plain) -> Option<$crate::options::ElementFault<'_>> {
                $crate::options::maps::map_fault::<Self>(value)
            }
        }
    };
}

pub(crate) use map_setting;

/// Describes the accepted values: "a map of `rank`, `alpha` and `modules`".
pub fn map_wanted<T: OptionGroup>() -> String {
    format!("a map of {}", names::<T>())
}

/// Lists the names of all options of a group.
fn names<T: OptionGroup>() -> String {
    let names: Vec<String> = T::fields().iter().map(|field| format!("`{}`", field.name)).collect();
    match names.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} and {last}", others.join(", ")),
        _ => names.concat(),
    }
}

/// Reads the options of a group from a map, if it has nothing else and all that is required.
pub fn map_of<T: OptionGroup>(value: &Plain) -> Option<T> {
    let Plain::Map(given) = value else { return None };
    if map_fault::<T>(value).is_some() {
        return None;
    }
    let find = |name: &str| Some(given.iter().find(|(key, _)| key == name)?.1.clone());
    T::given(find).ok()
}

/// Writes the options of a group as a script does.
pub fn map_written<T: OptionGroup>(group: &T) -> String {
    let values = group.written();
    let fields: Vec<String> =
        T::fields().iter().zip(values).map(|(field, value)| format!("{}: {value}", field.name)).collect();
    format!("#{{ {} }}", fields.join(", "))
}

/// Finds what is wrong in a map: an unknown or a wrong option, or that a required one is not there.
pub fn map_fault<T: OptionGroup>(value: &Plain) -> Option<ElementFault<'_>> {
    let Plain::Map(given) = value else { return None };
    let wrong = given.iter().find_map(|(name, value)| {
        let number = T::fields().iter().position(|field| field.name == name);
        let wanted = match number.map(|number| (number, &T::fields()[number])) {
            None => format!("only {}", names::<T>()),
            Some((number, field)) if T::default().set(number, value).is_err() => field.wanted(),
            Some(_) => return None,
        };
        Some(ElementFault::new(format!(".{name}"), wanted, value))
    });
    wrong.or_else(|| {
        let is_missing = |name: &str| given.iter().all(|(key, _)| key != name);
        let missing = T::fields().iter().find(|field| field.is_required && is_missing(field.name))?;
        Some(ElementFault::new(format!(".{}", missing.name), missing.wanted(), &Plain::Nothing))
    })
}
