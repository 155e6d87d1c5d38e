/** The Link header (RFC 8288), as far as WHIP and WHEP need it. */

const LINK = /<([^>]*)>((?:\s*;\s*[\w!#$&+.^`|~-]+\s*=\s*(?:"(?:\\.|[^"\\])*"|[^\s;,"]+))*)/g;
const PARAMETER = /;\s*([\w!#$&+.^`|~-]+)\s*=\s*(?:"((?:\\.|[^"\\])*)"|([^\s;,"]+))/g;

/** All links of a header; fetch() folds repeated headers into one, joined by commas. */
export function parseLinks(header) {
  return [...(header ?? "").matchAll(LINK)].map(([, target, rest]) => {
    const parameters = {};
    for (const [, name, quoted, token] of rest.matchAll(PARAMETER)) {
      parameters[name.toLowerCase()] = quoted?.replace(/\\(.)/g, "$1") ?? token;
    }
    return { target, parameters };
  });
}

/** The STUN and TURN servers among the links, as RTCPeerConnection wants them. */
export function iceServers(header) {
  return parseLinks(header)
    .filter(({ parameters }) => parameters.rel === "ice-server")
    .map(({ target, parameters: { username, credential } }) =>
      username === undefined
        ? { urls: target }
        : { urls: target, username, credential: credential ?? "" },
    );
}
