// The `verbose_json` of a transcript in; text, SubRip, WebVTT or JSON out, as the server itself writes them
// (inference-server/src/render.rs). Pure.

/** Name of the format: [media type, how it is written]. */
export const formats = {
  txt: ["text/plain", (transcript) => transcript.text + "\n"],
  srt: ["application/x-subrip", srt],
  vtt: ["text/vtt", vtt],
  json: ["application/json", (transcript) => JSON.stringify(transcript, null, 2) + "\n"],
};

function srt(transcript) {
  return transcript.segments
    .map((segment, at) => `${at + 1}\n${stamp(segment.start, ",")} --> ${stamp(segment.end, ",")}\n${cue(segment)}\n\n`)
    .join("");
}

function vtt(transcript) {
  const escaped = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
  return (
    "WEBVTT\n\n" +
    transcript.segments
      .map((segment) => `${stamp(segment.start, ".")} --> ${stamp(segment.end, ".")}\n${escaped(cue(segment))}\n\n`)
      .join("")
  );
}

/** An arrow or an empty line within a cue would end it. */
function cue(segment) {
  return segment.text.trim().split(/\s+/).join(" ").replaceAll("-->", "->");
}

/** `hh:mm:ss` and milliseconds after the separator. */
function stamp(time, separator) {
  const millis = Math.round(time * 1000);
  const two = (number) => String(Math.floor(number)).padStart(2, "0");
  const whole = `${two(millis / 3600000)}:${two((millis / 60000) % 60)}:${two((millis / 1000) % 60)}`;
  return whole + separator + String(millis % 1000).padStart(3, "0");
}

/** A time for people: `0:07.4`, `1:02:03.4`. */
export function clock(time) {
  const tenths = Math.round(time * 10);
  const seconds = String(Math.floor(tenths / 10) % 60).padStart(2, "0");
  const minutes = Math.floor(tenths / 600) % 60;
  const hours = Math.floor(tenths / 36000);
  const front = hours > 0 ? `${hours}:${String(minutes).padStart(2, "0")}` : `${minutes}`;
  return `${front}:${seconds}.${tenths % 10}`;
}
