// The page: what comes is kept, the newest of it is drawn at the pace of the screen, buttons and keys ask for actions.

import { act, listen, unpacked } from "./wire.js";
import { Results, Series } from "./series.js";
import { Rows } from "./rows.js";
import { Panel } from "./panel.js";

const BEHIND_S = 0.08; // of wall time, so that there is always something ahead to move into
const SLOW_S = 1; // between pictures, for those who want less motion
const calm = matchMedia("(prefers-reduced-motion: reduce)");
const dark = matchMedia("(prefers-color-scheme: dark)");

const byId = (id) => document.getElementById(id);
let model = null;
let rows = null;
let state = null;
let shownS = 0;
let drawnS = NaN;
let lastMs = 0;
let frozen = false; // a live source goes on when its picture is held
let stale = true;
let chosen = false; // the length that is shown
const panel = new Panel(byId);
const counted = { frames: 0 };
globalThis.physioedge = counted; // for those who measure

function hello(said) {
  model = {
    ...said, minQuality: said.min_quality, results: new Results(), served: [],
    sensors: said.sensors.map((one) => ({ ...one, series: new Series(one.channels.length, one.fs_hz) })),
  };
  panel.about(model);
  if (!chosen) byId("span").value = model.trigger === "beat" ? (innerWidth < 560 ? "5" : "10") : "30";
  for (const message of said.past) take(message, true);
  for (const line of said.log) panel.happened(line);
  state = said.state;
  shownS = headS();
  build();
  panel.state(model, state, frozen);
  panel.results(model, model.results.all.slice(-8));
}

function build() {
  rows?.close();
  rows = new Rows(byId("rows"), model);
  stale = true;
}

function take(message, past) {
  for (const piece of message.signal ?? []) {
    const sensor = model.sensors.find((one) => one.name === piece.sensor);
    sensor.series.add(piece.start_s, unpacked(piece, sensor.channels.length));
  }
  for (const result of message.results ?? []) model.results.add(result);
  if (message.served) model.served.push(message.served);
  for (const line of message.log ?? []) panel.happened(line);
  if (message.results && !past) panel.results(model, message.results);
}

function tick(message) {
  take(message, false);
  state = message.state ?? state;
  stale = true;
  panel.state(model, state, frozen);
}

const headS = () => (model ? Math.max(0, model.sensors[0].series.end) : 0);

/** Move what is shown towards the newest, smoothly. */
function moved(passedS) {
  const head = headS();
  const speed = state.playing ? state.speed : 0;
  const span = Number(byId("span").value);
  const wanted = state.playing ? head - BEHIND_S * speed : head;
  if (Math.abs(wanted - shownS) > Math.max(span, 2 * speed)) return wanted;
  const next = shownS + speed * passedS;
  if (!state.playing && Math.abs(wanted - next) < 0.005) return wanted;
  return Math.min(head, next + (wanted - next) * Math.min(1, 3 * passedS));
}

function frame(nowMs) {
  requestAnimationFrame(frame);
  const passedS = Math.min(0.25, (nowMs - lastMs) / 1000);
  if (!rows || !state || frozen) {
    lastMs = nowMs;
    return;
  }
  if (calm.matches && nowMs - lastMs < 1000 * SLOW_S) return;
  lastMs = nowMs;
  shownS = calm.matches ? headS() : moved(passedS);
  if (shownS === drawnS && !stale) return;
  stale = false;
  drawnS = shownS;
  rows.draw(shownS, Number(byId("span").value));
  counted.frames += 1;
}

async function ask(action, value) {
  const said = await act(action, value);
  if (said.text) panel.say(said.text, said.done);
}

function pause() {
  if (!model) return;
  if (model.live) {
    frozen = !frozen;
    stale = true;
    panel.state(model, state, frozen);
  } else {
    ask(state.playing ? "pause" : "play");
  }
}

function press(id) {
  const button = byId(id);
  if (button.getAttribute("aria-disabled") === "true") {
    panel.say(button.title, false);
    return;
  }
  if (id === "pause") pause();
  else if (id === "level") ask(Object.keys(state.adapter.bias).length ? "unlevel" : "level");
  else if (id === "pin") ask(state.adapter.pinned ? "unpin" : "pin");
  else ask(id);
}

function faster(by) {
  const select = byId("speed");
  const to = select.selectedIndex + by;
  if (select.disabled || to < 0 || to >= select.length) return;
  select.selectedIndex = to;
  ask("speed", Number(select.value));
}

function key(event) {
  const inside = event.target.closest("input, select, button, summary");
  if (!byId("keys").checked || event.ctrlKey || event.metaKey || event.altKey || !model) return;
  if (event.key === " " && inside) return; // it presses what has the focus
  if (event.target.closest("select, input")) return;
  const does = { " ": () => press("pause"), "+": () => faster(1), "=": () => faster(1), "-": () => faster(-1),
    l: () => press("level"), a: () => press("adapt"), r: () => press("rollback"), p: () => press("pin") };
  const found = does[event.key.toLowerCase()];
  if (!found || event.repeat) return;
  event.preventDefault();
  found();
}

for (const id of ["pause", "level", "adapt", "rollback", "pin"]) byId(id).addEventListener("click", () => press(id));
byId("speed").addEventListener("change", (event) => ask("speed", Number(event.target.value)));
byId("span").addEventListener("change", () => { stale = chosen = true; });
document.addEventListener("keydown", key);
dark.addEventListener("change", () => { if (model) build(); });
listen({ hello, tick, bye: (text) => panel.bye(text), lost: (forGood) => panel.lost(forGood) });
requestAnimationFrame(frame);
