//! Conversion of candle's errors to ours.

use candle_core::Error as Candle;

use crate::base::Error;

impl From<Candle> for Error {
    fn from(error: Candle) -> Self {
        kernels::Error::from(error).into()
    }
}
