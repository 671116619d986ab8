"use strict";
/* What the reader does: keyboard, toolbar, pointing at pictures, theme, help, copy. */

(() => {
  const { CHOICES, shown, byId, go, adjust } = convscope;
  const wall = byId("wall");

  // ---- moving ---------------------------------------------------------------------------------

  function columnsOfWall() {
    const [first] = wall.children;
    const row = [...wall.children].findIndex((node) => node.offsetTop !== first.offsetTop);
    return row === -1 ? wall.children.length : row;
  }

  /** Moves the focus over the wall; from elsewhere it enters at the wall's tab stop. */
  function walk(step) {
    const cells = [...wall.children];
    const at = cells.indexOf(document.activeElement);
    const next = at === -1 ? cells.find((node) => node.tabIndex === 0) : cells[at + step];
    next?.focus();
    return Boolean(next);
  }

  function walkRows(rows) {
    if (document.activeElement?.parentNode !== wall) return false; // leave scrolling to the browser
    return walk(rows * columnsOfWall());
  }

  function turnPage(step) {
    if (shown.route.view === "layer") return walk(step);
    if (shown.route.view !== "map") return false;
    const route = convscope.parse(location.hash); // a key that is held is ahead of the pictures
    const list = convscope.walked(shown.layer, Number(route.channel));
    const channel = list[list.indexOf(Number(route.channel)) + step];
    if (channel !== undefined) location.assign(convscope.address({ ...route, channel, rank: 1 }));
    return true;
  }

  function turnLayer(step) {
    const { layers } = convscope.atlas;
    const at = layers.findIndex(({ name }) => name === shown.route.layer);
    const next = layers[at + step];
    if (next) go({ layer: next.name, channel: undefined, find: "" });
    return Boolean(next);
  }

  function goUp() {
    if (shown.route.view === "map") go({ channel: undefined });
    else if (shown.route.view === "layer") location.assign("#/");
    else return false;
    return true;
  }

  // ---- changing the view ----------------------------------------------------------------------

  function turnOption(name) {
    if (shown.route.layer === undefined) return false;
    const all = CHOICES[name];
    adjust({ [name]: all[(all.indexOf(shown.route[name]) + 1) % all.length] });
    return true;
  }

  /** Shows a kind of picture, or the first one again where it is shown already. */
  function turnTo(show) {
    if (shown.route.layer === undefined || !CHOICES.show.includes(show)) return false;
    adjust({ show: shown.route.show === show ? CHOICES.show.find((one) => one !== show) : show });
    return true;
  }

  function pressSpace(target) {
    if (shown.route.view !== "map" || target.closest("a, summary, [data-do]")) return false;
    return turnTo("patches");
  }

  function openFind() {
    const { view } = shown.route;
    if (view === "overview") return false;
    const select = () => byId("find").select();
    if (view === "layer") select();
    else {
      document.addEventListener("convscope:view", select, { once: true });
      go({ channel: undefined });
    }
    return true;
  }

  function openHelp() {
    byId("help").showModal();
    return true;
  }

  const root = document.documentElement;
  function setTheme(theme) {
    root.dataset.theme = theme;
    try {
      localStorage.setItem("convscope-theme", theme);
    } catch {
      // Storage may be closed to files; the choice then lasts as long as the page.
    }
  }
  /** The system's theme until the reader says otherwise. */
  function turnTheme() {
    const system = matchMedia("(prefers-color-scheme: light)").matches ? "light" : "dark";
    setTheme((root.dataset.theme ?? system) === "light" ? "dark" : "light");
    return true;
  }

  async function copyCommand(button) {
    const words = button.previousElementSibling;
    try {
      await navigator.clipboard.writeText(words.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(words); // then Ctrl-C is one key away
      button.textContent = "Selected";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  }

  // ---- listening ------------------------------------------------------------------------------

  const KEYS = {
    ArrowLeft: () => turnPage(-1), k: () => turnPage(-1),
    ArrowRight: () => turnPage(1), j: () => turnPage(1),
    ArrowUp: () => walkRows(-1), ArrowDown: () => walkRows(1),
    "[": () => turnLayer(-1), "]": () => turnLayer(1),
    Escape: goUp, v: () => turnOption("show"), p: () => turnTo("projections"),
    c: () => turnOption("contrast"), "/": openFind, t: turnTheme, "?": openHelp,
  };

  function selectByDigit(key) {
    if (shown.route.view !== "map" || !/^[1-9]$/.test(key)) return false;
    convscope.select(Number(key) - 1);
    return true;
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || byId("help").open) return;
    if (event.target.matches("input[type=text], select")) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    if (event.target.matches("input[type=radio]") && event.key.startsWith("Arrow")) return;
    if (event.key === " ") {
      if (pressSpace(event.target)) event.preventDefault();
      return;
    }
    const done = Object.hasOwn(KEYS, event.key) ? KEYS[event.key]() : selectByDigit(event.key);
    if (done) event.preventDefault();
  });

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-do]");
    if (!button) return;
    ({ theme: turnTheme, help: openHelp, copy: () => copyCommand(button) })[button.dataset.do]();
  });

  byId("layer-select").addEventListener("change", (event) => location.assign(event.target.value));
  document.addEventListener("input", ({ target }) => {
    const { option } = target.dataset;
    if (option) adjust({ [option]: target.value });
  });
  byId("find").form.addEventListener("submit", (event) => {
    event.preventDefault();
    walk(0);
  });

  wall.addEventListener("focusin", ({ target }) => {
    for (const node of wall.querySelectorAll("[tabindex='0']")) node.tabIndex = -1;
    target.tabIndex = 0;
    convscope.paint(target, true);
  });
  wall.addEventListener("focusout", ({ target }) => convscope.paint(target));
  for (const [name, nine] of [["pointerover", true], ["pointerout", false]]) {
    wall.addEventListener(name, (event) => {
      const cell = event.target.closest(".cell");
      const within = cell?.contains(event.relatedTarget); // from one part of it to another
      if (cell && !within && event.pointerType !== "touch") convscope.paint(cell, nine);
    });
  }

  const rankOf = ({ target }) => target.closest("[data-rank]")?.dataset.rank;
  byId("map").addEventListener("pointerover", (event) => {
    if (event.pointerType === "touch") return; // a tap selects; nothing hovers
    const rank = rankOf(event);
    convscope.light(rank === undefined ? null : Number(rank));
  });
  byId("map").addEventListener("pointerleave", () => convscope.light(null));
  byId("map").addEventListener("click", (event) => {
    const rank = rankOf(event);
    if (rank !== undefined) convscope.select(Number(rank));
  });

  try {
    const theme = localStorage.getItem("convscope-theme");
    if (theme) setTheme(theme);
  } catch {
    // as above: the system's theme, until the reader says otherwise
  }
})();
