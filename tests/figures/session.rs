//! Lines of pages that are typed at the prompt: with which probability a token comes next where a comment of the README says
//! so, and what lines that draw at random answer with several seeds.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use super::{ranges, root};

/// `"TOKEN" with 0.14`, or `"TOKEN" with 0.1 to 0.3 over seeds 0 to 9`, in the comment of a line.
#[derive(Debug, PartialEq)]
pub struct StatedProbability {
    pub token: String,
    pub low: f64,
    pub high: f64,
    decimals: i32,
    /// The last of the seeds that a range is over.
    pub last_seed: Option<u64>,
}

/// The lines that are typed. A comment behind a command of the prompt, which takes all of its line, is the page's alone.
pub fn lines() -> Vec<String> {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap_or_default();
    let session = readme.lines().skip_while(|line| *line != "    $ microtome").skip(1);
    let typed = |line: &str| {
        let own =
            if line.starts_with(['?', ':']) { line.split("//").next().unwrap_or_default().trim_end() } else { line };
        own.to_string()
    };
    session.map_while(|line| line.strip_prefix("    > ")).map(typed).collect()
}

pub fn stated(line: &str) -> Option<StatedProbability> {
    let (_, words) = line.split_once("// ")?;
    let (before, after) = words.split_once("\" with ")?;
    let token = before.rsplit('"').next()?.to_string();
    let mut words = after.split_whitespace().map(|word| word.trim_end_matches([',', '.', ';']));
    let low = words.next()?;
    let decimals = low.split_once('.')?.1.len() as i32;
    let rest: Vec<&str> = words.collect();
    let (high, last_seed) = match rest[..] {
        ["to", high, "over", "seeds", "0", "to", last, ..] => (high, Some(last.parse().ok()?)),
        ["to", ..] => return None,
        _ => (low, None),
    };
    Some(StatedProbability { token, low: low.parse().ok()?, high: high.parse().ok()?, decimals, last_seed })
}

impl StatedProbability {
    /// The probability of the token in an answer, to as many digits as the comment has.
    pub fn found(&self, answer: &str) -> Option<f64> {
        let row = answer.lines().find(|row| row.split_whitespace().next() == Some(self.token.as_str()))?;
        let p: f64 = row.split_whitespace().nth(2)?.parse().ok()?;
        let scale = 10f64.powi(self.decimals);
        Some((p * scale).round() / scale)
    }

    pub fn holds(&self, found: f64) -> bool {
        self.low <= found && found <= self.high
    }
}

/// The lines of a page that are typed at the prompt: of the README, or of the guide.
fn typed(page: &str) -> Vec<String> {
    if page == README {
        return lines();
    }
    let text = std::fs::read_to_string(root().join(page)).unwrap_or_default();
    text.lines().filter_map(|line| line.strip_prefix("> ")).map(String::from).collect()
}

const README: &str = "README.md";
const PAGES: [&str; 2] = [README, "docs/guide.md"];

/// The number of seeds, from 0 on, with which the lines are typed.
const SEEDS: u64 = 10;

/// What the program answered to the lines of a page, seed by seed.
#[derive(Serialize, Deserialize)]
struct Answers {
    lines: Vec<String>,
    seeds: Vec<Vec<String>>,
}

impl Answers {
    /// The last of the seeds, which begin with 0.
    fn last_seed(&self) -> usize {
        self.seeds.len().saturating_sub(1)
    }
}

/// The answers to the lines of pages over seeds.
#[derive(Default)]
pub struct Sessions(BTreeMap<String, Answers>);

fn record(dir: &Path, page: &str) -> PathBuf {
    dir.join(page.replace('/', "-")).with_extension("json")
}

impl Sessions {
    /// Types the pages with each seed, and leaves the answers in a folder of records.
    pub fn make(program: &Path, dir: &Path) -> Result<(), String> {
        std::fs::create_dir_all(dir).map_err(|e| e.to_string())?;
        for page in PAGES {
            let lines = typed(page);
            let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
            let seeds =
                (0..SEEDS).map(|seed| answers(program, &lines, seed, folder.path())).collect::<Result<_, _>>()?;
            let text = serde_json::to_string_pretty(&Answers { lines, seeds }).map_err(|e| e.to_string())?;
            std::fs::write(record(dir, page), text).map_err(|e| e.to_string())?;
        }
        Ok(())
    }

    /// The answers in a folder of records; a page whose lines are other ones now is left out.
    pub fn read(dir: &Path) -> Self {
        let read = |page: &&str| {
            let text = std::fs::read_to_string(record(dir, page)).ok()?;
            let answers: Answers = serde_json::from_str(&text).ok()?;
            let is_same = |(now, then): (&String, &String)| code(now) == code(then);
            let same = typed(page).iter().zip(&answers.lines).all(is_same) && typed(page).len() == answers.lines.len();
            same.then(|| (page.to_string(), answers))
        };
        Self(PAGES.iter().filter_map(read).collect())
    }

    /// The answer to the line of a page that begins so, with ranges over the seeds: `PAGE: LINE`.
    pub fn answer(&self, about: &str) -> Result<Option<String>, String> {
        let (page, begins) = about.split_once(": ").ok_or(format!("expected `PAGE: LINE`, found `{about}`"))?;
        let at = typed(page).iter().position(|line| line.starts_with(begins));
        let at = at.ok_or(format!("{page} has no line that begins with `{begins}`"))?;
        let Some(answers) = self.0.get(page) else { return Ok(None) };
        let all: Vec<&str> = answers.seeds.iter().map(|answers| answers[at].trim()).collect();
        let merged = ranges::merged(&all).ok_or(format!("{about}: the answers differ in more than numbers"))?;
        Ok(Some(format!("{merged} over seeds 0 to {}", answers.last_seed())))
    }

    /// The README with the range over seeds that each line has whose comment states one.
    pub fn in_comments(&self, readme: &str) -> Result<String, String> {
        let Some(answers) = self.0.get(README) else { return Ok(readme.into()) };
        let mut out = readme.to_string();
        for (at, line) in lines().iter().enumerate() {
            let Some(shown) = stated(line).filter(|stated| stated.last_seed.is_some()) else { continue };
            let found: Option<Vec<f64>> = answers.seeds.iter().map(|answers| shown.found(&answers[at])).collect();
            let found = found.ok_or(format!("`{line}` does not answer with a probability of {}", shown.token))?;
            let low = found.iter().copied().fold(f64::INFINITY, f64::min);
            let high = found.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let (before, after) = line.rsplit_once("\" with ").unwrap_or((line, ""));
            let digits = shown.decimals as usize;
            let behind = after.split_once(&format!("over seeds 0 to {}", shown.last_seed.unwrap_or_default()));
            let behind = behind.map_or("", |(_, behind)| behind);
            let last_seed = answers.last_seed();
            let range = format!("{low:.digits$} to {high:.digits$} over seeds 0 to {last_seed}");
            out = out.replace(line, &format!("{before}\" with {range}{behind}"));
        }
        Ok(out)
    }
}

/// A line without its comment.
fn code(line: &str) -> &str {
    line.split_once("// ").map_or(line, |(code, _)| code).trim_end()
}

/// What the program answers to each line, with a seed, in a folder of its own.
fn answers(program: &Path, lines: &[String], seed: u64, folder: &Path) -> Result<Vec<String>, String> {
    let mark = |n: usize| format!("=== {n} ===");
    let typed: String = lines.iter().enumerate().map(|(n, line)| format!("{line}\nprint(\"{}\")\n", mark(n))).collect();
    let mut command = Command::new(program);
    command.args(["--seed", &seed.to_string()]).current_dir(folder).env("TERM", "dumb").env("MICROTOME_CACHE", "");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(|e| e.to_string())?;
    let mut to = child.stdin.take().ok_or("the program takes no input")?;
    std::io::Write::write_all(&mut to, typed.as_bytes()).map_err(|e| e.to_string())?;
    drop(to);
    let said = child.wait_with_output().map_err(|e| e.to_string())?;
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let mut rest = said.as_str();
    let answer = |n: usize| {
        let (answer, after) = rest.split_once(&mark(n)).unwrap_or((rest, ""));
        rest = after;
        answer.to_string()
    };
    Ok((0..lines.len()).map(answer).collect())
}
