//! How the operator does with a thousand services: `make bench-operator`.
//!
//! In: a cluster with the operator (KUBECONFIG), KWOK beside it and the apiserver's audit log; how many services, nodes and
//! namespaces. Out: a table in Markdown on standard output, progress on standard error. It measures and judges nothing, and
//! takes away what it made.

#![allow(clippy::unwrap_used, clippy::print_stdout)] // a benchmark may panic as tests do, and its output is the table

mod overhead;
mod scene;
mod usage;
mod watched;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use e2e::audit::Request;
use e2e::{Found, audit, operator, wait_for};
use kube::api::{Api, DeleteParams};
use kube::{Client, ResourceExt};
use tokio::time::sleep;

use scene::Scene;
use usage::Usage;
use watched::Watched;

/// How long nothing may happen before everything is taken to be at rest, and how long rest is watched.
const REST: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() {
    let number = |name: &str, usual: usize| {
        let flag = format!("--{name}");
        let arguments: Vec<String> = std::env::args().collect();
        let value = arguments.windows(2).find(|pair| pair[0] == flag);
        value.map_or(usual, |pair| {
            pair[1]
                .parse()
                .unwrap_or_else(|_| panic!("{flag} takes a number"))
        })
    };
    let (services, nodes, namespaces) = (
        number("services", 1000),
        number("nodes", 200),
        number("namespaces", 20),
    );
    let pairs = number("pairs", 50);
    let client = Client::try_default()
        .await
        .expect("no cluster: run this with `make bench-operator`");
    let user = format!("system:serviceaccount:{}:parlance", operator::NAMESPACE);
    let mut rows = Rows::default();

    eprintln!("{nodes} nodes and {namespaces} namespaces");
    let scene = Scene::create(&client, nodes, namespaces).await;
    let outcome = overhead::measure(&client, &scene, pairs).await;
    rows.add(
        "a service, from its creation to a pod that serves, median",
        outcome.services(),
    );
    rows.add(
        "the same Deployment, Service and ServiceAccount created directly, median",
        outcome.direct(),
    );
    rows.add("what the operator adds, median of the pairs", outcome.added());

    eprintln!("{services} times the same objects, created directly");
    let alone = overhead::many_directly(&client, &scene, services).await;
    rows.add(
        "until as many Deployments, Services and ServiceAccounts created directly serve",
        seconds(alone),
    );

    eprintln!("{services} services");
    let watched = Watched::start(&client);
    let usage = Usage::start(&client);
    let before = Counted::now(&client, &user, &scene).await;
    let (began, cpu) = (Instant::now(), usage.cpu_seconds().await);
    scene.create_services(&client, services).await;
    let created = began.elapsed();
    watched.until_ready(services).await;
    let took = began.elapsed();
    let after = settle(&client, &user, &scene).await;
    rows.add("until all services exist", seconds(created));
    rows.add("until all are Ready", seconds(took));
    rows.add(
        "Ready services a second",
        format!("{:.1}", services as f64 / took.as_secs_f64()),
    );
    let (median, slowest) = watched.times_to_ready();
    rows.add(
        "from creation to Ready, median and slowest",
        format!("{} and {}", seconds(median), seconds(slowest)),
    );
    let writes = after.writes - before.writes;
    rows.add(
        "API writes a service in its whole start",
        format!("{:.2}", writes as f64 / services as f64),
    );
    for (what, count) in by_resource(&audit::writes_by(&user, &scene.prefix)[before.writes..]) {
        rows.add(
            &format!("of these {what}"),
            format!("{:.2}", count as f64 / services as f64),
        );
    }
    rows.add(
        "reconciles a service in its whole start",
        format!("{:.2}", (after.reconciles - before.reconciles) / services as f64),
    );
    rows.add(
        "reconciles a second until all are Ready",
        format!(
            "{:.1}",
            (after.reconciles - before.reconciles) / took.as_secs_f64()
        ),
    );
    rows.add(
        "operator's CPU until all are at rest",
        format!("{:.1} s", usage.cpu_seconds().await - cpu),
    );
    rows.add("operator's memory, at most", usage.peak());

    eprintln!("at rest");
    let cpu = usage.cpu_seconds().await;
    sleep(REST).await;
    let rest = Counted::now(&client, &user, &scene).await;
    rows.add(
        "API writes at rest, a minute",
        (rest.writes - after.writes).to_string(),
    );
    rows.add(
        "operator's CPU at rest",
        format!(
            "{:.1} % of a core",
            100.0 * (usage.cpu_seconds().await - cpu) / REST.as_secs_f64()
        ),
    );

    eprintln!("the operator is killed");
    usage.stop();
    let began = Instant::now();
    kill(&client).await;
    let everything = services as f64;
    wait_for("the new operator to have looked at everything", || async {
        match operator::try_reconciles(&client).await {
            Ok(count) if count >= everything => Found::Yes(()),
            other => Found::NotYet(format!("{other:?}")),
        }
    })
    .await;
    rows.add(
        "from the operator's death to the new one having looked at all",
        seconds(began.elapsed()),
    );
    let again = settle(&client, &user, &scene).await;
    rows.add(
        "API writes that it makes",
        (again.writes - rest.writes).to_string(),
    );

    eprintln!("takes everything away");
    scene.delete(&client).await;
    println!("{rows}");
}

/// What has happened so far.
#[derive(Clone, Copy)]
struct Counted {
    writes: usize,
    reconciles: f64,
}

impl Counted {
    async fn now(client: &Client, user: &str, scene: &Scene) -> Counted {
        Counted {
            writes: audit::writes_by(user, &scene.prefix).len(),
            reconciles: operator::try_reconciles(client).await.unwrap_or_default(),
        }
    }
}

/// How many writes went to each resource.
fn by_resource(writes: &[Request]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for write in writes {
        *counts
            .entry(format!("{} {}", write.verb, write.resource))
            .or_default() += 1;
    }
    counts
}

/// Waits until the operator has written nothing for a while.
async fn settle(client: &Client, user: &str, scene: &Scene) -> Counted {
    let mut last = Counted::now(client, user, scene).await;
    loop {
        sleep(Duration::from_secs(20)).await;
        let now = Counted::now(client, user, scene).await;
        if now.writes == last.writes {
            return now;
        }
        last = now;
    }
}

async fn kill(client: &Client) {
    let pods: Api<k8s_openapi::api::core::v1::Pod> = Api::namespaced(client.clone(), operator::NAMESPACE);
    let old = operator::pods(client).await;
    for pod in &old {
        let at_once = DeleteParams::default().grace_period(0);
        pods.delete(&pod.name_any(), &at_once).await.unwrap();
    }
    wait_for("a new operator pod", || async {
        let now = operator::pods(client).await;
        match now.iter().any(|pod| old.iter().all(|old| old.uid() != pod.uid())) {
            true => Found::Yes(()),
            false => Found::NotYet("the old one".into()),
        }
    })
    .await;
}

fn seconds(duration: Duration) -> String {
    format!("{:.2} s", duration.as_secs_f64())
}

/// A table of what was measured.
#[derive(Default)]
struct Rows(Vec<(String, String)>);

impl Rows {
    fn add(&mut self, what: &str, value: impl Into<String>) {
        let value = value.into();
        eprintln!("  {what}: {value}");
        self.0.push((what.into(), value));
    }
}

impl std::fmt::Display for Rows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "| what | figure |\n|---|---|")?;
        for (what, value) in &self.0 {
            writeln!(f, "| {what} | {value} |")?;
        }
        Ok(())
    }
}
