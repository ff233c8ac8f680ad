//! Minimal HTTP/1.1 client for the load, over one keep-alive connection.
//!
//! It shares the cores with the measured server, so it does no more than pgbench: requests are prepared bytes, and of
//! answers only status and length are parsed.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Time after which a missing answer aborts the run.
const TIMEOUT: Duration = Duration::from_secs(30);

/// One connection.
#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    pub(crate) async fn connect(server: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(server).await.context("the server accepts no connection")?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(64 * 1024) })
    }

    /// Sends a request and returns the body of its answer, which must be a success.
    pub(crate) async fn call(&mut self, request: &[u8]) -> anyhow::Result<&[u8]> {
        tokio::time::timeout(TIMEOUT, self.exchange(request))
            .await
            .context("timed out waiting for an answer")?
    }

    async fn exchange(&mut self, request: &[u8]) -> anyhow::Result<&[u8]> {
        self.buffer.clear();
        self.stream.write_all(request).await?;
        let head = self.until(b"\r\n\r\n").await?;
        let length = length(&self.buffer[..head])?;
        while self.buffer.len() < head + length {
            self.read().await?;
        }
        let ok = self.buffer.starts_with(b"HTTP/1.1 2");
        ensure!(ok, "request failed: {}", String::from_utf8_lossy(&self.buffer));
        Ok(&self.buffer[head..])
    }

    /// Sends a request for an event stream and reads it up to its end, which must contain `last`; returns the time until
    /// `first` arrived, if it did.
    pub(crate) async fn stream(
        &mut self,
        request: &[u8],
        first: &str,
        last: &str,
    ) -> anyhow::Result<Option<Duration>> {
        tokio::time::timeout(TIMEOUT, self.follow(request, first, last))
            .await
            .context("timed out waiting for the end of the stream")?
    }

    /// Sends a request for an event stream and returns all of it, without chunk headers.
    pub(crate) async fn events(&mut self, request: &[u8]) -> anyhow::Result<String> {
        tokio::time::timeout(TIMEOUT, self.follow(request, "", "event: reply.done"))
            .await
            .context("timed out waiting for the end of the stream")??;
        let head = find(&self.buffer, b"\r\n\r\n").context("no head")? + 4;
        let mut rest = &self.buffer[head..];
        let mut body = Vec::with_capacity(rest.len());
        while let Some(line) = find(rest, b"\r\n") {
            let size = usize::from_str_radix(std::str::from_utf8(&rest[..line])?.trim(), 16)?;
            let from = line + 2;
            body.extend_from_slice(rest.get(from..from + size).context("a chunk was cut")?);
            rest = rest.get(from + size + 2..).unwrap_or_default();
        }
        Ok(String::from_utf8(body)?)
    }

    async fn follow(&mut self, request: &[u8], first: &str, last: &str) -> anyhow::Result<Option<Duration>> {
        self.buffer.clear();
        let sent = Instant::now();
        self.stream.write_all(request).await?;
        let mut took = None;
        while !self.buffer.ends_with(b"\r\n0\r\n\r\n") {
            self.read().await?;
            if took.is_none() && !first.is_empty() && find(&self.buffer, first.as_bytes()).is_some() {
                took = Some(sent.elapsed());
            }
        }
        let ended = find(&self.buffer, last.as_bytes()).is_some();
        ensure!(ended, "no {last} in: {}", String::from_utf8_lossy(&self.buffer));
        Ok(took)
    }

    /// Reads until the buffer contains `wanted`; returns the position after it.
    async fn until(&mut self, wanted: &[u8]) -> anyhow::Result<usize> {
        let mut searched = 0;
        loop {
            if let Some(at) = find(&self.buffer[searched..], wanted) {
                return Ok(searched + at + wanted.len());
            }
            searched = self.buffer.len().saturating_sub(wanted.len());
            self.read().await?;
        }
    }

    async fn read(&mut self) -> anyhow::Result<()> {
        if self.stream.read_buf(&mut self.buffer).await? == 0 {
            bail!("the server hung up after: {}", String::from_utf8_lossy(&self.buffer));
        }
        Ok(())
    }
}

/// Encodes a request; `token` and `body` may be empty.
pub(crate) fn request(method: &str, path: &str, token: &str, body: &str) -> Vec<u8> {
    use std::fmt::Write as _;
    let mut text = format!("{method} {path} HTTP/1.1\r\nhost: bench\r\n");
    // Writing to a string cannot fail.
    if !token.is_empty() {
        let _ = write!(text, "authorization: Bearer {token}\r\n");
    }
    if !body.is_empty() {
        let _ = write!(text, "content-type: application/json\r\ncontent-length: {}\r\n", body.len());
    }
    let _ = write!(text, "\r\n{body}");
    text.into_bytes()
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}

/// Returns the content length in the head of an answer.
fn length(head: &[u8]) -> anyhow::Result<usize> {
    const NAME: &[u8] = b"\r\ncontent-length: ";
    let Some(at) = find(head, NAME) else { return Ok(0) };
    let digits = head[at + NAME.len()..].split(|byte| *byte == b'\r').next().unwrap_or_default();
    Ok(std::str::from_utf8(digits)?.parse()?)
}
