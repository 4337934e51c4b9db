//! The connections of object storage: each request's host is checked as that of any other.

use http_body_util::{BodyExt, Limited};
use object_store::client::{
    ClientConfigKey, ClientOptions, HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
    HttpResponseBody, HttpService,
};
use reqwest::{Client, Url, redirect};

use super::super::{SILENCE, client, is_here, judge};
use crate::base::memory::human;
use crate::common::*;

/// Number of characters of a server's message that errors show.
const SHOWN: usize = 400;

/// Most bytes of an answer that does not tell its length, such as a list of names.
const UNTOLD: u64 = 64 << 20;

/// Most bytes of what a server says about a request that failed.
const ABOUT_FAILURE: u64 = 1 << 20;

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
        let client = client(access, within(access), SILENCE)?;
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
        let most = most(&parts);
        let body = Limited::new(body, most as usize).map_err(move |error| match error.downcast::<reqwest::Error>() {
            Ok(error) => failed(*error),
            Err(_) => refused(err!(Network, "expected an answer of at most {}, found more", human(most.into()))),
        });
        Ok(HttpResponse::from_parts(parts, HttpResponseBody::new(body)))
    }
}

/// Returns the largest number of bytes that an answer may have, since it is held in memory: what its head says, also
/// where the body goes on in chunks.
fn most(answer: &http::response::Parts) -> u64 {
    let told = answer.headers.get(http::header::CONTENT_LENGTH);
    let told = told.and_then(|length| length.to_str().ok()?.parse().ok());
    if answer.status.is_success() { told.unwrap_or(UNTOLD) } else { told.unwrap_or(ABOUT_FAILURE).min(ABOUT_FAILURE) }
}

/// Returns the error of a request with its kind, which decides whether it is tried again: connections that failed or
/// broke are, refusals of our own are not.
fn failed(error: reqwest::Error) -> HttpError {
    let kind = match () {
        () if ours(&error).is_some() => HttpErrorKind::Unknown,
        () if error.is_timeout() => HttpErrorKind::Timeout,
        () if error.is_connect() => HttpErrorKind::Connect,
        () => HttpErrorKind::Interrupted,
    };
    HttpError::new(kind, error.without_url())
}

/// Returns the refusal of our own among the causes of an error, if there is one.
pub fn ours(error: &(dyn std::error::Error + 'static)) -> Option<Error> {
    causes(error).find_map(|cause| cause.downcast_ref::<Error>().cloned())
}

/// Returns an error and its cause, on one line.
pub fn error_and_cause(error: &(dyn std::error::Error + 'static)) -> String {
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

/// Follows redirections within one server: headers that sign a request are meant for no other one.
fn within(access: &Access) -> redirect::Policy {
    let access = access.clone();
    redirect::Policy::custom(move |attempt| {
        let before = attempt.previous();
        if before.len() > 10 {
            return attempt.error(err!(Network, "more than ten redirections"));
        }
        if before.last().is_some_and(|before| before.origin() != attempt.url().origin()) {
            let to = attempt.url().origin().ascii_serialization();
            return attempt
                .error(err!(Network, "the server redirects a signed request to {to}").hint(
                    "name that server, or its region, as the storage's own: it is given no signature otherwise",
                ));
        }
        match judge(&access, attempt.url()) {
            Ok(()) => attempt.follow(),
            Err(refusal) => attempt.error(refusal),
        }
    })
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use kit::http::serve;

    use super::*;
    use crate::base::access::Rules;
    use crate::net::wait_for;

    /// Answers each connection with `head`, and then with as much of `body` as is taken, `times` times. Gives back its address.
    fn server(head: String, body: &[u8], times: usize) -> String {
        let body = body.to_vec();
        let port = serve(move |mut connection| {
            let mut asked = [0; 4096];
            let _asked = connection.read(&mut asked);
            let _sent = connection.write_all(head.as_bytes());
            for _ in 0..times {
                if connection.write_all(&body).is_err() {
                    break;
                }
            }
        });
        format!("http://127.0.0.1:{port}")
    }

    /// Returns the body of the answer to a signed request.
    fn asked(address: &str) -> std::result::Result<Vec<u8>, String> {
        let folder = tempfile::tempdir().unwrap();
        let rules = Rules { allow_net: vec!["127.0.0.1".into()], ..Rules::default() };
        let connection = Connection::new(&Access::new(folder.path(), &rules).unwrap()).unwrap();
        let request = http::Request::get(address).header("x-amz-security-token", "secret");
        let request = request.body(object_store::client::HttpRequestBody::empty()).unwrap();
        let found = wait_for(async {
            let said = |e: HttpError| err!(Network, "{}", ours(&e).map_or(e.to_string(), |ours| ours.message));
            let answer = connection.call(request).await.map_err(said)?;
            let body = answer.into_body().collect().await.map_err(said)?;
            Ok(body.to_bytes().to_vec())
        });
        found.map_err(|e| e.message)
    }

    #[test]
    fn an_answer_that_goes_on_is_cut_where_its_head_says() {
        let head = |status: &str, more: &str| format!("HTTP/1.1 {status}\r\nTransfer-Encoding: chunked\r\n{more}\r\n");
        let chunk = [b"10000\r\n", [b'x'; 1 << 16].as_slice(), b"\r\n"].concat();
        let endless = usize::MAX;
        for (head, most) in [
            (head("403 Forbidden", ""), "1.0 MiB"),
            (head("200 OK", ""), "64.0 MiB"),
            (head("200 OK", "Content-Length: 10\r\n"), "10 bytes"),
            (head("500 No", ""), "1.0 MiB"),
        ] {
            let error = asked(&server(head, &chunk, endless)).unwrap_err();
            assert_eq!(error, format!("expected an answer of at most {most}, found more"));
        }
        let well = "HTTP/1.1 200 OK\r\nContent-Length: 16\r\nConnection: close\r\n\r\n".to_string();
        assert_eq!(asked(&server(well, b"abcdefgh", 2)).unwrap(), b"abcdefghabcdefgh");
    }

    #[test]
    fn a_signed_request_goes_to_no_other_server() {
        let other = server("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".into(), b"", 0);
        let to = |address: &str| format!("HTTP/1.1 307 Other\r\nLocation: {address}/x\r\nContent-Length: 0\r\n\r\n");
        let error = asked(&server(to(&other), b"", 0)).unwrap_err();
        assert_eq!(error, format!("the server redirects a signed request to {other}"));
    }
}
