/** The publish page: a source, a WHIP session and what there is to see of them. */

import { element, endpoint, showFacts, toolPage } from "./dom.js";
import { explain, ServerError } from "./session.js";
import { openSource } from "./sources.js";
import {
  formatBitrate,
  formatDuration,
  formatLoss,
  formatMilliseconds,
  formatPicture,
  StatsMeter,
} from "./stats.js";
import { sendableCodecs, WhipSession } from "./whip.js";

const STATS_MS = 1_000;
const FIRST_RETRY_MS = 1_000;
const LONGEST_RETRY_MS = 15_000;

const DEFAULT_SOUNDS = {
  camera: "Default microphone",
  screen: "The screen's own, or the microphone",
  pattern: "A beep every second",
};

const parameters = new URLSearchParams(location.search);

// What is going on: null, or one attempt to be on the air, until Stop ends it.
let broadcast = null;

/** From Start to Stop: one source, and one WHIP session after the other. */
class Broadcast {
  #choice;
  #source = null;
  #session = null;
  #timer = null;
  #retries = 0;
  #stopped = false;

  constructor(choice) {
    this.#choice = choice;
  }

  async start() {
    showState("busy", "Opening the source");
    const source = await openSource(this.#choice);
    if (this.#stopped) return source.close();
    this.#source = source;
    for (const track of source.stream.getTracks()) {
      track.addEventListener("ended", () => {
        fail(this, new Error(`The source has ended (${track.label || track.kind}).`));
      });
    }
    showPreview(source.stream);
    void listDevices();
    await this.#connect();
  }

  stop() {
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#session?.stop();
    this.#source?.close();
    showPreview(null);
  }

  async #connect() {
    showState("busy", "Connecting");
    const { stream, ...options } = this.#choice;
    const session = new WhipSession(endpoint("whip", stream), this.#source.stream, options);
    this.#session = session;
    session.addEventListener("statechange", () => this.#follow(session));
    await session.start();
  }

  #follow(session) {
    if (this.#stopped) return;
    if (session.state === "connected") {
      this.#retries = 0;
      showError(null);
      showState("live", "On air");
      void this.#report(session);
    } else if (session.reason === "closed") {
      fail(this, new Error(explain("closed")));
    } else if (session.state === "ended" && session.reason !== "stopped") {
      showError(new Error(explain(session.reason)));
      this.#retry();
    }
  }

  // The stream goes on by itself after a break in the network, as from OBS.
  #retry(after = 0) {
    const backOff = Math.min(FIRST_RETRY_MS * 2 ** this.#retries, LONGEST_RETRY_MS);
    this.#retries += 1;
    showState("busy", "Trying again");
    this.#timer = setTimeout(
      () => this.#connect().catch((error) => this.#retryOrFail(error)),
      Math.max(after, backOff),
    );
  }

  #retryOrFail(error) {
    if (this.#stopped) return;
    if (error instanceof ServerError && error.isTemporary) {
      showError(error);
      this.#retry(error.retryAfterMs);
    } else if (error instanceof TypeError) {
      showError(clarify(error));
      this.#retry();
    } else {
      fail(this, error);
    }
  }

  async #report(session) {
    const begun = Date.now();
    const meter = new StatsMeter(session.connection, "outbound");
    while (session.state === "connected" || session.state === "connecting") {
      const reading = await meter.read();
      if (this.#stopped) return;
      showReading(reading, Date.now() - begun);
      await new Promise((resolve) => setTimeout(resolve, STATS_MS));
    }
  }
}

function fail(failed, error) {
  if (broadcast !== failed) return;
  stop();
  showError(error);
}

function start() {
  showError(null);
  const attempt = new Broadcast(readChoice());
  broadcast = attempt;
  showRunning(true);
  attempt.start().catch((error) => fail(attempt, clarify(error)));
}

// What fetch() throws when no answer comes at all is said differently by each browser.
function clarify(error) {
  return error instanceof TypeError ? new Error("The server does not answer.") : error;
}

function stop() {
  broadcast?.stop();
  broadcast = null;
  showRunning(false);
  showState("idle", "Ready");
}

function chosenSource() {
  return document.querySelector('input[name="source"]:checked').value;
}

function readChoice() {
  const source = chosenSource();
  const [width, height] = element("size").value.split("x").map(Number);
  const stream = element("stream").value.trim();
  return {
    stream,
    source,
    label: stream,
    size: height ? { width, height } : null,
    camera: element("camera").value,
    microphone: element("microphone").value,
    stereo: element("stereo").checked,
    videoCodec: element("vcodec").value || null,
    audioCodec: element("acodec").value || null,
    maxBitrate: Number(element("bitrate").value) || null,
    token: element("token").value.trim() || null,
  };
}

function showRunning(isRunning) {
  element("fields").disabled = isRunning;
  const toggle = element("toggle");
  toggle.textContent = isRunning ? "Stop" : "Start";
  toggle.className = isRunning ? "danger" : "primary";
  const watch = element("watch");
  watch.hidden = !isRunning;
  const token = element("token").value.trim();
  const id = element("stream").value.trim();
  watch.href = toolPage("player", { id, token }, ["autoplay", "muted"]);
  if (!isRunning) {
    element("duration").textContent = "";
    showFacts(element("facts"), []);
  }
}

function showState(state, text) {
  const badge = element("state");
  badge.dataset.state = state;
  badge.textContent = text;
  document.title = `${state === "live" ? "● " : ""}Publish · live777py`;
}

function showError(error) {
  element("error").hidden = error === null;
  element("error").textContent = error?.message ?? "";
}

function showPreview(stream) {
  element("preview").srcObject = stream;
  element("preview-empty").hidden = stream !== null;
  element("preview").parentElement.classList.toggle("is-on", stream !== null);
}

function showReading({ video, audio, roundTripMs }, elapsedMs) {
  element("duration").textContent = formatDuration(elapsedMs);
  const held = { bandwidth: "by the network", cpu: "by this computer" };
  showFacts(element("facts"), [
    ["Video", video && `${video.codec ?? "–"}, ${formatBitrate(video.bitrate)}`],
    ["Picture", video && formatPicture(video)],
    ["Audio", audio && `${audio.codec ?? "–"}, ${formatBitrate(audio.bitrate)}`],
    ["Held back", held[video?.limitation] ?? null],
    ["Lost packets", video && formatLoss(video)],
    ["Round trip", roundTripMs === null ? null : formatMilliseconds(roundTripMs)],
  ]);
}

// Names of devices are told only after the first permission, so this is run again.
async function listDevices() {
  const devices = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
  fillDevices("camera", devices.filter(({ kind }) => kind === "videoinput"));
  fillDevices("microphone", devices.filter(({ kind }) => kind === "audioinput"));
}

function fillDevices(id, devices) {
  const select = element(id);
  const chosen = select.value;
  const fixed = [...select.options].filter(({ value }) => !value || value === "none");
  const named = devices
    .filter(({ deviceId, label }) => deviceId && deviceId !== "default" && label)
    .map(({ deviceId, label }) => new Option(label, deviceId));
  select.replaceChildren(...fixed, ...named);
  select.value = [...select.options].some(({ value }) => value === chosen) ? chosen : "";
  showSource();
}

function fillCodecs(id, kind, wanted) {
  const select = element(id);
  const names = sendableCodecs(kind);
  select.append(...names.map((name) => new Option(name, name)));
  if (!wanted) return;
  const known = names.find((name) => name.toLowerCase() === wanted.toLowerCase());
  // Unknown names stay selectable: starting then says what is wrong with them.
  if (!known) select.append(new Option(`${wanted} (not here)`, wanted));
  select.value = known ?? wanted;
}

function showSource() {
  const source = chosenSource();
  element("camera-field").hidden = source !== "camera";
  element("stereo-field").hidden = source === "pattern";
  const microphone = element("microphone");
  microphone.options[0].textContent = DEFAULT_SOUNDS[source];
  if (source === "pattern" && microphone.value !== "none") microphone.value = "";
  for (const option of microphone.options) {
    option.hidden = source === "pattern" && option.value !== "" && option.value !== "none";
  }
}

function fillFromAddress() {
  element("stream").value = parameters.get("id") ?? "cam";
  element("token").value = parameters.get("token") ?? "";
  const source = parameters.get("source");
  for (const radio of document.querySelectorAll('input[name="source"]')) {
    if (radio.value === source) radio.checked = true;
  }
  fillCodecs("vcodec", "video", parameters.get("vcodec"));
  fillCodecs("acodec", "audio", parameters.get("acodec"));
  showSource();
}

element("settings").addEventListener("submit", (event) => {
  event.preventDefault();
  if (broadcast) stop();
  else start();
});
element("settings").addEventListener("change", showSource);
navigator.mediaDevices?.addEventListener("devicechange", () => void listDevices());
addEventListener("pagehide", stop);

fillFromAddress();
void listDevices();
if (parameters.has("autostart")) start();
