//! The status page, and the button that has the box look again.

use crate::board::{Asking, Source};
use crate::server::{Panel, TokenForm, page, redirect};
use axum::Router;
use axum::extract::{Form, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use std::sync::Arc;
use std::time::SystemTime;

/// The one page with a script, its own, which speaks to nobody but the panel.
const POLICY: &str = "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'; \
                      script-src 'self'; connect-src 'self'";

const SCRIPT: &str = include_str!("../../../assets/status.js");

pub fn routes() -> Router<Arc<Panel>> {
    Router::new()
        .route("/admin", get(show))
        .route("/admin/events", get(crate::stream::events))
        .route("/admin/look", post(look))
        .route("/admin/status.js", get(script))
}

async fn show(State(panel): State<Arc<Panel>>, headers: HeaderMap) -> Response {
    let Some((account, id)) = panel.visitor(&headers) else { return redirect("/admin/login") };
    let board = match Source::new(&panel.paths).read(SystemTime::now()) {
        Ok(board) => board,
        Err(error) => {
            tracing::error!("the results of the checks cannot be read: {error}");
            let words = "The results of the checks cannot be read. On the box, run: mailstead status";
            return panel.refuse(StatusCode::INTERNAL_SERVER_ERROR, "No status", words);
        }
    };
    let now = base::time::now_unix();
    let mut response = page(StatusCode::OK, panel.pages.status(&board, &account.to_string(), &id.form_token(), now));
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    response
}

async fn script() -> Response {
    // As with the style: asked for again after a short time.
    ([(CONTENT_TYPE, "text/javascript; charset=utf-8"), (CACHE_CONTROL, "max-age=300")], SCRIPT).into_response()
}

async fn look(State(panel): State<Arc<Panel>>, headers: HeaderMap, Form(form): Form<TokenForm>) -> Response {
    let Some((account, id)) = panel.visitor(&headers) else { return redirect("/admin/login") };
    if !id.allows_form(&form.token) {
        return panel.forged();
    }
    match Source::new(&panel.paths).ask(SystemTime::now()) {
        Ok(Asking::Granted) => {
            tracing::info!("{account} has the box look again");
            redirect("/admin")
        }
        Ok(Asking::Wait(wait)) => {
            let seconds = wait.as_secs().max(1);
            let words = format!("The box has looked just now. It can look again in {seconds} seconds.");
            let mut response = panel.refuse(StatusCode::TOO_MANY_REQUESTS, "Just looked", &words);
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
            response
        }
        Err(error) => {
            tracing::error!("a run of the checks cannot be asked for: {error}");
            let words = "The box cannot be asked to look again. On the box, run: mailstead status";
            panel.refuse(StatusCode::INTERNAL_SERVER_ERROR, "Not asked", words)
        }
    }
}
