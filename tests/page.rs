//! A report opened in headless Chromium: it renders in light and dark and on a phone, without network, and text that
//! looks like HTML stays text.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

const SCRIPT: &str = r##"
let evil = "</script><script>document.title = 'broken'</script><img src=x onerror=\"document.title='broken'\">";
let words = ["<img/src=x/onerror=document.title='broken'>", "</script>", "plain"];
let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: 3, context: 8 }, #{ words: words, seed: 1 });
let read = m.run([0, 1, 2]);
report("page", [
    "# A heading with <b>" + evil,
    table([#{ name: evil, value: 1.5 }, #{ name: "plain", value: -2 }]),
    heat_text([evil, " the", "-->", "\u0007bell"], [0.1, 0.9, -0.5, 0.0]),
    plot::line(#{ evil: [1, 4, 9] }, #{ title: evil, x: "<x>", y: "&y" }),
    plot::heat([[1, 2], [3, 4]], #{ rows: [evil, "b"], columns: ["c", "d"] }),
    card(evil, #{ field: evil }),
    m.lens([0, 1, 2]),
    m.attribution([0, 1, 2], 0, #{ by: "head", against: 1 }),
    m.attention([0, 1, 2], "pattern.1.0"),
    m.compare(read, read),
]).save();
"##;

/// Chromium, or a word on standard error that the test is skipped. CI must have it.
fn chromium() -> Option<&'static str> {
    let found = ["chromium", "chromium-browser", "google-chrome"]
        .into_iter()
        .find(|name| Command::new(name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok());
    if found.is_none() {
        assert!(std::env::var_os("CI").is_none(), "CI must have Chromium");
        // Past the harness, which keeps what passing tests print to itself.
        let _best_effort = writeln!(std::io::stderr(), "SKIPPED: tests/page.rs needs chromium, and there is none");
    }
    found
}

fn browse(chromium: &str, profile: &Path, words: &[&str], page: &Path) -> Vec<u8> {
    let output = Command::new(chromium)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
        ])
        .arg(format!("--user-data-dir={}", profile.display()))
        .args(words)
        .arg(format!("file://{}", page.display()))
        .stderr(Stdio::null())
        .output()
        .unwrap();
    output.stdout
}

#[test]
fn a_page_renders_and_nothing_escapes_its_quotes() {
    let Some(chromium) = chromium() else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_microtome"));
    command.args(["-e", SCRIPT]).current_dir(folder.path()).env("MICROTOME_CACHE", "");
    let ran = command.output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let page = folder.path().join("out/page/index.html");
    let html = std::fs::read_to_string(&page).unwrap();
    for outside in ["http://", "https://", "src=\"", "@import", "url("] {
        // The names of the SVG and XHTML standards are addresses that nobody opens.
        let left = html.replace("http://www.w3.org/", "");
        assert!(!left.contains(outside), "the page refers to something outside: {outside}");
    }
    let profile = folder.path().join("profile");
    let dom = String::from_utf8(browse(chromium, &profile, &["--dump-dom"], &page)).unwrap();
    assert!(dom.contains("<svg") && dom.contains("onerror=") && dom.contains("plain"), "{dom}");
    for reading in
        ["logit lens: the likeliest", "direct attribution of", "pattern.1.0 from position 2", "two runs, a and b"]
    {
        assert!(dom.contains(reading), "{reading} is missing");
    }
    let title = dom.split("<title>").nth(1).and_then(|rest| rest.split("</title>").next()).unwrap_or_default();
    assert!(!title.contains("broken"), "a script of the text ran: {title}");
    for (name, words) in [
        ("light", &["--window-size=1000,1400"][..]),
        ("dark", &["--window-size=1000,1400", "--blink-settings=preferredColorScheme=0"]),
        ("phone", &["--window-size=500,900"]),
    ] {
        let picture = folder.path().join(format!("{name}.png"));
        let shot = format!("--screenshot={}", picture.display());
        browse(chromium, &profile, &[words, &[shot.as_str()]].concat(), &page);
        let bytes = std::fs::read(&picture).unwrap_or_default();
        assert!(bytes.len() > 10_000, "{name}: the page is blank");
    }
}
