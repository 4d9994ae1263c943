//! Loads a store through its vendor's own client: each connection writes one event, or reads one
//! subject, again and again, for some seconds.
//!
//! `neutral STORE URL WORK CONNECTIONS SECONDS SUBJECTS` prints one line of JSON: operations,
//! events, seconds, and how often an operation took so many microseconds, rounded to two digits.
//! The token, where a store has one, is in `TOKEN`.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use eventsourcingdb::client::Client;
use eventsourcingdb::event::EventCandidate;
use futures::StreamExt;
use serde_json::{Value, json};
use tokio::sync::Barrier;
use umadb_client::{AsyncUmaDbClient, UmaDbClient};
use umadb_dcb::{DcbEvent, DcbEventStoreAsync, DcbQuery, DcbQueryItem};

type Failure = Box<dyn Error + Send + Sync>;

/// The type of all events that are written.
const TYPE: &str = "io.eventsourcingdb.library.book-acquired";
/// Subjects of a filled store are in so many libraries.
const LIBRARIES: u64 = 100;

/// A connection of its own to a store.
enum Session {
    Everlog(Client),
    UmaDb(AsyncUmaDbClient),
}

impl Session {
    async fn connect(store: &str, url: &str) -> Result<Self, Failure> {
        match store {
            "everlog" => Ok(Self::Everlog(Client::new(url.parse()?, std::env::var("TOKEN")?))),
            "umadb" => Ok(Self::UmaDb(UmaDbClient::new(url.to_owned()).connect_async().await?)),
            _ => Err(format!("there is no store {store}").into()),
        }
    }

    /// Stores one event, and returns once it is acknowledged.
    async fn write(&self, subject: &str, data: &Value) -> Result<u64, Failure> {
        match self {
            Self::Everlog(client) => {
                let event = EventCandidate::builder()
                    .source("https://library.eventsourcingdb.io".to_string())
                    .subject(subject.to_string())
                    .ty(TYPE.to_string())
                    .data(data.clone())
                    .build();
                let written = client.write_events(vec![event], vec![]).await?;
                Ok(written.len() as u64)
            }
            Self::UmaDb(client) => {
                let event = DcbEvent {
                    event_type: TYPE.to_string(),
                    tags: vec![subject.to_string()],
                    data: serde_json::to_vec(data)?,
                    uuid: None,
                    metadata: vec![],
                };
                client.append(vec![event], None, None).await?;
                Ok(1)
            }
        }
    }

    /// Reads all events of a subject, and returns how many there are.
    async fn read(&self, subject: &str) -> Result<u64, Failure> {
        let mut count = 0;
        match self {
            Self::Everlog(client) => {
                let mut events = client.read_events(subject, None).await?;
                while let Some(event) = events.next().await {
                    event?;
                    count += 1;
                }
            }
            Self::UmaDb(client) => {
                let query = DcbQuery::new().item(DcbQueryItem::new().tags([subject]));
                let mut events = client.read(Some(query), None, false, None).await?;
                while let Some(event) = events.next().await {
                    event?;
                    count += 1;
                }
            }
        }
        Ok(count)
    }
}

/// What one connection did.
#[derive(Default)]
struct Done {
    operations: u64,
    events: u64,
    times: BTreeMap<u64, u64>,
}

/// A sequence that differs for each connection and is the same in each run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// Keeps two digits of a number of microseconds.
fn rounded(microseconds: u64) -> u64 {
    let mut unit = 1;
    while microseconds / unit >= 100 {
        unit *= 10;
    }
    microseconds / unit * unit
}

async fn work(
    session: Session,
    is_read: bool,
    mut numbers: Numbers,
    subjects: u64,
    deadline: Instant,
    next: Arc<AtomicU64>,
) -> Result<Done, Failure> {
    let data = json!({
        "title": "2001 - A Space Odyssey", "author": "Arthur C. Clarke",
        "isbn": "978-0756906788", "price": 12.5, "note": "x".repeat(100),
    });
    let mut done = Done::default();
    let mut before = Instant::now();
    while before < deadline {
        let number = if is_read {
            numbers.below(subjects)
        } else {
            next.fetch_add(1, Ordering::Relaxed)
        };
        let subject = format!("/libraries/{}/books/{number}", number % LIBRARIES);
        done.events += if is_read {
            session.read(&subject).await?
        } else {
            session.write(&subject, &data).await?
        };
        let after = Instant::now();
        let microseconds = (after - before).as_micros() as u64;
        *done.times.entry(rounded(microseconds)).or_default() += 1;
        done.operations += 1;
        before = after;
    }
    Ok(done)
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let words: Vec<String> = std::env::args().collect();
    let [_, store, url, kind, connections, seconds, subjects] = words.as_slice() else {
        return Err("neutral STORE URL write|read CONNECTIONS SECONDS SUBJECTS".into());
    };
    let (connections, subjects): (usize, u64) = (connections.parse()?, subjects.parse()?);
    let duration = Duration::from_secs_f64(seconds.parse()?);
    let is_read = match kind.as_str() {
        "read" => true,
        "write" => false,
        _ => return Err(format!("there is no work {kind}").into()),
    };
    let next = Arc::new(AtomicU64::new(subjects));
    let together = Arc::new(Barrier::new(connections));
    let mut running = Vec::new();
    for index in 0..connections {
        let session = Session::connect(store, url).await?;
        let (next, together) = (next.clone(), together.clone());
        let numbers = Numbers(0x9e37_79b9_7f4a_7c15 ^ (index as u64 + 1) << 20);
        running.push(tokio::spawn(async move {
            together.wait().await;
            let deadline = Instant::now() + duration;
            work(session, is_read, numbers, subjects, deadline, next).await
        }));
    }
    let started = Instant::now();
    let mut all = Done::default();
    for one in running {
        let done = one.await??;
        all.operations += done.operations;
        all.events += done.events;
        for (time, often) in done.times {
            *all.times.entry(time).or_default() += often;
        }
    }
    let times: Vec<_> = all.times.into_iter().collect();
    println!(
        "{}",
        json!({
            "operations": all.operations, "events": all.events,
            "seconds": started.elapsed().as_secs_f64(), "times": times,
        })
    );
    Ok(())
}
