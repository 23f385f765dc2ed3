// A recording and what is wanted in; the transcript out, segment by segment where the server streams.

/** What the server said when it refused, or what the person should read when it said nothing. */
export class Refused extends Error {
  constructor(message, param, status) {
    super(message);
    this.param = param;
    this.status = status;
  }
}

/** Whether the server answers with a stream, until it says that it does not. */
let streams = true;

/** `Authorization` where there is a key. */
export function headers(key) {
  return key ? { authorization: `Bearer ${key}` } : {};
}

/**
 * Sends `file` and resolves to the whole `verbose_json`. On the way `onDelta(text)` gets text as it comes and
 * `onSegment(segment)` each segment that is settled.
 */
export async function transcribe(file, options, { signal, onDelta, onSegment }) {
  if (streams) {
    try {
      return await request(file, options, true, { signal, onDelta, onSegment });
    } catch (error) {
      if (!(error instanceof Refused && error.status === 400 && error.param === "stream")) throw error;
      streams = false;
    }
  }
  return request(file, options, false, { signal, onDelta, onSegment });
}

async function request(file, options, stream, { signal, onDelta, onSegment }) {
  const form = new FormData();
  // The file first: a server that refuses a later field has then read it, and the answer is not lost in a broken upload.
  form.append("file", file, file.name || "recording");
  form.append("response_format", "verbose_json");
  form.append("timestamp_granularities[]", "segment");
  if (options.words) form.append("timestamp_granularities[]", "word");
  for (const name of ["model", "language", "prompt"]) if (options[name]) form.append(name, options[name]);
  if (stream) form.append("stream", "true");
  const path = options.task === "translate" ? "v1/audio/translations" : "v1/audio/transcriptions";
  let answer;
  try {
    answer = await fetch(path, { method: "POST", body: form, headers: headers(options.key), signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused("The connection broke off. The server may be gone, or the file larger than it accepts.");
  }
  if (!answer.ok) throw await refusal(answer);
  if ((answer.headers.get("content-type") || "").startsWith("text/event-stream")) {
    return streamed(answer, { onDelta, onSegment });
  }
  return complete(await answer.json());
}

/** The server's own sentence, if it is one. */
export async function refusal(answer) {
  const error = await answer.json().then(
    (body) => body.error,
    () => null,
  );
  const message = error?.message || `The server answered ${answer.status} ${answer.statusText}`.trim() + ".";
  return new Refused(message, error?.param, answer.status);
}

async function streamed(answer, { onDelta, onSegment }) {
  const segments = [];
  for await (const event of events(answer.body)) {
    if (event.error) throw new Refused(event.error.message || "The server failed.", event.error.param);
    if (event.type === "transcript.text.delta") onDelta(event.delta);
    if (event.type === "transcript.text.segment") {
      const { type, ...segment } = event;
      segments.push(segment);
      onSegment(segment);
    }
    if (event.type === "transcript.text.done") {
      return complete(event.verbose || { text: event.text, usage: event.usage, segments });
    }
  }
  throw new Refused("The answer broke off before its end.");
}

/** The JSON of each server-sent event. */
async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    let read;
    try {
      read = await reader.read();
    } catch (error) {
      if (error.name === "AbortError") throw error;
      return;
    }
    if (read.done) return;
    rest += read.value.replaceAll("\r", "");
    const blocks = rest.split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const lines = block.split("\n").filter((line) => line.startsWith("data:"));
      const data = lines.map((line) => line.slice(5).trimStart()).join("\n");
      if (data && data !== "[DONE]") yield JSON.parse(data);
    }
  }
}

/** Some answers have no segments; the page always wants a list. */
function complete(verbose) {
  return { ...verbose, text: verbose.text ?? "", segments: verbose.segments ?? [] };
}
