//! The framing: two big-endian lengths, then a JSON head and a raw body (a message, or nothing).

use bytes::Buf;
use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Longest JSON head. The longest in use is the list of a zone's records.
pub const MAX_HEAD: u32 = 4 << 20;
/// Longest body: the largest message a box takes (see the MTA's limits) and some room for headers.
pub const MAX_BODY: u32 = 80 << 20;

/// Reads one frame; `None` when the peer closed between frames.
pub async fn read(stream: &mut (impl AsyncReadExt + Unpin)) -> io::Result<Option<(Vec<u8>, Vec<u8>)>> {
    let mut lengths = [0u8; 8];
    match stream.read_exact(&mut lengths).await {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    };
    let [a, b, c, d, e, f, g, h] = lengths;
    let (head_length, body_length) = (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]));
    if head_length > MAX_HEAD || body_length > MAX_BODY {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame is longer than its bound"));
    }
    let head = read_part(stream, head_length).await?;
    let body = read_part(stream, body_length).await?;
    Ok(Some((head, body)))
}

/// Reads as it arrives, so that a length that is only claimed costs no memory.
async fn read_part(stream: &mut (impl AsyncReadExt + Unpin), length: u32) -> io::Result<Vec<u8>> {
    let mut part = Vec::with_capacity((length as usize).min(64 << 10));
    let got = stream.take(u64::from(length)).read_to_end(&mut part).await?;
    if got < length as usize {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(part)
}

/// Writes one frame.
pub async fn write(stream: &mut (impl AsyncWriteExt + Unpin), head: &[u8], body: &[u8]) -> io::Result<()> {
    let too_long = || io::Error::new(io::ErrorKind::InvalidInput, "a frame is longer than its bound");
    let head_length = u32::try_from(head.len()).ok().filter(|length| *length <= MAX_HEAD).ok_or_else(too_long)?;
    let body_length = u32::try_from(body.len()).ok().filter(|length| *length <= MAX_BODY).ok_or_else(too_long)?;
    let lengths = [head_length.to_be_bytes(), body_length.to_be_bytes()].concat();
    // All of it in one call where there is room.
    stream.write_all_buf(&mut Buf::chain(Buf::chain(lengths.as_slice(), head), body)).await?;
    stream.flush().await
}
