"use strict";
/* Draws a layer: its facts, raw filters and the wall of its maps. The wall holds only the rows that
   are near the screen, so that one of thousands of maps stays light. */

convscope.wall = (() => {
  const { shown, byId, range, address, told, isDead, hasNumbers, sortable, kindOf, unitName } = convscope;
  const { el, words, maps, times, figure } = convscope.drawing;
  const { placeOnWall, placeFilter, placeCell, showSheet, stretch } = convscope.drawing;
  const KINDS = { conv: "Convolution" };
  const ROWS_AROUND = 3; // beyond the screen, above and below
  const PAUSE = 120; // ms on a map before its nine pictures come
  const wall = byId("wall");
  const state = { channels: [], first: 0, last: 0, stop: undefined, cells: new Map() };

  // ---- head, raw filters --------------------------------------------------------------------------

  function layerFacts({ channels, grid, field, dead, non_finite: nonFinite, not_finite: lost, ...layer }) {
    const sure = field.status === "exact" ? "" : ` (${field.status.replaceAll("_", " ")})`;
    const pairs = [
      ["Feature maps", words(channels)],
      ["Grid", times(grid)],
      ["Receptive field", `${times(field.size)} px${sure}`],
      ["Stride", `${times(field.stride)} px`],
      ["Dead maps", words(dead)],
    ];
    if (layer.image_dependent === false)
      pairs.push(["Projections", "the same for every image, but for their strength"]);
    if (lost) pairs.push(["Maps that are not finite", words(lost)]);
    if (nonFinite) pairs.push(["NaN or infinite", words(nonFinite)]);
    return pairs.map(([term, text]) => el("div", {}, el("dt", {}, term), el("dd", {}, text)));
  }

  function drawProfile(layer, table) {
    const values = range(layer.channels).map((channel) => table.value[channel] ?? 0);
    values.sort((a, b) => b - a);
    const scale = Math.max(values[0], 1e-30);
    const point = (value, i) => {
      const x = (240 * (i + 0.5)) / values.length;
      return `${x.toFixed(1)},${(55 - (52 * Math.max(0, value)) / scale).toFixed(1)}`;
    };
    const curve = values.map(point).join(" L");
    const extent = `${figure(values[0])} to ${figure(values.at(-1))}`;
    const text = `Strongest activation of each map, in order: ${extent}`;
    byId("profile").setAttribute("aria-label", text);
    byId("profile").replaceChildren(
      el("path", { class: "area", d: `M${curve} L240,55 L0,55 Z` }),
      el("path", { class: "curve", d: `M${curve}` }),
    );
    byId("profile-text").textContent = text;
  }

  function drawFilters(layer) {
    const channels = layer.filters ? range(layer.channels) : [];
    byId("filters").hidden = !layer.filters;
    byId("filter-strip").replaceChildren(...channels.map((channel) => {
      const href = address({ layer: layer.name, channel });
      const name = `Raw filter of map ${channel}`;
      const node = el("a", { class: "filter", href, "aria-label": name, title: `Map ${channel}` });
      placeFilter(node, layer, channel);
      return node;
    }));
  }

  /** The maps that tell a class better than chance, class by class, to be shown alone. */
  function drawClasses(layer, table) {
    const counts = new Map();
    for (const channel of range(layer.channels)) {
      const name = told(table, channel);
      if (name !== null) counts.set(name, (counts.get(name) ?? 0) + 1);
    }
    const known = [...counts].sort(([a, n], [b, m]) => m - n || a.localeCompare(b));
    byId("only-class").hidden = known.length === 0;
    byId("only-class").replaceChildren(...known.map(([name, count]) =>
      el("option", { value: `class:${name}` }, `${name} (${words(count)})`)));
  }

  // ---- the wall ---------------------------------------------------------------------------------

  /** What is told below a picture: what the maps are sorted by, else what the map is called. */
  function remark(layer, table, channel, sort) {
    if (!hasNumbers(table, channel)) return "not finite";
    if (isDead(table, channel)) return "dead";
    const share = (value) => `${figure(100 * value)} %`;
    const name = convscope.notes.of(unitName(layer, channel)).name || told(table, channel);
    if (sort === "selective" && told(table, channel)) return `${told(table, channel)} ${table.named[channel][1].toFixed(2)}`;
    if (sort === "density" && table.density) return share(table.density[channel]);
    if (sort === "specific" && table.specific[channel] !== null) return table.specific[channel].toFixed(2);
    return sort !== "strongest" && name ? name : figure(table.value[channel]);
  }

  function cell(layer, table, channel, route) {
    const { star } = convscope.notes.of(unitName(layer, channel));
    const node = el("a", { "data-channel": channel, href: address({ ...route, channel, rank: 1 }) },
      el("span", { class: "pic" }),
      el("span", { class: "tag" }, el("b", {}, `${channel}${star ? " ★" : ""}`), " ",
        el("i", {}, remark(layer, table, channel, route.sort))));
    node.className = isDead(table, channel) ? "cell dead" : "cell";
    node.tabIndex = channel === state.stop ? 0 : -1; // one tab stop for the wall; arrows do the rest
    stretch(node, layer, route);
    if (!isDead(table, channel)) placeOnWall(node.firstChild, layer, kindOf(route.show, layer), channel);
    return node;
  }

  const columns = () => Math.max(1, getComputedStyle(wall).gridTemplateColumns.split(" ").length);
  function rowHeight() {
    const [width] = getComputedStyle(wall).gridTemplateColumns.split(" ");
    return parseFloat(width) + 20 + parseFloat(getComputedStyle(wall).rowGap);
  }

  /** Fills the rows near the screen, and holds the place of the others. */
  function fill(again = false) {
    const { layer, table, route, channels } = state;
    if (!layer) return;
    const [across, high] = [columns(), rowHeight()];
    const rows = Math.ceil(channels.length / across);
    const top = wall.getBoundingClientRect().top;
    const from = Math.max(0, Math.min(rows - 1, Math.floor(-top / high) - ROWS_AROUND));
    const to = Math.min(rows, Math.ceil((window.innerHeight - top) / high) + ROWS_AROUND);
    const [first, last] = [from * across, Math.max(to, from + 1) * across];
    if (!again && first === state.first && last === state.last) return;
    Object.assign(state, { first, last });
    wall.style.paddingTop = `calc(${from * high}px + var(--wall-top))`;
    wall.style.paddingBottom = `${Math.max(0, rows - Math.max(to, from + 1)) * high}px`;
    const kept = again ? new Map() : state.cells;
    state.cells = new Map(channels.slice(first, last).map((channel) =>
      [channel, kept.get(channel) ?? cell(layer, table, channel, route)]));
    const here = state.filled === layer && wall.contains(document.activeElement);
    const held = here ? Number(document.activeElement.dataset.channel) : null;
    state.filled = layer;
    wall.replaceChildren(...state.cells.values());
    if (held !== null) state.cells.get(held)?.focus({ preventScroll: true }); // moving it took it away
  }

  /** Brings a map onto the screen, by its place on the wall, and gives its element. */
  function reach(at) {
    const [across, high] = [columns(), rowHeight()];
    const top = wall.getBoundingClientRect().top + Math.floor(at / across) * high;
    const tools = byId("tools").getBoundingClientRect();
    const above = tools.top <= 0 ? tools.height + 16 : 16;
    if (top < above) window.scrollBy(0, top - above);
    if (top + high > window.innerHeight) window.scrollBy(0, top + high - window.innerHeight);
    fill();
    return state.cells.get(state.channels[at]);
  }

  function focusOn(at) {
    if (state.channels[at] === undefined) return false;
    setStop(state.channels[at]);
    reach(at).focus({ preventScroll: true });
    return true;
  }

  function setStop(channel) {
    state.stop = channel;
    for (const [other, node] of state.cells) node.tabIndex = other === channel ? 0 : -1;
  }

  /** Moves the focus over the wall; from elsewhere it enters at the wall's tab stop. */
  function walk(step) {
    const on = document.activeElement?.parentNode === wall;
    const at = state.channels.indexOf(on ? Number(document.activeElement.dataset.channel) : state.stop);
    return focusOn(on ? at + step : Math.max(0, at));
  }
  /** From row to row; elsewhere the browser scrolls. */
  const walkRows = (rows) => document.activeElement?.parentNode === wall && walk(rows * columns());

  /** The reader came to the wall: from a map of it, or anew. */
  function settle(channel) {
    fill(true);
    if (channel !== null && state.channels.includes(channel)) focusOn(state.channels.indexOf(channel));
  }

  // ---- all nine, while a reader looks at a map ----------------------------------------------------

  let waiting;
  function leave() {
    clearTimeout(waiting);
    for (const nine of wall.querySelectorAll(".ninefold")) nine.remove();
  }

  function lookAt(node) {
    leave();
    const { layer, route } = state;
    const kind = kindOf(route.show, layer);
    if (kind === "optimised" || node.classList.contains("dead")) return;
    waiting = setTimeout(async () => {
      const unit = await convscope.loadUnit(layer, Number(node.dataset.channel));
      if (!node.matches(":hover, :focus")) return;
      const nine = el("span", { class: "ninefold" }, ...unit.ranks.slice(0, 9).map((one, rank) => {
        const picture = el("span", { class: one ? "pic" : "void" });
        if (one) placeCell(picture, kind, rank);
        return picture;
      }));
      showSheet(nine, unit);
      leave();
      node.firstChild.append(nine);
    }, PAUSE);
  }

  function showLayer(route, layer, table) {
    if (shown.built !== layer) {
      byId("layer-title").textContent = layer.name;
      byId("layer-kind").textContent = KINDS[layer.kind] ?? layer.kind;
      byId("layer-facts").replaceChildren(...layerFacts(layer));
      drawProfile(layer, table);
      drawFilters(layer);
      drawClasses(layer, table);
      wall.classList.toggle("coarse", Math.max(...layer.window) < 32);
      shown.built = layer;
    }
    Object.assign(state, { layer, table, route, channels: shown.order });
    if (!state.channels.includes(state.stop)) state.stop = state.channels[0];
    wall.dataset.show = route.show;
    if (!byId("layer").hidden) fill(true);
    const all = shown.order.length === layer.channels;
    for (const option of byId("sort").options) option.hidden = !sortable(table, option.value);
    byId("tally").textContent = `${all ? "" : `${words(shown.order.length)} of `}${maps(layer.channels)}`;
    byId("no-match").hidden = shown.order.length > 0;
  }

  let due = false;
  function onMove() {
    if (due || byId("layer").hidden) return;
    due = true;
    requestAnimationFrame(() => { due = false; fill(); });
  }
  window.addEventListener("scroll", onMove, { passive: true });
  window.addEventListener("resize", onMove);
  window.addEventListener("beforeprint", () => state.layer && !byId("layer").hidden && wall.replaceChildren(
    ...state.channels.map((channel) => cell(state.layer, state.table, channel, state.route))));
  window.addEventListener("afterprint", () => fill(true));

  Object.assign(convscope.views, { layer: showLayer });
  return { walk, walkRows, settle, setStop, lookAt, leave };
})();
