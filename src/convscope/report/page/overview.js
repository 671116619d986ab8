"use strict";
/* The overview: its pictures, and the search over all units, classes and images. */

(() => {
  const { byId, address, loadWall, load, told, range, unitName } = convscope;
  const { el, maps, times, whenNear, sheetOf, placeOnWall } = convscope.drawing;
  const MOST = { units: 12, images: 12 };

  const kind = () => Object.values(convscope.atlas.kinds)[0];

  /** A unit as a search finds it. */
  function unitLink({ layer, channel, says }) {
    const picture = el("span", { class: "pic" });
    placeOnWall(picture, layer, kind(), channel);
    return el("a", { class: "cell", href: address({ layer: layer.name, channel }) }, picture,
      el("span", { class: "tag" }, el("b", {}, unitName(layer, channel)), " ", el("i", {}, says)));
  }

  /** Units whose name, class or reader's name holds the text: the most selective of each first. */
  function unitsOf(text, walls) {
    const asked = text.match(/^(.*?)\/?(\d*)$/);
    const found = [];
    convscope.atlas.layers.forEach((layer, i) => {
      for (const channel of range(layer.channels)) {
        const name = unitName(layer, channel);
        const own = convscope.notes.of(name).name;
        const label = told(walls[i], channel);
        const auc = label === null ? 0 : walls[i].named[channel][1];
        const called = `${layer.name}/${channel}`.toLowerCase() === text || name.toLowerCase() === text ||
          (asked[1] === "" && asked[2] === String(channel));
        if (own.toLowerCase().includes(text)) found.push({ layer, channel, says: own, score: 3 });
        else if (called) found.push({ layer, channel, says: label ?? "", score: 2 + auc });
        else if (label?.toLowerCase().includes(text)) found.push({ layer, channel, says: `${label} ${auc.toFixed(2)}`, score: auc });
      }
    });
    return found.sort((a, b) => b.score - a.score);
  }

  function group(title, most, nodes, count) {
    if (!count) return [];
    const more = count > most ? ` (the first ${most} of ${count})` : "";
    return [el("h2", {}, `${title}${more}`), el("div", { class: "found" }, ...nodes)];
  }

  let asked = "";
  async function search(text) {
    asked = text;
    const results = byId("results");
    byId("rest").hidden = text !== "";
    results.hidden = text === "";
    if (text === "") return;
    const [images, ...walls] = await Promise.all([load("page/images"), ...convscope.atlas.layers.map(loadWall)]);
    if (asked !== text) return; // the reader has typed on
    const layers = convscope.atlas.layers.filter(({ name }) => name.toLowerCase().includes(text));
    const units = unitsOf(text, walls);
    const pictures = images.filter(([, name, label]) => `${label} ${name}`.toLowerCase().includes(text));
    const parts = [
      ...group("Layers", 12, layers.slice(0, 12).map(({ name }) => el("a", { class: "chip", href: address({ layer: name }) }, name)), layers.length),
      ...group("Units", MOST.units, units.slice(0, MOST.units).map(unitLink), units.length),
      ...group("Images", MOST.images, pictures.slice(0, MOST.images).map(([, name, label]) =>
        el("a", { class: "chip", href: address({ image: name }) }, label ? el("b", {}, label) : "", ` ${name}`)), pictures.length),
    ];
    results.replaceChildren(...(parts.length ? parts : [el("p", { class: "quiet" }, `Nothing here is called “${text}”: no layer, no unit, no class, no image.`)]));
  }

  /** What the reader starred or named, with a way to take it along. */
  function drawStarred() {
    const notes = convscope.notes.all();
    byId("starred").hidden = notes.length === 0;
    const layers = new Map(convscope.atlas.layers.map((layer) => [layer.activation, layer]));
    byId("starred-units").replaceChildren(...notes.flatMap(([unit, { name }]) => {
      const [, activation, channel] = unit.match(/^(.*)\/(\d+)$/) ?? [];
      const layer = layers.get(activation);
      return layer ? [unitLink({ layer, channel: Number(channel), says: name || "★" })] : [];
    }));
  }

  /** A layer with the maps that stand for it. */
  function rung(layer, chosen) {
    const glyph = document.querySelector(`.side [data-layer="${CSS.escape(layer.name)}"] .glyph`);
    const facts = [`${layer.kind}, ${maps(layer.channels)}`, `grid ${times(layer.grid)}`, `sees ${times(layer.field.size)} px`];
    const strip = el("div", { class: "strip" }, ...chosen.map(([channel, label]) =>
      el("a", { href: address({ layer: layer.name, channel }) }, el("span", { class: "pic" }),
        el("span", { class: "tag" }, el("b", {}, String(channel)), " ", el("i", {}, label)))));
    whenNear(strip, () => { strip.style.setProperty("--strip", sheetOf(layer, "strip")); });
    return el("section", { class: "rung", "aria-label": layer.name },
      el("a", { class: "rung-text", href: address({ layer: layer.name }) }, glyph.cloneNode(true),
        el("span", { class: "rung-name" }, layer.name), ...facts.map((fact) => el("span", { class: "rung-fact" }, fact))),
      strip);
  }

  /** The layers as bars, the branches above each other. */
  function drawNetwork({ width, height, bars, lines }) {
    const rect = (name, [x, y, wide, high = wide]) => el("rect", { class: name, x, y, width: wide, height: high });
    const strip = byId("network-strip");
    for (const [name, value] of Object.entries({ viewBox: `0 -2 ${width} ${height + 4}`, width, height: height + 4 })) strip.setAttribute(name, value);
    strip.replaceChildren(...lines.map((d) => el("path", { class: "wire", d })), ...bars.map((bar, i) => {
      const { name, channels, field } = convscope.atlas.layers[i];
      const says = `${name}: ${maps(channels)}, sees ${times(field.size)} px`;
      return el("svg:a", { href: address({ layer: name }), "aria-label": says }, el("svg:title", {}, says),
        rect("reach", [bar.left, bar.top, bar.step, bar.height]), rect("frame", bar.frame), rect("field", bar.field), rect("maps", bar.bar));
    }));
  }

  function drawLadder(chosen) {
    byId("ladder").replaceChildren(...convscope.atlas.layers.map((layer, i) => rung(layer, chosen[i])));
  }

  let drawn = false;
  async function drawOverview(route) {
    if (!drawn) {
      const { chosen, network } = await load("page/chosen");
      drawNetwork(network);
      drawLadder(chosen);
      drawn = true;
    }
    drawStarred();
    const host = byId("overview-panels");
    if (!host.children.length) {
      for (const panel of convscope.overviewPanels) {
        host.append(el("section", { class: "panel" }));
        panel(host.lastChild);
      }
    }
    return search(route.find.trim().toLowerCase());
  }

  document.addEventListener("convscope:notes", drawStarred);
  Object.assign(convscope.views, { overview: drawOverview });
})();
