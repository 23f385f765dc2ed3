//! Requests to a source, tried again as long as there is hope. Knows nothing of what is asked for.

use std::time::{Duration, SystemTime};

use backon::{ExponentialBuilder, Retryable};
use reqwest::{
    Client, Response, StatusCode, Url,
    header::{HeaderMap, RETRY_AFTER},
    redirect::{Attempt, Policy},
};

use super::{FetchError, listing::shown};
use crate::{cause::root, tls::default_ciphers};

/// How long and how often a source is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patience {
    /// The wait after a first failure; each further one is twice as long.
    pub first_wait: Duration,
    /// The longest of these waits. A source that asks for a longer one gets it, up to ten times this.
    pub longest_wait: Duration,
    /// Failures in a row, without a byte between them, after which it ends.
    pub attempts: usize,
    /// How long a source may be silent.
    pub silence: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Patience {
            first_wait: Duration::from_millis(500),
            longest_wait: Duration::from_secs(30),
            attempts: 8,
            silence: Duration::from_secs(30),
        }
    }
}

/// How an attempt failed.
#[derive(Debug)]
pub(super) enum Stop {
    /// For good.
    Final(FetchError),
    /// Perhaps not the next time.
    Again {
        /// What to say if it was the last time.
        error: FetchError,
        /// How long the source asks to be left alone.
        after: Option<Duration>,
        /// Whether some bytes came before it failed.
        progressed: bool,
    },
}

impl From<FetchError> for Stop {
    fn from(error: FetchError) -> Stop {
        Stop::Final(error)
    }
}

impl Stop {
    /// A failure that may pass.
    pub(super) fn again(said: String) -> Stop {
        Stop::Again {
            error: FetchError::SourceUnreachable(said),
            after: None,
            progressed: false,
        }
    }

    /// How long to leave the source alone: as long as it asks, within reason, and no less than we would have.
    fn wait(&self, ours: Duration, longest: Duration) -> Duration {
        let asked = match self {
            Stop::Again { after, .. } => after.unwrap_or_default(),
            Stop::Final(_) => Duration::ZERO,
        };
        ours.max(asked.min(longest.saturating_mul(10)))
    }

    fn into_error(self) -> FetchError {
        match self {
            Stop::Final(error) | Stop::Again { error, .. } => error,
        }
    }
}

/// A client and how patient it is.
#[derive(Clone, Debug)]
pub(super) struct Asker {
    /// The client. Proxies are those of the environment, authorities those of the system.
    pub(super) client: Client,
    patience: Patience,
}

impl Asker {
    /// A client for downloads.
    pub(super) fn new(patience: Patience) -> Result<Asker, FetchError> {
        default_ciphers();
        let client = Client::builder()
            .user_agent(concat!("parlance/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(patience.silence.min(Duration::from_secs(10)))
            .read_timeout(patience.silence)
            .redirect(Policy::custom(redirect))
            .build();
        let client = client.map_err(|e| FetchError::Io(format!("failed to make a client: {}", root(&e))))?;
        Ok(Asker { client, patience })
    }

    /// Asks until it succeeds, fails for good, or fails too often in a row. Any byte that comes starts the count anew.
    pub(super) async fn persist<T, F>(&self, mut attempt: impl FnMut() -> F) -> Result<T, FetchError>
    where
        F: Future<Output = Result<T, Stop>>,
    {
        let Patience {
            first_wait,
            longest_wait,
            attempts,
            ..
        } = self.patience;
        loop {
            let waits = ExponentialBuilder::default()
                .with_min_delay(first_wait)
                .with_max_delay(longest_wait)
                .with_max_times(attempts.saturating_sub(1))
                .with_jitter();
            let outcome = (&mut attempt)
                .retry(waits)
                .when(|stop| {
                    matches!(
                        stop,
                        Stop::Again {
                            progressed: false,
                            ..
                        }
                    )
                })
                .adjust(|stop, wait| wait.map(|wait| stop.wait(wait, longest_wait)))
                .notify(told)
                .await;
            match outcome {
                Ok(value) => return Ok(value),
                Err(stop @ Stop::Again { progressed: true, .. }) => {
                    let wait = stop.wait(first_wait, longest_wait);
                    told(&stop, wait);
                    tokio::time::sleep(wait).await;
                }
                Err(stop) => return Err(stop.into_error()),
            }
        }
    }
}

fn told(stop: &Stop, wait: Duration) {
    if let Stop::Again { error, .. } = stop {
        tracing::warn!(wait = %humantime::format_duration(wait), "{error}; trying again");
    }
}

/// Up to ten, and never from an encrypted address to one that is not.
fn redirect(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let was_encrypted = attempt
        .previous()
        .last()
        .is_some_and(|url| url.scheme() == "https");
    if attempt.previous().len() > 10 {
        attempt.error("it redirects more than ten times")
    } else if was_encrypted && attempt.url().scheme() != "https" {
        attempt.error("it redirects to an address that is not encrypted")
    } else {
        attempt.follow()
    }
}

/// What a request that brought no response means.
pub(super) fn unanswered(url: &Url, error: &reqwest::Error) -> Stop {
    let said = format!("{} cannot be reached: {}", shown(url), root(error));
    if error.is_redirect() || error.is_builder() {
        return Stop::Final(FetchError::SourceUnreachable(said));
    }
    Stop::again(said)
}

/// The response when it brings what was asked for, else what it means. `missing` says what is not there.
pub(super) fn answered(url: &Url, response: Response, missing: &str) -> Result<Response, Stop> {
    let status = response.status();
    let told_apart = [StatusCode::RANGE_NOT_SATISFIABLE, StatusCode::NOT_MODIFIED];
    if status.is_success() || told_apart.contains(&status) {
        return Ok(response);
    }
    let place = shown(url);
    // The hub says more than a status can; others say nothing here.
    let said = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
    let words = said("x-error-message").map_or(String::new(), |words| format!(": {words}"));
    let answers = format!("{place} answers HTTP {}{words}", status.as_u16());
    let stop = match (status, said("x-error-code")) {
        (_, Some("RepoNotFound" | "RevisionNotFound" | "EntryNotFound")) => {
            FetchError::SourceNotFound(format!("{missing} ({answers})"))
        }
        (StatusCode::NOT_FOUND | StatusCode::GONE, _) => {
            FetchError::SourceNotFound(format!("{missing} ({answers})"))
        }
        (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) => FetchError::AccessDenied(answers),
        (StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS, _) => {
            return Err(passing(answers, response.headers()));
        }
        (status, _) if status.is_server_error() => return Err(passing(answers, response.headers())),
        _ => FetchError::SourceUnreachable(answers),
    };
    Err(Stop::Final(stop))
}

fn passing(answers: String, headers: &HeaderMap) -> Stop {
    let after = headers
        .get(RETRY_AFTER)
        .and_then(|value| retry_after(value.to_str().ok()?, SystemTime::now()));
    Stop::Again {
        error: FetchError::SourceUnreachable(answers),
        after,
        progressed: false,
    }
}

/// Seconds, or a date.
fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    let seconds = value.parse().ok().map(Duration::from_secs);
    seconds.or_else(|| httpdate::parse_http_date(value).ok()?.duration_since(now).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_seconds_or_a_date() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        assert_eq!(retry_after(" 7 ", now), Some(Duration::from_secs(7)));
        let later = "Sun, 06 Nov 1994 08:50:37 GMT";
        assert_eq!(retry_after(later, now), Some(Duration::from_secs(60)));
        for none in ["soon", "-3", "Sun, 06 Nov 1994 08:48:37 GMT"] {
            assert_eq!(retry_after(none, now), None, "{none}");
        }
    }

    #[test]
    fn a_source_is_left_alone_as_long_as_it_asks_within_reason() {
        let second = Duration::from_secs;
        let wait = |after| {
            let stop = Stop::Again {
                error: FetchError::Stopped,
                after,
                progressed: false,
            };
            stop.wait(second(2), second(30))
        };
        assert_eq!(wait(None), second(2));
        assert_eq!(wait(Some(second(1))), second(2));
        assert_eq!(wait(Some(second(90))), second(90));
        assert_eq!(wait(Some(second(86_400))), second(300));
    }

    fn asker() -> Asker {
        Asker::new(Patience {
            first_wait: Duration::from_millis(1),
            longest_wait: Duration::from_millis(2),
            attempts: 3,
            silence: Duration::from_secs(1),
        })
        .unwrap()
    }

    #[tokio::test]
    async fn it_ends_after_so_many_failures_in_a_row_and_a_byte_starts_the_count_anew() {
        let mut asked = 0;
        let outcome: Result<(), _> = asker()
            .persist(|| {
                asked += 1;
                let progressed = asked == 2;
                async move {
                    Err(Stop::Again {
                        error: FetchError::SourceUnreachable("no".to_owned()),
                        after: None,
                        progressed,
                    })
                }
            })
            .await;
        assert_eq!(outcome.unwrap_err().to_string(), "no");
        assert_eq!(asked, 5, "one, one with a byte, and three more");
    }

    #[tokio::test]
    async fn what_fails_for_good_is_not_tried_again() {
        let mut asked = 0;
        let outcome: Result<(), _> = asker()
            .persist(|| {
                asked += 1;
                async { Err(Stop::Final(FetchError::Stopped)) }
            })
            .await;
        assert_eq!((outcome.unwrap_err().reason(), asked), ("Stopped", 1));
    }
}
