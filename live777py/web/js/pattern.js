/** A publisher without a camera: a test picture and a beep a second, left and right. */

import { drawPattern } from "./pattern-picture.js";

const BEEP_HZ = 880;
const BEEP_S = 0.1;
const LOUDNESS = 0.15;

/** Open `{ stream, close }`; the sound is left out when `audio` is false. */
export function openPattern({ width, height, frameRate, label, audio }) {
  const picture = openPicture({ width, height, frameRate, label });
  const sound = audio ? openBeeps() : null;
  return {
    stream: new MediaStream([picture.track, ...(sound ? [sound.track] : [])]),
    close() {
      picture.close();
      sound?.close();
    },
  };
}

function openPicture(options) {
  return "MediaStreamTrackGenerator" in globalThis
    ? openPictureInWorker(options)
    : openPictureOnPage(options);
}

function openPictureInWorker(options) {
  const track = new MediaStreamTrackGenerator({ kind: "video" });
  const worker = new Worker(new URL("pattern-worker.js", import.meta.url), {
    type: "module",
  });
  worker.postMessage({ writable: track.writable, ...options }, [track.writable]);
  return {
    track,
    close() {
      worker.terminate();
      track.stop();
    },
  };
}

function openPictureOnPage({ width, height, frameRate, label }) {
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const context = canvas.getContext("2d", { alpha: false });
  const begun = performance.now();
  const draw = () => drawPattern(context, performance.now() - begun, label);
  draw();
  const timer = setInterval(draw, 1_000 / frameRate);
  const [track] = canvas.captureStream(frameRate).getVideoTracks();
  return {
    track,
    close() {
      clearInterval(timer);
      track.stop();
    },
  };
}

function openBeeps() {
  const context = new AudioContext({ sampleRate: 48_000 });
  const tone = new OscillatorNode(context, { frequency: BEEP_HZ });
  const volume = new GainNode(context, { gain: 0 });
  const side = new StereoPannerNode(context);
  const output = new MediaStreamAudioDestinationNode(context, { channelCount: 2 });
  tone.connect(volume).connect(side).connect(output);
  tone.start();
  let next = 0;
  // Beeps are booked two ahead on the sound card's own clock, so that a slow timer
  // does not make them uneven.
  const timer = setInterval(() => {
    while (next < context.currentTime + 2) {
      const at = Math.max(next, Math.ceil(context.currentTime + 0.05));
      volume.gain.setTargetAtTime(LOUDNESS, at, 0.005);
      volume.gain.setTargetAtTime(0, at + BEEP_S, 0.005);
      side.pan.setValueAtTime(at % 2 ? 0.8 : -0.8, at);
      next = at + 1;
    }
  }, 500);
  // Without a click on the page the browser holds the sound back until there is one.
  const wake = () => context.resume();
  addEventListener("pointerdown", wake);
  addEventListener("keydown", wake);
  return {
    track: output.stream.getAudioTracks()[0],
    close() {
      clearInterval(timer);
      removeEventListener("pointerdown", wake);
      removeEventListener("keydown", wake);
      void context.close();
    },
  };
}
