/* What every part draws with: elements, words, pixels. Whatever comes from data (names of layers,
   classes and files) becomes a text node or an attribute, never markup. */

const SVG = new Set(["svg", "rect", "path", "line", "circle"]);

export const byId = (id) => document.getElementById(id);

export function el(tag, attributes = {}, ...children) {
  const node = SVG.has(tag)
    ? document.createElementNS("http://www.w3.org/2000/svg", tag)
    : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

// ---- words ------------------------------------------------------------------------------------

export function figure(value) {
  if (value === null || value === undefined) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  const words = size >= 1000 ? size.toFixed(0) : size < 0.001 ? size.toExponential(1) : String(Number(size.toPrecision(3)));
  return value < 0 ? `−${words}` : words;
}

export function percent(value) {
  if (value === null || value === undefined) return "–";
  const share = 100 * value;
  if (share > 0 && share < 0.1) return "<\u202f0.1\u00a0%";
  return share > 99.9 && share < 100 ? ">\u202f99.9\u00a0%" : `${share.toFixed(1)}\u00a0%`;
}

export const capital = (words) => words.charAt(0).toUpperCase() + words.slice(1);
export const times = (sizes) => sizes.join(" × ");

/** A name that may be broken where it has a sign, and still is copied as it is. */
export function breakable(name) {
  return name.split(/(?<=[._/])/).flatMap((part, at) => (at ? [el("wbr"), part] : [part]));
}

/** For a shell: a file may be called `$(rm -rf ~)`, and the command is there to be pasted. */
export function quoted(text) {
  return /^[\w@%+=:,./#-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

/** Said to those who listen to the page. */
export function say(words) {
  byId("said").textContent = words;
}

// ---- colours: a table of 256 for each scale ---------------------------------------------------

function scale(stops, gamma = 1) {
  const table = new Uint8ClampedArray(256 * 4);
  const colours = stops.map((hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)));
  for (let i = 0; i < 256; i++) {
    const at = (i / 255) ** gamma * (colours.length - 1);
    const low = Math.min(Math.floor(at), colours.length - 2);
    for (let c = 0; c < 3; c++) {
      table[4 * i + c] = colours[low][c] + (at - low) * (colours[low + 1][c] - colours[low][c]);
    }
    table[4 * i + 3] = 255;
  }
  return table;
}

/** Activations: from dark through amber to cream, which reads on a dark page and on a light one.
    Weak ones are lifted: a map of half the layer's highest value is not half in the dark. */
export const GLOW = scale(["#101112", "#3a220d", "#7c4310", "#c4781c", "#ecb754", "#fff3d2"], 0.7);
/** Probabilities and activities under an occluder: viridis, as in the figures. */
export const VIRIDIS = scale([
  "#440154", "#472d7b", "#3b528b", "#2c728e", "#21918c", "#28ae80", "#5ec962", "#addc30", "#fde725",
]);
/** Classes: colours that are told apart by most eyes (Tol's bright ones), then grey. */
export const CLASSES = ["#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377"];
export const OTHER = "#8a8a8a";

// ---- pixels -----------------------------------------------------------------------------------

export function sized(canvas, height, width) {
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  return canvas.getContext("2d");
}

export function paintColour(canvas, [height, width], bytes) {
  const pixels = new ImageData(new Uint8ClampedArray(bytes), width, height);
  sized(canvas, height, width).putImageData(pixels, 0, 0);
}

export function paintScale(canvas, [height, width], bytes, { table = GLOW, stretch = 1 } = {}) {
  const context = sized(canvas, height, width);
  const pixels = context.createImageData(width, height);
  const words = new Uint32Array(pixels.data.buffer);
  const colours = new Uint32Array(table.buffer);
  for (let i = 0; i < words.length; i++) words[i] = colours[Math.min(255, Math.round(stretch * bytes[i]))];
  context.putImageData(pixels, 0, 0);
}

/** Grey over what is dark: alpha falls as the light rises. */
export function paintVeil(canvas, [height, width], light) {
  const context = sized(canvas, height, width);
  const pixels = context.createImageData(width, height);
  for (let i = 0; i < light.length; i++) {
    pixels.data.fill(128, 4 * i, 4 * i + 3);
    pixels.data[4 * i + 3] = 255 - light[i];
  }
  context.putImageData(pixels, 0, 0);
}

export function clear(canvas) {
  canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height);
}
