//! The gate of the explorer: only who knows the address may ask, from this machine, and from the page itself.
//!
//! A page of another site can send requests to loopback, and a name of its own may lead here (DNS rebinding). So the
//! address has a token that nobody can guess, `Host` must name this server, and `Origin` and `Sec-Fetch-Site`, where a
//! browser sends them, must be those of the page.

use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN,
    REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::base::Result;
use crate::base::files::hex;
use crate::err;

/// The largest question, and how long one may take to arrive.
const LARGEST: usize = 1 << 20;
const PATIENCE: Duration = Duration::from_secs(10);

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The headers of every answer.
const PROTECTION: [(HeaderName, &str); 4] = [
    (CONTENT_SECURITY_POLICY, POLICY),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (REFERRER_POLICY, "no-referrer"),
    (CACHE_CONTROL, "no-store"),
];

/// The names of a server on loopback, by which a request is judged: it must name one of them, and come from no page of
/// another site.
#[derive(Debug, Clone)]
pub struct Hosts([String; 2]);

impl Hosts {
    pub fn new(port: u16) -> Self {
        Self(["127.0.0.1", "localhost"].map(|host| format!("{host}:{port}")))
    }

    /// Returns the address of the server, without a slash at the end.
    pub fn address(&self) -> String {
        format!("http://{}", self.0[0])
    }

    /// Returns whether a request may come from where it says.
    pub fn admit(&self, uri: &Uri, headers: &HeaderMap) -> bool {
        let named = uri.authority().is_none_or(|authority| self.is_here(authority.as_str()));
        if !named || !only(headers, &HOST).is_some_and(|host| self.is_here(host)) {
            return false;
        }
        let of_page = |origin: &str| origin.strip_prefix("http://").is_some_and(|host| self.is_here(host));
        if headers.contains_key(ORIGIN) && !only(headers, &ORIGIN).is_some_and(of_page) {
            return false;
        }
        let from = HeaderName::from_static("sec-fetch-site");
        let is_ours = |site: &str| matches!(site, "same-origin" | "none");
        !headers.contains_key(&from) || only(headers, &from).is_some_and(is_ours)
    }

    fn is_here(&self, host: &str) -> bool {
        self.0.iter().any(|known| known.eq_ignore_ascii_case(host))
    }
}

/// The token and the hosts that a request is judged by.
#[derive(Debug, Clone)]
pub struct Gate {
    token: String,
    hosts: Hosts,
}

impl Gate {
    /// Makes a gate with a fresh token.
    pub fn new(port: u16) -> Result<Self> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|e| err!(Bug, "the system gives no random numbers: {e}"))?;
        Ok(Self { token: hex(&random), hosts: Hosts::new(port) })
    }

    /// Returns the address of the page.
    pub fn address(&self) -> String {
        format!("{}/{}/", self.hosts.address(), self.token)
    }

    /// Refuses a request that may not be answered. Without the token nothing is said about what there is.
    pub fn judge(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<(), StatusCode> {
        if !self.hosts.admit(uri, headers) {
            return Err(StatusCode::FORBIDDEN);
        }
        if !uri.path().split('/').nth(1).is_some_and(|token| same(token, &self.token)) {
            return Err(StatusCode::NOT_FOUND);
        }
        if method == Method::POST && !sends_json(headers) {
            return Err(StatusCode::UNSUPPORTED_MEDIA_TYPE);
        }
        Ok(())
    }
}

/// Returns the value of a header that is there once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut all = headers.get_all(name).iter();
    let first = all.next()?.to_str().ok()?;
    all.next().is_none().then_some(first)
}

/// Returns whether a request says that its body is JSON, which a page of another site cannot without asking first.
pub fn sends_json(headers: &HeaderMap) -> bool {
    let is_json = |kind: &str| kind.trim().eq_ignore_ascii_case("application/json");
    only(headers, &CONTENT_TYPE).and_then(|kind| kind.split(';').next()).is_some_and(is_json)
}

/// Returns whether two texts are equal, in a time that does not say where they differ.
pub fn same(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.bytes().zip(b.bytes()).fold(0, |apart, (a, b)| apart | (a ^ b)) == 0
}

/// Stands before all routes.
pub async fn watch(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    let mut answer = match gate.judge(request.method(), request.uri(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(status) => status.into_response(),
    };
    for (name, value) in PROTECTION {
        answer.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    answer
}

/// Reads the body of a question, no larger and no slower than one is.
pub async fn body(body: Body) -> Result<Bytes, StatusCode> {
    match tokio::time::timeout(PATIENCE, to_bytes(body, LARGEST)).await {
        Ok(Ok(whole)) => Ok(whole),
        Ok(Err(_)) => Err(StatusCode::PAYLOAD_TOO_LARGE),
        Err(_) => Err(StatusCode::REQUEST_TIMEOUT),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn gate() -> Gate {
        Gate::new(4321).unwrap()
    }

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&str, &str)| {
            (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap())
        };
        let mut all = HeaderMap::new();
        for (name, value) in pairs.iter().map(pair) {
            all.append(name, value);
        }
        all
    }

    fn judged(gate: &Gate, path: &str, pairs: &[(&str, &str)]) -> Result<(), StatusCode> {
        gate.judge(&Method::GET, &path.parse().unwrap(), &headers(pairs))
    }

    #[test]
    fn tokens_are_fresh_and_stand_in_the_address() {
        let a = gate();
        let b = gate();
        assert_ne!(a.token, b.token);
        assert!(a.token.len() == 32 && a.token.bytes().all(|digit| digit.is_ascii_hexdigit()));
        assert_eq!(a.address(), format!("http://127.0.0.1:4321/{}/", a.token));
    }

    #[test]
    fn the_page_may_ask_and_no_other_page() {
        let gate = gate();
        let path = format!("/{}/start", gate.token);
        let host = ("host", "127.0.0.1:4321");
        assert_eq!(judged(&gate, &path, &[host]), Ok(()));
        assert_eq!(judged(&gate, &path, &[("host", "LOCALHOST:4321"), ("sec-fetch-site", "none")]), Ok(()));
        let own = ("origin", "http://localhost:4321");
        assert_eq!(judged(&gate, &path, &[host, own, ("sec-fetch-site", "same-origin")]), Ok(()));
        let refused: [&[(&str, &str)]; 12] = [
            &[],
            &[("host", "evil.example")],
            &[("host", "127.0.0.1")],
            &[("host", "127.0.0.1:80")],
            &[("host", "127.0.0.1:4321.evil.example")],
            &[host, host],
            &[host, ("origin", "null")],
            &[host, ("origin", "https://127.0.0.1:4321")],
            &[host, ("origin", "http://evil.example")],
            &[host, own, own],
            &[host, ("sec-fetch-site", "cross-site")],
            &[host, ("sec-fetch-site", "same-site")],
        ];
        for pairs in refused {
            assert_eq!(judged(&gate, &path, pairs), Err(StatusCode::FORBIDDEN), "{pairs:?}");
        }
        let elsewhere = format!("http://evil.example{path}");
        assert_eq!(judged(&gate, &elsewhere, &[host]), Err(StatusCode::FORBIDDEN));
    }

    #[test]
    fn questions_are_json() {
        let gate = gate();
        let uri: Uri = format!("/{}/read", gate.token).parse().unwrap();
        let kind = |kind: &str| {
            gate.judge(&Method::POST, &uri, &headers(&[("host", "127.0.0.1:4321"), ("content-type", kind)]))
        };
        assert_eq!([kind("application/json"), kind("Application/JSON; charset=utf-8")], [Ok(()), Ok(())]);
        for other in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "", "application/jsonp"]
        {
            assert_eq!(kind(other), Err(StatusCode::UNSUPPORTED_MEDIA_TYPE));
        }
        let without = gate.judge(&Method::POST, &uri, &headers(&[("host", "127.0.0.1:4321")]));
        assert_eq!(without, Err(StatusCode::UNSUPPORTED_MEDIA_TYPE));
    }

    proptest! {
        #[test]
        fn no_other_token_opens(token in "[0-9a-fA-F]{0,40}|[a-z.%/]{0,20}", rest in "[a-z/]{0,8}") {
            let gate = gate();
            let path = format!("/{token}/{rest}");
            prop_assume!(token != gate.token);
            if let Ok(uri) = path.parse::<Uri>() {
                let found = gate.judge(&Method::GET, &uri, &headers(&[("host", "127.0.0.1:4321")]));
                prop_assert!(found.is_err());
            }
        }

        #[test]
        fn no_other_host_is_this_one(host in "[ -~]{0,30}") {
            let gate = gate();
            prop_assume!(!gate.hosts.is_here(&host));
            let Ok(value) = HeaderValue::from_str(&host) else { return Ok(()) };
            let mut all = HeaderMap::new();
            all.insert(HOST, value);
            let uri = format!("/{}/", gate.token).parse().unwrap();
            prop_assert_eq!(gate.judge(&Method::GET, &uri, &all), Err(StatusCode::FORBIDDEN));
        }
    }
}
