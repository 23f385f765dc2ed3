// The microphone in; words while somebody speaks out, and the recording. Two things listen to it: an AudioWorklet, whose samples
// go over a WebSocket as a transcription session of the OpenAI Realtime API, and a MediaRecorder, whose recording is kept. Where
// there is no such session, or it breaks off, the recording is uploaded like any other file, so nothing that was said is lost.

const RATE = 24000;
/** The longest wait for the words of what was said last. */
const LAST_WORDS = 60_000;
/** The longest wait for the session to open, once the person has stopped. */
const OPENING = 5_000;
/** With nothing new for this long after the last answer, nothing more comes. */
const QUIET = 400;

/**
 * Starts to listen. `handlers`:
 *   onLevel(0..1)       how loud it is
 *   onText(item)        {start, end, text, settled}: an utterance has more text, or is settled
 *   onLive(live, why)   whether the words come while somebody speaks; why not
 * Resolves to an object whose `stop()` resolves to {recording, live, duration}.
 */
export async function listen(options, handlers) {
  const stream = await navigator.mediaDevices.getUserMedia({
    audio: { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: true },
  });
  const context = new AudioContext();
  const pieces = [];
  const media = new MediaRecorder(stream);
  media.ondataavailable = (event) => pieces.push(event.data);
  const saved = new Promise((resolve) => media.addEventListener("stop", resolve));
  media.start(1000);
  const began = performance.now();
  let session = null;
  try {
    await context.audioWorklet.addModule(new URL("recorder.js", import.meta.url));
    const recorder = new AudioWorkletNode(context, "recorder", { numberOfOutputs: 0 });
    session = options.task === "translate" ? null : new Session(options, handlers);
    if (!session) handlers.onLive(false, "");
    const ended = new Promise((resolve) => {
      recorder.port.onmessage = ({ data }) => {
        if (data.end) return resolve();
        handlers.onLevel(data.peak);
        session?.hear(data.samples);
      };
    });
    context.createMediaStreamSource(stream).connect(recorder);
    await context.resume();
    return {
      async stop() {
        const duration = (performance.now() - began) / 1000;
        recorder.port.postMessage("end");
        if (media.state !== "inactive") media.stop();
        await Promise.all([ended, saved]);
        release();
        const live = session ? await session.finish() : false;
        const type = media.mimeType || "audio/webm";
        return { recording: new File(pieces, "recording." + extension(type), { type }), live, duration };
      },
    };
  } catch (error) {
    release();
    session?.close();
    throw error;
  }

  function release() {
    for (const track of stream.getTracks()) track.stop();
    context.close();
  }
}

const sleep = (time) => new Promise((resolve) => setTimeout(resolve, time));

function extension(type) {
  return type.includes("webm") ? "webm" : type.includes("ogg") ? "ogg" : "mp4";
}

/** A transcription session. Sound that comes before it is open waits; a session that is lost says so once. */
class Session {
  constructor(options, handlers) {
    this.handlers = handlers;
    this.items = new Map();
    this.waiting = [];
    this.state = "opening"; // then "open", then "lost" or "closed"
    this.heard = 0; // seconds of sound
    this.settledUpTo = 0;
    const url = new URL("v1/realtime?intent=transcription", document.baseURI);
    url.protocol = url.protocol.replace("http", "ws");
    try {
      // A browser cannot set headers here; this is how OpenAI's API takes the key instead.
      const protocols = options.key ? ["realtime", `openai-insecure-api-key.${options.key}`] : [];
      this.socket = new WebSocket(url, protocols);
    } catch {
      this.lose("");
      return;
    }
    this.socket.onmessage = ({ data }) => this.take(JSON.parse(data), options);
    this.socket.onclose = () => this.lose(this.state === "open" ? "The connection was lost." : "");
  }

  hear(samples) {
    this.heard += samples.length / RATE;
    if (samples.length === 0) return;
    const audio = base64(new Uint8Array(samples.buffer));
    if (this.state === "opening") this.waiting.push(audio);
    if (this.state === "open") this.send({ type: "input_audio_buffer.append", audio });
  }

  send(event) {
    this.socket.send(JSON.stringify(event));
  }

  take(event, options) {
    if (this.state !== "opening" && this.state !== "open") return;
    this.last = performance.now();
    switch (event.type) {
      case "session.created":
        this.send({ type: "session.update", session: settings(options) });
        break;
      case "session.updated":
        if (this.state === "open") break;
        this.state = "open";
        for (const audio of this.waiting) this.send({ type: "input_audio_buffer.append", audio });
        this.waiting = [];
        this.handlers.onLive(true, "");
        break;
      case "input_audio_buffer.speech_started":
        this.item(event.item_id).start = event.audio_start_ms / 1000;
        break;
      case "input_audio_buffer.speech_stopped":
        this.item(event.item_id).end = event.audio_end_ms / 1000;
        break;
      case "input_audio_buffer.committed":
        this.item(event.item_id).end ??= this.heard;
        this.answered ||= this.stopping;
        break;
      case "conversation.item.input_audio_transcription.delta":
        this.write(event.item_id, this.item(event.item_id).text + event.delta, false);
        break;
      case "conversation.item.input_audio_transcription.completed":
        this.write(event.item_id, event.transcript, true);
        break;
      case "conversation.item.input_audio_transcription.failed":
        this.lose(event.error?.message || "");
        break;
      case "error":
        // With nothing left to commit at the end, the server says so; that is no fault.
        if (this.stopping) this.answered = true;
        else this.lose(event.error?.message || "");
        break;
    }
  }

  item(id) {
    if (!this.items.has(id)) this.items.set(id, { start: this.settledUpTo, end: null, text: "", settled: false });
    return this.items.get(id);
  }

  write(id, text, settled) {
    const item = this.item(id);
    item.text = text;
    item.settled = settled;
    if (settled) this.settledUpTo = item.end ??= this.heard;
    this.handlers.onText(item);
  }

  lose(why) {
    if (this.state === "lost" || this.state === "closed") return;
    this.state = "lost";
    this.waiting = [];
    this.handlers.onLive(false, why);
    this.close();
  }

  /** Asks for the words of what was said last; whether all the words have come. */
  async finish() {
    const until = performance.now() + LAST_WORDS;
    while (this.state === "opening" && performance.now() < until - LAST_WORDS + OPENING) await sleep(50);
    if (this.state === "open") {
      this.stopping = true;
      this.last = performance.now();
      this.send({ type: "input_audio_buffer.commit" });
    }
    while (this.state === "open" && performance.now() < until) {
      const settled = [...this.items.values()].every((item) => item.settled);
      if (this.answered && settled && performance.now() - this.last > QUIET) {
        this.state = "closed";
        this.close();
        return true;
      }
      await sleep(50);
    }
    this.lose("The last words did not come in time.");
    return false;
  }

  close() {
    this.socket?.close();
  }
}

function settings(options) {
  const transcription = { model: options.model || "whisper-1" };
  if (options.language) transcription.language = options.language;
  if (options.prompt) transcription.prompt = options.prompt;
  const input = { format: { type: "audio/pcm", rate: RATE }, transcription, turn_detection: { type: "server_vad" } };
  return { type: "transcription", audio: { input } };
}

function base64(bytes) {
  return btoa(String.fromCharCode(...bytes));
}
