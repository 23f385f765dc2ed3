"""The page at / in a real browser: Debian's Chromium, driven by Playwright, with a recording for a microphone."""

import base64
import json
import os
import pathlib
import re
import urllib.request
import wave

import pytest
from playwright.sync_api import expect, sync_playwright

from conftest import SAMPLES, pcm, said_in

NAME = "three-digits-16k.wav"
SAID = said_in(NAME)
PLAYED = "two-digits-48k-stereo.wav"
PATIENCE = 15_000
SHOTS = pathlib.Path(os.environ.get("PARLANCE_SCREENSHOTS", "screenshots"))
expect.set_options(timeout=PATIENCE)

# What the browser itself writes when a server refuses something, next to what the page shows.
REFUSED = re.compile(r"Failed to load resource: the server responded with a status of")


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """Its microphone hears the recording once, then silence. The bundled model hears digits in a longer silence before it."""
    spoken = tmp_path_factory.mktemp("microphone") / "spoken.wav"
    with wave.open(str(spoken), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(48_000)
        file.writeframes(bytes(2 * 14_400) + pcm(NAME, 48_000).tobytes() + bytes(2 * 3 * 48_000))
    flags = [
        "--no-sandbox",
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-audio-capture={spoken}%noloop",
    ]
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=os.environ.get("CHROMIUM", "/usr/bin/chromium"), args=flags)
        yield chromium
        chromium.close()


class Visit:
    """A tab, and what went wrong in it."""

    def __init__(self, browser, server, **context):
        self.context = browser.new_context(permissions=["microphone", "clipboard-read", "clipboard-write"], **context)
        self.page = self.context.new_page()
        self.faults, self.refusals, self.requests = [], 0, []
        self.page.on("console", self.note)
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("websocket", lambda socket: self.requests.append(socket.url))
        self.server = server
        self.page.set_default_timeout(PATIENCE)

    def note(self, message):
        if message.type in ("error", "warning"):
            if REFUSED.search(message.text):
                self.refusals += 1
            else:
                self.faults.append(message.text)

    def open(self):
        self.page.goto(self.server.url)
        expect(self.page.locator("#served")).to_have_text("serves whisper-nano-digits")
        return self

    def choose(self, *files):
        self.page.set_input_files("#file", files)

    def segments(self):
        return self.page.locator("#segments .segment")

    def texts(self):
        return self.segments().locator(".text").all_inner_texts()

    def state(self):
        return self.page.locator("#state")

    def shot(self, name):
        SHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SHOTS / f"{name}.png", full_page=True)

    def check(self):
        """Nothing went wrong, and nobody else was asked."""
        assert self.faults == []
        own = (self.server.url, self.server.url.replace("http", "ws", 1), "blob:")
        assert [url for url in self.requests if not url.startswith(own)] == []


@pytest.fixture
def visit(browser, server):
    made = []

    def go(**context):
        made.append(Visit(browser, server, **context))
        return made[-1]

    yield go
    for each in made:
        each.check()
        each.context.close()


def answer_of(server, name, response_format):
    """What the server itself writes."""
    form = b""
    for field, value in [("language", b"en"), ("response_format", response_format.encode())]:
        form += b'--X\r\ncontent-disposition: form-data; name="%s"\r\n\r\n%s\r\n' % (field.encode(), value)
    audio = (SAMPLES / name).read_bytes()
    form += b'--X\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\n%s\r\n--X--\r\n' % audio
    url = f"{server.url}/v1/audio/transcriptions"
    request = urllib.request.Request(url, form, {"content-type": "multipart/form-data; boundary=X"})
    with urllib.request.urlopen(request) as answer:
        return answer.read().decode()


DROP = """async ([name, base64]) => {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(new File([bytes], name));
  for (const kind of ["dragenter", "dragover", "drop"]) {
    document.body.dispatchEvent(new DragEvent(kind, { dataTransfer, bubbles: true, cancelable: true }));
  }
}"""


def drop(page, path):
    page.evaluate(DROP, [path.name, base64.b64encode(path.read_bytes()).decode()])


# --- a file ---


def test_a_dropped_file_becomes_words_with_times_and_can_be_taken_along(visit, server):
    tab = visit().open()
    tab.page.fill("#language", "en")
    drop(tab.page, SAMPLES / NAME)
    expect(tab.segments()).to_have_count(1)
    assert tab.texts() == [SAID]
    expect(tab.segments().locator(".time")).to_have_text(re.compile(r"^0:00\.\d – 0:0[12]\.\d$"))
    expect(tab.state()).to_have_text(re.compile(r"^1 segment of 0:02\.\d, english, in "))
    tab.shot("file")
    for button, response_format in [("txt", "text"), ("srt", "srt"), ("vtt", "vtt"), ("json", "verbose_json")]:
        with tab.page.expect_download() as downloading:
            tab.page.click(f"#downloads >> text='{button}'")
        download = downloading.value
        assert download.suggested_filename == f"three-digits-16k.{button}"
        content = pathlib.Path(download.path()).read_text()
        expected = answer_of(server, NAME, response_format)
        if button == "json":
            assert json.loads(content) == json.loads(expected)
        else:
            assert content == expected
    tab.page.click("#copy")
    expect(tab.state()).to_have_text("Copied.")
    assert tab.page.evaluate("navigator.clipboard.readText()") == SAID


def test_a_chosen_file_plays_from_the_segment_or_word_that_is_clicked(visit):
    tab = visit().open()
    tab.page.fill("#language", "en")
    tab.page.check("#words")
    tab.choose(SAMPLES / PLAYED)
    words = tab.page.locator(".word")
    expect(words).to_have_count(2)
    assert [re.sub(r"\s.*", "", text, flags=re.S) for text in words.all_inner_texts()] == ["Five", "eight."]
    tab.shot("words")
    tab.page.evaluate("document.getElementById('player').play = async () => {}")
    second = words.nth(1)
    second.click()
    time = tab.page.evaluate("document.getElementById('player').currentTime")
    minutes, seconds = second.locator("small").inner_text().split(":")
    assert time == pytest.approx(60 * int(minutes) + float(seconds), abs=0.06) and time > 0.3
    expect(second).to_have_class("word now")
    tab.page.click(".segment .time")
    assert tab.page.evaluate("document.getElementById('player').currentTime") < 0.3


def test_the_keyboard_alone_does(visit):
    tab = visit().open()
    with tab.page.expect_file_chooser() as choosing:
        for _ in range(20):
            tab.page.keyboard.press("Tab")
            if tab.page.evaluate("document.activeElement.id") == "file":
                break
        tab.page.keyboard.press("Enter")
    for expected in ["speak", "model", "language", "task", "prompt", "words"]:
        tab.page.keyboard.press("Tab")
        assert tab.page.evaluate("document.activeElement.id") == expected
        if expected == "language":
            tab.page.keyboard.type("en")
            tab.page.keyboard.press("Escape")
    choosing.value.set_files(SAMPLES / NAME)
    expect(tab.segments()).to_have_count(1)
    tab.page.focus("#again")
    tab.page.keyboard.press("Enter")
    expect(tab.state()).to_have_text(re.compile("^Sending"))
    expect(tab.state()).to_have_text(re.compile("^1 segment"))
    tab.page.evaluate("document.getElementById('player').play = async () => { window.played = true }")
    tab.page.focus(".segment .time")
    tab.page.keyboard.press("Enter")
    assert tab.page.evaluate("window.played")


def test_everything_has_a_name_for_screen_readers(visit):
    tab = visit().open()
    tab.choose(SAMPLES / NAME)
    expect(tab.segments()).to_have_count(1)
    for role, name in [
        ("button", "Choose a file"),
        ("button", "Speak"),
        ("combobox", "Model"),
        ("combobox", "Language"),
        ("combobox", "Write it"),
        ("textbox", "Prompt: names and style to expect"),
        ("checkbox", "A time for each word"),
        ("button", "srt"),
        ("list", "Segments"),
        ("region", "Transcript"),
    ]:
        assert tab.page.get_by_role(role, name=name, exact=True).count() == 1, (role, name)
    assert tab.page.get_by_role("button", name=re.compile(r"^Play from 0:00\.\d$")).count() == 1


def test_a_refusal_is_shown_in_the_servers_words(visit, tmp_path):
    tab = visit().open()
    notes = tmp_path / "notes.txt"
    notes.write_text("no audio at all")
    tab.choose(notes)
    error = tab.page.get_by_role("alert")
    expect(error).to_contain_text("not a WAV, FLAC, MP3")
    expect(tab.state()).to_have_text("There is no transcript.")
    expect(tab.page.locator("#downloads")).to_be_hidden()
    tab.shot("error")
    tab.page.fill("#language", "tlh")
    tab.choose(SAMPLES / NAME)
    expect(error).to_contain_text("tlh")
    tab.page.fill("#language", "en")
    tab.page.click("#again")
    expect(tab.segments()).to_have_count(1)
    expect(error).to_be_hidden()


def test_silence_is_said_to_be_silence(visit):
    tab = visit().open()
    tab.choose(SAMPLES / "silence.wav")
    expect(tab.state()).to_have_text(re.compile(r"^No speech was found of 0:02\.0"))
    expect(tab.segments()).to_have_count(0)


def test_options_reach_the_server_and_the_key_stays_in_the_tab(visit):
    tab = visit().open()
    tab.page.click("summary")
    tab.page.fill("#key", "secret-7")
    tab.page.press("#key", "Tab")
    tab.page.fill("#language", "en")
    tab.page.select_option("#task", "translate")
    tab.page.fill("#prompt", "Seven three one.")
    forms = []

    def keep(route):
        forms.append((route.request.url, route.request.all_headers(), route.request.post_data_buffer.decode("latin1")))
        route.fulfill(json={"text": "Seven.", "duration": 1, "segments": [{"id": 0, "start": 0, "end": 1, "text": " Seven."}]})

    tab.page.route("**/v1/audio/*", keep)
    tab.choose(SAMPLES / NAME)
    expect(tab.segments()).to_have_count(1)
    url, headers, form = forms[-1]
    assert url.endswith("/v1/audio/translations")
    assert headers["authorization"] == "Bearer secret-7"
    fields = dict(re.findall(r'name="([^"]+)"\r\n\r\n([^\r]*)\r\n', form))
    assert fields["language"] == "en"
    assert fields["prompt"] == "Seven three one."
    assert fields["model"] == "whisper-nano-digits"
    assert fields["response_format"] == "verbose_json"
    tab.page.reload()
    assert tab.page.input_value("#key") == "secret-7"
    other = visit().open()
    assert other.page.input_value("#key") == ""


def events(*objects):
    return "".join(f"data: {json.dumps(each)}\n\n" for each in objects)


def test_a_stream_of_events_is_shown_as_it_comes(visit):
    """The server's part is played here: deltas in grey, segments in black, then the whole."""
    tab = visit().open()
    segment = {"id": 0, "start": 0, "end": 1.5, "text": " Seven <b>one</b>."}
    verbose = {"text": "Seven <b>one</b>. Two.", "language": "english", "duration": 2.5}
    verbose["segments"] = [segment, {"id": 1, "start": 1.5, "end": 2.5, "text": " Two."}]
    begun = [
        {"type": "transcript.text.delta", "delta": "Seven"},
        {"type": "transcript.text.delta", "delta": " <b>one</b>."},
        {"type": "transcript.text.segment", **segment},
        {"type": "transcript.text.delta", "delta": " Tw"},
    ]
    rest = [{"type": "transcript.text.done", "text": verbose["text"], "verbose": verbose}]
    stream = {"content_type": "text/event-stream", "headers": {"cache-control": "no-cache"}}
    tab.page.route("**/v1/audio/transcriptions", lambda route: route.fulfill(**stream, body=events(*begun)))
    tab.choose(SAMPLES / NAME)
    # It broke off: what had come stays, and is said to be no more than that.
    expect(tab.page.get_by_role("alert")).to_have_text("The answer broke off before its end.")
    assert tab.texts() == ["Seven <b>one</b>."]
    expect(tab.state()).to_have_text("This is what came before the error.")
    # Markup in the text is text.
    assert tab.page.locator("#segments b").count() == 0

    tab.page.unroute("**/v1/audio/transcriptions")
    tab.page.route("**/v1/audio/transcriptions", lambda route: route.fulfill(**stream, body=events(*begun, *rest)))
    tab.page.click("#again")
    expect(tab.segments()).to_have_count(2)
    assert tab.texts() == ["Seven <b>one</b>.", "Two."]
    expect(tab.page.locator("#interim")).to_be_hidden()

    tab.page.unroute("**/v1/audio/transcriptions")
    broken = events(*begun, {"error": {"message": "the server is shutting down"}})
    tab.page.route("**/v1/audio/transcriptions", lambda route: route.fulfill(**stream, body=broken))
    tab.page.click("#again")
    expect(tab.page.get_by_role("alert")).to_have_text("the server is shutting down")


# --- the microphone ---


def heard(tab):
    """What was spoken. The bundled model may hear one more digit in the silence before it."""
    (text,) = tab.texts()
    assert SAID.lower() in text.lower()


def test_what_is_said_into_the_microphone_is_written(visit):
    """While somebody speaks where the server can, when they stop where it cannot: the words are the same."""
    tab = visit().open()
    tab.page.fill("#language", "en")
    tab.page.click("#speak")
    stop = tab.page.get_by_role("button", name="Stop")
    expect(stop).to_be_enabled()
    expect(tab.state()).to_contain_text("Listening")
    tab.page.wait_for_timeout(2_500)
    tab.shot("listening")
    tab.page.wait_for_timeout(3_000)
    stop.click()
    expect(tab.segments()).to_have_count(1)
    expect(tab.state()).to_have_text(re.compile("^1 segment"))
    heard(tab)
    expect(tab.page.get_by_role("alert")).to_be_hidden()
    expect(tab.page.locator("#downloads")).to_be_visible()
    # It is there to be heard, with a length and a place to seek in.
    tab.page.wait_for_function("Number.isFinite(document.getElementById('player').duration)")
    assert 4 < tab.page.evaluate("document.getElementById('player').duration") < 20
    tab.shot("spoken")
    # And to be transcribed again, as a file.
    tab.page.click("#again")
    expect(tab.state()).to_have_text(re.compile("^1 segment .* english"))


def test_the_page_and_its_session_work_over_tls(browser, secure):
    tab = Visit(browser, secure, ignore_https_errors=True).open()
    tab.page.fill("#language", "en")
    tab.page.click("#speak")
    stop = tab.page.get_by_role("button", name="Stop")
    expect(stop).to_be_enabled()
    # Words while somebody speaks come by the session, and by nothing else.
    expect(tab.segments()).to_have_count(1)
    stop.click()
    expect(tab.state()).to_have_text(re.compile("^1 segment"))
    heard(tab)
    assert any(url.startswith("wss://") for url in tab.requests), tab.requests
    tab.check()
    tab.context.close()


class Session:
    """The server's side of a session, played here."""

    def __init__(self, lost_after=None):
        self.types, self.settings, self.sound = [], None, b""
        self.lost_after = lost_after

    def __call__(self, socket):
        self.socket, self.url = socket, socket.url
        socket.on_message(self.take)
        self.send("session.created", session={})

    def send(self, kind, **fields):
        self.socket.send(json.dumps({"type": kind, **fields}))

    def take(self, message):
        event = json.loads(message)
        self.types.append(event["type"])
        words = "conversation.item.input_audio_transcription."
        if event["type"] == "session.update":
            self.settings = event["session"]
            self.send("session.updated", session=self.settings)
        elif event["type"] == "input_audio_buffer.append":
            self.sound += base64.b64decode(event["audio"])
            appended = self.types.count("input_audio_buffer.append")
            if self.lost_after == appended:
                self.socket.close()
            elif appended == 5:
                self.send("input_audio_buffer.speech_started", audio_start_ms=200, item_id="a")
                self.send(words + "delta", item_id="a", delta="Seven")
                self.send(words + "delta", item_id="a", delta=" thr")
            elif appended == 15:
                self.send("input_audio_buffer.speech_stopped", audio_end_ms=1200, item_id="a")
                self.send("input_audio_buffer.committed", item_id="a")
                self.send(words + "completed", item_id="a", transcript="Seven three.")
                self.send("input_audio_buffer.speech_started", audio_start_ms=1400, item_id="b")
                self.send(words + "delta", item_id="b", delta="On")
        elif event["type"] == "input_audio_buffer.commit":
            self.send("input_audio_buffer.committed", item_id="b")
            self.send(words + "completed", item_id="b", transcript="One.")


def test_a_session_shows_interim_words_in_grey_and_final_ones_in_black(visit):
    tab = visit()
    session = Session()
    tab.page.route_web_socket(re.compile("/v1/realtime"), session)
    tab.open()
    tab.page.fill("#language", "en")
    uploads = []
    tab.page.on("request", lambda request: uploads.append(request.url) if request.method == "POST" else None)
    tab.page.click("#speak")
    rows = tab.segments()
    grey, black = re.compile(r"\bopen\b"), re.compile("^segment$")
    expect(rows.nth(0)).to_contain_text("Seven thr")
    expect(rows.nth(0)).to_have_class(grey)
    expect(rows.nth(0)).to_contain_text("Seven three.")
    expect(rows.nth(0)).to_have_class(black)
    expect(rows.nth(1)).to_contain_text("On")
    expect(rows.nth(1)).to_have_class(grey)
    tab.shot("interim")
    colours = [rows.nth(row).locator(".text").evaluate("text => getComputedStyle(text).color") for row in (0, 1)]
    assert colours[0] != colours[1]
    tab.page.wait_for_timeout(1_000)
    tab.page.get_by_role("button", name="Stop").click()
    expect(tab.state()).to_have_text(re.compile("^2 segments of "))
    assert tab.texts() == ["Seven three.", "One."]
    assert rows.nth(0).locator(".time").inner_text() == "0:00.2 – 0:01.2"
    with tab.page.expect_download() as downloading:
        tab.page.click("#downloads >> text='txt'")
    assert pathlib.Path(downloading.value.path()).read_text() == "Seven three. One.\n"

    assert session.url == f"ws://{tab.server.address}/v1/realtime?intent=transcription"
    assert session.types[0] == "session.update" and session.types[-1] == "input_audio_buffer.commit"
    given = session.settings["audio"]["input"]
    assert session.settings["type"] == "transcription"
    assert given["format"] == {"type": "audio/pcm", "rate": 24_000}
    assert given["transcription"] == {"model": "whisper-nano-digits", "language": "en"}
    assert given["turn_detection"] == {"type": "server_vad"}
    # What was said is in there, at its own speed: as many seconds as were spoken, and not silence.
    assert 2 < len(session.sound) / 48_000 < 30
    assert max(abs(sample) for sample in memoryview(session.sound).cast("h")) > 1000
    assert uploads == []


def test_a_session_that_is_lost_loses_no_words(visit):
    tab = visit()
    tab.page.route_web_socket(re.compile("/v1/realtime"), Session(lost_after=8))
    tab.open()
    tab.page.fill("#language", "en")
    tab.page.click("#speak")
    expect(tab.page.get_by_role("alert")).to_contain_text("The recording goes on")
    tab.page.wait_for_timeout(4_000)
    tab.page.get_by_role("button", name="Stop").click()
    expect(tab.state()).to_have_text(re.compile("^1 segment"))
    heard(tab)


# --- how it looks ---


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 1200])
def test_it_fits_and_can_be_read(visit, scheme, width):
    tab = visit(viewport={"width": width, "height": 800}, color_scheme=scheme).open()
    tab.page.fill("#language", "en")
    tab.choose(SAMPLES / "long-16k.flac")
    expect(tab.page.locator("#downloads")).to_be_visible()
    assert tab.segments().count() > 1
    tab.shot(f"{scheme}-{width}")
    assert tab.page.evaluate("document.documentElement.scrollWidth") <= width
    luminance = """(selector) => {
      const light = (color) => {
        const [r, g, b] = color.match(/[\\d.]+/g).map((part) => part / 255).map((c) =>
          c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
      };
      const element = document.querySelector(selector);
      let behind = element;
      while (getComputedStyle(behind).backgroundColor.endsWith(", 0)")) behind = behind.parentElement;
      const pair = [getComputedStyle(element).color, getComputedStyle(behind).backgroundColor].map(light).sort((a, b) => a - b);
      return (pair[1] + 0.05) / (pair[0] + 0.05);
    }"""
    for selector in [".segment .text", ".segment .time", "#state", "#speak", ".drop .button", "#hint", "#served", ".field label"]:
        assert tab.page.evaluate(luminance, selector) >= 4.5, selector
