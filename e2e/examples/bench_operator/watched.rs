//! When services become Ready, as a watch tells it.
//!
//! In: a client. Out: for each service the time from its creation to its first Ready. Times of creation are the apiserver's in
//! whole seconds, so the watch's own clock counts: from the first event about the service to the one that says Ready.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crds::TranscriptionService;
use e2e::manifest::ready;
use futures::{StreamExt, pin_mut};
use kube::api::{Api, WatchEvent, WatchParams};
use kube::{Client, ResourceExt};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

#[derive(Default)]
struct Seen {
    first: HashMap<String, Instant>,
    ready: HashMap<String, Duration>,
}

/// A watch over all services.
pub struct Watched {
    seen: Arc<Mutex<Seen>>,
    changed: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Watched {
    /// Begins to watch.
    pub fn start(client: &Client) -> Watched {
        let (seen, changed) = (Arc::new(Mutex::new(Seen::default())), Arc::new(Notify::new()));
        let all: Api<TranscriptionService> = Api::all(client.clone());
        let (into, tell) = (seen.clone(), changed.clone());
        let task = tokio::spawn(async move {
            let mut version = "0".to_string();
            loop {
                let events = all.watch(&WatchParams::default(), &version).await.unwrap();
                pin_mut!(events);
                while let Some(Ok(event)) = events.next().await {
                    let (WatchEvent::Added(service) | WatchEvent::Modified(service)) = event else {
                        continue;
                    };
                    version = service.resource_version().unwrap_or_default();
                    note(&mut into.lock().unwrap(), &service);
                    tell.notify_one();
                }
            }
        });
        Watched { seen, changed, task }
    }

    /// Waits until so many services have been Ready.
    pub async fn until_ready(&self, count: usize) {
        let mut told = 0;
        loop {
            let so_far = self.seen.lock().unwrap().ready.len();
            if so_far >= count {
                return;
            }
            if so_far >= told + 100 {
                told = so_far;
                eprintln!("  {so_far} of {count} are Ready");
            }
            self.changed.notified().await;
        }
    }

    /// Time from creation to Ready: the median, and the longest.
    pub fn times_to_ready(&self) -> (Duration, Duration) {
        let seen = self.seen.lock().unwrap();
        let mut times: Vec<Duration> = seen.ready.values().copied().collect();
        times.sort();
        (times[times.len() / 2], times[times.len() - 1])
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn note(seen: &mut Seen, service: &TranscriptionService) {
    let name = format!(
        "{}/{}",
        service.namespace().unwrap_or_default(),
        service.name_any()
    );
    let first = *seen.first.entry(name.clone()).or_insert_with(Instant::now);
    if ready(service).is_ok() {
        seen.ready.entry(name).or_insert_with(|| first.elapsed());
    }
}
