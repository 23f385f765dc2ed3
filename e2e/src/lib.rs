//! What the end-to-end tests stand on: a namespace a test, waiting on conditions, and a client of the service.
//!
//! In: a cluster (KUBECONFIG) where Helm installed the operator (`make e2e` sees to both). Out: helpers that wait and never
//! sleep for luck, and that say what they waited for and what they saw last when it does not come.

pub mod api;
pub mod audit;
pub mod certificates;
pub mod client;
pub mod helm;
pub mod kinds;
pub mod manifest;
pub mod namespace;
pub mod nodes;
pub mod operator;
pub mod source;
pub mod wait;

pub use namespace::{TestNamespace, in_namespace};
pub use wait::{Found, wait_for};
