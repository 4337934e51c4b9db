//! Pages of the guide as a reader follows them: their blocks of code, the commands in these, what the pages show as
//! answers, and a shell to type into.
//!
//! A block is indented by four blanks, or fenced. Commands stand in indented blocks and in fences of `console` or `sh`:
//! lines that begin with `$ `, or, in a block without any, lines that call `microtome`. What follows a command is its
//! answer. A remark behind a command, set apart by two blanks, is not typed.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A block of code of a page.
#[derive(Debug, Clone)]
pub struct PageBlock {
    /// Number of its first line of code in the page, from 1 on.
    pub line: usize,
    /// Words behind the opening fence; none of an indented block.
    pub about: String,
    /// Lines of code, without indentation.
    pub code: Vec<String>,
}

/// A line that is typed into a shell, and what the page shows as its answer.
#[derive(Debug, Clone)]
pub struct PageCommand {
    /// Number of the line in the page, from 1 on.
    pub line: usize,
    pub typed: String,
    /// Lines of the answer; none where the page shows none.
    pub shown: Vec<String>,
}

/// Reads the blocks of code of a page, in order.
#[track_caller]
pub fn page_blocks(path: impl AsRef<Path>) -> Vec<PageBlock> {
    let path = path.as_ref();
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut lines = (1..).zip(text.lines()).peekable();
    let mut found = Vec::new();
    let mut is_after_blank = true;
    while let Some((line, text)) = lines.next() {
        if let Some(about) = text.strip_prefix("```") {
            let inside = lines.by_ref().map(|(_, text)| text).take_while(|text| *text != "```");
            found.push(PageBlock { line: line + 1, about: about.into(), code: inside.map(String::from).collect() });
        } else if let Some(first) = text.strip_prefix("    ").filter(|_| is_after_blank) {
            let mut code = vec![first.to_string()];
            while let Some((_, text)) = lines.next_if(|(_, text)| text.starts_with("    ") || text.trim().is_empty()) {
                code.push(text.strip_prefix("    ").unwrap_or_default().into());
            }
            code.truncate(code.iter().rposition(|text| !text.trim().is_empty()).map_or(0, |last| last + 1));
            found.push(PageBlock { line, about: String::new(), code });
            // The block has taken the blank lines behind it.
            is_after_blank = true;
            continue;
        }
        is_after_blank = text.trim().is_empty();
    }
    found
}

impl PageBlock {
    /// Returns the name of the file that the block shows, which stands in its fence behind the language.
    pub fn file(&self) -> Option<&str> {
        self.about.split_once(' ').map(|(_, name)| name)
    }

    /// Returns the text of the block, each line with its end.
    pub fn text(&self) -> String {
        self.code.iter().map(|line| format!("{line}\n")).collect()
    }

    /// Returns the commands of the block, each with its answer.
    pub fn commands(&self) -> Vec<PageCommand> {
        let mut found: Vec<PageCommand> = Vec::new();
        if !["", "console", "sh"].contains(&self.about.as_str()) {
            return found;
        }
        let has_marks = self.code.iter().any(|text| text.starts_with("$ "));
        for (line, text) in (self.line..).zip(&self.code) {
            let unmarked = Some(text.as_str()).filter(|text| !has_marks && calls_us(text));
            if let Some(typed) = text.strip_prefix("$ ").or(unmarked) {
                found.push(PageCommand { line, typed: plain(typed).into(), shown: Vec::new() });
            } else if let Some(command) = found.last_mut()
                && !text.trim().is_empty()
            {
                command.shown.push(text.clone());
            }
        }
        found
    }
}

/// Returns whether a line calls our program, behind variables of the environment or without.
fn calls_us(text: &str) -> bool {
    let is_name = |name: &str| name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
    let is_variable = |word: &&str| word.split_once('=').is_some_and(|(name, _)| is_name(name));
    text.split(' ').find(|word| !is_variable(word)) == Some("microtome")
}

/// Returns a typed line without the remark behind it.
fn plain(typed: &str) -> &str {
    let remark = ["  # ", "  // "].iter().filter_map(|mark| typed.find(mark)).min();
    typed[..remark.unwrap_or(typed.len())].trim_end()
}

impl PageCommand {
    /// Returns how an answer differs from the one on the page, if it does. Blank lines and columns do not count, nor do
    /// times in seconds. A line `..` on the page stands for any lines, a word that ends so for what begins so, and
    /// four or more hexadecimal digits that end so for any SHA-256. Where the page shows nothing, every answer will do.
    pub fn complaint(&self, said: &str) -> Option<String> {
        let Self { line, typed, shown } = self;
        let lines: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
        let is_same = shown.is_empty() || same_lines(shown, &lines);
        (!is_same).then(|| format!("line {line}: {typed}\nexpected:\n{}\nfound:\n{said}", shown.join("\n")))
    }
}

fn same_lines(shown: &[String], said: &[&str]) -> bool {
    let Some((first, rest)) = shown.split_first() else { return said.is_empty() };
    if first.trim() == ".." {
        return (0..=said.len()).any(|after| same_lines(rest, &said[after..]));
    }
    said.split_first().is_some_and(|(line, more)| same_line(first, line) && same_lines(rest, more))
}

fn same_line(shown: &str, said: &str) -> bool {
    let [shown, said] = [shown, said].map(|line| line.split_whitespace().collect::<Vec<&str>>());
    let is_time = |at: usize| {
        let has_unit = shown.get(at + 1).is_some_and(|unit| unit.trim_end_matches(',') == "s");
        has_unit && [&shown, &said].iter().all(|words| words[at].parse::<f64>().is_ok())
    };
    shown.len() == said.len() && (0..shown.len()).all(|at| same_word(shown[at], said[at]) || is_time(at))
}

fn same_word(shown: &str, said: &str) -> bool {
    let is_hexadecimal = |word: &str| word.len() >= 4 && word.bytes().all(|b| b.is_ascii_hexdigit());
    match shown.strip_suffix("..") {
        Some(begin) if is_hexadecimal(begin) => said.len() == 64 && is_hexadecimal(said),
        Some(begin) => said.starts_with(begin),
        None => shown == said,
    }
}

/// A shell that a page is typed into. It begins in an empty folder, stays from one line to the next in the folder that
/// it is in, and has nobody's settings and an empty cache.
#[derive(Debug)]
pub struct PageShell {
    home: PathBuf,
    here: PathBuf,
    path: String,
}

impl PageShell {
    /// Makes a shell with this folder as its home, which begins in `work` below it, and finds this program by its name.
    pub fn new(home: &Path, program: &Path) -> Self {
        let here = home.join("work");
        std::fs::create_dir(&here).unwrap();
        let programs = std::env::var("PATH").unwrap_or_default();
        let path = format!("{}:{programs}", program.parent().unwrap().display());
        Self { home: home.into(), here, path }
    }

    /// Finds the programs of a folder before all others but ours.
    pub fn finds(&mut self, folder: &Path) {
        let (ours, others) = self.path.split_once(':').unwrap();
        self.path = format!("{ours}:{}:{others}", folder.display());
    }

    /// Returns the variables of the environment that are its own.
    pub fn variables(&self) -> [(&'static str, OsString); 9] {
        let below = |name: &str| self.home.join(name).into_os_string();
        [
            ("PATH", self.path.clone().into()),
            ("HOME", self.home.clone().into()),
            ("XDG_CACHE_HOME", below("cache")),
            ("XDG_CONFIG_HOME", below("config")),
            ("HF_HOME", below("hub")),
            ("MICROTOME_CACHE", below("cache")),
            ("MICROTOME_PATH", OsString::new()),
            // Other programs tell their makers nothing.
            ("DO_NOT_TRACK", "1".into()),
            ("WANDB_ERROR_REPORTING", "false".into()),
        ]
    }

    /// Returns the folder that the shell is in.
    pub fn here(&self) -> &Path {
        &self.here
    }

    /// Returns the cache of the program.
    pub fn cache(&self) -> PathBuf {
        self.home.join("cache")
    }

    /// Returns a path that is counted from where the shell began.
    pub fn path(&self, name: &str) -> PathBuf {
        self.home.join("work").join(name)
    }

    /// Writes a file, with its folders; its path is counted from where the shell began.
    pub fn write(&self, name: &str, text: &str) {
        super::write(self.path(name), text);
    }

    /// Types a line. Returns its exit code, and what it said, in the order in which it was said.
    pub fn line(&mut self, typed: &str) -> (Option<i32>, String) {
        let said = self.home.join("said");
        let place = self.home.join("place");
        let output = std::fs::File::create(&said).unwrap();
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("{typed}\ncode=$?; pwd > \"$PLACE\"; exit $code")]).current_dir(&self.here);
        shell.envs(self.variables()).env("PLACE", &place).env("TERM", "dumb").env_remove("HF_ENDPOINT");
        shell.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output);
        let code = shell.status().unwrap().code();
        self.here = std::fs::read_to_string(place).unwrap().trim_end().into();
        (code, std::fs::read_to_string(said).unwrap())
    }
}
