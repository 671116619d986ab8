/* What is looked at, and its address: everything that can be linked to is in the part behind #.

     #/d17/conv5/12@3,4?rules=guided&target=3&veil=spotlight&box=10,20,31,41&without=conv5%2F2
     #/k0f3a…            an image that was dropped, by its content; d17 is the 17th of the data

   `go` changes the address, and what listens hears which of the names have changed. */

const DEFAULTS = {
  image: null, layer: null, channel: null, at: null, rules: null, target: null, veil: "picture",
  box: null, fill: "grey", without: "", to: "zero",
};

/** What the server said, what is known of the image, and where the page is. */
export const state = { hello: null, look: null, name: "", ...DEFAULTS };

const listeners = [];

/** Calls `listener(changed)` when one of the names (a string, blank between) has changed. */
export function on(names, listener) {
  listeners.push([names.split(" "), listener]);
}

export function emit(...changed) {
  for (const [names, listener] of listeners) {
    if (names.some((name) => changed.includes(name))) listener(new Set(changed));
  }
}

const decoded = (part) => {
  try {
    return decodeURIComponent(part);
  } catch {
    return part; // a stray % is part of a name that no layer has
  }
};

const numbers = (text, count) => {
  const found = (text ?? "").split(",").map(Number);
  return found.length === count && found.every(Number.isFinite) ? found : null;
};

export function parse(hash) {
  const [path, query = ""] = hash.replace(/^#\/?/, "").split("?");
  const [image, layer, channelAt = ""] = path.split("/").map(decoded);
  const asked = new URLSearchParams(query);
  const [channel, at] = channelAt.split("@");
  const whole = /^\d+$/.test(channel);
  return {
    image: /^(d\d+|k\w+)$/.test(image) ? image : null,
    layer: whole && layer ? layer : null,
    channel: whole ? Number(channel) : null,
    at: numbers(at, 2),
    rules: asked.get("rules"),
    target: /^\d+$/.test(asked.get("target") ?? "") ? Number(asked.get("target")) : null,
    veil: asked.get("veil") ?? "picture",
    box: numbers(asked.get("box"), 4),
    fill: asked.get("fill") ?? "grey",
    without: asked.getAll("without").join("\n"),
    to: asked.get("to") === "mean" ? "mean" : "zero",
  };
}

export function address(route) {
  const parts = [route.image ?? ""];
  if (route.image && route.layer !== null) {
    const at = route.at ? `@${route.at.join(",")}` : "";
    parts.push(encodeURIComponent(route.layer), `${route.channel}${at}`);
  }
  const query = new URLSearchParams();
  for (const name of ["rules", "target", "veil", "box", "fill", "to"]) {
    const value = route[name];
    if (value !== null && String(value) !== String(DEFAULTS[name])) query.set(name, value);
  }
  for (const unit of removed(route)) query.append("without", unit);
  const asked = query.toString();
  return `#/${parts.join("/")}${asked && `?${asked}`}`;
}

/** The units that are removed. */
export const removed = (route = state) => (route.without ? route.without.split("\n") : []);

/** Goes to another place; a change of the view alone replaces the address, one that is followed
    by the next at once does so `later`: a browser takes so many addresses a second and no more. */
export function go(change, { replace = false, later = false } = {}) {
  const route = { ...current(), ...change };
  clearTimeout(resting);
  if (later) resting = setTimeout(() => write(current(), true), REST);
  else write(route, replace);
  apply(route);
}

const REST = 150; // milliseconds
let resting;

function write(route, replace) {
  const place = address(route);
  if (place === location.hash) return;
  if (replace) history.replaceState(null, "", place);
  else history.pushState(null, "", place);
}

const current = () => Object.fromEntries(Object.keys(DEFAULTS).map((name) => [name, state[name]]));

function apply(route) {
  const changed = Object.keys(DEFAULTS).filter(
    (name) => String(state[name] ?? "") !== String(route[name] ?? ""),
  );
  Object.assign(state, route);
  if (changed.length) emit(...changed);
}

export const arrive = () => apply(parse(location.hash));

/** The image as a question names it. */
export function image(name = state.image) {
  return name[0] === "d" ? { data: Number(name.slice(1)) } : { key: name.slice(1) };
}

export const unitOf = (route = state) =>
  route.layer === null
    ? null
    : `${route.layer}/${route.channel}${route.at ? `@${route.at.join(",")}` : ""}`;
