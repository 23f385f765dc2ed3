//! What kubectl asks for when Tab is pressed: the words so far in; candidates in cobra's form out, as `kubectl_complete-parlance` prints
//! them. It never fails: where nothing is known, nothing is offered.

use std::ffi::OsString;
use std::time::Duration;

use clap::{CommandFactory, Parser};
use clap_complete::engine::{ArgValueCandidates, CompletionCandidate, complete as candidates};

use crate::cli::Cli;
use crate::cluster::{Cluster, ClusterArgs};
use crate::find::{self, Scope};
use crate::object::Object;

/// Longer than this nobody waits for a Tab.
const PATIENCE: Duration = Duration::from_secs(2);

/// Cobra's ShellCompDirectiveNoFileComp: the shell adds no names of files by itself.
const NO_FILES: u8 = 4;
/// Cobra's ShellCompDirectiveNoSpace.
const NO_SPACE: u8 = 2;

/// The candidates, one a line with its meaning after a tab, and the directive.
pub async fn complete(words: Vec<OsString>) -> String {
    let objects = objects(&words).await;
    let mut command = with_names(Cli::command(), &objects);
    let mut line = vec![OsString::from("kubectl-parlance")];
    line.extend(words);
    let last = line.len() - 1;
    let folder = std::env::current_dir().ok();
    let found = candidates(&mut command, line, last, folder.as_deref()).unwrap_or_default();
    written(&found)
}

fn written(found: &[CompletionCandidate]) -> String {
    let mut text = String::new();
    let mut directive = NO_FILES;
    for candidate in found {
        let value = candidate.get_value().to_string_lossy();
        if value.ends_with('/') {
            directive |= NO_SPACE;
        }
        text.push_str(&value);
        if let Some(help) = candidate.get_help() {
            let help = help.to_string();
            text.push_str(&format!("\t{}", help.lines().next().unwrap_or_default()));
        }
        text.push('\n');
    }
    text.push_str(&format!(":{directive}\n"));
    text
}

/// The objects of the namespace that the words mean; none where they cannot be read in time.
async fn objects(words: &[OsString]) -> Vec<Object> {
    let look = async {
        let cluster = Cluster::of(cluster_args(words)).await.ok()?;
        find::list(&cluster, Scope::Namespace).await.ok()
    };
    tokio::time::timeout(PATIENCE, look)
        .await
        .ok()
        .flatten()
        .unwrap_or_default()
}

/// The flags of the cluster among the words, which are no whole command line yet.
fn cluster_args(words: &[OsString]) -> ClusterArgs {
    let mut line = vec![OsString::from("kubectl-parlance"), "status".into()];
    let mut words = words.iter().peekable();
    while let Some(word) = words.next() {
        let text = word.to_string_lossy();
        let flag = text.split('=').next().unwrap_or_default();
        if ![
            "-n",
            "--namespace",
            "--context",
            "--cluster",
            "--user",
            "--kubeconfig",
            "--as",
        ]
        .contains(&flag)
        {
            continue;
        }
        line.push(word.clone());
        if !text.contains('=') {
            line.extend(words.next().cloned());
        }
    }
    Cli::try_parse_from(line).map_or_else(|_| ClusterArgs::default(), |cli| cli.cluster)
}

fn with_names(command: clap::Command, objects: &[Object]) -> clap::Command {
    let names = |choose: fn(&Object) -> Option<String>| {
        let names: Vec<String> = objects.iter().filter_map(choose).collect();
        ArgValueCandidates::new(move || names.iter().map(CompletionCandidate::new).collect())
    };
    let service = names(|one| matches!(one, Object::Service(_)).then(|| one.name()));
    let model = names(|one| (matches!(one, Object::Model(_)) && one.serving().is_some()).then(|| one.name()));
    let command = command.mut_subcommand("transcribe", |transcribe| {
        transcribe
            .mut_arg("service", |arg| arg.add(service))
            .mut_arg("model_deployment", |arg| arg.add(model))
    });
    ["status", "top", "why"]
        .into_iter()
        .fold(command, |command, one| {
            let titles = names(|one| Some(one.title()));
            command.mut_subcommand(one, |command| command.mut_arg("name", |arg| arg.add(titles)))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(words: &[&str], objects: &[Object]) -> Vec<String> {
        let mut command = with_names(Cli::command(), objects);
        let mut line = vec![OsString::from("kubectl-parlance")];
        line.extend(words.iter().map(OsString::from));
        let last = line.len() - 1;
        let found = candidates(&mut command, line, last, None).unwrap();
        written(&found)
            .lines()
            .map(|line| line.split('\t').next().unwrap_or_default().to_owned())
            .collect()
    }

    fn services() -> Vec<Object> {
        let service = serde_json::json!({ "apiVersion": "parlance.dev/v1alpha1", "kind": "TranscriptionService",
            "metadata": { "name": "calls" }, "spec": {} });
        vec![Object::Service(serde_json::from_value(service).unwrap())]
    }

    #[test]
    fn commands_flags_and_names_are_offered() {
        assert_eq!(offered(&["tr"], &[]), ["transcribe", ":4"]);
        assert_eq!(offered(&["why", ""], &services())[0], "tsvc/calls");
        assert_eq!(
            offered(&["transcribe", "--service", "c"], &services()),
            ["calls", ":4"]
        );
        assert_eq!(offered(&["transcribe", "--format", "s"], &[]), ["srt", ":4"]);
        assert_eq!(
            offered(&["transcribe", "--model-deployment", ""], &services()),
            [":4"]
        );
    }

    #[test]
    fn the_namespace_that_was_typed_is_looked_at() {
        let words: Vec<OsString> = ["why", "-n", "speech", "--kubeconfig=/k", "--watch", "ca"]
            .map(OsString::from)
            .into();
        let args = cluster_args(&words);
        assert_eq!(args.namespace.as_deref(), Some("speech"));
        assert_eq!(args.kubeconfig.unwrap().to_str(), Some("/k"));
    }
}
