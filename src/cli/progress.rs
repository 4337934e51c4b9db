//! Progress bars on a terminal: how far, how fast, how long still. Elsewhere no bars, only the lines that are said.

use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::base::task::{Bar, Progress, Silent};
use crate::report::symbols::harmless;
use crate::script::console::to_stderr;

#[derive(Default)]
pub struct Bars {
    all: MultiProgress,
}

struct Shown(ProgressBar);

impl Progress for Bars {
    fn begin(&self, label: &str, total: Option<u64>) -> Box<dyn Bar> {
        let bar = match total {
            Some(total) => self
                .all
                .add(ProgressBar::new(total))
                .with_style(style("{prefix} {wide_bar} {human_pos}/{human_len}  {per_sec}  {eta} left  {msg}")),
            None => self
                .all
                .add(ProgressBar::new_spinner())
                .with_style(style("{spinner} {prefix} {human_pos}  {elapsed}  {msg}")),
        };
        let bar = bar.with_prefix(label.to_string());
        bar.enable_steady_tick(Duration::from_millis(100));
        Box::new(Shown(bar))
    }

    fn say(&self, line: &str) {
        self.all.suspend(|| to_stderr(&(harmless(line) + "\n")));
    }
}

/// For output that is no terminal: lines, and no bars.
pub struct Lines;

impl Progress for Lines {
    fn begin(&self, label: &str, total: Option<u64>) -> Box<dyn Bar> {
        Silent.begin(label, total)
    }

    fn say(&self, line: &str) {
        to_stderr(&(harmless(line) + "\n"));
    }
}

fn style(template: &str) -> ProgressStyle {
    // The templates are ours; one that does not parse falls back to the plain bar.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

impl Bar for Shown {
    fn advance(&self, by: u64) {
        self.0.inc(by);
    }

    fn note(&self, text: &str) {
        self.0.set_message(text.to_string());
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
