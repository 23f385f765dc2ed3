//! Which cluster, namespace and user: as kubectl finds them.
//!
//! In: the flags that kubectl has too, the kubeconfig, or a pod's own account. Out: a [`Cluster`].

use std::path::PathBuf;

use clap::Args;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use crate::error::Error;

/// The flags by which kubectl chooses a cluster.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Cluster")]
pub struct ClusterArgs {
    /// Namespace [default: the context's]
    #[arg(long, short, global = true, value_name = "NAME")]
    pub namespace: Option<String>,
    /// Context of the kubeconfig [default: the current one]
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
    /// Cluster of the kubeconfig [default: the context's]
    #[arg(long, global = true, value_name = "NAME")]
    pub cluster: Option<String>,
    /// User of the kubeconfig [default: the context's]
    #[arg(long, global = true, value_name = "NAME")]
    pub user: Option<String>,
    /// The kubeconfig [default: those of KUBECONFIG, ~/.kube/config, or in a pod its own account]
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// User to act as, such as system:serviceaccount:NAMESPACE:NAME
    #[arg(long = "as", global = true, value_name = "USER")]
    pub act_as: Option<String>,
    /// Group to act as; can be given several times
    #[arg(long = "as-group", global = true, value_name = "GROUP", requires = "act_as")]
    pub act_as_groups: Vec<String>,
}

/// A cluster, and where in it to look.
#[derive(Clone)]
pub struct Cluster {
    /// Its client.
    pub client: Client,
    /// The namespace.
    pub namespace: String,
}

impl Cluster {
    /// The cluster that the flags mean.
    ///
    /// # Errors
    /// [`Error::NoCluster`] when there is no such kubeconfig or context, and this is no pod.
    pub async fn of(args: ClusterArgs) -> Result<Cluster, Error> {
        let ClusterArgs {
            namespace,
            context,
            cluster,
            user,
            kubeconfig,
            act_as,
            act_as_groups,
        } = args;
        let chosen = context.is_some() || cluster.is_some() || user.is_some();
        let options = KubeConfigOptions {
            context,
            cluster,
            user,
        };
        let mut config = match kubeconfig {
            Some(path) => {
                let kubeconfig = Kubeconfig::read_from(&path).map_err(no_cluster)?;
                Config::from_custom_kubeconfig(kubeconfig, &options)
                    .await
                    .map_err(no_cluster)?
            }
            None if chosen => Config::from_kubeconfig(&options).await.map_err(no_cluster)?,
            None => Config::infer().await.map_err(no_cluster)?,
        };
        if act_as.is_some() {
            config.auth_info.impersonate = act_as;
            config.auth_info.impersonate_groups = (!act_as_groups.is_empty()).then_some(act_as_groups);
        }
        let namespace = namespace.unwrap_or_else(|| config.default_namespace.clone());
        let client = Client::try_from(config).map_err(no_cluster)?;
        Ok(Cluster { client, namespace })
    }
}

/// The innermost cause says what file or context it is about.
fn no_cluster(error: impl std::error::Error) -> Error {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let words = inner.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = inner.source();
    }
    Error::NoCluster(text)
}
