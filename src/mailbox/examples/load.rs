//! A client that does one thing to a mail server as fast as it can and tells how long it took, in seconds: the other
//! half of `benches/run mailbox`. It judges nothing, so that it costs little: answers are read up to their tagged line.
//!
//!     load deliver SOCKET RECIPIENT FOLDER-OF-MESSAGES COUNT CONNECTIONS
//!     load imap HOST:PORT NAME CA-FILE USER PASSWORD-FILE COMMAND …     (each command is timed)
//!     load login HOST:PORT NAME CA-FILE USER PASSWORD-FILE COUNT
//!     load idle HOST:PORT NAME CA-FILE USERS-FILE CONNECTIONS           (USERS-FILE: a user and a password in each line)

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["deliver", socket, recipient, folder, count, connections] => {
            deliver(socket, recipient, Path::new(folder), count.parse()?, connections.parse()?).await
        }
        ["imap", address, name, ca, user, password, commands @ ..] => {
            let server = Server::new(address, name, ca)?;
            imap(&server, user, &secret(password)?, commands).await
        }
        ["login", address, name, ca, user, password, count] => {
            login(&Server::new(address, name, ca)?, user, &secret(password)?, count.parse()?).await
        }
        ["idle", address, name, ca, users, connections] => {
            idle(&Server::new(address, name, ca)?, users, connections.parse()?).await
        }
        _ => Err("see the head of the source for how it is used".into()),
    }
}

fn secret(file: &str) -> Result<String, Failure> {
    Ok(std::fs::read_to_string(file)?.trim().to_owned())
}

// --- LMTP

async fn deliver(socket: &str, to: &str, folder: &Path, count: usize, connections: usize) -> Result<(), Failure> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    files.sort();
    files.truncate(count);
    // Read and dot-stuffed beforehand: only the server is measured.
    let messages: Vec<Vec<u8>> = files.iter().map(|file| stuffed(file)).collect::<Result<_, _>>()?;
    let (messages, next) = (Arc::new(messages), Arc::new(AtomicUsize::new(0)));
    let began = Instant::now();
    let mut tasks = Vec::new();
    for _ in 0..connections {
        let (messages, next) = (Arc::clone(&messages), Arc::clone(&next));
        let (socket, to) = (socket.to_owned(), to.to_owned());
        tasks.push(tokio::spawn(async move { deliver_some(&socket, &to, &messages, &next).await }));
    }
    for task in tasks {
        task.await??;
    }
    println!("{}", began.elapsed().as_secs_f64());
    Ok(())
}

fn stuffed(file: &Path) -> Result<Vec<u8>, Failure> {
    let mut out = Vec::new();
    for line in std::fs::read(file)?.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.starts_with(b".") {
            out.push(b'.');
        }
        out.extend_from_slice(line);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b".\r\n");
    Ok(out)
}

async fn deliver_some(socket: &str, to: &str, messages: &[Vec<u8>], next: &AtomicUsize) -> Result<(), Failure> {
    let mut stream = BufReader::new(UnixStream::connect(socket).await?);
    expect(&mut stream, "220").await?;
    stream.write_all(b"LHLO bench.test\r\n").await?;
    expect(&mut stream, "250").await?;
    while let Some(message) = messages.get(next.fetch_add(1, Ordering::Relaxed)) {
        stream.write_all(format!("MAIL FROM:<sender@bench.test>\r\nRCPT TO:<{to}>\r\nDATA\r\n").as_bytes()).await?;
        for code in ["250", "250", "354"] {
            expect(&mut stream, code).await?;
        }
        stream.write_all(message).await?;
        expect(&mut stream, "250").await?;
    }
    Ok(())
}

/// Reads one reply with all its lines.
async fn expect(stream: &mut BufReader<UnixStream>, code: &str) -> Result<(), Failure> {
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        if !line.starts_with(code) {
            return Err(format!("expected {code}, got {line:?}").into());
        }
        if line.as_bytes().get(3) != Some(&b'-') {
            return Ok(());
        }
    }
}

// --- IMAP

struct Server {
    address: SocketAddr,
    name: ServerName<'static>,
    tls: TlsConnector,
}

impl Server {
    fn new(address: &str, name: &str, ca: &str) -> Result<Server, Failure> {
        let mut roots = rustls::RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(ca)? {
            roots.add(certificate?)?;
        }
        let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let name = ServerName::try_from(name.to_owned())?;
        Ok(Server { address: address.parse()?, name, tls: TlsConnector::from(Arc::new(config)) })
    }

    /// Connects from a loopback address of its own kind, since servers bound the connections of one address.
    async fn connect(&self, from: u8) -> Result<Client, Failure> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, from)), 0))?;
        let stream = socket.connect(self.address).await?;
        stream.set_nodelay(true)?;
        let stream = self.tls.connect(self.name.clone(), stream).await?;
        let mut client = Client { stream, input: Vec::with_capacity(256 << 10) };
        client.until(b"* OK").await?;
        Ok(client)
    }
}

struct Client {
    stream: TlsStream<tokio::net::TcpStream>,
    input: Vec<u8>,
}

impl Client {
    async fn log_in(&mut self, user: &str, password: &str) -> Result<(), Failure> {
        self.command(&format!("LOGIN \"{user}\" \"{password}\"")).await.map(|_| ())
    }

    /// Sends a command and reads up to its tagged line; returns the octets that came.
    async fn command(&mut self, command: &str) -> Result<usize, Failure> {
        self.stream.write_all(format!("zq7x {command}\r\n").as_bytes()).await?;
        self.stream.flush().await?;
        self.until(b"zq7x OK").await
    }

    /// Reads until the last line begins as wanted.
    async fn until(&mut self, wanted: &[u8]) -> Result<usize, Failure> {
        let mut total = 0;
        self.input.clear();
        loop {
            let before = self.input.len();
            if self.stream.read_buf(&mut self.input).await? == 0 {
                return Err("the server closed the connection".into());
            }
            total += self.input.len() - before;
            if self.input.ends_with(b"\r\n") {
                let body = &self.input[..self.input.len() - 2];
                let start = body.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
                if body[start..].starts_with(wanted) {
                    return Ok(total);
                }
                if body[start..].starts_with(b"zq7x ") || body[start..].starts_with(b"* BYE") {
                    return Err(String::from_utf8_lossy(&body[start..]).into_owned().into());
                }
            }
            // Only the last line matters, and it is short.
            if self.input.len() > 128 << 10 {
                self.input.drain(..self.input.len() - 4096);
            }
        }
    }
}

async fn imap(server: &Server, user: &str, password: &str, commands: &[&str]) -> Result<(), Failure> {
    let mut client = server.connect(1).await?;
    client.log_in(user, password).await?;
    for command in commands {
        let began = Instant::now();
        let octets = client.command(command).await.map_err(|why| format!("{command}: {why}"))?;
        println!("{} {octets}", began.elapsed().as_secs_f64());
    }
    Ok(())
}

async fn login(server: &Server, user: &str, password: &str, count: usize) -> Result<(), Failure> {
    let began = Instant::now();
    for _ in 0..count {
        let mut client = server.connect(1).await?;
        client.log_in(user, password).await?;
        client.command("LOGOUT").await?;
    }
    println!("{}", began.elapsed().as_secs_f64());
    Ok(())
}

/// Opens connections that idle in INBOX, says so, and holds them until its input ends.
async fn idle(server: &Server, users: &str, connections: usize) -> Result<(), Failure> {
    let users = std::fs::read_to_string(users)?;
    let users: Vec<(&str, &str)> = users.lines().filter_map(|line| line.split_once(' ')).collect();
    let mut open = Vec::with_capacity(connections);
    for number in 0..connections {
        let (user, password) = users.get(number % users.len()).ok_or("there are no users")?;
        let mut client = server.connect(u8::try_from(1 + number / 150)?).await?;
        client.log_in(user, password).await?;
        client.command("SELECT INBOX").await?;
        client.stream.write_all(b"zq7x IDLE\r\n").await?;
        client.stream.flush().await?;
        client.until(b"+ ").await?;
        client.input = Vec::new();
        open.push(client);
    }
    println!("idle");
    tokio::task::spawn_blocking(|| std::io::read_to_string(std::io::stdin())).await??;
    drop(open);
    Ok(())
}
