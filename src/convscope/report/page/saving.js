"use strict";
/* What a reader takes away: a unit's pictures with a caption, its address, a sentence to cite it by,
   and the names given to units. */

convscope.saving = (() => {
  const { shown, byId, unitName } = convscope;
  const { figure } = convscope.drawing;
  const SIDE = 224; // pixels of a picture on the saved one

  function download(name, blob) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  }

  const fileName = (text, kind) => `${text.replace(/[^\w.-]+/g, "-")}.${kind}`;

  async function sheetOf(unit) {
    const image = new Image();
    image.src = unit.url;
    await image.decode();
    return image;
  }

  function caption(name) {
    const { title, images } = convscope.atlas;
    const given = convscope.notes.of(name).name;
    const strongest = figure(shown.found.find(Boolean)?.value ?? null);
    return [`${name}${given ? `  “${given}”` : ""}`,
      `${title}: the ${shown.kind}s of its ${shown.found.filter(Boolean).length} strongest images of ${images}; strongest activation ${strongest}. Convscope`];
  }

  /** The pictures that are on the screen, three in a row, with what they are below. */
  async function savePicture() {
    const { unit, layer, kind, found } = shown;
    const name = unitName(layer, shown.route.channel);
    const sheet = await sheetOf(unit);
    const rows = Math.ceil(found.length / 3);
    const [gap, foot] = [6, 84];
    const canvas = document.createElement("canvas");
    canvas.width = 3 * SIDE + 4 * gap;
    canvas.height = rows * SIDE + (rows + 1) * gap + foot;
    const pen = canvas.getContext("2d");
    pen.fillStyle = "#fff";
    pen.fillRect(0, 0, canvas.width, canvas.height);
    pen.imageSmoothingEnabled = !byId("map").classList.contains("coarse");
    pen.imageSmoothingQuality = "high";
    const { columns, [kind]: start } = convscope.atlas.unit;
    const cell = sheet.naturalWidth / columns;
    const contrast = kind === "projection" ? byId("bench").style.getPropertyValue("--contrast") : 1;
    pen.filter = `contrast(${contrast})`;
    found.forEach((one, rank) => {
      if (!one) return;
      const at = start + rank;
      pen.drawImage(sheet, (at % columns) * cell, Math.floor(at / columns) * cell, cell, cell,
        gap + (rank % 3) * (SIDE + gap), gap + Math.floor(rank / 3) * (SIDE + gap), SIDE, SIDE);
    });
    pen.filter = "none";
    pen.fillStyle = "#1f1d1a";
    const [heading, rest] = caption(name);
    const below = rows * (SIDE + gap) + gap;
    pen.font = "600 20px sans-serif";
    pen.fillText(heading, gap + 4, below + 30, canvas.width - 2 * gap - 8);
    pen.font = "13px sans-serif";
    pen.fillText(rest, gap + 4, below + 56, canvas.width - 2 * gap - 8);
    const blob = await new Promise((resolve) => { canvas.toBlob(resolve, "image/png"); });
    download(fileName(name, "png"), blob);
    return "Saved";
  }

  function saveNames() {
    download("names.json", new Blob([convscope.notes.exported()], { type: "application/json" }));
    return "Saved";
  }

  async function copied(text, words) {
    try {
      await navigator.clipboard.writeText(text);
      return "Copied";
    } catch {
      const place = words ?? byId("cited");
      place.hidden = false;
      getSelection().selectAllChildren(place); // then Ctrl-C is one key away
      return "Selected";
    }
  }

  function citation() {
    const { title, version, images, command } = convscope.atlas;
    const name = unitName(shown.layer, shown.route.channel);
    return `Feature map ${name} of ${title} (${command.model}), its strongest activations among ${images} images of ` +
      `${command.data}, projected by ${convscope.atlas.rules} (Zeiler and Fergus 2014). Atlas made by Convscope ${version}.`;
  }

  function cite() {
    byId("cited").hidden = false;
    byId("cited").textContent = citation();
    return copied(citation());
  }

  function copyLink() {
    byId("cited").textContent = location.href;
    return copied(location.href);
  }

  return { savePicture, saveNames, copied, cite, copyLink };
})();
