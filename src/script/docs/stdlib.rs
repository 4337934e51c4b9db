//! The libraries inside the binary, which scripts import as `std/name`.

/// The modules of the `stdlib` folder, embedded in the binary: name after `std/`, and text.
pub static STDLIB: &[(&str, &str)] = &[
    ("experiments", include_str!("../../../stdlib/experiments.rhai")),
    ("geometry", include_str!("../../../stdlib/geometry.rhai")),
    ("modular", include_str!("../../../stdlib/modular.rhai")),
    ("probes", include_str!("../../../stdlib/probes.rhai")),
    ("shapes", include_str!("../../../stdlib/shapes.rhai")),
    ("stats", include_str!("../../../stdlib/stats.rhai")),
    ("subspaces", include_str!("../../../stdlib/subspaces.rhai")),
    ("tasks", include_str!("../../../stdlib/tasks.rhai")),
    ("toy", include_str!("../../../stdlib/toy.rhai")),
    ("traits", include_str!("../../../stdlib/traits.rhai")),
];

/// Returns `std/name`, if the stdlib has a module of that name.
pub fn stdlib_path(name: &str) -> Option<String> {
    STDLIB.iter().any(|(known, _)| *known == name).then(|| format!("{PREFIX}{name}"))
}

/// Returns the name of a module of the stdlib, given its path.
pub fn stdlib_name(path: &str) -> Option<&str> {
    path.strip_prefix(PREFIX).filter(|name| STDLIB.iter().any(|(known, _)| known == name))
}

/// Lists the paths of all modules of the stdlib.
pub fn stdlib() -> Vec<String> {
    STDLIB.iter().map(|(name, _)| format!("{PREFIX}{name}")).collect()
}

/// The prefix by which scripts import from the stdlib.
pub const PREFIX: &str = "std/";
