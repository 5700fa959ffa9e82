//! Headless Chromium on a page that is served here, for tests.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use ftsurgery::testing::skip;

use crate::server::{Post, Served};

/// What a page has for whatever it does: that takes seconds.
const LIMIT: Duration = Duration::from_secs(300);

/// A browser that looks at a page; it ends with its scope.
pub struct Visit {
    browser: Child,
    received: Receiver<Post>,
    log: PathBuf,
}

impl Visit {
    /// `profile`: a folder for what the browser keeps.
    pub fn of(chromium: &Path, profile: &Path, served: Served) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, received) = channel();
        thread::spawn(move || served.run(&listener, &sender));
        let log = profile.with_extension("log");
        let browser = Command::new(chromium)
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--no-first-run",
            ])
            .args([
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
            ])
            .arg("--enable-logging=stderr")
            .arg(format!("--user-data-dir={}", profile.display()))
            .arg(format!("http://{address}/"))
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Visit {
            browser,
            received,
            log,
        }
    }

    fn told(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// What the page sends next.
    pub fn post(&self) -> Post {
        let post = self.received.recv_timeout(LIMIT);
        post.unwrap_or_else(|_| panic!("the page says nothing: {}", self.told()))
    }

    /// Ends the browser, on whose console there must be nothing.
    pub fn end(self) {
        let told = self.told();
        let errors: Vec<&str> = told.lines().filter(|l| l.contains("CONSOLE")).collect();
        assert!(errors.is_empty(), "{errors:?}");
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let _ = self.browser.kill();
        let _ = self.browser.wait();
    }
}

/// The browser, where it and onnxruntime-web are there.
pub fn browser() -> Option<PathBuf> {
    if node_modules("onnxruntime-web").is_none() {
        skip("node", "node with onnxruntime-web (NODE_PATH)");
        return None;
    }
    ftsurgery::testing::chromium()
}

/// The `node_modules` in which node finds a package (`NODE_PATH`, or the working folder and those above it).
pub fn node_modules(package: &str) -> Option<PathBuf> {
    let script = format!("console.log(require.resolve('{package}'))");
    let ran = Command::new("node").args(["-e", &script]).output().ok()?;
    let found = String::from_utf8(ran.stdout).ok()?;
    let mut above = Path::new(found.trim()).ancestors();
    let modules = above.find(|path| path.ends_with("node_modules"))?;
    modules.is_dir().then(|| modules.to_owned())
}
