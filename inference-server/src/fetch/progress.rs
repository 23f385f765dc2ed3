//! Bytes that came in; how far a download is out, for the log and for whoever asks. Downloads nothing.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{Json, Router, routing::get};
use serde_json::json;
use tokio::net::TcpListener;

use super::space::human;

/// How far a download is.
pub(super) struct Progress {
    began: Instant,
    /// Bytes that were there when it began.
    before: u64,
    done: AtomicU64,
    total: AtomicU64,
}

impl Progress {
    /// A download of `total` bytes as far as they are known, of which `before` are there.
    pub(super) fn new(before: u64, total: u64) -> Progress {
        Progress {
            began: Instant::now(),
            before,
            done: AtomicU64::new(before),
            total: AtomicU64::new(total),
        }
    }

    /// More than was known is to come.
    pub(super) fn expect(&self, bytes: u64) {
        self.total.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes came.
    pub(super) fn came(&self, bytes: u64) {
        self.done.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes that were there have to come again.
    pub(super) fn lost(&self, bytes: u64) {
        let less = |done: u64| Some(done.saturating_sub(bytes));
        let _ = self.done.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    /// Bytes that are there, that there will be, and that came a second since it began.
    pub(super) fn now(&self) -> (u64, u64, u64) {
        let (done, total) = (
            self.done.load(Ordering::Relaxed),
            self.total.load(Ordering::Relaxed),
        );
        let seconds = self.began.elapsed().as_secs_f64().max(0.001);
        let rate = done.saturating_sub(self.before) as f64 / seconds;
        (done, total.max(done), rate as u64)
    }

    /// Tells it to whoever asks; never ends. That nobody can ask does no harm to the download.
    pub(super) async fn serve(self: &Arc<Self>, address: Option<SocketAddr>) {
        if let Some(address) = address {
            let progress = self.clone();
            let answer = move || async move {
                let (bytes, total, rate) = progress.now();
                Json(json!({ "bytes": bytes, "totalBytes": total, "bytesPerSecond": rate }))
            };
            let router = Router::new().route("/progress", get(answer));
            let served = match TcpListener::bind(address).await {
                Ok(listener) => axum::serve(listener, router).await,
                Err(error) => Err(error),
            };
            if let Err(error) = served {
                tracing::warn!(%address, "nobody can ask how far the download is: {error}");
            }
        }
        std::future::pending().await
    }

    /// Logs it ever so often; never ends.
    pub(super) async fn log(&self) {
        let mut ticks = tokio::time::interval(Duration::from_secs(10));
        ticks.tick().await; // the first comes at once
        loop {
            ticks.tick().await;
            let (done, total, rate) = self.now();
            tracing::info!("{} of {}, {} a second", human(done), human(total), human(rate));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_there_is_no_rate_and_what_is_lost_comes_again() {
        let progress = Progress::new(100, 150);
        assert_eq!(progress.now(), (100, 150, 0));
        progress.expect(50);
        progress.came(60);
        let (done, total, rate) = progress.now();
        assert_eq!((done, total), (160, 200));
        assert!(rate > 0);
        progress.lost(200);
        assert_eq!(progress.now(), (0, 200, 0));
    }
}
