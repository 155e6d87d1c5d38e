/** The player page: one stream, played for as long as somebody looks. */

import { element, endpoint, showFacts } from "./dom.js";
import { explain, ServerError } from "./session.js";
import {
  formatBitrate,
  formatLoss,
  formatMilliseconds,
  formatPicture,
  StatsMeter,
} from "./stats.js";
import { WhepSession } from "./whep.js";

const READ_MS = 500;
// Without a packet for this long, nobody publishes.
const SILENCE_MS = 2_500;
const FIRST_RETRY_MS = 1_000;
const LONGEST_RETRY_MS = 15_000;
const POINTER_REST_MS = 2_500;

const parameters = new URLSearchParams(location.search);
const streamName = parameters.get("id");
const token = parameters.get("token");
// reconnect=<ms>: wait that long each time, 0: never; without it, longer and longer.
const fixedRetryMs = Number.parseInt(parameters.get("reconnect"), 10);

const video = element("video");

// What is going on: null, or one wish to watch, until Stop ends it.
let watching = null;

/** From Play to Stop: one WHEP session after the other. */
class Watching {
  #session = null;
  #timer = null;
  #retries = 0;
  #stopped = false;

  async connect() {
    showMessage("Connecting", { isBusy: true });
    const session = new WhepSession(endpoint("whep", streamName), { token });
    this.#session = session;
    session.addEventListener("statechange", () => this.#follow(session));
    session.addEventListener("track", () => this.#show(session));
    try {
      await session.start();
    } catch (error) {
      this.#refused(error);
    }
  }

  /** Try again now, if a wait is all that is going on. */
  hurry() {
    if (this.#timer === null) return;
    clearTimeout(this.#timer);
    this.#timer = null;
    void this.connect();
  }

  stop() {
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#session?.stop();
    video.srcObject = null;
  }

  #follow(session) {
    if (this.#stopped) return;
    if (session.state === "connected") void this.#observe(session);
    if (session.state !== "ended" || session.reason === "stopped") return;
    this.#retry(explain(session.reason));
  }

  // The last picture of the session before stays until the new one has something.
  #show(session) {
    if (this.#stopped || session !== this.#session) return;
    if (video.srcObject !== session.stream) video.srcObject = session.stream;
    void playVideo();
  }

  #refused(error) {
    if (this.#stopped) return;
    if (error instanceof ServerError && error.isTemporary) {
      this.#retry(error.message, error.retryAfterMs);
    } else if (error instanceof TypeError) {
      // What fetch() throws when no answer comes at all.
      this.#retry("The server does not answer");
    } else {
      giveUp(this, error);
    }
  }

  #retry(text, atLeastMs = 0) {
    if (fixedRetryMs === 0) return giveUp(this, new Error(text));
    const backOff = Math.min(FIRST_RETRY_MS * 2 ** this.#retries, LONGEST_RETRY_MS);
    // Spread, so that a crowd does not return in the same instant.
    const wait = fixedRetryMs || backOff * (0.8 + 0.4 * Math.random());
    this.#retries += 1;
    showMessage(`${text.replace(/\.$/, "")}. Trying again…`, { isBusy: true });
    this.#timer = setTimeout(() => this.hurry(), Math.max(wait, atLeastMs));
  }

  async #observe(session) {
    const meter = new StatsMeter(session.connection, "inbound");
    let bytes = 0;
    let heard = -Infinity;
    while (session.state === "connected" || session.state === "connecting") {
      const reading = await meter.read();
      if (this.#stopped || session.state === "ended") return;
      const total = (reading.audio?.bytes ?? 0) + (reading.video?.bytes ?? 0);
      if (total > bytes) heard = performance.now();
      bytes = total;
      const hasMedia = performance.now() - heard < SILENCE_MS;
      if (hasMedia) this.#retries = 0;
      showMessage(describe(reading, hasMedia), { isBusy: !hasMedia });
      showStats(reading, session);
      await new Promise((resolve) => setTimeout(resolve, READ_MS));
    }
  }
}

function describe({ audio, video: picture }, hasMedia) {
  if (!hasMedia) return "Waiting for the publisher";
  if (!picture?.bytes) return audio?.bytes ? "Sound only" : "";
  return picture.frames === 0 ? "Waiting for the first picture" : "";
}

async function playVideo() {
  try {
    await video.play();
  } catch (error) {
    // AbortError: another track came and play() is called again.
    if (error.name !== "NotAllowedError") return;
    if (video.muted) return offerPlay("");
    // Sound wants a click first: the picture need not wait for it.
    video.muted = true;
    void playVideo();
  }
}

function play() {
  showError(null);
  element("play").hidden = true;
  element("stop").hidden = false;
  // The session is there already and only the browser held the picture back.
  if (watching) return void playVideo();
  watching = new Watching();
  void watching.connect();
}

function stop() {
  watching?.stop();
  watching = null;
  element("stop").hidden = true;
  element("stats").replaceChildren();
}

function giveUp(failed, error) {
  if (watching !== failed) return;
  stop();
  offerPlay("", "Try again");
  showError(error);
}

function offerPlay(message, label = "Play") {
  showMessage(message);
  element("play").textContent = label;
  element("play").hidden = false;
}

function showMessage(text, { isBusy = false } = {}) {
  const message = element("message");
  // Written only when it changes: screen readers read every write aloud.
  if (message.textContent !== text) message.textContent = text;
  element("spinner").hidden = !isBusy;
  element("player").classList.toggle("is-watching", watching !== null && text === "");
}

function showError(error) {
  element("error").hidden = error === null;
  element("error").textContent = error?.message ?? "";
}

function showStats({ audio, video: picture, roundTripMs }, session) {
  if (element("stats").hidden) return;
  showFacts(element("stats"), [
    ["Stream", streamName],
    ["Connection", session.connection.connectionState],
    ["Round trip", formatMilliseconds(roundTripMs)],
    ["Video", picture && `${picture.codec ?? "–"}, ${formatBitrate(picture.bitrate)}`],
    ["Format", picture?.format ?? null],
    ["Picture", picture && formatPicture(picture)],
    ["Frames", picture && `${picture.frames}, ${picture.keyFrames} key, ${picture.framesDropped} dropped`],
    ["Freezes", picture && String(picture.freezes)],
    ["Video buffer", picture && formatMilliseconds(picture.bufferMs)],
    ["Video lost", picture && formatLoss(picture)],
    ["Asked again", picture && `${picture.retransmissions} NACK, ${picture.keyFrameRequests} PLI`],
    ["Audio", audio && `${audio.codec ?? "–"}, ${formatBitrate(audio.bitrate)}`],
    ["Audio buffer", audio && formatMilliseconds(audio.bufferMs)],
    ["Audio lost", audio && formatLoss(audio)],
  ]);
}

function showSound() {
  element("unmute").hidden = !video.muted || video.controls;
}

// Buttons fade while the pointer rests on a running picture.
function watchPointer() {
  let timer = null;
  const classes = element("player").classList;
  const rest = () => classes.add("is-quiet");
  const wake = () => {
    classes.remove("is-quiet");
    clearTimeout(timer);
    timer = setTimeout(rest, POINTER_REST_MS);
  };
  addEventListener("pointermove", wake);
  addEventListener("pointerdown", wake);
  timer = setTimeout(rest, POINTER_REST_MS);
}

function connectButtons() {
  element("play").addEventListener("click", play);
  element("stop").addEventListener("click", () => {
    stop();
    offerPlay("Stopped");
  });
  element("unmute").addEventListener("click", () => {
    video.muted = false;
    void playVideo();
  });
  element("nerds").addEventListener("click", ({ currentTarget }) => {
    const stats = element("stats");
    stats.hidden = !stats.hidden;
    currentTarget.setAttribute("aria-pressed", String(!stats.hidden));
  });
  element("fullscreen").hidden = !document.fullscreenEnabled;
  element("fullscreen").addEventListener("click", () => {
    if (document.fullscreenElement) void document.exitFullscreen();
    else void element("player").requestFullscreen();
  });
  video.addEventListener("volumechange", showSound);
}

function begin() {
  connectButtons();
  watchPointer();
  if (!streamName) {
    element("buttons").hidden = true;
    element("choose").hidden = false;
    element("choose").addEventListener("submit", (event) => {
      event.preventDefault();
      parameters.set("id", element("stream").value.trim());
      location.search = parameters;
    });
    return;
  }
  document.title = `${streamName} · live777py`;
  element("title").textContent = streamName;
  video.controls = parameters.has("controls");
  video.muted = parameters.has("muted");
  showSound();
  addEventListener("online", () => watching?.hurry());
  addEventListener("pagehide", stop);
  // Back from the browser's cache of whole pages, where the session has ended.
  addEventListener("pageshow", ({ persisted }) => persisted && location.reload());
  if (parameters.has("autoplay")) play();
  else offerPlay("");
}

begin();
