//! `:time` and `:bench`.

use std::time::Duration;

use super::super::{LineFailure, LineOutcome, PromptFlow, Repl, is_muted};
use crate::base::clock::Instant;

/// Time that `:bench` takes, and its fewest and most repetitions.
const BENCH: Duration = Duration::from_secs(1);
const FEWEST: usize = 3;
const MOST: usize = 10_000;

pub fn time(repl: &mut Repl, code: &str) -> Result<PromptFlow, LineFailure> {
    let name = repl.next_name();
    let start = Instant::now();
    let outcome = repl.evaluate(&name, code)?;
    let took = start.elapsed();
    if outcome == LineOutcome::Answered && !is_muted(code) {
        repl.show_answer("")?;
    }
    repl.say(&format!("took {}", duration_text(took)));
    Ok(PromptFlow::Continue)
}

pub fn bench(repl: &mut Repl, code: &str) -> Result<PromptFlow, LineFailure> {
    let name = repl.next_name();
    let ast = repl.session().compile(&name, code)?;
    let _warm_up = repl.session_mut().aside(&name, &ast)?;
    let start = Instant::now();
    let mut times = Vec::new();
    while times.len() < FEWEST || start.elapsed() < BENCH && times.len() < MOST {
        times.push(repl.session_mut().aside(&name, &ast)?.1);
    }
    times.sort_unstable();
    let median = times[times.len() / 2];
    let fastest = times[0];
    repl.say(&format!("{} median, {} fastest, {} runs", duration_text(median), duration_text(fastest), times.len()));
    Ok(PromptFlow::Continue)
}

/// Writes a time with three significant digits in the unit that suits.
fn duration_text(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    let (amount, unit) = match seconds {
        s if s < 1e-6 => (s * 1e9, "ns"),
        s if s < 1e-3 => (s * 1e6, "µs"),
        s if s < 1.0 => (s * 1e3, "ms"),
        s => (s, "s"),
    };
    let digits = if amount < 10.0 { 2 } else { usize::from(amount < 100.0) };
    format!("{amount:.digits$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_digits_and_a_unit() {
        for (nanoseconds, text) in
            [(123, "123 ns"), (4_560, "4.56 µs"), (78_900_000, "78.9 ms"), (1_500_000_000, "1.50 s")]
        {
            assert_eq!(duration_text(Duration::from_nanos(nanoseconds)), text);
        }
    }
}
