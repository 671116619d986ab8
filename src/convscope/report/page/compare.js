"use strict";
/* Draws two atlases over the same images side by side: a layer's matched maps, then the pictures of
   one pair. The other atlas's pictures lie in this one's folder.
   #/compare/conv5 is a layer, #/compare/conv5/12 the pair of its map 12. */

(() => {
  const { byId, address, load, loadUnit, activation, range, unitName } = convscope;
  const { el, turn, words, maps, figure, placeOnWall, placeCell, showSheet } = convscope.drawing;
  const FIRST = 60; // pairs that are shown until the reader asks for all
  const two = (value) => value.toFixed(2).replace("-", "−");
  const pairAddress = (layer, pair) => address({ compare: layer.name, pair });
  const tableOf = ({ slug }) => load(`data/compared/${slug}`);
  const otherPage = (table, channel) =>
    convscope.atlas.compared.atlas && convscope.atlas.compared.atlas + address({ layer: table.layer, channel });

  // ---- a layer ------------------------------------------------------------------------------------

  /** Maps of both, the nearest first, then those that one network alone has. */
  function parts(layer, table) {
    const alike = (channel) => table.correlation[channel] !== null && table.correlation[channel] > table.level;
    const both = range(layer.channels).filter(alike).sort((a, b) => table.correlation[b] - table.correlation[a]);
    const taken = new Set(both.map((channel) => table.partner[channel]));
    const gone = new Set(table.dead);
    return {
      both: both.map((channel) => [channel, table.partner[channel]]),
      own: range(layer.channels).filter((channel) => !alike(channel)).map((channel) => [channel, null]),
      its: range(table.maps ?? 0).filter((channel) => !taken.has(channel) && !gone.has(channel)).map((channel) => [null, channel]),
    };
  }

  function pictureOf(layer, kind, channel, coarse) {
    const picture = el("span", { class: "pic" });
    if (channel === null) return el("span", { class: "pic none" });
    placeOnWall(picture, layer, kind, channel);
    if (coarse) picture.style.imageRendering = "pixelated";
    return picture;
  }

  function pairLink(layer, table, [own, its]) {
    const { kind, name } = convscope.atlas.compared;
    const pictures = kind && table.coarse !== null;
    const numbers = own === null ? String(its) : its === null || own === its ? String(own) : `${own} → ${its}`;
    const r = own !== null && its !== null ? `r ${two(table.correlation[own])}` : "";
    const href = own === null ? otherPage(table, its) : pairAddress(layer, own);
    const coarse = layer.tile > Math.max(...layer.window);
    return el(href ? "a" : "span", { class: "cell pair", ...(href ? { href } : {}), title: own === null ? `${table.activation}/${its} of ${name}` : unitName(layer, own) },
      el("span", { class: "both" }, pictureOf(layer, kind ?? Object.values(convscope.atlas.kinds)[0], own, coarse),
        pictureOf(layer, "compared", pictures ? its : null, table.coarse)),
      el("span", { class: "tag" }, el("b", {}, numbers), " ", el("i", {}, r)));
  }

  function part(title, layer, table, pairs) {
    if (!pairs.length) return "";
    const found = el("div", { class: "found" }, ...pairs.slice(0, FIRST).map((pair) => pairLink(layer, table, pair)));
    const more = el("button", { type: "button", class: "button" }, `All ${words(pairs.length)}`);
    more.addEventListener("click", () => {
      found.append(...pairs.slice(FIRST).map((pair) => pairLink(layer, table, pair)));
      more.remove();
    });
    return el("section", {}, el("h2", {}, `${title} `, el("span", { class: "quiet" }, words(pairs.length))),
      found, pairs.length > FIRST ? more : "");
  }

  function drawLayer(layer, table) {
    const { name, data, kind } = convscope.atlas.compared;
    const { title } = convscope.atlas;
    const { both, own, its } = parts(layer, table);
    const kept = both.filter(([a, b]) => a === b).length;
    const alike = table.cka === null ? "" : ` As a whole the layers are alike by CKA ${two(table.cka)}.`;
    byId("compare-up").textContent = "Overview";
    byId("compare-up").href = "#/";
    byId("compare-title").textContent = table.layer === layer.name ? layer.name : `${layer.name} = ${table.layer}`;
    byId("compare-note").textContent = `Left ${title}, right ${name}, over ${data}: ${maps(kept)} kept, ` +
      `${words(both.length - kept)} moved to another number; a pair counts where r is above ${two(table.level)}.${alike}` +
      (kind && table.coarse !== null ? "" : ` The pictures of ${name} are not here: its atlas was not given, or does not hold this layer.`);
    byId("compare-parts").replaceChildren(part("In both", layer, table, both),
      part(`In ${title} alone`, layer, table, own), part(`In ${name} alone`, layer, table, its));
  }

  // ---- a pair -------------------------------------------------------------------------------------

  /** One network's strongest pictures of the pair; images that the other one has, too, are marked. */
  function plate({ title, name, href, unit, start, columns, coarse }, common) {
    const ranks = range(convscope.atlas.top).map((rank) => activation(unit, rank));
    const tiles = ranks.map((found, rank) => {
      if (!found) return el("span", { class: "tile void" }, "empty");
      const picture = el("span", { class: "pic" });
      if (columns) Object.entries({ "--column": rank % columns, "--row": Math.floor(rank / columns) })
        .forEach(([key, value]) => picture.style.setProperty(key, value));
      else placeCell(picture, start, rank);
      const shared = common.has(found.name);
      const says = `${found.label ? `${found.label}, ` : ""}${found.name}: activation ${figure(found.value)}${shared ? ", among the strongest of both" : ""}`;
      const tag = { class: "tile", title: says, "aria-label": says, ...(shared ? { "data-image": found.name } : {}) };
      return el(shared ? "a" : "span", shared ? { ...tag, href: address({ image: found.name }) } : { ...tag, role: "img" },
        picture, shared ? el("span", { class: "rank shared", "aria-hidden": "true" }, "●") : "");
    });
    const grid = el("div", { class: coarse ? "plate coarse" : "plate" }, ...tiles);
    if (columns) grid.style.setProperty("--columns", columns);
    showSheet(grid, unit);
    return el("section", {}, el("p", { class: "quiet" }, title), el("h2", { class: "code" }, href ? el("a", { href }, name) : name),
      grid, el("p", { class: "quiet" }, ranks[0] ? `Strongest activation ${figure(ranks[0].value)}` : "Never above zero"));
  }

  async function drawPair(layer, table, own) {
    const { name, kind, same } = convscope.atlas.compared;
    const [its, r] = [table.partner[own], table.correlation[own]];
    const shown = kind && table.coarse !== null && its !== null;
    const [unit, other] = await Promise.all([loadUnit(layer, own), shown ? loadUnit(layer, its, "data/compared") : null]);
    const names = ({ ranks }) => ranks.filter(Boolean).map((one) => one[5]);
    const common = new Set(same && other ? names(unit).filter((one) => names(other).includes(one)) : []);
    const sides = [plate({
      title: convscope.atlas.title, name: unitName(layer, own), href: address({ layer: layer.name, channel: own }), unit,
      start: kind ?? Object.values(convscope.atlas.kinds)[0], coarse: layer.tile > Math.max(...layer.window) }, common)];
    if (other) sides.push(plate({ title: name, name: `${table.activation}/${its}`, href: otherPage(table, its), unit: other, columns: 3, coarse: table.coarse }, common));
    return () => {
      byId("compare-up").textContent = layer.name;
      byId("compare-up").href = address({ compare: layer.name });
      byId("compare-title").textContent = its === null || its === own ? unitName(layer, own) : `${unitName(layer, own)} → ${its}`;
      byId("compare-note").textContent = its === null ? `No map of ${name} is left for it.`
        : `r ${two(r)} over all images${r > table.level ? "" : `, not above ${two(table.level)}: another map`}.` +
          (!same ? " The two atlases are of other images." : other ? ` ${common.size} of the ${names(unit).length} images are among the strongest of both; they are marked.` : "");
      byId("compare-parts").replaceChildren(el("div", { class: "bench" }, ...sides));
    };
  }

  // ---- either -------------------------------------------------------------------------------------

  function drawLayers(current) {
    const layers = convscope.atlas.compared.layers.map((name) => {
      const here = name === current ? { "aria-current": "page" } : {};
      return el("a", { class: "chip", href: address({ compare: name }), ...here }, name);
    });
    byId("compare-layers").replaceChildren(...layers);
  }

  /** Ways to the pairs before and after this one, in the order in which the layer lists them. */
  function drawTurn(layer, table, pair) {
    byId("compare-turn").hidden = pair === null;
    const { both, own } = parts(layer, table);
    const list = [...both, ...own].map(([channel]) => channel);
    const at = list.indexOf(pair);
    const href = (channel) => channel !== undefined && pairAddress(layer, channel);
    const ways = pair === null ? {} : { [-1]: href(list[at - 1]), 1: href(list[at + 1]) };
    convscope.shown.turnPair = pair !== null && ((by) => { if (ways[by]) location.assign(ways[by]); return true; });
    if (pair === null) return;
    turn(byId("compare-previous"), ways[-1]);
    turn(byId("compare-next"), ways[1]);
    byId("compare-place").textContent = `${words(at + 1)} of ${words(list.length)}`;
  }

  async function showComparison(route) {
    const { compared, layers } = convscope.atlas;
    const name = route.compare || compared?.layers[0];
    const layer = layers.find((one) => one.name === name && compared?.layers.includes(one.name));
    const pair = route.pair === undefined ? null : Number(route.pair);
    if (!layer || (pair !== null && !(pair < layer.channels))) return false;
    const table = await tableOf(layer);
    const draw = pair === null ? () => drawLayer(layer, table) : await drawPair(layer, table, pair);
    if (convscope.shown.route !== route) return true;
    drawTurn(layer, table, pair);
    draw();
    drawLayers(layer.name);
    return true;
  }

  for (const event of ["pointerover", "focusin"]) {
    byId("compare-parts")?.addEventListener(event, ({ target }) => {
      const image = target.closest("[data-image]")?.dataset.image;
      for (const tile of byId("compare-parts").querySelectorAll("[data-image]")) tile.classList.toggle("on", tile.dataset.image === image);
    });
  }
  Object.assign(convscope.views, { compare: showComparison });
})();
