"use strict";
/* Draws one feature map: its strongest pictures, and beside them the chosen one in every kind. */

(() => {
  const { shown, byId, range, address, activation, kindOf, has, unitName } = convscope;
  const { el, turn, words, maps, times, figure, quoted } = convscope.drawing;
  const { placeFilter, placeCell, showSheet, stretch } = convscope.drawing;
  const { drawTrust, drawResponses, ownLoss } = convscope.evidence;
  const SAYS = {
    spotlight: "the patch, lit where it excited the unit",
    patch: "what the unit saw",
    projection: "what in it excited the unit, sent back to the pixels",
    optimised: "what would excite the unit most",
    contrast: "lit where covering costs this unit more than others",
    untrained: "the same unit and image, with random weights",
  };
  const NAMES = { untrained: "Random weights", contrast: "Its own" };
  const named = (kind) => NAMES[kind] ?? kind[0].toUpperCase() + kind.slice(1);

  // ---- pictures ---------------------------------------------------------------------------------

  function tile(rank, kind, found) {
    const name = `${named(kind)} ${rank + 1}`;
    if (!found) {
      const label = `${name}: empty, no more images`;
      return el("span", { class: "tile void", role: "img", "aria-label": label }, "empty");
    }
    const subject = found.label ? `${found.label}, ` : "";
    const label = `${name}: ${subject}activation ${figure(found.value)}, ${found.name}`;
    const picture = el("span", { class: "pic" });
    placeCell(picture, kind, rank);
    const number = el("span", { class: "rank", "aria-hidden": "true" }, String(rank + 1));
    const button = el("button", { type: "button", "data-rank": rank, "aria-label": label }, picture, number);
    button.className = found.value > 0 ? "tile" : "tile mute";
    return button;
  }

  /** The chosen activation in one kind of picture, with what it is. */
  function view(kind, rank) {
    const picture = el("span", { class: "tile" }, el("span", { class: "pic" }));
    placeCell(picture.firstChild, kind, ["optimised", "untrained"].includes(kind) ? 0 : rank);
    return el("figure", { "data-kind": kind }, picture,
      el("figcaption", {}, el("b", {}, named(kind)), ` ${SAYS[kind]}`));
  }

  /** Where in the image: the box may reach over the edge, the frame cuts it. */
  function locator([top, left, bottom, right], hidden = false) {
    const [height, width] = convscope.atlas.input;
    const label = `rows ${top} to ${bottom}, columns ${left} to ${right} of ${height} × ${width} pixels`;
    const field = { x: left, y: top, width: right - left, height: bottom - top };
    const viewBox = `0 0 ${width} ${height}`;
    const says = hidden ? { "aria-hidden": "true" } : { role: "img", "aria-label": label };
    return el("svg", { class: "locator", viewBox, ...says },
      el("rect", { class: "frame", x: 0, y: 0, width, height }),
      el("rect", { class: "field", ...field }));
  }

  /** The whole image with the field framed, where the atlas holds it. */
  function whole(found) {
    if (!convscope.atlas.whole) return el("figure", { class: "whole" }, locator(found.box));
    const source = `images/${String(found.image).padStart(6, "0")}.webp`;
    const href = address({ image: found.name });
    const [height, width] = convscope.atlas.input; // its place is kept while it comes
    return el("figure", { class: "whole" },
      el("a", { href, "aria-label": `${found.name}: the whole image, with what the unit sees framed` },
        el("img", { src: source, alt: "", width, height }), locator(found.box, true)),
      el("figcaption", {}, el("b", {}, "Whole image"), " what the unit sees is framed"));
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
    image.append(el("a", { class: "file", href: address({ image: found.name }) }, found.name));
    return el("tr", { "data-rank": rank }, first,
      el("td", { class: "value" }, el("span", {}, figure(found.value)), meter),
      el("td", {}, locator(found.box)),
      image,
      el("td", { class: "numeric" }, `${found.row}, ${found.column}`));
  }

  // ---- the head -----------------------------------------------------------------------------------

  function mapNote(layer, unit) {
    if (unit.active === null) return "Not finite: wherever this map was looked at, it was NaN or infinite.";
    if (unit.active === 0) return "Dead: in none of the images was this map above zero.";
    const rank = `number ${unit.place} of ${maps(layer.channels)}`;
    const active = `above zero in ${words(unit.active)} of ${words(convscope.atlas.images)}`;
    return `Strongest activation ${figure(unit.ranks[0]?.[0] ?? null)}, ${rank}; ${active} images.`;
  }

  /** The map of the other network that answers alike, with ways to it. */
  function drawOther({ other }) {
    const { compared } = convscope.atlas;
    if (!compared) return;
    byId("map-other").hidden = !other;
    if (!other) return;
    const [layer, channel, r, level] = other;
    const pair = address({ compare: shown.layer.name, pair: shown.route.channel });
    const beside = [" · ", el("a", { href: pair }, "side by side")];
    if (channel === null) return byId("map-other").replaceChildren(`In ${compared.name}: no map of ${layer} is left for it`, ...beside);
    const name = `${layer}/${channel}`;
    const there = compared.atlas ? el("a", { class: "code", href: compared.atlas + address({ layer, channel }) }, name) : el("span", { class: "code" }, name);
    const alike = r > level ? "" : `, not above ${level.toFixed(2)}: another map`;
    byId("map-other").replaceChildren(`In ${compared.name}: `, there, `, r = ${r.toFixed(2).replace("-", "−")}${alike}`, ...beside);
  }

  /** The maps among which "next" leads to the next one. */
  const walked = (layer, channel) =>
    shown.order.includes(channel) ? shown.order : range(layer.channels);

  function drawHead(route, layer, unit, channel) {
    byId("map-up").textContent = layer.name;
    byId("map-up").href = address({ ...route, channel: undefined });
    byId("map-title").textContent = unitName(layer, channel);
    byId("map-note").textContent = mapNote(layer, unit);
    drawOther(unit);
    byId("map-filter").hidden = !layer.filters;
    if (layer.filters) placeFilter(byId("map-filter"), layer, channel);
    const list = walked(layer, channel);
    const at = list.indexOf(channel);
    const way = (channel) => channel !== undefined && address({ ...route, channel, rank: 1 });
    turn(byId("map-previous"), way(list[at - 1]));
    turn(byId("map-next"), way(list[at + 1]));
    byId("map-place").textContent = `${words(at + 1)} of ${words(list.length)}`;
    drawNote();
  }

  function drawNote() {
    if (!shown.layer) return;
    const { name, star } = convscope.notes.of(unitName(shown.layer, shown.route.channel));
    byId("star").setAttribute("aria-pressed", String(star));
    byId("star").textContent = star ? "★" : "☆";
    if (byId("name") !== document.activeElement) byId("name").value = name;
  }

  // ---- the whole page of a unit -------------------------------------------------------------------

  function showMap(route, layer, unit) {
    const channel = Number(route.channel);
    const { top, rules } = convscope.atlas;
    const kind = kindOf(route.show);
    const found = range(top).map((rank) => activation(unit, rank));
    Object.assign(shown, { found, layer, unit, kind, rank: undefined, random: false });
    drawHead(route, layer, unit, channel);
    byId("plate-caption").textContent = kind === "projection"
      ? `${SAYS[kind]} (${rules})` : `${SAYS[kind]}: ${times(layer.field.size)} pixels each`;
    showSheet(byId("map"), unit);
    stretch(byId("bench"), layer, route);
    byId("map").classList.toggle("coarse", layer.tile > Math.max(...layer.window));
    const plate = byId("plate");
    const held = plate.contains(document.activeElement); // a key may have turned the pictures
    plate.dataset.kind = kind;
    plate.replaceChildren(...found.map((one, rank) => tile(rank, kind, one)));
    const best = found[0]?.value;
    byId("ranks").replaceChildren(...found.map((one, rank) => rankRow(one, rank, best)));
    drawResponses(layer, unit);
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
    const unit = unitName(shown.layer, shown.route.channel);
    const place = `${unit}@${found.row},${found.column}`;
    const image = `${data}#${found.name}`;
    byId("command").textContent = command("project", model, image, place, ...options, "--out", "projection.png");
    const plain = options.filter((_, i) => ![options[i], options[i - 1]].includes("--rules"));
    byId("contrast-command").textContent =
      command("occlude", model, image, "--unit", place, "--contrast", ...plain, "--out", "own.png");
    byId("optimise-command").textContent = command("visualize", model, unit, ...plain, "--out", "optimised.png");
  }

  /** What the layer has: what is the unit's own first where the other pictures are not. */
  function kinds(rank) {
    const all = Object.values(convscope.atlas.kinds);
    const optimised = has("optimised", shown.layer) ? ["optimised"] : [];
    if (byId("warning").hidden) return [...all, ...optimised];
    return [...(ownLoss(shown.unit, rank) > 0 ? ["contrast"] : []), ...optimised, ...all];
  }

  const hasRandom = () => shown.rank === 0 && has("untrained", shown.layer);

  function drawViews() {
    const { rank, random } = shown;
    const swapped = (kind) => (random && hasRandom() && kind === "projection" ? "untrained" : kind);
    byId("views").replaceChildren(...kinds(rank).map((kind) => view(swapped(kind), rank)));
    byId("random").hidden = !hasRandom();
    byId("random").setAttribute("aria-pressed", String(random));
  }

  /** The projection, and what it would be if nothing had been learned: turn to and fro. */
  function turnRandom() {
    if (!hasRandom()) return false;
    shown.random = !shown.random;
    drawViews();
    return true;
  }

  /** Everything there is to know of the chosen activation, for panels that others add. */
  function chosenUnit(found) {
    const { layer, rank, route } = shown;
    const name = unitName(layer, route.channel);
    const place = `${name}@${found.row},${found.column}`;
    return { ...found, name, place, layer: layer.name, activation: layer.activation, channel: Number(route.channel), rank };
  }

  function drawPanels(found) {
    const host = byId("panels");
    while (host.children.length < convscope.panels.length) host.append(el("section", { class: "panel" }));
    convscope.panels.forEach((panel, i) => {
      host.children[i].hidden = panel(chosenUnit(found), host.children[i]) === false;
    });
  }

  function select(rank) {
    const found = shown.found[rank];
    byId("again").hidden = byId("chosen").hidden = byId("take").hidden = !shown.found.some(Boolean);
    drawTrust(shown.unit, rank);
    if (!found) return;
    shown.rank = rank;
    for (const node of byId("plate").querySelectorAll("button")) {
      node.setAttribute("aria-pressed", node.dataset.rank === String(rank));
    }
    light(null);
    byId("chosen-title").textContent = `Rank ${rank + 1}${found.label ? ` · ${found.label}` : ""}`;
    byId("chosen-note").textContent =
      `activation ${figure(found.value)} at ${found.row}, ${found.column} of ${found.name}`;
    byId("where").replaceChildren(whole(found));
    drawViews();
    byId("optimise").hidden = has("optimised", shown.layer);
    drawCommands(found);
    convscope.note({ rank: rank + 1 });
    drawPanels(found);
  }

  document.addEventListener("convscope:notes", drawNote);
  Object.assign(convscope.views, { map: showMap });
  Object.assign(convscope, { light, select, walked, turnRandom, locator, chosenUnit });
})();
