"use strict";
/* What every view draws with: elements, words, and pictures that are places on sheets. Whatever
   comes from data (layer, class and file names) becomes a text node or an attribute, never markup. */

convscope.drawing = (() => {
  const SVG = new Set(["svg", "rect", "path", "line", "circle"]);

  /** An element; "svg:a" is the link of a drawing. */
  function el(tag, attributes = {}, ...children) {
    const drawn = tag.startsWith("svg:") ? tag.slice(4) : SVG.has(tag) && tag;
    const node = drawn
      ? document.createElementNS("http://www.w3.org/2000/svg", drawn)
      : document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.append(...children);
    return node;
  }

  /** A way to what comes before or after; false where nothing does. */
  function turn(link, href) {
    link.toggleAttribute("aria-disabled", !href);
    if (href) link.href = href;
    else link.removeAttribute("href");
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
    { rootMargin: "300px" },
  );
  function whenNear(node, paint) {
    painters.set(node, paint);
    nearby.observe(node);
  }

  // A whole address: a custom property would read a short one from where the style sheet lies.
  const sheetOf = ({ slug }, name) =>
    `url("${new URL(`sheets/${encodeURIComponent(slug)}/${name}.webp`, document.baseURI)}")`;

  function place(node, layer, sheet, column, row) {
    node.style.setProperty("--column", column);
    node.style.setProperty("--row", row);
    node.style.backgroundImage = sheetOf(layer, sheet);
  }

  const numbered = (stem, n) => `${stem}-${String(n).padStart(3, "0")}`;

  /** A map on the sheets of the wall: its strongest picture, or its optimised one, or, by its own
      number, that of a map of the network it is compared with. */
  function placeOnWall(node, layer, kind, channel) {
    const { best, optimised, columns } = convscope.atlas.sheets;
    const perSheet = kind === "optimised" ? optimised : best;
    const at = channel % perSheet;
    const stem = ["optimised", "compared"].includes(kind) ? kind : `best-${kind}`;
    const sheet = numbered(stem, Math.floor(channel / perSheet));
    place(node, layer, sheet, at % columns, Math.floor(at / columns));
  }

  function placeFilter(node, layer, channel) {
    const { columns } = convscope.atlas.sheets;
    place(node, layer, "filters", channel % columns, Math.floor(channel / columns));
  }

  /** A cell of a unit's own sheet, which an element around it names as --sheet. */
  function placeCell(node, kind, number = 0) {
    const { columns, ...starts } = convscope.atlas.unit;
    const at = starts[kind] + number;
    node.style.setProperty("--column", at % columns);
    node.style.setProperty("--row", Math.floor(at / columns));
  }
  const showSheet = (node, unit) => node.style.setProperty("--sheet", `url("${unit.url}")`);

  /** How much to stretch projections around grey. Large fields are mostly faint: one pixel stands
      out and scales the rest. */
  const autoContrast = ({ window }) => (Math.max(...window) < 32 ? 1 : 2);

  function stretch(node, layer, { contrast }) {
    node.style.setProperty("--contrast", contrast === "auto" ? autoContrast(layer) : Number(contrast));
  }

  return {
    el, turn, words, maps, times, figure, quoted, // elements and words
    whenNear, sheetOf, placeOnWall, placeFilter, placeCell, showSheet, stretch, // pictures
  };
})();
