//! Condition types and reasons of both kinds: the words that tools and people may rely on.

/// The object does what its spec asks for. `kubectl wait --for=condition=Ready` waits for it.
pub const READY: &str = "Ready";
/// The operator or the cluster is still working towards the spec.
pub const PROGRESSING: &str = "Progressing";
/// Something is wrong that a person should look at, whether or not pods still serve.
pub const DEGRADED: &str = "Degraded";
/// The model's bytes are on the volume and verified.
pub const MODEL_CACHED: &str = "ModelCached";
/// The model was tried on samples and is good enough. Absent where the spec asks for no evaluation.
pub const EVALUATION_PASSED: &str = "EvaluationPassed";
/// Enough pods of the Deployment are available.
pub const WORKLOAD_AVAILABLE: &str = "WorkloadAvailable";
/// The pods of a TranscriptionService's canary serve. Absent where the spec asks for none.
pub const CANARY_HEALTHY: &str = "CanaryHealthy";

/// Why a condition is as it is: one word for each cause, stable across releases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// All is as the spec asks.
    AsExpected,
    /// The spec cannot be followed; a person must change it.
    InvalidSpec,
    /// The ModelDeployment that `modelRef` names does not exist.
    ModelNotFound,
    /// The referenced model is of another format than is needed.
    WrongModelFormat,
    /// The ModelDeployment exists and its model is not available yet.
    ModelNotReady,
    /// The model is being put on its volume.
    FetchingModel,
    /// The source holds no such model.
    SourceNotFound,
    /// The source holds the model and does not give it to us.
    AccessDenied,
    /// The source does not answer, or not as it should.
    SourceUnreachable,
    /// A file is not the one that the source promises.
    ChecksumMismatch,
    /// The model's bytes are not those that `digest` pins.
    DigestMismatch,
    /// The files are not a model that the server can load.
    InvalidModel,
    /// The volume is too small for the model.
    NoSpace,
    /// Putting the model on its volume failed for another reason.
    FetchFailed,
    /// The model is being tried on samples.
    Evaluating,
    /// The model was tried on samples and is not good enough.
    EvaluationFailed,
    /// The samples that the model is to be tried on are not there.
    SamplesNotFound,
    /// Trying the model on samples failed, so that it is not known how good it is.
    EvaluationError,
    /// As many models of the namespace are deployed as the operator allows.
    MaxDeployedReached,
    /// Pods are being started or replaced.
    RollingOut,
    /// Pods run and do not become ready, without telling why.
    RolloutStalled,
    /// An image cannot be pulled.
    ImagePullFailed,
    /// A container ends again and again.
    CrashLoop,
    /// A container was ended because it used more memory than its limit.
    OutOfMemory,
    /// A container cannot be created, such as for a missing Secret.
    ContainerCreationFailed,
    /// No node has the GPU that the spec asks for.
    NoMatchingGpuNode,
    /// No node has room for a pod, or none satisfies its constraints.
    Unschedulable,
    /// The apiserver refuses the pods, such as for a quota or an admission rule.
    PodsRefused,
    /// The StorageClass of a claim does not exist.
    StorageClassNotFound,
    /// A claim is not bound to a volume.
    VolumePending,
    /// A claim that the spec names does not exist.
    ClaimNotFound,
    /// An object of the wanted name exists and belongs to something else.
    NameConflict,
    /// The apiserver refused a child object or could not be reached.
    ApplyFailed,
    /// `monitoring` asks for a kind that the cluster does not have; the pods serve without.
    MonitoringUnavailable,
    /// `autoscaling` or `verticalPodAutoscaler` asks for something that the cluster does not have; the pods serve without.
    AutoscalingUnavailable,
    /// The autoscaler cannot read what it scales on; the pods serve, as many as there are.
    MetricsUnavailable,
    /// No pods run since no request came for a while; the next one waits for a pod.
    ScaledToZero,
    /// What holds requests for pods does not say how many it holds, so that pods neither start nor end by them.
    ActivatorSilent,
    /// Pods are to claim devices, and the cluster has no such claims.
    DeviceClaimsUnavailable,
    /// A Secret that the pods mount does not exist, or lacks a key.
    SecretNotFound,
    /// cert-manager does not issue the certificate.
    CertificateNotReady,
    /// `endpoint.tls` asks for a certificate of cert-manager, which the cluster does not have.
    CertManagerUnavailable,
    /// `endpoint.gateway` asks for a kind that the cluster does not have; the pods serve without.
    GatewayUnavailable,
    /// A Gateway does not take a route; the pods serve without.
    RouteNotAccepted,
    /// The pods of the canary serve.
    CanaryServing,
    /// They have served as long as `canary.analysis` asks for.
    CanaryPassed,
    /// The canary does not serve, and no pod of it is left; the other pods serve as before.
    CanaryFailed,
}

impl Reason {
    /// The CamelCase word that stands in a condition.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::AsExpected => "AsExpected",
            Reason::InvalidSpec => "InvalidSpec",
            Reason::ModelNotFound => "ModelNotFound",
            Reason::WrongModelFormat => "WrongModelFormat",
            Reason::ModelNotReady => "ModelNotReady",
            Reason::FetchingModel => "FetchingModel",
            Reason::SourceNotFound => "SourceNotFound",
            Reason::AccessDenied => "AccessDenied",
            Reason::SourceUnreachable => "SourceUnreachable",
            Reason::ChecksumMismatch => "ChecksumMismatch",
            Reason::DigestMismatch => "DigestMismatch",
            Reason::InvalidModel => "InvalidModel",
            Reason::NoSpace => "NoSpace",
            Reason::FetchFailed => "FetchFailed",
            Reason::Evaluating => "Evaluating",
            Reason::EvaluationFailed => "EvaluationFailed",
            Reason::SamplesNotFound => "SamplesNotFound",
            Reason::EvaluationError => "EvaluationError",
            Reason::MaxDeployedReached => "MaxDeployedReached",
            Reason::RollingOut => "RollingOut",
            Reason::RolloutStalled => "RolloutStalled",
            Reason::ImagePullFailed => "ImagePullFailed",
            Reason::CrashLoop => "CrashLoop",
            Reason::OutOfMemory => "OutOfMemory",
            Reason::ContainerCreationFailed => "ContainerCreationFailed",
            Reason::NoMatchingGpuNode => "NoMatchingGpuNode",
            Reason::Unschedulable => "Unschedulable",
            Reason::PodsRefused => "PodsRefused",
            Reason::StorageClassNotFound => "StorageClassNotFound",
            Reason::VolumePending => "VolumePending",
            Reason::ClaimNotFound => "ClaimNotFound",
            Reason::NameConflict => "NameConflict",
            Reason::ApplyFailed => "ApplyFailed",
            Reason::MonitoringUnavailable => "MonitoringUnavailable",
            Reason::AutoscalingUnavailable => "AutoscalingUnavailable",
            Reason::MetricsUnavailable => "MetricsUnavailable",
            Reason::ScaledToZero => "ScaledToZero",
            Reason::ActivatorSilent => "ActivatorSilent",
            Reason::DeviceClaimsUnavailable => "DeviceClaimsUnavailable",
            Reason::SecretNotFound => "SecretNotFound",
            Reason::CertificateNotReady => "CertificateNotReady",
            Reason::CertManagerUnavailable => "CertManagerUnavailable",
            Reason::GatewayUnavailable => "GatewayUnavailable",
            Reason::RouteNotAccepted => "RouteNotAccepted",
            Reason::CanaryServing => "CanaryServing",
            Reason::CanaryPassed => "CanaryPassed",
            Reason::CanaryFailed => "CanaryFailed",
        }
    }
}
