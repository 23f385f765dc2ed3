//! `kubectl parlance why`: an object in; one paragraph with the root cause out.

use crds::ModelDeployment;
use kube::{Api, Client};

use crate::cluster::Cluster;
use crate::error::Error;
use crate::facts::Facts;
use crate::find::{self, Wanted};
use crate::object::Object;
use crate::run::Outcome;

mod cause;
mod evidence;
mod last_words;
mod operator;
mod paragraph;

pub use last_words::LastWords;
pub use operator::{Held, Installed, Operator};
pub use paragraph::paragraph;

/// All that is known of an object that may be ill.
#[derive(Clone, Debug)]
pub struct Case {
    /// It and its children.
    pub facts: Facts,
    /// What its containers said last.
    pub last_words: Vec<LastWords>,
    /// The ModelDeployment that it waits for.
    pub model: Option<Box<Case>>,
}

/// The paragraph, and whether all is well.
///
/// # Errors
/// When there is no such object, and what the apiserver says.
pub async fn why(cluster: &Cluster, wanted: &Wanted) -> Result<(String, Outcome), Error> {
    let object = find::find(cluster, wanted).await?;
    let namespace = object.namespace();
    let mut case = case(&cluster.client, object).await?;
    if let Some(name) = case.facts.object.model_ref() {
        let models = Api::<ModelDeployment>::namespaced(cluster.client.clone(), &namespace);
        // Whoever may not read it still has the service's own words about it.
        if let Ok(Some(model)) = models.get_opt(name).await {
            let model = self::case(&cluster.client, Object::Model(Box::new(model))).await?;
            case.model = Some(Box::new(model));
        }
    }
    let operator = operator::look(&cluster.client, &namespace).await;
    Ok(paragraph(&case, &operator))
}

async fn case(client: &Client, object: Object) -> Result<Case, Error> {
    let facts = Facts::of(client, object).await?;
    let last_words = last_words::of(client, &facts.object.namespace(), &facts.pods).await;
    Ok(Case {
        facts,
        last_words,
        model: None,
    })
}

#[cfg(test)]
mod tests;
