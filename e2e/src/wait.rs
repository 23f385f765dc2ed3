//! Waiting for a condition: polls until it holds, and fails with what was seen last.

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// What a look at the cluster gave.
pub enum Found<T> {
    /// The condition holds.
    Yes(T),
    /// It does not hold yet; the text says what was seen.
    NotYet(String),
}

/// How long a condition may take. Generous: the machine may be busy, and a test must not depend on its speed.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// Looks again and again until the condition holds, and returns what it found.
///
/// # Panics
/// When the condition does not hold within [`PATIENCE`], with `what` and the last thing seen.
pub async fn wait_for<T, F, Look>(what: &str, mut look: F) -> T
where
    F: FnMut() -> Look,
    Look: Future<Output = Found<T>>,
{
    let end = Instant::now() + PATIENCE;
    loop {
        match look().await {
            Found::Yes(value) => return value,
            Found::NotYet(seen) if Instant::now() >= end => panic!("waited for {what}; last seen: {seen}"),
            Found::NotYet(_) => sleep(Duration::from_millis(300)).await,
        }
    }
}
