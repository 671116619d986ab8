"use strict";
/* The atlas page, first of its scripts: addresses, data, and which view is on the screen.
   drawing.js is what all views draw with, notes.js keeps what the reader stars and names, controls.js
   listens to the reader. The scripts of a view come when it is wanted (PARTS); saving.js takes away.

   They are classic scripts without modules or fetch, because browsers refuse both to a page that was
   opened by double-click. Data come as scripts that call `convscope.start(summary)` (page/data.js)
   and `convscope.receive(place, table)` (the file at that place, asked for when it is wanted).

   The address says what is shown:   #/   #/?find=dog   #/layer?show=patches&sort=strongest
   #/layer/12?rank=3   #/image/NAME   #/diagnosis   #/compare/layer/12
   After each change a `convscope:view` event on the document tells whoever listens. */

const convscope = (() => {
  // How a layer may be looked at; the first of each is the default and stays out of the address.
  const CHOICES = {
    show: [], // the kinds of pictures that the atlas holds; see start()
    sort: ["number", "strongest", "selective", "density", "specific", "similar"],
    only: ["all", "alive", "dead", "starred"], // or class:NAME
    contrast: ["auto", "1", "2", "4", "8"],
  };
  /** The scripts that draw a view, in this order. */
  const PARTS = {
    overview: ["overview"], layer: ["wall"], map: ["evidence", "unit"], image: ["evidence", "unit", "image"],
    diagnosis: ["diagnosis"], compare: ["compare"],
  };
  const UNITS_KEPT = 12; // in memory: the pictures of each are 50 to 100 KB

  const shown = {}; // route, order, and what the views keep
  const parts = new Map(); // name -> promise of the page's own script
  const arrivals = new Map(); // place -> the function that takes what arrives there
  const tables = new Map(); // place -> promise of the table
  const units = new Map(); // place -> promise of the unit, the one that was wanted last at the end
  const scrolls = new Map(); // address without query -> how far its reader had come
  const byId = (id) => document.getElementById(id);
  const range = (n) => Array.from({ length: n }, (_, i) => i);

  // ---- addresses ------------------------------------------------------------------------------

  function decoded(part) {
    try {
      return decodeURIComponent(part);
    } catch {
      return part; // a stray % is part of a name that no layer has
    }
  }

  const isNumber = (text) => /^\d+$/.test(text);
  const layerNamed = (name) => convscope.atlas.layers.find((layer) => layer.name === name);

  function parse(hash) {
    const [path, query = ""] = hash.replace(/^#/, "").split("?");
    if (!path.startsWith("/")) return { view: "overview", anchor: path, find: "" };
    const [, first = "", second, third] = path.split("/").map(decoded);
    const asked = new URLSearchParams(query);
    const find = asked.get("find") ?? "";
    if (first === "") return { view: "overview", anchor: "", find };
    // A layer may be called "image"; its maps are numbers.
    if (first === "image" && second && !(layerNamed(first) && isNumber(second))) {
      return { view: "image", image: second, find: "" };
    }
    if (first === "diagnosis" && second === undefined && !layerNamed(first)) return { view: first, diagnosis: true, find: "" };
    if (first === "compare" && !(layerNamed(first) && (second === undefined || isNumber(second)))) {
      return { view: "compare", compare: second ?? "", pair: third, find: "" };
    }
    const route = { view: second === undefined ? "layer" : "map", layer: first, channel: second, find };
    for (const [name, all] of Object.entries(CHOICES)) {
      const value = asked.get(name);
      const free = name === "only" && value?.startsWith("class:");
      route[name] = free || all.includes(value) ? value : all[0];
    }
    const rank = Number(asked.get("rank") ?? 1);
    route.rank = Number.isInteger(rank) && rank >= 1 && rank <= convscope.atlas.top ? rank : 1;
    return route;
  }

  function address(route) {
    const query = new URLSearchParams();
    for (const [name, all] of Object.entries(CHOICES)) {
      if (route.layer !== undefined && route[name] && route[name] !== all[0]) query.set(name, route[name]);
    }
    if (route.find) query.set("find", route.find);
    if (route.channel !== undefined && route.rank > 1) query.set("rank", route.rank);
    if (route.diagnosis && route.layer === undefined) return "#/diagnosis";
    const parts = route.layer !== undefined ? [route.layer, route.channel]
      : route.compare !== undefined ? ["compare", route.compare || undefined, route.pair]
        : [route.image === undefined ? undefined : "image", route.image];
    const path = parts.filter((part) => part !== undefined).map(encodeURIComponent).join("/");
    return `#/${path}${query.toString() && `?${query}`}`;
  }

  const keyOf = ({ layer, channel, image, diagnosis, compare, pair }) => address({ layer, channel, image, diagnosis, compare, pair });
  const go = (change) => location.assign(address({ ...shown.route, ...change }));
  /** Looking at the same thing in another way is no new step of the history. */
  const adjust = (change) => location.replace(address({ ...shown.route, ...change }));
  /** The page shows it already; only its address is to say so. */
  function note(change) {
    Object.assign(shown.route, change);
    history.replaceState(null, "", address(shown.route));
  }
  const has = (kind, { slug }) => (convscope.atlas[kind] ?? []).includes(slug);
  /** The kind of picture that a layer shows: the first, where it has none of those asked for. */
  function kindOf(show, layer) {
    if (show === "optimised" && layer && has(show, layer)) return show;
    return convscope.atlas.kinds[show] ?? Object.values(convscope.atlas.kinds)[0];
  }
  /** As the command line calls it. */
  const unitName = (layer, channel) => `${layer.activation}/${channel}`;

  // ---- data -----------------------------------------------------------------------------------

  /** Runs the script at a place. */
  function run(place) {
    return new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.async = false; // in the order in which they are asked for
      script.src = `${place.split("/").map(encodeURIComponent).join("/")}.js`;
      script.onload = () => resolve(script.remove());
      script.onerror = () => {
        script.remove();
        reject(new Error(`The file ${place}.js beside this page cannot be read.`));
      };
      document.head.append(script);
    });
  }

  /** What the script at a place hands over. */
  function arrive(place) {
    return new Promise((resolve, reject) => {
      arrivals.set(place, resolve);
      run(place).catch(reject);
    });
  }

  /** Some of the page's own scripts, in their order. */
  function need(...names) {
    for (const name of names) {
      if (!parts.has(name)) parts.set(name, run(`page/${name}`));
      parts.get(name).catch(() => parts.delete(name));
    }
    return Promise.all(names.map((name) => parts.get(name)));
  }

  function receive(place, table) {
    arrivals.get(place)?.(table);
    arrivals.delete(place);
  }

  /** A table that is kept; the next visit tries again where it could not be read. */
  function load(place) {
    if (!tables.has(place)) {
      tables.set(place, arrive(place));
      tables.get(place).catch(() => tables.delete(place));
    }
    return tables.get(place);
  }
  const loadWall = ({ slug }) => load(`data/${slug}`);

  /** A unit's numbers, and the address of its pictures in memory; few units are kept. */
  function loadUnit({ slug }, channel, folder = "data/units") {
    const place = `${folder}/${slug}/${channel}`;
    const kept = units.get(place) ?? arrive(place).then(({ sheet, ...unit }) => {
      const bytes = Uint8Array.from(atob(sheet), (letter) => letter.charCodeAt(0));
      return { ...unit, url: URL.createObjectURL(new Blob([bytes], { type: "image/webp" })) };
    });
    units.delete(place);
    units.set(place, kept);
    kept.catch(() => units.delete(place));
    const [[oldest, promise]] = units;
    if (units.size > UNITS_KEPT) {
      units.delete(oldest);
      promise.then((unit) => URL.revokeObjectURL(unit.url), () => {});
    }
    return kept;
  }

  /** One of a unit's strongest activations; null where the rank is empty. */
  function activation(unit, rank) {
    if (!unit.ranks[rank]) return null;
    const [value, row, column, box, image, name, label] = unit.ranks[rank];
    return { value, row, column, box, image, name, label };
  }

  // ---- which maps, and in which order -----------------------------------------------------------

  /** Which maps a text asks for: "12", "5, 9", "30-40", or "dog": a class or file among a map's
      strongest images, the class that it tells, its reader's name for it. */
  function asksFor(text, layer, table) {
    const asked = text.trim().toLowerCase();
    if (asked === "") return () => true;
    const spans = asked.split(/[,;\s]+/).map((part) => part.match(/^(\d+)(?:[-–](\d+))?$/));
    const within = (channel) => (span) =>
      span && Number(span[1]) <= channel && channel <= Number(span[2] ?? span[1]);
    if (spans.some(Boolean)) return (channel) => spans.some(within(channel));
    const found = table.images.map((names) => names.some((one) => one.toLowerCase().includes(asked)));
    const { top } = convscope.atlas;
    return (channel) =>
      table.image.slice(channel * top, (channel + 1) * top).some((at) => found[at]) ||
      (told(table, channel) ?? "").toLowerCase().includes(asked) ||
      convscope.notes.of(unitName(layer, channel)).name.toLowerCase().includes(asked);
  }

  /** The class that a map tells better than chance would; null where it tells none. */
  function told(table, channel) {
    const named = table.named?.[channel];
    return named && named[1] > named[2] ? named[0] : null;
  }
  const hasNumbers = (table, channel) => table.active[channel] !== null;
  const isDead = (table, channel) => !table.active[channel]; // nothing to show: dead, or not finite

  function allowed(only, layer, table) {
    if (only.startsWith("class:")) return (channel) => told(table, channel) === only.slice(6);
    if (only === "starred") return (channel) => convscope.notes.of(unitName(layer, channel)).star;
    if (only === "all") return () => true;
    return (channel) => hasNumbers(table, channel) && isDead(table, channel) === (only === "dead");
  }

  /** A number that maps are sorted by, the largest first; null where it is not known. */
  const KEYS = {
    strongest: (table, channel) => table.value[channel],
    selective: (table, channel) => (told(table, channel) === null ? null : table.named[channel][1]),
    density: (table, channel) => table.density?.[channel] ?? null,
    specific: (table, channel) => table.specific[channel],
  };
  const sortable = (table, sort) => sort === "number" || (sort === "similar" && table.similar) ||
    (sort in KEYS && table.active.some((_, channel) => KEYS[sort](table, channel) !== null));

  /** The maps of a layer as the wall shows them and as "next" walks through them. */
  function order(layer, table, { sort, find, only }) {
    const channels = range(layer.channels).filter(asksFor(find, layer, table)).filter(allowed(only, layer, table));
    if (sort === "number" || !sortable(table, sort)) return channels;
    if (sort === "similar") {
      const wanted = new Set(channels);
      return table.similar.filter((channel) => wanted.has(channel));
    }
    const key = new Map(channels.map((channel) => [channel, KEYS[sort](table, channel) ?? -Infinity]));
    const last = (channel) => Number(isDead(table, channel));
    const larger = (a, b) => Number(key.get(b) > key.get(a)) - Number(key.get(b) < key.get(a));
    return channels.sort((a, b) => last(a) - last(b) || larger(a, b) || a - b);
  }

  /** By number, all of them: then a unit's page needs no numbers of its neighbours. */
  const isPlain = ({ sort, find, only }) => sort === "number" && find === "" && only === "all";

  // ---- from the address to a view -------------------------------------------------------------

  const MISSING = {
    image: ({ image }) => [image, "No map of this atlas has such an image among its strongest."],
    diagnosis: () => ["Diagnosis", "No diagnosis was given to this atlas: convscope atlas --resume --diagnosis DIR."],
    compare: ({ compare }) => ["Comparison", convscope.atlas.compared ? `No such layer or map was compared with the other network’s: ${compare}.`
      : "No comparison was given to this atlas: convscope atlas --resume --compare DIR."],
  };

  function lose(title, text) {
    byId("lost-title").textContent = title;
    byId("lost-text").textContent = text;
    return "lost";
  }

  async function drawLayer(route, layer) {
    const [table] = await Promise.all([loadWall(layer), need(...PARTS.layer)]);
    if (shown.route !== route) return false;
    shown.order = order(layer, table, route);
    convscope.views.layer(route, layer, table);
    return true;
  }

  async function drawMap(route, layer) {
    const [unit, table] = await Promise.all(
      [loadUnit(layer, Number(route.channel)), isPlain(route) ? null : loadWall(layer), need(...PARTS.map)]);
    if (shown.route !== route) return false;
    shown.order = table ? order(layer, table, route) : range(layer.channels);
    convscope.views.map(route, layer, unit);
    return true;
  }

  /** Draws what the route asks for. Gives the view's name, or null if the reader has moved on. */
  async function draw(route) {
    try {
      if (route.layer === undefined) {
        await need(...PARTS[route.view]);
        if (shown.route !== route) return null;
        const found = await convscope.views[route.view](route);
        if (shown.route !== route) return null;
        return found === false ? lose(...MISSING[route.view](route)) : route.view;
      }
      const layer = layerNamed(route.layer);
      if (!layer) return lose(route.layer, "This atlas has no layer of that name.");
      const known = isNumber(route.channel ?? "0") && Number(route.channel ?? 0) < layer.channels;
      const maps = `This layer has the feature maps 0 to ${layer.channels - 1}.`;
      if (!known) return lose(`${route.layer}/${route.channel}`, maps);
      const done = await (route.view === "map" ? drawMap : drawLayer)(route, layer);
      return done ? route.view : null;
    } catch (error) {
      return shown.route === route ? lose(route.layer ?? "", error.message) : null;
    }
  }

  /** Makes a control say what the address says; a text that is being typed stays as it is. */
  function setField(field, route) {
    const value = route[field.dataset.option] ?? "";
    if (field.name === "show-map") field.checked = convscope.atlas.kinds[field.value] === kindOf(value);
    else if (field.type === "radio") field.checked = field.value === value;
    else if (field.value !== value) field.value = value;
  }

  function markPlace(route) {
    const home = route.layer === undefined ? keyOf({ diagnosis: route.diagnosis, compare: route.compare && "" }) : address({ layer: route.layer });
    for (const link of document.querySelectorAll(".side .place")) {
      const layer = link.dataset.layer;
      const here = layer === undefined ? link.hash === home : layer === route.layer;
      if (here) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    document.querySelector(".side [aria-current]")?.scrollIntoView({ block: "nearest" });
    byId("layer-select").value = home;
    const layer = layerNamed(route.layer);
    const unit = layer && route.channel !== undefined ? unitName(layer, route.channel) : route.layer ?? route.image ?? (route.diagnosis ? "Diagnosis" : route.compare === undefined ? undefined : "Comparison");
    const words = [unit, convscope.atlas.title, "Convscope atlas"];
    document.title = words.filter(Boolean).join(" · ");
  }

  /** Going up a step returns to where the reader was; any other way starts at the top. */
  function settle(route, before, view) {
    if (route.anchor) return byId(route.anchor)?.scrollIntoView();
    if (before && keyOf(before) === keyOf(route)) return undefined;
    const up = before && (keyOf(route) === "#/" ||
      (route.layer === before.layer && before.view === "map" && route.view === "layer") ||
      (view === "compare" && route.compare === before.compare && route.pair === undefined));
    window.scrollTo(0, up ? scrolls.get(keyOf(route)) ?? 0 : 0);
    if (view === "layer") convscope.wall.settle(up ? Number(before.channel) : null);
    if (view === "map") byId("map-title").focus({ preventScroll: true });
    if (["image", "compare"].includes(view)) byId(`${view}-title`).focus({ preventScroll: true });
    return undefined;
  }

  async function render() {
    const route = parse(location.hash);
    const before = shown.route;
    if (before) scrolls.set(keyOf(before), window.scrollY);
    shown.route = route;
    const view = await draw(route);
    if (view === null) return;
    for (const field of document.querySelectorAll("[data-option]")) setField(field, route);
    for (const section of document.querySelectorAll(".view")) section.hidden = section.id !== view;
    markPlace(route);
    settle(route, before, view);
    document.documentElement.dataset.view = view;
    document.dispatchEvent(new CustomEvent("convscope:view", { detail: { ...route, view } }));
  }

  function start(atlas) {
    convscope.atlas = atlas;
    document.documentElement.style.setProperty("--columns", atlas.unit.columns);
    history.scrollRestoration = "manual"; // settle() knows better
    window.addEventListener("hashchange", render);
    CHOICES.show = [...Object.keys(atlas.kinds), ...(atlas.optimised.length ? ["optimised"] : [])];
    convscope.notes.open();
    render();
  }

  return {
    CHOICES, shown, byId, range, parse, address, go, adjust, note, receive, start, // addresses
    need, load, loadWall, loadUnit, activation, told, isDead, hasNumbers, order, sortable, kindOf, has, unitName, // data
    views: {}, // name -> (route, layer, table) => void; filled by the scripts that draw
    panels: [], // of the unit page, (unit, host) => false to hide it; for whoever adds some
    overviewPanels: [], // at the top of the overview, (host) => void
  };
})();
