/* Images: dropped, pasted, chosen, photographed, or taken from the data. */

import { byId, el, paintColour } from "./draw.js";
import { ask, upload } from "./link.js";
import { emit, go, on, state } from "./state.js";

const PAGE = 36;
const own = new Map(); // address -> {name, file}: what was dropped in this tab
let listed = 0;
let photographs = 0;

/** Takes files in and looks at the first that can be read. */
export async function take(files) {
  const failed = [];
  let first = null;
  for (const file of files) {
    try {
      const { key, name } = await upload(file, file.name || "pasted.png");
      const image = `k${key}`;
      own.set(image, { name, file });
      first ??= image;
      if (first === image) go({ image });
      addThumbnail(image, name, file);
    } catch (error) {
      failed.push(error.message);
    }
  }
  if (failed.length) tell(failed.join(" · "));
}

function addThumbnail(image, name, file) {
  if (byId("thumbs").querySelector(`[data-image="${CSS.escape(image)}"]`)) return;
  const picture = el("img", { alt: "", width: 56, height: 56 });
  picture.src = URL.createObjectURL(file);
  byId("thumbs").prepend(thumb(image, name, picture));
  mark();
}

function thumb(image, name, picture) {
  const button = el("button", {
    type: "button", class: "thumb", "data-image": image, "aria-label": name, title: name,
  }, picture);
  button.addEventListener("click", () => go({ image }));
  return button;
}

function mark() {
  for (const one of document.querySelectorAll(".thumb")) {
    one.toggleAttribute("aria-current", one.dataset.image === state.image);
  }
}

/** Gives a server that has not this picture (it was started anew) the file again; false where this
    tab has it not. */
export async function giveAgain(image) {
  const there = own.get(image);
  if (there) await upload(there.file, there.name);
  return Boolean(there);
}

// ---- the data ---------------------------------------------------------------------------------

export async function list({ more = false } = {}) {
  if (!state.hello.data) return;
  byId("data").hidden = false;
  const start = more ? listed : 0;
  const find = byId("find").value;
  const question = { do: "names", start, count: PAGE, find };
  const [{ images, more: count }] = await ask(question, { slot: "names" });
  const place = byId("data-thumbs");
  if (!more) place.replaceChildren();
  listed = start + images.length;
  for (const { index, name, label } of images) {
    const canvas = el("canvas", { width: 1, height: 1 });
    place.append(thumb(`d${index}`, label ? `${name}, ${label}` : name, canvas));
  }
  if (!images.length && !more) place.append(el("p", { class: "quiet" }, "none of that name"));
  byId("more").hidden = listed >= count;
  mark();
  const indices = images.map(({ index }) => index);
  ask({ do: "thumbnails", indices }, { slot: "thumbnails", each: fill }).catch(() => {});
}

function fill({ index, size, unreadable }, [pixels]) {
  const one = byId("data-thumbs").querySelector(`[data-image="d${index}"]`);
  if (!one) return;
  if (unreadable) {
    one.disabled = true;
    one.title = unreadable;
  } else paintColour(one.firstChild, size, pixels);
}

// ---- ways in ----------------------------------------------------------------------------------

const pictures = (transfer) => [...(transfer?.files ?? [])];

export function begin() {
  on("image", mark);
  byId("file").addEventListener("change", ({ target }) => {
    take([...target.files]);
    target.value = "";
  });
  document.addEventListener("paste", (event) => {
    const files = pictures(event.clipboardData);
    if (files.length) take(files);
  });
  let depth = 0;
  const over = (step) => {
    depth = Math.max(0, depth + step);
    byId("drop").hidden = depth === 0;
  };
  document.addEventListener("dragenter", (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    over(1);
  });
  document.addEventListener("dragleave", () => over(-1));
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    over(-depth);
    take(pictures(event.dataTransfer));
  });
  let pause;
  byId("find").addEventListener("input", () => {
    clearTimeout(pause);
    pause = setTimeout(() => list().catch(() => {}), 150);
  });
}

/** What the clipboard holds, where the browser lets a page ask; else the words to do it. */
export async function paste() {
  try {
    for (const item of await navigator.clipboard.read()) {
      const kind = item.types.find((type) => type.startsWith("image/"));
      if (kind) {
        take([new File([await item.getType(kind)], `pasted.${kind.slice(6)}`)]);
        return;
      }
    }
    tell("The clipboard holds no picture");
  } catch {
    tell("Press Ctrl V to paste");
  }
}

function tell(problem) {
  state.problem = problem;
  emit("problem");
}

// ---- the camera -------------------------------------------------------------------------------

export async function openCamera() {
  const dialog = byId("camera");
  const video = byId("video");
  dialog.showModal();
  byId("shoot").disabled = true;
  const stop = () => {
    for (const track of video.srcObject?.getTracks() ?? []) track.stop();
    video.srcObject = null;
  };
  dialog.addEventListener("close", stop, { once: true });
  try {
    video.srcObject = await navigator.mediaDevices.getUserMedia({ video: true });
    if (!dialog.open) stop();
    if (!video.videoWidth) await new Promise((seen) => video.addEventListener("loadeddata", seen, { once: true }));
    byId("shoot").disabled = false;
    byId("camera-note").textContent = "The picture stays on this machine.";
  } catch (error) {
    byId("camera-note").textContent = `No camera: ${error.message}`;
  }
}

export async function shoot() {
  const video = byId("video");
  const canvas = el("canvas", { width: video.videoWidth, height: video.videoHeight });
  canvas.getContext("2d").drawImage(video, 0, 0);
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  byId("camera").close();
  photographs += 1;
  take([new File([blob], photographs === 1 ? "camera.png" : `camera-${photographs}.png`)]);
}
