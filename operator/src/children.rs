//! The children of all objects, and what objects refer to, as watches tell them: read from memory, and told on when they change.
//!
//! In: a client, and for each kind where to watch it. Out: the children of an owner, objects by their names, and who is touched by
//! a change. Where a watch has not told everything yet, or cannot, the apiserver is asked. What is read may be a moment old; who writes
//! looks again first. It writes nothing and judges nothing.

use std::any::{Any, TypeId};
use std::collections::{HashMap, HashSet};
use std::fmt::Debug;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt, Stream, StreamExt, pin_mut};
use k8s_openapi::NamespaceResourceScope;
use kube::api::ListParams;
use kube::runtime::WatchStreamExt;
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;

use crate::names::{KIND, Kind, NAME, Owner};

/// How long the start waits for the watches to tell everything.
const FILL: Duration = Duration::from_secs(10);

/// What is watched, by its kinds.
#[derive(Default)]
pub struct Children {
    watched: RwLock<HashMap<TypeId, Vec<Watched>>>,
}

/// Objects of one kind, in one namespace or in all.
struct Watched {
    scope: Option<String>,
    complete: Arc<AtomicBool>,
    /// A `Store` of the kind.
    store: Box<dyn Any + Send + Sync>,
}

/// An object that a change touches: one whose child it is, or that refers to what has changed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Touched {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Children {
    /// The children of a kind that belong to `owner`, wanted or not.
    ///
    /// # Errors
    /// When they are not in memory and the apiserver cannot be asked.
    pub async fn of<K>(&self, client: &Client, owner: &Owner) -> Result<Vec<K>, kube::Error>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
        K: Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    {
        if let Some(store) = self.store::<K>(&owner.namespace) {
            let ours = store.state_filter(|child| belongs(child, owner));
            return Ok(ours.iter().map(|child| K::clone(child)).collect());
        }
        let api = Api::<K>::namespaced(client.clone(), &owner.namespace);
        let labelled = ListParams::default().labels(&owner.list_selector());
        Ok(api.list(&labelled).await?.items)
    }

    /// The object of this name, if there is one and its kind is watched as a whole, not only the operator's own.
    ///
    /// # Errors
    /// When it is not in memory and the apiserver cannot be asked.
    pub async fn named<K>(
        &self,
        client: &Client,
        namespace: &str,
        name: &str,
    ) -> Result<Option<K>, kube::Error>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
        K: Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    {
        if let Some(store) = self.store::<K>(namespace) {
            let found = store.get(&ObjectRef::new(name).within(namespace));
            return Ok(found.map(|object| K::clone(&object)));
        }
        let called = ListParams::default().fields(&format!("metadata.name={name}"));
        let listed = Api::<K>::namespaced(client.clone(), namespace)
            .list(&called)
            .await?;
        Ok(listed.items.into_iter().next())
    }

    /// All objects of a kind in a namespace, if it is watched as a whole.
    ///
    /// # Errors
    /// When they are not in memory and the apiserver cannot be asked.
    pub async fn all<K>(&self, client: &Client, namespace: &str) -> Result<Vec<K>, kube::Error>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
        K: Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    {
        if let Some(store) = self.store::<K>(namespace) {
            let there = store.state_filter(|object| object.meta().namespace.as_deref() == Some(namespace));
            return Ok(there.iter().map(|object| K::clone(object)).collect());
        }
        let api = Api::<K>::namespaced(client.clone(), namespace);
        Ok(api.list(&ListParams::default()).await?.items)
    }

    /// Watches a kind, in one namespace or in all, for as long as the future is polled. Whom a change `touches` is told after the store
    /// has changed. Who applied which field takes more memory than the object itself, so `slim` may drop it.
    pub fn watch<K>(
        &self,
        client: &Client,
        scope: Option<&str>,
        which: watcher::Config,
        slim: fn(&mut K),
        touches: impl Fn(&K) -> Vec<Touched> + Send + 'static,
        tell: impl Fn(Touched) + Send + 'static,
    ) -> BoxFuture<'static, ()>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
        K: Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    {
        let api = match scope {
            Some(namespace) => Api::<K>::namespaced(client.clone(), namespace),
            None => Api::all(client.clone()),
        };
        let (store, writer) = reflector::store::<K>();
        let complete = Arc::new(AtomicBool::new(false));
        let watched = Watched {
            scope: scope.map(String::from),
            complete: complete.clone(),
            store: Box::new(store.clone()),
        };
        self.watched
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(TypeId::of::<K>())
            .or_default()
            .push(watched);
        let events = watcher::watcher(api, which).default_backoff().modify(slim);
        follow(events, store, writer, complete, touches, tell).boxed()
    }

    /// Waits until every watch has told all there is; not for ever, since one may not be allowed to.
    pub async fn filled(&self) {
        let all_complete = || {
            let watched = self.watched.read().unwrap_or_else(PoisonError::into_inner);
            watched
                .values()
                .flatten()
                .all(|one| one.complete.load(Ordering::Acquire))
        };
        let wait = async {
            while !all_complete() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let _ = tokio::time::timeout(FILL, wait).await;
    }

    /// Waits until the watch of a kind has told all there is. Never ends while it may not.
    pub async fn complete<K>(&self, scope: Option<&str>)
    where
        K: Resource<DynamicType = ()> + Clone + Send + Sync + 'static,
    {
        while self.store::<K>(scope.unwrap_or_default()).is_none() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    /// The store of a kind in a namespace, if it holds everything.
    fn store<K>(&self, namespace: &str) -> Option<Store<K>>
    where
        K: Resource<DynamicType = ()> + Clone + Send + Sync + 'static,
    {
        let watched = self.watched.read().unwrap_or_else(PoisonError::into_inner);
        let complete = |one: &&Watched| {
            one.scope.as_deref().is_none_or(|scope| scope == namespace)
                && one.complete.load(Ordering::Acquire)
        };
        let one = watched.get(&TypeId::of::<K>())?.iter().find(complete)?;
        one.store.downcast_ref::<Store<K>>().cloned()
    }
}

/// Keeps a store as the watch tells it, and tells whom a change touches once the store holds it.
async fn follow<K>(
    events: impl Stream<Item = watcher::Result<Event<K>>> + Send,
    store: Store<K>,
    mut writer: Writer<K>,
    complete: Arc<AtomicBool>,
    touches: impl Fn(&K) -> Vec<Touched> + Send,
    tell: impl Fn(Touched) + Send,
) where
    K: Resource<DynamicType = ()> + Clone + Send + Sync + 'static,
{
    let (mut pending, mut told) = (HashSet::new(), false);
    pin_mut!(events);
    while let Some(event) = events.next().await {
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                let kind = K::kind(&());
                // Once, until it works again: a watch that is not allowed fails for ever.
                if told {
                    tracing::debug!(%kind, "failed again to watch: {error}");
                } else {
                    tracing::warn!(%kind, "failed to watch, and asks for them each time: {error}");
                }
                told = true;
                complete.store(false, Ordering::Release);
                continue;
            }
        };
        match &event {
            // What went while nobody watched has changed too.
            Event::Init => pending.extend(store.state().iter().flat_map(|object| touches(object))),
            Event::InitApply(object) | Event::Apply(object) | Event::Delete(object) => {
                pending.extend(touches(object))
            }
            Event::InitDone => {}
        }
        let listing = matches!(event, Event::Init | Event::InitApply(_));
        writer.apply_watcher_event(&event);
        if !listing {
            told = false;
            complete.store(true, Ordering::Release);
            pending.drain().for_each(&tell);
        }
    }
}

/// Whether a child's labels name `owner`.
fn belongs<K: Resource<DynamicType = ()>>(child: &K, owner: &Owner) -> bool {
    let label = |key: &str| child.labels().get(key).map(String::as_str);
    child.meta().namespace.as_deref() == Some(&owner.namespace)
        && label(NAME) == Some(&owner.name)
        && label(KIND) == Some(owner.kind.as_str())
}

/// The object that a child's labels name.
pub fn owner_of<K: Resource<DynamicType = ()>>(child: &K) -> Option<Touched> {
    let label = |key: &str| child.labels().get(key).cloned();
    let kind = match label(KIND)?.as_str() {
        one if one == Kind::TranscriptionService.as_str() => Kind::TranscriptionService,
        one if one == Kind::ModelDeployment.as_str() => Kind::ModelDeployment,
        _ => return None,
    };
    Some(Touched {
        kind,
        namespace: child.namespace()?,
        name: label(NAME)?,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures::stream;
    use k8s_openapi::api::core::v1::Service;
    use serde_json::json;

    use super::*;

    fn owner(name: &str) -> Owner {
        Owner {
            kind: Kind::TranscriptionService,
            namespace: "speech".into(),
            name: name.into(),
            uid: "u-1".into(),
        }
    }

    fn child(owner: &Owner) -> Service {
        let meta = owner.child(&owner.name, crate::names::Component::Server);
        serde_json::from_value(json!({ "metadata": meta })).unwrap()
    }

    /// Whose children were told to have changed, each with the names that the store held then.
    async fn told(events: Vec<Event<Service>>) -> (Vec<(String, Vec<String>)>, bool) {
        let (store, writer) = reflector::store::<Service>();
        let (complete, told) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (reader, into) = (store.clone(), told.clone());
        let tell = move |touched: Touched| {
            let held: Vec<String> = reader.state().iter().map(|one| one.name_any()).collect();
            into.lock().unwrap().push((touched.name, held));
        };
        let events = stream::iter(events.into_iter().map(Ok));
        let touches = |child: &Service| owner_of(child).into_iter().collect();
        follow(events, store, writer, complete.clone(), touches, tell).await;
        let told = told.lock().unwrap().clone();
        (told, complete.load(Ordering::Acquire))
    }

    #[tokio::test]
    async fn an_owner_is_told_when_the_store_holds_the_change() {
        let calls = child(&owner("calls"));
        let listed = vec![Event::Init, Event::InitApply(calls.clone())];
        assert_eq!(
            told(listed.clone()).await,
            (vec![], false),
            "half a list is no list"
        );
        let complete = [listed, vec![Event::InitDone]].concat();
        let held = |names: &[&str]| {
            (
                "calls".to_string(),
                names.iter().map(|name| name.to_string()).collect::<Vec<_>>(),
            )
        };
        assert_eq!(told(complete.clone()).await, (vec![held(&["calls"])], true));
        let deleted = [complete, vec![Event::Delete(calls)]].concat();
        assert_eq!(told(deleted).await.0, [held(&["calls"]), held(&[])]);
    }

    #[tokio::test]
    async fn what_went_while_nobody_watched_is_told_too() {
        let calls = child(&owner("calls"));
        let first = vec![Event::Init, Event::InitApply(calls), Event::InitDone];
        let again = vec![Event::Init, Event::InitDone];
        let (told, _) = told([first, again].concat()).await;
        assert_eq!(told[1], ("calls".to_string(), vec![]));
    }

    #[test]
    fn a_child_belongs_to_the_owner_that_its_labels_name() {
        let calls = owner("calls");
        assert!(belongs(&child(&calls), &calls));
        assert!(!belongs(&child(&calls), &owner("other")));
        let elsewhere = Owner {
            namespace: "other".into(),
            ..calls.clone()
        };
        assert!(!belongs(&child(&calls), &elsewhere));
        let model = Owner {
            kind: Kind::ModelDeployment,
            ..calls.clone()
        };
        assert!(!belongs(&child(&calls), &model));
        assert_eq!(owner_of(&child(&model)).unwrap().kind, Kind::ModelDeployment);
    }
}
