// Runs in the browser's audio thread: the microphone's samples in; mono PCM of 16 bits at 24 kHz out, a tenth of a second at
// a time. Each sample is the mean of the stretch that it stands for, at whatever rate the microphone has.

const RATE = 24000;
const CHUNK = RATE / 10;

class Recorder extends AudioWorkletProcessor {
  constructor() {
    super();
    this.step = sampleRate / RATE;
    this.chunk = new Int16Array(CHUNK);
    this.filled = 0;
    this.peak = 0;
    this.sum = 0; // of what has been heard of the sample that is being made
    this.missing = this.step; // how many samples of the microphone it still needs
    this.port.onmessage = () => {
      this.send();
      this.port.postMessage({ end: true });
      this.ended = true;
    };
  }

  process([channels]) {
    if (this.ended) return false;
    const length = channels.length > 0 ? channels[0].length : 0;
    for (let at = 0; at < length; at++) {
      let value = 0;
      for (const channel of channels) value += channel[at] / channels.length;
      this.hear(value);
    }
    return true;
  }

  hear(value) {
    let share = 1;
    while (share >= this.missing) {
      this.push((this.sum + value * this.missing) / this.step);
      share -= this.missing;
      this.sum = 0;
      this.missing = this.step;
    }
    this.sum += value * share;
    this.missing -= share;
  }

  push(value) {
    const clipped = Math.max(-1, Math.min(1, value));
    this.peak = Math.max(this.peak, Math.abs(clipped));
    this.chunk[this.filled++] = Math.round(clipped * 32767);
    if (this.filled === CHUNK) this.send();
  }

  send() {
    const samples = this.chunk.slice(0, this.filled);
    this.port.postMessage({ samples, peak: this.peak }, [samples.buffer]);
    this.filled = 0;
    this.peak = 0;
  }
}

registerProcessor("recorder", Recorder);
