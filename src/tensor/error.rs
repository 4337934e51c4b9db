//! candle's errors in our words: no backtraces, and a kind.

use candle_core::Error as Candle;

use crate::base::{Error, Kind};

impl From<Candle> for Error {
    /// Our own checks run before, so this is rare; the message is the first line of candle's.
    fn from(error: Candle) -> Self {
        let plain = innermost(error);
        let kind = match plain {
            Candle::ShapeMismatchBinaryOp { .. } | Candle::MatMulUnexpectedStriding(_) => Kind::Shape,
            Candle::DimOutOfRange { .. } | Candle::InvalidIndex { .. } => Kind::Index,
            _ => Kind::Argument,
        };
        Error::new(kind, plain.to_string().lines().next().unwrap_or_default())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backtraces_and_contexts_are_taken_off() {
        let buried = Candle::Msg("the core of it".into()).context("outer");
        assert_eq!(Error::from(buried).message, "the core of it");
    }
}
