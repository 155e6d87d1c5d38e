/** Readings from getStats(), as people want to see them. */

/**
 * Reads a peer connection again and again; rates are taken between two readings.
 *
 * `read()` gives `{ audio, video, roundTripMs }`; a kind without media is null.
 */
export class StatsMeter {
  #connection;
  #type;
  #previous = new Map();

  /** `direction` is "inbound" (a viewer) or "outbound" (a publisher). */
  constructor(connection, direction) {
    this.#connection = connection;
    this.#type = `${direction}-rtp`;
  }

  async read() {
    const report = await this.#connection.getStats();
    const result = { audio: null, video: null, roundTripMs: null };
    for (const entry of report.values()) {
      if (entry.type === this.#type && entry.kind in result) {
        result[entry.kind] = this.#describe(entry, report);
      }
      if (entry.type === "candidate-pair" && entry.nominated) {
        result.roundTripMs = milliseconds(entry.currentRoundTripTime);
      }
    }
    return result;
  }

  #describe(entry, report) {
    const bytes = entry.bytesReceived ?? entry.bytesSent ?? 0;
    const remote = report.get(entry.remoteId);
    const lost = entry.packetsLost ?? remote?.packetsLost ?? 0;
    const packets = entry.packetsReceived ?? entry.packetsSent ?? 0;
    return {
      bytes,
      bitrate: this.#rate(entry.id, bytes, entry.timestamp),
      codec: report.get(entry.codecId)?.mimeType?.split("/")[1] ?? null,
      format: report.get(entry.codecId)?.sdpFmtpLine ?? null,
      width: entry.frameWidth ?? null,
      height: entry.frameHeight ?? null,
      framesPerSecond: entry.framesPerSecond ?? 0,
      frames: entry.framesDecoded ?? entry.framesEncoded ?? 0,
      keyFrames: entry.keyFramesDecoded ?? entry.keyFramesEncoded ?? 0,
      framesDropped: entry.framesDropped ?? 0,
      freezes: entry.freezeCount ?? 0,
      lost,
      lossShare: lost > 0 ? lost / (packets + lost) : 0,
      jitterMs: milliseconds(entry.jitter ?? remote?.jitter),
      bufferMs: milliseconds(entry.jitterBufferDelay / entry.jitterBufferEmittedCount),
      limitation: entry.qualityLimitationReason ?? null,
      retransmissions: entry.nackCount ?? 0,
      keyFrameRequests: entry.pliCount ?? 0,
    };
  }

  #rate(id, bytes, timestamp) {
    const before = this.#previous.get(id);
    this.#previous.set(id, { bytes, timestamp });
    if (!before || timestamp <= before.timestamp) return 0;
    return (Math.max(0, bytes - before.bytes) * 8_000) / (timestamp - before.timestamp);
  }
}

function milliseconds(seconds) {
  return Number.isFinite(seconds) ? seconds * 1_000 : null;
}

export function formatBitrate(bitsPerSecond) {
  return bitsPerSecond >= 1e6
    ? `${(bitsPerSecond / 1e6).toFixed(2)} Mbit/s`
    : `${Math.round(bitsPerSecond / 1e3)} kbit/s`;
}

export function formatMilliseconds(value) {
  return value === null ? "–" : `${value.toFixed(value < 10 ? 1 : 0)} ms`;
}

export function formatPicture({ width, height, framesPerSecond }) {
  if (!width || !height) return "–";
  return `${width} × ${height}, ${Math.round(framesPerSecond)} fps`;
}

export function formatLoss({ lost, lossShare }) {
  return `${lost} (${(lossShare * 100).toFixed(1)} %)`;
}

export function formatDuration(totalMs) {
  const seconds = Math.max(0, Math.floor(totalMs / 1_000));
  const parts = [Math.floor(seconds / 3_600), Math.floor(seconds / 60) % 60, seconds % 60];
  if (parts[0] === 0) parts.shift();
  return parts
    .map((part, index) => (index ? String(part).padStart(2, "0") : String(part)))
    .join(":");
}
