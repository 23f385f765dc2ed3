"""NVIDIA's own client for the Open Inference Protocol, unchanged: gRPC and HTTP against the server with ONNX models.

What the server answers is compared with what onnxruntime makes of the same files.
"""

import gzip
import json
import urllib.error
import urllib.request

import numpy
import onnxruntime
import pytest
import tritonclient.grpc
import tritonclient.http
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from conftest import MODEL, TENSORS, Server

MODELS = {"linear": TENSORS / "linear", "types": TENSORS / "types", "open": TENSORS / "open"}


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    """A server for each model, and one with the bundled model's encoder: a real graph of a transformer."""
    encoder = tmp_path_factory.mktemp("models") / "encoder"
    encoder.mkdir()
    (encoder / "model.onnx").symlink_to(MODEL / "encoder_model.onnx")
    started = {name: Server(model=folder, format="onnx") for name, folder in {**MODELS, "encoder": encoder}.items()}
    yield started
    for each in started.values():
        each.stop()


@pytest.fixture(params=["grpc", "http"])
def way(request):
    return {"grpc": tritonclient.grpc, "http": tritonclient.http}[request.param]


def client_of(server, way):
    return way.InferenceServerClient(server.grpc if way is tritonclient.grpc else server.address)


def expected(folder, tensors):
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"))
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, tensors)))


def ask(client, way, name, tensors, outputs=None, **options):
    inputs = []
    for key, array in tensors.items():
        inputs.append(way.InferInput(key, list(array.shape), np_to_triton_dtype(array.dtype)))
        inputs[-1].set_data_from_numpy(array)
    wanted = outputs and [way.InferRequestedOutput(output) for output in outputs]
    return client.infer(name, inputs, outputs=wanted, **options)


def close(result, name, array):
    answer = result.as_numpy(name)
    assert answer.dtype == array.dtype and answer.shape == array.shape
    numpy.testing.assert_allclose(answer, array, rtol=1e-4, atol=1e-4)


def test_the_server_and_its_model_are_told(servers, way):
    client = client_of(servers["linear"], way)
    assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("linear")
    options = {"as_json": True} if way is tritonclient.grpc else {}
    server = client.get_server_metadata(**options)
    assert server["name"] == "parlance-server" and "binary_tensor_data" in server["extensions"]
    model = client.get_model_metadata("linear", **options)
    shapes = [[int(size) for size in tensor["shape"]] for tensor in model["inputs"] + model["outputs"]]
    assert shapes == [[-1, 4], [-1, 3], [-1, 3]]
    assert [tensor["datatype"] for tensor in model["inputs"]] == ["FP32"] and model["platform"] == "tract_onnx"


def test_any_number_of_rows_is_answered_as_onnxruntime_does(servers, way):
    client = client_of(servers["linear"], way)
    for rows in [1, 2, 7]:
        x = numpy.random.default_rng(rows).normal(size=(rows, 4)).astype(numpy.float32)
        answer = ask(client, way, "linear", {"x": x})
        for name, array in expected(MODELS["linear"], {"x": x}).items():
            close(answer, name, array)


def test_only_the_outputs_asked_for_come_and_the_id_comes_back(servers, way):
    x = numpy.ones((1, 4), numpy.float32)
    answer = ask(client_of(servers["linear"], way), way, "linear", {"x": x}, ["probabilities"], request_id="42")
    close(answer, "probabilities", expected(MODELS["linear"], {"x": x})["probabilities"])
    assert answer.as_numpy("logits") is None
    told = answer.get_response() if way is tritonclient.http else answer.get_response(as_json=True)
    assert told["id"] == "42" and told["model_name"] == "linear"
    digest = told["parameters"]["digest"]
    assert (digest if isinstance(digest, str) else digest["string_param"]).startswith("sha256:")


def test_every_datatype_goes_through_unchanged(servers, way):
    kinds = {
        "bool": numpy.array([True, False]),
        "fp16": numpy.array([0.5, -65504], numpy.float16),
        "fp32": numpy.array([1e-30, -3.5], numpy.float32),
        "fp64": numpy.array([1e-300, -3.5], numpy.float64),
    }
    for bits in [8, 16, 32, 64]:
        for kind in ["int", "uint"]:
            limits = numpy.iinfo(f"{kind}{bits}")
            kinds[f"{kind}{bits}"] = numpy.array([limits.min, limits.max], f"{kind}{bits}")
    tensors = {f"{name}_in": array for name, array in kinds.items()}
    answer = ask(client_of(servers["types"], way), way, "types", tensors)
    for name, array in kinds.items():
        numpy.testing.assert_array_equal(answer.as_numpy(f"{name}_out"), array)
        assert answer.as_numpy(f"{name}_out").dtype == array.dtype


def test_two_inputs_that_share_their_dimensions(servers, way):
    client = client_of(servers["open"], way)
    for shape in [(1, 1), (2, 5), (3, 2)]:
        random = numpy.random.default_rng(7)
        tensors = {"ids": random.integers(0, 10, shape), "mask": random.integers(0, 2, shape)}
        close(ask(client, way, "open", tensors), "sum", expected(MODELS["open"], tensors)["sum"])
    other = {"ids": numpy.zeros((1, 2), numpy.int64), "mask": numpy.zeros((1, 3), numpy.int64)}
    with pytest.raises(InferenceServerException, match="the dimension sequence is 2"):
        ask(client, way, "open", other)


def test_a_real_transformer_answers_as_onnxruntime_does(servers, way):
    mel = numpy.random.default_rng(1).normal(size=(1, 80, 3000)).astype(numpy.float32)
    answer = ask(client_of(servers["encoder"], way), way, "encoder", {"input_features": mel})
    session = onnxruntime.InferenceSession(str(MODEL / "encoder_model.onnx"))
    (states,) = session.run(["last_hidden_state"], {"input_features": mel})
    numpy.testing.assert_allclose(answer.as_numpy("last_hidden_state"), states, rtol=1e-2, atol=1e-3)


def test_data_in_json_is_answered_in_json(servers):
    way = tritonclient.http
    x = numpy.array([[1, 2, 3, 4], [0.1, 0.2, 0.3, 0.4]], numpy.float32)
    given = way.InferInput("x", [2, 4], "FP32")
    given.set_data_from_numpy(x, binary_data=False)
    wanted = [way.InferRequestedOutput("logits", binary_data=False), way.InferRequestedOutput("probabilities")]
    answer = client_of(servers["linear"], way).infer("linear", [given], outputs=wanted)
    for name, array in expected(MODELS["linear"], {"x": x}).items():
        close(answer, name, array)
    outputs = {output["name"]: output for output in answer.get_response()["outputs"]}
    assert len(outputs["logits"]["data"]) == 6
    assert outputs["probabilities"]["parameters"] == {"binary_data_size": 24}


def post(server, path, body, **headers):
    request = urllib.request.Request(f"{server.url}{path}", data=body, headers=headers)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_what_is_wrong_is_said(servers, way):
    client = client_of(servers["linear"], way)
    ones = numpy.ones
    for tensors, said in [
        ({}, 'the input "x" is missing'),
        ({"y": ones((1, 4), numpy.float32)}, 'no input named "y"; its inputs are: x'),
        ({"x": ones((1, 4), numpy.float64)}, 'the input "x" is FP32, but was sent as FP64'),
        ({"x": ones((1, 5), numpy.float32)}, r'the input "x" has the shape \[batch, 4\], but was sent with \[1, 5\]'),
        ({"x": ones(4, numpy.float32)}, r"but was sent with \[4\]"),
        ({"x": numpy.array([b"a"], numpy.object_)}, "the datatype BYTES is not served"),
    ]:
        with pytest.raises(InferenceServerException, match=said):
            ask(client, way, "linear", tensors)
    x = {"x": ones((1, 4), numpy.float32)}
    with pytest.raises(InferenceServerException, match='no output named "z"; its outputs are: logits, probabilities'):
        ask(client, way, "linear", x, ["z"])
    with pytest.raises(InferenceServerException, match='this server serves "linear"'):
        ask(client, way, "other", x)
    with pytest.raises(InferenceServerException, match="version 7"):
        ask(client, way, "linear", x, model_version="7")
    with pytest.raises(InferenceServerException, match="the model failed: an operator cannot work on these tensors"):
        far = {"ids": numpy.full((1, 1), 99), "mask": ones((1, 1), numpy.int64)}
        ask(client_of(servers["open"], way), way, "open", far)
    close(ask(client, way, "linear", x, model_version="1"), "logits", expected(MODELS["linear"], x)["logits"])


def test_bodies_that_are_none_are_refused_in_words(servers):
    path = "/v2/models/linear/infer"
    tensor = {"name": "x", "shape": [1, 4], "datatype": "FP32"}
    for body, said in [
        (b"{", "no JSON of an inference request"),
        ({"inputs": [tensor]}, "neither data nor binary_data_size"),
        ({"inputs": [{**tensor, "data": [1, 2]}]}, "needs 16 bytes"),
        ({"inputs": [{**tensor, "data": ["a"]}]}, "numbers"),
        ({"inputs": [{**tensor, "datatype": "INT8", "data": [300]}]}, "300 is no INT8"),
        ({"inputs": [{**tensor, "shape": [2**62, 4], "data": [1]}]}, "more bytes than there are"),
        ({"inputs": [{**tensor, "parameters": {"binary_data_size": 16}}]}, "binary_data_size is no number of at most 0"),
        ({"inputs": [{**tensor, "parameters": {"shared_memory_region": "a"}, "data": []}]}, "memory shared"),
    ]:
        code, answer = post(servers["linear"], path, body if isinstance(body, bytes) else json.dumps(body).encode())
        assert code == 400 and said in answer["error"], answer
    code, answer = post(servers["linear"], path, gzip.compress(b"{}"), **{"content-encoding": "gzip"})
    assert code == 400 and "compressed" in answer["error"]
    code, answer = post(servers["linear"], "/v2/models", b"{}")
    assert code == 404 and "/v2/models" in answer["error"]


def test_keys_and_the_largest_request_hold_as_for_speech(serve, tmp_path, way):
    keys = tmp_path / "keys"
    keys.write_text("right\n")
    server = serve("--api-keys-file", str(keys), "--max-message-size", "4000", model=MODELS["linear"], format="onnx")
    client, x = client_of(server, way), numpy.ones((1, 4), numpy.float32)
    assert client.is_server_live() and client.is_server_ready()
    with pytest.raises(InferenceServerException, match="an API key is needed"):
        ask(client, way, "linear", {"x": x})
    headers = {"authorization": "Bearer right"}
    assert ask(client, way, "linear", {"x": x}, headers=headers).as_numpy("logits").shape == (1, 3)
    with pytest.raises(InferenceServerException, match="larger than 4000 bytes"):
        ask(client, way, "linear", {"x": numpy.ones((1000, 4), numpy.float32)}, headers=headers)
    api = "ModelInfer" if way is tritonclient.grpc else "HttpInfer"
    assert server.metric(f'parlance_requests_total{{api="{api}",code="OK"}}') == 1
    assert server.metric(f'parlance_rejections_total{{reason="unauthenticated"}}') == 1
