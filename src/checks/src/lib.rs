//! The status checks: the engine and the probes; texts in checks/*.yaml.
