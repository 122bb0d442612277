//! One connection: lines in, replies out, messages collected within their bounds.

use super::Port;
use crate::channel::{Channel, Io};
use crate::house::House;
use crate::limits;
use crate::policy::Place;
use crate::proto::Reply;
use crate::proto::dot::{DotError, DotReader, Taken};
use crate::session::{Kind, Next, Received, Session, replies};
use bytes::Buf;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Holds a conversation from greeting to goodbye.
pub async fn hold(stream: TcpStream, client: IpAddr, place: Place, port: Port, house: Arc<House>) {
    let session = Session::new(house, port.kind, client);
    if let Err(refusal) = session.place(place) {
        turn_away(&stream, &port, &refusal);
        return;
    }
    // Replies are small and the peer waits for each.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let early = port.kind == Kind::Inbound && !port.implicit_tls && speaks_first(&stream).await;
    let conversation = timeout(limits::CONNECTION_WITHIN, converse(stream, Some(&port), session, early)).await;
    match conversation {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!("{client} went away: {error}"),
        Err(_) => tracing::info!("{client} was connected too long; closed"),
    }
}

/// No waiting for a peer that is too much already: the few octets fit the socket's buffer.
fn turn_away(stream: &TcpStream, port: &Port, refusal: &Reply) {
    if !port.implicit_tls {
        let mut reply = Vec::new();
        refusal.write(&mut reply);
        let _ = stream.try_write(&reply);
    }
}

/// Holds a conversation on any stream. Without a `port` there is no TLS to be had.
pub(crate) async fn converse(
    stream: impl Io + 'static,
    port: Option<&Port>,
    mut session: Session,
    early: bool,
) -> io::Result<()> {
    let house = session.house();
    let mut channel = match port {
        Some(port) if port.implicit_tls => {
            let (channel, how, binding) = handshake(Box::new(stream), port).await?;
            session.secured(how, binding);
            channel
        }
        _ => Channel::new(stream),
    };
    if let Err(refusal) = session.arrived(early) {
        refusal.write(channel.output());
        channel.close().await;
        return Ok(());
    }
    session.greeting().write(channel.output());
    loop {
        if !channel.has_line() {
            channel.flush(limits::WRITE_WITHIN).await?;
        }
        let mut next = match channel.line(limits::COMMAND_LINE, house.tuning.command_within).await {
            Ok(Some(line)) => session.line(line).await,
            Ok(None) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => Next::Close(replies::SILENT.reply()),
            Err(error) => return Err(error),
        };
        if let Next::Chunk { octets } = next {
            next = match timeout(house.tuning.message_within, chunk(&mut channel, &mut session, octets)).await {
                Ok(Ok(())) => session.chunk().await,
                Ok(Err(error)) if error.kind() == io::ErrorKind::TimedOut => {
                    Next::Close(replies::MESSAGE_TOO_SLOW.reply())
                }
                Ok(Err(error)) => return Err(error),
                Err(_) => Next::Close(replies::MESSAGE_TOO_SLOW.reply()),
            };
        }
        if let Next::Data(reply) = next {
            reply.write(channel.output());
            channel.flush(limits::WRITE_WITHIN).await?;
            next = match timeout(house.tuning.message_within, collect(&mut channel, &house)).await {
                Ok(Ok(Ok(received))) => session.message(received).await,
                Ok(Ok(Err(error))) => session.broken_message(error),
                Ok(Err(error)) if error.kind() == io::ErrorKind::TimedOut => {
                    Next::Close(replies::MESSAGE_TOO_SLOW.reply())
                }
                Ok(Err(error)) => return Err(error),
                Err(_) => Next::Close(replies::MESSAGE_TOO_SLOW.reply()),
            };
        }
        match next {
            Next::Say(reply) | Next::Data(reply) => reply.write(channel.output()),
            // A chunk is answered by what came after it.
            Next::Chunk { .. } => {}
            Next::Close(reply) => {
                reply.write(channel.output());
                channel.close().await;
                return Ok(());
            }
            Next::StartTls(reply) => {
                reply.write(channel.output());
                channel.flush(limits::WRITE_WITHIN).await?;
                let Some(port) = port else { return Ok(()) };
                let (secured, how, binding) = handshake(channel.into_stream(), port).await?;
                channel = secured;
                session.secured(how, binding);
            }
        }
    }
}

/// Whether a client sends something before the greeting, as programs do that never read replies.
async fn speaks_first(stream: &TcpStream) -> bool {
    let mut byte = [0];
    matches!(timeout(limits::EARLY_TALKER_WAIT, stream.peek(&mut byte)).await, Ok(Ok(1)))
}

async fn handshake(stream: Box<dyn Io>, port: &Port) -> io::Result<(Channel, String, Option<Vec<u8>>)> {
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::clone(&port.tls));
    let accepted = timeout(limits::HANDSHAKE_WITHIN, acceptor.accept(stream)).await;
    let stream = accepted.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    let connection = stream.get_ref().1;
    let version = connection.protocol_version().and_then(|version| version.as_str()).unwrap_or("TLS");
    let version = version.replace("TLSv1_", "TLSv1.");
    let suite = connection.negotiated_cipher_suite().map(|suite| format!("{:?}", suite.suite())).unwrap_or_default();
    let how = format!("{version} with {suite}");
    let binding = base::sasl::exported(connection);
    Ok((Channel::new(stream), how, binding))
}

/// Reads the announced octets of a chunk (RFC 3030) and hands them to the session, wanted or not.
async fn chunk(channel: &mut Channel, session: &mut Session, octets: u64) -> io::Result<()> {
    let mut left = octets;
    while left > 0 {
        if channel.input.is_empty() {
            // A peer that waits for the replies to what it sent before gets them now.
            channel.flush(limits::WRITE_WITHIN).await?;
            if !channel.fill(session.house().tuning.piece_within).await? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let here = usize::try_from(left).unwrap_or(usize::MAX).min(channel.input.len());
        session.piece(channel.input.get(..here).unwrap_or_default());
        channel.input.advance(here);
        left -= here as u64;
    }
    Ok(())
}

/// Reads a message to its end. One that is too large is read on without being kept, so that the peer hears why.
async fn collect(channel: &mut Channel, house: &House) -> io::Result<Result<Received, DotError>> {
    let (mut reader, mut bytes, mut share) = (DotReader::default(), Vec::new(), house.memory.share());
    let mut dropped = None;
    let mut total = 0usize;
    loop {
        let taken = match reader.feed(&channel.input, &mut bytes) {
            Ok(taken) => taken,
            Err(error) => return Ok(Err(error)),
        };
        total = total.saturating_add(channel.input.len());
        if dropped.is_none() && bytes.len() > limits::MESSAGE {
            dropped = Some(Received::TooLarge);
        }
        if dropped.is_none() && !share.grow(bytes.len()) {
            dropped = Some(Received::NoMemory);
        }
        if dropped.is_some() {
            bytes = Vec::new();
            share = house.memory.share();
        }
        match taken {
            Taken::End(at) => {
                channel.input.advance(at);
                return Ok(Ok(dropped.unwrap_or(Received::Whole(bytes, share))));
            }
            Taken::All => channel.input.clear(),
        }
        if total > 4 * limits::MESSAGE {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a message without end"));
        }
        if !channel.fill(house.tuning.piece_within).await? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}
