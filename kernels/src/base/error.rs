//! Errors of kernels: what was expected and what was found, with a kind.

use std::fmt;

use candle_core::Error as Candle;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Kinds of errors; scripts see one as `e.kind` in `catch (e)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An argument of the wrong type, or a value outside what is allowed.
    Argument,
    /// Shapes that do not fit each other.
    Shape,
    /// An index outside its axis.
    Index,
    /// A name that does not exist: option, function, site, dtype.
    Name,
    /// A file that cannot be found, read or written.
    File,
    /// A file whose content is not what it claims to be.
    Format,
    /// Access denied.
    Access,
    /// More memory than there is.
    Memory,
    /// A computation that has no answer: a singular matrix, no convergence.
    Numeric,
    /// A connection that failed, or a server that refused.
    Network,
    /// An interruption by Ctrl-C.
    Interrupted,
    /// An internal error, never the user's mistake.
    Bug,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Argument => "argument",
            Kind::Shape => "shape",
            Kind::Index => "index",
            Kind::Name => "name",
            Kind::File => "file",
            Kind::Format => "format",
            Kind::Access => "access",
            Kind::Memory => "memory",
            Kind::Numeric => "numeric",
            Kind::Network => "network",
            Kind::Interrupted => "interrupted",
            Kind::Bug => "bug",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    pub kind: Kind,
    pub message: String,
    pub hint: Option<&'static str>,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl From<Candle> for Error {
    /// Converts candle's errors: no backtraces, and a kind. Our own checks run before, so this is rare; the message is
    /// the first line of candle's.
    fn from(error: Candle) -> Self {
        let plain = innermost(error);
        let kind = match plain {
            Candle::ShapeMismatchBinaryOp { .. } | Candle::MatMulUnexpectedStriding(_) => Kind::Shape,
            Candle::DimOutOfRange { .. } | Candle::InvalidIndex { .. } => Kind::Index,
            _ => Kind::Argument,
        };
        let message: String = plain.to_string().lines().next().unwrap_or_default().into();
        if matches!(plain, Candle::Cuda(_)) && message.contains("OUT_OF_MEMORY") {
            return Self::of_a_full_device();
        }
        Self { kind, message, hint: None }
    }
}

impl Error {
    fn of_a_full_device() -> Self {
        Self {
            kind: Kind::Memory,
            message: "the device has not enough memory left".into(),
            hint: Some("read fewer texts or rows at a time, or a shorter context; `dtype: \"bf16\"` takes half"),
        }
    }
}

fn innermost(error: Candle) -> Candle {
    match error {
        Candle::WithBacktrace { inner, .. } | Candle::Context { inner, .. } | Candle::WithPath { inner, .. } => {
            innermost(*inner)
        }
        plain => plain,
    }
}

/// Makes an [`Error`] of a kind: `err!(Shape, "expected {a}, found {b}")`.
macro_rules! err {
    ($kind:ident, $($message:tt)+) => {
        $crate::base::error::Error {
            kind: $crate::base::error::Kind::$kind,
            message: format!($($message)+),
            hint: None,
        }
    };
}

/// Returns an error of a kind from the function: `bail!(Shape, "expected {a}, found {b}")`.
macro_rules! bail {
    ($kind:ident, $($message:tt)+) => {
        return Err($crate::base::error::err!($kind, $($message)+))
    };
}

pub(crate) use {bail, err};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_device_is_a_matter_of_memory() {
        let full = Candle::Cuda("DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\")".into());
        let found = Error::from(full.context("in a product"));
        assert_eq!((found.kind, found.message.as_str()), (Kind::Memory, "the device has not enough memory left"));
    }

    #[test]
    fn backtraces_and_contexts_are_taken_off() {
        let buried = Candle::Msg("the core of it".into()).context("outer");
        assert_eq!(Error::from(buried).message, "the core of it");
    }
}
