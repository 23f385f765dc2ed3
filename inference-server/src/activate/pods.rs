//! Names of Services in; the addresses of pods out, and of those the one that is to get the next request. `choose` is pure;
//! only `Pods::addresses` asks the DNS, and remembers the answer for a moment.

use std::{
    collections::HashMap,
    io,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::net::lookup_host;

/// How long an answer with addresses is believed.
const FRESH: Duration = Duration::from_secs(2);
/// How long an answer without is.
const EMPTY: Duration = Duration::from_millis(200);
/// How long a pod that took no request is asked after the others.
const AVOIDED: Duration = Duration::from_secs(2);

/// The pods behind a service.
#[derive(Debug)]
pub struct Pods {
    /// Asked in this order until one has addresses.
    names: Vec<String>,
    found: tokio::sync::Mutex<Option<(Instant, Vec<IpAddr>)>>,
    loads: Arc<Mutex<Loads>>,
}

/// What this process knows of pods: how much it has given to each, and which did not take it.
#[derive(Debug, Default)]
struct Loads {
    running: HashMap<IpAddr, usize>,
    refused: HashMap<IpAddr, Instant>,
    turn: usize,
}

impl Pods {
    /// The pods behind the first of these names that has any.
    pub fn behind(names: Vec<String>) -> Self {
        Pods {
            names,
            found: tokio::sync::Mutex::default(),
            loads: Arc::default(),
        }
    }

    /// Their addresses, at most a moment old. Many who ask at once cost one question.
    pub async fn addresses(&self) -> Vec<IpAddr> {
        let mut found = self.found.lock().await;
        if let Some((at, addresses)) = &*found {
            let limit = if addresses.is_empty() { EMPTY } else { FRESH };
            if at.elapsed() < limit {
                return addresses.clone();
            }
        }
        let mut addresses = Vec::new();
        for name in &self.names {
            addresses = match lookup(name).await {
                Ok(addresses) => addresses,
                Err(error) => {
                    tracing::debug!(name, %error, "a name is not there");
                    Vec::new()
                }
            };
            if !addresses.is_empty() {
                break;
            }
        }
        *found = Some((Instant::now(), addresses.clone()));
        addresses
    }

    /// What was found is not believed any more: none of it took a request.
    pub async fn forget(&self) {
        *self.found.lock().await = None;
    }

    /// The pod that is to get the next request, with the request counted as its.
    pub fn choose(&self, addresses: &[IpAddr], tried: &[IpAddr]) -> Option<Chosen> {
        let mut loads = self.loads.lock().unwrap_or_else(PoisonError::into_inner);
        loads.refused.retain(|_, at| at.elapsed() < AVOIDED);
        let address = choose(&loads, addresses, tried)?;
        loads.turn = loads.turn.wrapping_add(1);
        *loads.running.entry(address).or_default() += 1;
        Some(Chosen {
            address,
            loads: self.loads.clone(),
        })
    }
}

/// The pod with the fewest requests of this process; of equals each in turn. One that lately took none comes after the others.
fn choose(loads: &Loads, addresses: &[IpAddr], tried: &[IpAddr]) -> Option<IpAddr> {
    let count = addresses.len();
    (0..count)
        .map(|offset| addresses[(loads.turn + offset) % count])
        .filter(|address| !tried.contains(address))
        .min_by_key(|address| {
            let running = loads.running.get(address).copied().unwrap_or_default();
            (loads.refused.contains_key(address), running)
        })
}

async fn lookup(name: &str) -> io::Result<Vec<IpAddr>> {
    let mut addresses: Vec<IpAddr> = lookup_host((name, 0)).await?.map(|found| found.ip()).collect();
    addresses.sort_unstable();
    addresses.dedup();
    Ok(addresses)
}

/// A pod that has a request; dropping it says that the request is over.
#[derive(Debug)]
pub struct Chosen {
    /// Where it is.
    pub address: IpAddr,
    loads: Arc<Mutex<Loads>>,
}

impl Chosen {
    /// It did not take the request.
    pub fn refused(&self) {
        let mut loads = self.loads.lock().unwrap_or_else(PoisonError::into_inner);
        loads.refused.insert(self.address, Instant::now());
    }
}

impl Drop for Chosen {
    fn drop(&mut self) {
        let mut loads = self.loads.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = loads.running.get_mut(&self.address) {
            *running -= 1;
            if *running == 0 {
                loads.running.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    #[test]
    fn the_pod_with_the_fewest_requests_is_next_and_equals_take_turns() {
        let pods = Pods::behind(Vec::new());
        let all = [pod(1), pod(2), pod(3)];
        let mut chosen: Vec<_> = (0..3).map(|_| pods.choose(&all, &[]).unwrap()).collect();
        let mut got: Vec<IpAddr> = chosen.iter().map(|one| one.address).collect();
        got.sort_unstable();
        assert_eq!(got, all, "one each");
        let free = chosen.remove(1).address;
        assert_eq!(pods.choose(&all, &[]).unwrap().address, free);
        assert_eq!(pods.choose(&[], &[]).map(|one| one.address), None);
    }

    #[test]
    fn a_pod_that_took_none_comes_last_and_one_that_was_tried_not_at_all() {
        let pods = Pods::behind(Vec::new());
        let all = [pod(1), pod(2)];
        let first = pods.choose(&all, &[]).unwrap();
        first.refused();
        let bad = first.address;
        drop(first);
        let held: Vec<_> = (0..3).map(|_| pods.choose(&all, &[]).unwrap()).collect();
        assert!(held.iter().all(|one| one.address != bad), "{held:?}");
        assert_eq!(pods.choose(&all, &[held[0].address]).unwrap().address, bad);
        assert!(pods.choose(&all, &all).is_none());
    }

    #[tokio::test]
    async fn the_first_name_that_has_addresses_counts() {
        let names = ["no-such-name.invalid", "127.0.0.1", "127.0.0.2"];
        let pods = Pods::behind(names.map(String::from).to_vec());
        assert_eq!(pods.addresses().await, [IpAddr::from([127, 0, 0, 1])]);
    }
}
