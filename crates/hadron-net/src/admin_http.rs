//! The small HTTP server every daemon has: `/health`, `/ready`, `/metrics`, `/jmx` and whatever pages it adds.
//!
//! What it is for: one implementation of the routes operators and probes rely on, fed by a daemon's [`AdminPages`].
//! What it does not do: no WebHDFS, no user interface, no authentication.
//! Invariants: every other path is 404; a page is produced off the reactor's hot path by a plain function that takes
//! no lock for longer than it copies numbers; request heads are bounded by the HTTP library's limits and bodies are
//! never read; connections are limited in number and time (see `admin_listener`).

use crate::admin_listener::AdminListener;
use axum::Router;
use axum::body::Body;
use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::serve::IncomingStream;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// What a daemon shows of itself.
pub trait AdminPages: Send + Sync + 'static {
    /// Whether the process can do its work at all; the text says why not.
    fn health(&self) -> Result<(), String>;
    /// Whether it should be sent requests now; the text says why not (starting, safe mode, not registered).
    fn ready(&self) -> Result<(), String>;
    /// Prometheus text exposition.
    fn metrics(&self) -> String;
    /// The beans whose name matches `query` (Hadoop's `qry` parameter, a pattern such as `Hadoop:service=NameNode,*`;
    /// `None` is all), as the JSON text `{"beans":[…]}`.
    fn jmx(&self, query: Option<&str>) -> String;
    /// A further page of this daemon, given its path; `None` is 404. Text is served as plain text.
    fn page(&self, path: &str) -> Option<String> {
        let _ = path;
        None
    }
    /// A further page whose text is made while it is sent, given its path, its parameters and who asks; `None`: there is
    /// no such page. The page ends with the channel. Must not block.
    fn stream(
        &self,
        path: &str,
        query: &HashMap<String, String>,
        peer: IpAddr,
    ) -> Option<tokio::sync::mpsc::Receiver<String>> {
        let _ = (path, query, peer);
        None
    }
}

/// A running admin HTTP server.
#[derive(Debug)]
pub struct AdminHttp {
    addr: SocketAddr,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl AdminHttp {
    /// Listens on `addr` (port 0 is any) and serves `pages`.
    ///
    /// Errors: the address cannot be bound; the error names it.
    pub async fn bind(addr: SocketAddr, pages: Arc<dyn AdminPages>) -> io::Result<Self> {
        let listener = TcpListener::bind(addr)
            .await
            .map_err(|error| io::Error::new(error.kind(), format!("bind http address {addr}: {error}")))?;
        listener.local_addr()?;
        Ok(Self::serve(listener, pages))
    }

    /// As [`Self::bind`] on a listener at hand. Must be called inside a tokio runtime.
    pub fn serve(listener: TcpListener, pages: Arc<dyn AdminPages>) -> Self {
        let addr = listener.local_addr().unwrap_or_else(|_| ([0, 0, 0, 0], 0).into());
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let listener = AdminListener::new(listener);
        let task = tokio::spawn(async move {
            let service = router(pages).into_make_service_with_connect_info::<Peer>();
            let served = axum::serve(listener, service).with_graceful_shutdown(stopped.cancelled_owned());
            if let Err(error) = served.await {
                tracing::error!(%addr, %error, "http server stopped");
            }
        });
        Self { addr, stop, task }
    }

    /// The bound address.
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Stops accepting and ends the server; open connections are cut.
    pub async fn shutdown(self) {
        self.stop.cancel();
        self.task.abort();
        let _ = self.task.await;
    }
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
struct Peer(IpAddr);

impl Connected<IncomingStream<'_, AdminListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, AdminListener>) -> Self {
        Self(stream.remote_addr().ip().to_canonical())
    }
}

fn router(pages: Arc<dyn AdminPages>) -> Router {
    Router::new()
        .route("/health", get(health))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .route("/jmx", get(jmx))
        .fallback(get(other))
        .with_state(pages)
}

async fn health(State(pages): State<Arc<dyn AdminPages>>) -> Response {
    verdict(pages.health(), "healthy")
}

async fn ready(State(pages): State<Arc<dyn AdminPages>>) -> Response {
    verdict(pages.ready(), "ready")
}

fn verdict(result: Result<(), String>, good: &str) -> Response {
    match result {
        Ok(()) => (StatusCode::OK, format!("{good}\n")).into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
}

async fn metrics(State(pages): State<Arc<dyn AdminPages>>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], pages.metrics()).into_response()
}

async fn jmx(State(pages): State<Arc<dyn AdminPages>>, Query(query): Query<HashMap<String, String>>) -> Response {
    let beans = pages.jmx(query.get("qry").map(String::as_str));
    ([(header::CONTENT_TYPE, "application/json; charset=utf8")], beans).into_response()
}

async fn other(
    State(pages): State<Arc<dyn AdminPages>>,
    ConnectInfo(Peer(peer)): ConnectInfo<Peer>,
    Query(query): Query<HashMap<String, String>>,
    uri: axum::http::Uri,
) -> Response {
    if let Some(pieces) = pages.stream(uri.path(), &query, peer) {
        let pieces = futures::stream::unfold(pieces, |mut pieces| async move {
            let piece = pieces.recv().await?;
            Some((Ok::<_, std::convert::Infallible>(piece), pieces))
        });
        let kind = "text/plain; charset=utf-8";
        return ([(header::CONTENT_TYPE, kind)], Body::from_stream(pieces)).into_response();
    }
    match pages.page(uri.path()) {
        Some(text) => text.into_response(),
        None => (StatusCode::NOT_FOUND, "not found\n").into_response(),
    }
}

/// Whether a bean's name matches Hadoop's `qry` pattern: `*` stands for any run of characters.
pub fn bean_matches(query: Option<&str>, bean: &str) -> bool {
    let Some(pattern) = query else { return true };
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or("");
    let Some(mut rest) = bean.strip_prefix(first) else {
        return false;
    };
    let mut tail = None;
    for part in parts {
        tail = Some(part);
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    match tail {
        None => rest.is_empty(),
        Some(last) => last.is_empty() || rest.is_empty() || bean.ends_with(last),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    struct Fixed;
    impl AdminPages for Fixed {
        fn health(&self) -> Result<(), String> {
            Ok(())
        }
        fn ready(&self) -> Result<(), String> {
            Err("safe mode is on".to_owned())
        }
        fn metrics(&self) -> String {
            "# EOF\n".to_owned()
        }
        fn jmx(&self, query: Option<&str>) -> String {
            format!("{{\"beans\":[\"{}\"]}}", query.unwrap_or(""))
        }
        fn page(&self, path: &str) -> Option<String> {
            (path == "/xceivers").then(|| "none".to_owned())
        }
    }

    async fn fetch(addr: SocketAddr, path: &str) -> String {
        let mut socket = tokio::net::TcpStream::connect(addr).await.expect("connect");
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).await.expect("send");
        let mut text = String::new();
        socket.read_to_string(&mut text).await.expect("receive");
        text
    }

    #[tokio::test]
    async fn serves_the_named_routes_and_404_for_the_rest() {
        let http = AdminHttp::bind(([127, 0, 0, 1], 0).into(), Arc::new(Fixed))
            .await
            .expect("bind");
        let addr = http.local_addr();
        for (path, status, body) in [
            ("/health", "200", "healthy"),
            ("/ready", "503", "safe mode is on"),
            ("/metrics", "200", "# EOF"),
            ("/jmx?qry=Hadoop:x", "200", "Hadoop:x"),
            ("/xceivers", "200", "none"),
            ("/", "404", "not found"),
            ("/../etc/passwd", "404", "not found"),
        ] {
            let answer = fetch(addr, path).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{path}: {answer}");
            assert!(
                answer.trim_end().ends_with(body) || answer.contains(body),
                "{path}: {answer}"
            );
        }
        http.shutdown().await;
    }

    #[test]
    fn bean_patterns_match_as_in_hadoop() {
        let bean = "Hadoop:service=NameNode,name=FSNamesystem";
        for (query, expected) in [
            (None, true),
            (Some(bean), true),
            (Some("Hadoop:*"), true),
            (Some("Hadoop:service=NameNode,name=FSName*"), true),
            (Some("*name=FSNamesystem"), true),
            (Some("Hadoop:service=NameNode,name=FS"), false),
            (Some("Hadoop:service=DataNode,*"), false),
            (Some("*name=FS"), false),
        ] {
            assert_eq!(bean_matches(query, bean), expected, "{query:?}");
        }
    }
}
