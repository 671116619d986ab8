/* One unit: its map, its pictures, what it loses under the occluder, and the ways on from here. */

import { breakable, byId, el, figure, paintColour, paintScale, quoted, say, times } from "./draw.js";
import { Lost, Superseded, ask, drop } from "./link.js";
import { forget, frame, setVeil } from "./stage.js";
import { emit, go, image, on, removed, state, unitOf } from "./state.js";
import { tileOf } from "./layers.js";
import { toggle } from "./answer.js";

const PICTURES = [
  ["patch", "Patch", "what it sees"], ["spotlight", "Spotlight", "lit where the projection is"],
  ["projection", "Projection", ""], ["own", "Own part", "what its neighbours do not lose"],
];

export const nameOf = ({ layer, channel }) => `${layer}/${channel}`;
const layerOf = (name) => state.hello.layers.find((layer) => layer.name === name);

export function build() {
  byId("unit-pictures").replaceChildren(...PICTURES.map(([name, title, note]) =>
    el("figure", { "data-picture": name }, el("canvas", { width: 1, height: 1, role: "img", "aria-label": title }),
      el("figcaption", {}, el("b", {}, title), el("span", {}, note)))));
}

const canvasOf = (name) => byId("unit-pictures").querySelector(`[data-picture="${name}"] canvas`);

// ---- asking -----------------------------------------------------------------------------------------

/** Everything of the unit in the address: its map at once, its projection, then what takes longer. */
export async function open() {
  const there = state.layer !== null && state.look;
  byId("unit").hidden = !there;
  byId("desk").classList.toggle("with-unit", Boolean(there));
  if (!there) {
    leave();
    return;
  }
  title();
  showMap(tileOf(state.layer, state.channel));
  try {
    const [[found, parts]] = await Promise.all([project(), completeMap()]);
    show(found, parts);
  } catch (error) {
    fail(error);
  }
}

function leave() {
  drop("project");
  drop("contrast");
  state.projected = null;
  forget("spotlight", "own");
  frame(null);
}

const project = () =>
  ask({ do: "project", image: image(), unit: unitOf(), rules: rules() }, { slot: "project" });

export const rules = () => state.rules ?? state.hello.rules[0];

/** The map itself, where it is none of those that a look brings. */
async function completeMap() {
  if (tileOf(state.layer, state.channel)) return;
  const { layer, channel } = state;
  const [found, [pixels]] = await ask({ do: "tiles", image: image(), layer, channels: [channel] }, { slot: "map" });
  showMap({ size: found.tile, pixels, map: found.maps[0] });
}

function fail(error) {
  if (error instanceof Superseded || error instanceof Lost) return;
  byId("unit-facts").textContent = error.message;
  leave();
}

// ---- showing ----------------------------------------------------------------------------------------

function title() {
  byId("unit-title").replaceChildren(...breakable(nameOf(state)));
  const layer = layerOf(state.layer);
  byId("unit-layer").textContent = layer ? layer.kind.replaceAll("_", " ") : "";
  byId("remove").textContent = removed().includes(nameOf(state)) ? "Put it in again" : "Remove unit";
  byId("remove").setAttribute("aria-pressed", String(removed().includes(nameOf(state))));
  atlasLink();
}

let shownMap = null;
let stretch = 1; // a map alone is shown up to its own highest value, with the occluder too

function showMap(tile) {
  shownMap = tile ?? null;
  if (!tile) return;
  stretch = 255 / Math.max(1, ...tile.pixels);
  paintScale(byId("unit-map"), tile.size, tile.pixels, { stretch });
  const [height, width] = layerOf(state.layer)?.grid ?? tile.size;
  byId("unit-mark").setAttribute("viewBox", `0 0 ${width} ${height}`);
  byId("unit-mark").parentNode.style.setProperty("--ratio", `${width} / ${height}`);
  markPosition(state.at ?? tile.map.position);
}

function markPosition(at) {
  const mark = byId("unit-at");
  mark.toggleAttribute("hidden", !at);
  if (!at) return;
  mark.setAttribute("x", at[1]);
  mark.setAttribute("y", at[0]);
  byId("map-caption").textContent = `row ${at[0]}, column ${at[1]} of ${times(layerOf(state.layer)?.grid ?? [1, 1])}`;
}

function show(found, [projection, spotlight, light]) {
  state.projected = found;
  const position = /@(\d+),(\d+)$/.exec(found.unit);
  markPosition(position ? [Number(position[1]), Number(position[2])] : null);
  const [top, left, bottom, right] = found.seen;
  const [height, width] = [found.box[2] - found.box[0], found.box[3] - found.box[1]];
  byId("unit-facts").textContent = `${figure(found.value)} at its ${state.at ? "chosen" : "strongest"} place · sees ${times([height, width])} px`;
  paintColour(canvasOf("projection"), found.size, projection);
  paintColour(canvasOf("spotlight"), found.size, spotlight);
  byId("unit-pictures").querySelector("[data-picture=projection] figcaption span").textContent = found.rules;
  const patch = canvasOf("patch");
  patch.width = right - left;
  patch.height = bottom - top;
  if (patch.width && patch.height) {
    patch.getContext("2d").drawImage(byId("picture"), left, top, patch.width, patch.height, 0, 0, patch.width, patch.height);
  }
  frame(found.box);
  setVeil("spotlight", { light, words: () => `lit by the projection, ${found.rules}` });
  command(found);
  contrast(found.unit);
  emit("unit-known");
}

async function contrast(unit) {
  const figureNode = byId("unit-pictures").querySelector("[data-picture=own]");
  figureNode.classList.add("waiting");
  try {
    const [found, [light]] = await ask({ do: "contrast", image: image(), unit, fill: state.fill }, { slot: "contrast" });
    ownPart(found, light);
    state.contrast = found;
  } catch (error) {
    if (error instanceof Superseded || error instanceof Lost) return;
    setVeil("own", null);
    figureNode.querySelector("span").textContent = error.message;
    canvasOf("own").width = 1;
  }
  figureNode.classList.remove("waiting");
}

/** The patch, lit where the unit loses more than its neighbours. */
function ownPart(found, light) {
  const [top, left, bottom, right] = found.seen;
  const canvas = canvasOf("own");
  const [height, width] = [bottom - top, right - left];
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  context.drawImage(byId("picture"), left, top, width, height, 0, 0, width, height);
  const pixels = context.getImageData(0, 0, width, height);
  const across = state.hello.input[2];
  for (let i = 0; i < height; i++) {
    for (let j = 0; j < width; j++) {
      const share = light[(top + i) * across + left + j] / 255;
      const at = 4 * (i * width + j);
      for (let c = 0; c < 3; c++) pixels.data[at + c] = 128 + (pixels.data[at + c] - 128) * share;
    }
  }
  context.putImageData(pixels, 0, 0);
  const text = byId("unit-pictures").querySelector("[data-picture=own] span");
  text.textContent = `less what ${found.neighbours.length} neighbours lose`;
  setVeil("own", { light, words: () => "lit by what is its own" });
}

/** What the unit is under the occluder. */
function activity() {
  const place = byId("activity");
  const watched = state.occluded?.units[0];
  place.hidden = !watched || state.layer === null;
  if (place.hidden) {
    if (shownMap && state.layer !== null) paintScale(byId("unit-map"), shownMap.size, shownMap.pixels, { stretch });
    return;
  }
  paintScale(byId("unit-map"), state.occluded.maps[0], state.occluded.pixels[0], { stretch });
  place.replaceChildren(meter("activation", watched.value, watched.base_value), meter("sum of the map", watched.sum, watched.base_sum));
}

function meter(name, now, base) {
  const most = Math.max(Math.abs(now), Math.abs(base), 1e-9);
  const track = el("span", { class: "track" }, el("span", { class: "now" }), el("span", { class: "base" }));
  track.style.setProperty("--now", Math.max(0, now / most));
  track.style.setProperty("--base", Math.max(0, base / most));
  return el("p", { class: "meter-live" }, el("span", {}, name), track, el("span", { class: "numeric" }, `${figure(now)} of ${figure(base)}`));
}

function command(found) {
  const { model, options, data } = state.hello;
  const picture = state.image[0] === "d" ? `${data}#${state.look.name}` : state.look.name;
  const words = ["convscope", "project", model, picture, found.unit, ...options];
  if (found.rules !== "deconvnet") words.push("--rules", found.rules);
  byId("command").textContent = [...words, "--out", "unit.png"].map(quoted).join(" ");
}

function atlasLink() {
  const link = byId("unit-atlas");
  const atlas = state.hello.atlas;
  const name = atlas && Object.hasOwn(atlas.layers, state.layer) ? atlas.layers[state.layer] : null;
  link.hidden = name === null;
  if (name !== null) link.href = `atlas/index.html#/${encodeURIComponent(name)}/${state.channel}`;
}

// ---- a position ---------------------------------------------------------------------------------------

function choose([row, column]) {
  const grid = layerOf(state.layer)?.grid;
  if (!grid || grid.length < 2) return;
  const at = [Math.min(Math.max(row, 0), grid[0] - 1), Math.min(Math.max(column, 0), grid[1] - 1)];
  go({ at }, { replace: true });
}

/** The position whose field has its middle next to a place of the image. */
export function pick([row, column]) {
  const grid = layerOf(state.layer)?.grid;
  if (!grid) return;
  const [height, width] = state.hello.input.slice(1);
  choose([Math.floor((row / height) * grid[0]), Math.floor((column / width) * grid[1])]);
}

const STEPS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

export function begin() {
  const map = byId("unit-map");
  map.addEventListener("click", (event) => {
    const grid = layerOf(state.layer)?.grid;
    if (!grid) return;
    const box = map.getBoundingClientRect();
    choose([Math.floor(((event.clientY - box.top) / box.height) * grid[0]), Math.floor(((event.clientX - box.left) / box.width) * grid[1])]);
  });
  map.addEventListener("keydown", (event) => {
    const way = STEPS[event.key];
    if (!way || !state.projected) return;
    event.preventDefault();
    const position = /@(\d+),(\d+)$/.exec(state.projected.unit);
    if (position) choose([Number(position[1]) + way[0], Number(position[2]) + way[1]]);
  });
  on("layer channel at rules look", open);
  on("occluded", activity);
  on("without", () => { if (state.layer !== null) title(); });
}

export function removeShown() {
  if (state.layer === null) return;
  toggle(nameOf(state));
  say(removed().includes(nameOf(state)) ? `${nameOf(state)} removed` : `${nameOf(state)} is in again`);
}
