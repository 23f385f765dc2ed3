//! Asks pods over HTTP.
//!
//! In: where a pod is, a path, and how long its answer may take. Out: the answer, read from JSON; nothing where none came in time or
//! it cannot be read. It does not ask again, and says nothing of what went wrong: a pod may go at any moment.

use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use k8s_openapi::api::core::v1::Pod;
use serde::de::DeserializeOwned;

/// The most bytes that an answer may have.
const LARGEST: usize = 4096;

/// What asks. Clones share their connections.
#[derive(Clone, Debug)]
pub struct Client(hyper_util::client::legacy::Client<HttpConnector, Empty<&'static [u8]>>);

impl Default for Client {
    fn default() -> Self {
        let client = hyper_util::client::legacy::Client::builder(TokioExecutor::new());
        Client(client.build_http())
    }
}

impl Client {
    /// What a pod answers under a path.
    pub async fn ask<T: DeserializeOwned>(&self, address: &str, path: &str, longest: Duration) -> Option<T> {
        let uri = format!("http://{address}{path}").parse().ok()?;
        let answer = async {
            let response = self.0.get(uri).await.ok()?;
            let whole = Limited::new(response.into_body(), LARGEST).collect().await.ok()?;
            serde_json::from_slice(&whole.to_bytes()).ok()
        };
        tokio::time::timeout(longest, answer).await.ok().flatten()
    }
}

/// Where a pod can be asked, once it has an address.
pub fn address(pod: &Pod, port: u16) -> Option<String> {
    let ip = pod.status.as_ref()?.pod_ip.as_deref()?;
    Some(match ip.contains(':') {
        true => format!("[{ip}]:{port}"),
        false => format!("{ip}:{port}"),
    })
}
