/** Where a publisher's picture and sound come from: camera, screen or test pattern. */

import { openPattern } from "./pattern.js";

const FRAME_RATE = 30;
const PATTERN_SIZE = { width: 1280, height: 720 };

const EXPLANATIONS = {
  NotAllowedError: "The browser was not allowed to use it. Look for the camera symbol in the address bar.",
  NotFoundError: "There is no such device. Choose another source, or plug one in.",
  NotReadableError: "The device is in use by another program.",
  OverconstrainedError: "The device has no such resolution, or is gone.",
  InvalidStateError: "The browser wants a click first: press Start.",
};

/**
 * Open `{ stream, close }`.
 *
 * `choice` is `{ source, size, camera, microphone, stereo, label }`: size is
 * `{ width, height }` or null for the source's own; camera and microphone are device
 * ids, "" for the default and, for the microphone, "none".
 */
export async function openSource(choice) {
  if (choice.source === "pattern") {
    return openPattern({
      ...(choice.size ?? PATTERN_SIZE),
      frameRate: FRAME_RATE,
      label: choice.label,
      audio: choice.microphone !== "none",
    });
  }
  if (!navigator.mediaDevices) {
    throw new Error(
      "Browsers hand out camera, microphone and screen only to pages that come by " +
        "https or from localhost. The test pattern works here.",
    );
  }
  try {
    const stream = await (choice.source === "screen" ? screen(choice) : camera(choice));
    return { stream, close: () => stream.getTracks().forEach((track) => track.stop()) };
  } catch (error) {
    const explanation = EXPLANATIONS[error.name];
    throw explanation ? new Error(explanation, { cause: error }) : error;
  }
}

function camera({ camera: cameraId, microphone, size, stereo }) {
  return navigator.mediaDevices.getUserMedia({
    video: { ...pictureConstraints(size), ...device(cameraId) },
    audio: microphone === "none" ? false : microphoneConstraints(microphone, stereo),
  });
}

async function screen({ microphone, size, stereo }) {
  const stream = await navigator.mediaDevices.getDisplayMedia({
    video: pictureConstraints(size),
    audio: microphone !== "none",
  });
  // Not every screen gives sound; the microphone speaks where it does not.
  if (microphone !== "none" && stream.getAudioTracks().length === 0) {
    const audio = microphoneConstraints(microphone, stereo);
    const voice = await navigator.mediaDevices.getUserMedia({ audio }).catch(() => null);
    voice?.getAudioTracks().forEach((track) => stream.addTrack(track));
  }
  return stream;
}

function pictureConstraints(size) {
  const rate = { frameRate: { ideal: FRAME_RATE } };
  return size ? { ...rate, width: { ideal: size.width }, height: { ideal: size.height } } : rate;
}

function microphoneConstraints(id, stereo) {
  // Echo cancellation and its kin are made for one voice and give one channel.
  const music = {
    echoCancellation: false,
    noiseSuppression: false,
    autoGainControl: false,
    channelCount: { ideal: 2 },
  };
  return { ...device(id), ...(stereo ? music : {}) };
}

function device(id) {
  return id ? { deviceId: { exact: id } } : {};
}
