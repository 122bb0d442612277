//! What the DNS knows of a client: asked all at once when it connects, and waited for when it names a recipient.

use super::blocklist::{self, Listing, Meaning};
use super::lookups::Lookups;
use crate::limits;
use base::config::Blocklist;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::task::JoinHandle;

/// Whether the client's address has a name that leads back to it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Reverse {
    Confirmed,
    Missing,
    /// Not asked, or not answered.
    #[default]
    Unknown,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    pub reverse: Reverse,
    pub listings: Vec<Listing>,
}

/// The look-ups about one client.
#[derive(Debug, Default)]
pub struct Guest {
    asked: Option<JoinHandle<Found>>,
    found: Found,
}

impl Guest {
    /// Begins to ask.
    pub fn begin(lookups: Arc<dyn Lookups>, lists: Arc<[Blocklist]>, client: IpAddr) -> Self {
        let asked = tokio::spawn(async move {
            let both = async { tokio::join!(reverse(&*lookups, client), listings(&*lookups, &lists, client)) };
            match tokio::time::timeout(limits::GUEST_WITHIN, both).await {
                Ok((reverse, listings)) => Found { reverse, listings },
                // Nothing may be concluded, and nobody waits for a slow DNS.
                Err(_) => Found::default(),
            }
        });
        Self { asked: Some(asked), found: Found::default() }
    }

    /// What was found; waits for it, within its bound.
    pub async fn found(&mut self) -> &Found {
        if let Some(asked) = self.asked.take() {
            self.found = asked.await.unwrap_or_default();
        }
        &self.found
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if let Some(asked) = &self.asked {
            asked.abort();
        }
    }
}

/// RFC 8601 §2.7.3.
async fn reverse(lookups: &dyn Lookups, client: IpAddr) -> Reverse {
    let Some(names) = lookups.names_of(client).await else { return Reverse::Unknown };
    let mut unsure = false;
    // An address with hundreds of names is a riddle, not an answer.
    for name in names.iter().take(limits::NAMES_OF_ADDRESS) {
        match lookups.addresses_of(name, client).await {
            Some(addresses) if addresses.contains(&client) => return Reverse::Confirmed,
            Some(_) => {}
            None => unsure = true,
        }
    }
    if unsure { Reverse::Unknown } else { Reverse::Missing }
}

async fn listings(lookups: &dyn Lookups, lists: &[Blocklist], client: IpAddr) -> Vec<Listing> {
    let mut asking = Vec::with_capacity(lists.len());
    for list in lists {
        asking.push(async move {
            let codes = lookups.codes_at(&blocklist::question(client, list)).await?;
            match blocklist::meaning(list, &codes) {
                Meaning::NotListed => None,
                Meaning::Listed(listing) => Some(listing),
                Meaning::Error(why) => {
                    warn(list, why);
                    None
                }
            }
        });
    }
    let mut found = Vec::new();
    // The lists are few; each has its own time out within the whole.
    for answer in join_all(asking).await {
        found.extend(answer);
    }
    found
}

/// All of them at once.
async fn join_all<T>(futures: Vec<impl Future<Output = T>>) -> Vec<T> {
    let mut waiting: Vec<_> = futures.into_iter().map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|context| {
        let mut open = false;
        for (future, done) in waiting.iter_mut().filter(|(_, done)| done.is_none()) {
            match future.as_mut().poll(context) {
                std::task::Poll::Ready(value) => *done = Some(value),
                std::task::Poll::Pending => open = true,
            }
        }
        if open { std::task::Poll::Pending } else { std::task::Poll::Ready(()) }
    })
    .await;
    waiting.into_iter().filter_map(|(_, done)| done).collect()
}

/// Says that a list is of no use, once an hour.
fn warn(list: &Blocklist, why: &str) {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let now = base::time::now_unix();
    let last = LAST.load(Ordering::Relaxed);
    if now.saturating_sub(last) >= 3_600
        && LAST.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    {
        tracing::warn!("the blocklist {} is not in use: {why}", list.shown());
    }
}

#[cfg(test)]
mod tests {
    use super::super::lookups::Answer;
    use super::*;
    use base::Domain;
    use std::net::Ipv4Addr;
    use std::time::Duration;

    /// 192.0.2.1 is as it should be, .2 has a name that leads elsewhere, .3 has none, .4 is listed, .5 gets no answer,
    /// .6 an answer that never comes.
    #[derive(Debug)]
    struct Table;

    impl Lookups for Table {
        fn names_of(&self, address: IpAddr) -> Answer<'_, Domain> {
            Box::pin(async move {
                match address.to_string().as_str() {
                    "192.0.2.3" => Some(Vec::new()),
                    "192.0.2.5" => None,
                    "192.0.2.6" => std::future::pending().await,
                    _ => Some(vec![Domain::parse("mx.example.net").unwrap()]),
                }
            })
        }
        fn addresses_of<'a>(&'a self, _: &'a Domain, _: IpAddr) -> Answer<'a, IpAddr> {
            Box::pin(std::future::ready(Some(vec![[192, 0, 2, 1].into(), [192, 0, 2, 4].into()])))
        }
        fn codes_at<'a>(&'a self, name: &'a str) -> Answer<'a, Ipv4Addr> {
            let listed = name == "4.2.0.192.bl.example.net";
            Box::pin(std::future::ready(Some(if listed { vec![[127, 0, 0, 2].into()] } else { Vec::new() })))
        }
    }

    async fn ask(last: u8) -> Found {
        let lists = ["bl.example.net".parse().unwrap(), "zen.spamhaus.org".parse().unwrap()];
        Guest::begin(Arc::new(Table), Arc::new(lists), [192, 0, 2, last].into()).found().await.clone()
    }

    #[tokio::test]
    async fn reverse_names_are_confirmed_missing_or_not_known() {
        let found = [ask(1).await, ask(2).await, ask(3).await, ask(5).await].map(|found| found.reverse);
        assert_eq!(found, [Reverse::Confirmed, Reverse::Missing, Reverse::Missing, Reverse::Unknown]);
        let listed = ask(4).await;
        assert_eq!((listed.listings.len(), listed.listings[0].list.as_str()), (1, "bl.example.net"));
    }

    #[tokio::test]
    async fn a_dns_that_never_answers_keeps_nobody_out_for_long() {
        let begun = std::time::Instant::now();
        assert_eq!(ask(6).await, Found::default());
        assert!(begun.elapsed() < limits::GUEST_WITHIN + Duration::from_secs(2));
    }
}
