//! The page for people: the servers, Apple's profile, and a QR code that brings the page to a phone.

use super::{Clients, IMAPS, POP3S, SUBMISSION, SUBMISSIONS, domain_of};
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use base::Domain;
use minijinja::{Environment, UndefinedBehavior, context};
use qrcode::QrCode;
use qrcode::render::svg;
use serde::Deserialize;
use std::sync::Arc;

#[derive(Deserialize)]
pub struct Asked {
    /// An address or a domain; only its domain is used.
    #[serde(default)]
    domain: String,
}

pub struct Pages(Environment<'static>);

impl Pages {
    pub fn new() -> Result<Self, minijinja::Error> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.add_template("page.html", include_str!("../../../../templates/web/page.html"))?;
        environment.add_template("setup.html", include_str!("../../../../templates/web/setup.html"))?;
        Ok(Self(environment))
    }
}

/// What can go wrong; none of it depends on what was asked.
#[derive(Debug, thiserror::Error)]
enum PageError {
    #[error(transparent)]
    Code(#[from] qrcode::types::QrError),
    #[error(transparent)]
    Template(#[from] minijinja::Error),
}

pub async fn show(State(clients): State<Arc<Clients>>, Query(asked): Query<Asked>) -> Response {
    let domain = domain_of(&asked.domain);
    let trouble = !asked.domain.trim().is_empty() && domain.is_none();
    match render(&clients, domain.as_ref(), trouble) {
        Ok(text) => Html(text).into_response(),
        Err(error) => {
            tracing::error!("the page on setting up mail programs cannot be written: {error}");
            (StatusCode::INTERNAL_SERVER_ERROR, "The page cannot be shown.").into_response()
        }
    }
}

fn render(clients: &Clients, domain: Option<&Domain>, trouble: bool) -> Result<String, PageError> {
    let hostname = clients.hostname.as_str();
    let address = match domain {
        Some(domain) => format!("https://{hostname}/setup?domain={domain}"),
        None => format!("https://{hostname}/setup"),
    };
    let code = QrCode::new(address.as_bytes())?;
    let svg = code.render::<svg::Color<'_>>().min_dimensions(180, 180).quiet_zone(true).build();
    // The library writes an XML declaration, which has no place inside a page.
    let svg = svg.find("<svg").and_then(|at| svg.get(at..)).unwrap_or_default().to_owned();
    let template = clients.pages.0.get_template("setup.html")?;
    Ok(template.render(context! {
        hostname, trouble, address,
        domain => domain.map_or("", Domain::as_str),
        qr => minijinja::Value::from_safe_string(svg),
        imaps => IMAPS, pop3s => POP3S, submissions => SUBMISSIONS, submission => SUBMISSION,
    })?)
}
