/* What was found, on a page of its own: collected while looking, saved as one file that needs
   nothing else. It is built from nodes, so that no name can become markup. */

import { byId, el, figure, percent, say } from "./draw.js";
import { rules } from "./unit.js";
import { veilWords } from "./stage.js";
import { legendWords, sweepOf } from "./sweep.js";
import { removed, state, unitOf } from "./state.js";

const findings = []; // {title, lines, pictures: [{src, title, note}], answer, command, place}

const STYLE = `
:root{color-scheme:light dark;--paper:light-dark(#fbf9f5,#121314);--line:light-dark(#dcd6ca,#2b2e31);--ink:light-dark(#1f1d1a,#ece8df);--quiet:light-dark(#5d5850,#a6a29a);--accent:light-dark(#a4590a,#e9b44c)}
*{box-sizing:border-box}body{margin:0 auto;max-width:1120px;padding:56px 32px 96px;background:var(--paper);color:var(--ink);font:16px/1.55 -apple-system,"Segoe UI",Roboto,"Noto Sans","Liberation Sans",sans-serif}
h1{font:400 44px/1.1 "Iowan Old Style",Palatino,"URW Palladio L",Georgia,serif;margin:8px 0 14px;overflow-wrap:anywhere}h2{font:500 20px/1.3 ui-monospace,Menlo,Consolas,"Liberation Mono",monospace;margin:0 0 4px;overflow-wrap:anywhere}
p{margin:4px 0}.quiet,figcaption,dt{color:var(--quiet)}section{margin-top:36px;padding-top:24px;border-top:1px solid var(--line);break-inside:avoid}
.pictures{display:flex;flex-wrap:wrap;gap:16px 20px;margin:16px 0}figure{margin:0;width:152px}img{display:block;width:152px;image-rendering:pixelated}img.smooth{image-rendering:auto}figcaption{margin-top:6px;font-size:13px;overflow-wrap:anywhere}figcaption b{display:block;color:var(--ink);font-weight:600}
table{border-collapse:collapse;font-size:14px;font-variant-numeric:tabular-nums}td,th{padding:4px 20px 4px 0;border-top:1px solid var(--line);text-align:left;font-weight:400}th{color:var(--quiet);font-size:12px;border:0}td+td{text-align:right}
dl{display:grid;grid-template-columns:auto 1fr;gap:4px 24px;font-size:14px}dd{margin:0;overflow-wrap:anywhere}code{font-size:13px;overflow-wrap:anywhere;color:var(--quiet)}
@media (max-width:600px){body{padding:32px 16px 64px}h1{font-size:28px}}
@media print{:root{color-scheme:light}body{padding:0}}`;

// ---- collecting -----------------------------------------------------------------------------------------

const source = (canvas) => canvas.toDataURL("image/png");

/** The image with what is shown over it. */
function stagePicture() {
  const picture = byId("picture");
  const canvas = el("canvas", { width: picture.width, height: picture.height });
  const context = canvas.getContext("2d");
  context.drawImage(picture, 0, 0);
  context.globalAlpha = byId("veil").classList.contains("heat") ? 0.75 : 1;
  context.drawImage(byId("veil"), 0, 0);
  context.globalAlpha = 1;
  if (state.box) {
    const [top, left, bottom, right] = state.box;
    context.fillStyle = state.fill === "black" || state.fill === "white" ? state.fill : "#808080";
    context.fillRect(left, top, right - left, bottom - top);
  }
  return canvas;
}

const overImage = () => `${veilWords()}${state.box ? ", with the occluder" : ""}`;

function pictures() {
  const found = [{ src: source(stagePicture()), title: state.look.name, note: overImage(), smooth: true }];
  if (state.layer === null) return found;
  found.push({ src: source(byId("unit-map")), title: "Map", note: byId("map-caption").textContent });
  for (const node of byId("unit-pictures").children) {
    const [canvas, caption] = node.children;
    if (canvas.width > 1) found.push({ src: source(canvas), title: caption.firstChild.textContent, note: caption.lastChild.textContent });
  }
  return found;
}

/** Adds what is on the screen. */
export function pin() {
  if (!state.look) return;
  const unit = state.projected?.unit ?? unitOf();
  const answer = state.occluded?.answer ?? state.withoutAnswer?.answer ?? state.look.answer;
  const lines = [];
  if (unit && state.projected) lines.push(`${byId("unit-facts").textContent}, ${rules()}`);
  if (state.box) lines.push(`Occluder (top, left, bottom, right): ${state.box.join(", ")}, ${state.fill}`);
  if (removed().length) lines.push(`Without ${removed().join(", ")} (${state.to} in their place)`);
  if (state.veil === "sweep" && sweepOf()) lines.push(`Occluded everywhere: ${legendWords()}`);
  findings.push({
    title: unit ?? state.look.name, image: state.look.name, lines, pictures: pictures(), answer,
    command: state.projected ? byId("command").textContent : "", place: location.hash,
  });
  refresh();
  byId("pin").textContent = "Added";
  setTimeout(() => { byId("pin").textContent = "Add to report"; }, 1500);
  say(`Added to the report: ${findings.length}`);
}

function refresh() {
  byId("report-button").textContent = findings.length ? `Report ${findings.length}` : "Report";
  byId("report-note").textContent = findings.length
    ? "One page of its own, with its pictures; it opens anywhere."
    : "Nothing yet. “Add to report” (p) keeps what is on the screen.";
  byId("save").disabled = !findings.length;
  byId("findings").replaceChildren(...findings.map((one, at) => {
    const away = el("button", { type: "button", class: "button small", "aria-label": `take ${one.title} out of the report` }, "Take out");
    away.addEventListener("click", () => {
      findings.splice(at, 1);
      refresh();
    });
    const picture = el("img", { alt: "", width: 40, height: 40 });
    picture.src = one.pictures.at(one.pictures.length > 3 ? 3 : 0).src;
    return el("li", {}, picture, el("span", {}, el("b", {}, one.title), ` in ${one.image}`), away);
  }));
}

export function openReport() {
  refresh();
  byId("report").showModal();
}

// ---- the page ---------------------------------------------------------------------------------------------

/** The report as a document's text. */
export function written() {
  const page = document.implementation.createHTMLDocument(`${state.hello.title} · what was found`);
  const meta = (attributes) => page.head.prepend(make("meta", attributes));
  const make = (tag, attributes = {}, ...children) => {
    const node = page.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.append(...children);
    return node;
  };
  meta({ name: "viewport", content: "width=device-width, initial-scale=1" });
  meta({ "http-equiv": "Content-Security-Policy", content: "default-src 'none'; img-src data:; style-src 'unsafe-inline'" });
  meta({ charset: "utf-8" });
  page.documentElement.lang = "en";
  const about = Object.entries(state.hello.about).flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]);
  page.body.append(make("main", {}, make("p", { class: "quiet" }, `Convscope, ${new Date().toISOString().slice(0, 10)}`),
    make("h1", {}, state.hello.title), make("dl", {}, ...about), ...findings.map((one) => section(make, one))));
  const text = page.documentElement.outerHTML.replace("</head>", () => `<style>${STYLE}</style></head>`);
  return `<!doctype html>\n${text}`;
}

function section(make, one) {
  const shown = one.pictures.map(({ src, title, note, smooth }) =>
    make("figure", {}, make("img", { src, alt: title, ...(smooth ? { class: "smooth" } : {}) }),
      make("figcaption", {}, make("b", {}, title), note)));
  const write = one.answer.quantity === "probability" ? percent : figure;
  const rows = one.answer.bars.map((bar) =>
    make("tr", {}, make("td", {}, bar.name), make("td", {}, write(bar.value)), make("td", {}, write(bar.base))));
  const table = make("table", {}, make("thead", {}, make("tr", {}, make("th", {}, one.answer.quantity), make("th", {}, "now"), make("th", {}, "as it is"))),
    make("tbody", {}, ...rows));
  const again = one.command ? [make("p", {}, make("code", {}, one.command))] : [];
  return make("section", {}, make("h2", {}, one.title), make("p", { class: "quiet" }, `in ${one.image}`),
    ...one.lines.map((line) => make("p", {}, line)), make("div", { class: "pictures" }, ...shown), table, ...again);
}

export function save() {
  const link = el("a", { download: "convscope-report.html" });
  link.href = URL.createObjectURL(new Blob([written()], { type: "text/html" }));
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}
