"use strict";
/* What the reader does: keyboard, toolbar, pointing at pictures, theme, help, copy. */

(() => {
  const { CHOICES, shown, byId, go, adjust } = convscope;
  const wall = byId("wall");

  // ---- moving ---------------------------------------------------------------------------------

  function turnPage(step) {
    if (shown.route.view === "layer") return convscope.wall.walk(step);
    if (shown.route.view === "compare") return Boolean(shown.turnPair?.(step));
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
    else if (shown.route.pair !== undefined) location.assign(convscope.address({ compare: shown.route.compare }));
    else if (shown.route.view !== "overview" || shown.route.find) location.assign("#/");
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
    const select = () => byId(shown.route.view === "overview" ? "search" : "find").select();
    if (view === "layer" || view === "overview") select();
    else {
      document.addEventListener("convscope:view", select, { once: true });
      if (view === "map") go({ channel: undefined });
      else location.assign("#/");
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

  function turnStar() {
    if (shown.route.view !== "map") return false;
    const unit = convscope.unitName(shown.layer, shown.route.channel);
    convscope.notes.set(unit, { star: !convscope.notes.of(unit).star });
    return true;
  }

  /** Does what a button says, and lets the button say that it is done. */
  async function answer(button, deed) {
    const words = button.textContent;
    const says = await deed();
    if (typeof says !== "string") return;
    button.textContent = says;
    setTimeout(() => { button.textContent = words; }, 1500);
  }

  /** Does what saving.js does, by its name. */
  async function save(deed, ...what) {
    await convscope.need("saving");
    return convscope.saving[deed](...what);
  }
  const DEEDS = {
    theme: turnTheme, help: openHelp, star: turnStar, random: () => convscope.turnRandom(),
    copy: (button) => save("copied", button.previousElementSibling.textContent, button.previousElementSibling),
    "copy-command": () => save("copied", byId("command").textContent, byId("command")),
    save: () => save("savePicture"), names: () => save("saveNames"), cite: () => save("cite"),
    link: () => save("copyLink"), print: () => window.print(),
  };

  // ---- listening ------------------------------------------------------------------------------

  const KEYS = {
    ArrowLeft: () => turnPage(-1), k: () => turnPage(-1),
    ArrowRight: () => turnPage(1), j: () => turnPage(1),
    ArrowUp: () => convscope.wall?.walkRows(-1), ArrowDown: () => convscope.wall?.walkRows(1),
    "[": () => turnLayer(-1), "]": () => turnLayer(1),
    Escape: goUp, v: () => turnOption("show"), p: () => turnTo("projections"),
    r: () => shown.route.view === "map" && convscope.turnRandom(), s: turnStar,
    c: () => turnOption("contrast"), "/": openFind, t: turnTheme, "?": openHelp,
  };

  function selectByDigit(key) {
    if (shown.route.view !== "map" || !/^[1-9]$/.test(key)) return false;
    convscope.select(Number(key) - 1);
    return true;
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || byId("help").open) return;
    if (event.target.matches("input[type=text], input[type=search], select")) {
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
    if (button) answer(button, () => DEEDS[button.dataset.do](button));
  });

  byId("layer-select").addEventListener("change", (event) => location.assign(event.target.value));
  document.addEventListener("input", ({ target }) => {
    const { option } = target.dataset;
    if (option) adjust({ [option]: target.value });
  });
  for (const id of ["find", "search", "name"]) {
    byId(id).form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (id === "find") convscope.wall.walk(0);
      if (id === "search") byId("results").querySelector("a")?.focus();
      if (id === "name") byId(id).blur();
    });
  }
  byId("name").addEventListener("change", ({ target }) => {
    convscope.notes.set(convscope.unitName(shown.layer, shown.route.channel), { name: target.value.trim() });
  });

  wall.addEventListener("focusin", ({ target }) => {
    convscope.wall.setStop(Number(target.dataset.channel));
    convscope.wall.lookAt(target);
  });
  wall.addEventListener("focusout", () => convscope.wall.leave());
  for (const name of ["pointerover", "pointerout"]) {
    wall.addEventListener(name, (event) => {
      const cell = event.target.closest(".cell");
      if (!cell || cell.contains(event.relatedTarget) || event.pointerType === "touch") return;
      if (name === "pointerover") convscope.wall.lookAt(cell);
      else convscope.wall.leave();
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
    const rank = event.target.closest("a") ? undefined : rankOf(event);
    if (rank !== undefined) convscope.select(Number(rank));
  });

  try {
    const theme = localStorage.getItem("convscope-theme");
    if (theme) setTheme(theme);
  } catch {
    // as above: the system's theme, until the reader says otherwise
  }
})();
