/** The test picture: colour bars, a clock to the hundredth and something that moves. */

const BARS = ["#c9c9c9", "#c4c02f", "#2fbcc4", "#2fb457", "#b43fb0", "#c0392f", "#2f55c0"];

/** Draw the picture of the moment `elapsedMs` on a 2D context. */
export function drawPattern(context, elapsedMs, label) {
  const { width, height } = context.canvas;
  const bar = width / BARS.length;
  BARS.forEach((colour, index) => {
    context.fillStyle = colour;
    context.fillRect(Math.floor(index * bar), 0, Math.ceil(bar) + 1, height * 0.62);
  });
  const shade = context.createLinearGradient(0, 0, width, 0);
  shade.addColorStop(0, "#000");
  shade.addColorStop(1, "#fff");
  context.fillStyle = shade;
  context.fillRect(0, height * 0.62, width, height * 0.08);
  context.fillStyle = "#15181d";
  context.fillRect(0, height * 0.7, width, height * 0.3);

  // Crosses the picture once in two seconds: a stutter is seen at once.
  const position = ((elapsedMs % 2_000) / 2_000) * width;
  context.fillStyle = "#fff";
  context.fillRect(position - width * 0.01, height * 0.62, width * 0.02, height * 0.08);

  context.textAlign = "left";
  context.textBaseline = "middle";
  context.font = `600 ${Math.round(height * 0.11)}px ui-monospace, monospace`;
  context.fillText(clock(new Date()), width * 0.04, height * 0.81);
  context.font = `400 ${Math.round(height * 0.06)}px system-ui, sans-serif`;
  context.fillStyle = "#aab2bd";
  context.fillText(`${label}  ${width} × ${height}`, width * 0.04, height * 0.93);
}

function clock(now) {
  const two = (value) => String(value).padStart(2, "0");
  const time = [now.getHours(), now.getMinutes(), now.getSeconds()].map(two).join(":");
  return `${time}.${two(Math.floor(now.getMilliseconds() / 10))}`;
}
