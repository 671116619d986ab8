/* What page_budget.py asks of a page, in the browser. */
({
  observe() {
    window.seen = { lcp: 0, cls: 0, events: [] };
    const watch = (type, take, more) =>
      new PerformanceObserver((list) => list.getEntries().forEach(take))
        .observe({ type, buffered: true, ...more });
    watch("largest-contentful-paint", (one) => { seen.lcp = one.startTime; });
    watch("layout-shift", (one) => { if (!one.hadRecentInput) seen.cls += one.value; });
    watch("event", (one) => { if (one.interactionId) seen.events.push(one.duration); },
      { durationThreshold: 16 });
  },

  /** The names by which places of this atlas are reached. */
  async places() {
    const [[, image]] = await convscope.load("page/images");
    return [convscope.atlas.layers.at(-1).name, image];
  },

  /** Opens the wall of the last layer as if it had so many maps. */
  async widen(maps) {
    const layer = convscope.atlas.layers.at(-1);
    const table = await convscope.loadWall(layer);
    const before = layer.channels;
    layer.channels = maps;
    const wide = (values, size) =>
      values && Array.from({ length: maps * size }, (_, i) => values[i % (before * size)]);
    table.image = wide(table.image, table.image.length / before);
    for (const name of ["value", "active", "specific", "density", "named"]) {
      table[name] = wide(table[name], 1);
    }
    location.hash = `#/${encodeURIComponent(layer.name)}`;
  },

  smallText() {
    const small = new Set();
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
      const parent = walker.currentNode.parentElement;
      const seen = walker.currentNode.data.trim() && parent.checkVisibility();
      if (!seen || parent.closest("noscript, .hidden, title")) continue;
      const size = parseFloat(getComputedStyle(parent).fontSize);
      if (size < 12) small.add(parent.className || parent.tagName);
    }
    return [...small];
  },

  /** Links within text may be as high as its lines. */
  smallTargets() {
    const inText = ".prose, .skip, td, h1, h2, .eyebrow";
    const targets = [...document.querySelectorAll("a, button, select, input, summary")];
    return targets.filter((one) => {
      if (!one.checkVisibility() || one.closest(inText) || one.type === "radio") return false;
      const { width, height } = one.getBoundingClientRect();
      return width > 1 && Math.min(width, height) < 24;
    }).map((one) => one.id || one.className || one.textContent.slice(0, 20));
  },
})
