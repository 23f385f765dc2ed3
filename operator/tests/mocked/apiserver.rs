//! A small apiserver in memory: objects by path, server-side apply with field ownership, and a record of every write.
//!
//! In: requests of a kube client. Out: responses as an apiserver gives them, as far as the operator can tell. Lists count as
//! one value; no schema is checked.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http::{Method, Request, Response};
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

/// A write that reached the apiserver.
#[derive(Clone, Debug)]
pub struct Write {
    pub method: Method,
    pub path: String,
    pub manager: String,
    pub body: Value,
}

impl Write {
    /// The write in short, such as `PATCH deployments/calls`.
    pub fn short(&self) -> String {
        let tail: Vec<&str> = self
            .path
            .split('/')
            .skip_while(|part| *part != "namespaces")
            .skip(2)
            .collect();
        format!("{} {}", self.method, tail.join("/"))
    }
}

/// Objects by path, and the writes.
#[derive(Default)]
pub struct World {
    pub objects: BTreeMap<String, Value>,
    pub writes: Vec<Write>,
    pub events: Vec<Value>,
    pub refuse: Option<(String, u16, String)>,
    /// Kinds of other projects by group and version, such as `monitoring.coreos.com/v1`.
    pub offered: BTreeMap<String, Vec<String>>,
    version: u64,
}

/// A client of a new apiserver, and what is in that.
pub fn start() -> (Client, Arc<Mutex<World>>) {
    let world = Arc::new(Mutex::new(World::default()));
    (client(world.clone()), world)
}

/// A client of an apiserver in which this is.
pub fn client(shared: Arc<Mutex<World>>) -> Client {
    let service = tower::service_fn(move |request: Request<Body>| {
        let world = shared.clone();
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
            let query = parts.uri.query().unwrap_or_default();
            let (code, answer) = world
                .lock()
                .unwrap()
                .answer(parts.method, parts.uri.path(), query, body);
            let answer = Body::from(serde_json::to_vec(&answer).unwrap());
            Ok::<_, Infallible>(Response::builder().status(code).body(answer).unwrap())
        }
    });
    Client::new(service, "default")
}

impl World {
    /// Puts an object there, as if it had always been there.
    pub fn put(&mut self, plural: &str, object: Value) {
        let path = format!(
            "{}/{}",
            collection(plural),
            object["metadata"]["name"].as_str().unwrap()
        );
        self.store(path, object);
    }

    /// The object of a name.
    pub fn get(&self, plural: &str, name: &str) -> &Value {
        let path = format!("{}/{name}", collection(plural));
        self.objects
            .get(&path)
            .unwrap_or_else(|| panic!("{path} does not exist"))
    }

    /// Changes an object behind the operator's back.
    pub fn edit(&mut self, plural: &str, name: &str, change: impl FnOnce(&mut Value)) {
        let mut object = self.get(plural, name).clone();
        change(&mut object);
        self.put(plural, object);
    }

    /// Deletes an object behind the operator's back.
    pub fn delete(&mut self, plural: &str, name: &str) {
        self.objects
            .remove(&format!("{}/{name}", collection(plural)))
            .unwrap();
    }

    /// The writes since the last time this was asked, in short.
    pub fn take_writes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.writes)
            .iter()
            .map(Write::short)
            .collect()
    }

    /// Reason and note of the Events since the last time this was asked.
    pub fn take_events(&mut self) -> Vec<String> {
        let tell = |event: Value| {
            format!(
                "{}: {}",
                event["reason"].as_str().unwrap(),
                event["note"].as_str().unwrap()
            )
        };
        std::mem::take(&mut self.events).into_iter().map(tell).collect()
    }

    fn answer(&mut self, method: Method, path: &str, query: &str, body: Value) -> (u16, Value) {
        let parameter = |name: &str| {
            let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            let found = pairs
                .into_iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| decode(value));
            found.unwrap_or_default()
        };
        if path.ends_with("/events") && method == Method::POST {
            self.events.push(body.clone());
            return (201, body);
        }
        if method != Method::GET {
            let manager = parameter("fieldManager");
            self.writes.push(Write {
                method: method.clone(),
                path: path.into(),
                manager,
                body: body.clone(),
            });
            if let Some((part, code, message)) = &self.refuse
                && path.contains(part.as_str())
            {
                return status(*code, message);
            }
        }
        // What it does not read it cannot tell: no log line, Event or status holds a Secret's content.
        assert!(!path.contains("/secrets"), "the operator asks for {path}");
        match method {
            Method::GET if path.split('/').count() == 4 && path.starts_with("/apis/") => {
                self.discover(&path[6..])
            }
            Method::GET if self.objects.contains_key(path) => (200, self.objects[path].clone()),
            Method::GET if path == "/api/v1/pods" => (200, self.pods_on(&parameter("fieldSelector"))),
            Method::GET if is_collection(path) => (
                200,
                self.list(path, &parameter("labelSelector"), &parameter("fieldSelector")),
            ),
            Method::GET => status(404, "not found"),
            Method::PATCH => (200, self.apply(path, &parameter("fieldManager"), body)),
            Method::DELETE => match self.objects.remove(path) {
                Some(_) => (
                    200,
                    json!({"kind": "Status", "apiVersion": "v1", "status": "Success"}),
                ),
                None => status(404, "not found"),
            },
            other => panic!("{other} {path} is not expected"),
        }
    }

    /// The kinds of a group, as discovery tells them.
    fn discover(&self, group_version: &str) -> (u16, Value) {
        let Some(kinds) = self.offered.get(group_version) else {
            return status(404, "the server could not find the requested resource");
        };
        let resource = |kind: &String| json!({"name": format!("{}s", kind.to_lowercase()), "singularName": "", "namespaced": true, "kind": kind, "verbs": []});
        let resources: Vec<Value> = kinds.iter().map(resource).collect();
        (
            200,
            json!({"kind": "APIResourceList", "groupVersion": group_version, "resources": resources}),
        )
    }

    /// The pods of all namespaces that are on a node.
    fn pods_on(&self, selector: &str) -> Value {
        let node = selector
            .split(',')
            .find_map(|one| one.strip_prefix("spec.nodeName="));
        let pods = self.objects.iter().filter(|(path, pod)| {
            path.contains("/pods/")
                && pod["spec"]["nodeName"].as_str() == Some(node.expect("only pods of a node are listed"))
        });
        let items: Vec<&Value> = pods.map(|(_, pod)| pod).collect();
        json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": items})
    }

    fn list(&self, path: &str, selector: &str, fields: &str) -> Value {
        let name = fields.strip_prefix("metadata.name=");
        let wanted: Vec<(&str, &str)> = selector
            .split(',')
            .filter_map(|pair| pair.split_once('='))
            .collect();
        let under = self.objects.iter().filter(|(key, _)| {
            key.strip_prefix(path)
                .is_some_and(|rest| rest.starts_with('/') && !rest[1..].contains('/'))
        });
        let items: Vec<&Value> = under
            .map(|(_, object)| object)
            .filter(|object| name.is_none_or(|name| object["metadata"]["name"] == name))
            .filter(|object| {
                wanted
                    .iter()
                    .all(|(key, value)| object["metadata"]["labels"][*key] == *value)
            })
            .collect();
        json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": items})
    }

    /// Server-side apply: takes over what is applied, and drops what this manager applied before and no one else did.
    fn apply(&mut self, path: &str, manager: &str, body: Value) -> Value {
        if let Some(path) = path.strip_suffix("/status") {
            let mut object = self.objects[path].clone();
            object["status"] = body["status"].clone();
            return self.store(path.into(), object);
        }
        let namespace = path
            .split('/')
            .skip_while(|part| *part != "namespaces")
            .nth(1)
            .unwrap();
        let mut object = self.objects.get(path).cloned().unwrap_or_else(|| {
            json!({"metadata": {"namespace": namespace, "uid": format!("uid-of-{path}"), "generation": 1}})
        });
        let before = object.clone();
        let mut owned: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for entry in object["metadata"]["managedFields"]
            .as_array()
            .into_iter()
            .flatten()
        {
            let mut paths = BTreeSet::new();
            field_paths("", &entry["fieldsV1"], &mut paths);
            owned.insert(entry["manager"].as_str().unwrap().into(), paths);
        }
        let mut fields = json!({});
        ownership(&body, &mut fields);
        let mut now = BTreeSet::new();
        field_paths("", &fields, &mut now);
        let others: BTreeSet<String> = owned
            .iter()
            .filter(|(name, _)| *name != manager)
            .flat_map(|(_, paths)| paths.clone())
            .collect();
        for dropped in owned.get(manager).into_iter().flatten() {
            if !now.contains(dropped) && !others.contains(dropped) {
                remove(&mut object, dropped);
            }
        }
        merge(&mut object, &body);
        let mut entries = object["metadata"]["managedFields"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        entries.retain(|entry| entry["manager"] != manager);
        entries.push(
            json!({"manager": manager, "operation": "Apply", "fieldsType": "FieldsV1", "fieldsV1": fields}),
        );
        object["metadata"]["managedFields"] = json!(entries);
        if object["kind"] == "Deployment" && object["spec"]["replicas"].is_null() {
            object["spec"]["replicas"] = json!(1);
        }
        if object["kind"] == "PersistentVolumeClaim" {
            object["status"]["phase"] = json!("Bound");
        }
        if before == object {
            object
        } else {
            self.store(path.into(), object)
        }
    }

    fn store(&mut self, path: String, mut object: Value) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.objects.insert(path, object.clone());
        object
    }
}

fn collection(plural: &str) -> String {
    let group = match plural {
        "deployments" => "apis/apps/v1",
        "horizontalpodautoscalers" => "apis/autoscaling/v2",
        "poddisruptionbudgets" => "apis/policy/v1",
        "jobs" => "apis/batch/v1",
        "podmonitors" | "prometheusrules" => "apis/monitoring.coreos.com/v1",
        "scaledobjects" => "apis/keda.sh/v1alpha1",
        "verticalpodautoscalers" => "apis/autoscaling.k8s.io/v1",
        "resourceclaimtemplates" => "apis/resource.k8s.io/v1",
        "networkpolicies" | "ingresses" => "apis/networking.k8s.io/v1",
        "certificates" => "apis/cert-manager.io/v1",
        "httproutes" | "grpcroutes" => "apis/gateway.networking.k8s.io/v1",
        "transcriptionservices" | "modeldeployments" => "apis/parlance.dev/v1alpha1",
        "storageclasses" => return "/apis/storage.k8s.io/v1/storageclasses".into(),
        "nodes" => return "/api/v1/nodes".into(),
        _ => "api/v1",
    };
    format!("/{group}/namespaces/speech/{plural}")
}

fn is_collection(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    match parts.iter().position(|part| *part == "namespaces") {
        Some(at) => parts.len() == at + 3,
        None => true,
    }
}

fn status(code: u16, message: &str) -> (u16, Value) {
    let reason = if code == 404 { "NotFound" } else { "Forbidden" };
    let causes = match message.contains("because it is being terminated") {
        true => {
            json!([{"reason": "NamespaceTerminating", "message": "namespace speech is being terminated"}])
        }
        false => json!([]),
    };
    let body = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                      "message": message, "reason": reason, "details": {"causes": causes}, "code": code});
    (code, body)
}

fn decode(text: &str) -> String {
    text.replace("%3D", "=").replace("%2C", ",").replace("%2F", "/")
}

fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from.clone(),
    }
}

fn ownership(value: &Value, fields: &mut Value) {
    for (key, value) in value.as_object().into_iter().flatten() {
        let mut inner = json!({});
        ownership(value, &mut inner);
        fields[format!("f:{key}")] = inner;
    }
}

fn field_paths(prefix: &str, fields: &Value, paths: &mut BTreeSet<String>) {
    for (key, inner) in fields.as_object().into_iter().flatten() {
        let path = format!("{prefix}/{}", key.trim_start_matches("f:").replace('/', "~1"));
        match inner.as_object().is_none_or(serde_json::Map::is_empty) {
            true => drop(paths.insert(path)),
            false => field_paths(&path, inner, paths),
        }
    }
}

fn remove(object: &mut Value, pointer: &str) {
    let (parent, leaf) = pointer.rsplit_once('/').unwrap();
    if let Some(fields) = object.pointer_mut(parent).and_then(Value::as_object_mut) {
        fields.remove(&leaf.replace("~1", "/"));
    }
}
