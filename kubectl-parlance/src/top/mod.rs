//! `kubectl parlance top`: the pods' metrics, twice, in; a row for each pod out.
//!
//! It says nothing that the pods or metrics-server do not: where something is not known, there is a `-`.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use futures::future::join_all;
use k8s_openapi::api::core::v1::Pod;
use kube::{Client, ResourceExt};

use crate::cluster::Cluster;
use crate::error::Error;
use crate::find::{self, Scope, Wanted};
use crate::forward::{Connection, ForwardError};
use crate::object::Object;
use crate::pods;
use crate::run::print;
use crate::table::table;
use crate::tls::{self, Tls, TlsArgs};

mod rates;
mod scrape;
mod usage;

use rates::{Latency, Rates, rates};
use scrape::{Sample, sample};
use usage::{Usage, usage};

/// Takes the cursor home and clears the screen, as `watch` does.
const CLEAR: &str = "\x1b[H\x1b[2J";
/// A pod that does not answer is shown without numbers after this.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of a mebibyte.
const MEBIBYTE: i128 = 1 << 20;

/// What is to be watched.
#[derive(Clone, Debug)]
pub struct Question {
    /// One object; all of the namespace when there is none.
    pub name: Option<Wanted>,
    /// Those of all namespaces.
    pub all_namespaces: bool,
    /// Time over which rates are taken.
    pub interval: Duration,
    /// Whether to go on.
    pub watch: bool,
    /// Whom to trust where pods speak TLS.
    pub tls: TlsArgs,
}

/// A pod, and what it said last.
struct Watched {
    title: String,
    namespace: String,
    pod: Pod,
    sample: Result<(Instant, Sample), String>,
}

/// Prints what the pods do, once or again and again.
///
/// # Errors
/// When there is no such object, what the apiserver says, and when ports may not be forwarded.
pub async fn top(cluster: &Cluster, question: &Question) -> Result<(), Error> {
    let mut before = look(cluster, question).await?;
    if before.is_empty() {
        let what = match &question.name {
            Some(wanted) => format!("{} has no pods", wanted.name),
            None => "there are no serving pods".to_owned(),
        };
        print(&format!("Nothing to show: {what}.\n"))?;
        if !question.watch {
            return Ok(());
        }
    }
    loop {
        tokio::time::sleep(question.interval).await;
        let after = look(cluster, question).await?;
        let mut used: BTreeMap<(String, String), Usage> = BTreeMap::new();
        let mut namespaces: Vec<&str> = after.iter().map(|one| one.namespace.as_str()).collect();
        namespaces.dedup();
        for namespace in namespaces {
            let found = usage(&cluster.client, namespace).await;
            used.extend(
                found
                    .into_iter()
                    .map(|(pod, usage)| ((namespace.to_owned(), pod), usage)),
            );
        }
        let clear = question.watch && std::io::stdout().is_terminal();
        let text = written(&before, &after, &used, question.all_namespaces);
        print(&format!("{}{text}", if clear { CLEAR } else { "" }))?;
        if !question.watch {
            return Ok(());
        }
        before = after;
    }
}

/// All serving pods, and what each says now.
async fn look(cluster: &Cluster, question: &Question) -> Result<Vec<Watched>, Error> {
    let objects = match &question.name {
        Some(wanted) => vec![find::find(cluster, wanted).await?],
        None if question.all_namespaces => find::list(cluster, Scope::All).await?,
        None => find::list(cluster, Scope::Namespace).await?,
    };
    let mut found = Vec::new();
    for object in objects.iter().filter(|one| one.serving().is_some()) {
        let pods = pods::of(&cluster.client, object).await?;
        let tls = Tls::of(&cluster.client, object, &pods, &question.tls).await?;
        found.extend(pods.into_iter().map(|pod| (object, tls.clone(), pod)));
    }
    let looks = found
        .into_iter()
        .map(|(object, tls, pod)| watched(&cluster.client, object, tls, pod));
    join_all(looks).await.into_iter().collect()
}

async fn watched(client: &Client, object: &Object, tls: Option<Tls>, pod: Pod) -> Result<Watched, Error> {
    let namespace = object.namespace();
    let tls = tls.filter(|_| tls::speaks(&pod));
    let sample = match pods::is_ready(&pod) {
        false => Err(pods::state(&pod)),
        true => match tokio::time::timeout(PATIENCE, ask(client, &namespace, &pod, tls.as_ref())).await {
            Err(_) => Err("no answer".to_owned()),
            Ok(Err(ForwardError::Denied(error))) => return Err(error),
            Ok(Err(error)) => Err(error.to_string()),
            Ok(Ok(text)) => sample(&text).map(|sample| (Instant::now(), sample)),
        },
    };
    Ok(Watched {
        title: object.title(),
        namespace,
        pod,
        sample,
    })
}

async fn ask(client: &Client, namespace: &str, pod: &Pod, tls: Option<&Tls>) -> Result<String, ForwardError> {
    let port = pods::http_port(pod);
    let mut connection = Connection::open(client, namespace, &pod.name_any(), port, tls).await?;
    connection.get("/metrics").await
}

fn written(
    before: &[Watched],
    after: &[Watched],
    used: &BTreeMap<(String, String), Usage>,
    all_namespaces: bool,
) -> String {
    let mut head = vec![
        "OBJECT",
        "POD",
        "STATUS",
        "RUNNING",
        "QUEUED",
        "QUEUED-AUDIO",
        "RTF",
        "AUDIO/S",
        "REQ/S",
        "P95",
        "REFUSED/S",
        "CPU",
        "MEMORY",
        "GPU",
    ];
    if all_namespaces {
        head.insert(0, "NAMESPACE");
    }
    let rows = after.iter().map(|now| {
        let then = before.iter().find(|then| then.pod.uid() == now.pod.uid());
        let usage = used.get(&(now.namespace.clone(), now.pod.name_any()));
        let mut row = vec![now.title.clone(), now.pod.name_any()];
        row.extend(cells(then, now, usage));
        if all_namespaces {
            row.insert(0, now.namespace.clone());
        }
        row
    });
    table(&head, rows)
}

fn cells(then: Option<&Watched>, now: &Watched, usage: Option<&Usage>) -> Vec<String> {
    let mut cells = match (&now.sample, then.map(|then| &then.sample)) {
        (Err(why), _) => [vec![why.clone()], vec![String::new(); 8]].concat(),
        (Ok((at, sample)), then) => {
            let rates = match then {
                Some(Ok((since, before))) => rates(before, sample, at.duration_since(*since)),
                // It was not there or did not answer: only what is now is known.
                _ => rates(sample, sample, Duration::from_secs(1)),
            };
            [vec!["Ready".to_owned()], numbers(&rates)].concat()
        }
    };
    cells.push(usage.map_or_else(String::new, |usage| format!("{}m", usage.milli_cpus)));
    cells.push(usage.map_or_else(String::new, |usage| format!("{}Mi", usage.bytes / MEBIBYTE)));
    cells.push(pods::devices(&now.pod));
    cells
}

fn numbers(rates: &Rates) -> Vec<String> {
    let Rates {
        running,
        queued,
        queued_audio,
        real_time_factor,
        audio,
        requests,
        latency,
        refused,
    } = rates;
    let latency = latency.map(|latency| match latency {
        Latency::About(seconds) => format!("{seconds:.2}s"),
        Latency::Above(seconds) => format!(">{seconds:.0}s"),
    });
    vec![
        format!("{running:.0}"),
        format!("{queued:.0}"),
        format!("{queued_audio:.1}s"),
        real_time_factor
            .map(|factor| format!("{factor:.3}"))
            .unwrap_or_default(),
        format!("{audio:.1}"),
        format!("{requests:.1}"),
        latency.unwrap_or_default(),
        format!("{refused:.1}"),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn watched(name: &str, sample: Result<(Instant, Sample), String>) -> Watched {
        let pod = json!({ "metadata": { "name": name, "uid": name }, "spec": { "containers": [
            { "name": "server", "resources": { "limits": { "nvidia.com/gpu": "1" } } }] } });
        Watched {
            title: "tsvc/calls".into(),
            namespace: "speech".into(),
            pod: serde_json::from_value(pod).unwrap(),
            sample,
        }
    }

    #[test]
    fn a_pod_without_an_answer_has_a_state_and_no_numbers() {
        let began = Instant::now();
        let first = sample(scrape::tests::TEXT).unwrap();
        let mut second = first.clone();
        second.audio += 8.0;
        let later = began + Duration::from_secs(2);
        let before = [watched("a", Ok((began, first)))];
        let after = [
            watched("a", Ok((later, second))),
            watched("b", Err("CrashLoopBackOff".into())),
        ];
        let usage = Usage {
            milli_cpus: 250,
            bytes: 91 << 20,
        };
        let used = BTreeMap::from([(("speech".to_owned(), "a".to_owned()), usage)]);
        let text = written(&before, &after, &used, true);
        let rows: Vec<Vec<&str>> = text
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(rows[0].len(), 15);
        assert_eq!(
            rows[1].join(" "),
            "speech tsvc/calls a Ready 1 3 12.5s - 4.0 0.0 - 0.0 250m 91Mi 1 nvidia.com/gpu"
        );
        assert_eq!(
            rows[2].join(" "),
            "speech tsvc/calls b CrashLoopBackOff - - - - - - - - - - 1 nvidia.com/gpu"
        );
    }
}
