/** Small edits of SDP text that the browser's API has no words for. */

/**
 * Ask for answers to receiver reference time reports (RFC 3611), which Chromium then sends.
 *
 * Who only receives does not know its round trip otherwise, and asks again for a packet
 * that was lost once more only after 100 ms.
 */
export function withRoundTrip(sdp) {
  return sdp.replace(/^a=rtcp-fb:(\d+) nack\r?\n/gim, "$&a=rtcp-fb:$1 rrtr\r\n");
}

/**
 * Ask for stereo Opus, and say that what we send is stereo.
 *
 * Browsers leave both parameters out of their offers and then decode, and encode,
 * one channel (RFC 7587, section 7.1).
 */
export function withStereoOpus(sdp) {
  const payloadTypes = [...sdp.matchAll(/^a=rtpmap:(\d+) opus\/48000\/2/gim)];
  return payloadTypes.reduce((text, [, payloadType]) => {
    const format = new RegExp(`^(a=fmtp:${payloadType} )([^\\r\\n]*)`, "m");
    return text.replace(format, (_, head, parameters) => {
      const others = parameters
        .split(";")
        .map((parameter) => parameter.trim())
        .filter((parameter) => parameter && !/^(sprop-)?stereo=/i.test(parameter));
      return head + [...others, "stereo=1", "sprop-stereo=1"].join(";");
    });
  }, sdp);
}
