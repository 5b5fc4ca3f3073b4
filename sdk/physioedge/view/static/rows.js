// The rows of the signal: one plot each, drawn by uPlot, with labels, quality and changes of adapter on top.

const GAP_PX = 9;
// One pixel wide, a trace is drawn an order of magnitude faster than at 1.2 where no graphics card helps.
const TRACE_PX = 1;

/** Colours of the page as it is now, light or dark. */
export function palette() {
  const style = getComputedStyle(document.documentElement);
  const names = ["ink", "soft", "line", "good", "class0", "class1", "class2", "class3", "withheld", "card"];
  return Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
}

/** Index of a label's colour, or "w" for a withheld one. */
export function tone(label, labels) {
  const at = labels.findIndex((one) => one.label === label);
  return at < 0 ? "w" : String(at % 4);
}

/** Whether a time has a label: none before the beginning, nor where it would run into the scale on the left. */
function shows(plot, value) {
  return value >= 0 && plot.valToPos(value, "x") > 16;
}

function colourOf(label, labels, colours) {
  const name = tone(label, labels);
  return name === "w" ? colours.soft : colours[`class${name}`];
}

/** Range of a trace: moves at once where the signal leaves it, and back slowly. */
class Range {
  constructor(least) {
    this.least = least;
    this.low = null;
  }

  of(data) {
    let low = Infinity;
    let high = -Infinity;
    for (const row of data.slice(1)) {
      for (const value of row) {
        if (value === null) continue;
        if (value < low) low = value;
        if (value > high) high = value;
      }
    }
    if (low > high) return this.low === null ? [0, 1] : [this.low, this.high];
    const pad = Math.max(0.08 * (high - low), this.least);
    [low, high] = [low - pad, high + 3 * pad];
    if (this.low === null) [this.low, this.high] = [low, high];
    this.low += low < this.low ? low - this.low : 0.02 * (low - this.low);
    this.high += high > this.high ? high - this.high : 0.02 * (high - this.high);
    return [this.low, this.high];
  }
}

function axes(colours, unit, last) {
  const common = { stroke: colours.soft, grid: { stroke: colours.line, width: 1 }, ticks: { show: false } };
  const font = "12px system-ui, sans-serif";
  return [
    { ...common, font, show: true, size: last ? 26 : 4, gap: 4, space: 70,
      values: last ? (plot, at) => at.map((value) => (shows(plot, value) ? `${+value.toFixed(2)} s` : "")) : () => [] },
    { ...common, font, size: 46, gap: 4, label: unit, labelSize: 16, labelFont: font, labelGap: 0, space: 34,
      grid: { show: false } },
  ];
}

function plot(place, title, heightPx, unit, last, lines, colours, hooks) {
  const row = document.createElement("div");
  row.className = "row";
  const name = document.createElement("p");
  name.className = "title";
  if (typeof title === "string") name.textContent = title;
  else name.append(...title);
  const inner = document.createElement("div");
  inner.setAttribute("role", "img");
  inner.setAttribute("aria-label", name.textContent);
  row.append(name, inner);
  place.append(row);
  const options = {
    width: Math.max(200, inner.clientWidth), height: heightPx, legend: { show: false }, cursor: { show: false },
    padding: [GAP_PX, 8, 0, 0], pxAlign: 0, hooks,
    scales: { x: { time: false, range: [0, 1] }, y: { range: [0, 1] } },
    axes: axes(colours, unit, last),
    series: [{}, ...lines],
  };
  const made = new uPlot(options, [[], ...lines.map(() => [])], inner);
  return { made, inner, heightPx, last };
}

/** A sensor's name, and its channels in the colours of their traces. */
function titled(sensor) {
  const channels = sensor.channels.map((channel, i) => {
    const mark = document.createElement("b");
    mark.className = `t${i % 4}`;
    mark.textContent = `${channel} `;
    return mark;
  });
  return [`${sensor.name}: `, ...channels];
}

function changes(u, from, to, model, colours, named) {
  const { ctx, bbox } = u;
  const ratio = devicePixelRatio;
  ctx.strokeStyle = colours.class3;
  ctx.fillStyle = colours.class3;
  ctx.lineWidth = ratio;
  ctx.setLineDash([4 * ratio, 3 * ratio]);
  for (const change of model.served) {
    if (change.at_s <= from || change.at_s > to || change.at_s === 0) continue;
    const x = u.valToPos(change.at_s, "x", true);
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
    if (!named) continue;
    const text = change.id + (Object.keys(change.bias).length ? ", levelled" : "");
    const left = x + ctx.measureText(text).width + 6 * ratio > bbox.left + bbox.width;
    ctx.textAlign = left ? "right" : "left";
    ctx.textBaseline = "bottom";
    ctx.fillText(text, x + (left ? -4 : 4) * ratio, bbox.top + bbox.height - 2 * ratio);
  }
  ctx.setLineDash([]);
}

function labels(u, from, to, model, colours) {
  const { ctx, bbox } = u;
  const ratio = devicePixelRatio;
  const half = u.valToPos(0.18, "x", true) - u.valToPos(0, "x", true);
  ctx.textAlign = "center";
  ctx.textBaseline = "top";
  for (const result of model.results.between(from, to)) {
    if (result.t_s < from || result.t_s > to) continue;
    const x = u.valToPos(result.t_s, "x", true);
    const colour = colourOf(result.label, model.labels, colours);
    const rare = result.label !== null && result.label !== model.labels[0]?.label;
    ctx.fillStyle = colour;
    if (rare) {
      ctx.globalAlpha = 0.15;
      ctx.fillRect(x - half, bbox.top, 2 * half, bbox.height);
      ctx.globalAlpha = 1;
    }
    ctx.font = `${rare ? "700 " : ""}${(rare ? 14 : 12) * ratio}px system-ui, sans-serif`;
    ctx.fillText(result.label ?? "?", x, bbox.top + 2 * ratio);
  }
}

function bars(u, from, to, model, colours) {
  const { ctx, bbox } = u;
  const ratio = devicePixelRatio;
  const shown = model.results.between(from, to);
  shown.forEach((result, i) => {
    const before = shown[i - 1];
    const after = shown[i + 1];
    const left = before ? (before.t_s + result.t_s) / 2 : result.t_s - 0.4;
    const right = after ? (after.t_s + result.t_s) / 2 : result.t_s + 0.4;
    if (right < from || left > to) return;
    const x0 = Math.max(bbox.left, u.valToPos(left, "x", true));
    const x1 = Math.min(bbox.left + bbox.width, u.valToPos(right, "x", true));
    const y = u.valToPos(Math.max(0.06, result.quality), "y", true);
    const enough = result.quality >= model.minQuality;
    ctx.fillStyle = enough ? colours.good : result.quality > 0 ? colours.class2 : colours.withheld;
    ctx.globalAlpha = 0.85;
    ctx.fillRect(x0, y, Math.max(1, x1 - x0 - ratio), bbox.top + bbox.height - y);
  });
  ctx.globalAlpha = 1;
  const y = u.valToPos(model.minQuality, "y", true);
  ctx.strokeStyle = colours.ink;
  ctx.lineWidth = ratio;
  ctx.setLineDash([3 * ratio, 3 * ratio]);
  ctx.beginPath();
  ctx.moveTo(bbox.left, y);
  ctx.lineTo(bbox.left + bbox.width, y);
  ctx.stroke();
  ctx.setLineDash([]);
}

function clipped(draw) {
  return [(u) => {
    const { ctx, bbox } = u;
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    ctx.font = `${12 * devicePixelRatio}px system-ui, sans-serif`;
    draw(u, u.scales.x.min, u.scales.x.max);
    ctx.restore();
  }];
}

/** All rows of a session; `draw` shows a window of time that ends at `endS`. */
export class Rows {
  constructor(place, model) {
    this.model = model;
    this.colours = palette();
    this.rows = [];
    place.replaceChildren();
    const narrow = place.clientWidth < 560;
    for (const sensor of model.sensors) this.traces(place, sensor, narrow);
    model.values.forEach((value, i) => this.values(place, value, i, narrow));
    this.quality(place);
    this.resizing = new ResizeObserver(() => this.fit());
    this.resizing.observe(place);
  }

  close() {
    this.resizing.disconnect();
    for (const row of this.rows) row.made.destroy();
  }

  traces(place, sensor, narrow) {
    const { model, colours } = this;
    const together = sensor.channels.length > 2;
    const groups = together ? [sensor.channels.map((_, i) => i)] : sensor.channels.map((_, i) => [i]);
    const height = Math.round((narrow ? 130 : 170) * (model.sensors.length > 1 || groups.length > 1 ? 0.85 : 1));
    for (const group of groups) {
      const first = this.rows.length === 0;
      const names = group.map((i) => sensor.channels[i]).join(", ");
      const said = names.toLowerCase() === sensor.name ? names : `${sensor.name}: ${names}`;
      const stroke = (i) => (together ? colours[`class${i % 4}`] : colours.ink);
      const lines = group.map((_, i) => ({ stroke: stroke(i), width: TRACE_PX, points: { show: false }, pxAlign: 0 }));
      const draw = (u, from, to) => {
        if (first && model.labels.length) labels(u, from, to, model, colours);
        changes(u, from, to, model, colours, first);
      };
      const one = plot(place, together ? titled(sensor) : said, height, sensor.units, false, lines, colours, { draw: clipped(draw) });
      const range = new Range(1e-3);
      const rows = group;
      this.rows.push({ ...one, range, data: (from, to) => sensor.series.between(from, to, rows) });
    }
  }

  values(place, value, index, narrow) {
    const { model, colours } = this;
    const line = { stroke: colours.class0, width: TRACE_PX, points: { show: true, size: 6, fill: colours.class0 } };
    const draw = (u, from, to) => changes(u, from, to, model, colours, false);
    const title = value.name.replaceAll("_", " ");
    const one = plot(place, title, narrow ? 110 : 130, value.units, false, [line], colours, { draw: clipped(draw) });
    const range = new Range(2);
    const data = (from, to) => {
      const shown = model.results.between(from, to);
      return [shown.map((result) => result.t_s), shown.map((result) => result.values[index] ?? null)];
    };
    this.rows.push({ ...one, range, data });
  }

  quality(place) {
    const { model, colours } = this;
    const draw = (u, from, to) => {
      bars(u, from, to, model, colours);
      changes(u, from, to, model, colours, false);
    };
    const hidden = { show: false };
    const title = "Signal quality, 0 to 1; dashed: least that is judged";
    const one = plot(place, title, 86, "", true, [hidden], colours, { draw: clipped(draw) });
    this.rows.push({ ...one, range: { of: () => [0, 1.02] }, data: () => [[0, 1], [null, null]] });
  }

  fit() {
    for (const row of this.rows) {
      const width = Math.max(200, row.inner.clientWidth);
      if (width !== row.made.width) row.made.setSize({ width, height: row.heightPx });
    }
  }

  draw(endS, spanS) {
    const from = endS - spanS;
    for (const row of this.rows) {
      const data = row.data(from, endS);
      const [min, max] = row.range.of(data);
      row.made.batch(() => {
        row.made.setData(data, false);
        row.made.scales.y.range = () => [min, max];
        row.made.scales.x.range = () => [from, endS];
        row.made.setScale("x", { min: from, max: endS });
        row.made.setScale("y", { min, max });
      });
    }
  }
}
