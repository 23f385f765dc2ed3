// What a person does in; requests out, and what comes back shown. All text goes into the page as text, never as markup.

import { clock, formats } from "./formats.js";
import { listen } from "./microphone.js";
import { headers, refusal, transcribe } from "./upload.js";

const LANGUAGES =
  "af am ar as az ba be bg bn bo br bs ca cs cy da de el en es et eu fa fi fo fr gl gu ha haw he hi hr ht hu hy id is it ja jv " +
  "ka kk km kn ko la lb ln lo lt lv mg mi mk ml mn mr ms mt my ne nl nn no oc pa pl ps pt ro ru sa sd si sk sl sn so sq sr su " +
  "sv sw ta te tg th tk tl tr tt uk ur uz vi yi yo yue zh";

const at = (id) => document.getElementById(id);

/** The recording that is shown, and the transcript of it. */
let recording = null;
let transcript = null;
/** Stops the request that runs. */
let running = null;
/** Who listens to the microphone. */
let listening = null;
/** Each segment that is shown: {start, end, row, words: [{start, end, button}]}. */
let shown = [];

// --- what is said to the person ---

function say(text) {
  at("state").textContent = text;
}

function fail(error) {
  at("error").textContent = error.message || String(error);
  at("error").hidden = false;
}

function busy(is) {
  at("busy").hidden = at("cancel").hidden = !is;
  at("again").hidden = is || !recording || listening !== null;
  at("speak").disabled = is || !navigator.mediaDevices;
  at("file").disabled = listening !== null;
}

function clear() {
  at("error").hidden = true;
  at("downloads").hidden = true;
  at("segments").replaceChildren();
  interim("");
  shown = [];
  transcript = null;
}

function interim(text) {
  at("interim").textContent = text;
  at("interim").hidden = text.trim() === "";
}

// --- options ---

function options() {
  return {
    model: at("model").value,
    language: at("language").value.trim(),
    task: at("task").value,
    prompt: at("prompt").value.trim(),
    words: at("words").checked,
    key: at("key").value.trim(),
  };
}

function fillLanguages() {
  let names = null;
  try {
    names = new Intl.DisplayNames(["en"], { type: "language" });
  } catch {
    // The codes alone do.
  }
  for (const code of ["auto", ...LANGUAGES.split(" ")]) {
    const name = code === "auto" ? "heard from the audio" : (names?.of(code) ?? code);
    at("languages").append(new Option(name, code));
  }
}

/** Asks which models there are, until the server is ready to say. */
async function fillModels() {
  const select = at("model");
  try {
    const answer = await fetch("v1/models", { headers: headers(at("key").value.trim()) });
    if (!answer.ok) throw await refusal(answer);
    const names = (await answer.json()).data.map((model) => model.id);
    const chosen = select.value;
    select.replaceChildren(...names.map((name) => new Option(name, name)));
    if (names.includes(chosen)) select.value = chosen;
    at("served").textContent = `serves ${names.join(", ")}`;
  } catch (error) {
    at("served").textContent = error.message;
    if (error.status !== 401 && error.status !== 403) setTimeout(fillModels, 2000);
  }
}

// --- a recording ---

function play(file) {
  const player = at("player");
  if (player.src) URL.revokeObjectURL(player.src);
  player.src = URL.createObjectURL(file);
  player.hidden = false;
  at("mute").hidden = true;
  // A recording of the browser's own has no length, and cannot be sought in until the player has been at its end.
  player.onloadedmetadata = () => {
    if (player.duration !== Infinity) return;
    player.ontimeupdate = () => {
      player.ontimeupdate = null;
      player.currentTime = 0;
    };
    player.currentTime = Number.MAX_SAFE_INTEGER;
  };
}

function take(file) {
  if (listening) return;
  recording = file;
  at("hint").textContent = file.name;
  play(file);
  send();
}

async function send() {
  running?.abort();
  const mine = (running = new AbortController());
  const began = performance.now();
  clear();
  busy(true);
  say("Sending and transcribing …");
  let pending = "";
  try {
    const whole = await transcribe(recording, options(), {
      signal: mine.signal,
      onDelta(text) {
        pending += text;
        interim(pending);
      },
      onSegment(segment) {
        const text = segment.text.trim();
        pending = pending.trim().startsWith(text) ? pending.trim().slice(text.length) : "";
        interim(pending);
        add(segment);
      },
    });
    if (mine !== running) return;
    show(whole);
    const seconds = ((performance.now() - began) / 1000).toFixed(1);
    say(summary(whole) + `, in ${seconds} s.`);
  } catch (error) {
    if (mine !== running) return;
    interim("");
    if (error.name === "AbortError") {
      say("Cancelled.");
    } else {
      say(shown.length > 0 ? "This is what came before the error." : "There is no transcript.");
      fail(error);
    }
  }
  running = null;
  busy(false);
}

function summary(whole) {
  if (whole.text.trim() === "") return `No speech was found${length(whole)}`;
  const language = whole.language ? `, ${whole.language}` : "";
  const segments = whole.segments.length === 1 ? "1 segment" : `${whole.segments.length} segments`;
  return segments + length(whole) + language;
}

function length(whole) {
  return whole.duration ? ` of ${clock(whole.duration)}` : "";
}

// --- the transcript ---

function show(whole) {
  transcript = whole;
  at("segments").replaceChildren();
  interim("");
  shown = [];
  // Without segments there is still the text.
  const segments =
    whole.segments.length > 0 || whole.text.trim() === ""
      ? whole.segments
      : [{ start: 0, end: whole.duration ?? 0, text: whole.text }];
  segments.forEach((segment, index) => {
    const until = segments[index + 1]?.start ?? Infinity;
    const from = index === 0 ? -Infinity : segment.start;
    add(segment, (whole.words ?? []).filter((word) => word.start >= from && word.start < until));
  });
  at("downloads").hidden = whole.text.trim() === "";
}

/** Adds a segment at the end. */
function add(segment, words = []) {
  const row = document.createElement("li");
  row.className = "segment";
  const time = document.createElement("button");
  time.type = "button";
  time.className = "time";
  const text = document.createElement("div");
  text.className = "text";
  row.append(time, text);
  const entry = { row, time, text, words: [] };
  time.addEventListener("click", () => seek(entry.start));
  text.addEventListener("click", () => getSelection().isCollapsed && seek(entry.start));
  fill(entry, segment);
  if (words.length > 0) {
    text.replaceChildren();
    for (const word of words) {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "word";
      const small = document.createElement("small");
      small.textContent = clock(word.start);
      button.append(word.word, small);
      button.addEventListener("click", (event) => {
        event.stopPropagation();
        seek(word.start);
      });
      text.append(button, " ");
      entry.words.push({ ...word, row: button });
    }
  }
  at("segments").append(row);
  shown.push(entry);
  return entry;
}

function fill(entry, segment) {
  entry.start = segment.start;
  entry.end = segment.end ?? segment.start;
  const open = segment.settled === false;
  entry.row.classList.toggle("open", open);
  entry.time.textContent = open ? `${clock(entry.start)} – …` : `${clock(entry.start)} – ${clock(entry.end)}`;
  entry.time.setAttribute("aria-label", `Play from ${clock(entry.start)}`);
  entry.text.textContent = segment.text.trim();
}

function seek(time) {
  const player = at("player");
  if (player.hidden || listening) return;
  player.currentTime = time;
  player.play().catch(() => {
    // The player itself shows that it cannot.
  });
}

/** Marks what is being said. */
function follow() {
  const now = at("player").currentTime;
  const mark = (part) => part.row.classList.toggle("now", now >= part.start && now < part.end);
  for (const segment of shown) {
    mark(segment);
    segment.words.forEach(mark);
  }
}

function save(format) {
  const [media, write] = formats[format];
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([write(transcript)], { type: media }));
  link.download = (recording?.name ?? "transcript").replace(/\.[^.]*$/, "") + "." + format;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

async function copy() {
  try {
    await navigator.clipboard.writeText(transcript.text);
    say("Copied.");
  } catch {
    fail(new Error("This browser does not let the page copy. Select the text instead."));
  }
}

// --- the microphone ---

async function speak() {
  if (listening) return hush();
  const button = at("speak");
  button.disabled = true;
  clear();
  say("Listening.");
  at("player").pause();
  const rows = new Map();
  try {
    const started = performance.now();
    const microphone = await listen(options(), {
      onLevel(level) {
        // The policy forbids style attributes in markup, not this.
        at("level").firstElementChild.style.transform = `scaleX(${Math.sqrt(level)})`;
        if (listening) at("speak-hint").textContent = clock((performance.now() - started) / 1000);
      },
      onText(item) {
        if (rows.has(item)) fill(rows.get(item), item);
        else if (item.text.trim() !== "") rows.set(item, add(item));
      },
      onLive(live, why) {
        say(`Listening. The words appear ${live ? "as you speak" : "when you stop"}.`);
        if (why) fail(new Error(`${why} The recording goes on, and is transcribed when you stop.`));
      },
    });
    listening = { microphone, rows };
    button.setAttribute("aria-pressed", "true");
    at("speak-label").textContent = "Stop";
    at("level").hidden = false;
    busy(false);
  } catch (error) {
    say("Nothing yet.");
    const denied = error.name === "NotAllowedError" || error.name === "NotFoundError";
    fail(denied ? new Error(`The browser gave no microphone: ${error.message}.`) : error);
  }
  button.disabled = false;
}

async function hush() {
  const { microphone, rows } = listening;
  at("speak").disabled = true;
  at("speak-label").textContent = "Speak";
  at("speak").removeAttribute("aria-pressed");
  at("level").hidden = true;
  say("Waiting for the last words …");
  at("busy").hidden = false;
  const { recording: file, live, duration } = await microphone.stop();
  listening = null;
  at("speak-hint").textContent = "into the microphone";
  at("file").disabled = false;
  recording = file;
  at("hint").textContent = "The recording of the microphone";
  play(file);
  if (!live) return send();
  const items = [...rows.keys()].filter((item) => item.text.trim() !== "");
  const segments = items.map(({ start, end, text }, id) => ({ id, start, end, text: text.trim() }));
  const whole = { task: "transcribe", duration, text: segments.map(({ text }) => text).join(" "), segments };
  show(whole);
  say(summary(whole) + ".");
  busy(false);
}

// --- what the page listens to ---

fillLanguages();
at("key").value = sessionStorage.getItem("key") ?? "";
fillModels();

at("key").addEventListener("change", () => {
  sessionStorage.setItem("key", at("key").value.trim());
  fillModels();
});
at("options").addEventListener("submit", (event) => event.preventDefault());
at("file").addEventListener("change", ({ target }) => {
  if (target.files.length > 0) take(target.files[0]);
  target.value = ""; // so that the same file can be chosen again
});
for (const kind of ["dragenter", "dragover"]) {
  addEventListener(kind, (event) => {
    event.preventDefault();
    at("drop").classList.add("over");
  });
}
addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) at("drop").classList.remove("over");
});
addEventListener("drop", (event) => {
  event.preventDefault();
  at("drop").classList.remove("over");
  if (event.dataTransfer.files.length > 0) take(event.dataTransfer.files[0]);
});
at("again").addEventListener("click", send);
at("cancel").addEventListener("click", () => running?.abort());
at("copy").addEventListener("click", copy);
at("speak").addEventListener("click", speak);
at("player").addEventListener("timeupdate", follow);
at("player").addEventListener("error", () => {
  at("player").hidden = true;
  at("mute").hidden = false;
});
for (const button of document.querySelectorAll("[data-format]")) {
  button.addEventListener("click", () => save(button.dataset.format));
}
if (!navigator.mediaDevices) {
  at("speak").disabled = true;
  at("speak-hint").textContent = "The browser gives a page the microphone only over https, or from localhost.";
}
