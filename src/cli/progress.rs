//! Progress bars on a terminal: progress, speed, time left.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressState, ProgressStyle};

use crate::base::task::{Bar, Progress, human, time_left};
use crate::common::*;
use crate::report::number::{digits, fixed};
use crate::report::visible_text::visible;
use crate::script::engine::console::to_stderr;

#[derive(Default)]
pub struct ProgressBars {
    all: MultiProgress,
}

struct TerminalBar {
    bar: ProgressBar,
    /// The part of the work that was done before.
    had: Arc<AtomicU64>,
}

impl Progress for ProgressBars {
    fn begin(&self, label: &str, total: Option<u64>) -> Box<dyn Bar> {
        let had = Arc::new(AtomicU64::new(0));
        let bar = self.labelled(label, total, &had);
        bar.enable_steady_tick(Duration::from_millis(100));
        Box::new(TerminalBar { bar, had })
    }

    fn say(&self, line: &str) {
        self.all.suspend(|| to_stderr(&format!("{line}\n")));
    }
}

impl ProgressBars {
    fn labelled(&self, label: &str, total: Option<u64>, had: &Arc<AtomicU64>) -> ProgressBar {
        let bar = match total {
            Some(total) => self.all.add(ProgressBar::new(total)).with_style(
                style("{prefix} {wide_bar} {human_pos}/{human_len}  {rate}  {left}{msg}")
                    .with_key("left", left(had))
                    .with_key("rate", |state: &ProgressState, line: &mut dyn Write| {
                        // As below.
                        let _unseen = write!(line, "{}/s", rate(state.per_sec()));
                    }),
            ),
            None => self
                .all
                .add(ProgressBar::new_spinner())
                .with_style(style("{spinner} {prefix} {human_pos}  {elapsed}  {msg}")),
        };
        // What is drawn by the library is made fit for a terminal here: names of files stand in it.
        bar.with_prefix(visible(label))
    }
}

/// Returns a writer of the time left of a bar, where it can be estimated. indicatif's own estimate follows the last
/// steps.
fn left(had: &Arc<AtomicU64>) -> impl Fn(&ProgressState, &mut dyn Write) + Clone + Send + Sync + 'static {
    let had = had.clone();
    move |state: &ProgressState, line: &mut dyn Write| {
        let done = state.pos().saturating_sub(had.load(Ordering::Relaxed));
        let left = state.len().unwrap_or_default().saturating_sub(state.pos());
        if let Some(seconds) = time_left(state.elapsed().as_secs_f64(), done, left) {
            // A line that cannot be written to is not there to be read.
            let _unseen = write!(line, "{} left  ", human(seconds));
        }
    }
}

/// Writes a rate as a whole number from 100 on, and with three significant digits below.
fn rate(per_second: f64) -> String {
    if per_second >= 100.0 { fixed(per_second, 0) } else { digits(per_second, 3) }
}

fn style(template: &str) -> ProgressStyle {
    // The templates are ours; one that does not parse falls back to the plain bar.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

impl Bar for TerminalBar {
    fn advance(&self, by: u64) {
        self.bar.inc(by);
    }

    fn had(&self, by: u64) {
        self.had.fetch_add(by, Ordering::Relaxed);
        self.bar.inc(by);
    }

    fn note(&self, text: &str) {
        self.bar.set_message(visible(text));
    }
}

impl Drop for TerminalBar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_has_no_more_digits_than_are_read() {
        assert_eq!([12_314.561_8, 104.2, 3.218_59].map(rate), ["12,315", "104", "3.22"]);
    }

    #[test]
    fn a_label_is_one_line_without_codes() {
        let bar = ProgressBars::default().labelled("read a\x1b]52;c;x\x07\n.txt", Some(3), &Arc::default());
        assert_eq!(bar.prefix(), "read a␛]52;c;x␇↵.txt");
        let shown = TerminalBar { bar, had: Arc::default() };
        shown.note("\x1b[2J");
        assert_eq!(shown.bar.message(), "␛[2J");
    }
}
