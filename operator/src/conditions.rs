//! Conditions, and what makes them.
//!
//! In: what is wrong, what is awaited, and how far the pods are. Out: the five conditions that both kinds have, and those of an
//! evaluation and of a canary. Pure: the
//! time comes from outside, and changes only where a condition's status does.

use crds::canary::{CanaryPhase, CanaryStatus};
use crds::condition::{
    CANARY_HEALTHY, DEGRADED, EVALUATION_PASSED, MODEL_CACHED, PROGRESSING, READY, Reason, WORKLOAD_AVAILABLE,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::health::lacks::is_of_missing_kind;
use crate::health::{Finding, Rollout};

/// All that the conditions tell.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// What is wrong, the root cause first.
    pub findings: Vec<Finding>,
    /// What the cluster lacks, and pods serve without.
    pub lacks: Vec<Finding>,
    /// What is on its way; nothing when all is in place.
    pub awaited: Option<Finding>,
    /// Digest of the model on the volume, once verified.
    pub digest: Option<String>,
    /// What came of the evaluation, where one is asked for.
    pub evaluation: Option<Evaluated>,
    /// What has become of the canary, where one is asked for.
    pub canary: Option<CanaryStatus>,
    /// How far the pods are; nothing when there are none to be.
    pub rollout: Option<Rollout>,
    /// What to say when all is well.
    pub good_news: String,
    /// Whether there are no pods since no request came.
    pub asleep: bool,
}

/// What came of an evaluation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Evaluated {
    /// Nothing yet.
    Awaited,
    /// The model is good enough, or not.
    Verdict(bool, Finding),
}

impl State {
    /// The one thing to tell: what is wrong, else what is awaited, else that all is well.
    pub fn headline(&self) -> Finding {
        let news = self.findings.first().or(self.awaited.as_ref()).cloned();
        let well = if self.asleep {
            Reason::ScaledToZero
        } else {
            Reason::AsExpected
        };
        news.unwrap_or_else(|| Finding::new(well, self.good_news.clone()))
    }

    /// The state in one sentence, what the cluster lacks included.
    pub fn message(&self) -> String {
        let mut sentences = vec![self.headline().message];
        sentences.extend(self.lacks.iter().map(|finding| finding.message.clone()));
        truncated(&sentences.join(". Also: "))
    }

    /// Whether the pods and their model are as the spec asks.
    pub fn is_ready(&self) -> bool {
        self.findings.is_empty() && self.awaited.is_none()
    }

    /// Whether some pods serve.
    pub fn serves(&self) -> bool {
        self.rollout.as_ref().is_some_and(|rollout| rollout.ready > 0)
    }

    /// Whether there are to be no pods, and are none.
    pub fn is_idle(&self) -> bool {
        self.rollout
            .as_ref()
            .is_some_and(|rollout| rollout.wanted == 0 && rollout.replicas == 0)
    }

    /// Whether the first thing that is wrong may well be solved from outside: by a model, samples, a claim, a Secret, a volume or a node that comes.
    pub fn waits_for_others(&self) -> bool {
        use Reason::{
            CertManagerUnavailable, CertificateNotReady, ClaimNotFound, DeviceClaimsUnavailable,
            MaxDeployedReached, ModelNotFound, ModelNotReady, NoMatchingGpuNode, SamplesNotFound,
            SecretNotFound, StorageClassNotFound, Unschedulable, VolumePending,
        };
        matches!(
            self.headline().reason,
            ModelNotFound
                | ModelNotReady
                | ClaimNotFound
                | DeviceClaimsUnavailable
                | SecretNotFound
                | CertificateNotReady
                | CertManagerUnavailable
                | SamplesNotFound
                | MaxDeployedReached
                | StorageClassNotFound
                | VolumePending
                | NoMatchingGpuNode
                | Unschedulable
        )
    }

    /// The conditions, with the times of `previous` where their status is the same.
    pub fn conditions(&self, previous: &[Condition], generation: Option<i64>, now: &Time) -> Vec<Condition> {
        let headline = self.headline();
        let ready = verdict(READY, Some(self.is_ready()), &headline);
        let progressing = self.findings.is_empty() && self.awaited.is_some();
        let wrong = match self.findings.iter().chain(&self.lacks).next() {
            Some(first) => Finding::new(first.reason, self.all_findings()),
            None => Finding::new(Reason::AsExpected, "nothing is wrong"),
        };
        let mut all = vec![
            ready,
            verdict(PROGRESSING, Some(progressing), &headline),
            verdict(DEGRADED, Some(wrong.reason != Reason::AsExpected), &wrong),
            self.model_cached(&headline),
            self.workload_available(&headline),
        ];
        all.extend(self.evaluation_passed(&headline));
        all.extend(self.canary.as_ref().map(canary_healthy));
        all.into_iter()
            .map(|condition| dated(condition, previous, generation, now))
            .collect()
    }

    fn all_findings(&self) -> String {
        let messages: Vec<&str> = self
            .findings
            .iter()
            .chain(&self.lacks)
            .map(|finding| finding.message.as_str())
            .collect();
        messages.join(". Also: ")
    }

    fn model_cached(&self, headline: &Finding) -> Condition {
        match &self.digest {
            Some(digest) => {
                let verified = Finding::new(
                    Reason::AsExpected,
                    format!("the model is on its volume: {digest}"),
                );
                verdict(MODEL_CACHED, Some(true), &verified)
            }
            // With no pod to tell, nothing is known of the model.
            None if self.is_ready() => verdict(MODEL_CACHED, None, headline),
            None => verdict(MODEL_CACHED, Some(false), headline),
        }
    }

    fn evaluation_passed(&self, headline: &Finding) -> Option<Condition> {
        Some(match self.evaluation.as_ref()? {
            Evaluated::Awaited => verdict(EVALUATION_PASSED, None, headline),
            Evaluated::Verdict(passed, why) => verdict(EVALUATION_PASSED, Some(*passed), why),
        })
    }

    fn workload_available(&self, headline: &Finding) -> Condition {
        match &self.rollout {
            Some(rollout) if rollout.available => {
                let serving = Finding::new(Reason::AsExpected, rollout.sentence());
                verdict(WORKLOAD_AVAILABLE, Some(true), &serving)
            }
            Some(_) => verdict(WORKLOAD_AVAILABLE, Some(false), headline),
            None => verdict(WORKLOAD_AVAILABLE, None, headline),
        }
    }
}

fn canary_healthy(canary: &CanaryStatus) -> Condition {
    let healthy = match canary.phase {
        CanaryPhase::Progressing => None,
        CanaryPhase::Serving | CanaryPhase::Passed => Some(true),
        CanaryPhase::Failed => Some(false),
    };
    condition(CANARY_HEALTHY, healthy, &canary.reason, &canary.message)
}

fn verdict(type_: &str, status: Option<bool>, why: &Finding) -> Condition {
    condition(type_, status, why.reason.as_str(), &why.message)
}

fn condition(type_: &str, status: Option<bool>, reason: &str, message: &str) -> Condition {
    let status = match status {
        Some(true) => "True",
        Some(false) => "False",
        None => "Unknown",
    };
    Condition {
        type_: type_.into(),
        status: status.into(),
        reason: reason.into(),
        message: truncated(message),
        observed_generation: None,
        last_transition_time: Time(Default::default()),
    }
}

fn dated(mut condition: Condition, previous: &[Condition], generation: Option<i64>, now: &Time) -> Condition {
    let before = find(previous, &condition.type_).filter(|before| before.status == condition.status);
    condition.last_transition_time =
        before.map_or_else(|| now.clone(), |before| before.last_transition_time.clone());
    condition.observed_generation = generation;
    condition
}

/// The condition of a type.
pub fn find<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}

/// Whether the condition of a type holds.
pub fn holds(conditions: &[Condition], type_: &str) -> bool {
    find(conditions, type_).is_some_and(|condition| condition.status == "True")
}

/// Whether the condition of a type has come to hold.
pub fn became(before: &[Condition], after: &[Condition], type_: &str) -> bool {
    holds(after, type_) && !holds(before, type_)
}

/// How long an object was not Ready that has become so: since its last time, or since it was made.
pub fn time_to_ready(
    before: &[Condition],
    after: &[Condition],
    created: Option<&Time>,
) -> Option<std::time::Duration> {
    let now = find(after, READY).filter(|_| became(before, after, READY))?;
    let since = find(before, READY)
        .map(|ready| &ready.last_transition_time)
        .or(created)?;
    let waited = now.last_transition_time.0.duration_since(since.0);
    std::time::Duration::try_from(waited).ok()
}

/// Whether nothing is awaited and nothing is wrong.
pub fn at_rest(conditions: &[Condition]) -> bool {
    holds(conditions, READY) && !holds(conditions, DEGRADED)
}

/// Whether the children of this generation were all in place when the status was written.
pub fn settled(conditions: &[Condition], generation: Option<i64>) -> bool {
    let of_generation = |condition: &&Condition| condition.observed_generation == generation;
    let workload = find(conditions, WORKLOAD_AVAILABLE).filter(of_generation);
    let model = find(conditions, MODEL_CACHED).filter(of_generation);
    let evaluated = find(conditions, EVALUATION_PASSED).is_none_or(|condition| condition.status == "True");
    let waited = find(conditions, READY)
        .is_some_and(|condition| condition.reason == Reason::MaxDeployedReached.as_str());
    let lacked = find(conditions, DEGRADED).is_some_and(|condition| is_of_missing_kind(&condition.reason));
    let in_place = workload.is_some_and(|condition| condition.status != "Unknown")
        || model.is_some_and(|condition| condition.status == "True");
    in_place && evaluated && !waited && !lacked
}

/// The apiserver refuses longer messages.
pub fn truncated(message: &str) -> String {
    message.chars().take(1024).collect()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::Timestamp;

    use super::*;

    fn at(second: i64) -> Time {
        Time(Timestamp::from_second(second).unwrap())
    }

    fn told(conditions: &[Condition]) -> Vec<String> {
        let tell = |one: &Condition| format!("{}={} {}", one.type_, one.status, one.reason);
        conditions.iter().map(tell).collect()
    }

    fn serving(ready: i32) -> Option<Rollout> {
        Some(Rollout {
            replicas: 2,
            ready,
            wanted: 2,
            complete: ready == 2,
            available: ready > 0,
            replaced: None,
        })
    }

    #[test]
    fn all_is_well() {
        let state = State {
            digest: Some("sha256:1".into()),
            rollout: serving(2),
            good_news: "2 of 2 pods serve".into(),
            ..State::default()
        };
        assert_eq!(
            told(&state.conditions(&[], Some(3), &at(7))),
            [
                "Ready=True AsExpected",
                "Progressing=False AsExpected",
                "Degraded=False AsExpected",
                "ModelCached=True AsExpected",
                "WorkloadAvailable=True AsExpected",
            ]
        );
    }

    #[test]
    fn something_is_awaited() {
        let state = State {
            awaited: Some(Finding::new(
                Reason::FetchingModel,
                "the model is being put on its volume",
            )),
            rollout: serving(0),
            ..State::default()
        };
        assert_eq!(
            told(&state.conditions(&[], Some(3), &at(7))),
            [
                "Ready=False FetchingModel",
                "Progressing=True FetchingModel",
                "Degraded=False AsExpected",
                "ModelCached=False FetchingModel",
                "WorkloadAvailable=False FetchingModel",
            ]
        );
    }

    #[test]
    fn something_is_wrong_while_some_pods_serve() {
        let state = State {
            findings: vec![
                Finding::new(Reason::CrashLoop, "it crashes"),
                Finding::new(Reason::OutOfMemory, "too small"),
            ],
            awaited: Some(Finding::new(Reason::RollingOut, "pods are being replaced")),
            digest: Some("sha256:1".into()),
            rollout: serving(1),
            ..State::default()
        };
        let conditions = state.conditions(&[], Some(3), &at(7));
        assert_eq!(
            told(&conditions),
            [
                "Ready=False CrashLoop",
                "Progressing=False CrashLoop",
                "Degraded=True CrashLoop",
                "ModelCached=True AsExpected",
                "WorkloadAvailable=True AsExpected",
            ]
        );
        assert_eq!(
            find(&conditions, DEGRADED).unwrap().message,
            "it crashes. Also: too small"
        );
    }

    #[test]
    fn what_the_cluster_lacks_is_told_and_pods_serve_without() {
        let state = State {
            lacks: vec![Finding::new(Reason::MonitoringUnavailable, "no PodMonitor")],
            digest: Some("sha256:1".into()),
            rollout: serving(2),
            good_news: "2 of 2 pods serve".into(),
            ..State::default()
        };
        let conditions = state.conditions(&[], Some(3), &at(7));
        assert_eq!(
            told(&conditions),
            [
                "Ready=True AsExpected",
                "Progressing=False AsExpected",
                "Degraded=True MonitoringUnavailable",
                "ModelCached=True AsExpected",
                "WorkloadAvailable=True AsExpected",
            ]
        );
        assert_eq!(state.message(), "2 of 2 pods serve. Also: no PodMonitor");
        assert!(
            !settled(&conditions, Some(3)),
            "what comes when the cluster no longer lacks it was not deleted before"
        );
    }

    #[test]
    fn a_time_changes_only_with_its_status() {
        let waiting = State {
            awaited: Some(Finding::new(Reason::RollingOut, "pods are being started")),
            ..State::default()
        };
        let first = waiting.conditions(&[], Some(1), &at(1));
        let second = State::default().conditions(&first, Some(2), &at(2));
        let times = |type_: &str| {
            find(&second, type_).map(|one| (one.last_transition_time.clone(), one.observed_generation))
        };
        assert_eq!(times(READY), Some((at(2), Some(2))), "it changed");
        assert_eq!(times(DEGRADED), Some((at(1), Some(2))), "it did not");
    }

    #[test]
    fn a_long_message_is_cut() {
        assert_eq!(truncated(&"é".repeat(2000)).chars().count(), 1024);
    }
}
