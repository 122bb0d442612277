//! A message to the box itself, sent as a stranger would: to the server that the public DNS names, over TLS, through the
//! filter. It ends there and is kept by nobody (`wire::mta::ROUND_TRIP_FIELD`).

use crate::finding::{Finding, Problem};
use crate::names;
use crate::talk::{Reply, Talk};
use crate::world::World;
use base::Domain;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use wire::filter::REPORTS_NAME;
use wire::mta::{Came, ExpectRoundTrip, ROUND_TRIP_FIELD, RoundTrip};

const WANTED: &str = "a message to the public name of the mail server comes in and is taken for wanted";

/// The server that mail for the domain goes to.
struct Server {
    name: String,
    address: SocketAddr,
}

pub async fn look(world: &World) -> Finding {
    let domain = world.config.email.domain();
    let server = match server(world, domain).await {
        Ok(server) => server,
        Err(why) => return Finding::unknown(why, WANTED),
    };
    let began = Instant::now();
    let token = format!("{:032x}", rand::random::<u128>());
    if world.client.ask(&ExpectRoundTrip { token: token.clone() }).await.is_err() {
        return Finding::skipped("the mail server does not answer, which another check tells");
    }
    let sent = send(world, &server, domain, &token).await;
    let came = world.client.ask(&RoundTrip { token }).await.ok().flatten();
    match sent {
        Ok(reply) => judge(&server, &reply, came.as_ref(), began.elapsed()),
        // Not every provider leads a machine's own public address back to it.
        Err(trouble) if !world.is_demo() && !world.host.bind.contains(&server.address.ip()) => Finding::skipped(
            format!("{}, which is not an address of this machine itself: {trouble}", server.address.ip()),
        ),
        Err(trouble) => Finding::bad(vec![Problem::new(server.words(), trouble, WANTED)]),
    }
}

impl Server {
    fn words(&self) -> String {
        format!("{} [{}]", self.name, self.address.ip())
    }
}

/// RFC 5321 §5.1: the MX record with the lowest number. In a demo, the box's own port.
async fn server(world: &World, domain: &Domain) -> Result<Server, String> {
    if world.is_demo() {
        return Ok(Server { name: world.hostname().to_owned(), address: world.endpoints.smtp.local() });
    }
    let answer = world.names.ask(domain.as_str(), "MX").await.map_err(|error| error.to_string())?;
    let first = names::exchangers(&answer.values).into_iter().next();
    let (_, name) = first.ok_or_else(|| format!("{domain} has no MX record"))?;
    let addresses = world.names.addresses(&name).await.map_err(|error| error.to_string())?;
    let address = addresses.first().ok_or_else(|| format!("{name} has no address"))?;
    Ok(Server { name, address: SocketAddr::new(*address, world.endpoints.smtp.port) })
}

/// The session; the reply to the message, or what stood in its way.
async fn send(world: &World, server: &Server, domain: &Domain, token: &str) -> Result<Reply, String> {
    let mut talk = Talk::connect(server.address).await?;
    expect(talk.reply().await?, 220)?;
    let hello = format!("EHLO {}", world.hostname());
    if !expect(talk.command(&hello).await?, 250)?.offers("STARTTLS") {
        return transact(&mut talk, world, domain, token).await;
    }
    expect(talk.command("STARTTLS").await?, 220)?;
    let mut talk = talk.secure(&world.tls, &server.name).await?;
    expect(talk.command(&hello).await?, 250)?;
    transact(&mut talk, world, domain, token).await
}

async fn transact<S: AsyncRead + AsyncWrite + Unpin>(
    talk: &mut Talk<S>,
    world: &World,
    domain: &Domain,
    token: &str,
) -> Result<Reply, String> {
    let address = format!("{REPORTS_NAME}@{domain}");
    expect(talk.command(&format!("MAIL FROM:<{address}>")).await?, 250)?;
    expect(talk.command(&format!("RCPT TO:<{address}>")).await?, 250)?;
    expect(talk.command("DATA").await?, 354)?;
    let date = base::time::rfc5322(world.now);
    let reply = talk
        .command(&format!(
            "From: <{address}>\r\nTo: <{address}>\r\nDate: {date}\r\nMessage-ID: <{token}@{}>\r\n\
             {ROUND_TRIP_FIELD}: {token}\r\nSubject: A round trip of the status checks\r\nAuto-Submitted: auto-generated\r\n\
             \r\nThe status checks sent this to see whether mail comes in.\r\n.",
            world.hostname()
        ))
        .await?;
    let _ = talk.send("QUIT").await;
    Ok(reply)
}

fn expect(reply: Reply, code: u16) -> Result<Reply, String> {
    if reply.code == code { Ok(reply) } else { Err(format!("it answers {}", reply.text())) }
}

fn judge(server: &Server, reply: &Reply, came: Option<&Came>, took: Duration) -> Finding {
    let problem = |seen: String| Finding::bad(vec![Problem::new(server.words(), seen, WANTED)]);
    if reply.code != 250 {
        return problem(format!("it answers {}", reply.text()));
    }
    let Some(came) = came else { return problem("it took the message, and this box has not seen it".to_owned()) };
    let judged = &came.judged;
    let security = came.tls.as_deref().unwrap_or("no TLS");
    let words = format!(
        "through {} in {} ms, {security}; judged “{}” at {:.1}",
        server.words(),
        took.as_millis(),
        judged.action,
        f64::from(judged.tenths) / 10.0
    );
    match judged.action.as_str() {
        "accept" => Finding::good(words, WANTED),
        _ => problem(format!("{words}: {}", judged.reasons.join("; "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Verdict;
    use wire::mta::Judged;

    #[test]
    fn a_message_has_to_come_to_this_box_and_be_taken_for_wanted() {
        let server = Server { name: "box.example.org".into(), address: ([192, 0, 2, 1], 25).into() };
        let reply = |code| Reply { code, lines: vec!["words".into()] };
        let came = |action: &str| {
            let judged = Judged { action: action.into(), tenths: 3, reasons: vec!["spf".into()], authentication: None };
            Came { client: [192, 0, 2, 1].into(), tls: Some("TLSv1.3".into()), judged }
        };
        let judge = |code, came: Option<Came>| judge(&server, &reply(code), came.as_ref(), Duration::from_millis(120));
        let good = judge(250, Some(came("accept")));
        assert_eq!(good.verdict, Verdict::Good);
        assert_eq!(good.seen, "through box.example.org [192.0.2.1] in 120 ms, TLSv1.3; judged “accept” at 0.3");
        assert!(judge(250, Some(came("junk"))).verdict == Verdict::Bad);
        assert!(judge(250, None).seen.contains("has not seen it"));
        assert!(judge(451, None).seen.contains("451"));
    }
}
