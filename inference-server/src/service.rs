//! gRPC requests in; gRPC responses out. Here and in `service/` are the only places that handle proto messages.
//! Decides nothing about work or codes: `transcriber` does the one, `status` the other.

use std::sync::Arc;

use tonic::{Request, Response, Status, Streaming, codec::CompressionEncoding, service::Routes};
use tonic_health::server::{HealthReporter, HealthService};

use crate::{
    audio::Source,
    model::Model,
    proto::{
        DetectLanguageRequest, DetectLanguageResponse, FILE_DESCRIPTOR_SET, GetModelRequest,
        GetModelResponse, StreamingTranscribeRequest, TranscribeRequest, TranscribeResponse,
        transcription_server::{Transcription, TranscriptionServer},
    },
    status::{Code, Failure},
    transcriber::Transcriber,
};

pub(crate) mod gate;
mod request;
mod response;
mod stream;

pub(crate) use gate::grpc_timeout;

/// The name under which the service reports its health.
pub use crate::proto::transcription_server::SERVICE_NAME;

/// All gRPC services of the server: transcription, health, reflection.
pub fn routes(
    transcriber: &Arc<Transcriber>,
    health: &HealthReporter,
) -> Result<Routes, tonic_reflection::server::Error> {
    let limit = transcriber.settings().max_message_size;
    let transcription = TranscriptionServer::new(Service {
        transcriber: transcriber.clone(),
    })
    .max_decoding_message_size(limit)
    .accept_compressed(CompressionEncoding::Gzip)
    .send_compressed(CompressionEncoding::Gzip);
    let gate = axum::middleware::from_fn_with_state(transcriber.clone(), gate::gate::<Model>);
    let gated = Routes::new(transcription).into_axum_router().layer(gate);
    with_health_and_reflection(Routes::from(gated), FILE_DESCRIPTOR_SET, health)
}

/// The same routes, which `descriptors` describe, and the services that need no model. Reflection lists every service of the
/// descriptors that it is given, so it is given those of what is served and no more.
pub(crate) fn with_health_and_reflection(
    routes: Routes,
    descriptors: &[u8],
    health: &HealthReporter,
) -> Result<Routes, tonic_reflection::server::Error> {
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(descriptors)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET)
            .include_reflection_service(false)
    };
    let health = HealthService::from_health_reporter(health.clone());
    Ok(routes
        .add_service(tonic_health::pb::health_server::HealthServer::new(health))
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?))
}

struct Service {
    transcriber: Arc<Transcriber>,
}

#[tonic::async_trait]
impl Transcription for Service {
    async fn transcribe(
        &self,
        mut request: Request<TranscribeRequest>,
    ) -> Result<Response<TranscribeResponse>, Status> {
        let (mut call, place) = gate::arrival(&mut request)?;
        let TranscribeRequest { config, audio } = request.into_inner();
        let answer = async {
            let model = self.transcriber.model()?;
            let options = request::options(config, &self.transcriber.settings().options)?;
            let transcript = self
                .transcriber
                .transcribe(place, Source::Memory(audio), options, &mut call)
                .await?;
            response::transcript(transcript, model.facts())
        };
        match answer.await {
            Ok(transcript) => {
                call.end(Code::Ok);
                Ok(Response::new(transcript))
            }
            Err(failure) => Err(refuse(call, &failure)),
        }
    }

    type StreamingTranscribeStream = stream::Results;

    async fn streaming_transcribe(
        &self,
        mut request: Request<Streaming<StreamingTranscribeRequest>>,
    ) -> Result<Response<stream::Results>, Status> {
        let (mut call, place) = gate::arrival(&mut request)?;
        match stream::begin(&self.transcriber, place, request.into_inner(), &mut call).await {
            Ok(started) => Ok(Response::new(started.results(call))),
            Err(failure) => Err(refuse(call, &failure)),
        }
    }

    async fn detect_language(
        &self,
        mut request: Request<DetectLanguageRequest>,
    ) -> Result<Response<DetectLanguageResponse>, Status> {
        let (mut call, place) = gate::arrival(&mut request)?;
        let audio = request.into_inner().audio;
        match self
            .transcriber
            .detect_language(place, Source::Memory(audio), &mut call)
            .await
        {
            Ok(languages) => {
                call.end(Code::Ok);
                Ok(Response::new(response::languages(languages)))
            }
            Err(failure) => Err(refuse(call, &failure)),
        }
    }

    async fn get_model(&self, _: Request<GetModelRequest>) -> Result<Response<GetModelResponse>, Status> {
        let settings = self.transcriber.settings();
        let answer = self
            .transcriber
            .model()
            .and_then(|model| response::model(model.facts(), settings));
        answer.map(Response::new).map_err(|failure| failure.to_status(""))
    }
}

/// Ends the call with a failure, and says it.
fn refuse(call: crate::call::Call, failure: &Failure) -> Status {
    let status = failure.to_status(call.request_id());
    call.fail(failure);
    status
}
