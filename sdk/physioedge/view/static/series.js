// Samples and results of the last while, and where in them a window of time lies.

const KEPT_S = 75;

/** First index of ascending `times` that is not below `at`. */
export function firstAt(times, at) {
  let low = 0;
  let high = times.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[middle] < at) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** One sensor's samples; holes in time are null. */
export class Series {
  constructor(channels, fsHz) {
    this.fsHz = fsHz;
    this.times = [];
    this.rows = Array.from({ length: channels }, () => []);
    this.end = 0;
  }

  add(startS, samples) {
    const step = 1 / this.fsHz;
    if (this.times.length && startS < this.end - 1.5 * step) this.clear(); // the source's clock went back
    if (this.times.length && startS > this.end + 1.5 * step) this.hole(this.end, startS);
    const n = samples[0].length;
    for (let i = 0; i < n; i += 1) this.times.push(startS + i * step);
    this.rows.forEach((row, channel) => {
      const from = samples[channel];
      for (let i = 0; i < n; i += 1) row.push(Number.isFinite(from[i]) ? from[i] : null);
    });
    this.end = startS + n * step;
    const old = firstAt(this.times, this.end - KEPT_S);
    if (old > 4096) {
      this.times.splice(0, old);
      for (const row of this.rows) row.splice(0, old);
    }
  }

  clear() {
    this.times.length = 0;
    for (const row of this.rows) row.length = 0;
  }

  hole(from, to) {
    for (const at of [from, to - 1e-6]) {
      this.times.push(at);
      for (const row of this.rows) row.push(null);
    }
  }

  /** [times, ...rows] from one instant to another, for the plot. */
  between(from, to, rows) {
    const a = Math.max(0, firstAt(this.times, from) - 1);
    const b = Math.min(this.times.length, firstAt(this.times, to) + 1);
    return [this.times.slice(a, b), ...rows.map((row) => this.rows[row].slice(a, b))];
  }
}

/** Results by time. */
export class Results {
  constructor() {
    this.all = [];
    this.times = [];
  }

  add(result) {
    const last = this.times[this.times.length - 1];
    if (last !== undefined && result.t_s < last) this.clear();
    this.all.push(result);
    this.times.push(result.t_s);
    const old = firstAt(this.times, result.t_s - KEPT_S);
    if (old > 64) {
      this.all.splice(0, old);
      this.times.splice(0, old);
    }
  }

  clear() {
    this.all.length = 0;
    this.times.length = 0;
  }

  /** Those from one instant to another, and one more on each side. */
  between(from, to) {
    return this.all.slice(Math.max(0, firstAt(this.times, from) - 1), firstAt(this.times, to) + 1);
  }
}
