"use strict";
/* The page of feature evolution: one slider moves all pictures through the kept epochs.

   A classic script, because browsers refuse modules and fetch to a page that was opened by
   double-click. page/data.js calls `convscope.start(data)`. The address says the epoch: #epoch=5.
   After each change a `convscope:epoch` event on the document tells whoever listens. */

const convscope = (() => {
  const SECONDS_A_FRAME = 0.8;
  const byId = (id) => document.getElementById(id);
  const shown = { at: -1, timer: null };
  let data;

  // ---- drawing --------------------------------------------------------------------------------

  /** Puts a cell of a sheet (rows: maps, columns: epochs) into an element. */
  function place(node, layer, kind, row, column) {
    const { style } = node;
    const columns = data.epochs.length;
    const rows = layer.maps.length;
    const share = (at, all) => (all > 1 ? `${(100 * at) / (all - 1)}%` : "0");
    style.backgroundImage = `url("${layer.sheets}/${kind}.webp")`;
    style.backgroundSize = `${100 * columns}% ${100 * rows}%`;
    style.backgroundPosition = `${share(column, columns)} ${share(row, rows)}`;
  }

  const epochWords = (epoch) => (epoch === 0 ? "untrained" : `epoch ${epoch}`);

  function describe(lead) {
    if (lead.empty) return lead.empty;
    return lead.label ? `${lead.label}, ${lead.name}` : lead.name;
  }

  function stateOf(map, lead, epoch) {
    const words = [];
    if (lead.changed) {
      const mark = document.createElement("b");
      mark.textContent = "Another image than before. ";
      words.push(mark);
    }
    if (epoch >= map.settled) words.push(`The feature is as at the end since ${epochWords(map.settled)}.`);
    else words.push(`The feature settles at ${epochWords(map.settled)}.`);
    return words;
  }

  function drawMap(article, at) {
    const layer = data.layers[article.dataset.layer];
    const row = Number(article.dataset.row);
    const map = layer.maps[row];
    const lead = map.leads[at];
    const pair = article.querySelector(".pair");
    pair.classList.toggle("changed", lead.changed);
    for (const pic of pair.children) {
      place(pic, layer, pic.dataset.kind, row, at);
      pic.classList.toggle("dead", !!lead.empty);
      pic.setAttribute("aria-label", `${pic.dataset.kind}: ${describe(lead)}`);
    }
    article.querySelector(".value").textContent = lead.empty ? "" : `activation ${lead.value}`;
    article.querySelector(".image").textContent = describe(lead);
    article.querySelector(".image").title = describe(lead);
    article.querySelector(".state").replaceChildren(...stateOf(map, lead, data.epochs[at]));
    for (const [i, button] of [...article.querySelectorAll(".frame-button")].entries()) {
      if (i === at) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
    }
  }

  function fillFilm(article) {
    const layer = data.layers[article.dataset.layer];
    const row = Number(article.dataset.row);
    article.classList.toggle("coarse", layer.coarse);
    const buttons = layer.maps[row].leads.map((lead, at) => {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "frame-button";
      button.classList.toggle("changed", lead.changed);
      button.classList.toggle("dead", !!lead.empty);
      button.title = epochWords(data.epochs[at]) + (lead.changed ? ", another image" : "");
      button.setAttribute("aria-label", button.title);
      button.addEventListener("click", () => go(at));
      place(button, layer, "projections", row, at);
      return button;
    });
    article.querySelector(".film").replaceChildren(...buttons);
  }

  function draw(at) {
    shown.at = at;
    const epoch = data.epochs[at];
    byId("epoch").value = String(at);
    byId("epoch").setAttribute("aria-valuetext", epochWords(epoch));
    byId("now").textContent = epochWords(epoch);
    for (const [i, tick] of [...document.querySelectorAll(".ticks span")].entries()) {
      tick.classList.toggle("now", i === at);
    }
    for (const article of document.querySelectorAll(".map")) drawMap(article, at);
    document.documentElement.dataset.epoch = String(epoch);
    document.dispatchEvent(new CustomEvent("convscope:epoch", { detail: { epoch } }));
  }

  // ---- moving ---------------------------------------------------------------------------------

  /** Shows a kept epoch, and puts it into the address without a new step of the history. */
  function go(at) {
    const next = Math.max(0, Math.min(data.epochs.length - 1, at));
    if (next === shown.at) return;
    draw(next);
    location.replace(`#epoch=${data.epochs[next]}`);
  }

  function fromAddress() {
    const asked = Number(new URLSearchParams(location.hash.slice(1)).get("epoch") ?? NaN);
    const at = data.epochs.indexOf(asked);
    draw(at === -1 ? data.epochs.length - 1 : at);
  }

  function stop() {
    clearInterval(shown.timer);
    shown.timer = null;
    byId("play").textContent = "Play";
    byId("play").setAttribute("aria-pressed", "false");
  }

  /** From where the slider is to the end; from the start if it is there already. */
  function play() {
    if (shown.timer !== null) return stop();
    const last = data.epochs.length - 1;
    if (shown.at === last) go(0);
    byId("play").textContent = "Stop";
    byId("play").setAttribute("aria-pressed", "true");
    shown.timer = setInterval(() => {
      go(shown.at + 1);
      if (shown.at === last) stop();
    }, 1000 * SECONDS_A_FRAME);
    return undefined;
  }

  function turnTheme() {
    const root = document.documentElement;
    const system = matchMedia("(prefers-color-scheme: light)").matches ? "light" : "dark";
    root.dataset.theme = (root.dataset.theme ?? system) === "light" ? "dark" : "light";
    try {
      localStorage.setItem("convscope-theme", root.dataset.theme);
    } catch {
      // Storage may be closed to files; the choice then lasts as long as the page.
    }
  }

  function recallTheme() {
    try {
      const theme = localStorage.getItem("convscope-theme");
      if (theme) document.documentElement.dataset.theme = theme;
    } catch {
      // as above
    }
  }

  const byHand = (at) => () => { stop(); go(at()); };
  const KEYS = {
    ArrowLeft: byHand(() => shown.at - 1), ArrowRight: byHand(() => shown.at + 1),
    Home: byHand(() => 0), End: byHand(() => data.epochs.length - 1), p: play, t: turnTheme,
  };

  function listen() {
    document.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || !Object.hasOwn(KEYS, event.key)) return;
      KEYS[event.key]();
      event.preventDefault(); // the slider would move a second time
    });
    byId("epoch").addEventListener("input", byHand(() => Number(byId("epoch").value)));
    byId("play").addEventListener("click", play);
    byId("theme").addEventListener("click", turnTheme);
    byId("epoch").form.addEventListener("submit", (event) => event.preventDefault());
    window.addEventListener("hashchange", fromAddress);
  }

  function start(given) {
    data = given;
    recallTheme();
    for (const article of document.querySelectorAll(".map")) fillFilm(article);
    listen();
    fromAddress();
  }

  return { start };
})();
