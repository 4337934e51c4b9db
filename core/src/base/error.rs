//! The one error type: what was expected and found, what to do about it, and which argument is wrong.
//!
//! The house style is lower case, "expected X, found Y", and a hint that says what to do. Where the error stands in a
//! script is not known down here; the script floor adds file, line and column.

#[cfg(feature = "rhai")]
mod thrown;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

pub use kernels::Kind;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The way on from where a page ends.
pub const IN_PROGRAM: &str = "the program does it: put the script into a file, and run `microtome run FILE`";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    pub kind: Kind,
    pub message: String,
    pub hint: Option<String>,
    /// The name of the parameter or of the option to blame.
    pub about: Option<String>,
    /// The names of other parameters that are wrong, too.
    pub also: Vec<String>,
}

impl Error {
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None, about: None, also: Vec::new() }
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds a hint where there is one to give.
    pub fn maybe_hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint.or(self.hint);
        self
    }

    /// Points at a parameter of the call, or at one of its options, by name, unless the error names one already.
    pub fn about(mut self, name: impl Into<String>) -> Self {
        self.about.get_or_insert_with(|| name.into());
        self
    }

    /// Puts `what: ` before the message, as when a file's name is known only to the caller.
    pub fn within(mut self, what: impl fmt::Display) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }

    pub fn interrupted() -> Self {
        Self::new(Kind::Interrupted, "interrupted")
    }

    /// Says what this build leaves out, and which feature of the crate has it, or that a page has none.
    pub fn not_built(what: &str, feature: &str) -> Self {
        if cfg!(target_family = "wasm") {
            return Self::new(Kind::Argument, format!("a page has no {what}")).hint(IN_PROGRAM);
        }
        Self::new(Kind::Argument, format!("this build of microtome has no {what}"))
            .hint(format!("build it with the feature `{feature}`, which is on by default"))
    }

    /// Describes a failed system call on a file, in words that say what to do.
    pub fn io(doing: &str, path: &std::path::Path, error: &std::io::Error) -> Self {
        use std::io::ErrorKind::*;
        let shown = path.display();
        match error.kind() {
            NotFound => Self::new(Kind::File, format!("cannot {doing} {shown}: there is no such file or folder")),
            PermissionDenied => Self::new(Kind::File, format!("cannot {doing} {shown}: permission denied"))
                .hint("check who owns it, or choose another place with --out"),
            StorageFull | QuotaExceeded => Self::new(Kind::File, format!("cannot {doing} {shown}: the disk is full"))
                .hint("nothing was left half-written; free some space or choose another place with --out"),
            ReadOnlyFilesystem => {
                Self::new(Kind::File, format!("cannot {doing} {shown}: the file system is read-only"))
                    .hint("choose another place with --out")
            }
            _ => Self::new(Kind::File, format!("cannot {doing} {shown}: {error}")),
        }
    }
}

/// Returns both values, or what is wrong with either; of two wrong arguments both are said.
pub fn both<A, B>(a: Result<A>, b: Result<B>) -> Result<(A, B)> {
    match (a, b) {
        (Ok(a), Ok(b)) => Ok((a, b)),
        (Err(error), Ok(_)) | (Ok(_), Err(error)) => Err(error),
        (Err(one), Err(other)) if one.kind == Kind::Interrupted || other.kind == Kind::Interrupted => {
            Err(if one.kind == Kind::Interrupted { one } else { other })
        }
        (Err(one), Err(other)) => {
            let hints = [one.hint, other.hint].into_iter().flatten();
            let hint = hints.reduce(|one, other| if one == other { one } else { format!("{one}; {other}") });
            let also = one.also.into_iter().chain(other.about).chain(other.also).collect();
            Err(Error { hint, also, message: format!("{}; and {}", one.message, other.message), ..one })
        }
    }
}

/// Turns the error or the panic of a crate over a damaged file into an error. A panic is harmless, since the reader is not
/// used any more.
pub fn guarded<T, E: fmt::Display>(read: impl FnOnce() -> Result<T, E>) -> Result<T> {
    let broken = |why: String| Error::new(Kind::Format, why);
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(read) => read.map_err(|e| broken(e.to_string())),
        Err(said) => {
            let said = said.downcast_ref::<String>().cloned().or(said.downcast_ref::<&str>().map(|s| s.to_string()));
            Err(broken(said.unwrap_or_else(|| "it is damaged".into())))
        }
    }
}

impl From<kernels::Error> for Error {
    fn from(error: kernels::Error) -> Self {
        Self::new(error.kind, error.message).maybe_hint(error.hint.map(Into::into))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, " (hint: {hint})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

/// Makes an [`Error`] of a kind: `err!(Shape, "expected {a}, found {b}")`.
#[macro_export]
macro_rules! err {
    ($kind:ident, $($message:tt)+) => {
        $crate::base::Error::new($crate::base::Kind::$kind, format!($($message)+))
    };
}

/// Returns an error of a kind from the function: `bail!(Shape, "expected {a}, found {b}")`.
#[macro_export]
macro_rules! bail {
    ($kind:ident, $($message:tt)+) => {
        return Err($crate::err!($kind, $($message)+))
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_wrong_arguments_both_are_said() {
        let wrong =
            |name: &str| Err::<(), Error>(err!(Argument, "expected a number for `{name}`").hint("see").about(name));
        assert_eq!(both(Ok(1), Ok(2)), Ok((1, 2)));
        assert_eq!(both(wrong("a"), Ok(2)).unwrap_err().also, [] as [&str; 0]);
        let error = both(both(wrong("a"), wrong("b")), wrong("c")).unwrap_err();
        assert_eq!(
            error.message,
            "expected a number for `a`; and expected a number for `b`; and expected a number for `c`"
        );
        assert_eq!((error.about.as_deref(), error.hint.as_deref()), (Some("a"), Some("see")));
        assert_eq!(error.also, ["b", "c"]);
        assert_eq!(both(wrong("a"), Err::<(), _>(Error::interrupted())).unwrap_err().kind, Kind::Interrupted);
    }
}
