/** A WHEP client (draft-ietf-wish-whep): receives a stream from the server. */

import { withRoundTrip, withStereoOpus } from "./sdp.js";
import { Session } from "./session.js";

/**
 * Plays `endpoint` into `stream`, a MediaStream that begins empty.
 *
 * A track joins the stream, with a "track" event, when its first packet has come: a
 * media element otherwise waits for the picture of a publisher that sends only sound.
 */
export class WhepSession extends Session {
  constructor(endpoint, options = {}) {
    super(endpoint, options);
    this.stream = new MediaStream();
  }

  async start() {
    this.connection.addEventListener("track", ({ track }) => {
      const join = () => {
        this.stream.addTrack(track);
        this.dispatchEvent(new Event("track"));
      };
      if (track.muted) track.addEventListener("unmute", join, { once: true });
      else join();
    });
    this.connection.addTransceiver("audio", { direction: "recvonly" });
    this.connection.addTransceiver("video", { direction: "recvonly" });
    await this.negotiate((sdp) => withRoundTrip(withStereoOpus(sdp)));
  }
}
