//! Which programs wait for connections from outside of the machine.

use super::said;
use serde::{Deserialize, Serialize};

/// A socket that somebody outside could reach, the firewall aside.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Socket {
    /// `tcp` or `udp`.
    pub protocol: String,
    pub port: u16,
    /// Empty where the kernel does not say.
    pub program: String,
}

pub fn look() -> Result<Vec<Socket>, String> {
    let mut all = Vec::new();
    for (protocol, options) in [("tcp", "-Hltnp"), ("udp", "-Hlunp")] {
        all.extend(read(protocol, &said("ss", &[options])?));
    }
    all.sort();
    all.dedup();
    Ok(all)
}

/// Lines of `ss`: state, queues, local address and port, the other side, the process.
fn read(protocol: &str, lines: &str) -> Vec<Socket> {
    let socket = |line: &str| {
        let (address, port) = line.split_whitespace().nth(3)?.rsplit_once(':')?;
        let address = address.trim_matches(['[', ']']).split('%').next().unwrap_or_default();
        if address.starts_with("127.") || address == "::1" {
            return None;
        }
        let program = line.split_once("((\"").and_then(|(_, rest)| rest.split('"').next()).unwrap_or_default();
        Some(Socket { protocol: protocol.to_owned(), port: port.parse().ok()?, program: program.to_owned() })
    };
    lines.lines().filter_map(socket).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_listens_on_loopback_alone_is_left_out() {
        let shown = "LISTEN 0 511 0.0.0.0:80 0.0.0.0:* users:((\"nginx\",pid=12,fd=6),(\"nginx\",pid=13,fd=6))\n\
                     LISTEN 0 1 127.0.0.1:53 0.0.0.0:* users:((\"unbound\",pid=1,fd=6))\n\
                     LISTEN 0 1 [::1]:53 [::]:*\nLISTEN 0 1 127.0.0.53%lo:53 0.0.0.0:*\nLISTEN 0 1 *:25 *:*\n";
        let found = read("tcp", shown);
        let brief: Vec<_> = found.iter().map(|socket| (socket.port, socket.program.as_str())).collect();
        assert_eq!(brief, [(80, "nginx"), (25, "")]);
        assert!(read("tcp", "garbage\n\nLISTEN 0").is_empty());
    }
}
