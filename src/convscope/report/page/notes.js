"use strict";
/* What the reader stars and names. It is kept by the browser, for this atlas; names that came with
   the atlas (convscope atlas --names) are there from the start. Exported, it is one JSON file:
   {"units": {"conv5/12": {"name": "dog heads", "star": true}}}. */

convscope.notes = (() => {
  const NOTHING = { name: "", star: false };
  let units = {};
  const key = () => `convscope-names:${convscope.atlas.identity}`;

  function open() {
    units = { ...convscope.atlas.names };
    try {
      Object.assign(units, JSON.parse(localStorage.getItem(key()) ?? "{}"));
    } catch {
      // Storage may be closed to files; what is starred then lasts as long as the page.
    }
  }

  const of = (unit) => (Object.hasOwn(units, unit) ? { ...NOTHING, ...units[unit] } : NOTHING);

  function set(unit, change) {
    units[unit] = { ...of(unit), ...change };
    try {
      localStorage.setItem(key(), JSON.stringify(units));
    } catch {
      // as above
    }
    document.dispatchEvent(new CustomEvent("convscope:notes"));
  }

  /** [unit, note] of all that have a star or a name. */
  const all = () => Object.entries(units).filter(([, { name, star }]) => name || star);

  const exported = () => JSON.stringify({ units: Object.fromEntries(all()) }, null, 1);

  return { open, of, set, all, exported };
})();
