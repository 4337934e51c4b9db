//! The pages about other programs, followed line by line from an empty folder and an empty cache: the files that they show are
//! written, their lines typed, servers asked, keys pressed, and all answers compared, with the programs themselves.
//!
//! `MICROTOME_TRACKERS` names a Python that has tensorboard, mlflow and wandb, `MICROTOME_PYTHON` one that has
//! neuronpedia-inference-client, `MICROTOME_NEOVIM` a Neovim, and `MICROTOME_NODE` is set where npm may install; lines whose
//! program is missing say that they are skipped. After an intended change, `PICTURES=overwrite cargo test client_pages::`
//! writes the pictures of the page on charts.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use kit::editor::Editor;
use kit::{PageBlock, PageCommand, PageShell, page_blocks};
use portable_pty::CommandBuilder;
use serde_json::{Value, json};

use crate::support::client;
use crate::torture::terminal::Terminal;

const PROGRAM: &str = env!("CARGO_BIN_EXE_microtome");

/// Time that a server or a screen may take on a slow machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// The program that a line calls, behind variables of the environment or without.
fn program(typed: &str) -> &str {
    typed.split(' ').find(|word| !word.contains('=')).unwrap_or_default()
}

/// A reader of a page, with a home of their own.
struct PageReader {
    page: PathBuf,
    home: tempfile::TempDir,
    shell: PageShell,
    /// The ports of the page, and those in their places, since somebody may have these.
    ports: Vec<(&'static str, String)>,
}

impl PageReader {
    /// A reader of a page with servers on these ports, who has the programs beside `client`, too.
    fn new(name: &str, ports: &[&'static str], client: Option<&Path>) -> Self {
        let home = tempfile::tempdir().unwrap();
        let mut shell = PageShell::new(home.path(), Path::new(PROGRAM));
        if let Some(folder) = client.and_then(Path::parent) {
            shell.finds(folder);
        }
        // All at once, so that no two are the same.
        let free: Vec<TcpListener> = ports.iter().map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let free = free.iter().map(|listener| listener.local_addr().unwrap().port().to_string());
        let ports = ports.iter().copied().zip(free).collect();
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name);
        Self { page, home, shell, ports }
    }

    /// The page as one line.
    fn text(&self) -> String {
        std::fs::read_to_string(&self.page).unwrap().replace('\n', " ")
    }

    /// A text of the page with the ports of here.
    fn here(&self, text: &str) -> String {
        self.ports.iter().fold(text.into(), |text: String, (theirs, ours)| text.replace(theirs, ours))
    }

    /// Writes a file of the page; `~/.config` is where the shell has it.
    fn write(&self, name: &str, text: &str) {
        let name = name.strip_prefix("~/.config/").map_or(name.to_string(), |rest| format!("../config/{rest}"));
        self.shell.write(&name, &self.here(text));
    }

    /// Follows the page, and returns the number of its lines. Those that `own` takes are not typed.
    fn follow(&mut self, mut own: impl FnMut(&mut Self, &PageCommand) -> bool) -> usize {
        let mut count = 0;
        for block in page_blocks(&self.page) {
            if let Some(name) = block.file() {
                self.write(name, &block.text());
            }
            for command in block.commands() {
                count += 1;
                if !own(self, &command) {
                    self.type_in(&command);
                }
            }
        }
        count
    }

    /// Types a line. It ends well, or shows an error where the page does.
    fn type_in(&mut self, command: &PageCommand) {
        let typed = self.here(&command.typed);
        let (code, said) = self.shell.line(&typed);
        let is_refused = command.shown.iter().any(|line| line.starts_with("error"));
        let place = self.page.display();
        assert_ne!(code == Some(0), is_refused, "{place}, line {}: {typed}\nended with {code:?}\n{said}", command.line);
        self.compare(command, &said);
    }

    /// Compares what was said with what the page shows.
    fn compare(&self, command: &PageCommand, said: &str) {
        let said = self.ports.iter().fold(said.into(), |text: String, (theirs, ours)| text.replace(ours, theirs));
        if let Some(complaint) = command.complaint(&said) {
            panic!("{}, {complaint}", self.page.display());
        }
    }

    /// Starts the server of a line, on the port in the place of one of the page.
    fn start(&self, command: &PageCommand, port: &str) -> RunningServer {
        let said = self.home.path().join("server");
        let output = File::create(&said).unwrap();
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("{} --port {}", command.typed, self.here(port))]).current_dir(self.shell.here());
        shell.envs(self.shell.variables()).stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output);
        RunningServer { process: shell.process_group(0).spawn().unwrap(), said }
    }

    /// Types a line into a terminal.
    fn terminal(&self, typed: &str) -> Terminal {
        let mut shell = CommandBuilder::new("sh");
        shell.args(["-c", &format!("exec {typed}")]);
        shell.cwd(self.shell.here());
        shell.env_clear();
        shell.env("TERM", "xterm-256color");
        for (name, value) in self.shell.variables() {
            shell.env(name, value);
        }
        Terminal::of(shell)
    }

    /// Compares the versions that a line installs with those that are there, and with those of `.ci/run`.
    fn has_pins(&self, python: &Path, command: &PageCommand) {
        let installed = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(".ci/run")).unwrap();
        let code = "import importlib.metadata, sys; print(importlib.metadata.version(sys.argv[1]))";
        for pin in command.typed.split(' ').filter(|word| word.contains("==")) {
            let (name, version) = pin.split_once("==").unwrap();
            let output = Command::new(python).args(["-c", code, name]).output().unwrap();
            assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), version, "{}: {pin}", self.page.display());
            assert!(installed.contains(pin), ".ci/run installs another version than {pin}");
        }
    }
}

/// A server, until it is dropped.
struct RunningServer {
    process: Child,
    /// The file with what it says.
    said: PathBuf,
}

impl RunningServer {
    /// Waits until it has said something; returns all that it said.
    fn says(&mut self, words: &str) -> String {
        let begun = Instant::now();
        loop {
            // It may be in the middle of a letter.
            let said = String::from_utf8_lossy(&std::fs::read(&self.said).unwrap()).into_owned();
            if said.contains(words) {
                return said;
            }
            let is_there = self.process.try_wait().unwrap().is_none();
            assert!(is_there && begun.elapsed() < PATIENCE, "it never said {words}\n{said}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Sends a signal to all of its processes.
    fn signal(&self, name: &str) {
        let group = format!("-{}", self.process.id());
        let _may_be_none = Command::new("kill").args([name, "--", &group]).stderr(Stdio::null()).status();
    }
}

impl Drop for RunningServer {
    fn drop(&mut self) {
        // As Ctrl-C in its terminal.
        self.signal("-INT");
        let begun = Instant::now();
        while matches!(self.process.try_wait(), Ok(None)) && begun.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_millis(20));
        }
        self.signal("-KILL");
        let _reaped = self.process.wait();
    }
}

/// Asks a server of this machine; returns the body of the answer.
fn asked(port: &str, request: &str, body: &str) -> String {
    let mut connection = TcpStream::connect(format!("localhost:{port}")).unwrap();
    connection.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = format!("{request} HTTP/1.0\r\nHost: localhost:{port}\r\nContent-Type: application/json\r\n");
    write!(connection, "{head}Content-Length: {}\r\n\r\n{body}", body.len()).unwrap();
    // In this version of HTTP an answer ends with the connection.
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{request}: {answer}")).1.into()
}

fn asked_json(port: &str, request: &str, body: &str) -> Value {
    let answer = asked(port, request, body);
    serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{request}: {error}\n{answer}"))
}

/// Waits until a screen shows something.
fn sees(terminal: &Terminal, words: &str) {
    let begun = Instant::now();
    while !terminal.screen().contains(words) {
        assert!(begun.elapsed() < PATIENCE, "waited in vain for {words}; the screen is\n{}", terminal.screen());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The keys of an object.
fn keys(value: &Value) -> BTreeSet<String> {
    value.as_object().unwrap_or_else(|| panic!("no object: {value}")).keys().cloned().collect()
}

/// TensorBoard has a run for each folder of a training, with these curves and a point for each step.
fn is_shown_by_tensorboard(reader: &PageReader, command: &PageCommand, curves: &BTreeSet<String>) {
    let mut server = reader.start(command, "6006");
    reader.compare(command, &server.says("Press CTRL+C to quit"));
    let port = reader.here("6006");
    let folder = reader.shell.path("out/fit/track/tensorboard");
    let trainings = walkdir::WalkDir::new(&folder).min_depth(2).max_depth(2).into_iter().flatten();
    let name = |path: &Path| path.strip_prefix(&folder).unwrap().display().to_string();
    let expected: BTreeSet<String> = trainings.map(|entry| name(entry.path())).collect();
    let begun = Instant::now();
    // It reads them after it has begun to answer.
    let found = loop {
        let found = asked_json(&port, "GET /data/plugin/scalars/tags", "");
        if keys(&found) == expected || begun.elapsed() > PATIENCE {
            break found;
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    assert_eq!((keys(&found), expected.len()), (expected.clone(), 2));
    for (run, steps) in expected.iter().zip([200, 100]) {
        assert_eq!(keys(&found[run]), *curves, "{run}");
        let points = format!("GET /data/plugin/scalars/scalars?run={run}&tag=loss");
        assert_eq!(asked_json(&port, &points, "").as_array().unwrap().len(), steps, "{run}");
    }
}

/// MLflow has the script as an experiment, with the runs that the page names and these curves.
fn is_shown_by_mlflow(reader: &PageReader, command: &PageCommand, curves: &BTreeSet<String>) {
    let mut server = reader.start(command, "5000");
    server.says("Application startup complete");
    let port = reader.here("5000");
    let version = asked(&port, "GET /version", "");
    assert!(reader.text().contains(&format!("mlflow=={}", version.trim())), "{version}");
    let search =
        |what: &str, body: Value| asked_json(&port, &format!("POST /api/2.0/mlflow/{what}/search"), &body.to_string());
    let experiments = search("experiments", json!({ "max_results": 10 }));
    let [experiment] = experiments["experiments"].as_array().unwrap().as_slice() else { panic!("{experiments}") };
    let runs = search("runs", json!({ "experiment_ids": [experiment["experiment_id"]] }));
    let mut named = vec![experiment["name"].as_str().unwrap()];
    for run in runs["runs"].as_array().unwrap() {
        named.push(run["info"]["run_name"].as_str().unwrap());
        assert_eq!(run["info"]["status"], "FINISHED");
        let metrics = run["data"]["metrics"].as_array().into_iter().flatten();
        let metrics: BTreeSet<String> = metrics.map(|one| one["key"].as_str().unwrap().to_string()).collect();
        assert!(metrics.is_empty() || metrics == *curves, "{metrics:?}");
    }
    let is_on_the_page = |name: &&str| reader.text().contains(&format!("`{name}`"));
    assert!(named.len() == 3 && named.iter().all(is_on_the_page), "{named:?}");
}

#[test]
fn trackers_show_what_their_page_says() {
    let python = client("MICROTOME_TRACKERS", "a Python that has tensorboard, mlflow and wandb", |_| true);
    let mut reader = PageReader::new("trackers.md", &["6006", "5000"], python.as_deref());
    let text = reader.text();
    let (_, rest) = text.split_once("of a dictionary `").unwrap();
    let (curves, _) = rest.split_once("`;").unwrap();
    let curves: BTreeSet<String> = curves.split('`').step_by(2).map(String::from).collect();
    assert_eq!(curves.len(), 5, "{curves:?}");
    let count = reader.follow(|reader, command| {
        let client = program(&command.typed);
        if !["pip", "tensorboard", "mlflow", "wandb"].contains(&client) {
            return false;
        }
        let Some(python) = &python else { return true };
        match client {
            "pip" => reader.has_pins(python, command),
            "tensorboard" => is_shown_by_tensorboard(reader, command, &curves),
            "mlflow" if command.typed.contains("mlflow ui ") => is_shown_by_mlflow(reader, command, &curves),
            "wandb" => {
                let terminal = reader.terminal(&command.typed);
                sees(&terminal, "Project: fit");
                curves.iter().for_each(|name| sees(&terminal, name));
            }
            _ => return false,
        }
        true
    });
    assert_eq!(count, 12, "lines of the page");
}

#[test]
fn neuronpedia_is_asked_as_its_page_says() {
    let python = client("MICROTOME_PYTHON", "a Python that has neuronpedia-inference-client", |_| true);
    let mut reader = PageReader::new("neuronpedia.md", &["5002"], python.as_deref());
    let mut server: Option<RunningServer> = None;
    let count = reader.follow(|reader, command| {
        match (program(&command.typed), &python) {
            ("pip", Some(python)) => reader.has_pins(python, command),
            ("pip" | "python", None) => {}
            _ if command.typed.contains("microtome serve ") => {
                // The one before has the port.
                drop(server.take());
                let mut started = reader.start(command, "5002");
                let last = reader.here(command.shown.last().unwrap());
                reader.compare(command, &started.says(&last));
                server = Some(started);
            }
            _ => return false,
        }
        true
    });
    assert_eq!(count, 11, "lines of the page");
}

/// A key of Neovim: its name on the page, what is pressed before it, itself, and what the screen then shows; what is pressed
/// behind it, and what the screen shows then.
struct NeovimKey {
    name: &'static str,
    before: &'static str,
    pressed: &'static str,
    seen: &'static str,
    behind: &'static str,
    seen_then: &'static str,
}

/// The keys of the page, in its order: each goes on where the one before has left the text.
const NEOVIM_KEYS: [NeovimKey; 8] = [
    NeovimKey {
        name: "K",
        before: "2G0fd",
        pressed: "K",
        seen: "Draws random numbers from the normal distribution",
        behind: "l",
        seen_then: "",
    },
    NeovimKey {
        name: "gra",
        before: "2G$Fd",
        pressed: "gra",
        seen: "Replace with `seed`",
        behind: "1\r",
        seen_then: "let noise: [2, 3] = tensor::randn([2, 3], #{ seed: 1 });",
    },
    NeovimKey {
        name: "grn",
        before: "3G0w",
        pressed: "grn",
        seen: "New Name: total",
        behind: "\x15sum\r",
        seen_then: "run::check(sum < 10",
    },
    NeovimKey {
        name: "grr",
        before: "",
        pressed: "grr",
        seen: "first.rhai|4 col 12-15|",
        behind: ":cclose\r",
        seen_then: "",
    },
    NeovimKey { name: "gO", before: "", pressed: "gO", seen: "[Variable] noise", behind: ":lclose\r", seen_then: "" },
    NeovimKey { name: "Ctrl-]", before: "3G0fn", pressed: "\x1d", seen: " 2,5", behind: "", seen_then: "" },
    NeovimKey {
        name: "Ctrl-X Ctrl-O",
        before: "Golet more = tensor::zeros([2], #{ dt",
        pressed: "\x18\x0f",
        seen: "#{ dtype:",
        behind: "\x1bccshow(sum  )\x1b",
        seen_then: "show(sum  )",
    },
    NeovimKey {
        name: ":lua vim.lsp.buf.format()",
        before: "",
        pressed: ":lua vim.lsp.buf.format()\r",
        seen: "show(sum)",
        behind: ":qa!\r",
        seen_then: "",
    },
];

/// Neovim shows what the page shows, and its keys do what the page says.
fn is_edited_in_neovim(reader: &PageReader, command: &PageCommand) {
    let text = std::fs::read_to_string(&reader.page).unwrap();
    let (_, table) = text.split_once("| key | on | does |\n|---|---|---|\n").unwrap();
    let rows = table.lines().map_while(|line| line.strip_prefix("| `")?.split_once("` |"));
    let names: Vec<&str> = rows.map(|(name, _)| name).collect();
    assert_eq!(names, NEOVIM_KEYS.map(|key| key.name));
    let mut terminal = reader.terminal(&command.typed);
    command.shown.iter().for_each(|line| sees(&terminal, line.trim()));
    for key in NEOVIM_KEYS {
        terminal.send(key.before);
        terminal.send(key.pressed);
        sees(&terminal, key.seen);
        terminal.send(key.behind);
        sees(&terminal, key.seen_then);
    }
    assert_eq!(terminal.ended(), 0);
}

/// The extension of VS Code is packaged under the name that the page says.
fn is_packaged(reader: &mut PageReader, command: &PageCommand) {
    let root = env!("CARGO_MANIFEST_DIR");
    let typed = format!("mkdir editors && cp -r '{root}/editors/vscode' editors && ({})", command.typed);
    let (code, said) = reader.shell.line(&typed);
    assert_eq!(code, Some(0), "{said}");
    let text = reader.text();
    let name = text.split('`').find(|word| word.ends_with(".vsix")).unwrap();
    let file = File::open(reader.shell.path("editors/vscode").join(name)).unwrap();
    let package = zip::ZipArchive::new(file).unwrap();
    let has = |part: &str| package.file_names().flatten().any(|known| known == format!("extension/{part}"));
    for part in ["extension.js", "syntaxes/rhai.tmLanguage.json", "node_modules/vscode-languageclient/node.js"] {
        assert!(has(part), "{name} has no {part}");
    }
}

#[test]
fn editors_are_set_up_as_their_page_says() {
    let neovim = client("MICROTOME_NEOVIM", "a Neovim", |_| true);
    let npm = client("MICROTOME_NODE", "any folder, where npm may install packages", |_| true);
    let mut reader = PageReader::new("editors.md", &[], neovim.as_deref());
    let count = reader.follow(|reader, command| {
        match program(&command.typed) {
            "nvim" if neovim.is_none() => {}
            "nvim" if command.typed == "nvim first.rhai" => is_edited_in_neovim(reader, command),
            "cd" if npm.is_some() => is_packaged(reader, command),
            "cd" => {}
            "microtome" if command.typed == "microtome lsp" => {
                let mut editor = Editor::begun(PROGRAM, reader.home.path());
                assert_eq!(editor.result("shutdown", Value::Null), Value::Null);
            }
            _ => return false,
        }
        true
    });
    assert_eq!(count, 5, "lines of the page");
    let settings = std::fs::read_to_string(reader.home.path().join("config/helix/languages.toml")).unwrap();
    let settings: Value = toml::from_str(&settings).unwrap();
    let language = &settings["language"][0];
    assert_eq!((&language["name"], &language["language-servers"]), (&json!("rhai"), &json!(["microtome"])));
    assert_eq!(settings["language-server"]["microtome"], json!({ "command": "microtome", "args": ["lsp"] }));
}

/// Whether two drawings are the same but for last digits, which another kind of processor rounds otherwise: a unit is a tenth
/// of a pixel.
fn is_same_drawing(a: &str, b: &str) -> bool {
    let is_of_number = |c: char| c.is_ascii_digit() || c == '.';
    let numbers =
        |text: &str| -> Vec<f64> { text.split(|c| !is_of_number(c)).filter_map(|n| n.parse().ok()).collect() };
    let words = |text: &str| -> String { text.chars().filter(|c| !is_of_number(*c)).collect() };
    let [these, those] = [numbers(a), numbers(b)];
    words(a) == words(b) && these.len() == those.len() && these.iter().zip(&those).all(|(a, b)| (a - b).abs() <= 1.0)
}

/// Runs a script of the page on charts, and compares the drawing that it saves with the picture below it.
fn is_drawn(reader: &mut PageReader, block: &PageBlock) {
    reader.shell.write("figure.rhai", &block.text());
    let (code, said) = reader.shell.line("rm -rf out && microtome --quiet run figure.rhai");
    assert_eq!((code, said.as_str()), (Some(0), ""), "line {}", block.line);
    let saved = std::fs::read_dir(reader.shell.path("out")).unwrap().flatten().map(|entry| entry.path());
    let saved: Vec<PathBuf> = saved.filter(|path| path.extension().is_some_and(|ending| ending == "svg")).collect();
    let [saved] = saved.as_slice() else { panic!("line {}: it saves {saved:?}", block.line) };
    let drawing = std::fs::read_to_string(saved).unwrap();
    let page = std::fs::read_to_string(&reader.page).unwrap();
    let below = page.lines().skip(block.line - 1 + block.code.len());
    let target = |line: &str| Some(line.split_once("](")?.1.strip_suffix(')')?.to_string());
    let picture = below.filter(|line| line.starts_with("![")).find_map(target).unwrap();
    let name = saved.file_name().unwrap().to_string_lossy();
    assert_eq!(picture, format!("pictures/chart-{name}"), "line {}", block.line);
    let picture = reader.page.with_file_name(picture);
    if std::env::var_os("PICTURES").is_some_and(|word| word == "overwrite") {
        std::fs::write(picture, drawing).unwrap();
        return;
    }
    let there = std::fs::read_to_string(&picture).unwrap_or_default();
    let anew = "PICTURES=overwrite writes the pictures of today";
    assert!(is_same_drawing(&drawing, &there), "line {}: {} is another drawing; {anew}", block.line, picture.display());
}

#[test]
fn charts_are_those_of_their_page() {
    let mut reader = PageReader::new("charts.md", &[], None);
    let scripts: Vec<PageBlock> =
        page_blocks(&reader.page).into_iter().filter(|block| block.about.starts_with("rhai")).collect();
    assert!(scripts.len() >= 12, "{} scripts", scripts.len());
    scripts.iter().for_each(|block| is_drawn(&mut reader, block));
    let has_poppler = Command::new("pdfinfo").arg("-v").output().is_ok();
    if !has_poppler {
        assert!(std::env::var_os("CI").is_none(), "there is no pdfinfo, and .ci/run installs it");
        writeln!(std::io::stderr().lock(), "skipped: there is no pdfinfo on the search path").unwrap();
    }
    let count = reader.follow(|_, command| program(&command.typed).starts_with("pdf") && !has_poppler);
    assert_eq!(count, 3, "lines of the page");
    assert!(
        is_same_drawing("<a x=\"10.5\"/>", "<a x=\"10.6\"/>") && !is_same_drawing("<a x=\"10\"/>", "<a x=\"20\"/>")
    );
    assert!(!is_same_drawing("<a x=\"10\"/>", "<b x=\"10\"/>"));
}
