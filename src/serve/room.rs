//! Memory for answers. Their values take many times as much as the numbers that they tell, so they are counted before
//! they are made.

use crate::base::{Result, memory};

/// Number of requests that are computed at a time; each uses all threads.
pub const AT_ONCE: usize = 4;

/// Bytes of a number of an answer: with its key, the list or object around it, its text, and the room that lists have
/// while they grow.
const BYTES: u128 = 576;

/// Returns the bytes that an answer may take: as much of the free memory as each of those that are made at a time.
pub fn free() -> u64 {
    memory::available() / AT_ONCE as u64
}

/// Refuses an answer of so many numbers that `free` bytes do not hold.
pub fn check(numbers: usize, free: u64) -> Result<()> {
    let refused = memory::check_within(numbers as u128 * BYTES, free, || format!("an answer of {numbers} numbers"));
    refused.map_err(|e| e.hint("ask for fewer tokens or features at a time"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};

    use super::super::refusal::Refusal;
    use super::*;
    use crate::base::{Kind, json as json_reader};

    #[test]
    fn an_answer_that_memory_does_not_hold_is_for_another_time() {
        let free = 10 * BYTES as u64;
        assert_eq!(check(10, free), Ok(()));
        let error = check(11, free).unwrap_err();
        assert_eq!(error.kind, Kind::Memory);
        assert!(error.message.starts_with("an answer of 11 numbers needs"), "{error}");
        assert_eq!(Refusal::from(error).status().as_u16(), 503);
    }

    /// Compares the count with the estimate of what a text makes, for answers of each form.
    #[test]
    fn numbers_are_counted_for_what_they_take() {
        let active: Map<String, Value> = (0..100).map(|feature| (feature.to_string(), json!([[3, 0.125]]))).collect();
        let by_token = vec![json!({ "featureIndex": 12_345, "activationValue": 0.125 }); 100];
        for (numbers, answer) in [(200, json!(active)), (200, json!(by_token)), (100, json!(vec![0.125; 100]))] {
            let estimate = json_reader::size(answer.to_string().as_bytes());
            assert!(numbers * BYTES >= estimate, "{numbers} {estimate}");
        }
    }
}
