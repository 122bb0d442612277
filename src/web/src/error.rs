//! Why the panel cannot run.

#[derive(Debug, thiserror::Error)]
pub enum WebError {
    #[error(transparent)]
    Config(#[from] base::config::ConfigError),
    /// A mistake in `templates/web/`; the tests of this room keep it from being released.
    #[error("a template of the panel cannot be used: {0:#}")]
    Template(#[from] minijinja::Error),
    #[error("the panel's socket cannot be opened: {0}")]
    Socket(std::io::Error),
}
