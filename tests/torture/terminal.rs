//! microtome in a pseudo-terminal, or another program: type, read the screen, wait until it shows something.

use std::io::{Read, Write};
use std::num::NonZero;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};

use super::binary::binary;

/// The timeout of a wait, long enough for a slow machine under load.
const DEADLINE: Duration = Duration::from_secs(20);

const ROWS: NonZero<u16> = NonZero::new(40).unwrap();
const COLUMNS: NonZero<u16> = NonZero::new(100).unwrap();

pub const CTRL_C: &str = "\x03";
pub const CTRL_D: &str = "\x04";
pub const CTRL_R: &str = "\x12";
pub const UP: &str = "\x1b[A";

pub struct Terminal {
    child: Box<dyn Child + Send + Sync>,
    master: Option<Box<dyn MasterPty + Send>>,
    keyboard: Option<Box<dyn Write + Send>>,
    seen: Arc<Mutex<TerminalOutput>>,
}

struct TerminalOutput {
    screen: vt100::Parser,
    /// The raw output, escape codes included.
    bytes: Vec<u8>,
    closed: bool,
}

impl Terminal {
    /// Starts microtome in `folder`, which is its home, too.
    pub fn start(folder: &Path) -> Self {
        Self::start_with(folder, &[], &[])
    }

    pub fn start_with(folder: &Path, words: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command = CommandBuilder::new(binary());
        command.args(words);
        command.cwd(folder);
        // The capabilities of the terminal around the tests must not matter.
        command.env_clear();
        command.env("TERM", "xterm-256color");
        command.env("HOME", folder);
        command.env("XDG_CONFIG_HOME", folder.join("config"));
        command.env("MICROTOME_HISTORY", folder.join("history"));
        command.env("MICROTOME_RC", "");
        for (name, value) in variables {
            command.env(name, value);
        }
        Self::of(command)
    }

    /// Starts a program.
    pub fn of(command: CommandBuilder) -> Self {
        let size = PtySize { rows: ROWS.get(), cols: COLUMNS.get(), pixel_width: 0, pixel_height: 0 };
        let pair = native_pty_system().openpty(size).unwrap();
        let child = pair.slave.spawn_command(command).unwrap();
        drop(pair.slave);
        let seen = Arc::new(Mutex::new(TerminalOutput {
            screen: vt100::Parser::new(ROWS, COLUMNS, 0),
            bytes: Vec::new(),
            closed: false,
        }));
        let mut output = pair.master.try_clone_reader().unwrap();
        let shown = seen.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = output.read(&mut buffer) {
                let mut seen = shown.lock().unwrap();
                if seen.closed {
                    return;
                }
                seen.screen.process(&buffer[..length]);
                seen.bytes.extend_from_slice(&buffer[..length]);
            }
        });
        let keyboard = pair.master.take_writer().unwrap();
        Self { child, master: Some(pair.master), keyboard: Some(keyboard), seen }
    }

    /// Starts microtome and waits for its prompt.
    pub fn ready(folder: &Path) -> Self {
        let terminal = Self::start(folder);
        terminal.prompt();
        terminal
    }

    /// The id of the process in it.
    #[allow(dead_code, reason = "a long session asks what it takes")]
    pub fn process(&self) -> u32 {
        self.child.process_id().unwrap()
    }

    pub fn send(&mut self, keys: &str) {
        let keyboard = self.keyboard.as_mut().unwrap();
        keyboard.write_all(keys.as_bytes()).unwrap();
        keyboard.flush().unwrap();
    }

    /// Types a line and submits it.
    pub fn line(&mut self, text: &str) {
        self.send(text);
        self.send("\r");
    }

    /// Types a line and waits until it has run.
    pub fn done(&mut self, text: &str) {
        self.begin(text);
        self.prompt();
    }

    /// Types a line and waits until it runs.
    pub fn begin(&mut self, text: &str) {
        let before = self.bytes().len();
        self.line(text);
        // The empty prompt at this moment is the one that the line is typed at: the editor leaves it first.
        let start = Instant::now();
        while !self.bytes().get(before..).is_some_and(|new| new.contains("\x1b[?2004l")) {
            assert!(start.elapsed() < DEADLINE, "the line was never taken: {text}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn screen(&self) -> String {
        self.seen.lock().unwrap().screen.screen().contents()
    }

    pub fn bytes(&self) -> String {
        String::from_utf8_lossy(&self.seen.lock().unwrap().bytes).into_owned()
    }

    /// Waits until the screen contains the text.
    pub fn see(&self, text: &str) {
        self.wait(text, |screen, _| screen.contains(text));
    }

    /// Waits until some line of the screen is the text and nothing else.
    pub fn see_line(&self, text: &str) {
        self.wait(text, |screen, _| screen.lines().any(|line| line.trim_end() == text));
    }

    /// Waits until the cursor stands after an empty prompt.
    pub fn prompt(&self) {
        self.wait("an empty prompt", |_, place| is_prompt(place));
    }

    /// Whether the cursor stands after an empty prompt.
    #[allow(dead_code, reason = "a benchmark asks whether a line still runs")]
    pub fn is_at_prompt(&self) -> bool {
        let (_, line, column) = self.look();
        is_prompt((&line, column))
    }

    /// The screen, and the row and the column of the cursor.
    fn look(&self) -> (String, String, u16) {
        let seen = self.seen.lock().unwrap();
        let screen = seen.screen.screen();
        let (row, column) = screen.cursor_position();
        // Of the contents, lines that are wrapped are one, so that they are not counted in rows.
        let line = screen.rows(0, COLUMNS.get()).nth(row.into()).unwrap_or_default();
        (screen.contents(), line, column)
    }

    /// Waits until the test holds of the screen, and of the row and the column of the cursor.
    fn wait(&self, what: &str, test: impl Fn(&str, (&str, u16)) -> bool) {
        let start = Instant::now();
        loop {
            let (screen, line, column) = self.look();
            if test(&screen, (&line, column)) {
                return;
            }
            assert!(start.elapsed() < DEADLINE, "waited in vain for {what}; the screen is\n{screen}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until the program has ended; returns its exit code.
    pub fn ended(&mut self) -> u32 {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.exit_code();
            }
            assert!(start.elapsed() < DEADLINE, "it did not end; the screen is\n{}", self.screen());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Closes the terminal, as closing its window does. Something must be printed after that: it wakes the reader,
    /// which also holds the terminal.
    pub fn close(&mut self) {
        self.seen.lock().unwrap().closed = true;
        self.keyboard = None;
        self.master = None;
    }
}

fn is_prompt((line, column): (&str, u16)) -> bool {
    column == 2 && line.trim_end() == ">"
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // A test that failed must leave no process behind.
        let _may_have_ended = self.child.kill();
    }
}
