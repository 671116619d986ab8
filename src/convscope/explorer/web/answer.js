/* The network's answer: bars of the classes, with the occluder, without units, and the target. */

import { byId, capital, el, figure, percent } from "./draw.js";
import { Lost, Superseded, ask, newest } from "./link.js";
import { emit, go, image, on, removed, state, unitOf } from "./state.js";

const rows = new Map(); // class -> its row

const words = (value, quantity) => (quantity === "probability" ? percent(value) : figure(value));

/** Draws an answer; rows keep their place while values move. */
export function draw(answer) {
  const place = byId("bars");
  byId("answer").hidden = false;
  const { bars, quantity, top } = answer;
  const most = quantity === "probability" ? 1 : Math.max(1e-9, ...bars.map((bar) => Math.max(Math.abs(bar.value), Math.abs(bar.base))));
  const now = new Set(bars.map((bar) => bar.index));
  for (const [index, row] of rows) {
    if (now.has(index)) continue;
    row.remove();
    rows.delete(index);
  }
  bars.forEach((bar, at) => {
    const row = rows.get(bar.index) ?? addRow(bar);
    if (place.children[at] !== row) place.insertBefore(row, place.children[at] ?? null);
    fillRow(row, bar, quantity, most, bar.index === top);
  });
  byId("answer-title").textContent = quantity === "probability" ? "Answer" : `Answer, ${quantity}`;
  markTarget();
}

function addRow({ index, name }) {
  const row = el("button", { type: "button", class: "bar-live", "data-class": index, "aria-pressed": "false" },
    el("span", { class: "bar-name" }, name), el("span", { class: "track" }, el("span", { class: "now" }), el("span", { class: "base" })),
    el("span", { class: "bar-value numeric" }), el("span", { class: "hidden" }));
  row.addEventListener("click", () => go({ target: state.target === index ? null : index }, { replace: true }));
  rows.set(index, row);
  return row;
}

function fillRow(row, bar, quantity, most, highest) {
  const [name, track, value, before] = row.children;
  name.title = bar.name;
  row.classList.toggle("highest", highest);
  track.style.setProperty("--now", Math.max(0, bar.value / most));
  track.style.setProperty("--base", Math.max(0, bar.base / most));
  track.classList.toggle("moved", Math.abs(bar.value - bar.base) > most / 200);
  value.textContent = words(bar.value, quantity);
  before.textContent = `, as it is ${words(bar.base, quantity)}`;
}

function markTarget() {
  for (const [index, row] of rows) row.setAttribute("aria-pressed", String(index === state.target));
  const input = byId("target");
  if (document.activeElement !== input) input.value = state.target === null ? "" : nameOf(state.target);
}

export const nameOf = (index) => state.hello.classes?.[index] ?? String(index);

// ---- with the occluder, without units -----------------------------------------------------------------

/** Asks for what the page shows now: with the box, without what was removed, or as it is. */
export const refresh = newest(async () => {
  if (!state.look) return;
  const asked = { image: state.image, box: String(state.box) };
  try {
    if (state.box) await occlude();
    else if (removed().length) await remove();
    else await asIs();
  } catch (error) {
    if (error instanceof Superseded || error instanceof Lost) return;
    if (asked.image === state.image) byId("answer-note").textContent = error.message;
  }
});

async function asIs() {
  const { answer } = state.look;
  draw(answer);
  byId("answer-note").textContent = answer.note ?? "";
  state.occluded = state.withoutAnswer = null;
  emit("occluded");
  if (state.target === null || !answer.bars.length || answer.bars.some((bar) => bar.index === state.target)) return;
  const [found] = await ask(withoutUnits([])); // the target's bar, too
  state.withoutAnswer = found;
  draw(found.answer);
}

const withoutUnits = (units) => ({ do: "remove", image: image(), units, to: state.to, target: state.target });

async function occlude() {
  const unit = state.projected?.unit ?? unitOf();
  const question = { do: "occlude", image: image(), box: state.box, fill: state.fill, units: unit ? [unit] : [], target: state.target, without: removed(), to: state.to };
  const [found, maps] = await ask(question);
  if (!state.box || found.error) return;
  state.occluded = { ...found, pixels: maps };
  draw(found.answer);
  byId("answer-note").textContent = capital(`${lacking()}${answered(found.answer)}`);
  emit("occluded");
}

async function remove() {
  const [found] = await ask(withoutUnits(removed()));
  state.withoutAnswer = found;
  state.occluded = null;
  draw(found.answer);
  byId("answer-note").textContent = capital(`${lacking()}${answered(found.answer)}`);
  emit("occluded");
}

/** How many units are removed, in words. */
function lacking() {
  const count = removed().length;
  if (!count) return "";
  return `Without ${count === 1 ? "one unit" : `${count} units`}: `;
}

/** What the answer is now, against what it was. */
function answered({ bars, top, quantity, note }) {
  if (note) return note;
  const now = bars.find((bar) => bar.index === top);
  const before = bars.toSorted((a, b) => b.base - a.base)[0];
  if (!now || !before) return "";
  if (now.index !== before.index) return `${now.name} instead of ${before.name}.`;
  const odds = quantity === "probability" && now.value > 0.999 && now.log_odds !== null ? `, log-odds ${figure(now.log_odds)}` : "";
  return `still ${now.name}, ${words(now.value, quantity)} (${words(now.base, quantity)} as it is)${odds}.`;
}

function drawRemoved() {
  const place = byId("without");
  const units = removed();
  place.hidden = !units.length;
  place.replaceChildren(el("span", { class: "quiet" }, "Without"),
    ...units.map((unit) => {
      const chip = el("button", { type: "button", class: "chip", title: "put it in again" }, unit, " ×", el("span", { class: "hidden" }, ", put it in again"));
      chip.addEventListener("click", () => toggle(unit));
      return chip;
    }));
  if (units.length && state.hello.data) place.append(choice());
}

function choice() {
  const select = el("select", { class: "choice", "aria-label": "What stands in their place" },
    el("option", { value: "zero" }, "zero"), el("option", { value: "mean" }, "the mean over the data"));
  select.value = state.to;
  select.addEventListener("change", () => go({ to: select.value }, { replace: true }));
  return select;
}

/** Takes a unit's map out, or puts it in again. */
export function toggle(unit) {
  const units = removed();
  const other = units.includes(unit) ? units.filter((one) => one !== unit) : [...units, unit];
  go({ without: other.join("\n") }, { replace: true });
}

export function begin() {
  on("box fill without to target look", () => refresh());
  on("unit-known", () => { if (state.box) refresh(); });
  on("without to look", drawRemoved);
  on("target", markTarget);
  byId("target").addEventListener("change", ({ target }) => {
    const names = state.hello.classes ?? [];
    const index = names.indexOf(target.value);
    const whole = /^\d+$/.test(target.value) ? Number(target.value) : null;
    const found = index >= 0 ? index : whole;
    go({ target: found !== null && found < state.hello.class_count ? found : null }, { replace: true });
    target.blur();
    markTarget();
  });
}

export function build() {
  const names = state.hello.classes ?? [];
  byId("classes").replaceChildren(...names.map((name) => el("option", { value: name })));
}
