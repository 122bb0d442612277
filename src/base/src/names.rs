//! Asking the box's own resolver, which validates; hickory is a plain stub here.

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use std::net::SocketAddr;
use std::time::Duration;

/// How long one try may take. The box's resolver is on loopback and itself waits for slow servers.
const TRY_WITHIN: Duration = Duration::from_secs(3);

/// The configuration that asks one resolver, for libraries that make their own.
pub fn config(resolver: SocketAddr) -> (ResolverConfig, ResolverOpts) {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = resolver.port();
        connection
    });
    let server = NameServerConfig::new(resolver.ip(), true, connections.into());
    let mut options = ResolverOpts::default();
    options.timeout = TRY_WITHIN;
    options.attempts = 2;
    options.edns0 = true;
    options.ndots = 0;
    options.use_hosts_file = ResolveHosts::Never;
    (ResolverConfig::from_parts(None, vec![], vec![server]), options)
}

/// A resolver that asks `resolver` and keeps a small cache.
pub fn resolver(resolver: SocketAddr) -> Result<TokioResolver, NetError> {
    let (config, options) = config(resolver);
    TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()).with_options(options).build()
}
