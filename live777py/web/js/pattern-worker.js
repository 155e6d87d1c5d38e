/** Draws the test picture off the page: browsers slow down the timers of hidden tabs. */

import { drawPattern } from "./pattern-picture.js";

addEventListener("message", ({ data }) => {
  const { writable, width, height, frameRate, label } = data;
  const context = new OffscreenCanvas(width, height).getContext("2d", { alpha: false });
  const writer = writable.getWriter();
  const begun = performance.now();
  setInterval(() => {
    // A writer that is behind would only queue frames that are already old.
    if (writer.desiredSize <= 0) return;
    const elapsed = performance.now() - begun;
    drawPattern(context, elapsed, label);
    const frame = new VideoFrame(context.canvas, { timestamp: elapsed * 1_000 });
    writer.write(frame).catch(() => close());
  }, 1_000 / frameRate);
});
