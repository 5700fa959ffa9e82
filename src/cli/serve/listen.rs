//! Connections, and what they may cost.
//!
//! Each has one request. So many are open at a time; who comes later waits at the door, in the system's queue, and is not turned
//! away. Bodies have to say their length, and those that are being read share a number of bytes. Who is slow is let go.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::answers::{Answer, Route, Service, answer};
use super::worker::{Refusal, Worker};
use crate::cli::CliError;

/// Connections that are open at a time.
const CONNECTIONS: usize = 200;
/// Connections that may wait for these.
const WAITING: u32 = 4096;
/// Bytes of a body.
const MOST_BYTES: usize = 64 << 20;
/// KiB of all bodies that are held at a time.
const ALL_KIB: usize = 256 << 10;
/// What the head of a request may take.
const HEAD: Duration = Duration::from_secs(10);
/// What its body may take, from when there is room for it.
const BODY: Duration = Duration::from_secs(30);
/// What the model may take, with those that asked before.
const MODEL: Duration = Duration::from_secs(60);
/// What the whole may take, with the answer read.
const WHOLE: Duration = Duration::from_secs(180);

/// What all connections share.
struct Shared {
    service: Arc<Service>,
    worker: Worker,
    /// Of [`ALL_KIB`].
    room: Semaphore,
}

/// Serves until the process ends; `ready` is told the address.
pub fn on(
    (ip, port): (Ipv4Addr, u16),
    service: &Arc<Service>,
    worker: &Worker,
    ready: impl FnOnce(SocketAddr) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let shared = Arc::new(Shared {
        service: Arc::clone(service),
        worker: worker.clone(),
        room: Semaphore::new(ALL_KIB),
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let address = SocketAddr::from((ip, port));
        let listener = bound(address).map_err(|error| {
            CliError::usage(format!("cannot listen on {address}: {error}"))
                .with_hint("choose another port with --port; 0 takes one that is free")
        })?;
        ready(listener.local_addr()?)?;
        let open = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let Ok(place) = Arc::clone(&open).acquire_owned().await else {
                return Ok(());
            };
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                // One that is gone already, or too many open files: the next may do.
                Err(error) => {
                    tracing::warn!(%error, "a connection was not accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let shared = Arc::clone(&shared);
            tokio::spawn(async move {
                let _place = place;
                // What the other end broke off is its own affair.
                let _ = timeout(WHOLE, connection(stream, &shared)).await;
            });
        }
    })
}

fn bound(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(WAITING)
}

async fn connection(stream: TcpStream, shared: &Arc<Shared>) -> hyper::Result<()> {
    let answered = service_fn(|request: Request<Incoming>| {
        let shared = Arc::clone(shared);
        async move {
            let is_head = request.method() == Method::HEAD;
            let answer = handle(request, &shared).await;
            Ok::<_, Infallible>(response(answer.unwrap_or_else(Answer::from), is_head))
        }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .keep_alive(false)
        // Who has said all may close that direction and wait.
        .half_close(true)
        .serve_connection(TokioIo::new(stream), answered)
        .await
}

async fn handle(request: Request<Incoming>, shared: &Shared) -> Result<Answer, Refusal> {
    let host = request
        .headers()
        .get(HOST)
        .and_then(|host| host.to_str().ok());
    if !host.is_some_and(is_here) {
        // A page of elsewhere whose name leads here.
        return Err(Refusal(
            403,
            "this server is asked as localhost or 127.0.0.1".to_owned(),
        ));
    }
    let asks = match shared
        .service
        .route(request.method().as_str(), request.uri().path())?
    {
        Route::Fixed(Answer { status, kind, body }) => {
            return Ok(Answer {
                status: *status,
                kind,
                body: body.clone(),
            });
        }
        Route::Model(asks) => asks,
    };
    let Some(length) = request
        .body()
        .size_hint()
        .exact()
        .filter(|_| request.headers().contains_key(CONTENT_LENGTH))
    else {
        return Err(Refusal(
            411,
            "the body has to say its length (Content-Length)".to_owned(),
        ));
    };
    let Some(length) = usize::try_from(length)
        .ok()
        .filter(|length| *length <= MOST_BYTES)
    else {
        return Err(Refusal(
            413,
            format!("the body has {length} bytes; {MOST_BYTES} are taken"),
        ));
    };
    let late = |what: &str| {
        Refusal(
            503,
            format!("there were too many requests to {what} this one in time"),
        )
    };
    let kib = u32::try_from(length.div_ceil(1024)).unwrap_or(u32::MAX);
    let room = timeout(MODEL, shared.room.acquire_many(kib)).await;
    let _room = room.map_err(|_| late("read"))?.map_err(|_| late("read"))?;
    let slow = |_| {
        Refusal(
            408,
            format!("the body did not come within {} s", BODY.as_secs()),
        )
    };
    let body = timeout(BODY, collected(request.into_body(), length))
        .await
        .map_err(slow)??;
    let said = timeout(MODEL, answer(&shared.worker, asks(body))).await;
    said.map_err(|_| late("answer"))
}

/// The bytes of a body.
async fn collected(mut body: Incoming, length: usize) -> Result<Bytes, Refusal> {
    // There is room for it, and the system gives it as it is filled.
    let mut bytes = BytesMut::with_capacity(length);
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|error| Refusal(400, format!("the body was broken off: {error}")))?;
        if let Ok(data) = frame.into_data() {
            bytes.extend_from_slice(&data);
        }
        if bytes.len() > length {
            return Err(Refusal(400, "the body is longer than it says".to_owned()));
        }
    }
    Ok(bytes.freeze())
}

/// Whether a request is for this machine by a name that can only be that.
fn is_here(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    ["localhost", "127.0.0.1"]
        .iter()
        .any(|own| name.eq_ignore_ascii_case(own))
}

fn response(answer: Answer, is_head: bool) -> Response<Full<Bytes>> {
    let Answer { status, kind, body } = answer;
    let policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src blob: data:; \
                  form-action 'none'; frame-ancestors 'none'";
    let body = if is_head { Bytes::new() } else { body };
    let mut response = Response::new(Full::new(body));
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    headers.insert(
        CONTENT_SECURITY_POLICY,
        hyper::header::HeaderValue::from_static(policy),
    );
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_only_lead_here_are_not_here() {
        for host in ["localhost", "localhost:8000", "127.0.0.1:1", "LOCALHOST"] {
            assert!(is_here(host), "{host}");
        }
        for host in [
            "",
            "evil.example:8000",
            "localhost.evil.example",
            "127.0.0.1.nip.io",
            "0.0.0.0",
        ] {
            assert!(!is_here(host), "{host}");
        }
    }
}
