// What comes from the session, and what is asked of it.

const HEADER = { "x-physioedge": "1" };

/** Listen to the session; `on` has hello, tick, lost and bye. */
export function listen(on) {
  const events = new EventSource("/events");
  const parsed = (event) => JSON.parse(event.data);
  events.addEventListener("hello", (event) => on.hello(parsed(event)));
  events.addEventListener("tick", (event) => on.tick(parsed(event)));
  for (const last of ["bye", "full"]) {
    events.addEventListener(last, (event) => {
      events.close();
      on.bye(parsed(event).text);
    });
  }
  events.onerror = () => on.lost(events.readyState === EventSource.CLOSED);
}

/** Ask for an action; gives {done, text}. */
export async function act(action, value) {
  const body = value === undefined ? undefined : JSON.stringify({ value });
  try {
    const answer = await fetch(`/actions/${action}`, { method: "POST", headers: HEADER, body });
    return await answer.json();
  } catch {
    return { done: false, text: "The session does not answer. Is physioedge view still running?" };
  }
}

/** Samples of a piece: one Float32Array a channel. */
export function unpacked(piece, channels) {
  const text = atob(piece.samples);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i += 1) bytes[i] = text.charCodeAt(i);
  const view = new DataView(bytes.buffer);
  return Array.from({ length: channels }, (_, channel) => {
    const out = new Float32Array(piece.n);
    for (let i = 0; i < piece.n; i += 1) out[i] = view.getFloat32(4 * (channel * piece.n + i), true);
    return out;
  });
}
