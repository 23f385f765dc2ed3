"""OpenAI's own package, unchanged but for its base_url."""

import asyncio
import base64
import io
import ssl

import openai
import pytest
from openai.types.audio import TranscriptionTextDeltaEvent, TranscriptionTextDoneEvent

from conftest import AUDIO, SAMPLES, pcm, said_in

NAME = "three-digits-16k.wav"
SAID = said_in(NAME)
MODEL = "whisper-nano-digits"


def client_of(server):
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="any", max_retries=0, timeout=120)


@pytest.fixture
def client(server):
    with client_of(server) as made:
        yield made


@pytest.fixture
def create(client):
    """transcriptions.create with what most tests want."""

    def call(**options):
        return client.audio.transcriptions.create(
            **{"model": "whisper-1", "file": SAMPLES / NAME, "language": "en", **options}
        )

    return call


# --- over TLS ---


def test_https_and_wss_work_as_http_and_ws_do(secure):
    trusting = ssl.create_default_context(cafile=secure.certificate)
    url = f"{secure.url}/v1"
    assert url.startswith("https:")
    with openai.OpenAI(
        base_url=url, api_key="any", max_retries=0, http_client=openai.DefaultHttpxClient(verify=trusting)
    ) as made:
        with (SAMPLES / NAME).open("rb") as file:
            assert made.audio.transcriptions.create(model="whisper-1", file=file).text == SAID
        # The package's synchronous WebSocket reads on one thread while it writes on another, and Python's TLS 1.3 then loses a
        # request in fifty: the server never sees it. Over asyncio, and with TLS 1.2, none is lost.
        for_two_threads = ssl.create_default_context(cafile=secure.certificate)
        for_two_threads.maximum_version = ssl.TLSVersion.TLSv1_2
        options = {"ssl": for_two_threads}
        with made.realtime.connect(
            extra_query={"intent": "transcription"}, websocket_connection_options=options
        ) as connection:
            assert connection.recv().type == "session.created"
    with openai.OpenAI(base_url=url, api_key="any", max_retries=0) as distrusting:
        with pytest.raises(openai.APIConnectionError):
            distrusting.models.list()


# --- formats of the answer ---


def test_the_default_is_an_object_with_the_text(create):
    answer = create()
    assert answer.text == SAID
    assert (answer.usage.type, answer.usage.seconds) == ("duration", 3)
    assert create(response_format="json").text == SAID


def test_text_srt_and_vtt_are_strings(create):
    assert create(response_format="text") == SAID + "\n"
    srt = create(response_format="srt")
    assert srt.startswith("1\n00:00:00,") and f"\n{SAID}\n\n" in srt
    vtt = create(response_format="vtt")
    assert vtt.startswith("WEBVTT\n\n00:00:00.") and f"\n{SAID}\n\n" in vtt


def test_verbose_json_has_the_fields_that_the_package_knows(create):
    answer = create(response_format="verbose_json")
    assert answer.text == SAID
    assert answer.language == "english"
    assert answer.duration == pytest.approx(2.37, abs=0.1)
    assert answer.words is None
    (segment,) = answer.segments
    assert segment.text.strip() == SAID
    assert 0 <= segment.start < segment.end <= answer.duration
    assert segment.tokens and segment.avg_logprob < 0 and segment.compression_ratio > 0
    assert 0 <= segment.no_speech_prob < 0.6
    assert (segment.id, segment.temperature) == (0, 0)
    assert 0 <= segment.seek < 50, "frames of 10 ms: its window begins where speech does"


def test_timestamp_granularities_choose_words_and_segments(create):
    only = create(response_format="verbose_json", timestamp_granularities=["word"])
    assert [word.word for word in only.words] == SAID.split()
    assert all(word.start <= word.end for word in only.words)
    assert only.words[0].end <= only.words[-1].start
    assert only.segments is None
    both = create(response_format="verbose_json", timestamp_granularities=["word", "segment"])
    assert both.words == only.words and len(both.segments) == 1


# --- what one may ask for ---


def test_language_may_be_left_out_named_or_auto(client, create):
    assert create(language=openai.omit).text == SAID
    assert create(language="auto").text == SAID


def test_a_prompt_is_heard(create):
    """The bundled model never learned from one; that it decodes otherwise shows that it was told."""
    plain = create(response_format="verbose_json").segments
    assert plain == create(response_format="verbose_json").segments
    assert plain != create(response_format="verbose_json", prompt="Seven three one.").segments


def test_a_temperature_is_used(create):
    answer = create(response_format="verbose_json", temperature=0.8)
    assert answer.segments[0].temperature == 0.8


def test_the_model_may_be_called_by_its_name(create):
    assert create(model=MODEL).text == SAID


def test_translations(client):
    answer = client.audio.translations.create(model="whisper-1", file=SAMPLES / NAME)
    assert answer.text
    verbose = client.audio.translations.create(model="whisper-1", file=SAMPLES / NAME, response_format="verbose_json")
    assert (verbose.text, verbose.duration) == (answer.text, pytest.approx(2.37, abs=0.1))


def test_models(client):
    (model,) = client.models.list().data
    assert (model.id, model.object) == (MODEL, "model")
    assert client.models.retrieve(MODEL) == model


# --- ways to hand a file over ---


def test_a_file_may_be_a_path_an_open_file_bytes_or_a_tuple(create):
    data = (SAMPLES / NAME).read_bytes()
    with open(SAMPLES / NAME, "rb") as opened:
        assert create(file=opened).text == SAID
    assert create(file=data).text == SAID
    assert create(file=("speech.wav", data)).text == SAID
    assert create(file=("speech.wav", io.BytesIO(data), "audio/wav")).text == SAID


FORMATS = ["cbr.mp3", "index-first.m4a", "vorbis.ogg", "silk.opus", "opus.webm", "live.webm", "adts.aac", "video.mp4"]


@pytest.mark.parametrize("name", FORMATS)
def test_files_of_every_kind(create, name):
    """The same 1.2 seconds in each: what the model makes of the lossless one is what it should make of all."""
    lossless = create(file=AUDIO / "plain.flac").text
    assert len(lossless) > 3
    assert create(file=AUDIO / name).text == lossless


# --- refusals ---


def test_a_bad_request_names_its_parameter(create):
    for param, options in [
        ("file", {"file": ("notes.txt", b"no audio at all")}),
        ("language", {"language": "tlh"}),
        ("temperature", {"temperature": 1.5}),
        ("response_format", {"response_format": "diarized_json"}),
        ("timestamp_granularities[]", {"timestamp_granularities": ["word"]}),
    ]:
        with pytest.raises(openai.BadRequestError) as refused:
            create(**options)
        assert refused.value.param == param
        assert refused.value.type == "invalid_request_error"
        assert len(refused.value.body["message"]) > 10
        assert refused.value.request_id


def test_a_model_that_is_not_there_is_not_found(client, create):
    with pytest.raises(openai.NotFoundError) as refused:
        create(model="gpt-4o-transcribe")
    assert (refused.value.code, refused.value.param) == ("model_not_found", "model")
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt-4o-transcribe")


def test_a_path_that_is_not_there_is_not_found(client):
    with pytest.raises(openai.NotFoundError):
        client.audio.speech.create(model="tts-1", voice="alloy", input="seven")


def test_too_large_a_file_is_413(serve):
    small = serve("--max-message-size", "20000")
    with client_of(small) as client, pytest.raises(openai.APIStatusError) as refused:
        client.audio.transcriptions.create(model="whisper-1", file=SAMPLES / NAME)
    assert (refused.value.status_code, refused.value.code) == (413, "request_too_large")


def test_a_full_queue_is_a_rate_limit_that_says_when_to_come_back(serve):
    narrow = serve("--max-concurrent", "1", "--queue-limit", "0")
    with client_of(narrow) as client:
        with narrow.occupied(), pytest.raises(openai.RateLimitError) as refused:
            client.audio.transcriptions.create(model="whisper-1", file=SAMPLES / NAME)
        assert refused.value.code == "rate_limit_exceeded"
        assert int(refused.value.response.headers["retry-after"]) >= 1
    # As the package is by default, it waits and comes back.
    with openai.OpenAI(base_url=f"{narrow.url}/v1", api_key="any", max_retries=5) as patient:
        assert patient.audio.transcriptions.create(model="whisper-1", file=SAMPLES / NAME, language="en").text == SAID


# --- the asynchronous client ---


def test_the_asynchronous_client_asks_for_several_at_a_time(server):
    async def all_of(names):
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="any", max_retries=0) as client:
            calls = [
                client.audio.transcriptions.create(model="whisper-1", file=SAMPLES / name, language="en")
                for name in names
            ]
            with pytest.raises(openai.BadRequestError):
                await client.audio.transcriptions.create(model="whisper-1", file=b"no audio")
            return [answer.text for answer in await asyncio.gather(*calls)]

    names = [NAME, "three-digits-16k.flac", "four-digits-8k.wav", "one-digit-16k.wav"]
    assert asyncio.run(all_of(names)) == [said_in(name) for name in names]


# --- answers that come bit by bit ---


@pytest.mark.parametrize("response_format", ["json", "text", "verbose_json"])
def test_a_stream_is_deltas_and_then_the_whole(create, response_format):
    events = list(create(stream=True, response_format=response_format))
    deltas = [event for event in events if isinstance(event, TranscriptionTextDeltaEvent)]
    (done,) = [event for event in events if isinstance(event, TranscriptionTextDoneEvent)]
    assert deltas and done is events[-1]
    assert done.text == SAID
    assert "".join(event.delta for event in deltas).strip() == SAID
    if response_format == "verbose_json":
        segments = [event for event in events if event.type == "transcript.text.segment"]
        assert [segment.text.strip() for segment in segments] == [SAID]
        assert done.verbose["segments"][0]["start"] == segments[0].start


def test_a_stream_of_the_asynchronous_client(server):
    async def kinds():
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="any", max_retries=0) as client:
            stream = await client.audio.transcriptions.create(
                model="whisper-1", file=SAMPLES / NAME, language="en", stream=True
            )
            return [event async for event in stream]

    events = asyncio.run(kinds())
    assert isinstance(events[-1], TranscriptionTextDoneEvent) and events[-1].text == SAID


def test_a_stream_that_cannot_begin_is_a_bad_request(create):
    with pytest.raises(openai.BadRequestError) as refused:
        list(create(stream=True, file=b"no audio at all"))
    assert refused.value.param == "file"


# --- the realtime API ---

RATE = 24_000


def session(**transcription):
    return {
        "type": "transcription",
        "audio": {
            "input": {
                "format": {"type": "audio/pcm", "rate": RATE},
                "transcription": {"model": "whisper-1", "language": "en", **transcription},
                "turn_detection": {"type": "server_vad"},
            }
        },
    }


@pytest.fixture
def realtime(client):
    with client.realtime.connect(extra_query={"intent": "transcription"}) as connection:
        assert connection.recv().type == "session.created"
        yield connection


def events_until(connection, kind):
    """All events up to the first of a kind; an error ends the test."""
    events = []
    while not events or events[-1].type != kind:
        event = connection.recv()
        assert event.type != "error" or kind == "error", event
        events.append(event)
    return events


def append(connection, samples):
    for at in range(0, len(samples), RATE // 10):
        audio = base64.b64encode(samples[at : at + RATE // 10].tobytes()).decode()
        connection.input_audio_buffer.append(audio=audio)


def test_realtime_hears_an_utterance_between_silences(realtime):
    realtime.session.update(session=session())
    updated = events_until(realtime, "session.updated")[-1]
    assert updated.session.type == "transcription"
    silence = pcm("silence.wav", RATE)
    for samples in (silence, pcm(NAME, RATE), silence):
        append(realtime, samples)
    events = events_until(realtime, "conversation.item.input_audio_transcription.completed")
    kinds = [event.type for event in events]
    started = events[kinds.index("input_audio_buffer.speech_started")]
    stopped = events[kinds.index("input_audio_buffer.speech_stopped")]
    assert "input_audio_buffer.committed" in kinds
    assert 1500 <= started.audio_start_ms <= 2600 < stopped.audio_end_ms
    completed = events[-1]
    assert completed.transcript.strip() == SAID
    assert started.item_id == completed.item_id
    deltas = [event for event in events if event.type == "conversation.item.input_audio_transcription.delta"]
    assert deltas and {event.item_id for event in deltas} == {completed.item_id}


def test_realtime_transcribes_what_is_committed(realtime):
    settings = session()
    settings["audio"]["input"]["turn_detection"] = None
    realtime.session.update(session=settings)
    events_until(realtime, "session.updated")
    append(realtime, pcm(NAME, RATE))
    realtime.input_audio_buffer.commit()
    events = events_until(realtime, "conversation.item.input_audio_transcription.completed")
    assert events[-1].transcript.strip() == SAID


def test_realtime_refuses_a_model_that_is_not_there(realtime):
    realtime.session.update(session=session(model="gpt-4o-transcribe"))
    assert events_until(realtime, "error")[-1].error.message
