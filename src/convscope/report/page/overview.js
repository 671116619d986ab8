"use strict";
/* The overview: its pictures, and the search over all units, classes and images. */

(() => {
  const { byId, address, loadWall, load, told, range, unitName } = convscope;
  const { el, whenNear, sheetOf, placeOnWall } = convscope.drawing;
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

  /** The maps that stand for each layer. */
  function drawStrips(chosen) {
    for (const [i, strip] of document.querySelectorAll(".strip").entries()) {
      const layer = convscope.atlas.layers[i];
      strip.replaceChildren(...chosen[i].map(([channel, label]) => el("a", { href: address({ layer: layer.name, channel }) },
        el("span", { class: "pic" }), el("span", { class: "tag" }, el("b", {}, String(channel)), " ", el("i", {}, label)))));
      whenNear(strip, () => { strip.style.setProperty("--strip", sheetOf(layer, "strip")); });
    }
  }

  let drawn = false;
  async function drawOverview(route) {
    if (!drawn) {
      drawStrips(await load("page/chosen"));
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
