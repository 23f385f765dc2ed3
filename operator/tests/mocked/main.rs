//! Reconciles against an apiserver in memory: what is written, and above all what is not.

#![allow(clippy::unwrap_used)] // a test that cannot go on should end

mod apiserver;
mod canary;
mod endpoint;
mod evaluation;
mod model_deployment;
mod monitoring;
mod placement;
mod scaling;
mod tensors;
mod transcription_service;
mod turns;
mod zero;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use apiserver::World;
use crds::{ModelDeployment, TranscriptionService};
use operator::context::Context;
use serde_json::{Value, json};

/// An operator, and the cluster that it sees.
struct Scenario {
    context: Arc<Context>,
    world: Arc<Mutex<World>>,
}

impl Scenario {
    fn new() -> Scenario {
        let (client, world) = apiserver::start();
        let context = Context::new(client, "server:1".into(), "test".into(), Arc::default(), 1);
        Scenario {
            context: Arc::new(context),
            world,
        }
    }

    /// With a TranscriptionService `calls`.
    fn with_service(spec: Value) -> Scenario {
        let scenario = Scenario::new();
        scenario.world().put(
            "transcriptionservices",
            object("TranscriptionService", "calls", spec),
        );
        scenario
    }

    /// With a ModelDeployment `digits`.
    fn with_model(spec: Value) -> Scenario {
        let scenario = Scenario::new();
        scenario
            .world()
            .put("modeldeployments", object("ModelDeployment", "digits", spec));
        scenario
    }

    fn world(&self) -> std::sync::MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// Reconciles the TranscriptionService once, as it now is.
    async fn reconcile_service(&self) -> Result<(), operator::transcription_service::Error> {
        let object = self.world().get("transcriptionservices", "calls").clone();
        let object: TranscriptionService = serde_json::from_value(object).unwrap();
        let run = operator::transcription_service::reconcile(Arc::new(object), self.context.clone());
        tokio::time::timeout(Duration::from_secs(10), run)
            .await
            .unwrap()
            .map(drop)
    }

    /// Reconciles the ModelDeployment once, as it now is.
    async fn reconcile_model(&self) -> Result<(), operator::model_deployment::Error> {
        let object = self.world().get("modeldeployments", "digits").clone();
        let object: ModelDeployment = serde_json::from_value(object).unwrap();
        let run = operator::model_deployment::reconcile(Arc::new(object), self.context.clone());
        tokio::time::timeout(Duration::from_secs(10), run)
            .await
            .unwrap()
            .map(drop)
    }

    /// The same cluster, met by an operator that has just started, which gives this image to pods
    /// that serve, too.
    fn restarted(self, image: &str) -> Scenario {
        let client = apiserver::client(self.world.clone());
        let mut context = Context::new(client, image.into(), "test".into(), Arc::default(), 1);
        context.update_running_servers = true;
        Scenario {
            context: Arc::new(context),
            world: self.world,
        }
    }

    /// Forgets the writes and Events so far.
    fn forget(&self) {
        let mut world = self.world();
        world.take_writes();
        world.take_events();
    }

    /// Changes a spec as a person would.
    fn change_spec(&self, plural: &str, name: &str, change: impl FnOnce(&mut Value)) {
        self.world().edit(plural, name, |object| {
            change(&mut object["spec"]);
            let generation = object["metadata"]["generation"].as_i64().unwrap();
            object["metadata"]["generation"] = json!(generation + 1);
        });
    }

    fn condition(&self, plural: &str, name: &str, type_: &str) -> (String, String) {
        let world = self.world();
        let conditions = world.get(plural, name)["status"]["conditions"]
            .as_array()
            .unwrap()
            .clone();
        let found = conditions
            .iter()
            .find(|condition| condition["type"] == type_)
            .unwrap();
        let text = |field: &str| found[field].as_str().unwrap().to_string();
        (text("status"), text("reason"))
    }
}

fn object(kind: &str, name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "parlance.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": name, "namespace": "speech", "uid": format!("uid-of-{name}"), "generation": 1},
        "spec": spec,
    })
}
