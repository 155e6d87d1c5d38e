/** A WHIP client (RFC 9725): sends a MediaStream to the server. */

import { withStereoOpus } from "./sdp.js";
import { Session } from "./session.js";

// Not codecs by themselves: they repair or bundle what another codec carries.
const HELPERS = /\/(rtx|red|ulpfec|flexfec-03|telephone-event|CN)$/i;

/** The codecs that this browser can send, by name: ["VP8", "H264", …]. */
export function sendableCodecs(kind) {
  const codecs = RTCRtpSender.getCapabilities(kind)?.codecs ?? [];
  const types = codecs.map(({ mimeType }) => mimeType).filter((t) => !HELPERS.test(t));
  return [...new Set(types.map((type) => type.split("/")[1]))];
}

/** Publishes `stream` to `endpoint`. */
export class WhipSession extends Session {
  #stream;
  #codecs;
  #maxBitrate;
  #stereo;

  /**
   * `videoCodec` and `audioCodec` are names as `sendableCodecs` gives them (null: the
   * browser's choice), `maxBitrate` is bits per second of video (null: no limit).
   */
  constructor(endpoint, stream, options = {}) {
    super(endpoint, options);
    const { videoCodec = null, audioCodec = null } = options;
    this.#stream = stream;
    this.#codecs = { video: videoCodec, audio: audioCodec };
    this.#maxBitrate = options.maxBitrate ?? null;
    const [audio] = stream.getAudioTracks();
    this.#stereo = audio?.getSettings().channelCount === 2;
  }

  async start() {
    const [audio] = this.#stream.getAudioTracks();
    const [video] = this.#stream.getVideoTracks();
    if (audio) this.#send(audio, {});
    if (video) this.#send(video, this.#maxBitrate ? { maxBitrate: this.#maxBitrate } : {});
    // Said in the offer for the server, in the answer for our own encoder.
    const adjust = this.#stereo ? withStereoOpus : (sdp) => sdp;
    await this.negotiate(adjust, adjust);
  }

  #send(track, encoding) {
    const transceiver = this.connection.addTransceiver(track, {
      direction: "sendonly",
      streams: [this.#stream],
      sendEncodings: [encoding],
    });
    const wanted = this.#codecs[track.kind];
    if (!wanted) return;
    const { codecs } = RTCRtpSender.getCapabilities(track.kind);
    const isWanted = ({ mimeType }) =>
      mimeType.toLowerCase() === `${track.kind}/${wanted}`.toLowerCase();
    if (!codecs.some(isWanted)) {
      throw new Error(`This browser cannot send ${wanted}`);
    }
    transceiver.setCodecPreferences(
      codecs.filter((codec) => isWanted(codec) || /\/rtx$/i.test(codec.mimeType)),
    );
  }
}
