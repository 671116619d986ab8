/* The way to the server: questions over one socket, answers as frames with their pixels.

   ask({do: ...}, {slot, each}) is a promise of the first reply, `[header, parts]`; `each` is called
   with every reply. A question with a slot takes the place of the one before it, which is cancelled
   there and rejected here as Superseded. */

export class Superseded extends Error {}
export class Lost extends Error {}

const waiting = new Map(); // id -> {resolve, reject, each, slot}
const slots = new Map(); // slot -> id
const decoder = new TextDecoder();
let socket = null;
let number = 0;
let pause = 250;
let onState = () => {};

/** Keeps a connection; `listener(event, hello)` hears ready, restarting, failed, lost. */
export function connect(listener) {
  onState = listener;
  const place = new URL("socket", location.href);
  place.protocol = "ws:";
  socket = new WebSocket(place);
  socket.binaryType = "arraybuffer";
  socket.addEventListener("open", () => { pause = 250; });
  socket.addEventListener("message", ({ data }) => receive(data));
  socket.addEventListener("close", () => {
    for (const [id, one] of waiting) settle(id, one, new Lost("the server does not answer"));
    onState("lost");
    setTimeout(() => connect(onState), pause);
    pause = Math.min(2 * pause, 5000);
  });
}

function receive(data) {
  const length = new DataView(data).getUint32(0, true);
  const header = JSON.parse(decoder.decode(new Uint8Array(data, 4, length)));
  let at = 4 + length;
  const parts = header.parts.map((size) => {
    const part = new Uint8Array(data, at, size);
    at += size;
    return part;
  });
  if (header.event) onState(header.event, header.hello);
  else if (waiting.has(header.id)) take(header, parts);
}

function take(header, parts) {
  const one = waiting.get(header.id);
  if (header.error) settle(header.id, one, new Error(header.error));
  else if (header.cancelled) settle(header.id, one, new Superseded());
  else if (header.done) settle(header.id, one, null);
  else {
    one.each?.(header, parts);
    one.resolve([header, parts]);
  }
}

function settle(id, one, error) {
  waiting.delete(id);
  if (slots.get(one.slot) === id) slots.delete(one.slot);
  if (error) one.reject(error);
  one.ended?.(error);
}

export function ask(question, { slot, each, ended } = {}) {
  if (slot !== undefined) drop(slot);
  return new Promise((resolve, reject) => {
    if (socket?.readyState !== WebSocket.OPEN) {
      reject(new Lost("the server does not answer"));
      return;
    }
    const id = ++number;
    waiting.set(id, { resolve, reject, each, ended, slot });
    if (slot !== undefined) slots.set(slot, id);
    socket.send(JSON.stringify({ ...question, id, slot }));
  });
}

/** Stops what is computed for a slot. */
export function drop(slot) {
  const id = slots.get(slot);
  if (id === undefined) return;
  settle(id, waiting.get(id), new Superseded());
  if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ do: "cancel", id }));
}

/** Only the newest question of its kind waits while one is answered: for what moves. */
export function newest(work) {
  let running = false;
  let next = null;
  return async function run(...given) {
    if (running) {
      next = given;
      return;
    }
    running = true;
    try {
      await work(...given);
    } finally {
      running = false;
      const then = next;
      next = null;
      if (then) run(...then);
    }
  };
}

export function restart() {
  socket.send(JSON.stringify({ do: "restart", id: ++number }));
}

/** Gives the server an image's file; {key, name, notes} comes back. */
export async function upload(file, name) {
  let answer;
  try {
    answer = await fetch(`images?name=${encodeURIComponent(name)}`, { method: "POST", body: file });
  } catch {
    throw new Lost("the server does not answer");
  }
  const found = await answer.json();
  if (!answer.ok) throw new Error(found.error);
  return found;
}
