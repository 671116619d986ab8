"use strict";
/* Draws what is known of a map beside its pictures: how far to trust them, and how the map responds
   to all images, not to the strongest alone. An atlas that does not hold it shows less. */

convscope.evidence = (() => {
  const { byId, address } = convscope;
  const { el, words, figure, placeCell } = convscope.drawing;

  // ---- how far a picture can be trusted ---------------------------------------------------------

  const GAUGES = [
    ["place", "Place", "What the unit loses with the marked places covered, beyond what it loses with " +
      "others covered. The thin mark: the same for a centred disc."],
    ["specific", "Specific", "How far the picture differs from those of other strong units at the same " +
      "place. Below the thin mark it is not this unit’s own."],
    ["own", "Own weights", "How far the picture changes when the unit’s own weights are drawn anew."],
  ];
  const two = (value) => value.toFixed(2).replace("-", "−");

  /** A number between 0 and 1 with its interval, as text and as a line. */
  function gauge(name, title, hint, found, mark) {
    const [mean, low, high] = found;
    const at = (value) => 4 + 112 * Math.min(1, Math.max(0, value));
    const svg = el("svg", { viewBox: "0 0 120 12", "aria-hidden": "true" },
      el("line", { class: "rail", x1: 4, y1: 6, x2: 116, y2: 6 }));
    const line = (name, from, to) =>
      svg.append(el("line", { class: name, x1: at(from), y1: from === to ? 1 : 6, x2: at(to), y2: from === to ? 11 : 6 }));
    if (mark !== null) line("mark", mark, mark);
    if (low !== null && high > low) line("span", low, high);
    svg.append(el("circle", { class: "dot", cx: at(mean), cy: 6, r: 3.5 }));
    const interval = low === null ? "" : ` [${two(low)}, ${two(high)}]`;
    return el("div", { title: hint }, el("dt", {}, title), el("dd", {}, svg),
      el("dd", { class: "numeric" }, el("b", {}, two(mean)), interval));
  }

  /** The trust strip of the chosen picture, and what it says in plain words; where the picture is
      not the unit's own, that stands above all pictures. */
  function drawTrust({ trust, active }, rank) {
    const found = trustOf(trust?.[rank]);
    const limit = convscope.atlas.specific;
    const foreign = Boolean(found?.specific && found.specific[0] < limit);
    byId("warning").hidden = !foreign;
    byId("trust").hidden = !trust || !active;
    byId("sentence").textContent = found ? found.sentence : trust
      ? `Not checked: this atlas checks the strongest ${trust.length === 1 ? "picture" : "pictures"} of each map.`
      : "";
    byId("warning-text").textContent = foreign ? `${found.sentence} ${aboutOwn(found.contrast)}`.trim() : "";
    byId("sentence").hidden = foreign;
    const marks = { place: found?.disc ?? null, specific: limit, own: null };
    const rows = GAUGES.filter(([name]) => found?.[name]);
    byId("gauges").replaceChildren(
      ...rows.map(([name, title, hint]) => gauge(name, title, hint, found[name], marks[name])));
  }

  function trustOf(entry) {
    if (!entry) return null;
    const [sentence, place, specific, own, disc, contrast] = entry;
    return { sentence, place, specific, own, disc, contrast };
  }

  /** The largest loss that is the unit's own where a box covers the image; null: nobody looked. */
  const ownLoss = ({ trust }, rank) => trustOf(trust?.[rank])?.contrast ?? null;

  function aboutOwn(contrast) {
    if (contrast === null || contrast === undefined) return "";
    return contrast > 0
      ? `What is its own is lit in the first picture: covered there, it loses up to ${Math.round(100 * contrast)} % more than they do.`
      : "Nothing in this image is its own: what it loses, they lose too.";
  }

  // ---- how the map responds to all images --------------------------------------------------------

  function histogram([start, width, counts], quantiles, examples) {
    const tallest = Math.log1p(Math.max(...counts));
    const bar = 320 / counts.length;
    const end = start + width * counts.length;
    const x = (value) => (320 * (value - start)) / (end - start);
    const label = `Each image’s strongest activation, from ${figure(start)} to ${figure(end)}`;
    const svg = el("svg", { viewBox: "0 0 320 84", role: "img", "aria-label": label, preserveAspectRatio: "none" });
    counts.forEach((count, i) => {
      const height = count === 0 ? 0 : Math.max(1.5, (80 * Math.log1p(count)) / tallest);
      svg.append(el("rect", { class: "bar-of", x: i * bar + 0.5, y: 84 - height, width: Math.max(0.5, bar - 1), height }));
    });
    quantiles.forEach((_, i) => {
      if (examples[i]) svg.append(el("line", { class: "mark", x1: x(examples[i][0]), y1: 0, x2: x(examples[i][0]), y2: 84 }));
    });
    return svg;
  }

  function panel(title, ...children) {
    return el("section", {}, el("h2", {}, title), ...children);
  }

  /** Of each quantile its image: what the map sees where it answers less than at its summit. */
  function exampleTiles(quantiles, examples) {
    const tiles = examples.map((one, i) => {
      if (!one) return "";
      const [value, name, label] = one;
      const share = `${Math.round(100 * quantiles[i])} %`;
      const says = `${label || name}: activation ${figure(value)}, above that of ${share} of the images`;
      const picture = el("span", { class: "pic" });
      placeCell(picture, "example", i);
      return el("figure", {}, el("span", { class: "tile", role: "img", "aria-label": says, title: says }, picture),
        el("figcaption", {}, el("b", {}, figure(value)), `> ${share.replace(" ", "\u00a0")}`));
    });
    return el("div", { class: "examples" }, ...tiles);
  }

  function classRows(classes, named) {
    const most = Math.max(...classes.map(([, count]) => count));
    const rows = classes.map(([name, count]) => {
      const meter = el("span", { class: "meter", "aria-hidden": "true" });
      meter.style.setProperty("--share", count / most);
      return el("div", {}, el("dt", { title: name }, name), el("dd", {}, meter), el("dd", { class: "numeric" }, words(count)));
    });
    const [name, auc, chance] = named ?? [];
    const says = !named ? "" : auc > chance
      ? `It tells “${name}” from the other classes: AUC ${two(auc)}, on images held out (chance reaches ${two(chance)}).`
      : `No name: the best class, “${name}”, has AUC ${two(auc)} on images held out, and chance reaches ${two(chance)}.`;
    return [el("dl", { class: "bars" }, ...rows), el("p", { class: "quiet" }, says)];
  }

  /** Other maps, each a way to its page. others: [layer name, map, what is said of it]. */
  function relatives(kind, others) {
    return el("p", { class: "relatives" }, ...others.map(([layer, channel, says], i) => {
      const picture = el("span", { class: "tile" }, el("span", { class: "pic" }));
      placeCell(picture.firstChild, kind, i);
      const { activation } = convscope.atlas.layers.find(({ name }) => name === layer);
      return el("a", { href: address({ layer, channel }), title: `${activation}/${channel}` }, picture,
        el("span", { class: "tag" }, el("b", {}, String(channel)), " ", el("i", {}, says)));
    }));
  }

  const signed = (value) => Number(value.toPrecision(2)).toString().replace("-", "−");

  /** Maps of the layers below that feed this one, or of those above that it feeds. */
  function connected(title, kind, others, note) {
    if (!others.length) return [];
    const layers = [...new Set(others.map(([layer]) => layer))].join(", ");
    return [panel(title, relatives(kind, others.map(([layer, channel, value]) => [layer, channel, signed(value)])),
      el("p", { class: "quiet" }, `${note} ${layers}.`))];
  }

  /** Of each class of interest the patches where the unit is worth most to it. */
  function relevantPanels(relevant) {
    return relevant.map(([name, number, images]) => {
      const tiles = images.map(([value, file, label], i) => {
        const says = `${label || file}: activation times derivative ${figure(value)}`;
        const picture = el("span", { class: "pic" });
        placeCell(picture, `relevant-${number}`, i);
        return el("figure", {}, el("span", { class: "tile", role: "img", "aria-label": says, title: says }, picture),
          el("figcaption", {}, label || file));
      });
      return panel(`Where it is worth most to “${name}”`, images.length ? el("div", { class: "examples" }, ...tiles)
        : el("p", { class: "quiet" }, `In no image does this unit speak for “${name}”.`));
    });
  }

  /** The panels below the pictures: histogram, classes, maps that are near it. */
  function drawResponses(layer, unit) {
    const all = unit.responses;
    const panels = relevantPanels(unit.relevant ?? []);
    if (all && unit.active > 0) {
      if (all.histogram[2].length) {
        panels.push(panel("Over all images", histogram(all.histogram, all.quantiles, all.examples),
          el("p", { class: "quiet" }, `How often, on a log scale, an image’s strongest activation was so large; the lines are the images below. ` +
            `Above zero in ${figure(100 * all.share)} % of the images and at ${figure(100 * all.density)} % of all positions.`),
          all.quantiles.length ? exampleTiles(all.quantiles, all.examples) : ""));
      }
      if (all.classes.length) {
        panels.push(panel("Classes of its strongest images", ...classRows(all.classes, all.named)));
      }
      if (unit.nearest.length) {
        const near = unit.nearest.map(([channel, r]) => [layer.name, channel, `r ${two(r)}`]);
        panels.push(panel("Maps that answer to the same images", relatives("nearest", near)));
      }
      panels.push(...connected("What feeds it", "input", unit.input,
        "Weight times mean activation; below zero it is held down. Maps of"));
      panels.push(...connected("What it feeds", "output", unit.output, "The same for the maps above, of"));
    }
    byId("responses").replaceChildren(...panels);
    byId("responses").hidden = panels.length === 0;
  }

  return { drawTrust, drawResponses, ownLoss };
})();
