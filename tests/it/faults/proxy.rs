//! A TCP proxy that injects network faults at chosen moments.
//!
//! It sits between the program and one server and knows nothing of their protocol. It delays, freezes or resets its
//! connections, or loses one response. To lose the response to one statement only, it looks for a text that only this
//! statement contains, such as a request id.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Direction of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    ToServer,
    ToClient,
}

/// Faults that apply to all connections.
#[derive(Debug, Clone, Default)]
struct Controls {
    /// Delay of each chunk.
    delay: Duration,
    /// Frozen directions (to server, to client); no connection is closed.
    frozen: (bool, bool),
    /// Cuts new connections after the server has sent this many bytes.
    cut_after: Option<u64>,
    /// Incremented to reset every open connection.
    resets: u64,
    /// Incremented to close the server's side of every open connection.
    half_closes: u64,
}

impl Controls {
    fn is_frozen(&self, way: Direction) -> bool {
        if way == Direction::ToServer { self.frozen.0 } else { self.frozen.1 }
    }
}

/// What happens when the client sends the text of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum CutPoint {
    /// Cut before the text reaches the server.
    Before,
    /// Cut after the server has processed the text; its response is lost.
    Answered,
    /// Like `Answered`, and new connections are refused from then on.
    AnsweredThenDown,
    /// No cut: the text is held back and all connections freeze.
    FreezeBefore,
    /// No cut: the server gets the text, then all connections freeze.
    FreezeAfter,
}

/// Applies the cut point to the next `times` connections that send `text`.
#[derive(Debug)]
struct Rule {
    text: Vec<u8>,
    when: CutPoint,
    times: u64,
}

#[derive(Debug, Default)]
struct Shared {
    rule: Mutex<Option<Rule>>,
    /// Whether new connections are reset at once.
    refusing: AtomicBool,
    opened: AtomicU64,
    cut: AtomicU64,
}

/// The proxy; dropping it closes all connections.
pub(crate) struct Proxy {
    address: SocketAddr,
    controls: Arc<watch::Sender<Controls>>,
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

impl Proxy {
    /// Starts a proxy in front of `server` on a free port.
    pub(crate) async fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let controls = Arc::new(watch::Sender::new(Controls::default()));
        let shared = Arc::<Shared>::default();
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, server, Arc::clone(&controls), Arc::clone(&shared)));
        Self { address, controls, shared, _tasks: tasks }
    }

    /// Address that the proxy listens on.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Number of connections opened so far.
    pub(crate) fn opened(&self) -> u64 {
        self.shared.opened.load(Ordering::SeqCst)
    }

    /// Number of times a rule has applied.
    pub(crate) fn cut(&self) -> u64 {
        self.shared.cut.load(Ordering::SeqCst)
    }

    /// Delays each chunk in both directions.
    pub(crate) fn delay(&self, delay: Duration) {
        self.controls.send_modify(|controls| controls.delay = delay);
    }

    /// Freezes both directions; connections stay open and new ones are accepted.
    pub(crate) fn freeze(&self) {
        self.controls.send_modify(|controls| controls.frozen = (true, true));
    }

    /// Freezes one direction only.
    pub(crate) fn freeze_one(&self, way: Direction) {
        self.controls.send_modify(|controls| {
            controls.frozen = (way == Direction::ToServer, way == Direction::ToClient);
        });
    }

    /// Ends a freeze; held-back bytes continue.
    pub(crate) fn thaw(&self) {
        self.controls.send_modify(|controls| controls.frozen = (false, false));
    }

    /// Resets every open connection.
    pub(crate) fn reset_all(&self) {
        self.controls.send_modify(|controls| controls.resets += 1);
    }

    /// Closes the server's side of every connection; bytes from clients still reach the server.
    pub(crate) fn half_close_all(&self) {
        self.controls.send_modify(|controls| controls.half_closes += 1);
    }

    /// Sets whether new connections are reset at once.
    pub(crate) fn refuse(&self, refusing: bool) {
        self.shared.refusing.store(refusing, Ordering::SeqCst);
    }

    /// Cuts new connections after the server has sent this many bytes; `None` stops that.
    pub(crate) fn cut_new_after(&self, bytes: Option<u64>) {
        self.controls.send_modify(|controls| controls.cut_after = bytes);
    }

    /// Applies the cut point to the next `times` connections on which `text` goes to the server.
    pub(crate) fn cut_at(&self, text: &str, when: CutPoint, times: u64) {
        *self.shared.rule.lock().unwrap() = Some(Rule { text: text.into(), when, times });
    }
}

async fn accept(
    listener: TcpListener,
    server: SocketAddr,
    controls: Arc<watch::Sender<Controls>>,
    shared: Arc<Shared>,
) {
    let mut connections = JoinSet::new();
    loop {
        let (client, _) = listener.accept().await.unwrap();
        // Drops the handles of finished tasks.
        while connections.try_join_next().is_some() {}
        shared.opened.fetch_add(1, Ordering::SeqCst);
        let refusing = shared.refusing.load(Ordering::SeqCst);
        let server = if refusing { None } else { TcpStream::connect(server).await.ok() };
        match server {
            Some(server) => {
                drop(connections.spawn(forward(client, server, Arc::clone(&controls), Arc::clone(&shared))));
            }
            // As if no server listened.
            None => client.set_zero_linger().unwrap(),
        }
    }
}

/// Marks a connection as cut.
struct Cut;

/// Forwards both directions until both have ended, or one is cut: then both sides get a reset.
async fn forward(
    mut client: TcpStream,
    mut server: TcpStream,
    controls: Arc<watch::Sender<Controls>>,
    shared: Arc<Shared>,
) {
    let mut watched = controls.subscribe();
    for stream in [&client, &server] {
        stream.set_nodelay(true).unwrap();
    }
    let (resets, half_closes, limit) = {
        let now = controls.borrow();
        (now.resets, now.half_closes, now.cut_after)
    };
    let cut = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let answer_is_lost = Mutex::new(false);
        let pump = |way| Pump {
            way,
            seen: controls.subscribe(),
            controls: &controls,
            shared: &shared,
            lose: &answer_is_lost,
        };
        let (asking, answering) = (pump(Direction::ToServer), pump(Direction::ToClient));
        tokio::select! {
            ended = async {
                tokio::try_join!(
                    asking.run(from_client, to_server, None, u64::MAX),
                    answering.run(from_server, to_client, limit, half_closes)
                )
            } => ended.is_err(),
            _ = watched.wait_for(|controls| controls.resets > resets) => true,
        }
    };
    if cut {
        for stream in [&client, &server] {
            let _ = stream.set_zero_linger();
        }
    }
}

/// One direction of one connection.
struct Pump<'a> {
    way: Direction,
    seen: watch::Receiver<Controls>,
    controls: &'a watch::Sender<Controls>,
    shared: &'a Shared,
    lose: &'a Mutex<bool>,
}

impl Pump<'_> {
    async fn run(
        mut self,
        mut from: ReadHalf<'_>,
        mut to: WriteHalf<'_>,
        limit: Option<u64>,
        half_closes: u64,
    ) -> Result<(), Cut> {
        let mut buffer = vec![0; 64 * 1024];
        let mut forwarded = 0;
        // Tail of the forwarded bytes: a text may span two chunks.
        let mut before = Vec::new();
        loop {
            let mut watched = self.seen.clone();
            let read = tokio::select! {
                read = from.read(&mut buffer) => read.map_err(|_| Cut)?,
                _ = watched.wait_for(|controls| controls.half_closes > half_closes) => 0,
            };
            self.wait_while_frozen().await?;
            if read == 0 {
                return to.shutdown().await.map_err(|_| Cut);
            }
            let piece = &buffer[..read];
            let mut stand_still = false;
            match self.way {
                Direction::ToServer => match self.shared.matched(&mut before, piece) {
                    Some(CutPoint::Before) => return Err(Cut),
                    Some(CutPoint::Answered) => *self.lose.lock().unwrap() = true,
                    Some(CutPoint::FreezeBefore) => {
                        self.freeze();
                        self.wait_while_frozen().await?;
                    }
                    Some(CutPoint::FreezeAfter) => stand_still = true,
                    Some(CutPoint::AnsweredThenDown) => {
                        self.shared.refusing.store(true, Ordering::SeqCst);
                        *self.lose.lock().unwrap() = true;
                    }
                    None => {}
                },
                Direction::ToClient => {
                    if *self.lose.lock().unwrap() {
                        return Err(Cut);
                    }
                }
            }
            forwarded += read as u64;
            let over = limit.map_or(0, |limit| forwarded.saturating_sub(limit));
            let kept = read.saturating_sub(usize::try_from(over).unwrap());
            if stand_still {
                // Freeze before the server can respond.
                self.freeze();
            }
            to.write_all(&piece[..kept]).await.map_err(|_| Cut)?;
            if over > 0 {
                return Err(Cut);
            }
        }
    }

    fn freeze(&self) {
        self.controls.send_modify(|controls| controls.frozen = (true, true));
    }

    /// Waits for the delay and the end of a freeze.
    async fn wait_while_frozen(&mut self) -> Result<(), Cut> {
        let (way, delay) = (self.way, self.seen.borrow().delay);
        if !delay.is_zero() {
            // Simulates a slow network.
            tokio::time::sleep(delay).await;
        }
        self.seen.wait_for(|controls| !controls.is_frozen(way)).await.map(drop).map_err(|_| Cut)
    }
}

impl Shared {
    /// Returns the cut point if the rule's text ends in `piece`; `before` keeps the possible start of the text.
    fn matched(&self, before: &mut Vec<u8>, piece: &[u8]) -> Option<CutPoint> {
        let mut rule = self.rule.lock().unwrap();
        let Some(wanted) = rule.as_mut().filter(|rule| rule.times > 0) else {
            before.clear();
            return None;
        };
        before.extend_from_slice(piece);
        let found = before.windows(wanted.text.len()).any(|window| window == wanted.text);
        before.drain(..before.len().saturating_sub(wanted.text.len() - 1));
        if !found {
            return None;
        }
        wanted.times -= 1;
        before.clear();
        self.cut.fetch_add(1, Ordering::SeqCst);
        Some(wanted.when)
    }
}
