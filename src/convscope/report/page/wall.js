"use strict";
/* Draws the overview's pictures, and a layer: its facts, raw filters and the wall of its maps. */

(() => {
  const { shown, byId, range, address, strongest, isDead, order, sortable, kindOf } = convscope;
  const { el, words, maps, times, figure } = convscope.drawing;
  const { whenNear, sheetOf, placeOnWall, placeFilter, lossOfThumbnail, stretch } = convscope.drawing;
  const KINDS = { conv: "Convolution" };

  // ---- a layer: head, raw filters, wall ---------------------------------------------------------

  function layerFacts({ channels, grid, field, dead, non_finite: nonFinite, ...layer }) {
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
    if (nonFinite) pairs.push(["NaN or infinite", words(nonFinite)]);
    return pairs.map(([term, text]) => el("div", {}, el("dt", {}, term), el("dd", {}, text)));
  }

  function drawProfile(layer, table) {
    const values = range(layer.channels).map((channel) => strongest(table, channel) ?? 0);
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

  /** Its pictures come when it is near the screen: a wall of thousands stays light. */
  function cell(layer, table, channel) {
    const dead = isDead(table, channel);
    const note = dead ? "dead" : figure(strongest(table, channel));
    const what = dead ? "a feature map that was never above zero" : "feature map and strongest activation";
    const link = el("a", { "data-channel": channel, "aria-label": `${channel} ${note}, ${what}` });
    link.className = dead ? "cell dead" : "cell";
    whenNear(link, () => {
      const tag = el("span", { class: "tag" }, el("b", {}, String(channel)), " ", el("i", {}, note));
      link.append(el("span", { class: "pic" }), tag);
      paint(link);
    });
    return link;
  }

  /** Draws a cell's picture of the kind that is shown; all nine while a reader looks at it. */
  function paint(link, nine = false) {
    const picture = link.firstChild;
    if (!picture || link.classList.contains("dead")) return;
    const layer = shown.built;
    const kind = kindOf(byId("wall").dataset.show, layer);
    link.classList.toggle("nine", nine && kind !== "optimised");
    stretch(link, layer, shown.route, nine ? lossOfThumbnail(layer) : 1);
    placeOnWall(picture, layer, kind, Number(link.dataset.channel), nine);
  }

  function buildLayer(layer, table) {
    byId("layer-title").textContent = layer.name;
    byId("layer-kind").textContent = KINDS[layer.kind] ?? layer.kind;
    byId("layer-facts").replaceChildren(...layerFacts(layer));
    drawProfile(layer, table);
    drawFilters(layer);
    byId("wall").classList.toggle("coarse", Math.max(...layer.window) < 32);
    shown.built = layer;
    shown.cells = range(layer.channels).map((channel) => cell(layer, table, channel));
  }

  function showLayer(route, layer, table) {
    if (shown.built !== layer) buildLayer(layer, table);
    const wall = byId("wall");
    const held = wall.contains(document.activeElement) ? document.activeElement : null;
    const channels = order(layer, table, route);
    const cells = channels.map((channel) => shown.cells[channel]);
    for (const node of cells) {
      node.href = address({ ...route, channel: node.dataset.channel });
      node.tabIndex = -1; // one tab stop for the wall; arrows do the rest
    }
    wall.dataset.show = route.show;
    cells.forEach((node) => paint(node));
    wall.replaceChildren(...cells);
    const stop = cells.includes(held) ? held : cells[0];
    if (stop) stop.tabIndex = 0;
    if (stop === held) held?.focus({ preventScroll: true }); // moving it in the page took it away
    const all = channels.length === layer.channels;
    for (const option of byId("sort").options) option.hidden = !sortable(table, option.value);
    byId("tally").textContent = `${all ? "" : `${words(channels.length)} of `}${maps(layer.channels)}`;
    byId("no-match").hidden = channels.length > 0;
  }

  function drawOverview() {
    const { layers } = convscope.atlas;
    for (const [i, strip] of document.querySelectorAll(".strip").entries()) {
      whenNear(strip, () => { strip.style.backgroundImage = sheetOf(layers[i], "strip"); });
    }
  }

  Object.assign(convscope.views, { overview: drawOverview, layer: showLayer });
  Object.assign(convscope, { paint });
})();
