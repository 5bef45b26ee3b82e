//! Answers who scrapes: HTTP/1.1 with one page, a few connections at a time, each for a short
//! time only.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{ACCEPT, ALLOW, CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};

use crate::sink::metrics::Form;

/// Connections at a time; further ones wait.
const CONNECTIONS: usize = 16;
/// How long one may last, and how long its request may take to come.
const LASTS: Duration = Duration::from_secs(30);
const REQUEST: Duration = Duration::from_secs(5);
/// After an accept that failed (EMFILE, …).
const PAUSE: Duration = Duration::from_millis(200);

/// What makes the page. `None`: it cannot be made any more.
pub(super) trait Page: Send + Sync + 'static {
    /// The metrics now.
    fn metrics(&self, form: Form) -> impl Future<Output = Option<String>> + Send;
}

/// Listens.
///
/// # Errors
/// The address is in use, or not ours.
pub(super) async fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Answers until it is dropped.
pub(super) async fn answer(listener: TcpListener, page: Arc<impl Page>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(_) => {
                sleep(PAUSE).await;
                continue;
            }
        };
        let page = Arc::clone(&page);
        tokio::spawn(async move {
            // A peer that goes away has what it wanted, one that is slow has had its time.
            drop(timeout(LASTS, connection(stream, page)).await);
            drop(permit);
        });
    }
}

async fn connection(stream: TcpStream, page: Arc<impl Page>) {
    let service = service_fn(move |request| {
        let page = Arc::clone(&page);
        async move { Ok::<_, Infallible>(respond(&request, &*page).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST)
        .max_buf_size(16 << 10)
        .serve_connection(TokioIo::new(stream), service);
    drop(served.await);
}

async fn respond(request: &Request<Incoming>, page: &impl Page) -> Response<Full<Bytes>> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "use GET\n");
        let allowed = HeaderValue::from_static("GET, HEAD");
        response.headers_mut().insert(ALLOW, allowed);
        return response;
    }
    match request.uri().path() {
        "/metrics" => {
            let accept = request.headers().get(ACCEPT);
            let accept = accept.and_then(|accept| accept.to_str().ok());
            let form = Form::accepted(accept.unwrap_or_default());
            match page.metrics(form).await {
                Some(text) => typed(StatusCode::OK, form.content_type(), text),
                None => plain(StatusCode::SERVICE_UNAVAILABLE, "records cannot be read\n"),
            }
        }
        "/" => plain(StatusCode::OK, "leaktrace: see /metrics\n"),
        _ => plain(StatusCode::NOT_FOUND, "there is /metrics\n"),
    }
}

fn plain(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    typed(status, "text/plain; charset=utf-8", text.to_owned())
}

fn typed(status: StatusCode, kind: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static(kind);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
