/* The image: what is shown over it, the field of the unit, and the occluder that is drawn over it. */

import { VIRIDIS, CLASSES, OTHER, byId, clear, el, paintColour, paintScale, paintVeil, say, sized } from "./draw.js";
import { go, on, state } from "./state.js";

const VEILS = [
  ["picture", "Picture"], ["spotlight", "Spotlight"], ["own", "Own part"], ["sweep", "Occlusion"],
];
const veils = {}; // name -> {light | heat, words()}: what there is for the image and unit at hand

const side = () => state.hello.input.slice(1); // (H, W)

export function build() {
  const place = byId("veils");
  place.querySelectorAll("label").forEach((node) => node.remove());
  for (const [value, words] of VEILS) {
    const input = el("input", { type: "radio", name: "veil", value });
    input.addEventListener("change", () => go({ veil: value }, { replace: true }));
    place.append(el("label", { "data-veil": value }, input, el("span", {}, words)));
  }
  const fill = byId("fill");
  fill.replaceChildren(...state.hello.fills.map((name) => el("option", {}, name)));
  fill.value = state.fill;
  const [height, width] = side();
  const size = byId("size");
  size.max = Math.floor(Math.min(height, width) * 0.6);
  size.value = state.box ? state.box[2] - state.box[0] : state.hello.default_occluder.size[0];
  byId("marks").setAttribute("viewBox", `0 0 ${width} ${height}`);
  byId("stage").style.setProperty("--ratio", `${width} / ${height}`);
}

export function picture(pixels, name) {
  paintColour(byId("picture"), side(), pixels);
  byId("picture").setAttribute("aria-label", `The image ${name}`);
  byId("welcome").hidden = true;
  byId("under").hidden = false;
}

// ---- veils ----------------------------------------------------------------------------------------

/** What can be shown over the image: a light of what is bright, or a drawing. */
export function setVeil(name, veil) {
  if (veil) veils[name] = veil;
  else delete veils[name];
  if (state.veil === name || name === "sweep") drawVeil();
  offer();
}

export const forget = (...names) => names.forEach((name) => setVeil(name, null));

function offer() {
  for (const label of byId("veils").querySelectorAll("label")) {
    const name = label.dataset.veil;
    const input = label.firstChild;
    input.disabled = name !== "picture" && !veils[name];
    input.checked = name === state.veil;
  }
}

function drawVeil() {
  const canvas = byId("veil");
  const veil = veils[state.veil];
  canvas.classList.toggle("heat", Boolean(veil?.heat));
  if (!veil) clear(canvas);
  else if (veil.light) paintVeil(canvas, side(), veil.light);
  else veil.heat(canvas);
}

/** What is shown over the image, in words. */
export const veilWords = () => veils[state.veil]?.words() ?? "as the network sees it";

/** The next of the veils that there are. */
export function turnVeil() {
  const there = VEILS.map(([name]) => name).filter((name) => name === "picture" || veils[name]);
  const next = there[(there.indexOf(state.veil) + 1) % there.length];
  go({ veil: next }, { replace: true });
  say(VEILS.find(([name]) => name === next)[1]);
}

/** Frames what a unit sees: (top, left, bottom, right). */
export function frame(box) {
  const rect = byId("field");
  rect.toggleAttribute("hidden", !box);
  if (!box) return;
  const [top, left, bottom, right] = box;
  for (const [name, value] of Object.entries({ x: left, y: top, width: right - left, height: bottom - top })) {
    rect.setAttribute(name, value);
  }
}

/** Draws numbers (rows, columns) at the places where the occluder's middle was. */
export function heat(canvas, figure, colourOf) {
  const [height, width] = side();
  const context = sized(canvas, height, width);
  context.clearRect(0, 0, width, height);
  const [rows, columns] = [edges(figure.rows, figure.size[0], height), edges(figure.columns, figure.size[1], width)];
  for (let i = 0; i < figure.rows.length; i++) {
    for (let j = 0; j < figure.columns.length; j++) {
      const colour = colourOf(i * figure.columns.length + j);
      if (!colour) continue;
      context.fillStyle = colour;
      context.fillRect(columns[j], rows[i], columns[j + 1] - columns[j], rows[i + 1] - rows[i]);
    }
  }
}

/** Where the cell of each place begins and ends: halfway between the middles of the occluder. */
function edges(starts, size, length) {
  const middles = starts.map((start) => start + size / 2);
  const between = middles.slice(1).map((middle, at) => (middle + middles[at]) / 2);
  return [0, ...between, length].map(Math.round);
}

export const viridis = (share) => {
  const at = 4 * Math.max(0, Math.min(255, Math.round(255 * share)));
  return `rgb(${VIRIDIS[at]} ${VIRIDIS[at + 1]} ${VIRIDIS[at + 2]})`;
};
export const classColour = (rank) => CLASSES[rank] ?? OTHER;
export { paintScale };

// ---- the occluder -----------------------------------------------------------------------------------

const middleOf = (box) => [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2];

function boxAt([row, column]) {
  const [height, width] = side();
  const size = Number(byId("size").value);
  const top = Math.round(Math.min(Math.max(row - size / 2, 0), height - size));
  const left = Math.round(Math.min(Math.max(column - size / 2, 0), width - size));
  return [top, left, top + size, left + size];
}

export function turnOccluder() {
  const [height, width] = side();
  go({ box: state.box ? null : boxAt([height / 2, width / 2]) }, { replace: true });
  if (state.box) byId("occluder").focus({ preventScroll: true });
}

/** The box moves at once; the address follows when it rests. */
function move(box, rests) {
  if (rests || String(box) !== String(state.box)) go({ box }, { replace: true, later: !rests });
  if (rests) say(`occluder at row ${box[0]}, column ${box[1]}`);
}

function drawOccluder() {
  const node = byId("occluder");
  node.hidden = !state.box || !state.look;
  byId("occlude").checked = Boolean(state.box);
  byId("occluding").hidden = node.hidden;
  if (node.hidden) return;
  const [height, width] = side();
  const [top, left, bottom, right] = state.box;
  const style = { top: top / height, left: left / width, height: (bottom - top) / height, width: (right - left) / width };
  for (const [name, share] of Object.entries(style)) node.style[name] = `${100 * share}%`;
  node.dataset.fill = state.fill;
  node.setAttribute("aria-label", `Occluder at row ${top}, column ${left}; arrows move it`);
  byId("size-out").textContent = `${bottom - top} px`;
}

function place(event) {
  const [height, width] = side();
  const box = byId("stage").getBoundingClientRect();
  return [((event.clientY - box.top) / box.height) * height, ((event.clientX - box.left) / box.width) * width];
}

const STEPS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

export function begin({ pick }) {
  const node = byId("occluder");
  let grip = null;
  node.addEventListener("pointerdown", (event) => {
    const [row, column] = place(event);
    const [down, across] = middleOf(state.box);
    grip = [down - row, across - column];
    node.setPointerCapture(event.pointerId);
  });
  node.addEventListener("pointermove", (event) => {
    if (!grip) return;
    const [row, column] = place(event);
    move(boxAt([row + grip[0], column + grip[1]]));
  });
  for (const end of ["pointerup", "pointercancel"]) {
    node.addEventListener(end, () => {
      if (grip) move(state.box, true);
      grip = null;
    });
  }
  node.addEventListener("keydown", (event) => {
    const way = STEPS[event.key];
    if (!way) return;
    event.preventDefault();
    event.stopPropagation();
    const size = state.box[2] - state.box[0];
    const far = event.shiftKey ? size : Math.max(1, Math.round(size / 8));
    const [row, column] = middleOf(state.box);
    move(boxAt([row + way[0] * far, column + way[1] * far]), true);
  });
  byId("picture").addEventListener("click", (event) => {
    if (state.look && state.layer !== null) pick(place(event));
  });
  byId("veil").addEventListener("click", (event) => byId("picture").dispatchEvent(new MouseEvent("click", event)));
  byId("occlude").addEventListener("change", turnOccluder);
  byId("size").addEventListener("input", () => {
    if (state.box) move(boxAt(middleOf(state.box)), true);
  });
  byId("fill").addEventListener("change", ({ target }) => go({ fill: target.value }, { replace: true }));
  on("box fill image look", drawOccluder);
  on("veil", () => {
    drawVeil();
    offer();
  });
}
