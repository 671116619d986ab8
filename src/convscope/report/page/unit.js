"use strict";
/* Draws one feature map: its nine strongest activations, and the chosen one in every kind of picture
   that the atlas holds, with how far it can be trusted. */

(() => {
  const { shown, byId, range, address, note, activation, strongest, isDead, kindOf, hasOptimised } = convscope;
  const { el, words, maps, times, figure, quoted, placeFilter, placeOnWall, placeTile, stretch } = convscope.drawing;
  const { drawTrust, drawResponses } = convscope.evidence;
  const SAYS = {
    spotlight: "the patch, lit where it excited the unit",
    patch: "what the unit saw",
    projection: "what in it excited the unit, sent back to the pixels",
    optimised: "what would excite the unit most",
  };
  const named = (kind) => kind[0].toUpperCase() + kind.slice(1);

  // ---- pictures ---------------------------------------------------------------------------------

  function tile(layer, channel, rank, kind, found) {
    const name = `${named(kind)} ${rank + 1}`;
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

  /** The chosen activation in one kind of picture, with what it is. The strongest lies on the sheets
      of the wall, which are there already and small. */
  function view(layer, channel, rank, kind) {
    const onWall = kind === "optimised" || rank === 0;
    const picture = el("span", { class: onWall ? "tile of-wall" : "tile" }, el("span", { class: "pic" }));
    if (onWall) placeOnWall(picture.firstChild, layer, kind, channel);
    else placeTile(picture.firstChild, layer, kind, channel, rank);
    return el("figure", { "data-kind": kind }, picture,
      el("figcaption", {}, el("b", {}, named(kind)), ` ${SAYS[kind]}`));
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
    else link.href = address({ ...route, channel, rank: 1 });
  }

  /** The maps among which "next" leads to the next one. */
  const walked = (layer, channel) =>
    shown.order.includes(channel) ? shown.order : range(layer.channels);

  function drawHead(route, layer, table, channel) {
    byId("map-up").textContent = layer.name;
    byId("map-up").href = address({ ...route, channel: undefined });
    byId("map-title").textContent = `${layer.activation}/${channel}`;
    byId("map-note").textContent = mapNote(layer, table, channel);
    byId("map-filter").hidden = !layer.filters;
    if (layer.filters) placeFilter(byId("map-filter"), layer, channel);
    const list = walked(layer, channel);
    const at = list.indexOf(channel);
    turn(byId("map-previous"), route, list[at - 1]);
    turn(byId("map-next"), route, list[at + 1]);
    byId("map-place").textContent = `${words(at + 1)} of ${words(list.length)}`;
  }

  function showMap(route, layer, table) {
    const channel = Number(route.channel);
    const { top, rules } = convscope.atlas;
    const kind = kindOf(route.show);
    const found = range(top).map((rank) => activation(table, channel, rank));
    drawHead(route, layer, table, channel);
    byId("plate-caption").textContent = kind === "projection"
      ? `${SAYS[kind]} (${rules})` : `${SAYS[kind]}: ${times(layer.field.size)} pixels each`;
    stretch(byId("bench"), layer, route, 1);
    byId("bench").classList.toggle("coarse", layer.tile > Math.max(...layer.window));
    const plate = byId("plate");
    const held = plate.contains(document.activeElement); // a key may have turned the pictures
    plate.dataset.kind = kind;
    plate.replaceChildren(...found.map((one, rank) => tile(layer, channel, rank, kind, one)));
    const best = found[0]?.value;
    byId("ranks").replaceChildren(...found.map((one, rank) => rankRow(one, rank, best)));
    Object.assign(shown, { found, layer, table, rank: undefined });
    drawResponses(layer, table, channel);
    select(route.rank - 1);
    if (held) plate.querySelector(".on")?.focus({ preventScroll: true });
  }

  /** Rings a picture and its row; null puts the ring back on the chosen rank. */
  function light(rank) {
    const lit = String(rank ?? shown.rank);
    byId("bench").classList.toggle("searching", rank !== null);
    for (const node of byId("map").querySelectorAll("[data-rank]")) {
      node.classList.toggle("on", node.dataset.rank === lit);
    }
  }

  const command = (verb, ...parts) => `convscope ${verb} ${parts.map(quoted).join(" ")}`;

  /** The words that make the chosen pictures again, and those that say more of the unit. */
  function drawCommands(found) {
    const { model, data, options } = convscope.atlas.command;
    const unit = `${shown.layer.activation}/${shown.route.channel}`;
    const place = `${unit}@${found.row},${found.column}`;
    const image = `${data}#${found.name}`;
    byId("command").textContent = command("project", model, image, place, ...options, "--out", "projection.png");
    const plain = options.filter((_, i) => ![options[i], options[i - 1]].includes("--rules"));
    byId("contrast-command").textContent =
      command("occlude", model, image, "--unit", place, "--contrast", ...plain, "--out", "own.png");
    byId("optimise-command").textContent = command("visualize", model, unit, ...plain, "--out", "optimised.png");
  }

  /** What the layer has: the optimised picture first where the others are not the unit's own. */
  function kinds() {
    const all = Object.values(convscope.atlas.kinds);
    if (!hasOptimised(shown.layer)) return all;
    return byId("warning").hidden ? [...all, "optimised"] : ["optimised", ...all];
  }

  function select(rank) {
    const found = shown.found[rank];
    byId("again").hidden = byId("chosen").hidden = !shown.found.some(Boolean);
    drawTrust(shown.table, Number(shown.route.channel), rank);
    if (!found) return;
    shown.rank = rank;
    for (const node of byId("plate").querySelectorAll("button")) {
      node.setAttribute("aria-pressed", node.dataset.rank === String(rank));
    }
    light(null);
    const channel = Number(shown.route.channel);
    byId("chosen-title").textContent = `Rank ${rank + 1}${found.label ? ` · ${found.label}` : ""}`;
    byId("chosen-note").textContent =
      `activation ${figure(found.value)} at ${found.row}, ${found.column} of ${found.name}`;
    byId("views").replaceChildren(...kinds().map((kind) => view(shown.layer, channel, rank, kind)));
    byId("optimise").hidden = hasOptimised(shown.layer);
    drawCommands(found);
    note({ rank: rank + 1 });
  }

  Object.assign(convscope.views, { map: showMap });
  Object.assign(convscope, { light, select, walked });
})();
