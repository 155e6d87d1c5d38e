/** The front page: what is live, and where to publish and to watch. */

import { element, enableCopying, endpoint, ROOT, toolPage } from "./dom.js";
import { ServerError } from "./session.js";
import { formatDuration } from "./stats.js";

const REFRESH_MS = 2_000;

const nameField = element("stream");
let token = new URLSearchParams(location.search).get("token");

function showAddresses() {
  const stream = nameField.value.trim() || "cam";
  const whip = endpoint("whip", stream);
  // Single quotes, for names that a shell would take apart.
  const quoted = `'${whip}'`;
  const bearer = token ? " -authorization 'TOKEN'" : "";
  element("whip-url").textContent = whip;
  element("whep-url").textContent = endpoint("whep", stream);
  element("token-hint").textContent = token ? "yours" : "leave it empty";
  element("ffmpeg-command").textContent =
    "ffmpeg -re -i input.mp4 -c:v libx264 -preset veryfast -tune zerolatency -bf 0 -g 30 " +
    `-pix_fmt yuv420p -c:a libopus -ar 48000 -ac 2 -f whip${bearer} ${quoted}`;
  element("gstreamer-command").textContent =
    "gst-launch-1.0 whipclientsink name=whip " +
    `signaller::whip-endpoint=${quoted}${token ? " signaller::auth-token='TOKEN'" : ""} ` +
    "videotestsrc is-live=true ! videoconvert ! whip. " +
    "audiotestsrc is-live=true ! audioconvert ! whip.";
}

function describe(stream) {
  const publishing = stream.publish.sessions.find(isCurrent);
  const viewers = stream.subscribe.sessions.filter(isCurrent).length;
  const codecs = stream.codecs.map(({ codec }) => codecName(codec));
  return {
    isLive: publishing !== undefined,
    details: [
      publishing ? `since ${formatDuration(Date.now() - publishing.createdAt)}` : null,
      codecs.length > 0 ? codecs.join(" + ") : null,
      viewers === 1 ? "1 viewer" : `${viewers} viewers`,
    ],
  };
}

// The server has them in lower case; Opus is the one that is a word.
function codecName(codec) {
  return codec === "opus" ? "Opus" : codec.toUpperCase();
}

function isCurrent({ state }) {
  return state !== "closed" && state !== "failed";
}

// Rows are kept and changed in place: a list that is rebuilt every two seconds takes
// the keyboard focus and the pointer away from whoever is about to use it.
function row(stream) {
  const list = element("streams");
  const existing = [...list.children].find((item) => item.dataset.stream === stream.id);
  if (existing) return existing;
  const item = document.createElement("li");
  item.dataset.stream = stream.id;
  const name = part("div", "name", "");
  name.append(part("span", "", stream.id), part("span", "badge", ""));
  const watch = part("a", "button compact", "Watch");
  watch.setAttribute("aria-label", `Watch ${stream.id}`);
  item.append(name, part("div", "details", ""), watch);
  return item;
}

function part(tag, className, text) {
  return Object.assign(document.createElement(tag), { className, textContent: text });
}

function showStreams(streams) {
  const rows = streams.map((stream) => {
    const { isLive, details } = describe(stream);
    const item = row(stream);
    const [name, text, watch] = item.children;
    const badge = name.lastElementChild;
    badge.dataset.state = isLive ? "live" : "idle";
    badge.textContent = isLive ? "Live" : "Waiting";
    text.textContent = details.filter(Boolean).join(" · ");
    watch.href = toolPage("player", { id: stream.id, token }, ["autoplay"]);
    return item;
  });
  const list = element("streams");
  if (rows.some((item, index) => list.children[index] !== item)) {
    list.replaceChildren(...rows);
  }
  while (list.children.length > rows.length) list.lastElementChild.remove();
  element("streams-count").textContent = rows.length > 0 ? String(rows.length) : "";
  element("streams-empty").textContent = "Nothing yet. Publish something.";
  element("streams-empty").hidden = rows.length > 0;
}

async function refresh() {
  if (document.hidden) return;
  const error = element("streams-error");
  try {
    const response = await fetch(new URL("api/streams/", ROOT), {
      headers: token ? { Authorization: `Bearer ${token}` } : {},
      signal: AbortSignal.timeout(5 * REFRESH_MS),
    });
    element("access").hidden = response.status !== 401 && response.status !== 403;
    if (!response.ok) throw await ServerError.from(response);
    showStreams(await response.json());
    error.hidden = true;
  } catch (problem) {
    const isFromServer = problem instanceof ServerError;
    error.textContent = isFromServer ? problem.message : "The server does not answer.";
    error.hidden = false;
    element("streams-empty").hidden = true;
  }
}

async function keepFresh() {
  await refresh();
  setTimeout(keepFresh, REFRESH_MS);
}

element("begin").addEventListener("submit", (event) => {
  event.preventDefault();
  const page = event.submitter?.value ?? "publish";
  const id = nameField.value.trim();
  location.href = toolPage(page, { id, token }, page === "player" ? ["autoplay"] : []);
});

element("access").addEventListener("submit", (event) => {
  event.preventDefault();
  token = element("token").value.trim() || null;
  showAddresses();
  void refresh();
});

document.addEventListener("visibilitychange", () => void refresh());
nameField.addEventListener("input", showAddresses);
enableCopying();
showAddresses();
void keepFresh();
