/* Every layer's maps: a row of the strongest for each, and all of one layer where asked for. */

import { breakable, byId, el, figure, paintScale, say, times } from "./draw.js";
import { Superseded, ask } from "./link.js";
import { go, image, on, state } from "./state.js";

const SIDE = 64; // of a map on the page, with its gap 70
const GAP = 6;
const AT_ONCE = 240; // maps of a wall
const rows = new Map(); // layer -> {row, strip, wall}
const tiles = new Map(); // "layer/channel" -> {size, pixels, map}: of the image at hand

export const tileOf = (layer, channel) => tiles.get(`${layer}/${channel}`);

/** Builds the rows, once; images only change what is in them. */
export function build() {
  const place = byId("layers");
  place.replaceChildren();
  rows.clear();
  for (const layer of state.hello.layers) {
    if (!layer.shown) continue;
    const strip = el("div", { class: "strip-live", role: "group", "aria-label": `strongest maps of ${layer.name}` });
    const count = layer.shape[0];
    const all = el("button", { type: "button", class: "button small all", "aria-expanded": "false", hidden: "", "data-count": count }, `all ${count}`);
    const wall = el("div", { class: "wall-live", hidden: "" });
    const row = el("section", { class: "layer-row", "aria-label": layer.name, "data-layer": layer.name },
      el("div", { class: "layer-text" }, glyph(layer.receptive_field),
        el("h2", { class: "layer-name", title: layer.name }, ...breakable(layer.name)),
        ...facts(layer).map((words) => el("p", { class: "quiet" }, words)), all),
      el("div", { class: "layer-maps" }, strip, wall));
    all.addEventListener("click", () => toggleWall(layer.name, all));
    rows.set(layer.name, { row, strip, wall, all });
    place.append(row);
  }
}

function facts({ shape, receptive_field: field }) {
  const [count, ...grid] = shape;
  const maps = grid.length ? `${count} maps, ${times(grid)}` : `${count} numbers`;
  const [height, width] = state.hello.input.slice(1);
  const whole = !field || field[0] >= height || field[1] >= width;
  return [maps, `sees ${whole ? "the image" : `${times(field)} px`}`];
}

/** The receptive field drawn inside the input. */
function glyph(field) {
  const [height, width] = state.hello.input.slice(1);
  const share = field ? [field[0] / height, field[1] / width].map((s) => Math.min(1, Math.max(0.08, s))) : [1, 1];
  return el("svg", { class: "glyph", viewBox: "0 0 20 20", "aria-hidden": "true" },
    el("rect", { class: "frame", x: 0.5, y: 0.5, width: 19, height: 19 }),
    el("rect", { class: "field", x: 10 - 9 * share[1], y: 10 - 9 * share[0], width: 18 * share[1], height: 18 * share[0] }));
}

// ---- maps ---------------------------------------------------------------------------------------

function remember(layer, pixels) {
  const [height, width] = layer.tile;
  layer.maps.forEach((map, at) => {
    const own = pixels.subarray(at * height * width, (at + 1) * height * width);
    tiles.set(`${layer.name}/${map.channel}`, { size: layer.tile, pixels: own, map });
  });
}

function button(layer, { channel, value }) {
  return el("button", {
    type: "button", class: "map", tabindex: "-1", "data-layer": layer, "data-channel": channel,
    "aria-label": `map ${channel} of ${layer}, ${figure(value)}`, title: `${layer}/${channel}: ${figure(value)}`,
  }, el("canvas", { width: 1, height: 1 }), el("span", {}, String(channel)));
}

function show(place, layer, maps) {
  while (place.children.length > maps.length) place.lastChild.remove();
  maps.forEach((map, at) => {
    let node = place.children[at];
    if (!node) {
      node = button(layer, map);
      place.append(node);
    }
    node.dataset.channel = map.channel;
    node.setAttribute("aria-label", `map ${map.channel} of ${layer}, ${figure(map.value)}`);
    node.title = `${layer}/${map.channel}: ${figure(map.value)}`;
    node.lastChild.textContent = map.channel;
    const { size, pixels } = tileOf(layer, map.channel);
    paintScale(node.firstChild, size, pixels);
  });
}

/** Lights all layers up: what a look brought. */
export function light(look, parts) {
  tiles.clear();
  look.layers.forEach((layer, at) => {
    const there = rows.get(layer.name);
    if (!there) return;
    remember(layer, parts[at]);
    there.maps = layer.maps;
    fold(layer.name, there);
    if (!there.wall.hidden) openWall(layer.name);
  });
  mark();
}

const fit = (strip) => Math.max(1, Math.floor((strip.clientWidth + GAP) / (SIDE + GAP)));

/** As many of the strongest maps as the row is wide. */
function fold(layer, { strip, maps, all }) {
  if (!maps || strip.hidden) return;
  const many = fit(strip);
  all.hidden = Number(all.dataset.count) <= many;
  show(strip, layer, maps.slice(0, many));
}

function mark() {
  let stop = null;
  for (const node of document.querySelectorAll(".map")) {
    const on_ = node.dataset.layer === state.layer && Number(node.dataset.channel) === state.channel;
    node.toggleAttribute("aria-current", on_);
    node.tabIndex = -1;
    if (on_) stop ??= node;
  }
  stop ??= document.querySelector(".map");
  if (stop) stop.tabIndex = 0;
}

// ---- a layer's wall -----------------------------------------------------------------------------

function toggleWall(layer, all) {
  const { wall, strip } = rows.get(layer);
  const open = wall.hidden;
  wall.hidden = !open;
  strip.hidden = open;
  all.setAttribute("aria-expanded", String(open));
  all.textContent = open ? "strongest" : `all ${all.dataset.count}`;
  if (open) openWall(layer);
  else {
    fold(layer, rows.get(layer));
    wall.replaceChildren();
    mark();
  }
}

async function openWall(layer, count = AT_ONCE) {
  const { wall } = rows.get(layer);
  if (!state.image) return;
  try {
    const [found, [pixels]] = await ask({ do: "tiles", image: image(), layer }, { slot: `tiles ${layer}` });
    remember(found, pixels);
    const sorted = found.maps.toSorted((a, b) => b.value - a.value || a.channel - b.channel);
    fillWall(wall, layer, sorted, count);
    say(`${sorted.length} maps of ${layer}`);
  } catch (error) {
    if (!(error instanceof Superseded)) wall.replaceChildren(el("p", { class: "quiet" }, error.message));
  }
}

function fillWall(wall, layer, maps, count) {
  wall.querySelector(".button")?.remove();
  show(wall, layer, maps.slice(0, count));
  if (count < maps.length) {
    const more = el("button", { type: "button", class: "button small" }, `${Math.min(AT_ONCE, maps.length - count)} more`);
    more.addEventListener("click", () => fillWall(wall, layer, maps, count + AT_ONCE));
    wall.append(more);
  }
  mark();
}

// ---- moving -------------------------------------------------------------------------------------

const visible = (place) => [...place.querySelectorAll(".map")].filter((node) => node.offsetParent);

function step(from, key) {
  const own = visible(from.parentNode);
  const at = own.indexOf(from);
  if (key === "ArrowRight") return own[at + 1];
  if (key === "ArrowLeft") return own[at - 1];
  const { left, top } = from.getBoundingClientRect();
  const down = key === "ArrowDown";
  const others = visible(byId("layers")).map((node) => [node, node.getBoundingClientRect()])
    .filter(([, box]) => (down ? box.top > top + 8 : box.top < top - 8));
  const rowAt = (down ? Math.min : Math.max)(...others.map(([, box]) => box.top));
  const line = others.filter(([, box]) => Math.abs(box.top - rowAt) < 8);
  return line.toSorted(([, a], [, b]) => Math.abs(a.left - left) - Math.abs(b.left - left))[0]?.[0];
}

export function begin() {
  const place = byId("layers");
  place.addEventListener("click", ({ target }) => {
    const map = target.closest(".map");
    if (!map) return;
    go({ layer: map.dataset.layer, channel: Number(map.dataset.channel), at: null });
    if (!matchMedia("(min-width: 1100px)").matches) byId("unit").scrollIntoView({ block: "start" });
  });
  place.addEventListener("keydown", (event) => {
    if (!event.key.startsWith("Arrow") || !event.target.matches(".map")) return;
    event.preventDefault();
    const next = step(event.target, event.key);
    if (!next) return;
    event.target.tabIndex = -1;
    next.tabIndex = 0;
    next.focus({ preventScroll: true });
    next.scrollIntoView({ block: "nearest" });
  });
  on("layer channel", mark);
  new ResizeObserver(() => {
    for (const [layer, there] of rows) fold(layer, there);
    mark();
  }).observe(place);
}

export function focusMaps() {
  const stop = document.querySelector(".map[tabindex='0']");
  stop?.focus();
  return Boolean(stop);
}
