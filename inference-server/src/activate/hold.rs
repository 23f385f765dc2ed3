//! A request that needs a pod in; a connection to one that takes it out, however long that takes.
//!
//! While no pod takes any, one request looks for all of them, and the others wait for it: a hundred that wait ask no more of
//! the DNS and of a pod that loads its model than one does.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use tokio::{sync::Mutex, time::sleep};

use super::{
    metrics::Metrics,
    pods::{Chosen, Pods},
    upstream::{Connection, Dialer, Protocol},
};

/// The pause between two looks for pods: no back-off, so that a pod that is ready is found at once.
const PAUSE: Duration = Duration::from_millis(100);

/// Finds pods for requests.
pub struct Hold {
    pods: Pods,
    dialer: Dialer,
    /// By [`Protocol`]: those of gRPC and of HTTP.
    ports: (u16, u16),
    /// Held by the request that looks for pods.
    scout: Mutex<()>,
}

impl Hold {
    /// For the pods behind these names.
    pub fn new(pods: Pods, dialer: Dialer, ports: (u16, u16)) -> Self {
        Hold {
            pods,
            dialer,
            ports,
            scout: Mutex::default(),
        }
    }

    /// A pod that takes a request of this protocol. Waits for ever; who waits no more drops it.
    pub async fn pod(&self, protocol: Protocol, metrics: &Metrics) -> (Connection, Chosen) {
        if let Some(found) = self.look(protocol).await {
            return found;
        }
        let _scout = match self.scout.try_lock() {
            Ok(scout) => {
                metrics.activated();
                tracing::info!("a request waits: no pod is ready");
                scout
            }
            Err(_) => self.scout.lock().await,
        };
        loop {
            if let Some(found) = self.look(protocol).await {
                return found;
            }
            sleep(PAUSE).await;
        }
    }

    /// Asks each pod once, those with the fewest requests first.
    async fn look(&self, protocol: Protocol) -> Option<(Connection, Chosen)> {
        let addresses = self.pods.addresses().await;
        let mut tried: Vec<IpAddr> = Vec::new();
        while let Some(chosen) = self.pods.choose(&addresses, &tried) {
            let address = SocketAddr::new(chosen.address, self.port(protocol));
            match self.dialer.connect(address, protocol).await {
                Ok(connection) => return Some((connection, chosen)),
                Err(refusal) => {
                    tracing::debug!(%address, %refusal, "a pod took no request");
                    chosen.refused();
                    tried.push(chosen.address);
                }
            }
        }
        if !tried.is_empty() {
            self.pods.forget().await;
        }
        None
    }

    fn port(&self, protocol: Protocol) -> u16 {
        match protocol {
            Protocol::Grpc => self.ports.0,
            Protocol::Http1 | Protocol::Http2 => self.ports.1,
        }
    }
}
