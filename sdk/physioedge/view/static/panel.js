// Words and numbers around the signal.

import { tone } from "./rows.js";

const LATEST = 8;
const LOGGED = 100;
const BEATS = 8;

function cell(text, name) {
  const made = document.createElement("td");
  made.textContent = text;
  if (name) made.className = name;
  return made;
}

/** A name as the contract writes it, for people. */
function named(name) {
  const words = name.replaceAll("_", " ");
  return words[0].toUpperCase() + words.slice(1);
}

function set(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export class Panel {
  constructor(byId) {
    this.at = byId;
    this.latest = [];
  }

  about(model) {
    const { at } = this;
    this.latest = [];
    at("latest").replaceChildren();
    const none = document.createElement("li");
    none.className = "none";
    none.textContent = "Nothing yet.";
    at("log").replaceChildren(none);
    const sensors = model.sensors.map((one) => {
      const judged = one.judged_at_hz === one.fs_hz ? "" : ` (judged at ${one.judged_at_hz} Hz)`;
      return `${one.name} ${one.channels.join(", ")} in ${one.units} at ${one.fs_hz} Hz${judged}`;
    });
    const { name, version, digest } = model.bundle;
    set(at("name"), model.title);
    set(at("what"), `${sensors.join("; ")}; through the signed bundle ${name} ${version}`);
    set(at("served-by"), `Bundle ${digest.slice(0, 16)}.`);
    document.title = `${model.title}: physioedge`;
    const [value] = model.values;
    set(at("answer-name"), value ? named(value.name) : "Latest label");
    set(at("latest-answer"), value ? `${named(value.name)}, ${value.units}` : "label");
    set(at("rate-name"), model.trigger === "beat" ? "Heart rate, of 8 beats" : "Windows judged");
    this.key(model);
    const speed = at("speed");
    speed.replaceChildren(...model.speeds.map((one) => new Option(`${one}×`, one)));
    speed.disabled = model.live;
  }

  key(model) {
    const items = model.labels.map((one) => [`c${tone(one.label, model.labels)}`, one.label, one.means]);
    if (model.labels.length) items.push(["cw", "?", "withheld"]);
    items.push(["cg", "", "quality good enough to judge"], ["c2", "", "too poor"]);
    this.at("key").replaceChildren(...items.map(([name, label, means]) => {
      const item = document.createElement("li");
      const mark = document.createElement("i");
      mark.className = name;
      const bold = document.createElement("b");
      bold.textContent = label;
      item.append(mark, bold, ` ${means}`);
      return item;
    }));
  }

  results(model, results) {
    const { at } = this;
    const last = results[results.length - 1];
    if (last === undefined) return;
    const [value] = model.values;
    const known = model.labels.find((one) => one.label === last.label);
    const big = value ? (last.judged ? `${Math.round(last.values[0])} ${value.units}` : "?") : (last.label ?? "?");
    at("answer").className = value ? "" : `t${tone(last.label, model.labels)}`;
    set(at("answer"), big);
    const why = last.flags.length ? last.flags.join(", ").replaceAll("_", " ") : "";
    const sure = last.probability ? `, probability ${last.probability.toFixed(2)}` : "";
    set(at("answer-more"), last.judged ? `${known?.means ?? "this window alone"}${sure}` : `withheld: ${why || "unsure"}`);
    set(at("quality"), last.quality.toFixed(2));
    set(at("quality-more"), last.quality >= model.minQuality ? `judged from ${model.minQuality} on` : why);
    if (model.trigger === "beat") this.beats(model);
    this.latest = [...results.slice(-LATEST).reverse(), ...this.latest].slice(0, LATEST);
    at("latest").replaceChildren(...this.latest.map((one) => this.line(model, one)));
  }

  line(model, one) {
    const row = document.createElement("tr");
    const answer = model.values.length ? (one.judged ? one.values[0].toFixed(1) : "?")
      : (one.label ?? "?") + (one.probability ? ` ${one.probability.toFixed(2)}` : "");
    row.append(cell(`${one.t_s.toFixed(2)} s`, "n"), cell(answer, model.values.length ? "" : `t${tone(one.label, model.labels)}`),
      cell(one.quality.toFixed(2), "n"), cell(one.flags.join(", ").replaceAll("_", " ")));
    return row;
  }

  beats(model) {
    const times = model.results.times.slice(-BEATS - 1);
    const apart = times.slice(1).map((time, i) => time - times[i]).filter((gap) => gap > 0.2 && gap < 3);
    if (apart.length < 3) return;
    apart.sort((a, b) => a - b);
    set(this.at("rate"), `${Math.round(60 / apart[apart.length >> 1])} bpm`);
  }

  state(model, state, frozen) {
    if (!state?.adapter) return;
    const { at } = this;
    const { adapter, trial, latency, ready } = state;
    const held = frozen || (!state.playing && !state.over);
    const paces = model.live ? "live" : `playing at ${state.speed}×`;
    const running = state.slow ? `${paces}, slower: this machine is busy` : paces;
    set(at("status"), state.over ? "ended" : held ? "paused" : running);
    at("dot").className = state.over || held ? "" : "on";
    set(at("pause"), held ? "Play" : "Pause");
    this.can(at("pause"), !state.over, "It has ended.");
    if (document.activeElement !== at("speed")) at("speed").value = String(state.speed);
    set(at("rate-more"), `${state.judged} judged, ${state.withheld} withheld`);
    if (model.trigger !== "beat") {
      set(at("rate"), String(state.judged));
      set(at("rate-more"), `${state.withheld} withheld`);
    }
    set(at("adapter"), adapter.id.length > 14 ? `${adapter.id.slice(0, 12)}…` : adapter.id);
    at("adapter").title = adapter.id;
    set(at("adapter-more"), this.served(state, model.cannot));
    set(at("latency"), latency ? `${latency.p50_ms} ms` : "–");
    const delay = latency ? `, ${latency.delay_s} s after the ${model.trigger === "beat" ? "beat" : "window"}` : "";
    set(at("latency-more"), latency ? `99 of 100 in ${latency.p99_ms} ms${latency.delay_s ? delay : ""}` : "");
    this.buttons(model, state, adapter, trial, ready);
  }

  served({ adapter, trial, asking, ready }, cannot) {
    const said = [];
    if (trial) said.push(`on trial, ${trial.windows} of ${trial.of} windows`);
    if (Object.keys(adapter.bias).length) said.push("levelled");
    if (adapter.pinned) said.push("pinned");
    if (asking) said.push("asking for another");
    if (!said.length) said.push(adapter.id === "global" ? "the same for everybody" : "of this person");
    if (!cannot.adapt && ready.windows < ready.of && !trial && !adapter.pinned) said.push(`${ready.windows} of ${ready.of} windows to adapt`);
    return said.join(", ");
  }

  buttons(model, state, adapter, trial, ready) {
    const { at } = this;
    const levelled = Object.keys(adapter.bias).length > 0;
    const { cannot } = model;
    set(at("level"), levelled ? "Unlevel" : "Level");
    set(at("pin"), adapter.pinned ? "Unpin" : "Pin");
    at("pin").setAttribute("aria-pressed", String(adapter.pinned));
    const tried = trial ? "An adapter is on trial." : "";
    this.can(at("level"), !cannot.level && !trial, cannot.level ?? tried);
    const early = ready.windows < ready.of ? `After ${ready.of} judged windows; ${ready.windows} so far.` : "";
    const busy = state.asking ? "Asked already." : tried || (adapter.pinned ? "What serves is pinned." : early);
    this.can(at("adapt"), !cannot.adapt && !busy, cannot.adapt ?? busy);
    const none = adapter.id === "global" ? "The global model serves: nothing to roll back." : "What serves is pinned.";
    this.can(at("rollback"), adapter.id !== "global" && !adapter.pinned, none);
    this.can(at("pin"), !trial, tried);
  }

  can(button, yes, why) {
    button.setAttribute("aria-disabled", String(!yes));
    button.title = yes ? "" : why;
  }

  happened(line) {
    const { at } = this;
    const log = at("log");
    if (at("said").textContent !== line.text) set(at("said"), ""); // its own line may come before or after an answer
    log.querySelector(".none")?.remove();
    const item = document.createElement("li");
    const time = document.createElement("time");
    time.textContent = `${line.at_s.toFixed(1)} s`;
    const text = document.createElement("span");
    text.textContent = line.text;
    item.append(time, text);
    log.prepend(item);
    while (log.children.length > LOGGED) log.lastChild.remove();
  }

  say(text, done) {
    const said = this.at("said");
    said.className = done ? "" : "no";
    said.textContent = text;
  }

  bye(text) {
    set(this.at("status"), text);
    this.at("dot").className = "bad";
  }

  lost(forGood) {
    set(this.at("status"), forGood ? "the session is gone: start physioedge view again" : "connection lost, trying again");
    this.at("dot").className = "bad";
  }
}
