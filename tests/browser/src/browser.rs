//! The few commands of the DevTools protocol that looking at a page takes.

use std::io;
use std::path::{Path, PathBuf};

use data_encoding::BASE64;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::pipe::Pipe;
use crate::{Medium, View};

/// Names under which distributions install it, in the order of preference.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
/// Height of a screen in px, before the page is known.
const HEIGHT: u32 = 900;

/// A headless Chromium with one open page.
pub struct Browser {
    pipe: Pipe,
    session: Option<String>,
    sent: u64,
    /// What the open page asked for, itself included.
    requested: Vec<String>,
    /// Whether the open page is all there.
    loaded: bool,
    dir: TempDir,
}

impl Browser {
    /// Starts the machine's Chromium, or the one that `SOMNUS_CHROMIUM` names; `None`, said by the name of the test, where
    /// there is none.
    ///
    /// # Panics
    /// When there is one and it does not start.
    #[must_use]
    pub fn launch(test: &str) -> Option<Self> {
        let Some(program) = installed() else {
            println!("SKIPPED {test}: no Chromium is installed here");
            return None;
        };
        Some(
            Self::start(&program).unwrap_or_else(|why| panic!("{} does not start: {why}", program.display())),
        )
    }

    fn start(program: &Path) -> io::Result<Self> {
        let dir = tempfile::tempdir()?;
        let pipe = Pipe::open(program, &dir.path().join("profile"))?;
        let mut browser = Self { pipe, session: None, sent: 0, requested: Vec::new(), loaded: false, dir };
        let target = browser.ask("Target.createTarget", &json!({ "url": "about:blank" }))?;
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let session = browser.ask("Target.attachToTarget", &attach)?;
        browser.session = session["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page.enable", "Runtime.enable", "Network.enable"] {
            browser.ask(domain, &json!({}))?;
        }
        Ok(browser)
    }

    /// Opens a page as `view`, on a screen that holds all of it, and returns what it asked for beside itself.
    pub(crate) fn open(&mut self, page: &str, view: View) -> io::Result<Vec<String>> {
        let file = self.dir.path().join("page.html");
        std::fs::write(&file, page)?;
        let address = format!("file://{}", file.display());
        let scheme = if view.dark { "dark" } else { "light" };
        let medium = if view.medium == Medium::Print { "print" } else { "screen" };
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.ask("Emulation.setEmulatedMedia", &json!({ "media": medium, "features": features }))?;
        self.screen(view, HEIGHT)?;
        self.requested.clear();
        self.loaded = false;
        // The page may be there before the answer is.
        self.ask("Page.navigate", &json!({ "url": address }))?;
        while !self.loaded {
            let event = self.pipe.receive()?;
            self.note(&event);
        }
        let height = self.evaluate("document.documentElement.scrollHeight")?;
        self.screen(view, height.as_u64().and_then(|height| height.try_into().ok()).unwrap_or(HEIGHT))?;
        Ok(self.requested.iter().filter(|asked| **asked != address).cloned().collect())
    }

    fn screen(&mut self, view: View, height: u32) -> io::Result<Value> {
        let mobile = view.medium == Medium::Phone;
        let screen =
            json!({ "width": view.width(), "height": height, "deviceScaleFactor": 1, "mobile": mobile });
        self.ask("Emulation.setDeviceMetricsOverride", &screen)
    }

    /// The value of an expression in the open page.
    pub(crate) fn evaluate(&mut self, expression: &str) -> io::Result<Value> {
        let ask = json!({ "expression": expression, "returnByValue": true });
        let answer = self.ask("Runtime.evaluate", &ask)?;
        match answer.get("exceptionDetails") {
            Some(why) => Err(io::Error::other(why.to_string())),
            None => Ok(answer["result"]["value"].clone()),
        }
    }

    /// The open page as a PNG.
    pub(crate) fn picture(&mut self) -> io::Result<Vec<u8>> {
        decoded(&self.ask("Page.captureScreenshot", &json!({ "captureBeyondViewport": true }))?)
    }

    /// The open page on A4.
    pub(crate) fn paper(&mut self) -> io::Result<Vec<u8>> {
        let paper = json!({ "preferCSSPageSize": true, "printBackground": true, "paperWidth": 8.27, "paperHeight": 11.69 });
        decoded(&self.ask("Page.printToPDF", &paper)?)
    }

    fn ask(&mut self, method: &str, params: &Value) -> io::Result<Value> {
        self.sent += 1;
        let mut message = json!({ "id": self.sent, "method": method, "params": params });
        if let Some(session) = &self.session {
            message["sessionId"] = session.as_str().into();
        }
        self.pipe.send(&message)?;
        loop {
            let mut answer = self.pipe.receive()?;
            self.note(&answer);
            if answer["id"] == self.sent {
                return match answer.get("error") {
                    Some(why) => Err(io::Error::other(format!("{method}: {why}"))),
                    None => Ok(answer["result"].take()),
                };
            }
        }
    }

    fn note(&mut self, message: &Value) {
        if message["method"] == "Network.requestWillBeSent" {
            self.requested.extend(message["params"]["request"]["url"].as_str().map(str::to_owned));
        }
        self.loaded |= message["method"] == "Page.loadEventFired";
    }
}

fn decoded(answer: &Value) -> io::Result<Vec<u8>> {
    BASE64.decode(answer["data"].as_str().unwrap_or_default().as_bytes()).map_err(io::Error::other)
}

fn installed() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("SOMNUS_CHROMIUM") {
        return Some(named.into());
    }
    let path = std::env::var_os("PATH")?;
    let places: Vec<PathBuf> = std::env::split_paths(&path).collect();
    NAMES
        .iter()
        .find_map(|name| places.iter().map(|place| place.join(name)).find(|program| program.is_file()))
}
