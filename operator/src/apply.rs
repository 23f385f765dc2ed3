//! The only place that writes child objects: server-side apply, and pruning.
//!
//! In: the children as `build` wants them and as they were found. Out: them as the apiserver now holds them, and what was
//! changed. An object that is as wanted is not written, and one that belongs to something else is never touched. What was found
//! may be a moment old, so whatever is to be written is read again first. What a child should be is not decided here.

mod error;
mod holder;

use std::fmt::Debug;
use std::marker::PhantomData;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, Client, Resource, ResourceExt};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::drift::{self, applied_hash, as_json, was_applied_as};
use crate::metrics::Metrics;
use crate::names::{APPLIED, HANDOVER_MANAGER, MANAGER, Owner};
use crate::resources::{Applied, Live, Prepared, Resources};
pub use error::{Error, explain, namespace_goes};
use holder::foreign_holder;

/// One thing that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What was done.
    pub action: Done,
    /// Kind of the child.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// What was done to a child.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// It was made.
    Created,
    /// It follows a changed spec.
    Updated,
    /// It had been deleted, and was made again.
    Restored,
    /// Someone had changed this field of it, and it was put back.
    Repaired(String),
    /// Its pods are replaced, in the way that this sentence says.
    RolledOut(String),
    /// It has so many pods now: the first for requests that wait, or none since no request came.
    Scaled(i32),
    /// It is no longer wanted, and was deleted.
    Pruned,
}

/// Writes the children of one object.
pub struct Applier<'a> {
    /// The cluster.
    pub client: &'a Client,
    /// Whose children they are.
    pub owner: &'a Owner,
    /// Where writes are counted.
    pub metrics: &'a Metrics,
    /// Whether all children were in place before, so that a missing one must have been deleted.
    pub settled: bool,
}

impl Applier<'_> {
    /// Makes the live children as `prepared` wants them, the pods last, and deletes those that it does not hold.
    pub async fn apply(
        &self,
        prepared: Resources<Prepared>,
        live: &Resources<Live>,
    ) -> Result<(Resources<Applied>, Vec<Change>), Error> {
        let Resources {
            service_accounts,
            persistent_volume_claims,
            services,
            pod_disruption_budgets,
            jobs,
            deployments,
            horizontal_pod_autoscalers,
            scaled_objects,
            vertical_pod_autoscalers,
            resource_claim_templates,
            pod_monitors,
            prometheus_rules,
            network_policies,
            certificates,
            ingresses,
            http_routes,
            grpc_routes,
            keep_serving,
            state: _,
        } = prepared;
        let mut changes = Vec::new();
        let told = &mut changes;
        let service_accounts = self
            .put_all(service_accounts, &live.service_accounts, told)
            .await?;
        let persistent_volume_claims = self
            .put_all(persistent_volume_claims, &live.persistent_volume_claims, told)
            .await?;
        let services = self.put_all(services, &live.services, told).await?;
        // Before the pods: what fences them in, and what they wait for.
        let network_policies = self
            .put_all(network_policies, &live.network_policies, told)
            .await?;
        let certificates = self.put_all(certificates, &live.certificates, told).await?;
        let pod_disruption_budgets = self
            .put_all(pod_disruption_budgets, &live.pod_disruption_budgets, told)
            .await?;
        let jobs = self.put_jobs(jobs, &live.jobs, told).await?;
        let resource_claim_templates = self
            .put_all(resource_claim_templates, &live.resource_claim_templates, told)
            .await?;
        let least = horizontal_pod_autoscalers
            .iter()
            .filter_map(|hpa| hpa.spec.min_replicas)
            .chain(scaled_objects.iter().map(|one| one.spec.min_replica_count))
            .max();
        self.hand_over_replicas(&deployments, &live.deployments, least)
            .await?;
        let deployments = self.put_all(deployments, &live.deployments, told).await?;
        // KEDA refuses what has an autoscaler already, and two of them scale nothing. Without any, the number of pods stays.
        if !keep_serving {
            self.remove(
                &live.horizontal_pod_autoscalers,
                &horizontal_pod_autoscalers,
                told,
            )
            .await?;
            self.remove(&live.scaled_objects, &scaled_objects, told).await?;
        }
        let scaled_objects = self.put_all(scaled_objects, &live.scaled_objects, told).await?;
        let horizontal_pod_autoscalers = self
            .put_all(horizontal_pod_autoscalers, &live.horizontal_pod_autoscalers, told)
            .await?;
        let vertical_pod_autoscalers = self
            .put_all(vertical_pod_autoscalers, &live.vertical_pod_autoscalers, told)
            .await?;
        // Last: pods serve whether or not someone outside finds them, or watches them.
        let ingresses = self.put_all(ingresses, &live.ingresses, told).await?;
        let http_routes = self.put_all(http_routes, &live.http_routes, told).await?;
        let grpc_routes = self.put_all(grpc_routes, &live.grpc_routes, told).await?;
        let pod_monitors = self.put_all(pod_monitors, &live.pod_monitors, told).await?;
        let prometheus_rules = self
            .put_all(prometheus_rules, &live.prometheus_rules, told)
            .await?;
        let applied = Resources {
            service_accounts,
            persistent_volume_claims,
            services,
            pod_disruption_budgets,
            jobs,
            deployments,
            horizontal_pod_autoscalers,
            scaled_objects,
            vertical_pod_autoscalers,
            resource_claim_templates,
            pod_monitors,
            prometheus_rules,
            network_policies,
            certificates,
            ingresses,
            http_routes,
            grpc_routes,
            keep_serving,
            state: PhantomData,
        };
        self.prune(&applied, live, told).await?;
        Ok((applied, changes))
    }

    /// Deletes live children that `applied` does not hold, what scales and what serves before what they stand on.
    async fn prune(
        &self,
        applied: &Resources<Applied>,
        live: &Resources<Live>,
        told: &mut Vec<Change>,
    ) -> Result<(), Error> {
        let Resources {
            service_accounts,
            persistent_volume_claims,
            services,
            pod_disruption_budgets,
            jobs,
            deployments,
            // Those that decide the number of pods go before others take their place.
            horizontal_pod_autoscalers: _,
            scaled_objects: _,
            vertical_pod_autoscalers,
            resource_claim_templates,
            pod_monitors,
            prometheus_rules,
            network_policies,
            certificates,
            ingresses,
            http_routes,
            grpc_routes,
            keep_serving: _,
            state: _,
        } = live;
        self.remove(jobs, &applied.jobs, told).await?;
        if applied.keep_serving {
            return Ok(());
        }
        self.remove(prometheus_rules, &applied.prometheus_rules, told)
            .await?;
        self.remove(pod_monitors, &applied.pod_monitors, told).await?;
        self.remove(grpc_routes, &applied.grpc_routes, told).await?;
        self.remove(http_routes, &applied.http_routes, told).await?;
        self.remove(ingresses, &applied.ingresses, told).await?;
        self.remove(vertical_pod_autoscalers, &applied.vertical_pod_autoscalers, told)
            .await?;
        self.remove(pod_disruption_budgets, &applied.pod_disruption_budgets, told)
            .await?;
        self.remove(deployments, &applied.deployments, told).await?;
        self.remove(resource_claim_templates, &applied.resource_claim_templates, told)
            .await?;
        self.remove(certificates, &applied.certificates, told).await?;
        self.remove(network_policies, &applied.network_policies, told)
            .await?;
        self.remove(services, &applied.services, told).await?;
        self.remove(service_accounts, &applied.service_accounts, told)
            .await?;
        self.remove(persistent_volume_claims, &applied.persistent_volume_claims, told)
            .await
    }

    /// Makes the children of one kind as they should be.
    async fn put_all<K>(&self, desired: Vec<K>, found: &[K], told: &mut Vec<Change>) -> Result<Vec<K>, Error>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
        K: Clone + Debug + Serialize + DeserializeOwned,
    {
        let mut applied = Vec::new();
        for wanted in desired {
            applied.push(self.put(wanted, found, told).await?);
        }
        Ok(applied)
    }

    /// Makes Jobs that are not there. A Job's template cannot change; another template makes a Job of another name.
    async fn put_jobs(
        &self,
        desired: Vec<Job>,
        found: &[Job],
        told: &mut Vec<Change>,
    ) -> Result<Vec<Job>, Error> {
        let mut applied = Vec::new();
        for wanted in desired {
            let same = found.iter().find(|job| job.name_any() == wanted.name_any());
            applied.push(
                match same.filter(|job| foreign_holder(self.owner, job.meta()).is_none()) {
                    Some(job) => job.clone(),
                    None => self.put(wanted, found, told).await?,
                },
            );
        }
        Ok(applied)
    }

    /// Makes one child as it should be, and writes nothing when it already is.
    async fn put<K>(&self, desired: K, found: &[K], changes: &mut Vec<Change>) -> Result<K, Error>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
        K: Clone + Debug + Serialize + DeserializeOwned,
    {
        let name = desired.name_any();
        let mut body = as_json(&desired);
        let hash = applied_hash(&body);
        body["metadata"]["annotations"][APPLIED] = json!(hash);

        let is_applied = |live: &K| live.annotations().get(APPLIED) == Some(&hash);
        let goes = |live: &K| live.meta().deletion_timestamp.is_some();
        let difference = |live: &K| drift::first_difference(&body, &as_json(live));
        let as_wanted = |live: &K| {
            let ours = foreign_holder(self.owner, live.meta()).is_none();
            ours && (goes(live) || (is_applied(live) && difference(live).is_none()))
        };
        if let Some(live) = found
            .iter()
            .find(|live| live.name_any() == name && as_wanted(live))
        {
            return Ok(live.clone());
        }
        // What was found may be a moment old: what is to be written is looked at again.
        let live = self.api::<K>().get_opt(&name).await;
        let live = live.map_err(failed::<K>("read", &name))?;
        let Some(live) = live else {
            let created = self.patch::<K>(&name, MANAGER, &body).await?;
            let action = if self.settled {
                Done::Restored
            } else {
                Done::Created
            };
            changes.push(change::<K>(action, &name));
            return Ok(created);
        };
        if let Some(holder) = foreign_holder(self.owner, live.meta()) {
            let kind = K::kind(&()).to_string();
            return Err(Error::Conflict { kind, name, holder });
        }
        let (as_last_applied, difference) = (is_applied(&live), difference(&live));
        if goes(&live) || (as_last_applied && difference.is_none()) {
            return Ok(live);
        }
        let updated = self.patch::<K>(&name, MANAGER, &body).await?;
        if updated.resource_version() != live.resource_version() {
            let action = match difference {
                Some(field) if as_last_applied => Done::Repaired(field),
                _ => Done::Updated,
            };
            changes.push(change::<K>(action, &name));
        }
        Ok(updated)
    }

    /// Keeps the number of pods while an autoscaler takes it over: a field that its only owner stops applying is reset to
    /// its default, which for `replicas` is one. So another manager applies the live number first.
    async fn hand_over_replicas(
        &self,
        desired: &[Deployment],
        found: &[Deployment],
        least: Option<i32>,
    ) -> Result<(), Error> {
        let handed_over = desired
            .iter()
            .filter(|one| one.spec.as_ref().is_some_and(|spec| spec.replicas.is_none()));
        for wanted in handed_over {
            let name = wanted.name_any();
            if found
                .iter()
                .any(|live| live.name_any() == name && was_applied_as(live, wanted))
            {
                continue; // it was applied without a number before
            }
            let ours = |live: &Deployment| {
                foreign_holder(self.owner, live.meta()).is_none()
                    && drift::applied_by(live.managed_fields(), MANAGER, &["spec", "replicas"])
            };
            let live = self.api::<Deployment>().get_opt(&name).await;
            let Some(live) = live.map_err(failed::<Deployment>("read", &name))?.filter(ours) else {
                continue;
            };
            // An autoscaler leaves a Deployment of no pods alone, so it starts from its own least number.
            let least = least.unwrap_or(1);
            let replicas = live
                .spec
                .as_ref()
                .and_then(|spec| spec.replicas)
                .unwrap_or(1)
                .max(least);
            let body = scaled(&name, replicas);
            self.patch::<Deployment>(&name, HANDOVER_MANAGER, &body).await?;
        }
        Ok(())
    }

    /// Gives a Deployment a number of pods, in the name of whoever held it before an autoscaler: no field of the children is
    /// applied by that name.
    pub async fn scale(&self, name: &str, replicas: i32) -> Result<(Deployment, Change), Error> {
        let body = scaled(name, replicas);
        let scaled = self.patch::<Deployment>(name, HANDOVER_MANAGER, &body).await?;
        Ok((scaled, change::<Deployment>(Done::Scaled(replicas), name)))
    }

    /// Deletes those of `found` that are ours and not in `wanted`. What has no owner reference is kept on purpose.
    async fn remove<K>(&self, found: &[K], wanted: &[K], changes: &mut Vec<Change>) -> Result<(), Error>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
        K: Clone + Debug + DeserializeOwned,
    {
        for live in found {
            let name = live.name_any();
            let ours = live
                .owner_references()
                .iter()
                .any(|reference| reference.uid == self.owner.uid);
            let unwanted = wanted.iter().all(|wanted| wanted.name_any() != name);
            if !ours || !unwanted || live.meta().deletion_timestamp.is_some() {
                continue;
            }
            let only_this = DeleteParams::background().preconditions(Preconditions {
                uid: live.uid(),
                resource_version: None,
            });
            self.metrics.wrote(&K::kind(&()));
            match self.api::<K>().delete(&name, &only_this).await {
                Ok(_) => changes.push(change::<K>(Done::Pruned, &name)),
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(source) => return Err(failed::<K>("delete", &name)(source)),
            }
        }
        Ok(())
    }

    async fn patch<K>(&self, name: &str, manager: &str, body: &Value) -> Result<K, Error>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
        K: Clone + Debug + DeserializeOwned,
    {
        self.metrics.wrote(&K::kind(&()));
        let params = PatchParams::apply(manager).force();
        let patched = self.api::<K>().patch(name, &params, &Patch::Apply(body)).await;
        patched.map_err(failed::<K>("apply", name))
    }

    fn api<K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>>(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), &self.owner.namespace)
    }
}

/// A Deployment's number of pods, and nothing else of it.
fn scaled(name: &str, replicas: i32) -> Value {
    json!({
        "apiVersion": Deployment::api_version(&()),
        "kind": Deployment::kind(&()),
        "metadata": { "name": name },
        "spec": { "replicas": replicas },
    })
}

fn change<K: Resource<DynamicType = ()>>(action: Done, name: &str) -> Change {
    Change {
        action,
        kind: K::kind(&()).to_string(),
        name: name.to_string(),
    }
}

fn failed<K: Resource<DynamicType = ()>>(
    action: &'static str,
    name: &str,
) -> impl FnOnce(kube::Error) -> Error {
    let (kind, name) = (K::kind(&()).to_string(), name.to_string());
    move |source| Error::Api {
        action,
        kind,
        name,
        source: Box::new(source),
    }
}
