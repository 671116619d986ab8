"use strict";
/* What every view draws with: elements, words, and pictures that are places on sheets. Whatever
   comes from data (layer, class and file names) becomes a text node or an attribute, never markup. */

convscope.drawing = (() => {
  const SVG = new Set(["svg", "rect", "path", "line", "circle"]);

  function el(tag, attributes = {}, ...children) {
    const node = SVG.has(tag)
      ? document.createElementNS("http://www.w3.org/2000/svg", tag)
      : document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.append(...children);
    return node;
  }

  // ---- words ----------------------------------------------------------------------------------

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

  const sheetOf = ({ slug }, name) => `url("sheets/${encodeURIComponent(slug)}/${name}.webp")`;

  function place(node, layer, sheet, column, row) {
    node.style.setProperty("--column", column);
    node.style.setProperty("--row", row);
    node.style.backgroundImage = sheetOf(layer, sheet);
  }

  const numbered = (stem, n) => `${stem}-${String(n).padStart(3, "0")}`;

  /** A map on the sheets of the wall: its strongest picture, or all nine above it; an optimised
      picture has no ranks. */
  function placeOnWall(node, layer, kind, channel, nine = false) {
    const { wall, columns } = convscope.atlas.sheets;
    const at = channel % wall;
    const sheet = (stem) => numbered(stem, Math.floor(channel / wall));
    const one = kind === "optimised" ? kind : `best-${kind}`;
    place(node, layer, sheet(one), at % columns, Math.floor(at / columns));
    if (nine && one !== kind) {
      const above = sheetOf(layer, sheet(`wall-${kind}`));
      node.style.backgroundImage = `${above}, ${sheetOf(layer, sheet(one))}`;
    }
  }

  function placeFilter(node, layer, channel) {
    const { columns } = convscope.atlas.sheets;
    place(node, layer, "filters", channel % columns, Math.floor(channel / columns));
  }

  function placeTile(node, layer, kind, channel, rank) {
    const { maps: perSheet } = convscope.atlas.sheets;
    place(node, layer, numbered(kind, Math.floor(channel / perSheet)), rank, channel % perSheet);
  }

  /** The image at one of the quantiles of all images' maxima. */
  function placeExample(node, layer, channel, quantile) {
    const { maps: perSheet } = convscope.atlas.sheets;
    const sheet = numbered("example", Math.floor(channel / perSheet));
    place(node, layer, sheet, quantile, channel % perSheet);
  }

  /** How much to stretch projections around grey. Large fields are mostly faint: one pixel stands
      out and scales the rest. A thumbnail averages what is in it, which takes that much away. */
  const autoContrast = ({ window }) => (Math.max(...window) < 32 ? 1 : 2);
  const lossOfThumbnail = ({ tile }) => Math.max(1, tile / convscope.atlas.sheets.thumbnail);

  function stretch(node, layer, { contrast }, loss) {
    const wanted = contrast === "auto" ? autoContrast(layer) : Number(contrast);
    node.style.setProperty("--contrast", wanted * loss);
  }

  return {
    el, words, maps, times, figure, quoted, // elements and words
    whenNear, sheetOf, placeOnWall, placeFilter, placeTile, placeExample, lossOfThumbnail, stretch, // pictures
  };
})();
