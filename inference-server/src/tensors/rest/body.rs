//! The body of an inference request in; what it asks for, and in which form it wants the answer, out; and the answer in that form.

mod data;

use axum::{
    http::{
        HeaderMap, HeaderName, HeaderValue,
        header::{CONTENT_ENCODING, CONTENT_TYPE},
    },
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio_util::bytes::Bytes;

use super::super::{
    Asked, AskedInput, Datatype, Given, TensorModel, VERSION,
    elements::{Array, finite},
    infer::known_parameter,
};
use crate::status::{Failure, Field};
use data::Data;

/// How long the JSON is that stands before the bytes of tensors.
const HEADER_LENGTH: HeaderName = HeaderName::from_static("inference-header-content-length");

type Parameters = Map<String, Value>;

#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    parameters: Option<Parameters>,
    inputs: Vec<Input>,
    #[serde(default)]
    outputs: Option<Vec<Output>>,
}

#[derive(Deserialize)]
struct Input {
    name: String,
    shape: Vec<i64>,
    datatype: String,
    #[serde(default)]
    parameters: Option<Parameters>,
    #[serde(default)]
    data: Option<Data>,
}

#[derive(Deserialize)]
struct Output {
    name: String,
    #[serde(default)]
    parameters: Option<Parameters>,
}

/// How the answer is wanted.
#[derive(Debug, Default)]
pub(super) struct Form {
    id: Option<String>,
    /// Whether outputs that say nothing come as bytes.
    binary: bool,
    /// The outputs that say something.
    each: Vec<(String, bool)>,
}

/// How much of the body is JSON: all of it when nothing is said.
pub(super) fn header_length(headers: &HeaderMap) -> Result<Option<usize>, Failure> {
    if let Some(coding) = headers
        .get(CONTENT_ENCODING)
        .filter(|coding| *coding != "identity")
    {
        return Err(Failure::invalid(
            "content-encoding",
            format!("a body that is compressed ({coding:?}) is not taken: send it as it is"),
        ));
    }
    let Some(length) = headers.get(HEADER_LENGTH) else {
        return Ok(None);
    };
    let length = length.to_str().ok().and_then(|text| text.parse().ok());
    length.map(Some).ok_or_else(|| {
        Failure::invalid(
            HEADER_LENGTH.as_str(),
            format!("the header {HEADER_LENGTH} holds no number"),
        )
    })
}

/// What a body asks for.
pub(super) fn read(bytes: Bytes, header: Option<usize>) -> Result<(Asked, Form), Failure> {
    let json = header.unwrap_or(bytes.len());
    if json > bytes.len() {
        return Err(whole(format!(
            "the header {HEADER_LENGTH} says {json} bytes, but the body has {}",
            bytes.len()
        )));
    }
    let body: Body = serde_json::from_slice(&bytes[..json])
        .map_err(|error| whole(format!("the request is no JSON of an inference request: {error}")))?;
    let mut tail = bytes.slice(json..);
    let parameters = body.parameters.unwrap_or_default();
    parameters.keys().try_for_each(|name| known_parameter(name))?;
    let binary = |parameters: &Parameters, name: &str| parameters.get(name).and_then(Value::as_bool);
    let mut form = Form {
        id: body.id,
        binary: binary(&parameters, "binary_data_output").unwrap_or(false),
        each: Vec::new(),
    };
    let mut asked = Asked::default();
    for input in body.inputs {
        asked.inputs.push(tensor(input, &mut tail)?);
    }
    if !tail.is_empty() {
        let left = tail.len();
        return Err(invalid(format!(
            "{left} bytes follow the tensors that the inputs name"
        )));
    }
    for output in body.outputs.unwrap_or_default() {
        let parameters = output.parameters.unwrap_or_default();
        parameters.keys().try_for_each(|name| known_parameter(name))?;
        if let Some(binary) = binary(&parameters, "binary_data") {
            form.each.push((output.name.clone(), binary));
        }
        asked.outputs.push(output.name);
    }
    Ok((asked, form))
}

/// An input, from its own data or from the bytes that follow the JSON.
fn tensor(input: Input, tail: &mut Bytes) -> Result<AskedInput, Failure> {
    let name = input.name;
    let about = |why: String| invalid(format!("the input {name:?}: {why}"));
    let datatype: Datatype = input.datatype.parse().map_err(about)?;
    let parameters = input.parameters.unwrap_or_default();
    parameters.keys().try_for_each(|name| known_parameter(name))?;
    let size = parameters.get("binary_data_size");
    let bytes = match (size, input.data) {
        (Some(_), Some(_)) => {
            return Err(about(
                "it has data and binary_data_size: send one of them".to_owned(),
            ));
        }
        (None, None) => return Err(about("it has neither data nor binary_data_size".to_owned())),
        (None, Some(Data(data))) => data.bytes(datatype).map_err(about)?.into(),
        (Some(size), None) => {
            let size = size.as_u64().and_then(|size| usize::try_from(size).ok());
            match size {
                Some(size) if size <= tail.len() => tail.split_to(size),
                _ => {
                    let left = tail.len();
                    let why =
                        format!("its binary_data_size is no number of at most {left}, the bytes that follow");
                    return Err(about(why));
                }
            }
        }
    };
    Ok(AskedInput {
        name,
        datatype,
        shape: input.shape,
        bytes,
    })
}

#[derive(Serialize)]
struct Answer<'a> {
    model_name: &'a str,
    model_version: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    parameters: Value,
    outputs: Vec<Tensor<'a>>,
}

#[derive(Serialize)]
struct Tensor<'a> {
    name: &'a str,
    datatype: &'a str,
    shape: &'a [usize],
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Array<'a>>,
}

/// The answer: JSON, and behind it the tensors that are wanted as bytes.
pub(super) fn written(model: &TensorModel, form: &Form, given: Vec<Given>) -> Result<Response, Failure> {
    let mut tail = Vec::new();
    let mut outputs = Vec::with_capacity(given.len());
    for output in &given {
        let said = form.each.iter().find(|(name, _)| *name == output.name);
        let binary = said.map_or(form.binary, |(_, binary)| *binary);
        if !binary && !finite(output.datatype, &output.bytes) {
            return Err(Failure::Model(format!(
                "the output {:?} holds values that are no numbers in JSON (infinite, or none at all): ask for it with binary_data",
                output.name
            )));
        }
        if binary {
            tail.extend_from_slice(&output.bytes);
        }
        outputs.push(Tensor {
            name: &output.name,
            datatype: output.datatype.name(),
            shape: &output.shape,
            parameters: binary.then(|| serde_json::json!({ "binary_data_size": output.bytes.len() })),
            data: (!binary).then_some(Array(output.datatype, &output.bytes)),
        });
    }
    let any_binary = outputs.iter().any(|output| output.parameters.is_some());
    let answer = Answer {
        model_name: model.name(),
        model_version: VERSION,
        id: form.id.as_deref(),
        parameters: serde_json::json!({ "digest": model.digest().digest }),
        outputs,
    };
    let mut body = serde_json::to_vec(&answer).map_err(|error| Failure::Internal(error.to_string()))?;
    if !any_binary {
        return Ok((
            [(CONTENT_TYPE, HeaderValue::from_static("application/json"))],
            body,
        )
            .into_response());
    }
    let length = HeaderValue::from(body.len());
    body.append(&mut tail);
    let kind = HeaderValue::from_static("application/octet-stream");
    Ok(([(CONTENT_TYPE, kind), (HEADER_LENGTH, length)], body).into_response())
}

fn invalid(message: String) -> Failure {
    Failure::invalid("inputs", message)
}

fn whole(message: String) -> Failure {
    Failure::InvalidArgument {
        message,
        field: Field::Whole,
    }
}
