//! A TCP proxy that spoils what goes through it, on purpose and at a chosen moment.
//!
//! It stands between the program and one server, knows nothing of their protocol, and does to all of its connections what
//! networks do: it is slow, stands still, breaks off, or loses one answer. To lose the answer of one statement and of no
//! other, it looks for a text that only this statement carries, such as a request's id.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    ToServer,
    ToClient,
}

/// What is to be done to everything that goes through.
#[derive(Debug, Clone, Default)]
struct Controls {
    /// Each piece waits for so long.
    delay: Duration,
    /// Nothing goes this way, and nothing is closed.
    frozen: (bool, bool),
    /// New connections are cut when the server has sent so many bytes.
    cut_after: Option<u64>,
    /// Raised: every connection of before is reset.
    resets: u64,
    /// Raised: every connection of before tells its client that the server has no more to say.
    half_closes: u64,
}

impl Controls {
    fn is_frozen(&self, way: Way) -> bool {
        if way == Way::ToServer { self.frozen.0 } else { self.frozen.1 }
    }
}

/// When a connection is cut because of a text that the client sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum When {
    /// The text does not come to the server.
    Before,
    /// The server has read it and has done what it asks for, but its answer is lost.
    Answered,
    /// The same, and from then on new connections are refused.
    AnsweredThenAway,
    /// Nothing is cut: the text is held back, and from then on everything stands still.
    StandsStill,
    /// Nothing is cut: the server gets the text, and from then on everything stands still.
    ThenStandsStill,
}

/// Cuts the connection on which `text` comes by, so many times.
#[derive(Debug)]
struct Rule {
    text: Vec<u8>,
    when: When,
    times: u64,
}

#[derive(Debug, Default)]
struct Shared {
    rule: Mutex<Option<Rule>>,
    /// New connections are reset at once.
    refusing: AtomicBool,
    opened: AtomicU64,
    cut: AtomicU64,
}

/// The proxy. Dropped: closed, with everything that goes through it.
pub(crate) struct Proxy {
    address: SocketAddr,
    controls: Arc<watch::Sender<Controls>>,
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

impl Proxy {
    /// Stands before `server`, on a free port.
    pub(crate) async fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let controls = Arc::new(watch::Sender::new(Controls::default()));
        let shared = Arc::<Shared>::default();
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, server, Arc::clone(&controls), Arc::clone(&shared)));
        Self { address, controls, shared, _tasks: tasks }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections have been opened through it.
    pub(crate) fn opened(&self) -> u64 {
        self.shared.opened.load(Ordering::SeqCst)
    }

    /// How many connections it has cut because of a text.
    pub(crate) fn cut(&self) -> u64 {
        self.shared.cut.load(Ordering::SeqCst)
    }

    /// Holds each piece back for so long, both ways.
    pub(crate) fn delay(&self, delay: Duration) {
        self.controls.send_modify(|controls| controls.delay = delay);
    }

    /// Nothing goes through; every connection stays open and new ones are taken.
    pub(crate) fn freeze(&self) {
        self.controls.send_modify(|controls| controls.frozen = (true, true));
    }

    /// The same, one way only.
    pub(crate) fn freeze_one(&self, way: Way) {
        self.controls.send_modify(|controls| controls.frozen = (way == Way::ToServer, way == Way::ToClient));
    }

    /// What has been held back goes on.
    pub(crate) fn thaw(&self) {
        self.controls.send_modify(|controls| controls.frozen = (false, false));
    }

    /// Resets every connection that is open.
    pub(crate) fn reset_all(&self) {
        self.controls.send_modify(|controls| controls.resets += 1);
    }

    /// Tells every client that its server has no more to say; what clients say still reaches the server.
    pub(crate) fn half_close_all(&self) {
        self.controls.send_modify(|controls| controls.half_closes += 1);
    }

    /// Resets new connections at once, or takes them again.
    pub(crate) fn refuse(&self, refusing: bool) {
        self.shared.refusing.store(refusing, Ordering::SeqCst);
    }

    /// Cuts new connections when their server has sent so many bytes; none: no more.
    pub(crate) fn cut_new_after(&self, bytes: Option<u64>) {
        self.controls.send_modify(|controls| controls.cut_after = bytes);
    }

    /// Cuts the next `times` connections on which `text` goes to the server.
    pub(crate) fn cut_at(&self, text: &str, when: When, times: u64) {
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
        // Those that have ended need not be kept.
        while connections.try_join_next().is_some() {}
        shared.opened.fetch_add(1, Ordering::SeqCst);
        let refusing = shared.refusing.load(Ordering::SeqCst);
        let server = if refusing { None } else { TcpStream::connect(server).await.ok() };
        match server {
            Some(server) => {
                drop(connections.spawn(carry(client, server, Arc::clone(&controls), Arc::clone(&shared))));
            }
            // As if nobody listened.
            None => client.set_zero_linger().unwrap(),
        }
    }
}

/// Why nothing more is carried.
struct Cut;

/// Carries both ways until both have ended, or one is cut: then both sides get a reset.
async fn carry(
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
        let (asking, answering) = (pump(Way::ToServer), pump(Way::ToClient));
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

/// One way of one connection.
struct Pump<'a> {
    way: Way,
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
        let mut carried = 0;
        // The end of what was carried: a text may come in two pieces.
        let mut before = Vec::new();
        loop {
            let mut watched = self.seen.clone();
            let read = tokio::select! {
                read = from.read(&mut buffer) => read.map_err(|_| Cut)?,
                _ = watched.wait_for(|controls| controls.half_closes > half_closes) => 0,
            };
            self.held_back().await?;
            if read == 0 {
                return to.shutdown().await.map_err(|_| Cut);
            }
            let piece = &buffer[..read];
            let mut stand_still = false;
            match self.way {
                Way::ToServer => match self.shared.matched(&mut before, piece) {
                    Some(When::Before) => return Err(Cut),
                    Some(When::Answered) => *self.lose.lock().unwrap() = true,
                    Some(When::StandsStill) => {
                        self.freeze();
                        self.held_back().await?;
                    }
                    Some(When::ThenStandsStill) => stand_still = true,
                    Some(When::AnsweredThenAway) => {
                        self.shared.refusing.store(true, Ordering::SeqCst);
                        *self.lose.lock().unwrap() = true;
                    }
                    None => {}
                },
                Way::ToClient => {
                    if *self.lose.lock().unwrap() {
                        return Err(Cut);
                    }
                }
            }
            carried += read as u64;
            let over = limit.map_or(0, |limit| carried.saturating_sub(limit));
            let kept = read.saturating_sub(usize::try_from(over).unwrap());
            if stand_still {
                // Before the server can answer.
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

    /// Waits for as long as nothing may go this way.
    async fn held_back(&mut self) -> Result<(), Cut> {
        let (way, delay) = (self.way, self.seen.borrow().delay);
        if !delay.is_zero() {
            // A slow network is the subject.
            tokio::time::sleep(delay).await;
        }
        self.seen.wait_for(|controls| !controls.is_frozen(way)).await.map(drop).map_err(|_| Cut)
    }
}

impl Shared {
    /// Whether the text that is looked for ends in `piece`; `before` keeps what may be its beginning.
    fn matched(&self, before: &mut Vec<u8>, piece: &[u8]) -> Option<When> {
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
