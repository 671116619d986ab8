/* The explorer's page: puts its parts together, and listens to keys and buttons.

   state.js   what is looked at, and its address      link.js    the way to the server
   stage.js   the image and the occluder              layers.js  every layer's maps
   answer.js  classes, removed units, the target      unit.js    one unit
   tray.js    images                                  sweep.js   Fig. 6      report.js  what was found */

import * as answer from "./answer.js";
import { byId, capital, el, say } from "./draw.js";
import * as layers from "./layers.js";
import { Lost, Superseded, ask, connect, restart } from "./link.js";
import * as report from "./report.js";
import * as stage from "./stage.js";
import { arrive, emit, go, image, on, state } from "./state.js";
import * as sweep from "./sweep.js";
import * as tray from "./tray.js";
import * as unit from "./unit.js";

// ---- the server's word ----------------------------------------------------------------------------

const WORDS = {
  starting: "The model is being opened …",
  restarting: "The model’s process has ended; it is being opened again …",
  lost: "The server does not answer. Start it again; this page goes on when it does.",
  failed: "The model cannot be opened again: the terminal says why.",
  closed: "The server has ended.",
};

function hear(event, hello) {
  byId("state").textContent = event === "ready" ? "" : WORDS[event] ?? event;
  document.documentElement.dataset.state = event;
  if (event !== "ready") return;
  const first = state.hello === null;
  state.hello = hello;
  if (first || !byId("layers").children.length) build();
  if (first) arrive();
  else look();
}

function build() {
  const { title, model, warning, rules } = state.hello;
  byId("model").textContent = title;
  byId("model").title = model;
  document.title = `${title} · Convscope`;
  byId("banner").hidden = !warning;
  byId("banner").textContent = warning ? `${warning[0].toUpperCase()}${warning.slice(1)}.` : "";
  byId("rules").replaceChildren(...rules.map((name) => el("option", {}, name)));
  byId("atlas-link").hidden = !state.hello.atlas;
  for (const part of [stage, layers, answer, unit]) part.build();
  tray.list().catch(() => {});
}

// ---- an image -----------------------------------------------------------------------------------------

async function look() {
  if (!state.image || !state.hello) return;
  const started = performance.now();
  state.look = state.occluded = state.withoutAnswer = state.projected = null;
  byId("desk").setAttribute("aria-busy", "true");
  try {
    const [found, [pixels, ...tiles]] = await seen();
    state.look = found;
    stage.picture(pixels, found.name);
    stage.forget("spotlight", "own");
    layers.light(found, tiles);
    problem(found.notes);
    emit("look");
    state.took = performance.now() - started;
    say(`${found.name}: ${found.layers.length} layers`);
  } catch (error) {
    if (!(error instanceof Superseded || error instanceof Lost)) problem([error.message]);
  }
  byId("desk").removeAttribute("aria-busy");
}

/** What the network makes of the image; a picture of this tab that the server has not is given again. */
async function seen() {
  const wanted = state.image;
  const question = { do: "look", image: image() };
  try {
    return await ask(question, { slot: "look" });
  } catch (error) {
    if (error instanceof Superseded || error instanceof Lost || !(await tray.giveAgain(wanted))) throw error;
    if (state.image !== wanted) throw new Superseded();
    return ask(question, { slot: "look" });
  }
}

function problem(lines) {
  byId("stage-note").textContent = (lines ?? []).join(" · ");
}

on("image", look);
on("problem", () => problem([state.problem]));
on("rules look", () => { if (state.hello) byId("rules").value = unit.rules(); });

// ---- a target's own picture -------------------------------------------------------------------------------

async function targetPicture() {
  if (!state.look) return;
  const question = { do: "target", image: image(), target: state.target, rules: unit.rules() };
  try {
    const [found, [, , light]] = await ask(question, { slot: "project" });
    stage.frame(null);
    const words = `lit by what ${found.target} rests on, by ${found.rules}`;
    stage.setVeil("spotlight", { light, words: () => words });
    go({ veil: "spotlight" }, { replace: true });
    problem([capital(words)]);
  } catch (error) {
    if (!(error instanceof Superseded || error instanceof Lost)) problem([error.message]);
  }
}

// ---- keys and buttons -----------------------------------------------------------------------------------------

function turnTheme() {
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: light)").matches ? "light" : "dark";
  setTheme((root.dataset.theme ?? system) === "light" ? "dark" : "light");
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  try {
    localStorage.setItem("convscope-theme", theme);
  } catch {
    // the choice then lasts as long as the page
  }
}

function turnRules() {
  const all = state.hello.rules;
  const next = all[(all.indexOf(unit.rules()) + 1) % all.length];
  go({ rules: next === all[0] ? null : next }, { replace: true });
  say(next);
}

async function copy(button) {
  const words = button.previousElementSibling;
  try {
    await navigator.clipboard.writeText(words.textContent);
    button.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(words); // then Ctrl-C is one key away
    button.textContent = "Selected";
  }
  setTimeout(() => { button.textContent = "Copy"; }, 1500);
}

const DO = {
  theme: turnTheme, help: () => byId("help").showModal(), restart, copy,
  choose: () => byId("file").click(), paste: tray.paste, webcam: tray.openCamera, shoot: tray.shoot,
  more: () => tray.list({ more: true }), sweep: sweep.turn, "target-picture": targetPicture,
  remove: unit.removeShown, pin: report.pin, report: report.openReport, save: report.save,
};

const focusUnit = () => {
  if (byId("unit").hidden) return;
  byId("unit-map").focus();
};

const KEYS = {
  i: () => document.querySelector(".thumb")?.focus(), l: layers.focusMaps, u: focusUnit,
  o: stage.turnOccluder, v: stage.turnVeil, g: turnRules, x: unit.removeShown, m: sweep.turn,
  p: report.pin, t: turnTheme, "?": () => byId("help").showModal(),
};

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-do]");
  if (button) DO[button.dataset.do](button);
});
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (event.target.matches("input:not([type=radio],[type=checkbox],[type=range]), select")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  if (!Object.hasOwn(KEYS, event.key) || (!state.look && !"it?".includes(event.key))) return;
  event.preventDefault();
  KEYS[event.key]();
});
document.querySelector("[data-skip]").addEventListener("click", (event) => {
  event.preventDefault(); // the part behind # is the page's own address
  layers.focusMaps();
});
byId("rules").addEventListener("change", ({ target }) => {
  go({ rules: target.value === state.hello.rules[0] ? null : target.value }, { replace: true });
});
addEventListener("popstate", arrive);
addEventListener("hashchange", arrive);

try {
  const theme = localStorage.getItem("convscope-theme");
  if (theme) setTheme(theme);
} catch {
  // as above: the system's theme
}

tray.begin();
stage.begin({ pick: unit.pick });
layers.begin();
answer.begin();
unit.begin();
sweep.begin();
connect(hear);
