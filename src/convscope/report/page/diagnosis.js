"use strict";
/* Draws what a diagnosis found, with the units that it is about. */

(() => {
  const { byId, address, kindOf, loadWall, isDead, unitName } = convscope;
  const { el, placeOnWall, words } = convscope.drawing;
  const MOST = 12;

  /** A map; one that is never above zero over the atlas's images, too, has no picture. */
  function unitLink(layer, channel, table) {
    const picture = el("span", { class: "pic" });
    const dead = isDead(table, channel);
    if (!dead) placeOnWall(picture, layer, kindOf("", layer), channel);
    return el("a", { class: dead ? "cell dead" : "cell", href: address({ layer: layer.name, channel }), title: unitName(layer, channel) },
      picture, el("span", { class: "tag" }, el("b", {}, String(channel)), dead ? el("i", {}, " dead") : ""));
  }

  const layerOf = ({ layer: name }) => convscope.atlas.layers.find((one) => one.name === name);

  function finding({ layer: name, kind, severity, units, words: says, remedies }, table) {
    const layer = layerOf({ layer: name });
    const shown = layer ? units.slice(0, MOST) : [];
    const rest = units.length - shown.length;
    const more = rest === 0 ? "" : layer ? `and ${words(rest)} more` : `${words(rest)} ${rest === 1 ? "map" : "maps"}, of a layer that this atlas does not hold`;
    return el("section", { class: `finding ${severity}` },
      el("div", {}, el("p", { class: "eyebrow" }, severity), el("h2", {}, kind),
        el("p", { class: "code" }, layer ? el("a", { href: address({ layer: name }) }, name) : name)),
      el("div", {}, el("p", { class: "lead-words" }, says),
        el("div", { class: "found" }, ...shown.map((channel) => unitLink(layer, channel, table))), more ? el("p", { class: "quiet" }, more) : "",
        remedies.length ? el("p", { class: "remedy" }, el("b", {}, "What to do"), ` ${remedies.join("; or ")}.`) : ""));
  }

  async function showDiagnosis() {
    const found = convscope.atlas.diagnosis;
    if (!found) return false;
    const tables = await Promise.all(found.map((one) => (layerOf(one) && one.units.length ? loadWall(layerOf(one)) : null)));
    const faults = found.filter(({ severity }) => severity === "fault").length;
    byId("diagnosis-text").textContent = found.length === 0 ? "Nothing was found: no fault, and nothing to note."
      : faults === 0 ? `No fault; ${words(found.length)} to note.`
        : `${words(faults)} ${faults === 1 ? "fault" : "faults"}, worth changing the network for; ${words(found.length - faults)} to note.`;
    byId("findings").replaceChildren(...found.map((one, i) => finding(one, tables[i])));
    return true;
  }

  Object.assign(convscope.views, { diagnosis: showDiagnosis });
})();
