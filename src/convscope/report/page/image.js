"use strict";
/* Draws one image: what the network says of it, and the units that it excites most, layer by layer,
   as far as it is among their strongest. */

(() => {
  const { byId, address, load, unitName } = convscope;
  const { el, figure, placeOnWall, quoted } = convscope.drawing;
  const PER_LAYER = 8;

  const listed = async (name) => (await load("page/images")).find(([, other]) => other === name);

  function unitLink(layer, [, channel, rank, value, box]) {
    const picture = el("span", { class: "pic" });
    placeOnWall(picture, layer, Object.values(convscope.atlas.kinds)[0], channel);
    const link = el("a", { class: "cell", href: address({ layer: layer.name, channel, rank: rank + 1 }), "data-box": box.join(" ") },
      picture, el("span", { class: "tag" }, el("b", {}, String(channel)), " ", el("i", {}, rank === 0 ? figure(value) : `rank ${rank + 1}`)));
    link.title = `${unitName(layer, channel)}: activation ${figure(value)}, its number ${rank + 1}`;
    return link;
  }

  function layerRow(layer, units) {
    const more = units.length > PER_LAYER ? ` of ${units.length}` : "";
    return el("section", { class: "image-layer" },
      el("h2", {}, el("a", { href: address({ layer: layer.name }) }, layer.name)),
      el("p", { class: "quiet" }, `${Math.min(PER_LAYER, units.length)}${more} ${units.length === 1 ? "unit" : "units"}`),
      el("div", { class: "found" }, ...units.slice(0, PER_LAYER).map((unit) => unitLink(layer, unit))));
  }

  function classBars(predicted) {
    return predicted.map(([name, probability]) => {
      const meter = el("span", { class: "meter", "aria-hidden": "true" });
      meter.style.setProperty("--share", probability);
      return el("div", {}, el("dt", { title: name }, name), el("dd", {}, meter),
        el("dd", { class: "numeric" }, probability < 0.001 ? "< 0.1 %" : `${(100 * probability).toFixed(1)} %`));
    });
  }

  /** Frames what a unit sees, on the whole image. */
  function frame(box) {
    const svg = byId("image-where").querySelector("svg");
    if (svg) byId("image-where").replaceChildren(...byId("image-where").querySelectorAll("img"), convscope.locator(box, true));
  }

  async function showImage(route) {
    const entry = await listed(route.image);
    if (!entry) return false;
    const [index, name, label] = entry;
    const image = await load(`page/images/${index}`);
    byId("image-title").textContent = label || name;
    byId("image-name").textContent = name;
    const first = image.units[0]?.[4] ?? [0, 0, ...convscope.atlas.input];
    const [height, width] = convscope.atlas.input;
    const picture = convscope.atlas.whole
      ? [el("img", { src: `images/${String(index).padStart(6, "0")}.webp`, alt: `${label} ${name}`.trim(), width, height })] : [];
    byId("image-where").replaceChildren(...picture, convscope.locator(first, true));
    byId("image-classes").replaceChildren(...classBars(image.predicted ?? []));
    byId("image-classes").hidden = !image.predicted;
    const rows = convscope.atlas.layers.map((layer, number) =>
      [layer, image.units.filter((unit) => unit[0] === number)]).filter(([, units]) => units.length);
    byId("image-units").replaceChildren(...rows.map(([layer, units]) => layerRow(layer, units)));
    const { model, data, options } = convscope.atlas.command;
    byId("image-command").textContent = `convscope project ${[model, `${data}#${name}`, ...options, "--out", "units.png"].map(quoted).join(" ")}`;
    return true;
  }

  for (const event of ["pointerover", "focusin"]) {
    byId("image-units").addEventListener(event, ({ target }) => {
      const box = target.closest("[data-box]")?.dataset.box;
      if (box) frame(box.split(" ").map(Number));
    });
  }
  Object.assign(convscope.views, { image: showImage });
})();
