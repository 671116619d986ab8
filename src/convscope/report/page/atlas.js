"use strict";
/* The atlas page, first of its scripts: addresses, data, and which view is on the screen.
   drawing.js, wall.js, evidence.js and unit.js draw, controls.js listens to the reader.

   They are classic scripts without modules or fetch, because browsers refuse both to a page that was
   opened by double-click. Data come as scripts that call `convscope.start(summary)` (page/data.js)
   and `convscope.receive(slug, table)` (data/SLUG.js, asked for when its layer is).

   The address says what is shown:   #/   #/layer?show=patches&sort=strongest&find=3-9
   #/layer/12?rank=3
   After each change a `convscope:view` event on the document tells whoever listens. */

const convscope = (() => {
  // How a layer may be looked at; the first of each is the default and stays out of the address.
  const CHOICES = {
    show: [], // the kinds of pictures that the atlas holds; see start()
    sort: ["number", "strongest", "specific", "selective", "density", "dead-last"],
    contrast: ["auto", "1", "2", "4", "8"],
  };

  const shown = {}; // route, and what the views keep: cells, built, found, rank
  const tables = new Map(); // slug -> promise of the layer's table
  const arrivals = new Map(); // slug -> the function that keeps that promise
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

  function parse(hash) {
    const [path, query = ""] = hash.replace(/^#/, "").split("?");
    if (!path.startsWith("/")) return { view: "overview", anchor: path };
    const [, layer = "", channel] = path.split("/").map(decoded);
    if (layer === "") return { view: "overview", anchor: "" };
    const asked = new URLSearchParams(query);
    const route = { view: channel === undefined ? "layer" : "map", layer, channel };
    for (const [name, all] of Object.entries(CHOICES)) {
      route[name] = all.includes(asked.get(name)) ? asked.get(name) : all[0];
    }
    const rank = Number(asked.get("rank") ?? 1);
    route.rank = Number.isInteger(rank) && rank >= 1 && rank <= convscope.atlas.top ? rank : 1;
    return { ...route, find: asked.get("find") ?? "" };
  }

  function address(route) {
    const query = new URLSearchParams();
    for (const [name, all] of Object.entries(CHOICES)) {
      if (all.includes(route[name]) && route[name] !== all[0]) query.set(name, route[name]);
    }
    if (route.find) query.set("find", route.find);
    if (route.channel !== undefined && route.rank > 1) query.set("rank", route.rank);
    const parts = [route.layer, route.channel].filter((part) => part !== undefined);
    return `#/${parts.map(encodeURIComponent).join("/")}${query.toString() && `?${query}`}`;
  }

  const keyOf = ({ layer, channel }) => address({ layer, channel });
  const go = (change) => location.assign(address({ ...shown.route, ...change }));
  /** Looking at the same thing in another way is no new step of the history. */
  const adjust = (change) => location.replace(address({ ...shown.route, ...change }));
  /** The page shows it already; only its address is to say so. */
  function note(change) {
    Object.assign(shown.route, change);
    history.replaceState(null, "", address(shown.route));
  }
  const hasOptimised = ({ slug }) => convscope.atlas.optimised.includes(slug);
  /** The kind of picture that a layer shows: the first, where it has none of those asked for. */
  function kindOf(show, layer) {
    if (show === "optimised" && layer && hasOptimised(layer)) return show;
    return convscope.atlas.kinds[show] ?? Object.values(convscope.atlas.kinds)[0];
  }

  // ---- data -----------------------------------------------------------------------------------

  function load({ slug }) {
    if (tables.has(slug)) return tables.get(slug);
    const promise = new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = `data/${encodeURIComponent(slug)}.js`;
      script.onerror = () => {
        tables.delete(slug); // the next visit tries again
        reject(new Error(`The file data/${slug}.js beside this page cannot be read.`));
      };
      arrivals.set(slug, resolve);
      document.head.append(script);
    });
    tables.set(slug, promise);
    return promise;
  }

  const receive = (slug, table) => arrivals.get(slug)?.(table);

  /** One of a map's strongest activations; null where the rank is empty. */
  function activation(table, channel, rank) {
    const at = channel * convscope.atlas.top + rank;
    if (table.image[at] < 0) return null;
    const [name, label] = table.images[table.image[at]];
    const box = table.box.slice(4 * at, 4 * at + 4);
    const [value, row, column] = [table.value[at], table.row[at], table.column[at]];
    return { value, row, column, box, name, label };
  }

  const strongest = (table, channel) => activation(table, channel, 0)?.value ?? null;
  const isDead = (table, channel) => table.active[channel] === 0; // in no image above zero

  /** Which maps a text asks for: "12", "5, 9", "30-40", or "dog": a class or file among a map's
      strongest images; all of them if it is blank. */
  function asksFor(text, table) {
    const asked = text.trim().toLowerCase();
    if (asked === "") return () => true;
    const spans = asked.split(/[,;\s]+/).map((part) => part.match(/^(\d+)(?:[-–](\d+))?$/));
    const within = (channel) => (span) =>
      span && Number(span[1]) <= channel && channel <= Number(span[2] ?? span[1]);
    if (spans.some(Boolean)) return (channel) => spans.some(within(channel));
    const has = table.images.map((names) => names.some((one) => one.toLowerCase().includes(asked)));
    const { top } = convscope.atlas;
    return (channel) => table.image.slice(channel * top, (channel + 1) * top).some((at) => has[at]);
  }

  /** How far a picture can be trusted; null where nobody looked. */
  function trust(table, channel, rank) {
    if (!table.trust || rank >= table.trust.check) return null;
    const found = table.trust.pictures[channel * table.trust.check + rank];
    if (!found) return null;
    const [at, place, specific, own, disc] = found;
    return { sentence: table.trust.sentences[at], place, specific, own, disc };
  }

  /** A number that maps may be sorted by, the largest first; null where it is not known. */
  const KEYS = {
    strongest: (table, channel) => strongest(table, channel),
    specific: (table, channel) => trust(table, channel, 0)?.specific?.[0] ?? null,
    selective: (table, channel) => table.responses?.named[channel]?.[1] ?? null,
    density: (table, channel) => table.responses?.density[channel] ?? null,
  };
  const sortable = (table, sort) =>
    !(sort in KEYS) || table.active.some((_, channel) => KEYS[sort](table, channel) !== null);

  /** The maps of a layer as the wall shows them and as "next" walks through them. */
  function order(layer, table, { sort, find }) {
    const last = (channel) => (isDead(table, channel) ? 1 : 0);
    const key = (channel) => KEYS[sort]?.(table, channel) ?? -Infinity;
    const channels = range(layer.channels).filter(asksFor(find, table));
    if (sort === "number") return channels;
    const larger = (a, b) => Number(key(b) > key(a)) - Number(key(b) < key(a));
    return channels.sort((a, b) => last(a) - last(b) || larger(a, b) || a - b);
  }

  // ---- from the address to a view -------------------------------------------------------------

  function lose(title, text) {
    byId("lost-title").textContent = title;
    byId("lost-text").textContent = text;
    return "lost";
  }

  /** Draws what the route asks for. Gives the view's name, or null if the reader has moved on. */
  async function draw(route) {
    if (route.view === "overview") {
      convscope.views.overview();
      return "overview";
    }
    const layer = convscope.atlas.layers.find(({ name }) => name === route.layer);
    if (!layer) return lose(route.layer, "This atlas has no layer of that name.");
    const known = /^\d+$/.test(route.channel ?? "0") && Number(route.channel ?? 0) < layer.channels;
    const maps = `This layer has the feature maps 0 to ${layer.channels - 1}.`;
    if (!known) return lose(`${route.layer}/${route.channel}`, maps);
    try {
      const table = await load(layer);
      if (shown.route !== route) return null;
      shown.order = order(layer, table, route);
      convscope.views[route.view](route, layer, table);
    } catch (error) {
      return lose(route.layer, error.message);
    }
    return route.view;
  }

  /** Makes a control say what the address says; a text that is being typed stays as it is. */
  function setField(field, route) {
    const value = route[field.dataset.option] ?? "";
    if (field.name === "show-map") field.checked = convscope.atlas.kinds[field.value] === kindOf(value);
    else if (field.type === "radio") field.checked = field.value === value;
    else if (field.value !== value) field.value = value;
  }

  function markPlace(route) {
    const home = route.layer === undefined ? "#/" : address({ layer: route.layer });
    for (const link of document.querySelectorAll(".side .place")) {
      const layer = link.dataset.layer;
      const here = layer === undefined ? link.hash === home : layer === route.layer;
      if (here) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    document.querySelector(".side [aria-current]")?.scrollIntoView({ block: "nearest" });
    byId("layer-select").value = home;
    const unit = [route.layer, route.channel].filter((part) => part !== undefined).join("/");
    const words = [unit, convscope.atlas.title, "Convscope atlas"];
    document.title = words.filter(Boolean).join(" · ");
  }

  /** Going up a step returns to where the reader was; any other way starts at the top. */
  function settle(route, before) {
    if (route.anchor) return byId(route.anchor)?.scrollIntoView();
    if (before && keyOf(before) === keyOf(route)) return undefined;
    const up = before && (route.layer === undefined ||
      (route.layer === before.layer && before.view === "map" && route.view === "layer"));
    window.scrollTo(0, up ? scrolls.get(keyOf(route)) ?? 0 : 0);
    if (up && route.view === "layer") shown.cells[Number(before.channel)]?.focus();
    if (route.view === "map") byId("map-title").focus({ preventScroll: true });
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
    settle(route, before);
    document.documentElement.dataset.view = view;
    document.dispatchEvent(new CustomEvent("convscope:view", { detail: { ...route, view } }));
  }

  function start(atlas) {
    convscope.atlas = atlas;
    document.documentElement.style.setProperty("--ranks", atlas.top);
    history.scrollRestoration = "manual"; // settle() knows better
    window.addEventListener("hashchange", render);
    CHOICES.show = [...Object.keys(atlas.kinds), ...(atlas.optimised.length ? ["optimised"] : [])];
    render();
  }

  return {
    CHOICES, shown, byId, range, parse, address, go, adjust, note, receive, start, // addresses
    activation, strongest, isDead, trust, order, sortable, kindOf, hasOptimised, // reading tables
    views: {}, // name -> (route, layer, table) => void; filled by views.js
  };
})();
