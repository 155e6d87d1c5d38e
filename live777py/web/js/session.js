/**
 * What WHIP (RFC 9725) and WHEP have in common: an offer is posted, the answer comes
 * back with the URL of a session, and DELETE on that URL ends it.
 *
 * The server is ICE-lite and finds us by our connectivity checks, so the offer goes
 * out at once: no candidate is gathered for it and none is trickled.
 */

import { iceServers } from "./link.js";

const CONNECT_TIMEOUT_MS = 15_000;
// "disconnected" often heals by itself (a change of network); "failed" never does.
const DISCONNECTED_GRACE_MS = 5_000;
const DELETE_TIMEOUT_MS = 2_000;
const LONGEST_MESSAGE = 1_000;

const EXPLANATIONS = {
  closed: "The server has ended the session.",
  lost: "The connection is lost.",
  unreachable: "The server answers, but its UDP port for media cannot be reached.",
};

/** The `reason` of an ended session as a sentence. */
export function explain(reason) {
  return EXPLANATIONS[reason] ?? "";
}

/** The server said no; the message is the server's own sentence. */
export class ServerError extends Error {
  constructor(status, message, retryAfterMs = 0) {
    super(message);
    this.name = "ServerError";
    this.status = status;
    this.retryAfterMs = retryAfterMs;
  }

  /** True when the same request may succeed later. */
  get isTemporary() {
    return [404, 408, 409, 425, 429].includes(this.status) || this.status >= 500;
  }

  static async from(response) {
    const type = response.headers.get("Content-Type") ?? "";
    // A proxy's error page is of no use to anybody; the server speaks plain text.
    const body = type.startsWith("text/plain") ? (await response.text()).trim() : "";
    const status = `${response.status} ${response.statusText}`.trim();
    return new ServerError(
      response.status,
      body.slice(0, LONGEST_MESSAGE) || `The server answered ${status}`,
      retryAfter(response.headers.get("Retry-After")),
    );
  }
}

/** Retry-After (RFC 9110, section 10.2.3) in milliseconds: seconds or a date. */
export function retryAfter(value, now = Date.now()) {
  if (!value) return 0;
  const milliseconds = /^\s*\d+\s*$/.test(value)
    ? Number(value) * 1_000
    : Date.parse(value) - now;
  return Number.isFinite(milliseconds) ? Math.max(0, milliseconds) : 0;
}

/**
 * One peer connection with one session on the server.
 *
 * `start()` of a subclass adds the media and negotiates; it throws what went wrong.
 * From then on each change of `state` ("new", "connecting", "connected", "ended") is
 * a "statechange" event, and an ended session has a `reason`: "stopped" (by us),
 * "closed" (by the server), "lost" or "unreachable" (never connected). `stop()` may be
 * called at any time, twice too.
 * A session is used once.
 */
export class Session extends EventTarget {
  #endpoint;
  #token;
  #location = null;
  #timer = null;
  #hasConnected = false;

  constructor(endpoint, { token = null } = {}) {
    super();
    this.#endpoint = endpoint;
    this.#token = token;
    this.state = "new";
    this.reason = null;
    this.connection = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
  }

  /** End the session here and on the server; safe while a page is being left. */
  stop() {
    this.#end("stopped");
  }

  /** Exchange offer and answer; the two functions may edit the texts on their way. */
  async negotiate(adjustOffer = (sdp) => sdp, adjustAnswer = (sdp) => sdp) {
    this.#change("connecting");
    try {
      const offer = adjustOffer((await this.connection.createOffer()).sdp);
      const answer = await this.#post(offer);
      // Stopped while the request was under way: stop() had nothing to delete yet.
      if (this.state === "ended") return await this.#delete();
      this.#watch();
      await this.connection.setLocalDescription({ type: "offer", sdp: offer });
      await this.connection.setRemoteDescription({
        type: "answer",
        sdp: adjustAnswer(answer),
      });
      this.#watchTransport();
    } catch (error) {
      if (this.state === "ended") return;
      this.#end("stopped");
      throw error;
    }
  }

  async #post(offer) {
    const response = await fetch(this.#endpoint, {
      method: "POST",
      headers: { "Content-Type": "application/sdp", ...this.#authorization() },
      body: offer,
    });
    if (!response.ok) throw await ServerError.from(response);
    const location = response.headers.get("Location");
    if (!location) throw new Error("The server's answer names no session (Location)");
    // Relative to where the answer came from, which a redirect may have changed.
    this.#location = new URL(location, response.url).href;
    const servers = iceServers(response.headers.get("Link"));
    if (servers.length > 0 && this.state !== "ended") {
      // Before the local description is set, so that gathering begins with them.
      this.connection.setConfiguration({
        ...this.connection.getConfiguration(),
        iceServers: servers,
      });
    }
    return response.text();
  }

  async #delete() {
    if (this.#location === null) return;
    const location = this.#location;
    this.#location = null;
    try {
      // keepalive lets the request outlive the page.
      await fetch(location, {
        method: "DELETE",
        headers: this.#authorization(),
        keepalive: true,
        signal: AbortSignal.timeout(DELETE_TIMEOUT_MS),
      });
    } catch {
      // Nobody is left to tell, and the server ends an abandoned session by itself.
    }
  }

  #authorization() {
    return this.#token ? { Authorization: `Bearer ${this.#token}` } : {};
  }

  #watch() {
    this.#timer = setTimeout(() => this.#lose(), CONNECT_TIMEOUT_MS);
    this.connection.addEventListener("connectionstatechange", () => {
      const state = this.connection.connectionState;
      clearTimeout(this.#timer);
      if (state === "connected") {
        this.#hasConnected = true;
        this.#change("connected");
      } else if (state === "failed") {
        this.#lose();
      } else {
        const patience =
          state === "disconnected" ? DISCONNECTED_GRACE_MS : CONNECT_TIMEOUT_MS;
        this.#timer = setTimeout(() => this.#lose(), patience);
      }
    });
  }

  // The server's close_notify is seen on the DTLS transport first, and in some
  // browsers nowhere else.
  #watchTransport() {
    const [transceiver] = this.connection.getTransceivers();
    const transport = transceiver?.receiver.transport ?? transceiver?.sender.transport;
    transport?.addEventListener("statechange", () => {
      if (transport.state === "closed") this.#end("closed");
    });
  }

  #change(state) {
    if (this.state === state || this.state === "ended") return;
    this.state = state;
    this.dispatchEvent(new Event("statechange"));
  }

  #lose() {
    this.#end(this.#hasConnected ? "lost" : "unreachable");
  }

  #end(reason) {
    if (this.state === "ended") return;
    clearTimeout(this.#timer);
    this.reason = reason;
    this.#change("ended");
    if (reason === "closed") this.connection.close();
    // The connection goes last: its close_notify would end the session on the server
    // before the DELETE is there, which would then find nothing.
    else void this.#delete().finally(() => this.connection.close());
  }
}
