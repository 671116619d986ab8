"use strict";
/* Draws a layer's wall and one feature map. Whatever comes from data (layer, class and file names)
   becomes a text node or an attribute, never markup. */

(() => {
  const { shown, byId, range, address, activation, strongest, isDead, order } = convscope;
  const SVG = new Set(["svg", "rect", "path", "line"]);

  function el(tag, attributes = {}, ...children) {
    const node = SVG.has(tag)
      ? document.createElementNS("http://www.w3.org/2000/svg", tag)
      : document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.append(...children);
    return node;
  }

  // ---- words ----------------------------------------------------------------------------------

  const KINDS = { conv: "Convolution" };
  const words = (n) => n.toLocaleString("en");
  const maps = (n) => `${words(n)} ${n === 1 ? "map" : "maps"}`;
  const times = ([h, w]) => `${h} × ${w}`;

  function figure(value) {
    if (value === null) return "–";
    if (value === 0) return "0";
    return Math.abs(value) >= 1000 ? value.toFixed(0) : value.toPrecision(3);
  }

  /** For a shell: a file may be called `$(rm -rf ~)`, and the command is there to be pasted. */
  function quoted(text) {
    return /^[\w@%+=:,./#-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
  }

  // ---- pictures: places on sheets ---------------------------------------------------------------

  // A sheet is asked for when the first element that shows a part of it comes near the screen.
  const painters = new WeakMap();
  const nearby = new IntersectionObserver(
    (entries) => {
      for (const { target, isIntersecting } of entries) {
        if (!isIntersecting) continue;
        nearby.unobserve(target);
        painters.get(target)();
      }
    },
    { rootMargin: "600px" },
  );
  function whenNear(node, paint) {
    painters.set(node, paint);
    nearby.observe(node);
  }

  function place(node, layer, sheet, column, row) {
    node.style.setProperty("--column", column);
    node.style.setProperty("--row", row);
    node.style.backgroundImage = `url("sheets/${encodeURIComponent(layer.slug)}/${sheet}.webp")`;
  }

  const numbered = (stem, n) => `${stem}-${String(n).padStart(3, "0")}`;

  function placeOnWall(node, layer, kind, channel) {
    const { wall, columns } = convscope.atlas.sheets;
    const at = channel % wall;
    const sheet = numbered(`wall-${kind}`, Math.floor(channel / wall));
    place(node, layer, sheet, at % columns, Math.floor(at / columns));
  }

  function placeFilter(node, layer, channel) {
    const { columns } = convscope.atlas.sheets;
    place(node, layer, "filters", channel % columns, Math.floor(channel / columns));
  }

  function placeTile(node, layer, kind, channel, rank) {
    const { maps: perSheet } = convscope.atlas.sheets;
    place(node, layer, numbered(kind, Math.floor(channel / perSheet)), rank, channel % perSheet);
  }

  /** How much to stretch projections around grey. Large fields are mostly faint: one pixel stands
      out and scales the rest. A thumbnail averages what is in it, which takes that much away. */
  const autoContrast = ({ window }) => (Math.max(...window) < 32 ? 1 : 2);
  const lossOfThumbnail = ({ tile }) => Math.max(1, tile / convscope.atlas.sheets.thumbnail);

  function stretch(node, layer, { contrast }, loss) {
    const wanted = contrast === "auto" ? autoContrast(layer) : Number(contrast);
    node.style.setProperty("--contrast", wanted * loss);
  }

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

  function cell(layer, table, channel) {
    const dead = isDead(table, channel);
    const note = dead ? "dead" : figure(strongest(table, channel));
    const label = dead ? "dead, never above zero" : `strongest activation ${note}`;
    const patches = el("span", { class: "pic patches" });
    const projections = el("span", { class: "pic projections" });
    const tag = el("span", { class: "tag" }, el("b", {}, String(channel)), el("i", {}, note));
    const link = el("a", { "data-channel": channel, "aria-label": `Map ${channel}, ${label}` });
    link.append(patches, projections, tag);
    link.className = dead ? "cell dead" : "cell";
    if (!dead) {
      whenNear(link, () => {
        placeOnWall(patches, layer, "patch", channel);
        placeOnWall(projections, layer, "projection", channel);
      });
    }
    return link;
  }

  function buildLayer(layer, table) {
    byId("layer-title").textContent = layer.name;
    byId("layer-kind").textContent = KINDS[layer.kind] ?? layer.kind;
    byId("layer-facts").replaceChildren(...layerFacts(layer));
    drawProfile(layer, table);
    drawFilters(layer);
    byId("wall").classList.toggle("coarse", Math.max(...layer.window) < 32);
    shown.cells = range(layer.channels).map((channel) => cell(layer, table, channel));
    shown.built = layer;
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
    stretch(wall, layer, route, lossOfThumbnail(layer));
    wall.replaceChildren(...cells);
    const stop = cells.includes(held) ? held : cells[0];
    if (stop) stop.tabIndex = 0;
    if (stop === held) held?.focus({ preventScroll: true }); // moving it in the page took it away
    const all = channels.length === layer.channels;
    byId("tally").textContent = `${all ? "" : `${words(channels.length)} of `}${maps(layer.channels)}`;
    byId("no-match").hidden = channels.length > 0;
  }

  // ---- one feature map --------------------------------------------------------------------------

  function tile(layer, channel, rank, kind, found) {
    const name = `${kind === "patch" ? "Patch" : "Projection"} ${rank + 1}`;
    if (!found) {
      const label = `${name}: empty, no more images`;
      return el("span", { class: "tile void", role: "img", "aria-label": label }, "empty");
    }
    const subject = found.label ? `${found.label}, ` : "";
    const label = `${name}: ${subject}activation ${figure(found.value)}, ${found.name}`;
    const picture = el("span", { class: "pic" });
    placeTile(picture, layer, kind, channel, rank);
    const number = el("span", { class: "rank", "aria-hidden": "true" }, String(rank + 1));
    const attributes = { type: "button", "data-rank": rank, "aria-label": label };
    const button = el("button", attributes, picture, number);
    button.className = found.value > 0 ? "tile" : "tile mute";
    return button;
  }

  /** Where in the image: the box may reach over the edge, the frame cuts it. */
  function locator([top, left, bottom, right]) {
    const [height, width] = convscope.atlas.input;
    const label = `rows ${top} to ${bottom}, columns ${left} to ${right} of ${height} × ${width} pixels`;
    const field = { x: left, y: top, width: right - left, height: bottom - top };
    const viewBox = `0 0 ${width} ${height}`;
    return el("svg", { class: "locator", viewBox, role: "img", "aria-label": label },
      el("rect", { class: "frame", x: 0, y: 0, width, height }),
      el("rect", { class: "field", ...field }));
  }

  function rankRow(found, rank, strongestValue) {
    const first = el("td", {}, String(rank + 1));
    if (!found) {
      const rest = el("td", { colspan: 4 }, "empty: no more images");
      return el("tr", { class: "void" }, first, rest);
    }
    const meter = el("span", { class: "meter", "aria-hidden": "true" });
    const share = strongestValue > 0 ? Math.max(0, found.value / strongestValue) : 0;
    meter.style.setProperty("--share", share);
    const image = el("td", { class: "image", title: `${found.label} ${found.name}`.trim() });
    if (found.label) image.append(el("span", { class: "label" }, found.label));
    image.append(el("span", { class: "file" }, found.name));
    return el("tr", { "data-rank": rank }, first,
      el("td", { class: "value" }, el("span", {}, figure(found.value)), meter),
      el("td", {}, locator(found.box)),
      image,
      el("td", { class: "numeric" }, `${found.row}, ${found.column}`));
  }

  function mapNote(layer, table, channel) {
    if (isDead(table, channel)) return "Dead: in none of the images was this map above zero.";
    const value = strongest(table, channel);
    const stronger = range(layer.channels).filter((other) => strongest(table, other) > value);
    const rank = `number ${stronger.length + 1} of ${maps(layer.channels)}`;
    const active = `above zero in ${words(table.active[channel])} of ${words(convscope.atlas.images)}`;
    return `Strongest activation ${figure(value)}, ${rank}; ${active} images.`;
  }

  function turn(link, route, channel) {
    link.toggleAttribute("aria-disabled", channel === undefined);
    if (channel === undefined) link.removeAttribute("href");
    else link.href = address({ ...route, channel });
  }

  function drawHead(route, layer, table, channel) {
    byId("map-up").textContent = layer.name;
    byId("map-up").href = address({ ...route, channel: undefined });
    byId("map-title").textContent = `${layer.name}/${channel}`;
    byId("map-note").textContent = mapNote(layer, table, channel);
    byId("map-filter").hidden = !layer.filters;
    if (layer.filters) placeFilter(byId("map-filter"), layer, channel);
    const asked = order(layer, table, route);
    const list = asked.includes(channel) ? asked : range(layer.channels);
    const at = list.indexOf(channel);
    turn(byId("map-previous"), route, list[at - 1]);
    turn(byId("map-next"), route, list[at + 1]);
    byId("map-place").textContent = `${words(at + 1)} of ${words(list.length)}`;
  }

  function showMap(route, layer, table) {
    const channel = Number(route.channel);
    const { top, rules } = convscope.atlas;
    const found = range(top).map((rank) => activation(table, channel, rank));
    drawHead(route, layer, table, channel);
    byId("patch-caption").textContent = `what it saw: ${times(layer.field.size)} pixels each`;
    byId("projection-caption").textContent = `what in them excited it (${rules})`;
    stretch(byId("plates"), layer, route, 1);
    byId("plates").classList.toggle("coarse", layer.tile > Math.max(...layer.window));
    for (const plate of byId("plates").querySelectorAll(".plate")) {
      const { kind } = plate.dataset;
      plate.replaceChildren(...found.map((one, rank) => tile(layer, channel, rank, kind, one)));
    }
    const best = found[0]?.value;
    byId("ranks").replaceChildren(...found.map((one, rank) => rankRow(one, rank, best)));
    shown.found = found;
    shown.activation = layer.activation;
    select(0);
  }

  /** Rings a patch, its projection and its row; null puts the ring back on the selected rank. */
  function light(rank) {
    const lit = String(rank ?? shown.rank);
    byId("plates").classList.toggle("searching", rank !== null);
    for (const node of byId("map").querySelectorAll("[data-rank]")) {
      node.classList.toggle("on", node.dataset.rank === lit);
    }
  }

  function select(rank) {
    const found = shown.found[rank];
    byId("again").hidden = !shown.found.some(Boolean);
    if (!found) return;
    shown.rank = rank;
    for (const node of byId("plates").querySelectorAll("button")) {
      node.setAttribute("aria-pressed", node.dataset.rank === String(rank));
    }
    light(null);
    const unit = `${shown.activation}/${shown.route.channel}@${found.row},${found.column}`;
    const { model, data, options } = convscope.atlas.command;
    const parts = [model, `${data}#${found.name}`, unit, ...options, "--out", "projection.png"];
    byId("command").textContent = `convscope project ${parts.map(quoted).join(" ")}`;
  }

  function drawOverview() {
    const { layers } = convscope.atlas;
    for (const [i, rung] of document.querySelectorAll(".rung").entries()) {
      stretch(rung, layers[i], { contrast: "auto" }, lossOfThumbnail(layers[i]));
      for (const strip of rung.querySelectorAll(".strip")) {
        whenNear(strip, () => { strip.style.backgroundImage = `url("${strip.dataset.sheet}")`; });
      }
    }
  }

  Object.assign(convscope.views, { overview: drawOverview, layer: showLayer, map: showMap });
  Object.assign(convscope, { light, select });
})();
