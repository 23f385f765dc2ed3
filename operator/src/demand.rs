//! How many requests wait and run before services that may have no pods, as their activators say.
//!
//! In: the pods of such a service. Out: the newest answer of its activator. For each service one task asks, and asks again as soon
//! as it is answered: the activator waits with its answer until nothing becomes something or the reverse. Then whoever looks
//! after the service is told. It decides nothing, and writes nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use serde::Deserialize;
use tokio_util::task::AbortOnDropHandle;

use crate::ask::{self, Client};
use crate::children::Touched;
use crate::health::pods;
use crate::names::{ADMIN_PORT, COMPONENT, Component, Owner};

/// How long the activator may wait with its answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// How much longer the answer may be on its way.
const ON_ITS_WAY: Duration = Duration::from_secs(5);
/// The pause after an answer that did not come.
const PAUSE: Duration = Duration::from_secs(1);
/// How long it may say nothing before that is told.
const SILENCE: Duration = Duration::from_secs(20);
/// How long it is asked while it says nothing: its object may be gone. Whoever looks after the object has it asked again.
const GIVE_UP: Duration = Duration::from_secs(600);

/// What an activator says of its requests.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Demand {
    /// Another one when nothing has become something, or the reverse.
    pub version: u64,
    /// Requests that wait for a pod.
    pub waiting: u64,
    /// Requests that a pod works on.
    pub running: u64,
    /// Seconds since any did.
    pub idle_seconds: f64,
}

impl Demand {
    /// Time since a request waited or ran.
    pub fn idle(&self) -> Duration {
        Duration::try_from_secs_f64(self.idle_seconds).unwrap_or_default()
    }
}

/// What was heard of an activator, as of a moment.
#[derive(Clone, Debug, PartialEq)]
pub enum Heard {
    /// This, with the time since its answer counted as idle where it was.
    Said(Demand, Timestamp),
    /// Nothing yet, or not for a moment.
    Nothing,
    /// Nothing, and for too long.
    Silence,
}

impl Heard {
    /// The requests, and the moment.
    pub fn demand(&self) -> Option<(Demand, Timestamp)> {
        match self {
            Heard::Said(demand, at) => Some((*demand, *at)),
            Heard::Nothing | Heard::Silence => None,
        }
    }

    /// Whether a person must look.
    pub fn is_silent(&self) -> bool {
        matches!(self, Heard::Silence)
    }
}

/// One activator that is asked.
struct Asked {
    address: String,
    answer: Arc<Mutex<Answer>>,
    task: AbortOnDropHandle<()>,
}

/// Its newest answer, and since when there is none.
struct Answer {
    demand: Option<(Demand, Instant)>,
    silent_since: Instant,
}

type Tell = Arc<dyn Fn(Touched) + Send + Sync>;

/// The activators that are asked.
#[derive(Default)]
pub struct Demands {
    client: Client,
    asked: Mutex<HashMap<Owner, Asked>>,
    listeners: Mutex<Vec<Tell>>,
}

impl Demands {
    /// Calls `tell` whenever the demand of an object has turned.
    pub fn listen(&self, tell: impl Fn(Touched) + Send + Sync + 'static) {
        lock(&self.listeners).push(Arc::new(tell));
    }

    /// The newest that was heard of an object's activator, which is asked from now on. Without `wanted` it is no more.
    pub fn of(&self, owner: &Owner, pods: &[Pod], wanted: bool) -> Option<Heard> {
        let mut asked = lock(&self.asked);
        let address = address(pods).filter(|_| wanted);
        let Some(address) = address else {
            asked.remove(owner);
            return wanted.then_some(Heard::Nothing);
        };
        let known = asked.get(owner).filter(|known| known.address == address);
        if known.is_none_or(|known| known.task.is_finished()) {
            let silent_since = known.map_or_else(Instant::now, |known| lock(&known.answer).silent_since);
            asked.insert(owner.clone(), self.begin(owner, address, silent_since));
        }
        let known = asked.get(owner)?;
        let answer = lock(&known.answer);
        Some(match answer.demand {
            Some((mut demand, at)) => {
                if demand.waiting + demand.running == 0 {
                    demand.idle_seconds += at.elapsed().as_secs_f64();
                }
                Heard::Said(demand, Timestamp::now())
            }
            None if answer.silent_since.elapsed() > SILENCE => Heard::Silence,
            None => Heard::Nothing,
        })
    }

    fn begin(&self, owner: &Owner, address: String, silent_since: Instant) -> Asked {
        let answer = Arc::new(Mutex::new(Answer {
            demand: None,
            silent_since,
        }));
        let listeners = lock(&self.listeners).clone();
        let touched = Touched {
            kind: owner.kind,
            namespace: owner.namespace.clone(),
            name: owner.name.clone(),
        };
        let tell = move || listeners.iter().for_each(|listener| listener(touched.clone()));
        let task = ask(self.client.clone(), address.clone(), answer.clone(), tell);
        Asked {
            address,
            answer,
            task: AbortOnDropHandle::new(tokio::spawn(task)),
        }
    }
}

/// Asks until there has been no answer for long.
async fn ask(client: Client, address: String, answer: Arc<Mutex<Answer>>, tell: impl Fn() + Send) {
    let mut known = None;
    let mut told_of_silence = false;
    loop {
        let asked = Instant::now();
        let heard = once(&client, &address, known).await;
        // It answers at once, and always the same, while it leaves.
        let hasty = asked.elapsed() < PAUSE && heard.is_none_or(|demand| known == Some(demand.version));
        let mut turned = false;
        {
            let mut answer = lock(&answer);
            match heard {
                Some(demand) => {
                    turned = known != Some(demand.version);
                    known = Some(demand.version);
                    answer.demand = Some((demand, Instant::now()));
                    answer.silent_since = Instant::now();
                    turned |= told_of_silence;
                    told_of_silence = false;
                }
                None => {
                    // What it said before may no longer be so.
                    turned |= answer.demand.take().is_some();
                    known = None;
                    if answer.silent_since.elapsed() > SILENCE && !told_of_silence {
                        told_of_silence = true;
                        turned = true;
                    }
                }
            }
        }
        if turned {
            tell();
        }
        if heard.is_none() && lock(&answer).silent_since.elapsed() > GIVE_UP {
            return;
        }
        if hasty {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

async fn once(client: &Client, address: &str, known: Option<u64>) -> Option<Demand> {
    let since = known.map_or(String::new(), |version| {
        format!("?since={version}&wait={}", PATIENCE.as_secs())
    });
    let path = format!("/demand{since}");
    client.ask(address, &path, PATIENCE + ON_ITS_WAY).await
}

/// Where the newest activator that answers can be asked.
fn address(pods: &[Pod]) -> Option<String> {
    let holds = |pod: &&Pod| {
        let component = pod.labels().get(COMPONENT).map(String::as_str);
        component == Some(Component::Activator.as_str()) && pods::is_ready(pod)
    };
    let newest = pods
        .iter()
        .filter(holds)
        .max_by_key(|pod| (pod.metadata.creation_timestamp.clone(), pod.name_any()))?;
    ask::address(newest, ADMIN_PORT)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(name: &str, component: &str, ready: &str, created: &str) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": name, "labels": {COMPONENT: component}, "creationTimestamp": created},
            "status": {"podIP": format!("10.0.0.{}", name.len()), "conditions": [{"type": "Ready", "status": ready}]},
        }))
        .unwrap()
    }

    #[test]
    fn the_newest_activator_that_answers_is_asked() {
        let (early, late) = ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
        let pods = [
            pod("a", "activator", "True", early),
            pod("bb", "activator", "True", late),
            pod("ccc", "activator", "False", "2026-01-03T00:00:00Z"),
            pod("dddd", "server", "True", "2026-01-03T00:00:00Z"),
        ];
        assert_eq!(address(&pods).unwrap(), "10.0.0.2:8082");
        assert_eq!(address(&pods[2..]), None);
    }
}
