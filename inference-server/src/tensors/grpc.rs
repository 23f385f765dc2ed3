//! `inference.GRPCInferenceService`: requests of the protocol in; its responses out. The only file that handles its messages.

mod contents;

use std::{collections::HashMap, sync::Arc};

use tonic::{Request, Response, Status, codec::CompressionEncoding, service::Routes};
use tonic_health::server::HealthReporter;

use super::{
    Asked, AskedInput, Datatype, Given, PLATFORM, TensorModel, TensorSpec, VERSION,
    infer::{infer, known_parameter, served},
};
use crate::{
    admission::Place,
    call::Call,
    desk::{Desk, Phase},
    proto::inference::{
        FILE_DESCRIPTOR_SET, InferParameter, ModelInferRequest, ModelInferResponse, ModelMetadataRequest,
        ModelMetadataResponse, ModelReadyRequest, ModelReadyResponse, ServerLiveRequest, ServerLiveResponse,
        ServerMetadataRequest, ServerMetadataResponse, ServerReadyRequest, ServerReadyResponse,
        grpc_inference_service_server::{GrpcInferenceService, GrpcInferenceServiceServer},
        infer_parameter::ParameterChoice,
        model_infer_response::InferOutputTensor,
        model_metadata_response::TensorMetadata,
    },
    service::{self, gate},
    status::{Code, Failure},
};

/// What the server calls itself.
pub(super) const SERVER: &str = "parlance-server";
/// The extensions of the protocol that the HTTP port knows.
pub(super) const EXTENSIONS: [&str; 1] = ["binary_tensor_data"];

/// All gRPC services of a server of tensors: inference, health, reflection.
pub(super) fn routes(
    desk: &Arc<Desk<TensorModel>>,
    health: &HealthReporter,
) -> Result<Routes, tonic_reflection::server::Error> {
    let inference = GrpcInferenceServiceServer::new(Service { desk: desk.clone() })
        .max_decoding_message_size(desk.settings().max_message_size)
        .accept_compressed(CompressionEncoding::Gzip)
        .send_compressed(CompressionEncoding::Gzip);
    let gate = axum::middleware::from_fn_with_state(desk.clone(), gate::gate::<TensorModel>);
    let gated = Routes::new(inference).into_axum_router().layer(gate);
    service::with_health_and_reflection(Routes::from(gated), FILE_DESCRIPTOR_SET, health)
}

struct Service {
    desk: Arc<Desk<TensorModel>>,
}

impl Service {
    fn model(&self, name: &str, version: &str) -> Result<Arc<TensorModel>, Failure> {
        let model = self.desk.model()?;
        served(&model, name, version)?;
        Ok(model)
    }

    async fn infer(
        &self,
        place: Place,
        request: ModelInferRequest,
        call: &mut Call,
    ) -> Result<ModelInferResponse, Failure> {
        let model = self.model(&request.model_name, &request.model_version)?;
        // In the form in which they came; half precision has no other than bytes.
        let raw = !request.raw_input_contents.is_empty();
        let id = request.id.clone();
        let given = infer(&self.desk, place, asked(request)?, call).await?;
        let raw = raw || given.iter().any(|output| output.datatype == Datatype::Fp16);
        Ok(response(&model, id, given, raw))
    }
}

#[tonic::async_trait]
impl GrpcInferenceService for Service {
    async fn server_live(
        &self,
        _: Request<ServerLiveRequest>,
    ) -> Result<Response<ServerLiveResponse>, Status> {
        let live = !self.desk.admission().stuck();
        Ok(Response::new(ServerLiveResponse { live }))
    }

    async fn server_ready(
        &self,
        _: Request<ServerReadyRequest>,
    ) -> Result<Response<ServerReadyResponse>, Status> {
        let ready = self.desk.phase() == Phase::Ready && !self.desk.admission().stuck();
        Ok(Response::new(ServerReadyResponse { ready }))
    }

    async fn model_ready(
        &self,
        request: Request<ModelReadyRequest>,
    ) -> Result<Response<ModelReadyResponse>, Status> {
        let ModelReadyRequest { name, version } = request.into_inner();
        let ready = match self.model(&name, &version) {
            Ok(_) => self.desk.phase() == Phase::Ready,
            Err(Failure::Unavailable(_)) => false,
            Err(failure) => return Err(failure.to_status("")),
        };
        Ok(Response::new(ModelReadyResponse { ready }))
    }

    async fn server_metadata(
        &self,
        _: Request<ServerMetadataRequest>,
    ) -> Result<Response<ServerMetadataResponse>, Status> {
        Ok(Response::new(ServerMetadataResponse {
            name: SERVER.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            extensions: EXTENSIONS.map(str::to_owned).to_vec(),
        }))
    }

    async fn model_metadata(
        &self,
        request: Request<ModelMetadataRequest>,
    ) -> Result<Response<ModelMetadataResponse>, Status> {
        let ModelMetadataRequest { name, version } = request.into_inner();
        let model = self
            .model(&name, &version)
            .map_err(|failure| failure.to_status(""))?;
        let signature = model.signature();
        Ok(Response::new(ModelMetadataResponse {
            name,
            versions: vec![VERSION.to_owned()],
            platform: PLATFORM.to_owned(),
            inputs: signature.inputs.iter().map(metadata).collect(),
            outputs: signature.outputs.iter().map(metadata).collect(),
        }))
    }

    async fn model_infer(
        &self,
        mut request: Request<ModelInferRequest>,
    ) -> Result<Response<ModelInferResponse>, Status> {
        let (mut call, place) = gate::arrival(&mut request)?;
        match self.infer(place, request.into_inner(), &mut call).await {
            Ok(response) => {
                call.end(Code::Ok);
                Ok(Response::new(response))
            }
            Err(failure) => {
                let status = failure.to_status(call.request_id());
                call.fail(&failure);
                Err(status)
            }
        }
    }
}

fn metadata(spec: &TensorSpec) -> TensorMetadata {
    TensorMetadata {
        name: spec.name.clone(),
        datatype: spec.datatype.to_string(),
        shape: spec.shape_of_protocol(),
    }
}

/// What a message asks for: elements as bytes, whichever way they came.
pub(super) fn asked(request: ModelInferRequest) -> Result<Asked, Failure> {
    let invalid = |message: String| Failure::invalid("inputs", message);
    let outputs = request.outputs.iter().flat_map(|output| output.parameters.keys());
    let inputs = request.inputs.iter().flat_map(|input| input.parameters.keys());
    let parameters = request.parameters.keys().chain(outputs).chain(inputs);
    parameters.map(String::as_str).try_for_each(known_parameter)?;
    let (count, raw_count) = (request.inputs.len(), request.raw_input_contents.len());
    if raw_count > 0 && raw_count != count {
        return Err(Failure::invalid(
            "raw_input_contents",
            format!("it holds {raw_count} tensors for {count} inputs: send one for each, in their order"),
        ));
    }
    let mut raw = request.raw_input_contents.into_iter();
    let inputs = request.inputs.into_iter().map(|input| {
        let name = input.name;
        let datatype: Datatype = input
            .datatype
            .parse()
            .map_err(|why| invalid(format!("the input {name:?}: {why}")))?;
        let bytes = match (raw.next(), input.contents) {
            (Some(_), Some(contents)) if !contents::is_empty(&contents) => {
                Err("it was sent in raw_input_contents and in its own contents: send one of them".to_owned())
            }
            (Some(bytes), _) => Ok(bytes),
            (None, contents) => contents::bytes(datatype, contents.unwrap_or_default()).map(Into::into),
        };
        let bytes = bytes.map_err(|why| invalid(format!("the input {name:?}: {why}")))?;
        Ok(AskedInput {
            name,
            datatype,
            shape: input.shape,
            bytes,
        })
    });
    Ok(Asked {
        inputs: inputs.collect::<Result<_, Failure>>()?,
        outputs: request.outputs.into_iter().map(|output| output.name).collect(),
    })
}

fn response(model: &TensorModel, id: String, given: Vec<Given>, raw: bool) -> ModelInferResponse {
    let mut response = ModelInferResponse {
        model_name: model.name().to_owned(),
        model_version: VERSION.to_owned(),
        id,
        parameters: HashMap::from([(
            "digest".to_owned(),
            InferParameter {
                parameter_choice: Some(ParameterChoice::StringParam(model.digest().digest.clone())),
            },
        )]),
        ..ModelInferResponse::default()
    };
    for output in given {
        let contents = (!raw).then(|| contents::of(output.datatype, &output.bytes));
        response.outputs.push(InferOutputTensor {
            name: output.name,
            datatype: output.datatype.to_string(),
            shape: output
                .shape
                .iter()
                .map(|size| i64::try_from(*size).unwrap_or(i64::MAX))
                .collect(),
            parameters: HashMap::new(),
            contents,
        });
        if raw {
            response.raw_output_contents.push(output.bytes.into());
        }
    }
    response
}
