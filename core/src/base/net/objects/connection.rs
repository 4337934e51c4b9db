//! The connections of object storage: each request's host is checked as that of any other.

use http_body_util::BodyExt;
use object_store::client::{
    ClientConfigKey, ClientOptions, HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
    HttpResponseBody, HttpService,
};
use reqwest::{Client, Url};

use super::super::{SILENCE, client, is_here, judge, judged};
use crate::base::access::Access;
use crate::base::{Error, Result};
use crate::err;

/// How much of what a server says is shown.
const SHOWN: usize = 400;

/// A client that asks only hosts that the run may connect to.
#[derive(Clone)]
pub struct Connection {
    pub access: Access,
    client: Client,
    /// Whether requests may go to other machines unencrypted.
    is_open: bool,
}

impl Connection {
    pub fn new(access: &Access) -> Result<Self> {
        let client = client(access, judged(access), SILENCE)?;
        Ok(Self { access: access.clone(), client, is_open: false })
    }

    fn check(&self, url: &Url) -> Result<()> {
        if url.scheme() != "https" && !is_here(url) && !self.is_open {
            let host = url.host_str().unwrap_or_default();
            return Err(err!(Access, "expected an https address for object storage, found http://{host}")
                .hint("AWS_ALLOW_HTTP=true, or that of another storage, allows it"));
        }
        judge(&self.access, url)
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connection")
    }
}

impl HttpConnector for Connection {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let is_open = options.get_config_value(&ClientConfigKey::AllowHttp).is_some_and(|value| value == "true");
        Ok(HttpClient::new(Self { is_open, ..self.clone() }))
    }
}

#[async_trait::async_trait]
impl HttpService for Connection {
    async fn call(&self, request: HttpRequest) -> std::result::Result<HttpResponse, HttpError> {
        let refused = |e: Error| HttpError::new(HttpErrorKind::Unknown, e);
        let (parts, body) = request.into_parts();
        let url = Url::parse(&parts.uri.to_string());
        let url = url.map_err(|e| refused(err!(Argument, "`{}` is not an address: {e}", parts.uri)))?;
        self.check(&url).map_err(refused)?;
        let mut ours = reqwest::Request::new(parts.method, url);
        *ours.headers_mut() = parts.headers;
        *ours.body_mut() = Some(reqwest::Body::wrap(body));
        let answer = self.client.execute(ours).await.map_err(failed)?;
        let (parts, body) = http::Response::<reqwest::Body>::from(answer).into_parts();
        Ok(HttpResponse::from_parts(parts, HttpResponseBody::new(body.map_err(failed))))
    }
}

/// What may be tried again: connections that failed or broke, but no refusal of ours.
fn failed(error: reqwest::Error) -> HttpError {
    let kind = match () {
        () if ours(&error).is_some() => HttpErrorKind::Unknown,
        () if error.is_timeout() => HttpErrorKind::Timeout,
        () if error.is_connect() => HttpErrorKind::Connect,
        () => HttpErrorKind::Interrupted,
    };
    HttpError::new(kind, error.without_url())
}

/// A refusal of ours among the causes of an error.
pub fn ours(error: &(dyn std::error::Error + 'static)) -> Option<Error> {
    causes(error).find_map(|cause| cause.downcast_ref::<Error>().cloned())
}

/// An error and its cause, on one line.
pub fn told(error: &(dyn std::error::Error + 'static)) -> String {
    let text = match error.source() {
        Some(source) => source.to_string(),
        None => error.to_string(),
    };
    let innermost =
        causes(error).last().map(ToString::to_string).filter(|innermost| !text.contains(innermost.as_str()));
    let innermost = innermost.map(|cause| format!(": {cause}")).unwrap_or_default();
    let text = text + innermost.as_str();
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{} ..", &line[..end]),
        None => line,
    }
}

type Cause<'a> = &'a (dyn std::error::Error + 'static);

fn causes(error: Cause<'_>) -> impl Iterator<Item = Cause<'_>> {
    fn source(error: Cause<'_>) -> Option<Cause<'_>> {
        error.source()
    }
    std::iter::successors(Some(error), |error| source(*error))
}
