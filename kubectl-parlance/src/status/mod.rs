//! `kubectl parlance status`: objects in; a table of them, or a page about one, out.

use serde_json::{Value, json};

use crate::cli::Output;
use crate::cluster::Cluster;
use crate::error::Error;
use crate::facts::{Facts, now};
use crate::find::{self, Scope, Wanted};
use crate::object::Object;

mod list;
mod page;

/// What is to be shown.
#[derive(Clone, Debug)]
pub struct Question {
    /// One object; all of the namespace when there is none.
    pub name: Option<Wanted>,
    /// Those of all namespaces.
    pub all_namespaces: bool,
    /// The form for programs.
    pub output: Option<Output>,
}

/// The text that answers.
///
/// # Errors
/// When there is no such object, and what the apiserver says.
pub async fn status(cluster: &Cluster, question: &Question) -> Result<String, Error> {
    if let Some(wanted) = &question.name {
        let object = find::find(cluster, wanted).await?;
        return match question.output {
            Some(output) => written(&object.json(), output),
            None => Ok(page::page(&Facts::of(&cluster.client, object).await?)),
        };
    }
    let scope = match question.all_namespaces {
        true => Scope::All,
        false => Scope::Namespace,
    };
    let objects = find::list(cluster, scope).await?;
    if let Some(output) = question.output {
        let items: Vec<Value> = objects.iter().map(Object::json).collect();
        return written(
            &json!({ "apiVersion": "v1", "kind": "List", "items": items }),
            output,
        );
    }
    if objects.is_empty() {
        return Ok(match scope {
            Scope::Namespace => format!(
                "Namespace {} has no TranscriptionService and no ModelDeployment.\n",
                cluster.namespace
            ),
            Scope::All => "The cluster has no TranscriptionService and no ModelDeployment.\n".to_owned(),
        });
    }
    Ok(list::list(&objects, scope, now().0))
}

fn written(value: &Value, output: Output) -> Result<String, Error> {
    let text = match output {
        Output::Json => serde_json::to_string_pretty(value)
            .map(|text| text + "\n")
            .map_err(|e| e.to_string()),
        Output::Yaml => serde_yaml::to_string(value).map_err(|e| e.to_string()),
    };
    text.map_err(|message| Error::Api {
        doing: "write the output".to_owned(),
        message,
    })
}
