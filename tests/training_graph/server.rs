//! A file server of a page, for tests.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::mpsc::Sender;
use std::time::Duration;

/// What the page sends.
pub struct Post {
    pub path: String,
    pub body: Vec<u8>,
}

/// Files by path.
pub type Files = Box<dyn Fn(&str) -> Option<Vec<u8>> + Send>;

/// A file server with a user on the page.
pub struct Served {
    pub page: PathBuf,
    /// What its user does, in JavaScript.
    pub user: String,
    /// What is served besides: by path, with the `/` that it begins with.
    pub more: Files,
}

impl Served {
    pub fn run(&self, listener: &TcpListener, sender: &Sender<Post>) {
        for stream in listener.incoming() {
            // A browser may open connections and leave them.
            let Ok(stream) = stream else { return };
            let _ = self.answer(&stream, sender);
        }
    }

    fn answer(&self, mut stream: &TcpStream, sender: &Sender<Post>) -> std::io::Result<()> {
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        let mut reader = BufReader::new(stream);
        let (mut line, mut length) = (String::new(), 0);
        reader.read_line(&mut line)?;
        loop {
            let mut header = String::new();
            reader.read_line(&mut header)?;
            if header.trim().is_empty() {
                break;
            }
            if let Some((name, value)) = header.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().unwrap_or(0);
            }
        }
        let mut words = line.split_whitespace();
        let (method, path) = (
            words.next().unwrap_or_default(),
            words.next().unwrap_or_default(),
        );
        let mut answer = Some(Vec::new());
        if method == "POST" {
            let mut body = vec![0; length];
            reader.read_exact(&mut body)?;
            let path = path.to_owned();
            let _ = sender.send(Post { path, body });
        } else {
            answer = self.file(path);
        }
        let status = if answer.is_some() {
            "200 OK"
        } else {
            "404 Not Found"
        };
        let kind = match path.rsplit('.').next() {
            Some("js" | "mjs") => "text/javascript",
            Some("css") => "text/css",
            Some("wasm") => "application/wasm",
            _ if path == "/" => "text/html",
            _ => "application/octet-stream",
        };
        let bytes = answer.unwrap_or_default();
        write!(
            stream,
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            bytes.len()
        )?;
        stream.write_all(&bytes)
    }

    fn file(&self, path: &str) -> Option<Vec<u8>> {
        match path {
            "/" => {
                let page = fs::read_to_string(self.page.join("index.html")).ok()?;
                let user = "<script type=\"module\" src=\"user.js\"></script></body>";
                Some(page.replace("</body>", user).into_bytes())
            }
            "/user.js" => Some(self.user.clone().into_bytes()),
            path => (self.more)(path)
                .or_else(|| fs::read(self.page.join(path.trim_start_matches('/'))).ok()),
        }
    }
}
