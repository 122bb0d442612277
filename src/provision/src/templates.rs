//! The templates, carried inside the program, and the values they are rendered with.
//!
//! None of the formats is escaped by minijinja, so every value that goes in is of a type that cannot hold a quote or a
//! line end: names, addresses, numbers, paths that the program itself chose.

use crate::ProvisionError;
use minijinja::{Environment, UndefinedBehavior};

macro_rules! templates {
    ($($const:ident = $name:literal;)*) => {
        $(pub const $const: (&str, &str) = ($name, include_str!(concat!("../../../templates/", $name)));)*
    };
}

templates! {
    NGINX = "nginx.conf";
    MAIL_ONLY = "mail-only.html";
    NSD = "nsd.conf";
    UNBOUND = "unbound.conf";
    NFTABLES = "nftables.conf";
    ROLE_SERVICE = "role.service";
    ROLE_TIMER = "role.timer";
    HANDOVER_PATH = "handover.path";
    HANDOVER_SERVICE = "handover.service";
    REHEARSAL_SERVICE = "rehearsal.service";
}

/// Renders a template; a value that it names and does not get is an error.
pub fn render(template: (&'static str, &'static str), values: minijinja::Value) -> Result<String, ProvisionError> {
    let (name, source) = template;
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    let text = environment.render_str(source, values).map_err(|error| ProvisionError::Template(name, error))?;
    // The library drops the last line end; a configuration file has one.
    Ok(text.trim_end().to_owned() + "\n")
}
