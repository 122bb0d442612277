//! Whether the box's name server serves what was handed over to it.

use crate::ProvisionError;
use base::{Domain, HostFacts, Paths};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// The watch starts NSD's reload within a second; a loaded machine may take a few.
const SERVED_WITHIN: Duration = Duration::from_secs(15);

/// The zones that were handed over to NSD: those its part of the configuration names.
pub fn zones(paths: &Paths) -> Result<Vec<Domain>, ProvisionError> {
    let file = paths.zones().join("zones.conf");
    let text = match std::fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(ProvisionError::file(&file, error)),
    };
    let names = text.lines().filter_map(|line| line.trim().strip_prefix("name: \"")?.strip_suffix('"'));
    Ok(names.filter_map(|name| Domain::parse(name).ok()).collect())
}

/// Waits until NSD answers with the serial of the zone file.
pub async fn wait(paths: &Paths, zone: &Domain) -> Result<(), ProvisionError> {
    let host = HostFacts::load(paths).map_err(|error| ProvisionError::file(&paths.host_facts(), error))?;
    let (Some(wanted), Some(address)) = (handed_over(paths, zone)?, host.bind.first()) else {
        return Err(ProvisionError::Refused(format!("{zone} cannot be served: no SOA or no address")));
    };
    let server = SocketAddr::new(*address, 53);
    let begun = Instant::now();
    while asked(server, zone).await != Some(wanted) {
        if begun.elapsed() > SERVED_WITHIN {
            return Err(ProvisionError::Refused(format!(
                "the name server does not serve the new zone of {zone} yet; see: journalctl -u mailstead-nsd-zones -u nsd"
            )));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// The serial of a zone as it was handed over to NSD.
pub fn handed_over(paths: &Paths, zone: &Domain) -> Result<Option<u32>, ProvisionError> {
    let file = paths.zones().join(format!("{zone}.zone"));
    let text = std::fs::read_to_string(&file).map_err(|error| ProvisionError::file(&file, error))?;
    Ok(serial(&text))
}

/// The serial of a zone file whose SOA record is on one line, as ours are (RFC 1035 §3.3.13).
fn serial(zone: &str) -> Option<u32> {
    let line = zone.lines().find(|line| line.contains(" IN SOA "))?;
    line.split_whitespace().nth(6)?.parse().ok()
}

/// The serial that a name server answers with.
pub async fn asked(server: SocketAddr, zone: &Domain) -> Option<u32> {
    lookup::serial(server, zone.as_str()).await.ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_serial_is_read_from_the_zone_file() {
        let zone = "example.org. 3600 IN SOA ns1.box.example.org. hostmaster.example.org. 1795237652 7200 1800 9 300\n";
        assert_eq!(serial(zone), Some(1_795_237_652));
        assert_eq!(serial("example.org. 3600 IN A 192.0.2.1\n"), None);
    }
}
