//! Connecting to one of several addresses: quickly, although the first may swallow packets (after RFC 8305).

use crate::limits;
use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// The addresses of a host that are still to be tried, in order.
#[derive(Debug)]
pub struct Dial {
    waiting: VecDeque<IpAddr>,
    port: u16,
}

impl Dial {
    /// IPv6 and IPv4 take turns, so that a family that does not work costs one wait.
    pub fn new(addresses: &[IpAddr], port: u16) -> Self {
        let (six, four): (Vec<IpAddr>, Vec<IpAddr>) = addresses.iter().partition(|address| address.is_ipv6());
        let (mut six, mut four) = (six.into_iter(), four.into_iter());
        let mut waiting = VecDeque::with_capacity(addresses.len());
        loop {
            match (six.next(), four.next()) {
                (None, None) => return Self { waiting, port },
                (first, second) => waiting.extend([first, second].into_iter().flatten()),
            }
        }
    }

    /// The next connection, from the address that answers first; `None` when there is none left. Addresses that failed
    /// are put into `failures`. One that was merely slower comes again later.
    pub async fn next(&mut self, failures: &mut Vec<(IpAddr, io::Error)>) -> Option<(IpAddr, TcpStream)> {
        let (mut running, mut begun) = (JoinSet::new(), VecDeque::new());
        loop {
            if let Some(address) = self.waiting.pop_front() {
                running.spawn(connect(address, self.port));
                begun.push_back(address);
            } else if begun.is_empty() {
                return None;
            }
            loop {
                let ended = tokio::select! {
                    ended = running.join_next() => ended?,
                    () = sleep(limits::CONNECT_STAGGER), if !self.waiting.is_empty() => break,
                };
                let Ok((address, result)) = ended else { continue };
                begun.retain(|other| *other != address);
                match result {
                    Ok(stream) => {
                        begun.into_iter().rev().for_each(|slower| self.waiting.push_front(slower));
                        return Some((address, stream));
                    }
                    Err(error) => failures.push((address, error)),
                }
                if begun.is_empty() || !self.waiting.is_empty() {
                    break;
                }
            }
        }
    }
}

/// One connection, bounded.
pub async fn connect(address: IpAddr, port: u16) -> (IpAddr, io::Result<TcpStream>) {
    let connecting = timeout(limits::CONNECT_WITHIN, TcpStream::connect(SocketAddr::new(address, port))).await;
    let stream = connecting.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    // Commands are small and each waits for its answer.
    (address, stream.and_then(|stream| stream.set_nodelay(true).map(|()| stream)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};
    use tokio::net::{TcpListener, TcpSocket};

    fn loopback(last: u8) -> IpAddr {
        IpAddr::from([127, 0, 0, last])
    }

    /// A port that swallows connection attempts: its queue is full.
    async fn swallowing(address: SocketAddr) -> (TcpListener, Vec<TcpStream>) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(address).unwrap();
        let listener = socket.listen(1).unwrap();
        let mut held = Vec::new();
        while let Ok(Ok(stream)) = timeout(Duration::from_millis(300), TcpStream::connect(address)).await {
            held.push(stream);
        }
        (listener, held)
    }

    #[tokio::test]
    async fn an_address_that_swallows_packets_costs_two_seconds() {
        let good = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = good.local_addr().unwrap().port();
        let _full = swallowing((loopback(2), port).into()).await;
        let (begin, mut failures) = (Instant::now(), Vec::new());
        let mut dial = Dial::new(&[loopback(2), loopback(1)], port);
        let (address, _) = dial.next(&mut failures).await.unwrap();
        assert_eq!(address, loopback(1));
        assert!((1_900..4_000).contains(&begin.elapsed().as_millis()), "{:?}", begin.elapsed());
        assert_eq!(dial.waiting, [loopback(2)]);
    }

    #[tokio::test]
    async fn an_address_that_refuses_costs_nothing() {
        let good = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = good.local_addr().unwrap().port();
        let (begin, mut failures) = (Instant::now(), Vec::new());
        let mut dial = Dial::new(&[loopback(3), loopback(1)], port);
        assert_eq!(dial.next(&mut failures).await.unwrap().0, loopback(1));
        assert!(begin.elapsed() < Duration::from_secs(1));
        assert_eq!(failures.len(), 1);
        assert!(dial.next(&mut failures).await.is_none());
    }

    #[test]
    fn the_families_take_turns() {
        let addresses = ["192.0.2.1", "192.0.2.2", "2001:db8::1"].map(|text| text.parse().unwrap());
        let order: Vec<String> = Dial::new(&addresses, 25).waiting.iter().map(ToString::to_string).collect();
        assert_eq!(order, ["2001:db8::1", "192.0.2.1", "192.0.2.2"]);
    }
}
