//! What the operator may do, held against what it did: run after all other tests, which it judges by the apiserver's audit log.

#![allow(clippy::unwrap_used)] // helpers of tests may panic as tests do

use std::collections::BTreeSet;

use e2e::audit::{self, Request};
use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};
use kube::Client;
use kube::api::Api;

const OPERATOR: &str = "system:serviceaccount:parlance-system:parlance";

/// One right: a verb on a resource of a group.
type Right = (String, String, String);

fn right(group: &str, resource: &str, verb: &str) -> Right {
    (group.into(), resource.into(), verb.into())
}

/// The rights that a request made use of. Applying an object that does not exist takes the right to create it too.
fn used(request: &Request) -> Vec<Right> {
    let of = |verb: &str| right(&request.group, &request.resource, verb);
    match request.code {
        201 if request.verb == "patch" => vec![of("patch"), of("create")],
        _ => vec![of(&request.verb)],
    }
}

fn granted(rules: &[PolicyRule]) -> BTreeSet<Right> {
    let mut rights = BTreeSet::new();
    for rule in rules {
        for group in rule.api_groups.iter().flatten() {
            for resource in rule.resources.iter().flatten() {
                rights.extend(rule.verbs.iter().map(|verb| right(group, resource, verb)));
            }
        }
    }
    rights
}

#[tokio::test]
#[ignore = "needs a cluster on which the end-to-end tests have been run: make e2e"]
async fn the_operator_was_denied_nothing() {
    let Some(requests) = audit::requests_of(OPERATOR) else {
        return eprintln!("no audit log on this cluster: nothing to look at");
    };
    // An operator for some namespaces asks for the first two and does without (modes.rs); one that is uninstalled loses its rights
    // before it can give its Lease back.
    let spared = ["nodes", "storageclasses", "leases"];
    let denied = requests
        .iter()
        .filter(|request| request.denied && !spared.contains(&request.resource.as_str()));
    let denied: Vec<&Request> = denied.collect();
    assert!(denied.is_empty(), "{denied:#?}");
    assert!(
        requests.len() > 10,
        "only {} requests: was anything tested?",
        requests.len()
    );
}

#[tokio::test]
#[ignore = "needs a cluster on which the end-to-end tests have been run: make e2e"]
async fn the_operator_used_every_right_that_its_role_grants() {
    if std::env::var("PARLANCE_ALL_TESTS").is_err() {
        return eprintln!("not all tests were run: some rights may not have been used");
    }
    let Some(requests) = audit::requests_of(OPERATOR) else {
        return eprintln!("no audit log on this cluster: nothing to look at");
    };
    let client = Client::try_default().await.unwrap();
    let role: ClusterRole = Api::all(client).get("parlance").await.unwrap();
    let used: BTreeSet<Right> = requests.iter().flat_map(used).collect();
    let granted = granted(&role.rules.unwrap());
    let unused: Vec<&Right> = granted.difference(&used).collect();
    assert!(unused.is_empty(), "granted and never used: {unused:#?}");
}
