//! From a name as a person writes it to the object.
//!
//! In: `calls`, `tsvc/calls` or `mdl/digits`. Out: the [`Object`], or an error that names what there is.

use std::fmt::Debug;
use std::str::FromStr;

use crds::{ModelDeployment, TranscriptionService};
use k8s_openapi::NamespaceResourceScope;
use kube::api::ListParams;
use kube::{Api, Resource};
use operator::names::Kind;
use serde::de::DeserializeOwned;

use crate::cluster::Cluster;
use crate::error::{Error, Rule};
use crate::object::Object;

/// A name, and the kind if one was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The kind; either when there is none.
    pub kind: Option<Kind>,
    /// The name.
    pub name: String,
}

impl FromStr for Wanted {
    type Err = String;

    fn from_str(text: &str) -> Result<Wanted, String> {
        let (kind, name) = match text.split_once('/') {
            None => (None, text),
            Some((kind, name)) => (Some(kind), name),
        };
        let kind = match kind.map(str::to_ascii_lowercase).as_deref() {
            None => None,
            Some("tsvc" | "transcriptionservice" | "transcriptionservices") => {
                Some(Kind::TranscriptionService)
            }
            Some("mdl" | "modeldeployment" | "modeldeployments") => Some(Kind::ModelDeployment),
            Some(other) => {
                return Err(format!(
                    "\"{other}\" is no kind of Parlance: say tsvc/NAME or mdl/NAME"
                ));
            }
        };
        if name.is_empty() || name.contains('/') {
            return Err("it must be NAME, tsvc/NAME or mdl/NAME".to_owned());
        }
        Ok(Wanted {
            kind,
            name: name.to_owned(),
        })
    }
}

/// The object of the name.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Ambiguous`], or what the apiserver says.
pub async fn find(cluster: &Cluster, wanted: &Wanted) -> Result<Object, Error> {
    let Wanted { kind, name } = wanted;
    let wants = |one: Kind| kind.is_none_or(|kind| kind == one);
    let service = match wants(Kind::TranscriptionService) {
        true => get::<TranscriptionService>(cluster, name).await?,
        false => None,
    };
    let model = match wants(Kind::ModelDeployment) {
        true => get::<ModelDeployment>(cluster, name).await?,
        false => None,
    };
    match (service, model) {
        (Some(_), Some(_)) => Err(Error::Ambiguous {
            name: name.clone(),
            namespace: cluster.namespace.clone(),
        }),
        (Some(service), None) => Ok(Object::Service(Box::new(service))),
        (None, Some(model)) => Ok(Object::Model(Box::new(model))),
        (None, None) => Err(not_found(cluster, wanted).await?),
    }
}

async fn not_found(cluster: &Cluster, wanted: &Wanted) -> Result<Error, Error> {
    let objects = list(cluster, Scope::Namespace).await?;
    let there = objects
        .iter()
        .filter(|one| wanted.kind.is_none_or(|kind| kind == one.kind()));
    Ok(Error::NotFound {
        what: wanted
            .kind
            .map_or("TranscriptionService or ModelDeployment", Kind::as_str),
        name: wanted.name.clone(),
        namespace: cluster.namespace.clone(),
        there: match wanted.kind {
            Some(_) => there.map(Object::name).collect(),
            None => there.map(Object::title).collect(),
        },
    })
}

/// Where to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// In the namespace.
    Namespace,
    /// In all of them.
    All,
}

/// The objects of both kinds: services first, each kind by namespace and name.
///
/// # Errors
/// What the apiserver says.
pub async fn list(cluster: &Cluster, scope: Scope) -> Result<Vec<Object>, Error> {
    let services = list_kind::<TranscriptionService>(cluster, scope).await?;
    let models = list_kind::<ModelDeployment>(cluster, scope).await?;
    let services = services.into_iter().map(|one| Object::Service(Box::new(one)));
    let models = models.into_iter().map(|one| Object::Model(Box::new(one)));
    let mut objects: Vec<Object> = services.chain(models).collect();
    objects.sort_by_key(|one| (one.kind(), one.namespace(), one.name()));
    Ok(objects)
}

async fn get<K>(cluster: &Cluster, name: &str) -> Result<Option<K>, Error>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let api = Api::<K>::namespaced(cluster.client.clone(), &cluster.namespace);
    let doing = || format!("read {} {name} in namespace {}", K::kind(&()), cluster.namespace);
    api.get_opt(name).await.map_err(|e| of::<K>(doing(), &e))
}

async fn list_kind<K>(cluster: &Cluster, scope: Scope) -> Result<Vec<K>, Error>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let client = cluster.client.clone();
    let (api, place) = match scope {
        Scope::Namespace => {
            let namespace = &cluster.namespace;
            (
                Api::<K>::namespaced(client, namespace),
                format!("namespace {namespace}"),
            )
        }
        Scope::All => (Api::<K>::all(client), "all namespaces".to_owned()),
    };
    let doing = || format!("list {} in {place}", K::plural(&()));
    match api.list(&ListParams::default()).await {
        Ok(list) => Ok(list.items),
        // A list of nothing is empty; only of what is no resource there is no list.
        Err(kube::Error::Api(status)) if status.code == 404 => Err(Error::NoKind(kind_of::<K>())),
        Err(error) => Err(of::<K>(doing(), &error)),
    }
}

fn of<K: Resource<DynamicType = ()>>(doing: String, error: &kube::Error) -> Error {
    Error::of_kube(doing, rule::<K>(), error)
}

fn kind_of<K: Resource<DynamicType = ()>>() -> &'static str {
    match K::kind(&()).as_ref() {
        "ModelDeployment" => Kind::ModelDeployment.as_str(),
        _ => Kind::TranscriptionService.as_str(),
    }
}

fn rule<K: Resource<DynamicType = ()>>() -> Rule {
    let resource = match kind_of::<K>() {
        "ModelDeployment" => "modeldeployments",
        _ => "transcriptionservices",
    };
    Rule {
        group: crds::GROUP,
        resource,
        verbs: "get, list",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_say_its_kind() {
        let parsed = |text: &str| text.parse::<Wanted>().map(|wanted| (wanted.kind, wanted.name));
        assert_eq!(parsed("calls"), Ok((None, "calls".into())));
        assert_eq!(
            parsed("tsvc/calls"),
            Ok((Some(Kind::TranscriptionService), "calls".into()))
        );
        assert_eq!(
            parsed("ModelDeployment/digits"),
            Ok((Some(Kind::ModelDeployment), "digits".into()))
        );
        assert!(parsed("pod/x").unwrap_err().contains("tsvc/NAME"));
        assert!(parsed("tsvc/").is_err() && parsed("a/b/c").is_err());
    }
}
