/* Fig. 6: the occluder at every place. The maps fill from coarse to fine; each place that is known
   is exact, the others show the nearest known one. */

import { byId, el, figure as words, percent, say } from "./draw.js";
import { Lost, Superseded, ask, drop } from "./link.js";
import { classColour, heat, setVeil, viridis } from "./stage.js";
import { go, image, on, removed, state, unitOf } from "./state.js";
import { nameOf } from "./answer.js";

const KINDS = [["value", "class"], ["log_odds", "log-odds"], ["activity", "unit"], ["label", "most probable"]];
const SURE = 0.1; // probabilities within a tenth of the highest are one colour: log-odds are not
const NONE = 0.001; // below it percentages are one word at both ends of the legend: log-odds are not
let maps = null; // {figure, known, of, value, log_odds, activity, label}: what there is of them
let chosen = null; // of KINDS; null is the value, or the log-odds where the network is sure, of or against
let running = false;

export const sweepOf = () => maps;

export function turn() {
  if (running) stop();
  else start();
}

function stop() {
  drop("sweep");
  ended();
}

function ended() {
  running = false;
  byId("sweep-progress").hidden = true;
  byId("sweep").textContent = "Occlude everywhere";
}

function start() {
  if (!state.look) return;
  running = true;
  maps = null;
  byId("sweep").textContent = "Stop";
  byId("sweep-progress").value = 0;
  byId("sweep-progress").hidden = false;
  const size = state.box ? { size: state.box[2] - state.box[0] } : {};
  const unit = state.projected?.unit ?? unitOf();
  const question = { do: "sweep", image: image(), unit, target: state.target, fill: state.fill, ...size };
  ask(question, { slot: "sweep", each: receive, ended: finish }).catch(() => {});
}

function receive(header, parts) {
  if (header.figure) {
    maps = { figure: header.figure, known: 0, of: 0 };
    return;
  }
  header.maps.forEach((name, at) => { maps[name] = new Float32Array(parts[at].slice().buffer); });
  Object.assign(maps, { known: header.known, of: header.of });
  byId("sweep-progress").value = header.known / header.of;
  if (state.veil !== "sweep") go({ veil: "sweep" }, { replace: true });
  draw();
  if (!performance.getEntriesByName("first-sweep").length) performance.mark("first-sweep");
}

function finish(error) {
  ended();
  if (error instanceof Superseded || error instanceof Lost) return;
  if (error) byId("stage-note").textContent = error.message;
  else say("The occlusion maps are complete");
}

// ---- drawing ----------------------------------------------------------------------------------------

/** What is drawn: what was chosen, if the network has it. */
function kindOf() {
  if (chosen && maps[chosen]) return chosen;
  const [low, high] = ends(maps.value);
  return maps.log_odds && (high - low < SURE * high || high < NONE) ? "log_odds" : "value";
}

function draw() {
  const kind = kindOf();
  const colour = kind === "label" ? byLabel() : byValue(maps[kind]);
  setVeil("sweep", { heat: (canvas) => heat(canvas, maps.figure, colour), words: legendWords });
  note();
}

function ends(values) {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    if (Number.isNaN(value)) continue;
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  return [low, high];
}

function byValue(values) {
  const [low, high] = ends(values);
  return (at) => (Number.isNaN(values[at]) ? null : viridis(high > low ? (values[at] - low) / (high - low) : 0.5));
}

function ranked() {
  const counts = new Map();
  for (const label of maps.label) counts.set(label, (counts.get(label) ?? 0) + 1);
  return [...counts.keys()].filter((label) => label >= 0).toSorted((a, b) => counts.get(b) - counts.get(a));
}

function byLabel() {
  const order = ranked();
  return (at) => (maps.label[at] < 0 ? null : classColour(order.indexOf(maps.label[at])));
}

function note() {
  const place = byId("stage-note");
  if (state.veil !== "sweep" || !maps?.value) {
    place.replaceChildren();
    return;
  }
  const choices = KINDS.filter(([name]) => maps[name]).map(([name, title]) => {
    const button = el("button", { type: "button", class: "chip", "aria-pressed": String(name === kindOf()) }, title);
    button.addEventListener("click", () => {
      chosen = name;
      draw();
    });
    return button;
  });
  place.replaceChildren(...choices, legend());
}

function legend() {
  const { figure, known, of } = maps;
  const kind = kindOf();
  const done = (known < of ? ` · ${known} of ${of} places` : "") + (removed().length ? " · with every unit" : "");
  if (kind === "label") {
    return el("span", { class: "legend" }, ...ranked().slice(0, 6).map((label, rank) => {
      const swatch = el("i", { class: "swatch" });
      swatch.style.background = classColour(rank);
      return el("span", {}, swatch, nameOf(label));
    }), done);
  }
  const [low, high] = ends(maps[kind]);
  const written = kind === "value" && figure.quantity === "probability" ? percent : words;
  const answer = figure.target === null ? figure.quantity : nameOf(figure.target);
  const what = kind === "activity" ? figure.unit : kind === "log_odds" ? `log-odds of ${answer}` : answer;
  return el("span", { class: "legend" }, `${what} `, el("span", { class: "ramp-ends" }, `${written(low)} `, el("i", { class: "ramp" }, "to"), ` ${written(high)}`), done);
}

/** What Fig. 6 shows, in words. */
export const legendWords = () => legend().textContent.replace(/\s+/g, " ");

export function begin() {
  on("veil", note);
  on("without", () => { if (state.veil === "sweep") note(); });
  on("image", () => {
    if (running) stop();
    maps = null;
    setVeil("sweep", null);
    note();
  });
}
