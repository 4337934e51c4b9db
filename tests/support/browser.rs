//! Chromium driven over the pipe of its DevTools protocol: pages as they are served, with real keys and clicks.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// How long a page may take for anything.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Browser {
    process: Child,
    to: ChildStdin,
    from: Receiver<Value>,
    calls: u64,
    /// The page that is driven.
    session: Option<String>,
    /// What pages complained of: exceptions, errors on the console, what their policy forbade, what could
    /// not be loaded.
    pub problems: Vec<String>,
    /// Addresses that pages asked for.
    pub requests: Vec<String>,
}

impl Browser {
    pub fn start(chromium: &str, profile: &Path) -> Self {
        // Chromium reads from descriptor 3 and writes to descriptor 4.
        let mut command = Command::new("sh");
        command.args(["-c", "exec \"$0\" \"$@\" 3<&0 4>&1 </dev/null >/dev/null", chromium]);
        command.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]);
        command.args(["--disable-background-networking", "--disable-component-update", "--disable-sync"]);
        // In a container the memory that processes share may have 64 MB, which pages with an engine would fill.
        command.args(["--hide-scrollbars", "--remote-debugging-pipe", "--disable-dev-shm-usage"]);
        command.arg(format!("--user-data-dir={}", profile.display()));
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let to = process.stdin.take().unwrap();
        let mut out = BufReader::new(process.stdout.take().unwrap());
        let (sender, from) = channel();
        std::thread::spawn(move || {
            let mut message = Vec::new();
            while out.read_until(0, &mut message).is_ok_and(|read| read > 0) {
                message.pop();
                if sender.send(serde_json::from_slice(&message).unwrap()).is_err() {
                    return;
                }
                message.clear();
            }
        });
        Self { process, to, from, calls: 0, session: None, problems: Vec::new(), requests: Vec::new() }
    }

    fn call(&mut self, method: &str, params: Value) -> Value {
        self.calls += 1;
        let mut message = json!({ "id": self.calls, "method": method, "params": params });
        if let Some(session) = &self.session {
            message["sessionId"] = session.as_str().into();
        }
        self.to.write_all(format!("{message}\0").as_bytes()).unwrap();
        self.to.flush().unwrap();
        loop {
            let answer = self.from.recv_timeout(PATIENCE).unwrap_or_else(|e| panic!("{method}: {e}"));
            if answer["id"] == self.calls {
                assert!(answer["error"].is_null(), "{method}: {}", answer["error"]);
                return answer["result"].clone();
            }
            self.notice(&answer);
        }
    }

    fn notice(&mut self, event: &Value) {
        let method = event["method"].as_str().unwrap_or_default();
        let params = &event["params"];
        let is_error = method == "Log.entryAdded" && params["entry"]["level"] == "error";
        let is_said = method == "Runtime.consoleAPICalled" && params["type"] == "error";
        if method == "Runtime.exceptionThrown" || is_error || is_said {
            self.problems.push(params.to_string());
        }
        if method == "Network.requestWillBeSent" {
            self.requests.push(params["request"]["url"].as_str().unwrap_or_default().into());
        }
    }

    /// Opens a page beside those that are open, and drives it.
    pub fn open(&mut self, address: &str) -> String {
        self.session = None;
        let target = self.call("Target.createTarget", json!({ "url": "about:blank" }))["targetId"].clone();
        let attached = self.call("Target.attachToTarget", json!({ "targetId": target, "flatten": true }));
        let session = attached["sessionId"].as_str().unwrap().to_string();
        self.drive(&session);
        for domain in ["Page", "Runtime", "Log", "Network"] {
            self.call(&format!("{domain}.enable"), json!({}));
        }
        self.go(address);
        session
    }

    /// Leaves the page for another, which is there when this returns.
    pub fn go(&mut self, address: &str) {
        self.call("Page.navigate", json!({ "url": address }));
    }

    /// Drives a page that is open.
    pub fn drive(&mut self, session: &str) {
        self.session = Some(session.into());
    }

    pub fn size(&mut self, width: u32, height: u32) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.call("Emulation.setDeviceMetricsOverride", size);
    }

    pub fn dark(&mut self, is_dark: bool) {
        let value = if is_dark { "dark" } else { "light" };
        self.call(
            "Emulation.setEmulatedMedia",
            json!({ "features": [{ "name": "prefers-color-scheme", "value": value }] }),
        );
    }

    /// Checks that the ground of the page is dark in the dark, and bright in the light.
    pub fn has_both_dresses(&mut self) {
        let color = "getComputedStyle(document.body).backgroundColor.match(/[\\d.]+/g).slice(0, 3)";
        for is_dark in [true, false] {
            self.dark(is_dark);
            let brightness = self.number(&format!("{color}.reduce((sum, one) => sum + Number(one), 0) / 765"));
            assert_eq!(brightness < 0.5, is_dark, "a ground with {brightness} of white");
        }
    }

    /// Freezes the page for a time, as a tab that nobody looks at, and wakes it.
    pub fn sleep(&mut self, time: Duration) {
        for (state, time) in [("frozen", time), ("active", Duration::ZERO)] {
            self.call("Page.setWebLifecycleState", json!({ "state": state }));
            std::thread::sleep(time);
        }
        // One that was frozen stays hidden, and draws nothing, until somebody looks at it.
        self.call("Emulation.setFocusEmulationEnabled", json!({ "enabled": true }));
    }

    /// The value of an expression in the page.
    pub fn js(&mut self, code: &str) -> Value {
        let question = json!({ "expression": code, "awaitPromise": true, "returnByValue": true });
        let answer = self.call("Runtime.evaluate", question);
        assert!(answer["exceptionDetails"].is_null(), "{code}: {}", answer["exceptionDetails"]);
        answer["result"]["value"].clone()
    }

    pub fn text(&mut self, code: &str) -> String {
        self.js(code).as_str().unwrap_or_else(|| panic!("{code} is no text")).into()
    }

    pub fn number(&mut self, code: &str) -> f64 {
        self.js(code).as_f64().unwrap_or_else(|| panic!("{code} is no number"))
    }

    /// Whether a condition holds in the page.
    pub fn is(&mut self, condition: &str) -> bool {
        self.js(&format!("Boolean({condition})")) == true
    }

    /// Waits until a condition holds in the page; one that cannot be asked yet does not.
    pub fn until(&mut self, condition: &str) {
        let begin = Instant::now();
        while !self.is(&format!("(() => {{ try {{ return {condition}; }} catch {{ return false; }} }})()")) {
            if begin.elapsed() > PATIENCE {
                let seen = self.js("document.body?.innerText");
                panic!("never: {condition}\n{seen}\n{:#?}", self.problems);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Megabytes that the processes of pages and their workers have in memory, without what the page no longer needs.
    pub fn memory(&mut self) -> f64 {
        self.call("HeapProfiler.collectGarbage", json!({}));
        let session = self.session.take();
        let known = self.call("SystemInfo.getProcessInfo", json!({}))["processInfo"].clone();
        self.session = session;
        let pages = known.as_array().unwrap().iter().filter(|process| process["type"] == "renderer");
        let resident = |process: &Value| {
            let status = std::fs::read_to_string(format!("/proc/{}/status", process["id"])).unwrap_or_default();
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0 kB");
            line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1e3
        };
        pages.map(resident).sum()
    }

    /// Types as a keyboard or another input method does.
    pub fn insert(&mut self, text: &str) {
        self.call("Input.insertText", json!({ "text": text }));
    }

    /// Presses a key: of one letter, or one with a name.
    pub fn press(&mut self, key: &str) {
        let code = match key {
            "Tab" => 9,
            "Enter" => 13,
            "Escape" => 27,
            "ArrowLeft" => 37,
            "ArrowUp" => 38,
            "ArrowRight" => 39,
            "ArrowDown" => 40,
            _ => 0,
        };
        let mut down = json!({ "type": "keyDown", "key": key, "windowsVirtualKeyCode": code });
        match key {
            "Enter" => down["text"] = "\r".into(),
            key if key.chars().count() == 1 => down["text"] = key.into(),
            _ => {}
        }
        self.call("Input.dispatchKeyEvent", down);
        self.call("Input.dispatchKeyEvent", json!({ "type": "keyUp", "key": key, "windowsVirtualKeyCode": code }));
    }

    /// Where the middle of an element is, brought into view.
    fn middle(&mut self, selector: &str) -> (Value, Value) {
        let code = format!(
            "(() => {{ const one = document.querySelector({selector:?}); one.scrollIntoView({{ block: 'nearest' }}); \
             const [at] = one.getClientRects(); return [at.x + at.width / 2, at.y + at.height / 2]; }})()"
        );
        let place = self.js(&code);
        (place[0].clone(), place[1].clone())
    }

    pub fn point(&mut self, selector: &str) {
        let (x, y) = self.middle(selector);
        self.call("Input.dispatchMouseEvent", json!({ "type": "mouseMoved", "x": x, "y": y }));
    }

    pub fn click(&mut self, selector: &str) {
        self.point(selector);
        let (x, y) = self.middle(selector);
        for kind in ["mousePressed", "mouseReleased"] {
            let event = json!({ "type": kind, "x": x, "y": y, "button": "left", "clickCount": 1 });
            self.call("Input.dispatchMouseEvent", event);
        }
    }

    /// A picture of what is seen, as PNG.
    pub fn picture(&mut self) -> Vec<u8> {
        let answer = self.call("Page.captureScreenshot", json!({ "format": "png" }));
        STANDARD.decode(answer["data"].as_str().unwrap()).unwrap()
    }

    /// Looks at what is seen in light, in dark and on a phone; the pictures stay where a folder is named for them.
    pub fn photograph(&mut self, view: &str) {
        for (dress, is_dark, (width, height)) in
            [("light", false, (1280, 900)), ("dark", true, (1280, 900)), ("phone", false, (360, 740))]
        {
            self.size(width, height);
            self.dark(is_dark);
            let picture = self.picture();
            assert!(picture.len() > 10_000, "{view} in {dress}: the page is blank");
            if let Some(folder) = std::env::var_os("MICROTOME_TEST_PICTURES") {
                std::fs::write(Path::new(&folder).join(format!("{dress}-{view}.png")), picture).unwrap();
            }
        }
        self.size(1280, 900);
        self.dark(false);
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let close = "{\"id\":0,\"method\":\"Browser.close\"}\0";
        let _asked = self.to.write_all(close.as_bytes()).and_then(|()| self.to.flush());
        for _ in 0..100 {
            if matches!(self.process.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let _gone = self.process.kill().and_then(|()| self.process.wait());
    }
}
