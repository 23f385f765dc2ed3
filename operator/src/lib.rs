//! Parlance's operator: turns `TranscriptionService` and `ModelDeployment` objects into running speech-to-text.
//!
//! ```text
//! object -fetch-> Fetched -plan-> Plan -build-> Resources<Prepared> -apply-> Resources<Applied> -status-> Status
//!         async           pure          pure                         async                       pure, then one patch
//! ```
//!
//! | Module | What it holds |
//! |---|---|
//! | [`cli`], [`run`], [`context`] | flags, wiring and shutdown, what every reconcile may use |
//! | [`telemetry`], [`metrics`], [`http`], [`events`] | what people and tools see of it |
//! | [`leader`] | election by a Lease |
//! | [`transcription_service`], [`model_deployment`] | one folder a kind: `fetch`, `plan`, `build`, `status` |
//! | [`workload`] | pure builders of the children, from a [`workload::WorkloadPlan`] |
//! | [`watches`], [`children`] | which children are watched, and what is known of them |
//! | [`accepted`] | pure: the model that a ModelDeployment lets be served |
//! | [`observe`] | reads what a reconcile needs to know of the cluster |
//! | [`kinds`], [`prometheus_operator`], [`scalers`], [`cert_manager`], [`gateway_api`] | which kinds of other projects the cluster has, and what Parlance sets in them |
//! | [`downloads`], [`demand`] | what pods say when they are asked: how far a download is, how many requests wait |
//! | [`resources`], [`apply`], [`drift`] | the children as one set, and the only place that writes them |
//! | [`scale`], [`pace`] | how many pods run where requests decide on it; when an object is looked at again |
//! | [`images`] | which image pods that serve keep when the operator comes with another |
//! | [`error`] | why a reconcile failed, and when it is tried again |
//! | [`publish`] | the one patch of a status, and its Events |
//! | [`health`], [`conditions`] | pure: what is wrong with the children, and how that is told |
//! | [`names`], [`quantity`], [`duration`] | words and values that all of it shares |
//!
//! The two kinds never import each other; `plan`, `build`, `health`, `conditions` and the pure half of `status` hold no
//! `async` and no client.

pub mod accepted;
pub mod apply;
pub mod ask;
pub mod cert_manager;
pub mod children;
pub mod cli;
pub mod conditions;
pub mod context;
pub mod demand;
pub mod downloads;
pub mod drift;
pub mod duration;
pub mod error;
pub mod events;
pub mod gateway_api;
pub mod health;
pub mod http;
pub mod images;
pub mod kinds;
pub mod leader;
pub mod metrics;
pub mod model_deployment;
pub mod names;
pub mod observe;
pub mod pace;
pub mod prometheus_operator;
pub mod publish;
pub mod quantity;
pub mod resources;
pub mod run;
pub mod scale;
pub mod scalers;
pub mod telemetry;
pub mod transcription_service;
pub mod watches;
pub mod workload;
