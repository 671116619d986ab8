/* Browsers start no worker from a page that was opened by double-click. There the search's worker
   runs in a hidden frame of the page instead. Zensical takes a script from afar for this; `make
   site` puts this one in its place, so that the site needs nothing but itself. */
if (location.protocol === "file:") {
  window.Worker = class {
    onmessage = null;
    #frame = document.createElement("iframe");
    #loaded;

    constructor(address) {
      this.#frame.hidden = true;
      document.body.append(this.#frame);
      const inside = this.#frame.contentWindow;
      inside.postMessage = (given) => {
        const data = structuredClone(given); // as between a page and its worker: nothing is shared
        setTimeout(() => this.onmessage?.({ data }));
      };
      this.#loaded = new Promise((ready) => {
        const script = inside.document.createElement("script");
        script.src = new URL(address, location);
        script.onload = ready;
        inside.document.documentElement.append(script);
      });
    }

    async postMessage(given) {
      const data = structuredClone(given);
      await this.#loaded;
      const inside = this.#frame.contentWindow;
      inside?.dispatchEvent(new inside.MessageEvent("message", { data }));
    }

    terminate() {
      this.#frame.remove();
    }
  };
}
