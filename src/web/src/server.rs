//! Requests and answers: who may see what, and the headers that every answer carries.

use crate::attempts::Attempts;
use crate::limits::{ANSWER_WITHIN, FORM_FOR, MAX_BODY, MAX_FIELD, MAX_STREAMS, SESSION_FOR};
use crate::pages::{Pages, STYLE};
use crate::sessions::{Id, Sessions};
use axum::Router;
use axum::extract::{DefaultBodyLimit, Form, Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, COOKIE, LOCATION, RETRY_AFTER, SET_COOKIE,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use base::{Paths, Secret};
use serde::Deserialize;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use wire::directory::{EnterPanel, Login};

/// The cookie of a login. `__Host-` makes browsers insist on Secure, Path=/ and no Domain (RFC 6265bis §4.1.3.2).
const SESSION: &str = "__Host-mailstead";
/// The cookie that binds a login form to the browser that loaded it.
const FORM: &str = "__Host-mailstead-form";

const POLICY: &str =
    "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

pub struct Panel {
    pub paths: Paths,
    pub pages: Pages,
    pub client: wire::Client,
    /// Open status pages that are told of changes.
    pub streams: Arc<Semaphore>,
    sessions: Mutex<Sessions>,
    attempts: Mutex<Attempts>,
}

impl Panel {
    pub fn new(paths: &Paths, hostname: String) -> Result<Self, minijinja::Error> {
        Ok(Self {
            paths: paths.clone(),
            pages: Pages::new(hostname)?,
            client: wire::Client::new(paths.clone()),
            streams: Arc::new(Semaphore::new(MAX_STREAMS)),
            sessions: Mutex::default(),
            attempts: Mutex::default(),
        })
    }

    pub fn client(&self) -> &wire::Client {
        &self.client
    }

    pub(crate) fn sessions(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn attempts(&self) -> MutexGuard<'_, Attempts> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who is logged in with this request, and the session's id.
    pub fn visitor(&self, headers: &HeaderMap) -> Option<(base::Address, Id)> {
        let id = Id::parse(cookie(headers, SESSION)?)?;
        Some((self.sessions().account(&id, Instant::now())?, id))
    }

    /// Whether a session that was shown before still holds.
    pub fn is_logged_in(&self, id: &Id) -> bool {
        self.sessions().account(id, Instant::now()).is_some()
    }

    /// The login form, bound to a new cookie.
    fn login_form(&self, status: StatusCode, name: &str, trouble: Option<&str>) -> Response {
        let id = Id::random();
        let page = page(status, self.pages.login(&id.form_token(), name, trouble));
        with_cookie(page, FORM, &id.cookie(), FORM_FOR)
    }

    pub fn refuse(&self, status: StatusCode, title: &str, words: &str) -> Response {
        page(status, self.pages.message(title, words))
    }

    pub fn forged(&self) -> Response {
        let words = "This form was not loaded from this page, or it lay open too long. Go back, reload, and try again.";
        self.refuse(StatusCode::FORBIDDEN, "Not accepted", words)
    }
}

pub fn router(panel: Arc<Panel>) -> Router {
    Router::new()
        .route("/admin/", get(|| async { redirect("/admin") }))
        .route("/admin/login", get(login_page).post(login))
        .route("/admin/logout", post(logout))
        .route("/admin/style.css", get(style))
        .merge(crate::status::routes())
        .merge(crate::lists::routes())
        .route("/nic/update", get(crate::dynamic::update))
        .fallback(|State(panel): State<Arc<Panel>>| async move {
            panel.refuse(StatusCode::NOT_FOUND, "Not found", "There is no such page here.")
        })
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(from_fn(guard))
        .with_state(panel)
}

/// Every answer in time, and with the headers that keep the panel to itself. An answer that is a stream has begun in time,
/// and has bounds of its own.
pub async fn guard(request: Request, next: Next) -> Response {
    let answered = tokio::time::timeout(ANSWER_WITHIN, next.run(request)).await;
    let mut response = answered.unwrap_or_else(|_| StatusCode::GATEWAY_TIMEOUT.into_response());
    let headers = response.headers_mut();
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.entry(CONTENT_SECURITY_POLICY).or_insert(HeaderValue::from_static(POLICY));
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("x-frame-options", "DENY"),
        ("cross-origin-opener-policy", "same-origin"),
    ] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}

async fn style() -> Response {
    // The address does not change with a release, so the browser asks again after a short time.
    let headers = [(CONTENT_TYPE, "text/css; charset=utf-8"), (CACHE_CONTROL, "max-age=300")];
    (headers, STYLE).into_response()
}

async fn login_page(State(panel): State<Arc<Panel>>, headers: HeaderMap) -> Response {
    match panel.visitor(&headers) {
        Some(_) => redirect("/admin"),
        None => panel.login_form(StatusCode::OK, "", None),
    }
}

#[derive(Deserialize)]
struct LoginForm {
    #[serde(default)]
    token: String,
    #[serde(default)]
    email: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    code: String,
}

async fn login(State(panel): State<Arc<Panel>>, headers: HeaderMap, Form(form): Form<LoginForm>) -> Response {
    let bound = cookie(&headers, FORM).and_then(Id::parse).is_some_and(|id| id.allows_form(&form.token));
    if !bound {
        return panel.forged();
    }
    let client = client_address(&headers);
    if let Err(wait) = panel.attempts().count(client, Instant::now()) {
        return throttled(&panel, &form.email, wait.as_secs());
    }
    if [&form.email, &form.password, &form.code].iter().any(|field| field.len() > MAX_FIELD) {
        return denied(&panel, "");
    }
    let (password, code) = (Secret::new(form.password), Secret::new(form.code));
    let ask = EnterPanel { login: form.email.clone(), password, code, client };
    match panel.client.ask(&ask).await {
        Ok(Login::Granted { account, admin: true }) => {
            panel.attempts().forget(client);
            let id = panel.sessions().open(account, Instant::now());
            let response = with_cookie(redirect("/admin"), SESSION, &id.cookie(), SESSION_FOR);
            with_cookie(response, FORM, "", Duration::ZERO)
        }
        Ok(Login::Granted { account, admin: false }) => {
            tracing::info!("{account} may not use the panel: not an administrator");
            denied(&panel, &form.email)
        }
        Ok(Login::Denied) => denied(&panel, &form.email),
        Ok(Login::Throttled { retry_after_seconds }) => throttled(&panel, &form.email, retry_after_seconds),
        Err(error) => {
            tracing::error!("a login could not be looked at: {error}");
            let words = "Logging in is not possible just now. Try again in a minute.";
            panel.login_form(StatusCode::SERVICE_UNAVAILABLE, &form.email, Some(words))
        }
    }
}

/// One answer for a wrong name, a wrong password, a wrong code and an account that does not administer.
fn denied(panel: &Panel, name: &str) -> Response {
    let words = "That did not work. Check the address and the password, and if you have set up a second factor the code: \
                 each is good once. Only administrators can log in here.";
    panel.login_form(StatusCode::UNAUTHORIZED, name, Some(words))
}

fn throttled(panel: &Panel, name: &str, seconds: u64) -> Response {
    let seconds = seconds.max(1);
    let words = match seconds.div_ceil(60) {
        1 => format!("Too many attempts. Try again in {seconds} seconds."),
        minutes => format!("Too many attempts. Try again in {minutes} minutes."),
    };
    let mut response = panel.login_form(StatusCode::TOO_MANY_REQUESTS, name, Some(&words));
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    response
}

/// A form of which nothing counts but that it was loaded here.
#[derive(Deserialize)]
pub struct TokenForm {
    #[serde(default)]
    pub token: String,
}

async fn logout(State(panel): State<Arc<Panel>>, headers: HeaderMap, Form(form): Form<TokenForm>) -> Response {
    let Some((_, id)) = panel.visitor(&headers) else { return redirect("/admin/login") };
    if !id.allows_form(&form.token) {
        return panel.forged();
    }
    panel.sessions().close(&id);
    with_cookie(redirect("/admin/login"), SESSION, "", Duration::ZERO)
}

pub fn redirect(to: &'static str) -> Response {
    (StatusCode::SEE_OTHER, [(LOCATION, to)]).into_response()
}

pub fn page(status: StatusCode, rendered: Result<String, minijinja::Error>) -> Response {
    match rendered {
        Ok(text) => (status, Html(text)).into_response(),
        Err(error) => {
            tracing::error!("a page cannot be written: {error:#}");
            (StatusCode::INTERNAL_SERVER_ERROR, "The page cannot be shown; the log of mailstead-web says why.")
                .into_response()
        }
    }
}

/// Adds a cookie; one without a value is removed.
fn with_cookie(mut response: Response, name: &str, value: &str, holds: Duration) -> Response {
    let text = format!("{name}={value}; Path=/; Max-Age={}; Secure; HttpOnly; SameSite=Strict", holds.as_secs());
    if let Ok(value) = HeaderValue::from_str(&text) {
        response.headers_mut().append(SET_COOKIE, value);
    }
    response
}

fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let texts = headers.get_all(COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    let mut pairs = texts.flat_map(|text| text.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(found, _)| *found == name).map(|(_, value)| value)
}

/// The browser's address, as nginx saw it; only nginx connects here.
pub fn client_address(headers: &HeaderMap) -> IpAddr {
    let given = headers.get("x-real-ip").and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok());
    base::endpoints::canonical(given.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)))
}
