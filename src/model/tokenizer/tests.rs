//! Tokenizers of whole files: known ids, round trips, and what they refuse.
