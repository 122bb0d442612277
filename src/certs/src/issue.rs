//! Getting a certificate for as many names as can be had: one that fails never holds back the others.
//!
//! A name that the authority blames is tried the other way, if there is one, and then left out. When it refuses an order
//! without naming anybody, halves of it show whose fault it is. Which orders are made is decided here; a [`Clerk`] makes them.

use crate::CertsError;
use crate::ledger::Method;
use crate::limits::{MAX_ORDERS, MAX_UNREAD};
use crate::names::Name;
use crate::order::{Depth, Planned, Trouble, method_name};
use std::collections::BTreeMap;

/// Makes orders.
pub trait Clerk {
    fn order(&mut self, names: &[Planned], depth: Depth) -> impl Future<Output = Result<String, Trouble>> + Send;
}

/// A name that is sought, with the ways to show control over it that are left, the best first.
#[derive(Debug, Clone)]
pub struct Sought {
    name: Name,
    methods: Vec<Method>,
    /// What was said of the ways that failed.
    said: Vec<String>,
    must: bool,
}

/// What came of it.
#[derive(Debug)]
pub enum Outcome {
    Issued {
        chain: String,
        names: Vec<String>,
        failed: BTreeMap<String, String>,
    },
    /// The names are at fault.
    Refused {
        failed: BTreeMap<String, String>,
        why: String,
    },
    /// The authority is; another may be asked.
    Away {
        why: String,
        until: Option<u64>,
    },
    UnknownAccount,
}

impl Sought {
    /// A record needs no open port and no web server, so it is tried first where it can be.
    pub fn new(name: Name, must: bool) -> Self {
        let mut methods = Vec::new();
        methods.extend(name.zone.as_ref().map(|_| Method::Dns));
        methods.extend((name.leads_here && !name.name.starts_with("*.")).then_some(Method::Http));
        Self { name, methods, said: Vec::new(), must }
    }

    pub fn name(&self) -> &str {
        &self.name.name
    }

    /// Whether a certificate without it is of no use now.
    pub fn is_must(&self) -> bool {
        self.must
    }

    fn planned(&self) -> Option<Planned> {
        Some(Planned { name: self.name.clone(), method: *self.methods.first()? })
    }

    /// Takes in that the present way failed; the words if it was the last.
    fn fail(&mut self, why: &str) -> Option<String> {
        if !self.methods.is_empty() {
            let method = self.methods.remove(0);
            self.said.push(format!("{}: {why}", method_name(method)));
        }
        self.methods.is_empty().then(|| self.said.join("; "))
    }

    fn is(&self, blamed: &str) -> bool {
        // Of a wildcard some authorities name what lies under the asterisk.
        self.name.name == blamed || self.name.name.strip_prefix("*.") == Some(blamed)
    }
}

/// Orders until there is a certificate, or nothing more to try.
pub async fn obtain(clerk: &mut impl Clerk, mut sought: Vec<Sought>) -> Result<Outcome, CertsError> {
    let (mut failed, mut budget) = (BTreeMap::new(), MAX_ORDERS);
    while budget > 0 && !sought.is_empty() {
        budget -= 1;
        let planned: Vec<Planned> = sought.iter().filter_map(Sought::planned).collect();
        let mut blamed = match order(clerk, &planned, Depth::Issued).await {
            Ok(chain) => {
                let names = planned.into_iter().map(|planned| planned.name.name).collect();
                return Ok(Outcome::Issued { chain, names, failed });
            }
            Err(Trouble::Names(blamed)) => blamed,
            Err(Trouble::Order(why)) => match culprit(clerk, &planned, &mut budget).await? {
                Ok(name) => BTreeMap::from([(name, why)]),
                Err(away) => return Ok(away),
            },
            Err(other) => return hopeless(other),
        };
        if !blamed.keys().any(|name| sought.iter().any(|one| one.is(name))) {
            // It blames somebody who is not there. One is left out all the same, or this would not end.
            let why = blamed.into_values().next().unwrap_or_default();
            blamed = planned.last().map(|last| (last.name.name.clone(), why)).into_iter().collect();
        }
        for one in &mut sought {
            let why = blamed.iter().find(|(name, _)| one.is(name)).map(|(_, why)| why);
            if let Some(words) = why.and_then(|why| one.fail(why)) {
                failed.insert(one.name.name.clone(), words);
            }
        }
        if let Some(one) = sought.iter().find(|one| one.must && one.methods.is_empty()) {
            let why = format!("{} cannot be had ({})", one.name.name, one.said.join("; "));
            return Ok(Outcome::Refused { failed, why });
        }
        sought.retain(|one| !one.methods.is_empty());
    }
    let why = match sought.is_empty() {
        true => "none of the names can be had".to_owned(),
        false => "too many names fail for one run; the next goes on".to_owned(),
    };
    Ok(Outcome::Refused { failed, why })
}

/// Makes an order, and another where only the nonces were at fault (RFC 8555 §6.5). Each is a new one, so
/// that a certificate that was issued just before may stay unused.
async fn order(clerk: &mut impl Clerk, names: &[Planned], depth: Depth) -> Result<String, Trouble> {
    let mut unread = 0;
    loop {
        match clerk.order(names, depth).await {
            Err(Trouble::Nonce(_)) if unread < MAX_UNREAD => unread += 1,
            done => return done,
        }
    }
}

/// Trouble that has nothing to do with the names.
fn hopeless(trouble: Trouble) -> Result<Outcome, CertsError> {
    match trouble {
        Trouble::Authority { why, until } => Ok(Outcome::Away { why, until }),
        Trouble::Nonce(why) => Ok(Outcome::Away { why, until: None }),
        Trouble::Account => Ok(Outcome::UnknownAccount),
        Trouble::Own(error) => Err(error),
        Trouble::Names(_) | Trouble::Order(_) => {
            Ok(Outcome::Away { why: "it refuses without a reason".to_owned(), until: None })
        }
    }
}

/// Finds a name for whose sake an order is refused, by halves that are not carried to a certificate.
async fn culprit(
    clerk: &mut impl Clerk,
    planned: &[Planned],
    budget: &mut usize,
) -> Result<Result<String, Outcome>, CertsError> {
    let mut suspects = planned;
    while suspects.len() > 1 && *budget > 0 {
        *budget -= 1;
        // Either half may hold one; the second is only suspected when the first is clean.
        let (first, second) = suspects.split_at(suspects.len() / 2);
        suspects = match order(clerk, first, Depth::Ready).await {
            Ok(_) => second,
            Err(Trouble::Order(_)) => first,
            Err(Trouble::Names(blamed)) => match blamed.into_keys().next() {
                Some(name) => return Ok(Ok(name)),
                None => first,
            },
            Err(other) => return hopeless(other).map(Err),
        };
    }
    Ok(Ok(suspects.first().map(|one| one.name.name.clone()).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Domain;
    use proptest::prelude::*;

    /// An authority in memory.
    #[derive(Default)]
    struct Fake {
        /// Names that fail, and whether the authority says so.
        bad: Vec<String>,
        tells: bool,
        /// Whether nobody reaches port 80.
        port_80_closed: bool,
        undelegated: bool,
        busy: bool,
        /// How many orders fail by their nonces from now on.
        unread: usize,
        orders: usize,
        issued: usize,
    }

    impl Clerk for Fake {
        async fn order(&mut self, names: &[Planned], depth: Depth) -> Result<String, Trouble> {
            self.orders += 1;
            if self.busy {
                return Err(Trouble::Authority { why: "rate limited".into(), until: Some(99) });
            }
            if self.unread > 0 {
                self.unread -= 1;
                return Err(Trouble::Nonce("not that nonce".into()));
            }
            let fails = |planned: &&Planned| {
                self.bad.contains(&planned.name.name)
                    || (planned.method == Method::Http && self.port_80_closed)
                    || (planned.method == Method::Dns && self.undelegated)
            };
            let blamed: Vec<&Planned> = names.iter().filter(fails).collect();
            match (blamed.is_empty(), self.tells) {
                (true, _) => {
                    self.issued += usize::from(depth == Depth::Issued);
                    Ok("chain".into())
                }
                (false, true) => {
                    Err(Trouble::Names(blamed.iter().map(|one| (one.name.name.clone(), "no".into())).collect()))
                }
                (false, false) => Err(Trouble::Order("no".into())),
            }
        }
    }

    fn sought(names: &[&str], zone: Option<&str>, leads_here: bool) -> Vec<Sought> {
        let zone = zone.map(|zone| Domain::parse(zone).unwrap());
        let name = |name: &&str| Name { name: (*name).to_owned(), zone: zone.clone(), leads_here };
        names.iter().map(name).enumerate().map(|(index, name)| Sought::new(name, index == 0)).collect()
    }

    const NAMES: [&str; 5] = ["box.a.org", "mta-sts.a.org", "autoconfig.a.org", "a.org", "www.a.org"];

    async fn run(fake: &mut Fake, sought: Vec<Sought>) -> Outcome {
        obtain(fake, sought).await.unwrap()
    }

    #[tokio::test]
    async fn a_name_that_fails_is_left_out_and_the_others_are_covered() {
        for tells in [true, false] {
            let mut fake = Fake { bad: vec!["a.org".into(), "mta-sts.a.org".into()], tells, ..Fake::default() };
            let Outcome::Issued { names, failed, .. } = run(&mut fake, sought(&NAMES, None, true)).await else {
                panic!()
            };
            assert_eq!(names, ["box.a.org", "autoconfig.a.org", "www.a.org"]);
            assert_eq!(failed.keys().collect::<Vec<_>>(), ["a.org", "mta-sts.a.org"]);
            assert!(failed["a.org"].starts_with("http-01: "));
            assert_eq!(fake.issued, 1, "no certificate is used up on the way");
        }
    }

    #[tokio::test]
    async fn each_way_is_the_others_fallback() {
        let mut fake = Fake { port_80_closed: true, tells: true, ..Fake::default() };
        let both = || sought(&NAMES, Some("a.org"), true);
        assert!(matches!(run(&mut fake, both()).await, Outcome::Issued { .. }));
        assert_eq!(fake.orders, 1, "a record is tried first, and no port is needed");
        let mut fake = Fake { undelegated: true, tells: true, ..Fake::default() };
        assert!(matches!(run(&mut fake, both()).await, Outcome::Issued { names, .. } if names.len() == 5));
        let mut fake = Fake { port_80_closed: true, undelegated: true, tells: true, ..Fake::default() };
        let Outcome::Refused { why, failed } = run(&mut fake, both()).await else { panic!() };
        assert!(why.contains("box.a.org") && why.contains("dns-01: no; http-01: no"), "{why}");
        assert_eq!(failed.len(), 5);
    }

    #[tokio::test]
    async fn without_the_hostname_there_is_no_certificate() {
        let mut fake = Fake { bad: vec!["box.a.org".into()], tells: true, ..Fake::default() };
        let Outcome::Refused { why, .. } = run(&mut fake, sought(&NAMES, None, true)).await else { panic!() };
        assert!(why.contains("box.a.org") && fake.issued == 0);
    }

    #[tokio::test]
    async fn an_order_that_failed_by_its_nonces_is_made_again_but_not_for_ever() {
        let mut fake = Fake { unread: MAX_UNREAD, ..Fake::default() };
        let Outcome::Issued { failed, .. } = run(&mut fake, sought(&NAMES, None, true)).await else { panic!() };
        assert!(failed.is_empty() && fake.orders == MAX_UNREAD + 1);
        let mut fake = Fake { unread: usize::MAX, ..Fake::default() };
        let outcome = run(&mut fake, sought(&NAMES, None, true)).await;
        assert!(matches!(outcome, Outcome::Away { until: None, .. }) && fake.orders == MAX_UNREAD + 1);
    }

    #[tokio::test]
    async fn a_busy_authority_is_not_asked_again() {
        let mut fake = Fake { busy: true, ..Fake::default() };
        let outcome = run(&mut fake, sought(&NAMES, None, true)).await;
        assert!(matches!(outcome, Outcome::Away { until: Some(99), .. }) && fake.orders == 1);
    }

    proptest! {
        #[test]
        fn whatever_fails_the_number_of_orders_is_bounded(bad in proptest::collection::vec(0_usize..40, 0..6), tells: bool) {
            let all: Vec<String> = (0..40).map(|number| format!("n{number}.a.org")).collect();
            let names: Vec<&str> = std::iter::once("box.a.org").chain(all.iter().map(String::as_str)).collect();
            let bad: Vec<String> = bad.into_iter().map(|index| all[index].clone()).collect();
            let mut fake = Fake { bad: bad.clone(), tells, ..Fake::default() };
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let outcome = runtime.block_on(run(&mut fake, sought(&names, None, true)));
            prop_assert!(fake.orders <= MAX_ORDERS + 1 && fake.issued <= 1);
            if let Outcome::Issued { names, .. } = &outcome {
                prop_assert!(names.iter().all(|name| !bad.contains(name)));
            }
            let issued = matches!(outcome, Outcome::Issued { .. });
            prop_assert!(!tells || issued);
        }
    }
}
